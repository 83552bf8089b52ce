package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"muster/server"
)

// packStatus is where one pack stands.
type packStatus struct {
	Name       string              `json:"name"`
	Number     uint64              `json:"number"`
	Date       time.Time           `json:"date,omitzero"`
	AgeDays    int                 `json:"age_days"`
	Source     string              `json:"source,omitempty"`
	By         string              `json:"by,omitempty"`
	Signer     string              `json:"signer,omitempty"`
	ImportedAt time.Time           `json:"imported_at,omitzero"`
	Counts     map[string]int      `json:"counts,omitempty"`
	Levels     map[string][]string `json:"levels,omitempty"`
	Freshness  string              `json:"freshness,omitempty"`
	Problem    string              `json:"problem,omitempty"`
}

// maxPack bounds a signed pack.
const maxPack = 16 << 20

type referenceListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *referenceListCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var packs []packStatus
		if err := control.Do(ctx, "GET", "/reference", nil, &packs); err != nil {
			return err
		}
		if c.JSON {
			return printJSON(packs)
		}
		for _, p := range packs {
			fmt.Println(p.line())
			if p.Problem != "" {
				fmt.Fprintf(os.Stderr, "muster-server: %s: %s\n", p.Name, p.Problem)
			}
			if p.Freshness == "old" {
				fmt.Fprintf(os.Stderr, "muster-server: %s is more than a year old: what was found since is missing\n", p.Name)
			}
		}
		return nil
	})
}

func (p *packStatus) line() string {
	var counts []string
	for _, name := range slices.Sorted(maps.Keys(p.Counts)) {
		counts = append(counts, fmt.Sprintf("%d %s", p.Counts[name], strings.ReplaceAll(name, "_", " ")))
	}
	of := strings.Join(counts, ", ")
	if p.Number == 0 {
		return strings.TrimSuffix(fmt.Sprintf("%-9s none was imported; %s", p.Name, of), "; ")
	}
	from := p.Source
	if p.By != "" {
		from += " by " + p.By
	}
	if p.Signer != "" {
		from += ", signed by " + p.Signer
	}
	if !p.Date.IsZero() {
		from = p.Date.Format(time.DateOnly) + ", " + from
	}
	return fmt.Sprintf("%-9s number %d, %s, %s (%d days): %s", p.Name, p.Number, from, p.Freshness, p.AgeDays, of)
}

type referenceImportCmd struct {
	File string `arg:"" help:"A signed pack; with --as-ek-roots certificates: PEM, DER, a cabinet as TrustedTpm.cab, or a folder." type:"path"`

	AsEKRoots bool `name:"as-ek-roots" help:"The file holds CAs that vouch for TPMs, signed by nobody: you answer for where it is from."`
	VTPM      bool `name:"vtpm" help:"They vouch for virtual TPMs, and for no hardware."`
	JSON      bool `name:"json" help:"Print JSON."`
}

// importedPack says what an import did.
type importedPack struct {
	Pack     packStatus  `json:"pack"`
	Same     bool        `json:"same,omitempty"`
	Findings []ekFinding `json:"findings,omitempty"`
}

type ekFinding struct {
	File    string `json:"file"`
	Subject string `json:"subject,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Kind    string `json:"kind,omitempty"`
	Root    bool   `json:"root,omitempty"`
	New     bool   `json:"new,omitempty"`
	Skipped string `json:"skipped,omitempty"`
}

func (c *referenceImportCmd) Run(ctx context.Context, s *settings) error {
	var body any
	path := "/reference/ek-roots"
	var err error
	switch {
	case c.AsEKRoots:
		body, err = server.ReadEKBundle(c.File, c.VTPM)
	case c.VTPM:
		return usageError("--vtpm is about CAs: give --as-ek-roots too")
	default:
		path = "/reference/packs"
		body, err = readFile(c.File, maxPack)
	}
	if err != nil {
		return err
	}
	return withControl(ctx, s, func(control *server.Control) error {
		var done importedPack
		if err := control.Do(ctx, "POST", path, body, &done); err != nil {
			return err
		}
		if c.JSON {
			return printJSON(done)
		}
		done.tell()
		return nil
	})
}

func (d *importedPack) tell() {
	kinds := map[string]int{}
	for _, f := range d.Findings {
		is := "intermediate"
		if f.Root {
			is = "root"
		}
		switch {
		case f.Skipped != "":
			kinds["skipped"]++
			fmt.Printf("skipped %s: %s\n", f.File, f.Skipped)
		default:
			kinds[f.Kind]++
			fmt.Printf("%s (%s): %s, %s\n", f.Kind, is, f.Subject, f.SHA256)
		}
	}
	if len(kinds) > 0 {
		var counts []string
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			counts = append(counts, fmt.Sprintf("%d %s", kinds[kind], kind))
		}
		fmt.Printf("In all: %s.\n", strings.Join(counts, ", "))
	}
	if d.Same {
		fmt.Printf("Number %d is in use already; nothing was changed.\n", d.Pack.Number)
		return
	}
	fmt.Printf("In use: %s\n", d.Pack.line())
}

type referenceExportCmd struct {
	Name string `arg:"" help:"boot or ek-roots."`
	File string `arg:"" help:"New file to write." type:"path"`
}

func (c *referenceExportCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var p struct {
			Number uint64 `json:"number"`
			Pack   string `json:"pack"`
		}
		if strings.ContainsAny(c.Name, "/?#%") {
			return usageError("there is no pack of that name: give boot or ek-roots")
		}
		if err := control.Do(ctx, "GET", "/reference/packs/"+c.Name, nil, &p); err != nil {
			return err
		}
		f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteString(p.Pack)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		_, err = fmt.Printf("Wrote number %d to %s.\n", p.Number, c.File)
		return err
	})
}

type referenceKeyCmd struct {
	JWK bool `name:"jwk" help:"Print a JWK instead of PEM."`
}

func (c *referenceKeyCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var key struct {
			ID  string `json:"kid"`
			JWK string `json:"jwk"`
			PEM string `json:"pem"`
		}
		if err := control.Do(ctx, "GET", "/reference/key", nil, &key); err != nil {
			return err
		}
		text := key.PEM
		if c.JWK {
			text = key.JWK + "\n"
		}
		_, err := fmt.Print(text)
		return err
	})
}

type referenceDenyCmd struct {
	SPKI   string `arg:"" name:"spki-sha256" help:"SHA-256 of the key's SubjectPublicKeyInfo (hexadecimal); of an endorsement key, its EK hash."`
	Remove bool   `help:"Take it off the list again."`
}

func (c *referenceDenyCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var done importedPack
		body := struct {
			SPKI   string `json:"spki_sha256"`
			Remove bool   `json:"remove,omitempty"`
		}{c.SPKI, c.Remove}
		if err := control.Do(ctx, "POST", "/reference/deny", body, &done); err != nil {
			return err
		}
		done.tell()
		return nil
	})
}

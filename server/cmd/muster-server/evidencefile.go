package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"muster/server"
	"muster/server/evidence"
)

type evidenceExportCmd struct {
	Device   string `arg:"" help:"The device's id."`
	Decision uint64 `help:"Number of the decision in the audit log; default: the device's last." placeholder:"ID"`
	Redacted bool   `help:"For people outside: leave out messages, reports, names, log and policy. Ids of rules stay, and PCR values."`
	Out      string `name:"output" short:"o" help:"Write to this file (mode 0600) instead of printing." placeholder:"FILE" type:"path"`
	Force    bool   `help:"Overwrite the file."`
}

func (c *evidenceExportCmd) Run(ctx context.Context, s *settings) error {
	if c.Force && c.Out == "" {
		return usageError("--force is about --output")
	}
	path := "/evidence/" + url.PathEscape(c.Device)
	q := url.Values{}
	if c.Decision != 0 {
		q.Set("decision", fmt.Sprint(c.Decision))
	}
	if c.Redacted {
		q.Set("redacted", "1")
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	var out struct {
		File     []byte `json:"file"`
		Decision uint64 `json:"decision"`
		Token    bool   `json:"token"`
	}
	err := withControl(ctx, s, func(control *server.Control) error { return control.Do(ctx, "GET", path, nil, &out) })
	if err != nil {
		return err
	}
	if out.Token {
		fmt.Fprintln(os.Stderr, "muster-server: the file has the token with which the device enrolled: delete the token if it may still be used, and keep the file as you keep the database")
	}
	if c.Out == "" {
		_, err := os.Stdout.Write(out.File)
		return err
	}
	if err := writeNew(c.Out, out.File, c.Force); err != nil {
		return fmt.Errorf("writing evidence: %w", err)
	}
	_, err = fmt.Printf("Wrote decision %d to %s.\n", out.Decision, c.Out)
	return err
}

// writeNew writes a private file whole or not at all, and over another one only when
// told to.
func writeNew(path string, b []byte, overwrite bool) (err error) {
	if !overwrite {
		// It takes the name, so that nobody else can; what it has comes by the rename.
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: give another name, or --force", err)
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".evidence-*") // mode 0600
	if err == nil {
		_, err = f.Write(b)
		err = errors.Join(err, f.Sync(), f.Close())
		if err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one that matters
		}
	}
	if err != nil && !overwrite {
		_ = os.Remove(path)
	}
	return err
}

// evidenceVerifyCmd takes CAs of virtual TPMs from the setting of that name.
type evidenceVerifyCmd struct {
	File  string   `arg:"" help:"What evidence export wrote." type:"existingfile"`
	Roots []string `help:"CAs that vouch for hardware TPMs (PEM), as you trust them; those for virtual ones: --vtpm-roots." type:"existingfile" placeholder:"FILE"`
	JSON  bool     `name:"json" help:"Print JSON."`
}

// maxRootFile bounds a file of CAs.
const maxRootFile = 4 << 20

func (c *evidenceVerifyCmd) Run(s *settings) error {
	b, err := readFile(c.File, evidence.MaxFile)
	if err != nil {
		return err
	}
	hardware, err := readFiles(c.Roots)
	if err != nil {
		return err
	}
	virtual, err := readFiles(s.VTPMRoots)
	if err != nil {
		return err
	}
	verdict, err := evidence.Verify(b, hardware, virtual)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.JSON {
		err = printJSON(verdict)
	} else {
		err = verdict.Text(os.Stdout)
	}
	if err == nil && !verdict.Holds {
		err = notFitError("the evidence does not hold")
	}
	return err
}

func readFiles(names []string) (map[string][]byte, error) {
	files := make(map[string][]byte, len(names))
	for _, name := range names {
		b, err := readFile(name, maxRootFile)
		if err != nil {
			return nil, err
		}
		files[name] = b
	}
	return files, nil
}

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"muster/server"
)

// referenceCmd is about what good looks like, as others publish it.
type referenceCmd struct {
	List   referenceListCmd   `cmd:"" help:"Show every pack: number, date, source and freshness."`
	Import referenceImportCmd `cmd:"" help:"Put a signed pack into use, or add CAs that vouch for TPMs."`
	Export referenceExportCmd `cmd:"" help:"Write the pack that is in use, signed by this server."`
	Key    referenceKeyCmd    `cmd:"" help:"Print the public key of the packs that this server signs."`
	Deny   referenceDenyCmd   `cmd:"" help:"Trust no TPM whose key, or a CA's above it, is this one: enrolled ones fall to tpm-unverified at once."`
	MDS    mdsCmd             `cmd:"" name:"mds" help:"FIDO's metadata: which authenticators there are, and which lost trust."`
}

type mdsCmd struct {
	Import mdsImportCmd `cmd:"" help:"Verify a BLOB as FIDO publishes it, and judge every passkey by it."`
	Status mdsStatusCmd `cmd:"" help:"Say which metadata is in use; exit 3 when there is none or it has expired."`
}

// mdsStatus is where the metadata stands.
type mdsStatus struct {
	Number     int       `json:"number"`
	NextUpdate time.Time `json:"next_update"`
	Freshness  string    `json:"freshness"`
	Entries    int       `json:"entries"`
	Skipped    int       `json:"skipped"`
	ImportedAt time.Time `json:"imported_at"`
	Same       bool      `json:"same"`
	Changed    int       `json:"changed"`
}

// maxMDS bounds a BLOB.
const maxMDS = 64 << 20

type mdsImportCmd struct {
	File string `arg:"" help:"The BLOB (a JWT), from https://mds3.fidoalliance.org/." type:"existingfile"`
}

func (c *mdsImportCmd) Run(ctx context.Context, s *settings) error {
	b, err := readFile(c.File, maxMDS)
	if err != nil {
		return err
	}
	return withControl(ctx, s, func(control *server.Control) error {
		var m mdsStatus
		if err := control.Do(ctx, "POST", "/reference/mds", b, &m); err != nil {
			return err
		}
		if m.Same {
			_, err := fmt.Printf("Number %d is in use already; nothing was changed.\n", m.Number)
			return err
		}
		_, err := fmt.Printf("Number %d is in use: %d authenticators, %d entries skipped; %d passkeys are judged otherwise than before.\n",
			m.Number, m.Entries, m.Skipped, m.Changed)
		return err
	})
}

type mdsStatusCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *mdsStatusCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var m mdsStatus
		if err := control.Do(ctx, "GET", "/reference/mds", nil, &m); err != nil {
			return err
		}
		if c.JSON {
			if err := printJSON(m); err != nil {
				return err
			}
		} else if m.Number != 0 {
			fmt.Printf("Number %d, %s; another is due by %s; %d authenticators, %d entries skipped; imported %s.\n",
				m.Number, m.Freshness, m.NextUpdate.Format(time.DateOnly), m.Entries, m.Skipped, m.ImportedAt.Format(time.RFC3339))
		}
		switch {
		case m.Number == 0:
			return notFitError("no metadata was imported, so that no passkey is proved: download it and run: muster-server reference mds import FILE")
		case m.Freshness == "expired":
			return notFitError("the metadata has expired, so that no passkey is proved: download the newest and import it")
		}
		return nil
	})
}

// readFile reads a file that may have so many bytes.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: more than %d bytes", path, most)
	}
	return b, err
}

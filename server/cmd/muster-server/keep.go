package main

import (
	"context"
	"fmt"

	"muster/server"
)

// auditCmd is about the audit log.
type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check the hash chain of the audit log; exit 3 when it is broken."`
}

type auditVerifyCmd struct{}

func (auditVerifyCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var v server.AuditCheck
		if err := control.Do(ctx, "POST", "/audit/verify", nil, &v); err != nil {
			return err
		}
		if v.Broken != "" {
			return notFitError("the audit log is broken: " + v.Broken)
		}
		_, err := fmt.Printf("%d entries, unbroken, head %s\n", v.Entries, v.Head)
		return err
	})
}

type backupCmd struct {
	To string `arg:"" help:"New file to write." type:"path"`
}

func (c *backupCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		if err := control.Do(ctx, "POST", "/backup", server.BackupRequest{To: c.To}, nil); err != nil {
			return err
		}
		_, err := fmt.Printf("Wrote %s. It holds the server's key: keep it as you keep the database.\n"+
			"A restore needs the newest muster.db.revocations of the data folder too: keep copies of that elsewhere.\n", c.To)
		return err
	})
}

type restoreCmd struct {
	From           string `arg:"" help:"Backup to put in place." type:"existingfile"`
	WithoutJournal bool   `help:"Go on though the revocation journal is missing: what was revoked since the backup comes back to life."`
}

func (c *restoreCmd) Run(ctx context.Context, s *settings) error {
	aside, err := server.Restore(ctx, s.server(), c.From, c.WithoutJournal)
	if err != nil {
		return err
	}
	if aside != "" {
		fmt.Println("The old database was put aside as", aside)
	}
	since := "revocations made since the backup still hold"
	if c.WithoutJournal {
		since = "what the journal lacks of revocations made since the backup is lost: revoke again"
	}
	_, err = fmt.Printf("Restored. Devices resynchronise by themselves; %s; unused enrolment tokens are void.\n", since)
	return err
}

package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"muster/server"
)

// bypassCmd is about rules that are let pass for a while.
type bypassCmd struct {
	Add  bypassAddCmd  `cmd:"" help:"Let one rule pass for one laptop or one person, for a while. It is shown to them and audited."`
	List bypassListCmd `cmd:"" help:"List those that live."`
	End  bypassEndCmd  `cmd:"" help:"End one now."`
}

type bypassAddCmd struct {
	Rule   string        `arg:"" help:"The rule's id in the policy."`
	Device string        `help:"A laptop." placeholder:"ID" xor:"whom" required:""`
	Person string        `help:"A person." placeholder:"NAME" xor:"whom" required:""`
	Why    string        `help:"Why, in words." required:"" placeholder:"TEXT"`
	For    time.Duration `help:"How long, at most 30 days." default:"24h"`
}

func (c *bypassAddCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var made struct {
			ID      string    `json:"id"`
			Expires time.Time `json:"expires"`
		}
		q := map[string]any{"device": c.Device, "person": c.Person, "rule": c.Rule, "why": c.Why, "lasts_s": int(c.For / time.Second)}
		if err := control.Do(ctx, "POST", "/bypasses", q, &made); err != nil {
			return err
		}
		_, err := fmt.Printf("%s until %s\n", made.ID, made.Expires.UTC().Format(time.RFC3339))
		return err
	})
}

type bypassListCmd struct{}

func (bypassListCmd) Run(ctx context.Context, s *settings) error {
	return printFrom(ctx, s, "/bypasses")
}

type bypassEndCmd struct {
	ID string `arg:"" help:"The bypass's id."`
}

func (c *bypassEndCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		return control.Do(ctx, "DELETE", "/bypasses/"+url.PathEscape(c.ID), nil, nil)
	})
}

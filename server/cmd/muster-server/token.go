package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"muster/server"
	"muster/server/verify"
)

// tokenCmd makes what admits devices.
type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token and print it, once."`
	List   tokenListCmd   `cmd:"" help:"List tokens, without their secrets."`
	Delete tokenDeleteCmd `cmd:"" help:"Delete a token: nobody enrols with it any more."`
}

type tokenCreateCmd struct {
	Label    string        `help:"What it is for." placeholder:"TEXT"`
	Class    string        `help:"Whose laptops: corporate, byod, contractor, shared." enum:"corporate,byod,contractor,shared" default:"corporate"`
	Group    string        `help:"Group of the devices." placeholder:"NAME"`
	Owner    string        `help:"Owner of the device." placeholder:"NAME"`
	Uses     int           `help:"How many devices may enrol with it." default:"1"`
	Expires  time.Duration `help:"How long it may be used." default:"168h"`
	MinLevel verify.Level  `help:"Devices below this level wait for an approval: software, tpm-unverified, vtpm, tpm-listed, tpm-hw." default:"tpm-listed"`
	Out      string        `help:"Write the token to this new file (mode 0600) instead of printing it." placeholder:"FILE"`
}

func (c *tokenCreateCmd) Run(ctx context.Context, s *settings) error {
	if c.Uses < 1 || c.Expires < time.Second {
		return usageError("a token needs at least one use and a second to live")
	}
	return withControl(ctx, s, func(control *server.Control) error {
		var made server.NewToken
		err := control.Do(ctx, "POST", "/tokens", server.TokenRequest{
			Label: c.Label, Class: verify.Class(c.Class), Group: c.Group, Owner: c.Owner,
			Uses: c.Uses, ExpiresS: int(c.Expires / time.Second), MinLevel: c.MinLevel,
		}, &made)
		if err != nil {
			return err
		}
		if c.Out == "" {
			_, err = fmt.Println(made.Token)
			return err
		}
		f, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(f, made.Token); err != nil {
			f.Close()
			return err
		}
		return f.Close()
	})
}

type tokenListCmd struct{}

func (tokenListCmd) Run(ctx context.Context, s *settings) error { return printFrom(ctx, s, "/tokens") }

type tokenDeleteCmd struct {
	ID string `arg:"" help:"The token's id."`
}

func (c *tokenDeleteCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		return control.Do(ctx, "DELETE", "/tokens/"+url.PathEscape(c.ID), nil, nil)
	})
}

// withControl acts on the server of the data folder.
func withControl(ctx context.Context, s *settings, f func(*server.Control) error) error {
	control, err := server.OpenControl(ctx, s.server(), s.log())
	if err != nil {
		return err
	}
	if err := f(control); err != nil {
		_ = control.Close() // the first error is the one that matters
		return err
	}
	return control.Close()
}

// printFrom prints what the server answers.
func printFrom(ctx context.Context, s *settings, path string) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var v any
		if err := control.Do(ctx, "GET", path, nil, &v); err != nil {
			return err
		}
		return printJSON(v)
	})
}

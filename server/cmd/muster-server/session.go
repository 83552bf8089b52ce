package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"text/tabwriter"
	"time"

	"muster/server"
)

// sessionCmd is about who is signed in.
type sessionCmd struct {
	List sessionListCmd `cmd:"" help:"List live sessions, of one person or of all."`
	End  sessionEndCmd  `cmd:"" help:"End a session at once."`
}

type sessionListCmd struct {
	Name string `arg:"" optional:"" help:"The person's user name."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (c *sessionListCmd) Run(ctx context.Context, s *settings) error {
	path := "/sessions?" + url.Values{"user": {c.Name}}.Encode()
	if c.JSON {
		return printFrom(ctx, s, path)
	}
	return withControl(ctx, s, func(control *server.Control) error {
		var sessions []struct {
			ID        string    `json:"id"`
			User      string    `json:"user"`
			Address   string    `json:"address"`
			Browser   string    `json:"browser"`
			CreatedAt time.Time `json:"created_at"`
			SeenAt    time.Time `json:"seen_at"`
			Link      *struct {
				Device   string `json:"device"`
				Strength string `json:"strength"`
			} `json:"link"`
		}
		if err := control.Do(ctx, "GET", path, nil, &sessions); err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SESSION\tUSER\tSIGNED IN\tSEEN\tADDRESS\tLAPTOP\tBROWSER")
		for _, one := range sessions {
			laptop := "none"
			if one.Link != nil {
				laptop = one.Link.Device + " by " + one.Link.Strength
			}
			// A browser says of itself what it likes: %q keeps it on its line.
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%q\n", one.ID, one.User, ago(one.CreatedAt), ago(one.SeenAt), one.Address, laptop, one.Browser)
		}
		return w.Flush()
	})
}

type sessionEndCmd struct {
	ID  string `arg:"" help:"The session's id."`
	Why string `help:"Reason for the audit log." placeholder:"TEXT"`
}

func (c *sessionEndCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		path := "/sessions/" + url.PathEscape(c.ID) + "?" + url.Values{"why": {c.Why}}.Encode()
		return control.Do(ctx, "DELETE", path, nil, nil)
	})
}

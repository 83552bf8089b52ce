package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"muster/server"
	"muster/server/store"
	"muster/server/verify"
	"muster/server/web"
)

// deviceBaselineCmd is about the ways in which a laptop starts.
type deviceBaselineCmd struct {
	List    baselineListCmd    `cmd:"" help:"List the ways in which a device started, and what changed."`
	Approve baselineApproveCmd `cmd:"" help:"Approve a way to start, after an update that somebody knows of."`
	Refuse  baselineRefuseCmd  `cmd:"" help:"Refuse a way to start: the device opens nothing while it starts so."`
}

type baselineListCmd struct {
	Device string `arg:"" help:"The device's id."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

func (c *baselineListCmd) Run(ctx context.Context, s *settings) error {
	path := "/devices/" + url.PathEscape(c.Device) + "/baselines"
	if c.JSON {
		return printFrom(ctx, s, path)
	}
	return withControl(ctx, s, func(control *server.Control) error {
		var starts []web.Start
		if err := control.Do(ctx, "GET", path, nil, &starts); err != nil {
			return err
		}
		if len(starts) == 0 {
			_, err := fmt.Println("No quote of its TPM has shown yet how this device starts.")
			return err
		}
		return writeStarts(os.Stdout, starts)
	})
}

// keyDigits is how much of a key is printed: enough to name it.
const keyDigits = 32

func writeStarts(w io.Writer, starts []web.Start) error {
	var b strings.Builder
	for i := range starts {
		one := &starts[i]
		fmt.Fprintf(&b, "%s  %s", one.Key[:min(keyDigits, len(one.Key))], one.State)
		if one.Now {
			b.WriteString(", as it started now")
		}
		fmt.Fprintf(&b, "\n  first seen %s, last seen %s\n", day(one.FirstSeen), day(one.LastSeen))
		if !one.DecidedAt.IsZero() {
			fmt.Fprintf(&b, "  %s %s by %s\n", one.State, day(one.DecidedAt), one.DecidedBy)
		}
		if one.Why != "" {
			fmt.Fprintf(&b, "  %s\n", printable(one.Why))
		}
		if one.Unexplained {
			b.WriteString("  no boot log tells its parts: known by its registers alone\n")
		}
		for _, c := range one.Changes {
			expected := ""
			if c.Expected {
				expected = " (brought by Microsoft)"
			}
			fmt.Fprintf(&b, "  changed: %s%s\n", printable(c.Text), expected)
		}
		for _, name := range verify.ComponentNames() {
			if p, ok := one.Parts[name]; ok {
				fmt.Fprintf(&b, "  %s\n", prevalence(verify.ComponentTitle(name), p))
			}
		}
		if one.Others > 0 {
			fmt.Fprintf(&b, "  waits on %d other devices, too: approve it with --everywhere\n", one.Others)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func prevalence(part string, p store.Prevalence) string {
	if p.Of == 0 {
		return part + ": no other healthy device of this model to compare with"
	}
	return fmt.Sprintf("%s: %d of %d healthy devices of this model show this value, %d approved for a week", part, p.Shows, p.Of, p.Approved)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// printable keeps what came out of a laptop's log from being read as commands of a
// terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, text)
}

type baselineApproveCmd struct {
	Device     string `arg:"" help:"The device's id."`
	Key        string `arg:"" optional:"" help:"Its key, or at least the first 32 digits; default: the way in which it started now, which is shown."`
	Everywhere bool   `help:"For all devices that start in the same way and wait."`
}

func (c *baselineApproveCmd) Run(ctx context.Context, s *settings) error {
	return decideStart(ctx, s, c.Device, "approve", startDecision{c.Key, c.Everywhere})
}

type baselineRefuseCmd struct {
	Device string `arg:"" help:"The device's id."`
	Key    string `arg:"" optional:"" help:"Its key, or at least the first 32 digits; default: the way in which it started now, which is shown."`
}

func (c *baselineRefuseCmd) Run(ctx context.Context, s *settings) error {
	return decideStart(ctx, s, c.Device, "refuse", startDecision{Key: c.Key})
}

// startDecision is what the control socket takes.
type startDecision struct {
	Key        string `json:"key"`
	Everywhere bool   `json:"everywhere,omitempty"`
}

func decideStart(ctx context.Context, s *settings, device, action string, q startDecision) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var done struct {
			Devices []string `json:"devices"`
		}
		path := "/devices/" + url.PathEscape(device) + "/baselines"
		if q.Key == "" {
			var starts []web.Start
			if err := control.Do(ctx, "GET", path, nil, &starts); err != nil {
				return err
			}
			shown, err := startNow(starts)
			if err != nil {
				return err
			}
			if err := writeStarts(os.Stdout, []web.Start{*shown}); err != nil {
				return err
			}
			q.Key = shown.Key // whole: the device may start in another way meanwhile
		}
		if err := control.Do(ctx, "POST", path+"/"+action, q, &done); err != nil {
			return err
		}
		word := map[string]string{"approve": "Approved", "refuse": "Refused"}[action]
		_, err := fmt.Printf("%s for %s.\n", word, strings.Join(done.Devices, ", "))
		return err
	})
}

// startNow is the way in which a device started the last time.
func startNow(starts []web.Start) (*web.Start, error) {
	at := slices.IndexFunc(starts, func(one web.Start) bool { return one.Now })
	if at < 0 {
		return nil, errors.New("it is not known how this device started now; wait for its next report, or name one of its earlier ways to start")
	}
	return &starts[at], nil
}

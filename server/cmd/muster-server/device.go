package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"muster/server"
	"muster/server/verify"
)

// deviceCmd is about enrolled laptops.
type deviceCmd struct {
	List    deviceListCmd    `cmd:"" help:"List devices, the waiting ones first."`
	Show    deviceShowCmd    `cmd:"" help:"Show one device whole, as JSON: its claims, how it was started, what it was before."`
	Approve deviceApproveCmd `cmd:"" help:"Let a waiting device in, after comparing the code that it shows."`
	Revoke  deviceRevokeCmd  `cmd:"" help:"End a device for ever: its keys and its TPM never come back."`

	Baseline deviceBaselineCmd `cmd:"" help:"See and decide how a device may start."`
}

type deviceListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *deviceListCmd) Run(ctx context.Context, s *settings) error {
	if c.JSON {
		return printFrom(ctx, s, "/devices")
	}
	return withControl(ctx, s, func(control *server.Control) error {
		var views []server.DeviceView
		if err := control.Do(ctx, "GET", "/devices", nil, &views); err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "DEVICE\tNAME\tSTATE\tLEVEL\tCLASS\tCODE\tLAST REPORT\tDECISION\tWHY")
		for _, v := range views {
			last := "never"
			if !v.LastReport.IsZero() {
				last = time.Since(v.LastReport).Round(time.Second).String() + " ago"
			}
			var why []string
			for _, r := range v.Decision.Reasons {
				why = append(why, r.Code)
			}
			code := ""
			if v.State == "pending" {
				code = v.CompareCode
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%s\t%s\t%s\t%s\n", v.ID, v.Name, v.State, v.Level, v.Class, code,
				last, v.Decision.Outcome, strings.Join(why, ","))
		}
		return w.Flush()
	})
}

type deviceShowCmd struct {
	ID string `arg:"" help:"The device's id."`
}

func (c *deviceShowCmd) Run(ctx context.Context, s *settings) error {
	return printFrom(ctx, s, "/devices/"+url.PathEscape(c.ID))
}

type deviceApproveCmd struct {
	ID    string `arg:"" help:"The device's id."`
	Code  string `help:"The code that the laptop shows (muster-agent status)." required:"" placeholder:"XXXX-XXXX"`
	Class string `help:"Whose laptop it is." enum:",corporate,byod,contractor,shared" default:""`
	Group string `help:"Its group." placeholder:"NAME"`
	Owner string `help:"Its owner." placeholder:"NAME"`
}

func (c *deviceApproveCmd) Run(ctx context.Context, s *settings) error {
	return changeDevice(ctx, s, c.ID, "approve", server.Approval{
		Code: strings.ToUpper(c.Code), Class: verify.Class(c.Class), Group: c.Group, Owner: c.Owner,
	})
}

type deviceRevokeCmd struct {
	ID  string `arg:"" help:"The device's id."`
	Why string `help:"Reason for the audit log." placeholder:"TEXT"`
}

func (c *deviceRevokeCmd) Run(ctx context.Context, s *settings) error {
	return changeDevice(ctx, s, c.ID, "revoke", server.Revocation{Why: c.Why})
}

func changeDevice(ctx context.Context, s *settings, id, action string, body any) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var v server.DeviceView
		if err := control.Do(ctx, "POST", "/devices/"+url.PathEscape(id)+"/"+action, body, &v); err != nil {
			return err
		}
		_, err := fmt.Printf("%s is %s at level %v.\n", v.ID, v.State, v.Level)
		return err
	})
}

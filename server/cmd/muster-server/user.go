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
	"muster/server/store"
)

// userCmd is about people.
type userCmd struct {
	List      userListCmd   `cmd:"" help:"List people."`
	Show      userShowCmd   `cmd:"" help:"Show a person with passkeys, sessions and laptops, as JSON."`
	Invite    userInviteCmd `cmd:"" help:"Ask somebody to register a first passkey: prints a link, once."`
	FirstLink firstLinkCmd  `cmd:"" help:"Print the link of the first administrator, as long as nobody can administer."`
	Import    userImportCmd `cmd:"" help:"Add and change people from a file (JSON); nobody is disabled by being absent."`
	Change    userChangeCmd `cmd:"" help:"Change what is known of a person."`
	Role      userRoleCmd   `cmd:"" help:"Give a person another role: person, help_desk, auditor, administrator."`
	Disable   disableCmd    `cmd:"" help:"Bar a person: ends their sessions, invitations and programs' tokens at once."`
	Enable    enableCmd     `cmd:"" help:"Let a person in again; what was ended stays so."`
}

type userListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *userListCmd) Run(ctx context.Context, s *settings) error {
	if c.JSON {
		return printFrom(ctx, s, "/users")
	}
	return withControl(ctx, s, func(control *server.Control) error {
		var users []struct {
			store.Person
			Passkeys int       `json:"passkeys"`
			Sessions int       `json:"sessions"`
			LastUse  time.Time `json:"last_use"`
		}
		if err := control.Do(ctx, "GET", "/users", nil, &users); err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "USER\tNAME\tROLE\tGROUPS\tSTATE\tPASSKEYS\tSESSIONS\tLAST SIGN-IN")
		for _, u := range users {
			state := "active"
			switch {
			case u.Disabled:
				state = "disabled"
			case u.Passkeys == 0:
				state = "invited"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", u.Name, u.Display, u.Role, strings.Join(u.Groups, ","), state,
				u.Passkeys, u.Sessions, ago(u.LastUse))
		}
		return w.Flush()
	})
}

// ago tells how long ago something was.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return time.Since(t).Round(time.Second).String() + " ago"
}

type userShowCmd struct {
	Name string `arg:"" help:"The person's user name."`
}

func (c *userShowCmd) Run(ctx context.Context, s *settings) error {
	return printFrom(ctx, s, userPath(c.Name))
}

func userPath(name string) string { return "/users/" + url.PathEscape(name) }

// invitation is server/people's, as JSON.
type invitation struct {
	Name      string     `json:"name"`
	Display   string     `json:"display,omitempty"`
	Mail      string     `json:"mail,omitempty"`
	Role      store.Role `json:"role,omitempty"`
	Groups    []string   `json:"groups,omitempty"`
	Approvers []string   `json:"approvers,omitempty"`
	Device    string     `json:"device,omitempty"`
	Days      int        `json:"days,omitempty"`
}

type userInviteCmd struct {
	Name      string   `arg:"" help:"User name: letters, digits and . _ - @ +, in lower case; never given again."`
	Display   string   `help:"Name for people to read." placeholder:"TEXT"`
	Mail      string   `help:"Mail address for notices." placeholder:"ADDRESS"`
	Role      string   `help:"person, help_desk, auditor or administrator." enum:",person,help_desk,auditor,administrator" default:""`
	Groups    []string `name:"group" help:"Group of the person." placeholder:"NAME"`
	Approvers []string `name:"approver" help:"Person who may approve this one's recovery." placeholder:"NAME"`
	Device    string   `help:"Only in a browser on this enrolled laptop." placeholder:"ID"`
	Days      int      `help:"How many days it may be accepted, 1 to 30." default:"7"`
	Out       string   `help:"Write the link to this new file (mode 0600) instead of printing it." placeholder:"FILE"`
}

func (c *userInviteCmd) Run(ctx context.Context, s *settings) error {
	if c.Days < 1 || c.Days > 30 {
		return usageError("an invitation lives 1 to 30 days")
	}
	return printLink(ctx, s, c.Out, "/invitations", invitation{
		Name: c.Name, Display: c.Display, Mail: c.Mail, Role: store.Role(c.Role), Groups: c.Groups,
		Approvers: c.Approvers, Device: c.Device, Days: c.Days,
	})
}

type firstLinkCmd struct {
	Out string `help:"Write the link to this new file (mode 0600) instead of printing it." placeholder:"FILE"`
}

func (c *firstLinkCmd) Run(ctx context.Context, s *settings) error {
	return printLink(ctx, s, c.Out, "/invitations/first", nil)
}

// printLink asks for a link and shows it, once. The file is made first: a link
// that cannot be written would be lost.
func printLink(ctx context.Context, s *settings, out, path string, body any) error {
	to := os.Stdout
	if out != "" {
		f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		to = f
	}
	err := withControl(ctx, s, func(control *server.Control) error {
		var made struct {
			Link string `json:"link"`
		}
		if err := control.Do(ctx, "POST", path, body, &made); err != nil {
			return err
		}
		_, err := fmt.Fprintln(to, made.Link)
		return err
	})
	if out == "" {
		return err
	}
	if closed := to.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(out) // ours, and it holds nothing
	}
	return err
}

type userImportCmd struct {
	File string `arg:"" help:"JSON: a list of people with name, display, mail, role, groups, approvers." type:"existingfile"`
}

func (c *userImportCmd) Run(ctx context.Context, s *settings) error {
	b, err := readFile(c.File, maxPeopleFile)
	if err != nil {
		return err
	}
	return withControl(ctx, s, func(control *server.Control) error {
		var done struct{ Added, Changed, Same int }
		if err := control.Do(ctx, "POST", "/users", b, &done); err != nil {
			return err
		}
		_, err := fmt.Printf("%d added, %d changed, %d as they were.\n", done.Added, done.Changed, done.Same)
		return err
	})
}

// maxPeopleFile bounds a file of people.
const maxPeopleFile = 10 << 20

type userChangeCmd struct {
	Name      string    `arg:"" help:"The person's user name."`
	Display   *string   `help:"Name for people to read." placeholder:"TEXT"`
	Mail      *string   `help:"Mail address for notices." placeholder:"ADDRESS"`
	Groups    *[]string `name:"group" help:"Groups, in place of those that the person has." placeholder:"NAME"`
	Approvers *[]string `name:"approver" help:"Approvers, in place of those that the person has." placeholder:"NAME"`
}

func (c *userChangeCmd) Run(ctx context.Context, s *settings) error {
	if c.Display == nil && c.Mail == nil && c.Groups == nil && c.Approvers == nil {
		return usageError("give --display, --mail, --group or --approver")
	}
	return turnUser(ctx, s, c.Name, "change", struct {
		Display   *string   `json:"display,omitempty"`
		Mail      *string   `json:"mail,omitempty"`
		Groups    *[]string `json:"groups,omitempty"`
		Approvers *[]string `json:"approvers,omitempty"`
	}{c.Display, c.Mail, c.Groups, c.Approvers})
}

type userRoleCmd struct {
	Name string `arg:"" help:"The person's user name."`
	Role string `arg:"" help:"person, help_desk, auditor or administrator." enum:"person,help_desk,auditor,administrator"`
}

func (c *userRoleCmd) Run(ctx context.Context, s *settings) error {
	return turnUser(ctx, s, c.Name, "change", map[string]string{"role": c.Role})
}

type disableCmd struct {
	Name string `arg:"" help:"The person's user name."`
	Why  string `help:"Reason for the audit log." placeholder:"TEXT"`
}

func (c *disableCmd) Run(ctx context.Context, s *settings) error {
	return turnUser(ctx, s, c.Name, "disable", server.Revocation{Why: c.Why})
}

type enableCmd struct {
	Name string `arg:"" help:"The person's user name."`
}

func (c *enableCmd) Run(ctx context.Context, s *settings) error {
	return turnUser(ctx, s, c.Name, "enable", nil)
}

// turnUser changes a person and says how they are now.
func turnUser(ctx context.Context, s *settings, name, action string, body any) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var p store.Person
		if err := control.Do(ctx, "POST", userPath(name)+"/"+action, body, &p); err != nil {
			return err
		}
		state := "is active"
		if p.Disabled {
			state = "is disabled"
		}
		_, err := fmt.Printf("%s %s, role %s.\n", p.Name, state, p.Role)
		return err
	})
}

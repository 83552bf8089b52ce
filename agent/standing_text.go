package agent

import (
	"fmt"
	"strings"
	"time"

	"muster/attest"
)

// String tells a person where the device stands and what to do.
func (s *Standing) String() string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-9s %s\n", name, value)
		}
	}
	line("server", s.Server)
	if s.Device == "" {
		line("state", "not enrolled")
		line("", `run "muster-agent enroll" as the system's administrator, or start the service;`)
		line("", "where the service's enrolment stands is for the administrator to ask")
		return b.String() + s.Trouble.text()
	}
	line("device", s.Device)
	line("level", s.Level)
	line("state", string(s.State))
	if s.Code != "" {
		line("code", s.Code+"  (whoever approves this device compares it)")
	}
	if s.State == attest.Revoked {
		line("", "this device was revoked and reports no more: ask your administrator")
	}
	line("decision", s.Decision.Outcome)
	if !s.At.IsZero() {
		line("as of", s.At.Local().Format(time.DateTime))
	}
	for _, r := range s.Decision.Reasons {
		fmt.Fprintf(&b, "\n- %s (%s)\n", r.Text, r.Code)
		if r.Fix != "" {
			fmt.Fprintf(&b, "  %s\n", r.Fix)
		}
		if !r.CountsFrom.IsZero() {
			fmt.Fprintf(&b, "  It counts from %s on.\n", r.CountsFrom.Local().Format("2006-01-02 15:04"))
		}
	}
	return b.String() + s.Changed.text() + s.Trouble.text()
}

// text is nothing for no trouble.
func (t *Trouble) text() string {
	if t == nil {
		return ""
	}
	text := fmt.Sprintf("\n! %s (%s)\n", t.Text, t.Code)
	if t.Fix != "" {
		text += "  " + t.Fix + "\n"
	}
	return text
}

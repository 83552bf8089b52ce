package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"muster/attest"
	"muster/platform"
)

// TPMFacts is what `doctor` wants to know of a TPM.
type TPMFacts struct {
	Info   attest.TPMInfo
	EK     *attest.EndorsementKey
	EKHash attest.Digest
	// Log is nil when the boot log can be read.
	Log error
}

// Check is one precondition that doctor looked at.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text"`          // what is
	Fix  string `json:"fix,omitempty"` // what to do; only when it is not OK
}

// clockSlack is how far the clock may be off before people are told: TLS
// certificates and one's own log entries suffer first.
const clockSlack = 2 * time.Minute

// Doctor looks at every precondition of reporting, each for itself, in the order
// in which they are needed. It changes nothing. look opens the TPM of a setting.
func (a *Agent) Doctor(ctx context.Context, look func(context.Context, string) (*TPMFacts, error)) []Check {
	checks := []Check{a.checkServerSet()}
	if checks[0].OK {
		checks = append(checks, a.checkServer(ctx)...)
	}
	checks = append(checks, a.checkState()...)
	checks = append(checks, a.checkToken())
	checks = append(checks, a.checkTPM(ctx, look)...)
	return append(checks, a.checkService(), a.checkLink(ctx))
}

func checked(name string, err error, text string) Check {
	if err == nil {
		return Check{Name: name, OK: true, Text: text}
	}
	return Check{Name: name, Text: err.Error(), Fix: troubleOf(err).Fix}
}

func (a *Agent) checkServerSet() Check {
	return checked("settings", a.Settings.NeedServer(), "server is "+a.Settings.Server)
}

// checkServer looks at way, name and clock.
func (a *Agent) checkServer(ctx context.Context) []Check {
	tenant, err := a.tenant(ctx)
	if err != nil {
		return []Check{checked("server", err, "")}
	}
	checks := []Check{checked("server", nil, "answers; tenant "+tenant.Tenant)}
	if a.client.date.IsZero() {
		return checks
	}
	off := a.Now().Sub(a.client.date).Round(time.Second)
	if off.Abs() > clockSlack {
		err = Hint(fmt.Errorf("this machine's clock is off by %v", off), "Turn on network time.")
	}
	return append(checks, checked("clock", err, "agrees with the server's"))
}

// checkState looks at the private folder and what it remembers.
func (a *Agent) checkState() []Check {
	dir := a.Settings.StateDir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return []Check{checked("state", Hint(errors.New("there is no state folder "+dir),
			`The agent makes it: run "muster-agent enroll", or start the service.`), "")}
	}
	s, err := (&folder{dir: dir}).load()
	if err != nil {
		return []Check{checked("state", err, "")}
	}
	checks := []Check{checked("state", nil, dir+" is private and readable")}
	if s.Enrolled == nil {
		err = Hint(errors.New("not enrolled"), `Run "muster-agent enroll", or start the service.`)
		return append(checks, checked("enrolment", err, ""))
	}
	e := s.Enrolled
	checks = append(checks, checked("enrolment", nil, fmt.Sprintf("device %s, level %s, %s", e.Device, e.Level, e.Answer.State)))
	if t := s.Changed; t != nil {
		checks = append(checks, Check{Name: "keys", Text: t.Text, Fix: t.Fix})
	}
	if t := s.Trouble; t != nil {
		checks = append(checks, Check{Name: "reports", Text: t.Text, Fix: t.Fix})
	}
	return checks
}

func (a *Agent) checkToken() Check {
	token, err := a.Settings.Token()
	text := "a token is set"
	if token == "" {
		text = "no token: an enrolment waits for an approval"
	}
	return checked("token", err, text)
}

// checkTPM looks at the TPM, what vouches for it, and the boot log.
func (a *Agent) checkTPM(ctx context.Context, look func(context.Context, string) (*TPMFacts, error)) []Check {
	if a.Settings.TPM == tpmNone {
		return []Check{checked("tpm", nil, "tpm: none; keys are files and prove nothing about hardware")}
	}
	facts, err := look(ctx, a.Settings.TPM)
	if err != nil {
		return []Check{checked("tpm", err, "")}
	}
	checks := []Check{
		checked("tpm", nil, fmt.Sprintf("%s %s, firmware %s", facts.Info.Manufacturer, facts.Info.Model, facts.Info.Firmware)),
		checked("ek hash", nil, hex.EncodeToString(facts.EKHash[:])), // as servers list it
	}
	err, text := error(nil), "found for template "+string(facts.EK.Template)
	if len(facts.EK.Certificate) == 0 {
		err = Hint(errors.New("the TPM holds no endorsement certificate"),
			"List the EK hash at the server beforehand, or have this device approved.")
	}
	checks = append(checks, checked("ek certificate", err, text))
	return append(checks, checked("boot log", a.explainLog(facts.Log), "can be read"))
}

// explainLog says what a missing log means.
func (a *Agent) explainLog(err error) error {
	switch {
	case err == nil, len(Hints(err)) > 0:
		return err
	case errors.Is(err, attest.ErrPermission), errors.Is(err, fs.ErrPermission):
		return Hint(err, "Only root reads the boot log: run the agent as the system service.")
	}
	return Hint(err, "Without a boot log, claims about the boot stay unknown; some firmware keeps none.")
}

// checkService looks whether an agent runs.
func (a *Agent) checkService() Check {
	const fix = `Run "muster-agent install", then "muster-agent start".`
	path := filepath.Join(a.Settings.StateDir, lockFile)
	if _, err := os.Stat(path); err != nil {
		return checked("service", Hint(errors.New("no agent ran here yet"), fix), "")
	}
	release, err := platform.Lock(path)
	if errors.Is(err, platform.ErrLocked) {
		return checked("service", nil, "an agent runs")
	}
	if err == nil {
		err = errors.Join(Hint(errors.New("no agent runs"), fix), release())
	}
	return checked("service", err, "")
}

// checkLink looks whether pages and the person's commands can link a session.
func (a *Agent) checkLink(ctx context.Context) Check {
	const fix = `Set link_user to the account of the person who uses this machine.`
	guests, err := a.guests()
	if err != nil {
		return checked("link", Hint(fmt.Errorf("who may link a browser is not known: %w", err), fix), "")
	}
	who := "nobody is signed in at this machine's screen"
	if len(guests) > 0 {
		who = "account " + strings.Join(guests, ", ") + " may link a browser"
	}
	if a.Settings.LinkPort == 0 {
		return checked("link", nil, who+"; link_port is not set: by muster:// and by code")
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Settings.LinkPort))
	dialer := net.Dialer{Timeout: time.Second}
	c, err := dialer.DialContext(ctx, "tcp4", address)
	if err != nil {
		return checked("link", Hint(fmt.Errorf("no agent listens for pages: %w", err), `Start the service: "muster-agent start".`), "")
	}
	return checked("link", c.Close(), who+"; pages are answered at "+address)
}

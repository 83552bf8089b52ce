package localserve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server"
	"muster/server/verify"
)

// Options are what a person or a test may choose.
type Options struct {
	// Once ends after the first decision.
	Once bool
	// JSON prints one [Summary] on standard output and nothing else there.
	JSON bool
	// TPM is the agent's setting: auto, none, device:, unix:, tcp:.
	TPM string
	// EKRoots and VTPMRoots are passed to the server.
	EKRoots, VTPMRoots []string
	// Policy is a YAML file; empty: the policy in the program.
	Policy string
	// App is the sample application.
	App string
	// Stdin, Stdout and Stderr are the person's.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Log            *slog.Logger
}

// Summary is what localserve --once --json prints.
type Summary struct {
	Device   string             `json:"device"`
	State    attest.DeviceState `json:"state"`
	Level    verify.Level       `json:"level"`
	Claims   posture.Claims     `json:"claims"`
	Decision string             `json:"decision"`
	Reasons  []attest.Reason    `json:"reasons"`
}

// Run does it all. It returns when ctx ends, or after the first decision with
// Once; a decision other than allow is no error.
func Run(ctx context.Context, o Options) (err error) {
	dir, err := os.MkdirTemp("", "muster-localserve-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, err := findAgent(ctx, dir, o.Stderr)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("opening the listener: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return errors.Join(err, l.Close())
	}
	linkPort, err := freePort()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	// Browsers take names below .localhost for this machine and for as safe as
	// https (RFC 6761); passkeys need a name, and a dot in the RP ID.
	url := "http://id." + rpID + ":" + port
	policy := o.Policy
	if policy == "" {
		if policy, err = samplePolicy(dir); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	apps, err := newSamples(policy, port)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	srv, err := server.New(ctx, server.Config{
		DataDir: filepath.Join(dir, "server"), Listen: l.Addr().String(), PublicURL: url, RPID: rpID, LinkPort: linkPort,
		EKRoots: o.EKRoots, VTPMRoots: o.VTPMRoots, Policy: policy, ReportEvery: 10, Front: apps.front,
	}, o.Log, time.Now)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if err := apps.open(ctx, srv); err != nil {
		return errors.Join(err, l.Close(), srv.Close())
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(serving, l) }()
	t := &trial{Options: o, srv: srv, dir: dir, url: url, apps: apps}
	t.agent = newAgent(path, dir, url, filepath.Join(dir, "token"), o.Stderr)
	t.agent.link(linkPort)
	err = t.run(ctx)
	stop()
	return errors.Join(err, <-served, srv.Close())
}

// rpID is what passkeys are bound to here; the server is at id.muster.localhost.
const rpID = "muster.localhost"

// freePort finds a port for the agent's listener. Another program may take it
// before the agent does; then pages say that no agent answers.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a port for the agent: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// trial is one run.
type trial struct {
	Options
	srv   *server.Server
	agent *agentProgram
	dir   string
	url   string
	apps  *samples
	last  []byte
}

func (t *trial) run(ctx context.Context) error {
	if err := t.chooseKey(ctx); err != nil {
		return err
	}
	if err := t.writeToken(ctx); err != nil {
		return err
	}
	if err := t.agent.enrol(ctx); err != nil {
		return err
	}
	view, err := t.device()
	if err != nil {
		return err
	}
	if t.JSON && t.Once {
		return t.printJSON(view)
	}
	t.print(view)
	if t.Once {
		return nil
	}
	return t.stay(ctx)
}

// chooseKey settles which kind of key the machine gets, and says so. Only here,
// for trying, a TPM that cannot be used leads to a software key.
func (t *trial) chooseKey(ctx context.Context) error {
	if t.TPM == "auto" {
		tpm, err := t.agent.usableTPM(ctx)
		if err != nil {
			return err
		}
		if !tpm.OK {
			fmt.Fprintf(t.Stderr, "No usable TPM: %s\n", tpm.Text)
			if tpm.Fix != "" {
				fmt.Fprintf(t.Stderr, "  %s\n", tpm.Fix)
			}
			fmt.Fprintln(t.Stderr, "  Going on with a software key, which proves nothing about hardware.")
			t.TPM = "none"
		}
	}
	t.agent.env = append(t.agent.env, "MUSTER_TPM="+t.TPM)
	return nil
}

func (t *trial) writeToken(ctx context.Context) error {
	level := verify.VTPM
	if t.TPM == "none" {
		level = verify.Software
	}
	made, err := t.srv.CreateToken(ctx, server.TokenRequest{
		Label: "localserve", Class: verify.ClassCorporate, Uses: 1, ExpiresS: 600, MinLevel: level,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.dir, "token"), []byte(made.Token+"\n"), 0o600)
}

// device is the one device that there is.
func (t *trial) device() (*server.DeviceView, error) {
	for _, view := range t.srv.Devices() {
		return &view, nil
	}
	return nil, errors.New("the agent enrolled, but the server has no device")
}

func (t *trial) printJSON(view *server.DeviceView) error {
	s := Summary{Device: view.ID, State: view.State, Level: view.Level, Decision: view.Decision.Outcome, Reasons: view.Decision.Reasons}
	if view.Result != nil {
		s.Claims = view.Result.Claims
	}
	if t.App != "" {
		decision := t.srv.Decision(view.ID, t.App)
		s.Decision, s.Reasons = decision.Outcome, decision.Reasons
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.Stdout, "%s\n", b)
	return err
}

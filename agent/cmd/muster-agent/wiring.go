package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"muster/agent"
	"muster/attest"
	"muster/attest/posture"
	"muster/attest/softkey"
	"muster/attest/tpm"
	"muster/collectors"
	"muster/platform"
	"muster/platform/seat"
)

// newAgent joins the parts for one set of settings.
func newAgent(s *agent.Settings) (*agent.Agent, error) {
	transport, err := agent.Transport(s.CAFile)
	if err != nil {
		return nil, &agent.SettingsError{Err: err}
	}
	machine, err := newMachine("/")
	if err != nil {
		return nil, err
	}
	began := time.Now()
	return agent.New(agent.Config{
		Settings: s,
		Version:  programVersion(),
		Look:     (&collectors.Lookout{Machine: machine}).Look,
		LookNow: func(ctx context.Context) posture.Claims { // who has not looked yet leaves nothing out
			return (&collectors.Lookout{Machine: machine}).Look(ctx, false)
		},
		OpenKeys: openKeys,
		BootID:   func() (string, error) { return agent.BootID("/") },
		HTTP:     transport,
		Log:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: s.LogLevel})),
		Now:      time.Now,
		Up:       func() time.Duration { return time.Since(began) },
		Random:   rand.Float64,
		TCPPeer:  seat.TCPPeer,
		UnixPeer: seat.UnixPeer,
		Active:   seat.Active,
		Locked: func(ctx context.Context, session string) (bool, error) {
			return seat.Locked(ctx, platform.Host().Run, session)
		},
	}), nil
}

// newMachine is the machine whose files are below root; only on the running one
// may programs be run.
func newMachine(root string) (*collectors.Machine, error) {
	tree, err := collectors.NewTree(root)
	if err != nil {
		return nil, err
	}
	m := &collectors.Machine{Tree: tree, Now: time.Now}
	if tree.Live() {
		m.Run = platform.Host().Run
	}
	return m, nil
}

// openKeys opens what the setting tpm names.
func openKeys(ctx context.Context, k agent.KeyPlace) (attest.Attester, error) {
	if k.TPM == "none" {
		const name = "soft"
		return softkey.Open(
			func() ([]byte, error) { return k.Blobs.Load(name) },
			func(b []byte) error { return k.Blobs.Save(name, b) },
		)
	}
	return tpm.Open(ctx, tpm.Config{
		Setting: k.TPM, Tenant: k.Tenant, Secret: k.Secret, EK: k.EK, DK: k.DK, Wrapped: k.Blobs,
	})
}

// tpmFacts looks at a TPM without making any key of ours.
func tpmFacts(ctx context.Context, setting string) (*agent.TPMFacts, error) {
	t, err := tpm.Open(ctx, tpm.Config{Setting: setting})
	if err != nil {
		return nil, err
	}
	defer t.Close() // nothing is written through it
	facts := new(agent.TPMFacts)
	if facts.Info, err = t.Info(ctx); err != nil {
		return nil, err
	}
	if facts.EK, err = t.Endorsement(ctx); err != nil {
		return nil, err
	}
	if facts.EKHash, err = tpm.EKHash(facts.EK); err != nil {
		return nil, err
	}
	_, facts.Log = t.BootLog()
	return facts, nil
}

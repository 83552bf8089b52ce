package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"muster/server/decide"
	"muster/server/store"
)

// loadPolicy reads a policy file, or the policy in the program for none.
func loadPolicy(file string) (p *decide.Policy, text []byte, err error) {
	if file == "" {
		p, yaml, err := decide.Default()
		return p, []byte(yaml), err
	}
	if text, err = os.ReadFile(file); err != nil {
		return nil, nil, fmt.Errorf("reading the policy: %w", err)
	}
	p, err = decide.Load(file, text)
	return p, text, err
}

// ReloadPolicy reads the policy file again and replaces the running policy
// whole: every check that begins afterwards is answered by the new one. A policy
// that does not load is an error, and the running one stays. Without a file the
// policy stays that somebody put into use from a page.
func (s *Server) ReloadPolicy(ctx context.Context) error {
	s.policyMu.Lock()
	defer s.policyMu.Unlock()
	p, text, err := loadPolicy(s.config.Policy)
	if err != nil {
		return err
	}
	if s.config.Policy == "" {
		active, err := s.activePolicy(ctx)
		if err != nil {
			return err
		}
		if active != nil && active.LoadedBy != localActor {
			if p, err = decide.Load("policy in use", active.YAML); err != nil {
				return fmt.Errorf("the policy that %s put into use is not understood any more; give a file with --policy: %w", active.LoadedBy, err)
			}
			text = active.YAML
		}
	}
	return s.activate(ctx, p, text, localActor)
}

// activePolicy is the policy that the store has; nil: none yet.
func (s *Server) activePolicy(ctx context.Context) (active *store.Policy, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) (err error) {
		if active, err = tx.ActivePolicy(); errors.Is(err, store.ErrNotFound) {
			active, err = nil, nil
		}
		return err
	})
	return active, err
}

// activate puts a loaded policy into use. The caller holds policyMu.
func (s *Server) activate(ctx context.Context, p *decide.Policy, text []byte, by string) error {
	own, _ := splitOrigin(s.config.PublicURL)
	for _, a := range p.Apps() {
		// Cookies know no ports: an application there would be sent everybody's session.
		if slices.Contains(a.Hosts, own) {
			return fmt.Errorf("application %s has this server's own host %s: give it a host of its own", a.ID, own)
		}
	}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		active, err := tx.ActivePolicy()
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil && bytes.Equal(active.YAML, text) {
			return nil
		}
		digest, err := tx.ActivatePolicy(text, by)
		if err != nil {
			return err
		}
		return audit(tx, by, "policy.use", digest.String(), struct{}{})
	})
	if err != nil {
		return err
	}
	s.policy.Store(p)
	if s.people != nil { // not while the server is opened
		s.lookNow(ctx)
	}
	s.log.Info("policy in use", "policy", p.Digest())
	return nil
}

// storedPolicy decides as the server did that ran last, by the policy in the
// program when none ran yet. One that this program does not understand any more
// denies everything, and is no reason not to revoke a device.
func (s *Server) storedPolicy(ctx context.Context) error {
	var active *store.Policy
	err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		active, err = tx.ActivePolicy()
		return err
	})
	p := new(decide.Policy)
	switch {
	case errors.Is(err, store.ErrNotFound):
		p, _, err = loadPolicy("")
	case err == nil:
		loaded, problem := decide.Load("policy in use", active.YAML)
		if problem != nil {
			s.log.Warn("policy in use is not understood; decisions are shown as deny", "error", problem)
			break
		}
		p = loaded
	}
	s.policy.Store(p)
	return err
}

// replacePolicy handles the control socket's POST /policy: read the file again.
func (s *Server) replacePolicy(r *http.Request, _ []byte) (any, error) {
	if err := s.ReloadPolicy(r.Context()); err != nil {
		return nil, refuse(http.StatusConflict, "policy-refused", err.Error(), "Mend the file; the running policy stays in use.")
	}
	return struct {
		Policy string `json:"policy"`
	}{s.policy.Load().Digest()}, nil
}

// Question asks what a gateway would be told.
type Question struct {
	Device string `json:"device"`
	App    string `json:"app"`
}

// evaluate handles the control socket's POST /evaluate.
func (s *Server) evaluate(_ *http.Request, body []byte) (any, error) {
	var q Question
	if err := read(body, &q); err != nil {
		return nil, err
	}
	return json.RawMessage(s.Check(q.Device, q.App).Bytes()), nil
}

// ready reports whether the store answered within the last second, or does now.
func (s *Server) ready(ctx context.Context) error {
	s.readyMu.Lock()
	defer s.readyMu.Unlock()
	if now := s.now(); now.Sub(s.readyAt) >= time.Second {
		s.readyAt = now
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // the answer is for all
		defer cancel()
		s.readyErr = s.store.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Meta()
			return err
		})
	}
	return s.readyErr
}

// PublicURL is what agents call this server.
func (s *Server) PublicURL() string { return s.config.PublicURL }

package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"muster/server/decide"
	"muster/server/store"
)

// loadPolicy reads a policy file, or the policy in the program for none.
func loadPolicy(file string) (*decide.Policy, error) {
	if file == "" {
		p, _, err := decide.Default()
		return p, err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the policy: %w", err)
	}
	return decide.Load(file, b)
}

// ReloadPolicy reads the policy file again. A policy that does not load is an
// error, and the running one stays.
func (s *Server) ReloadPolicy(ctx context.Context) error {
	p, err := loadPolicy(s.config.Policy)
	if err != nil {
		return err
	}
	return s.usePolicy(ctx, p)
}

// usePolicy replaces the running policy whole: every check that begins
// afterwards is answered by it.
func (s *Server) usePolicy(ctx context.Context, p *decide.Policy) error {
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		return audit(tx, localActor, "policy.use", p.Digest(), struct {
			Before string `json:"before"`
		}{s.policy.Load().Digest()})
	})
	if err != nil {
		return err
	}
	s.policy.Store(p)
	s.log.Info("policy in use", "policy", p.Digest())
	return nil
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

// ready reports whether the store takes writes.
func (s *Server) ready(ctx context.Context) error {
	return s.store.View(ctx, func(tx *store.Tx) error {
		_, err := tx.Meta()
		return err
	})
}

// PublicURL is what agents call this server.
func (s *Server) PublicURL() string { return s.config.PublicURL }

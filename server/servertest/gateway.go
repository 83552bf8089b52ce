package servertest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"

	"muster/attest"
	"muster/server"
	"muster/server/gateway"
)

// Gateway asks a server for decisions by AuthZEN 1.0, with a credential of its
// own.
type Gateway struct {
	s      *Server
	secret string
}

// Answer is what it is told.
type Answer struct {
	Allowed bool
	Outcome string
	Reasons []attest.Reason
}

// Gateway makes a credential that may ask about applications.
func (s *Server) Gateway(apps ...string) *Gateway {
	s.t.Helper()
	var made server.NewGateway
	s.must("POST", "/gateways", server.GatewayRequest{Name: "test", Apps: apps}, &made)
	return &Gateway{s, made.Secret}
}

// Ask asks whether a device may use an application now.
func (g *Gateway) Ask(device, app string) Answer {
	t := g.s.t
	t.Helper()
	question, err := json.Marshal(map[string]any{
		"subject":  map[string]string{"type": "device", "id": device},
		"action":   map[string]string{"name": "access"},
		"resource": map[string]string{"type": "app", "id": app},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+g.s.Config.Listen+gateway.PathEvaluation, bytes.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+g.secret)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Decision bool `json:"decision"`
		Context  struct {
			Outcome string          `json:"outcome"`
			Reasons []attest.Reason `json:"reasons"`
		} `json:"context"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("AuthZEN answer %s: %v", resp.Status, err)
	}
	return Answer{answer.Decision, answer.Context.Outcome, answer.Context.Reasons}
}

// Has reports whether a reason with this code is among the answer's.
func (a Answer) Has(code string) bool { return hasReason(a.Reasons, code) }

func hasReason(reasons []attest.Reason, code string) bool {
	return slices.ContainsFunc(reasons, func(r attest.Reason) bool { return r.Code == code })
}

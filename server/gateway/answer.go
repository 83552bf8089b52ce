package gateway

import (
	"encoding/json"
	"fmt"
	"time"

	"muster/server/decide"
)

// Answer is a decision ready to be served: encoded once when it is made, so that
// a check only copies it. The zero Answer denies.
type Answer struct {
	allow bool
	body  []byte
}

// reason is one cause on the wire.
type reason struct {
	Code  string `json:"code"`
	Claim string `json:"claim,omitempty"`
	Text  string `json:"text,omitempty"`
	Fix   string `json:"fix,omitempty"`
}

// answerContext is what AuthZEN's context carries beside the decision.
type answerContext struct {
	Outcome string   `json:"outcome"`
	Reasons []reason `json:"reasons"`
	Until   string   `json:"until,omitempty"` // when time alone changes the answer
}

type evaluation struct {
	Decision bool          `json:"decision"`
	Context  answerContext `json:"context"`
}

// NewAnswer encodes a decision.
func NewAnswer(d decide.Decision) (Answer, error) {
	e := evaluation{
		Decision: d.Outcome == decide.Allow,
		Context:  answerContext{Outcome: d.Outcome.String(), Reasons: make([]reason, 0, len(d.Reasons))},
	}
	if !d.Until.IsZero() {
		e.Context.Until = d.Until.UTC().Format(time.RFC3339)
	}
	for _, r := range d.Reasons {
		e.Context.Reasons = append(e.Context.Reasons, reason{Code: r.Code, Claim: r.Claim, Text: r.Text, Fix: r.Fix})
	}
	body, err := json.Marshal(e)
	if err != nil {
		return Answer{}, fmt.Errorf("encoding answer: %w", err)
	}
	return Answer{allow: e.Decision, body: append(body, '\n')}, nil
}

// Refusal is an answer of deny for one reason that no policy made.
func Refusal(code, text, fix string) Answer {
	body, err := json.Marshal(evaluation{Context: answerContext{
		Outcome: decide.Deny.String(), Reasons: []reason{{Code: code, Text: text, Fix: fix}},
	}})
	if err != nil {
		return Answer{} // denies without a reason
	}
	return Answer{body: append(body, '\n')}
}

// Allowed reports whether the answer lets the request through as it is.
func (a Answer) Allowed() bool { return a.allow }

// Bytes returns the AuthZEN response body. An answer that was never made is a
// refusal.
func (a Answer) Bytes() []byte {
	if a.body == nil {
		return []byte(`{"decision":false,"context":{"outcome":"deny","reasons":[{"code":"internal"}]}}` + "\n")
	}
	return a.body
}

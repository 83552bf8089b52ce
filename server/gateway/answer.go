package gateway

import (
	"encoding/json"
	"sync"
	"time"

	"muster/server/decide"
)

// Answer is a decision ready to be served. It is encoded when it is first asked
// for, and copied from then on. The zero Answer denies. It must not be copied.
type Answer struct {
	decision decide.Decision
	once     sync.Once
	body     []byte // owner: once
}

// reason is one cause on the wire.
type reason struct {
	Code  string `json:"code"`
	Claim string `json:"claim,omitempty"`
	Text  string `json:"text,omitempty"`
	Fix   string `json:"fix,omitempty"`
	// CountsFrom is when a reason begins to count, where it has grace.
	CountsFrom string `json:"counts_from,omitempty"`
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

// NewAnswer makes the answer that serves a decision.
func NewAnswer(d decide.Decision) *Answer { return &Answer{decision: d} }

// Refusal is an answer of deny for one reason that no policy made.
func Refusal(code, text, fix string) *Answer {
	return NewAnswer(decide.Decision{Reasons: []decide.Reason{{Code: code, Text: text, Fix: fix}}})
}

// Allowed reports whether the answer lets the request through as it is.
func (a *Answer) Allowed() bool { return a.decision.Outcome == decide.Allow }

// Bytes returns the AuthZEN response body. The caller must not change it.
func (a *Answer) Bytes() []byte {
	a.once.Do(a.encode)
	return a.body
}

// unencodable is served where the encoder fails, which is a defect of ours.
const unencodable = `{"decision":false,"context":{"outcome":"deny","reasons":[{"code":"internal"}]}}`

func (a *Answer) encode() {
	d := &a.decision
	e := evaluation{
		Decision: a.Allowed(),
		Context:  answerContext{Outcome: d.Outcome.String(), Reasons: make([]reason, 0, len(d.Reasons)), Until: wireTime(d.Until)},
	}
	for _, r := range d.Reasons {
		if r.ReportOnly {
			continue
		}
		e.Context.Reasons = append(e.Context.Reasons, reason{
			Code: r.Code, Claim: r.Claim, Text: r.Text, Fix: r.Fix, CountsFrom: wireTime(r.Grace),
		})
	}
	body, err := json.Marshal(e)
	if err != nil {
		body = []byte(unencodable)
	}
	a.body = append(body, '\n')
}

// wireTime is RFC 3339 in UTC; empty for none.
func wireTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

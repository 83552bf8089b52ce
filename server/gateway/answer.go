package gateway

import (
	"encoding/json"
	"sync"
	"time"

	"muster/server/decide"
)

// Answer is a decision ready to be served. Each form of it is made when it is first
// asked for, and copied from then on. The zero Answer denies. It must not be copied.
type Answer struct {
	decision decide.Decision
	who      Identity
	encoded  sync.Once
	body     []byte // owner: encoded
	rendered sync.Once
	headers  *identityValues // owner: rendered
}

// reason is one cause on the wire.
type reason struct {
	Code  string `json:"code"`
	Claim string `json:"claim,omitempty"`
	Text  string `json:"text,omitempty"`
	Fix   string `json:"fix,omitempty"`
	// CountsFrom is when a reason begins to count, where it does not yet.
	CountsFrom string `json:"counts_from,omitempty"`
}

// NewAnswer makes the answer that serves a decision about somebody, or about a
// laptop (the zero Identity).
func NewAnswer(d decide.Decision, who Identity) *Answer { return &Answer{decision: d, who: who} }

// Decision is what is served. It must not be changed.
func (a *Answer) Decision() *decide.Decision { return &a.decision }

// Identity is whom it is about. It must not be changed.
func (a *Answer) Identity() *Identity { return &a.who }

// Refusal is an answer of deny for one reason that no policy made.
func Refusal(code, text, fix string) *Answer {
	return NewAnswer(decide.Decision{Reasons: []decide.Reason{{Code: code, Text: text, Fix: fix}}}, Identity{})
}

// Allowed reports whether the answer lets the request through as it is.
func (a *Answer) Allowed() bool { return a.decision.Outcome == decide.Allow }

// Bytes returns the AuthZEN response body about a laptop, for a caller that does
// not enforce restrictions. The caller must not change it.
func (a *Answer) Bytes() []byte {
	a.encoded.Do(func() {
		a.body = append(encode(a.evaluation(a.Allowed(), aboutDevice)), '\n')
	})
	return a.body
}

// unencodable is served where the encoder fails, which is a defect of ours.
const unencodable = `{"decision":false,"context":{"outcome":"deny","reasons":[{"code":"internal"}]}}`

func encode(e evaluation) []byte {
	body, err := json.Marshal(e)
	if err != nil {
		return []byte(unencodable)
	}
	return body
}

// reasons are those that somebody outside is told: not what is on trial. What
// counts later, for grace or because an administrator lets it pass, says when.
func (a *Answer) reasons() []reason {
	list := make([]reason, 0, len(a.decision.Reasons))
	for i := range a.decision.Reasons {
		r := &a.decision.Reasons[i]
		if r.ReportOnly {
			continue
		}
		from := r.Grace
		if r.Bypass.After(from) {
			from = r.Bypass
		}
		list = append(list, reason{Code: r.Code, Claim: r.Claim, Text: r.Text, Fix: r.Fix, CountsFrom: wireTime(from)})
	}
	return list
}

// decisive is the first reason of those that made the outcome.
func (a *Answer) decisive() decide.Reason {
	for i := range a.decision.Reasons {
		if r := &a.decision.Reasons[i]; counts(r) && r.Outcome == a.decision.Outcome {
			return *r
		}
	}
	return decide.Reason{Code: codeInternal}
}

// counts reports whether a reason has a say in the outcome.
func counts(r *decide.Reason) bool {
	return !r.ReportOnly && r.Grace.IsZero() && r.Bypass.IsZero()
}

// because is the answer with one more reason, in front.
func (a *Answer) because(code, text, fix string) *Answer {
	d := a.decision
	d.Reasons = append([]decide.Reason{{Code: code, Text: text, Fix: fix, Outcome: d.Outcome}}, d.Reasons...)
	return NewAnswer(d, a.who)
}

// wireTime is RFC 3339 in UTC; empty for none.
func wireTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

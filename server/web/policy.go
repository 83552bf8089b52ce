package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"muster/server/decide"
	"muster/server/people"
)

// maxPolicyForm is a policy of the largest size as a form writes it: some
// characters as three, and the text once.
const maxPolicyForm = 3<<20 + 64<<10

// policyView is the running policy, and another one that is tried.
type policyView struct {
	Digest string
	Text   string
	File   string // empty: pages may replace it
	May    bool   // replace it
	// Of the one that is tried; Tried is false before.
	Tried    bool
	Draft    string
	Problems decide.Problems
	Sim      *Simulation
	Same     bool // it is the running one
	Changes  []changeView
	More     int // changes that are not shown
	Failed   int // tests
}

// Usable: it may replace the running one. What fails its own tests may not.
func (v policyView) Usable() bool {
	return v.May && v.File == "" && v.Sim != nil && !v.Same && v.Failed == 0
}

// changeView is what would be another for somebody, in words.
type changeView struct {
	SimulatedChange
	Worse       bool
	From, To    mark
	Who, Laptop string
}

func (s *site) policyPage(w http.ResponseWriter, r *request) error {
	return s.showPolicy(w, r, policyView{})
}

func (s *site) showPolicy(w http.ResponseWriter, r *request, v policyView) error {
	v.Digest, v.Text, v.File = s.Office.Policy()
	v.May = r.who.Is(administrators()...)
	if !v.Tried {
		v.Draft = v.Text
	}
	return s.show(w, r, "policy", "Policy", v)
}

// policyTry says what another policy would change. Nothing is changed by it.
func (s *site) policyTry(w http.ResponseWriter, r *request) error {
	v := policyView{Tried: true, Draft: policyText(r)}
	sim, err := s.Office.Simulate(r.Context(), v.Draft)
	if errors.As(err, &v.Problems) {
		return s.showPolicy(w, r, v)
	}
	if err != nil {
		return err
	}
	v.Sim = sim
	running, _, _ := s.Office.Policy()
	v.Same = sim.Digest == running
	for _, t := range sim.Tests {
		if t.Problem != "" {
			v.Failed++
		}
	}
	for i, c := range sim.Changes {
		if i == maxListed {
			v.More = len(sim.Changes) - maxListed
			break
		}
		v.Changes = append(v.Changes, changeView{SimulatedChange: c, Worse: c.After < c.Before,
			From: decisionMark(c.Before), To: decisionMark(c.After), Who: c.Person, Laptop: firstOf(c.Laptop, c.Device)})
	}
	return s.showPolicy(w, r, v)
}

// policyUse replaces the running policy with the very text that was tried: what was
// typed since is not it.
func (s *site) policyUse(w http.ResponseWriter, r *request) error {
	draft := policyText(r)
	sum := sha256.Sum256([]byte(draft))
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(r.PostFormValue("digest"))) != 1 {
		return &people.Refusal{Status: http.StatusConflict, Code: "policy-untried",
			Text: "This is not the text that was tried; nothing was changed.", Fix: "Go back, try the policy again, and look at what it would change."}
	}
	if _, _, file := s.Office.Policy(); file != "" {
		return &people.Refusal{Status: http.StatusConflict, Code: "policy-file",
			Text: "The policy of this server comes from a file, which pages do not change.", Fix: "Change the file " + file + " on the server and reload it."}
	}
	// Between trying and using, the program may have changed: what is no policy any
	// more is told like a draft.
	err := s.Office.UsePolicy(r.Context(), actor(r.who), draft)
	var problems decide.Problems
	if errors.As(err, &problems) {
		return s.showPolicy(w, r, policyView{Tried: true, Draft: draft, Problems: problems})
	}
	if err != nil {
		return err
	}
	return s.done(w, r, "/office/policy", "policy-used")
}

// policyText is the text as it was meant: forms end lines with CR LF.
func policyText(r *request) string {
	return strings.ReplaceAll(r.PostFormValue("text"), "\r\n", "\n")
}

// decisionMark puts an outcome in a word. What is none of the four denies.
func decisionMark(o decide.Outcome) mark {
	switch o {
	case decide.Allow:
		return mark{"ok", "open"}
	case decide.Restrict:
		return mark{"info", "restricted"}
	case decide.StepUp:
		return mark{"wait", "one more step"}
	}
	return mark{"bad", "closed"}
}

func firstOf(all ...string) string {
	for _, one := range all {
		if one != "" {
			return one
		}
	}
	return ""
}

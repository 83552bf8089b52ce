package gateway

import (
	"strconv"
	"strings"

	"muster/server/decide"
	"muster/server/session"
)

// Claims of reasons that say what a person must do (server/decide).
const (
	claimVerification = "verification" // a fresh user verification
	claimPasskey      = "passkey"      // another passkey
	claimLink         = "link"         // a better or younger link to the laptop
	claimSession      = "session"      // another session
)

// steps are what a step_up asks for.
type steps struct {
	signIn, link, stepUp bool
	verified, attested   bool // of stepUp: what it is about
}

func (a *Answer) steps() (s steps) {
	if a.decision.Outcome != decide.StepUp {
		return s
	}
	if a.who.Session == "" {
		return steps{signIn: true}
	}
	for i := range a.decision.Reasons {
		r := &a.decision.Reasons[i]
		if !counts(r) || r.Outcome != decide.StepUp {
			continue
		}
		switch r.Claim {
		case claimLink:
			s.link = true
		case claimSession:
			s.signIn = true
		case claimVerification:
			s.stepUp, s.verified = true, true
		case claimPasskey:
			s.stepUp, s.attested = true, true
		default:
			s.stepUp = true
		}
	}
	return s
}

// maxAge is how many seconds old a verification may be where a fresh one is asked.
func maxAge() int { return int(session.FreshFor.Seconds()) }

// challenge is what a step_up asks for, as a header: to sign in (RFC 6750 §3), or
// how to do it again (RFC 9470 §3).
func (a *Answer) challenge() string {
	const scheme = `Bearer realm="muster"`
	if a.who.Session == "" {
		return scheme
	}
	b := scheme + `, error="insufficient_user_authentication", error_description="` + quotable(a.decisive().Text) + `"`
	s := a.steps()
	if s.attested {
		b += `, acr_values="` + session.ACRAttested + `"`
	}
	if s.verified {
		b += `, max_age="` + strconv.Itoa(maxAge()) + `"`
	}
	return b
}

// quotable is text fit for error_description (RFC 6750 §3): printable ASCII without
// quotation marks and backslashes.
func quotable(s string) string {
	const most = 200
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		}
		return r
	}, s[:min(len(s), most)])
}

// obligation is what an AuthZEN caller has to do (AuthZEN 1.0 §5.5.2 leaves its form
// to us).
type obligation struct {
	ID        string   `json:"id"`
	ACRValues string   `json:"acr_values,omitempty"`
	MaxAge    int      `json:"max_age,omitempty"` // seconds
	Methods   []string `json:"methods,omitempty"` // those that may pass
}

// The obligations.
const (
	mustSignIn   = "sign-in"     // have the person sign in at muster
	mustStepUp   = "step-up"     // have the person do more in the session that is
	mustLink     = "link"        // have the browser prove again which laptop it is on
	mustEnd      = "end-session" // end what was opened on the strength of this session
	mustReadOnly = readOnly
)

// obligations are what comes with an answer. Of a session that is no more, whatever
// the caller keeps on its strength must end.
func (a *Answer) obligations(about subjectKind) (list []obligation) {
	if about == aboutSession && a.who.Session == "" {
		list = append(list, obligation{ID: mustEnd})
	}
	if a.decision.Outcome == decide.Restrict {
		list = append(list, obligation{ID: mustReadOnly, Methods: []string{"GET", "HEAD", "OPTIONS"}})
	}
	s := a.steps()
	if s.signIn && about == aboutSession {
		list = append(list, obligation{ID: mustSignIn})
	}
	if s.link {
		list = append(list, obligation{ID: mustLink})
	}
	if s.stepUp {
		o := obligation{ID: mustStepUp}
		if s.attested {
			o.ACRValues = session.ACRAttested
		}
		if s.verified {
			o.MaxAge = maxAge()
		}
		list = append(list, o)
	}
	return list
}

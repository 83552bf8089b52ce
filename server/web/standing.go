package web

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"muster/server/decide"
	"muster/server/people"
	"muster/server/session"
)

// What a reason is about, where it is not a claim of the laptop.
const (
	aboutSession      = "session"
	aboutLink         = "link"
	aboutVerification = "verification"
	aboutPasskey      = "passkey"
	aboutElevation    = "elevation"
	aboutReport       = "report"
)

// What the page offers to do. The template has a section for each.
const (
	doSignIn    = "sign-in"
	doLink      = "link"
	doVerify    = "verify"
	doPasskey   = "passkey"
	doElevate   = "elevate"
	doApproval  = "approval" // an elevation waits for somebody
	doWait      = "wait"     // the laptop is about to report
	doFix       = "fix"
	doReadmit   = "readmit" // its owner says that the laptop is theirs
	doAsk       = "ask"     // nothing that the person could do alone
	doClosed    = "closed"  // signing in again would not help
	doOpen      = "open"
	doneRefused = "refused" // it is open to us, and the gateway refused
)

// accessView is where a browser stands with an application.
type accessView struct {
	Name, Host, Back string
	Path             string // of the page itself, to come back to
	Proved           string // the same, saying that the link was just proved
	Again            string // the application itself; empty while it is closed
	Outcome          mark
	Do               todo
	Counting         []reasonView // what closes it
	Later            []reasonView // what will, from a time on
	Passed           []reasonView // what an administrator lets pass for a while
	Codes            []string     // of all that closes it
	Laptop           string       // name of the linked one
	Recheck          bool         // it can be asked for a report now
	Retries          bool         // the page looks again by itself
	// Blind: no laptop is linked, so that nothing of one is known; what rules say of
	// it is no news.
	Blind bool
	// silent: proving the link again needs no word of the person.
	silent  bool
	outcome decide.Outcome
}

// open: it leads on to the application.
func (v *accessView) open() bool { return v.Do.Kind == doOpen }

// refused: it is open to us, and the gateway said no all the same.
func (v *accessView) refused() {
	v.Do = todo{Kind: doneRefused}
	v.Outcome = accessMark(v.outcome, doneRefused)
}

// title is the page's heading.
func (v *accessView) title() string {
	switch {
	case v.Do.Kind == doneRefused:
		return v.Name + " refused this"
	case v.open():
		return v.Name + " is open"
	case v.Do.Kind == doWait, v.Do.Kind == doApproval:
		return "Waiting for " + v.Name
	case v.outcome == decide.StepUp:
		return "One more step to " + v.Name
	}
	return v.Name + " is closed"
}

// todo is the one main thing to do next.
type todo struct {
	Kind string
	Text string // why, where the reasons do not say it
	Fix  string
	Code string
	// Of an elevation: on what terms, and the one that waits.
	Lasts    string
	Approval string
	Elevated *people.Elevation
}

// reasonView is a reason in words.
type reasonView struct {
	mark
	Name   string // what it is about
	Detail string
	Fix    string
	Code   string
	From   time.Time // when it begins to count
	Until  time.Time // until when it is let pass
	reason decide.Reason
}

// strangerView tells somebody without a session to sign in, and why theirs ended
// when the cookie is still of one. Nothing else is told: neither the application's
// name nor anything of a laptop.
func strangerView(st *Standing, a accessAsk) *accessView {
	v := &accessView{Host: st.Host, Back: a.back, Path: a.path(), Do: todo{Kind: doSignIn}, outcome: decide.StepUp}
	for _, r := range st.Decision.Reasons {
		if r.Claim == aboutSession && r.Code != codeSignIn {
			v.Do.Text, v.Do.Fix, v.Do.Code = r.Text, r.Fix, r.Code
			if r.Outcome == decide.Deny {
				v.Do.Kind, v.outcome = doClosed, decide.Deny
				v.Outcome = mark{"bad", "Closed for you: " + st.Host}
				return v
			}
			break
		}
	}
	v.Outcome = mark{"info", "Sign in to go on to " + st.Host}
	return v
}

// accessView puts a standing in words and chooses what to do next.
func (s *site) accessView(r *request, st *Standing, a accessAsk) (*accessView, error) {
	v := &accessView{Name: st.App.ID, Host: st.Host, Back: a.back, Path: a.path(), outcome: st.Decision.Outcome}
	v.Proved = a.path("proved", strconv.FormatInt(s.Now().Unix(), 10))
	var counting []decide.Reason
	seen := s.seenClaims(r, st)
	state := s.People.LinkStateOf(r.who.Session)
	v.Blind = st.Device == "" || state == session.LinkAbsent
	if !v.Blind {
		v.Laptop = s.laptopName(st.Device)
		v.Recheck = s.Recheck != nil && r.who.Session.Link.Device == st.Device
	}
	for _, reason := range st.Decision.Reasons {
		view := s.reasonView(reason, seen)
		switch {
		case reason.ReportOnly: // a rule on trial concerns administrators
		case !reason.Bypass.IsZero():
			v.Passed = append(v.Passed, view)
		case !reason.Grace.IsZero():
			v.Later = append(v.Later, view)
		default:
			counting = append(counting, reason)
			v.Codes = append(v.Codes, view.Code)
			// Rules that miss the same thing say the same.
			if !slices.ContainsFunc(v.Counting, func(o reasonView) bool { return o.Name == view.Name && o.Text == view.Text && o.Fix == view.Fix }) {
				v.Counting = append(v.Counting, view)
			}
		}
	}
	if v.Blind {
		v.Counting = knownOnly(v.Counting)
	}
	if slices.ContainsFunc(counting, func(r decide.Reason) bool { return r.Code == "revoked" }) {
		v.Recheck = false // no report brings it back
	}
	var err error
	v.Do, err = s.todo(r, st, counting, state)
	if v.Do.Kind == doFix && seen != nil && seen.Back {
		v.Do.Kind, v.Recheck = doReadmit, false // no report lets it in
	}
	if v.Do.Kind == doElevate || v.Do.Kind == doApproval {
		v.Counting = slices.DeleteFunc(v.Counting, func(o reasonView) bool { return o.reason.Claim == aboutElevation }) // it is what the page offers
	}
	if v.Do.Kind == doWait {
		v.Counting = slices.DeleteFunc(v.Counting, func(o reasonView) bool { return o.reason.Claim == aboutLink }) // the report mends it
	}
	v.silent = s.LinkPort > 0 && state == session.LinkLive && r.who.Session.Link.Strength == session.ByLoopback
	v.Outcome = accessMark(st.Decision.Outcome, v.Do.Kind)
	return v, err
}

// knownOnly leaves out what rules say of a laptop that is not there, unless that is
// all there is to say.
func knownOnly(all []reasonView) []reasonView {
	some := slices.DeleteFunc(slices.Clone(all), func(v reasonView) bool {
		return v.reason.Unknown && aboutLaptop(&v.reason)
	})
	if len(some) == 0 {
		return all
	}
	return some
}

// accessMark puts the outcome in words. What is none of the four denies.
func accessMark(o decide.Outcome, do string) mark {
	switch {
	case do == doOpen && o == decide.Restrict, do == doneRefused && o == decide.Restrict:
		return mark{"info", "Open for reading only"}
	case do == doOpen:
		return mark{"ok", "It is open"}
	case do == doWait, do == doApproval:
		return mark{"wait", "Not open yet"}
	case o == decide.StepUp:
		return mark{"info", "Not open yet"}
	}
	return mark{"bad", "Closed for now"}
}

// todo chooses what to do next from what counts. The order is that of what helps:
// without a session nothing else is known, without a link nothing of the laptop; no
// confirmation opens what a laptop keeps closed; and an elevation is the last door.
func (s *site) todo(r *request, st *Standing, counting []decide.Reason, state session.LinkState) (todo, error) {
	if o := st.Decision.Outcome; o == decide.Allow || o == decide.Restrict {
		return todo{Kind: doOpen}, nil
	}
	about := func(claims ...string) bool {
		return slices.ContainsFunc(counting, func(r decide.Reason) bool { return slices.Contains(claims, r.Claim) })
	}
	stale := slices.ContainsFunc(counting, func(r decide.Reason) bool { return r.Code == "report-stale" || r.Code == "no-report" })
	laptop := slices.ContainsFunc(counting, func(r decide.Reason) bool { return aboutLaptop(&r) })
	hopeless := slices.ContainsFunc(counting, func(r decide.Reason) bool {
		return r.Outcome == decide.Deny && slices.Contains([]string{"", "user", "request"}, r.Claim)
	})
	switch {
	case about(aboutSession):
		return todo{Kind: doSignIn}, nil
	case hopeless:
		return todo{Kind: doAsk}, nil
	case about("device"):
		return todo{Kind: doFix}, nil // revoked, or waits for an approval: no report changes that
	case state == session.LinkSuspended || stale && state == session.LinkLive:
		return todo{Kind: doWait}, nil
	case (about(aboutLink) || laptop) && state == session.LinkAbsent:
		return todo{Kind: doLink}, nil
	case laptop:
		return todo{Kind: doFix}, nil
	case about(aboutLink):
		return todo{Kind: doLink}, nil
	case about(aboutPasskey):
		return todo{Kind: doPasskey}, nil
	case about(aboutVerification):
		return todo{Kind: doVerify}, nil
	case about(aboutElevation) && st.Terms.Lasts > 0:
		return s.elevationTodo(r, st)
	}
	return todo{Kind: doAsk}, nil
}

// aboutLaptop reports whether a reason is about the laptop, rather than about who
// asks and how, or about nothing that has a name.
func aboutLaptop(r *decide.Reason) bool {
	return r.Claim != "" && !r.Person &&
		!slices.Contains([]string{aboutSession, aboutLink, aboutVerification, aboutPasskey, aboutElevation, "user", "request"}, r.Claim)
}

// elevationTodo offers to ask, or shows how what was asked for stands.
func (s *site) elevationTodo(r *request, st *Standing) (todo, error) {
	do := todo{Kind: doElevate, Lasts: span(st.Terms.Lasts), Approval: st.Terms.Approval}
	own, _, err := s.People.Elevations(r.Context(), r.who)
	for _, e := range own {
		if e.App == st.App.ID && e.Session == r.who.Session.ID {
			do.Kind, do.Elevated = doApproval, e
			do.Approval = e.Approval // as it was asked for
		}
	}
	return do, err
}

// seenClaims is what was seen on the linked laptop, for who may see it.
func (s *site) seenClaims(r *request, st *Standing) *Laptop {
	if st.Device == "" || s.own(r, st.Device) != nil {
		return nil
	}
	l, _ := s.laptop(st.Device)
	return l
}

// reasonView puts a reason in words; what was seen helps to find it.
func (s *site) reasonView(r decide.Reason, l *Laptop) reasonView {
	v := reasonView{reason: r, Code: r.Code, Fix: r.Fix, From: r.Grace, Until: r.Bypass}
	icon := map[decide.Outcome]string{decide.Deny: "bad", decide.Restrict: "bad", decide.StepUp: "info"}[r.Outcome]
	switch {
	case r.Unknown:
		icon = "unknown"
	case icon == "":
		icon = "info"
	}
	v.mark = mark{icon, r.Text}
	if r.Code == codePending && l != nil && l.CauseText != "" {
		v.Text, v.Fix = l.CauseText, firstOf(causeFix(l), v.Fix)
	}
	if words, ok := wordsOfClaim(r.Claim); ok {
		v.Name = words.name
		if l != nil && l.Claims != nil {
			v.Detail = claimDetail(r.Claim, l.Claims)
		}
		return v
	}
	v.Name = map[string]string{
		aboutSession: "Your session", aboutLink: "The link to your laptop", aboutVerification: "Your confirmation", aboutPasskey: "Your passkey",
		aboutElevation: "Privileged access", aboutReport: "The laptop’s report", "device": "Your laptop", "level": "The laptop’s identity",
		"quote": "The laptop’s boot", "user": "Your account", "request": "This request",
	}[r.Claim]
	return v
}

// Approvers says who may approve, in words.
func (t todo) Approvers() string {
	if t.Approval == "" {
		return "an administrator"
	}
	return fmt.Sprintf("somebody else in the group “%s”, or an administrator", t.Approval)
}

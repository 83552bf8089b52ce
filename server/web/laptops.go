package web

import (
	"net/http"
	"slices"
	"strings"

	"muster/attest"
	"muster/server/session"
)

// laptopView is a laptop in words.
type laptopView struct {
	*Laptop
	Outcome mark
	Wrong   []claimView
	Unknown []claimView
	Well    []claimView
	Other   []attest.Reason // reasons that are about no claim
	Noticed []findingView   // what was noticed beside its claims
	Way     string          // the way back, where it waits for more than an approval
	Here    bool            // this session is linked to it
	Recheck bool            // there is a button to check again
}

// Waits: its owner can say that it is theirs.
func (v laptopView) Waits() bool { return v.State == attest.Pending }

func (s *site) laptopView(id string, here bool) (laptopView, bool) {
	l, ok := s.laptop(id)
	if !ok {
		return laptopView{}, false
	}
	return s.laptopViewOf(l, here), true
}

func (s *site) laptopViewOf(l *Laptop, here bool) laptopView {
	v := laptopView{Laptop: l, Outcome: outcomeMark(l), Here: here, Recheck: s.Recheck != nil && l.State != attest.Revoked}
	v.Wrong, v.Unknown, v.Well = s.claimViews(l)
	// The rest of the reasons is told beside their claims.
	for _, reason := range l.Decision.Reasons {
		if v.Waits() && (reason.Code == codePending || reason.Code == l.Cause) {
			continue // the page says it itself, with the way back
		}
		if !l.shows(reason.Claim) {
			v.Other = append(v.Other, reason)
		}
	}
	if v.Waits() {
		v.Way = firstOf(ownWay(l), causeFix(l))
	}
	if l.Result != nil {
		v.Noticed = findingViews(l.Result, func(code string) bool {
			return slices.ContainsFunc(l.Decision.Reasons, func(r attest.Reason) bool { return r.Code == code })
		})
	}
	return v
}

// codePending is the reason of package decide for every laptop that waits.
const codePending = "pending"

// causeFix is the way back that the server told the laptop itself; empty without.
func causeFix(l *Laptop) string {
	for _, reason := range l.Decision.Reasons {
		if l.Cause != "" && reason.Code == l.Cause {
			return reason.Fix
		}
	}
	return ""
}

// ownWay is the way back for who can say on the same page that the laptop is theirs.
func ownWay(l *Laptop) string {
	if !l.Back {
		return ""
	}
	switch l.Cause {
	case "re-anchor":
		return "After you installed its system anew, or lost its state, this is as it should be. If you did neither, somebody may have started it from another disk: tell an administrator."
	case "ek-changed":
		return "After an update of its firmware this is as it should be. If there was none, tell an administrator."
	case "tpm-changed":
		return "After a repair, or a reset of the TPM in the firmware's settings, this is as it should be. If there was neither, tell an administrator."
	case "disk-moved":
		return "If you moved its disk into this machine, this is as it should be. If somebody copied it, enrol the copy by itself, with a token, and tell an administrator."
	case "tpm-gone":
		return "Turn the TPM on in the firmware's settings, and restart: then it is what it was, by itself. Without its TPM it counts for less."
	}
	return ""
}

// shows reports whether the laptop's page tells of a claim, so that a reason about
// it stands there.
func (l *Laptop) shows(claim string) bool {
	if _, ok := claimTable()[claim]; ok {
		return l.Claims != nil
	}
	_, ok := bootTable()[claim]
	return ok && l.measured()
}

// laptopViews are the person's own, and the one that the session is linked to.
func (s *site) laptopViews(r *request) []laptopView {
	here := ""
	if l := r.who.Session.Link; l != nil && s.People.LinkStateOf(r.who.Session) == session.LinkLive {
		here = l.Device
	}
	var views []laptopView
	for _, d := range s.People.Laptops(r.who) {
		if v, ok := s.laptopView(d.ID, d.ID == here); ok {
			views = append(views, v)
		}
	}
	return views
}

func (s *site) laptopsPage(w http.ResponseWriter, r *request) error {
	return s.show(w, r, "laptops", "Your laptops", s.laptopViews(r))
}

// own finds a laptop that the asking person may see: what is another's answers
// like what is not there.
func (s *site) own(r *request, id string) error {
	for _, d := range s.People.Laptops(r.who) {
		if d.ID == id {
			return nil
		}
	}
	return refusedGone()
}

// laptopCheck waits for the laptop's answer, so that the page that follows shows
// it; the laptop is the person's own or the linked one.
func (s *site) laptopCheck(w http.ResponseWriter, r *request) error {
	id := r.PostFormValue("device")
	if err := s.own(r, id); err != nil || s.Recheck == nil {
		return refusedGone()
	}
	if s.Recheck(r.Context(), id) {
		return s.done(w, r, "/laptops", "checked")
	}
	return s.done(w, r, "/laptops", "not-checked")
}

// laptopReadmit is the owner's word, with the code that is read from the laptop
// itself: it says which keys are meant.
func (s *site) laptopReadmit(w http.ResponseWriter, r *request) error {
	waits, err := s.People.Readmission(r.Context(), r.who, r.PostFormValue("device"), typedCode(r.PostFormValue("code")))
	switch {
	case err != nil:
		return err
	case waits:
		return s.done(w, r, "/laptops", "readmission-waits")
	}
	return s.done(w, r, "/laptops", "readmitted")
}

// typedCode is a compare code (attest.CompareCode) however it was typed: eight
// letters in two groups. What is none stays as it is, to be refused as a code.
func typedCode(s string) string {
	s = strings.ToUpper(strings.Join(strings.Fields(strings.ReplaceAll(s, "-", "")), ""))
	if len(s) != 8 {
		return s
	}
	return s[:4] + "-" + s[4:]
}

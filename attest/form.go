package attest

import (
	"time"

	"muster/attest/posture"
)

// reportForm checks what JSON types cannot say (SPEC.md §4.1).
func reportForm(r *posture.Report) error {
	switch r.Platform {
	case posture.Linux, posture.Windows, posture.Darwin:
	default:
		return refuse(PayloadForm, "platform is %q", r.Platform)
	}
	if r.Profile != posture.Corporate && r.Profile != posture.BYOD {
		return refuse(PayloadForm, "profile is %q", r.Profile)
	}
	if !label(r.BootID) || !label(r.Agent) {
		return refuse(PayloadForm, "boot id %q or agent version %q", r.BootID, r.Agent)
	}
	if !wholeSecond(r.CollectedAt) {
		return refuse(PayloadForm, "collected_at is not a whole second of UTC")
	}
	for name, c := range r.Claims.Each() {
		if c.Source != posture.Reported {
			return refuse(ClaimSource, "%s says it is %v", name, c.Source)
		}
		if !c.Reason.Valid() || (c.Reason == "" && c.State != posture.Yes) {
			return refuse(ClaimForm, "%s is %v with reason %q", name, c.State, c.Reason)
		}
		if !wholeSecond(c.ObservedAt) {
			return refuse(ClaimForm, "%s has no time in whole seconds of UTC", name)
		}
	}
	return detailForm(&r.Claims)
}

// detailForm checks the reasons inside details and the one list with a cap.
func detailForm(c *posture.Claims) error {
	if n := len(c.Patches.Detail.Packages); n > posture.MaxPackages {
		return refuse(ClaimForm, "patches names %d packages", n)
	}
	valid := c.TPM.Detail.LogReason.Valid()
	for _, v := range c.DiskEncryption.Detail.Volumes {
		valid = valid && v.Reason.Valid()
	}
	for _, s := range c.ScreenLock.Detail.Sessions {
		valid = valid && s.Reason.Valid()
	}
	if !valid {
		return refuse(ClaimForm, "a reason inside a detail is no code")
	}
	return nil
}

func (h *Heartbeat) form() error {
	if h.Base.IsZero() || !label(h.BootID) || h.CollectedAt <= 0 {
		return refuse(PayloadForm, "heartbeat without base, boot id or time")
	}
	return nil
}

func (l *LinkProof) form() error {
	if !label(l.Link) || l.Nonce.IsZero() || l.SessionHash.IsZero() || l.Origin == "" || l.Time <= 0 {
		return refuse(PayloadForm, "link proof without link, nonce, session, origin or time")
	}
	return nil
}

// Form refuses an ask that names half a request, two things at once, or no way:
// a request has an id and a nonce, or there is none and it is by code.
func (a *LinkAsk) Form() error {
	named := label(a.Link) && !a.Nonce.IsZero()
	none := a.Link == "" && a.Nonce.IsZero()
	switch {
	case a.Recover && none && a.Way == "",
		!a.Recover && none && a.Way == WayCode,
		!a.Recover && named && (a.Way == WayLoopback || a.Way == WayApp || a.Way == WayCode):
		return nil
	}
	return refuse(PayloadForm, "link ask of another form")
}

// Form refuses a cause that is none.
func (e *LinkEnd) Form() error {
	if e.Cause != CauseLocked && e.Cause != CauseLeft {
		return refuse(PayloadForm, "link end with another cause")
	}
	return nil
}

// Form refuses a wait of no time, and one that is longer than [MaxWait].
func (w *WaitRequest) Form() error {
	if w.WaitS < 1 || w.WaitS > int(MaxWait/time.Second) {
		return refuse(PayloadForm, "wait of %d seconds", w.WaitS)
	}
	return nil
}

// form checks that the key is one and ends after now, at the latest at last.
func (e *Ephemeral) form(now, last time.Time) error {
	if _, err := SoftKey(e.Point); err != nil {
		return refuse(PayloadForm, "ephemeral key: %v", err)
	}
	if e.Expires <= now.Unix() || e.Expires > last.Unix() {
		return refuse(PayloadForm, "ephemeral key ends at %d", e.Expires)
	}
	return nil
}

// label reports whether s is 1 to MaxID bytes of printable ASCII.
func label(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= MaxID
}

// wholeSecond reports whether t was told, in UTC and without fraction.
func wholeSecond(t time.Time) bool {
	_, offset := t.Zone()
	return !t.IsZero() && offset == 0 && t.Nanosecond() == 0
}

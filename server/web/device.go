package web

import (
	"errors"
	"net/http"
	"net/url"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/people"
	"muster/server/store"
	"muster/server/verify"
)

// oneDeviceView is a laptop with how it was started, and what it was before.
type oneDeviceView struct {
	deviceView
	Boot     []bootView
	PCRs     []pcrView
	QuoteWhy string // why nothing was measured
	Findings []verify.Finding
	Starts   []startView
	Anchors  []anchorView
	// Before and After are other devices that this laptop was, or is now.
	Before, After []choice
	May           bool
}

// startView is a way to start in words.
type startView struct {
	Start
	mark
	Name    string // the first digits of its key
	Decided string // by whom
	Parts   []partView
}

// partView says how common a part is.
type partView struct {
	Name string
	store.Prevalence
}

// anchorView is an identity in words.
type anchorView struct {
	Anchor
	Words string
	Short string
}

// devicePage shows one laptop whole.
func (s *site) devicePage(w http.ResponseWriter, r *request) error {
	id := r.PathValue("id")
	for _, d := range s.Office.Devices() {
		if d.ID != id {
			continue
		}
		detail, err := s.Office.Device(r.Context(), id)
		if errors.Is(err, store.ErrNotFound) {
			return refusedGone()
		}
		if err != nil {
			return err
		}
		v := s.oneDevice(&d, detail)
		v.May = r.who.Is(administrators()...)
		return s.show(w, r, "device", firstOf(d.Name, d.ID), v)
	}
	return refusedGone()
}

func (s *site) oneDevice(d *OfficeDevice, detail *DeviceDetail) *oneDeviceView {
	v := &oneDeviceView{deviceView: deviceView{OfficeDevice: *d, Outcome: outcomeMark(&d.Laptop), Type: confirmWord(*d)}}
	if d.Result != nil {
		v.Findings = d.Result.Findings
	}
	switch {
	case d.measured():
		v.Boot, v.PCRs = s.bootViews(&d.Laptop), pcrViews(&d.Result.Boot)
	case d.Platform == posture.Darwin:
		v.QuoteWhy = "A Mac measures nothing of its start, so there is nothing to show."
	case d.Level == verify.Software.String():
		v.QuoteWhy = "This laptop works without a TPM, so that nothing of its start is measured."
	default:
		v.QuoteWhy = "No quote of its TPM has come yet."
	}
	for i := range detail.Starts {
		v.Starts = append(v.Starts, s.startView(&detail.Starts[i]))
	}
	for _, a := range detail.Anchors {
		one := anchorView{Anchor: a, Words: anchorWords(a.Cause), Short: shortDigest(a.Key)}
		v.Anchors = append(v.Anchors, one)
	}
	if detail.Predecessor != "" {
		v.Before = append(v.Before, choice{detail.Predecessor, s.laptopName(detail.Predecessor)})
	}
	for _, id := range detail.Successors {
		v.After = append(v.After, choice{id, s.laptopName(id)})
	}
	return v
}

func (s *site) startView(one *Start) startView {
	v := startView{Start: *one, Name: shortDigest(one.Key)}
	switch one.State {
	case store.BaselineNew:
		v.mark = mark{"ok", "The first that was seen"}
	case store.BaselineApproved:
		v.mark = mark{"ok", "Approved"}
	case store.BaselineRefused:
		v.mark = mark{"bad", "Refused: while it starts so, it opens nothing"}
	default:
		v.mark = mark{"wait", "Not approved yet"}
		if one.expected() {
			v.mark = mark{"info", "Not approved, and needs not be: Microsoft brings this to every machine"}
		}
	}
	if v.Decided = s.actorWords(one.DecidedBy); one.DecidedBy == "fleet" {
		v.Decided = "the fleet"
	}
	for _, name := range verify.ComponentNames() {
		if p, ok := one.Parts[name]; ok {
			v.Parts = append(v.Parts, partView{verify.ComponentTitle(name), p})
		}
	}
	return v
}

// expected: all that changed is what Microsoft rolls out to every machine.
func (s *Start) expected() bool {
	for _, c := range s.Changes {
		if !c.Expected {
			return false
		}
	}
	return len(s.Changes) > 0
}

// Waits: somebody may have a word on it.
func (v startView) Waits() bool { return v.State == store.BaselineDrifted }

// Counts: it is one that is in order.
func (v startView) Counts() bool {
	return v.State == store.BaselineApproved || v.State == store.BaselineNew
}

// anchorWords says how a device came to an identity, by the cause for which it waited
// then.
func anchorWords(cause string) string {
	switch cause {
	case "":
		return "Enrolled"
	case "no-token", "level-too-low":
		return "Enrolled, and waited for an approval"
	case "re-anchor":
		return "Enrolled again with a new system key"
	case "ek-changed":
		return "Enrolled again with a new endorsement key"
	case "tpm-changed":
		return "Came from another TPM in the same laptop"
	case "disk-moved":
		return "Came from another machine"
	case "tpm-gone":
		return "Came without its TPM"
	case "replaced":
		return "Replaced by another device"
	}
	return "Changed"
}

// deviceStart is an administrator's word on a way to start.
func (s *site) deviceStart(w http.ResponseWriter, r *request) error {
	d, err := s.officeDevice(r)
	if err != nil {
		return err
	}
	key, do := r.PostFormValue("key"), r.PostFormValue("do")
	if key == "" {
		return refusedGone() // an empty key is the present one, which may be another by now
	}
	done := map[string]string{"approve": "start-approved", "everywhere": "start-approved-everywhere", "refuse": "start-refused"}[do]
	if done == "" {
		return &people.Refusal{Status: http.StatusBadRequest, Code: "start-word", Text: "Nothing was said of this way to start; nothing was changed.", Fix: "Go back and use one of the buttons."}
	}
	if _, err := s.Office.DecideStart(r.Context(), actor(r.who), d.ID, key, do != "refuse", do == "everywhere"); err != nil {
		return err
	}
	return s.done(w, r, "/office/devices/"+url.PathEscape(d.ID), done)
}

// Drifts: it starts in a way that nobody approved, or somebody refused.
func (v deviceView) Drifts() bool {
	if v.Result == nil || v.State == attest.Revoked {
		return false
	}
	switch v.Result.Boot.Baseline.Reason {
	case verify.BootDrifted, verify.BootRefused:
		return true
	}
	return false
}

// Refused: somebody said no to how it starts.
func (v deviceView) Refused() bool {
	return v.Result != nil && v.Result.Boot.Baseline.Reason == verify.BootRefused
}

// Moved: it came back with other keys, and waits.
func (v deviceView) Moved() bool { return v.State == attest.Pending && v.Back }

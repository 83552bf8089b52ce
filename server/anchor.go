package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"muster/attest"
	"muster/server/enroll"
	"muster/server/store"
)

// Causes of pending after a change of anchor: of the TPM, or of the system that it
// is bound to. Each has its own way back, which needs a person: the owner with a
// passkey, or an approver.
const (
	// causeReanchor: the TPM is known, its system key is new: reinstalled, the local
	// secret lost, or started from another disk.
	causeReanchor = "re-anchor"
	// causeEKChanged: the AK is known, the endorsement key is new.
	causeEKChanged = "ek-changed"
	// causeTPMChanged: the system is known, and so are the laptop's labels; its TPM is
	// another.
	causeTPMChanged = "tpm-changed"
	// causeDiskMoved: the system is known; the machine is another.
	causeDiskMoved = "disk-moved"
	// causeTPMGone: the system is known and has no TPM to sign with any more.
	causeTPMGone = "tpm-gone"
	// causeReplaced: another device was admitted in this one's place. It stays when this
	// one enrols again: its owner may not take the place back, only an approver.
	causeReplaced = "replaced"
)

// reanchors reports whether a device waits because its anchor changed, so that its
// owner may ask for it back.
func reanchors(cause string) bool {
	switch cause {
	case causeReanchor, causeEKChanged, causeTPMChanged, causeDiskMoved, causeTPMGone:
		return true
	}
	return false
}

// newcomer reports whether a device waits in another's place and was never admitted.
func newcomer(d *store.Device) bool {
	return d.Cause == causeTPMChanged || d.Cause == causeDiskMoved || d.Cause == causeTPMGone
}

// anchorFixes tell the person at the laptop what to do.
var anchorFixes = map[string]string{
	causeReanchor:   "If you installed the system anew, ask for the laptop back on your page of laptops, with the code that muster-agent status shows; if not, tell an administrator: somebody started it from another disk.",
	causeEKChanged:  "If its firmware was updated, ask for the laptop back on your page of laptops, with the code that muster-agent status shows.",
	causeTPMChanged: "If the mainboard was replaced, or the TPM reset in the firmware's settings, ask for the laptop back on your page of laptops, with the code that muster-agent status shows.",
	causeDiskMoved:  "If you moved the disk, ask for the laptop back on your page of laptops, with the code that muster-agent status shows; a copy must be enrolled by itself, with a token.",
	causeTPMGone:    "Turn the TPM on in the firmware's settings: the laptop is then what it was, by itself.",
	causeReplaced:   "Use the laptop that took its place, or ask an administrator.",
}

// previous is the device that a beginner shows to have been: by the headers of
// device requests, with the MAC over this body. Anything else is none.
func (s *Server) previous(r *http.Request, body []byte) string {
	d := s.fleet.get(r.Header.Get(attest.HeaderDevice))
	if d == nil || !d.authentic(r.URL.Path, body, r.Header.Get(attest.HeaderMAC)) {
		return ""
	}
	return d.id()
}

func (d *device) id() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.row.ID
}

// comeAgain makes a known machine that enrols once more wait. What nobody ever
// admitted, and what was replaced, waits on for what it waited for: a second enrolment
// must not make it one that its owner may readmit, nor a copied disk a laptop that was
// installed anew.
func comeAgain(row *store.Device, c *enroll.Candidate) {
	if row.State == attest.Active || reanchors(row.Cause) && !newcomer(row) {
		row.Cause, row.CauseText = causeReanchor, "This machine was enrolled before and asks again with a new system key: it was installed anew, or started from another disk."
		if !row.Keys.EKHash.IsZero() && row.Keys.EKHash != c.EKHash {
			row.Cause, row.CauseText = causeEKChanged, "The TPM shows another endorsement key than before, as after an update of its firmware."
		}
	}
	row.State = attest.Pending
	row.ApprovedAt, row.ApprovedBy = time.Time{}, ""
}

// maxLine bounds how far line goes back: no laptop changes its anchor as often.
const maxLine = 100

// line lists a device and those that its system was before, nearest first; none for no
// device. One whose end is not found is an error, which denies: somebody may have
// revoked what is not seen.
func line(tx *store.Tx, id string) (list []*store.Device, err error) {
	for id != "" {
		d, err := tx.Device(id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, fmt.Errorf("device %s, which another one was before, is not stored", id)
		case err != nil:
			return nil, err
		case len(list) == maxLine:
			return nil, fmt.Errorf("device %s was at least %d others before", list[0].ID, maxLine)
		}
		list, id = append(list, d), d.Predecessor
	}
	return list, nil
}

// succeed makes a new device wait that shows the state of a known one on another
// TPM, whatever it brought: the known one goes on until somebody admits this in its
// place. It reports whether there is such a one.
func (s *Server) succeed(tx *store.Tx, row *store.Device, e *enroll.Enrolled, begin *attest.EnrolBegin) (bool, error) {
	former, err := line(tx, e.Session.Previous)
	if err != nil || len(former) == 0 {
		return false, err
	}
	if slices.ContainsFunc(former, isRevoked) {
		return false, store.ErrRevoked // its disk in another machine is still its disk
	}
	before := former[0]
	if before.State == attest.Pending && !reanchors(before.Cause) && before.Cause != causeReplaced {
		return false, nil // never admitted: nothing is taken over from it
	}
	// A copy of a copy asks for the place that the copy asks for.
	place := before
	for i := 1; i < len(former) && newcomer(place); i++ {
		place = former[i]
	}
	if !s.againRate.allow("former " + place.ID) { // a copy must not use up the laptop's own
		return false, tooMany()
	}
	full, err := tx.PendingAtLeast(maxQueue)
	if err != nil {
		return false, err
	}
	if full {
		return false, queueFull()
	}
	row.State, row.Predecessor = attest.Pending, before.ID
	row.Class, row.Group, row.Owner = place.Class, place.Group, place.Owner
	row.Cause, row.CauseText = moved(place, e.Candidate, begin)
	return true, nil
}

func isRevoked(d *store.Device) bool { return d.State == attest.Revoked }

// moved says how a known system comes to be on another TPM. Labels are the
// laptop's word, so they only choose between two words for the same: pending.
func moved(before *store.Device, c *enroll.Candidate, begin *attest.EnrolBegin) (cause, text string) {
	same := begin.Serial != "" && begin.Serial == before.Serial || begin.UUID != "" && begin.UUID == before.UUID
	switch {
	case c.Kind == attest.KindSoft && before.Keys.Kind == attest.KindTPM:
		return causeTPMGone, "This system was enrolled with a TPM and finds none now; it reports with keys in a file, which prove nothing."
	case same:
		return causeTPMChanged, "This laptop was enrolled with another TPM: its mainboard was replaced, or its TPM was reset by firmware."
	}
	return causeDiskMoved, "This system was enrolled on another machine: its disk was moved, or copied."
}

// replace ends all that a device was before when it is admitted, in the same commit,
// before it is stored. Later changes of it are no admission. Of all that were one
// system only one is active: nobody is admitted who was a revoked one before, nor while
// one is active that came from the same. What took its place ends when an administrator
// admits it again.
func replace(tx *store.Tx, by string, row *store.Device) error {
	if row.State != attest.Active {
		return nil
	}
	stored, err := tx.Device(row.ID)
	if err != nil || stored.State == attest.Active {
		return err
	}
	before, err := line(tx, stored.Predecessor)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(before, isRevoked) {
		return predecessorRevoked()
	}
	first := row.ID
	if len(before) > 0 {
		first = before[len(before)-1].ID
	}
	active, err := tx.ActiveSince(first)
	if err != nil {
		return err
	}
	for _, d := range active {
		if slices.ContainsFunc(before, func(b *store.Device) bool { return b.ID == d.ID }) {
			continue
		}
		// What was replaced only an administrator admits again: then what took its place
		// goes, as when a disk comes back from a borrowed machine.
		if after, err := line(tx, d.Predecessor); err != nil {
			return err
		} else if stored.Cause != causeReplaced || !slices.ContainsFunc(after, func(b *store.Device) bool { return b.ID == row.ID }) {
			return placeTaken()
		}
		before = append(before, d)
	}
	for _, d := range before {
		if err := putOut(tx, by, d, row.ID); err != nil {
			return err
		}
	}
	return nil
}

// putOut makes a device wait in whose place another is admitted.
func putOut(tx *store.Tx, by string, d *store.Device, successor string) error {
	if d.Cause == causeReplaced {
		return nil
	}
	d.State, d.Cause, d.CauseText = attest.Pending, causeReplaced, "Device "+successor+" was admitted in its place."
	d.ApprovedAt, d.ApprovedBy = time.Time{}, ""
	if err := tx.UpdateDevice(d); err != nil {
		return err
	}
	return audit(tx, by, "device.replaced", d.ID, struct {
		By string `json:"by"`
	}{successor})
}

func predecessorRevoked() error {
	return refuse(http.StatusForbidden, attest.CodeRevoked, "This laptop was another one before, which was revoked, for ever: its disk was moved or copied.",
		"Revoke this one, too; another laptop is needed.")
}

func placeTaken() error {
	return refuse(http.StatusConflict, "place-taken", "Another laptop with this one's system is admitted already: one of the two is a copy.",
		"Find out which of them is the right one; if it is this one, revoke the other first.")
}

package server

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"muster/attest"
	"muster/server/enroll"
	"muster/server/store"
	"muster/server/verify"
)

// enrolBegin handles the first message of an enrolment (SPEC.md §7.2). It stores
// nothing: what it must remember travels sealed with the device.
func (s *Server) enrolBegin(r *http.Request, body []byte) (any, error) {
	begin := new(attest.EnrolBegin)
	if err := read(body, begin); err != nil {
		return nil, err
	}
	ctx := r.Context()
	tokenID, err := s.peekToken(ctx, begin.Token)
	if err != nil {
		return nil, err
	}
	candidate, listed, err := s.judge(ctx, begin)
	if err != nil {
		return nil, err
	}
	origin := enroll.Origin{TokenID: tokenID, Previous: s.previous(r, body)}
	if tokenID == "" && !listed && origin.Previous == "" && s.config.RequireToken {
		return nil, tokenRefused()
	}
	return enroll.Challenge(candidate, body, origin, s.sealer, s.now())
}

// peekToken finds the token of a secret, without using it up.
func (s *Server) peekToken(ctx context.Context, secret string) (id string, err error) {
	if secret == "" {
		return "", nil
	}
	err = s.store.View(ctx, func(tx *store.Tx) error {
		token, err := tx.PeekToken(secret)
		if err == nil {
			id = token.ID
		}
		return err
	})
	if errors.Is(err, store.ErrTokenRefused) {
		return "", tokenRefused()
	}
	return id, err
}

// judge reads what a device shows. Chains of certificates are the dearest thing
// that a stranger can ask for: only a few are verified at once.
func (s *Server) judge(ctx context.Context, begin *attest.EnrolBegin) (c *enroll.Candidate, listed bool, err error) {
	select {
	case s.judging <- struct{}{}:
		defer func() { <-s.judging }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	var lookup error
	isListed := func(c *enroll.Candidate) bool {
		lookup = s.store.View(ctx, func(tx *store.Tx) error {
			_, err := tx.FindListed(c.EKHash, c.Issuer, c.CertSerial)
			return err
		})
		listed = lookup == nil
		return listed
	}
	c, err = enroll.Judge(begin, s.roots.Load(), isListed)
	if err == nil && lookup != nil && !errors.Is(lookup, store.ErrNotFound) {
		err = lookup
	}
	return c, listed, err
}

func tokenRefused() error {
	return refuse(http.StatusForbidden, attest.CodeTokenRefused,
		"The enrolment token is unknown, used up or expired.", "Ask the administrator for a new token.")
}

// enrolFinish handles the second message: proof, then one transaction in which
// the token is used up and the device exists. The same bytes get the same
// answer.
func (s *Server) enrolFinish(r *http.Request, body []byte) (any, error) {
	ctx, request := r.Context(), requestDigest(body)
	if reply, ok, err := s.finishedBefore(ctx, request); err != nil || ok {
		return stored(reply), err
	}
	finish := new(attest.EnrolFinish)
	if err := read(body, finish); err != nil {
		return nil, err
	}
	place := enroll.Place{Origin: s.config.PublicURL, Tenant: s.meta.Tenant}
	enrolled, err := enroll.Finish(finish, s.sealer, place, s.now())
	if errors.Is(err, enroll.ErrSession) {
		return nil, refuse(http.StatusConflict, attest.CodeSessionEnded, "The enrolment took longer than it may, or began elsewhere.", "It starts again by itself.")
	}
	if err != nil {
		return nil, err
	}
	s.enrolling.Lock() // one at a time: the row and the fleet move together
	defer s.enrolling.Unlock()
	return s.admit(ctx, enrolled, &finishing{finish, body, request}, clientAddress(r, s.config.TrustedProxies))
}

func (s *Server) finishedBefore(ctx context.Context, request attest.Digest) (reply []byte, ok bool, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) (err error) {
		_, reply, err = tx.Enrolment(request)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, false, nil
	}
	return reply, err == nil, err
}

// admit stores a proved device and answers it.
func (s *Server) admit(ctx context.Context, e *enroll.Enrolled, finish *finishing, from string) (any, error) {
	var d *device
	var reply []byte
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		_, again, err := tx.Enrolment(finish.request)
		if err == nil {
			reply = again
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if d, err = s.place(tx, e, from); err != nil {
			return err
		}
		reply, err = s.storeEnrolment(tx, d, e, finish)
		return err
	})
	switch {
	case errors.Is(err, store.ErrRevoked):
		return nil, revoked()
	case errors.Is(err, store.ErrTokenRefused):
		return nil, tokenRefused()
	case errors.Is(err, store.ErrTaken):
		return nil, refuse(http.StatusConflict, attest.CodeTwoDevices, "These keys belong to two devices that this server knows.",
			"Ask the administrator to revoke one of them.")
	case err != nil:
		return nil, err
	}
	if d != nil {
		s.seat(d)
		s.log.Info("device enrolled", "device", d.row.ID, "state", d.row.State, "level", d.row.Level, "reason", d.row.Cause)
	}
	return stored(reply), nil
}

// place finds or makes the row that a proved device gets, and its state. A known
// EK or AK is the same machine with another system: pending, whatever it
// brought.
func (s *Server) place(tx *store.Tx, e *enroll.Enrolled, from string) (*device, error) {
	c := e.Candidate
	begin := new(attest.EnrolBegin)
	if err := read(e.Session.Begin, begin); err != nil {
		return nil, err
	}
	var akName []byte
	if c.AK != nil {
		akName = c.AK.Name
	}
	waited := "" // for what it waited already
	row, err := s.knownAs(tx, c)
	switch {
	case errors.Is(err, store.ErrNotFound):
		row = &store.Device{ID: newDeviceID(), CreatedAt: tx.Now(), Class: verify.ClassBYOD, Name: begin.Name}
		moved, err := s.succeed(tx, row, e, begin)
		if err != nil {
			return nil, err
		}
		if moved {
			break
		}
		if err := s.admission(tx, row, e, begin, from); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case !s.againRate.allow(row.ID):
		return nil, tooMany()
	default:
		waited = row.Cause
		comeAgain(row, c)
	}
	identity := &begin.Identity
	row.Platform, row.Level, row.TPM = c.Platform, c.Level, identity.TPM
	row.Name, row.Serial, row.UUID = begin.Name, begin.Serial, begin.UUID
	row.Keys = store.Keys{
		Kind: c.Kind, EKHash: c.EKHash, AK: identity.AK, AKName: akName, DK: identity.DK, DKID: c.DK.ID,
		DKb: identity.DKb, DKbCounter: e.CounterBound,
	}
	if ek := identity.EK; ek != nil {
		row.Keys.EKTemplate, row.Keys.EKPublic, row.Keys.EKCertificate = ek.Template, ek.Public, ek.Certificate
	}
	if err := s.tellMoved(tx, row, waited); err != nil {
		return nil, err
	}
	return s.newDevice(row)
}

// knownAs finds the device that has, or ever had, one of the keys; a dead key is
// ErrRevoked.
func (s *Server) knownAs(tx *store.Tx, c *enroll.Candidate) (*store.Device, error) {
	var akName []byte
	if c.AK != nil {
		akName = c.AK.Name
	}
	dead, err := tx.KeyRevoked(c.EKHash, akName, c.DK.ID)
	if err != nil {
		return nil, err
	}
	if dead {
		return nil, store.ErrRevoked
	}
	list, err := tx.DevicesByAnchor(c.EKHash, akName, c.DK.ID)
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, store.ErrNotFound
	case slices.ContainsFunc(list, func(d *store.Device) bool { return d.State == attest.Revoked }):
		return nil, store.ErrRevoked
	case len(list) > 1:
		return nil, store.ErrTaken // EK of one, AK of another
	}
	return list[0], nil
}

// Causes of pending that no key shows; those of a change of anchor are in anchor.go.
const (
	causeNoToken = "no-token"      // nothing admitted it
	causeLevel   = "level-too-low" // the token asks for more
)

// maxQueue bounds what strangers can make the server keep: beyond it only a token
// or a list lets a new device in.
const maxQueue = 10_000

// admission decides what a new device starts as. Only a token with its minimum
// level, or a list that was got out of band, admits by itself.
func (s *Server) admission(tx *store.Tx, row *store.Device, e *enroll.Enrolled, begin *attest.EnrolBegin, from string) error {
	row.State = attest.Pending
	c := e.Candidate
	if begin.Token != "" {
		token, err := tx.ConsumeToken(begin.Token)
		if err != nil {
			return err
		}
		row.TokenID, row.Class, row.Group, row.Owner = token.ID, token.Class, token.Group, token.Owner
		level := s.counts(e, begin)
		if level >= token.MinLevel {
			row.State, row.ApprovedAt, row.ApprovedBy = attest.Active, tx.Now(), "token "+token.ID
			return nil
		}
		row.Cause, row.CauseText = waits(c)
		if level < c.Level {
			row.Cause, row.CauseText = causeLevel, "The firmware of the device's TPM has a known weakness."
		}
		row.CauseText += fmt.Sprintf(" The token asks for %v; this device is %v.", token.MinLevel, level)
		return nil
	}
	if c.Level >= verify.TPMListed {
		listed, err := tx.FindListed(c.EKHash, c.Issuer, c.CertSerial)
		if err == nil {
			row.State, row.ApprovedAt, row.ApprovedBy = attest.Active, tx.Now(), "list "+listed.ID
			row.Class, row.Group, row.Owner = listed.Class, listed.Group, listed.Owner
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	if !s.queueRate.allow(from) {
		return tooMany()
	}
	if err := prefill(tx, row, begin.Serial); err != nil {
		return err
	}
	full, err := tx.PendingAtLeast(maxQueue)
	if err != nil {
		return err
	}
	if full {
		return queueFull()
	}
	row.Cause, row.CauseText = causeNoToken, "Nothing admitted this device by itself: no token, and its TPM is on no list."
	return nil
}

// counts is the level with which a candidate meets a token's demand: a known weakness
// of its TPM's firmware caps it before its first report is judged (verify.Cap).
func (s *Server) counts(e *enroll.Enrolled, begin *attest.EnrolBegin) verify.Level {
	level, refs := e.Candidate.Level, s.bootReferences()
	if e.Evidence.Measured == nil || refs == nil {
		return level
	}
	row := &store.Device{Level: level, TPM: begin.Identity.TPM}
	if ek := begin.Identity.EK; ek != nil {
		row.Keys.EKCertificate = ek.Certificate
	}
	for _, weak := range refs.Weak(tpmOf(row).Manufacturer, e.Evidence.Measured.Firmware) {
		var most verify.Level
		if err := most.UnmarshalText([]byte(weak.Cap)); err != nil {
			most = verify.Software // a pack that this program does not understand trusts nothing
		}
		level = min(level, most)
	}
	return level
}

func queueFull() error {
	return refuse(http.StatusServiceUnavailable, attest.CodeQueueFull, "Too many devices wait for an approval.",
		"Ask the administrator to look at the queue, or for a token.")
}

// prefill takes what is known of the one machine with a claimed serial number, for
// the approver to confirm. It admits nothing.
func prefill(tx *store.Tx, row *store.Device, serial string) error {
	if serial == "" {
		return nil
	}
	known, err := tx.ListedBySerial(serial)
	if err == nil && len(known) == 1 {
		row.Class, row.Group, row.Owner = known[0].Class, known[0].Group, known[0].Owner
	}
	return err
}

// waits says why a device does not reach a level.
func waits(c *enroll.Candidate) (cause, text string) {
	switch c.Cause {
	case enroll.CauseNone:
		return causeLevel, "The device does not reach the level that its token asks for."
	case enroll.CauseSoftware:
		text = "The keys are files, which can be copied."
	case enroll.CauseNoCertificate:
		text = "The TPM has no endorsement certificate."
	case enroll.CauseBadCert:
		text = "The TPM's endorsement certificate cannot be used."
	case enroll.CauseChainUnknown:
		text = "No configured CA vouches for the TPM's endorsement certificate."
	case enroll.CauseWeakChain:
		text = "The TPM's endorsement certificate is signed with SHA-1, which proves nothing any more."
	case enroll.CauseWeakKey:
		text = "The TPM's endorsement key is of a kind that can be factored (CVE-2017-15361)."
	case enroll.CauseDenied:
		text = "The TPM's endorsement key, or a CA that vouches for it, is on this server's deny list."
	}
	return string(c.Cause), text
}

// newDeviceID makes an id that nobody can guess or claim: 128 random bits.
func newDeviceID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

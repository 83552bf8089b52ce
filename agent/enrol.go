package agent

import (
	"context"
	"errors"
	"fmt"

	"muster/attest"
	"muster/attest/posture"
)

// enrol brings an enrolment to its end: it repeats a second message that may
// have been sent before, or starts anew (SPEC.md §7).
func (a *Agent) enrol(ctx context.Context) error {
	if e := a.state.Enrolling; e == nil || e.Server != a.Settings.Server {
		if err := a.beginEnrol(ctx); err != nil {
			a.closeKeys() // what was opened may be what was wrong
			return err
		}
	}
	return a.finishEnrol(ctx)
}

// beginEnrol does everything up to the second message and puts that into the
// journal. The keys stay open.
func (a *Agent) beginEnrol(ctx context.Context) error {
	tenant, err := a.tenant(ctx)
	if err != nil {
		return err
	}
	report, mark, err := a.report()
	if err != nil {
		return err
	}
	keys, err := a.enrolKeys(ctx, tenant.Tenant)
	if err != nil {
		return err
	}
	begin, err := a.enrolBegin(keys)
	if err != nil {
		return err
	}
	var challenge attest.EnrolChallenge
	if err := a.postBegin(ctx, tenant, begin, &challenge); err != nil {
		if code(err) == attest.CodeTokenRefused {
			a.withoutToken()
		}
		return err
	}
	t := attest.EnrolTranscript(begin, challenge.Session, challenge.Nonce, a.Settings.Server, tenant.Tenant)
	payload, err := attest.Encode(report)
	if err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	h := attest.Header{Typ: attest.TypEnrol, Kid: keys.dk, Nonce: challenge.Nonce, Transcript: t}
	s, err := attest.Sign(ctx, keys.signer(attest.DK), h, payload)
	if err != nil {
		return err
	}
	finish := &attest.EnrolFinish{Session: challenge.Session, JWS: string(s.Compact)}
	e := &enrolling{
		Digest: s.Digest, Server: a.Settings.Server, Tenant: tenant.Tenant, Epoch: tenant.Epoch,
		Keys: keys.public(), Print: mark, BootID: report.BootID, StandIn: a.state.StandIn,
	}
	if keys.anchor != nil {
		if e.Quoted, err = a.anchor(ctx, keys, finish, &challenge, t, s); err != nil {
			return err
		}
	}
	if e.Body, err = attest.Encode(finish); err != nil {
		return fmt.Errorf("writing enrolment: %w", err)
	}
	a.state.Enrolling = e
	a.absence = absence{}
	return a.save()
}

// postBegin sends the first message as the device that this system was at this
// server, so that an approver sees what became of it; as nobody where the server
// does not know that one.
func (a *Agent) postBegin(ctx context.Context, tenant *attest.Tenant, begin []byte, challenge *attest.EnrolChallenge) error {
	id := (*identity)(nil)
	if e := a.state.former(); e != nil && e.Server == a.Settings.Server && e.Tenant == tenant.Tenant {
		id = &identity{e.Device, e.Secret}
	}
	err := a.client.post(ctx, attest.PathEnrolBegin, id, begin, challenge)
	if id != nil && code(err) == attest.CodeDeviceUnknown {
		err = a.client.post(ctx, attest.PathEnrolBegin, nil, begin, challenge)
	}
	return err
}

// tenant asks who the server is; one that goes by another name than ours would
// refuse the transcript.
func (a *Agent) tenant(ctx context.Context) (*attest.Tenant, error) {
	var t attest.Tenant
	if err := a.client.get(ctx, attest.PathTenant, &t); err != nil {
		return nil, err
	}
	if t.Tenant == "" {
		return nil, errors.New("asking for the tenant: the server named none")
	}
	if t.Origin != a.Settings.Server {
		return nil, Hint(fmt.Errorf("the server at %s goes by %s", a.Settings.Server, t.Origin),
			"set server to "+t.Origin+", or the server's public_url to the address that agents use")
	}
	return &t, nil
}

// enrolKeys opens the keys for an enrolment, with what is missing made. S is
// kept, and so is the EK of an earlier enrolment while the keys of that one are
// there: another TPM may have a certificate for another EK.
func (a *Agent) enrolKeys(ctx context.Context, tenant string) (*keyring, error) {
	a.closeKeys()
	known := enrolledKey{}
	if e := a.state.withTPM(); e != nil && !a.state.StandIn {
		known.EK = e.Keys.EK
		if e.Tenant == tenant {
			known.DK = e.Keys.DK
		}
	}
	place := a.place(a.state.StandIn, tenant, known)
	k, err := a.openKeys(ctx, place, true)
	if errors.Is(err, attest.ErrPermission) && !known.DK.IsZero() {
		place.DK = attest.Digest{} // its hierarchy may have closed since: other keys may be made elsewhere
		k, err = a.openKeys(ctx, place, true)
	}
	if errors.Is(err, attest.ErrKeyLost) {
		if err := place.Blobs.clear(); err != nil {
			return nil, fmt.Errorf("forgetting old keys: %w", err)
		}
		k, err = a.openKeys(ctx, a.place(a.state.StandIn, tenant, enrolledKey{}), true)
	}
	a.keys = k
	return k, err
}

// enrolBegin writes the first message; its exact bytes are hashed.
func (a *Agent) enrolBegin(keys *keyring) ([]byte, error) {
	token, err := a.Settings.Token()
	if err != nil {
		return nil, err
	}
	if a.tokenless || a.state.StandIn { // a token is for a laptop, not for what it falls back to
		token = ""
	}
	begin := attest.EnrolBegin{Token: token, Platform: hostPlatform(), Identity: keys.identity}
	// A personal laptop is found by its comparison code, not by its labels.
	if a.Settings.Profile == posture.Corporate {
		labels := a.claims.Hardware.Detail
		begin.Serial, begin.UUID, begin.Name = labels.Serial, labels.UUID, labels.Hostname
	}
	b, err := attest.Encode(begin)
	if err != nil {
		return nil, fmt.Errorf("writing enrolment: %w", err)
	}
	return b, nil
}

// anchor adds to the second message what only the TPM can state.
func (a *Agent) anchor(ctx context.Context, keys *keyring, finish *attest.EnrolFinish, challenge *attest.EnrolChallenge, t attest.Digest, s *attest.Signed) (*attest.Clock, error) {
	secret, err := keys.anchor.Activate(ctx, challenge.CredentialBlob, challenge.EncryptedSecret)
	if err != nil {
		return nil, fmt.Errorf("opening the server's credential: %w", err)
	}
	finish.Proof = attest.EnrolProof(secret, t)
	dk, err := keys.anchor.Certify(ctx, attest.DK, t)
	if err != nil {
		return nil, fmt.Errorf("certifying DK: %w", err)
	}
	finish.CertifyDK = &dk
	if !keys.dkb.IsZero() {
		dkb, err := keys.anchor.Certify(ctx, attest.DKb, t)
		if err != nil {
			return nil, fmt.Errorf("certifying DKb: %w", err)
		}
		finish.CertifyDKb = &dkb
	}
	quote, clock, err := a.quote(ctx, keys, attest.QuoteBinding(s.Input))
	finish.Quote = quote
	return clock, err
}

// finishEnrol sends the journalled second message, always the same bytes.
func (a *Agent) finishEnrol(ctx context.Context) error {
	e := a.state.Enrolling
	var reply attest.EnrolReply
	sent := a.Now()
	err := a.client.post(ctx, attest.PathEnrolFinish, nil, e.Body, &reply)
	if err == nil && (reply.Device == "" || len(reply.Secret) < 16) {
		err = errors.New("the server's answer names no device or secret")
	}
	if err != nil {
		return a.refusedEnrol(err)
	}
	device := &enrolled{
		Server: e.Server, Tenant: e.Tenant, Epoch: e.Epoch,
		Device: reply.Device, Level: reply.Level, Secret: reply.Secret, Keys: e.Keys,
	}
	first := &pending{Digest: e.Digest, Full: true, Print: e.Print, BootID: e.BootID, Quoted: e.Quoted}
	device.accept(first, &reply.Next, sent, a.Random())
	stoodIn := a.state.Parked != nil
	a.state.enrolledAs(device, e.StandIn)
	if err := a.save(); err != nil {
		return err
	}
	if stoodIn && !e.StandIn {
		if err := a.standInBlobs().remove(); err != nil {
			a.Log.Warn("forgetting a software key", "error", err)
		}
	}
	a.unknowns, a.tokenless = 0, false
	a.Log.Info("enrolled", "device", device.Device, "level", device.Level, "state", reply.Next.State)
	if _, err := a.ready(ctx); err == nil { // not open after a kill
		a.sendLog(ctx, reply.Next.NeedLog)
	}
	return nil
}

// refusedEnrol decides what becomes of the journalled second message: where the
// server did not judge it, it stays, to be repeated as it is.
func (a *Agent) refusedEnrol(err error) error {
	r := (*refusal)(nil)
	if !errors.As(err, &r) || r.Foreign || r.Status >= 500 || r.Code == attest.CodeRateLimited {
		return err
	}
	a.Log.Warn("enrolment refused", "reason", r.Code)
	a.state.Enrolling = nil
	a.closeKeys()
	switch {
	case r.Code == attest.CodeSessionEnded:
		err = fmt.Errorf("%w: %w", errGoOn, err)
	case r.Code == attest.CodeTokenRefused:
		a.withoutToken()
	}
	return errors.Join(err, a.save())
}

// withoutToken has an enrolment that nobody asked for (keys lost, server
// restored) ask for an approval when the token of old is used up. A wished
// enrolment tells the person that the token is wrong.
func (a *Agent) withoutToken() { a.tokenless = a.state.Again && a.state.Reanchored }

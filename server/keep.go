package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"muster/attest"
	"muster/server/decide"
	"muster/server/enroll"
	"muster/server/store"
	"muster/server/verify"
)

// load reads everything that checks and reports need into memory.
func (s *Server) load(ctx context.Context) error {
	if err := s.fixNames(ctx); err != nil {
		return err
	}
	var rows []*store.Device
	err := s.store.View(ctx, func(tx *store.Tx) error {
		meta, err := tx.Meta()
		if err != nil {
			return err
		}
		s.meta = *meta
		for after := ""; ; {
			page, err := tx.Devices("", after, 1000)
			if err != nil {
				return err
			}
			if rows = append(rows, page...); len(page) == 0 {
				break
			}
			after = page[len(page)-1].ID
		}
		for _, row := range rows {
			d, err := s.remember(tx, row)
			if err != nil {
				// One row that this version cannot read must not stop all others: the
				// device is unknown, which denies.
				s.log.Error("device not loaded", "device", row.ID, "error", err)
				continue
			}
			s.clock.notBefore(d.hot.IssuedAt)
			s.fleet.put(row.ID, d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if ahead := time.Until(s.now()); ahead > time.Minute {
		s.log.Warn("the newest time in the store is ahead of this machine's clock; going on from there", "ahead", ahead.Round(time.Second))
	}
	s.sealer, err = enroll.NewSealer(s.meta.ServerKey[:], s.meta.Epoch)
	return err
}

// fixNames keeps what agents and passkeys are bound to. A server that is opened
// for one command goes by what is kept.
func (s *Server) fixNames(ctx context.Context) error {
	c := &s.config
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if c.visit {
			meta, err := tx.Meta()
			if err != nil || meta.Origin == "" {
				return err
			}
			c.PublicURL, c.RPID = meta.Origin, meta.RPID
			u, err := url.Parse(meta.Origin)
			if err != nil {
				return fmt.Errorf("kept public URL: %w", err)
			}
			return c.fillNames(u)
		}
		if err := tx.SetOrigin(c.PublicURL); errors.Is(err, store.ErrTaken) {
			return fmt.Errorf("public URL %s: %w; use that one, or start with a new data folder", c.PublicURL, err)
		} else if err != nil || c.RPID == "" {
			return err
		}
		err := tx.SetRPID(c.RPID)
		if errors.Is(err, store.ErrTaken) {
			return fmt.Errorf("RP ID %s: %w; every passkey is bound to the first one: use that, or start with a new data folder", c.RPID, err)
		}
		return err
	})
}

// remember rebuilds a device from what was stored.
func (s *Server) remember(tx *store.Tx, row *store.Device) (*device, error) {
	d, err := s.newDevice(row)
	if err != nil {
		return nil, err
	}
	hot, err := tx.Hot(row.ID)
	if err != nil {
		return nil, err
	}
	d.hot = *hot
	if err := s.keptGrace(tx, d); err != nil {
		return nil, err
	}
	let, err := tx.Bypasses(row.ID, "")
	if err != nil {
		return nil, err
	}
	d.bypasses = bypasses(let)
	report, err := tx.LatestReport(row.ID)
	if errors.Is(err, store.ErrNotFound) {
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	d.result = new(verify.Result)
	if err := attest.Decode(report.Result, d.result); err != nil {
		// Of another version: the device is denied until its next report, which must
		// be a whole one.
		s.log.Warn("stored result not understood", "device", row.ID, "error", err)
		d.result, d.hot.Resync = nil, true
		return d, nil
	}
	// Heartbeats confirm claims without a report of their own; the hot row has
	// their time.
	d.result.IssuedAt, d.result.QuotedAt = hot.IssuedAt, hot.QuotedAt
	old, err := s.outdated(tx, row, d.result)
	if err != nil {
		return nil, err
	}
	if old {
		// The fleet is not asked: what it approves must be written, which the next
		// quote does. Until that it is as judged now.
		in, err := s.bootInput(tx, d, d.result.Boot.LogSHA256, d.result.Boot.PCRs)
		if err != nil {
			return nil, err
		}
		d.result = verify.Rejudge(d.result, &in)
	}
	return d, nil
}

// keptGrace reads a device's book of used grace.
func (s *Server) keptGrace(tx *store.Tx, d *device) error {
	book, err := tx.Grace(d.row.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(book, &d.grace)
	}
	if err != nil {
		return fmt.Errorf("grace book: %w", err)
	}
	return nil
}

// newDevice makes the working form of a row: its keys, and the secret that its
// requests are MACed with.
func (s *Server) newDevice(row *store.Device) (*device, error) {
	d := &device{row: *row, tpm: tpmOf(row)}
	k := &row.Keys
	var err error
	add := func(role attest.Role, public []byte) {
		if err != nil || len(public) == 0 {
			return
		}
		var key *attest.Key
		if k.Kind == attest.KindSoft {
			key, err = attest.SoftKey(public)
		} else {
			key, err = attest.ParseKey(role, public)
		}
		d.keys = append(d.keys, key)
	}
	add(attest.DK, k.DK)
	add(attest.AK, k.AK)
	add(attest.DKb, k.DKb)
	if err != nil {
		return nil, fmt.Errorf("stored keys: %w", err)
	}
	secret := attest.DeviceSecret(s.meta.ServerKey[:], row.ID, k.DKID)
	d.secret.Store(&secret)
	return d, nil
}

// seat puts an enrolled device into the fleet; one that was there is replaced in
// place, so that whoever holds it sees the new keys.
func (s *Server) seat(fresh *device) {
	d := s.fleet.get(fresh.row.ID)
	if d == nil {
		s.decideFor(fresh, s.now())
		s.fleet.put(fresh.row.ID, fresh)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.take(fresh)
	d.audited, d.reasons, d.auditedAt = fresh.audited, fresh.reasons, fresh.auditedAt
	s.fleet.own(d.row.ID, d.row.Owner)
	s.decideFor(d, s.now())
}

// missingLog returns the digest of a device's boot log as long as the store does
// not have it. Only an active device is asked: logs are large. The caller holds
// d.mu.
func (s *Server) missingLog(ctx context.Context, d *device, digest attest.Digest) (attest.Digest, error) {
	if digest != d.hot.Log {
		d.logKept = false
	}
	if digest.IsZero() || d.logKept || d.row.State != attest.Active {
		return attest.Digest{}, nil
	}
	err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		d.logKept, err = tx.HasBootLog(digest)
		return err
	})
	if d.logKept {
		d.asked = 0
	}
	if d.logKept || err != nil {
		return attest.Digest{}, err
	}
	if d.asked++; d.asked == 1 {
		d.askedAt = s.now()
	}
	return digest, nil
}

// storeAccepted writes what an accepted statement changes, in one commit.
func (s *Server) storeAccepted(ctx context.Context, d *device, next *after, ev *attest.Evidence, submit *attest.ReportSubmit) error {
	turned := d.turned(next.answers)
	withheld := next.result.Boot.Reason == verify.LogWithheld && !d.withheld
	var report *store.Report
	if ev.Report != nil || ev.Measured != nil || turned { // what a decision rested on is kept with it
		var err error
		if report, err = kept(ev, submit, next.result, s.now()); err != nil {
			return err
		}
	}
	book, err := changedBook(d.grace, next.grace)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := tx.PutHot(&next.hot); err != nil {
			return err
		}
		if next.key != nil {
			if err := tx.SetBootKey(d.row.ID, next.key.public, next.key.counterBound); err != nil {
				return err
			}
		}
		if err := s.keepStart(tx, next.start); err != nil {
			return err
		}
		if report != nil {
			if err := tx.AddReport(d.row.ID, report); err != nil {
				return err
			}
		}
		if book != nil {
			if err := tx.PutGrace(d.row.ID, book); err != nil {
				return err
			}
		}
		if withheld {
			if err := s.tellWithheld(tx, d, next.hot.Log); err != nil {
				return err
			}
		}
		if ev.Cleared {
			if err := audit(tx, "device "+d.row.ID, "device.tpm-cleared", d.row.ID, next.hot.Clock); err != nil {
				return err
			}
		}
		if ev.ClockFell {
			if err := audit(tx, "device "+d.row.ID, "device.tpm-clock-fell", d.row.ID, next.hot.Clock); err != nil {
				return err
			}
		}
		if !turned {
			return nil
		}
		return auditDecision(tx, next.device, next.answers, report)
	})
}

// kept is the cold form of a statement.
func kept(ev *attest.Evidence, submit *attest.ReportSubmit, result *verify.Result, now time.Time) (*store.Report, error) {
	r := &store.Report{Seq: ev.Header.Seq, Digest: ev.Digest, ReceivedAt: now, JWS: []byte(submit.JWS)}
	var err error
	if submit.Quote != nil {
		if r.Quote, err = attest.Encode(submit.Quote); err != nil {
			return nil, err
		}
	}
	if submit.DKb != nil {
		if r.DKb, err = attest.Encode(submit.DKb); err != nil {
			return nil, err
		}
	}
	r.Result, err = attest.Encode(result)
	return r, err
}

// changedBook encodes a grace book if it differs from the one before.
func changedBook(before, now decide.GraceBook) ([]byte, error) {
	a, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(now)
	if err != nil || string(a) == string(b) {
		return nil, err
	}
	return b, nil
}

// storeChange writes somebody's change of a device.
func (s *Server) storeChange(tx *store.Tx, by string, row *store.Device, hot *store.Hot, action string, detail any) error {
	if row.State == attest.Revoked {
		if _, err := tx.RevokeDevice(row.ID, by, row.RevokedWhy); err != nil {
			return err
		}
		stored, err := tx.Device(row.ID)
		if err != nil {
			return err
		}
		*row = *stored
	} else if err := errors.Join(replace(tx, by, row), tx.UpdateDevice(row)); err != nil {
		return err
	}
	fresh, err := tx.Hot(row.ID)
	if err != nil {
		return err
	}
	fresh.Resyncs = hot.Resyncs
	if err := tx.PutHot(fresh); err != nil {
		return err
	}
	*hot = *fresh
	return audit(tx, by, action, row.ID, detail)
}

// storeEnrolment writes a proved device: its row, where its statements stand, its
// first report, and the reply for identical bytes, which it returns.
func (s *Server) storeEnrolment(tx *store.Tx, d *device, e *enroll.Enrolled, finish *finishing) ([]byte, error) {
	known, err := tx.Device(d.row.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		err = tx.InsertDevice(&d.row)
	case err == nil && known.State == attest.Revoked:
		err = store.ErrRevoked
	case err == nil:
		err = errors.Join(tx.UpdateDevice(&d.row), s.keptGrace(tx, d)) // what grace it used stays used
	}
	if err != nil {
		return nil, err
	}
	hot, err := tx.Hot(d.row.ID)
	if err != nil {
		return nil, err
	}
	d.hot = *hot
	reply, start, err := s.enrolReply(tx, d, e)
	if err != nil {
		return nil, err
	}
	if err := tx.PutHot(&d.hot); err != nil {
		return nil, err
	}
	if err := s.keepStart(tx, start); err != nil {
		return nil, err
	}
	if err := keepProof(tx, d, e, finish.body); err != nil {
		return nil, err
	}
	report, err := kept(e.Evidence, &attest.ReportSubmit{JWS: finish.JWS, Quote: finish.Quote}, d.result, tx.Now())
	if err != nil {
		return nil, err
	}
	if err := tx.AddReport(d.row.ID, report); err != nil {
		return nil, err
	}
	book, err := json.Marshal(d.grace)
	if err != nil {
		return nil, err
	}
	if err := tx.PutGrace(d.row.ID, book); err != nil {
		return nil, err
	}
	if err := tx.PutEnrolment(finish.request, d.row.ID, reply, tx.Now().Add(keptEnrolments)); err != nil {
		return nil, err
	}
	if err := audit(tx, "device "+d.row.ID, "device.enrol", d.row.ID, enrolRecord{
		State: d.row.State, Level: d.row.Level, Cause: d.row.Cause, Token: d.row.TokenID, Report: e.Evidence.Digest,
	}); err != nil {
		return nil, err
	}
	first := d.answers.Load() // of enrolReply
	d.told(first)
	return reply, auditDecision(tx, d, first, report)
}

// finishing is the second message of an enrolment as it came.
type finishing struct {
	*attest.EnrolFinish
	body    []byte
	request attest.Digest // of body
}

// keepProof keeps what proved a device's keys, for later auditors. What the TPM
// released is spent with the enrolment.
func keepProof(tx *store.Tx, d *device, e *enroll.Enrolled, finish []byte) error {
	session, err := attest.Encode(e.Session)
	if err != nil {
		return err
	}
	return tx.PutEnrolmentEvidence(d.row.ID, &store.EnrolmentEvidence{
		DKID: d.row.Keys.DKID, At: tx.Now(), Begin: e.Session.Begin, Finish: finish, Session: session,
	})
}

// keptEnrolments is how long the same bytes get the same answer.
const keptEnrolments = 24 * time.Hour

// enrolRecord is what the audit log keeps of an enrolment.
type enrolRecord struct {
	State  attest.DeviceState `json:"state"`
	Level  verify.Level       `json:"level"`
	Cause  string             `json:"cause,omitempty"`
	Token  string             `json:"token,omitempty"`
	Report attest.Digest      `json:"report"`
}

// enrolReply makes the first answer and what the device starts with: step zero,
// whatever it was before.
func (s *Server) enrolReply(tx *store.Tx, d *device, e *enroll.Enrolled) (reply []byte, start *start, err error) {
	ev, hot := e.Evidence, &d.hot
	hot.Seq, hot.Last, hot.Base, hot.BootID, hot.IssuedAt = 0, ev.Digest, ev.Digest, ev.Report.BootID, ev.IssuedAt
	hot.Request, hot.Reply, hot.Nonces = attest.Digest{}, nil, nil
	hot.QuotedAt, hot.Clock, hot.Log = time.Time{}, nil, attest.Digest{}
	hot.Resync, hot.Resyncs = false, 0
	if m := ev.Measured; m != nil {
		clock := m.Clock
		hot.QuotedAt, hot.Clock, hot.Log = ev.IssuedAt, &clock, m.LogSHA
	}
	nonce, err := s.addNonce(hot)
	if err != nil {
		return nil, nil, err
	}
	if d.result, start, err = s.appraise(tx, d, verify.Input{Device: registration(&d.row), Evidence: ev, ReceivedAt: tx.Now()}); err != nil {
		return nil, nil, err
	}
	d.grace = s.policy.Load().NextGrace(s.inputs(d, tx.Now()))
	first := &attest.EnrolReply{
		Device: d.row.ID, Level: d.level().String(), Secret: d.secret.Load()[:],
		Next: attest.ReportReply{
			Accepted: ev.Digest, State: d.row.State, Nonce: nonce, NonceS: s.nonceSeconds(),
			NextS: s.config.ReportEvery, Decision: s.decideFor(d, tx.Now()).told(),
		},
	}
	if !hot.Log.IsZero() && d.row.State == attest.Active {
		has, err := tx.HasBootLog(hot.Log)
		if err != nil {
			return nil, nil, err
		}
		if !has {
			first.Next.NeedLog = hot.Log
		}
	}
	reply, err = attest.Encode(first)
	return reply, start, err
}

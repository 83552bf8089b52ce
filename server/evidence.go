package server

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"muster/attest"
	"muster/server/evidence"
	"muster/server/store"
	"muster/server/verify"
)

// evidenceFile answers an export: the file's bytes, and whether it has a secret that
// may still be good.
type evidenceFile struct {
	File     []byte `json:"file"`
	Decision uint64 `json:"decision"`
	// Token: the message with which the device enrolled, and so a whole file, has an
	// enrolment token.
	Token bool `json:"token,omitempty"`
}

// exportEvidence handles the control socket's GET /evidence/{device}: what a decision
// about a device rested on, in one file. Parameters: decision, the number of an entry
// of the audit log (default: the device's last), and redacted.
func (s *Server) exportEvidence(r *http.Request, _ []byte) (any, error) {
	ctx, id := r.Context(), r.PathValue("device")
	var seq uint64
	if text := r.URL.Query().Get("decision"); text != "" {
		var err error
		if seq, err = strconv.ParseUint(text, 10, 63); err != nil {
			return nil, refuse(http.StatusBadRequest, "decision-wrong", "This is no number of a decision.", "Give the number of an entry of the audit log.")
		}
	}
	out := new(evidenceFile)
	f, err := s.gather(ctx, id, seq)
	if err != nil {
		return nil, err
	}
	out.Decision = f.Decision.Seq
	whole, err := f.Encode()
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get("redacted") != "" {
		out.File, err = f.Redact()
		return out, err
	}
	begin := new(attest.EnrolBegin)
	if f.Enrolment.Begin != "" && attest.Decode([]byte(f.Enrolment.Begin), begin) == nil {
		out.Token = begin.Token != ""
	}
	out.File = whole
	return out, nil
}

// gathering is a file of evidence in the making, in one view of the store.
type gathering struct {
	*evidence.File
	s      *Server
	tx     *store.Tx
	row    *store.Device
	record evidence.DecisionRecord
	dk     attest.Digest // of the identity that the device had then
	at     time.Time     // of the decision
}

// gather reads what the store has of a decision. What is no longer kept is left out.
func (s *Server) gather(ctx context.Context, id string, seq uint64) (*evidence.File, error) {
	g := &gathering{s: s, File: &evidence.File{Origin: s.config.PublicURL, Tenant: s.meta.Tenant}}
	err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		g.tx = tx
		if g.row, err = tx.Device(id); err != nil {
			return err
		}
		if err := g.entry(ctx, seq); err != nil {
			return err
		}
		for _, part := range []func() error{g.identity, g.statements, g.policy, g.baselines} {
			if err := part(); err != nil {
				return err
			}
		}
		head, err := tx.AuditHead()
		f := g.File
		f.Exported.At, f.Exported.Version, f.Exported.HeadSeq, f.Exported.Head = tx.Now(), Version(), head.Seq, head.Hash
		return err
	})
	return g.File, err
}

// entry finds the decision.
func (g *gathering) entry(ctx context.Context, seq uint64) error {
	e, err := g.find(ctx, seq)
	if err != nil {
		return err
	}
	g.Decision = evidence.Entry{
		Seq: e.Seq, At: e.At, Actor: e.Actor, Action: e.Action, Subject: e.Subject, Detail: string(e.Detail), Prev: e.Prev, Hash: e.Hash,
	}
	if err := json.Unmarshal(e.Detail, &g.record); err != nil {
		return fmt.Errorf("reading decision %d: %w", e.Seq, err)
	}
	g.at = e.At
	return nil
}

const auditStep = 1000

func (g *gathering) find(ctx context.Context, seq uint64) (*store.Entry, error) {
	ours := func(e *store.Entry) bool { return e.Action == "decision" && e.Subject == g.row.ID }
	if seq != 0 {
		e, err := g.tx.EntryOf(seq)
		if errors.Is(err, store.ErrNotFound) || err == nil && !ours(e) {
			return nil, refuse(http.StatusNotFound, "decision-unknown", "This entry of the audit log is not a decision about this device.", "Leave --decision away for the device's last one.")
		}
		return e, err
	}
	for before := uint64(0); ; {
		list, err := g.tx.AuditBefore(before, auditStep)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		for i := range list {
			if ours(&list[i]) {
				return &list[i], nil
			}
		}
		if len(list) < auditStep {
			return nil, refuse(http.StatusNotFound, "decision-none", "Nothing was decided about this device yet.", "Wait for its first report.")
		}
		before = list[len(list)-1].Seq
	}
}

// identity takes over the registration, with the keys that the device had when it
// was decided, and how these enrolled.
func (g *gathering) identity() error {
	row, d := g.row, &g.Device
	d.Device = registration(row)
	d.Name, d.Serial, d.UUID, d.Cause = row.Name, row.Serial, row.UUID, row.Cause
	d.CreatedAt, d.ApprovedAt, d.ApprovedBy = row.CreatedAt, row.ApprovedAt, row.ApprovedBy
	d.RevokedAt, d.RevokedBy, d.RevokedWhy = row.RevokedAt, row.RevokedBy, row.RevokedWhy
	d.TPM, d.Kind, d.EKSHA256 = row.TPM, row.Keys.Kind, row.Keys.EKHash
	d.AK, d.DK, d.DKb, g.dk = row.Keys.AK, row.Keys.DK, row.Keys.DKb, row.Keys.DKID
	anchors, err := g.tx.Anchors(row.ID)
	if err != nil {
		return err
	}
	for _, a := range slices.Backward(anchors) {
		if !a.From.After(g.at) {
			g.dk = a.DKID
			d.Level, d.EKSHA256 = a.Level, a.EKHash
			break
		}
	}
	kept, err := g.tx.EnrolmentEvidence(row.ID, g.dk)
	if errors.Is(err, store.ErrNotFound) {
		if g.dk != row.Keys.DKID {
			return refuse(http.StatusNotFound, "evidence-gone", "The device enrolled anew since, and how it enrolled before is no longer kept.", "Export decisions while they are young.")
		}
		return nil
	}
	if err != nil {
		return err
	}
	e := &g.Enrolment
	e.At, e.Begin, e.Finish, e.Session = kept.At, string(kept.Begin), string(kept.Finish), string(kept.Session)
	if g.dk == row.Keys.DKID {
		return nil
	}
	begin := new(attest.EnrolBegin)
	if err := attest.Decode(kept.Begin, begin); err != nil {
		return fmt.Errorf("reading a kept enrolment: %w", err)
	}
	id := &begin.Identity
	d.Name, d.Serial, d.UUID, d.Platform, d.TPM = begin.Name, begin.Serial, begin.UUID, begin.Platform, id.TPM
	d.Kind, d.AK, d.DK, d.DKb = id.Kind, id.AK, id.DK, id.DKb
	return nil
}

// keptToLook is how many kept reports are looked through: all that the store keeps,
// with what it has not yet forgotten.
const keptToLook = 200

// statements takes over the statement that turned the decision and those that it
// rests on: the last quote, the report that a heartbeat confirms, and what brought
// the boot keys that signed them.
func (g *gathering) statements() error {
	list, err := g.tx.Reports(g.row.ID, keptToLook)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(r *store.Report) bool { return r.Digest == g.record.Report })
	if at < 0 {
		return nil // no longer kept
	}
	list = list[at:] // newest first: the rest is before it
	needed, quoted := restsOn(list)
	for i, r := range slices.Backward(list) {
		if needed[i] {
			g.Statements = append(g.Statements, evidence.Statement{
				ReceivedAt: r.ReceivedAt, JWS: string(r.JWS), Quote: string(r.Quote), DKb: string(r.DKb), Result: string(r.Result),
			})
		}
	}
	first := quoted
	for i := range needed {
		if quoted < 0 && needed[i] {
			first = i // the oldest
		}
	}
	if first+1 < len(list) {
		g.Before = string(list[first+1].Result)
	}
	if err := g.references(list[0]); err != nil || quoted < 0 {
		return err
	}
	return g.bootLog(list[quoted])
}

// restsOn tells which of the kept reports, newest first, the first one rests on, and
// which has the last quote; -1: none.
func restsOn(list []*store.Report) (needed []bool, quoted int) {
	needed = make([]bool, len(list))
	needed[0] = true
	quoted = slices.IndexFunc(list, func(r *store.Report) bool { return len(r.Quote) > 0 })
	if quoted >= 0 {
		needed[quoted] = true
	}
	if _, base := kidAndBase(list[0]); !base.IsZero() {
		if i := slices.IndexFunc(list, func(r *store.Report) bool { return r.Digest == base }); i >= 0 {
			needed[i] = true
		}
	}
	kids := make(map[attest.Digest]bool)
	for i, r := range list {
		if kid, _ := kidAndBase(r); needed[i] {
			kids[kid] = true
		}
		if id, ok := broughtKey(r); ok && kids[id] {
			needed[i] = true
			delete(kids, id) // the newest that brought it
		}
	}
	return needed, quoted
}

// kidAndBase reads which key signed a kept statement and, of a heartbeat, which
// report it confirms. It was accepted once: nothing of it is believed anew.
func kidAndBase(r *store.Report) (kid, base attest.Digest) {
	h, err := attest.PeekHeader(r.JWS)
	if err != nil {
		return kid, base
	}
	if h.Typ != attest.TypHeartbeat {
		return h.Kid, base
	}
	var payload attest.Bytes
	var beat attest.Heartbeat
	if parts := bytes.Split(r.JWS, []byte{'.'}); len(parts) == 3 && payload.UnmarshalText(parts[1]) == nil {
		_ = attest.Decode(payload, &beat) // without it no base is found
	}
	return h.Kid, beat.Base
}

// broughtKey names the boot key that a kept statement brought.
func broughtKey(r *store.Report) (id attest.Digest, ok bool) {
	var brought attest.Recertify
	if len(r.DKb) == 0 || attest.Decode(r.DKb, &brought) != nil {
		return id, false
	}
	key, err := attest.ParseKey(attest.DKb, brought.Public)
	if err != nil {
		return id, false
	}
	return key.ID, true
}

// references take over what judged the boot evidence for the decision, if it still
// does.
func (g *gathering) references(decided *store.Report) error {
	result := new(verify.Result)
	if err := attest.Decode(decided.Result, result); err != nil {
		return fmt.Errorf("reading a kept Result: %w", err)
	}
	r := &g.File.References
	r.Number, r.DBX, r.SBAT = result.Boot.References, result.Boot.Levels.DBX, result.Boot.Levels.SBAT
	refs := g.s.bootReferences()
	if refs.Number != r.Number {
		return nil
	}
	content, err := refs.Encode()
	r.Content = string(content)
	return err
}

// bootLog takes over the log that a quote named.
func (g *gathering) bootLog(r *store.Report) error {
	quote := new(attest.Quote)
	if err := attest.Decode(r.Quote, quote); err != nil {
		return fmt.Errorf("reading a kept quote: %w", err)
	}
	if quote.LogSHA256.IsZero() {
		return nil
	}
	log, _, err := g.tx.BootLog(quote.LogSHA256)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	g.File.Log = log
	return err
}

func (g *gathering) policy() error {
	digest, err := hex.DecodeString(g.record.Policy)
	if err != nil || len(digest) != len(attest.Digest{}) {
		return nil // none had a say
	}
	p, err := g.tx.PolicyOf(attest.Digest(digest))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		g.Policy = string(p.YAML)
	}
	return err
}

func (g *gathering) baselines() error {
	list, err := g.tx.Baselines(g.row.ID)
	for _, b := range list {
		g.Baselines = append(g.Baselines, evidence.Baseline{
			State: string(b.State), FirstSeen: b.FirstSeen, DecidedAt: b.DecidedAt, DecidedBy: b.DecidedBy, Set: string(b.Set),
		})
	}
	return err
}

package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/enroll"
	"muster/server/store"
	"muster/server/verify"
)

// Automatic approval of another way to start (DESIGN's two conditions): all hard
// claims hold, and so many other laptops of the model show each new value in a set
// that has been approved for so long.
const (
	approvedByFleet = 5
	approvedFor     = 7 * 24 * time.Hour
	fleetActor      = "fleet"
)

// bootInput reads what the boot evidence of a device is judged by: the log that its
// quote named, if it is here, and the sets that it showed before.
func (s *Server) bootInput(tx *store.Tx, d *device, named attest.Digest, quoted attest.PCRs) (verify.BootInput, error) {
	in := verify.BootInput{References: s.bootReferences(), Levels: s.config.BootLevels, Manufacturer: d.row.TPM.Manufacturer, Missing: verify.NotJudged}
	if d.tpm.Manufacturer != "" {
		in.Manufacturer = d.tpm.Manufacturer
	}
	var err error
	if in.Denied, err = s.denied(tx, &d.row, d.result); err != nil {
		return in, err
	}
	if in.Seen, err = seenSets(tx, d.row.ID); err != nil || named.IsZero() {
		return in, err
	}
	log, _, err := tx.BootLog(named)
	if errors.Is(err, store.ErrNotFound) {
		if d.withholds(s.now()) {
			in.Missing = verify.LogWithheld
		}
		return in, nil
	}
	if err != nil {
		return in, err
	}
	in.Account, in.Missing = verify.ReadLog(log, quoted, &s.certificates)
	return in, nil
}

// denied tells whether a TPM that enrolled is on the deny list by now. While that is
// lost, what was said last stays.
func (s *Server) denied(tx *store.Tx, row *store.Device, last *verify.Result) (bool, error) {
	k, roots := &row.Keys, s.roots.Load()
	if roots == lostRoots {
		return last != nil && last.Denied, nil
	}
	if k.Kind != attest.KindTPM || !roots.Denies() {
		return false, nil
	}
	begin := &attest.EnrolBegin{Platform: row.Platform}
	begin.Identity = attest.Identity{Kind: k.Kind, EK: &attest.EndorsementKey{Template: k.EKTemplate, Public: k.EKPublic, Certificate: k.EKCertificate}, AK: k.AK, DK: k.DK}
	enrolled, err := tx.EnrolmentEvidence(row.ID, k.DKID)
	switch {
	case errors.Is(err, store.ErrNotFound): // no longer kept: the CAs of the pack must do
	case err != nil:
		return false, err
	default:
		first := new(attest.EnrolBegin)
		if err := attest.Decode(enrolled.Begin, first); err != nil {
			return false, fmt.Errorf("reading a kept enrolment: %w", err)
		}
		if first.Identity.EK != nil {
			begin.Identity.EK.Chain = first.Identity.EK.Chain
		}
	}
	c, err := enroll.Judge(begin, roots, func(*enroll.Candidate) bool { return false })
	if err != nil { // of an older version: its key itself is known
		return roots.Denied(k.EKHash), nil
	}
	return c.Cause == enroll.CauseDenied, nil
}

// seenSets reads the ways in which a device started before. One that this version
// cannot read is no reason to trust: it is left out, so that the present one is
// another.
func seenSets(tx *store.Tx, id string) (seen []verify.SeenSet, err error) {
	kept, err := tx.Baselines(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // not enrolled yet
	}
	return asSeen(kept), err
}

func asSeen(kept []*store.Baseline) []verify.SeenSet {
	seen := make([]verify.SeenSet, 0, len(kept))
	for _, b := range kept {
		k := verify.SeenSet{State: verify.BaselineState(b.State), Set: new(verify.BootSet)}
		if json.Unmarshal(b.Set, k.Set) != nil {
			k.Set = nil
		}
		seen = append(seen, k)
	}
	return seen
}

// appraise judges a statement; a quote beside it is judged with its log, and another
// way to start is approved where the fleet vouches for it. start is nil without a
// quote.
func (s *Server) appraise(tx *store.Tx, d *device, in verify.Input) (r *verify.Result, start *start, err error) {
	m := in.Evidence.Measured
	if m == nil {
		return verify.Appraise(in), nil, nil
	}
	if in.Boot, err = s.bootInput(tx, d, m.LogSHA, m.PCRs); err != nil {
		return nil, nil, err
	}
	r = verify.Appraise(in)
	if start, err = s.started(tx, d, r, &in.Boot); err == nil && start != nil && start.again {
		r = verify.Appraise(in) // with what the fleet approved
	}
	return r, start, err
}

// rejudge judges the boot evidence in a Result of a device once more.
func (s *Server) rejudge(tx *store.Tx, d *device, last *verify.Result) (r *verify.Result, start *start, err error) {
	in, err := s.bootInput(tx, d, last.Boot.LogSHA256, last.Boot.PCRs)
	if err != nil {
		return nil, nil, err
	}
	r = verify.Rejudge(last, &in)
	if start, err = s.started(tx, d, r, &in); err == nil && start != nil && start.again {
		r = verify.Rejudge(last, &in)
	}
	return r, start, err
}

// start is what the store is to keep of one way in which a device started.
type start struct {
	baseline store.Baseline
	fleet    store.FleetValues
	fresh    bool // it was never seen before, and others were
	kept     bool // the store has it as it is
	again    bool // the fleet approved it: judge once more
	expected bool // it is what Microsoft rolls out to every machine
	laptop   string
	changes  []verify.BootChange
}

// started makes that of a judged Result; nil when there is no set yet, and for a device
// that waits: its start is kept, and told, when somebody admits it. An approval by the
// fleet is put into in.Seen.
func (s *Server) started(tx *store.Tx, d *device, r *verify.Result, in *verify.BootInput) (*start, error) {
	if r.Boot.Set == nil || d.row.State != attest.Active {
		return nil, nil
	}
	st := &start{changes: r.Boot.Changes, expected: r.Boot.Expected(), laptop: d.row.Name, baseline: store.Baseline{
		Device: d.row.ID, Key: r.Boot.SetKey, State: store.BaselineNew, FirstSeen: tx.Now(), LastSeen: tx.Now(),
	}}
	r.Boot.Set.Model = modelOf(r)
	if err := st.takeOver(tx, r); err != nil {
		return nil, err
	}
	var err error
	if st.baseline.Set, err = json.Marshal(r.Boot.Set); err != nil {
		return nil, err
	}
	st.fleet = store.FleetValues{Device: d.row.ID, Model: modelOf(r), Counts: counts(r)}
	for name, value := range r.Boot.Set.Components() {
		st.fleet.Values = append(st.fleet.Values, store.BootValue{Component: name, Value: value})
	}
	slices.SortFunc(st.fleet.Values, func(a, b store.BootValue) int { return strings.Compare(a.Component, b.Component) })
	if st.baseline.State == store.BaselineDrifted {
		if err := s.askFleet(tx, d, st, r, in); err != nil {
			return nil, err
		}
	}
	if st.baseline.State == store.BaselineApproved {
		if st.fleet.ApprovedSince = st.baseline.DecidedAt; st.fleet.ApprovedSince.IsZero() {
			st.fleet.ApprovedSince = tx.Now()
		}
	}
	was, err := tx.FleetValues(d.row.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	st.kept = st.kept && err == nil && sameValues(&st.fleet, was)
	return st, nil
}

// counts reports whether a laptop vouches for others: healthy, and with a TPM whose
// quotes nobody can forge.
func counts(r *verify.Result) bool {
	return r.Tier != verify.Contraindicated && r.Boot.Claims.BootChain.State == posture.Yes &&
		(r.Cap == nil || r.Cap.Level >= verify.TPMHardware)
}

func sameValues(a, b *store.FleetValues) bool {
	return a.Model == b.Model && a.Counts == b.Counts && a.ApprovedSince.Equal(b.ApprovedSince) && slices.Equal(a.Values, b.Values)
}

// takeOver carries on what was decided of the same start before, with its log or
// without.
func (st *start) takeOver(tx *store.Tx, r *verify.Result) error {
	kept, err := tx.Baselines(st.baseline.Device)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	seen := asSeen(kept)
	at := verify.Decided(seen, r.Boot.Set)
	switch {
	case at >= 0:
		same := kept[at]
		was := seen[at].Set.Model
		if was != "" {
			r.Boot.Set.Model = was
		}
		st.baseline.State, st.baseline.FirstSeen = same.State, same.FirstSeen
		st.baseline.DecidedAt, st.baseline.DecidedBy, st.baseline.Why = same.DecidedAt, same.DecidedBy, same.Why
		st.kept = slices.ContainsFunc(kept, func(b *store.Baseline) bool { return b.Key == st.baseline.Key && b.State == same.State }) &&
			was == r.Boot.Set.Model
	case len(kept) > 0:
		st.baseline.State, st.fresh = store.BaselineDrifted, true
	}
	return nil
}

// askFleet approves another way to start without a person, under the two conditions.
func (s *Server) askFleet(tx *store.Tx, d *device, st *start, r *verify.Result, in *verify.BootInput) error {
	if r.Boot.Claims.BootChain.State != posture.Yes || r.Tier == verify.Contraindicated || st.fleet.Model == "" {
		return nil
	}
	// The model is the report's word: what counts is what it was when the start that
	// this one is compared with was first seen, so that nobody chooses the fleet that
	// approves them.
	if like := verify.Like(in.Seen, r.Boot.Set); like == nil || like.Model != st.fleet.Model {
		return nil
	}
	var why []string
	changed := make(map[string]bool)
	for _, c := range r.Boot.Changes {
		changed[c.Component] = true
	}
	if len(changed) == 0 {
		return nil // with nothing to compare, nothing is vouched for
	}
	for _, v := range st.fleet.Values {
		if !changed[v.Component] {
			continue
		}
		p, err := tx.Prevalence(st.fleet.Model, d.row.ID, v, tx.Now().Add(-approvedFor))
		if err != nil {
			return err
		}
		if p.Approved < approvedByFleet {
			return nil
		}
		why = append(why, fmt.Sprintf("%s: %d of %d laptops of this model show it, %d approved for a week", v.Component, p.Shows, p.Of, p.Approved))
	}
	if len(why) == 0 {
		return nil
	}
	st.baseline.State, st.baseline.DecidedAt, st.baseline.DecidedBy = store.BaselineApproved, tx.Now(), fleetActor
	st.baseline.Why, st.again, st.kept = strings.Join(why, "; "), true, false
	in.Seen = append([]verify.SeenSet{{State: verify.BaselineApproved, Set: r.Boot.Set}}, in.Seen...)
	return nil
}

// maxModel bounds what a report calls its model.
const maxModel = 200

// modelOf names a laptop's model for comparison with others; empty when its report
// does not say.
func modelOf(r *verify.Result) string {
	h := &r.Claims.Hardware
	if h.State != posture.Yes || h.Detail.Vendor == "" || h.Detail.Model == "" {
		return ""
	}
	model := h.Detail.Vendor + " " + h.Detail.Model
	return model[:min(len(model), maxModel)]
}

// driftRecord is what the audit log keeps of a start.
type driftRecord struct {
	Set     attest.Digest       `json:"set"`
	State   store.BaselineState `json:"state"`
	Changes []string            `json:"changes,omitempty"`
	Why     string              `json:"why,omitempty"`
}

// keepStart writes how a device started, in the commit of what was judged.
func (s *Server) keepStart(tx *store.Tx, st *start) error {
	if st == nil {
		return nil
	}
	if err := tx.PutBaseline(&st.baseline); err != nil {
		return err
	}
	if err := tx.SetFleetValues(&st.fleet); err != nil {
		return err
	}
	if !st.fresh && !st.again {
		return nil
	}
	record := driftRecord{Set: st.baseline.Key, State: st.baseline.State, Why: st.baseline.Why}
	for _, c := range st.changes {
		record.Changes = append(record.Changes, c.Text)
	}
	if err := s.tellDrift(tx, st, record.Changes); err != nil {
		return err
	}
	return audit(tx, "device "+st.baseline.Device, "device.boot-"+string(st.baseline.State), st.baseline.Device, record)
}

// logCame judges the last quote anew when the log that it named arrived.
func (s *Server) logCame(ctx context.Context, d *device, digest attest.Digest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		return err
	}
	if d.result == nil || d.result.Boot.LogSHA256 != digest {
		return nil
	}
	return s.judgeAgain(ctx, d)
}

// judgeAgain judges the boot evidence that a device showed last anew, keeps how it
// started, and decides anew. The caller holds d.mu.
func (s *Server) judgeAgain(ctx context.Context, d *device) error {
	var r *verify.Result
	var st *start
	err := s.store.View(ctx, func(tx *store.Tx) (err error) { // comparing with the fleet reads much
		r, st, err = s.rejudge(tx, d, d.result)
		return err
	})
	if err == nil && st != nil && !st.kept {
		err = s.store.Update(ctx, func(tx *store.Tx) error { return s.keepStart(tx, st) })
	}
	if err != nil {
		return fmt.Errorf("judging boot evidence of device %s: %w", d.row.ID, err)
	}
	d.result = r
	s.decideFor(d, s.now())
	s.elevated.wake()
	return nil
}

// judgeAll judges every device's boot evidence anew, after references changed. A
// device that cannot be judged keeps what it had, and is told in the log.
func (s *Server) judgeAll(ctx context.Context) {
	for id, d := range s.fleet.all() {
		if ctx.Err() != nil {
			return
		}
		d.mu.Lock()
		err := s.refresh(d)
		if err == nil && d.result != nil && !d.result.QuotedAt.IsZero() {
			err = s.judgeAgain(ctx, d)
		}
		d.mu.Unlock()
		if err != nil {
			s.log.Error("boot evidence not judged again", "device", id, "error", err)
		}
	}
	s.lookNow(ctx)
}

// outdated tells a stored Result that was judged by other references, before its
// log arrived, or before somebody's word on how the device starts: it is judged
// again when it is read.
func (s *Server) outdated(tx *store.Tx, row *store.Device, r *verify.Result) (bool, error) {
	if r.QuotedAt.IsZero() {
		return false, nil
	}
	b := &r.Boot
	if b.Owed() || b.References != s.bootReferences().Number || b.Levels != s.config.BootLevels || b.SetKey.IsZero() {
		return true, nil
	}
	if denied, err := s.denied(tx, row, r); err != nil || denied != r.Denied {
		return true, err
	}
	kept, err := tx.Baselines(row.ID)
	if err != nil {
		return false, err
	}
	at := slices.IndexFunc(kept, func(b *store.Baseline) bool { return b.Key == r.Boot.SetKey })
	return at < 0 || string(kept[at].State) != string(r.Boot.Standing), nil
}

// decideBaseline is an administrator's word on a way to start.
func (s *Server) decideBaseline(ctx context.Context, by, id string, key attest.Digest, approve bool) error {
	d := s.fleet.get(id)
	if d == nil {
		return store.ErrNotFound
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		return err
	}
	state := store.BaselineRefused
	if approve {
		state = store.BaselineApproved
	}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		kept, err := tx.Baselines(id)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(kept, func(b *store.Baseline) bool { return b.Key == key })
		if at < 0 {
			return store.ErrNotFound
		}
		seen := asSeen(kept)
		for i, b := range kept { // the same start, with its log or without, gets the same word
			if i != at && (seen[i].Set == nil || seen[at].Set == nil || !seen[i].Set.Same(seen[at].Set)) {
				continue
			}
			b.State, b.DecidedAt, b.DecidedBy, b.Why = state, tx.Now(), by, ""
			if err := tx.PutBaseline(b); err != nil {
				return err
			}
		}
		return audit(tx, by, "device.boot-"+string(state), id, driftRecord{Set: key, State: state})
	})
	if err != nil || d.result == nil || d.result.QuotedAt.IsZero() {
		return err
	}
	if err := s.judgeAgain(ctx, d); err != nil {
		return err
	}
	s.lookNow(ctx)
	return nil
}

// everywhere lists the devices that start in the same way and wait for a word on it.
func (s *Server) everywhere(key attest.Digest) (ids []string) {
	for id, d := range s.fleet.all() {
		d.mu.Lock()
		if d.row.State == attest.Active && d.result != nil && d.result.Boot.SetKey == key && d.result.Boot.Baseline.Reason == verify.BootDrifted {
			ids = append(ids, id)
		}
		d.mu.Unlock()
	}
	slices.Sort(ids)
	return ids
}

package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// history is what the journal says as a whole.
type history struct {
	tenant     string
	epoch      uint64
	generation uint64
	audit      auditMark       // the highest head since the last epoch began
	dead       map[string]bool // kind ‖ value
	packs      map[string]uint64
	words      map[string]word // the last one of each person
	refused    map[string]bool // baselines that were, once: see refusal
	waived     bool            // it may be missing (see Config.WithoutJournal)
}

// covers refuses a journal that cannot have what was revoked since a backup: the
// opening before the backup is in every one that does.
func (h *history) covers(backupGeneration uint64) error {
	if h.waived || h.generation >= backupGeneration {
		return nil
	}
	return ErrNoJournal
}

// auditMark is a head that the audit log had.
type auditMark struct {
	seq  uint64
	hash string
}

func recall(lines []line) *history {
	h := &history{dead: map[string]bool{}, packs: map[string]uint64{}, words: map[string]word{}, refused: map[string]bool{}}
	for i := range lines {
		l := &lines[i]
		h.epoch = max(h.epoch, l.Epoch)
		h.generation = max(h.generation, l.Generation)
		switch l.Kind {
		case lineTenant:
			h.tenant = l.Tenant
		case lineEpoch, lineAudit:
			h.audit = auditMark{l.Seq, string(l.Hash)}
		case lineRevoke, lineRetire:
			h.dead[deadEK+string(l.EKHash)] = true
			h.dead[deadAK+string(l.AKName)] = true
			h.dead[deadDK+string(l.DKID)] = true
		case lineGateway:
			h.dead[deadGateway+string(l.Hash)] = true
		case linePasskey:
			h.dead[deadPasskey+string(l.Passkey)] = true
		case lineDisable, lineEnable:
			if l.Number > h.words[l.Person].number {
				h.words[l.Person] = word{l.Person, l.Number, l.Kind == lineDisable, l.Time, l.Cause}
			}
		case lineRefuse:
			h.refused[refusal(l.Device, l.Hash)] = true
		case linePack:
			h.packs[l.Pack] = max(h.packs[l.Pack], l.Number)
		}
	}
	return h
}

// start brings database and journal in line, as the first update.
func (s *Store) start(ctx context.Context, withoutJournal bool) error {
	lines := s.journal.lines
	s.journal.lines = nil
	past := recall(lines)
	past.waived = withoutJournal
	s.checkpointed = past.audit.seq
	var meta *Meta
	if err := s.Update(ctx, func(t *Tx) (err error) {
		meta, err = t.begin(past, lines)
		return err
	}); err != nil {
		return err
	}
	s.epoch.Store(meta.Epoch)
	s.feed.start(meta.Generation)
	return nil
}

// begin starts a generation and, where the database was put back, an epoch.
func (t *Tx) begin(past *history, lines []line) (*Meta, error) {
	meta, err := t.Meta()
	if errors.Is(err, ErrNotFound) {
		if err := t.found(); err != nil {
			return nil, err
		}
		meta, err = t.Meta()
	}
	if err != nil {
		return nil, err
	}
	if past.tenant != "" && past.tenant != meta.Tenant {
		return nil, fmt.Errorf("%w: it is of tenant %s, the database of %s", ErrJournal, past.tenant, meta.Tenant)
	}
	if past.tenant == "" {
		t.lines = append(t.lines, line{Kind: lineTenant, Tenant: meta.Tenant})
	}
	back, err := t.wentBack(meta, past)
	if err != nil {
		return nil, err
	}
	meta.Generation = max(meta.Generation, past.generation) + 1
	t.epoch = meta.Epoch
	if back != "" {
		head, err := t.AuditHead()
		if err != nil {
			return nil, err
		}
		was := meta.Epoch
		meta.Epoch = max(meta.Epoch, past.epoch) + 1
		t.epoch = meta.Epoch
		if err := t.beginEpoch(back); err != nil {
			return nil, err
		}
		if err := t.replayRoles(lines, was, head.Seq); err != nil {
			return nil, err
		}
		if err := t.replayRefusals(lines, was, head.Seq); err != nil {
			return nil, err
		}
	}
	if err := t.one("UPDATE meta SET epoch = ?, generation = ?, backup_at = 0",
		meta.Epoch, meta.Generation); err != nil {
		return nil, err
	}
	t.lines = append(t.lines, line{Kind: lineOpen, Time: millis(t.now), Epoch: meta.Epoch, Generation: meta.Generation})
	return meta, t.join(past, lines)
}

// wentBack tells why the database must be an older state of itself; empty when
// nothing says so.
func (t *Tx) wentBack(meta *Meta, past *history) (string, error) {
	var backup int64
	if err := t.first([]any{&backup}, "SELECT backup_at FROM meta"); err != nil {
		return "", err
	}
	head, err := t.AuditHead()
	if err != nil {
		return "", err
	}
	switch {
	case backup != 0:
		return "backup of " + instant(backup).Format("2006-01-02T15:04:05Z"), past.covers(meta.Generation)
	case past.epoch > meta.Epoch:
		return "its epoch is older than the journal's", nil
	// One more is what a crash between journal and commit leaves.
	case past.generation > meta.Generation+1:
		return "it was opened less often than the journal", nil
	case past.audit.seq > head.Seq:
		return "its audit log is shorter than the journal says", nil
	}
	return "", nil
}

// beginEpoch voids what was issued in the old one. The nonces and replies of
// devices are void by their epoch (see Hot).
func (t *Tx) beginEpoch(why string) error {
	for _, void := range []string{
		"DELETE FROM enrolments", // replies of the old epoch
		"UPDATE tokens SET uses_left = 0",
		"DELETE FROM signing_keys", // a copy of the backup can sign with them
		// What devices showed then says nothing of now: each reports whole, and counts anew.
		"UPDATE fleet SET counts = 0 WHERE counts = 1",
	} {
		if _, err := t.exec(void); err != nil {
			return err
		}
	}
	if err := t.voidIssued(); err != nil {
		return err
	}
	head, err := t.AuditHead()
	if err != nil {
		return err
	}
	t.lines = append(t.lines, line{Kind: lineEpoch, Time: millis(t.now), Epoch: t.epoch,
		Seq: head.Seq, Hash: orNull(head.Hash)})
	_, err = t.Audit(Entry{Actor: "store", Action: "epoch.begin", Subject: fmt.Sprint(t.epoch), Detail: []byte(quoted(why))})
	return err
}

// voidIssued ends what was issued to people and programs in the old epoch.
// Visits are void with their sessions; a spent value stays spent.
func (t *Tx) voidIssued() error {
	if _, err := t.endSessions("WHERE ended_at = 0", causeRestored); err != nil {
		return err
	}
	if _, err := t.endBypasses("WHERE ended_at = 0"); err != nil {
		return err
	}
	for _, void := range []string{
		"UPDATE offers SET ended_at = ? WHERE taken_at = 0 AND ended_at = 0",
		"UPDATE api_tokens SET ended_at = ? WHERE ended_at = 0",
	} {
		if _, err := t.exec(void, millis(t.now)); err != nil {
			return err
		}
	}
	return nil
}

// join makes database and journal each know what only the other does.
func (t *Tx) join(past *history, lines []line) error {
	for i := range lines {
		if err := t.replay(&lines[i]); err != nil {
			return fmt.Errorf("replaying line %d of the revocation journal: %w", i+1, err)
		}
	}
	for _, person := range slices.Sorted(maps.Keys(past.words)) {
		w := past.words[person]
		if err := t.replayWord(&w); err != nil {
			return fmt.Errorf("replaying word %d of person %s: %w", w.number, person, err)
		}
	}
	for name, number := range past.packs {
		if err := t.raisePack(name, number); err != nil {
			return err
		}
	}
	missing, err := t.unjournalled(past.dead)
	if err != nil {
		return err
	}
	removed, err := t.unjournalledPasskeys(past.dead)
	if err != nil {
		return err
	}
	words, err := t.unjournalledWords(past.words)
	if err != nil {
		return err
	}
	refusals, err := t.unjournalledRefusals(past.refused)
	if err != nil {
		return err
	}
	t.lines = slices.Concat(t.lines, missing, removed, words, refusals)
	packs, err := t.Packs()
	if err != nil {
		return err
	}
	for name, number := range packs {
		if past.packs[name] < number {
			t.lines = append(t.lines, line{Kind: linePack, Pack: name, Number: number})
		}
	}
	return nil
}

package people

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"time"

	"muster/server/passkey"
	"muster/server/reference"
	"muster/server/store"
)

// number is that of a pack; 0 without one.
func number(pack *reference.MDS) int {
	if pack == nil {
		return 0
	}
	return pack.Number
}

// judgeAtOnce is how many persons' passkeys are judged between two transactions:
// judging takes a while, and others wait for a transaction.
const judgeAtOnce = 100

// SetMetadata puts a pack into use and judges every stored passkey by it again.
// Sessions of a passkey whose model lost trust, or that is attested no more, end.
// It returns how many passkeys are judged otherwise than before. After an error
// some are judged by the last one: call it again.
func (p *People) SetMetadata(ctx context.Context, pack *reference.MDS) (changed int, err error) {
	p.judging.Lock()
	defer p.judging.Unlock()
	// First, so that what is registered from now on is judged by it.
	p.metadata.Store(pack)
	return p.judgeAll(ctx)
}

// judgedFor is how long judgements hold by themselves: a pack expires, and a
// status may begin on a day to come.
const judgedFor = 24 * time.Hour

// judgeAgain judges every passkey by the pack in use when that was a day ago.
func (p *People) judgeAgain(ctx context.Context) error {
	p.judging.Lock()
	defer p.judging.Unlock()
	if age := p.Now().Sub(p.judgedAt); p.metadata.Load() == nil || age >= 0 && age < judgedFor {
		return nil
	}
	_, err := p.judgeAll(ctx)
	return err
}

// judgeAll judges every passkey by the pack in use. The caller holds p.judging.
func (p *People) judgeAll(ctx context.Context) (changed int, err error) {
	if p.party == nil {
		return 0, nil
	}
	persons, err := p.Persons(ctx)
	if err != nil {
		return 0, fmt.Errorf("judging passkeys: %w", err)
	}
	for len(persons) > 0 {
		page := persons[:min(judgeAtOnce, len(persons))]
		persons = persons[len(page):]
		n, err := p.judge(ctx, page)
		changed += n
		if err != nil {
			return changed, fmt.Errorf("judging passkeys: %w", err)
		}
	}
	p.judgedAt = p.Now()
	return changed, nil
}

// judged is a passkey and what the pack in use says of it.
type judged struct {
	key *store.Passkey
	now passkey.Judgement
}

// judge judges the passkeys of some persons, and keeps what is new.
func (p *People) judge(ctx context.Context, persons []*store.Person) (changed int, err error) {
	var keys []*store.Passkey
	err = p.view(ctx, func(tx *store.Tx) error {
		keys = nil
		for _, person := range persons {
			theirs, err := tx.Passkeys(person.ID)
			if err != nil {
				return err
			}
			keys = append(keys, theirs...)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var news []judged
	silent := p.metadata.Load().Freshness(p.Now()) == reference.Expired
	for _, k := range keys {
		now := p.party.Judge(&k.Credential)
		if silent && now.Bad == "" {
			// No metadata, or none that still counts, takes nothing back.
			now.Bad, now.Statuses = k.Judgement.Bad, k.Judgement.Statuses
		}
		if !reflect.DeepEqual(now, k.Judgement) {
			news = append(news, judged{k, now})
		}
	}
	if len(news) == 0 {
		return 0, nil
	}
	err = p.update(ctx, func(tx *store.Tx) error {
		changed = 0
		for _, j := range news {
			other, err := p.rejudge(tx, j)
			if err != nil {
				return err
			}
			if other {
				changed++
			}
		}
		return nil
	})
	return changed, err
}

// rejudge keeps a judgement; other tells that it says something else than before.
// Only the number of the pack may differ too.
func (p *People) rejudge(tx *store.Tx, j judged) (other bool, err error) {
	k, err := tx.PasskeyByID(j.key.ID)
	if err != nil {
		return false, ignore(err, store.ErrNotFound) // removed meanwhile
	}
	if err := tx.JudgePasskey(k.ID, &j.now); err != nil {
		return false, err
	}
	before := k.Judgement
	before.Pack = j.now.Pack
	if reflect.DeepEqual(before, j.now) {
		return false, nil
	}
	err = audit(tx, "store", "passkey.judge", passkeyID(k.ID), map[string]any{
		"pack": j.now.Pack, "evidence": j.now.Evidence, "why": j.now.Why, "certification": j.now.Certification, "bad": j.now.Bad,
		"was": map[string]any{"evidence": k.Judgement.Evidence, "certification": k.Judgement.Certification, "bad": k.Judgement.Bad},
	})
	switch {
	case err != nil:
	case j.now.Bad != "":
		err = p.distrust(tx, k, j.now.Bad)
	case before.Evidence == passkey.Attested && j.now.Evidence != passkey.Attested:
		_, err = endOpened(tx, k) // they say that it is attested
	}
	return true, err
}

// endOpened ends the sessions that a passkey opened.
func endOpened(tx *store.Tx, k *store.Passkey) (ended int, err error) {
	sessions, err := tx.Sessions(k.Person)
	if err != nil {
		return 0, err
	}
	for _, s := range sessions {
		if !bytes.Equal(s.Credential, k.ID) {
			continue
		}
		if err := end(tx, "store", s, causeModel); err != nil {
			return 0, err
		}
		ended++
	}
	return ended, nil
}

// distrust ends the sessions that a passkey opened whose model lost trust, and
// tells its owner. The passkey stays, refused, so that its owner reads why.
func (p *People) distrust(tx *store.Tx, k *store.Passkey, status string) error {
	ended, err := endOpened(tx, k)
	if err != nil {
		return err
	}
	if k.Judgement.Bad != "" {
		return nil // told before
	}
	person, err := tx.Person(k.Person)
	if err != nil {
		return err
	}
	detail := describe(k)
	detail["status"], detail["sessions"] = status, ended
	return p.notify(tx, person, "passkey-model", detail)
}

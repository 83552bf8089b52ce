package people

import (
	"bytes"
	"context"
	"fmt"
	"reflect"

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

// Metadata is the pack in use; nil without one.
func (p *People) Metadata() *reference.MDS { return p.metadata.Load() }

// SetMetadata puts a pack into use and judges every stored passkey by it again.
// Sessions of a passkey whose model lost trust end. It returns how many passkeys
// are judged otherwise than before. After an error some are judged by the last
// one: call it again.
func (p *People) SetMetadata(ctx context.Context, pack *reference.MDS) (changed int, err error) {
	p.judging.Lock()
	defer p.judging.Unlock()
	// First, so that what is registered from now on is judged by it.
	p.metadata.Store(pack)
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
	for _, k := range keys {
		if now := p.party.Judge(&k.Credential); !reflect.DeepEqual(now, k.Judgement) {
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
	if err != nil || j.now.Bad == "" {
		return true, err
	}
	return true, p.distrust(tx, k, j.now.Bad)
}

// distrust ends the sessions that a passkey opened whose model lost trust, and
// tells its owner. The passkey stays, refused, so that its owner reads why.
func (p *People) distrust(tx *store.Tx, k *store.Passkey, status string) error {
	sessions, err := tx.Sessions(k.Person)
	if err != nil {
		return err
	}
	ended := 0
	for _, s := range sessions {
		if !bytes.Equal(s.Credential, k.ID) {
			continue
		}
		if err := end(tx, "store", s, causeModel); err != nil {
			return err
		}
		ended++
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

package people

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"muster/server/store"
)

// Drifted tells administrators, in the commit of what was judged, that a laptop
// starts in another way than before. changes are clauses in plain words; they hold
// names out of the laptop's own log.
func (p *People) Drifted(tx *store.Tx, device, laptop string, changes []string) error {
	if p == nil {
		return nil // before there are people: the list of laptops has it all the same
	}
	if len(changes) == 0 {
		changes = []string{"nothing is on record to compare with"}
	}
	return p.tellAdministrators(tx, "boot-drift", map[string]any{"device": device, "laptop": orID(laptop, device), "changes": changes})
}

// Moved tells administrators, and its owner where that is one of the people, that a
// laptop came back with other keys and waits. why is a sentence.
func (p *People) Moved(tx *store.Tx, device, laptop, owner, cause, why string) error {
	if p == nil {
		return nil
	}
	detail := map[string]any{"device": device, "laptop": orID(laptop, device), "owner": owner, "cause": cause, "why": why}
	if err := p.tellAdministrators(tx, "laptop-moved", detail); err != nil || owner == "" {
		return err
	}
	person, err := tx.PersonByName(owner)
	if errors.Is(err, store.ErrNotFound) || err == nil && person.Disabled {
		return nil
	}
	if err != nil {
		return err
	}
	return p.notify(tx, person, "laptop-waits", detail)
}

func orID(name, id string) string {
	if name == "" {
		return id
	}
	return name
}

// tellAdministrators puts a notice about nobody in particular into the outbox: for
// the webhook, and by mail for each administrator.
func (p *People) tellAdministrators(tx *store.Tx, kind string, detail map[string]any) error {
	n := notice{Kind: kind, At: tx.Now(), Detail: detail}
	says, fill := wordsOf[kind], p.filler(detail)
	n.Subject, n.Text, n.Fix = says.subject, fill(says.text), fill(says.fix)
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("writing notice: %w", err)
	}
	var list []*store.Notice
	if p.Webhook {
		list = append(list, &store.Notice{Channel: "webhook", Kind: kind, Body: body})
	}
	for i, to := range p.Administrators {
		if p.Mail && !slices.Contains(p.Administrators[:i], to) {
			list = append(list, &store.Notice{Channel: "mail", To: to, Kind: kind, Body: body})
		}
	}
	return post(tx, list)
}

// post puts notices into the outbox.
func post(tx *store.Tx, list []*store.Notice) error {
	for _, n := range list {
		n.CreatedAt, n.NextAt = tx.Now(), tx.Now()
		if err := tx.AddNotice(n); err != nil {
			return err
		}
	}
	return nil
}

package people

import (
	"context"
	"encoding/json"
	"time"

	"muster/server/store"
)

const (
	kindReadmission store.OfferKind = "readmission"
	// readmissionLife is how long an owner's word waits for an approver.
	readmissionLife = 7 * 24 * time.Hour
	maxCode         = 64
)

var (
	errNotYours    = refuse(404, "laptop-unknown", "You have no such laptop that waits.", "Look at your laptops again; another person's laptop is that person's to readmit.")
	errLaptopCode  = refuse(400, "code-form", "The code that the laptop shows is needed.", "Read it from muster-agent status on that laptop.")
	errOwnApproval = refuse(403, "readmission-own", "Nobody approves what they asked for.", "Ask another administrator, or the help desk.")
)

// Readmitting is a laptop whose keys changed and whose owner says that it is
// still theirs: it waits for an approver.
type Readmitting struct {
	ID      string    `json:"id"`
	Device  string    `json:"device"`
	Name    string    `json:"name"`   // of the laptop
	Person  string    `json:"person"` // its owner
	AskedAt time.Time `json:"asked_at"`
	Expires time.Time `json:"expires"`
}

// readmission is what is kept of one. The code is shown by the laptop to whoever
// looks, so it is no secret: it says which keys are meant.
type readmission struct {
	Device string `json:"device"`
	Name   string `json:"name"`
	Person string `json:"person"`
	Code   string `json:"code"`
}

func (r *readmission) detail(id string) map[string]any {
	return map[string]any{"readmission": id, "device": r.Device, "laptop": r.Name, "person": r.Person}
}

// Readmission asks for a laptop of the person's own that waits because its keys
// changed, by the code that it shows: fresh hands. It is admitted at once where
// that is allowed, else when an approver confirms; waits tells which.
func (p *People) Readmission(ctx context.Context, w *Who, device, code string) (waits bool, err error) {
	if code == "" || len(code) > maxCode {
		return false, errLaptopCode
	}
	d, ok := p.Device(device)
	if !ok || d.ID != device || d.Active || d.Owner == "" || d.Owner != w.Person.Name {
		return false, errNotYours
	}
	r := &readmission{Device: d.ID, Name: d.Name, Person: d.Owner, Code: code}
	data, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	if p.ReadmitAlone {
		return false, p.readmitAlone(ctx, w, r)
	}
	err = p.update(ctx, func(tx *store.Tx) error {
		now, err := fresh(tx, w)
		if err != nil {
			return err
		}
		if err := endReadmissions(tx, device); err != nil {
			return err
		}
		o := &store.Offer{Kind: kindReadmission, Person: now.Person.ID, Data: data,
			CreatedBy: string(now.actor()), Expires: tx.Now().Add(readmissionLife)}
		if _, err := tx.AddOffer(o); err != nil {
			return err
		}
		if err := audit(tx, now.actor(), "device.readmission-ask", device, r.detail(o.ID)); err != nil {
			return err
		}
		return p.notify(tx, now.Person, "readmission-asked", r.detail(o.ID))
	})
	return err == nil, err
}

// readmitAlone lets a laptop in at its owner's word. The notice comes after:
// readmitting is a transaction of its own, which checks the code.
func (p *People) readmitAlone(ctx context.Context, w *Who, r *readmission) error {
	var by Actor
	err := p.view(ctx, func(tx *store.Tx) error {
		now, err := fresh(tx, w)
		if err == nil {
			by = now.actor()
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := p.Readmit(ctx, r.Device, r.Code, string(by)); err != nil {
		return err
	}
	return p.readmitted(ctx, by, r, "")
}

// readmitted says so in the audit log and to the owner.
func (p *People) readmitted(ctx context.Context, by Actor, r *readmission, id string) error {
	return p.update(ctx, func(tx *store.Tx) error {
		person, err := tx.PersonByName(r.Person)
		if err != nil {
			return err
		}
		detail := r.detail(id)
		detail["by"] = by
		if err := audit(tx, by, "device.readmit", r.Device, detail); err != nil {
			return err
		}
		return p.notify(tx, person, "laptop-readmitted", detail)
	})
}

// endReadmissions ends what waits for a laptop: the last word counts.
func endReadmissions(tx *store.Tx, device string) error {
	list, err := tx.Offers(kindReadmission)
	if err != nil {
		return err
	}
	for _, o := range list {
		r, err := dataOf[readmission](o)
		if err != nil {
			return err
		}
		if r.Device != device {
			continue
		}
		if err := tx.EndOffer(kindReadmission, o.ID); err != nil {
			return err
		}
	}
	return nil
}

// Readmissions lists what waits for an approver.
func (p *People) Readmissions(ctx context.Context) (list []Readmitting, err error) {
	err = p.view(ctx, func(tx *store.Tx) error {
		offers, err := tx.Offers(kindReadmission)
		if err != nil {
			return err
		}
		for _, o := range offers {
			r, err := dataOf[readmission](o)
			if err != nil {
				return err
			}
			list = append(list, Readmitting{ID: o.ID, Device: r.Device, Name: r.Name, Person: r.Person, AskedAt: o.CreatedAt, Expires: o.Expires})
		}
		return nil
	})
	return list, err
}

// ApproveReadmission lets a laptop in whose owner asked for it: the help desk or
// an administrator with fresh hands, never the owner. It works once; a laptop
// whose keys changed again since is refused, and its owner asks anew.
func (p *People) ApproveReadmission(ctx context.Context, w *Who, id string) error {
	var r *readmission
	var by Actor
	err := p.update(ctx, func(tx *store.Tx) error {
		now, err := fresh(tx, w)
		if err != nil {
			return err
		}
		if !now.Is(store.RoleHelpDesk, store.RoleAdministrator) {
			return errRole
		}
		o, err := tx.TakeOfferByID(kindReadmission, id)
		if err != nil {
			return err
		}
		if o.Person == now.Person.ID {
			return errOwnApproval
		}
		by = now.actor()
		r, err = dataOf[readmission](o)
		return err
	})
	if err != nil {
		return err
	}
	// Whose it is may have changed while it waited.
	if d, ok := p.Device(r.Device); !ok || d.ID != r.Device || d.Owner != r.Person {
		return errUsed
	}
	if err := p.Readmit(ctx, r.Device, r.Code, string(by)); err != nil {
		return err
	}
	return p.readmitted(ctx, by, r, id)
}

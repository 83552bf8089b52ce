package people

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"muster/server/session"
	"muster/server/store"
)

// Invitation asks somebody to register a first passkey. For a new person all is
// set; for one who is there and has no passkey, only Name.
type Invitation struct {
	Name      string     `json:"name"` // 1 to 64 of a-z 0-9 . _ - @ +
	Display   string     `json:"display,omitempty"`
	Mail      string     `json:"mail,omitempty"`
	Role      store.Role `json:"role,omitempty"` // default person
	Groups    []string   `json:"groups,omitempty"`
	Approvers []string   `json:"approvers,omitempty"`
	// Device binds it to one laptop: it is accepted only in a browser that the
	// laptop's agent vouches for by loopback. Empty: anywhere.
	Device string `json:"device,omitempty"`
	// Days is how long it may be accepted: 1 to 30, default 7.
	Days int `json:"days,omitempty"`
}

// Invited is an invitation as lists show it.
type Invited struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Display   string    `json:"display,omitempty"`
	CreatedBy string    `json:"created_by"`
	Expires   time.Time `json:"expires"`
	Device    string    `json:"device,omitempty"`   // the laptop that it is bound to
	Recovery  bool      `json:"recovery,omitempty"` // it replaces all passkeys
}

const (
	kindInvitation store.OfferKind = "invitation"

	defaultDays = 7
	maxDays     = 30
	// firstFor is how long the first administrator's link lives: it stands in a log.
	firstFor = 24 * time.Hour
	// maxInvitations bounds how many wait at once.
	maxInvitations = 10_000
	// maxInvitation bounds one, in bytes: the store keeps no more of an offer.
	maxInvitation = 16 << 10
)

// invitation is what an offer of that kind keeps: no secret.
type invitation struct {
	Invitation
	// Handle is the WebAuthn user handle of a person to be: an authenticator that
	// tries twice replaces its first try.
	Handle   []byte `json:"handle,omitempty"`
	First    bool   `json:"first,omitempty"`    // of the first administrator
	Recovery bool   `json:"recovery,omitempty"` // it replaces all passkeys
}

// person is who the invitation would make.
func (i *invitation) person(by string) *store.Person {
	return &store.Person{Name: i.Name, Display: i.Display, Mail: i.Mail, Role: i.Role, Groups: i.Groups, Approvers: i.Approvers,
		Handle: i.Handle, CreatedBy: by}
}

// link is where an invitation is accepted. The secret stands in the fragment:
// browsers send it to nobody.
func (p *People) link(secret string) string { return p.Origin + "/invitation#" + secret }

// First makes the invitation of the first administrator when nobody can
// administer yet: no administrator has a passkey. It returns the link, empty when
// it is not needed; an earlier one that was not accepted ends.
func (p *People) First(ctx context.Context) (link string, err error) {
	err = p.update(ctx, func(tx *store.Tx) error {
		link = ""
		able, err := administrators(tx)
		if err != nil || len(able) > 0 {
			return err
		}
		name, err := firstName(tx)
		if err != nil {
			return err
		}
		secret, err := p.offer(tx, local, &invitation{Invitation: Invitation{Name: name, Role: store.RoleAdministrator}, First: true}, firstFor)
		link = p.link(secret)
		return err
	})
	if err != nil {
		return "", err
	}
	return link, nil
}

// firstName is admin, or the next of admin2, admin3 that nobody else has.
func firstName(tx *store.Tx) (string, error) {
	for n := 1; ; n++ {
		name := "admin"
		if n > 1 {
			name = fmt.Sprintf("admin%d", n)
		}
		person, err := tx.PersonByName(name)
		if errors.Is(err, store.ErrNotFound) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
		keys, err := tx.Passkeys(person.ID)
		if err != nil {
			return "", err
		}
		if !person.Disabled && len(keys) == 0 && person.Role == store.RoleAdministrator {
			return name, nil
		}
	}
}

// Invite makes one and returns its link, which is shown once. By is an
// administrator or help desk with fresh hands (MayInvite), a program with the
// scope, or the local administrator. The help desk and programs invite persons
// only. An earlier invitation of the same name ends.
func (p *People) Invite(ctx context.Context, by Actor, i Invitation) (link string, err error) {
	if i.Days < 0 || i.Days > maxDays {
		return "", errDays
	}
	life := time.Duration(i.Days) * 24 * time.Hour
	if i.Days == 0 {
		life = defaultDays * 24 * time.Hour
	}
	unbound := p.bindable(i) // asked outside of the transaction, told to who may invite
	err = p.update(ctx, func(tx *store.Tx) error {
		filled, err := fill(tx, i)
		if err != nil {
			return err
		}
		w, err := powerOf(tx, by)
		if err != nil {
			return err
		}
		if err := w.invites(&filled.Invitation); err != nil {
			return err
		}
		if unbound != nil {
			return unbound
		}
		secret, err := p.offer(tx, by, filled, life)
		if err != nil {
			return err
		}
		link = p.link(secret)
		return p.tellRole(tx, by, filled.Name, filled.Role)
	})
	if err != nil {
		return "", err
	}
	return link, nil
}

// fill checks an invitation and says whom it is for: a new person, or one who is
// there, has no passkey, and is as the invitation says.
func fill(tx *store.Tx, i Invitation) (*invitation, error) {
	there, err := tx.PersonByName(i.Name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		if i.Role == "" {
			i.Role = store.RolePerson
		}
		filled := &invitation{Invitation: i}
		if what := wrongIn(filled.person("")); what != "" {
			return nil, wrong(what)
		}
		return filled, known(tx, i.Approvers)
	case err != nil:
		return nil, err
	}
	if err := unregistered(tx, there); err != nil {
		return nil, err
	}
	if i.Display != "" && i.Display != there.Display || i.Mail != "" && i.Mail != there.Mail || i.Role != "" && i.Role != there.Role ||
		len(i.Groups) > 0 && !slices.Equal(i.Groups, there.Groups) || len(i.Approvers) > 0 && !slices.Equal(i.Approvers, there.Approvers) {
		return nil, errOtherwise
	}
	return &invitation{Invitation: Invitation{Name: i.Name, Display: there.Display, Role: there.Role, Device: i.Device}}, nil
}

// unregistered refuses whose first passkey is not to come: names are never given
// again, and another passkey is its owner's to add.
func unregistered(tx *store.Tx, person *store.Person) error {
	keys, err := tx.Passkeys(person.ID)
	if err == nil && (person.Disabled || len(keys) > 0) {
		err = errNameTaken
	}
	return err
}

// offer keeps an invitation, in the place of an earlier one to the same person.
func (p *People) offer(tx *store.Tx, by Actor, i *invitation, life time.Duration) (secret string, err error) {
	if err := supersede(tx, i); err != nil {
		return "", err
	}
	person, err := tx.PersonByName(i.Name)
	o := &store.Offer{Kind: kindInvitation, CreatedBy: string(by), Expires: tx.Now().Add(life)}
	switch {
	case errors.Is(err, store.ErrNotFound):
		i.Handle = make([]byte, 32)
		_, _ = rand.Read(i.Handle) // does not return when it cannot
	case err != nil:
		return "", err
	default:
		o.Person = person.ID
	}
	if o.Data, err = json.Marshal(i); err != nil {
		return "", err
	}
	if len(o.Data) > maxInvitation {
		return "", wrong("it is more than an invitation carries; import the person first")
	}
	if secret, err = tx.AddOffer(o); err != nil {
		return "", err
	}
	return secret, audit(tx, by, "invitation.create", o.ID, map[string]any{
		"name": i.Name, "role": i.Role, "expires": o.Expires, "first": i.First, "recovery": i.Recovery, "device": i.Device,
	})
}

// supersede ends what a new invitation replaces: one to the same person, and an
// earlier one to the first administrator.
func supersede(tx *store.Tx, i *invitation) error {
	waiting, err := tx.Offers(kindInvitation)
	if err != nil {
		return err
	}
	if len(waiting) >= maxInvitations {
		return errTooManyInvitations
	}
	for _, o := range waiting {
		old, err := dataOf[invitation](o)
		if err != nil {
			return err
		}
		if old.Name != i.Name && !(old.First && i.First) {
			continue
		}
		if err := tx.EndOffer(kindInvitation, o.ID); err != nil {
			return err
		}
	}
	return nil
}

// inviteRecovery makes an invitation that replaces all passkeys of a person, and
// returns its secret. Whether they may recover is its caller's to know; by is an
// administrator, and has to be one still when it is accepted.
func (p *People) inviteRecovery(tx *store.Tx, person *store.Person, by Actor, expires time.Time) (secret string, err error) {
	if person.Disabled {
		return "", errNameTaken
	}
	i := &invitation{Invitation: Invitation{Name: person.Name, Display: person.Display, Role: person.Role}, Recovery: true}
	return p.offer(tx, by, i, expires.Sub(tx.Now()))
}

// Invitations lists live ones.
func (p *People) Invitations(ctx context.Context) (list []Invited, err error) {
	err = p.view(ctx, func(tx *store.Tx) error {
		waiting, err := tx.Offers(kindInvitation)
		if err != nil {
			return err
		}
		list = nil
		for _, o := range waiting {
			i, err := dataOf[invitation](o)
			if err != nil {
				return err
			}
			list = append(list, *invited(o, i))
		}
		return nil
	})
	return list, err
}

func invited(o *store.Offer, i *invitation) *Invited {
	return &Invited{ID: o.ID, Name: i.Name, Display: i.Display, CreatedBy: o.CreatedBy, Expires: o.Expires, Device: i.Device, Recovery: i.Recovery}
}

// EndInvitation withdraws one: who could make it.
func (p *People) EndInvitation(ctx context.Context, by Actor, id string) error {
	return p.update(ctx, func(tx *store.Tx) error {
		o, err := tx.Offer(kindInvitation, id)
		if err != nil {
			return err
		}
		i, err := dataOf[invitation](o)
		if err != nil {
			return err
		}
		w, err := powerOf(tx, by)
		if err != nil {
			return err
		}
		if err := w.gives(i.Role); err != nil {
			return err
		}
		if err := tx.EndOffer(kindInvitation, id); err != nil {
			return err
		}
		return audit(tx, by, "invitation.end", id, map[string]any{"name": session.Cut(i.Name)})
	})
}

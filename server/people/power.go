package people

import (
	"context"
	"errors"
	"slices"
	"strings"

	"muster/server/store"
)

// local is who works on the server's own machine.
const local Actor = "local administrator"

// power is what an actor may do now, read where it is used: who was barred or
// demoted meanwhile may nothing.
type power struct {
	role    store.Role
	program bool // it has no hands: it gives nobody more than a person's role
}

// powerOf reads it. An actor that is nobody here is refused.
func powerOf(tx *store.Tx, by Actor) (power, error) {
	if by == local {
		return power{role: store.RoleAdministrator}, nil
	}
	if name, ok := strings.CutPrefix(string(by), "person:"); ok {
		person, err := tx.PersonByName(name)
		if errors.Is(err, store.ErrNotFound) || err == nil && person.Disabled {
			return power{}, errRole
		}
		if err != nil {
			return power{}, err
		}
		return power{role: person.Role}, nil
	}
	if id, ok := strings.CutPrefix(string(by), "program:"); ok {
		tokens, err := tx.APITokens()
		if err != nil {
			return power{}, err
		}
		if i := slices.IndexFunc(tokens, func(k *store.APIToken) bool { return k.ID == id }); i >= 0 {
			return power{role: store.RoleAdministrator, program: true}, worth(tx, tokens[i])
		}
	}
	return power{}, errRole
}

// gives refuses to give somebody a role: administrators give any, the help desk
// and programs that of a person.
func (w power) gives(role store.Role) error {
	switch {
	case w.role == store.RoleAdministrator && !w.program:
		return nil
	case role == store.RolePerson && (w.program || w.role == store.RoleHelpDesk):
		return nil
	}
	return errRole
}

// errGroups: groups and approvers are power, which the help desk does not give.
var errGroups = refuse(403, "role", "The help desk invites without groups and approvers.", "Leave both empty, or ask an administrator.")

// invites refuses what somebody may not put into an invitation.
func (w power) invites(i *Invitation) error {
	if w.role == store.RoleHelpDesk && (len(i.Groups) > 0 || len(i.Approvers) > 0) {
		return errGroups
	}
	return w.gives(i.Role)
}

// mayAdminister refuses who is no administrator now. Hands are looked at before.
func mayAdminister(tx *store.Tx, by Actor) error {
	w, err := powerOf(tx, by)
	if err == nil && w.role != store.RoleAdministrator {
		err = errRole
	}
	return err
}

// Administrate refuses who is no administrator or has no fresh hands.
func (p *People) Administrate(w *Who) error {
	if !w.Is(store.RoleAdministrator) {
		return errRole
	}
	if !w.Fresh(p.Now()) {
		return errVerify
	}
	return nil
}

// MayInvite refuses who may not invite with that role, or has no fresh hands.
func (p *People) MayInvite(w *Who, role store.Role) error {
	if role == "" {
		role = store.RolePerson
	}
	if !validRole(role) {
		return errRole
	}
	if err := (power{role: w.Person.Role}).gives(role); err != nil {
		return err
	}
	if !w.Fresh(p.Now()) {
		return errVerify
	}
	return nil
}

// administrators are those who can sign in: enabled, and with a passkey.
func administrators(tx *store.Tx) (able []*store.Person, err error) {
	all, err := tx.Persons()
	if err != nil {
		return nil, err
	}
	for _, person := range all {
		if person.Disabled || person.Role != store.RoleAdministrator {
			continue
		}
		keys, err := tx.Passkeys(person.ID)
		if err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			able = append(able, person)
		}
	}
	return able, nil
}

// lastAdministrator reports whether nobody could administer without this one.
func lastAdministrator(tx *store.Tx, id string) (bool, error) {
	able, err := administrators(tx)
	return len(able) == 1 && able[0].ID == id, err
}

// Persons lists all: administrators, auditors, help desk.
func (p *People) Persons(ctx context.Context) (list []*store.Person, err error) {
	err = p.view(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Persons()
		return err
	})
	return list, err
}

// PersonBy finds one by id or name.
func (p *People) PersonBy(ctx context.Context, idOrName string) (person *store.Person, err error) {
	err = p.view(ctx, func(tx *store.Tx) (err error) {
		person, err = personBy(tx, idOrName)
		return err
	})
	return person, err
}

func personBy(tx *store.Tx, idOrName string) (*store.Person, error) {
	person, err := tx.Person(idOrName)
	if errors.Is(err, store.ErrNotFound) {
		person, err = tx.PersonByName(idOrName)
	}
	return person, err
}

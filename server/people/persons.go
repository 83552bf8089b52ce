package people

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"muster/server/session"
	"muster/server/store"
)

// ChangePerson writes display name, mail, role, groups and approvers. The last
// administrator stays one.
func (p *People) ChangePerson(ctx context.Context, by Actor, person *store.Person) error {
	if what := wrongIn(person); what != "" {
		return wrong(what)
	}
	return p.update(ctx, func(tx *store.Tx) error {
		old, err := tx.Person(person.ID)
		if err != nil {
			return err
		}
		if old.Name != person.Name {
			return wrong("a name stays with its person for ever")
		}
		w, err := powerOf(tx, by)
		if err != nil {
			return err
		}
		if err := p.change(tx, by, w, old, person); err != nil {
			return err
		}
		return known(tx, person.Approvers)
	})
}

// change writes one person's fields, for an administrator, and tells the person
// at the address that they had before.
func (p *People) change(tx *store.Tx, by Actor, w power, old, person *store.Person) error {
	fields := differences(old, person)
	if w.role != store.RoleAdministrator {
		return errRole
	}
	if len(fields) == 0 {
		return nil
	}
	// Who decides over somebody's approvers decides over their recovery: a program
	// changes persons only.
	for _, role := range []store.Role{old.Role, person.Role} {
		if err := w.gives(role); err != nil {
			return err
		}
	}
	person.RoleSince, person.RoleBy = old.RoleSince, old.RoleBy
	if person.Role != old.Role {
		if err := notLast(tx, old); err != nil {
			return err
		}
		person.RoleSince, person.RoleBy = tx.Now(), string(by)
	}
	if err := tx.UpdatePerson(person); err != nil {
		return err
	}
	detail := map[string]any{"fields": fields, "role": person.Role, "was": old.Role, "by": by}
	if err := audit(tx, by, "person.change", person.Name, detail); err != nil {
		return err
	}
	if person.Role != old.Role {
		if err := p.tellRole(tx, by, person.Name, person.Role); err != nil {
			return err
		}
	}
	if !matters(fields, old) {
		return nil
	}
	return p.notify(tx, old, "person-changed", detail)
}

// matters reports whether the person is told of a change: of what decides who
// they are here, who recovers them and where they are told. An import that sorts
// thousands into groups must not push other notices out of the outbox.
func matters(fields []string, old *store.Person) bool {
	return slices.Contains(fields, "role") || slices.Contains(fields, "approvers") || slices.Contains(fields, "mail") && old.Mail != ""
}

// notLast refuses to take the last administrator's power away.
func notLast(tx *store.Tx, person *store.Person) error {
	if person.Role != store.RoleAdministrator {
		return nil
	}
	last, err := lastAdministrator(tx, person.ID)
	if err == nil && last {
		err = errLastAdministrator
	}
	return err
}

// differences names the fields in which two versions of a person differ.
func differences(a, b *store.Person) (fields []string) {
	for _, f := range []struct {
		name string
		same bool
	}{
		{"display", a.Display == b.Display},
		{"mail", a.Mail == b.Mail},
		{"role", a.Role == b.Role},
		{"groups", slices.Equal(a.Groups, b.Groups)},
		{"approvers", slices.Equal(a.Approvers, b.Approvers)},
	} {
		if !f.same {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// known refuses approvers that are nobody: a misspelt one is found when it is too
// late else.
func known(tx *store.Tx, approvers []string) error {
	for _, name := range approvers {
		_, err := tx.PersonByName(name)
		if errors.Is(err, store.ErrNotFound) {
			return unknownApprover(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func unknownApprover(name string) *Refusal {
	return refuse(400, "approver-unknown", fmt.Sprintf("There is no person %s who could approve.", session.Cut(name)), "Add that person first.")
}

// Disable bars a person and ends all of theirs at once; Enable lets them in again.
func (p *People) Disable(ctx context.Context, by Actor, id, why string) error {
	if why = session.Cut(why); why == "" {
		return errWhy
	}
	return p.update(ctx, func(tx *store.Tx) error {
		if err := mayAdminister(tx, by); err != nil {
			return err
		}
		person, err := tx.Person(id)
		if err != nil || person.Disabled {
			return err
		}
		if err := notLast(tx, person); err != nil {
			return err
		}
		ended, err := tx.DisablePerson(id, causeDisabled)
		if err != nil {
			return err
		}
		detail := map[string]any{"why": why, "sessions": ended, "by": by}
		if err := audit(tx, by, "person.disable", person.Name, detail); err != nil {
			return err
		}
		return p.notify(tx, person, "person-disabled", detail)
	})
}

// Enable undoes Disable, but brings back no session.
func (p *People) Enable(ctx context.Context, by Actor, id string) error {
	return p.update(ctx, func(tx *store.Tx) error {
		w, err := powerOf(tx, by)
		if err != nil {
			return err
		}
		if w.role != store.RoleAdministrator {
			return errRole
		}
		person, err := tx.Person(id)
		if err != nil || !person.Disabled {
			return err
		}
		// A role that comes back is a role that is given.
		if err := w.gives(person.Role); err != nil {
			return err
		}
		if err := tx.EnablePerson(id); err != nil {
			return err
		}
		detail := map[string]any{"by": by}
		if err := audit(tx, by, "person.enable", person.Name, detail); err != nil {
			return err
		}
		return p.notify(tx, person, "person-enabled", detail)
	})
}

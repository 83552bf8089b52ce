package store

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Role is what a person may do in muster itself.
type Role string

// Every role may what RolePerson may: use their own account. Auditors read all;
// the help desk invites persons and approves; administrators do everything.
const (
	RolePerson        Role = "person"
	RoleHelpDesk      Role = "help_desk"
	RoleAuditor       Role = "auditor"
	RoleAdministrator Role = "administrator"
)

// Person is somebody who signs in. Persons are disabled, never deleted, and
// names are never given again, so that nobody inherits from a namesake.
type Person struct {
	ID      string `json:"id"`
	Name    string `json:"name"`    // unique for ever, lower case; what devices' owners name
	Display string `json:"display"` // Alice Liddell
	Mail    string `json:"mail,omitempty"`
	Role    Role   `json:"role"`
	// RoleSince and RoleBy are when it was given, and by whom: set by AddPerson where
	// they are not.
	RoleSince time.Time `json:"role_since,omitzero"`
	RoleBy    string    `json:"role_by,omitempty"`
	Groups    []string  `json:"groups,omitempty"`
	// Approvers are names of persons who may approve this one's recovery, named
	// beforehand.
	Approvers  []string  `json:"approvers,omitempty"`
	Disabled   bool      `json:"disabled"`
	CreatedAt  time.Time `json:"created_at"` // set by AddPerson
	CreatedBy  string    `json:"created_by"`
	DisabledAt time.Time `json:"disabled_at,omitzero"`
	// Handle is the WebAuthn user handle: 32 random bytes, set by AddPerson unless
	// there is one, from a registration that came before the person.
	Handle []byte `json:"-"`
}

// profile is what is stored of a person as JSON: nothing is looked up by it.
type profile struct {
	Display   string    `json:"display"`
	Mail      string    `json:"mail,omitempty"`
	Groups    []string  `json:"groups,omitempty"`
	Approvers []string  `json:"approvers,omitempty"`
	RoleSince time.Time `json:"role_since,omitzero"`
	RoleBy    string    `json:"role_by,omitempty"`
}

// pack checks what callers may write of a person, and returns its profile.
func (p *Person) pack() (string, error) {
	switch p.Role {
	case RolePerson, RoleHelpDesk, RoleAuditor, RoleAdministrator:
	default:
		return "", fmt.Errorf("unknown role %q", p.Role)
	}
	if err := errors.Join(bounded("display name", p.Display, maxText), bounded("mail address", p.Mail, maxText)); err != nil {
		return "", err
	}
	return packJSON("profile", profile{p.Display, p.Mail, p.Groups, p.Approvers, p.RoleSince, p.RoleBy}, maxProfile)
}

// personPrefix is what ids of persons start with.
const personPrefix = "p_"

// fitName refuses names that are not 1 to 64 of a-z 0-9 . _ - @ +, so that no
// two look alike or differ by case, and those that could be taken for an id.
func fitName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("name of a person has %d bytes, not 1 to %d", len(name), maxName)
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !nameRune(r) }) {
		return errors.New("name of a person is not of a-z 0-9 . _ - @ +")
	}
	if strings.HasPrefix(name, personPrefix) {
		return fmt.Errorf("name of a person starts with %s, as ids do", personPrefix)
	}
	return nil
}

func nameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("._-@+", r)
}

const personColumns = "id, name, handle, role, profile, disabled, disabled_at, created_at, created_by"

func scanPerson(row scanner) (*Person, error) {
	p := new(Person)
	var text string
	var disabled, created int64
	if err := row.Scan(&p.ID, &p.Name, &p.Handle, &p.Role, &text, &p.Disabled, &disabled, &created,
		&p.CreatedBy); err != nil {
		return nil, err
	}
	p.DisabledAt, p.CreatedAt = instant(disabled), instant(created)
	var f profile
	err := json.Unmarshal([]byte(text), &f)
	p.Display, p.Mail, p.Groups, p.Approvers, p.RoleSince, p.RoleBy = f.Display, f.Mail, f.Groups, f.Approvers, f.RoleSince, f.RoleBy
	return p, err
}

// AddPerson keeps a new person; ErrTaken when the name was ever given. It sets
// ID unless there is one, which must start with p_, and Handle unless there is
// one, which must be of 32 bytes and nobody else's.
func (t *Tx) AddPerson(p *Person) error {
	if err := fitName(p.Name); err != nil {
		return err
	}
	if p.ID == "" {
		p.ID = newID(personPrefix)
	}
	if !strings.HasPrefix(p.ID, personPrefix) {
		return fmt.Errorf("id of a person does not start with %s", personPrefix)
	}
	if err := errors.Join(bounded("id of a person", p.ID, maxID), bounded("creator", p.CreatedBy, maxText)); err != nil {
		return err
	}
	if p.RoleBy == "" {
		p.RoleSince, p.RoleBy = t.now, p.CreatedBy
	}
	text, err := p.pack()
	if err != nil {
		return err
	}
	if p.Handle == nil {
		p.Handle = make([]byte, 32)
		_, _ = rand.Read(p.Handle) // does not return when it cannot
	}
	if len(p.Handle) != 32 {
		return fmt.Errorf("user handle has %d bytes, not 32", len(p.Handle))
	}
	p.CreatedAt, p.Disabled, p.DisabledAt = t.now, false, time.Time{}
	t.changed(PersonChanged, p.ID)
	return t.one(`INSERT INTO persons (id, name, handle, role, profile, created_at, created_by)
		VALUES (?, ?, ?, ?, ?, ?, ?)`,
		p.ID, p.Name, p.Handle, string(p.Role), text, millis(p.CreatedAt), p.CreatedBy)
}

// Person reads one; ErrNotFound.
func (t *Tx) Person(id string) (*Person, error) {
	return pick(t, scanPerson, "SELECT "+personColumns+" FROM persons WHERE id = ?", id)
}

// PersonByName reads the one with that name.
func (t *Tx) PersonByName(name string) (*Person, error) {
	return pick(t, scanPerson, "SELECT "+personColumns+" FROM persons WHERE name = ?", name)
}

// PersonByHandle reads the one with that WebAuthn user handle.
func (t *Tx) PersonByHandle(handle []byte) (*Person, error) {
	return pick(t, scanPerson, "SELECT "+personColumns+" FROM persons WHERE handle = ?", handle)
}

// Persons lists all by name.
func (t *Tx) Persons() ([]*Person, error) {
	return collect(t, scanPerson, "SELECT "+personColumns+" FROM persons ORDER BY name")
}

// UpdatePerson writes display name, mail, role (and since when, by whom), groups
// and approvers. That a role
// is lost is journalled: a restored backup does not bring it back. Disabling and
// enabling are DisablePerson and EnablePerson.
func (t *Tx) UpdatePerson(p *Person) error {
	text, err := p.pack()
	if err != nil {
		return err
	}
	if err := t.journalRole(p.ID, p.Role); err != nil {
		return err
	}
	t.changed(PersonChanged, p.ID)
	return t.one("UPDATE persons SET role = ?, profile = ? WHERE id = ?", string(p.Role), text, p.ID)
}

// enabled refuses who may be given nothing: ErrNotFound, and ErrRevoked for a
// disabled person.
func (t *Tx) enabled(id string) error {
	var disabled bool
	err := t.first([]any{&disabled}, "SELECT disabled FROM persons WHERE id = ?", id)
	if err != nil {
		return fmt.Errorf("person: %w", err)
	}
	if disabled {
		return fmt.Errorf("person is disabled: %w", ErrRevoked)
	}
	return nil
}

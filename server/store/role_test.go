package store

import (
	"context"
	"path/filepath"
	"testing"
)

// setRole changes a role as package people does: with a line of the audit log.
func setRole(name string, role Role) func(*Tx) error {
	return func(tx *Tx) error {
		p, err := tx.PersonByName(name)
		if err != nil {
			return err
		}
		p.Role = role
		if err := tx.UpdatePerson(p); err != nil {
			return err
		}
		_, err = tx.Audit(Entry{Actor: "local administrator", Action: "person.change", Subject: name})
		return err
	}
}

func roles(t *testing.T, s *Store) map[string]Role {
	t.Helper()
	of := map[string]Role{}
	view(t, s, func(tx *Tx) error {
		list, err := tx.Persons()
		for _, p := range list {
			of[p.Name] = p.Role
		}
		return err
	})
	return of
}

// Who was an administrator when a backup was made, and is none any more, is none
// after it is restored; what was lost and given again before it is untouched.
func TestRestoreGivesNoRoleBack(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	populate(t, s, "alice", "bob", "carol", "dora", "erin")
	for _, name := range []string{"alice", "bob", "carol", "erin"} {
		update(t, s, setRole(name, RoleAdministrator))
	}
	update(t, s, setRole("erin", RolePerson))
	update(t, s, setRole("erin", RoleAdministrator))
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := s.Backup(context.Background(), backup); err != nil {
		t.Fatal(err)
	}
	update(t, s, setRole("alice", RolePerson))
	update(t, s, setRole("bob", RoleAuditor))
	update(t, s, setRole("carol", RolePerson))
	update(t, s, setRole("carol", RoleAdministrator)) // has to get it anew
	update(t, s, setRole("dora", RoleAdministrator))  // got it after the backup
	s.Close()
	if _, err := restore(path, backup); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	want := map[string]Role{"alice": RolePerson, "bob": RoleAuditor, "carol": RolePerson, "dora": RolePerson, "erin": RoleAdministrator}
	for name, is := range roles(t, s) {
		if is != want[name] {
			t.Errorf("%s is %s, not %s", name, is, want[name])
		}
	}
	// What was lost before a restore says nothing of what was given after it.
	update(t, s, setRole("alice", RoleAdministrator))
	second := filepath.Join(t.TempDir(), "second.db")
	if err := s.Backup(context.Background(), second); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for range 2 {
		s = openAt(t, path)
		if is := roles(t, s)["alice"]; is != RoleAdministrator {
			t.Errorf("alice is %s after a restart", is)
		}
		s.Close()
	}
	if _, err := restore(path, second); err != nil {
		t.Fatal(err)
	}
	if is := roles(t, openAt(t, path)); is["alice"] != RoleAdministrator || is["bob"] != RoleAuditor {
		t.Errorf("after the second restore: %v", is)
	}
}

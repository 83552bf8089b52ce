package store

// journalRole notes that a person loses what their role may, before the commit: a
// restored backup does not give it back. That somebody gets a role is not noted: a
// restored backup has less of it then.
func (t *Tx) journalRole(id string, to Role) error {
	var was Role
	if err := t.first([]any{&was}, "SELECT role FROM persons WHERE id = ?", id); err != nil {
		return err
	}
	if was == to || was == RolePerson || to == RoleAdministrator {
		return nil
	}
	head, err := t.AuditHead()
	if err != nil {
		return err
	}
	t.lines = append(t.lines, line{Kind: lineRole, Epoch: t.epoch, Time: millis(t.now), Person: id, Cause: string(to), Seq: head.Seq})
	return nil
}

// replayRoles takes away what persons lost since a database was what it is: its
// epoch, and the head of its audit log, say when that was. Who got it back later
// has to get it anew.
func (t *Tx) replayRoles(lines []line, epoch, head uint64) error {
	for i := range lines {
		l := &lines[i]
		if l.Kind != lineRole || l.Epoch < epoch || l.Epoch == epoch && l.Seq < head {
			continue
		}
		to := RolePerson
		switch Role(l.Cause) {
		case RoleHelpDesk, RoleAuditor:
			to = Role(l.Cause)
		}
		n, err := t.exec("UPDATE persons SET role = ? WHERE id = ? AND role NOT IN (?, ?)",
			string(to), l.Person, string(to), string(RolePerson))
		if err != nil {
			return err
		}
		if n == 0 {
			continue // added after the backup, or as it was
		}
		t.changed(PersonChanged, l.Person)
		if err := t.told("person.change", l.Person, record{Why: "role is " + string(to), Journal: true}); err != nil {
			return err
		}
	}
	return nil
}

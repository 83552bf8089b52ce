package store

import "errors"

// word is whether a person may come in, as the journal has it. Each one that is
// spoken of a person has a higher number than the last: what counts is the
// highest, wherever in the journal it stands.
type word struct {
	person   string
	number   uint64
	disabled bool
	at       int64 // Unix milliseconds
	why      string
}

func (w *word) line(epoch uint64) line {
	l := line{Kind: lineEnable, Epoch: epoch, Time: w.at, Person: w.person, Number: w.number}
	if w.disabled {
		l.Kind, l.Cause = lineDisable, w.why
	}
	return l
}

// DisablePerson bars a person and ends everything of theirs: sessions with their
// visits and elevations, offers for them and by them, API tokens that they made,
// bypasses for them and by them. It is
// journalled: a restored backup does not bring the person back. Passkeys stay,
// for EnablePerson. It returns how many sessions ended; again is no change.
func (t *Tx) DisablePerson(id, cause string) (sessions int, err error) {
	last, err := t.lastWord(id)
	if err != nil || last.disabled {
		return 0, err
	}
	w := word{person: id, number: last.number + 1, disabled: true, at: millis(t.now), why: cutCause(cause)}
	t.lines = append(t.lines, w.line(t.epoch))
	return t.disable(&w)
}

// EnablePerson lets a person in again, journalled too; what was ended stays so.
// Enabled already is no change.
func (t *Tx) EnablePerson(id string) error {
	last, err := t.lastWord(id)
	if err != nil || !last.disabled {
		return err
	}
	w := word{person: id, number: last.number + 1, at: millis(t.now)}
	// Behind the commit: before it, an enabling that is never kept would count at
	// the next start. After a crash between the two the next start writes it.
	t.later = append(t.later, w.line(t.epoch))
	return t.enable(&w)
}

// lastWord is how a person stands.
func (t *Tx) lastWord(id string) (*word, error) {
	w := &word{person: id}
	err := t.first([]any{&w.number, &w.disabled, &w.at, &w.why},
		"SELECT words, disabled, disabled_at, disabled_why FROM persons WHERE id = ?", id)
	return w, err
}

func (t *Tx) enable(w *word) error {
	t.changed(PersonChanged, w.person)
	return t.one("UPDATE persons SET disabled = 0, disabled_at = 0, disabled_why = '', words = ? WHERE id = ?",
		w.number, w.person)
}

func (t *Tx) disable(w *word) (sessions int, err error) {
	if sessions, err = t.EndSessions(w.person, "", w.why); err != nil {
		return 0, err
	}
	if err := t.endGiven(w.person); err != nil {
		return 0, err
	}
	t.changed(PersonChanged, w.person)
	return sessions, t.one(`UPDATE persons SET disabled = 1, disabled_at = ?, disabled_why = ?, words = ?
		WHERE id = ?`, w.at, w.why, w.number, w.person)
}

// endGiven ends the offers that a person may take or has made, the API tokens that
// they made, and the bypasses that they have or made. Who made something may stand there by id, or as the
// audit log names people.
func (t *Tx) endGiven(person string) error {
	var name string
	if err := t.first([]any{&name}, "SELECT name FROM persons WHERE id = ?", person); err != nil {
		return err
	}
	for _, end := range []string{
		`UPDATE offers SET ended_at = ?1 WHERE taken_at = 0 AND ended_at = 0
			AND (person = ?2 OR created_by = ?2 OR created_by = ?3)`,
		"UPDATE api_tokens SET ended_at = ?1 WHERE ended_at = 0 AND (created_by = ?2 OR created_by = ?3)",
	} {
		if _, err := t.exec(end, millis(t.now), person, actorPerson+name); err != nil {
			return err
		}
	}
	_, err := t.endBypasses("WHERE ended_at = 0 AND (person = ?1 OR created_by = ?1 OR created_by = ?2)",
		person, actorPerson+name)
	return err
}

// actorPerson is before a person's name where the audit log names who did it.
const actorPerson = "person:"

// replayWord applies the journal's last word of a person to a database that has
// an older one.
func (t *Tx) replayWord(w *word) error {
	last, err := t.lastWord(w.person)
	if errors.Is(err, ErrNotFound) {
		return nil // added after the backup
	}
	if err != nil || w.number <= last.number {
		return err
	}
	if !w.disabled {
		if err := t.enable(w); err != nil {
			return err
		}
		return t.told("person.enable", w.person, record{Why: "enabled", Journal: true})
	}
	if _, err := t.disable(w); err != nil {
		return err
	}
	return t.told("person.disable", w.person, record{Why: w.why, Journal: true})
}

// unjournalledWords returns the last words that the database has and the
// journal, whose words are given, has not.
func (t *Tx) unjournalledWords(known map[string]word) (lines []line, err error) {
	err = t.query(func(row scanner) error {
		var w word
		if err := row.Scan(&w.person, &w.number, &w.disabled, &w.at, &w.why); err != nil {
			return err
		}
		if w.number > known[w.person].number {
			lines = append(lines, w.line(t.epoch))
		}
		return nil
	}, "SELECT id, words, disabled, disabled_at, disabled_why FROM persons WHERE words > 0 ORDER BY id")
	return lines, err
}

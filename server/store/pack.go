package store

import (
	"errors"
	"fmt"
)

// Packs are the numbers of the packs of reference values that were accepted, by
// name.
func (t *Tx) Packs() (map[string]uint64, error) {
	packs := map[string]uint64{}
	err := t.query(func(row scanner) error {
		var name string
		var number uint64
		err := row.Scan(&name, &number)
		packs[name] = number
		return err
	}, "SELECT name, number FROM packs")
	return packs, err
}

// AcceptPack notes that a pack with that number is in use, in the journal too.
// ErrRollback when a higher one was; the same again is no change.
func (t *Tx) AcceptPack(name string, number uint64) error {
	var have uint64
	err := t.first([]any{&have}, "SELECT number FROM packs WHERE name = ?", name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err == nil && number <= have {
		if number < have {
			return fmt.Errorf("%w: pack %s has number %d, not %d", ErrRollback, name, have, number)
		}
		return nil
	}
	t.lines = append(t.lines, line{Kind: linePack, Time: millis(t.now), Pack: name, Number: number})
	return t.raisePack(name, number)
}

func (t *Tx) raisePack(name string, number uint64) error {
	_, err := t.exec(`INSERT INTO packs (name, number) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET number = max(number, excluded.number)`, name, number)
	return err
}

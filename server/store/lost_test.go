package store

import (
	"errors"
	"testing"
)

// Once SQLite rolled back by itself, which it may do in a read too, nothing of
// the group is stored or told so, and what comes behind is a group of its own.
func TestLostTransactionIsEverybodysError(t *testing.T) {
	rollBack := func(tx *Tx) {
		if _, err := tx.c.exec("ROLLBACK"); err != nil {
			t.Error(err)
		}
	}
	for name, lose := range map[string]func(*Tx) error{
		"in a read": func(tx *Tx) error {
			rollBack(tx)
			return tx.fail(errors.New("disk I/O error"))
		},
		"in a read that was overlooked": func(tx *Tx) error {
			rollBack(tx)
			_ = tx.fail(errors.New("disk I/O error"))
			return nil
		},
		"in a write": func(tx *Tx) error {
			if err := insert("lost")(tx); err != nil {
				return err
			}
			rollBack(tx)
			return tx.fail(errors.New("database or disk is full"))
		},
		"unsaid":              func(tx *Tx) error { rollBack(tx); return nil },
		"unsaid, and refused": func(tx *Tx) error { rollBack(tx); return ErrNotFound },
		// SQLite has not rolled back, and might have.
		"perhaps": func(tx *Tx) error { return tx.fail(errors.New("disk I/O error")) },
		// SQLITE_READONLY: not an error of the statement alone.
		"perhaps, in a write": func(tx *Tx) error {
			_, err := tx.c.exec("PRAGMA query_only = 1")
			refused := insert("lost")(tx)
			_, err2 := tx.c.exec("PRAGMA query_only = 0")
			return errors.Join(err, refused, err2)
		},
		"with a panic": func(tx *Tx) error {
			rollBack(tx)
			panic("lost")
		},
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan []Change, 10)
			s := openAt(t, newPath(t), func(c *Config) { c.Committed = func(l []Change) { told <- l } })
			errs := together(t, s, insert("a"), lose, insert("b"), insert("b"), insert("c"))
			if errs[0] == nil || errors.Is(errs[0], ErrTaken) {
				t.Errorf("the one before was told: %v", errs[0])
			}
			if errs[1] == nil || errors.Is(errs[1], ErrNotFound) {
				t.Errorf("the one that lost was told: %v", errs[1])
			}
			if errs[2] != nil || !errors.Is(errs[3], ErrTaken) || errs[4] != nil {
				t.Errorf("those behind were told: %v", errs[2:])
			}
			if ids := stored(t, s); len(ids) != 2 || !ids["b"] || !ids["c"] {
				t.Errorf("stored: %v", ids)
			}
			if l := <-told; len(l) != 2 || l[0].Subject != "b" || l[1].Subject != "c" {
				t.Errorf("changes told: %v", l)
			}
		})
	}
}

// A refusal that rests on what another update of the group wrote is none when
// that was never kept.
func TestNobodyIsRefusedForWhatWasNotStored(t *testing.T) {
	s := openAt(t, newPath(t))
	var secret string
	update(t, s, func(tx *Tx) (err error) {
		secret, err = tx.AddToken(&Token{ID: "t", UsesLeft: 1, Expires: tx.Now().Add(3600e9)})
		return err
	})
	use := func(tx *Tx) error { _, err := tx.ConsumeToken(secret); return err }
	errs := together(t, s, use, use, insert("a"), insert("a"), failCommit)
	for i, err := range errs {
		if err == nil || errors.Is(err, ErrTokenRefused) || errors.Is(err, ErrTaken) {
			t.Errorf("function %d was told: %v", i, err)
		}
	}
	errs = together(t, s, use, use, insert("a"), insert("a"))
	if errs[0] != nil || !errors.Is(errs[1], ErrTokenRefused) || errs[2] != nil || !errors.Is(errs[3], ErrTaken) {
		t.Errorf("again: %v", errs)
	}
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"muster/attest"
)

// conn is one connection with the statements that were prepared on it. One
// goroutine at a time has it.
type conn struct {
	sql        *sql.Conn
	statements map[string]*sql.Stmt
}

// prepared returns the statement for a query; queries are constants, so the map
// does not grow.
func (c *conn) prepared(query string) (*sql.Stmt, error) {
	if s := c.statements[query]; s != nil {
		return s, nil
	}
	s, err := c.sql.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.statements[query] = s
	return s, nil
}

// exec runs a statement outside of the books of a Tx.
func (c *conn) exec(query string, args ...any) (changed int64, err error) {
	s, err := c.prepared(query)
	if err != nil {
		return 0, err
	}
	// No cancellation here: a statement that began ends, so that what is said of
	// it is true.
	r, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Tx is one function's view of the database, and in an Update its writes. It is
// valid until that function returns, in that goroutine.
type Tx struct {
	c      *conn
	now    time.Time
	epoch  uint64
	writes bool // false in a View
	// broken is the first error that a statement met, other than a constraint
	// that refused it. SQLite may have rolled everything back by itself then, so
	// nothing runs after it.
	broken  error
	ended   bool // its function has returned
	changes []Change
	lines   []line // for the journal, before the commit
	later   []line // for the journal, behind the commit
	audited bool
}

var (
	errReadOnly = errors.New("write in a view")
	errEnded    = errors.New("use of a transaction after its function returned")
)

// Now is the store's time for everything in this function, in UTC.
func (t *Tx) Now() time.Time { return t.now }

// Epoch is the database's epoch: it grows when a backup is restored, and what
// was issued in an older one is void.
func (t *Tx) Epoch() uint64 { return t.epoch }

// usable refuses what may no longer run.
func (t *Tx) usable() error {
	if t.ended {
		return errEnded
	}
	return t.broken
}

// exec runs one writing statement and returns how many rows it changed.
func (t *Tx) exec(query string, args ...any) (int64, error) {
	if err := t.usable(); err != nil {
		return 0, err
	}
	if !t.writes {
		return 0, errReadOnly
	}
	changed, err := t.c.exec(query, args...)
	switch constrained(err) {
	case 0:
		if err != nil {
			t.broken = fmt.Errorf("writing: %w", err)
			return 0, t.broken
		}
		return changed, nil
	case constraintUnique, constraintPrimaryKey, constraintRowID:
		return 0, fmt.Errorf("%w: %w", ErrTaken, err)
	default:
		return 0, fmt.Errorf("writing: %w", err)
	}
}

// one is exec for a statement that must change exactly one row.
func (t *Tx) one(query string, args ...any) error {
	changed, err := t.exec(query, args...)
	if err == nil && changed != 1 {
		err = ErrNotFound
	}
	return err
}

// scanner is what *sql.Row and *sql.Rows share.
type scanner interface{ Scan(...any) error }

// query calls each for every row of a reading statement.
func (t *Tx) query(each func(scanner) error, query string, args ...any) error {
	if err := t.usable(); err != nil {
		return err
	}
	s, err := t.c.prepared(query)
	if err != nil {
		return t.fail(err)
	}
	rows, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return t.fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return t.fail(err)
	}
	return nil
}

func (t *Tx) fail(err error) error {
	t.broken = fmt.Errorf("reading: %w", err)
	return t.broken
}

// first reads the first row of a reading statement; ErrNotFound without one.
func (t *Tx) first(dest []any, query string, args ...any) error {
	found := false
	err := t.query(func(s scanner) error {
		if found {
			return nil
		}
		found = true
		return s.Scan(dest...)
	}, query, args...)
	if err == nil && !found {
		err = ErrNotFound
	}
	return err
}

// millis is how times are stored: Unix milliseconds, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// orNull is how digests are stored: NULL for none.
func orNull(d attest.Digest) []byte {
	if d.IsZero() {
		return nil
	}
	return d[:]
}

// readDigest reads a stored digest.
func readDigest(b []byte) (d attest.Digest, err error) {
	if b != nil && copy(d[:], b) != len(b) || b != nil && len(b) != len(d) {
		return d, fmt.Errorf("stored digest has %d bytes", len(b))
	}
	return d, nil
}

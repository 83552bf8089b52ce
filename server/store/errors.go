package store

import (
	"errors"

	"modernc.org/sqlite"
)

// What callers branch on. Everything else means that the store could not tell
// or could not keep, and nothing of the update was kept.
var (
	// ErrBusy: the queue of updates is full; try again later (503).
	ErrBusy = errors.New("store is busy")
	// ErrClosed: the store was closed before the call.
	ErrClosed = errors.New("store is closed")
	// ErrNotFound: no such row.
	ErrNotFound = errors.New("not found")
	// ErrTaken: an id or key that must be unique belongs to another row.
	ErrTaken = errors.New("already taken")
	// ErrStale: the row, or its device, changed since it was read; read it again.
	ErrStale = errors.New("changed since it was read")
	// ErrRevoked: the device or one of its keys is revoked, the passkey removed or
	// the session ended, which is for ever; or the person is disabled.
	ErrRevoked = errors.New("revoked")
	// ErrTokenRefused: no such token or offer, or it is used up, or it has expired.
	ErrTokenRefused = errors.New("token refused")
	// ErrReplaced: a cookie whose session has another one by now.
	ErrReplaced = errors.New("cookie was replaced")
	// ErrForm: what was to be kept lacks something, or has too much of it.
	ErrForm = errors.New("not of the form that is kept")
	// ErrRollback: a number that only grows would have gone back.
	ErrRollback = errors.New("number goes back")
	// ErrGap: changes were forgotten; reload what is cached.
	ErrGap = errors.New("changes were missed")
	// ErrInUse: another process has the database open.
	ErrInUse = errors.New("database is in use by another process")
	// ErrNewer: a newer version of the program wrote the database.
	ErrNewer = errors.New("database was written by a newer version")
	// ErrJournal: the revocation journal is damaged or belongs to another
	// database.
	ErrJournal = errors.New("revocation journal")
	// ErrNoJournal: the revocation journal is not beside a backup, or ends before
	// it was made: revocations since then would be forgotten.
	ErrNoJournal = errors.New("no revocation journal that goes as far as the backup")
	// ErrExists: the file to write is there already.
	ErrExists = errors.New("file exists")
)

// Result codes of SQLite (sqlite.org/rescode.html), some of them extended.
const (
	statementError       = 1
	databaseFull         = 13
	tooBig               = 18
	constraint           = 19
	constraintPrimaryKey = constraint | 6<<8
	constraintTrigger    = constraint | 7<<8
	constraintUnique     = constraint | 8<<8
	constraintRowID      = constraint | 10<<8
)

// loses tells whether an error that a statement met ends its whole transaction.
// With some SQLite rolls back by itself, with others it may
// (sqlite.org/lang_transaction.html, 3.1): damage, I/O and memory count as lost
// however they ended, and so does what is not SQLite's. A statement that was
// refused, or did not fit, leaves the rest as it was unless its savepoint is gone.
func loses(err error) bool {
	var e *sqlite.Error
	if err == nil {
		return false
	}
	if !errors.As(err, &e) {
		return true
	}
	switch e.Code() & 0xff {
	case statementError, databaseFull, tooBig:
		return false
	}
	return true
}

// constrained tells which constraint refused a statement; 0 when none did.
func constrained(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == constraint {
		return e.Code()
	}
	return 0
}

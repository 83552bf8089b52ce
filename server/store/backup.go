package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
)

// Backup writes a consistent copy of the database to a new file for the owner
// alone, while updates go on. A file that is there is ErrExists. The copy is
// marked: whether it comes back by Restore or by hand, opening it starts a new
// epoch. Keep the revocation journal too, the newest that there is: a backup
// without it is not restored, since it would forget what was revoked later.
func (s *Store) Backup(ctx context.Context, to string) (err error) {
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("writing backup %s: %w", to, ErrExists)
	}
	if err != nil {
		return fmt.Errorf("writing backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing backup: %w", err), os.Remove(to))
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	// A connection of its own: readers are marked query_only. SQLite takes the
	// empty file that is there.
	db, err := connect(s.path, writing, 1)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return s.mark(ctx, to)
}

// mark writes, last of all, that the file is a whole backup.
func (s *Store) mark(ctx context.Context, path string) error {
	db, err := single(path, "rw")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "UPDATE meta SET backup_at = ?", millis(s.now()))
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// single opens a database file that nobody else uses, with a rollback journal.
func single(path, mode string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	c, err := sqlite.NewConnector(source(path, url.Values{
		"mode": {mode}, "_dqs": {"0"}, "_defensive": {"1"},
		"_pragma": {"synchronous(FULL)", "trusted_schema(0)", "temp_store(MEMORY)"},
	}))
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(1)
	return db, nil
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// restoring is behind the database's name while a backup is being put in place.
const restoring = ".restoring"

// Restore puts a backup in the place of the database, which no process may have
// open, and returns where the old one was put aside (empty when there was none).
// The epoch becomes one more than any that database or journal ever had, and
// what was revoked since comes back from the journal, which must lie beside it:
// ErrNoJournal when it does not, or ends before the backup was made, and
// Config.WithoutJournal is not set. Config is as for Open.
//
// A crash leaves either the old database, the new one, or a state that Open
// refuses until Restore is run again.
func Restore(ctx context.Context, backup string, c Config) (aside string, err error) {
	if c.Now == nil || c.Path == "" {
		return "", errors.New("restoring: path and clock are needed")
	}
	if c.Path, err = settlePath(c.Path); err != nil {
		return "", fmt.Errorf("restoring: %w", err)
	}
	aside, err = place(ctx, backup, c)
	if err != nil {
		return "", fmt.Errorf("restoring %s: %w", backup, err)
	}
	s, err := Open(ctx, c) // the mark in the backup makes it start an epoch
	if err != nil {
		return aside, err
	}
	return aside, s.Close()
}

// place does the work on files, under the lock.
func place(ctx context.Context, backup string, c Config) (aside string, err error) {
	path := c.Path
	lock, err := takeLock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	of, err := examine(ctx, backup)
	if err != nil {
		return "", err
	}
	if err := fitJournal(path, of, c.WithoutJournal); err != nil {
		return "", err
	}
	if err := copyPrivate(backup, path+restoring); err != nil {
		return "", err
	}
	// What is in place is what was examined.
	if _, err := examine(ctx, path+restoring); err != nil {
		return "", errors.Join(err, os.Remove(path+restoring))
	}
	if aside, err = putAside(path, c.Now().UTC()); err != nil {
		return aside, err
	}
	return aside, errors.Join(os.Rename(path+restoring, path), syncDir(filepath.Dir(path)))
}

// origin tells of which server a backup is, and at which of its openings it was
// made.
type origin struct {
	tenant     string
	generation uint64
}

// examine refuses a file that is no whole backup of a version that we know.
func examine(ctx context.Context, path string) (of origin, err error) {
	if _, err := os.Stat(path); err != nil {
		return of, err
	}
	db, err := single(path, "ro")
	if err != nil {
		return of, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var text string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&text); err != nil {
		return of, fmt.Errorf("not a backup: %w", err)
	}
	if text != "ok" {
		return of, fmt.Errorf("backup is damaged: %s", text)
	}
	var id, violations int64
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return of, err
	}
	if id != applicationID {
		return of, errors.New("not a backup of this program")
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM pragma_foreign_key_check").Scan(&violations); err != nil {
		return of, err
	}
	if violations != 0 {
		return of, fmt.Errorf("backup is damaged: %d rows refer to nothing", violations)
	}
	if err := known(ctx, db); err != nil {
		return of, err
	}
	var at int64
	if err := db.QueryRowContext(ctx, "SELECT tenant, generation, backup_at FROM meta").Scan(
		&of.tenant, &of.generation, &at); err != nil {
		return of, fmt.Errorf("not a backup: %w", err)
	}
	if at == 0 {
		return of, errors.New("not a finished backup")
	}
	return of, nil
}

// applicationID is what the first migration sets.
const applicationID = 0x6d757374

// known refuses schemas newer than ours; older ones are migrated at opening.
func known(ctx context.Context, db *sql.DB) error {
	p, err := provider(db, migrations())
	if err != nil {
		return err
	}
	has, knows, err := p.GetVersions(ctx)
	if err == nil && has > knows {
		err = fmt.Errorf("%w: its schema is %d, ours %d", ErrNewer, has, knows)
	}
	return err
}

// fitJournal refuses a backup of another server than the journal's, and one of
// which the journal cannot know what was revoked since.
func fitJournal(path string, of origin, waived bool) error {
	past := &history{}
	f, err := os.Open(path + journalSuffix)
	if err == nil {
		lines, _, _, err := readJournal(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		past = recall(lines)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if past.tenant != "" && past.tenant != of.tenant {
		return fmt.Errorf("%w: it is of tenant %s, the backup of %s", ErrJournal, past.tenant, of.tenant)
	}
	past.waived = waived
	return past.covers(of.generation)
}

// copyPrivate copies to a file for the owner alone and makes it durable. What an
// interrupted restore left there is replaced.
func copyPrivate(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close(), syncDir(filepath.Dir(to)))
}

// putAside gives the old database a name with the time in it, as it is, with its
// write-ahead log: the log of one database beside another would destroy it.
func putAside(path string, now time.Time) (aside string, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		// No database: a log that lies there belongs to none.
		return "", errors.Join(removeIfThere(path+"-wal"), removeIfThere(path+"-shm"))
	}
	aside, err = freeName(path + "." + now.Format("20060102T150405Z"))
	if err != nil {
		return "", err
	}
	for _, suffix := range []string{"-wal", "-shm", ""} {
		err := os.Rename(path+suffix, aside+suffix)
		if err != nil && !(suffix != "" && errors.Is(err, fs.ErrNotExist)) {
			return aside, err
		}
	}
	return aside, syncDir(filepath.Dir(path))
}

func freeName(base string) (string, error) {
	name := base
	for i := 1; i < 1000; i++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		name = fmt.Sprintf("%s.%d", base, i)
	}
	return "", fmt.Errorf("no free name like %s", base)
}

func removeIfThere(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

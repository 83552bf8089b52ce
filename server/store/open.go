package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

// embedded are the migrations; those that were released never change.
//
//go:embed migrations/*.sql
var embedded embed.FS

func migrations() fs.FS {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the path is a constant
	}
	return sub
}

// settlePath returns one name for the database file, whatever links lead to it,
// and makes its folder. A folder that others may write to lets them swap files.
func settlePath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("others may write to folder %s: use one with mode 0700", dir)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	real, err := filepath.EvalSymlinks(dir)
	return filepath.Join(real, filepath.Base(path)), err
}

// private makes the file when absent and readable by its owner alone.
// SQLite gives its -wal and -shm files the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes names in a folder durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be synced there; NTFS journals names
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// mode is what a connection may do.
type mode string

const (
	writing mode = ""
	reading mode = "query_only(1)"
)

// pragmas hold for every connection. A page cache of 16 MiB; the log is folded
// into the database at about 8 MiB.
func pragmas(m mode) []string {
	p := []string{
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"trusted_schema(0)", "temp_store(MEMORY)", "cache_size(-16384)",
		"wal_autocheckpoint(2000)", "journal_size_limit(67108864)",
	}
	if m != writing {
		p = append(p, string(m))
	}
	return p
}

// source names a database file as SQLite's URI with the driver's parameters.
func source(path string, query url.Values) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/...
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	return u.String()
}

// asserted refuses connections that do not keep what they were told.
type asserted struct{ driver.Connector }

// Connect opens a connection and reads back what durability rests on.
func (a asserted) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := a.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"} {
		got, err := readPragma(ctx, c, pragma)
		if err == nil && got != want {
			err = fmt.Errorf("pragma %s is %s, not %s", pragma, got, want)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

func readPragma(ctx context.Context, c driver.Conn, name string) (_ string, err error) {
	q, ok := c.(driver.QueryerContext)
	if !ok {
		return "", errors.New("driver cannot query")
	}
	rows, err := q.QueryContext(ctx, "PRAGMA "+name, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	value := make([]driver.Value, 1)
	if err := rows.Next(value); err != nil && err != io.EOF {
		return "", err
	}
	return fmt.Sprint(value[0]), nil
}

// connect makes a pool of at most n connections, which are kept for ever.
func connect(path string, m mode, n int) (*sql.DB, error) {
	query := url.Values{"_dqs": {"0"}, "_defensive": {"1"}, "_pragma": pragmas(m)}
	c, err := sqlite.NewConnector(source(path, query))
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(asserted{c})
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// dedicate takes a connection out of its pool.
func dedicate(ctx context.Context, db *sql.DB) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{sql: c, statements: map[string]*sql.Stmt{}}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.sql.Close())...)
}

// migrate brings the schema to the newest of the given versions. A database
// that is newer than all of them is left alone: ErrNewer.
func migrate(ctx context.Context, db *sql.DB, versions fs.FS) error {
	p, err := provider(db, versions)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	has, knows, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading schema version: %w", err)
	}
	if has > knows {
		return fmt.Errorf("%w: its schema is %d, ours %d", ErrNewer, has, knows)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrating from schema %d: %w", has, err)
	}
	return nil
}

func provider(db *sql.DB, versions fs.FS) (*goose.Provider, error) {
	return goose.NewProvider(goose.DialectSQLite3, db, versions,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
}

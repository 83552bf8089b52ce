package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what Open needs.
type Config struct {
	// Path is the database file. It is made when absent, in a folder that is made
	// for the owner alone; a folder that others may write to is refused. Beside
	// it lie Path.revocations (keep it with the backups), Path.lock, and SQLite's
	// Path-wal and Path-shm.
	Path string
	// Now is the clock; required.
	Now func() time.Time
	// Log gets what an operator should know; nil discards it.
	Log *slog.Logger
	// Readers is how many Views run at once; 0 means 4.
	Readers int
	// Queue is how many Updates wait before ErrBusy; 0 means 4096.
	Queue int
	// WithoutJournal lets a backup be restored, or opened, beside which the
	// revocation journal lies not, or only one older than itself: what was revoked
	// since the backup comes back to life.
	WithoutJournal bool
	// Committed, when set, is called with the changes of each commit before the
	// updates that made them return, in order, by one goroutine: a cache that
	// forgets here never serves what an answered revocation ended. It must be
	// quick and must not call the store.
	Committed func([]Change)
}

// Store is an open database. Its methods may be called from any goroutine.
type Store struct {
	path string
	now  func() time.Time
	log  *slog.Logger

	lock    io.Closer
	writeDB *sql.DB
	readDB  *sql.DB
	journal *journal

	epoch  atomic.Uint64
	groups atomic.Uint64 // committed so far
	feed   *feed

	mu      sync.RWMutex // guards closed, and queue against its closing
	closed  bool
	closing chan struct{}
	queue   chan *job
	written chan struct{} // closed when the writer goroutine has ended

	writer  *conn // owner: the writer goroutine
	readers chan *conn
	idle    []*conn // all readers, for Close

	checkpointed uint64 // last audit entry in the journal; owner: the writer
	owed         []line // committed, and not in the journal yet; owner: the writer
}

// Open opens the database, making or migrating it as needed, and brings it in
// line with the revocation journal. ErrInUse, ErrNewer, ErrJournal and ErrNoJournal
// tell the refusals that an operator can do something about.
func Open(ctx context.Context, c Config) (_ *Store, err error) {
	if c.Now == nil || c.Path == "" {
		return nil, errors.New("opening store: path and clock are needed")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Readers <= 0 {
		c.Readers = 4
	}
	if c.Queue <= 0 {
		c.Queue = 4096
	}
	path, err := settlePath(c.Path)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	s := &Store{
		path: path, now: c.Now, log: c.Log, closing: make(chan struct{}),
		queue: make(chan *job, c.Queue), readers: make(chan *conn, c.Readers),
		written: make(chan struct{}),
	}
	s.feed = newFeed(c.Committed)
	if err := s.open(ctx, c.Readers); err != nil {
		s.release()
		return nil, fmt.Errorf("opening store %s: %w", path, err)
	}
	go s.write()
	if err := s.start(ctx, c.WithoutJournal); err != nil {
		err = errors.Join(err, s.Close())
		return nil, fmt.Errorf("opening store %s: %w", path, err)
	}
	return s, nil
}

// open takes the lock and opens files and connections.
func (s *Store) open(ctx context.Context, readers int) (err error) {
	if s.lock, err = takeLock(s.path + ".lock"); err != nil {
		return err
	}
	if _, err := os.Stat(s.path + restoring); err == nil {
		return errors.New("a restore was interrupted; run it again")
	}
	if err := private(s.path); err != nil {
		return err
	}
	if s.writeDB, err = connect(s.path, writing, 1); err != nil {
		return err
	}
	if err := migrate(ctx, s.writeDB, migrations()); err != nil {
		return err
	}
	if s.writer, err = dedicate(ctx, s.writeDB); err != nil {
		return err
	}
	if s.readDB, err = connect(s.path, reading, readers); err != nil {
		return err
	}
	for range readers {
		c, err := dedicate(ctx, s.readDB)
		if err != nil {
			return err
		}
		s.idle = append(s.idle, c)
		s.readers <- c
	}
	s.journal, err = openJournal(s.path + journalSuffix)
	return err
}

// Epoch is the database's epoch, which only a restore changes.
func (s *Store) Epoch() uint64 { return s.epoch.Load() }

// Close answers what is queued, waits for Views to end, and releases the files.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.written
		return nil
	}
	s.closed = true
	close(s.queue)
	s.mu.Unlock()
	<-s.written
	close(s.closing)
	for range s.idle {
		<-s.readers
	}
	s.feed.close()
	s.settleJournal()
	s.checkpointAudit()
	return s.release()
}

// release closes whatever is open, innermost first.
func (s *Store) release() error {
	var errs []error
	for _, c := range append(s.idle, s.writer) {
		if c != nil {
			errs = append(errs, c.close())
		}
	}
	for _, db := range []*sql.DB{s.readDB, s.writeDB} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.journal != nil {
		errs = append(errs, s.journal.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

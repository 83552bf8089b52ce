package store

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"
)

// maxGroup bounds how long a group's first update waits for its last.
const maxGroup = 256

// job is one queued update. The caller and the writer race for it by claimed:
// who sets it owns what happens next.
type job struct {
	ctx     context.Context
	fn      func(*Tx) error
	claimed atomic.Bool
	done    chan error // capacity 1
}

// Update runs fn in a transaction and returns after what it wrote is durable.
// Updates run one after another, many in one commit. When fn returns an error
// or panics, nothing that it wrote remains, and Update returns that error; when
// the commit fails, the same for all of its group. A ctx that ends before fn
// began means that fn never runs; afterwards Update waits for the truth.
// ErrBusy and ErrClosed mean that fn did not run.
//
// fn must not wait for anything, and must not call Update or View. Hashing,
// signatures and parsing belong before it.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: ctx, fn: fn, done: make(chan error, 1)}
	if err := s.enqueue(j); err != nil {
		return err
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if j.claimed.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		return <-j.done
	}
}

func (s *Store) enqueue(j *job) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	select {
	case s.queue <- j:
		return nil
	default:
		return ErrBusy
	}
}

// Under load the writer lets a group gather before it begins: a commit costs the
// same for ten as for a hundred, and who waits for one waits little longer.
// Below a crowd nobody waits.
const (
	crowd  = 3
	gather = 4 * time.Millisecond
)

// write is the writer goroutine: the only one that uses s.writer.
func (s *Store) write() {
	defer close(s.written)
	for j := range s.queue {
		if len(s.queue) >= crowd {
			time.Sleep(gather)
		}
		s.group(j)
	}
}

// member is a job of a group that has run. With err nothing of it is kept; it is
// told so after the commit, since what it saw of the others is true only then.
type member struct {
	job     *job
	err     error
	changes []Change
	later   []line
	audited bool
}

// group runs first and whatever is queued behind it in one transaction, and
// answers all of them after its commit.
func (s *Store) group(first *job) {
	if err := s.begin(); err != nil {
		if first.claimed.CompareAndSwap(false, true) {
			first.done <- err
		}
		return
	}
	members, err := s.gather(first)
	if err == nil {
		err = s.commit(members)
	}
	if err != nil {
		s.abandon()
		for _, m := range members {
			m.job.done <- fmt.Errorf("nothing was stored: %w", err)
		}
		return
	}
	s.groups.Add(1)
	s.feed.publish(members)
	audited := false
	for _, m := range members {
		s.owed = append(s.owed, m.later...)
		audited = audited || m.audited
	}
	s.settleJournal()
	for _, m := range members {
		m.job.done <- m.err
	}
	if audited {
		s.checkpointAudit()
	}
}

// settleJournal writes the lines that go behind a commit. Where the journal
// cannot be written they stay owed to it, until the next group or the next start.
func (s *Store) settleJournal() {
	if len(s.owed) == 0 {
		return
	}
	if err := s.journal.append(s.owed); err != nil {
		s.log.Error("lines not in the journal yet", "lines", len(s.owed), "error", err)
		return
	}
	s.owed = nil
}

// gather runs the jobs of a group. Its error means that the transaction is lost,
// and the members with it.
func (s *Store) gather(first *job) (members []member, lost error) {
	for j := first; j != nil; j = s.next(len(members)) {
		if !j.claimed.CompareAndSwap(false, true) {
			continue // its caller has left
		}
		m, err := s.run(j)
		members = append(members, m)
		if err != nil {
			return members, err
		}
	}
	return members, nil
}

// next takes a waiting job, when there is one and the group is not full.
func (s *Store) next(members int) *job {
	if members >= maxGroup {
		return nil
	}
	select {
	case j := <-s.queue:
		return j // nil when the queue was closed
	default:
		return nil
	}
}

func (s *Store) begin() error {
	if _, err := s.writer.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("starting transaction: %w", err)
	}
	return nil
}

// commit makes the group durable: in WAL mode with synchronous=FULL this is one
// fsync of the log.
func (s *Store) commit(members []member) error {
	end := "ROLLBACK"
	if slices.ContainsFunc(members, func(m member) bool { return m.err == nil }) {
		end = "COMMIT"
	}
	if _, err := s.writer.exec(end); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// abandon ends a transaction that may have ended by itself.
func (s *Store) abandon() {
	if _, err := s.writer.exec("ROLLBACK"); err != nil {
		s.log.Debug("transaction had ended", "error", err)
	}
}

// run runs one job in its savepoint. lost means that the whole transaction is
// gone, or may be.
func (s *Store) run(j *job) (m member, lost error) {
	m.job = j
	if m.err = j.ctx.Err(); m.err != nil {
		return m, nil
	}
	// Before any statement, so that settle notices whatever rolls back.
	if _, err := s.writer.exec("SAVEPOINT update_"); err != nil {
		return m, fmt.Errorf("starting update: %w", err)
	}
	tx := &Tx{c: s.writer, now: s.now().UTC(), epoch: s.epoch.Load(), writes: true}
	m.err = s.call(tx, j.fn)
	if loses(tx.broken) {
		return m, fmt.Errorf("transaction was lost: %w", tx.broken)
	}
	if m.err == nil && len(tx.lines) > 0 {
		// The journal before the commit: a revocation that is on disk there and
		// not in the database is applied at the next start; the reverse would be
		// one that a restore forgets.
		m.err = s.journal.append(tx.lines)
	}
	if err := s.settle(m.err == nil); err != nil {
		return m, err
	}
	if m.err == nil {
		m.changes, m.later, m.audited = tx.changes, tx.later, tx.audited
	}
	return m, nil
}

// call runs a function; its panic becomes an error, which denies. Afterwards
// the Tx is dead.
func (s *Store) call(tx *Tx, fn func(*Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("function panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("function panicked: %v", p)
		} else if err == nil {
			// A function that overlooked a broken transaction has not succeeded.
			err = tx.broken
		}
		tx.ended = true
	}()
	return fn(tx)
}

// settle keeps or undoes what was written since the savepoint. Its error means
// that SQLite had rolled back the whole transaction (disk full, I/O error).
func (s *Store) settle(keep bool) error {
	if !keep {
		if _, err := s.writer.exec("ROLLBACK TO update_"); err != nil {
			return fmt.Errorf("transaction was lost: %w", err)
		}
	}
	if _, err := s.writer.exec("RELEASE update_"); err != nil {
		return fmt.Errorf("transaction was lost: %w", err)
	}
	return nil
}

// View runs fn with a consistent, read-only view of what is committed. A panic
// in fn is its error. The ctx bounds the wait for a connection.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	var c *conn
	select {
	case c = <-s.readers:
	case <-s.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.readers <- c }()
	if _, err := c.exec("BEGIN"); err != nil {
		return fmt.Errorf("starting view: %w", err)
	}
	tx := &Tx{c: c, now: s.now().UTC(), epoch: s.epoch.Load()}
	err := s.call(tx, fn)
	if _, e := c.exec("ROLLBACK"); err == nil && e != nil {
		err = fmt.Errorf("ending view: %w", e)
	}
	return err
}

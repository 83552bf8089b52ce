package store

import (
	"context"
	"sync"
)

// ChangeKind says what changed.
type ChangeKind uint8

// The kinds of changes; the subject of each is named behind it.
const (
	DeviceChanged  ChangeKind = iota + 1 // device id: its row, state or keys
	HotChanged                           // device id: where its statements stand
	GraceChanged                         // device id
	PolicyChanged                        // policy digest
	GatewayChanged                       // gateway id
	TokenChanged                         // token id
	ListedChanged                        // listed id
	PersonChanged                        // person id: state, role, groups, passkeys
	SessionChanged                       // session id: ended, linked, verified
	ContentChanged                       // pack name
)

// Change tells that something that may be cached is another now.
type Change struct {
	// Number grows with every change, also across restarts and restores.
	Number  uint64
	Kind    ChangeKind
	Subject string
}

// feedLength is how many changes a slow follower may lag before it must reload.
const feedLength = 1 << 14

// feed keeps the last changes. The writer never waits for followers.
type feed struct {
	committed func([]Change)

	mu     sync.Mutex
	last   uint64   // number of the last change
	ring   []Change // the last ones, oldest first
	wake   chan struct{}
	closed bool
}

func newFeed(committed func([]Change)) *feed {
	return &feed{committed: committed, wake: make(chan struct{})}
}

// start sets where numbering begins. Each opening of the database has numbers
// of its own, so that a follower of an earlier one sees a gap.
func (f *feed) start(generation uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.ring = generation<<40, nil
}

// publish numbers and tells the changes of a commit.
func (f *feed) publish(members []member) {
	var all []Change
	for _, m := range members {
		all = append(all, m.changes...)
	}
	if len(all) == 0 {
		return
	}
	f.mu.Lock()
	for i := range all {
		f.last++
		all[i].Number = f.last
	}
	f.ring = append(f.ring, all...)
	if len(f.ring) > 2*feedLength {
		f.ring = append([]Change(nil), f.ring[len(f.ring)-feedLength:]...)
	}
	close(f.wake)
	f.wake = make(chan struct{})
	f.mu.Unlock()
	if f.committed != nil {
		f.committed(all)
	}
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.wake)
	}
}

// since returns the changes behind a number, or what to wait for.
func (f *feed) since(after uint64) ([]Change, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	oldest := f.last - uint64(len(f.ring)) // the number before ring[0]
	switch {
	case after > f.last || after < oldest:
		return nil, nil, ErrGap
	case after < f.last:
		return append([]Change(nil), f.ring[after-oldest:]...), nil, nil
	case f.closed:
		return nil, nil, ErrClosed
	}
	return nil, f.wake, nil
}

// LastChange is the number of the last committed change. Read it, then load
// what is to be cached, then follow with Changes.
func (s *Store) LastChange() uint64 {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	return s.feed.last
}

// Changes waits until something was committed after the change of that number,
// and returns all of it in order. ErrGap means that some of it is forgotten, or
// that the number is of another opening of the database: reload.
func (s *Store) Changes(ctx context.Context, after uint64) ([]Change, error) {
	for {
		changes, wake, err := s.feed.since(after)
		if err != nil || len(changes) > 0 {
			return changes, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// changed notes a change, to be told after the commit.
func (t *Tx) changed(kind ChangeKind, subject string) {
	t.changes = append(t.changes, Change{Kind: kind, Subject: subject})
}

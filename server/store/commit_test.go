package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest"
)

// together runs functions as one group: they queue while the writer is held up.
func together(t *testing.T, s *Store, fns ...func(*Tx) error) []error {
	t.Helper()
	hold, held := make(chan struct{}), make(chan struct{})
	go s.Update(context.Background(), func(*Tx) error { close(held); <-hold; return nil })
	<-held
	errs := make([]error, len(fns))
	var all sync.WaitGroup
	for i, fn := range fns {
		before := len(s.queue)
		all.Go(func() { errs[i] = s.Update(context.Background(), fn) })
		for len(s.queue) == before { // so that they run in order
			time.Sleep(time.Millisecond)
		}
	}
	close(hold)
	all.Wait()
	return errs
}

func insert(id string) func(*Tx) error {
	return func(tx *Tx) error { return tx.InsertDevice(laptop(id)) }
}

func stored(t *testing.T, s *Store) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	view(t, s, func(tx *Tx) error {
		list, err := tx.Devices("", "", 1<<20)
		for _, d := range list {
			ids[d.ID] = true
		}
		return err
	})
	return ids
}

var errMine = errors.New("mine")

func TestOneBadFunctionHurtsNobodyElse(t *testing.T) {
	s := openAt(t, newPath(t))
	errs := together(t, s,
		insert("a"),
		func(tx *Tx) error { return errors.Join(insert("b")(tx), errMine) },
		insert("c"),
		func(tx *Tx) error {
			if err := insert("d")(tx); err != nil {
				return err
			}
			panic("d")
		},
		insert("a"), // taken
		func(tx *Tx) error { // a constraint may be met and got over
			if err := insert("c")(tx); !errors.Is(err, ErrTaken) {
				return fmt.Errorf("inserted twice: %v", err)
			}
			return insert("e")(tx)
		},
		func(tx *Tx) error { _, err := tx.exec("nonsense"); return errors.Join(insert("f")(tx), err) },
		func(tx *Tx) error { _, _ = tx.exec("nonsense"); return nil }, // overlooked
		insert("g"),
	)
	for i, want := range []bool{true, false, true, false, false, true, false, false, true} {
		if (errs[i] == nil) != want {
			t.Errorf("function %d: %v", i, errs[i])
		}
	}
	if !errors.Is(errs[1], errMine) || !errors.Is(errs[4], ErrTaken) {
		t.Errorf("errors lost their identity: %v; %v", errs[1], errs[4])
	}
	if got := fmt.Sprint(stored(t, s)); got != "map[a:true c:true e:true g:true]" {
		t.Errorf("stored: %v", got)
	}
}

func TestNoReplyBeforeTheGroupsCommit(t *testing.T) {
	s := openAt(t, newPath(t))
	var returned atomic.Bool
	hold, held := make(chan struct{}), make(chan struct{})
	second, go2 := make(chan struct{}), make(chan struct{})
	go s.Update(context.Background(), func(*Tx) error { close(held); <-hold; return nil })
	<-held
	go func() {
		if err := s.Update(context.Background(), insert("a")); err != nil {
			t.Error(err)
		}
		returned.Store(true)
	}()
	for len(s.queue) == 0 {
		time.Sleep(time.Millisecond)
	}
	var last sync.WaitGroup
	last.Go(func() {
		if err := s.Update(context.Background(), func(*Tx) error { close(second); <-go2; return nil }); err != nil {
			t.Error(err)
		}
	})
	for len(s.queue) == 1 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	<-second // the first has run, its group has not committed
	time.Sleep(20 * time.Millisecond)
	if returned.Load() {
		t.Error("an update was answered before its commit")
	}
	if len(stored(t, s)) != 0 {
		t.Error("an update was visible before its commit")
	}
	close(go2)
	last.Wait()
	if len(stored(t, s)) != 1 {
		t.Error("the update is not there after its commit")
	}
}

// failCommit makes COMMIT itself fail, with a deferred foreign key that points
// nowhere.
func failCommit(tx *Tx) error {
	_, err := tx.exec("PRAGMA defer_foreign_keys = ON")
	_, err2 := tx.exec("INSERT INTO grace (n, book) VALUES (12345, x'00')")
	return errors.Join(err, err2)
}

func TestFailedCommitIsEverybodysError(t *testing.T) {
	told := make(chan []Change, 10)
	s := openAt(t, newPath(t), func(c *Config) { c.Committed = func(l []Change) { told <- l } })
	errs := together(t, s,
		insert("a"),
		failCommit,
		insert("b"),
	)
	for i, err := range errs {
		if err == nil {
			t.Errorf("function %d was told that it is stored", i)
		}
	}
	if ids := stored(t, s); len(ids) != 0 {
		t.Errorf("stored: %v", ids)
	}
	select {
	case l := <-told:
		t.Errorf("changes were told: %v", l)
	default:
	}
	update(t, s, insert("c"))
	if ids := stored(t, s); !ids["c"] {
		t.Error("the store did not recover")
	}
}

func TestFullDiskTellsNoLies(t *testing.T) {
	s := openAt(t, newPath(t))
	update(t, s, insert("d"))
	var pages int
	if err := s.writer.sql.QueryRowContext(context.Background(), "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		if _, err := s.writer.sql.ExecContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages + 20)
	report := func(seq uint64, size int) func(*Tx) error {
		return func(tx *Tx) error {
			return tx.AddReport("d", &Report{Seq: seq, JWS: make([]byte, size), Result: []byte("{}")})
		}
	}
	var fns []func(*Tx) error
	for i := range 40 {
		size := 2000
		if i%4 == 3 {
			size = 200_000 // never fits
		}
		fns = append(fns, report(uint64(i+1), size))
	}
	acked, refused := map[uint64]bool{}, 0
	for i, err := range together(t, s, fns...) {
		if err == nil {
			acked[uint64(i+1)] = true
		} else {
			refused++
		}
	}
	if refused < 10 {
		t.Errorf("only %d of 40 were refused", refused)
	}
	kept := map[uint64]bool{}
	view(t, s, func(tx *Tx) error {
		list, err := tx.Reports("d", 100)
		for _, r := range list {
			kept[r.Seq] = true
		}
		return err
	})
	if fmt.Sprint(kept) != fmt.Sprint(acked) {
		t.Errorf("told to be stored: %v, stored: %v", acked, kept)
	}
	limit(1 << 30)
	update(t, s, report(99, 200_000))
}

func TestContextAndQueue(t *testing.T) {
	s := openAt(t, newPath(t), func(c *Config) { c.Queue = 2 })
	hold, held := make(chan struct{}), make(chan struct{})
	running, stop := context.WithCancel(context.Background())
	result := make(chan error)
	go func() {
		result <- s.Update(running, func(tx *Tx) error {
			close(held)
			<-hold
			return tx.InsertDevice(laptop("running"))
		})
	}()
	<-held
	waiting, leave := context.WithCancel(context.Background())
	left := make(chan error)
	go func() {
		left <- s.Update(waiting, func(*Tx) error { t.Error("a cancelled update ran"); return nil })
	}()
	for len(s.queue) < 1 {
		time.Sleep(time.Millisecond)
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while waiting: %v", err)
	}
	go s.Update(context.Background(), func(*Tx) error { return nil })
	for len(s.queue) < 2 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Update(context.Background(), insert("x")); !errors.Is(err, ErrBusy) {
		t.Errorf("full queue: %v", err)
	}
	stop() // too late: it runs
	select {
	case err := <-result:
		t.Fatalf("answered before the end: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(hold)
	if err := <-result; err != nil {
		t.Errorf("cancelled while running: %v", err)
	}
	if !stored(t, s)["running"] {
		t.Error("told to be stored and is not")
	}
	ended, end := context.WithCancel(context.Background())
	end()
	if err := s.Update(ended, insert("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

func TestTxHasAnEnd(t *testing.T) {
	s := openAt(t, newPath(t))
	var late *Tx
	update(t, s, func(tx *Tx) error { late = tx; return nil })
	if err := late.InsertDevice(laptop("late")); err == nil {
		t.Error("a Tx was written with after its function")
	}
	if _, err := late.Meta(); err == nil {
		t.Error("a Tx was read with after its function")
	}
	if err := s.View(context.Background(), insert("a")); err == nil {
		t.Error("a view wrote")
	}
	if err := s.View(context.Background(), func(*Tx) error { panic("view") }); err == nil {
		t.Error("a panic was no error")
	}
	for range 8 { // more than readers: none was lost
		view(t, s, func(tx *Tx) error { _, err := tx.Meta(); return err })
	}
	s.Close()
	if err := s.Update(context.Background(), insert("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("update after close: %v", err)
	}
	if err := s.View(context.Background(), insert("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("view after close: %v", err)
	}
}

func TestCloseAnswersWhatIsQueued(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	hold, held := make(chan struct{}), make(chan struct{})
	go s.Update(context.Background(), func(*Tx) error { close(held); <-hold; return nil })
	<-held
	result := make(chan error)
	go func() { result <- s.Update(context.Background(), insert("a")) }()
	for len(s.queue) == 0 {
		time.Sleep(time.Millisecond)
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	time.Sleep(5 * time.Millisecond)
	close(hold)
	if err := errors.Join(<-result, <-closed); err != nil {
		t.Fatal(err)
	}
	if !stored(t, openAt(t, path))["a"] {
		t.Error("told to be stored and is not")
	}
}

func TestParallelTokenUse(t *testing.T) {
	s := openAt(t, newPath(t))
	var secret string
	update(t, s, func(tx *Tx) (err error) {
		secret, err = tx.AddToken(&Token{ID: "t", UsesLeft: 1, Expires: tx.Now().Add(time.Hour)})
		return err
	})
	var won, refused atomic.Int64
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			err := s.Update(context.Background(), func(tx *Tx) error { _, err := tx.ConsumeToken(secret); return err })
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrTokenRefused):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || refused.Load() != 999 {
		t.Errorf("%d won, %d were refused", won.Load(), refused.Load())
	}
}

func TestChangesComeInOrderAndTellGaps(t *testing.T) {
	path := newPath(t)
	var hooked []Change // owner: the writer goroutine, read after Close
	s := openAt(t, path, func(c *Config) { c.Committed = func(l []Change) { hooked = append(hooked, l...) } })
	start := s.LastChange()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			_ = s.Update(context.Background(), func(tx *Tx) error {
				err := tx.InsertDevice(laptop(fmt.Sprint(i)))
				if i%5 == 0 {
					err = errors.Join(err, errMine)
				}
				return err
			})
		})
	}
	var got []Change
	for after := start; len(got) < 40; {
		l, err := s.Changes(context.Background(), after)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, l...)
		after = got[len(got)-1].Number
	}
	all.Wait()
	for i, c := range got {
		if c.Number != start+uint64(i)+1 || c.Kind != DeviceChanged || !stored(t, s)[c.Subject] {
			t.Errorf("change %d is %+v", i, c)
		}
	}
	ended, end := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer end()
	if l, err := s.Changes(ended, s.LastChange()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing new: %v, %v", l, err)
	}
	last := s.LastChange()
	s.Close()
	if fmt.Sprint(hooked) != fmt.Sprint(got) {
		t.Errorf("hook saw %v", hooked)
	}
	s = openAt(t, path)
	if s.LastChange() <= last {
		t.Error("numbers went back at a restart")
	}
	if _, err := s.Changes(context.Background(), last); !errors.Is(err, ErrGap) {
		t.Errorf("follower of the last opening: %v", err)
	}
	start = s.LastChange()
	update(t, s, func(tx *Tx) error {
		for range 3 * feedLength {
			tx.changed(DeviceChanged, "x")
		}
		return nil
	})
	if _, err := s.Changes(context.Background(), start); !errors.Is(err, ErrGap) {
		t.Errorf("too slow a follower: %v", err)
	}
}

func TestRevokedIsForEver(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	update(t, s, insert("a"))
	update(t, s, func(tx *Tx) error {
		d, err := tx.Device("a")
		if err != nil {
			return err
		}
		d.Keys.EKHash, d.Keys.DKID, d.Cause = digestOf("ek2"), digestOf("dk2"), "re-anchor"
		return tx.UpdateDevice(d)
	})
	update(t, s, func(tx *Tx) error { return revoke(tx, "a", "admin", "stolen") })
	update(t, s, func(tx *Tx) error { return revoke(tx, "a", "other", "again") })
	for name, change := range map[string]func(*Tx) error{
		"update": func(tx *Tx) error {
			d := laptop("a")
			return tx.UpdateDevice(d)
		},
		"raw state":    func(tx *Tx) error { _, err := tx.exec("UPDATE devices SET state = 'active'"); return err },
		"raw delete":   func(tx *Tx) error { _, err := tx.exec("DELETE FROM devices"); return err },
		"raw keys":     func(tx *Tx) error { _, err := tx.exec("DELETE FROM dead_keys"); return err },
		"raw keys set": func(tx *Tx) error { _, err := tx.exec("UPDATE dead_keys SET cause = ''"); return err },
		"its first EK": func(tx *Tx) error {
			d := laptop("b")
			d.Keys.EKHash = digestOf("eka")
			return tx.InsertDevice(d)
		},
		"its second DK": func(tx *Tx) error {
			d := laptop("b")
			d.Keys = Keys{Kind: attest.KindSoft, DK: []byte("x"), DKID: digestOf("dk2")}
			return tx.InsertDevice(d)
		},
		"its AK": func(tx *Tx) error {
			d := laptop("b")
			d.Keys.AKName = []byte("ak name of a")
			return tx.InsertDevice(d)
		},
	} {
		if err := s.Update(context.Background(), change); err == nil {
			t.Errorf("%s brought it back", name)
		}
	}
	view(t, s, func(tx *Tx) error {
		d, err := tx.Device("a")
		if err != nil || d.State != attest.Revoked || d.RevokedBy != "admin" || d.RevokedWhy != "stolen" {
			t.Errorf("%+v, %v", d, err)
		}
		anchors, err := tx.Anchors("a")
		if err != nil || len(anchors) != 2 || anchors[0].Until.IsZero() || !anchors[1].Until.IsZero() || anchors[1].Cause != "re-anchor" {
			t.Errorf("anchors: %+v, %v", anchors, err)
		}
		return nil
	})
}

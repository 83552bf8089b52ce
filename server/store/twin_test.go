package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest"
)

// rekey gives a device other keys, as a re-anchored one gets them.
func rekey(t *testing.T, s *Store, id string, change func(*Keys)) {
	t.Helper()
	update(t, s, func(tx *Tx) error {
		d, err := tx.Device(id)
		if err != nil {
			return err
		}
		change(&d.Keys)
		return tx.UpdateDevice(d)
	})
}

// twins makes one machine under three names, linked by keys of the past: b has
// the EK that a had first, c the AK that b had first. Far has no key of theirs.
func twins(t *testing.T, s *Store) {
	t.Helper()
	update(t, s, insert("a"))
	rekey(t, s, "a", func(k *Keys) { k.EKHash = digestOf("ek of another template") })
	b, c := laptop("b"), laptop("c")
	b.Keys.EKHash = digestOf("eka")
	update(t, s, func(tx *Tx) error { return tx.InsertDevice(b) })
	rekey(t, s, "b", func(k *Keys) { k.AKName = []byte("another ak") })
	c.Keys.AKName, c.State = []byte("ak name of b"), attest.Pending
	update(t, s, func(tx *Tx) error { return errors.Join(tx.InsertDevice(c), tx.InsertDevice(laptop("far"))) })
}

// auditedOf returns what the store said of a subject.
func auditedOf(t *testing.T, s *Store, subject string) (said []string) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		list, err := tx.AuditLog(0, 1000)
		for _, e := range list {
			if e.Subject == subject {
				said = append(said, fmt.Sprintf("%s %s %s", e.Actor, e.Action, e.Detail))
			}
		}
		return err
	})
	return said
}

func TestRevocationEndsTheMachineUnderEveryName(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	twins(t, s)
	var hot *Hot
	view(t, s, func(tx *Tx) (err error) { hot, err = tx.Hot("c"); return err })
	after := s.LastChange()
	update(t, s, func(tx *Tx) error {
		others, err := tx.RevokeDevice("a", "admin", "stolen")
		if fmt.Sprint(others) != "[b c]" {
			t.Errorf("others that ended: %v", others)
		}
		return err
	})
	for id, want := range map[string]attest.DeviceState{"a": attest.Revoked, "b": attest.Revoked, "c": attest.Revoked, "far": attest.Active} {
		if got := state(t, s, id); got != want {
			t.Errorf("%s is %s, not %s", id, got, want)
		}
	}
	soon, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	changes, err := s.Changes(soon, after)
	if text := fmt.Sprint(changes); err != nil || !strings.Contains(text, " b}") || !strings.Contains(text, " c}") {
		t.Errorf("told: %v, %v", changes, err)
	}
	if err := s.Update(context.Background(), func(tx *Tx) error { return tx.PutHot(hot) }); !errors.Is(err, ErrStale) {
		t.Errorf("a report that was judged before: %v", err)
	}
	view(t, s, func(tx *Tx) error {
		for name, dk := range map[string]attest.Digest{"b": digestOf("dkb"), "c": digestOf("dkc")} {
			if dead, err := tx.KeyRevoked(attest.Digest{}, nil, dk); !dead || err != nil {
				t.Errorf("DK of %s is not dead: %v", name, err)
			}
		}
		d, err := tx.Device("c")
		if err != nil || d.RevokedBy != "admin" || d.RevokedWhy != "has a key of device a: stolen" {
			t.Errorf("%+v, %v", d, err)
		}
		return nil
	})
	if said := auditedOf(t, s, "a"); len(said) != 0 {
		t.Errorf("the caller audits what it named: %v", said)
	}
	if said := auditedOf(t, s, "b"); len(said) != 1 || !strings.HasPrefix(said[0], "store device.revoke") {
		t.Errorf("said of b: %v", said)
	}
	lines, err := s.journal.read()
	ended := map[string]int{}
	for _, l := range lines {
		if l.Kind == lineRevoke {
			ended[l.Device]++
		}
	}
	if err != nil || fmt.Sprint(ended) != "map[a:2 b:2 c:1]" {
		t.Errorf("journal: %v, %v", ended, err)
	}
}

// The backup knows the twin without what links it, or the link without the
// device that was named: the journal ends all the same.
func TestReplayEndsTheMachineUnderEveryName(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	twins(t, s)
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	// What the restored database does not know, the journal tells by its keys.
	s.Close()
	j, err := openJournal(path + journalSuffix)
	if err != nil {
		t.Fatal(err)
	}
	ek := digestOf("eka")
	if err := errors.Join(j.append([]line{{Kind: lineRevoke, Epoch: 1, Time: 5, Device: "enrolled after the backup", By: "admin",
		Cause: "stolen", EKHash: ek[:]}}), j.close()); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	for _, id := range []string{"a", "b", "c"} {
		if got := state(t, s, id); got != attest.Revoked {
			t.Errorf("%s is %s", id, got)
		}
		if said := auditedOf(t, s, id); len(said) != 1 || !strings.Contains(said[0], `store device.revoke {"by":"admin","why":"has a key of`) ||
			!strings.Contains(said[0], `"journal":true`) {
			t.Errorf("said of %s: %v", id, said)
		}
	}
	if got := state(t, s, "far"); got != attest.Active {
		t.Errorf("far is %s", got)
	}
	if _, err := s.VerifyAudit(context.Background()); err != nil {
		t.Error(err)
	}
	// The keys that died by it are in the journal now: a second restore, and
	// nothing is said twice by a mere restart.
	for range 2 {
		s.Close()
		s = openAt(t, path)
	}
	if said := auditedOf(t, s, "c"); len(said) != 1 {
		t.Errorf("said of c after restarts: %v", said)
	}
	lines, err := s.journal.read()
	if err != nil || !recall(lines).dead[deadDK+string(orNull(digestOf("dkc")))] {
		t.Errorf("the DK of c is not dead in the journal: %v", err)
	}
}

func TestReplayIsAudited(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	var secret string
	update(t, s, func(tx *Tx) (err error) {
		secret, err = tx.AddGateway(&Gateway{ID: "g", Name: "edge"})
		return errors.Join(err, tx.InsertDevice(laptop("lost")), tx.InsertDevice(laptop("moved")), tx.InsertDevice(laptop("kept")))
	})
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error {
		return errors.Join(revoke(tx, "lost", "admin", "stolen"), tx.RemoveGateway("g"))
	})
	rekey(t, s, "moved", func(k *Keys) { k.DKID = digestOf("new") })
	s.Close()
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	for subject, want := range map[string]string{
		"lost":  `[store device.revoke {"by":"admin","why":"stolen","journal":true}]`,
		"moved": `[store device.pending {"why":"` + causeReanchorText + `","journal":true}]`,
		"g":     `[store gateway.delete {"why":"removed","journal":true}]`,
		"kept":  `[]`,
	} {
		if got := fmt.Sprint(auditedOf(t, s, subject)); got != want {
			t.Errorf("said of %s: %s", subject, got)
		}
	}
	view(t, s, func(tx *Tx) error {
		if _, err := tx.GatewayBySecret(secret); !errors.Is(err, ErrNotFound) {
			t.Errorf("a removed credential after a restore: %v", err)
		}
		return nil
	})
}

// A credential that got the id of a removed one lives on, also when the journal
// was lost and made anew.
func TestRemovedGatewayStaysRemoved(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	add := func() (secret string) {
		update(t, s, func(tx *Tx) (err error) {
			secret, err = tx.AddGateway(&Gateway{ID: "g", Apps: []string{"*"}})
			return err
		})
		return secret
	}
	first := add()
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return tx.RemoveGateway("g") })
	if err := s.Update(context.Background(), func(tx *Tx) error { return tx.RemoveGateway("g") }); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	second := add()
	good := func(secret string) bool {
		err := s.View(context.Background(), func(tx *Tx) error { _, err := tx.GatewayBySecret(secret); return err })
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	s.Close()
	if err := os.Remove(path + journalSuffix); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	s.Close()
	s = openAt(t, path)
	if good(first) || !good(second) {
		t.Errorf("after restarts: the first %v, the second %v", good(first), good(second))
	}
	lines, err := s.journal.read()
	if n := len(slices.DeleteFunc(lines, func(l line) bool { return l.Kind != lineGateway })); n != 1 || err != nil {
		t.Errorf("the new journal has it %d times: %v", n, err)
	}
	s.Close()
	if _, err := restore(path, path+".bak"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if good(first) || good(second) {
		t.Errorf("after a restore: the first %v, the second %v", good(first), good(second))
	}
}

func TestDevicesByAnchor(t *testing.T) {
	s := openAt(t, newPath(t))
	twins(t, s)
	soft := laptop("soft")
	soft.Keys = Keys{Kind: attest.KindSoft, DK: []byte("point"), DKID: digestOf("soft")}
	update(t, s, func(tx *Tx) error { return tx.InsertDevice(soft) })
	rekey(t, s, "soft", func(k *Keys) { k.DKID = digestOf("soft 2") })
	none := attest.Digest{}
	view(t, s, func(tx *Tx) error {
		for name, c := range map[string]struct {
			ek   attest.Digest
			ak   []byte
			dk   attest.Digest
			want string
		}{
			"nothing":               {none, nil, none, "[]"},
			"unknown":               {digestOf("x"), []byte("x"), digestOf("x"), "[]"},
			"an EK that moved":      {digestOf("eka"), nil, none, "[a b]"},
			"an EK of now":          {digestOf("ek of another template"), nil, none, "[a]"},
			"an AK that moved":      {none, []byte("ak name of b"), none, "[b c]"},
			"a DK of the past":      {none, nil, digestOf("soft"), "[soft]"},
			"one device by all":     {digestOf("ekfar"), []byte("ak name of far"), digestOf("dkfar"), "[far]"},
			"keys of three devices": {digestOf("ekfar"), []byte("another ak"), digestOf("dka"), "[a b far]"},
		} {
			list, err := tx.DevicesByAnchor(c.ek, c.ak, c.dk)
			ids := []string{}
			for _, d := range list {
				ids = append(ids, d.ID)
			}
			if err != nil || fmt.Sprint(ids) != c.want {
				t.Errorf("%s: %v, not %s: %v", name, ids, c.want, err)
			}
		}
		return noScan(t, tx, "SELECT n FROM anchors WHERE ek_hash = x'00' UNION SELECT n FROM anchors WHERE ak_name = x'00' UNION SELECT n FROM anchors WHERE dk_id = x'00'")
	})
}

// noScan fails when a query reads a whole table.
func noScan(t *testing.T, tx *Tx, query string) error {
	t.Helper()
	return tx.query(func(row scanner) error {
		var a, b, c int
		var step string
		err := row.Scan(&a, &b, &c, &step)
		if strings.HasPrefix(step, "SCAN") {
			t.Errorf("%s: %s", query, step)
		}
		return err
	}, "EXPLAIN QUERY PLAN "+query)
}

func TestRecentAnchors(t *testing.T) {
	c := newClock()
	s := openAt(t, newPath(t), func(cfg *Config) { cfg.Now = c.now })
	update(t, s, func(tx *Tx) error { return errors.Join(tx.InsertDevice(laptop("a")), tx.InsertDevice(laptop("b"))) })
	begin := c.now()
	for i := range 3 {
		c.advance(time.Hour)
		rekey(t, s, "a", func(k *Keys) { k.DKID = digestOf(fmt.Sprint(i)) })
	}
	view(t, s, func(tx *Tx) error {
		for since, want := range map[time.Time]int{begin: 4, begin.Add(time.Hour): 3, begin.Add(2*time.Hour + time.Millisecond): 1, begin.Add(9 * time.Hour): 0} {
			if n, err := tx.RecentAnchors("a", since); n != want || err != nil {
				t.Errorf("since %v: %d, not %d: %v", since, n, want, err)
			}
		}
		n, err := tx.RecentAnchors("none", begin)
		if n != 0 {
			t.Errorf("no device has %d", n)
		}
		return err
	})
}

// A re-anchoring whose commit fails leaves no word in the journal: the device
// keeps its key, also at the next start.
func TestRetireOfAFailedCommitIsForgotten(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	update(t, s, insert("a"))
	errs := together(t, s,
		func(tx *Tx) error {
			d, err := tx.Device("a")
			if err != nil {
				return err
			}
			d.Keys.DKID = digestOf("other")
			return tx.UpdateDevice(d)
		},
		failCommit)
	if errs[0] == nil {
		t.Fatal("told to be stored")
	}
	s.Close()
	s = openAt(t, path)
	if got := state(t, s, "a"); got != attest.Active {
		t.Errorf("device is %s", got)
	}
	view(t, s, func(tx *Tx) error {
		dead, err := tx.KeyRevoked(attest.Digest{}, nil, digestOf("dka"))
		if dead {
			t.Error("its key is dead")
		}
		return err
	})
}

// A replaced key is in the journal when its update is answered; where it cannot
// be written, with the next update or the next start.
func TestRetireReachesTheJournal(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	update(t, s, insert("a"))
	noted := func(dk string) bool {
		b, err := os.ReadFile(path + journalSuffix)
		lines, _, _, err2 := readJournal(bytes.NewReader(b))
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return recall(lines).dead[deadDK+string(orNull(digestOf(dk)))]
	}
	rekey(t, s, "a", func(k *Keys) { k.DKID = digestOf("2") })
	if !noted("dka") {
		t.Error("answered, and not in the journal")
	}
	whole := s.journal.file
	closed, err := os.Open(filepath.Dir(path)) // cannot be written to
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	s.journal.file = closed
	rekey(t, s, "a", func(k *Keys) { k.DKID = digestOf("3") })
	s.journal.file, s.journal.broken = whole, nil
	if noted("2") {
		t.Fatal("noted where nothing could be written")
	}
	update(t, s, insert("b"))
	if !noted("2") {
		t.Error("not noted with the next update")
	}
	s.journal.file = closed
	rekey(t, s, "a", func(k *Keys) { k.DKID = digestOf("4") })
	s.journal.file = whole
	s.journal.broken = errMine
	s.Close()
	openAt(t, path)
	if !noted("3") {
		t.Error("not noted at the next start")
	}
}

// The reason that an administrator types means nothing to us, not even one that
// we use ourselves: a lost journal is rebuilt whole.
func TestReasonIsOnlyText(t *testing.T) {
	for _, why := range []string{"stolen", causeReplaced, causeReanchor, ""} {
		path := newPath(t)
		s := openAt(t, path)
		update(t, s, insert("a"))
		if err := s.Backup(context.Background(), path+".bak"); err != nil {
			t.Fatal(err)
		}
		update(t, s, func(tx *Tx) error { return revoke(tx, "a", "admin", why) })
		s.Close()
		if err := os.Remove(path + journalSuffix); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, path)
		s.Close()
		if _, err := restore(path, path+".bak"); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, path)
		view(t, s, func(tx *Tx) error {
			d, err := tx.Device("a")
			if err != nil {
				return err
			}
			dead, err := tx.KeyRevoked(digestOf("eka"), nil, attest.Digest{})
			if d.State != attest.Revoked || !dead {
				t.Errorf("revoked because %q: state %s, EK dead %v", why, d.State, dead)
			}
			return err
		})
	}
}

package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/attest"
)

// journalled makes a journal of n revocations and returns its bytes.
func journalled(t testing.TB, n int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "j")
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	for i := range n {
		if err := j.append([]line{{Kind: lineRevoke, Epoch: 1, Device: string(rune('a' + i)), DKID: []byte{byte(i)}, Cause: "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func reopenJournal(t testing.TB, b []byte) (lines []line, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(path)
	if err != nil {
		return nil, err
	}
	lines = j.lines
	if err := j.append([]line{{Kind: lineRevoke, Device: "after"}}); err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	j, err = openJournal(path)
	if err != nil {
		t.Fatalf("after repair and one more line: %v", err)
	}
	defer j.close()
	if len(j.lines) != len(lines)+1 || j.lines[len(lines)].Device != "after" {
		t.Fatalf("after repair and one more line: %d lines, not %d", len(j.lines), len(lines)+1)
	}
	return lines, nil
}

// What the first version wrote is read, each kind of line with its fields.
func TestJournalOfTheFirstVersionIsRead(t *testing.T) {
	var b []byte
	sum := ""
	for _, text := range []string{
		`{"kind":"tenant","tenant":"0a"}`,
		`{"kind":"open","time":1,"epoch":2,"generation":3}`,
		`{"kind":"epoch","time":1,"epoch":2,"seq":4,"hash":"AQ=="}`,
		`{"kind":"revoke","time":1,"epoch":2,"device":"d","ek_hash":"AQ==","ak_name":"Ag==","dk_id":"Aw==","by":"b","cause":"c"}`,
		`{"kind":"retire","time":1,"epoch":2,"device":"d","dk_id":"BA==","cause":"replaced"}`,
		`{"kind":"gateway","time":1,"epoch":2,"cause":"removed","hash":"BQ==","gateway":"g"}`,
		`{"kind":"audit","time":1,"seq":5,"hash":"Bg=="}`,
		`{"kind":"pack","time":1,"pack":"mds","number":6}`,
	} {
		sum = chain(sum, []byte(text))
		b = append(b, `{"line":`+text+`,"sum":"`+sum+`"}`+"\n"...)
	}
	lines, err := reopenJournal(t, b)
	if err != nil || len(lines) != 8 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	h := recall(lines)
	if h.tenant != "0a" || h.epoch != 2 || h.generation != 3 || h.audit != (auditMark{5, "\x06"}) ||
		h.packs["mds"] != 6 || len(h.words) != 0 {
		t.Errorf("%+v", h)
	}
	for _, key := range []string{deadEK + "\x01", deadAK + "\x02", deadDK + "\x03", deadDK + "\x04", deadGateway + "\x05"} {
		if !h.dead[key] {
			t.Errorf("%q is not dead", key)
		}
	}
}

// Wherever a crash cuts the last line, the lines before it stay, and the journal
// goes on.
func TestTornJournalIsRepaired(t *testing.T) {
	whole := journalled(t, 3)
	second := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := second; cut <= len(whole); cut++ {
		want := 2
		if cut >= len(whole)-1 {
			want = 3 // all but its newline is there
		}
		lines, err := reopenJournal(t, whole[:cut])
		if err != nil || len(lines) != want {
			t.Fatalf("cut to %d of %d bytes: %d lines, %v", cut, len(whole), len(lines), err)
		}
		if cut == second {
			continue
		}
		unfilled := append(bytes.Clone(whole[:cut-1]), make([]byte, 4096)...)
		if lines, err := reopenJournal(t, unfilled); err != nil || len(lines) < 2 {
			t.Fatalf("filled up with zeros from byte %d: %d lines, %v", cut-1, len(lines), err)
		}
	}
}

// No changed byte makes an acknowledged line be forgotten in silence.
func TestDamagedJournalIsAnError(t *testing.T) {
	whole := journalled(t, 3)
	for at := range whole {
		for _, mask := range []byte{0x01, 0x20, 0x80, whole[at]} {
			b := bytes.Clone(whole)
			b[at] ^= mask
			lines, _, _, err := readJournal(bytes.NewReader(b))
			if err == nil && len(lines) == 3 {
				continue // only the end of the last line was hit, and is mended
			}
			if !errors.Is(err, ErrJournal) {
				t.Fatalf("byte %d changed by %02x: %d lines, %v", at, mask, len(lines), err)
			}
		}
	}
	rows := bytes.SplitAfter(whole, []byte("\n"))
	for name, b := range map[string][]byte{
		"first line missing":  bytes.Join(rows[1:], nil),
		"middle line missing": bytes.Join([][]byte{rows[0], rows[2]}, nil),
		"lines swapped":       bytes.Join([][]byte{rows[1], rows[0], rows[2]}, nil),
		"line twice":          bytes.Join([][]byte{rows[0], rows[0], rows[1], rows[2]}, nil),
		"line too long":       bytes.Join([][]byte{rows[0], bytes.Repeat([]byte("x"), 2*maxLine), rows[1]}, nil),
	} {
		if _, err := reopenJournal(t, b); !errors.Is(err, ErrJournal) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := reopenJournal(t, bytes.Replace(whole, []byte(`"device":"b"`), []byte(`"device":"z"`), 1))
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("the damaged line is not named: %v", err)
	}
}

func TestForeignJournalIsRefused(t *testing.T) {
	one, two := newPath(t), newPath(t)
	openAt(t, one).Close()
	openAt(t, two).Close()
	if err := os.Rename(one+journalSuffix, two+journalSuffix); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Config{Path: two, Now: newClock().now}); !errors.Is(err, ErrJournal) {
		t.Fatalf("another server's journal: %v", err)
	}
}

func state(t *testing.T, s *Store, id string) (st attest.DeviceState) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		d, err := tx.Device(id)
		if err == nil {
			st = d.State
		}
		return err
	})
	return st
}

// A journal that was lost is made again from the database.
func TestLostJournalIsRebuilt(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	update(t, s, insert("a"))
	if err := s.Backup(context.Background(), path+".bak"); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return revoke(tx, "a", "admin", "stolen") })
	update(t, s, func(tx *Tx) error { return tx.AcceptPack("mds", 7) })
	s.Close()
	if err := os.Remove(path + journalSuffix); err != nil {
		t.Fatal(err)
	}
	openAt(t, path).Close()
	if _, err := Restore(context.Background(), path+".bak", Config{Path: path, Now: newClock().now}); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if got := state(t, s, "a"); got != attest.Revoked {
		t.Errorf("device is %s", got)
	}
	if err := s.Update(context.Background(), func(tx *Tx) error { return tx.AcceptPack("mds", 6) }); !errors.Is(err, ErrRollback) {
		t.Errorf("older pack: %v", err)
	}
}

// The journal is written first: a crash, or a commit that fails, between the two
// leaves a revocation that the next start applies.
func TestJournalledButNotCommitted(t *testing.T) {
	path := newPath(t)
	s := openAt(t, path)
	update(t, s, insert("a"))
	errs := together(t, s,
		func(tx *Tx) error { return revoke(tx, "a", "admin", "stolen") },
		failCommit)
	if errs[0] == nil {
		t.Fatal("told to be revoked")
	}
	s.Close()
	s = openAt(t, path)
	if got := state(t, s, "a"); got != attest.Revoked || s.Epoch() != 1 {
		t.Errorf("device is %s in epoch %d", got, s.Epoch())
	}
}

// Without its journal a revocation is refused, not half done.
func TestRevocationNeedsTheJournal(t *testing.T) {
	s := openAt(t, newPath(t))
	update(t, s, insert("a"))
	s.journal.file.Close()
	errs := together(t, s,
		func(tx *Tx) error { return revoke(tx, "a", "admin", "stolen") },
		insert("b"))
	if errs[0] == nil || errs[1] != nil {
		t.Errorf("revocation: %v, other: %v", errs[0], errs[1])
	}
	if got := state(t, s, "a"); got != attest.Active {
		t.Errorf("device is %s", got)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add(journalled(f, 2))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, sum, end, err := readJournal(bytes.NewReader(b))
		if err != nil {
			return
		}
		if end > int64(len(b))+1 || (len(lines) == 0) != (sum == "") {
			t.Fatalf("%d lines, sum %q, end %d of %d", len(lines), sum, end, len(b))
		}
		// What is kept reads the same again.
		kept := append(bytes.Clone(b), '\n')[:end]
		again, sum2, end2, err := readJournal(bytes.NewReader(kept))
		if err != nil || sum2 != sum || end2 != end || len(again) != len(lines) {
			t.Fatalf("read again: %d lines, %q, %d: %v", len(again), sum2, end2, err)
		}
	})
}

// Each sign that the database was put back counts by itself, and what a crash
// leaves is none.
func TestSignsOfADatabasePutBack(t *testing.T) {
	s := openAt(t, newPath(t))
	audited(t, s, 1, 2)
	meta := &Meta{Epoch: 3, Generation: 7}
	for name, c := range map[string]struct {
		past history
		back bool
	}{
		"nothing":                {history{}, false},
		"equal":                  {history{epoch: 3, generation: 7, audit: auditMark{seq: 2}}, false},
		"crash while opening":    {history{epoch: 3, generation: 8}, false},
		"older epoch":            {history{epoch: 4, generation: 7}, true},
		"opened less often":      {history{epoch: 3, generation: 9}, true},
		"audit log is too short": {history{epoch: 3, generation: 7, audit: auditMark{seq: 3}}, true},
	} {
		view(t, s, func(tx *Tx) error {
			why, err := tx.wentBack(meta, &c.past)
			if (why != "") != c.back {
				t.Errorf("%s: %q", name, why)
			}
			return err
		})
	}
}

package store

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/attest"
)

var killRounds = flag.Int("store.kills", 10, "how often TestKill kills the process that writes")

// killed is the path of the database in the process that is to be killed.
const killed = "MUSTER_TEST_STORE_KILLED"

// TestKill kills a process that writes from many goroutines, again and again on
// one database: all that was acknowledged on its standard output is there.
func TestKill(t *testing.T) { killAgainAndAgain(t, writeUntilKilled, checkAcknowledged) }

// killAgainAndAgain is called by a test in two processes: the one that writes,
// and the one that kills it and checks what was acknowledged.
func killAgainAndAgain(t *testing.T, write func(*testing.T, string), check func(*testing.T, *Store, map[string]bool)) {
	if testing.Short() {
		t.Skip("the race detector sees nothing of a process that is killed")
	}
	if path := os.Getenv(killed); path != "" {
		write(t, path)
		return
	}
	path := newPath(t)
	acked := map[string]bool{}
	for round := range *killRounds {
		killOnce(t, path, round, acked)
		s := openAt(t, path)
		if s.Epoch() != 1 {
			t.Fatalf("round %d: a crash started an epoch", round)
		}
		check(t, s, acked)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
		s.Close()
	}
	if len(acked) < 10*(*killRounds) {
		t.Fatalf("only %d writes were acknowledged: nothing was tested", len(acked))
	}
	t.Logf("%d rounds, %d acknowledged writes", *killRounds, len(acked))
}

// killOnce adds the lines that the process wrote whole.
func killOnce(t *testing.T, path string, round int, acked map[string]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), killed+"="+path, fmt.Sprintf("ROUND=%d", round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	var timer *time.Timer
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			break
		}
		if timer == nil { // it writes: some milliseconds more
			timer = time.AfterFunc(time.Duration(1+rand.IntN(150))*time.Millisecond, func() { cmd.Process.Kill() })
		}
		acked[strings.TrimSpace(text)] = true
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the process ended by itself")
	}
}

// writeUntilKilled prints each write after it was acknowledged, and no sooner.
func writeUntilKilled(t *testing.T, path string) {
	s := openAt(t, path)
	round := os.Getenv("ROUND")
	say := func(kind, id string) { fmt.Fprintf(os.Stdout, "%s %s\n", kind, id) }
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", round, w, i)
				update(t, s, func(tx *Tx) error {
					if err := tx.InsertDevice(laptop(id)); err != nil {
						return err
					}
					_, err := tx.Audit(Entry{Action: "device.enrol", Subject: id})
					return err
				})
				say("device", id)
				for seq := range uint64(3) {
					update(t, s, func(tx *Tx) error { return report(tx, id, seq+1) })
					say(fmt.Sprintf("seq%d", seq+1), id)
				}
				if i%4 == 3 {
					update(t, s, func(tx *Tx) error { return revoke(tx, id, "admin", "test") })
					say("revoked", id)
				}
			}
		})
	}
	all.Wait()
}

func report(tx *Tx, id string, seq uint64) error {
	h, err := tx.Hot(id)
	if err != nil {
		return err
	}
	h.Seq = seq
	if err := tx.PutHot(h); err != nil {
		return err
	}
	return tx.AddReport(id, &Report{Seq: seq, JWS: []byte("jws"), Result: []byte("{}")})
}

func checkAcknowledged(t *testing.T, s *Store, acked map[string]bool) {
	t.Helper()
	checkWhole(t, s)
	view(t, s, func(tx *Tx) error {
		for line := range acked {
			kind, id, _ := strings.Cut(line, " ")
			if kind == "PASS" || id == "" {
				continue
			}
			d, err := tx.Device(id)
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			h, err := tx.Hot(id)
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			var seq uint64
			if n, _ := fmt.Sscanf(kind, "seq%d", &seq); n == 1 && h.Seq < seq {
				t.Errorf("%s: sequence is %d", line, h.Seq)
			}
			if list, err := tx.Reports(id, 10); err != nil || uint64(len(list)) != h.Seq {
				t.Errorf("%s: %d reports at sequence %d, %v", line, len(list), h.Seq, err)
			}
			if kind == "revoked" && d.State != attest.Revoked {
				t.Errorf("%s: %s", line, d.State)
			}
		}
		return nil
	})
}

func checkWhole(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.VerifyAudit(context.Background()); err != nil {
		t.Error(err)
	}
	var text string
	if err := s.writeCheck(&text); err != nil || text != "ok" {
		t.Errorf("integrity: %s, %v", text, err)
	}
}

func (s *Store) writeCheck(text *string) error {
	return s.idle[0].sql.QueryRowContext(context.Background(), "PRAGMA integrity_check(1)").Scan(text)
}

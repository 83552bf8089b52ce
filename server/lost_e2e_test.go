package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest"
	"muster/server/servertest"
)

// accepted returns the accepted statements that went over a line, once each, and
// fails the test when one of them was accepted twice, differently answered, or
// out of sequence.
func accepted(t *testing.T, wire *servertest.Wire) (list []servertest.Exchange) {
	t.Helper()
	for _, x := range wire.Seen(attest.PathReport) {
		if x.Status != http.StatusOK {
			continue
		}
		if n := len(list); n > 0 && bytes.Equal(list[n-1].Body, x.Body) {
			if !bytes.Equal(list[n-1].Reply, x.Reply) {
				t.Fatal("the same bytes got another answer")
			}
			continue
		}
		if seq, want := sequence(t, x.Body), uint64(len(list)+1); seq != want {
			t.Fatalf("statement %d accepted as number %d", seq, want)
		}
		list = append(list, x)
	}
	return list
}

// sequence reads the number that a statement bears.
func sequence(t *testing.T, body []byte) uint64 {
	t.Helper()
	var submit attest.ReportSubmit
	if err := json.Unmarshal(body, &submit); err != nil {
		t.Fatal(err)
	}
	h, err := attest.PeekHeader([]byte(submit.JWS))
	if err != nil {
		t.Fatal(err)
	}
	return h.Seq
}

// problem is the code of a refusal.
func problem(reply []byte) string {
	var p attest.Problem
	_ = json.Unmarshal(reply, &p) // what is none has no code
	return p.Code
}

// Somebody recorded a laptop's requests whole, MAC included, and sends them
// again: nothing changes, the laptop does not notice, and it does not look as if
// it had been cloned.
func TestReplay(t *testing.T) {
	t.Parallel()
	wire := servertest.NewWire(t)
	f := enrolled(t, wire.Between)
	f.laptop.Start()
	servertest.Wait(t, "three accepted reports", func() bool { return len(accepted(t, wire)) >= 3 })
	f.laptop.Stop()
	list := accepted(t, wire)
	older, last := list[:len(list)-1], list[len(list)-1]
	before := f.srv.Device(f.device)
	for round := range 4 {
		for i, x := range older {
			if again := wire.Repeat(x); again.Status != http.StatusConflict || problem(again.Reply) != attest.CodeResync {
				t.Fatalf("round %d, statement %d: %d %s, want 409 resync", round, i+1, again.Status, again.Reply)
			}
		}
		if again := wire.Repeat(last); again.Status != http.StatusOK || !bytes.Equal(again.Reply, last.Reply) {
			t.Fatalf("round %d, the last statement: %d %s, want the stored reply %s", round, again.Status, again.Reply, last.Reply)
		}
	}
	tampered := last
	tampered.Body = bytes.Replace(bytes.Clone(last.Body), []byte("."), []byte(","), 1)
	if again := wire.Repeat(tampered); again.Status != http.StatusUnauthorized {
		t.Fatalf("changed bytes under the old MAC: %d, want 401", again.Status)
	}
	if after := f.srv.Device(f.device); !after.LastReport.Equal(before.LastReport) || !f.opens("vault") {
		t.Fatalf("a replay changed the device: %+v", after)
	}

	f.laptop.Start()
	servertest.Wait(t, "two more reports", func() bool { return len(accepted(t, wire)) >= len(list)+2 })
	for _, x := range wire.Seen(attest.PathReport) {
		if x.Status != http.StatusOK {
			t.Fatalf("the laptop was disturbed by the replays: %d %s", x.Status, x.Reply)
		}
	}
	if after := f.srv.Device(f.device); len(after.Result.Findings) > 0 || !f.opens("vault") {
		t.Fatalf("a replay is taken for a clone: %+v", after.Result.Findings)
	}
}

// The first reply to the enrolment is lost, and to the first report, and then a
// request of each. The agent repeats itself; one device is there, and each
// statement was accepted once.
func TestLostReplies(t *testing.T) {
	t.Parallel()
	wire := servertest.NewWire(t)
	var finishes, reports atomic.Int64
	wire.Lose(func(path string, _ []byte) servertest.Loss {
		n := int64(0)
		switch path {
		case attest.PathEnrolFinish:
			n = finishes.Add(1)
		case attest.PathReport:
			n = reports.Add(1)
		}
		return servertest.Loss{Reply: n == 1, Request: n == 2}
	})
	f := enrolled(t, wire.Between)
	finish := wire.Seen(attest.PathEnrolFinish)
	if len(finish) != 2 || !bytes.Equal(finish[0].Body, finish[1].Body) || !bytes.Equal(finish[0].Reply, finish[1].Reply) {
		t.Fatalf("%d enrolments reached the server, want the same one twice with one answer", len(finish))
	}
	if n := len(f.srv.Devices()); n != 1 {
		t.Fatalf("%d devices", n)
	}
	f.laptop.Start()
	servertest.Wait(t, "two reports", func() bool { return len(accepted(t, wire)) >= 2 })
	seen := wire.Seen(attest.PathReport)
	if !seen[0].Lost || !bytes.Equal(seen[0].Body, seen[1].Body) {
		t.Fatal("the agent did not repeat what was not answered")
	}
	for _, x := range seen {
		if x.Status != http.StatusOK {
			t.Fatalf("the agent had to be mended: %d %s", x.Status, x.Reply)
		}
	}
}

// The server stops and starts between reports: nobody has to do anything.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	wire := servertest.NewWire(t)
	f := enrolled(t, wire.Between)
	f.laptop.Start()
	for range 3 {
		f.srv.NextReport(f.device)
		f.srv.Restart()
		if !f.opens("vault") {
			t.Fatalf("a restart closed the vault: %+v", f.gateway.Ask(f.device, "vault"))
		}
	}
	f.srv.NextReport(f.device)
	accepted(t, wire)
	for _, x := range wire.Seen(attest.PathReport) {
		if x.Status != http.StatusOK {
			t.Fatalf("a restart was noticed: %d %s", x.Status, x.Reply)
		}
	}
}

// The agent is killed while it reports, before the server acted on it and after;
// then at random. It recovers by itself.
func TestAgentKilled(t *testing.T) {
	t.Parallel()
	wire := servertest.NewWire(t)
	f := enrolled(t, wire.Between)
	for _, loss := range []servertest.Loss{{Request: true}, {Reply: true}} {
		f.killAtReport(wire, loss)
	}
	for range 10 {
		f.laptop.Start()
		time.Sleep(rand.N(150 * time.Millisecond)) // where it is then, is the chance that is wanted
		f.laptop.Kill()
	}
	f.laptop.Start()
	f.srv.NextReport(f.device)
	f.laptop.Stop()
	accepted(t, wire)
	view := f.srv.Device(f.device)
	if len(f.srv.Devices()) != 1 || view.State != attest.Active || len(view.Result.Findings) > 0 || !f.opens("vault") {
		t.Fatalf("after the kills: %+v, findings %+v", view, view.Result.Findings)
	}
}

// killAtReport runs the agent until it sends a report, kills it there, and has it
// report again.
func (f *fixture) killAtReport(wire *servertest.Wire, loss servertest.Loss) {
	f.t.Helper()
	f.laptop.Start()
	killAt(f.t, wire, f.laptop, attest.PathReport, loss)
	f.laptop.Start()
	f.srv.NextReport(f.device)
	f.laptop.Stop()
}

// killAt kills a running agent when it sends a message to a path, which is then
// lost, and waits until that has happened.
func killAt(t *testing.T, wire *servertest.Wire, laptop *servertest.Laptop, path string, loss servertest.Loss) {
	t.Helper()
	killed := make(chan struct{})
	var once sync.Once
	wire.Lose(func(at string, _ []byte) (lost servertest.Loss) {
		if at == path {
			once.Do(func() {
				laptop.Kill()
				lost = loss
				close(killed)
			})
		}
		return lost
	})
	servertest.Wait(t, "a message to "+path, func() bool {
		select {
		case <-killed:
			return true
		default:
			return false
		}
	})
}

// The agent is killed in the middle of its enrolment: the token is used once,
// and there is one device.
func TestAgentKilledEnrolling(t *testing.T) {
	t.Parallel()
	for _, loss := range []servertest.Loss{{Request: true}, {Reply: true}} {
		for name, path := range map[string]string{"begin": attest.PathEnrolBegin, "finish": attest.PathEnrolFinish} {
			t.Run(fmt.Sprintf("%s/acted=%v", name, loss.Reply), func(t *testing.T) {
				wire := servertest.NewWire(t)
				srv := servertest.Start(t, wire.Between)
				laptop := srv.Laptop("laptop", "none", srv.Token(softToken))
				laptop.Start()
				killAt(t, wire, laptop, path, loss)
				standing := laptop.Enrol()
				if standing.State != attest.Active {
					t.Fatalf("the laptop is %s", standing.State)
				}
				if n := len(srv.Devices()); n != 1 {
					t.Fatalf("%d devices", n)
				}
			})
		}
	}
}

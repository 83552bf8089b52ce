package server

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest"
	"muster/server/decide"
	"muster/server/people"
	"muster/server/store"
	"muster/server/verify"
)

// reports gives a laptop a result as of now, as a report would.
func reports(s *Server, d *device, tier verify.Tier, tiers map[string]verify.Tier) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hot.IssuedAt = s.now()
	d.result = &verify.Result{Tier: tier, Tiers: tiers, IssuedAt: s.now()}
	d.answers.Store(nil)
}

// A laptop vouches for a session only while it is known to be fine.
func TestStanding(t *testing.T) {
	t.Parallel()
	s, clock := guestServer(t)
	if d, ok := s.sessionDevice("nobody"); ok || d.Healthy || d.Current || d.Active {
		t.Errorf("an unknown device: %+v", d)
	}
	d := newLaptop(t, s)
	is := func(what string, current, healthy bool) {
		t.Helper()
		if got, ok := s.sessionDevice(d.row.ID); !ok || got.Current != current || got.Healthy != healthy {
			t.Errorf("%s: current %v, healthy %v", what, got.Current, got.Healthy)
		}
	}
	is("never reported", false, false)
	reports(s, d, verify.Affirming, map[string]verify.Tier{"os": verify.Affirming})
	is("all well", true, true)
	clock.advance(s.policy.Load().ReportAge() - time.Second)
	is("just in time", true, true)
	clock.advance(time.Second)
	is("its lease is out", false, true)
	reports(s, d, verify.Warning, map[string]verify.Tier{"os": verify.Warning})
	is("a warning", true, true)
	reports(s, d, verify.Affirming, map[string]verify.Tier{"os": verify.Affirming, "firewall": verify.Contraindicated})
	is("a claim is contraindicated", true, false)
	reports(s, d, verify.Contraindicated, nil)
	is("contraindicated", true, false)
	reports(s, d, verify.None, nil)
	is("nothing was judged", true, false)

	// With applications for devices, healthy is what the laptop is told.
	p, err := decide.Load("p", []byte("apps: [{id: a, sensitivity: low, devices: true}]\nrequire: [{id: never, that: 'device.level == TPM_HW', otherwise: restrict}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	s.policy.Store(p)
	reports(s, d, verify.Affirming, nil)
	is("an application is restricted", true, false)
	if l, ok := s.laptop(d.row.ID); !ok || l.Decision.Outcome != "restrict" || l.Claims == nil || l.Healthy {
		t.Errorf("its owner sees %+v", l)
	}
}

// Of a thousand who take a laptop without an owner at once, one gets it.
func TestOwnOnce(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	d := newLaptop(t, s)
	id := d.row.ID // what else it has changes meanwhile
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			err := s.ownDevice(t.Context(), id, fmt.Sprintf("person-%d", i))
			var refused *people.Refusal
			if err == nil {
				won.Add(1)
			} else if !errors.As(err, &refused) || refused.Code != "device-owned" {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	got, _ := s.sessionDevice(d.row.ID)
	if won.Load() != 1 || got.Owner == "" {
		t.Fatalf("%d got it; it is %q's", won.Load(), got.Owner)
	}
	if err := s.ownDevice(t.Context(), d.row.ID, got.Owner); err != nil {
		t.Errorf("the owner again: %v", err)
	}
	if list := s.devicesOf(got.Owner); len(list) != 1 || list[0].ID != d.row.ID {
		t.Errorf("the owner's: %+v", list)
	}
	if list := s.devicesOf(""); len(list) > 0 {
		t.Errorf("nobody's: %+v", list)
	}
	if actor := lastActor(t, s, "device.own"); actor != "person:"+got.Owner {
		t.Errorf("audited as of %q", actor)
	}
	if err := s.ownDevice(t.Context(), "nobody", "alice"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown laptop: %v", err)
	}
}

func lastActor(t *testing.T, s *Server, action string) (actor string) {
	t.Helper()
	err := s.store.View(t.Context(), func(tx *store.Tx) error {
		entries, err := tx.AuditLog(0, 1000)
		for _, e := range entries {
			if e.Action == action {
				actor = e.Actor
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return actor
}

// A laptop is readmitted by the code that it shows, and only when it waits because
// its keys changed.
func TestReadmit(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	d := newLaptop(t, s)
	waits := func(state attest.DeviceState, cause string) {
		t.Helper()
		err := s.alter(t.Context(), localActor, d, func(row *store.Device, _ *store.Hot) error {
			row.State, row.Cause, row.Owner = state, cause, "alice"
			return nil
		}, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	code := attest.CompareCode(d.row.ID, d.row.Keys.DKID)
	refused := func(what, code, want string) {
		t.Helper()
		var r *people.Refusal
		if err := s.readmitDevice(t.Context(), d.row.ID, code, "person:alice"); !errors.As(err, &r) || r.Code != want || r.Text == "" || r.Fix == "" {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	refused("one that is in", code, "not-waiting")
	waits(attest.Pending, causeNoToken)
	refused("one that nobody ever admitted", code, "not-waiting")
	waits(attest.Pending, causeReanchor)
	refused("another code", "ABCD-EFGH", "code-differs")
	refused("no code", "", "code-differs")
	if err := s.readmitDevice(t.Context(), d.row.ID, code, "person:alice"); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.sessionDevice(d.row.ID); !got.Active || got.Owner != "alice" || d.row.ApprovedBy != "person:alice" {
		t.Errorf("readmitted as %+v by %s", got, d.row.ApprovedBy)
	}
	if actor := lastActor(t, s, "device.readmit"); actor != "person:alice" {
		t.Errorf("audited as of %q", actor)
	}
	if _, err := s.revoke(t.Context(), localActor, d.row.ID, Revocation{}); err != nil {
		t.Fatal(err)
	}
	refused("a revoked one", code, "not-waiting")
	if err := s.ownDevice(t.Context(), d.row.ID, "alice"); err == nil {
		t.Error("a revoked laptop is owned")
	}
}

// Who owns what is found without asking every device.
func TestFleetOwners(t *testing.T) {
	t.Parallel()
	f := fleet{owners: map[string]string{}, owned: map[string]map[string]bool{}}
	f.own("b", "alice")
	f.own("a", "alice")
	f.own("c", "bob")
	f.own("c", "bob")
	if got := fmt.Sprint(f.of("alice"), f.of("bob"), f.of("carol")); got != "[a b] [c] []" {
		t.Errorf("%s", got)
	}
	f.own("b", "bob")
	f.own("a", "")
	f.own("a", "")
	if got := fmt.Sprint(f.of("alice"), f.of("bob"), f.of("")); got != "[] [b c] []" || len(f.owners) != 2 || len(f.owned) != 1 {
		t.Errorf("%s %v %v", got, f.owners, f.owned)
	}
}

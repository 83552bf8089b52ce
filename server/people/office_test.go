package people

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"muster/attest"
	"muster/server/passkey"
	"muster/server/session"
	"muster/server/store"
)

// office is a People over a real store, with laptops as plain values and a clock
// that tests move.
type office struct {
	*People
	t    testing.TB
	ms   atomic.Int64
	path string // of the store

	mu      sync.Mutex
	laptops map[string]session.Device
	codes   map[string]string // what a waiting laptop shows
	let     []string          // who let which laptop in
}

const officeOrigin = "https://id.muster.example"

func newOffice(t testing.TB, change ...func(*Config)) *office {
	t.Helper()
	o := &office{t: t, laptops: map[string]session.Device{}, codes: map[string]string{}}
	o.ms.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	o.path = filepath.Join(t.TempDir(), "data", "muster.db")
	s, err := store.Open(t.Context(), store.Config{Path: o.path, Now: o.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c := Config{Store: s, Origin: officeOrigin, RPID: "muster.example", Now: o.now, Log: slog.New(slog.DiscardHandler),
		Device: o.device, Devices: o.devices, Own: o.own, Readmit: o.readmit,
		Limits: func() session.Limits { return session.Limits{Idle: 1000 * time.Hour, Absolute: 1000 * time.Hour} }, RecoveryWait: 24 * time.Hour,
		Webhook: true, Mail: true, Administrators: []string{"security@muster.example"}}
	for _, f := range change {
		f(&c)
	}
	var meta *store.Meta
	o.view(func(tx *store.Tx) (err error) { meta, err = tx.Meta(); return err }, s)
	if o.People, err = New(c, meta); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) now() time.Time       { return time.UnixMilli(o.ms.Load()).UTC() }
func (o *office) pass(d time.Duration) { o.ms.Add(d.Milliseconds()) }
func (o *office) ctx() context.Context { return context.Background() }
func (o *office) put(ds ...session.Device) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range ds {
		o.laptops[d.ID] = d
	}
}

func (o *office) device(id string) (session.Device, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok := o.laptops[id]
	return d, ok
}

func (o *office) devices(owner string) (list []session.Device) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(o.laptops)) {
		if o.laptops[id].Owner == owner {
			list = append(list, o.laptops[id])
		}
	}
	return list
}

func (o *office) own(_ context.Context, id, owner string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.laptops[id]
	if d.Owner != "" {
		return refuse(409, "owned", "", "")
	}
	d.Owner = owner
	o.laptops[id] = d
	return nil
}

func (o *office) readmit(_ context.Context, id, code, by string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if code != o.codes[id] {
		return refuse(409, "code-differs", "", "")
	}
	d := o.laptops[id]
	d.Active = true
	o.laptops[id] = d
	o.let = append(o.let, by+" "+id)
	return nil
}

func (o *office) view(fn func(*store.Tx) error, s *store.Store) {
	o.t.Helper()
	if err := s.View(context.Background(), fn); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) change(fn func(*store.Tx) error) {
	o.t.Helper()
	if err := o.Store.Update(context.Background(), fn); err != nil {
		o.t.Fatal(err)
	}
}

// hire makes a person of a role, whose recovery the approvers may approve.
func (o *office) hire(name string, role store.Role, approvers ...string) *store.Person {
	o.t.Helper()
	person := &store.Person{ID: "p_" + name, Name: name, Display: name, Mail: name + "@muster.example", Role: role,
		Approvers: approvers, CreatedBy: "local administrator"}
	o.change(func(tx *store.Tx) error {
		if err := tx.AddPerson(person); err != nil {
			return err
		}
		key := passkey.Credential{ID: []byte("key of " + name), PublicKey: []byte("public"), Algorithm: -7, Attestation: []byte("a"), ClientData: []byte("c"),
			Judgement: passkey.Judgement{Evidence: passkey.None, Format: "none"}}
		return tx.AddPasskey(&store.Passkey{Credential: key, Person: person.ID, Name: "Passkey"})
	})
	return person
}

// sign makes a session of a person with fresh hands.
func (o *office) sign(name string) *Who {
	o.t.Helper()
	var who *Who
	o.change(func(tx *store.Tx) error {
		person, err := tx.PersonByName(name)
		if err != nil {
			return err
		}
		key := &passkey.Credential{ID: []byte("key of " + name)}
		_, who, err = o.newSession(tx, person, key, &passkey.Use{}, From{"192.0.2.7", "Browser of " + name})
		return err
	})
	return who
}

// staff is alice, bob and carol with a laptop each, and a shared and an unowned one.
func (o *office) staff() {
	o.hire("alice", store.RolePerson, "bob")
	o.hire("bob", store.RolePerson)
	o.hire("carol", store.RolePerson)
	for _, name := range []string{"alice", "bob", "carol"} {
		o.put(healthyLaptop("laptop-"+name, name))
	}
	kiosk := healthyLaptop("kiosk", "")
	kiosk.Class = "shared"
	o.put(kiosk, healthyLaptop("new", ""))
}

func healthyLaptop(id, owner string) session.Device {
	return session.Device{ID: id, Name: "name of " + id, Owner: owner, Class: "corporate", Level: "tpm-hw",
		Active: true, Current: true, Healthy: true}
}

func (o *office) lap(id string) session.Device {
	o.t.Helper()
	d, ok := o.device(id)
	if !ok {
		o.t.Fatalf("no laptop %s", id)
	}
	return d
}

// proof is what an honest agent signs for an offer.
func (o *office) proof(offer attest.LinkOffer) *attest.LinkProof {
	return &attest.LinkProof{Link: offer.Link, Nonce: offer.Nonce, SessionHash: offer.SessionHash,
		Origin: officeOrigin, Time: o.now().Unix()}
}

// asked is a request of a session, as its laptop would prove it.
func asked(w *Who, a *LinkAsk) attest.LinkOffer {
	return attest.LinkOffer{Link: a.ID, Nonce: a.Nonce, SessionHash: session.Hash(w.Session.ID)}
}

// begin, prove: the honest steps of a link.
func (o *office) begin(w *Who, way session.Strength) *LinkAsk {
	o.t.Helper()
	a, err := o.BeginLink(o.ctx(), w, way, From{w.Session.Address, w.Session.Browser})
	if err != nil {
		o.t.Fatalf("beginning: %v", err)
	}
	return a
}

func (o *office) prove(laptop string, offer attest.LinkOffer) *attest.LinkReply {
	o.t.Helper()
	r, err := o.ProveLink(o.ctx(), o.lap(laptop), o.proof(offer), From{Address: "192.0.2.9"})
	if err != nil {
		o.t.Fatalf("proving: %v", err)
	}
	return r
}

// link ties a session to a laptop.
func (o *office) linkBy(w *Who, laptop string, way session.Strength) *session.Link {
	o.t.Helper()
	a := o.begin(w, way)
	link, err := o.ConfirmLink(o.ctx(), w, a.ID, valueOf(o.prove(laptop, asked(w, a))))
	if err != nil {
		o.t.Fatalf("confirming: %v", err)
	}
	return link
}

// valueOf is what a reply lets the browser bring.
func valueOf(r *attest.LinkReply) string {
	_, fragment, _ := strings.Cut(r.URL, "#")
	_, value, _ := strings.Cut(fragment, ".")
	return r.Confirm + r.Code + value
}

// at reads a session anew.
func (o *office) at(w *Who) *session.Session {
	o.t.Helper()
	var s *session.Session
	o.view(func(tx *store.Tx) (err error) { s, err = tx.Session(w.Session.ID); return err }, o.Store)
	return s
}

// audited counts the lines of an action.
func (o *office) audited(action string) (n int) {
	o.view(func(tx *store.Tx) error {
		list, err := tx.AuditLog(0, 1e6)
		for _, e := range list {
			if e.Action == action {
				n++
			}
		}
		return err
	}, o.Store)
	return n
}

// notices are what waits in the outbox: channel, receiver, kind.
func (o *office) notices() (list []string) {
	o.view(func(tx *store.Tx) error {
		due, err := tx.DueNotices(1e6)
		for _, n := range due {
			list = append(list, strings.TrimSpace(n.Channel+" "+n.To)+" "+n.Kind)
		}
		return err
	}, o.Store)
	return list
}

func (o *office) wantNotice(want ...string) {
	o.t.Helper()
	have := o.notices()
	for _, w := range want {
		if !slices.Contains(have, w) {
			o.t.Errorf("no notice %q among %q", w, have)
		}
	}
}

// wantNo checks the code of a refusal; "" wants none.
func wantNo(t testing.TB, what string, err error, code string) {
	t.Helper()
	var r *Refusal
	switch {
	case code == "" && err != nil:
		t.Errorf("%s: refused: %v", what, err)
	case code != "" && err == nil:
		t.Errorf("%s: not refused, want %s", what, code)
	case code != "" && (!errors.As(err, &r) || r.Code != code):
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// race runs 1,000 at once and returns how many did it.
func race(t *testing.T, one func(n int) error, code string) (won int64) {
	t.Helper()
	var wins atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for n := range 1000 {
		wg.Go(func() {
			<-start
			err := one(n)
			if err == nil {
				wins.Add(1)
				return
			}
			wantNo(t, fmt.Sprintf("loser %d", n), err, code)
		})
	}
	close(start)
	wg.Wait()
	return wins.Load()
}

// never fails when a text stands in a stored offer: they hold no secrets.
func (o *office) never(kind store.OfferKind, secrets ...string) {
	o.t.Helper()
	o.view(func(tx *store.Tx) error {
		list, err := tx.Offers(kind)
		for _, offer := range list {
			b, _ := json.Marshal(offer)
			for _, s := range secrets {
				if strings.Contains(string(b)+string(offer.Data), s) {
					o.t.Errorf("offer of kind %s keeps the secret %q", kind, s)
				}
			}
		}
		return err
	}, o.Store)
}

package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/gateway"
	"muster/server/passkey"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
	"muster/server/verify"
)

// A question that memory can answer costs no allocation, whatever the answer is.
// Rules that name the request, and uses of an elevation, are beside this.
func TestLookAllocatesNothing(t *testing.T) {
	g := newGate(t)
	askers := &gateway.Credential{Apps: []string{"*"}}
	ask := func(app, cookie string) *gateway.Question {
		return &gateway.Question{App: app, Host: hostOf(app), Cookie: cookie, Back: "/",
			Request: decide.Request{Method: "GET", Path: "/page", Address: netip.MustParseAddr("192.0.2.1")}}
	}
	expect := func(what string, q *gateway.Question, want decide.Outcome) {
		t.Helper()
		for range 2 { // the second one from memory
			if d := g.look(t.Context(), q, askers).Decision(); d.Outcome != want {
				t.Fatalf("%s: %+v, want %v", what, d, want)
			}
		}
		if n := testing.AllocsPerRun(1000, func() { g.look(t.Context(), q, askers) }); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	expect("allowed", ask("wiki", g.cookie["wiki"]), decide.Allow)
	expect("no cookie", ask("wiki", ""), decide.StepUp)
	expect("another's host", &gateway.Question{App: "wiki", Host: hostOf("vault"), Cookie: g.cookie["wiki"]}, decide.Deny)
	g.unlink()
	expect("refused", ask("wiki", g.cookie["wiki"]), decide.StepUp)
}

// BenchmarkLook is the lookup that every check at a gateway ends in, over so many
// sessions in memory, in random order: each of a person of its own, on a laptop of
// its own, with a cookie of its own. Each asks once, which finds nothing of it in
// the processor's caches, or ten times in a row, as for a small page.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{1, 1000, 1_000_000} {
		c := newCrowd(b, n)
		for _, row := range []int{1, 10} {
			b.Run(fmt.Sprintf("sessions=%d/in-a-row=%d", n, row), func(b *testing.B) { c.measure(b, row) })
		}
	}
}

func (c *crowd) measure(b *testing.B, row int) {
	n := len(c.cookies) / cookieLen
	q := &gateway.Question{App: "wiki", Host: hostOf("wiki"), Back: "/",
		Request: decide.Request{Method: "GET", Path: "/page", Address: netip.MustParseAddr("192.0.2.1")}}
	credential := &gateway.Credential{Apps: []string{"*"}}
	b.ReportAllocs()
	i, again := 0, row
	for b.Loop() {
		q.Cookie = c.cookie(i)
		if again--; again == 0 {
			again = row
			if i++; i == n {
				i = 0
			}
		}
		// Nobody is in the store: that is the one other answer. What is in an answer is
		// for the caller to read.
		if c.look(b.Context(), q, credential) == nobody {
			b.Fatal("not allowed")
		}
	}
	b.ReportMetric(c.mapRead, "map-ns")
	b.ReportMetric(c.coldRead, "read-ns")
	if n >= 1000 { // fewer tell nothing of one
		b.ReportMetric(float64(c.sessionBytes), "B/session")
		b.ReportMetric(float64(c.laptopBytes), "B/laptop")
	}
}

// bareMap is the least that finding a session can cost: one look-up by the cookie in
// a map of as many, and one read of what it leads to, in nanoseconds. It is taken in
// the same memory, beside the sessions.
func bareMap(c *crowd) float64 {
	n := len(c.cookies) / cookieLen
	found := make(map[string]*[64]byte, n)
	for i := range n {
		found[c.cookie(i)] = new([64]byte)
	}
	const times = 1_000_000
	var sum byte
	start := time.Now()
	for i := range times {
		sum += found[c.cookie(i%n)][0]
	}
	took := float64(time.Since(start).Nanoseconds()) / times
	if sum != 0 {
		panic("nobody wrote")
	}
	return took
}

// coldRead is what one read costs, in nanoseconds, that cannot begin before the one
// before it is done, at random in a kilobyte for each session: this machine's memory.
func coldRead(n int) float64 {
	const line, times = 8, 1_000_000 // in words
	cells := make([]uint64, n*1024/8)
	for i := 0; i < len(cells); i += line {
		cells[i] = mathrand.Uint64()
	}
	at := uint64(0)
	start := time.Now()
	for i := range uint64(times) {
		at = (cells[at] + i) % uint64(len(cells)/line) * line
	}
	took := float64(time.Since(start).Nanoseconds()) / times
	runtime.KeepAlive(at)
	return took
}

// crowd is a server with many sessions in memory, none of which the store knows: a
// look that asks the store finds nobody.
type crowd struct {
	*Server
	cookies string // one behind the other, in random order

	laptopBytes, sessionBytes uint64  // of memory, each
	mapRead, coldRead         float64 // what the least would cost here, in nanoseconds
}

// cookieLen is what AddVisit makes.
const cookieLen = len("msv_") + 43

func (c *crowd) cookie(i int) string { return c.cookies[i*cookieLen : (i+1)*cookieLen] }

func newCrowd(b *testing.B, n int) *crowd {
	b.Helper()
	dir := b.TempDir()
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(gatePolicy), 0o600); err != nil {
		b.Fatal(err)
	}
	s, err := New(b.Context(), Config{DataDir: dir, PublicURL: guestURL, RPID: "muster.localhost", Policy: policy},
		slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	c := &crowd{Server: s}
	row := laptopRow(b)
	like, err := c.newDevice(row)
	if err != nil {
		b.Fatal(err)
	}
	before := heap()
	laptops := make([]string, n)
	for i := range laptops {
		laptops[i] = c.laptop(like, i)
	}
	after := heap()
	c.laptopBytes, before = (after-before)/uint64(n), after
	cookies := make([]string, n)
	for i, id := range laptops {
		cookies[i] = c.signIn(b, i, id, row.Keys.DKID.String())
	}
	c.sessionBytes = (heap() - before) / uint64(n)
	mathrand.Shuffle(n, func(i, j int) { cookies[i], cookies[j] = cookies[j], cookies[i] })
	c.cookies = strings.Join(cookies, "")
	c.mapRead, c.coldRead = bareMap(c), coldRead(n)
	return c
}

// heap is what lives there, after everything else is gone.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what pools keep is gone after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// laptopRow is what is stored of a laptop; all have the same keys, which no check
// looks at.
func laptopRow(b *testing.B) *store.Device {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	return &store.Device{State: attest.Active, Class: verify.ClassCorporate, Platform: posture.Linux,
		Keys: store.Keys{Kind: attest.KindSoft, DK: point, DKID: attest.KeyID(&key.PublicKey)}}
}

func nameOf(i int) string { return fmt.Sprintf("person-%07d", i) }

// laptop seats a laptop that reported just now.
func (c *crowd) laptop(like *device, i int) string {
	d := &device{row: like.row, keys: like.keys}
	row := &d.row
	row.ID, row.Owner = newDeviceID(), nameOf(i)
	d.hot.Seq, d.hot.IssuedAt = 1, c.now()
	d.result = &verify.Result{Device: registration(row), IssuedAt: c.now(), Tier: verify.Affirming}
	d.result.Claims.DiskEncryption.Claim = posture.Claim{State: posture.Yes, ObservedAt: c.now()}
	c.seat(d)
	return row.ID
}

// signIn puts a session in memory as visitNow does, but for the reading.
func (c *crowd) signIn(b *testing.B, i int, laptop, anchor string) (cookie string) {
	var secret [32]byte
	_, _ = rand.Read(secret[:])
	cookie = "msv_" + base64.RawURLEncoding.EncodeToString(secret[:])
	now, name := c.now(), nameOf(i)
	found := &people.Visitor{
		App: "wiki", Host: hostOf("wiki"), Began: now,
		Session: &session.Session{
			ID: newID(), Person: newID(), Credential: secret[:16:16], CreatedAt: now, VerifiedAt: now, SeenAt: now,
			Limits: session.Limits{Idle: time.Hour, Absolute: 10 * time.Hour},
			AMR:    []string{"hwk", "user", "mfa"}, ACR: "phr", Binding: "none",
			Link: &session.Link{Device: laptop, Anchor: anchor, Person: name, Strength: session.ByLoopback, First: now, At: now},
		},
		Person:  &store.Person{Name: name, Mail: name + "@corp.example", Role: store.RolePerson, Groups: []string{"staff", "engineering", "wiki-readers"}},
		Passkey: &store.Passkey{Credential: passkey.Credential{Judgement: passkey.Judgement{Evidence: passkey.None, Format: "none"}}},
	}
	hash := cookieHash(sha256.Sum256([]byte(cookie)))
	app, host, _ := c.appAt(found.Host)
	v := c.visitors.seatVisit(hash, found, app, host)
	v.mu.Lock()
	defer v.mu.Unlock()
	of, err := c.readAgain(v.visitor, func() (*people.Visitor, error) { return found, nil })
	if err != nil {
		b.Fatal(err)
	}
	v.standing.Store(c.decideVisit(of, v.seenAt(), "wiki", v.began))
	// The first check makes the form in which the answer is served from then on.
	(&gateway.Places{}).Reply(v.standing.Load().answer, &gateway.Question{App: "wiki"}, &gateway.Credential{})
	return cookie
}

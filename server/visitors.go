package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"muster/attest"
	"muster/server/decide"
	"muster/server/gateway"
	"muster/server/passkey"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

// visitors is who was seen at applications lately, in memory, so that a check
// waits for no store. All of it can be read again: what was not seen for a while
// is forgotten.
//
// It is never behind the store: a visitor is there before it is read, each commit
// that concerns it marks it stale before the commit is answered, and the mark goes
// before the store is read again. Replicas can do the same from the store's feed
// of changes.
type visitors struct {
	mu       sync.RWMutex
	cookies  map[cookieHash]*visit
	sessions map[string]*visitor          // by session id
	persons  map[string]map[*visitor]bool // by person id
}

// cookieHash is the SHA-256 of an application's cookie.
type cookieHash [sha256.Size]byte

// visitor is one session.
type visitor struct {
	// stale: the stored session, or its person, changed.
	stale atomic.Bool
	known atomic.Pointer[signedIn]
	// seen is the last request, in Unix milliseconds; noted is what of it is stored.
	seen, noted atomic.Int64

	id      string       // of the session
	person  string       // id
	cookies []cookieHash // guarded by visitors.mu; those that were seen

	// mu is held while the visitor is read or decided for anew, before that of its
	// laptop.
	mu   sync.Mutex
	apps map[string]*standing // guarded by mu; for programs that ask about the session
}

// visit is an application's cookie: good at one host, for one application.
type visit struct {
	*visitor
	standing  atomic.Pointer[standing]
	app, host string // the policy's own strings, where it has them: not one for each visit
	began     time.Time
}

// signedIn is a session as it was read once; it never changes.
type signedIn struct {
	session *session.Session
	// over is why it was over when it was read; limits of time come on top.
	over     string
	visitor  decide.Visitor // without what depends on the laptop and the time
	bypasses []decide.Bypass
	who      gateway.Identity
}

// standing is a decision and what it rests on. What each check reads comes first and
// is all there: with a million sessions a check costs what it touches.
type standing struct {
	policy   *decide.Policy
	of       *signedIn
	device   *device         // that the session is linked to; nil: none
	answers  *answers        // of that device then
	answer   *gateway.Answer // of prepared.Decision
	until    int64           // Unix nanoseconds
	outcome  decide.Outcome
	elevated bool
	final    bool // the request has no say
	prepared *decide.Prepared
}

func newVisitors() *visitors {
	return &visitors{
		cookies: make(map[cookieHash]*visit), sessions: make(map[string]*visitor), persons: make(map[string]map[*visitor]bool),
	}
}

// at finds a cookie's visit; nil: not seen lately.
func (vs *visitors) at(h cookieHash) *visit {
	vs.mu.RLock()
	defer vs.mu.RUnlock()
	return vs.cookies[h]
}

// seat makes room for a session, not read yet.
func (vs *visitors) seat(id, person string) *visitor {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.seatLocked(id, person)
}

func (vs *visitors) seatLocked(id, person string) *visitor {
	if v := vs.sessions[id]; v != nil {
		return v
	}
	v := &visitor{id: id, person: person}
	v.stale.Store(true)
	vs.sessions[id] = v
	if vs.persons[person] == nil {
		vs.persons[person] = make(map[*visitor]bool)
	}
	vs.persons[person][v] = true
	return v
}

// seatVisit makes room for a cookie and its session, at a host of an application.
func (vs *visitors) seatVisit(h cookieHash, found *people.Visitor, app, host string) *visit {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if known := vs.cookies[h]; known != nil {
		return known
	}
	v := &visit{visitor: vs.seatLocked(found.Session.ID, found.Session.Person), app: app, host: host, began: found.Began}
	vs.cookies[h], v.cookies = v, append(v.cookies, h)
	return v
}

// drop forgets a cookie that is good no more.
func (vs *visitors) drop(h cookieHash) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if v := vs.cookies[h]; v != nil {
		delete(vs.cookies, h)
		v.cookies = slices.DeleteFunc(v.cookies, func(other cookieHash) bool { return other == h })
	}
}

// changed marks what a commit concerns.
func (vs *visitors) changed(c store.Change) {
	vs.mu.RLock()
	defer vs.mu.RUnlock()
	switch c.Kind {
	case store.SessionChanged:
		if v := vs.sessions[c.Subject]; v != nil {
			v.stale.Store(true)
		}
	case store.PersonChanged:
		for v := range vs.persons[c.Subject] {
			v.stale.Store(true)
		}
	}
}

// forgetAfter is how long somebody who was not seen is kept in memory.
const forgetAfter = time.Hour

// atOnce is how many visitors are dealt with while others wait for the lock, or for
// the store.
const atOnce = 500

// all lists everybody. What is looked at of a million visitors is looked at without
// the lock: checks would wait meanwhile.
func (vs *visitors) all() []*visitor {
	vs.mu.RLock()
	defer vs.mu.RUnlock()
	return slices.AppendSeq(make([]*visitor, 0, len(vs.sessions)), maps.Values(vs.sessions))
}

// forget leaves out who was not seen since a time.
func (vs *visitors) forget(since time.Time) {
	old := func(v *visitor) bool { return v.seen.Load() < since.UnixMilli() }
	gone := slices.DeleteFunc(vs.all(), func(v *visitor) bool { return !old(v) })
	for some := range slices.Chunk(gone, atOnce) {
		vs.mu.Lock()
		for _, v := range some {
			if old(v) && vs.sessions[v.id] == v {
				vs.unseat(v)
			}
		}
		vs.mu.Unlock()
	}
}

// unseat takes a visitor out, with the cookies. The caller holds mu.
func (vs *visitors) unseat(v *visitor) {
	for _, h := range v.cookies {
		delete(vs.cookies, h)
	}
	delete(vs.sessions, v.id)
	delete(vs.persons[v.person], v)
	if len(vs.persons[v.person]) == 0 {
		delete(vs.persons, v.person)
	}
}

// unnoted lists those whose stored time of the last request is old.
func (vs *visitors) unnoted() []*visitor {
	return slices.DeleteFunc(vs.all(), func(v *visitor) bool {
		return v.seen.Load()-v.noted.Load() < int64(noteAfter/time.Millisecond)
	})
}

// noteAfter is how far the stored time of a session's last request may lag: that
// much idle time is lost when the server is killed, which ends sessions early.
const noteAfter = time.Minute

// noteSeen stores when sessions were seen last.
func (s *Server) noteSeen(ctx context.Context) error {
	for some := range slices.Chunk(s.visitors.unnoted(), atOnce) {
		seen := make([]store.Seen, len(some))
		for i, v := range some {
			seen[i] = store.Seen{Session: v.id, At: time.UnixMilli(v.seen.Load()).UTC()}
		}
		if err := s.store.Update(ctx, func(tx *store.Tx) error { return tx.NoteSeen(seen) }); err != nil {
			return err
		}
		for i, v := range some {
			v.noted.Store(seen[i].At.UnixMilli())
		}
	}
	return nil
}

// readAgain makes a visitor what is stored of it, by a function that reads the
// store. The caller holds v.mu.
func (s *Server) readAgain(v *visitor, load func() (*people.Visitor, error)) (*signedIn, error) {
	// What was known goes before the mark does: whoever finds the mark gone finds
	// nothing of before it. A change from here on sets the mark again.
	v.known.Store(nil)
	v.stale.Store(false)
	found, err := load()
	if err != nil {
		v.stale.Store(true)
		return nil, err
	}
	now := s.signedIn(found)
	v.known.Store(now)
	if at := found.Session.SeenAt.UnixMilli(); at > v.noted.Load() {
		v.noted.Store(at)
	}
	return now, nil
}

// signedIn is what decisions need of what was read.
func (s *Server) signedIn(found *people.Visitor) *signedIn {
	one := found.Session
	v := decide.Visitor{
		Session: decide.Session{
			ID: one.ID, SignedInAt: one.CreatedAt, SeenAt: one.SeenAt, UserVerified: one.VerifiedAt,
			AMR: one.AMR, ACR: one.ACR, Binding: one.Binding,
		},
	}
	now := &signedIn{session: one}
	// Whether it is idle is looked at with each decision: what was seen since counts.
	awake, as := *one, *found
	awake.SeenAt, as.Session = s.now(), &awake
	now.over = as.Over(s.now())
	if k := found.Passkey; k != nil {
		v.Passkey = passkeyOf(k, one)
	}
	if p := found.Person; p != nil {
		v.User = decide.User{Name: p.Name, Role: string(p.Role), Groups: p.Groups}
		now.who = gateway.Identity{User: p.Name, Mail: p.Mail, Groups: p.Groups,
			Session: one.ID, AMR: one.AMR, ACR: one.ACR, UserVerifiedAt: one.VerifiedAt}
	}
	for _, e := range found.Elevations {
		if !e.GrantedAt.IsZero() && e.EndedAt.IsZero() && !s.elevated.isDoomed(e.ID) {
			v.Elevations = append(v.Elevations, decide.Elevation{App: e.App, Granted: e.GrantedAt, Ends: e.EndsAt, Approved: e.ApprovedBy != ""})
		}
	}
	now.bypasses = bypasses(found.Bypasses)
	now.visitor = v
	return now
}

func bypasses(list []*store.Bypass) (out []decide.Bypass) {
	for _, b := range list {
		if b.EndedAt.IsZero() {
			out = append(out, decide.Bypass{Rule: b.Rule, Ends: b.Expires})
		}
	}
	return out
}

// passkeyOf is a passkey as a policy sees it, in the session that it opened.
func passkeyOf(k *store.Passkey, in *session.Session) decide.Passkey {
	c := &k.Credential
	j := &c.Judgement
	return decide.Passkey{
		Evidence: string(j.Evidence), AAGUID: c.AAGUID.String(), Format: j.Format, Certification: j.Level, Bad: j.Bad, Weak: j.Weak,
		BackupEligible: c.BackupEligible, BackupState: c.Use.BackupState, CloneWarning: c.Use.CloneWarning,
		CreatedAt: k.CreatedAt, Platform: in.Attachment == "platform", System: passkey.SystemOf(c.AAGUID),
		TPM: decide.TPM{Manufacturer: j.TPM.Manufacturer, Model: j.TPM.Model, Firmware: j.TPM.Version},
	}
}

// decideVisit decides for a session and an application, as both stand now. began
// is when the application's cookie was made; zero: the session itself asks.
func (s *Server) decideVisit(of *signedIn, seen time.Time, app string, began time.Time) *standing {
	st := &standing{policy: s.policy.Load(), of: of}
	in, who := s.inputsOf(st, seen, app, began)
	st.prepared = st.policy.Prepare(*in)
	d := &st.prepared.Decision
	st.ends(d.Until)
	st.answer = gateway.NewAnswer(*d, who)
	st.outcome, st.elevated, st.final = d.Outcome, d.Elevated, st.prepared.Final()
	return st
}

// inputsOf gathers what a standing rests on, and notes in it what that is.
func (s *Server) inputsOf(st *standing, seen time.Time, app string, began time.Time) (*decide.Inputs, gateway.Identity) {
	of, now := st.of, s.now()
	st.until = now.Add(forever).UnixNano()
	one := *of.session
	if seen.After(one.SeenAt) {
		one.SeenAt = seen // later than what is stored
	}
	v := of.visitor
	v.Session.SeenAt = one.SeenAt
	if v.Session.Over = of.over; v.Session.Over == "" {
		v.Session.Over = one.Over(now)
	}
	st.ends(one.CreatedAt.Add(one.Limits.Absolute))
	st.ends(one.SeenAt.Add(one.Limits.Idle))
	in, who := &decide.Inputs{App: app, Now: now, Bypasses: of.bypasses, Visitor: &v}, of.who
	if one.Link != nil {
		s.linked(st, in, &who)
	}
	if !began.IsZero() {
		asOf(&v, one.Link, began)
	}
	who.UserVerifiedAt = v.Session.UserVerified
	return in, who
}

// ends notes when time changes the decision; zero: never.
func (st *standing) ends(at time.Time) {
	if !at.IsZero() {
		st.until = min(st.until, at.UnixNano())
	}
}

// asOf is a visitor as an application's cookie may tell. What was proved after the
// cookie was made was proved by whoever has muster's own cookie, who gets another
// one for the application: a copy of this one must not profit from it.
func asOf(v *decide.Visitor, l *session.Link, began time.Time) {
	// Times of cookies are stored in milliseconds.
	if l != nil && v.Session.Link.State == string(session.LinkLive) && l.First.Truncate(time.Millisecond).After(began) {
		v.Session.Link.State = string(session.LinkSuspended) // this browser is not shown to be on it
	}
	v.Session.UserVerified = sooner(v.Session.UserVerified, began)
	v.Session.Link.At = sooner(v.Session.Link.At, began)
	granted := v.Elevations
	v.Elevations = nil
	for _, e := range granted {
		if !e.Granted.After(began) {
			v.Elevations = append(v.Elevations, e)
		}
	}
}

// sooner is the earlier of two times; zero stays unknown.
func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// linked brings in the laptop that the session is linked to.
func (s *Server) linked(st *standing, in *decide.Inputs, who *gateway.Identity) {
	l, v := st.of.session.Link, in.Visitor
	d := s.fleet.get(l.Device)
	if d == nil {
		// A laptop that could not be loaded may be one that was revoked: a link to it is
		// no better for that.
		v.Session.Link.State = string(session.LinkSuspended)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	st.device = d
	if err := s.refresh(d); err != nil {
		// Nothing is known of it, which denies, and it is asked again at once.
		s.log.Error("device not read again; its sessions are refused", "device", l.Device, "error", err)
		v.Session.Link.State, st.until = string(session.LinkSuspended), in.Now.UnixNano()
		return
	}
	st.answers = s.settled(d)
	now := s.standing(d)
	state := st.of.session.LinkState(&now)
	if state == session.LinkAbsent && d.row.State == attest.Revoked {
		state = session.LinkSuspended // whoever it vouches for by now: it was revoked
	}
	v.Session.Link = decide.Link{State: string(state), Strength: string(l.Strength), At: l.At}
	if state == session.LinkAbsent {
		return
	}
	device := s.inputs(d, in.Now)
	in.Device, in.HasResult, in.Grace = device.Device, device.HasResult, device.Grace
	in.DeviceBypasses, in.TPM = device.DeviceBypasses, device.TPM
	who.Device, who.Level = d.row.ID, d.level().String()
}

// stands reports whether a standing is true still.
func (s *Server) stands(v *visitor, st *standing) bool {
	if st == nil || v.stale.Load() || st.of != v.known.Load() || st.policy != s.policy.Load() || s.now().UnixNano() >= st.until {
		return false
	}
	return st.device == nil || !st.device.stale.Load() && st.answers == st.device.answers.Load()
}

// isNobody reports whether a cookie is of nobody, rather than that the store could
// not tell.
func isNobody(err error) bool {
	var refused *people.Refusal
	return errors.As(err, &refused) && refused.Status == http.StatusUnauthorized
}

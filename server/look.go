package server

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"muster/server/decide"
	"muster/server/gateway"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

// look answers a gateway's question (gateway.LookFunc): from memory, unless
// something changed since the last time. It allocates nothing while the stored
// answer holds and no rule asks about the request.
func (s *Server) look(ctx context.Context, q *gateway.Question, c *gateway.Credential) *gateway.Answer {
	if answer := s.misplaced(q); answer != nil {
		return answer
	}
	if q.Cookie == "" || len(q.Cookie) > maxCookie {
		return nobody
	}
	hash := hashOf(q.Cookie)
	v := s.visitors.at(hash)
	if v != nil {
		if st := v.standing.Load(); v.host == q.Host && v.app == q.App && s.stands(v.visitor, st) {
			return s.answerVisit(ctx, v.visitor, st, q, c.Restricts, true)
		}
	}
	st, v, refused := s.visitNow(ctx, v, hash, q)
	if refused != nil {
		return refused
	}
	return s.answerVisit(ctx, v.visitor, st, q, c.Restricts, true)
}

// hashOf names a cookie in memory, where no secrets are kept. The copy stays off the
// heap.
func hashOf(cookie string) cookieHash {
	var b [maxCookie]byte
	return sha256.Sum256(b[:copy(b[:], cookie)])
}

// misplaced refuses a question about a host that is not the application's. Which
// application it is, the gateway's own configuration says; a client that names
// another one's host gets nothing by it.
func (s *Server) misplaced(q *gateway.Question) *gateway.Answer {
	if !s.hostIndex().named[q.App] {
		return unknownApp
	}
	if app, _, ok := s.appAt(q.Host); !ok || app != q.App {
		return wrongHost
	}
	return nil
}

// visitNow reads and decides anew what memory does not hold.
func (s *Server) visitNow(ctx context.Context, v *visit, hash cookieHash, q *gateway.Question) (*standing, *visit, *gateway.Answer) {
	load := func() (*people.Visitor, error) { return s.people.VisitorNow(ctx, q.Cookie, q.Host) }
	if v == nil {
		found, err := load()
		if err != nil {
			return nil, nil, s.notRead(err)
		}
		if found.App != q.App || found.Host != q.Host {
			return nil, nil, nobody
		}
		app, host, ok := s.appAt(q.Host)
		if !ok {
			return nil, nil, wrongHost // the policy changed just now
		}
		v = s.visitors.seatVisit(hash, found, app, host)
	}
	if v.host != q.Host || v.app != q.App {
		return nil, nil, nobody // a cookie is good at its own host, for its own application
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.standing.Load()
	if s.stands(v.visitor, before) {
		return before, v, nil // another check was first
	}
	of, err := v.known.Load(), error(nil)
	switch {
	case of == nil || v.stale.Load():
		of, err = s.readAgain(v.visitor, load)
	case before == nil || before.of != of:
		// The session was read by another cookie of it: this one may have been
		// replaced since.
		_, err = load()
	}
	if err != nil {
		if isNobody(err) {
			s.visitors.drop(hash)
		}
		return nil, nil, s.notRead(err)
	}
	st := s.decideVisit(of, v.seenAt(), q.App, v.began)
	v.standing.Store(st)
	return st, v, nil
}

// seenAt is the last request of the session; zero: none that memory knows of.
func (v *visitor) seenAt() time.Time {
	if at := v.seen.Load(); at > 0 {
		return time.UnixMilli(at).UTC()
	}
	return time.Time{}
}

// notRead is the answer where a cookie was not found, or not read.
func (s *Server) notRead(err error) *gateway.Answer {
	if isNobody(err) {
		return nobody
	}
	s.log.Error("visitor not read; the request is refused", "error", err)
	return unavailable
}

// answerVisit is the answer to one request of a visitor whose standing holds.
// restricts: who asks enforces a restriction; else restrict is a refusal. alive: the
// person's own request is asked about, and not a program's question.
func (s *Server) answerVisit(ctx context.Context, v *visitor, st *standing, q *gateway.Question, restricts, alive bool) *gateway.Answer {
	answer, outcome, elevated := st.answer, st.outcome, st.elevated
	if !st.final {
		answer = s.forRequest(st, &q.Request)
		outcome, elevated = answer.Decision().Outcome, answer.Decision().Elevated
	}
	if outcome != decide.Allow && (outcome != decide.Restrict || !restricts) {
		return answer // a refused request is no sign of life: it would end what it is refused for
	}
	if now := s.now().UnixMilli(); alive && now-v.seen.Load() >= int64(time.Second/time.Millisecond) {
		v.seen.Store(now)
	}
	if elevated {
		return s.useElevation(ctx, v, q, answer)
	}
	return answer
}

// forRequest evaluates what only the request can tell.
func (s *Server) forRequest(st *standing, q *decide.Request) *gateway.Answer {
	req := *q
	req.Country, req.ASN = s.geo.Lookup(req.Address)
	d := st.prepared.For(&req, s.now())
	if d.Outcome == st.prepared.Decision.Outcome && len(d.Reasons) == len(st.prepared.Decision.Reasons) {
		return st.answer
	}
	return gateway.NewAnswer(d, *st.answer.Identity())
}

// useElevation writes each use of privileged access down before it is allowed:
// what could not be written is not allowed.
func (s *Server) useElevation(ctx context.Context, v *visitor, q *gateway.Question, answer *gateway.Answer) *gateway.Answer {
	who := answer.Identity()
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		return audit(tx, "person:"+who.User, "elevation.use", v.id, elevationUse{
			App: q.App, Method: session.Cut(q.Request.Method), Path: session.Cut(q.Request.Path), Device: who.Device,
		})
	})
	if err != nil {
		s.log.Error("use of an elevation not written down; the request is refused", "session", v.id, "error", err)
		return unavailable
	}
	return answer
}

// elevationUse is what the audit log keeps of a request under an elevation.
type elevationUse struct {
	App    string `json:"app"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Device string `json:"device,omitempty"`
}

// CheckSession answers a program that asks about a session by its id, or about a
// person in that session.
func (s *Server) CheckSession(ctx context.Context, id, user, app string, req *decide.Request) *gateway.Answer {
	if !s.hostIndex().named[app] {
		return unknownApp
	}
	st, v, refused := s.sessionNow(ctx, id, app)
	if refused != nil {
		return refused
	}
	if user != "" && st.of.who.User != user {
		return nobody // whose session it is, is nobody else's business
	}
	return s.answerVisit(ctx, v, st, &gateway.Question{App: app, Request: *req}, true, false)
}

// sessionNow finds how a session stands with an application.
func (s *Server) sessionNow(ctx context.Context, id, app string) (*standing, *visitor, *gateway.Answer) {
	load := func() (*people.Visitor, error) { return s.people.VisitorOf(ctx, id) }
	s.visitors.mu.RLock()
	v := s.visitors.sessions[id]
	s.visitors.mu.RUnlock()
	if v == nil {
		found, err := load()
		if err != nil {
			return nil, nil, s.notRead(err)
		}
		v = s.visitors.seat(id, found.Session.Person)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if st := v.apps[app]; s.stands(v, st) {
		return st, v, nil
	}
	of := v.known.Load()
	if of == nil || v.stale.Load() {
		var err error
		if of, err = s.readAgain(v, load); err != nil {
			return nil, nil, s.notRead(err)
		}
	}
	st := s.decideVisit(of, v.seenAt(), app, time.Time{})
	if v.apps == nil {
		v.apps = make(map[string]*standing)
	}
	v.apps[app] = st
	return st, v, nil
}

var (
	nobody      = gateway.NewAnswer(decide.NoSession("sign-in"), gateway.Identity{})
	wrongHost   = gateway.Refusal("host-mismatch", "This host is not the application's.", "Open the application by its own name; if that is what you did, ask the administrator to name the host in the policy.")
	unavailable = gateway.Refusal("unavailable", "The server could not tell.", "Try again in a moment; if it stays, tell an administrator.")
)

// places are addresses that answers name.
func (s *Server) places() gateway.Places {
	return gateway.Places{PublicURL: s.config.PublicURL, Mint: s.mint, Log: s.log}
}

// gatewayRoutes are what gateways and programs ask.
func (s *Server) gatewayRoutes() []route {
	subjects := gateway.Subjects{Device: s.Check, Session: s.CheckSession, Log: s.log}
	rows := []route{
		{"GET " + gateway.PathConfiguration, byAnyone, 0, gateway.Configuration(s.config.PublicURL)},
		{"GET " + gateway.PathJWKS, byAnyone, 0, gateway.JWKS(s.jwks)},
		{"POST " + gateway.PathEvaluation, byGateway, 0, gateway.Evaluation(subjects, s.gatewayCredential)},
		{"POST " + gateway.PathEvaluations, byGateway, 0, gateway.Evaluations(subjects, s.gatewayCredential)},
		{"POST " + gateway.PathIntrospection, byGateway, 0, gateway.Introspection(s.introspector(), s.gatewayCredential)},
	}
	for _, dialect := range []gateway.Dialect{gateway.Nginx, gateway.Caddy, gateway.Traefik, gateway.HAProxy, gateway.HTTP} {
		h := gateway.Check(dialect, s.look, s.gatewayCredential, s.places())
		for _, path := range []string{gateway.PathCheck, gateway.PathRefused} {
			pattern := "GET " + strings.Replace(path, "{dialect}", string(dialect), 1)
			rows = append(rows, route{pattern, byGateway + "/" + access(dialect), 0, h})
		}
	}
	return rows
}

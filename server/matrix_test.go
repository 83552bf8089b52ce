package server

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/server/gateway"
	"muster/server/people"
	"muster/server/store"
)

// class is an access without what stands behind the slash.
func (a access) class() access {
	class, _, _ := strings.Cut(string(a), "/")
	return access(class)
}

// words are the roles or the scope behind the slash; none: any role.
func (a access) words() []string {
	if _, words, ok := strings.Cut(string(a), "/"); ok {
		return strings.Split(words, ",")
	}
	return nil
}

// credential is one way to come to a route. good tells for which access, in the
// words of the route table, it is the right one.
type credential struct {
	name string
	good func(a access) bool
	put  func(r *http.Request, body string)
	// renew, when it is not nil, makes it live again: a sign-out ends it.
	renew func(t *testing.T)
}

// matrix is a server with somebody of each kind, and what they come with.
type matrix struct {
	s     *Server
	h     http.Handler
	creds []credential
	from  int // requests so far: each has an address of its own, for the rates
}

func roles() []store.Role {
	return []store.Role{store.RolePerson, store.RoleHelpDesk, store.RoleAuditor, store.RoleAdministrator}
}

func never(access) bool { return false }

func bearing(secret string) func(*http.Request, string) {
	return func(r *http.Request, _ string) { r.Header.Set("Authorization", "Bearer "+secret) }
}

func cookieOf(secret string) func(*http.Request, string) {
	return func(r *http.Request, _ string) { r.AddCookie(&http.Cookie{Name: cookieSession, Value: secret}) }
}

// byRole is good for persons whose role a row asks for; stale hands are not fresh.
func byRole(role store.Role, fresh bool) func(access) bool {
	return func(a access) bool {
		ours := a.class() == byPerson || a.class() == byFresh && fresh
		return ours && (a.words() == nil || slices.Contains(a.words(), string(role)))
	}
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	s, clock := guestServer(t)
	m := &matrix{s: s, h: s.Handler()}
	m.add("none", never, func(*http.Request, string) {})
	m.persons(t, clock)
	m.devices(t)
	m.programs(t)
	// An address that a first request is noted for changes nothing at the second.
	for _, c := range m.creds {
		m.ask("GET", guestURL+"/sessions", "", "", c)
	}
	return m
}

func (m *matrix) add(name string, good func(access) bool, put func(*http.Request, string)) {
	m.creds = append(m.creds, credential{name: name, good: good, put: put})
}

// signedIn adds somebody with a session, who gets another one when it ended.
func (m *matrix) signedIn(name string, good func(access) bool, g *guest) {
	m.creds = append(m.creds, credential{
		name: name, good: good, put: func(r *http.Request, body string) { cookieOf(g.secret)(r, body) },
		renew: func(t *testing.T) {
			g.session.SeenAt = time.Time{}
			err := m.s.store.Update(t.Context(), func(tx *store.Tx) (err error) {
				g.secret, err = tx.AddSession(g.session)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		},
	})
}

func (m *matrix) persons(t *testing.T, clock *testClock) {
	t.Helper()
	// From old to new, since time only goes on.
	tooOld := newGuest(t, m.s, "too-old", store.RoleAdministrator)
	clock.advance(11 * time.Hour)
	idle := newGuest(t, m.s, "idle", store.RoleAdministrator)
	clock.advance(61 * time.Minute)
	for _, role := range roles() {
		g := newGuest(t, m.s, "stale-"+string(role), role)
		m.signedIn("stale hands of "+string(role), byRole(role, false), g)
	}
	clock.advance(5 * time.Minute)
	for _, role := range roles() {
		m.signedIn(string(role), byRole(role, true), newGuest(t, m.s, "fresh-"+string(role), role))
	}
	ours := newGuest(t, m.s, "ours", store.RoleAdministrator)
	ended, disabled := newGuest(t, m.s, "ended", store.RoleAdministrator), newGuest(t, m.s, "disabled", store.RoleAdministrator)
	var visit string
	err := m.s.store.Update(t.Context(), func(tx *store.Tx) (err error) {
		visit, err = tx.AddVisit(&store.Visit{Session: ours.session.ID, App: "wiki", Host: wikiHost})
		if err == nil {
			err = tx.EndSession(ended.session.ID, "test")
		}
		if err == nil {
			_, err = tx.DisablePerson(disabled.person.ID, "test")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]string{
		"a malformed cookie": "x", "a cookie of another kind": "mst_" + strings.Repeat("A", 43), "a wrong cookie": "mss_" + strings.Repeat("A", 43),
		"an empty cookie": "", "a cut cookie": ours.secret[:len(ours.secret)-1], "a longer cookie": ours.secret + "A",
		"a session that stood idle": idle.secret, "a session that is too old": tooOld.secret, "an ended session": ended.secret,
		"a disabled person's session": disabled.secret, "an application's cookie": visit, "a session's id": ours.session.ID,
	} {
		m.add(name, never, cookieOf(secret))
	}
	m.add("two cookies", never, func(r *http.Request, _ string) {
		cookieOf(ours.secret)(r, "")
		cookieOf("mss_"+strings.Repeat("A", 43))(r, "")
	})
	m.add("a session as a bearer", never, bearing(ours.secret))
	m.add("an application's cookie by its name", never, func(r *http.Request, _ string) {
		r.AddCookie(&http.Cookie{Name: cookieApp, Value: visit})
	})
}

func (m *matrix) devices(t *testing.T) {
	t.Helper()
	one, two := newLaptop(t, m.s), newLaptop(t, m.s)
	mac := func(id string, secret attest.Digest, path, body string) func(*http.Request, string) {
		return func(r *http.Request, sent string) {
			p, b := path, body
			if p == "" {
				p = r.URL.Path
			}
			if b == "" {
				b = sent
			}
			r.Header.Set(attest.HeaderDevice, id)
			r.Header.Set(attest.HeaderMAC, attest.MAC(secret[:], p, []byte(b)).String())
		}
	}
	m.add("a device", func(a access) bool { return a == byDevice }, mac(one.row.ID, *one.secret.Load(), "", ""))
	m.add("another device's MAC", never, mac(one.row.ID, *two.secret.Load(), "", ""))
	m.add("an unknown device", never, mac("nobody", *one.secret.Load(), "", ""))
	m.add("the MAC of another path", never, mac(one.row.ID, *one.secret.Load(), "/v1/other", ""))
	m.add("the MAC of another body", never, mac(one.row.ID, *one.secret.Load(), "", "{ }"))
	m.add("a device without MAC", never, func(r *http.Request, _ string) { r.Header.Set(attest.HeaderDevice, one.row.ID) })
}

func (m *matrix) programs(t *testing.T) {
	t.Helper()
	live, err := m.s.CreateGateway(t.Context(), GatewayRequest{Name: "live", Apps: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := m.s.CreateGateway(t.Context(), GatewayRequest{Name: "revoked", Apps: []string{"*"}})
	if err == nil {
		err = m.s.store.Update(t.Context(), func(tx *store.Tx) error { return tx.RemoveGateway(revoked.ID) })
	}
	if err != nil {
		t.Fatal(err)
	}
	m.add("a program that asks", func(a access) bool { return a == byGateway }, bearing(live.Secret))
	m.gateways(t)
	m.add("a revoked gateway", never, bearing(revoked.Secret))
	m.add("a wrong gateway", never, bearing("mgw_"+strings.Repeat("A", 43)))
	m.add("an empty bearer", never, bearing(""))
	m.add("a gateway's secret as a session", never, cookieOf(live.Secret))

	keeper := newGuest(t, m.s, "keeper", store.RoleAdministrator)
	who := &people.Who{Session: keeper.session, Person: keeper.person}
	for _, scope := range people.Scopes() {
		secret, _, err := m.s.people.CreateAPIToken(t.Context(), who, "one "+scope, []string{scope}, 1)
		if err != nil {
			t.Fatal(err)
		}
		m.add("a program that may "+scope, func(a access) bool { return a.class() == byProgram && slices.Contains(a.words(), scope) }, bearing(secret))
		m.add("the token to "+scope+" as a session", never, cookieOf(secret))
	}
	ended, k, err := m.s.people.CreateAPIToken(t.Context(), who, "ended", people.Scopes(), 1)
	if err == nil {
		err = m.s.people.EndAPIToken(t.Context(), who, k.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.add("a program's ended token", never, bearing(ended))
	m.add("a program's wrong token", never, bearing("mat_"+strings.Repeat("A", 43)))
	former := newGuest(t, m.s, "former", store.RoleAdministrator)
	orphan, _, err := m.s.people.CreateAPIToken(t.Context(), &people.Who{Session: former.session, Person: former.person}, "orphan", people.Scopes(), 1)
	if err == nil {
		err = m.s.people.Disable(t.Context(), byLocal, former.person.ID, "left")
	}
	if err != nil {
		t.Fatal(err)
	}
	m.add("a disabled person's program", never, bearing(orphan))
}

// gateways adds one of each dialect, which tells of a request without a cookie. Of
// AuthZEN each is answered, with a decision of false.
func (m *matrix) gateways(t *testing.T) {
	t.Helper()
	for _, dialect := range dialects() {
		if dialect == gateway.AuthZEN {
			continue
		}
		made, err := m.s.CreateGateway(t.Context(), GatewayRequest{Name: string(dialect), Apps: []string{"*"}, Dialect: string(dialect)})
		if err != nil {
			t.Fatal(err)
		}
		m.add("a gateway that speaks "+string(dialect), func(a access) bool { return a == byGateway || a == byGateway+"/"+access(dialect) }, func(r *http.Request, _ string) {
			bearing(made.Secret)(r, "")
			for name, value := range map[string]string{
				"X-Original-Method": "GET", "X-Original-URI": "/", "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/",
				"X-Forwarded-Host": wikiHost, "X-Forwarded-For": "192.0.2.1",
			} {
				r.Header.Set(name, value)
			}
		})
	}
	other, err := m.s.CreateGateway(t.Context(), GatewayRequest{Name: "of another application", Apps: []string{"vault"}, Dialect: "nginx"})
	if err != nil {
		t.Fatal(err)
	}
	m.add("a gateway of another application", func(a access) bool { return a == byGateway }, bearing(other.Secret))
}

// ask sends one request as the pages of muster's own would.
func (m *matrix) ask(method, address, kind, body string, c credential) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, address, strings.NewReader(body))
	m.from++
	r.RemoteAddr = fmt.Sprintf("127.%d.%d.%d:1", 1+m.from>>16, m.from>>8&255, m.from&255)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", guestURL)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	c.put(r, body)
	w := httptest.NewRecorder()
	m.h.ServeHTTP(w, r)
	return w
}

// shapes are the bodies that a route may take: which of them a page's takes, the
// table does not say.
func shapes(method string) map[string]string {
	if method == "GET" || method == "DELETE" {
		return map[string]string{"": ""}
	}
	return map[string]string{"application/json": "{}", "application/x-www-form-urlencoded": "secret=mso_x&id=x&name=nobody"}
}

func address(pattern string) (method, whole string) {
	method, path, _ := strings.Cut(pattern, " ")
	path = strings.NewReplacer("{digest}", attest.Digest{1}.String(), "{$}", "", "{name}", "nobody", "{id}", "nobody", "{version}", "v", "{file}", "f", "{app}", "wiki", "{key}", "01234567").Replace(path)
	host := guestHost
	if strings.HasPrefix(path, "/.muster/") {
		host = wikiHost
	}
	return method, "http://" + host + path
}

// Every route against every credential that is not the right one: denied, and
// nothing changed. A route whose class is not known here fails, and so does one
// that its right credential does not open: it would prove nothing.
func TestRouteMatrix(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	tried := 0
	for _, route := range m.s.routes() {
		method, to := address(route.pattern)
		switch route.access.class() {
		case byAnyone, bySecret, byEnrolee, byFlow, byDevice, byGateway, byPerson, byFresh, byProgram:
		default:
			t.Errorf("%s: access %q is of no class that the matrix knows", route.pattern, route.access)
			continue
		}
		opened := false
		for _, c := range m.creds {
			before, gates := m.s.store.LastChange(), 0
			for kind, body := range shapes(method) {
				if c.good(route.access) && c.renew != nil {
					c.renew(t)
				}
				w := m.ask(method, to, kind, body, c)
				tried++
				switch {
				case w.Code >= 500:
					t.Errorf("%s with %s: %d %s", route.pattern, c.name, w.Code, w.Body)
				case c.good(route.access):
					// A gateway that is known hears that nobody is signed in.
					opened = opened || !denied(w) || strings.Contains(route.pattern, " /check/") && w.Code == http.StatusUnauthorized
				case route.access != byAnyone:
					if denied(w) || !guarded(route.access) && w.Code >= 400 {
						gates++
					} else if w.Code != http.StatusUnsupportedMediaType && w.Code != http.StatusBadRequest {
						t.Errorf("%s with %s: %d to %q", route.pattern, c.name, w.Code, w.Header().Get("Location"))
					}
				}
			}
			if c.good(route.access) {
				continue // its changes are its own
			}
			if changed := m.s.store.LastChange() - before; changed > 0 {
				t.Errorf("%s with %s changed %d things", route.pattern, c.name, changed)
			}
			if guarded(route.access) && gates == 0 {
				t.Errorf("%s with %s: no kind of body came to the gate", route.pattern, c.name)
			}
		}
		if guarded(route.access) && !opened {
			t.Errorf("%s: the right credential does not open it", route.pattern)
		}
	}
	if tried < 1000 {
		t.Errorf("only %d requests: the table is not whole", tried)
	}
	t.Logf("%d requests to %d routes with %d credentials", tried, len(m.s.routes()), len(m.creds))
}

// guarded are classes that a credential opens: the others look into the message.
func guarded(a access) bool {
	return slices.Contains([]access{byDevice, byGateway, byPerson, byFresh, byProgram}, a.class())
}

// denied reports whether a request was turned away for who sent it.
func denied(w *httptest.ResponseRecorder) bool {
	switch w.Code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusGone:
		return true
	case http.StatusSeeOther:
		to := w.Header().Get("Location")
		return strings.HasPrefix(to, "/sign-in?") || strings.HasPrefix(to, "/verify?")
	}
	return false
}

// Another method of a path is refused, not served; what is for devices and
// gateways tells strangers nothing of why.
func TestRoutesTellNothing(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	for _, route := range m.s.routes() {
		method, to := address(route.pattern)
		if method == "GET" && strings.HasPrefix(route.pattern, "GET /{") || route.pattern == "GET /" {
			continue
		}
		if w := m.ask("PUT", to, "application/json", "{}", m.creds[0]); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("PUT %s: %d", to, w.Code)
		}
		if route.access != byDevice && route.access != byGateway {
			continue
		}
		answers := map[string]string{}
		for _, c := range m.creds {
			if w := m.ask(method, to, "application/json", "{}", c); !c.good(route.access) {
				answers[fmt.Sprint(w.Code, w.Body)] = c.name
			}
		}
		if len(answers) != 1 {
			t.Errorf("%s tells strangers apart: %v", route.pattern, slices.Collect(maps.Values(answers)))
		}
	}
}

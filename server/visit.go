package server

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"

	"muster/attest"
	"muster/server/decide"
	"muster/server/people"
	"muster/server/web"
)

// An application's host gets a cookie of its own by a redirect (SESSIONS.md §2):
//
//	APP/.muster/start    gives the browser a flow value, sends it to
//	MUSTER/visit         where the session is; makes a one-time code, bound to app,
//	                     host and flow, and sends the browser back to
//	APP/.muster/finish   where the same browser changes it for the host's cookie
//
// A code is worth nothing in another browser, at another host or after a minute,
// and the cookie is good for that application's checks and nothing else.
const (
	pathVisitStart  = "/.muster/start"
	pathVisitFinish = "/.muster/finish"
	pathVisit       = "/visit"
)

// The cookies. cookieSession is server/web's, which sets it.
const (
	cookieSession = web.SessionCookie
	cookieFlow    = "__Host-muster-flow"
	cookieApp     = "__Host-muster-app"
)

// flowLife is how long a browser has to sign in on its way.
const flowLife = 5 * time.Minute

// maxBack bounds the path to return to.
const maxBack = 1024

// visitRoutes are the reserved paths of applications' hosts, which gateways send
// here, and the page in between.
func (s *Server) visitRoutes() []route {
	return []route{
		{"GET " + pathVisitStart, byAnyone, 0, s.visiting(s.visitStart)},
		{"GET " + pathVisitFinish, byFlow, 0, s.visiting(s.visitFinish)},
		{"GET " + pathVisit, byPerson, 0, s.visiting(s.visit)},
	}
}

// visiting runs a step of the redirect. It is a page's business: no script may
// call it, no frame may hold it, and nothing of it is kept.
func (s *Server) visiting(f func(http.ResponseWriter, *http.Request) (to string, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if d := r.Header.Get("Sec-Fetch-Dest"); d != "" && d != "document" {
			s.answerPerson(w, misfit(http.StatusForbidden, "not-a-page", "This is for pages and not for what pages contain.", "Open the application in a window of its own."))
			return
		}
		to, err := f(w, r)
		if err != nil {
			s.answerPerson(w, err)
			return
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	})
}

// answerPerson writes a refusal in words.
func (s *Server) answerPerson(w http.ResponseWriter, err error) {
	var known *people.Refusal
	if !errors.As(err, &known) {
		s.log.Error("request not answered", "error", err)
		known = misfit(http.StatusInternalServerError, "internal", "The server could not do this; nothing was changed.", "Ask the administrator to look at the server's log.")
	}
	http.Error(w, known.Text+" "+known.Fix+" ("+known.Code+")", known.Status)
}

func misfit(status int, code, text, fix string) *people.Refusal {
	return &people.Refusal{Status: status, Code: code, Text: text, Fix: fix}
}

func errWrongHost() error {
	return misfit(http.StatusMisdirectedRequest, "wrong-host", "No application has this name here.", "Ask the administrator to name the host in the policy.")
}

// visitStart handles GET /.muster/start at an application's host.
func (s *Server) visitStart(w http.ResponseWriter, r *http.Request) (string, error) {
	app, host, ok := s.appAt(r.Host)
	if !ok {
		return "", errWrongHost()
	}
	var flow [32]byte
	_, _ = rand.Read(flow[:]) // never fails (crypto/rand)
	value := base64.RawURLEncoding.EncodeToString(flow[:])
	setHostCookie(w, cookieFlow, value, flowLife)
	return s.config.PublicURL + pathVisit + "?" + url.Values{
		"app": {app}, "host": {host}, "flow": {flowHash(value).String()}, "back": {backPath(r.FormValue("back"))},
	}.Encode(), nil
}

// visit handles GET /visit at muster's own host.
func (s *Server) visit(w http.ResponseWriter, r *http.Request) (string, error) {
	if !s.ownHost(r.Host) {
		return "", errWrongHost()
	}
	q := r.URL.Query()
	from := people.From{Address: peerAddress(r, s.config.TrustedProxies), Browser: r.UserAgent()}
	who, err := s.people.Who(r.Context(), oneCookie(r, cookieSession), from)
	var refused *people.Refusal
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return "/sign-in?" + url.Values{"next": {pathVisit + "?" + q.Encode()}}.Encode(), nil
	case err != nil:
		return "", err
	}
	app, host, ok := s.appAt(q.Get("host"))
	flow, err := attest.ParseDigest(q.Get("flow"))
	if !ok || app != q.Get("app") || err != nil || flow.IsZero() {
		return "", misfit(http.StatusBadRequest, "visit-wrong", "This address leads to no application.", "Open the application itself again.")
	}
	code, err := s.people.VisitCode(r.Context(), who, app, host, flow, backPath(q.Get("back")))
	if err != nil {
		return "", err
	}
	return s.scheme() + "://" + host + pathVisitFinish + "?" + url.Values{"code": {code}}.Encode(), nil
}

// visitFinish handles GET /.muster/finish at an application's host.
func (s *Server) visitFinish(w http.ResponseWriter, r *http.Request) (string, error) {
	_, host, ok := s.appAt(r.Host)
	if !ok {
		return "", errWrongHost()
	}
	value := oneCookie(r, cookieFlow)
	if value == "" {
		// A code that comes without its browser has leaked: it is used up here. No code
		// is bound to the zero flow, so this takes it and gives nothing.
		_, _, _ = s.people.Visit(r.Context(), r.FormValue("code"), host, attest.Digest{})
		return "", misfit(http.StatusForbidden, "flow-missing", "This browser did not begin here, or took longer than five minutes.", "Open the application again.")
	}
	secret, back, err := s.people.Visit(r.Context(), r.FormValue("code"), host, flowHash(value))
	if err != nil {
		return "", err
	}
	setHostCookie(w, cookieFlow, "", -time.Second)
	setHostCookie(w, cookieApp, secret, 0)
	return backPath(back), nil
}

// appAt returns the application that the policy has at a host, and the host in
// the form that redirects use. A port is muster's own or the scheme's: another
// one of the same name may be another program's.
func (s *Server) appAt(host string) (app, form string, ok bool) {
	at, ok := s.hostIndex().at[strings.ToLower(host)]
	return at.app, at.host, ok
}

// hostIndex is the running policy's hosts and their applications.
func (s *Server) hostIndex() *hosts {
	p := s.policy.Load()
	if known := s.hosts.Load(); known != nil && known.policy == p {
		return known
	}
	fresh := &hosts{policy: p, at: make(map[string]place), named: make(map[string]bool)}
	_, port := splitOrigin(s.config.PublicURL)
	for _, a := range p.Apps() {
		fresh.named[a.ID] = true
		for _, h := range a.Hosts {
			fresh.at[h] = place{a.ID, h}
			if port != "" {
				whole := h + ":" + port
				fresh.at[whole] = place{a.ID, whole}
			}
		}
	}
	s.hosts.Store(fresh)
	return fresh
}

// hosts is an index of one policy, never changed.
type hosts struct {
	policy *decide.Policy
	at     map[string]place // by Host, as browsers send it, in lower case
	named  map[string]bool  // applications by id
}

// place is an application at one of its hosts. All visits there share its strings.
type place struct{ app, host string }

// ownHost reports whether a Host is that of the public URL.
func (s *Server) ownHost(host string) bool {
	_, own, _ := strings.Cut(s.config.PublicURL, "://")
	return strings.EqualFold(host, own)
}

func (s *Server) scheme() string {
	scheme, _, _ := strings.Cut(s.config.PublicURL, "://")
	return scheme
}

// splitOrigin returns host name and port of an origin; the port is empty when the
// origin names none.
func splitOrigin(origin string) (host, port string) {
	u, err := url.Parse(origin)
	if err != nil {
		return "", ""
	}
	return u.Hostname(), u.Port()
}

// backPath is a path of the host itself, or "/": never another host, and never
// the reserved paths, which would go round in circles.
func backPath(p string) string {
	odd := func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' || r == unicode.ReplacementChar
	}
	if len(p) > maxBack || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsFunc(p, odd) {
		return "/"
	}
	u, err := url.Parse(p)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" ||
		strings.HasPrefix(u.Path, "//") || strings.HasPrefix(path.Clean(u.Path)+"/", "/.muster/") || strings.ContainsFunc(u.Path, odd) {
		return "/"
	}
	return u.String()
}

// flowHash is what of a flow value leaves the application's host.
func flowHash(value string) attest.Digest { return sha256.Sum256([]byte(value)) }

// setHostCookie sets a cookie of this very host; life 0: until the browser ends,
// below: gone.
func setHostCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// oneCookie reads a cookie; two of a name are none, since a browser sends two
// only when somebody else put one there.
func oneCookie(r *http.Request, name string) string {
	found := r.CookiesNamed(name)
	if len(found) != 1 || len(found[0].Value) > maxCookie {
		return ""
	}
	return found[0].Value
}

const maxCookie = 256

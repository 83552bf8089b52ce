package web

import (
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"muster/server/people"
	"muster/server/session"
)

// site is the pages over their Config. It may be used from any goroutine.
type site struct {
	Config
	host    string // of the public URL
	cross   *http.CrossOriginProtection
	pages   map[string]*template.Template
	assets  map[string]asset // by file name
	version string           // of all assets: a part of their path
}

func newSite(c Config) *site {
	u, err := url.Parse(c.Origin)
	if err != nil || u.Host == "" {
		panic("web: origin " + strconv.Quote(c.Origin) + " is no URL with a host")
	}
	s := &site{Config: c, host: u.Host, cross: http.NewCrossOriginProtection()}
	s.assets, s.version = readAssets()
	s.pages = s.readPages()
	return s
}

// serve wraps a row: cheap checks first, then who it is, then the handler. What
// goes wrong anywhere is answered as a page or as a problem document.
func (s *site) serve(route row) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, plain *http.Request) {
		s.secure(w, route)
		r := &request{Request: plain, from: people.From{Address: s.address(plain), Browser: plain.UserAgent()}}
		err := s.inOrder(w, r, route)
		if err == nil {
			err = s.admit(r, route)
		}
		if err == nil && route.body == formBody {
			// A form of a policy is large: nobody's is read before it is known whose it is.
			if err = r.ParseForm(); err != nil {
				err = badBody(err)
			}
		}
		if err == nil {
			err = route.handle(w, r)
		}
		if err != nil {
			s.answerError(w, r, route, err)
		}
	})
}

// inOrder refuses what no page of ours sends: other hosts (DNS rebinding), other
// origins, other bodies, too much.
func (s *site) inOrder(w http.ResponseWriter, r *request, route row) error {
	if r.Host != s.host {
		return &people.Refusal{Status: http.StatusMisdirectedRequest, Code: "wrong-host",
			Text: "This server does not answer to that name.", Fix: "Open " + s.Origin + " instead."}
	}
	if route.body == noBody {
		r.Body = http.NoBody
		return nil
	}
	if !s.ours(r.Request) {
		return &people.Refusal{Status: http.StatusForbidden, Code: "cross-origin",
			Text: "This request did not come from a page of muster.", Fix: "Open the page here and do it again."}
	}
	if route.access == ByAnyone || route.access == BySecret {
		if s.Allow != nil && !s.Allow(r.from.Address) {
			w.Header().Set("Retry-After", "30")
			return &people.Refusal{Status: http.StatusTooManyRequests, Code: "rate-limited",
				Text: "There were too many attempts from your network.", Fix: "Wait half a minute, then try again."}
		}
	}
	if !bodyIs(r.Request, route.body) {
		return &people.Refusal{Status: http.StatusUnsupportedMediaType, Code: "content-type",
			Text: "The server does not take that kind of message here.", Fix: "Reload the page and try again."}
	}
	r.Body = http.MaxBytesReader(w, r.Body, route.limit)
	return nil
}

// ours reports whether a browser says that a page of our own origin sent it.
// Unlike CrossOriginProtection alone it refuses who says nothing: programs have
// tokens and other paths.
func (s *site) ours(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	if site == "" && origin == "" {
		return false
	}
	if origin != "" && origin != s.Origin || site != "" && site != "same-origin" {
		return false
	}
	return s.cross.Check(r) == nil
}

// admit finds out who asks, and whether they may.
func (s *site) admit(r *request, route row) error {
	secret := cookie(r.Request, cookieSession)
	var err error = refusedSignIn()
	if secret != "" {
		r.who, err = s.People.Who(r.Context(), secret, r.from)
	}
	// A nil error with nobody behind it must never pass for somebody.
	if err == nil && (r.who == nil || r.who.Session == nil || r.who.Person == nil) {
		err = refusedSignIn()
	}
	if err != nil {
		r.who = nil
	}
	// Pages for anyone still show who is signed in, where somebody is.
	if route.access == ByAnyone || route.access == BySecret {
		return nil
	}
	switch {
	case err != nil:
		return err
	case route.body != noBody && s.AllowPerson != nil && !s.AllowPerson(r.who.Person.ID):
		return &people.Refusal{Status: http.StatusTooManyRequests, Code: "rate-limited",
			Text: "You sent more than a person does.", Fix: "Wait half a minute, then try again."}
	case len(route.roles) > 0 && !r.who.Is(route.roles...):
		return refusedRole()
	case route.access == ByFresh && !r.who.Fresh(s.Now()):
		return refusedVerify()
	case route.access != ByFresh && route.access != ByPerson:
		return refusedRole() // a row that we forgot to think about
	}
	return nil
}

// address is empty where nobody tells it: then all strangers count as one.
func (s *site) address(r *http.Request) string {
	if s.Address == nil {
		return ""
	}
	return s.Address(r)
}

// freshUntil is when hands stop being fresh; zero: they are not.
func (s *site) freshUntil(who *people.Who) time.Time {
	if who == nil || !who.Fresh(s.Now()) {
		return time.Time{}
	}
	return who.Session.VerifiedAt.Add(session.FreshFor)
}

// The refusals that the wrapper makes itself; package people says the same.
func refusedSignIn() error {
	return &people.Refusal{Status: http.StatusUnauthorized, Code: codeSignIn,
		Text: "You are not signed in, or your session has ended.", Fix: "Sign in with your passkey."}
}

func refusedVerify() error {
	return &people.Refusal{Status: http.StatusForbidden, Code: codeVerify,
		Text: "This needs a fresh confirmation with your passkey.", Fix: "Confirm with your passkey; then do it again."}
}

func refusedRole() error {
	return &people.Refusal{Status: http.StatusForbidden, Code: "role",
		Text: "Your role does not allow this.", Fix: "Ask an administrator."}
}

func refusedGone() error {
	return &people.Refusal{Status: http.StatusNotFound, Code: "not-found",
		Text: "There is no such thing, or it is over.", Fix: "Go back and look again."}
}

// Codes that pages branch on.
const (
	codeSignIn = "sign-in"
	codeVerify = "verify-first"
)

package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"muster/server/people"
	"muster/server/session"
)

const (
	// recheckWait bounds how long "check again" keeps somebody waiting.
	recheckWait = 5 * time.Second
	// retryEvery and maxRetries: a page that waits for a laptop looks again by
	// itself for ten seconds.
	retryEvery = 2 * time.Second
	maxRetries = 5
	// provedFor is for how long a link that was just proved silently is not proved
	// again by itself: what it did not help now it will not help a second time.
	provedFor = 2 * time.Minute
	// wentFor: who comes back from an application that is open within it, and again,
	// was refused there for what this page does not know.
	wentFor = 10 * time.Second
	// maxAccessPath keeps the page's own path one that pages go on to: see ownPath.
	maxAccessPath = 1900
)

// accessAsk is what the page is asked about.
type accessAsk struct {
	host, back string
	// steered: a form, or htmx, led here. The policy of our pages lets neither go on
	// to another host, so the page does.
	steered bool
	retries int
	proved  time.Time // when the link was last proved by itself
}

// path is the page's own; with pairs of further parameters.
func (a accessAsk) path(more ...string) string {
	build := func(back string) string {
		q := url.Values{"host": {a.host}, "back": {back}}
		for i := 0; i+1 < len(more); i += 2 {
			q.Set(more[i], more[i+1])
		}
		return "/access?" + q.Encode()
	}
	if p := build(a.back); len(p) <= maxAccessPath {
		return p
	}
	return build("/")
}

// accessAskOf reads the address, or the form, of a page. Host and path are anybody's
// to write: a host is good once Standing knows it, a path once it is one.
func accessAskOf(r *request) accessAsk {
	q := r.URL.Query()
	if r.Method == http.MethodPost {
		q = r.PostForm
	}
	a := accessAsk{host: strings.ToLower(q.Get("host")), back: accessBack(q.Get("back"))}
	a.steered = q.Get("done") != "" || r.Header.Get("HX-Request") != ""
	// What is no number is zero, and zero is the first try.
	a.retries, _ = strconv.Atoi(q.Get("try"))
	if seconds, err := strconv.ParseInt(q.Get("proved"), 10, 64); err == nil {
		a.proved = time.Unix(seconds, 0)
	}
	return a
}

// accessBack is a path of an application's host, or "/".
func accessBack(p string) string {
	if !session.IsBack(p) {
		return "/"
	}
	return p
}

// standing looks up how this browser stands.
func (s *site) standing(r *request, a accessAsk) (*Standing, error) {
	if s.Standing != nil && session.IsHost(a.host) {
		if st, ok := s.Standing(r.Context(), cookie(r.Request, cookieSession), a.host, a.back, r.from); ok && st != nil {
			return st, nil
		}
	}
	return nil, &people.Refusal{Status: http.StatusNotFound, Code: "app-unknown",
		Text: "No application has this name here.", Fix: "Check the address; if it is right, ask an administrator to name the host in the policy."}
}

// accessPage says why an application is closed, and what to do about it: one thing,
// the next one. Where it is open it goes on there.
func (s *site) accessPage(w http.ResponseWriter, r *request) error {
	a := accessAskOf(r)
	st, err := s.standing(r, a)
	if err != nil {
		return err
	}
	if r.who == nil {
		v := strangerView(st, a)
		title := "Sign in first"
		if v.Do.Kind == doClosed {
			title = "This is closed for you"
		}
		return s.show(w, r, "access", title, v)
	}
	v, err := s.accessView(r, st, a)
	if err != nil {
		return err
	}
	switch {
	case v.open():
		return s.goOnward(w, r, st, a, v)
	case v.Do.Kind == doLink && v.silent && s.Now().Sub(a.proved).Abs() > provedFor:
		http.Redirect(w, r.Request, "/link?"+url.Values{"next": {v.Proved}}.Encode(), http.StatusSeeOther)
		return nil
	case v.Do.Kind == doWait && a.retries >= 0 && a.retries < maxRetries:
		v.Retries = true
		w.Header().Set("Refresh", strconv.Itoa(int(retryEvery/time.Second))+"; url="+a.path("try", strconv.Itoa(a.retries+1)))
	}
	s.stayed(w, r)
	return s.show(w, r, "access", v.title(), v)
}

// goOnward leads to an application that is open; unless this browser came back from
// there again and again: then its gateway knows something that we do not.
func (s *site) goOnward(w http.ResponseWriter, r *request, st *Standing, a accessAsk, v *accessView) error {
	v.Again = s.onward(st)
	if n, _ := s.trips(r, a); n >= maxWent {
		v.refused()
		s.stayed(w, r)
		return s.show(w, r, "access", v.title(), v)
	}
	s.went(w, r, a)
	switch {
	case r.Header.Get("HX-Request") != "":
		w.Header().Set("HX-Redirect", v.Again)
		return nil
	case a.steered:
		w.Header().Set("Refresh", "0; url="+v.Again)
		return s.show(w, r, "access", v.title(), v)
	}
	http.Redirect(w, r.Request, v.Again, http.StatusSeeOther)
	return nil
}

// onward is where an application that opens is gone on to: a path of our own, or of
// the very host that Standing knows, by our own scheme. Anything else is home.
func (s *site) onward(st *Standing) string {
	if strings.HasPrefix(st.Again, "/") {
		return ownPath(st.Again)
	}
	u, err := url.Parse(st.Again)
	own, _ := url.Parse(s.Origin)
	if err != nil || own == nil || u.Scheme != own.Scheme || u.Host == "" || u.Host != st.Host || u.User != nil ||
		accessBack(u.RequestURI()) != u.RequestURI() {
		return "/"
	}
	return u.String()
}

// cookieWent says how often this browser was sent on lately, and to where.
const cookieWent = "__Host-muster-went"

// maxWent is how often somebody is sent on within wentFor without a word between.
const maxWent = 2

// trips reads the cookie: how often, and since when. A browser that lies here goes
// round in circles, alone.
func (s *site) trips(r *request, a accessAsk) (n int, since time.Time) {
	part := strings.Split(cookie(r.Request, cookieWent), ".")
	if len(part) != 3 || part[0] != a.digest() {
		return 0, s.Now()
	}
	seconds, err := strconv.ParseInt(part[1], 10, 64)
	n, bad := strconv.Atoi(part[2])
	since = time.Unix(seconds, 0)
	if err != nil || bad != nil || n < 0 || n > maxWent || s.Now().Sub(since).Abs() > wentFor {
		return 0, s.Now()
	}
	return n, since
}

func (s *site) went(w http.ResponseWriter, r *request, a accessAsk) {
	n, since := s.trips(r, a)
	value := fmt.Sprintf("%s.%d.%d", a.digest(), since.Unix(), n+1)
	setCookie(w, cookieWent, value, http.SameSiteLaxMode, int(wentFor/time.Second))
}

// stayed forgets the trips: this time there was something to say.
func (s *site) stayed(w http.ResponseWriter, r *request) {
	if cookie(r.Request, cookieWent) != "" {
		setCookie(w, cookieWent, "", http.SameSiteLaxMode, -1)
	}
}

// digest names host and path: another page of the application is another way.
func (a accessAsk) digest() string {
	sum := sha256.Sum256([]byte(a.path()))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// accessElevate asks for privileged access; what application is meant is looked up
// by its host, as for the page.
func (s *site) accessElevate(w http.ResponseWriter, r *request) error {
	a := accessAskOf(r)
	st, err := s.standing(r, a)
	if err != nil {
		return err
	}
	if st.Terms.Lasts <= 0 {
		return refusedGone()
	}
	e, err := s.People.Elevate(r.Context(), r.who, st.App.ID, strings.TrimSpace(r.PostFormValue("why")))
	if err != nil {
		return err
	}
	done := "elevation-asked"
	if !e.GrantedAt.IsZero() {
		done = "elevation-granted"
	}
	http.Redirect(w, r.Request, a.path("done", done), http.StatusSeeOther)
	return nil
}

// accessRecheck asks the laptop that this very session is linked to for a report.
func (s *site) accessRecheck(w http.ResponseWriter, r *request) error {
	a := accessAskOf(r)
	st, err := s.standing(r, a)
	if err != nil {
		return err
	}
	l := r.who.Session.Link
	if s.Recheck == nil || st.Device == "" || l == nil || l.Device != st.Device || s.People.LinkStateOf(r.who.Session) == session.LinkAbsent {
		return refusedGone()
	}
	ctx, cancel := context.WithTimeout(r.Context(), recheckWait)
	defer cancel()
	done := "not-checked"
	if s.Recheck(ctx, st.Device) {
		done = "checked"
	}
	http.Redirect(w, r.Request, a.path("done", done), http.StatusSeeOther)
	return nil
}

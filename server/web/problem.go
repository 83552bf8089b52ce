package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"muster/attest"
	"muster/server/people"
	"muster/server/store"
)

// refusalView is a refusal as a page shows it.
type refusalView struct {
	*people.Refusal
	Next string // where a sign-in or a confirmation leads back to
	Back string // the page that it came from
}

// SignIn and Verify say what the page offers to do.
func (v refusalView) SignIn() bool { return v.Code == codeSignIn }

// Verify: a fresh confirmation is what is missing.
func (v refusalView) Verify() bool { return v.Code == codeVerify }

// answerError answers any error: a problem document (RFC 9457) to programs and
// scripts, a page to people. What we did not foresee is a 500 that tells nothing:
// the log has it.
func (s *site) answerError(w http.ResponseWriter, r *request, route row, err error) {
	refused := s.refusal(route, err)
	if refused.Code == codeSignIn && cookie(r.Request, cookieSession) != "" {
		clearSession(w)
	}
	asksPage := route.body == noBody && r.Method == http.MethodGet
	switch {
	case route.body == jsonBody || asksProblem(r.Request):
		s.writeProblem(w, refused)
	case r.Header.Get("HX-Request") != "" && refused.Code == codeSignIn:
		w.Header().Set("HX-Refresh", "true") // the page itself then leads to the sign-in
		w.WriteHeader(refused.Status)
	case refused.Code == codeSignIn && asksPage:
		http.Redirect(w, r.Request, "/sign-in?"+url.Values{"next": {ownPath(r.URL.RequestURI())}}.Encode(), http.StatusSeeOther)
	default:
		back := s.referrer(r.Request)
		next := back
		if asksPage {
			next = ownPath(r.URL.RequestURI())
		}
		s.write(w, r, refused.Status, "refusal", refused.Title(), refusalView{Refusal: refused.Refusal, Next: next, Back: back})
	}
}

// refused is a refusal on its way out.
type refused struct{ *people.Refusal }

// Title is what the page is called.
func (r refused) Title() string {
	switch {
	case r.Code == codeSignIn:
		return "Sign in first"
	case r.Code == codeVerify:
		return "Confirm it is you"
	case r.Status == http.StatusNotFound:
		return "Nothing here"
	case r.Status >= 500:
		return "The server could not do this"
	case r.Status == http.StatusGone:
		return "This is over"
	}
	return "This was refused"
}

func (s *site) refusal(route row, err error) refused {
	var known *people.Refusal
	switch {
	case errors.As(err, &known) && known.Status >= 400 && known.Status <= 599:
		s.Log.Info("page refused", "route", route.pattern, "reason", known.Code)
		return refused{known}
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrStale):
		return refused{&people.Refusal{Status: http.StatusServiceUnavailable, Code: attest.CodeUnavailable,
			Text: "The server is busy; nothing was changed.", Fix: "Wait a few seconds, then try again."}}
	}
	s.Log.Error("page not answered", "route", route.pattern, "error", err)
	return refused{&people.Refusal{Status: http.StatusInternalServerError, Code: "internal",
		Text: "The server could not do this; nothing was changed.", Fix: "Try again; if it stays, ask an administrator to look at the server's log."}}
}

func (s *site) writeProblem(w http.ResponseWriter, r refused) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(r.Status)
	_ = json.NewEncoder(w).Encode(attest.Problem{Type: "about:blank", Title: http.StatusText(r.Status),
		Status: r.Status, Code: r.Code, Detail: r.Text, Fix: r.Fix})
}

// asksProblem reports whether a program asks: it takes JSON and no HTML.
func asksProblem(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "json") && !strings.Contains(accept, "html")
}

// referrer is the page of ours that a request came from, else "/".
func (s *site) referrer(r *http.Request) string {
	u, err := url.Parse(r.Referer())
	if err != nil || u.Host != s.host {
		return "/"
	}
	return ownPath(u.RequestURI())
}

// writeJSON answers a script.
func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
	return nil
}

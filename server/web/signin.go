package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"

	"muster/server/people"
	"muster/server/store"
)

// goOn answers the end of a ceremony: where the page leads to.
type goOn struct {
	Next string `json:"next"`
}

// beginReply answers the beginning of one.
type beginReply struct {
	// Fresh: hands are fresh already, there is nothing to do.
	Fresh   bool            `json:"fresh,omitempty"`
	Options json.RawMessage `json:"options,omitempty"` // for the browser's credential API
}

// begun gives the browser its ceremony: options to the page, the rest sealed.
func begun(w http.ResponseWriter, c *people.Ceremony, err error) error {
	if err != nil {
		return err
	}
	setCeremony(w, c.Sealed)
	return writeJSON(w, beginReply{Options: c.Options})
}

// nextView is a page that goes on to another.
type nextView struct{ Next string }

// signInView is a sign-in; Another: with another passkey than that of the session
// which the browser has.
type signInView struct {
	Next    string
	Another bool
}

func (s *site) signInPage(w http.ResponseWriter, r *request) error {
	v := signInView{ownPath(r.URL.Query().Get("next")), r.who != nil && r.URL.Query().Get("another") != ""}
	if r.who != nil && !v.Another {
		http.Redirect(w, r.Request, v.Next, http.StatusSeeOther)
		return nil
	}
	return s.show(w, r, "sign-in", "Sign in", v)
}

// signInBegin stores nothing, so that a flood of strangers costs no disk.
func (s *site) signInBegin(w http.ResponseWriter, r *request) error {
	if _, err := r.message(); err != nil {
		return err
	}
	c, err := s.People.BeginSignIn(r.Context())
	return begun(w, c, err)
}

func (s *site) signInFinish(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	secret, _, err := s.People.SignIn(r.Context(), cookie(r.Request, cookieCeremony), m.Response, r.from)
	if err != nil {
		return s.unknownKey(r, m.Response, err)
	}
	return s.signedIn(w, r, secret, ownPath(m.Next))
}

// unknownKey turns the refusal of a passkey that nobody has into one of another
// code with the same words, so that the browser stops offering it (WebAuthn
// Level 3 §5.1.10.1). It tells nothing of a person: an id is random, and known to
// its authenticator and to us alone.
func (s *site) unknownKey(r *request, response []byte, refused error) error {
	var known *people.Refusal
	var answer struct {
		RawID string `json:"rawId"`
	}
	if !errors.As(refused, &known) || known.Code != "passkey-refused" || json.Unmarshal(response, &answer) != nil {
		return refused
	}
	id, err := base64.RawURLEncoding.DecodeString(answer.RawID)
	if err != nil || len(id) < 16 {
		return refused
	}
	err = s.People.Store.View(r.Context(), func(tx *store.Tx) error {
		_, err := tx.PasskeyByID(id)
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		return refused
	}
	told := *known
	told.Code = "passkey-unknown"
	return &told
}

// signedIn gives the browser its session. One that it had before ends: nobody
// would be left who holds its cookie.
func (s *site) signedIn(w http.ResponseWriter, r *request, secret, next string) error {
	if r.who != nil {
		if err := s.People.SignOut(r.Context(), r.who); err != nil {
			s.Log.Info("earlier session not ended", "session", r.who.Session.ID, "error", err)
		}
	}
	clearCeremony(w)
	setSession(w, secret)
	return writeJSON(w, goOn{next})
}

// signOut is a POST like every change: a picture on a page elsewhere must not sign
// anybody out.
func (s *site) signOut(w http.ResponseWriter, r *request) error {
	if err := s.People.SignOut(r.Context(), r.who); err != nil {
		return err
	}
	clearSession(w)
	return s.done(w, r, "/sign-in", "signed-out")
}

func (s *site) verifyPage(w http.ResponseWriter, r *request) error {
	return s.show(w, r, "verify", "Confirm it is you", nextView{ownPath(r.URL.Query().Get("next"))})
}

func (s *site) verifyBegin(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	// The page of a form asks before it sends; the verify page always confirms.
	if m.Way == "if-needed" && r.who.Fresh(s.Now().Add(marginFresh)) {
		return writeJSON(w, beginReply{Fresh: true})
	}
	c, err := s.People.BeginVerify(r.Context(), r.who)
	return begun(w, c, err)
}

func (s *site) verifyFinish(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	if err := s.People.Verify(r.Context(), r.who, cookie(r.Request, cookieCeremony), m.Response); err != nil {
		return err
	}
	clearCeremony(w)
	return writeJSON(w, goOn{ownPath(m.Next)})
}

// nowhere answers every path that is none of ours.
func (s *site) nowhere(http.ResponseWriter, *request) error {
	return &people.Refusal{Status: http.StatusNotFound, Code: "not-found",
		Text: "There is no page at this address.", Fix: "Check the address, or go to the first page."}
}

package web

import (
	"net/http"

	"muster/server/people"
)

// sessionView is a session in words.
type sessionView struct {
	people.Session
	Link mark
}

// sessionsPage shows where somebody is signed in, this browser first.
func (s *site) sessionsPage(w http.ResponseWriter, r *request) error {
	all, err := s.People.Sessions(r.Context(), r.who)
	if err != nil {
		return err
	}
	views := make([]sessionView, 0, len(all))
	for _, one := range all {
		views = append(views, sessionView{one, linkMark(one.LinkState, one.Laptop)})
	}
	return s.show(w, r, "sessions", "Your sessions", views)
}

// sessionEnd needs no fresh hands: what takes power away is never harder than what
// gives it.
func (s *site) sessionEnd(w http.ResponseWriter, r *request) error {
	id := r.PostFormValue("id")
	if err := s.People.EndSession(r.Context(), r.who, id); err != nil {
		return err
	}
	if id == r.who.Session.ID {
		clearSession(w)
		return s.done(w, r, "/sign-in", "signed-out")
	}
	return s.done(w, r, "/sessions", "session-ended")
}

// sessionsEndAll is the way out for who fears that a cookie was taken.
func (s *site) sessionsEndAll(w http.ResponseWriter, r *request) error {
	if err := s.People.SignOutEverywhere(r.Context(), r.who); err != nil {
		return err
	}
	clearSession(w)
	return s.done(w, r, "/sign-in", "signed-out-everywhere")
}

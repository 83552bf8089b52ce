package web

import (
	"net/http"

	"muster/server/people"
	"muster/server/store"
)

// programsView is the list of API tokens, with what was just made.
type programsView struct {
	Tokens []*store.APIToken
	Scopes []string
	May    bool   // make and end them
	Secret string // shown once
	Label  string // of the one that was just made
}

func (s *site) programsPage(w http.ResponseWriter, r *request) error {
	return s.showPrograms(w, r, "", "")
}

// showPrograms lists tokens; secret is of the one just made, else empty.
func (s *site) showPrograms(w http.ResponseWriter, r *request, label, secret string) error {
	all, err := s.People.APITokens(r.Context(), r.who)
	if err != nil {
		return err
	}
	v := programsView{Tokens: all, Scopes: people.Scopes(), May: r.who.Is(administrators()...), Secret: secret, Label: label}
	return s.show(w, r, "programs", "Programs", v)
}

// programCreate answers with the secret itself: it cannot be had again, so there
// is no page to be led to.
func (s *site) programCreate(w http.ResponseWriter, r *request) error {
	days, err := daysOf(r)
	if err != nil {
		return err
	}
	label := r.PostFormValue("label")
	secret, _, err := s.People.CreateAPIToken(r.Context(), r.who, label, r.PostForm["scope"], days)
	if err != nil {
		return err
	}
	return s.showPrograms(w, r, label, secret)
}

// programEnd takes power away, but from others' programs: fresh hands, too.
func (s *site) programEnd(w http.ResponseWriter, r *request) error {
	if err := s.People.EndAPIToken(r.Context(), r.who, r.PostFormValue("id")); err != nil {
		return err
	}
	return s.done(w, r, "/programs", "program-ended")
}

// actor is how the audit log names somebody.
func actor(who *people.Who) people.Actor { return people.Actor("person:" + who.Person.Name) }

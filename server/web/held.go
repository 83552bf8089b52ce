package web

import (
	"net/http"
	"net/url"
	"strings"

	"muster/server/store"
)

// heldView is somebody's session on the page of all.
type heldView struct {
	heldSession
	Person  string
	Passkey string
}

// heldsView is all live sessions, as far as they were asked for.
type heldsView struct {
	Person   string
	Sessions []heldView
	Found    int
	All      int
	May      bool
}

// officeSessionsPage lists who is signed in, from where and with what.
func (s *site) officeSessionsPage(w http.ResponseWriter, r *request) error {
	all, err := s.People.SessionsOf(r.Context(), "")
	if err != nil {
		return err
	}
	names, err := s.named(r)
	if err != nil {
		return err
	}
	v := heldsView{Person: strings.TrimSpace(r.URL.Query().Get("person")), All: len(all), May: r.who.Is(administrators()...)}
	for _, one := range all {
		held := heldView{heldSession: heldSession{Session: one}, Person: names.person(one.Person)}
		if v.Person != "" && !strings.EqualFold(held.Person, v.Person) {
			continue
		}
		if v.Found++; v.Found > maxListed {
			continue
		}
		if one.Link != nil {
			held.Laptop = s.laptopName(one.Link.Device)
		}
		v.Sessions = append(v.Sessions, held)
	}
	// Of those that are shown alone; a passkey that is gone has no name.
	err = s.People.Store.View(r.Context(), func(tx *store.Tx) error {
		for i := range v.Sessions {
			if k, err := tx.PasskeyByID(v.Sessions[i].Credential); err == nil {
				v.Sessions[i].Passkey = k.Name
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.show(w, r, "held", "All sessions", v)
}

// officeSessionEnd ends anybody's; the reason is for the audit log, and the person is
// not told more than that an administrator ended it.
func (s *site) officeSessionEnd(w http.ResponseWriter, r *request) error {
	why := strings.TrimSpace(r.PostFormValue("why"))
	if why == "" {
		return refusedWhy()
	}
	if err := s.People.EndSessionOf(r.Context(), actor(r.who), r.PostFormValue("id"), why); err != nil {
		return err
	}
	if person := r.PostFormValue("person"); person != "" {
		http.Redirect(w, r.Request, "/office/sessions?"+url.Values{"done": {"session-ended"}, "person": {person}}.Encode(), http.StatusSeeOther)
		return nil
	}
	return s.done(w, r, "/office/sessions", "session-ended")
}

// named are the names behind ids, for pages that list many.
type named struct {
	persons map[string]*store.Person // by id
}

func (s *site) named(r *request) (named, error) {
	all, err := s.People.Persons(r.Context())
	n := named{make(map[string]*store.Person, len(all))}
	for _, p := range all {
		n.persons[p.ID] = p
	}
	return n, err
}

// person is a name, or the id where there is none.
func (n named) person(id string) string {
	if p := n.persons[id]; p != nil {
		return p.Name
	}
	return id
}

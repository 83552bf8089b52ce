package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

// peopleView is the list of persons, and what may be done to it.
type peopleView struct {
	Persons []*store.Person
	Invite  []store.Role // that may be invited; none: no form
	Link    string       // of the invitation just made: shown once
	Name    string       // whom it is for
	Bound   bool         // to a laptop
	Binds   bool         // an invitation can be
}

func (s *site) peoplePage(w http.ResponseWriter, r *request) error {
	return s.showPeople(w, r, peopleView{})
}

// showPeople draws the list; the form offers what people will let this role do.
func (s *site) showPeople(w http.ResponseWriter, r *request, v peopleView) error {
	v.Binds = s.LinkPort > 0
	var err error
	if v.Persons, err = s.People.Persons(r.Context()); err != nil {
		return err
	}
	switch {
	case r.who.Is(store.RoleAdministrator):
		v.Invite = []store.Role{store.RolePerson, store.RoleHelpDesk, store.RoleAuditor, store.RoleAdministrator}
	case r.who.Is(store.RoleHelpDesk):
		v.Invite = []store.Role{store.RolePerson}
	}
	return s.show(w, r, "people", "People", v)
}

// invite answers with the link itself: it cannot be had again.
func (s *site) invite(w http.ResponseWriter, r *request) error {
	days, err := daysOf(r)
	if err != nil {
		return err
	}
	i := people.Invitation{
		Name: strings.ToLower(strings.TrimSpace(r.PostFormValue("name"))), Display: strings.TrimSpace(r.PostFormValue("display")),
		Mail: strings.TrimSpace(r.PostFormValue("mail")), Role: store.Role(r.PostFormValue("role")),
		Groups: words(r.PostFormValue("groups")), Approvers: words(r.PostFormValue("approvers")),
		Device: strings.TrimSpace(r.PostFormValue("device")), Days: days,
	}
	if i.Device != "" && s.LinkPort == 0 {
		return refusedPort()
	}
	if err := s.People.MayInvite(r.who, i.Role); err != nil {
		return err
	}
	link, err := s.People.Invite(r.Context(), actor(r.who), i)
	if err != nil {
		return err
	}
	return s.showPeople(w, r, peopleView{Link: link, Name: i.Name, Bound: i.Device != ""})
}

// daysOf reads how long something is to last; package people bounds it.
func daysOf(r *request) (int, error) {
	text := r.PostFormValue("days")
	if text == "" {
		return 0, nil
	}
	days, err := strconv.Atoi(text)
	if err != nil {
		return 0, &people.Refusal{Status: http.StatusBadRequest, Code: "bad-days",
			Text: "The number of days could not be read.", Fix: "Go back and type a whole number."}
	}
	return days, nil
}

// personView is one person, for who administers or audits.
type personView struct {
	*store.Person
	Sessions []heldSession
	May      bool // change
	Invite   bool // to make a first passkey
	Self     bool
}

// heldSession is somebody's session as an administrator sees it.
type heldSession struct {
	*session.Session
	Laptop string
}

func (s *site) personPage(w http.ResponseWriter, r *request) error {
	person, err := s.People.PersonBy(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	v := personView{Person: person, May: r.who.Is(store.RoleAdministrator), Self: person.ID == r.who.Person.ID}
	// Whether they have a passkey already, people knows and says.
	v.Invite = !person.Disabled && (v.May || r.who.Is(store.RoleHelpDesk) && person.Role == store.RolePerson)
	// Where somebody sits and works is for who administers or audits.
	if r.who.Is(auditors()...) {
		all, err := s.People.SessionsOf(r.Context(), person.ID)
		if err != nil {
			return err
		}
		for _, one := range all {
			held := heldSession{Session: one}
			if one.Link != nil {
				held.Laptop = s.laptopName(one.Link.Device)
			}
			v.Sessions = append(v.Sessions, held)
		}
	}
	return s.show(w, r, "person", person.Name, v)
}

// administered begins every act of an administrator on a person.
func (s *site) administered(r *request) (*store.Person, error) {
	if err := s.People.Administrate(r.who); err != nil {
		return nil, err
	}
	return s.People.PersonBy(r.Context(), r.PostFormValue("id"))
}

func (s *site) personChange(w http.ResponseWriter, r *request) error {
	person, err := s.administered(r)
	if err != nil {
		return err
	}
	// What the form does not show stays as it is.
	changed := *person
	changed.Display, changed.Mail = strings.TrimSpace(r.PostFormValue("display")), strings.TrimSpace(r.PostFormValue("mail"))
	changed.Role = store.Role(r.PostFormValue("role"))
	changed.Groups, changed.Approvers = words(r.PostFormValue("groups")), words(r.PostFormValue("approvers"))
	if err := s.People.ChangePerson(r.Context(), actor(r.who), &changed); err != nil {
		return err
	}
	return s.done(w, r, personPath(person), "person-changed")
}

// personDisable ends all of theirs at once; why is kept in the audit log.
func (s *site) personDisable(w http.ResponseWriter, r *request) error {
	person, err := s.administered(r)
	if err != nil {
		return err
	}
	if err := s.People.Disable(r.Context(), actor(r.who), person.ID, strings.TrimSpace(r.PostFormValue("why"))); err != nil {
		return err
	}
	return s.done(w, r, personPath(person), "person-disabled")
}

func (s *site) personEnable(w http.ResponseWriter, r *request) error {
	person, err := s.administered(r)
	if err != nil {
		return err
	}
	if err := s.People.Enable(r.Context(), actor(r.who), person.ID); err != nil {
		return err
	}
	return s.done(w, r, personPath(person), "person-enabled")
}

// personRecover proposes; another administrator has to confirm.
func (s *site) personRecover(w http.ResponseWriter, r *request) error {
	person, err := s.administered(r)
	if err != nil {
		return err
	}
	if _, err := s.People.ProposeRecovery(r.Context(), r.who, person.Name); err != nil {
		return err
	}
	return s.done(w, r, "/approvals", "recovery-proposed")
}

func (s *site) personEndSession(w http.ResponseWriter, r *request) error {
	person, err := s.administered(r)
	if err != nil {
		return err
	}
	id := r.PostFormValue("session")
	all, err := s.People.SessionsOf(r.Context(), person.ID)
	if err != nil {
		return err
	}
	// The page acts on this person alone, whatever id it is sent.
	if !slices.ContainsFunc(all, func(one *session.Session) bool { return one.ID == id }) {
		return refusedGone()
	}
	if err := s.People.EndSessionOf(r.Context(), actor(r.who), id, "administrator"); err != nil {
		return err
	}
	return s.done(w, r, personPath(person), "session-ended")
}

// personPath is a person's page. Names are of letters that paths may hold.
func personPath(p *store.Person) string { return "/people/" + p.Name }

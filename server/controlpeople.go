package server

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
)

// byLocal is who acts over the control socket.
const byLocal people.Actor = localActor

// maxPeopleFile bounds an import of people.
const maxPeopleFile = 10 << 20

// userView is what an administrator sees of a person in a list.
type userView struct {
	*store.Person
	Passkeys int       `json:"passkeys"`
	Sessions int       `json:"sessions"`
	LastUse  time.Time `json:"last_use,omitzero"` // of a passkey
}

// users lists all persons with what they have.
func (s *Server) users(ctx context.Context) ([]*userView, error) {
	list, byID := []*userView{}, map[string]*userView{}
	err := s.store.View(ctx, func(tx *store.Tx) error {
		persons, err := tx.Persons()
		if err != nil {
			return err
		}
		for _, p := range persons {
			v := &userView{Person: p}
			list, byID[p.ID] = append(list, v), v
		}
		passkeys, err := tx.Passkeys("")
		if err != nil {
			return err
		}
		for _, k := range passkeys {
			if v := byID[k.Person]; v != nil {
				v.Passkeys++
				v.LastUse = later(v.LastUse, k.Use.At)
			}
		}
		sessions, err := tx.Sessions("")
		for _, one := range sessions {
			if v := byID[one.Person]; v != nil {
				v.Sessions++
			}
		}
		return err
	})
	return list, err
}

func (s *Server) listUsers(r *http.Request, _ []byte) (any, error) { return s.users(r.Context()) }

// passkeyView is a passkey without the bytes of its registration.
type passkeyView struct {
	ID             string    `json:"id"` // base64url
	Name           string    `json:"name"`
	Model          string    `json:"model,omitempty"`
	Evidence       string    `json:"evidence"`
	Why            string    `json:"why,omitempty"`
	Certification  string    `json:"certification,omitempty"`
	Bad            string    `json:"bad,omitempty"`
	BackupEligible bool      `json:"backup_eligible"`
	CreatedAt      time.Time `json:"created_at"`
	UsedAt         time.Time `json:"used_at,omitzero"`
}

func viewPasskey(k *store.Passkey) passkeyView {
	j := &k.Judgement
	return passkeyView{
		ID: base64.RawURLEncoding.EncodeToString(k.ID), Name: k.Name, Model: j.Model, Evidence: string(j.Evidence), Why: j.Why,
		Certification: j.Certification, Bad: j.Bad, BackupEligible: k.BackupEligible, CreatedAt: k.CreatedAt, UsedAt: k.Use.At,
	}
}

// showUser handles GET /users/{name}: a person and all of theirs.
func (s *Server) showUser(r *http.Request, _ []byte) (any, error) {
	person, err := s.people.PersonBy(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	v := struct {
		*store.Person
		Passkeys []passkeyView      `json:"passkeys"`
		Sessions []*session.Session `json:"sessions"`
		Laptops  []session.Device   `json:"laptops"`
	}{Person: person, Passkeys: []passkeyView{}, Laptops: append([]session.Device{}, s.devicesOf(person.Name)...)}
	err = s.store.View(r.Context(), func(tx *store.Tx) error {
		passkeys, err := tx.Passkeys(person.ID)
		for _, k := range passkeys {
			v.Passkeys = append(v.Passkeys, viewPasskey(k))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	sessions, err := s.people.SessionsOf(r.Context(), person.ID)
	v.Sessions = append([]*session.Session{}, sessions...)
	return v, err
}

// oneLink is the only time that a link is seen.
type oneLink struct {
	Link string `json:"link"`
}

func (s *Server) inviteUser(r *http.Request, body []byte) (any, error) {
	var i people.Invitation
	if err := read(body, &i); err != nil {
		return nil, err
	}
	if i.Device != "" && s.config.LinkPort == 0 {
		return nil, refuse(http.StatusConflict, "link-port", "This server does not ask laptops over their loopback, so no invitation can be bound to one.",
			"Set link_port on the server and on the laptop, or leave --device out.")
	}
	link, err := s.people.Invite(r.Context(), byLocal, i)
	return oneLink{link}, err
}

func (s *Server) firstLink(r *http.Request, _ []byte) (any, error) {
	link, err := s.FirstLink(r.Context())
	if err == nil && link == "" {
		err = refuse(http.StatusConflict, "administrator-there", "Somebody can administer already, so there is no first link.",
			"Have an administrator invite others, or run: muster-server user invite.")
	}
	return oneLink{link}, err
}

func (s *Server) importUsers(r *http.Request, body []byte) (any, error) {
	return s.people.Import(r.Context(), byLocal, body)
}

// userChange has what is to be another; nil stays.
type userChange struct {
	Display   *string     `json:"display,omitempty"`
	Mail      *string     `json:"mail,omitempty"`
	Role      *store.Role `json:"role,omitempty"`
	Groups    *[]string   `json:"groups,omitempty"`
	Approvers *[]string   `json:"approvers,omitempty"`
}

func (s *Server) changeUser(r *http.Request, body []byte) (any, error) {
	c := new(userChange)
	if err := read(body, c); err != nil {
		return nil, err
	}
	person, err := s.people.PersonBy(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	put(&person.Display, c.Display)
	put(&person.Mail, c.Mail)
	put(&person.Role, c.Role)
	put(&person.Groups, c.Groups)
	put(&person.Approvers, c.Approvers)
	return person, s.people.ChangePerson(r.Context(), byLocal, person)
}

// put writes a value that was given.
func put[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}

func (s *Server) disableUser(r *http.Request, body []byte) (any, error) {
	v := new(Revocation)
	if err := read(body, v); err != nil {
		return nil, err
	}
	return s.userTurned(r, func(id string) error { return s.people.Disable(r.Context(), byLocal, id, v.Why) })
}

func (s *Server) enableUser(r *http.Request, _ []byte) (any, error) {
	return s.userTurned(r, func(id string) error { return s.people.Enable(r.Context(), byLocal, id) })
}

// userTurned disables or enables the person that the path names, and shows them.
func (s *Server) userTurned(r *http.Request, turn func(id string) error) (any, error) {
	person, err := s.people.PersonBy(r.Context(), r.PathValue("name"))
	if err == nil {
		err = turn(person.ID)
	}
	if err != nil {
		return nil, err
	}
	return s.people.PersonBy(r.Context(), person.ID)
}

// listedSession is a session with whose it is.
type listedSession struct {
	*session.Session
	User string `json:"user"`
}

// listSessions handles GET /sessions?user=NAME: live ones, of everyone without it.
func (s *Server) listSessions(r *http.Request, _ []byte) (any, error) {
	return s.liveSessions(r.Context(), r.FormValue("user"))
}

func (s *Server) liveSessions(ctx context.Context, user string) ([]listedSession, error) {
	id := ""
	if user != "" {
		person, err := s.people.PersonBy(ctx, user)
		if err != nil {
			return nil, err
		}
		id = person.ID
	}
	sessions, err := s.people.SessionsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	persons, err := s.people.Persons(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(persons))
	for _, p := range persons {
		names[p.ID] = p.Name
	}
	list := make([]listedSession, 0, len(sessions))
	for _, one := range sessions {
		list = append(list, listedSession{one, names[one.Person]})
	}
	return list, nil
}

func (s *Server) endSession(r *http.Request, _ []byte) (any, error) {
	return struct{}{}, s.people.EndSessionOf(r.Context(), byLocal, r.PathValue("id"), r.FormValue("why"))
}

// asRefusal makes what people is told to understand an answer of ours.
func asRefusal(err error) *refusal {
	var r *people.Refusal
	if !errors.As(err, &r) {
		return nil
	}
	return refuse(r.Status, r.Code, r.Text, r.Fix)
}

// bypassRequest lets one rule pass for one laptop (id) or one person (name).
type bypassRequest struct {
	Device string `json:"device,omitempty"`
	Person string `json:"person,omitempty"`
	Rule   string `json:"rule"`
	Why    string `json:"why"`
	LastsS int    `json:"lasts_s"`
}

func (s *Server) addBypass(r *http.Request, body []byte) (any, error) {
	var q bypassRequest
	if err := read(body, &q); err != nil {
		return nil, err
	}
	return s.people.LetPass(r.Context(), byLocal, q.Device, q.Person, q.Rule, q.Why, s.now().Add(time.Duration(q.LastsS)*time.Second))
}

func (s *Server) listBypasses(r *http.Request, _ []byte) (any, error) {
	list, err := s.people.Bypasses(r.Context())
	return append([]*store.Bypass{}, list...), err
}

func (s *Server) endBypass(r *http.Request, _ []byte) (any, error) {
	return struct{}{}, s.people.EndBypass(r.Context(), byLocal, r.PathValue("id"))
}

package web

import (
	"net/http"
	"time"

	"muster/server/people"
)

// Who holds a one-time secret: an invitation, a recovery. The secret travels in
// the fragment of an address, which browsers send to nobody, and from there in
// bodies only.

func (s *site) invitationPage(w http.ResponseWriter, r *request) error {
	return s.show(w, r, "invitation", "Your invitation", nil)
}

// invitationOpen shows whose it is before anything is made, so that nobody takes
// another's by mistake. It uses nothing up.
func (s *site) invitationOpen(w http.ResponseWriter, r *request) error {
	i, err := s.People.OpenInvitation(r.Context(), r.PostFormValue("secret"))
	if err != nil {
		return err
	}
	return s.part(w, r, "invitation", "opened", s.invitationView(i))
}

// invitationView is an invitation as who brings its secret sees it.
type invitationView struct {
	*people.Invited
	Laptop string // the name of the one that it is bound to; nothing else of it is told
	Port   int    // of that laptop's own loopback; 0: nowhere
}

func (s *site) invitationView(i *people.Invited) invitationView {
	v := invitationView{Invited: i, Port: s.LinkPort}
	if l, ok := s.laptop(i.Device); ok {
		v.Laptop = l.Name
	}
	return v
}

// invitationLink asks the laptop that the invitation is bound to to vouch for this
// browser. What it answers is worth nothing without the invitation's secret.
func (s *site) invitationLink(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	if s.LinkPort == 0 {
		return refusedPort()
	}
	ask, err := s.People.BeginInvitationLink(r.Context(), m.Secret, r.from)
	if err != nil {
		return err
	}
	return writeJSON(w, ask)
}

// refusedPort refuses what only a laptop's own loopback can prove.
func refusedPort() error {
	return &people.Refusal{Status: http.StatusConflict, Code: "link-port",
		Text: "This server does not ask laptops over their loopback, so no invitation can be bound to one.",
		Fix:  "Set link_port on the server and on the laptop, or make an invitation that is bound to none."}
}

// presence is what a page brings of the laptop that it is on.
func (m *message) presence() people.Presence { return people.Presence{Link: m.ID, Value: m.Value} }

func (s *site) invitationBegin(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	c, err := s.People.BeginAccept(r.Context(), m.Secret, m.presence())
	return begun(w, c, err)
}

func (s *site) invitationFinish(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	secret, _, err := s.People.Accept(r.Context(), m.Secret, m.presence(), cookie(r.Request, cookieCeremony), m.Response, m.Name, r.from)
	if err != nil {
		return err
	}
	return s.signedIn(w, r, secret, "/")
}

// recoverPage explains the ways to who brings no secret; with one it shows how that
// recovery stands.
func (s *site) recoverPage(w http.ResponseWriter, r *request) error {
	return s.show(w, r, "recover", "Recover your account", nil)
}

// recoverView is a recovery as who began it sees it.
type recoverView struct {
	*people.Recovery
	Laptop string // its name
}

// recoverState is asked again and again by a page that waits. It needs no session,
// so it keeps none alive.
func (s *site) recoverState(w http.ResponseWriter, r *request) error {
	rec, err := s.People.RecoveryOf(r.Context(), r.PostFormValue("secret"))
	if err != nil {
		return err
	}
	status := http.StatusOK
	if rec.State == "ready" {
		status = statusStopPolling // the form must not be drawn anew under somebody's hands
	}
	return s.execute(w, status, "recover", "state", s.sheet(r, "", recoverView{rec, s.laptopName(rec.Laptop)}))
}

// statusStopPolling tells htmx to ask no more.
const statusStopPolling = 286

func (s *site) recoverBegin(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	c, err := s.People.BeginRecovered(r.Context(), m.Secret)
	return begun(w, c, err)
}

func (s *site) recoverFinish(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	secret, _, err := s.People.Recovered(r.Context(), m.Secret, cookie(r.Request, cookieCeremony), m.Response, r.from)
	if err != nil {
		return err
	}
	return s.signedIn(w, r, secret, "/")
}

// laptopName is a laptop in lists.
func (s *site) laptopName(id string) string {
	if id == "" {
		return ""
	}
	if l, ok := s.laptop(id); ok && l.Name != "" {
		return l.Name
	}
	return id
}

// laptop is Config.Laptop where it is set.
func (s *site) laptop(id string) (*Laptop, bool) {
	if s.Laptop == nil || id == "" {
		return nil, false
	}
	l, ok := s.Laptop(id)
	return l, ok && l != nil
}

// marginFresh is how much of fresh hands must be left for a form to be sent
// without confirming: between question and form time passes.
const marginFresh = 15 * time.Second

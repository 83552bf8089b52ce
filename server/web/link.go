package web

import (
	"net/http"
	"net/url"

	"muster/server/people"
	"muster/server/session"
)

// linkMark puts a link's state in words.
func linkMark(state session.LinkState, laptop string) mark {
	switch {
	case state == session.LinkLive && laptop != "":
		return mark{"ok", "Linked to " + laptop}
	case state == session.LinkLive:
		return mark{"ok", "Linked to a laptop"}
	case state == session.LinkSuspended && laptop != "":
		return mark{"wait", "Waiting for " + laptop + " to report"}
	case state == session.LinkSuspended:
		return mark{"wait", "Waiting for the laptop to report"}
	}
	return mark{"info", "Not linked to a laptop"}
}

// linkView is which laptop this browser is on, as far as is proved.
type linkView struct {
	mark
	Link     *session.Link
	State    session.LinkState
	Laptop   string
	Strength string
	Port     int // of the agents' own loopback; 0: nowhere
	Server   string
	Next     string
	Again    bool // prove once more, without asking: somebody waits for it
}

// linkView tells only of a link that counts: what is absent is shown as nothing,
// not as an old promise.
func (s *site) linkView(who *people.Who) linkView {
	v := linkView{Port: s.LinkPort, Server: s.Origin, State: s.People.LinkStateOf(who.Session), Next: "/"}
	if l := who.Session.Link; l != nil && v.State != session.LinkAbsent {
		v.Link, v.Laptop, v.Strength = l, s.laptopName(l.Device), strengthWords(l.Strength)
	}
	v.mark = linkMark(v.State, v.Laptop)
	return v
}

// linkPage shows the link and makes it. A link that loopback proved before is
// proved again without a click when another page sent the person here for it.
func (s *site) linkPage(w http.ResponseWriter, r *request) error {
	v := s.linkView(r.who)
	next := r.URL.Query().Get("next")
	v.Next = ownPath(next)
	v.Again = next != "" && v.Port > 0 && v.Link != nil && v.Link.Strength == session.ByLoopback
	return s.show(w, r, "link", "Link this laptop", v)
}

// linkConfirmPage is what the agent opens. The proof stands in the fragment, which
// never reaches us before the person confirms.
func (s *site) linkConfirmPage(w http.ResponseWriter, r *request) error {
	return s.show(w, r, "link-confirm", "Confirm the link", s.linkView(r.who))
}

// linkBegun is a request to link, with the address that opens the agent.
type linkBegun struct {
	*people.LinkAsk
	Open string `json:"open,omitempty"`
}

// linkBegin makes a request to link. What it answers is no secret: it is worth
// nothing without this session's cookie.
func (s *site) linkBegin(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	way := session.Strength(m.Way)
	if way != session.ByLoopback && way != session.ByApp && way != session.ByCode {
		return badBody(nil)
	}
	ask, err := s.People.BeginLink(r.Context(), r.who, way, r.from)
	if err != nil {
		return err
	}
	out := linkBegun{LinkAsk: ask}
	if way == session.ByApp {
		out.Open = "muster://link/" + url.PathEscape(ask.ID) + "/" + ask.Nonce.String()
	}
	return writeJSON(w, out)
}

// linkConfirm brings the proof together with the cookie: the step that an
// attacker's session cannot make for a victim's laptop (SESSIONS.md §4).
func (s *site) linkConfirm(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	if _, err := s.People.ConfirmLink(r.Context(), r.who, m.ID, m.Value); err != nil {
		return err
	}
	// Whoever copied the cookie has the old one: it dies now.
	secret, err := s.People.Renew(r.Context(), r.who)
	if err != nil {
		return err
	}
	setSession(w, secret)
	next := ownPath(m.Next)
	if next == "/" {
		next = "/?done=linked"
	}
	return writeJSON(w, goOn{next})
}

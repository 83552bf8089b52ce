package web

import (
	"fmt"
	"net/http"
	"time"

	"muster/server/people"
	"muster/server/session"
)

// homeView is where somebody stands now.
type homeView struct {
	Link      linkView
	Laptop    *laptopView // that this session is linked to
	Attention []attention
	Passkeys  passkeysView // ids for the browser's list; nothing is shown
}

// attention is something that waits for the person, and where to do it.
type attention struct {
	mark
	More string // what happens next
	Path string
	Do   string // what the link says
}

// home is the first page of who is signed in: what waits for them comes before how
// their laptop stands, and nothing else is there.
func (s *site) home(w http.ResponseWriter, r *request) error {
	v := homeView{Link: s.linkView(r.who)}
	if v.Link.Link != nil && s.own(r, v.Link.Link.Device) == nil {
		if l, ok := s.laptopView(v.Link.Link.Device, true); ok {
			v.Laptop = &l
		}
	}
	own, approve, err := s.People.Recoveries(r.Context(), r.who)
	if err != nil {
		return err
	}
	passkeys, err := s.People.Passkeys(r.Context(), r.who)
	if err != nil {
		return err
	}
	v.Passkeys = s.passkeysView(r, passkeys)
	elevations, asked, err := s.People.Elevations(r.Context(), r.who)
	if err != nil {
		return err
	}
	v.Attention = append(recoveryAttention(own, approve), s.elevationAttention(elevations, asked)...)
	v.Attention = append(v.Attention, s.passkeyAttention(passkeys)...)
	v.Attention = append(v.Attention, laptopAttention(v.Link, s.laptopViews(r))...)
	return s.show(w, r, "home", "Where you stand", v)
}

// recoveryAttention comes first: who reads it in time stops a thief.
func recoveryAttention(own, approve []*people.Recovery) (all []attention) {
	if len(own) > 0 {
		all = append(all, attention{mark{"bad", "Somebody is recovering your account"},
			"If it is not you, cancel it now: it would replace all of your passkeys.", "/approvals", "Look at it"})
	}
	if n := len(approve); n > 0 {
		text := fmt.Sprintf("%d recoveries wait for your approval", n)
		if n == 1 {
			text = "A recovery waits for your approval"
		}
		all = append(all, attention{mark{"wait", text}, "Speak to the person before you approve.", "/approvals", "Open approvals"})
	}
	return all
}

// passkeyAttention: keys with known problems, new ones that a thief may have added,
// and a single one, which is soon none.
func (s *site) passkeyAttention(passkeys []people.Passkey) (all []attention) {
	for _, p := range passkeys {
		if p.Judgement.Bad != "" {
			all = append(all, attention{mark{"bad", "The passkey “" + p.Name + "” has a known problem"},
				"Add another one, then remove it.", "/passkeys", "Open passkeys"})
		}
		if p.Undo && s.Now().Sub(p.CreatedAt) < 24*time.Hour {
			all = append(all, attention{mark{"info", "The passkey “" + p.Name + "” was added " + ago(s.Now(), p.CreatedAt)},
				"If it was not you, remove it now.", "/passkeys", "Open passkeys"})
		}
	}
	if len(passkeys) == 1 {
		all = append(all, attention{mark{"info", "You have only one passkey"},
			"With a second one you can sign in when you lose the first.", "/passkeys", "Add a passkey"})
	}
	return all
}

// laptopAttention leaves out what is wrong with the laptop that this browser is on:
// the page shows it in full below.
func laptopAttention(link linkView, laptops []laptopView) (all []attention) {
	if link.State == session.LinkAbsent {
		all = append(all, attention{mark{"info", "This browser is not linked to a laptop"},
			"Applications that ask for a healthy laptop are closed until it is.", "/link", "Link this laptop"})
	}
	for _, l := range laptops {
		switch {
		case l.Waits():
			all = append(all, attention{mark{"wait", l.Name + " waits for an approval"}, l.CauseText, "/laptops", "Open laptops"})
		case l.Outcome.Icon == "bad" && !l.Here:
			all = append(all, attention{mark{"bad", l.Name + " needs something fixed"}, "The page of your laptops says what.", "/laptops", "Open laptops"})
		}
	}
	return all
}

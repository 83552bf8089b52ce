package web

import (
	"fmt"
	"net/http"
	"slices"

	"muster/server/people"
)

// elevationsView is privileged access: one's own, and what waits for one's word.
type elevationsView struct {
	Own     []elevationView
	Approve []elevationView
	Others  []elevationView // of others, granted: who may approve one may end it
}

// elevationView is one in words.
type elevationView struct {
	*people.Elevation
	State mark
}

// Waits: it is not granted yet.
func (v elevationView) Waits() bool { return v.GrantedAt.IsZero() }

func (s *site) elevationView(e *people.Elevation) elevationView {
	if e.GrantedAt.IsZero() {
		return elevationView{e, mark{"wait", "Waits for an approval"}}
	}
	return elevationView{e, mark{"ok", "Open until " + e.EndsAt.UTC().Format("15:04 UTC")}}
}

// elevationsPage is for everybody: anybody may be in a group that approves.
func (s *site) elevationsPage(w http.ResponseWriter, r *request) error {
	own, approve, err := s.People.Elevations(r.Context(), r.who)
	if err != nil {
		return err
	}
	var v elevationsView
	for _, e := range own {
		v.Own = append(v.Own, s.elevationView(e))
	}
	for _, e := range approve {
		if one := s.elevationView(e); one.Waits() {
			v.Approve = append(v.Approve, one)
		} else {
			v.Others = append(v.Others, one)
		}
	}
	return s.show(w, r, "elevations", "Privileged access", v)
}

// elevationApprove opens somebody else's: who may, and that it is not one's own,
// people know.
func (s *site) elevationApprove(w http.ResponseWriter, r *request) error {
	if err := s.People.ApproveElevation(r.Context(), r.who, r.PostFormValue("id")); err != nil {
		return err
	}
	return s.done(w, r, "/elevations", "elevation-approved")
}

// elevationEnd ends one of the person's own: that takes power away, and so needs no
// fresh hands. Of others' it tells nothing.
func (s *site) elevationEnd(w http.ResponseWriter, r *request) error {
	id := r.PostFormValue("id")
	own, _, err := s.People.Elevations(r.Context(), r.who)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(own, func(e *people.Elevation) bool { return e.ID == id }) {
		return refusedGone()
	}
	if err := s.People.EndElevation(r.Context(), r.who, id); err != nil {
		return err
	}
	return s.done(w, r, "/elevations", "elevation-ended")
}

// elevationDecline ends somebody else's; who may, people know.
func (s *site) elevationDecline(w http.ResponseWriter, r *request) error {
	if err := s.People.EndElevation(r.Context(), r.who, r.PostFormValue("id")); err != nil {
		return err
	}
	return s.done(w, r, "/elevations", "elevation-declined")
}

// elevationAttention: somebody waits for an approval now, and one's own privileged
// access should not be forgotten.
func (s *site) elevationAttention(own, approve []*people.Elevation) (all []attention) {
	if n := len(slices.DeleteFunc(slices.Clone(approve), func(e *people.Elevation) bool { return !e.GrantedAt.IsZero() })); n > 0 {
		text := fmt.Sprintf("%d people ask for privileged access", n)
		if n == 1 {
			text = "Somebody asks for privileged access"
		}
		all = append(all, attention{mark{"wait", text}, "They wait for your approval.", "/elevations", "Look at it"})
	}
	for _, e := range own {
		if !e.GrantedAt.IsZero() {
			all = append(all, attention{mark{"info", "You have privileged access to " + e.App},
				"It ends by itself " + in(s.Now(), e.EndsAt) + ".", "/elevations", "Look at it"})
		}
	}
	return all
}

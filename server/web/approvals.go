package web

import (
	"net/http"
	"strings"

	"muster/server/people"
)

// approvalsView is what waits for somebody's word, and what is about oneself.
type approvalsView struct {
	Own         []recoveryView
	Approve     []recoveryView
	Laptops     []people.Readmitting
	Invitations []people.Invited
	Office      bool   // the asking person has a role that sees invitations
	May         bool   // withdraw and approve laptops
	Link        string // of the recovery just approved: shown once
	Person      string // to hand it to
}

// recoveryView is one in words.
type recoveryView struct {
	*people.Recovery
	Laptop string // its name
	State  mark
	Code   bool // the approver types the code that the laptop shows
}

func (s *site) recoveryView(rec *people.Recovery) recoveryView {
	v := recoveryView{Recovery: rec, Laptop: s.laptopName(rec.Laptop), Code: rec.Way == "laptop"}
	// As Recovery.State says; a state of a later version is not ready.
	switch rec.State {
	case "wait-approval":
		v.State = mark{"wait", "Waits for an approval"}
	case "wait-time":
		v.State = mark{"wait", "Approved by " + rec.Approved + "; a new passkey can be registered " + in(s.Now(), rec.ReadyAt)}
	case "ready":
		v.State = mark{"ok", "Approved; a new passkey can be registered now"}
	default:
		v.State = mark{"unknown", "It is not known how this stands"}
	}
	return v
}

// approvalsPage is for everybody: anybody may have been named as an approver, and
// everybody sees a recovery of their own account.
func (s *site) approvalsPage(w http.ResponseWriter, r *request) error {
	return s.showApprovals(w, r, approvalsView{})
}

func (s *site) showApprovals(w http.ResponseWriter, r *request, v approvalsView) error {
	own, approve, err := s.People.Recoveries(r.Context(), r.who)
	if err != nil {
		return err
	}
	for _, rec := range own {
		v.Own = append(v.Own, s.recoveryView(rec))
	}
	for _, rec := range approve {
		v.Approve = append(v.Approve, s.recoveryView(rec))
	}
	v.Office, v.May = r.who.Is(readers()...), r.who.Is(inviters()...)
	if v.Office {
		if v.Invitations, err = s.People.Invitations(r.Context()); err != nil {
			return err
		}
		if v.Laptops, err = s.People.Readmissions(r.Context()); err != nil {
			return err
		}
	}
	return s.show(w, r, "approvals", "Approvals", v)
}

// recoveryApprove answers an administrators' recovery with its link, which cannot
// be had again; a laptop's has none.
func (s *site) recoveryApprove(w http.ResponseWriter, r *request) error {
	code := strings.TrimSpace(r.PostFormValue("code"))
	link, err := s.People.ApproveRecovery(r.Context(), r.who, r.PostFormValue("id"), code)
	switch {
	case err != nil:
		return err
	case link != "":
		return s.showApprovals(w, r, approvalsView{Link: link})
	}
	return s.done(w, r, "/approvals", "recovery-approved")
}

// recoveryCancel needs no fresh hands: the owner of the account must be able to
// stop a thief from any session.
func (s *site) recoveryCancel(w http.ResponseWriter, r *request) error {
	if err := s.People.CancelRecovery(r.Context(), r.who, r.PostFormValue("id")); err != nil {
		return err
	}
	return s.done(w, r, "/approvals", "recovery-cancelled")
}

func (s *site) invitationWithdraw(w http.ResponseWriter, r *request) error {
	if err := s.People.EndInvitation(r.Context(), actor(r.who), r.PostFormValue("id")); err != nil {
		return err
	}
	return s.done(w, r, "/approvals", "invitation-withdrawn")
}

// readmissionApprove confirms an owner's word that a laptop is still theirs.
func (s *site) readmissionApprove(w http.ResponseWriter, r *request) error {
	if err := s.People.ApproveReadmission(r.Context(), r.who, r.PostFormValue("id")); err != nil {
		return err
	}
	return s.done(w, r, "/approvals", "readmission-approved")
}

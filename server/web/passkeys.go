package web

import (
	"encoding/base64"
	"net/http"
	"time"

	"muster/server/people"
)

// passkeysView is what somebody sees of their passkeys.
type passkeysView struct {
	Passkeys []passkeyView
	RPID     string
	Handle   []byte
	Accepted []string // ids that the browser may go on offering, base64url
	CanAdd   bool
}

// passkeyView is one in words.
type passkeyView struct {
	people.Passkey
	Model    string
	Evidence mark
	Synced   string
	Last     bool      // the only one: it stays
	UndoTill time.Time // zero: no undo
}

// passkeysPage lists them, and tells the browser which are left: it offers removed
// ones no longer (WebAuthn Level 3 §5.1.10.2).
func (s *site) passkeysPage(w http.ResponseWriter, r *request) error {
	all, err := s.People.Passkeys(r.Context(), r.who)
	if err != nil {
		return err
	}
	return s.show(w, r, "passkeys", "Your passkeys", s.passkeysView(r, all))
}

func (s *site) passkeysView(r *request, all []people.Passkey) passkeysView {
	v := passkeysView{RPID: s.People.RPID, Handle: r.who.Person.Handle, CanAdd: s.People.RPID != ""}
	for _, p := range all {
		one := passkeyView{Passkey: p, Model: p.Judgement.Model, Evidence: evidenceMark(p.Judgement), Synced: syncWords(p.Credential), Last: len(all) == 1}
		if p.Undo {
			one.UndoTill = p.CreatedAt.Add(24 * time.Hour)
		}
		v.Passkeys = append(v.Passkeys, one)
		v.Accepted = append(v.Accepted, base64.RawURLEncoding.EncodeToString(p.ID))
	}
	return v
}

// passkeyBegin and passkeyFinish add one: with fresh hands at both ends, since
// minutes may lie between.
func (s *site) passkeyBegin(w http.ResponseWriter, r *request) error {
	if _, err := r.message(); err != nil {
		return err
	}
	c, err := s.People.BeginAdd(r.Context(), r.who)
	return begun(w, c, err)
}

func (s *site) passkeyFinish(w http.ResponseWriter, r *request) error {
	m, err := r.message()
	if err != nil {
		return err
	}
	if _, err := s.People.Add(r.Context(), r.who, cookie(r.Request, cookieCeremony), m.Response, m.Name); err != nil {
		return err
	}
	clearCeremony(w)
	return writeJSON(w, goOn{"/passkeys?done=passkey-added"})
}

func (s *site) passkeyRename(w http.ResponseWriter, r *request) error {
	id, err := credentialOf(r)
	if err != nil {
		return err
	}
	if err := s.People.NamePasskey(r.Context(), r.who, id, r.PostFormValue("name")); err != nil {
		return err
	}
	return s.done(w, r, "/passkeys", "passkey-renamed")
}

// passkeyRemove: whether hands must be fresh depends on which one it is, so people
// decides and the refusal leads to the confirmation.
func (s *site) passkeyRemove(w http.ResponseWriter, r *request) error {
	id, err := credentialOf(r)
	if err != nil {
		return err
	}
	if _, err := s.People.RemovePasskey(r.Context(), r.who, id); err != nil {
		return err
	}
	return s.done(w, r, "/passkeys", "passkey-removed")
}

// credentialOf reads a credential's id from a form.
func credentialOf(r *request) ([]byte, error) {
	id, err := base64.RawURLEncoding.DecodeString(r.PostFormValue("id"))
	if err != nil || len(id) == 0 {
		return nil, refusedGone()
	}
	return id, nil
}

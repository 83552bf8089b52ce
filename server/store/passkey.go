package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"muster/server/passkey"
)

// Passkey is a person's credential.
type Passkey struct {
	passkey.Credential
	Person    string    `json:"person"`
	Name      string    `json:"name"` // what its owner calls it
	CreatedAt time.Time `json:"created_at"`
	// CreatedIn is the session in which it was added; empty: by invitation.
	CreatedIn string `json:"created_in,omitempty"`
}

// fit refuses what the store does not keep of a registration.
func (p *Passkey) fit() error {
	return errors.Join(
		sized("credential id", p.ID, maxPasskey), sized("public key", p.PublicKey, maxKey),
		sized("attestation object", p.Attestation, maxRegister), sized("client data", p.ClientData, maxRegister),
		bounded("attachment", p.Attachment, maxID), bounded("session id", p.CreatedIn, maxID), fitLabel(p.Name))
}

// fitLabel refuses names of passkeys of more than 64 characters.
func fitLabel(name string) error {
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName {
		return fmt.Errorf("name of a passkey has more than %d characters", maxName)
	}
	return nil
}

const passkeySelect = `SELECT p.id, p.person, p.public_key, p.algorithm, p.aaguid, p.attestation,
	p.client_data, p.transports, p.attachment, p.backup_eligible, p.user_verified, p.created_at,
	p.created_in, s.name, s.use, s.judgement FROM passkeys p JOIN passkey_states s ON s.n = p.n `

func scanPasskey(row scanner) (*Passkey, error) {
	p := new(Passkey)
	var aaguid []byte
	var transports, use, judgement string
	var created int64
	if err := row.Scan(&p.ID, &p.Person, &p.PublicKey, &p.Algorithm, &aaguid, &p.Attestation,
		&p.ClientData, &transports, &p.Attachment, &p.BackupEligible, &p.UserVerified, &created,
		&p.CreatedIn, &p.Name, &use, &judgement); err != nil {
		return nil, err
	}
	copy(p.AAGUID[:], aaguid)
	p.CreatedAt = instant(created)
	return p, errors.Join(json.Unmarshal([]byte(transports), &p.Transports),
		json.Unmarshal([]byte(use), &p.Use), json.Unmarshal([]byte(judgement), &p.Judgement))
}

// AddPasskey keeps one; ErrTaken when the credential id is of anyone already,
// ErrRevoked when it was ever removed, or its person is disabled.
func (t *Tx) AddPasskey(p *Passkey) error {
	if err := p.fit(); err != nil {
		return err
	}
	if err := t.enabled(p.Person); err != nil {
		return err
	}
	dead, err := t.PasskeyRemoved(p.ID)
	if err != nil {
		return err
	}
	if dead {
		return fmt.Errorf("passkey was removed: %w", ErrRevoked)
	}
	transports, err := packJSON("transports", p.Transports, maxText)
	if err != nil {
		return err
	}
	use, judgement, err := packStates(&p.Use, &p.Judgement)
	if err != nil {
		return err
	}
	p.CreatedAt = t.now
	t.changed(PersonChanged, p.Person)
	if err := t.one(`INSERT INTO passkeys (id, person, public_key, algorithm, aaguid, attestation,
		client_data, transports, attachment, backup_eligible, user_verified, created_at, created_in)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		p.ID, p.Person, p.PublicKey, p.Algorithm, p.AAGUID[:], p.Attestation, p.ClientData, transports,
		p.Attachment, p.BackupEligible, p.UserVerified, millis(p.CreatedAt), p.CreatedIn); err != nil {
		return fmt.Errorf("adding passkey: %w", err)
	}
	return t.one(`INSERT INTO passkey_states (n, name, use, judgement)
		SELECT n, ?, ?, ? FROM passkeys WHERE id = ?`, p.Name, use, judgement, p.ID)
}

func packStates(u *passkey.Use, j *passkey.Judgement) (use, judgement string, err error) {
	if use, err = packJSON("use of a passkey", u, maxText); err != nil {
		return "", "", err
	}
	judgement, err = packJSON("judgement of a passkey", j, maxJudged)
	return use, judgement, err
}

// PasskeyRemoved tells whether a passkey with that credential id was ever removed.
func (t *Tx) PasskeyRemoved(credential []byte) (removed bool, err error) {
	err = t.first([]any{&removed}, "SELECT EXISTS (SELECT 1 FROM dead_passkeys WHERE id = ?)", credential)
	return removed, err
}

// PasskeyByID reads one by its credential id.
func (t *Tx) PasskeyByID(credential []byte) (*Passkey, error) {
	return pick(t, scanPasskey, passkeySelect+"WHERE p.id = ?", credential)
}

// Passkeys lists a person's, oldest first; of everyone for "".
func (t *Tx) Passkeys(person string) ([]*Passkey, error) {
	if person == "" {
		return collect(t, scanPasskey, passkeySelect+"ORDER BY p.n")
	}
	return collect(t, scanPasskey, passkeySelect+"WHERE p.person = ? ORDER BY p.n", person)
}

// UsePasskey notes an assertion.
func (t *Tx) UsePasskey(credential []byte, u *passkey.Use) error {
	use, err := packJSON("use of a passkey", u, maxText)
	if err != nil {
		return err
	}
	return t.setPasskey(credential, "UPDATE passkey_states SET use = ? WHERE n = ?", use)
}

// JudgePasskey replaces what is thought of it.
func (t *Tx) JudgePasskey(credential []byte, j *passkey.Judgement) error {
	judgement, err := packJSON("judgement of a passkey", j, maxJudged)
	if err != nil {
		return err
	}
	return t.setPasskey(credential, "UPDATE passkey_states SET judgement = ? WHERE n = ?", judgement)
}

// NamePasskey renames it.
func (t *Tx) NamePasskey(credential []byte, name string) error {
	if err := fitLabel(name); err != nil {
		return err
	}
	return t.setPasskey(credential, "UPDATE passkey_states SET name = ? WHERE n = ?", name)
}

func (t *Tx) setPasskey(credential []byte, query, value string) error {
	var n int64
	var person string
	if err := t.first([]any{&n, &person}, "SELECT n, person FROM passkeys WHERE id = ?", credential); err != nil {
		return err
	}
	t.changed(PersonChanged, person)
	return t.one(query, value, n)
}

// RemovePasskey ends it for ever, journalled, with the sessions that it opened:
// nobody can add it again. It returns how many sessions ended.
func (t *Tx) RemovePasskey(credential []byte, cause string) (sessions int, err error) {
	var person string
	if err := t.first([]any{&person}, "SELECT person FROM passkeys WHERE id = ?", credential); err != nil {
		return 0, err
	}
	l := line{Kind: linePasskey, Epoch: t.epoch, Time: millis(t.now), Person: person, Passkey: credential,
		Cause: cutCause(cause)}
	t.lines = append(t.lines, l)
	_, sessions, err = t.endPasskey(&l)
	return sessions, err
}

// endPasskey removes what a line of the journal says, if it is there.
func (t *Tx) endPasskey(l *line) (removed bool, sessions int, err error) {
	var owner string
	err = t.first([]any{&owner}, "SELECT person FROM passkeys WHERE id = ?", l.Passkey)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, 0, err
	}
	if _, err := t.exec(`INSERT INTO dead_passkeys (id, person, at, cause) VALUES (?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, l.Passkey, l.Person, l.Time, l.Cause); err != nil {
		return false, 0, err
	}
	if sessions, err = t.endSessions("WHERE credential = ? AND ended_at = 0", l.Cause, l.Passkey); err != nil {
		return false, 0, err
	}
	n, err := t.exec("DELETE FROM passkeys WHERE id = ?", l.Passkey)
	if n > 0 {
		t.changed(PersonChanged, owner)
	}
	return n > 0, sessions, err
}

func (t *Tx) replayPasskey(l *line) error {
	removed, _, err := t.endPasskey(l)
	if err != nil || !removed {
		return err
	}
	return t.told("passkey.remove", l.Person, record{Why: l.Cause, Journal: true})
}

// unjournalledPasskeys returns the removals that the database has and the
// journal, whose dead are given, has not.
func (t *Tx) unjournalledPasskeys(known map[string]bool) (lines []line, err error) {
	err = t.query(func(row scanner) error {
		l := line{Kind: linePasskey, Epoch: t.epoch}
		if err := row.Scan(&l.Passkey, &l.Person, &l.Time, &l.Cause); err != nil {
			return err
		}
		if !known[deadPasskey+string(l.Passkey)] {
			lines = append(lines, l)
		}
		return nil
	}, "SELECT id, person, at, cause FROM dead_passkeys ORDER BY at")
	return lines, err
}

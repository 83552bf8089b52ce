package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/verify"
)

// Device is what was registered of a laptop. Its keys change only with an
// approval; where its statements stand is in [Hot].
type Device struct {
	ID       string
	State    attest.DeviceState
	Level    verify.Level
	Class    verify.Class
	Group    string
	Owner    string
	Name     string // host name, for people
	Platform posture.Platform
	Serial   string // claimed: identifies nothing
	UUID     string // claimed: identifies nothing
	Keys     Keys
	TPM      attest.TPMInfo
	// TokenID names the token that admitted it; empty without one.
	TokenID string
	// Predecessor is the id of the device that this system was before, as its agent
	// says and its secret of then shows; empty for none.
	Predecessor string
	// Cause is the code of why it is pending, or how it came here; CauseText says
	// so in a sentence.
	Cause, CauseText string
	CreatedAt        time.Time
	ApprovedAt       time.Time
	ApprovedBy       string
	// RevokedAt, RevokedBy and RevokedWhy are set by [Tx.RevokeDevice] alone.
	RevokedAt  time.Time
	RevokedBy  string
	RevokedWhy string

	n int64
}

// Keys are the public side of a device's identity. A softkey device has only a
// DK. EKHash, AKName and DKID are each of at most one device.
type Keys struct {
	Kind          attest.Kind
	EKHash        attest.Digest // SHA-256 of the SubjectPublicKeyInfo
	EKTemplate    attest.EKTemplate
	EKPublic      []byte // TPMT_PUBLIC
	EKCertificate []byte // DER; nil without one
	AK            []byte // TPMT_PUBLIC
	AKName        []byte // TPM Name
	DK            []byte // TPMT_PUBLIC, or a softkey's point
	DKID          attest.Digest
	DKb           []byte // TPMT_PUBLIC of this boot's key; nil without one
	// DKbCounter tells that DKb is bound to the reset count beside PCR 7.
	DKbCounter bool
}

const deviceColumns = `n, id, state, level, class, grp, owner, name, platform, kind, serial, uuid,
	ek_hash, ek_template, ek_public, ek_certificate, ak, ak_name, dk, dk_id, dkb, dkb_counter, tpm,
	token_id, cause, cause_text, created_at, approved_at, approved_by, coalesce(predecessor, ''),
	revoked_at, revoked_by, revoked_why`

// values are the columns that callers write, in the order of deviceColumns
// without n and what revocation sets.
func (d *Device) values() ([]any, error) {
	level, err := d.Level.MarshalText()
	if err != nil {
		return nil, err
	}
	tpm, err := json.Marshal(d.TPM)
	if err != nil {
		return nil, err
	}
	k := &d.Keys
	return []any{d.ID, string(d.State), string(level), string(d.Class), d.Group, d.Owner, d.Name,
		string(d.Platform), string(k.Kind), d.Serial, d.UUID, orNull(k.EKHash), string(k.EKTemplate),
		k.EKPublic, k.EKCertificate, k.AK, k.AKName, k.DK, orNull(k.DKID), k.DKb, k.DKbCounter,
		string(tpm), d.TokenID, d.Cause, d.CauseText, millis(d.CreatedAt), millis(d.ApprovedAt),
		d.ApprovedBy, sql.NullString{String: d.Predecessor, Valid: d.Predecessor != ""}}, nil
}

func scanDevice(row scanner) (*Device, error) {
	d := new(Device)
	k := &d.Keys
	var level, tpm string
	var ek, dk []byte
	var created, approved, revoked int64
	err := row.Scan(&d.n, &d.ID, &d.State, &level, &d.Class, &d.Group, &d.Owner, &d.Name,
		&d.Platform, &k.Kind, &d.Serial, &d.UUID, &ek, &k.EKTemplate, &k.EKPublic, &k.EKCertificate,
		&k.AK, &k.AKName, &k.DK, &dk, &k.DKb, &k.DKbCounter, &tpm, &d.TokenID, &d.Cause, &d.CauseText,
		&created, &approved, &d.ApprovedBy, &d.Predecessor, &revoked, &d.RevokedBy, &d.RevokedWhy)
	if err != nil {
		return nil, err
	}
	if err := d.Level.UnmarshalText([]byte(level)); err != nil {
		return nil, err
	}
	if k.EKHash, err = readDigest(ek); err != nil {
		return nil, err
	}
	if k.DKID, err = readDigest(dk); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(tpm), &d.TPM); err != nil {
		return nil, err
	}
	d.CreatedAt, d.ApprovedAt, d.RevokedAt = instant(created), instant(approved), instant(revoked)
	return d, nil
}

// Device reads one by id.
func (t *Tx) Device(id string) (*Device, error) {
	return t.device("SELECT "+deviceColumns+" FROM devices WHERE id = ?", id)
}

// DeviceByEK reads the one with that EK hash.
func (t *Tx) DeviceByEK(hash attest.Digest) (*Device, error) {
	return t.device("SELECT "+deviceColumns+" FROM devices WHERE ek_hash = ?", orNull(hash))
}

// DeviceByAK reads the one with that AK name.
func (t *Tx) DeviceByAK(name []byte) (*Device, error) {
	return t.device("SELECT "+deviceColumns+" FROM devices WHERE ak_name = ?", name)
}

// DeviceByDK reads the one with that device key.
func (t *Tx) DeviceByDK(id attest.Digest) (*Device, error) {
	return t.device("SELECT "+deviceColumns+" FROM devices WHERE dk_id = ?", orNull(id))
}

func (t *Tx) device(query string, arg any) (d *Device, err error) {
	err = t.query(func(row scanner) (err error) {
		d, err = scanDevice(row)
		return err
	}, query, arg)
	if err == nil && d == nil {
		err = ErrNotFound
	}
	return d, err
}

// Devices lists those in a state, or all for the empty state, in the order of
// their ids, from behind the given one: at most limit.
func (t *Tx) Devices(state attest.DeviceState, after string, limit int) (list []*Device, err error) {
	each := func(row scanner) error {
		d, err := scanDevice(row)
		list = append(list, d)
		return err
	}
	if state == "" {
		err = t.query(each, "SELECT "+deviceColumns+" FROM devices WHERE id > ? ORDER BY id LIMIT ?", after, limit)
	} else {
		err = t.query(each, "SELECT "+deviceColumns+` FROM devices WHERE state = ? AND id > ?
			ORDER BY id LIMIT ?`, string(state), after, limit)
	}
	return list, err
}

// Successors lists the devices that say they were that one before, those that
// enrolled first first.
func (t *Tx) Successors(device string) ([]*Device, error) {
	return collect(t, scanDevice, "SELECT "+deviceColumns+" FROM devices WHERE predecessor = ? ORDER BY n", device)
}

// ActiveSince lists the active ones among a device and all that came after it, at
// however many removes, those that enrolled first first.
func (t *Tx) ActiveSince(device string) ([]*Device, error) {
	// The plus keeps SQLite from reading every active device: families are small.
	return collect(t, scanDevice, `WITH RECURSIVE since (n, id) AS (
		SELECT n, id FROM devices WHERE id = ? UNION
		SELECT d.n, d.id FROM since JOIN devices d ON d.predecessor = since.id)
		SELECT `+deviceColumns+` FROM devices WHERE n IN (SELECT n FROM since) AND +state = 'active' ORDER BY n`, device)
}

// CountDevices tells how many are in each state.
func (t *Tx) CountDevices() (map[attest.DeviceState]int, error) {
	counts := map[attest.DeviceState]int{}
	err := t.query(func(row scanner) error {
		var state attest.DeviceState
		var n int
		err := row.Scan(&state, &n)
		counts[state] = n
		return err
	}, "SELECT state, count(*) FROM devices GROUP BY state")
	return counts, err
}

// InsertDevice adds a pending or active device, its first anchor and an empty
// [Hot]. ErrTaken when its id or a key is another's, ErrRevoked when a key of it
// is dead.
func (t *Tx) InsertDevice(d *Device) error {
	if err := t.admissible(d); err != nil {
		return err
	}
	values, err := d.values()
	if err != nil {
		return err
	}
	if err := t.one(`INSERT INTO devices (id, state, level, class, grp, owner, name, platform, kind,
		serial, uuid, ek_hash, ek_template, ek_public, ek_certificate, ak, ak_name, dk, dk_id, dkb,
		dkb_counter, tpm, token_id, cause, cause_text, created_at, approved_at, approved_by,
		predecessor, revoked_at, revoked_by, revoked_why)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
		0, '', '')`, values...); err != nil {
		return fmt.Errorf("inserting device: %w", err)
	}
	if err := t.first([]any{&d.n}, "SELECT n FROM devices WHERE id = ?", d.ID); err != nil {
		return err
	}
	state := (&Hot{}).pack(t.epoch)
	if err := t.one("INSERT INTO hot (n, rev, state) VALUES (?, 1, ?)", d.n, state); err != nil {
		return err
	}
	t.changed(DeviceChanged, d.ID)
	return t.anchor(d)
}

// UpdateDevice writes a device that was read in this function. When its keys or
// level are other than before, the history of anchors grows, and a DK that it
// had is dead for ever. Every [Hot] that was read before becomes stale.
// ErrRevoked when it is revoked, or a key of it is dead; ErrTaken as with
// InsertDevice.
func (t *Tx) UpdateDevice(d *Device) error {
	before, err := t.Device(d.ID)
	if err != nil {
		return err
	}
	if before.State == attest.Revoked {
		return ErrRevoked
	}
	if before.Keys.DKID != d.Keys.DKID {
		if err := t.retire(before); err != nil {
			return err
		}
	}
	if err := t.admissible(d); err != nil {
		return err
	}
	values, err := d.values()
	if err != nil {
		return err
	}
	if err := t.one(`UPDATE devices SET id = ?, state = ?, level = ?, class = ?, grp = ?, owner = ?,
		name = ?, platform = ?, kind = ?, serial = ?, uuid = ?, ek_hash = ?, ek_template = ?,
		ek_public = ?, ek_certificate = ?, ak = ?, ak_name = ?, dk = ?, dk_id = ?, dkb = ?,
		dkb_counter = ?, tpm = ?, token_id = ?, cause = ?, cause_text = ?, created_at = ?,
		approved_at = ?, approved_by = ?, predecessor = ? WHERE n = ?`, append(values, before.n)...); err != nil {
		return fmt.Errorf("updating device: %w", err)
	}
	d.n = before.n
	if err := t.touch(d); err != nil {
		return err
	}
	return t.anchor(d)
}

// SetBootKey gives a device the key of its new boot, nil for none, and nothing
// else. The new key comes with a report, and is written in the same update as the
// [Tx.PutHot] that accepts it. So unlike UpdateDevice it leaves the Hot that the
// report was judged by good: that the device did not change in between is what
// PutHot checks, and with its ErrStale the key is undone. And it tells no
// DeviceChanged: a boot key says nothing that a decision rests on, and the server,
// which has just judged the report, would read again what it knows. ErrRevoked
// when the device or one of its keys is dead; ErrNotFound.
func (t *Tx) SetBootKey(device string, dkb []byte, counterBound bool) error {
	d, err := t.Device(device)
	if err != nil {
		return err
	}
	if d.State == attest.Revoked {
		return ErrRevoked
	}
	if err := t.admissible(d); err != nil {
		return err
	}
	if len(dkb) > maxKey || counterBound && len(dkb) == 0 {
		return fmt.Errorf("%w: boot key of %d bytes", ErrForm, len(dkb))
	}
	if len(dkb) == 0 {
		dkb = nil
	}
	return t.one("UPDATE devices SET dkb = ?, dkb_counter = ? WHERE n = ?", dkb, counterBound, d.n)
}

// admissible refuses what no caller may write: a state that only RevokeDevice
// sets, and dead keys.
func (t *Tx) admissible(d *Device) error {
	if d.State != attest.Pending && d.State != attest.Active {
		return fmt.Errorf("device state %q cannot be written", d.State)
	}
	if d.ID == "" || d.Keys.DKID.IsZero() {
		return fmt.Errorf("device without id or DK")
	}
	dead, err := t.KeyRevoked(d.Keys.EKHash, d.Keys.AKName, d.Keys.DKID)
	if err == nil && dead {
		err = ErrRevoked
	}
	return err
}

// touch makes every Hot of the device that was read so far stale, so that no
// report that was judged before is accepted after.
func (t *Tx) touch(d *Device) error {
	t.changed(DeviceChanged, d.ID)
	return t.one("UPDATE hot SET rev = rev + 1 WHERE n = ?", d.n)
}

package store

import (
	"encoding/json"

	"muster/attest"
)

// Kinds of dead keys, as stored.
const (
	deadEK      = "ek"
	deadAK      = "ak"
	deadDK      = "dk"
	deadGateway = "gateway" // the hash of a removed credential
	deadPasskey = "passkey" // a credential id; in a table of its own
)

// KeyRevoked tells whether any of the keys belonged to a revoked device, or is a
// DK that a device replaced. Absent ones are zero or nil.
func (t *Tx) KeyRevoked(ek attest.Digest, ak []byte, dk attest.Digest) (bool, error) {
	var dead bool
	err := t.first([]any{&dead}, `SELECT EXISTS (SELECT 1 FROM dead_keys WHERE kind = 'ek' AND value = ?)
		OR EXISTS (SELECT 1 FROM dead_keys WHERE kind = 'ak' AND value = ?)
		OR EXISTS (SELECT 1 FROM dead_keys WHERE kind = 'dk' AND value = ?)`,
		orNull(ek), ak, orNull(dk))
	return dead, err
}

// RevokeDevice ends a device and every key that it ever showed, for ever, in
// the journal too. A device that ever showed one of these keys is the same
// machine under another name: it ends as well, with its keys, and so on. The ids
// of those others are returned; the store audits them, the caller the one that
// it named. Again is no change. ErrNotFound without the device.
func (t *Tx) RevokeDevice(id, by, why string) (others []string, err error) {
	d, err := t.Device(id)
	if err != nil || d.State == attest.Revoked {
		return nil, err
	}
	return t.end([]*Device{d}, &ending{device: id, at: millis(t.now), by: by, why: why})
}

// ending is a revocation: of which device, when (Unix milliseconds), by whom and
// why.
type ending struct {
	device  string
	at      int64
	by, why string
	replay  bool // it comes from the journal
}

// reason is why a device ends with it.
func (e *ending) reason(device string) string {
	if device == e.device {
		return e.why
	}
	return "has a key of device " + e.device + ": " + e.why
}

// end revokes the live ones of some devices, and all that share a key with them.
// It returns the ids of those that the revocation did not name.
func (t *Tx) end(queue []*Device, e *ending) (others []string, err error) {
	seen := map[int64]bool{}
	for ; len(queue) > 0; queue = queue[1:] {
		d := queue[0]
		if seen[d.n] || d.State == attest.Revoked {
			continue
		}
		seen[d.n] = true
		if d.ID != e.device {
			others = append(others, d.ID)
		}
		anchors, err := t.Anchors(d.ID)
		if err != nil {
			return nil, err
		}
		if err := t.revoke(d, anchors, e); err != nil {
			return nil, err
		}
		for _, a := range anchors {
			same, err := t.DevicesByAnchor(a.EKHash, a.AKName, a.DKID)
			if err != nil {
				return nil, err
			}
			queue = append(queue, same...)
		}
	}
	return others, nil
}

// revoke ends one device: its keys, its row, and a word in the audit log when
// nobody else writes one.
func (t *Tx) revoke(d *Device, anchors []Anchor, e *ending) error {
	why := e.reason(d.ID)
	for _, a := range anchors {
		ek, dk := orNull(a.EKHash), orNull(a.DKID)
		if !e.replay {
			t.lines = append(t.lines, line{
				Kind: lineRevoke, Epoch: t.epoch, Time: e.at, Device: d.ID, By: e.by, Cause: why,
				EKHash: ek, AKName: a.AKName, DKID: dk,
			})
		}
		if err := t.killKeys(d.ID, ek, a.AKName, dk, e.at, why); err != nil {
			return err
		}
	}
	if err := t.one(`UPDATE devices SET state = 'revoked', revoked_at = ?, revoked_by = ?, revoked_why = ?
		WHERE n = ?`, e.at, e.by, why, d.n); err != nil {
		return err
	}
	if e.replay || d.ID != e.device {
		if err := t.told("device.revoke", d.ID, record{By: e.by, Why: why, Journal: e.replay}); err != nil {
			return err
		}
	}
	return t.touch(d)
}

// record is what the audit log keeps of a change that the store made by itself.
type record struct {
	By  string `json:"by,omitempty"`
	Why string `json:"why"`
	// Journal: the database had forgotten it, and learned it from the journal.
	Journal bool `json:"journal,omitempty"`
}

func (t *Tx) told(action, subject string, r record) error {
	detail, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = t.Audit(Entry{Actor: "store", Action: action, Subject: subject, Detail: detail})
	return err
}

// killKeys puts the keys of a device among the dead; nil ones are none.
func (t *Tx) killKeys(device string, ek, ak, dk []byte, at int64, cause string) error {
	for kind, value := range map[string][]byte{deadEK: ek, deadAK: ak, deadDK: dk} {
		if err := t.kill(kind, value, device, at, cause); err != nil {
			return err
		}
	}
	return nil
}

// kill puts a key among the dead; one that is there stays as it is.
func (t *Tx) kill(kind string, value []byte, subject string, at int64, cause string) error {
	if len(value) == 0 {
		return nil
	}
	_, err := t.exec(`INSERT INTO dead_keys (kind, value, subject, at, cause)
		VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, kind, value, subject, at, cause)
	return err
}

// Why keys are dead of which no device was revoked.
const (
	causeReplaced = "replaced" // a DK whose device lives on with another
	causeRemoved  = "removed"  // a gateway's credential
)

// retire ends the DK that a device had: whoever finds the old disk has nothing.
// Its line is written behind the commit, since before it the device might lose
// its key to an update that is never kept; after a crash between the two the next
// start writes it.
func (t *Tx) retire(d *Device) error {
	dk := orNull(d.Keys.DKID)
	t.later = append(t.later, line{
		Kind: lineRetire, Epoch: t.epoch, Time: millis(t.now), Device: d.ID, DKID: dk, Cause: causeReplaced,
	})
	return t.kill(deadDK, dk, d.ID, millis(t.now), causeReplaced)
}

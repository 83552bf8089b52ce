package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/store"
	"muster/server/verify"
)

// softRow is an active device as the store has it, with a key of its own.
func softRow(t *testing.T, id string) *store.Device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &store.Device{
		ID: id, State: attest.Active, Class: verify.ClassCorporate, Platform: posture.Linux,
		Keys: store.Keys{Kind: attest.KindSoft, DK: point, DKID: attest.KeyID(&key.PublicKey)},
	}
}

func (s *Server) mustUpdate(t *testing.T, f func(*store.Tx) error) {
	t.Helper()
	if err := s.store.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// twins are two devices that had one EK at different times: one machine.
func twins(t *testing.T) *Server {
	t.Helper()
	s := newTestServer(t, Config{})
	first, second := softRow(t, "first"), softRow(t, "second")
	shared := attest.Digest{1, 2, 3}
	first.Keys.EKHash = shared
	s.mustUpdate(t, func(tx *store.Tx) error { return tx.InsertDevice(first) })
	s.mustUpdate(t, func(tx *store.Tx) error { // the first goes on with another EK
		row, err := tx.Device("first")
		if err != nil {
			return err
		}
		row.Keys.EKHash = attest.Digest{4}
		return tx.UpdateDevice(row)
	})
	second.Keys.EKHash = shared
	s.mustUpdate(t, func(tx *store.Tx) error { return tx.InsertDevice(second) })
	if err := s.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Server) revokeForTest(t *testing.T, id string) {
	t.Helper()
	revoke := func(row *store.Device, _ *store.Hot) error {
		row.State = attest.Revoked
		return nil
	}
	if _, err := s.change(t.Context(), localActor, id, revoke, "device.revoke", nil); err != nil {
		t.Fatal(err)
	}
}

// Who revokes one identity of a machine revokes the others, and sees it.
func TestTwinsEndTogether(t *testing.T) {
	s := twins(t)
	s.revokeForTest(t, "first")
	for _, v := range s.Devices() {
		if v.State != attest.Revoked {
			t.Errorf("%s is listed as %s", v.ID, v.State)
		}
	}
	reply, err := s.status(nil, s.fleet.get("second"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if state := reply.(*attest.Status).State; state != attest.Revoked {
		t.Errorf("the second is told that it is %s", state)
	}
}

// No check that begins after the revocation was answered gets an answer of
// before, not even while the device cannot be read again.
func TestNoOldAnswerAfterRevocation(t *testing.T) {
	s := twins(t)
	old := s.current("second")
	s.revokeForTest(t, "first")
	release := make(chan struct{})
	for range 4 { // every reader of the store is busy
		busy := make(chan struct{})
		go func() {
			_ = s.store.View(context.Background(), func(*store.Tx) error {
				close(busy)
				<-release
				return nil
			})
		}()
		<-busy
	}
	answered := make(chan *answers, 2)
	for range 2 {
		go func() { answered <- s.current("second") }()
		time.Sleep(20 * time.Millisecond) // the second check comes while the first waits
	}
	close(release)
	for range 2 {
		if a := <-answered; a == old {
			t.Error("a check after the revocation got the answers of before")
		}
	}
}

// A device that waits for an approval cannot fill the disk with boot logs.
func TestPendingBringsNoLog(t *testing.T) {
	s := newTestServer(t, Config{})
	log := []byte("a boot log")
	digest := attest.Digest(sha256.Sum256(log))
	for _, state := range []attest.DeviceState{attest.Pending, attest.Active} {
		row := softRow(t, string(state))
		row.State = state
		s.mustUpdate(t, func(tx *store.Tx) error {
			if err := tx.InsertDevice(row); err != nil {
				return err
			}
			hot, err := tx.Hot(row.ID)
			if err != nil {
				return err
			}
			hot.Log = digest
			return tx.PutHot(hot)
		})
	}
	if err := s.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/", nil)
	r.SetPathValue("digest", digest.String())
	var refused *attest.Error
	if _, err := s.bootLog(r, s.fleet.get("pending"), log); !errors.As(err, &refused) || refused.Code != attest.LogDigest {
		t.Errorf("a pending device's log: %v", err)
	}
	if _, err := s.bootLog(r, s.fleet.get("active"), log); err != nil {
		t.Errorf("an active device's log: %v", err)
	}
}

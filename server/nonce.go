package server

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"muster/attest"
	"muster/server/store"
)

// nonceLife is how long a nonce may be answered: until the next report is due,
// and a little longer.
func (s *Server) nonceLife() time.Duration {
	return time.Duration(s.config.ReportEvery)*time.Second + attest.NonceSlack
}

func (s *Server) nonceSeconds() int { return int(s.nonceLife() / time.Second) }

// addNonce adds a fresh nonce to a hot row, which must be stored before the
// nonce is sent. Expired ones leave, then the oldest.
func (s *Server) addNonce(hot *store.Hot) (attest.Digest, error) {
	n, err := s.offerNonce(hot, false)
	return n.Value, err
}

// offerNonce is addNonce; with keep it puts no live nonce out, and when there is
// no room hands out the youngest once more: whoever repeats old statements
// cannot take the nonce that the device is about to answer.
func (s *Server) offerNonce(hot *store.Hot, keep bool) (n store.Nonce, err error) {
	if _, err := rand.Read(n.Value[:]); err != nil {
		return n, fmt.Errorf("making nonce: %w", err)
	}
	n.Issued = s.now()
	n.Expires = n.Issued.Add(s.nonceLife())
	var live []store.Nonce
	for _, old := range hot.Nonces {
		if old.Expires.After(n.Issued) {
			live = append(live, old)
		}
	}
	if extra := len(live) - (attest.MaxNonces - 1); extra > 0 {
		if keep {
			return live[len(live)-1], nil
		}
		live = live[extra:]
	}
	hot.Nonces = append(live, n)
	return n, nil
}

// nonce handles POST /v1/nonce.
func (s *Server) nonce(r *http.Request, d *device, body []byte) (any, error) {
	if err := read(body, new(attest.NonceRequest)); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		return nil, err
	}
	if d.row.State == attest.Revoked {
		return nil, revoked()
	}
	hot := d.hot
	value, err := s.addNonce(&hot)
	if err != nil {
		return nil, err
	}
	if err := s.putHot(r.Context(), d, &hot); err != nil {
		return nil, err
	}
	return &attest.NonceReply{Nonce: value, ExpiresS: s.nonceSeconds()}, nil
}

// status handles POST /v1/status: what the device would be told now.
func (s *Server) status(_ *http.Request, d *device, _ []byte) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		return nil, err
	}
	a := s.settled(d)
	return &attest.Status{Device: d.row.ID, State: d.row.State, Level: d.level().String(), Decision: a.told()}, nil
}

// bootLog handles POST /v1/log/{digest}: the raw bytes of the log that the last
// quote named, kept once per digest. The quote is judged anew with it.
func (s *Server) bootLog(r *http.Request, d *device, body []byte) (any, error) {
	want, err := attest.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return nil, &attest.Error{Code: attest.LogDigest, Detail: err.Error()}
	}
	named, id, err := s.owedLog(d)
	if err != nil {
		return nil, err
	}
	if want != named || named.IsZero() {
		return nil, &attest.Error{Code: attest.LogDigest, Detail: "not the log that the last quote named"}
	}
	if err := attest.CheckLog(body, named); err != nil {
		return nil, err
	}
	packed, err := store.PackBootLog(body)
	if err != nil {
		return nil, err
	}
	if err := s.store.Update(r.Context(), func(tx *store.Tx) error { return tx.AddBootLog(id, packed) }); err != nil {
		return nil, err
	}
	if err := s.logCame(r.Context(), d, named); err != nil {
		return nil, err
	}
	return struct{}{}, nil
}

// owedLog returns the boot log that a device may bring: that of its last quote,
// if it is active.
func (s *Server) owedLog(d *device) (named attest.Digest, id string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		return named, id, err
	}
	switch d.row.State {
	case attest.Revoked:
		return named, id, revoked()
	case attest.Active:
		return d.hot.Log, d.row.ID, nil
	}
	return named, d.row.ID, nil
}

package server

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"muster/attest"
	"muster/server/people"
	"muster/server/session"
)

// The device link, as the laptop's agent speaks it (SPEC.md §7.6). Who may link
// what is people's to say; here a device shows that it is one.

// linkAsk handles POST /v1/link/ask: what the device is asked to sign.
func (s *Server) linkAsk(r *http.Request, d *device, body []byte) (any, error) {
	ask := new(attest.LinkAsk)
	if err := read(body, ask); err != nil {
		return nil, err
	}
	if err := ask.Form(); err != nil {
		return nil, err
	}
	laptop, err := s.linking(d)
	if err != nil {
		return nil, err
	}
	var offers *attest.LinkOffers
	if ask.Recover {
		offers, err = s.people.OfferRecovery(r.Context(), laptop, s.agentAt(r))
	} else {
		offers, err = s.people.OfferLink(r.Context(), laptop, *ask)
	}
	if err != nil {
		return nil, problemOf(err)
	}
	reply := append([]attest.LinkOffer{}, offers.Offers...) // never null
	slices.SortStableFunc(reply, func(a, b attest.LinkOffer) int { return b.AskedAt.Compare(a.AskedAt) })
	return &attest.LinkOffers{Offers: reply[:min(len(reply), attest.MaxOffers)]}, nil
}

// linkProve handles POST /v1/link: a statement outside the sequence. Its nonce is
// used up, durably, before people hear of it, so that one statement proves once,
// whatever becomes of the answer.
func (s *Server) linkProve(r *http.Request, d *device, body []byte) (any, error) {
	submit := new(attest.LinkSubmit)
	if err := read(body, submit); err != nil {
		return nil, err
	}
	proof, err := s.openProof(r, d, submit)
	if err != nil {
		return nil, err
	}
	laptop, err := s.linking(d)
	if err != nil {
		return nil, err
	}
	reply, err := s.people.ProveLink(r.Context(), laptop, proof, s.agentAt(r))
	if err != nil {
		return nil, problemOf(err)
	}
	return reply, nil
}

// openProof opens the statement and uses its nonce up.
func (s *Server) openProof(r *http.Request, d *device, submit *attest.LinkSubmit) (*attest.LinkProof, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		return nil, err
	}
	if err := mayLink(d.row.State); err != nil {
		return nil, err
	}
	now := s.now()
	known := d.known(now)
	known.Typs = []attest.Typ{attest.TypLink}
	ev, err := attest.Open([]byte(submit.JWS), submit.Quote, known)
	if err != nil {
		return nil, err
	}
	if err := d.quotedFor(ev, now); err != nil {
		return nil, err
	}
	if ev.Link.Origin != s.config.PublicURL {
		return nil, refuse(http.StatusConflict, attest.CodeOriginWrong,
			"The agent signed for another origin than this server's.", "Set the agent's server to "+s.config.PublicURL+".")
	}
	hot := d.hot
	hot.Nonces = without(hot.Nonces, ev.Header.Nonce)
	if err := s.putHot(r.Context(), d, &hot); err != nil {
		return nil, err
	}
	return ev.Link, nil
}

// quotedFor demands a quote where a report would need one, and that it shows the
// start that was judged: DKb does not survive a start, and DK brings a quote
// (attest.Open). Another start, a cleared TPM and one whose clock fell are a
// report's to tell. The caller holds d.mu.
func (d *device) quotedFor(ev *attest.Evidence, now time.Time) error {
	if d.row.Keys.Kind != attest.KindTPM {
		return nil
	}
	switch {
	case ev.Cleared:
		return &attest.Error{Code: attest.ClockBack, Detail: "the TPM was cleared since the last report"}
	case ev.ClockFell:
		return &attest.Error{Code: attest.ClockBack, Detail: "the TPM's clock fell since the last report"}
	case ev.Measured != nil && !d.judged(ev.Measured):
		return &attest.Error{Code: attest.QuoteNeeded, Detail: "nobody judged this start: a report comes first"}
	case ev.Measured != nil:
		return nil
	case d.hot.Resync:
		return &attest.Error{Code: attest.QuoteNeeded, Detail: "the statements were out of step"}
	case now.Sub(d.hot.QuotedAt) >= attest.QuoteEvery:
		return &attest.Error{Code: attest.QuoteNeeded, Detail: "the last quote is too old"}
	}
	return nil
}

// judged reports whether a quote shows the start that the last judged one showed:
// by the TPM's count of starts, and by the registers of what was started (TCG PC
// Client Platform Firmware Profile §2.3.4). The caller holds d.mu.
func (d *device) judged(m *attest.Measured) bool {
	if d.result == nil || d.hot.Clock == nil || m.Clock.ResetCount != d.hot.Clock.ResetCount {
		return false
	}
	for _, i := range []uint8{0, 2, 4, 7} {
		was, before := d.result.Boot.PCRs[i]
		if is, now := m.PCRs[i]; is != was || now != before {
			return false
		}
	}
	return true
}

// linkEnd handles POST /v1/link/end: the laptop's system session was locked or
// left.
func (s *Server) linkEnd(r *http.Request, d *device, body []byte) (any, error) {
	end := new(attest.LinkEnd)
	if err := read(body, end); err != nil {
		return nil, err
	}
	if err := end.Form(); err != nil {
		return nil, err
	}
	laptop, err := s.linking(d)
	if err != nil {
		return nil, err
	}
	if err := s.people.Unlink(r.Context(), laptop); err != nil {
		return nil, problemOf(err)
	}
	s.log.Info("links ended by the laptop", "device", laptop.ID, "cause", end.Cause)
	return struct{}{}, nil
}

// linking returns an active device as people need to know it.
func (s *Server) linking(d *device) (session.Device, error) {
	d.mu.Lock()
	err := s.refresh(d)
	id, state := d.row.ID, d.row.State
	d.mu.Unlock()
	if err != nil {
		return session.Device{}, err
	}
	if err := mayLink(state); err != nil {
		return session.Device{}, err
	}
	laptop, ok := s.sessionDevice(id)
	if !ok || !laptop.Active {
		return session.Device{}, errNotLinking()
	}
	return laptop, nil
}

// mayLink refuses every state but active.
func mayLink(state attest.DeviceState) error {
	switch state {
	case attest.Active:
		return nil
	case attest.Revoked:
		return revoked()
	}
	return errNotLinking()
}

func errNotLinking() error {
	return refuse(http.StatusForbidden, attest.CodeNotActive, "This laptop waits for an approval; until then it links no session.",
		"Whoever approves it compares the code that muster-agent status shows.")
}

// agentAt is where the agent's request comes from.
func (s *Server) agentAt(r *http.Request) people.From {
	return people.From{Address: peerAddress(r, s.config.TrustedProxies)}
}

// problemOf turns a refusal of people's into a problem document; any other error
// stays.
func problemOf(err error) error {
	var r *people.Refusal
	if !errors.As(err, &r) {
		return err
	}
	return refuse(r.Status, r.Code, r.Text, r.Fix)
}

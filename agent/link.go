package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"muster/attest"
)

// linkable declines where this device has nothing to link a session with.
func (a *Agent) linkable() error {
	e := a.state.Enrolled
	switch {
	case e == nil || a.state.Again || a.state.Enrolling != nil:
		return decline(codeNotYet, "This laptop is not enrolled.", `Run "muster-agent enroll" as the system's administrator.`)
	case e.Server != a.Settings.Server:
		return decline(troubleOther, "This laptop is enrolled with another server.", `Look with "muster-agent status".`)
	case e.Revoked || e.Answer.State == attest.Revoked:
		return decline(attest.CodeRevoked, "This laptop was revoked.", "Ask your administrator.")
	case e.Answer.State != attest.Active:
		return decline(codePending, "This laptop waits for an approval.",
			`Whoever approves it compares the code that "muster-agent status" shows.`)
	}
	return nil
}

// offers asks the server what there is to prove. What it says of people and
// browsers is made safe for a terminal.
func (a *Agent) offers(ctx context.Context, ask attest.LinkAsk) ([]attest.LinkOffer, error) {
	if err := ask.Form(); err != nil {
		return nil, decline(codeForm, "The request to link has another form than expected.", "Begin again on the page.")
	}
	if err := a.linkable(); err != nil {
		return nil, err
	}
	body, err := attest.Encode(ask)
	if err != nil {
		return nil, fmt.Errorf("writing link ask: %w", err)
	}
	var answer attest.LinkOffers
	if err := a.client.post(ctx, attest.PathLinkAsk, a.identity(), body, &answer); err != nil {
		return nil, err
	}
	offers := answer.Offers[:min(len(answer.Offers), attest.MaxOffers)]
	for i := range offers {
		o := &offers[i]
		o.Person, o.Browser, o.Address = plain(o.Person), plain(o.Browser), plain(o.Address)
	}
	return offers, nil
}

// offer asks for one request. An answer about another one is never signed:
// whoever could swap them could link a stranger's session.
func (a *Agent) offer(ctx context.Context, ask attest.LinkAsk) (*attest.LinkOffer, error) {
	offers, err := a.offers(ctx, ask)
	if err != nil {
		return nil, err
	}
	if len(offers) != 1 || offers[0].SessionHash.IsZero() || offers[0].Nonce.IsZero() ||
		!ask.Recover && (offers[0].Link != ask.Link || offers[0].Nonce != ask.Nonce) {
		return nil, decline(codeMismatch, "The server answered about another request than was asked.", "Begin again on the page.")
	}
	return &offers[0], nil
}

// prove proves one request, or with Recover a recovery, for an account's person.
func (a *Agent) prove(ctx context.Context, ask attest.LinkAsk, user string) (*attest.LinkReply, error) {
	offer, err := a.offer(ctx, ask)
	if err != nil {
		return nil, err
	}
	if !ask.Recover {
		if err := a.endOthers(ctx, user); err != nil {
			return nil, err
		}
	}
	reply, err := a.submitProof(ctx, offer, false)
	switch code(err) {
	case string(attest.NonceUnknown), string(attest.NonceExpired), string(attest.QuoteUnbound):
		reply, err = a.submitProof(ctx, offer, false)
	case string(attest.QuoteNeeded):
		reply, err = a.submitProof(ctx, offer, true)
	}
	if err != nil {
		return nil, err
	}
	if err := a.checkReply(reply); err != nil {
		return nil, err
	}
	a.Log.Info("link proved", "device", a.state.Enrolled.Device, "way", ask.Way, "recover", ask.Recover)
	if ask.Recover {
		return reply, nil
	}
	if err := a.noteLink(user); err != nil {
		return nil, err
	}
	return reply, nil
}

// submitProof signs what an offer says and sends it.
func (a *Agent) submitProof(ctx context.Context, offer *attest.LinkOffer, quote bool) (*attest.LinkReply, error) {
	e := a.state.Enrolled
	keys, err := a.ready(ctx)
	if err != nil {
		return nil, err
	}
	payload, err := attest.Encode(attest.LinkProof{
		Link: offer.Link, Nonce: offer.Nonce, SessionHash: offer.SessionHash, Origin: e.Server, Time: a.Now().Unix(),
	})
	if err != nil {
		return nil, fmt.Errorf("writing link proof: %w", err)
	}
	n, err := a.freshNonce(ctx)
	if err != nil {
		return nil, err
	}
	h := attest.Header{Typ: attest.TypLink, Device: e.Device, Nonce: n}
	s, err := a.sign(ctx, keys, h, payload, quote)
	if errors.Is(err, attest.ErrBootMoved) {
		e.NextAt = a.Now() // a report brings the next boot key; DK serves before
		s, err = a.sign(ctx, keys, h, payload, true)
	}
	if err != nil {
		return nil, err
	}
	body, err := attest.Encode(attest.LinkSubmit{JWS: s.body.JWS, Quote: s.body.Quote})
	if err != nil {
		return nil, fmt.Errorf("writing link proof: %w", err)
	}
	reply := new(attest.LinkReply)
	if err := a.client.post(ctx, attest.PathLink, a.identity(), body, reply); err != nil {
		return nil, err
	}
	return reply, nil
}

// maxSecret bounds the values of a reply, in bytes.
const maxSecret = 512

// checkReply refuses what must not reach a browser or a terminal.
func (a *Agent) checkReply(r *attest.LinkReply) error {
	if r.Confirm == "" && r.Code == "" && r.URL == "" {
		return errors.New("reading the answer to a link proof: it is empty")
	}
	for _, s := range []string{r.Confirm, r.Code, r.URL} {
		if len(s) > maxSecret || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return errors.New("reading the answer to a link proof: a value of another form than expected")
		}
	}
	if r.URL != "" && !strings.HasPrefix(r.URL, a.state.Enrolled.Server+"/") {
		return decline(codeForeign, "The server named a page that is not its own.", "Tell your administrator; nothing was opened.")
	}
	return nil
}

// maxPlain bounds what is shown of a text of others, in bytes.
const maxPlain = 200

// plain makes a text of others safe for a terminal: no control or direction
// characters, and short.
func plain(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxPlain)], "?")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// linkScheme begins the address by which a page opens this program.
const linkScheme = "muster://link/"

// maxLinkURL bounds it, in bytes: a link id and a nonce.
const maxLinkURL = len(linkScheme) + attest.MaxID + 1 + 43

// parseLinkURL reads muster://link/ID/NONCE. It carries no secret that is enough
// by itself, and nothing else.
func parseLinkURL(address string) (link string, nonce attest.Digest, err error) {
	wrong := decline(codeForm, "This is no muster:// link.", "Copy it whole, in quotes: muster-agent link 'muster://link/...'")
	rest, ok := strings.CutPrefix(address, linkScheme)
	if !ok || len(address) > maxLinkURL {
		return "", nonce, wrong
	}
	link, text, ok := strings.Cut(rest, "/")
	if !ok || !linkID(link) {
		return "", nonce, wrong
	}
	if nonce, err = attest.ParseDigest(text); err != nil || nonce.IsZero() {
		return "", attest.Digest{}, wrong
	}
	return link, nonce, nil
}

// linkID reports whether s is a link's id in an address: letters, digits, - and _.
func linkID(s string) bool {
	return s != "" && len(s) <= attest.MaxID && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	})
}

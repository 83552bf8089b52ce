package attest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
)

// The verifier's clock in every vector, and the life of its nonces.
const (
	vectorNow     = 1795348800 // 2026-11-22T12:00:00Z
	vectorIssued  = vectorNow - 20
	vectorExpires = vectorNow + 40
	vectorQuoted  = vectorNow - 3600 // the last quote's nonce was issued
)

func vectorTime() time.Time { return time.Unix(vectorNow-5, 0).UTC() }

// nonceOf is a nonce with a name.
func nonceOf(name string) attest.Digest { return sha256.Sum256([]byte("nonce " + name)) }

func mustEncode(v any) []byte {
	b, err := attest.Encode(v)
	if err != nil {
		panic(err)
	}
	return b
}

// reportOf is a corporate report with some claims seen.
func reportOf(m *machine) *posture.Report {
	at := vectorTime()
	r := &posture.Report{
		Agent: "1.0.0", Platform: posture.Linux, Profile: posture.Corporate,
		BootID: "7f0c1d8e-5a55-4f6e-9a52-" + m.name, CollectedAt: at,
		Claims: posture.Unfilled(at, posture.NotYet),
	}
	pending := 0
	r.Claims.OS = posture.Observed(at, posture.Yes, "", posture.OS{ID: "debian", Version: "12", KernelRunning: "6.1.0-41-amd64"})
	r.Claims.Patches = posture.Observed(at, posture.Yes, "", posture.Patches{Manager: "apt", SecurityPending: &pending, RebootPending: posture.No})
	r.Claims.DiskEncryption = posture.Observed(at, posture.No, posture.PlainSwap, posture.DiskEncryption{Volumes: []posture.Volume{
		{Device: "dm-0", Mount: "/", Use: posture.UseData, FS: "ext4", Mechanism: "luks2", State: posture.Yes, Leaves: []string{"nvme0n1"}},
		{Device: "nvme0n1p3", Use: posture.UseSwap, FS: "swap", State: posture.No, Reason: posture.PlainSwap, Leaves: []string{"nvme0n1"}},
	}})
	r.Claims.SecureBoot = posture.Observed(at, posture.Yes, "", posture.SecureBoot{Enabled: posture.Yes, SetupMode: posture.No, UEFI: posture.Yes})
	r.Claims.Firewall = posture.Unseen[posture.Firewall](at, posture.Permission)
	return r
}

func (m *machine) deviceID() string { return "dev-" + m.name }

// vectorKeyOf shows a role's key.
func vectorKeyOf(m *machine, role attest.Role) vectorKey {
	return vectorKey{Role: role.String(), Public: m.public(role), Private: privateOf(m.key(role))}
}

func privateOf(key *ecdsa.PrivateKey) []byte {
	d, err := key.Bytes()
	if err != nil {
		panic(err)
	}
	return d
}

// private is the key that signs the vector's statement.
func (v *vector) private(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	for _, k := range v.Keys {
		if k.Role == v.Signs {
			key, err := ecdsa.ParseRawPrivateKey(fixedKey("").Curve, k.Private)
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
	}
	t.Fatalf("no key %q", v.Signs)
	return nil
}

// lab makes vectors about one machine, and remembers what it needs to make
// changed copies of them.
type lab struct {
	m       *machine
	header  attest.Header
	payload []byte
	role    attest.Role
}

// header starts a statement of the machine in step with the usual known state.
func (m *machine) header(typ attest.Typ, role attest.Role) attest.Header {
	h := attest.Header{
		Alg: "ES256", Typ: typ, Kid: attest.KeyID(&m.key(role).PublicKey), Device: m.deviceID(),
		Nonce: nonceOf(m.name), Seq: 8, Prev: sha256.Sum256([]byte("last of " + m.name)),
	}
	switch typ {
	case attest.TypEnrol:
		h.Device, h.Seq, h.Prev = "", 0, attest.Digest{}
	case attest.TypLink, attest.TypEphemeral:
		h.Seq, h.Prev = 0, attest.Digest{}
	}
	return h
}

// known is what a server holds of the machine.
func (m *machine) known(typs ...attest.Typ) *vectorKnown {
	last := m.clock
	last.Clock -= 5000
	return &vectorKnown{
		Typs: typs, Device: m.deviceID(), Now: vectorNow, Seq: 7,
		Prev: sha256.Sum256([]byte("last of " + m.name)), LastClock: &last, LastQuoteAt: vectorQuoted,
		Nonces: []vectorNonce{{nonceOf(m.name), vectorIssued, vectorExpires}},
	}
}

// statement signs a payload and makes the vector of it.
func (m *machine) statement(about string, typ attest.Typ, role attest.Role, payload []byte) (*vector, *lab) {
	l := &lab{m: m, header: m.header(typ, role), payload: payload, role: role}
	s := l.sign()
	v := &vector{
		About: about, Check: "open", Known: m.known(typ), Signs: role.String(),
		Header: string(mustEncode(l.header)), Payload: string(payload), Compact: string(s.Compact),
		Want: vectorWant{Digest: s.Digest, Signer: role.String(), IssuedAt: vectorIssued},
	}
	for _, r := range []attest.Role{attest.AK, attest.DK, attest.DKb} {
		v.Keys = append(v.Keys, vectorKeyOf(m, r))
	}
	return v, l
}

func (l *lab) sign() *attest.Signed {
	s, err := attest.Sign(context.Background(), signer(l.m.key(l.role)), l.header, l.payload)
	if err != nil {
		panic(err)
	}
	return s
}

// quoted adds a quote to a vector's statement.
func (v *vector) quoted(l *lab) {
	v.Quote = l.m.quote(attest.QuoteBinding(l.sign().Input))
	v.Want.Measured = true
}

// made is an accepted vector and what makes changed copies of it.
type made struct {
	*vector
	lab *lab
}

// acceptVectors makes every accepted case.
func acceptVectors() map[string]made {
	alder := newMachine("alder")
	out := map[string]made{}
	add := func(name string, v *vector, l *lab) { out[name] = made{v, l} }

	v, l := alder.statement("a report signed by this boot's key, without a quote", attest.TypReport, attest.DKb, mustEncode(reportOf(alder)))
	add("report-dkb", v, l)
	v, l = alder.statement("a report signed by the device key, with a quote", attest.TypReport, attest.DK, mustEncode(reportOf(alder)))
	v.quoted(l)
	add("report-dk-quote", v, l)
	v, l = alder.statement("a report signed by this boot's key, with a quote", attest.TypReport, attest.DKb, mustEncode(reportOf(alder)))
	v.quoted(l)
	add("report-dkb-quote", v, l)
	byod := reportOf(alder)
	byod.Profile = posture.BYOD
	byod.Claims.Reduce()
	v, l = alder.statement("a report of a personal laptop", attest.TypReport, attest.DKb, mustEncode(byod))
	add("report-byod", v, l)

	base := sha256.Sum256([]byte("base of alder"))
	v, l = alder.statement("a heartbeat: nothing changed", attest.TypHeartbeat, attest.DKb, mustEncode(attest.Heartbeat{
		Base: base, BootID: reportOf(alder).BootID, CollectedAt: vectorNow - 5, Clock: &alder.clock}))
	add("heartbeat", v, l)
	v, l = alder.statement("a browser session is on this laptop", attest.TypLink, attest.DKb, mustEncode(attest.LinkProof{
		Link: "link-1", Nonce: nonceOf("link"), SessionHash: sha256.Sum256([]byte("session")), Origin: vectorOrigin, Time: vectorNow - 5}))
	add("link", v, l)
	v, l = alder.statement("a short-lived key may speak for the laptop", attest.TypEphemeral, attest.DKb, mustEncode(attest.Ephemeral{
		Point: pointOf(&fixedKey("ephemeral").PublicKey), Expires: vectorNow + 300}))
	add("ephemeral", v, l)

	addBoots(alder, add)
	addClocks(alder, add)
	addKeys(alder, add)
	addSoft(add)
	v, l = enrolVector(alder)
	add("enrol-tpm", v, l)
	return out
}

// addKeys makes the cases of single structures.
func addKeys(alder *machine, add func(string, *vector, *lab)) {
	l := &lab{m: alder}
	for name, role := range map[string]attest.Role{"key-ak": attest.AK, "key-dk": attest.DK, "key-dkb": attest.DKb} {
		add(name, &vector{
			About: "the public area of an " + role.String(), Check: "key", Keys: []vectorKey{vectorKeyOf(alder, role)},
			Want: vectorWant{KeyIDs: []attest.Digest{alder.parsed(role).ID}}}, l)
	}
	transcript := sha256.Sum256([]byte("transcript"))
	add("certify-dk", &vector{
		About: "the AK states that its TPM holds the DK", Check: "certify", Keys: []vectorKey{vectorKeyOf(alder, attest.AK)},
		Certify: &vectorCertify{
			Attestation: *alder.certify(alder.nameOf(attest.DK), transcript), Qualifying: transcript, Name: alder.nameOf(attest.DK)}}, l)
	add("log", &vector{About: "a boot log that was announced", Check: "log", Log: alder.log(), Announced: sha256.Sum256(alder.log())}, l)

	quote := alder.quote(nonceOf("message"))
	quote.PCRs = attest.PCRs{7: quote.PCRs[7]} // one, so that there is one order
	submit := mustEncode(attest.ReportSubmit{JWS: "e30.e30.AA", Quote: quote})
	add("message-submit", &vector{
		About: "the body of POST /v1/report, as form only", Check: "message",
		Message: &vectorMessage{Type: "ReportSubmit", Text: string(submit)}}, l)
	renewed := mustEncode(attest.ReportSubmit{JWS: "e30.e30.AA", Quote: quote, DKb: alder.recertify([]byte("e30.e30"))})
	add("message-submit-dkb", &vector{
		About: "the body of POST /v1/report with a new DKb, as form only", Check: "message",
		Message: &vectorMessage{Type: "ReportSubmit", Text: string(renewed)}}, l)
	reply := attest.ReportReply{
		Accepted: nonceOf("a"), State: attest.Active, Nonce: nonceOf("b"), NonceS: 360, NextS: 300, NeedLog: nonceOf("c"),
		Decision: attest.Decision{Outcome: "deny", Reasons: []attest.Reason{
			{Code: "disk-encrypted", Claim: "disk_encryption", Text: "Swap is not encrypted.", Fix: "Encrypt swap."}}}}
	add("message-reply", &vector{
		About: "its answer", Check: "message", Message: &vectorMessage{Type: "ReportReply", Text: string(mustEncode(reply))}}, l)
	add("message-nonce", &vector{
		About: "the agent asks for a nonce", Check: "message", Message: &vectorMessage{Type: "NonceRequest", Text: "{}"}}, l)
	add("message-wait", &vector{
		About: "the agent waits until somebody wants a report", Check: "message",
		Message: &vectorMessage{Type: "WaitRequest", Text: string(mustEncode(attest.WaitRequest{WaitS: 50}))}}, l)
	add("message-wait-reply", &vector{
		About: "somebody does", Check: "message",
		Message: &vectorMessage{Type: "WaitReply", Text: string(mustEncode(attest.WaitReply{ReportNow: true}))}}, l)
	addLinks(l, add)
}

// addLinks makes the messages of the device link, as form only.
func addLinks(l *lab, add func(string, *vector, *lab)) {
	message := func(name, about, typ string, v any) {
		add(name, &vector{About: about, Check: "message", Message: &vectorMessage{Type: typ, Text: string(mustEncode(v))}}, l)
	}
	nonce := nonceOf("link")
	message("message-link-ask", "the agent was asked over loopback", "LinkAsk",
		attest.LinkAsk{Link: "link-1", Nonce: nonce, Way: attest.WayLoopback})
	message("message-link-ask-code", "the person asks which requests by code there are", "LinkAsk", attest.LinkAsk{Way: attest.WayCode})
	message("message-link-ask-recover", "the person lost their passkeys", "LinkAsk", attest.LinkAsk{Recover: true})
	message("message-link-offers", "what to sign, and who asks", "LinkOffers", attest.LinkOffers{Offers: []attest.LinkOffer{{
		Link: "link-1", Nonce: nonce, SessionHash: sha256.Sum256([]byte("session")), Person: "alice", Browser: "Browser/1.0",
		Address: "192.0.2.7", AskedAt: vectorTime()}}})
	message("message-link-submit", "the body of POST /v1/link", "LinkSubmit", attest.LinkSubmit{JWS: "e30.e30.AA"})
	message("message-link-reply", "its answer", "LinkReply", attest.LinkReply{Confirm: "one-time", ExpireS: 120})
	message("message-link-end", "the screen was locked", "LinkEnd", attest.LinkEnd{Cause: attest.CauseLocked})
}

// addSoft makes the cases of a device without a TPM.
func addSoft(add func(string, *vector, *lab)) {
	soft := newMachine("cedar")
	v, l := soft.statement("a report of a device whose key is a file", attest.TypReport, attest.DK, mustEncode(reportOf(soft)))
	point := pointOf(&soft.key(attest.DK).PublicKey)
	key := vectorKey{Role: "softkey", Public: point, Private: privateOf(soft.key(attest.DK))}
	v.Keys, v.Signs = []vectorKey{key}, "softkey"
	v.Known.LastClock, v.Known.LastQuoteAt = nil, 0
	add("report-softkey", v, l)

	begin := mustEncode(attest.EnrolBegin{
		Token: "token", Platform: posture.Linux, Identity: attest.Identity{Kind: attest.KindSoft, DK: point}, Name: "cedar"})
	e := &vectorEnrol{Begin: string(begin), Nonce: nonceOf("cedar"), Origin: vectorOrigin, Tenant: vectorTenant}
	e.Finish.Session = []byte("sealed session of cedar")
	v, l = soft.enrolStatement("a device without a TPM enrols", e)
	v.Keys, v.Signs = []vectorKey{key}, "softkey"
	add("enrol-softkey", v, l)
}

// enrolStatement signs the report that finishes an enrolment.
func (m *machine) enrolStatement(about string, e *vectorEnrol) (*vector, *lab) {
	t := attest.EnrolTranscript([]byte(e.Begin), e.Finish.Session, e.Nonce, e.Origin, e.Tenant)
	v, l := m.statement(about, attest.TypEnrol, attest.DK, mustEncode(reportOf(m)))
	l.header.Transcript = t
	s := l.sign()
	e.Finish.JWS = string(s.Compact)
	v.Check, v.Enrol, v.Compact, v.Header = "enrol", e, "", string(mustEncode(l.header))
	v.Known.Device, v.Known.Seq, v.Known.Prev = "", 0, attest.Digest{}
	v.Known.LastClock, v.Known.LastQuoteAt = nil, 0
	v.Want.Digest, v.Want.Transcript = s.Digest, t
	return v, l
}

// enrolVector is a whole enrolment with a TPM.
func enrolVector(m *machine) (*vector, *lab) {
	begin := mustEncode(attest.EnrolBegin{
		Token: "token", Platform: posture.Linux, Name: m.name,
		Identity: attest.Identity{
			Kind: attest.KindTPM, AK: m.public(attest.AK), DK: m.public(attest.DK), DKb: m.public(attest.DKb),
			EK:  &attest.EndorsementKey{Template: attest.EKP256L2, Public: []byte("judged by server/enroll")},
			TPM: attest.TPMInfo{Manufacturer: "IFX", Model: "SLB9672", Firmware: "00070002.00000001"},
		}})
	secret := sha256.Sum256([]byte("secret of " + m.name))
	e := &vectorEnrol{Begin: string(begin), Nonce: nonceOf(m.name), Origin: vectorOrigin, Tenant: vectorTenant, Secret: secret[:]}
	e.Finish.Session = []byte("sealed session of " + m.name)
	v, l := m.enrolStatement("a whole enrolment with a TPM", e)
	t := v.Want.Transcript
	e.Finish.Proof = attest.EnrolProof(e.Secret, t)
	e.Finish.CertifyDK = m.certify(m.nameOf(attest.DK), t)
	e.Finish.CertifyDKb = m.certify(m.nameOf(attest.DKb), t)
	e.Finish.Quote = m.quote(attest.QuoteBinding(l.sign().Input))
	v.Want.Measured, v.Want.CounterBound = true, true
	return v, l
}

package passkey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-webauthn/x/revoke"

	"muster/server/passkey/passkeytest"
	"muster/server/reference"
)

// TestAttested: each format with certificates is attested under its own root, and
// under nothing else.
func TestAttested(t *testing.T) {
	for _, format := range []string{"packed", "tpm", "android-key"} {
		for _, noModel := range []bool{false, true} { // the certificate need not name the model
			l := newLab(t)
			a := l.authenticator(format)
			a.Lie.NoCertModel = noModel
			entry := a.Entry(reference.MDSStatus{Status: "FIDO_CERTIFIED_L2", From: l.now.Add(-time.Hour)})
			l.know(entry, reference.MDSEntry{AAGUID: reference.AAGUID{1}})
			j := l.mustRegister(a).Judgement
			if j.Evidence != Attested || j.Why != "" || j.Format != format || j.Model != entry.Description || j.Level != 2 ||
				j.Certification != "FIDO_CERTIFIED_L2" || j.Bad != "" || j.Pack != 1 || len(j.Statuses) != 1 || j.Weak != nil {
				t.Errorf("%s: judged %+v", format, j)
			}
			var tpm tpmName
			if format == "tpm" {
				tpm = tpmName{"IFX", "Software", "id:00010002"}
			}
			if j.TPM != tpm {
				t.Errorf("%s: of the TPM %+v, want %+v", format, j.TPM, tpm)
			}
		}
	}
}

// TestUnattested: everything that falls short of it is no evidence, with its code,
// and no certification.
func TestUnattested(t *testing.T) {
	certified := reference.MDSStatus{Status: "FIDO_CERTIFIED_L3"}
	for _, c := range []struct {
		name, format string
		evidence     Evidence
		why          string
		change       func(*lab, *passkeytest.Authenticator)
	}{
		{"no metadata", "packed", None, whyNoMetadata, func(l *lab, _ *passkeytest.Authenticator) { l.pack = nil }},
		{"no entry", "packed", None, whyNotInMetadata, func(l *lab, _ *passkeytest.Authenticator) { l.know() }},
		{"the entry of another model", "packed", None, whyNotInMetadata, func(l *lab, a *passkeytest.Authenticator) { a.AAGUID[3]++ }},
		{"zero model", "packed", None, whyNotInMetadata, func(l *lab, a *passkeytest.Authenticator) {
			a.AAGUID = reference.AAGUID{}
			l.know(a.Entry(certified))
		}},
		{"another root", "packed", None, whyChainUntrusted, func(l *lab, a *passkeytest.Authenticator) {
			l.know(l.authenticator("packed").Entry(certified))
		}},
		{"another root, tpm", "tpm", None, whyChainUntrusted, func(l *lab, a *passkeytest.Authenticator) {
			l.know(l.authenticator("tpm").Entry(certified))
		}},
		{"another root, android-key", "android-key", None, whyChainUntrusted, func(l *lab, a *passkeytest.Authenticator) {
			l.know(l.authenticator("android-key").Entry(certified))
		}},
		{"the root of another model", "packed", None, whyChainUntrusted, func(l *lab, a *passkeytest.Authenticator) {
			mine, theirs := l.authenticator("packed").Entry(certified), a.Entry(certified)
			theirs.AAGUID = reference.AAGUID{0x77}
			l.know(mine, theirs)
		}},
		{"no root", "packed", None, whyChainUntrusted, func(l *lab, a *passkeytest.Authenticator) { l.pack.Entries[0].Roots = nil }},
		{"an unreadable root", "packed", None, whyChainUntrusted, func(l *lab, a *passkeytest.Authenticator) { l.pack.Entries[0].Roots = [][]byte{{1}} }},
		{"another type", "packed", None, whyTypeUnlisted, func(l *lab, _ *passkeytest.Authenticator) {
			l.pack.Entries[0].Attestations = []string{"basic_surrogate", "ecdaa"}
		}},
		{"packed from a tpm's model", "packed", None, whyTypeUnlisted, func(l *lab, _ *passkeytest.Authenticator) { l.pack.Entries[0].Attestations = nil }},
		{"tpm from a key's model", "tpm", None, whyTypeUnlisted, func(l *lab, _ *passkeytest.Authenticator) {
			l.pack.Entries[0].Attestations = []string{"basic_full"}
		}},
		{"expired", "packed", None, whyExpired, func(l *lab, _ *passkeytest.Authenticator) { l.now = l.now.Add(60 * 24 * time.Hour) }},
		{"never imported", "packed", None, whyExpired, func(l *lab, _ *passkeytest.Authenticator) { l.pack.ImportedAt = time.Time{} }},
		{"certificate not yet valid", "packed", None, whyChainUntrusted, func(l *lab, _ *passkeytest.Authenticator) {
			l.now = time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)
			l.know(slices.Clone(l.pack.Entries)...)
		}},
		{"certificate over", "packed", None, whyChainUntrusted, func(l *lab, _ *passkeytest.Authenticator) {
			l.now = time.Date(2091, 1, 1, 0, 0, 0, 0, time.UTC)
			l.know(slices.Clone(l.pack.Entries)...)
		}},
		{"self", "self", Self, whySelf, func(*lab, *passkeytest.Authenticator) {}},
		{"self, expired", "self", Self, whySelf, func(l *lab, _ *passkeytest.Authenticator) { l.now = l.now.Add(60 * 24 * time.Hour) }},
		{"none", "none", None, whyNoAttestation, func(*lab, *passkeytest.Authenticator) {}},
		{"none, without metadata", "none", None, whyNoAttestation, func(l *lab, _ *passkeytest.Authenticator) { l.pack = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			a := l.authenticator(c.format)
			l.know(a.Entry(certified))
			c.change(l, a)
			j := l.mustRegister(a).Judgement
			if j.Evidence != c.evidence || j.Why != c.why || j.Certification != "" || j.Level != 0 || j.Model == "Software authenticator" || j.TPM != (tpmName{}) {
				t.Errorf("judged %+v, want %s %s", j, c.evidence, c.why)
			}
		})
	}
}

// TestRejudged: stored credentials follow the metadata, to bad and back, and
// through its age; what was registered is not touched.
func TestRejudged(t *testing.T) {
	l := newLab(t)
	a, claims := l.authenticator("packed"), l.authenticator("none")
	claims.AAGUID = a.AAGUID
	proved := l.mustRegister(a)
	claimed := l.mustRegister(claims)
	judge := func(evidence Evidence, why, bad string) {
		t.Helper()
		if j := l.p.Judge(proved); j.Evidence != evidence || j.Why != why || j.Bad != bad {
			t.Errorf("judged %+v, want %s %q bad %q", j, evidence, why, bad)
		}
		if j := l.p.Judge(claimed); j.Evidence != None || j.Why != whyNoAttestation || j.Bad != bad {
			t.Errorf("a claim judged %+v, want bad %q", j, bad)
		}
	}
	judge(None, whyNoMetadata, "")
	l.know(a.Entry())
	judge(Attested, "", "")
	l.know(a.Entry(reference.MDSStatus{Status: "REVOKED", From: l.now}))
	judge(Attested, "", "REVOKED")
	l.know(a.Entry(reference.MDSStatus{Status: "FIDO_CERTIFIED"}))
	judge(Attested, "", "")
	l.know(a.Entry(reference.MDSStatus{Status: "USER_KEY_PHYSICAL_COMPROMISE", From: l.now.Add(time.Hour)}))
	judge(Attested, "", "") // from tomorrow on
	l.now = l.now.Add(2 * time.Hour)
	judge(Attested, "", "USER_KEY_PHYSICAL_COMPROMISE")
	l.now = l.now.Add(20 * 24 * time.Hour) // late
	judge(Attested, "", "USER_KEY_PHYSICAL_COMPROMISE")
	l.now = l.now.Add(40 * 24 * time.Hour) // expired: what is known to be bad stays so
	judge(None, whyExpired, "USER_KEY_PHYSICAL_COMPROMISE")
	// Decades later the certificate is over, and what it attested is as true as ever.
	l.now = time.Date(2095, 1, 1, 0, 0, 0, 0, time.UTC)
	l.know(a.Entry())
	judge(Attested, "", "")
	proved.RegisteredAt = time.Time{}
	judge(None, whyChainUntrusted, "")
}

// TestStatuses: what is bad, what is certified, and of whom.
func TestStatuses(t *testing.T) {
	now := vectorNow()
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	batch, other := &x509.Certificate{Raw: []byte{1}}, []byte{2}
	type list = []reference.MDSStatus
	for _, c := range []struct {
		name       string
		statuses   list
		bad, grade string
		level      int
	}{
		{"none", nil, "", "", 0},
		{"certified", list{{Status: "FIDO_CERTIFIED"}}, "", "FIDO_CERTIFIED", 0},
		{"plus", list{{Status: "FIDO_CERTIFIED_L1plus"}}, "", "FIDO_CERTIFIED_L1plus", 1},
		{"level three plus", list{{Status: "FIDO_CERTIFIED_L3plus"}}, "", "FIDO_CERTIFIED_L3plus", 3},
		{"unknown level", list{{Status: "FIDO_CERTIFIED_L9"}}, "", "", 0},
		{"in capitals", list{{Status: "fido_certified_l2"}}, "", "", 0},
		{"same day, highest", list{{Status: "FIDO_CERTIFIED_L2", From: day(-1)}, {Status: "FIDO_CERTIFIED", From: day(-1)}}, "", "FIDO_CERTIFIED_L2", 2},
		{"raised", list{{Status: "FIDO_CERTIFIED_L1", From: day(-9)}, {Status: "FIDO_CERTIFIED_L3", From: day(-1)}}, "", "FIDO_CERTIFIED_L3", 3},
		{"lowered", list{{Status: "FIDO_CERTIFIED_L3", From: day(-9)}, {Status: "FIDO_CERTIFIED_L1", From: day(-1)}}, "", "FIDO_CERTIFIED_L1", 1},
		{"listed out of order", list{{Status: "FIDO_CERTIFIED_L1", From: day(-1)}, {Status: "FIDO_CERTIFIED_L3", From: day(-9)}}, "", "FIDO_CERTIFIED_L1", 1},
		{"from tomorrow", list{{Status: "FIDO_CERTIFIED_L1", From: day(-1)}, {Status: "FIDO_CERTIFIED_L3", From: day(1)}}, "", "FIDO_CERTIFIED_L1", 1},
		{"withdrawn", list{{Status: "FIDO_CERTIFIED_L2", From: day(-9)}, {Status: "NOT_FIDO_CERTIFIED", From: day(-1)}}, "", "", 0},
		{"withdrawn without date", list{{Status: "FIDO_CERTIFIED_L2", From: day(-9)}, {Status: "NOT_FIDO_CERTIFIED"}}, "", "", 0},
		{"certified anew", list{{Status: "NOT_FIDO_CERTIFIED"}, {Status: "FIDO_CERTIFIED_L2", From: day(-9)}}, "", "FIDO_CERTIFIED_L2", 2},
		{"revoked", list{{Status: "FIDO_CERTIFIED_L2", From: day(-9)}, {Status: "REVOKED", From: day(-1)}}, "REVOKED", "", 0},
		{"revoked, then an update", list{{Status: "REVOKED", From: day(-9)}, {Status: "UPDATE_AVAILABLE", From: day(-1)}}, "REVOKED", "", 0},
		{"revoked, then certified", list{{Status: "REVOKED", From: day(-9)}, {Status: "FIDO_CERTIFIED_L2", From: day(-1)}}, "REVOKED", "FIDO_CERTIFIED_L2", 2},
		{"revoked without date", list{{Status: "REVOKED"}}, "REVOKED", "", 0},
		{"bypass, then an update", list{{Status: "USER_VERIFICATION_BYPASS", From: day(-9)}, {Status: "UPDATE_AVAILABLE", From: day(-1)}}, "USER_VERIFICATION_BYPASS", "", 0},
		{"attestation key", list{{Status: "ATTESTATION_KEY_COMPROMISE", From: day(0)}}, "ATTESTATION_KEY_COMPROMISE", "", 0},
		{"remote", list{{Status: "USER_KEY_REMOTE_COMPROMISE"}}, "USER_KEY_REMOTE_COMPROMISE", "", 0},
		{"one not known yet", list{{Status: "FIRMWARE_COMPROMISE"}}, "FIRMWARE_COMPROMISE", "", 0},
		{"retired", list{{Status: "FIDO_CERTIFIED_L1", From: day(-9)}, {Status: "RETIRED", From: day(-1)}}, "RETIRED", "", 0},
		{"the newest of two", list{{Status: "REVOKED", From: day(-1)}, {Status: "RETIRED", From: day(-9)}}, "REVOKED", "", 0},
		{"tomorrow's", list{{Status: "REVOKED", From: day(1)}}, "", "", 0},
		{"this batch", list{{Status: "ATTESTATION_KEY_COMPROMISE", Certificate: batch.Raw}}, "ATTESTATION_KEY_COMPROMISE", "", 0},
		{"another batch", list{{Status: "ATTESTATION_KEY_COMPROMISE", Certificate: other}, {Status: "FIDO_CERTIFIED_L1"}}, "", "FIDO_CERTIFIED_L1", 1},
		{"another batch's certification", list{{Status: "FIDO_CERTIFIED_L3", Certificate: other}}, "", "", 0},
		{"update alone", list{{Status: "UPDATE_AVAILABLE"}}, "", "", 0},
	} {
		path := []*x509.Certificate{{Raw: []byte{7}}, batch}
		grade, level := certification(c.statuses, path, now)
		if b := bad(c.statuses, path, now); b != c.bad || grade != c.grade || level != c.level {
			t.Errorf("%s: %q, %q %d; want %q, %q %d", c.name, b, grade, level, c.bad, c.grade, c.level)
		}
	}
}

// TestBatch: a status about the batch of one attestation certificate meets those
// attested by it, and no other credential of the model.
func TestBatch(t *testing.T) {
	l := newLab(t)
	a, b := l.authenticator("packed"), l.authenticator("none")
	b.AAGUID = a.AAGUID
	l.know(a.Entry(reference.MDSStatus{Status: "ATTESTATION_KEY_COMPROMISE", Certificate: a.AttestationCertificate()}))
	if j := l.mustRegister(a).Judgement; j.Bad != "ATTESTATION_KEY_COMPROMISE" {
		t.Errorf("of the batch: %+v", j)
	}
	if j := l.mustRegister(b).Judgement; j.Bad != "" {
		t.Errorf("only claims the model: %+v", j)
	}
	// The root stands in no statement, but in the path.
	l.know(a.Entry(reference.MDSStatus{Status: "REVOKED", Certificate: a.Entry().Roots[0]}))
	if j := l.p.Judge(l.kept[0]); j.Evidence != Attested || j.Bad != "REVOKED" {
		t.Errorf("under a revoked root: %+v", j)
	}
	l.know(a.Entry(reference.MDSStatus{Status: "REVOKED", Certificate: l.authenticator("packed").AttestationCertificate()}))
	if j := l.p.Judge(l.kept[0]); j.Bad != "" {
		t.Errorf("of another batch: %+v", j)
	}
	// Metadata may list the attestation certificate itself as what to trust.
	entry := a.Entry()
	entry.Roots = [][]byte{a.AttestationCertificate()}
	l.know(entry)
	if j := l.p.Judge(l.kept[0]); j.Evidence != Attested {
		t.Errorf("listed itself: %+v", j)
	}
}

// TestRS1: a tpm statement signed with SHA-1 is accepted, attested and flagged
// weak; in no other format is it accepted.
func TestRS1(t *testing.T) {
	l := newLab(t)
	a := l.authenticator("tpm")
	a.Algorithm, a.Lie.RS1 = rs256, true
	l.know(a.Entry())
	if j := l.mustRegister(a).Judgement; j.Evidence != Attested || !slices.Equal(j.Weak, []string{"rs1"}) {
		t.Errorf("judged %+v", j)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSignature(&x509.Certificate{PublicKey: &key.PublicKey}, rs1, []byte("m"), []byte("s")); err == nil {
		t.Error("any bytes are an RS1 signature")
	}
}

// TestKeys: keys outside what was offered are no keys.
func TestKeys(t *testing.T) {
	size := func(bits int) []byte { n := make([]byte, bits/8); n[0], n[len(n)-1] = 0x80, 1; return n }
	point, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := point.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := raw[1:33], raw[33:]
	for _, c := range []struct {
		name string
		key  map[int]any
		good bool
	}{
		{"es256", map[int]any{1: 2, 3: -7, -1: 1, -2: x, -3: y}, true},
		{"rsa 2048", map[int]any{1: 3, 3: -257, -1: size(2048), -2: []byte{1, 0, 1}}, true},
		{"eddsa", map[int]any{1: 1, 3: -8, -1: 6, -2: make([]byte, 32)}, true},
		{"rsa 2040", map[int]any{1: 3, 3: -257, -1: size(2040), -2: []byte{1, 0, 1}}, false},
		{"rsa 1024", map[int]any{1: 3, 3: -257, -1: size(1024), -2: []byte{1, 0, 1}}, false},
		{"rsa 1024 led by zeros", map[int]any{1: 3, 3: -257, -1: append(make([]byte, 128), size(1024)...), -2: []byte{1, 0, 1}}, false},
		{"rsa 16384", map[int]any{1: 3, 3: -257, -1: size(16384), -2: []byte{1, 0, 1}}, false},
		{"rsa exponent 1", map[int]any{1: 3, 3: -257, -1: size(2048), -2: []byte{1}}, false},
		{"rsa exponent 3", map[int]any{1: 3, 3: -257, -1: size(2048), -2: []byte{3}}, false},
		{"rs1", map[int]any{1: 3, 3: -65535, -1: size(2048), -2: []byte{1, 0, 1}}, false},
		{"rs512", map[int]any{1: 3, 3: -259, -1: size(2048), -2: []byte{1, 0, 1}}, false},
		{"ps256", map[int]any{1: 3, 3: -37, -1: size(2048), -2: []byte{1, 0, 1}}, false},
		{"esp256", map[int]any{1: 2, 3: -9, -1: 1, -2: x, -3: y}, false},
		{"ed25519 by its own number", map[int]any{1: 1, 3: -19, -1: 6, -2: make([]byte, 32)}, false},
		{"ed448", map[int]any{1: 1, 3: -8, -1: 7, -2: make([]byte, 57)}, false},
		{"curve of another name", map[int]any{1: 2, 3: -7, -1: 2, -2: x, -3: y}, false},
		{"off the curve", map[int]any{1: 2, 3: -7, -1: 1, -2: y, -3: x}, false},
		{"rsa key as es256", map[int]any{1: 3, 3: -7, -1: size(2048), -2: []byte{1, 0, 1}}, false},
		{"no algorithm", map[int]any{1: 2, -1: 1, -2: x, -3: y}, false},
		{"nothing", map[int]any{}, false},
	} {
		encoded, err := cbor.Marshal(c.key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readKey(encoded); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestNoNetwork: certificates that name servers cause no request, not even when
// the library is asked to look.
func TestNoNetwork(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) })}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	url := "http://" + listener.Addr().String() + "/"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "asks"}, NotAfter: vectorNow().AddDate(9, 0, 0),
		OCSPServer: []string{url}, IssuingCertificateURL: []string{url}, CRLDistributionPoints: []string{url}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	a := l.authenticator("packed")
	a.Lie.Servers = []string{url}
	l.know(a.Entry())
	if j := l.mustRegister(a).Judgement; j.Evidence != Attested {
		t.Errorf("judged %+v", j)
	}
	entry := a.Entry()
	entry.Roots = [][]byte{der}
	l.know(entry)
	if j := l.p.Judge(l.kept[0]); j.Why != whyChainUntrusted {
		t.Errorf("judged %+v", j)
	}
	if chains := verifyChain([]*x509.Certificate{cert}, a.Entry().Roots, vectorNow()); chains != nil {
		t.Error("a chain out of nothing")
	}
	revoke.VerifyCertificate(cert)
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests went out", n)
	}
	// The listener hears those that do go out.
	if response, err := http.Get(url); err != nil || asked.Load() != 1 {
		t.Errorf("the listener is deaf: %v", err)
	} else {
		_ = response.Body.Close()
	}
}

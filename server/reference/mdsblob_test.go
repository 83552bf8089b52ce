package reference

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestFIDORoots(t *testing.T) {
	want := map[string]string{
		"cbb522d7b7f127ad6a0113865bdf1cd4102e7d0759af635a7cf4720dc963c53b": string(globalSignR3),
		"4fa3126d8d3a11d1c4855a4f807cbad6cf919d3a5a88b03bea2c6372d93c40c9": string(globalSignR46),
	}
	pool := x509.NewCertPool()
	for fingerprint, file := range want {
		block, rest := pem.Decode([]byte(file))
		if block == nil || len(bytes.TrimSpace(rest)) != 0 {
			t.Fatalf("%s: not one PEM block", fingerprint)
		}
		if sum := sha256.Sum256(block.Bytes); hex.EncodeToString(sum[:]) != fingerprint {
			t.Errorf("root is %x, want %s", sum, fingerprint)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		pool.AddCert(c)
	}
	if !FIDORoots().Equal(pool) {
		t.Error("the roots are not R3 and R46")
	}
}

func TestImportMDS(t *testing.T) {
	a := newAuthority(t)
	payload := text(t, content(a.entryOf(modelOne), a.entryOf(modelTwo)))
	rsaSigner := a.issue(&a.middle, rsaKey(t, 2048), isSigner)
	header := func(alg string, more object, chain ...party) object {
		h := object{"alg": alg, "x5c": x5c(chain...)}
		for name, v := range more {
			h[name] = v
		}
		return h
	}
	for name, blob := range map[string][]byte{
		"ES256":          a.sign(payload),
		"RS256":          seal(t, rsaSigner.key, header("RS256", nil, rsaSigner, a.middle), payload),
		"root beside":    seal(t, a.signer.key, header("ES256", nil, a.signer, a.middle, a.root), payload),
		"other order":    seal(t, a.signer.key, header("ES256", nil, a.signer, a.root, a.middle), payload),
		"line end":       append(a.sign(payload), '\r', '\n'),
		"unknown header": seal(t, a.signer.key, header("ES256", object{"x5u": "https://elsewhere.example/", "kid": "k"}, a.signer, a.middle), payload),
	} {
		m, err := ImportMDS(blob, a.pool(), signedOn())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Number != 7 || m.Legal != "for tests" || m.Skipped != 0 || len(m.Entries) != 2 || !m.ImportedAt.Equal(signedOn()) ||
			!m.NextUpdate.Equal(time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %+v", name, m)
		}
		e := m.Entry(model(t, modelOne))
		if e == nil || e.Description != "Test Key 1111" || !bytes.Equal(e.Roots[0], a.root.cert.Raw) || e.Attestations[0] != "basic_full" {
			t.Errorf("%s: entry %+v", name, e)
		}
	}
}

// Whoever is not the one that the roots vouch for is refused, and told why.
func TestImportMDSRefusesSigners(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	payload := text(t, content(a.entryOf(modelOne)))
	by := func(signer party, alg string, chain ...party) []byte {
		return seal(t, signer.key, object{"alg": alg, "x5c": x5c(append([]party{signer}, chain...)...)}, payload)
	}
	leaf := func(issuer party, change func(*x509.Certificate)) party {
		return a.issue(&issuer, ecKey(t), func(c *x509.Certificate) { isSigner(c); change(c) })
	}
	as := func(change func(*x509.Certificate)) []byte { return by(leaf(a.middle, change), "ES256", a.middle) }
	named := func(names ...string) []byte { return as(func(c *x509.Certificate) { c.DNSNames = names }) }
	noCA := leaf(a.root, func(c *x509.Certificate) { c.DNSNames = nil })
	short := a.issue(&a.root, ecKey(t), func(c *x509.Certificate) {
		c.Subject.CommonName, c.NotAfter = "Short Middle", signedOn().AddDate(0, 0, -1)
	})
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaSigner := a.issue(&a.middle, rsaKey(t, 2048), isSigner)
	weak := a.issue(&a.middle, rsaKey(t, 1024), isSigner)
	dear := a.issue(&a.root, rsaKey(t, 4104), func(c *x509.Certificate) { c.Subject.CommonName = "Dear Middle" })
	constrained := a.issue(&a.root, ecKey(t), func(c *x509.Certificate) {
		c.Subject.CommonName, c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = "Narrow", true, []string{"example.com"}
	})
	seven := slices.Repeat([]party{a.middle}, maxChain)
	for name, test := range map[string]struct {
		blob       []byte
		code, says string
	}{
		"expired":                  {as(func(c *x509.Certificate) { c.NotAfter = signedOn().AddDate(0, 0, -2) }), "mds-signer-expired", "ended on 2026-03-08"},
		"expired a minute ago":     {as(func(c *x509.Certificate) { c.NotAfter = signedOn().Add(-time.Minute) }), "mds-signer-expired", "ended on 2026-03-10"},
		"not yet":                  {as(func(c *x509.Certificate) { c.NotBefore = signedOn().AddDate(0, 0, 2) }), "mds-signer-early", "begin on 2026-03-12"},
		"intermediate expired":     {by(leaf(short, func(*x509.Certificate) {}), "ES256", short), "mds-signer-expired", "Short Middle"},
		"expired and unknown":      {by(stranger.issue(&stranger.middle, ecKey(t), func(c *x509.Certificate) { isSigner(c); c.NotAfter = signedOn().Add(-day) }), "ES256", stranger.middle), "mds-chain", "Test Root"},
		"another name":             {named("mds3.fidoalliance.org"), "mds-name", blobSigner},
		"a wildcard":               {named("*.fidoalliance.org"), "mds-name", blobSigner},
		"a longer name":            {named(blobSigner + ".example.com"), "mds-name", blobSigner},
		"only a common name":       {named(), "mds-name", blobSigner},
		"a stranger's root":        {stranger.sign(payload), "mds-chain", "Test Root"},
		"a stranger's root beside": {by(stranger.signer, "ES256", stranger.middle, stranger.root), "mds-chain", "Test Root"},
		"intermediate missing":     {by(a.signer, "ES256"), "mds-chain", "Test Middle"},
		"intermediate is no CA":    {by(leaf(noCA, func(*x509.Certificate) {}), "ES256", noCA), "mds-chain", "lead to"},
		"intermediate constrained": {by(leaf(constrained, func(*x509.Certificate) {}), "ES256", constrained), "mds-chain", "lead to"},
		"self-signed":              {by(a.issue(nil, ecKey(t), isSigner), "ES256"), "mds-chain", "lead to"},
		"no chain":                 {seal(t, a.signer.key, object{"alg": "ES256"}, payload), "mds-chain", "none are fetched"},
		"long chain":               {by(a.signer, "ES256", seven...), "mds-too-large", "7 certificates"},
		"weak key":                 {by(weak, "RS256", a.middle), "mds-key", "1024 bits"},
		"dear key":                 {by(leaf(dear, func(*x509.Certificate) {}), "ES256", dear), "mds-key", "4104 bits"},
		"P-384":                    {by(a.issue(&a.middle, p384, isSigner), "ES256", a.middle), "mds-key", "ES256"},
		"EC key, RS256":            {by(a.signer, "RS256", a.middle), "mds-key", "RS256"},
		"RSA key, ES256":           {by(rsaSigner, "ES256", a.middle), "mds-key", "ES256"},
		"not for signing":          {as(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), "mds-key", "not for signing"},
	} {
		m, err := ImportMDS(test.blob, a.pool(), signedOn())
		wantRefusal(t, name, m, err, test.code, test.says)
	}
	for name, roots := range map[string]*x509.CertPool{"empty roots": x509.NewCertPool(), "FIDO's roots": FIDORoots()} {
		m, err := ImportMDS(a.sign(payload), roots, signedOn())
		wantRefusal(t, name, m, err, "mds-chain", "Test Root")
	}
}

// Signatures that are none, that are of something else, and keys that are talked in.
func TestImportMDSRefusesSignatures(t *testing.T) {
	a, mallory := newAuthority(t), newAuthority(t)
	payload, other := text(t, content(a.entryOf(modelOne))), text(t, content())
	chain := x5c(a.signer, a.middle)
	header := func(alg string) object { return object{"alg": alg, "x5c": chain} }
	good := strings.Split(string(a.sign(payload)), ".")
	swapped := []byte(good[0] + "." + part(other) + "." + good[2])
	public, err := x509.MarshalPKIXPublicKey(a.signer.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	with := func(name string, v any) object { h := header("ES256"); h[name] = v; return h }
	point, err := mallory.signer.key.Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	jwk := object{"kty": "EC", "crv": "P-256", "x": part(point[1:33]), "y": part(point[33:])}
	for name, test := range map[string]struct {
		blob       []byte
		code, says string
	}{
		"alg none":                 {seal(t, nil, header("none"), payload), "mds-algorithm", `"none"`},
		"alg None":                 {seal(t, nil, header("None"), payload), "mds-algorithm", `"None"`},
		"no alg":                   {seal(t, a.signer.key, object{"x5c": chain}, payload), "mds-algorithm", `""`},
		"HS256 with DER":           {seal(t, public, header("HS256"), payload), "mds-algorithm", `"HS256"`},
		"HS256 with PEM":           {seal(t, publicPEM, header("HS256"), payload), "mds-algorithm", `"HS256"`},
		"HS256 as ES256":           {seal(t, public, header("ES256"), payload), "mds-signature", blobSigner},
		"PS256":                    {seal(t, nil, header("PS256"), payload), "mds-algorithm", "PS256"},
		"long alg":                 {seal(t, nil, header(strings.Repeat("A\n\x1b", 999)), payload), "mds-algorithm", "..."},
		"no signature":             {seal(t, nil, header("ES256"), payload), "mds-signature", blobSigner},
		"zeros":                    {append([]byte(good[0]+"."+good[1]+"."), part(make([]byte, 64))...), "mds-signature", blobSigner},
		"of another payload":       {swapped, "mds-signature", blobSigner},
		"of another key":           {seal(t, mallory.signer.key, header("ES256"), payload), "mds-signature", blobSigner},
		"key in the header":        {seal(t, mallory.signer.key, with("jwk", jwk), payload), "mds-signature", blobSigner},
		"own chain at x5u":         {seal(t, mallory.signer.key, with("x5u", "https://mallory.example/"), payload), "mds-signature", blobSigner},
		"critical extension":       {seal(t, a.signer.key, with("crit", []string{"b64"}), payload), "mds-no-blob", "crit"},
		"chain of one string":      {seal(t, a.signer.key, object{"alg": "ES256", "x5c": chain[0]}, payload), "mds-no-blob", "header"},
		"x5c no base64":            {seal(t, a.signer.key, object{"alg": "ES256", "x5c": []string{"!"}}, payload), "mds-chain", "base64"},
		"x5c no certificate":       {seal(t, a.signer.key, object{"alg": "ES256", "x5c": []string{"AAAA"}}, payload), "mds-chain", "cannot be read"},
		"x5c certificate large":    {seal(t, a.signer.key, object{"alg": "ES256", "x5c": []string{strings.Repeat("AAAA", maxCertificate/3+1)}}, payload), "mds-chain", "8192"},
		"header large":             {seal(t, a.signer.key, with("pad", strings.Repeat("A", maxHeader)), payload), "mds-too-large", "header"},
		"two chains in a header":   {[]byte(part([]byte(`{"alg":"ES256","x5c":["AAAA"],"x5c":["AAAA"]}`)) + "." + good[1] + "." + good[2]), "mds-no-blob", "header"},
		"empty":                    {nil, "mds-no-blob", "three parts"},
		"words":                    {[]byte("<html>not found</html>"), "mds-no-blob", "three parts"},
		"words with dots":          {[]byte("so. what. else"), "mds-no-blob", "header"},
		"words that are no base64": {[]byte("o dear. what. else"), "mds-no-blob", "first part"},
		"two parts":                {[]byte(good[0] + "." + good[1]), "mds-no-blob", "three parts"},
		"four parts":               {[]byte(strings.Join(good, ".") + "."), "mds-no-blob", "three parts"},
		"payload no base64":        {[]byte(good[0] + ".!." + good[2]), "mds-no-blob", "three parts"},
		"JSON serialization":       {text(t, object{"protected": good[0], "payload": good[1], "signature": good[2]}), "mds-no-blob", "three parts"},
		"too large":                {make([]byte, maxBLOB+1), "mds-too-large", "33554433"},
	} {
		m, err := ImportMDS(test.blob, a.pool(), signedOn())
		wantRefusal(t, name, m, err, test.code, test.says)
	}
}

// Every changed character is refused; base64 that means the same bytes is the one
// exception, and gives the same content.
func TestImportMDSRefusesChanges(t *testing.T) {
	a := newAuthority(t)
	blob := a.sign(text(t, content(a.entryOf(modelOne))))
	want, err := ImportMDS(blob, a.pool(), signedOn())
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for i := 0; i < len(blob); i += 3 {
		changed := slices.Clone(blob)
		changed[i] ^= 1
		if m, err := ImportMDS(changed, a.pool(), signedOn()); err == nil {
			same++
			if !reflect.DeepEqual(m, want) {
				t.Fatalf("character %d changed gave another content", i)
			}
		}
	}
	if same > 3 {
		t.Errorf("%d changes were not noticed", same)
	}
}

// Addresses in a BLOB are never asked, whether it is trusted or not.
func TestImportMDSAsksNobody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var heard atomic.Int32
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			heard.Add(1)
			c.Close()
		}
	}()
	url := "http://" + listener.Addr().String() + "/"
	a := newAuthority(t)
	talks := func(c *x509.Certificate) {
		c.OCSPServer, c.IssuingCertificateURL, c.CRLDistributionPoints = []string{url + "ocsp"}, []string{url + "issuer"}, []string{url + "crl"}
	}
	middle := a.issue(&a.root, ecKey(t), func(c *x509.Certificate) { c.Subject.CommonName = "Talking Middle"; talks(c) })
	signer := a.issue(&middle, ecKey(t), func(c *x509.Certificate) { isSigner(c); talks(c) })
	ended := a.issue(&middle, ecKey(t), func(c *x509.Certificate) { isSigner(c); talks(c); c.NotAfter = signedOn().Add(-day) })
	entry := a.entryOf(modelOne)
	entry["metadataStatement"].(object)["attestationRootCertificates"] = x5c(middle, signer)
	entry["url"] = url
	payload := text(t, content(entry))
	imported := 0
	for _, roots := range []*x509.CertPool{a.pool(), FIDORoots(), x509.NewCertPool(), nil} {
		for _, s := range []party{signer, ended} {
			for _, chain := range [][]string{x5c(s, middle), x5c(s), nil} {
				h := object{"alg": "ES256", "x5u": url + "x5u", "jku": url + "jku", "x5c": chain}
				if chain == nil {
					delete(h, "x5c")
				}
				if _, err := ImportMDS(seal(t, s.key, h, payload), roots, signedOn()); err == nil {
					imported++
				}
			}
		}
	}
	if imported != 1 {
		t.Errorf("%d imports went through, want 1", imported)
	}
	// The listener hears: else its silence would say nothing. Its one call comes
	// after any that an import could have made.
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Read(make([]byte, 1))
	c.Close()
	if heard.Load() != 1 {
		t.Errorf("the listener heard %d calls, want ours alone", heard.Load())
	}
}

// Whatever the bytes are, what comes out of an import is what was signed.
func FuzzMDS(f *testing.F) {
	a := newAuthority(f)
	payload := text(f, content(a.entryOf(modelOne), a.entryOf(modelTwo)))
	good := a.sign(payload)
	want, err := ImportMDS(good, a.pool(), signedOn())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(payload)
	f.Add(seal(f, nil, object{"alg": "none", "x5c": x5c(a.signer, a.middle)}, payload))
	f.Add(seal(f, []byte("k"), object{"alg": "HS256", "x5c": x5c(a.signer)}, payload))
	f.Add(a.sign(nil))
	f.Add([]byte("a.b.c"))
	f.Add(text(f, content(object{"aaguid": modelOne}, 1, nil, []int{})))
	f.Add([]byte(`{"no":1,"nextUpdate":"2026-01-01","entries":[{},{"aaguid":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		// The authority is made anew in each process, so that its BLOB is spliced in.
		for _, blob := range [][]byte{data, splice(good, data)} {
			m, err := ImportMDS(blob, a.pool(), signedOn())
			if err == nil && !reflect.DeepEqual(m, want) {
				t.Fatalf("imported what nobody signed: %q", blob)
			}
		}
		m, err := readPayload(data, signedOn())
		if err != nil {
			return
		}
		if m.Number <= 0 || m.NextUpdate.IsZero() || !json.Valid(data) {
			t.Fatalf("content without number or date: %+v", m)
		}
		kept, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeMDS(kept); err != nil || again.Number != m.Number || len(again.Entries) != len(m.Entries) {
			t.Fatalf("kept and read again: %+v, %v", again, err)
		}
	})
}

// splice lays data over the BLOB, at a place that data chooses.
func splice(blob, data []byte) []byte {
	if len(data) < 3 {
		return blob
	}
	spliced := slices.Clone(blob)
	copy(spliced[(int(data[0])<<8|int(data[1]))%len(spliced):], data[2:])
	return spliced
}

package reference

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var packDay = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

func bootPack(t testing.TB) *Pack {
	t.Helper()
	b, err := DecodeBoot([]byte(smallBoot))
	if err != nil {
		t.Fatal(err)
	}
	return &Pack{Name: PackBoot, Number: b.Number, Date: b.Date, Content: []byte(smallBoot)}
}

func signed(t testing.TB, p *Pack, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	file, err := p.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func keyOf(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestPack(t *testing.T) {
	key, other := newKey(t), newKey(t)
	id, err := PackKeyID(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	roots := newPKI(t)
	ek := NextEKPack(nil, 0, packDay)
	if _, err := ek.Import([]BundleFile{{"ca.pem", roots.rootPEM}}, false); err != nil {
		t.Fatal(err)
	}
	content, err := ek.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Pack{bootPack(t), {Name: PackEKRoots, Number: ek.Number, Date: ek.Date, Content: content}} {
		got, signer, err := OpenPack(signed(t, p, key), []*ecdsa.PublicKey{&other.PublicKey, &key.PublicKey}, packDay)
		if err != nil || signer != id || got.Name != p.Name || got.Number != p.Number || !got.Date.Equal(p.Date) || !bytes.Equal(got.Content, p.Content) {
			t.Errorf("%s: %+v by %s: %v", p.Name, got, signer, err)
		}
	}
}

// forge signs any header and payload with any key.
func forge(t testing.TB, algorithm jose.SignatureAlgorithm, key any, headers map[jose.HeaderKey]any, payload string) string {
	t.Helper()
	options := new(jose.SignerOptions)
	for name, value := range headers {
		options = options.WithHeader(name, value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOpenPackRefuses(t *testing.T) {
	key, other := newKey(t), newKey(t)
	id, _ := PackKeyID(&key.PublicKey)
	otherID, _ := PackKeyID(&other.PublicKey)
	const payload = `{"name":"boot","number":20270101,"date":"2027-01-01T00:00:00Z","content":` + smallBoot + `}`
	type headers = map[jose.HeaderKey]any
	good := func(payload string) string {
		return forge(t, jose.ES256, key, headers{"kid": id, "typ": packType}, payload)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	parts := strings.Split(good(payload), ".")
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	raw := func(header string) string { return b64([]byte(header)) + "." + parts[1] + "." + parts[2] }
	if _, _, err := OpenPack([]byte(good(payload)), []*ecdsa.PublicKey{&key.PublicKey}, packDay); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ file, code string }{
		"nothing":              {"", "pack-form"},
		"words":                {"hello", "pack-form"},
		"two parts":            {parts[0] + "." + parts[1], "pack-form"},
		"four parts":           {good(payload) + ".e30", "pack-form"},
		"huge":                 {strings.Repeat("x", maxPack+1), "pack-form"},
		"a huge header":        {strings.Repeat("x", 5000) + "." + parts[1] + "." + parts[2], "pack-form"},
		"a header of no JSON":  {raw("{"), "pack-form"},
		"alg none":             {b64([]byte(`{"alg":"none","kid":"`+id+`","typ":"muster-pack/1"}`)) + "." + parts[1] + ".", "pack-signer"},
		"HS256 by the key":     {forge(t, jose.HS256, der, headers{"kid": id, "typ": packType}, payload), "pack-signer"},
		"ES384":                {forge(t, jose.ES384, keyOf(t, elliptic.P384()), headers{"kid": id, "typ": packType}, payload), "pack-signer"},
		"EdDSA":                {forge(t, jose.EdDSA, ed25519.NewKeyFromSeed(make([]byte, 32)), headers{"kid": id, "typ": packType}, payload), "pack-signer"},
		"a stranger":           {forge(t, jose.ES256, other, headers{"kid": otherID, "typ": packType}, payload), "pack-signer"},
		"a stranger as us":     {forge(t, jose.ES256, other, headers{"kid": id, "typ": packType}, payload), "pack-signer"},
		"no kid":               {forge(t, jose.ES256, key, headers{"typ": packType}, payload), "pack-form"},
		"an empty kid":         {forge(t, jose.ES256, key, headers{"kid": "", "typ": packType}, payload), "pack-signer"},
		"no typ":               {forge(t, jose.ES256, key, headers{"kid": id}, payload), "pack-form"},
		"a report's typ":       {forge(t, jose.ES256, key, headers{"kid": id, "typ": "muster-report/1"}, payload), "pack-form"},
		"the next typ":         {forge(t, jose.ES256, key, headers{"kid": id, "typ": "muster-pack/2"}, payload), "pack-form"},
		"a key in the header":  {forge(t, jose.ES256, other, headers{"kid": id, "typ": packType, "jwk": jose.JSONWebKey{Key: &other.PublicKey}}, payload), "pack-form"},
		"an address of keys":   {forge(t, jose.ES256, key, headers{"kid": id, "typ": packType, "jku": "https://keys.example"}, payload), "pack-form"},
		"kid twice":            {raw(`{"alg":"ES256","kid":"x","kid":"` + id + `","typ":"muster-pack/1"}`), "pack-form"},
		"crit":                 {raw(`{"alg":"ES256","crit":["b64"],"b64":false,"kid":"` + id + `","typ":"muster-pack/1"}`), "pack-form"},
		"another header":       {raw(`{"alg":"ES256", "kid":"` + id + `","typ":"muster-pack/1"}`), "pack-signer"},
		"another payload":      {parts[0] + "." + b64([]byte(strings.Replace(payload, `"A"`, `"B"`, 1))) + "." + parts[2], "pack-signer"},
		"a signature cut":      {good(payload)[:len(good(payload))-4], ""},
		"no signature":         {parts[0] + "." + parts[1] + ".", ""},
		"another number":       {good(strings.Replace(payload, "20270101", "20270102", 1)), "pack-form"},
		"another date":         {good(strings.Replace(payload, "2027-01-01T", "2027-01-02T", 1)), "pack-form"},
		"a member twice":       {good(strings.Replace(payload, `"name":"boot"`, `"name":"boot","name":"boot"`, 1)), "pack-form"},
		"a member twice below": {good(strings.Replace(payload, `"kind":"windows"`, `"kind":"uefi","kind":"windows"`, 1)), "pack-form"},
		"a member unknown":     {good(strings.Replace(payload, `"name":"boot"`, `"name":"boot","for":"all"`, 1)), "pack-form"},
		"another's name":       {good(strings.Replace(payload, `"boot"`, `"ek-roots"`, 1)), "pack-form"},
		"no such pack":         {good(strings.Replace(payload, `"boot"`, `"mds"`, 1)), "pack-form"},
		"no content":           {good(strings.Replace(payload, smallBoot, `null`, 1)), "pack-form"},
		"a payload of words":   {good("hello"), "pack-form"},
		"something behind":     {good(payload + "{}"), "pack-form"},
		"from the future":      {good(strings.ReplaceAll(payload, "2027-01-01", "2027-01-03")), "pack-future"},
	} {
		p, _, err := OpenPack([]byte(test.file), []*ecdsa.PublicKey{&key.PublicKey}, packDay)
		var refused *Refusal
		if p != nil || !errors.As(err, &refused) || refused.Text == "" || refused.Fix == "" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if refused.Code != test.code && (test.code != "" || !strings.HasPrefix(refused.Code, "pack-")) {
			t.Errorf("%s: %v, want %s", name, refused, test.code)
		}
	}
	for name, signers := range map[string][]*ecdsa.PublicKey{"nobody": nil, "nil": {nil}, "another": {&other.PublicKey}, "P-384": {&keyOf(t, elliptic.P384()).PublicKey}} {
		var refused *Refusal
		if _, _, err := OpenPack([]byte(good(payload)), signers, packDay); !errors.As(err, &refused) || refused.Code != "pack-signer" {
			t.Errorf("trusting %s: %v", name, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	p := bootPack(t)
	if _, err := p.Sign(keyOf(t, elliptic.P384())); err == nil {
		t.Error("P-384 signed")
	}
	for name, change := range map[string]func(p *Pack){
		"another number": func(p *Pack) { p.Number++ }, "another name": func(p *Pack) { p.Name = PackEKRoots },
		"no content": func(p *Pack) { p.Content = nil }, "another date": func(p *Pack) { p.Date = p.Date.Add(time.Hour) },
	} {
		p := bootPack(t)
		change(p)
		if _, err := p.Sign(newKey(t)); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func TestPackKeys(t *testing.T) {
	key := newKey(t)
	jwk, text, err := PackKeyTexts(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range [][]byte{jwk, text, append([]byte("\n"), text...)} {
		got, err := ParsePackKey(file)
		if err != nil || !got.Equal(&key.PublicKey) {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, none := range []*ecdsa.PublicKey{nil, &keyOf(t, elliptic.P384()).PublicKey} {
		if id, err := PackKeyID(none); err == nil {
			t.Errorf("key %s signs packs", id)
		}
		if _, _, err := PackKeyTexts(none); err == nil {
			t.Error("a key that signs no pack has a text")
		}
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	privateJWK, err := jose.JSONWebKey{Key: key}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	p384, err := x509.MarshalPKIXPublicKey(&keyOf(t, elliptic.P384()).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for name, file := range map[string][]byte{
		"nothing": nil, "words": []byte("hello"), "a private JWK": privateJWK, "a private key": block("PRIVATE KEY", private),
		"P-384": block("PUBLIC KEY", p384), "two keys": append(bytes.Clone(text), text...), "garbage": block("PUBLIC KEY", []byte{1}),
		"words before": append([]byte("key: "), text...), "an open object": []byte("{"), "a symmetric JWK": []byte(`{"kty":"oct","k":"AAAA"}`),
		"huge": append(bytes.Repeat([]byte("\n"), 10), bytes.Repeat([]byte("x"), maxPackKey+1)...),
	} {
		if got, err := ParsePackKey(file); err == nil || got != nil {
			t.Errorf("%s: read", name)
		} else if strings.Contains(err.Error(), "\"d\"") {
			t.Errorf("%s: the error shows the file", name)
		}
	}
}

func TestParseSum(t *testing.T) {
	if s, err := ParseSum(hashA); err != nil || s[0] != 0xaa || s[31] != 0xaa {
		t.Errorf("%x %v", s, err)
	}
	for _, text := range []string{"", hashA[1:], hashA + "a", strings.ToUpper(hashA), strings.Replace(hashA, "a", "g", 1), " " + hashA[1:], "0x" + hashA[2:]} {
		if s, err := ParseSum(text); err == nil || s != [32]byte{} {
			t.Errorf("%q: read", text)
		}
	}
}

func FuzzOpenPack(f *testing.F) {
	key := keyOf(f, elliptic.P256())
	file, err := bootPack(f).Sign(key)
	if err != nil {
		f.Fatal(err)
	}
	good := bytes.TrimSpace(file)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("e30.e30.e30"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, file []byte) {
		p, _, err := OpenPack(file, []*ecdsa.PublicKey{&key.PublicKey}, packDay)
		if (p == nil) == (err == nil) {
			t.Fatal("both, or neither, of pack and error")
		}
		if err == nil && !bytes.Equal(p.Content, []byte(smallBoot)) {
			t.Fatalf("what nobody signed was opened: %q", file)
		}
	})
}

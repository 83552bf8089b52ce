package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	issuer   = "https://id.example"
	audience = "wiki-gateway"
)

func newKey(t testing.TB, at time.Time) Key {
	t.Helper()
	key, err := NewKey(at)
	if err != nil {
		t.Fatal(err)
	}
	return *key
}

func newKeys(t testing.TB, keys ...Key) *Keys {
	t.Helper()
	k, err := NewKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func claims(at time.Time) *Claims {
	return &Claims{
		Issuer: issuer, Subject: "alice", Audience: audience, ID: "t1", IssuedAt: at, Expires: at.Add(Life),
		Session: "s1", App: "wiki", ACR: "phrh", AMR: []string{"hwk", "user"}, AuthTime: at.Unix() - 60,
		Device: "d1", Level: "tpm-hw", Groups: []string{"staff"}, Outcome: "allow",
		ReasonsHash: HashReasons(nil), Policy: "p1",
	}
}

func sign(t testing.TB, k *Keys, c *Claims, now time.Time) string {
	t.Helper()
	text, err := k.Sign(c, now)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// forge signs any header and body with a key of ours, as nothing of ours does.
func forge(t testing.TB, k *Keys, header, body string) string {
	t.Helper()
	text := b64([]byte(header)) + "." + b64([]byte(body))
	raw, err := k.keys[0].sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(raw)
}

func parts(t testing.TB, token string) (header, body map[string]any) {
	t.Helper()
	for i, to := range []*map[string]any{&header, &body} {
		text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
		if err == nil {
			err = json.Unmarshal(text, to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return header, body
}

func TestSignAndVerify(t *testing.T) {
	k := newKeys(t, newKey(t, start))
	now := start.Add(900 * time.Millisecond)
	want := claims(now)
	text := sign(t, k, want, now)
	got, err := k.Verify(text, issuer, audience, now)
	if err != nil {
		t.Fatal(err)
	}
	want.IssuedAt, want.Expires = start, start.Add(Life)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	header, body := parts(t, text)
	if !reflect.DeepEqual(header, map[string]any{"alg": "ES256", "typ": "muster+jwt", "kid": k.keys[0].id}) {
		t.Errorf("header %v", header)
	}
	if body["iat"] != float64(start.Unix()) || body["exp"] != float64(start.Add(Life).Unix()) || body["sid"] != "s1" {
		t.Errorf("body %v", body)
	}
	// Members without a value are not there.
	least := &Claims{Issuer: issuer, Subject: "alice", Audience: audience, ID: "t", App: "wiki", Outcome: "restrict", IssuedAt: now, Expires: now.Add(time.Minute)}
	if _, body = parts(t, sign(t, k, least, now)); len(body) != 9 {
		t.Errorf("body %v", body)
	}
}

// What others verify by our key set is what we signed.
func TestVerifiesElsewhere(t *testing.T) {
	k := newKeys(t, newKey(t, start), newKey(t, start.Add(-time.Hour)))
	text := sign(t, k, claims(start), start)
	body := verifyElsewhere(t, k.JWKS(), text)
	if body["iss"] != issuer || body["sub"] != "alice" {
		t.Errorf("%v", body)
	}
	if string(new(Keys).JWKS()) != `{"keys":[]}` || string(newKeys(t).JWKS()) != `{"keys":[]}` {
		t.Error("the key set of no keys")
	}
}

// verifyElsewhere verifies as another program does, with another library.
func verifyElsewhere(t testing.TB, jwks []byte, token string) (body map[string]any) {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatalf("%s: %v", jwks, err)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	keys := set.Key(jws.Signatures[0].Header.KeyID)
	if len(keys) != 1 || !keys[0].Valid() || keys[0].Use != "sig" || keys[0].Algorithm != "ES256" {
		t.Fatalf("kid %s is not in %s", jws.Signatures[0].Header.KeyID, jwks)
	}
	text, err := jws.Verify(keys[0])
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestJWKS(t *testing.T) {
	old, fresh := newKey(t, start), newKey(t, start.Add(time.Hour))
	k := newKeys(t, old, fresh)
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(k.JWKS(), &set); err != nil || len(set.Keys) != 2 {
		t.Fatalf("%s, %v", k.JWKS(), err)
	}
	if set.Keys[0]["kid"] != fresh.ID || set.Keys[1]["kid"] != old.ID {
		t.Error("the newest is not first")
	}
	for _, key := range set.Keys {
		if len(key) != 7 || key["kty"] != "EC" || key["crv"] != "P-256" || len(key["x"]) != 43 || len(key["y"]) != 43 {
			t.Errorf("%v", key)
		}
		var web jose.JSONWebKey
		text, _ := json.Marshal(key)
		if err := web.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		if sum, err := web.Thumbprint(5); err != nil || b64(sum) != key["kid"] { // 5: crypto.SHA256
			t.Errorf("kid %s is not the thumbprint: %v", key["kid"], err)
		}
	}
	if first, again := k.JWKS(), k.JWKS(); &first[0] != &again[0] {
		t.Error("the key set is made anew")
	}
}

func TestSignRefuses(t *testing.T) {
	k := newKeys(t, newKey(t, start))
	for name, change := range map[string]func(*Claims){
		"no issuer":          func(c *Claims) { c.Issuer = "" },
		"no subject":         func(c *Claims) { c.Subject = "" },
		"no audience":        func(c *Claims) { c.Audience = "" },
		"no id":              func(c *Claims) { c.ID = "" },
		"no app":             func(c *Claims) { c.App = "" },
		"no outcome":         func(c *Claims) { c.Outcome = "" },
		"deny":               func(c *Claims) { c.Outcome = "deny" },
		"step_up":            func(c *Claims) { c.Outcome = "step_up" },
		"no times":           func(c *Claims) { c.IssuedAt, c.Expires = time.Time{}, time.Time{} },
		"no end":             func(c *Claims) { c.Expires = time.Time{} },
		"ends as it begins":  func(c *Claims) { c.Expires = c.IssuedAt },
		"too long by little": func(c *Claims) { c.Expires = c.IssuedAt.Add(Life + 1) },
		"life within second": func(c *Claims) { c.Expires = c.IssuedAt.Add(time.Millisecond) },
		"expired":            func(c *Claims) { c.IssuedAt, c.Expires = start.Add(-Life), start },
		"of the future":      func(c *Claims) { c.IssuedAt, c.Expires = start.Add(time.Second), start.Add(Life) },
		"not UTF-8":          func(c *Claims) { c.Subject = "\xff" },
		"too large":          func(c *Claims) { c.Groups = []string{strings.Repeat("g", maxToken)} },
	} {
		c := claims(start)
		change(c)
		if text, err := k.Sign(c, start); err == nil || text != "" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if text, err := new(Keys).Sign(claims(start), start); err == nil || text != "" {
		t.Errorf("no key: %q, %v", text, err)
	}
}

// mutants are tokens that other verifiers have taken; none verifies here.
func mutants(t testing.TB, k *Keys, good string) map[string]string {
	key := k.keys[0]
	header, body, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(body, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(signature)
	headerText, _ := base64.RawURLEncoding.DecodeString(header)
	bodyText, _ := base64.RawURLEncoding.DecodeString(body)
	with := func(header string) string { return forge(t, k, header, string(bodyText)) }
	said := func(old, now string) string {
		changed := strings.Replace(string(bodyText), old, now, 1)
		if changed == string(bodyText) {
			t.Fatalf("%s is not in %s", old, bodyText)
		}
		return forge(t, k, string(headerText), changed)
	}
	member := func(m string) string {
		return with(`{"alg":"ES256","kid":"` + key.id + `","typ":"muster+jwt",` + m + `}`)
	}
	plain := func(header string) string { return b64([]byte(header)) + "." + body + "." }
	order := key.private.Params().N
	s := new(big.Int).Sub(order, new(big.Int).SetBytes(raw[32:])).FillBytes(make([]byte, 32))
	signed := func(raw ...[]byte) string { return header + "." + body + "." + b64(slices.Concat(raw...)) }
	zero := make([]byte, 32)
	der, _ := ecdsa.SignASN1(rand.Reader, key.private, zero)
	public, _ := x509.MarshalPKIXPublicKey(&key.private.PublicKey)
	hs := func(secret []byte) string {
		text := b64([]byte(`{"alg":"HS256","kid":"`+key.id+`","typ":"muster+jwt"}`)) + "." + body
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + b64(mac.Sum(nil))
	}
	jwk := `{"kty":"EC","crv":"P-256","x":"` + key.x + `","y":"` + key.y + `"}`
	return map[string]string{
		"empty": "", "dots": "..", "two parts": header + "." + body, "four parts": good + ".", "five": good + "..",
		"no header": "." + body + "." + signature, "no body": header + ".." + signature, "no signature": header + "." + body + ".",
		"space before": " " + good, "space after": good + " ", "line after": good + "\n", "line within": good[:len(good)-1] + "\n" + good[len(good)-1:],
		"bytes after": good + "AA", "padded": good + "==", "byte less": good[:len(good)-1], "spare bits": spare(good), "upper case": strings.ToUpper(good),
		"too long": good + strings.Repeat("A", maxToken), "bearer": "Bearer " + good,
		"JSON form":    `{"payload":"` + body + `","protected":"` + header + `","signature":"` + signature + `"}`,
		"alg none":     plain(`{"alg":"none","kid":"` + key.id + `","typ":"muster+jwt"}`),
		"alg None":     plain(`{"alg":"None"}`),
		"alg nonsense": with(`{"alg":"es256","kid":"` + key.id + `","typ":"muster+jwt"}`),
		"alg RS256":    with(`{"alg":"RS256","kid":"` + key.id + `","typ":"muster+jwt"}`),
		"alg ES384":    with(`{"alg":"ES384","kid":"` + key.id + `","typ":"muster+jwt"}`),
		"no alg":       with(`{"kid":"` + key.id + `","typ":"muster+jwt"}`),
		"HS256 DER":    hs(public), "HS256 x": hs([]byte(key.x)), "HS256 kid": hs([]byte(key.id)), "HS256 empty": hs(nil), "HS256 JWK": hs([]byte(jwk)),
		"other kid": with(`{"alg":"ES256","kid":"other","typ":"muster+jwt"}`), "no kid": with(`{"alg":"ES256","typ":"muster+jwt"}`),
		"kid a path": with(`{"alg":"ES256","kid":"../../etc/passwd","typ":"muster+jwt"}`), "kid a number": with(`{"alg":"ES256","kid":1,"typ":"muster+jwt"}`),
		"typ JWT": with(`{"alg":"ES256","kid":"` + key.id + `","typ":"JWT"}`), "typ at+jwt": with(`{"alg":"ES256","kid":"` + key.id + `","typ":"at+jwt"}`),
		"no typ": with(`{"alg":"ES256","kid":"` + key.id + `"}`), "typ in capitals": with(`{"alg":"ES256","kid":"` + key.id + `","typ":"MUSTER+JWT"}`),
		"other order": with(`{"kid":"` + key.id + `","alg":"ES256","typ":"muster+jwt"}`), "spaced": with(`{"alg": "ES256", "kid":"` + key.id + `","typ":"muster+jwt"}`),
		"crit": member(`"crit":["exp"],"exp":1`), "empty crit": member(`"crit":[]`), "b64": member(`"b64":false,"crit":["b64"]`), "zip": member(`"zip":"DEF"`),
		"jwk": member(`"jwk":` + jwk), "jku": member(`"jku":"https://evil.example/jwks"`), "x5u": member(`"x5u":"https://evil.example/c"`), "x5c": member(`"x5c":["AA=="]`),
		"second alg": member(`"alg":"none"`), "second kid": member(`"kid":"` + key.id + `"`), "unknown member": member(`"a":1`),
		"other issuer": said(issuer, "https://evil.example"), "issuer with a slash": said(issuer, issuer+"/"), "other audience": said(`"aud":"`+audience, `"aud":"mail`),
		"audience a list": said(`"aud":"`+audience+`"`, `"aud":["`+audience+`"]`), "no audience": said(`"aud":"`+audience+`",`, ""),
		"too large, signed": said(`"staff"`, `"`+strings.Repeat("g", maxToken)+`"`),
		"second member":     said(`{`, `{"sub":"bob",`), "second in other case": said(`{`, `{"SUB":"bob",`), "unknown claim": said(`{`, `{"admin":true,`),
		"outcome deny": said(`"allow"`, `"deny"`), "no subject": said(`"alice"`, `""`), "null subject": said(`"alice"`, `null`), "bytes after body": said(`}`, `} {}`), "not JSON": said(`}`, ``),
		"later exp":    said(fmt.Sprint(start.Add(Life).Unix()), fmt.Sprint(start.Add(Life).Unix()+1)),
		"exp a string": said(fmt.Sprint(start.Add(Life).Unix()), fmt.Sprintf("%q", fmt.Sprint(start.Add(Life).Unix()))),
		"exp a float":  said(fmt.Sprint(start.Add(Life).Unix()), fmt.Sprint(start.Add(Life).Unix())+".5"),
		"exp huge":     said(fmt.Sprint(start.Add(Life).Unix()), "9223372036854775807"), "iat lowest": said(fmt.Sprint(start.Unix()), "-9223372036854775808"),
		"no exp": said(fmt.Sprintf(`,"exp":%d`, start.Add(Life).Unix()), ""), "no iat": said(fmt.Sprintf(`"iat":%d,`, start.Unix()), ""),
		"malleated": signed(raw[:32], s), "r zero": signed(zero, raw[32:]), "s zero": signed(raw[:32], zero), "both zero": signed(zero, zero), "r order": signed(order.Bytes(), raw[32:]),
		"s order": signed(raw[:32], order.Bytes()), "s 1 more": signed(raw[:32], raw[32:], []byte{0}), "swapped": signed(raw[32:], raw[:32]), "63 bytes": signed(raw[:63]),
		"zero before": signed([]byte{0}, raw), "DER": signed(der), "128 bytes": signed(raw, raw), "r not reduced": signed(plus(raw[:32], order), raw[32:]),
	}
}

// spare sets a bit of the last character that decodes to nothing.
func spare(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + alphabet[last^1:last^1+1]
}

// plus adds what verification would take away, where it still fits.
func plus(b []byte, order *big.Int) []byte {
	sum := new(big.Int).Add(new(big.Int).SetBytes(b), order)
	if sum.BitLen() > 256 {
		return slices.Concat([]byte{1}, make([]byte, 31))
	}
	return sum.FillBytes(make([]byte, 32))
}

func TestVerifyRefuses(t *testing.T) {
	k := newKeys(t, newKey(t, start))
	good := sign(t, k, claims(start), start)
	for name, text := range mutants(t, k, good) {
		if c, err := k.Verify(text, issuer, audience, start); err == nil || c != nil {
			t.Errorf("%s: verified %s", name, text)
		}
	}
	forged := forge(t, k, `{"alg":"ES256","kid":"`+k.keys[0].id+`","typ":"muster+jwt"}`, mustBody(t, good))
	if _, err := k.Verify(forged, issuer, audience, start); err != nil {
		t.Errorf("the forge makes nothing that verifies, so its mutants prove nothing: %v", err)
	}
}

func mustBody(t testing.TB, token string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestVerifyRefusesOthers(t *testing.T) {
	k := newKeys(t, newKey(t, start))
	good := sign(t, k, claims(start), start)
	for name, test := range map[string]struct {
		keys             *Keys
		issuer, audience string
		at               time.Time
	}{
		"other issuer":   {k, "https://id.example.evil", audience, start},
		"no issuer":      {k, "", audience, start},
		"other audience": {k, issuer, "mail-gateway", start},
		"no audience":    {k, issuer, "", start},
		"as it expires":  {k, issuer, audience, start.Add(Life)},
		"long after":     {k, issuer, audience, start.AddDate(1, 0, 0)},
		"before":         {k, issuer, audience, start.Add(-time.Nanosecond)},
		"zero time":      {k, issuer, audience, time.Time{}},
		"other keys":     {newKeys(t, newKey(t, start)), issuer, audience, start},
		"no keys":        {new(Keys), issuer, audience, start},
	} {
		if c, err := test.keys.Verify(good, test.issuer, test.audience, test.at); err == nil || c != nil {
			t.Errorf("%s: verified", name)
		}
	}
	// Another key under the same id: its header is ours, its signature is not.
	twin := newKey(t, start)
	twin.ID = k.keys[0].id
	if _, err := newKeys(t, twin).Verify(good, issuer, audience, start); err == nil {
		t.Error("verified by another key of the same id")
	}
	if _, err := k.Verify(good, issuer, audience, start.Add(Life-1)); err != nil {
		t.Errorf("just before it expires: %v", err)
	}
}

func TestNewKeysRefuses(t *testing.T) {
	good := newKey(t, start)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaText, _ := x509.MarshalPKCS8PrivateKey(weak)
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherText, _ := x509.MarshalPKCS8PrivateKey(other)
	for name, keys := range map[string][]Key{
		"no id":        {{Private: good.Private}},
		"odd id":       {{ID: `a","alg":"none`, Private: good.Private}},
		"long id":      {{ID: strings.Repeat("a", 65), Private: good.Private}},
		"no key":       {{ID: "a"}},
		"not a key":    {{ID: "a", Private: []byte("secret words")}},
		"RSA":          {{ID: "a", Private: rsaText}},
		"P-384":        {{ID: "a", Private: otherText}},
		"cut":          {{ID: "a", Private: good.Private[:len(good.Private)-1]}},
		"twice":        {good, good},
		"a bad one":    {good, {ID: "a"}},
		"far too many": slices.Repeat([]Key{good}, maxKeys+1),
	} {
		k, err := NewKeys(keys)
		if err == nil || k != nil {
			t.Errorf("%s: read", name)
		} else if strings.Contains(err.Error(), "secret words") {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

func TestHashReasons(t *testing.T) {
	want := sha256.Sum256([]byte("a\nb"))
	if HashReasons([]string{"a", "b"}) != b64(want[:]) || HashReasons([]string{"ab"}) == HashReasons([]string{"a", "b"}) {
		t.Error("not the hash that is meant")
	}
}

// FuzzVerify: nothing verifies but what was signed, character for character.
func FuzzVerify(f *testing.F) {
	k := newKeys(f, newKey(f, start))
	good := sign(f, k, claims(start), start)
	f.Add(good)
	for _, text := range mutants(f, k, good) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := k.Verify(text, issuer, audience, start); (err == nil) != (text == good) || (err == nil) != (c != nil) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// FuzzClaims: what reads is complete and has a life within bounds.
func FuzzClaims(f *testing.F) {
	k := newKeys(f, newKey(f, start))
	f.Add([]byte(mustBody(f, sign(f, k, claims(start), start))))
	for _, bad := range []string{"", "{}", "null", "[]", `{"iat":1,"exp":2}`, `{"iat":-9223372036854775808,"exp":9223372036854775807}`, "{\"sub\":\"\xff\"}", `{"a":[[[[[`} {
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := readClaims(text)
		if (err == nil) != (c != nil) {
			t.Fatal("an error with claims, or neither")
		}
		if err == nil && (c.Subject == "" || c.Audience == "" || c.Issuer == "" || c.Expires.Sub(c.IssuedAt) > Life || !c.Expires.After(c.IssuedAt)) {
			t.Errorf("%s: %+v", text, c)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	k := newKeys(b, newKey(b, start))
	c := claims(start)
	for b.Loop() {
		if _, err := k.Sign(c, start); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	k := newKeys(b, newKey(b, start))
	text := sign(b, k, claims(start), start)
	for b.Loop() {
		if _, err := k.Verify(text, issuer, audience, start); err != nil {
			b.Fatal(err)
		}
	}
}

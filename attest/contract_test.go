package attest_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/posture"
)

// hashOf is H(tag ‖ L(part)...) written down once more, from SPEC.md §2.2.
func hashOf(key []byte, tag string, parts ...[]byte) attest.Digest {
	b := []byte(tag)
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	if key == nil {
		return sha256.Sum256(b)
	}
	h := hmac.New(sha256.New, key)
	h.Write(b)
	return attest.Digest(h.Sum(nil))
}

func TestHashes(t *testing.T) {
	input, key, dk := []byte("a.b"), []byte("key"), nonceOf("dk")
	var epoch [8]byte
	epoch[7] = 9
	nonce := nonceOf("n")
	transcript := hashOf(nil, "muster/enrol/1", []byte("begin"), []byte("session"), nonce[:], []byte("origin"), []byte("tenant"))
	proof := hmac.New(sha256.New, key)
	proof.Write(append([]byte("act"), transcript[:]...))
	for name, pair := range map[string][2]attest.Digest{
		"quote":     {attest.QuoteBinding(input), hashOf(nil, "muster/quote/1", input)},
		"recertify": {attest.RecertifyBinding(input), hashOf(nil, "muster/recertify/1", input)},
		"enrol":     {attest.EnrolTranscript([]byte("begin"), []byte("session"), nonce, "origin", "tenant"), transcript},
		"proof":     {attest.EnrolProof(key, transcript), attest.Digest(proof.Sum(nil))},
		"mac":       {attest.MAC(key, "/v1/report", input), hashOf(key, "muster/mac/1", []byte("/v1/report"), input)},
		"secret":    {attest.DeviceSecret(key, "dev", dk), hashOf(key, "muster/secret/1", []byte("dev"), dk[:])},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, not %v", name, pair[0], pair[1])
		}
	}
	// The same bytes cut elsewhere are another transcript and another MAC.
	if attest.EnrolTranscript([]byte("begins"), []byte("ession"), nonce, "origin", "tenant") == transcript ||
		attest.MAC(key, "/v1/report", []byte("x")) == attest.MAC(key, "/v1/repor", []byte("tx")) {
		t.Error("two lists of parts hash alike")
	}
}

// TestFixedValues pins what both sides of an upgrade must agree on.
func TestFixedValues(t *testing.T) {
	dk := nonceOf("dk")
	if code := attest.CompareCode("dev-alder", dk); code != "5494-U2YF" {
		t.Errorf("comparison code is %s", code)
	}
	if attest.CompareCode("dev-alder", dk) == attest.CompareCode("dev-birch", dk) {
		t.Error("two devices have one comparison code")
	}
	for want, got := range map[string]attest.Digest{
		"8b5682d81b29435d08d79278150611dc7e5923b2fefcce684a09577b40130a8b": attest.BootPolicy(attest.Digest{}, 5, false),
		"fc93628df57a83f256a2af5bfc36acd6b2132d7edea1efcc516fa5e383ddc3d2": attest.BootPolicy(attest.Digest{}, 5, true),
	} {
		if hex.EncodeToString(got[:]) != want {
			t.Errorf("policy is %x, not %s", got[:], want)
		}
	}
}

// TestBootPolicy compares with the fixture's own computation and go-tpm's.
func TestBootPolicy(t *testing.T) {
	for _, counter := range []bool{true, false} {
		m := newMachine("alder")
		m.counterBound = counter
		if got := attest.BootPolicy(m.pcrs[7], m.clock.ResetCount, counter); !bytes.Equal(got[:], m.policy()) {
			t.Errorf("policy is %x, not %x", got, m.policy())
		}
		bound, err := attest.CheckBootPolicy(m.parsed(attest.DKb), &attest.Measured{Clock: m.clock, PCRs: m.pcrs})
		if err != nil || bound != counter {
			t.Errorf("bound %v, %v", bound, err)
		}
	}
	calc, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine("alder")
	pcr7 := m.pcrs[7]
	values := sha256.Sum256(pcr7[:])
	pcr := tpm2.PolicyPCR{
		PcrDigest: tpm2.TPM2BDigest{Buffer: values[:]}, Pcrs: selection(tpm2.TPMAlgSHA256, []byte{0x80, 0, 0})}
	if err := pcr.Update(calc); err != nil {
		t.Fatal(err)
	}
	operand := attest.CounterOperand(m.clock.ResetCount)
	if got := attest.BootPolicy(pcr7, 0, false); !bytes.Equal(calc.Hash().Digest, got[:]) || len(operand) != 4 {
		t.Errorf("go-tpm says %x, not %x", calc.Hash().Digest, got)
	}
}

func TestCheckBootPolicyRefuses(t *testing.T) {
	m := newMachine("alder")
	measured := &attest.Measured{Clock: m.clock, PCRs: m.pcrs}
	for name, err := range map[string]error{
		"no key":     second(attest.CheckBootPolicy(nil, measured)),
		"wrong role": second(attest.CheckBootPolicy(m.parsed(attest.DK), measured)),
		"no quote":   second(attest.CheckBootPolicy(m.parsed(attest.DKb), nil)),
		"no PCR 7":   second(attest.CheckBootPolicy(m.parsed(attest.DKb), &attest.Measured{Clock: m.clock})),
		"no policy":  second(attest.CheckBootPolicy(&attest.Key{Role: attest.DKb}, measured)),
	} {
		if codeOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestTemplates: each template is the fixture's public area with unique in place
// of the point.
func TestTemplates(t *testing.T) {
	m := newMachine("alder")
	secret := []byte("S of thirty-two bytes, or so....")
	for role, x := range map[attest.Role]attest.Digest{
		attest.AK:  hashOf(nil, "muster/ak/1", []byte(vectorTenant)),
		attest.DK:  hashOf(nil, "muster/dk/1", []byte(vectorTenant), secret),
		attest.DKb: hashOf(nil, "muster/dkb/1", []byte(vectorTenant), secret),
	} {
		policy := []byte(nil)
		if role == attest.DKb {
			policy = m.policy()
		}
		want := m.public(role, func(p *tpm2.TPMTPublic) {
			p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: x[:]}, Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)}})
		})
		given := secret
		if role == attest.AK {
			given = nil
		}
		if got := attest.Template(role, vectorTenant, given, policy); !bytes.Equal(got, want) {
			t.Errorf("%v is %x\nnot %x", role, got, want)
		}
	}
	if bytes.Equal(attest.Template(attest.DK, vectorTenant, []byte("a"), nil), attest.Template(attest.DK, vectorTenant, []byte("b"), nil)) {
		t.Error("S does not change the DK")
	}
}

func TestParseKeyRefusesOtherRoles(t *testing.T) {
	for _, role := range []attest.Role{attest.NoRole, 4, 7, 255} {
		if _, err := attest.ParseKey(role, attest.Template(role, vectorTenant, nil, nil)); codeOf(err) != attest.TemplateWrong {
			t.Errorf("role %d: %v", role, err)
		}
	}
}

func TestKeyID(t *testing.T) {
	key := &fixedKey("any").PublicKey
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil || attest.KeyID(key) != sha256.Sum256(der) {
		t.Fatalf("kid is %v (%v)", attest.KeyID(key), err)
	}
}

func TestDigestText(t *testing.T) {
	d := nonceOf("text")
	text := d.String()
	if got, err := attest.ParseDigest(text); err != nil || got != d {
		t.Fatalf("%v, %v", got, err)
	}
	for name, bad := range map[string]string{
		"empty": "", "short": text[:42], "long": text + "A", "padded": text + "=", "in place of": text[:42] + "=",
		"line feed inside": text[:20] + "\n" + text[21:], "return": text[:42] + "\r", "two line feeds": "\n\n" + text[2:],
		"three line feeds": "\n\n\n" + text[3:], "trailing bits": trailingBit(text), "alphabet": "+" + text[1:],
		"blank": " " + text[1:], "zero byte": "\x00" + text[1:],
	} {
		if got, err := attest.ParseDigest(bad); err == nil {
			t.Errorf("%s: %q is %v", name, bad, got)
		}
		if !strings.ContainsAny(bad, "=") {
			continue
		}
		if err := new(attest.Bytes).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%s: bytes accept %q", name, bad)
		}
	}
}

// TestDecodeIsStrict: what a lenient decoder would take.
func TestDecodeIsStrict(t *testing.T) {
	good := `{"link":"a","nonce":"` + nonceOf("n").String() + `","session_hash":"` + nonceOf("s").String() + `","origin":"o","time":1}`
	if err := attest.Decode([]byte(" \n"+good+"\t"), new(attest.LinkProof)); err != nil {
		t.Fatal(err)
	}
	swap := func(was, now string) string { return strings.Replace(good, was, now, 1) }
	for name, bad := range map[string]string{
		"empty": "", "blank": " ", "text": `"x"`, "array": "[" + good + "]", "null": "null", "null member": swap(`"a"`, "null"),
		"duplicate": swap(`"time"`, `"time":1,"time"`), "escaped duplicate": swap(`"time"`, `"tim\u0065":1,"time"`),
		"unknown": swap(`"time"`, `"x":1,"time"`), "case": swap(`"time"`, `"Time"`), "trailing": good + "1", "second": good + good,
		"mark": "\ufeff" + good, "utf8": swap(`"a"`, "\"\xff\""), "surrogate": swap(`"a"`, `"\ud800"`), "control": swap(`"a"`, "\"\x01\""),
		"huge": swap(`:1}`, `:92233720368547758080}`), "fraction": swap(`:1}`, `:1.5}`), "exponent": swap(`:1}`, `:1e2}`),
		"zero": swap(`:1}`, `:01}`), "plus": swap(`:1}`, `:+1}`), "quoted": swap(`:1}`, `:"1"}`), "comment": good + "//",
		"comma": swap(`:1}`, `:1,}`), "single": swap(`"a"`, `'a'`), "number": swap(`"a"`, "7"),
		"deep": swap(`:1}`, ":"+strings.Repeat("[", 100000)+"}"), "open": good[:len(good)-1], "nan": swap(`:1}`, `:NaN}`),
	} {
		if err := attest.Decode([]byte(bad), new(attest.LinkProof)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestSignNormalises: a chip's high S leaves as low S; a broken chip's answer is
// an error.
func TestSignNormalises(t *testing.T) {
	m := newMachine("alder")
	v := readVector[*vector](t, "report-dkb")
	raw := signer(m.key(attest.DKb))
	highs, lows := 0, 0
	for seq := range uint64(16) {
		h := m.header(attest.TypReport, attest.DKb)
		h.Seq = seq + 1
		noted := func(ctx context.Context, d [32]byte) ([]byte, error) {
			s, err := raw(ctx, d)
			if s[32] >= 0x80 {
				highs++
			} else {
				lows++
			}
			return s, err
		}
		s, err := attest.Sign(t.Context(), noted, h, []byte(v.Payload))
		if err != nil {
			t.Fatal(err)
		}
		known := m.known(attest.TypReport).known([]*attest.Key{m.parsed(attest.DKb)})
		known.Seq = seq
		if _, err := attest.Open(s.Compact, nil, known); err != nil {
			t.Errorf("seq %d: %v", h.Seq, err)
		}
	}
	if highs == 0 || lows == 0 {
		t.Fatalf("%d high, %d low: the test shows nothing", highs, lows)
	}
	for name, broken := range map[string]attest.SignFunc{
		"short": func(context.Context, [32]byte) ([]byte, error) { return make([]byte, 63), nil },
		"error": func(context.Context, [32]byte) ([]byte, error) { return nil, attest.ErrTransient },
	} {
		s, err := attest.Sign(t.Context(), broken, v.headerOf(t), nil)
		if err == nil || s != nil || name == "error" && !errors.Is(err, attest.ErrTransient) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if _, err := attest.Sign(t.Context(), raw, v.headerOf(t), make([]byte, attest.MaxReport)); codeOf(err) != attest.TooLarge {
		t.Errorf("a statement above the limit: %v", err)
	}
}

func (v *vector) headerOf(t testing.TB) (h attest.Header) {
	t.Helper()
	if err := attest.Decode([]byte(v.Header), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestNestedReasons: every reason inside a detail is checked, by reflection: a
// new member of that type that Open does not look at fails here.
func TestNestedReasons(t *testing.T) {
	m := newMachine("alder")
	found := 0
	for i := range reflect.TypeFor[posture.Claims]().NumField() {
		for _, path := range reasonPaths(reflect.TypeFor[posture.Claims]().Field(i).Type.Field(1).Type) {
			found++
			r := reportOf(m)
			detail := reflect.ValueOf(&r.Claims).Elem().Field(i).Field(1)
			setReason(detail, path, "No Code")
			v, l := m.statement("", attest.TypReport, attest.DKb, mustEncode(r))
			_ = l
			if _, err := v.judge(); codeOf(err) != attest.ClaimForm {
				t.Errorf("%v %v: %v", detail.Type(), path, err)
			}
		}
	}
	if found < 3 {
		t.Fatalf("only %d nested reasons", found)
	}
}

// reasonPaths lists the field indices that lead to reasons.
func reasonPaths(typ reflect.Type) (paths [][]int) {
	for i := range typ.NumField() {
		f := typ.Field(i).Type
		if f.Kind() == reflect.Slice {
			f = f.Elem()
		}
		if f == reflect.TypeFor[posture.Reason]() {
			paths = append(paths, []int{i})
		} else if f.Kind() == reflect.Struct && f != reflect.TypeFor[time.Time]() {
			for _, p := range reasonPaths(f) {
				paths = append(paths, append([]int{i}, p...))
			}
		}
	}
	return paths
}

func setReason(v reflect.Value, path []int, reason posture.Reason) {
	for _, i := range path {
		if v = v.Field(i); v.Kind() == reflect.Slice {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			v = v.Index(0)
		}
	}
	v.Set(reflect.ValueOf(reason))
}

// TestErrors: a refusal always says something, on one line of bounded length.
func TestErrors(t *testing.T) {
	everyVector(t, func(v *vector) {
		_, err := v.judge()
		var refusal *attest.Error
		if errors.As(err, &refusal) && (err.Error() == "" || len(err.Error()) > 300 || strings.ContainsAny(err.Error(), "\r\n")) {
			t.Errorf("says %q", err)
		}
	})
	if got := (&attest.Error{Code: attest.Malformed}).Error(); got != "malformed" {
		t.Errorf("bare refusal says %q", got)
	}
}

// TestOpenNeedsTheVerifier: nothing is accepted by a verifier that holds nothing.
func TestOpenNeedsTheVerifier(t *testing.T) {
	everyVector(t, func(v *vector) {
		if _, err := attest.Open([]byte(v.Compact), v.Quote, &attest.Known{}); err == nil {
			t.Errorf("%s: accepted by an empty verifier", v.About)
		}
	})
	v := readVector[*vector](t, "report-dkb")
	keys, err := v.keys()
	if err != nil {
		t.Fatal(err)
	}
	known := v.Known.known(keys)
	known.NonceIssued = nil
	if _, err := attest.Open([]byte(v.Compact), nil, known); codeOf(err) != attest.NonceUnknown {
		t.Errorf("without nonces: %v", err)
	}
	quote := newMachine("alder").quote(attest.QuoteBinding([]byte("x")))
	for _, ak := range []*attest.Key{nil, keys[1], {Role: attest.AK}} {
		if _, err := attest.CheckQuote(quote, ak, attest.QuoteBinding([]byte("x"))); codeOf(err) == "" {
			t.Errorf("quote accepted with %+v", ak)
		}
	}
	if _, err := attest.CheckQuote(newMachine("alder").quote(attest.Digest{}), keys[0], attest.Digest{}); codeOf(err) != attest.QuoteUnbound {
		t.Errorf("zero binding: %v", err)
	}
}

// TestOpenTakesNoZero: a verifier that forgot to fill something in does not meet
// a statement that leaves it out.
func TestOpenTakesNoZero(t *testing.T) {
	m := newMachine("alder")
	every := func(attest.Digest) (issued, expires time.Time, ok bool) {
		return time.Unix(vectorIssued, 0), time.Unix(vectorExpires, 0), true
	}
	for name, c := range map[string]struct {
		typ  attest.Typ
		edit func(h *attest.Header, k *attest.Known)
		code attest.Code
	}{
		"device": {attest.TypReport, func(h *attest.Header, k *attest.Known) { h.Device, k.Device = "", "" }, attest.DeviceMismatch},
		"nonce":  {attest.TypReport, func(h *attest.Header, _ *attest.Known) { h.Nonce = attest.Digest{} }, attest.NonceUnknown},
		"transcript": {attest.TypEnrol, func(h *attest.Header, k *attest.Known) {
			k.Device, k.Transcript, h.Transcript = "", attest.Digest{}, attest.Digest{}
		}, attest.TranscriptWrong},
	} {
		known := m.known(c.typ).known([]*attest.Key{m.parsed(attest.DK)})
		known.NonceIssued = every
		h := m.header(c.typ, attest.DK)
		c.edit(&h, known)
		l := &lab{m: m, header: h, payload: mustEncode(reportOf(m)), role: attest.DK}
		if _, err := attest.Open(l.sign().Compact, nil, known); codeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDecodeDepth: the limit itself is still read.
func TestDecodeDepth(t *testing.T) {
	var v any
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if err := attest.Decode(nested(attest.MaxDepth), &v); err != nil {
		t.Errorf("%d levels: %v", attest.MaxDepth, err)
	}
	if err := attest.Decode(nested(attest.MaxDepth+1), &v); err == nil {
		t.Errorf("%d levels are read", attest.MaxDepth+1)
	}
}

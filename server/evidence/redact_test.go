package evidence

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"muster/attest"
	"muster/server/verify"
)

func (m *machine) redacted() []byte { return must[[]byte](m.t)(m.file.Redact()) }

// Nothing that names a person, a machine or an application is in the redacted form,
// and what is left holds.
func TestRedacted(t *testing.T) {
	m := honest(t)
	b := m.redacted()
	for _, name := range []string{
		"alice", "SN-1", "uuid-1", "mt_secret", "muster.corp.example", testTenant, "vault", "board", "debian", "linux", "grubx64", "vmlinuz",
		wire(m.certificate[:30]), wire(m.log[39:69]), wire(m.ekPublic()), m.file.Device.EKSHA256.String(), "certificate",
	} {
		if strings.Contains(string(b), name) {
			t.Errorf("it has %q", name)
		}
	}
	v := must[*Verdict](t)(Verify(b, nil, nil))
	whole := m.verdict()
	if !v.Whole() || v.Content != whole.Content || v.Outcome != whole.Outcome {
		t.Errorf("it holds is %v, content %s of %s:\n%s", v.Whole(), v.Content, whole.Content, v.lines())
	}
	for point, want := range map[string]standing{
		"statement": proved, "quote": proved, "certified-dk": proved, "boot-key": proved, "decision-statement": proved, "audit-entry": proved,
		"level": word, "result": word, "left-out": unproved, "boot-log": unproved, "decision": unproved, "policy": unproved,
	} {
		if v.is(point) != want {
			t.Errorf("%s is %v, not %v", point, v.is(point), want)
		}
	}
	m.file.Exported = exported{}
	if again := must[*Verdict](t)(Verify(m.redacted(), nil, nil)); again.Content != v.Content {
		t.Error("another export of the same is of another content")
	}
	m.file.Device.Owner = "bob"
	if again := must[*Verdict](t)(Verify(m.redacted(), nil, nil)); again.Content == v.Content {
		t.Error("another file is of the same content")
	}
}

// wire is how bytes stand in a file.
func wire(b []byte) string {
	text, _ := attest.Bytes(b).MarshalText() // it never errs
	return string(text)
}

// What of a redacted file nobody can check, since what it is of is left out.
func redactedUncovered() []string {
	return []string{
		"content", "level", "chain", "references", "log_sha256", "statements/0/typ", "statements/0/received_at", "statements/0/issued_at", "boot_keys",
		"statements/0/boot", "statements/0/status", "statements/0/claims", "statements/0/baseline", "statements/0/quote/log_sha256",
	}
}

func TestEveryChangeOfARedactedFileIsNoticed(t *testing.T) {
	t.Parallel()
	m := honest(t)
	b := m.redacted()
	want := must[*Verdict](t)(Verify(b, nil, nil)).shape()
	unnoticed := map[string][]string{}
	edits(t, b, func(e edit) {
		v, err := Verify(e.file, nil, nil)
		if err == nil && v.Whole() && v.shape() == want {
			unnoticed[e.at] = append(unnoticed[e.at], e.what)
		}
	})
	for _, at := range slices.Sorted(maps.Keys(unnoticed)) {
		if !slices.ContainsFunc(redactedUncovered(), func(free string) bool { return at == free || strings.HasPrefix(at, free+"/") }) {
			t.Errorf("%s may be changed unnoticed: %v", at, unnoticed[at])
		}
	}
	if len(unnoticed) == 0 {
		t.Error("no change at all went unnoticed: the list cannot be right")
	}
}

// A signature with its other S is another statement's form.
func TestRedactedSignatureHasOneForm(t *testing.T) {
	m := honest(t)
	r := new(redacted)
	if err := attest.Decode(m.redacted(), r); err != nil {
		t.Fatal(err)
	}
	s := &r.Statements[0]
	low := new(big.Int).SetBytes(s.Signature[32:])
	new(big.Int).Sub(m.dk.Params().N, low).FillBytes(s.Signature[32:])
	if v := r.verify(); v.is("statement") != contradicted {
		t.Errorf("the other S is %v", v.is("statement"))
	}
}

// Whatever is decoded is judged without a panic, and only bytes that are evidence are.
func FuzzVerify(f *testing.F) {
	m := honest(f)
	// Small files are tried often; logs, references and policies have fuzz targets of
	// their own.
	bare := *m.file
	bare.Log, bare.Policy, bare.References = nil, "", references{}
	whole := must[[]byte](f)(bare.Encode())
	f.Add(whole)
	f.Add(m.redacted())
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(`{"format":"muster-evidence/1"}`))
	f.Add([]byte(`{"format":"muster-evidence-redacted/1"}`))
	f.Add(bytes.Replace(whole, []byte(`"tpm"`), []byte(`"softkey"`), 1))
	f.Add(bytes.Replace(whole, []byte("muster-report/1"), []byte("muster-link/1"), 1))
	gone := bare
	gone.Enrolment, gone.Statements = enrolment{}, nil
	f.Add(must[[]byte](f)(gone.Encode()))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Verify(b, m.roots, nil)
		if err != nil {
			if v != nil {
				t.Fatal("an error and a verdict")
			}
			return
		}
		if v.Whole() != v.Holds || len(v.Checks) == 0 || len(v.DoesNotProve) == 0 {
			t.Fatalf("holds %v, %d checks", v.Holds, len(v.Checks))
		}
		for _, c := range v.Checks {
			if c.Standing == contradicted && v.Whole() || c.Text == "" {
				t.Fatalf("%+v", c)
			}
		}
		var text strings.Builder
		if err := v.Text(&text); err != nil || strings.ContainsAny(text.String(), "\x1b\x00\x7f") {
			t.Fatalf("the terminal would get %q", text.String())
		}
		if f, err := Decode(b); err == nil {
			again, err := f.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if g := must[*File](t)(Decode(again)); string(must[[]byte](t)(g.Encode())) != string(again) {
				t.Fatal("read again it is another")
			}
		}
	})
}

// What is no evidence is an error, not a verdict.
func TestNoEvidence(t *testing.T) {
	m := honest(t)
	whole := must[[]byte](t)(m.file.Encode())
	var tree map[string]any
	if err := json.Unmarshal(whole, &tree); err != nil {
		t.Fatal(err)
	}
	with := func(name string, v any) []byte {
		copied := maps.Clone(tree)
		copied[name] = v
		b, _ := json.Marshal(copied) // it was read from JSON
		return b
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "an empty object": []byte("{}"), "trailing": append(bytes.Clone(whole), "{}"...), "cut": whole[:len(whole)-5],
		"another format": with("format", "muster-evidence/2"), "an unknown member": with("extra", 1), "a null": with("log", nil),
		"a number": with("device", 1), "no device": with("device", map[string]any{}), "no decision": with("decision", map[string]any{}),
		"too many statements": with("statements", slices.Repeat(tree["statements"].([]any), maxStatements+1)),
		"half a statement":    with("statements", []any{map[string]any{"received_at": began(), "jws": "a.b.c", "result": ""}}),
		"too large":           append(bytes.Clone(whole), make([]byte, MaxFile)...),
		"a member twice":      bytes.Replace(whole, []byte(`{"format"`), []byte(`{"origin":"x","format"`), 1),
		"a policy too long":   with("policy", strings.Repeat("#", maxPart+1)),
	} {
		if v, err := Verify(b, nil, nil); err == nil {
			t.Errorf("%s: got a verdict:\n%s", name, v.lines())
		}
	}
	m.file.Statements = slices.Repeat(m.file.Statements, maxStatements+1)
	if _, err := m.file.Encode(); err == nil {
		t.Error("a file was written that cannot be read")
	}
}

// The evidence of a key in a file says so, and does not say more.
func TestSoftKeyEvidence(t *testing.T) {
	m := honest(t)
	m.file.Device.Kind, m.file.Device.Level = attest.KindSoft, verify.Software
	point := must[[]byte](t)(m.dk.PublicKey.Bytes())
	m.file.Device.DK, m.file.Device.AK, m.file.Device.DKb, m.file.Device.EKSHA256 = point, nil, nil, attest.Digest{}
	if v := m.verdict(); v.Whole() || v.is("registered-keys") != contradicted {
		t.Errorf("a TPM's enrolment was taken for a file's:\n%s", v.lines())
	}
}

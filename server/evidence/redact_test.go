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

// No name of a person, a machine or an application is in the redacted form, but for
// rule ids and the TPM's maker, which it says; and what is left holds.
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
	for _, stays := range []string{"firewall-on", "TEST"} {
		if !strings.Contains(string(b), stays) {
			t.Errorf("it has no %q, of which it says that it has", stays)
		}
	}
	v := must[*Verdict](t)(Verify(b, nil, nil))
	whole := m.verdict()
	if !v.Whole() || v.Content != whole.Content || v.Outcome != whole.Outcome {
		t.Errorf("it holds is %v, content %s of %s:\n%s", v.Whole(), v.Content, whole.Content, v.lines())
	}
	for _, said := range []string{"the ids of the policy's rules", "maker, model and firmware", "who guesses what was measured"} {
		if !strings.Contains(v.lines(), said) {
			t.Errorf("it does not say %q:\n%s", said, v.lines())
		}
	}
	for point, want := range map[string]standing{
		"statement": proved, "quote": proved, "certified-dk": proved, "boot-key": proved, "decision-statement": proved, "audit-entry": proved,
		"level": word, "result": word, "decision": word, "left-out": unproved, "boot-log": unproved, "policy": unproved,
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

// The entry of another decision, whole in itself, is no decision about this device.
func TestRedactedFileWithAnotherEntry(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Entry){
		"another device's":        func(e *Entry) { e.Actor, e.Subject = "device other", "other" },
		"another action":          func(e *Entry) { e.Action = "device.approve" },
		"by somebody":             func(e *Entry) { e.Actor = "alice" },
		"of no outcome":           func(e *Entry) { e.Detail = strings.Replace(e.Detail, `"restrict"`, `"maybe"`, 1) },
		"with no decision in it":  func(e *Entry) { e.Detail = "[]" },
		"with more than is known": func(e *Entry) { e.Detail = strings.Replace(e.Detail, "{", `{"more":1,`, 1) },
	} {
		r := new(redacted)
		if err := attest.Decode(honest(t).redacted(), r); err != nil {
			t.Fatal(err)
		}
		change(&r.Decision)
		r.Decision.Hash = r.Decision.digest()
		v := must[*Verdict](t)(Verify(must[[]byte](t)(encode(r)), nil, nil))
		if v.Whole() || v.is("audit-entry") != proved || v.is("decision-entry") != contradicted {
			t.Errorf("%s: the entry is %v, as a decision %v, and it holds is %v:\n%s", name, v.is("audit-entry"), v.is("decision-entry"), v.Whole(), v.lines())
		}
	}
}

// rehashed gives the entry of a redacted file its hash; nil: it cannot be read.
func rehashed(t *testing.T, file []byte) []byte {
	t.Helper()
	r := new(redacted)
	if attest.Decode(file, r) != nil {
		return nil
	}
	r.Decision.Hash = r.Decision.digest()
	return must[[]byte](t)(encode(r))
}

// redactedUncovered are the members of a redacted file of which nobody can check some
// change, with all below them, and why.
func redactedUncovered() map[string]string {
	const leftOut = "what it is of is left out"
	return map[string]string{
		"content": leftOut, "level": leftOut, "chain": leftOut, "references": leftOut, "log_sha256": leftOut,
		"boot_keys":        "a second time the same",
		"statements/0/typ": leftOut, "statements/0/received_at": leftOut, "statements/0/issued_at": leftOut,
		"statements/0/boot": leftOut, "statements/0/status": leftOut, "statements/0/claims": leftOut, "statements/0/baseline": leftOut,
		"decision/seq": "only a head that was noted elsewhere can tell", "decision/at": "the same", "decision/prev": "the same",
		"decision/detail/outcome": "another one of the four: the policy is left out", "decision/detail/reasons": "the same",
		"decision/detail/at": "the same", "decision/detail/grace": "the same", "decision/detail/tpm": "the same",
		"decision/detail/result": "entries of older versions have none",
	}
}

// Every change is an error or a contradiction, or what is lost is needed: also when
// the entry is given its hash anew. Whatever else may be changed is listed.
func TestEveryChangeOfARedactedFileIsNoticed(t *testing.T) {
	t.Parallel()
	m := honest(t)
	unnoticed := map[string][]string{}
	edits(t, m.redacted(), func(e edit) {
		files := [][]byte{e.file}
		if strings.HasPrefix(e.at, "decision/") && e.at != "decision/hash" {
			files = append(files, rehashed(t, e.file))
		}
		for _, file := range files {
			if v, err := Verify(file, nil, nil); err == nil && v.Whole() {
				unnoticed[e.at] = append(unnoticed[e.at], e.what)
			}
		}
	})
	used := map[string]bool{}
	for _, at := range slices.Sorted(maps.Keys(unnoticed)) {
		listed := false
		for free := range redactedUncovered() {
			if at == free || strings.HasPrefix(at, free+"/") {
				listed, used[free] = true, true
			}
		}
		if !listed {
			t.Errorf("%s may be changed unnoticed: %v", at, unnoticed[at])
		}
	}
	for free := range redactedUncovered() {
		if !used[free] {
			t.Errorf("%s is listed, and every change of it is noticed", free)
		}
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

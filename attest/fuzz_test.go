package attest_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/attest/posture"
)

// everyVector calls f with each accepted and each rejected case.
func everyVector(t testing.TB, f func(v *vector)) {
	for _, name := range vectorNames(t, false) {
		f(readVector[*vector](t, name))
	}
	for _, name := range vectorNames(t, true) {
		r := readVector[reject](t, name)
		tr := readVector[map[string]any](t, r.From)
		if err := applyAll(tr, r.Changes, false); err != nil {
			t.Fatal(err)
		}
		f(fromTree(t, tr))
	}
}

// FuzzEnvelope: what is accepted has the digest of a statement that was really
// signed, and is refused after any of its bytes changes.
func FuzzEnvelope(f *testing.F) {
	signed := map[attest.Digest]bool{}
	everyVector(f, func(v *vector) {
		if v.Check == "open" && len(v.Compact) < 8<<10 {
			signed[v.Want.Digest] = true
			f.Add([]byte(v.Compact), uint16(len(v.Compact)/2), byte(1))
		}
	})
	accepted := readVector[*vector](f, "report-dkb")
	keys, err := accepted.keys()
	if err != nil {
		f.Fatal(err)
	}
	known := accepted.Known.known(keys)
	known.Typs = append(known.Typs, attest.TypHeartbeat, attest.TypLink, attest.TypEphemeral)
	f.Fuzz(func(t *testing.T, compact []byte, at uint16, flip byte) {
		ev, err := attest.Open(compact, nil, known)
		if err != nil {
			if codeOf(err) == "" || ev != nil {
				t.Fatalf("refused without a code, or with evidence: %v", err)
			}
			return
		}
		input := compact[:bytes.LastIndexByte(compact, '.')]
		if ev.Digest != sha256.Sum256(input) || !signed[ev.Digest] {
			t.Fatalf("accepted a statement that nobody signed: %s", compact)
		}
		changed := bytes.Clone(compact)
		changed[int(at)%len(changed)] ^= flip
		if _, err := attest.Open(changed, nil, known); err == nil && flip != 0 {
			t.Fatalf("accepted after byte %d changed: %s", int(at)%len(changed), changed)
		}
	})
}

// FuzzReport: an accepted report says the same after it is written and read
// again; and when any byte of its payload is left out, it is refused or no claim
// is yes that was not.
func FuzzReport(f *testing.F) {
	everyVector(f, func(v *vector) {
		if p := strings.Split(v.Compact, "."); len(p) == 3 && len(p[1]) < 8<<10 && v.Check == "open" {
			if payload, err := base64.RawURLEncoding.DecodeString(p[1]); err == nil {
				f.Add(payload, uint16(len(payload)/3))
			}
		}
	})
	m := newMachine("alder")
	open := func(payload []byte) (*posture.Report, error) {
		l := &lab{m: m, header: m.header(attest.TypReport, attest.DKb), payload: payload, role: attest.DKb}
		known := m.known(attest.TypReport).known([]*attest.Key{m.parsed(attest.DKb)})
		ev, err := attest.Open([]byte(l.signedText(mustEncode(l.header), payload)), nil, known)
		if err != nil {
			return nil, err
		}
		return ev.Report, nil
	}
	f.Fuzz(func(t *testing.T, payload []byte, at uint16) {
		if len(payload) == 0 || len(payload) > 32<<10 {
			return
		}
		report, err := open(payload)
		if err != nil {
			return
		}
		written := mustEncode(report)
		again, err := open(written)
		if err != nil || !bytes.Equal(mustEncode(again), written) {
			t.Fatalf("reads differently when written again: %v", err)
		}
		i := int(at) % len(payload)
		shorter, err := open(slices.Concat(payload[:i], payload[i+1:]))
		if err != nil {
			return
		}
		was := map[string]posture.State{}
		for name, c := range report.Claims.Each() {
			was[name] = c.State
		}
		for name, c := range shorter.Claims.Each() {
			if c.State == posture.Yes && was[name] != posture.Yes {
				t.Fatalf("%s became yes without byte %d", name, i)
			}
		}
	})
}

// FuzzStatement: an accepted TPMS_ATTEST is one that go-tpm writes the same way,
// with the magic value and a type that we ask for.
func FuzzStatement(f *testing.F) {
	everyVector(f, func(v *vector) {
		if v.Quote != nil {
			f.Add([]byte(v.Quote.Attest))
		}
		if v.Certify != nil {
			f.Add([]byte(v.Certify.Attestation.Attest))
		}
		if v.Recertify != nil {
			f.Add([]byte(v.Recertify.Certify.Attest))
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := attest.ParseStatement(b)
		if err != nil {
			if codeOf(err) == "" || s != nil {
				t.Fatalf("refused without a code: %v", err)
			}
			return
		}
		a, err := tpm2.Unmarshal[tpm2.TPMSAttest](b)
		if err != nil {
			t.Fatalf("go-tpm does not read it: %v", err)
		}
		if again := tpm2.Marshal(*a); !bytes.Equal(again, b) {
			t.Fatalf("go-tpm writes %x\nread    %x", again, b)
		}
		if a.Magic != tpm2.TPMGeneratedValue || a.Type != tpm2.TPMSTAttestQuote && a.Type != tpm2.TPMSTAttestCertify {
			t.Fatalf("magic %x, type %x", a.Magic, a.Type)
		}
		clock := attest.Clock{
			Clock: a.ClockInfo.Clock, ResetCount: a.ClockInfo.ResetCount,
			RestartCount: a.ClockInfo.RestartCount, Safe: bool(a.ClockInfo.Safe),
		}
		if s.Clock != clock || s.Firmware != a.FirmwareVersion || !bytes.Equal(s.Extra, a.ExtraData.Buffer) ||
			!bytes.Equal(s.Signer, a.QualifiedSigner.Buffer) {
			t.Fatalf("reads as %+v", s)
		}
		switch a.Type {
		case tpm2.TPMSTAttestQuote:
			q, err := a.Attested.Quote()
			if err != nil || !bytes.Equal(tpm2.Marshal(q.PCRSelect), s.Selection) || !bytes.Equal(q.PCRDigest.Buffer, s.Digest) || s.Name != nil {
				t.Fatalf("quote reads as %+v", s)
			}
		case tpm2.TPMSTAttestCertify:
			c, err := a.Attested.Certify()
			if err != nil || !bytes.Equal(c.Name.Buffer, s.Name) || s.Selection != nil {
				t.Fatalf("certify reads as %+v", s)
			}
		}
	})
}

// FuzzPublic: an accepted public area is one that go-tpm writes the same way,
// with exactly its role's attributes, Name and point.
func FuzzPublic(f *testing.F) {
	everyVector(f, func(v *vector) {
		for _, k := range v.Keys {
			f.Add(uint8(roleNamed(k.Role)), []byte(k.Public))
		}
		if v.Recertify != nil {
			f.Add(uint8(attest.DKb), []byte(v.Recertify.Public))
		}
	})
	f.Fuzz(func(t *testing.T, role uint8, b []byte) {
		key, err := attest.ParseKey(attest.Role(role), b)
		if err != nil {
			if codeOf(err) == "" || key != nil {
				t.Fatalf("refused without a code: %v", err)
			}
			return
		}
		p, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
		if err != nil || !bytes.Equal(tpm2.Marshal(*p), b) {
			t.Fatalf("go-tpm reads or writes it differently: %v", err)
		}
		want := tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, NoDA: true, SignEncrypt: true,
			Restricted: key.Role == attest.AK, UserWithAuth: key.Role != attest.DKb,
		}
		name, err := tpm2.ObjectName(p)
		if p.ObjectAttributes != want || err != nil || !bytes.Equal(name.Buffer, key.Name) {
			t.Fatalf("%v has attributes %+v, name %x", key.Role, p.ObjectAttributes, key.Name)
		}
		if key.Public.Curve != elliptic.P256() || key.ID != attest.KeyID(key.Public) {
			t.Fatal("not a P-256 key")
		}
		if (key.Policy != nil) != (key.Role == attest.DKb) {
			t.Fatalf("%v has policy %x", key.Role, key.Policy)
		}
	})
}

// FuzzMessage: an accepted message says the same after it is written and read
// again.
func FuzzMessage(f *testing.F) {
	everyVector(f, func(v *vector) {
		if v.Message != nil {
			f.Add([]byte(v.Message.Text))
		}
		if v.Enrol != nil {
			f.Add(mustEncode(v.Enrol.Finish))
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, fresh := range []func() any{
			func() any { return new(attest.ReportSubmit) }, func() any { return new(attest.EnrolFinish) },
			func() any { return new(attest.ReportReply) }, func() any { return new(attest.LinkAsk) },
			func() any { return new(attest.LinkOffers) }, func() any { return new(attest.LinkSubmit) },
			func() any { return new(attest.WaitRequest) }, func() any { return new(attest.WaitReply) },
		} {
			first := fresh()
			if attest.Decode(b, first) != nil {
				continue
			}
			written, second := mustEncode(first), fresh()
			if err := attest.Decode(written, second); err != nil || !bytes.Equal(mustEncode(second), written) {
				t.Fatalf("%T reads differently when written again: %v\n%s", first, err, written)
			}
		}
	})
}

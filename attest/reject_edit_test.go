package attest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// rejection describes one refused case: where it starts, the one thing that is
// changed, and the reason. The change is made by edit, or told by changes.
type rejection struct {
	name, check, from, about string
	code                     attest.Code
	edit                     func(v *vector, l *lab)
	changes                  []change
}

// group names rows after the check that they are about.
func group(prefix, from string, code attest.Code, rows ...rejection) []rejection {
	for i := range rows {
		r := &rows[i]
		r.check, r.name = prefix, "reject-"+prefix+"-"+r.name
		if r.from == "" {
			r.from = from
		}
		if r.code == "" {
			r.code = code
		}
	}
	return rows
}

// row is one line of a group.
func row(name, about string, edit func(v *vector, l *lab)) rejection {
	return rejection{name: name, about: about, edit: edit}
}

// of starts a row from another accepted case than its group.
func (r rejection) of(from string) rejection { r.from = from; return r }

// as gives a row another reason than its group.
func (r rejection) as(code attest.Code) rejection { r.code = code; return r }

// at tells the change instead of making it: some text repeated in a string.
func at(name, about, path string, offset int, put string, times int) rejection {
	return rejection{name: name, about: about, changes: []change{{Path: path, At: &offset, Put: put, Times: times}}}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// jws is where the vector's statement stands.
func (v *vector) jws() *string {
	if v.Enrol != nil {
		return &v.Enrol.Finish.JWS
	}
	return &v.Compact
}

// signedText signs any header text over any payload, with the lab's key.
func (l *lab) signedText(header, payload []byte) string {
	input := b64(header) + "." + b64(payload)
	sum := sha256.Sum256([]byte(input))
	s, err := attest.SignInput(context.Background(), signer(l.m.key(l.role)), []byte(input))
	if err != nil || s.Digest != sum {
		panic("signing any text")
	}
	return string(s.Compact)
}

// onCompact changes the statement as text.
func onCompact(f func(string) string) func(*vector, *lab) {
	return func(v *vector, _ *lab) { *v.jws() = f(*v.jws()) }
}

// onParts changes the three parts of the statement.
func onParts(f func(p []string)) func(*vector, *lab) {
	return onCompact(func(s string) string {
		p := strings.Split(s, ".")
		f(p)
		return strings.Join(p, ".")
	})
}

// onSignature changes the 64 bytes of the signature.
func onSignature(f func(s []byte) []byte) func(*vector, *lab) {
	return onParts(func(p []string) { p[2] = b64(f(unb64(p[2]))) })
}

// onHeader changes the header before it is signed.
func onHeader(f func(h *attest.Header)) func(*vector, *lab) {
	return func(v *vector, l *lab) {
		f(&l.header)
		*v.jws() = l.signedText(mustEncode(l.header), l.payload)
	}
}

// signedAs changes the header and who signs.
func signedAs(m *machine, role attest.Role, f func(h *attest.Header)) func(*vector, *lab) {
	return func(v *vector, l *lab) {
		l.m, l.role = m, role
		f(&l.header)
		*v.jws() = l.signedText(mustEncode(l.header), l.payload)
	}
}

// inHeader replaces text of the header, which is then signed.
func inHeader(was, now string) func(*vector, *lab) {
	return func(v *vector, l *lab) {
		*v.jws() = l.signedText(replaced(mustEncode(l.header), was, now), l.payload)
	}
}

// inPayload replaces text of the payload, which is then signed.
func inPayload(was, now string) func(*vector, *lab) {
	return func(v *vector, l *lab) {
		*v.jws() = l.signedText(mustEncode(l.header), replaced(l.payload, was, now))
	}
}

// asPayload signs another payload.
func asPayload(payload string) func(*vector, *lab) {
	return func(v *vector, l *lab) { *v.jws() = l.signedText(mustEncode(l.header), []byte(payload)) }
}

// replaced replaces the first occurrence, which must exist. An empty was stands
// for the end, "^" for the start.
func replaced(b []byte, was, now string) []byte {
	switch {
	case was == "":
		return append(bytes.Clone(b), now...)
	case was == "^":
		return append([]byte(now), b...)
	case !bytes.Contains(b, []byte(was)):
		panic("no " + was + " in " + string(b))
	}
	return bytes.Replace(b, []byte(was), []byte(now), 1)
}

// requoted has the AK sign a changed statement of its TPM.
func requoted(edit func(a *tpm2.TPMSAttest)) func(*vector, *lab) {
	return func(v *vector, l *lab) {
		v.Quote.Attestation = l.m.quote(attest.QuoteBinding(l.sign().Input), edit).Attestation
	}
}

// reattested has the AK sign changed bytes.
func reattested(f func(attested []byte) []byte) func(*vector, *lab) {
	return func(v *vector, l *lab) {
		a := &v.Quote
		if v.Certify != nil {
			v.Certify.Attestation = l.m.attestation(f(bytes.Clone(v.Certify.Attestation.Attest)))
			return
		}
		(*a).Attestation = l.m.attestation(f(bytes.Clone((*a).Attest)))
	}
}

// onPCRs changes the values beside a quote, not what was signed.
func onPCRs(f func(p attest.PCRs)) func(*vector, *lab) {
	return func(v *vector, _ *lab) { f(v.Quote.PCRs) }
}

// onPublic changes the first key's structure.
func onPublic(role attest.Role, edit func(p *tpm2.TPMTPublic)) func(*vector, *lab) {
	return func(v *vector, l *lab) { v.Keys[0].Public = l.m.public(role, edit) }
}

// onPublicBytes changes the first key's bytes.
func onPublicBytes(f func(b []byte) []byte) func(*vector, *lab) {
	return func(v *vector, _ *lab) { v.Keys[0].Public = f(bytes.Clone(v.Keys[0].Public)) }
}

// inMessage replaces text of a message.
func inMessage(was, now string) func(*vector, *lab) {
	return func(v *vector, _ *lab) { v.Message.Text = string(replaced([]byte(v.Message.Text), was, now)) }
}

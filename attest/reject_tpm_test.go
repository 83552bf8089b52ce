package attest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// tpmRejections change what TPMs state and the keys that they state it with.
func tpmRejections() []rejection {
	return slices.Concat(attestRejections(), quoteRejections(), pcrRejections(), clockRejections(), keyRejections(),
		policyRejections(), recertifyRejections())
}

func attestRejections() []rejection {
	timeInfo := func(a []byte) []byte { binary.BigEndian.PutUint16(a[4:], 0x8019); return a }
	return slices.Concat(
		group("attest", "report-dk-quote", attest.AttestMagic,
			row("magic", "the magic value is another", reattested(func(a []byte) []byte { a[0] ^= 0x80; return a })),
			row("magic-certify", "the magic value of a certify is another", reattested(func(a []byte) []byte { a[3]++; return a })).of("certify-dk"),
			row("magic-zero", "the magic value is zero", reattested(func(a []byte) []byte { clear(a[:4]); return a })),
		),
		group("attest-form", "report-dk-quote", attest.AttestForm,
			row("trailing", "a byte trails the structure", reattested(func(a []byte) []byte { return append(a, 0) })),
			row("cut", "the structure's last byte is missing", reattested(func(a []byte) []byte { return a[:len(a)-1] })),
			row("empty", "no structure", reattested(func([]byte) []byte { return nil })),
		),
		group("attest-inner", "report-dk-quote", attest.AttestForm,
			row("safe", "safe is neither 0 nor 1", reattested(func(a []byte) []byte { a[safeAt(a)] = 2; return a })),
			row("size", "the signer's name claims 65535 bytes", reattested(func(a []byte) []byte { a[6], a[7] = 0xff, 0xff; return a })),
			row("count", "seventeen banks", requoted(func(a *tpm2.TPMSAttest) {
				a.Attested = quoteInfo(tpm2.TPMLPCRSelection{PCRSelections: make([]tpm2.TPMSPCRSelection, 17)}, nil)
			})),
		),
		group("attest-type", "report-dk-quote", attest.AttestType,
			row("certify", "a certify where a quote was needed", func(v *vector, l *lab) {
				v.Quote.Attestation = *l.m.certify(l.m.nameOf(attest.DK), attest.QuoteBinding(l.sign().Input))
			}),
			row("quote", "a quote where a certify was needed", func(v *vector, l *lab) {
				v.Certify.Attestation = l.m.quote(v.Certify.Qualifying).Attestation
			}).of("certify-dk"),
			row("time", "a statement of time", reattested(timeInfo)),
		),
		group("attest-limit", "certify-dk", attest.TooLarge,
			row("size", "a structure above 2 kB", reattested(func(a []byte) []byte { return append(a, make([]byte, attest.MaxAttest)...) })),
		),
	)
}

// safeAt is where a TPMS_ATTEST has its safe byte.
func safeAt(a []byte) int {
	signer := int(binary.BigEndian.Uint16(a[6:]))
	extra := int(binary.BigEndian.Uint16(a[8+signer:]))
	return 10 + signer + extra + 16
}

func quoteRejections() []rejection {
	birch := newMachine("birch")
	extra := func(b []byte) func(*vector, *lab) {
		return requoted(func(a *tpm2.TPMSAttest) { a.ExtraData = tpm2.TPM2BData{Buffer: b} })
	}
	signedBy := func(m *machine, role attest.Role) func(*vector, *lab) {
		return func(v *vector, _ *lab) {
			sum := sha256.Sum256(v.Quote.Attest)
			v.Quote.Signature = rawSign(m.key(role), sum[:])
		}
	}
	return slices.Concat(
		group("quote-signature", "report-dk-quote", attest.QuoteSignature,
			row("dk", "the ordinary DK signs the quote", signedBy(newMachine("alder"), attest.DK)),
			row("other-ak", "another device's AK signs the quote", signedBy(birch, attest.AK)),
			row("bit", "one bit of the quoted digest after signing", func(v *vector, _ *lab) { v.Quote.Attest[len(v.Quote.Attest)-1] ^= 1 }),
		),
		group("quote-signature-form", "report-dk-quote", attest.QuoteSignature,
			row("empty", "no signature", func(v *vector, _ *lab) { v.Quote.Signature = nil }),
			row("zero", "r is 0", func(v *vector, _ *lab) { clear(v.Quote.Signature[:32]) }),
			row("long", "a byte after the signature", func(v *vector, _ *lab) { v.Quote.Signature = append(v.Quote.Signature, 0) }),
		),
		group("binding", "report-dk-quote", attest.QuoteUnbound,
			row("other", "the quote of another statement", func(v *vector, l *lab) {
				l.header.Seq++
				v.Quote.Attestation = l.m.quote(attest.QuoteBinding(l.sign().Input)).Attestation
			}),
			row("empty", "no QualifyingData", extra(nil)),
			row("untagged", "the bare hash of the signing input", func(v *vector, l *lab) {
				v.Quote.Attestation = l.m.quote(sha256.Sum256(l.sign().Input)).Attestation
			}),
		),
	)
}

func pcrRejections() []rejection {
	selected := func(s tpm2.TPMLPCRSelection) func(*vector, *lab) {
		return requoted(func(a *tpm2.TPMSAttest) {
			a.Attested = quoteInfo(s, digestOf(newMachine("alder").pcrs))
		})
	}
	both := wholeSelection()
	both.PCRSelections = append(both.PCRSelections, selection(tpm2.TPMAlgSHA1, []byte{0xff, 0xfb, 0}).PCRSelections...)
	return slices.Concat(
		group("selection", "report-dk-quote", attest.PCRSelection,
			row("empty", "no PCR at all", func(v *vector, l *lab) {
				requoted(func(a *tpm2.TPMSAttest) { a.Attested = quoteInfo(tpm2.TPMLPCRSelection{}, digestOf(nil)) })(v, l)
			}),
			row("partial", "PCR 7 is left out", selected(selection(tpm2.TPMAlgSHA256, []byte{0x7f, 0xfb, 0}))),
			row("extra", "PCR 10 is added", selected(selection(tpm2.TPMAlgSHA256, []byte{0xff, 0xff, 0}))),
		),
		group("selection-bank", "report-dk-quote", attest.PCRSelection,
			row("sha1", "the SHA-1 bank", selected(selection(tpm2.TPMAlgSHA1, []byte{0xff, 0xfb, 0}))),
			row("two", "a second bank", selected(both)),
			row("high", "PCR 16 instead of PCR 15", selected(selection(tpm2.TPMAlgSHA256, []byte{0xff, 0x7b, 1}))),
		),
		group("values", "report-dk-quote", attest.PCRValues,
			row("extra", "a value of PCR 16 that nobody quoted", onPCRs(func(p attest.PCRs) { p[16] = p[7] })),
			row("missing", "PCR 7 has no value", onPCRs(func(p attest.PCRs) { delete(p, 7) })),
			row("relabelled", "the value of PCR 7 stands at 23", onPCRs(func(p attest.PCRs) { p[23] = p[7]; delete(p, 7) })),
		),
		group("digest", "report-dk-quote", attest.PCRDigest,
			row("swapped", "the values of PCR 0 and 7 have changed places", onPCRs(func(p attest.PCRs) { p[0], p[7] = p[7], p[0] })),
			row("value", "another value of PCR 7", onPCRs(func(p attest.PCRs) { p[7] = nonceOf("pcr") })),
			row("signed", "the quoted digest is of other values", requoted(func(a *tpm2.TPMSAttest) {
				a.Attested = quoteInfo(wholeSelection(), digestOf(newMachine("birch").pcrs))
			})),
		),
	)
}

func keyRejections() []rejection {
	attribute := func(role attest.Role, f func(a *tpm2.TPMAObject)) func(*vector, *lab) {
		return onPublic(role, func(p *tpm2.TPMTPublic) { f(&p.ObjectAttributes) })
	}
	return slices.Concat(
		group("template-ak", "key-ak", attest.TemplateWrong,
			row("dk", "an ordinary DK shown as an AK", func(v *vector, l *lab) { v.Keys[0].Public = l.m.public(attest.DK) }),
			row("unrestricted", "not restricted", attribute(attest.AK, func(a *tpm2.TPMAObject) { a.Restricted = false })),
			row("imported", "not fixed to its TPM", attribute(attest.AK, func(a *tpm2.TPMAObject) { a.FixedTPM = false })),
		),
		group("template-origin", "key-ak", attest.TemplateWrong,
			row("parent", "not fixed to its parent", attribute(attest.AK, func(a *tpm2.TPMAObject) { a.FixedParent = false })),
			row("outside", "made outside the TPM", attribute(attest.AK, func(a *tpm2.TPMAObject) { a.SensitiveDataOrigin = false })),
			row("sign", "not for signing", attribute(attest.AK, func(a *tpm2.TPMAObject) { a.SignEncrypt = false })),
		),
		group("template-dk", "key-dk", attest.TemplateWrong,
			row("restricted", "an AK shown as a DK", func(v *vector, l *lab) { v.Keys[0].Public = l.m.public(attest.AK) }),
			row("decrypt", "also for decryption", attribute(attest.DK, func(a *tpm2.TPMAObject) { a.Decrypt = true })),
			row("policy", "a policy beside its auth", onPublic(attest.DK, func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = make([]byte, 32) })),
		),
		group("template-dkb", "key-dkb", attest.TemplateWrong,
			row("auth", "usable without its policy", attribute(attest.DKb, func(a *tpm2.TPMAObject) { a.UserWithAuth = true })),
			row("short", "a policy of 20 bytes", onPublic(attest.DKb, func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = make([]byte, 20) })),
			row("admin", "its administrator needs the policy too", attribute(attest.DKb, func(a *tpm2.TPMAObject) { a.AdminWithPolicy = true })),
		),
		group("template-kind", "key-dk", attest.TemplateWrong,
			row("sha1", "a SHA-1 Name", onPublic(attest.DK, func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgSHA1 })),
			row("curve", "another curve", onPublicBytes(func(b []byte) []byte { return bytes.Replace(b, []byte{0, 3, 0, 0x10}, []byte{0, 4, 0, 0x10}, 1) })),
			row("scheme", "no signing scheme", onPublicBytes(func(b []byte) []byte { return bytes.Replace(b, []byte{0, 0x18, 0, 0x0b}, []byte{0, 0x10}, 1) })),
		),
		group("public", "key-dk", attest.PublicForm,
			row("trailing", "a byte trails the public area", onPublicBytes(func(b []byte) []byte { return append(b, 0) })),
			row("cut", "its last byte is missing", onPublicBytes(func(b []byte) []byte { return b[:len(b)-1] })),
			row("curve", "a point that is not on the curve", onPublicBytes(func(b []byte) []byte { b[len(b)-1] ^= 1; return b })),
		),
		group("public-coordinate", "key-dk", attest.PublicForm,
			row("zero-led", "x has 33 bytes, the first zero", coordinate(func(x []byte) []byte { return append([]byte{0}, x...) })),
			row("long", "x has 33 bytes", coordinate(func(x []byte) []byte { return append([]byte{1}, x...) })),
			row("empty", "x has no bytes", coordinate(func([]byte) []byte { return nil })),
		),
		group("public-point", "report-softkey", attest.PublicForm,
			row("compressed", "a compressed point", onPublicBytes(func(b []byte) []byte { return append([]byte{2 + b[64]&1}, b[1:33]...) })),
			row("infinity", "the point at infinity", onPublicBytes(func([]byte) []byte { return []byte{0} })),
			row("zero", "the point (0, 0)", onPublicBytes(func(b []byte) []byte { clear(b[1:]); return b })),
		),
		group("public-limit", "key-dk", attest.TooLarge,
			row("size", "a public area above 1 kB", onPublicBytes(func(b []byte) []byte { return append(b, make([]byte, attest.MaxPublic)...) })),
		),
	)
}

// coordinate changes x of the first key's point.
func coordinate(f func(x []byte) []byte) func(*vector, *lab) {
	return onPublic(attest.DK, func(p *tpm2.TPMTPublic) {
		point, err := p.Unique.ECC()
		if err != nil {
			panic(err)
		}
		p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: f(point.X.Buffer)}, Y: point.Y})
	})
}

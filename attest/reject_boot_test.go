package attest_test

import (
	"crypto/sha256"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

func clockRejections() []rejection {
	clock := func(f func(c *tpm2.TPMSClockInfo)) func(*vector, *lab) {
		return requoted(func(a *tpm2.TPMSAttest) { f(&a.ClockInfo) })
	}
	return slices.Concat(
		group("clock", "report-dk-quote", attest.ClockBack,
			row("reset", "one reset less than before", clock(func(c *tpm2.TPMSClockInfo) { c.ResetCount-- })),
			row("restart", "one resume less than before", clock(func(c *tpm2.TPMSClockInfo) { c.RestartCount-- })),
			row("milliseconds", "the clock before the last quote's", clock(func(c *tpm2.TPMSClockInfo) { c.Clock -= 5001 })),
		),
		group("clock-snapshot", "report-dk-quote", attest.ClockBack,
			row("resumed", "resumed often from a state of a day before", clock(func(c *tpm2.TPMSClockInfo) { c.RestartCount += 40; c.Clock -= 86_400_000 })),
			row("unsafe", "behind within one boot, and said to be so after power was lost", clock(func(c *tpm2.TPMSClockInfo) { c.Clock -= 5001; c.Safe = false })),
			row("ahead", "one reset less, and a clock that went on", clock(func(c *tpm2.TPMSClockInfo) { c.ResetCount--; c.RestartCount = 9; c.Clock += 1e6 })),
		),
		group("clock-clear", "report-cleared", attest.ClockBack,
			row("old", "counts of zero, and a clock that counted longer than the time since the last quote",
				clock(func(c *tpm2.TPMSClockInfo) { c.Clock = 4_880_001 })),
			row("later", "without the time of the last quote: a reset count that is small and not zero",
				clock(func(c *tpm2.TPMSClockInfo) { c.ResetCount = 1 })).of("report-cleared-unknown"),
			row("rolled", "counts of another day, and a clock that counted longer than the time since the last quote",
				clock(func(c *tpm2.TPMSClockInfo) { c.Clock = 30_000_000 })).of("report-cleared-started"),
		),
	)
}

func policyRejections() []rejection {
	certified := func(f func(v *vector, l *lab)) func(*vector, *lab) { return f }
	return slices.Concat(
		group("certify", "certify-dk", attest.CertifyName,
			row("dkb", "it certifies DKb", certified(func(v *vector, l *lab) {
				v.Certify.Attestation = *l.m.certify(l.m.nameOf(attest.DKb), v.Certify.Qualifying)
			})),
			row("other", "it certifies another device's DK", certified(func(v *vector, l *lab) {
				v.Certify.Attestation = *l.m.certify(newMachine("birch").nameOf(attest.DK), v.Certify.Qualifying)
			})),
			row("empty", "it certifies no name", certified(func(v *vector, l *lab) { v.Certify.Attestation = *l.m.certify(nil, v.Certify.Qualifying) })),
		),
		group("certify-binding", "certify-dk", attest.QuoteUnbound,
			row("other", "it was made for another transcript", func(v *vector, _ *lab) { v.Certify.Qualifying = nonceOf("t") }),
			row("recertify", "the certify of another report", func(v *vector, l *lab) {
				l.header.Seq++
				v.Recertify.Certify = l.m.recertify(l.sign().Input).Certify
			}).of("recertify"),
			row("as-quote", "a certify bound as quotes are", func(v *vector, l *lab) {
				v.Recertify.Certify = *l.m.certify(l.m.nameOf(attest.DKb), attest.QuoteBinding(l.sign().Input))
			}).of("recertify"),
		),
		group("policy", "recertify", attest.PolicyWrong,
			row("reset", "the DKb of the boot before", func(v *vector, l *lab) {
				old, input := newMachine("alder"), l.sign().Input
				v.Recertify = old.recertify(input)
			}),
			row("pcr7", "a DKb bound to another PCR 7", func(v *vector, l *lab) {
				other := newMachine("alder").boot(1)
				other.pcrs = newMachine("birch").pcrs
				v.Recertify = other.recertify(l.sign().Input)
			}),
			row("signs", "DKb signs and the quote is of another boot", requoted(func(a *tpm2.TPMSAttest) { a.ClockInfo.ResetCount++ })).of("report-dkb-quote"),
		),
		group("quote-needed", "report-dk-quote", attest.QuoteNeeded,
			row("dk", "DK signs without a quote for a device that has a DKb", func(v *vector, _ *lab) { v.Quote = nil }),
			row("loose", "a DKb bound to PCR 7 alone, without a quote", func(v *vector, _ *lab) { v.Quote = nil }).of("report-dkb-loose"),
			row("link", "DK signs a link proof without a quote", signedAs(newMachine("alder"), attest.DK, func(h *attest.Header) {
				h.Kid = newMachine("alder").parsed(attest.DK).ID
			})).of("link"),
		),
		group("log", "log", attest.LogDigest,
			row("bit", "one bit of the log", func(v *vector, _ *lab) { v.Log[0] ^= 1 }),
			row("other", "another device's log", func(v *vector, _ *lab) { v.Log = newMachine("birch").log() }),
			row("unannounced", "a log that nobody announced", func(v *vector, _ *lab) { v.Announced = attest.Digest{} }),
			at("limit", "a log above 4 MiB", "/log", 0, "AAAA", attest.MaxBootLog/3+1).as(attest.TooLarge),
		),
	)
}

// recertified changes what came in dkb beside the statement of a new boot.
func recertified(f func(r *attest.Recertify, l *lab, input []byte)) func(*vector, *lab) {
	return func(v *vector, l *lab) { f(v.Recertify, l, l.sign().Input) }
}

// recertifyRejections change what brings a new DKb.
func recertifyRejections() []rejection {
	alder, birch := newMachine("alder"), newMachine("birch")
	names := func(name []byte) func(*vector, *lab) {
		return recertified(func(r *attest.Recertify, l *lab, input []byte) {
			r.Certify = *l.m.certify(name, attest.RecertifyBinding(input))
		})
	}
	bound := func(binding attest.Digest) func(*vector, *lab) {
		return recertified(func(r *attest.Recertify, l *lab, _ []byte) { r.Certify = *l.m.certify(l.m.nameOf(attest.DKb), binding) })
	}
	// shown shows another public area, certified as it is.
	shown := func(public func(m *machine) []byte) func(*vector, *lab) {
		return recertified(func(r *attest.Recertify, l *lab, input []byte) {
			r.Public = public(l.m)
			r.Certify = *l.m.certify(nameFor(r.Public), attest.RecertifyBinding(input))
		})
	}
	point := func(role attest.Role) func(*vector, *lab) {
		return shown(func(m *machine) []byte {
			return m.public(attest.DKb, func(p *tpm2.TPMTPublic) { p.Unique = unique(&m.key(role).PublicKey) })
		})
	}
	return slices.Concat(
		group("recertify-signature", "recertify", attest.QuoteSignature,
			row("other-ak", "another device's AK certifies the key", recertified(func(r *attest.Recertify, l *lab, _ []byte) {
				r.Certify = birch.attestation(r.Certify.Attest)
			})),
			row("dk", "the DK certifies the key", recertified(func(r *attest.Recertify, l *lab, _ []byte) {
				sum := sha256.Sum256(r.Certify.Attest)
				r.Certify.Signature = rawSign(l.m.key(attest.DK), sum[:])
			})),
			row("quote", "the signature of the quote beside it", func(v *vector, _ *lab) { v.Recertify.Certify.Signature = v.Quote.Signature }),
		),
		group("recertify-binding", "recertify", attest.QuoteUnbound,
			row("enrol", "the certify of an enrolment, sent again", bound(sha256.Sum256([]byte("transcript")))),
			row("untagged", "the bare hash of the signing input", func(v *vector, l *lab) { bound(sha256.Sum256(l.sign().Input))(v, l) }),
			row("statement", "the certify of the statement before", bound(attest.RecertifyBinding([]byte("a.b")))),
		),
		group("recertify-name", "recertify", attest.CertifyName,
			row("dk", "the AK certifies the DK", names(alder.nameOf(attest.DK))),
			row("before", "the AK certifies the DKb of the boot before", names(alder.nameOf(attest.DKb))),
			row("other", "the AK certifies another device's DKb", names(birch.nameOf(attest.DKb))),
		),
		group("recertify-type", "recertify", attest.AttestType,
			row("quote", "the quote stands where the certify does", func(v *vector, _ *lab) { v.Recertify.Certify = v.Quote.Attestation }),
		),
		group("recertify-form", "recertify", attest.AttestMagic,
			row("magic", "the certify's magic value is another", recertified(func(r *attest.Recertify, l *lab, _ []byte) {
				changed := slices.Clone(r.Certify.Attest)
				changed[0] ^= 1
				r.Certify = l.m.attestation(changed)
			})),
			row("trailing", "a byte trails the certify", recertified(func(r *attest.Recertify, l *lab, _ []byte) {
				r.Certify = l.m.attestation(append(slices.Clone(r.Certify.Attest), 0))
			})).as(attest.AttestForm),
			row("none", "no certify", recertified(func(r *attest.Recertify, _ *lab, _ []byte) { r.Certify = attest.Attestation{} })).as(attest.AttestForm),
		),
		group("recertify-template", "recertify", attest.TemplateWrong,
			row("dk", "the DK shown as a new DKb", shown(func(m *machine) []byte { return m.public(attest.DK) })),
			row("auth", "a key that is usable without its policy", shown(func(m *machine) []byte {
				return m.public(attest.DKb, func(p *tpm2.TPMTPublic) { p.ObjectAttributes.UserWithAuth = true })
			})),
			row("imported", "a key that was made outside", shown(func(m *machine) []byte {
				return m.public(attest.DKb, func(p *tpm2.TPMTPublic) { p.ObjectAttributes.SensitiveDataOrigin = false })
			})),
		),
		group("recertify-public", "recertify", attest.PublicForm,
			row("none", "no public area", recertified(func(r *attest.Recertify, _ *lab, _ []byte) { r.Public = nil })),
			row("trailing", "a byte trails the public area", shown(func(m *machine) []byte { return append(m.public(attest.DKb), 0) })),
			row("limit", "a public area above 1 kB", recertified(func(r *attest.Recertify, _ *lab, _ []byte) {
				r.Public = append(r.Public, make([]byte, attest.MaxPublic)...)
			})).as(attest.TooLarge),
		),
		recertifyRoles(point),
	)
}

// recertifyRoles has the wrong key or statement bring a DKb, and the wrong key be
// brought.
func recertifyRoles(point func(attest.Role) func(*vector, *lab)) []rejection {
	alder := newMachine("alder")
	asLink := func(v *vector, l *lab) {
		l.header.Typ, l.header.Seq, l.header.Prev = attest.TypLink, 0, attest.Digest{}
		l.payload = mustEncode(attest.LinkProof{
			Link: "link-1", Nonce: nonceOf("link"), SessionHash: nonceOf("session"), Origin: vectorOrigin, Time: vectorNow - 5})
		s := l.sign()
		v.Known.Typs = []attest.Typ{attest.TypLink}
		v.Compact, v.Quote, v.Recertify = string(s.Compact), l.m.quote(attest.QuoteBinding(s.Input)), l.m.recertify(s.Input)
	}
	return slices.Concat(
		group("recertify-role", "recertify", attest.KeyRole,
			row("dkb", "the former DKb brings its successor", func(v *vector, l *lab) {
				signedAs(alder, attest.DKb, func(h *attest.Header) { h.Kid = alder.parsed(attest.DKb).ID })(v, l)
				v.Quote, v.Recertify = nil, newMachine("alder").boot(1).recertify(l.sign().Input)
			}),
			row("is-dk", "the new DKb is the DK's point under DKb's template", point(attest.DK)),
			row("is-ak", "the new DKb is the AK's point under DKb's template", point(attest.AK)),
		),
		group("recertify-quote", "recertify", attest.QuoteNeeded,
			row("none", "no quote beside the report", func(v *vector, _ *lab) { v.Quote = nil }),
			row("first", "no quote, and the device has no DKb yet", func(v *vector, _ *lab) { v.Quote, v.Keys = nil, v.Keys[:2] }),
		),
		group("recertify-typ", "recertify", attest.TypRefused,
			row("link", "a link proof brings a DKb", asLink),
		),
		group("recertify-policy", "recertify-loose", attest.PolicyWrong,
			row("pcr7", "bound to PCR 7 alone, and to another value of it", func(v *vector, l *lab) {
				other := *l.m
				other.pcrs = newMachine("birch").pcrs
				v.Recertify = other.recertify(l.sign().Input)
			}),
			row("zero", "a policy that anybody can satisfy", func(v *vector, l *lab) {
				v.Recertify.Public = l.m.public(attest.DKb, func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = make([]byte, 32) })
				v.Recertify.Certify = *l.m.certify(nameFor(v.Recertify.Public), attest.RecertifyBinding(l.sign().Input))
			}),
		),
	)
}

// nameFor is the TPM Name of a public area.
func nameFor(public []byte) []byte {
	sum := sha256.Sum256(public)
	return append([]byte{0, 0x0b}, sum[:]...)
}

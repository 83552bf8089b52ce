package attest_test

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"

	"muster/attest"
)

// statementRejections change the envelope: its parts, header and signature.
func statementRejections() []rejection {
	return slices.Concat(formRejections(), headerRejections(), expectationRejections(), signatureRejections(), stepRejections())
}

func formRejections() []rejection {
	return slices.Concat(
		group("parts", "report-dkb", attest.Malformed,
			row("two", "the signature part is cut off", onCompact(func(s string) string { return s[:strings.LastIndexByte(s, '.')] })),
			row("four", "a fourth part", onCompact(func(s string) string { return s + ".AA" })),
			row("empty", "nothing at all", onCompact(func(string) string { return "" })),
		),
		group("truncated", "report-dkb", attest.Malformed,
			row("character", "the last character is missing", onCompact(func(s string) string { return s[:len(s)-1] })),
			row("signature", "the last byte of the signature is missing", onSignature(func(s []byte) []byte { return s[:63] })).as(attest.SignatureForm),
			row("payload", "the last three bytes of the payload are missing", onParts(func(p []string) { p[1] = b64(unb64(p[1])[:len(unb64(p[1]))-3]) })).as(attest.SignatureWrong),
		),
		group("swapped", "heartbeat", attest.HeaderForm,
			row("header-payload", "header and payload have changed places", onParts(func(p []string) { p[0], p[1] = p[1], p[0] })),
			row("payload-signature", "payload and signature have changed places", onParts(func(p []string) { p[1], p[2] = p[2], p[1] })).as(attest.SignatureForm),
			row("reversed", "the parts come in reverse", onParts(slices.Reverse[[]string])),
		),
		group("base64", "report-dkb", attest.Malformed,
			row("padding", "the signature is padded", onCompact(func(s string) string { return s + "==" })),
			row("alphabet", "one character of the standard alphabet", onParts(func(p []string) { p[2] = "+" + p[2][1:] })),
			row("trailing-bits", "a bit that no byte needs is set", onParts(func(p []string) { p[2] = trailingBit(p[2]) })),
		),
		group("linebreak", "report-dkb", attest.Malformed,
			row("payload", "a line feed inside the payload part", onParts(func(p []string) { p[1] = p[1][:40] + "\n" + p[1][40:] })),
			row("end", "a line end after the signature", onCompact(func(s string) string { return s + "\r\n" })),
			row("start", "a blank before the header", onCompact(func(s string) string { return " " + s })),
		),
		group("limit", "report-dkb", attest.TooLarge,
			at("statement", "a statement above 64 kB", "/compact", 900, "A", attest.MaxReport),
			at("header", "a header above 1 kB", "/compact", 0, "A", 2*attest.MaxHeader),
			row("text", "a string of 1025 bytes", inPayload(`"id":"debian"`, `"id":"`+strings.Repeat("d", attest.MaxText+1)+`"`)),
		),
	)
}

// trailingBit sets the lowest unused bit of the last character.
func trailingBit(part string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, part[len(part)-1])
	return part[:len(part)-1] + string(alphabet[last|1])
}

func headerRejections() []rejection {
	deep := strings.Repeat("[", attest.MaxDepth) + strings.Repeat("]", attest.MaxDepth)
	return slices.Concat(
		group("header", "report-dkb", attest.HeaderForm,
			row("duplicate", "seq stands twice", inHeader(`"seq":8`, `"seq":8,"seq":8`)),
			row("unknown", "a member that is none", inHeader(`"seq":8`, `"seq":8,"crit":["b64"]`)),
			row("case", "a member's name in other case", inHeader(`"seq"`, `"Seq"`)),
		),
		group("header-json", "report-dkb", attest.HeaderForm,
			row("trailing", "bytes after the header's value", inHeader("", "{}")),
			row("depth", "nine levels deep", inHeader(`"seq":8`, `"seq":8,"x":`+deep)),
			row("null", "a null for a number", inHeader(`"seq":8`, `"seq":null`)),
		),
		group("header-value", "report-dkb", attest.HeaderForm,
			row("seq-text", "the sequence number as text", inHeader(`"seq":8`, `"seq":"8"`)),
			row("seq-negative", "a negative sequence number", inHeader(`"seq":8`, `"seq":-8`)),
			row("seq-huge", "a sequence number above 64 bits", inHeader(`"seq":8`, `"seq":18446744073709551624`)),
		),
		group("header-digest", "report-dkb", attest.HeaderForm,
			row("linebreak", "a digest with a line feed for a character", inHeader(nonceOf("alder").String(), nonceOf("alder").String()[:42]+`\n`)),
			row("short", "a digest of 42 characters", inHeader(nonceOf("alder").String(), nonceOf("alder").String()[:42])),
			row("bits", "a digest whose last character has unused bits", inHeader(nonceOf("alder").String(), trailingBit(nonceOf("alder").String()))),
		),
		group("header-transcript", "report-dkb", attest.HeaderForm,
			row("in-report", "a transcript outside an enrolment", onHeader(func(h *attest.Header) { h.Transcript = nonceOf("t") })),
		),
		group("header-outside", "link", attest.HeaderForm,
			row("seq", "a link proof with a sequence number", onHeader(func(h *attest.Header) { h.Seq = 8 })),
			row("prev", "a link proof with a predecessor", onHeader(func(h *attest.Header) { h.Prev = nonceOf("p") })),
			row("ephemeral", "an ephemeral key with a sequence number", onHeader(func(h *attest.Header) { h.Seq = 8 })).of("ephemeral"),
		),
	)
}

func expectationRejections() []rejection {
	birch := newMachine("birch")
	return slices.Concat(
		group("alg", "report-dkb", attest.AlgRefused,
			row("none", "alg none and no signature", func(v *vector, l *lab) {
				text := replaced(mustEncode(l.header), `"ES256"`, `"none"`)
				v.Compact = b64(text) + "." + b64(l.payload) + "."
			}),
			row("hs256", "an HMAC under the public key", hs256),
			row("case", "the algorithm's name in other case", inHeader(`"ES256"`, `"es256"`)),
		),
		group("typ", "report-dkb", attest.TypRefused,
			row("heartbeat", "a report that says it is a heartbeat, where only reports are read", onHeader(func(h *attest.Header) { h.Typ = attest.TypHeartbeat })),
			row("version", "the next version's typ", inHeader(`muster-report/1`, `muster-report/2`)),
			row("empty", "no typ", inHeader(`"muster-report/1"`, `""`)),
		),
		group("device", "report-dkb", attest.DeviceMismatch,
			row("other", "another device's id", onHeader(func(h *attest.Header) { h.Device = birch.deviceID() })),
			row("none", "no device", onHeader(func(h *attest.Header) { h.Device = "" })),
			row("case", "the id in other case", onHeader(func(h *attest.Header) { h.Device = "DEV-alder" })),
		),
		group("device-enrol", "enrol-tpm", attest.DeviceMismatch,
			row("named", "an enrolment that names a device", onHeader(func(h *attest.Header) { h.Device = "dev-alder" })),
		),
		group("kid", "report-dkb", attest.KeyUnknown,
			row("other", "another device's key, which signs", signedAs(birch, attest.DKb, func(h *attest.Header) { h.Kid = birch.parsed(attest.DKb).ID })),
			row("zero", "no key", onHeader(func(h *attest.Header) { h.Kid = attest.Digest{} })),
			row("old-boot", "the key of another boot, which signs", signedAs(newMachine("alder").boot(1), attest.DKb,
				func(h *attest.Header) { h.Kid = newMachine("alder").boot(1).parsed(attest.DKb).ID })),
		),
		group("role", "report-dkb", attest.KeyRole,
			row("ak", "the AK signs a report", signedAs(newMachine("alder"), attest.AK, func(h *attest.Header) { h.Kid = newMachine("alder").parsed(attest.AK).ID })),
			row("dkb-enrols", "DKb signs an enrolment", signedAs(newMachine("alder"), attest.DKb, func(h *attest.Header) { h.Kid = newMachine("alder").parsed(attest.DKb).ID })).of("enrol-tpm"),
			row("ak-heartbeat", "the AK signs a heartbeat", signedAs(newMachine("alder"), attest.AK, func(h *attest.Header) { h.Kid = newMachine("alder").parsed(attest.AK).ID })).of("heartbeat"),
		),
	)
}

func hs256(v *vector, l *lab) {
	input := b64(replaced(mustEncode(l.header), `"ES256"`, `"HS256"`)) + "." + b64(l.payload)
	mac := hmac.New(sha256.New, l.m.public(l.role))
	mac.Write([]byte(input))
	v.Compact = input + "." + b64(mac.Sum(nil))
}

func signatureRejections() []rejection {
	n := elliptic.P256().Params().N
	set := func(from int, value *big.Int) func(*vector, *lab) {
		return onSignature(func(s []byte) []byte { value.FillBytes(s[from : from+32]); return s })
	}
	return slices.Concat(
		group("signature", "report-dkb", attest.SignatureForm,
			row("high-s", "S is negated", onSignature(func(s []byte) []byte {
				high := new(big.Int).Sub(n, new(big.Int).SetBytes(s[32:]))
				high.FillBytes(s[32:])
				return s
			})),
			row("der", "the signature in DER", onSignature(func(s []byte) []byte {
				der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:])})
				if err != nil {
					panic(err)
				}
				return der
			})),
			row("empty", "no signature, alg ES256", onSignature(func([]byte) []byte { return nil })),
		),
		group("signature-range", "report-dkb", attest.SignatureForm,
			row("r-zero", "r is 0", set(0, new(big.Int))),
			row("s-zero", "s is 0", set(32, new(big.Int))),
			row("r-order", "r is the order of the group", set(0, n)),
		),
		group("signer", "report-dkb", attest.SignatureWrong,
			row("other", "another device's key signs under this one's kid", signedAs(newMachine("birch"), attest.DKb, func(*attest.Header) {})),
			row("dk", "DK signs under DKb's kid", signedAs(newMachine("alder"), attest.DK, func(*attest.Header) {})),
			row("zero", "the signature of another statement", func(v *vector, l *lab) {
				l.header.Seq++
				v.Compact = v.Compact[:strings.LastIndexByte(v.Compact, '.')+1] + strings.Split(string(l.sign().Compact), ".")[2]
			}),
		),
		group("tampered", "report-dkb", attest.SignatureWrong,
			row("payload", "one word of the payload after signing", onParts(func(p []string) {
				p[1] = b64(replaced(unb64(p[1]), `"state":"no"`, `"state":"yes"`))
			})),
			row("header", "the sequence number after signing", onParts(func(p []string) { p[0] = b64(replaced(unb64(p[0]), `"seq":8`, `"seq":9`)) })),
			row("bit", "one bit of the signature", onSignature(func(s []byte) []byte { s[10] ^= 1; return s })),
		),
	)
}

func stepRejections() []rejection {
	known := func(f func(k *vectorKnown)) func(*vector, *lab) { return func(v *vector, _ *lab) { f(v.Known) } }
	return slices.Concat(
		group("seq", "report-dkb", attest.OutOfStep,
			row("again", "the last accepted sequence number", onHeader(func(h *attest.Header) { h.Seq = 7 })),
			row("skipped", "a sequence number left out", onHeader(func(h *attest.Header) { h.Seq = 9 })),
			row("enrol", "an enrolment that starts at one", onHeader(func(h *attest.Header) { h.Seq = 1 })).of("enrol-tpm"),
		),
		group("prev", "heartbeat", attest.OutOfStep,
			row("other", "another predecessor", onHeader(func(h *attest.Header) { h.Prev = nonceOf("x") })),
			row("none", "no predecessor", onHeader(func(h *attest.Header) { h.Prev = attest.Digest{} })),
			row("enrol", "an enrolment with a predecessor", onHeader(func(h *attest.Header) { h.Prev = nonceOf("x") })).of("enrol-tpm"),
		),
		group("nonce", "report-dkb", attest.NonceUnknown,
			row("other", "a nonce of another device", onHeader(func(h *attest.Header) { h.Nonce = nonceOf("birch") })),
			row("zero", "no nonce", onHeader(func(h *attest.Header) { h.Nonce = attest.Digest{} })),
			row("used", "the verifier has it no more", known(func(k *vectorKnown) { k.Nonces[0].Nonce = nonceOf("next") })),
		),
		group("nonce-expired", "report-dkb", attest.NonceExpired,
			row("edge", "answered in the second in which it ends", known(func(k *vectorKnown) { k.Now = vectorExpires })),
			row("late", "answered an hour later", known(func(k *vectorKnown) { k.Now += 3600 })),
			row("enrol", "an enrolment finished too late", known(func(k *vectorKnown) { k.Now = vectorExpires + 1 })).of("enrol-tpm"),
		),
	)
}

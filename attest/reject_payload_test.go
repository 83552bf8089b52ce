package attest_test

import (
	"crypto/sha256"
	"slices"
	"strings"

	"muster/attest"
	"muster/attest/posture"
)

// payloadRejections change what is stated, signed by the right key, and the
// messages around it.
func payloadRejections() []rejection {
	return slices.Concat(reportRejections(), claimRejections(), smallRejections(), enrolRejections(), messageRejections())
}

func reportRejections() []rejection {
	deep := strings.Repeat("[", attest.MaxDepth) + strings.Repeat("]", attest.MaxDepth)
	return slices.Concat(
		group("payload", "report-dkb", attest.PayloadForm,
			row("unknown", "a member that is none", inPayload(`"agent"`, `"score":100,"agent"`)),
			row("duplicate", "a claim stands twice", inPayload(`"os":{`, `"os":{"state":"yes"},"os":{`)),
			row("case", "a member's name in other case", inPayload(`"state":"no"`, `"State":"no"`)),
		),
		group("payload-json", "report-dkb", attest.PayloadForm,
			row("trailing", "a second value", inPayload("", "{}")),
			row("depth", "nine levels deep", inPayload(`"leaves":["nvme0n1"]`, `"leaves":`+deep)),
			row("null", "a null claim", inPayload(`"mdm":{`, `"mdm":null,"x":{`)),
		),
		group("payload-text", "report-dkb", attest.PayloadForm,
			row("bom", "a byte order mark", inPayload("^", "\ufeff")),
			row("utf8", "bytes that are not UTF-8", inPayload(`"id":"debian"`, "\"id\":\"debi\xffn\"")),
			row("empty", "nothing", asPayload("")),
		),
		group("payload-kind", "report-dkb", attest.PayloadForm,
			row("array", "an array around the report", inPayload("^", "[")),
			row("heartbeat", "a heartbeat's payload in a report", func(v *vector, l *lab) {
				asPayload(`{"base":"`+nonceOf("b").String()+`","boot_id":"x","collected_at":1}`)(v, l)
			}),
			row("number", "a number for a state", inPayload(`"state":"no"`, `"state":2`)),
		),
		group("report", "report-dkb", attest.PayloadForm,
			row("platform", "a platform that is none", inPayload(`"platform":"linux"`, `"platform":"plan9"`)),
			row("profile", "a profile that is none", inPayload(`"profile":"corporate"`, `"profile":"guest"`)),
			row("agent", "no agent version", inPayload(`"agent":"1.0.0"`, `"agent":""`)),
		),
		group("report-boot", "report-dkb", attest.PayloadForm,
			row("none", "no boot id", inPayload(`"boot_id":"7f0c1d8e-5a55-4f6e-9a52-alder"`, `"boot_id":""`)),
			row("long", "a boot id of 65 bytes", inPayload(`"boot_id":"7f0c1d8e-5a55-4f6e-9a52-alder"`, `"boot_id":"`+strings.Repeat("b", attest.MaxID+1)+`"`)),
			row("control", "a boot id with a line feed", inPayload(`9a52-alder"`, `9a52-alder\n"`)),
		),
		group("report-time", "report-dkb", attest.PayloadForm,
			row("offset", "a time with an offset", inPayload(`"collected_at":"2026-11-22T11:59:55Z"`, `"collected_at":"2026-11-22T12:59:55+01:00"`)),
			row("fraction", "a time with a fraction", inPayload(`"collected_at":"2026-11-22T11:59:55Z"`, `"collected_at":"2026-11-22T11:59:55.5Z"`)),
			row("none", "no time", inPayload(`"collected_at":"2026-11-22T11:59:55Z",`, ``)),
		),
	)
}

func claimRejections() []rejection {
	unseen := `"firewall":{"state":"unknown","reason":"permission"`
	many := `"manager":"apt","packages":["` + strings.Repeat(`p","`, posture.MaxPackages) + `p"]`
	return slices.Concat(
		group("state", "report-dkb", attest.PayloadForm,
			row("case", "a state in other case", inPayload(`"state":"yes"`, `"state":"Yes"`)),
			row("none", "a state that is none", inPayload(`"state":"yes"`, `"state":"ok"`)),
			row("empty", "an empty state", inPayload(`"state":"yes"`, `"state":""`)),
		),
		group("claim", "report-dkb", attest.ClaimForm,
			row("unknown-bare", "unknown without a reason", inPayload(unseen, `"firewall":{"state":"unknown","reason":""`)),
			row("no-bare", "no without a reason", inPayload(`"state":"no","reason":"plain-swap","source"`, `"state":"no","reason":"","source"`)),
			row("missing", "a claim is left out", inPayload(`,"mdm":{"state":"unknown","reason":"not-yet","source":"reported","observed_at":"2026-11-22T11:59:55Z","detail":{}}`, ``)),
		),
		group("claim-reason", "report-dkb", attest.ClaimForm,
			row("form", "a reason that is no code", inPayload(unseen, `"firewall":{"state":"unknown","reason":"Not allowed"`)),
			row("long", "a reason of 41 bytes", inPayload(unseen, `"firewall":{"state":"unknown","reason":"`+strings.Repeat("r", posture.MaxReason+1)+`"`)),
			row("nested", "a reason inside a detail that is no code", inPayload(`"reason":"plain-swap","leaves"`, `"reason":"plain swap","leaves"`)),
		),
		group("claim-form", "report-dkb", attest.ClaimForm,
			row("time", "a claim with a time in another zone", inPayload(`"observed_at":"2026-11-22T11:59:55Z"`, `"observed_at":"2026-11-22T13:59:55+02:00"`)),
			row("fraction", "a claim with a fraction of a second", inPayload(`"observed_at":"2026-11-22T11:59:55Z"`, `"observed_at":"2026-11-22T11:59:55.25Z"`)),
			row("packages", "51 pending packages by name", inPayload(`"manager":"apt"`, many)),
		),
		group("source", "report-dkb", attest.ClaimSource,
			row("measured", "an agent says that a claim is measured", inPayload(`"source":"reported"`, `"source":"measured"`)),
			row("vendor", "an agent says that a vendor vouches", inPayload(`"source":"reported"`, `"source":"vendor"`)),
			row("none", "a source that is none", inPayload(`"source":"reported"`, `"source":"signed"`)).as(attest.PayloadForm),
		),
	)
}

func smallRejections() []rejection {
	return slices.Concat(
		group("heartbeat", "heartbeat", attest.PayloadForm,
			row("base", "no base report", func(v *vector, l *lab) {
				base := attest.Digest(sha256.Sum256([]byte("base of alder")))
				inPayload(base.String(), attest.Digest{}.String())(v, l)
			}),
			row("time", "no time", inPayload(`"collected_at":1795348795`, `"collected_at":0`)),
			row("overflow", "a time above 64 bits", inPayload(`"collected_at":1795348795`, `"collected_at":1e99`)),
		),
		group("link", "link", attest.PayloadForm,
			row("session", "no session", inPayload(`,"session_hash"`, `,"session"`)),
			row("id", "no link id", inPayload(`"link":"link-1"`, `"link":""`)),
			row("origin", "no origin", inPayload(`"origin":"https://muster.example"`, `"origin":""`)),
		),
		group("ephemeral", "ephemeral", attest.PayloadForm,
			row("curve", "a point that is not on the curve", func(v *vector, l *lab) {
				point := pointOf(&fixedKey("ephemeral").PublicKey)
				was := b64(point)
				point[64] ^= 1
				inPayload(was, b64(point))(v, l)
			}),
			row("long", "a life of more than ten minutes from the nonce's issue", inPayload(`"expires":1795349100`, `"expires":1795349381`)),
			row("ended", "a life that has ended", inPayload(`"expires":1795349100`, `"expires":1795348800`)),
		),
	)
}

func enrolRejections() []rejection {
	enrol := func(f func(e *vectorEnrol)) func(*vector, *lab) { return func(v *vector, _ *lab) { f(v.Enrol) } }
	return slices.Concat(
		group("transcript", "enrol-softkey", attest.TranscriptWrong,
			row("session", "the statement belongs to another session", enrol(func(e *vectorEnrol) { e.Finish.Session = append(e.Finish.Session, 'x') })),
			row("begin", "one blank more in the first message", enrol(func(e *vectorEnrol) { e.Begin += " " })),
			row("absent", "no transcript in the header", onHeader(func(h *attest.Header) { h.Transcript = attest.Digest{} })),
		),
		group("place", "enrol-tpm", attest.TranscriptWrong,
			row("origin", "the agent was told another origin", enrol(func(e *vectorEnrol) { e.Origin = "https://mustre.example" })),
			row("tenant", "another tenant", enrol(func(e *vectorEnrol) { e.Tenant = strings.Repeat("ff", 16) })),
			row("nonce", "another nonce", enrol(func(e *vectorEnrol) { e.Nonce = nonceOf("birch") })),
		),
		group("proof", "enrol-tpm", attest.TranscriptWrong,
			row("bit", "one bit of the proof", enrol(func(e *vectorEnrol) { e.Finish.Proof[0] ^= 1 })),
			row("secret", "a proof with another secret", enrol(func(e *vectorEnrol) { e.Secret[0] ^= 1 })),
			row("none", "no proof", enrol(func(e *vectorEnrol) { e.Finish.Proof = attest.Digest{} })),
		),
		group("enrol-quote", "enrol-tpm", attest.QuoteNeeded,
			row("none", "no quote beside the report", enrol(func(e *vectorEnrol) { e.Finish.Quote = nil })),
		),
		group("enrol-certify", "enrol-tpm", attest.CertifyName,
			row("swapped", "the certifies of DK and DKb have changed places", enrol(func(e *vectorEnrol) {
				f := &e.Finish
				f.CertifyDK, f.CertifyDKb = f.CertifyDKb, f.CertifyDK
			})),
			row("begin", "the first message is no strict JSON", enrol(func(e *vectorEnrol) { e.Begin = strings.Replace(e.Begin, `"token"`, `"tokens"`, 1) })).as(attest.PayloadForm),
		),
	)
}

func messageRejections() []rejection {
	return slices.Concat(
		group("message", "message-submit", attest.PayloadForm,
			row("unknown", "a member that is none", inMessage(`"jws"`, `"force":true,"jws"`)),
			row("duplicate", "a member stands twice", inMessage(`"jws"`, `"jws":"","jws"`)),
			row("case", "a member's name in other case", inMessage(`"jws"`, `"JWS"`)),
		),
		group("message-json", "message-submit", attest.PayloadForm,
			row("trailing", "bytes after the value", inMessage("", "x")),
			row("null", "a null quote", inMessage(`{"jws":"e30.e30.AA",`, `{"jws":"e30.e30.AA","dkb":null,`)),
			row("depth", "nine levels deep", inMessage(`"e30.e30.AA"`, strings.Repeat("[", 9)+strings.Repeat("]", 9))),
		),
		group("message-binary", "message-submit", attest.PayloadForm,
			row("padding", "a padded signature", inMessage(`","pcrs"`, `==","pcrs"`)),
			row("linebreak", "a line feed in an attest structure", inMessage(`"attest":"`, `"attest":"\n`)),
			row("alphabet", "the standard alphabet", inMessage(`"attest":"_1RDR`, `"attest":"/1RDR`)),
		),
		group("message-dkb", "message-submit-dkb", attest.PayloadForm,
			row("unknown", "a new DKb that names its role", inMessage(`"dkb":{`, `"dkb":{"role":"AK",`)),
			row("twice", "two new DKbs", inMessage(`"dkb":{`, `"dkb":{"public":"","certify":{"attest":"","signature":""}},"dkb":{`)),
			row("list", "a list of new DKbs", inMessage(`"dkb":{`, `"dkb":[],"x":{`)),
		),
		group("message-pcr", "message-submit", attest.PayloadForm,
			row("zero", "a PCR index with a leading zero", inMessage(`{"7":`, `{"07":`)),
			row("range", "a PCR index above 255", inMessage(`{"7":`, `{"263":`)),
			row("twice", "a PCR index twice, once escaped", inMessage(`{"7":"`, `{"\u0037":"`+nonceOf("z").String()+`","7":"`)),
		),
		group("message-nonce", "message-nonce", attest.PayloadForm,
			row("wait", "a nonce that is waited for", inMessage("{}", `{"wait_s":1}`)),
		),
		group("message-wait", "message-wait", attest.PayloadForm,
			row("none", "no time", inMessage(`"wait_s":50`, "")),
			row("zero", "no second", inMessage("50", "0")),
			row("negative", "less than no second", inMessage("50", "-1")),
			row("long", "a second more than MaxWait", inMessage("50", "61")),
			row("fraction", "half a second", inMessage("50", "0.5")),
			row("text", "a number in quotes", inMessage("50", `"50"`)),
			row("unknown", "the agent says whose request it holds", inMessage("50", `50,"device":"other"`)),
		),
		linkRejections(),
	)
}

func linkRejections() []rejection {
	nonce := `"nonce":"` + nonceOf("link").String() + `"`
	return slices.Concat(
		group("message-link", "message-link-ask", attest.PayloadForm,
			row("half", "a request without its nonce", inMessage(nonce+",", "")),
			row("nonce", "a nonce without its request", inMessage(`"link":"link-1",`, "")),
			row("way", "no way", inMessage(`,"way":"loopback"`, "")),
			row("way-other", "a way that is none", inMessage(`"loopback"`, `"proxy"`)),
			row("recover", "a request and a recovery at once", inMessage(`"way"`, `"recover":true,"way"`)),
			row("id", "an id of more than MaxID bytes", inMessage(`"link-1"`, `"`+strings.Repeat("a", attest.MaxID+1)+`"`)),
			row("control", "an id with a line break", inMessage(`"link-1"`, `"link\n1"`)),
			row("unknown", "the agent says which session it wants", inMessage(`"link-1"`, `"link-1","session_hash":"`+nonceOf("s").String()+`"`)),
		),
		group("message-link-list", "message-link-ask-code", attest.PayloadForm,
			row("loopback", "a page may not list what others ask", inMessage(`"code"`, `"loopback"`)),
		),
		group("message-link-end", "message-link-end", attest.PayloadForm,
			row("none", "no cause", inMessage(`"locked"`, `""`)),
			row("other", "a cause that is none", inMessage(`"locked"`, `"asleep"`)),
		),
		group("message-link-jws", "message-link-submit", attest.PayloadForm,
			row("dkb", "a boot key beside a link proof", inMessage(`{`, `{"dkb":{"public":"","certify":{"attest":"","signature":""}},`)),
		),
	)
}

package attest

import "fmt"

// Code is a stable reason for a refusal, the same in log, API, page and
// SPEC.md §8.
type Code string

// What Open and the checks beside it refuse, in the order in which they look.
const (
	TooLarge        Code = "too-large"        // a limit of SPEC.md §2
	Malformed       Code = "malformed"        // not three strict base64url parts
	HeaderForm      Code = "header-form"      // protected header is not the strict JSON of §3
	AlgRefused      Code = "alg-refused"      // anything but ES256
	TypRefused      Code = "typ-refused"      // not the statement that was expected
	DeviceMismatch  Code = "device-mismatch"  // speaks of another device
	KeyUnknown      Code = "key-unknown"      // kid is no key of this device
	KeyRole         Code = "key-role"         // a key of this device that must not sign this
	SignatureForm   Code = "signature-form"   // not 64 bytes, out of range, or high S
	SignatureWrong  Code = "signature-wrong"  // does not verify
	OutOfStep       Code = "out-of-step"      // validly signed; sequence or previous digest differ
	NonceUnknown    Code = "nonce-unknown"    // never issued to this device, or used
	NonceExpired    Code = "nonce-expired"    // issued, unused, too old
	TranscriptWrong Code = "transcript-wrong" // an enrolment of another session, origin or tenant
	PayloadForm     Code = "payload-form"     // payload or message is not the strict JSON of §4 and §7
	ClaimForm       Code = "claim-form"       // unknown without reason, bad code, no time
	ClaimSource     Code = "claim-source"     // an agent may only report
)

// What is refused of TPM structures.
const (
	AttestForm     Code = "attest-form"     // not one whole TPMS_ATTEST
	AttestMagic    Code = "attest-magic"    // not made by a TPM
	AttestType     Code = "attest-type"     // a quote was needed and a certify came, or the reverse
	QuoteSignature Code = "quote-signature" // not signed by the AK
	QuoteUnbound   Code = "quote-binding"   // QualifyingData is not ours
	PCRSelection   Code = "pcr-selection"   // not exactly the constant selection
	PCRValues      Code = "pcr-values"      // value map has other indices than the selection
	PCRDigest      Code = "pcr-digest"      // values do not hash to the quoted digest
	ClockBack      Code = "clock-back"      // TPM clock ran backwards
	CertifyName    Code = "certify-name"    // certifies another key
	PublicForm     Code = "public-form"     // not one whole TPMT_PUBLIC
	TemplateWrong  Code = "template-wrong"  // not exactly the template of its role
	PolicyWrong    Code = "policy-wrong"    // DKb's policy is not that of the quoted state
	QuoteNeeded    Code = "quote-needed"    // signed without a quote by a key that alone says nothing of this boot
	LogDigest      Code = "log-digest"      // boot log is not the announced one
)

// Error is a refusal: we could not establish what was claimed.
type Error struct {
	Code   Code
	Detail string // for logs: never a secret, never more than a line
}

// Error returns the code and the detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Detail
}

// maxDetail bounds what a hostile statement can put into a log line, in bytes.
const maxDetail = 200

// refuse makes an *Error.
func refuse(code Code, format string, args ...any) error {
	detail := fmt.Sprintf(format, args...)
	return &Error{Code: code, Detail: detail[:min(len(detail), maxDetail)]}
}

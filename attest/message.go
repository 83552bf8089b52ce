package attest

import (
	"time"

	"muster/attest/posture"
)

// Paths of the device protocol. Bodies are JSON as [Decode] reads it.
const (
	PathTenant      = "/v1/tenant"
	PathEnrolBegin  = "/v1/enroll/begin"
	PathEnrolFinish = "/v1/enroll/finish"
	PathNonce       = "/v1/nonce"
	PathReport      = "/v1/report"
	PathWait        = "/v1/wait"
	PathLog         = "/v1/log"
	PathStatus      = "/v1/status"
	PathLink        = "/v1/link"
	PathLinkAsk     = "/v1/link/ask"
	PathLinkEnd     = "/v1/link/end"
)

// Headers of every request of an enrolled device: its id, and [MAC] over path
// and body.
const (
	HeaderDevice = "Muster-Device"
	HeaderMAC    = "Muster-Mac"
)

// Tenant answers GET /v1/tenant: what an agent must know before its first
// message.
type Tenant struct {
	Tenant string `json:"tenant"` // 32 hexadecimal digits, for ever
	Origin string `json:"origin"` // scheme://host[:port] that the server goes by
	Epoch  uint64 `json:"epoch"`  // grows when a backup is restored
}

// EnrolBegin is the first message of an enrolment; its exact bytes are part of
// the transcript.
type EnrolBegin struct {
	Token    string           `json:"token,omitempty"`
	Platform posture.Platform `json:"platform"`
	Identity Identity         `json:"identity"`
	// Serial and UUID only pre-fill an approval: anyone can claim them.
	Serial string `json:"serial,omitempty"`
	UUID   string `json:"uuid,omitempty"`
	Name   string `json:"name,omitempty"` // host name, for people
}

// EnrolChallenge answers EnrolBegin.
type EnrolChallenge struct {
	Session Bytes  `json:"session"` // sealed by the server; opaque
	Nonce   Digest `json:"nonce"`
	// CredentialBlob (TPMS_ID_OBJECT) and EncryptedSecret (TPMS_ENCRYPTED_SECRET)
	// are what TPM2_ActivateCredential takes, each without its size prefix; absent
	// for softkey.
	CredentialBlob  Bytes `json:"credential_blob,omitempty"`
	EncryptedSecret Bytes `json:"encrypted_secret,omitempty"`
	ExpiresS        int   `json:"expires_s"`
}

// EnrolFinish is the second message. Softkey devices send Session and JWS alone.
type EnrolFinish struct {
	Session    Bytes        `json:"session"`
	JWS        string       `json:"jws"` // typ muster-enrol/1 by DK: a full report
	Proof      Digest       `json:"proof,omitzero"`
	CertifyDK  *Attestation `json:"certify_dk,omitempty"`
	CertifyDKb *Attestation `json:"certify_dkb,omitempty"`
	Quote      *Quote       `json:"quote,omitempty"` // bound to the JWS
}

// EnrolReply says that the device exists from now on.
type EnrolReply struct {
	Device string      `json:"device"`
	Level  string      `json:"level"`
	Secret Bytes       `json:"secret"` // for [MAC]
	Next   ReportReply `json:"next"`
}

// NonceRequest asks for a fresh nonce: after sleep, and before a report of a
// change or one that somebody waits for.
type NonceRequest struct{}

// NonceReply brings it.
type NonceReply struct {
	Nonce    Digest `json:"nonce"`
	ExpiresS int    `json:"expires_s"`
}

// WaitRequest has the server hold the request, for at most so long, until somebody
// wants a fresh report. See [WaitRequest.Form].
type WaitRequest struct {
	WaitS int `json:"wait_s"` // 1 to 60: [MaxWait]
}

// WaitReply ends it.
type WaitReply struct {
	ReportNow bool `json:"report_now,omitempty"` // somebody waits for a report
	AgainS    int  `json:"again_s"`              // seconds until another may be sent
}

// ReportSubmit carries a report or heartbeat.
type ReportSubmit struct {
	JWS   string `json:"jws"`
	Quote *Quote `json:"quote,omitempty"`
	// DKb replaces this boot's key: signed by DK, with a quote.
	DKb *Recertify `json:"dkb,omitempty"`
}

// Recertify brings a new DKb, certified by the AK for [RecertifyBinding] of the
// JWS beside it.
type Recertify struct {
	Public  Bytes       `json:"public"` // TPMT_PUBLIC
	Certify Attestation `json:"certify"`
}

// LinkAsk asks what a device is to sign for a browser session, at POST
// /v1/link/ask. With Link and Nonce: for that request. With neither: for the
// requests by code of the device's owner; with Recover instead: for a recovery of
// the owner's passkeys. See [LinkAsk.Form].
type LinkAsk struct {
	Link    string `json:"link,omitempty"`
	Nonce   Digest `json:"nonce,omitzero"`
	Way     string `json:"way,omitempty"` // a Way; how the agent was asked
	Recover bool   `json:"recover,omitempty"`
}

// How an agent was asked to link: by the page over loopback, by the page through
// a muster:// link, by the person who types a code.
const (
	WayLoopback = "loopback"
	WayApp      = "app"
	WayCode     = "code"
)

// LinkOffers answers it, with at most [MaxOffers].
type LinkOffers struct {
	Offers []LinkOffer `json:"offers"`
}

// LinkOffer is one request that the device may prove, and who asks, for the
// person at the laptop to read before.
type LinkOffer struct {
	Link        string    `json:"link"`
	Nonce       Digest    `json:"nonce"`
	SessionHash Digest    `json:"session_hash"`
	Person      string    `json:"person"`  // name of who is signed in there
	Browser     string    `json:"browser"` // what it says that it is
	Address     string    `json:"address"` // where it connects from
	AskedAt     time.Time `json:"asked_at"`
}

// LinkSubmit carries a link proof to POST /v1/link.
type LinkSubmit struct {
	JWS   string `json:"jws"` // typ muster-link/1
	Quote *Quote `json:"quote,omitempty"`
}

// LinkReply answers an accepted proof: what the person's browser must bring to
// the server, once, to confirm it.
type LinkReply struct {
	Confirm string `json:"confirm,omitempty"` // one-time value; not for a code
	Code    string `json:"code,omitempty"`    // to be typed into the page, or compared
	URL     string `json:"url,omitempty"`     // page to open in the browser; secret in its fragment
	ExpireS int    `json:"expire_s"`
}

// LinkEnd tells that the laptop's system session was locked or left. See
// [LinkEnd.Form].
type LinkEnd struct {
	Cause string `json:"cause"` // CauseLocked, CauseLeft
}

// Why links end: the screen was locked; the person signed out of the system, or
// another one took the seat.
const (
	CauseLocked = "locked"
	CauseLeft   = "left"
)

// DeviceState is where a device stands with the server.
type DeviceState string

// Pending devices report and wait for an approval; revoked ones never return.
const (
	Pending DeviceState = "pending"
	Active  DeviceState = "active"
	Revoked DeviceState = "revoked"
)

// ReportReply answers an accepted statement, after it was stored.
type ReportReply struct {
	Accepted Digest      `json:"accepted"` // digest of the statement
	State    DeviceState `json:"state"`
	Nonce    Digest      `json:"nonce"`
	NonceS   int         `json:"nonce_s"` // seconds the nonce lives
	NextS    int         `json:"next_s"`  // seconds until the next report is due
	// NeedLog names a boot log that the server wants at POST /v1/log/{digest}.
	NeedLog Digest `json:"need_log,omitzero"`
	// NeedQuote asks for a quote beside the next report.
	NeedQuote bool `json:"need_quote,omitempty"`
	// Need asks for a full report where a heartbeat would have done.
	NeedReport bool     `json:"need_report,omitempty"`
	Decision   Decision `json:"decision"`
}

// Decision is what a device is told about itself: the most severe outcome over
// the applications that devices may use, and what the person must fix.
type Decision struct {
	Outcome string   `json:"outcome"` // allow, step_up, restrict, deny
	Reasons []Reason `json:"reasons"`
}

// Reason is one cause of a decision other than allow.
type Reason struct {
	Code  string `json:"code"`            // stable
	Claim string `json:"claim,omitempty"` // the claim that it is about
	Text  string `json:"text"`            // what happened, one sentence
	Fix   string `json:"fix"`             // what to do, one sentence
	// CountsFrom is when the reason begins to count, where it has grace.
	CountsFrom time.Time `json:"counts_from,omitzero"`
}

// Status answers POST /v1/status: where the device stands, without a report.
type Status struct {
	Device   string      `json:"device"`
	State    DeviceState `json:"state"`
	Level    string      `json:"level"`
	Decision Decision    `json:"decision"`
}

// Problem is every answer other than 2xx (RFC 9457), application/problem+json.
type Problem struct {
	Type   string `json:"type"` // about:blank
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`             // stable: a [Code], or a [ProblemCode]
	Detail string `json:"detail,omitempty"` // one sentence
	Fix    string `json:"fix,omitempty"`    // what to do, one sentence
	// Resync tells with 409 resync and 409 nonce-expired how to go on.
	Resync *Resync `json:"resync,omitempty"`
	// RetryS is when to try again, with 429 and 503.
	RetryS int `json:"retry_s,omitempty"`
}

// Resync is where the server stands: the next statement has Seq+1 and Prev Last,
// answers Nonce, and is a full report with a quote.
type Resync struct {
	Seq    uint64 `json:"seq"`
	Last   Digest `json:"last"`
	Nonce  Digest `json:"nonce"`
	NonceS int    `json:"nonce_s"`
}

// Problem codes of the device protocol beside the [Code]s of Open.
const (
	CodeResync        = "resync"              // 409: signed, but out of step
	CodeDeviceUnknown = "device-unknown"      // 401: no such device, or MAC wrong
	CodeRevoked       = "revoked"             // 403: for ever
	CodeTokenRefused  = "token-refused"       // 403: unknown, used up, expired
	CodeOriginWrong   = "origin-wrong"        // 409: transcript is of another origin
	CodeSessionEnded  = "session-ended"       // 409: the challenge is too old
	CodeRateLimited   = "rate-limited"        // 429
	CodeUnavailable   = "unavailable"         // 503: could not be stored; nothing changed
	CodeNotAccepted   = "not-accepted"        // 501: in the contract, not in this server yet
	CodeQueueFull     = "queue-full"          // 503: too many devices wait for an approval
	CodeTwoDevices    = "keys-of-two-devices" // 409: EK and AK belong to different devices
	CodePlainHTTP     = "plain-http"          // 403: secrets do not go over this wire
	CodeNotActive     = "device-not-active"   // 403: pending, and only an active device links
)

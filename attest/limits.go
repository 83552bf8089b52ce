package attest

import "time"

// Limits on what is accepted, in bytes unless said otherwise (SPEC.md §2).
const (
	MaxPublic      = 1 << 10   // one TPMT_PUBLIC
	MaxAttest      = 2 << 10   // one TPMS_ATTEST
	MaxCertificate = 8 << 10   // one DER certificate
	MaxChain       = 6         // certificates, the leaf not counted
	MaxReport      = 64 << 10  // one compact JWS
	MaxHeader      = 1 << 10   // its decoded protected header
	MaxMessage     = 160 << 10 // the body of a request, a boot log's excepted
	MaxBootLog     = 4 << 20
	MaxBootEvents  = 8192    // events of one boot log
	MaxDepth       = 8       // nested JSON arrays and objects
	MaxText        = 1 << 10 // one string of a payload, as written between its quotes
	MaxID          = 64      // boot id, agent version, link id
	MaxNonces      = 4       // live nonces of one device
	MaxOffers      = 16      // link requests in one answer
)

// Times of the protocol (SPEC.md §6).
const (
	// EnrolWindow is how long an enrolment challenge may be answered.
	EnrolWindow = 60 * time.Second
	// NonceSlack is how long a reply's nonce outlives the next report's time.
	NonceSlack = 60 * time.Second
	// QuoteEvery is the longest that measured claims go without a new quote.
	QuoteEvery = 24 * time.Hour
	// EphemeralLife is the longest that an ephemeral key may speak, from its
	// nonce's issue.
	EphemeralLife = 10 * time.Minute
	// MaxWait is the longest that a server may be asked to hold a request.
	MaxWait = 60 * time.Second
)

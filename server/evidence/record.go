package evidence

import (
	"time"

	"muster/attest"
	"muster/server/decide"
)

// DecisionRecord is what the audit log keeps of a device's decision, as the detail
// of an entry: what it came to, and what it rested on, large things by digest.
type DecisionRecord struct {
	Outcome string        `json:"outcome"`
	Reasons []string      `json:"reasons"` // codes, those that did not count too
	Report  attest.Digest `json:"report"`  // of the statement that turned it
	Policy  string        `json:"policy"`  // decide.Policy.Digest
	// At is the time for which it was made; zero in entries of older versions, which
	// have none of the following.
	At time.Time `json:"at,omitzero"`
	// Grace, Bypasses and TPM are what decide.Inputs had beside the Result.
	Grace    decide.GraceBook `json:"grace,omitempty"`
	Bypasses []decide.Bypass  `json:"bypasses,omitempty"`
	TPM      decide.TPM       `json:"tpm,omitzero"`
	// Result is the SHA-256 of the Result as it was stored.
	Result attest.Digest `json:"result,omitzero"`
}

// Package attest is the contract between muster-agent and muster-server: what
// is hashed in what order, what is signed, every protocol message, and the one
// door, [Open], from received bytes to a posture Report.
//
// Both sides import it, so neither can drift; SPEC.md beside this file states
// the same in MUST and SHOULD, and testdata/vectors holds accepted and (mostly)
// rejected cases that both sides' tests read.
//
// It guarantees that what Open returns was signed by a key that the caller
// named, for the device, nonce and sequence that the caller expected, over the
// exact bytes received, and that a quote beside it was made by the named AK over
// those bytes and the whole constant PCR selection. Everything else is an error
// with a stable [Code].
//
// It does not say whether the claims are true, good or recent: that is
// server/verify's and server/decide's to judge. It holds no private key and
// speaks to no TPM; attest/tpm and attest/softkey do.
package attest

// Package enroll judges devices that ask to become known: the EK and what
// vouches for it, the exact templates of the keys, and the proof, by credential
// activation and the AK's own statements, that AK, DK and DKb live in the TPM
// whose EK was shown (SPEC.md §7.2).
//
// It is pure but for randomness: it keeps no state and stores nothing. Between
// the two round trips everything travels in a session that only this server can
// open, so that any replica can finish. It guarantees that a level above
// software is never given without that proof, and that a chain that cannot be
// verified lowers the level with a reason instead of failing the laptop.
//
// It does not decide who may enrol: tokens, lists and approvals are the server's.
package enroll

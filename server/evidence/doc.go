// Package evidence writes down what a decision about a laptop rested on, so that
// somebody without the server, and without trust in it, can judge it again.
//
// [Bootlog] judges one boot log on its own. A [File] holds one decision whole: how
// the device enrolled, its report, quote and boot log, the policy, the references,
// and the entry of the audit log. [Verify] repeats every step that can be repeated,
// with roots that the auditor brings, and says of each whether it is proved, the
// server's word only, not proved, or contradicted.
//
// It is pure: bytes in, words out. It guarantees that nothing is called proved that
// was not computed from the file and the auditor's roots alone, and that what a
// file lacks is said. It does not show that a nonce was fresh, that a TPM released a
// secret, what time it was, or that the laptop told the truth where only the laptop
// spoke: see [Verify].
package evidence

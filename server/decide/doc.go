// Package decide turns what is known of a device, and of a visitor with a passkey
// and a session that is linked to it, into a [Decision] for one application: allow,
// step_up, restrict or deny, each with reasons, under a policy that an administrator
// wrote (README.md has the language).
//
// It guarantees that
//   - nothing is allowed by what is not known: unknown claims are CEL unknowns,
//     a `that` which is unknown or fails is not met, a `for` which is unknown or
//     fails applies, and is_unknown(x) is the only way to accept one;
//   - the zero value of every type, an error and a panic deny;
//   - a Decision says when it changes next by time alone: until then it does not;
//   - what is known only at the check ([Request]) makes a decision that was
//     prepared more severe, never milder ([Prepared.For]);
//   - the same inputs give the same Decision: no clock, store, network or
//     randomness is used, and a [Policy] never changes once loaded;
//   - a policy is checked whole before there is a *Policy, and each defect is
//     told with file, line and column.
//
// It does not verify anything: server/verify says what is true of a device,
// server/session who is signed in, server/passkey what their passkey is worth, and
// what they say is believed here. It keeps nothing: sessions, elevations and
// bypasses are given in, and audited by who gives them.
package decide

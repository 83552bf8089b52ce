// Package decide turns what is known of a device into a [Decision] for one
// application: allow, step_up, restrict or deny, each with reasons, under a
// policy that an administrator wrote (README.md has the language).
//
// It guarantees that
//   - nothing is allowed by what is not known: unknown claims are CEL unknowns,
//     a `that` which is unknown or fails is not met, a `for` which is unknown or
//     fails applies, and is_unknown(x) is the only way to accept one;
//   - the zero value of every type, an error and a panic deny;
//   - a Decision says when it changes next by time alone, exactly;
//   - the same inputs give the same Decision: no clock, store, network or
//     randomness is used, and a [Policy] never changes once loaded;
//   - a policy is checked whole before there is a *Policy, and each defect is
//     told with file, line and column.
//
// It does not verify anything: server/verify says what is true of a device, and
// a Result is believed here. It does not decide for people: passkey, session,
// user, request and elevation come with sign-in, and a rule that names one is
// refused.
package decide

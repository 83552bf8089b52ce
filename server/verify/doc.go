// Package verify is the Verifier of RFC 9334: opened Evidence and Reference
// Values in, a [Result] out.
//
// [Appraise] is a pure function: no clock, no store, no network; the same inputs
// give the same Result for ever, so that an auditor can repeat it. It guarantees
// that nothing it does not understand becomes better than unknown.
//
// It decides nothing: whether a Result is good enough for an application is
// server/decide's to say.
package verify

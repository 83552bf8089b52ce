// Package posture defines what a laptop says of itself: a [Report] of typed
// [Claim]s.
//
// It guarantees that the zero value of every type is the least that can be
// said: a claim that nobody filled in is unknown and merely reported. It holds
// no logic that decides anything and imports only the standard library, so that
// agent, server and policy share one vocabulary.
//
// It does not parse Reports: the only door from bytes to a Report is
// attest.Open. The wire form is fixed by attest/SPEC.md §4.
package posture

// Package bench measures muster side by side with peers, in one run, on one
// machine: the tests of this module alone link go-attestation. README.md says how
// to run it and what it printed.
package bench

// Package bench measures muster side by side with peers, in one run, on one
// machine: the tests of this module alone link go-attestation, and peers.mod alone
// names an OPA server. README.md says how to run it and what it printed.
package bench

// Package tpmtest starts throw-away TPMs for tests: swtpm, a whole TPM 2.0 in
// software, with endorsement key certificates from a certificate authority of
// the test's own.
//
// Each [Start] is another chip with its own seeds, in a folder that goes with
// the test; programs under test reach it at [TPM.Setting]. Tests that need many
// chips below one authority make it once with [NewAuthority].
//
// It is imported by tests only. Where swtpm is missing the test is skipped with
// the name of the package to install, and fails when MUSTER_TEST_STRICT is 1.
package tpmtest

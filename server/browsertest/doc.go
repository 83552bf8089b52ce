// Package browsertest drives a real Chromium with virtual authenticators, for
// tests of what people meet: the pages, passkeys and the device link. One
// process serves a whole test; each [Profile] has cookies of its own.
//
// A missing Chromium skips the test, and fails it with MUSTER_TEST_STRICT=1.
package browsertest

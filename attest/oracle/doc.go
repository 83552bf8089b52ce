// Package oracle holds tests of attest/bootlog against other readers of boot logs
// and against the public logs that they test with. It is a module of its own, so
// that nothing that ships links them.
//
// Logs are read from the module cache where their owners published them; nothing
// of theirs is copied here. What bootlog says of each is in testdata/table.md.
//
// go test -run Mutants -mutants all judges every mutant of every log, which takes
// some ten minutes; go test -run XXX -bench Evidence measures beside go-attestation.
package oracle

// Package tpm is an Attester, and Anchor, whose keys live in a TPM 2.0.
//
// The keys are primary objects of the endorsement hierarchy, made again from
// their templates whenever they are needed: nothing is persisted in the TPM, no
// hierarchy is taken, no authorisation set, no handle evicted. Where the
// endorsement hierarchy is closed to us, the same templates become children of
// the storage root key, and their wrapped blobs go to [Config.Wrapped].
//
// It guarantees that at most two keys and one session are loaded at a time (and
// the storage root key for a moment, where keys hang below it) and that each is
// flushed, that one goroutine speaks to the chip, that every command is bounded in
// time, and that a key that came back other than it was is an error
// (attest.ErrKeyLost) and never used. A signature, certification or
// quote is checked against the key before it is returned.
//
// It does not judge the chip: an emulator makes the same keys. That is the
// server's, by the endorsement key's certificate. Nor can it keep a root user of
// a running system from signing with the system's keys.
package tpm

// Package reference holds what good looks like: Endorsements (the CAs that vouch
// for TPMs; FIDO's metadata, which vouches for authenticators) and, with later
// issues, Reference Values (OS releases, dbx levels).
//
// It reads files that an operator gives and never fetches anything: no address
// that stands in a file or a certificate is followed. A file that it does not
// wholly understand is an error that says which part; what it cannot read never
// widens trust.
//
// A metadata BLOB is verified once, at import, because its signer's certificate
// lives for months only; what is kept after that is its verified content, which
// the store guards. Signature, chain, name and form are judged here; that a lower
// number never follows a higher one is for store.Tx.AcceptPack.
//
// The names of ModelName come from a list that nobody vouches for: they are for
// display, and nothing may be decided by them.
package reference

// Package reference holds what good looks like: Endorsements (the CAs that vouch
// for TPMs; FIDO's metadata, which vouches for authenticators) and Reference Values
// (who may sign boot programs, test keys, dbx and SBAT levels, weak TPM firmware).
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
// Packs of muster's own (boot references, EK roots) are read strictly: exactly the
// form that this package writes, signed with a key that the caller trusts. A bundle
// of CAs that nobody signed is what its importer makes of it; this package says of
// each certificate whether it is known as a vendor's, and skips, by name, what Go
// cannot read. Files of the settings are not skipped through: there it is an error.
//
// The names of ModelName come from a list that nobody vouches for: they are for
// display, and nothing may be decided by them.
package reference

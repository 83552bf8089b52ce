// Package reference holds what good looks like: Endorsements (the CAs that vouch
// for TPMs) and, with later issues, Reference Values (OS releases, dbx levels,
// authenticator metadata).
//
// It reads files that an operator gives and never fetches anything. A file that
// it does not wholly understand is an error that says which part; what it cannot
// read never widens trust.
package reference

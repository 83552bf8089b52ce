// Package token makes and reads the short tokens that gateways hand to
// applications: JWTs, ES256, at most five minutes.
//
// The type in their header is muster+jwt and not at+jwt: RFC 9068 gives that one to
// access tokens of OAuth clients, with a client_id and scopes that these do not
// have, and a verifier that tells tokens apart by type (RFC 8725 §3.11) must not
// take one for the other.
//
// It guarantees that nothing verifies but what one of the keys signed, character
// for character, for that issuer and that audience, within its life; and that each
// token verifies, until it expires, with any key set that was published in the five
// minutes before it was made. The first key of all has nobody to wait for and signs
// at once.
//
// It does not revoke: a token lives until it expires, whatever happens. Who needs
// instant answers asks muster.
package token

// Package passkey is the WebAuthn Relying Party (WebAuthn Level 3 §7): it makes
// and checks ceremonies, and says of each credential what is proved of the
// authenticator that holds it. It is the one home of go-webauthn.
//
// It guarantees that a registration or assertion is accepted for exactly one
// origin and RP ID, with user verification, for a challenge of ours that is
// younger than five minutes; that evidence "attested" means a chain to a root that
// the FIDO metadata names for this very model; and that it fetches nothing.
//
// The library reads responses and COSE keys and verifies assertions. Client data
// is checked more narrowly here before. Attestation statements (§8) and their
// chains are verified here alone, with crypto/x509, against reference's metadata:
// the library's metadata providers are not used. Formats fido-u2f, compound and
// android-safetynet are refused.
//
// It keeps nothing: that a challenge is answered once, and that a credential id is
// registered once, is its caller's to keep. It does not know which names are
// public suffixes; browsers refuse those as RP ID.
package passkey

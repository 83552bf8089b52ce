package passkeytest

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
)

// statement signs for a new credential in the format that is asked for (WebAuthn
// §8).
func (a *Authenticator) statement(c *credential, authData []byte, clientDataHash [sha256.Size]byte) (format string, statement map[string]any) {
	a.t.Helper()
	message := slices.Concat(authData, clientDataHash[:])
	switch a.Format {
	case "", "none":
		return "none", map[string]any{}
	case "self":
		return "packed", map[string]any{"alg": c.key.algorithm, "sig": c.key.sign(a.t, message)}
	case "packed":
		s := a.ca().attestation(a.t, a.certModel(), a.Lie.Servers)
		return "packed", map[string]any{"alg": s.key.algorithm, "sig": s.key.sign(a.t, message), "x5c": [][]byte{s.cert}}
	case "tpm":
		return "tpm", a.statementTPM(c, message)
	case "android-key":
		cert := a.androidCert(c, clientDataHash[:])
		return "android-key", map[string]any{"alg": c.key.algorithm, "sig": c.key.sign(a.t, message), "x5c": [][]byte{cert}}
	}
	a.t.Fatalf("no such format: %s", a.Format)
	return "", nil
}

// androidKeyDescription is Android's key attestation extension (WebAuthn §8.4.1).
type androidKeyDescription struct {
	Version       int
	Security      asn1.Enumerated
	Keymaster     int
	KeymasterIn   asn1.Enumerated
	Challenge     []byte
	Unique        []byte
	Software, TEE androidAuthorizations
}

type androidAuthorizations struct {
	Purpose []int         `asn1:"tag:1,explicit,set,optional,omitempty"`
	Origin  asn1.RawValue `asn1:"optional"`
}

// androidCert certifies the credential's own key: generated in the TEE, to sign.
func (a *Authenticator) androidCert(c *credential, challenge []byte) []byte {
	a.t.Helper()
	if c.key.algorithm == eddsa {
		a.t.Fatal("android-key has no EdDSA here")
	}
	origin := asn1.RawValue{FullBytes: der(a.t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 702, IsCompound: true, Bytes: der(a.t, 0)})}
	description := der(a.t, androidKeyDescription{Version: 3, Security: 1, Keymaster: 4, KeymasterIn: 1,
		Challenge: challenge, Unique: []byte{}, TEE: androidAuthorizations{Purpose: []int{2}, Origin: origin}})
	oid := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 1, 17}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "Android Keystore Key"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: oid, Value: description}}}
	return a.ca().issue(a.t, template, c.key.private.Public())
}

package attest

import (
	"bytes"
	"crypto/sha256"
)

// OpenRecertify takes the boot key that came with a report or heartbeat (SPEC.md
// §7.4): it establishes that the device's TPM, under the AK that ak is, holds a
// key with exactly DKb's template that can sign in the boot alone that the quote
// beside the statement measured, and that all this was stated for this statement.
// compact and ev are the statement's bytes and what [Open] made of them. From then
// on the key takes the place of the device's former DKb; counterBound is what
// [CheckBootPolicy] tells. Every error is an *[Error].
func OpenRecertify(compact []byte, r *Recertify, ev *Evidence, ak *Key) (dkb *Key, counterBound bool, err error) {
	input, err := recertifies(compact, r, ev, ak)
	if err != nil {
		return nil, false, err
	}
	if dkb, err = ParseKey(DKb, r.Public); err != nil {
		return nil, false, err
	}
	if dkb.ID == ak.ID || dkb.ID == ev.Header.Kid {
		return nil, false, refuse(KeyRole, "the new DKb is the device's AK or DK")
	}
	if _, err := CheckCertify(r.Certify, ak, RecertifyBinding(input), dkb.Name); err != nil {
		return nil, false, err
	}
	if counterBound, err = CheckBootPolicy(dkb, ev.Measured); err != nil {
		return nil, false, err
	}
	return dkb, counterBound, nil
}

// recertifies checks what may bring a new DKb, and returns the signing input.
func recertifies(compact []byte, r *Recertify, ev *Evidence, ak *Key) ([]byte, error) {
	switch {
	case r == nil || ev == nil || ak == nil || ak.Role != AK:
		return nil, refuse(KeyRole, "no new key, no statement or no AK")
	case ev.Header.Typ != TypReport && ev.Header.Typ != TypHeartbeat:
		return nil, refuse(TypRefused, "typ %q brings no DKb", ev.Header.Typ)
	case ev.Signer != DK:
		return nil, refuse(KeyRole, "%v may not bring a DKb", ev.Signer)
	case ev.Measured == nil:
		return nil, refuse(QuoteNeeded, "a new DKb without a quote")
	}
	input := compact[:max(0, bytes.LastIndexByte(compact, '.'))]
	if sha256.Sum256(input) != ev.Digest {
		return nil, refuse(QuoteUnbound, "not the statement that was opened")
	}
	return input, nil
}

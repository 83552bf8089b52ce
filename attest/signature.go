package attest

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
)

// scalar is a number below 2^256, the most significant word first.
type scalar [4]uint64

// order and halfOrder are the order of P-256 (SEC 2 §2.4.2) and half of it, above
// which S is refused in a JWS.
func order() scalar {
	return scalar{0xffffffff00000000, 0xffffffffffffffff, 0xbce6faada7179e84, 0xf3b9cac2fc632551}
}

func halfOrder() scalar {
	return scalar{0x7fffffff80000000, 0x7fffffffffffffff, 0xde737d56d38bcf42, 0x79dce5617e3192a8}
}

// scalarOf reads 32 big-endian bytes.
func scalarOf(b []byte) (n scalar) {
	for i := range n {
		n[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return n
}

func (n scalar) isZero() bool { return n == scalar{} }

func (n scalar) above(m scalar) bool { return slices.Compare(n[:], m[:]) > 0 }

// lowS returns a signature of 64 bytes with S in the lower half: the form that
// statements have. Negating S keeps a signature valid (FIPS 186-5 §6.4.2).
func lowS(signature []byte) []byte {
	s := scalarOf(signature[32:])
	if !s.above(halfOrder()) || s.above(order()) {
		return signature
	}
	out := slices.Clone(signature[:32])
	negated, borrow := order(), uint64(0)
	for i := len(negated) - 1; i >= 0; i-- {
		negated[i], borrow = bits.Sub64(negated[i], s[i], borrow)
	}
	for _, word := range negated {
		out = binary.BigEndian.AppendUint64(out, word)
	}
	return out
}

// signatureForm refuses all but 64 bytes with r and s in range and S low, so that
// one statement has one form.
func signatureForm(signature []byte) error {
	if len(signature) != 64 {
		return refuse(SignatureForm, "%d bytes", len(signature))
	}
	r, s := scalarOf(signature[:32]), scalarOf(signature[32:])
	if r.isZero() || s.isZero() || !order().above(r) {
		return refuse(SignatureForm, "r or s is out of range")
	}
	if s.above(halfOrder()) {
		return refuse(SignatureForm, "high S")
	}
	return nil
}

// verifyRaw checks an ECDSA signature of 64 bytes, r then s; values out of range
// do not verify.
func verifyRaw(public *ecdsa.PublicKey, sum [sha256.Size]byte, signature []byte) bool {
	if public == nil || len(signature) != 64 {
		return false
	}
	// ECDSA-Sig-Value (RFC 3279 §2.2.3): two integers of at most 33 bytes.
	der := make([]byte, 2, 2+2*(2+33))
	der = appendInteger(der, signature[:32])
	der = appendInteger(der, signature[32:])
	der[0], der[1] = 0x30, byte(len(der)-2)
	return ecdsa.VerifyASN1(public, sum[:], der)
}

// appendInteger appends the DER of an unsigned big-endian number.
func appendInteger(der, n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	if n[0] >= 0x80 {
		der = append(der, 0x02, byte(len(n)+1), 0x00)
	} else {
		der = append(der, 0x02, byte(len(n)))
	}
	return append(der, n...)
}

package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"

	"muster/attest"
	"muster/server/decide"
	"muster/server/store"
	"muster/server/verify"
)

// A laptop's TPM is named by its EK certificate where a chain vouched for it, and by
// nothing but the maker otherwise, for which the certificate goes before the chip.
func TestTPMOf(t *testing.T) {
	t.Parallel()
	row := &store.Device{Level: verify.TPMHardware, TPM: attest.TPMInfo{Manufacturer: "INTC", Model: "in its own words", Firmware: "1.2"}}
	if got := tpmOf(row); got != (decide.TPM{Manufacturer: "INTC"}) {
		t.Errorf("without a certificate: %+v", got)
	}
	row.Keys.EKCertificate = ekCertificate(t, "id:53544D20", "ST33HTPHAHC0", "id:00010102") // TCG EK Credential Profile §3.2.9
	if got := tpmOf(row); got != (decide.TPM{Manufacturer: "STM", Model: "ST33HTPHAHC0", Firmware: "id:00010102"}) {
		t.Errorf("by its certificate: %+v", got)
	}
	for _, level := range []verify.Level{verify.TPMListed, verify.TPMUnverified} {
		row.Level = level
		if got := tpmOf(row); got != (decide.TPM{Manufacturer: "STM"}) {
			t.Errorf("%v, by a certificate that nobody vouched for: %+v", level, got)
		}
	}
	row.Level, row.Keys.EKCertificate = verify.TPMHardware, []byte("no certificate")
	if got := tpmOf(row); got != (decide.TPM{Manufacturer: "INTC"}) {
		t.Errorf("by no certificate: %+v", got)
	}
}

// ekCertificate names a TPM as vendors do, by three attributes of its alternative name.
func ekCertificate(t *testing.T, names ...string) []byte {
	t.Helper()
	var directory pkix.RDNSequence
	for i, name := range names {
		directory = append(directory, []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, i + 1}, Value: name}})
	}
	inner, err := asn1.Marshal(directory)
	if err != nil {
		t.Fatal(err)
	}
	value, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: inner}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: value}}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

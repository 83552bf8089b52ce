package enroll

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"muster/attest"
)

// certificate is an EK certificate that was read and belongs to the EK.
type certificate struct {
	x509 *x509.Certificate
	// Manufacturer, Model and Version are the TPM's, from the subject
	// alternative name (TCG EK Credential Profile §3.2.9); empty when absent.
	Manufacturer, Model, Version string
}

var (
	oidSubjectAltName  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidEKCertificate   = asn1.ObjectIdentifier{2, 23, 133, 8, 1} // tcg-kp-EKCertificate
	oidTPMManufacturer = asn1.ObjectIdentifier{2, 23, 133, 2, 1}
	oidTPMModel        = asn1.ObjectIdentifier{2, 23, 133, 2, 2}
	oidTPMVersion      = asn1.ObjectIdentifier{2, 23, 133, 2, 3}
)

// parseCertificate reads an EK certificate as it was found, padding after the
// DER included, and checks that it is for this EK. Go does not understand a
// critical subject alternative name that holds only a directory name, so that
// one extension is read here; any other unknown critical extension stays an
// error of the chain's verification.
func parseCertificate(der []byte, ek *endorsementKey) (*certificate, error) {
	cert, err := readCertificate(der)
	if err != nil {
		return nil, err
	}
	equal, ok := ek.Public.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !equal.Equal(cert.x509.PublicKey) {
		return nil, errOtherKey
	}
	return cert, nil
}

func readCertificate(der []byte) (*certificate, error) {
	if len(der) > attest.MaxCertificate {
		return nil, refuse(attest.TooLarge, "EK certificate of %d bytes", len(der))
	}
	der, err := trimPadding(der)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading EK certificate: %w", err)
	}
	if c.IsCA {
		return nil, errors.New("EK certificate is a CA's")
	}
	cert := &certificate{x509: c}
	for _, extension := range c.Extensions {
		if !extension.Id.Equal(oidSubjectAltName) {
			continue
		}
		if err := cert.readAltName(extension.Value); err != nil {
			return nil, fmt.Errorf("reading EK certificate's alternative name: %w", err)
		}
		c.UnhandledCriticalExtensions = slices.DeleteFunc(c.UnhandledCriticalExtensions, oidSubjectAltName.Equal)
	}
	if !cert.forEK() {
		return nil, errPurpose
	}
	return cert, nil
}

// forEK reports whether a certificate was issued for an endorsement key: by its
// extended key usage, or, where it names none, by a TPM in its alternative name.
// A CA of an operator's own may issue certificates for other purposes too, and
// whoever holds such a key must not pass as a TPM.
func (c *certificate) forEK() bool {
	usages := c.x509.UnknownExtKeyUsage
	if len(usages)+len(c.x509.ExtKeyUsage) == 0 {
		return c.Manufacturer != "" && c.Model != ""
	}
	return slices.ContainsFunc(usages, oidEKCertificate.Equal)
}

var errPurpose = errors.New("certificate was not issued for an endorsement key")

var errOtherKey = errors.New("EK certificate is for another key")

// trimPadding cuts what NV storage leaves behind a certificate: only bytes all
// 0xff or all 0x00 may follow the DER.
func trimPadding(b []byte) ([]byte, error) {
	var whole asn1.RawValue
	rest, err := asn1.Unmarshal(b, &whole)
	if err != nil {
		return nil, fmt.Errorf("reading EK certificate: %w", err)
	}
	for _, pad := range rest {
		if pad != rest[0] || (pad != 0x00 && pad != 0xff) {
			return nil, errors.New("reading EK certificate: bytes behind it are no padding")
		}
	}
	return b[:len(b)-len(rest)], nil
}

// readAltName reads GeneralNames (RFC 5280 §4.2.1.6) and takes the TPM's labels
// from its directory names.
func (c *certificate) readAltName(der []byte) error {
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &names); err != nil {
		return err
	} else if len(rest) != 0 {
		return errors.New("trailing bytes")
	}
	if len(names) > 16 {
		return errors.New("more than 16 names")
	}
	for _, name := range names {
		if name.Class != asn1.ClassContextSpecific || name.Tag != 4 || !name.IsCompound {
			continue
		}
		var rdn pkix.RDNSequence
		if rest, err := asn1.Unmarshal(name.Bytes, &rdn); err != nil {
			return err
		} else if len(rest) != 0 {
			return errors.New("trailing bytes in directory name")
		}
		c.label(rdn)
	}
	return nil
}

func (c *certificate) label(rdn pkix.RDNSequence) {
	for _, set := range rdn {
		for _, pair := range set {
			text, ok := pair.Value.(string)
			if !ok || len(text) > 64 {
				continue
			}
			switch {
			case pair.Type.Equal(oidTPMManufacturer):
				c.Manufacturer = text
			case pair.Type.Equal(oidTPMModel):
				c.Model = text
			case pair.Type.Equal(oidTPMVersion):
				c.Version = text
			}
		}
	}
}

// Issuer returns the issuer's name and the serial number, by which a certificate
// may be listed in advance.
func (c *certificate) Issuer() (issuer, serial string) {
	return c.x509.Issuer.String(), c.x509.SerialNumber.Text(16)
}

// parseChain reads the intermediates that came beside an EK certificate. One
// that cannot be read is left out: it can only have helped.
func parseChain(chain []attest.Bytes) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, der := range chain {
		der, err := trimPadding(der)
		if err != nil {
			continue
		}
		if c, err := x509.ParseCertificate(der); err == nil && affordable(c) {
			certs = append(certs, c)
		}
	}
	return certs
}

// affordable reports whether a stranger's certificate may be asked to verify
// another: a huge RSA key makes that arbitrarily dear.
func affordable(c *x509.Certificate) bool {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	return !ok || key.N.BitLen() <= 4096 && key.E <= 65537
}

// weakModulus reports whether an RSA modulus bears the fingerprint of
// CVE-2017-15361 (ROCA): modulo every small prime it lies in the subgroup that
// 65537 generates. False positives are one in 2^27.
func weakModulus(n *big.Int) bool {
	primes := [...]int64{3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83,
		89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167}
	for _, p := range primes {
		residue := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		member, power := false, int64(1)
		for range p {
			member = member || power == residue
			power = power * (65537 % p) % p
		}
		if !member {
			return false
		}
	}
	return true
}

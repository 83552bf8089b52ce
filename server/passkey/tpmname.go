package passkey

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"strings"
)

// tpmName is which TPM an attestation certificate names (TCG EK Credential Profile
// §3.1.2): the type of Judgement.TPM.
type tpmName = struct {
	Manufacturer string `json:"manufacturer,omitempty"`
	Model        string `json:"model,omitempty"`
	Version      string `json:"version,omitempty"`
}

// maxTPMName bounds each part of a TPM's name.
const maxTPMName = 64

// namesTPM tells whether subject alternative names have a directory name with the
// manufacturer, model and version of a TPM (TCG EK Credential Profile §3.2.9).
// Which they are says the chain.
func namesTPM(der []byte) bool {
	_, there := tpmNames(der)
	return there
}

// tpmNames reads the name of a TPM. One that is told twice and differently, or that
// cannot be shown as it is, is no name: there it is, but it says nothing.
func tpmNames(der []byte) (name tpmName, there bool) {
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &names); err != nil || len(rest) != 0 {
		return name, false
	}
	found := map[int]string{}
	clear := true
	for _, n := range names {
		var directory pkix.RDNSequence
		if n.Class != asn1.ClassContextSpecific || n.Tag != 4 {
			continue
		}
		if rest, err := asn1.Unmarshal(n.Bytes, &directory); err != nil || len(rest) != 0 {
			return name, false
		}
		for _, set := range directory {
			for _, a := range set {
				value, isText := a.Value.(string)
				if tcg := (asn1.ObjectIdentifier{2, 23, 133, 2}); len(a.Type) != 5 || !a.Type[:4].Equal(tcg) || !isText || value == "" {
					continue
				}
				before, twice := found[a.Type[4]]
				clear = clear && nameable(value) && (!twice || before == value)
				found[a.Type[4]] = value
			}
		}
	}
	if there = found[1] != "" && found[2] != "" && found[3] != ""; there && clear {
		name = tpmName{vendorOf(found[1]), found[2], found[3]}
	}
	return name, there
}

// nameable reports whether text is short and of visible ASCII and spaces.
func nameable(text string) bool {
	return len(text) <= maxTPMName && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// vendorOf makes id:494E5443 the four characters that it stands for, INTC (TCG
// Vendor ID Registry), without those that fill it up. What stands for nothing that
// can be shown stays as it is, in upper case.
func vendorOf(id string) string {
	digits, ok := strings.CutPrefix(id, "id:")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != 4 {
		return id
	}
	text := strings.TrimRight(string(b), "\x00 ")
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "id:" + strings.ToUpper(digits)
	}
	return text
}

// CertifiedTPM reads how a TPM's certificate (of its EK or an AK, DER) names it, as
// [Judgement].TPM has it: what two certificates say of one chip is comparable. All
// are empty where it does not say. It verifies nothing.
func CertifiedTPM(der []byte) (manufacturer, model, version string) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return "", "", ""
	}
	names, _, _ := extension(cert, oidAltName())
	name, _ := tpmNames(names)
	return name.Manufacturer, name.Model, name.Version
}

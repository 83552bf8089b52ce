package reference

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// Limits of a BLOB. Today's is about 10 MB with some hundred entries, most of it
// icons.
const (
	maxBLOB        = 32 << 20
	maxHeader      = 128 << 10 // base64: a chain of the largest certificates fits
	maxChain       = 6
	maxCertificate = 8 << 10
	maxEntries     = 8192
	maxEntry       = 1 << 20 // bytes of JSON, icon included
	maxList        = 256     // statuses, roots, attestation types of an entry
	maxDescription = 1 << 10
	maxLegal       = 16 << 10
	maxWord        = 64
	maxText        = 200 // what a BLOB may put into a refusal's text
)

// RSA keys outside of these say nothing, or cost too much to ask.
const (
	minRSA = 2048
	maxRSA = 4096
)

// blobSigner is the name that a BLOB's signer must have (FIDO Metadata Service
// v3.0 §3.2): the roots sign for the whole web.
const blobSigner = "mds.fidoalliance.org"

// Refusal is a BLOB that was not imported. Codes are stable: mds-too-large,
// mds-no-blob, mds-algorithm, mds-key, mds-chain, mds-signer-expired,
// mds-signer-early, mds-name, mds-signature, mds-content.
type Refusal struct {
	Code string
	Text string // what is wrong, in words
	Fix  string // what to do, one sentence
}

// Error returns the code and the text.
func (r *Refusal) Error() string { return r.Code + ": " + r.Text }

const (
	fixFetch = "Get the newest BLOB from FIDO's metadata service (https://mds3.fidoalliance.org/) and import that."
	fixAgain = "The file was damaged or changed on its way: get it again from FIDO's metadata service (https://mds3.fidoalliance.org/)."
	fixClock = "Check this machine's clock, then import the BLOB again."
	fixRoots = "Only BLOBs that FIDO signed are imported: get it from FIDO's metadata service (https://mds3.fidoalliance.org/)."
)

func refuseBLOB(code, fix, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Text: fmt.Sprintf(format, args...), Fix: fix}
}

// quote makes what stands in a file fit for a line of a log or a terminal.
func quote(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	return fmt.Sprintf("%+q", s)
}

// ImportMDS verifies a BLOB and returns its content. roots is who may have signed
// it: see FIDORoots; nil is nobody. It asks nobody else, whatever addresses stand
// in the BLOB, and so knows of no revocation of the signer's certificate.
//
// An error is a *Refusal. That the number never falls is the caller's to see to:
// store.Tx.AcceptPack refuses it. A pack may be old when it comes: see Freshness.
func ImportMDS(blob []byte, roots *x509.CertPool, now time.Time) (*MDS, error) {
	leaf, payload, err := openBLOB(blob, roots, now)
	if err != nil {
		return nil, err
	}
	if err := checkSigner(leaf); err != nil {
		return nil, err
	}
	return readPayload(payload, now)
}

// openBLOB returns the payload, and who signed it: a certificate that chains to
// roots, of whatever name.
func openBLOB(blob []byte, roots *x509.CertPool, now time.Time) (leaf *x509.Certificate, payload []byte, err error) {
	if len(blob) > maxBLOB {
		return nil, nil, refuseBLOB("mds-too-large", fixFetch, "the file has %d bytes; at most %d are read", len(blob), maxBLOB)
	}
	blob = bytes.TrimSpace(blob)
	header, err := readHeader(blob)
	if err != nil {
		return nil, nil, err
	}
	chain, err := readChain(header.Chain)
	if err != nil {
		return nil, nil, err
	}
	if err := checkKey(header.Algorithm, chain); err != nil {
		return nil, nil, err
	}
	if err := checkChain(chain, roots, now); err != nil {
		return nil, nil, err
	}
	// go-jose has the last word on the algorithm, from a list of the one that fits
	// the key: nothing that the header says can make it another.
	jws, err := jose.ParseSignedCompact(string(blob), []jose.SignatureAlgorithm{header.Algorithm})
	if err != nil {
		// Its own text would repeat the header.
		return nil, nil, refuseBLOB("mds-no-blob", fixAgain, "the file is not a signed BLOB: its three parts do not read as one")
	}
	payload, err = jws.Verify(chain[0].PublicKey)
	if err != nil {
		return nil, nil, refuseBLOB("mds-signature", fixAgain, "the signature is not that of %s over this content", quote(chain[0].Subject.String()))
	}
	return chain[0], payload, nil
}

// blobHeader is what is read of the header. What else could name a key (jwk, jku,
// kid, x5u) is not looked at: the chain is the only way.
type blobHeader struct {
	Algorithm jose.SignatureAlgorithm `json:"alg"`
	Chain     []string                `json:"x5c"`
	Critical  json.RawMessage         `json:"crit"`
}

func readHeader(blob []byte) (*blobHeader, error) {
	first, _, found := bytes.Cut(blob, []byte("."))
	if !found || bytes.Count(blob, []byte(".")) != 2 {
		return nil, refuseBLOB("mds-no-blob", fixFetch, "the file is not a metadata BLOB: that is three parts with dots between")
	}
	if len(first) > maxHeader {
		return nil, refuseBLOB("mds-too-large", fixFetch, "the BLOB's header has %d bytes; at most %d are read", len(first), maxHeader)
	}
	raw, err := base64.RawURLEncoding.DecodeString(string(first))
	if err != nil {
		return nil, refuseBLOB("mds-no-blob", fixFetch, "the file is not a metadata BLOB: its first part is not base64url")
	}
	// This decoder refuses duplicate members, and reads names as they are written.
	header := new(blobHeader)
	if err := json.Unmarshal(raw, header); err != nil {
		return nil, refuseBLOB("mds-no-blob", fixFetch, "the file is not a metadata BLOB: its header is not the JSON of one")
	}
	if header.Critical != nil {
		return nil, refuseBLOB("mds-no-blob", fixFetch, "the BLOB's header demands extensions (crit) that a metadata BLOB has not")
	}
	if header.Algorithm != jose.RS256 && header.Algorithm != jose.ES256 {
		return nil, refuseBLOB("mds-algorithm", fixFetch, "the BLOB is signed with %s; only RS256 and ES256 are accepted", quote(string(header.Algorithm)))
	}
	return header, nil
}

// readChain reads x5c: the signer first, then who vouches for it.
func readChain(x5c []string) ([]*x509.Certificate, error) {
	if len(x5c) == 0 {
		return nil, refuseBLOB("mds-chain", fixFetch, "the BLOB does not carry its signer's certificates (x5c), and none are fetched")
	}
	if len(x5c) > maxChain {
		return nil, refuseBLOB("mds-too-large", fixFetch, "the BLOB carries %d certificates; at most %d are read", len(x5c), maxChain)
	}
	chain := make([]*x509.Certificate, len(x5c))
	for i, text := range x5c {
		der, err := readDER(text)
		if err != nil {
			return nil, refuseBLOB("mds-chain", fixAgain, "certificate %d of the BLOB's signer: %v", i+1, err)
		}
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return nil, refuseBLOB("mds-chain", fixAgain, "certificate %d of the BLOB's signer cannot be read: %s", i+1, quote(err.Error()))
		}
	}
	return chain, nil
}

// checkKey refuses a key that does not fit the algorithm, and every key that is
// weak or dear: they are met before anybody vouches for them.
func checkKey(algorithm jose.SignatureAlgorithm, chain []*x509.Certificate) error {
	for i, c := range chain {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && (key.N.BitLen() < minRSA || key.N.BitLen() > maxRSA) {
			return refuseBLOB("mds-key", fixRoots, "certificate %d of the BLOB's signer has an RSA key of %d bits; %d to %d are accepted",
				i+1, key.N.BitLen(), minRSA, maxRSA)
		}
	}
	var fits bool
	switch key := chain[0].PublicKey.(type) {
	case *rsa.PublicKey:
		fits = algorithm == jose.RS256
	case *ecdsa.PublicKey:
		fits = algorithm == jose.ES256 && key.Curve == elliptic.P256()
	}
	if !fits {
		return refuseBLOB("mds-key", fixRoots, "the signer's key is not one for %s", algorithm)
	}
	if usage := chain[0].KeyUsage; usage != 0 && usage&x509.KeyUsageDigitalSignature == 0 {
		return refuseBLOB("mds-key", fixRoots, "the signer's certificate is not for signing")
	}
	return nil
}

// checkChain chains the signer to roots, now.
func checkChain(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	if roots == nil {
		// Without this, crypto/x509 would take the machine's own CAs.
		roots = x509.NewCertPool()
	}
	vouchers := x509.NewCertPool()
	for _, c := range chain[1:] {
		vouchers.AddCert(c)
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: vouchers, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := chain[0].Verify(options); err == nil {
		return nil
	}
	// Where the chain holds at the time from which all of it was valid, time is all
	// that is wrong, and the person needs to hear that.
	options.CurrentTime = slices.MaxFunc(chain, func(a, b *x509.Certificate) int { return a.NotBefore.Compare(b.NotBefore) }).NotBefore
	if whole, err := chain[0].Verify(options); err == nil {
		return outOfTime(whole[0], now)
	}
	last := chain[len(chain)-1]
	seen := last.Issuer.String()
	return refuseBLOB("mds-chain", fixRoots, "nobody whom this server trusts to sign metadata vouches for the signer %s; its certificates lead to %s",
		quote(chain[0].Subject.String()), quote(seen))
}

// outOfTime says which certificate of a chain does not hold now.
func outOfTime(chain []*x509.Certificate, now time.Time) error {
	last := slices.MaxFunc(chain, func(a, b *x509.Certificate) int { return a.NotBefore.Compare(b.NotBefore) })
	if now.Before(last.NotBefore) {
		return refuseBLOB("mds-signer-early", fixClock, "the signer's certificates begin on %s, and this machine's clock says %s",
			date(last.NotBefore), date(now))
	}
	first := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	who := "the signer's certificate"
	if first != chain[0] {
		who = "the certificate of " + quote(first.Subject.String())
	}
	return refuseBLOB("mds-signer-expired", fixFetch,
		"%s ended on %s, and a BLOB can be imported only while its signer's certificates are valid", who, date(first.NotAfter))
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// checkSigner wants FIDO's name in the signer's certificate, letter for letter: a
// certificate for *.fidoalliance.org may stand on any of its web servers.
func checkSigner(leaf *x509.Certificate) error {
	if slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return strings.EqualFold(name, blobSigner) }) {
		return nil
	}
	return refuseBLOB("mds-name", fixRoots, "the signer is %s, whose certificate is not for %s", quote(leaf.Subject.String()), blobSigner)
}

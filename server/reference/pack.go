package reference

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// PackName says what a pack of references is about.
type PackName string

// The packs that muster exchanges; FIDO's metadata has a form of its own.
const (
	PackBoot    PackName = "boot"
	PackEKRoots PackName = "ek-roots"
)

// Pack is a set of references as it travels: a compact JWS, ES256, typ
// muster-pack/1, over JSON.
type Pack struct {
	Name    PackName
	Number  uint64
	Date    time.Time
	Content []byte // what [DecodeBoot] or [DecodeEKPack] reads
}

const (
	packType = "muster-pack/1"
	// maxPack bounds a signed file: every certificate that vendors publish is a
	// third of it.
	maxPack = 16 << 20
	// maxNumber leaves room to count on, and is exact in every JSON reader.
	maxNumber = 1 << 52
	// packSlack is how far ahead of ours the clock of a pack's maker may be.
	packSlack = day
)

// packHeader and packWire are exactly what a file holds, in this order.
type (
	packHeader struct {
		Algorithm jose.SignatureAlgorithm `json:"alg"`
		KeyID     string                  `json:"kid"`
		Type      string                  `json:"typ"`
	}
	packWire struct {
		Name    PackName        `json:"name"`
		Number  uint64          `json:"number"`
		Date    time.Time       `json:"date"`
		Content json.RawMessage `json:"content"`
	}
)

const (
	fixPack       = "Export the pack again on the server that it is from."
	fixPackSigner = "Give the signer's public key, as \"muster-server reference key\" prints it there, in the setting reference_keys."
	fixPackClock  = "Check this machine's clock and the one of the server that signed the pack."
)

// Sign returns the pack as it travels.
func (p *Pack) Sign(key *ecdsa.PrivateKey) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("signing a pack: %w", err)
	}
	id, err := PackKeyID(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(packWire{p.Name, p.Number, p.Date.UTC(), p.Content})
	if err != nil {
		return nil, fmt.Errorf("signing a pack: %w", err)
	}
	options := new(jose.SignerOptions).WithType(packType).WithHeader("kid", id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options)
	if err != nil {
		return nil, fmt.Errorf("signing a pack: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("signing a pack: %w", err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		return nil, fmt.Errorf("signing a pack: %w", err)
	}
	if len(text) > maxPack {
		return nil, fmt.Errorf("signing a pack: it has more than %d bytes", maxPack)
	}
	return append([]byte(text), '\n'), nil
}

// OpenPack verifies a pack that one of signers made, and returns it with the
// signer's key id. Its content is whole and of its name, number and date.
//
// An error is a *Refusal: pack-form, pack-signer, pack-future. That the number
// never falls is the caller's to see to: store.Tx.AcceptPack refuses it.
func OpenPack(file []byte, signers []*ecdsa.PublicKey, now time.Time) (p *Pack, signer string, err error) {
	if len(file) > maxPack {
		return nil, "", refusePack("the file has %d bytes; at most %d are read", len(file), maxPack)
	}
	file = bytes.TrimSpace(file)
	header, err := readPackHeader(file)
	if err != nil {
		return nil, "", err
	}
	key, err := signerOf(header, signers)
	if err != nil {
		return nil, "", err
	}
	jws, err := jose.ParseSignedCompact(string(file), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, "", refusePack("its three parts do not read as a signed pack")
	}
	payload, err := jws.Verify(key)
	if err != nil {
		return nil, "", &Refusal{Code: "pack-signer", Text: "the signature is not that of key " + quote(header.KeyID) + " over this content", Fix: fixPack}
	}
	if p, err = readPack(payload); err != nil {
		return nil, "", refusePack("%v", err)
	}
	if p.Date.After(now.Add(packSlack)) {
		return nil, "", &Refusal{Code: "pack-future", Fix: fixPackClock,
			Text: fmt.Sprintf("the pack is of %s, and this machine's clock says %s", date(p.Date), date(now))}
	}
	return p, header.KeyID, nil
}

func refusePack(format string, args ...any) *Refusal {
	return &Refusal{Code: "pack-form", Text: fmt.Sprintf(format, args...), Fix: fixPack}
}

// readPackHeader wants exactly the members of packHeader: whatever else could
// name a key or change how it is read (jwk, jku, x5c, crit, b64) is refused.
func readPackHeader(file []byte) (*packHeader, error) {
	first, _, found := bytes.Cut(file, []byte("."))
	if !found || bytes.Count(file, []byte(".")) != 2 || len(first) > maxText*4 {
		return nil, refusePack("the file is not a pack: that is three parts with dots between")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(first))
	if err != nil {
		return nil, refusePack("the file is not a pack: its first part is not base64url")
	}
	header := new(packHeader)
	if err := readStrict(raw, header); err != nil {
		return nil, refusePack("the pack's header: %v", err)
	}
	if header.Type != packType {
		return nil, refusePack("the file is of type %s, not %s", quote(header.Type), packType)
	}
	return header, nil
}

// signerOf finds who says to have signed. A key speaks for its own id only, which
// is made from it.
func signerOf(header *packHeader, signers []*ecdsa.PublicKey) (*ecdsa.PublicKey, error) {
	if header.Algorithm != jose.ES256 {
		return nil, &Refusal{Code: "pack-signer", Text: "the pack is signed with " + quote(string(header.Algorithm)) + "; only ES256 is accepted", Fix: fixPack}
	}
	for _, key := range signers {
		if id, err := PackKeyID(key); err == nil && id == header.KeyID {
			return key, nil
		}
	}
	return nil, &Refusal{Code: "pack-signer", Text: "this server does not know key " + quote(header.KeyID) + ", which signed the pack", Fix: fixPackSigner}
}

func readPack(payload []byte) (*Pack, error) {
	var w packWire
	if err := readStrict(payload, &w); err != nil {
		return nil, err
	}
	p := &Pack{Name: w.Name, Number: w.Number, Date: w.Date, Content: w.Content}
	return p, p.check()
}

var errPackMixed = errors.New("its number or date is not that of its content")

// check reads the content, so that a pack that was made or opened is whole.
func (p *Pack) check() error {
	var number uint64
	var of time.Time
	switch p.Name {
	case PackBoot:
		b, err := DecodeBoot(p.Content)
		if err != nil {
			return err
		}
		number, of = b.Number, b.Date
	case PackEKRoots:
		k, err := DecodeEKPack(p.Content)
		if err != nil {
			return err
		}
		number, of = k.Number, k.Date
	default:
		return fmt.Errorf("there is no pack %s", quote(string(p.Name)))
	}
	if number != p.Number || !of.Equal(p.Date) {
		return errPackMixed
	}
	return nil
}

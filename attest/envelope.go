package attest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/go-json-experiment/json"
)

// Typ names what a JWS states (SPEC.md §3).
type Typ string

// The statements of the first version.
const (
	TypReport    Typ = "muster-report/1"
	TypHeartbeat Typ = "muster-heartbeat/1"
	TypEnrol     Typ = "muster-enrol/1"
	TypLink      Typ = "muster-link/1"
	TypEphemeral Typ = "muster-ephemeral/1"
)

// es256 is the one algorithm (RFC 7518 §3.4).
const es256 = "ES256"

// Header is the protected header of every JWS (RFC 7515 §4).
type Header struct {
	Alg        string `json:"alg"`                 // ES256
	Typ        Typ    `json:"typ"`                 // which statement
	Kid        Digest `json:"kid"`                 // [KeyID] of the signing key
	Device     string `json:"device,omitempty"`    // device id; empty in an enrolment
	Nonce      Digest `json:"nonce"`               // the server's, used once
	Seq        uint64 `json:"seq"`                 // 0 in the enrolment, then +1 each
	Prev       Digest `json:"prev,omitzero"`       // digest of the last accepted statement
	Transcript Digest `json:"transcript,omitzero"` // T; enrolment only
}

// Heartbeat is the payload that says: nothing changed since the base report.
// Clock is as the TPM's driver told it; only a quote proves it.
type Heartbeat struct {
	Base        Digest `json:"base"`         // digest of the last full report
	BootID      string `json:"boot_id"`      // as in the report
	CollectedAt int64  `json:"collected_at"` // Unix seconds, the laptop's clock
	Clock       *Clock `json:"clock,omitempty"`
}

// LinkProof is the payload that ties a browser session to this laptop
// (SPEC.md §7.6).
type LinkProof struct {
	Link        string `json:"link"`  // the link's id
	Nonce       Digest `json:"nonce"` // the link's, beside the device's in the header
	SessionHash Digest `json:"session_hash"`
	Origin      string `json:"origin"`
	Time        int64  `json:"time"` // Unix seconds
}

// Ephemeral is the payload by which a device key lends its voice to a
// short-lived P-256 key, for at most ten minutes.
type Ephemeral struct {
	Point   Bytes `json:"point"`   // uncompressed, 65 bytes
	Expires int64 `json:"expires"` // Unix seconds
}

// SignFunc signs a SHA-256 digest with one fixed key: 64 bytes, r then s.
type SignFunc func(ctx context.Context, digest [sha256.Size]byte) ([]byte, error)

// Signed is a compact JWS and the digest by which later statements refer to it.
type Signed struct {
	Compact []byte
	Digest  Digest
	// Input is the JWS signing input: the compact form up to the second dot.
	Input []byte
}

// Sign makes a compact JWS over exactly the payload's bytes. It sets Alg. The
// signature is normalised to low S, so that one statement has one form.
func Sign(ctx context.Context, sign SignFunc, h Header, payload []byte) (*Signed, error) {
	input, err := SigningInput(h, payload)
	if err != nil {
		return nil, err
	}
	return SignInput(ctx, sign, input)
}

// SigningInput returns the bytes that are signed and that a quote is bound to.
func SigningInput(h Header, payload []byte) ([]byte, error) {
	h.Alg = es256
	header, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("writing JWS header: %w", err)
	}
	input := strict.AppendEncode(nil, header)
	input = append(input, '.')
	return strict.AppendEncode(input, payload), nil
}

// SignInput signs what [SigningInput] returned.
func SignInput(ctx context.Context, sign SignFunc, input []byte) (*Signed, error) {
	digest := sha256.Sum256(input)
	signature, err := sign(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if len(signature) != 64 {
		return nil, fmt.Errorf("signing: signature of %d bytes", len(signature))
	}
	compact := append(bytes.Clone(input), '.')
	compact = strict.AppendEncode(compact, lowS(signature))
	if len(compact) > MaxReport {
		return nil, refuse(TooLarge, "statement of %d bytes", len(compact))
	}
	return &Signed{Compact: compact, Digest: digest, Input: input}, nil
}

// envelope is a JWS taken apart, nothing of it believed yet.
type envelope struct {
	header    Header
	payload   []byte
	input     []byte
	signature []byte
	digest    Digest
}

// split takes a compact JWS apart under all limits (RFC 7515 §5.2).
func split(compact []byte) (*envelope, error) {
	if len(compact) > MaxReport {
		return nil, refuse(TooLarge, "statement of %d bytes", len(compact))
	}
	first := bytes.IndexByte(compact, '.')
	last := bytes.LastIndexByte(compact, '.')
	if first < 0 || first == last || bytes.IndexByte(compact[first+1:last], '.') >= 0 {
		return nil, refuse(Malformed, "not three parts")
	}
	if strict.DecodedLen(first) > MaxHeader {
		return nil, refuse(TooLarge, "header of %d characters", first)
	}
	e := &envelope{input: compact[:last]}
	header, err := decode(compact[:first])
	if err != nil {
		return nil, refuse(Malformed, "header: %v", err)
	}
	if e.payload, err = decode(compact[first+1 : last]); err != nil {
		return nil, refuse(Malformed, "payload: %v", err)
	}
	if e.signature, err = decode(compact[last+1:]); err != nil {
		return nil, refuse(Malformed, "signature: %v", err)
	}
	if err := Decode(header, &e.header); err != nil {
		return nil, refuse(HeaderForm, "%v", err)
	}
	e.digest = sha256.Sum256(e.input)
	return e, nil
}

// verify checks the one accepted form of the signature.
func (e *envelope) verify(key *Key) error {
	if err := signatureForm(e.signature); err != nil {
		return err
	}
	if !verifyRaw(key.Public, e.digest, e.signature) {
		return refuse(SignatureWrong, "signature does not verify with %v", key.Role)
	}
	return nil
}

// PeekHeader reads the protected header of a compact JWS without believing it:
// it tells a server which device and statement to look up.
func PeekHeader(compact []byte) (Header, error) {
	e, err := split(compact)
	if err != nil {
		return Header{}, err
	}
	return e.header, nil
}

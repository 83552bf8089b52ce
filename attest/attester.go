package attest

import (
	"context"
	"crypto/sha256"
	"errors"
)

// Kind says what holds a device's keys.
type Kind string

// KindTPM keys cannot leave a TPM 2.0. KindSoft keys are files: they prove
// nothing about hardware.
const (
	KindTPM  Kind = "tpm"
	KindSoft Kind = "softkey"
)

// Identity is the public side of a device's keys.
type Identity struct {
	Kind Kind `json:"kind"`
	// EK is absent for softkey.
	EK *EndorsementKey `json:"ek,omitempty"`
	// AK, DK and DKb are TPMT_PUBLIC for tpm. For softkey DK is the uncompressed
	// point and the others are absent; DKb is absent where the TPM cannot make one.
	AK  Bytes `json:"ak,omitempty"`
	DK  Bytes `json:"dk"`
	DKb Bytes `json:"dkb,omitempty"`
	// TPM is what the chip says of itself, unsigned.
	TPM TPMInfo `json:"tpm,omitzero"`
}

// EndorsementKey is an EK with whatever vouches for it.
type EndorsementKey struct {
	Template    EKTemplate `json:"template"`
	Public      Bytes      `json:"public"`                // TPMT_PUBLIC
	Certificate Bytes      `json:"certificate,omitempty"` // DER
	Chain       []Bytes    `json:"chain,omitempty"`       // DER, intermediates found beside it
}

// EKTemplate names a template of the TCG EK Credential Profile 2.5, annex B.
type EKTemplate string

// The templates that are looked for, best first.
const (
	EKP256H2 EKTemplate = "H-2" // ECC P-256, PolicyB
	EKP256L2 EKTemplate = "L-2" // ECC P-256, PolicyA
	EKP384H3 EKTemplate = "H-3" // ECC P-384, PolicyB
	EKRSAL1  EKTemplate = "L-1" // RSA 2048, PolicyA
)

// TPMInfo is what a TPM says of itself in its properties.
type TPMInfo struct {
	Manufacturer string `json:"manufacturer,omitempty"` // four letters: INTC, IFX, STM
	Model        string `json:"model,omitempty"`        // vendor string
	Firmware     string `json:"firmware,omitempty"`     // two words, hexadecimal, with a dot between
}

// An Attester holds a device's keys. Its methods may be called from any
// goroutine and take as long as the chip does: give them a context.
type Attester interface {
	// Identity returns the public keys as they are now; DKb is this boot's.
	Identity(ctx context.Context) (Identity, error)
	// Sign signs a digest with DK or DKb: 64 bytes, r then s.
	Sign(ctx context.Context, role Role, digest [sha256.Size]byte) ([]byte, error)
	// Clock reads the TPM's clock; a softkey answers ErrAbsent.
	Clock(ctx context.Context) (Clock, error)
}

// An Anchor is an Attester whose keys live in a TPM: it can state things that no
// software can.
type Anchor interface {
	// Activate opens a credential made for this EK and AK
	// (TPM2_ActivateCredential) and returns its secret.
	Activate(ctx context.Context, blob, secret []byte) ([]byte, error)
	// Certify has the AK state that this TPM holds the key of a role.
	Certify(ctx context.Context, role Role, qualifying Digest) (Attestation, error)
	// Quote has the AK state the PCR values of [Selection]. LogSHA256 is left
	// zero: the caller names the log.
	Quote(ctx context.Context, qualifying Digest) (*Quote, error)
}

// What callers of an Attester branch on; errors are wrapped around these.
var (
	// ErrTransient: busy, locked out or testing itself; try again later.
	ErrTransient = errors.New("TPM is busy")
	// ErrKeyLost: the TPM no longer makes the same keys, or S is gone; the
	// device must enrol again.
	ErrKeyLost = errors.New("TPM keys are lost")
	// ErrAbsent: there is no TPM, or what was asked needs one.
	ErrAbsent = errors.New("no TPM")
	// ErrPermission: there is a TPM and we may not use it.
	ErrPermission = errors.New("no permission to use the TPM")
	// ErrDisabled: there is a TPM, and the hierarchy that its keys hang on is
	// switched off (TPM_RC_HIERARCHY), as firmware can.
	ErrDisabled = errors.New("the TPM's hierarchy is switched off")
	// ErrBootMoved: DKb's policy no longer holds (a reboot, or PCR 7 moved); DK
	// with a quote still serves.
	ErrBootMoved = errors.New("the boot state that DKb is bound to has passed")
)

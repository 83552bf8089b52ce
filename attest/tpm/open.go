package tpm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"muster/attest"
)

// Store keeps the wrapped blobs of keys that cannot be made again, in the
// agent's private folder. They are useless without this chip.
type Store interface {
	// Load returns what was saved under a name, or an error that is
	// fs.ErrNotExist.
	Load(name string) ([]byte, error)
	// Save replaces it, durably, before it returns.
	Save(name string, blob []byte) error
}

// SecretSize is the length of [Config.Secret] in bytes.
const SecretSize = 32

// Config says which TPM, and which keys in it.
type Config struct {
	// Setting is where the TPM is: "auto" (the machine's own), "device:PATH",
	// "unix:PATH" or "tcp:HOST:PORT".
	Setting string
	// Tenant and Secret (S, 32 bytes) are what the keys are made from. Without
	// them only Endorsement, Info, Clock and BootLog answer.
	Tenant string
	Secret []byte
	// EK and DK are what this device enrolled with, or zero before it did: the EK
	// template to keep, and the key id of DK. Another DK is attest.ErrKeyLost.
	EK attest.EKTemplate
	DK attest.Digest
	// Wrapped is where keys go when the endorsement hierarchy is closed to us; nil
	// makes a closed hierarchy an error. Enrolling anew takes an emptied store.
	Wrapped Store
}

// TPM is a chip that is open: an attest.Attester and attest.Anchor. Errors wrap
// the sentinels of package attest where one fits.
type TPM struct {
	jobs chan job
	quit context.CancelFunc
	done chan struct{} // closed when the owner goroutine has left
	log  func() ([]byte, error)
}

// machine is a way to a TPM and what goes with it.
type machine struct {
	link link
	// shared tells that a resource manager stands between: it gives every program
	// a chip that looks empty, and clears up behind it.
	shared bool
	// bootLog reads the firmware's log of what this TPM measured.
	bootLog func() ([]byte, error)
	// endorsementAuth asks the system for the endorsement hierarchy's
	// authorisation; nil where no system keeps one.
	endorsementAuth func() ([]byte, error)
}

// Open reaches the TPM that the setting names and makes sure that one answers;
// keys are made when they are first asked for. attest.ErrAbsent means that there
// is none, attest.ErrPermission that we may not use it, with the remedy in the
// text.
func Open(ctx context.Context, c Config) (*TPM, error) {
	if len(c.Secret) != SecretSize && (len(c.Secret) != 0 || c.Tenant != "") {
		return nil, fmt.Errorf("opening TPM: local secret of %d bytes, not %d", len(c.Secret), SecretSize)
	}
	m, err := reach(c.Setting)
	if err != nil {
		return nil, fmt.Errorf("opening TPM %q: %w", c.Setting, classed(err))
	}
	t := start(m, c)
	if _, err := t.Info(ctx); err != nil {
		return nil, fmt.Errorf("opening TPM %q: %w", c.Setting, errors.Join(err, t.Close()))
	}
	return t, nil
}

// reach parses a setting.
func reach(setting string) (machine, error) {
	kind, where, _ := strings.Cut(setting, ":")
	switch {
	case setting == "auto":
		return reachOwn()
	case kind == "device" && where != "":
		return reachDevice(where)
	case (kind == "unix" || kind == "tcp") && where != "":
		return machine{link: socketLink{kind, where}, bootLog: noBootLog}, nil
	}
	return machine{}, errors.New("not auto, device:PATH, unix:PATH or tcp:HOST:PORT")
}

// noBootLog answers for TPMs that are not this machine's own: its log tells of
// another chip.
func noBootLog() ([]byte, error) {
	return nil, fmt.Errorf("%w whose boot this system's log tells of", attest.ErrAbsent)
}

// BootLog returns the raw boot log of this TPM's machine, at most
// attest.MaxBootLog bytes. attest.ErrAbsent means that there is none,
// attest.ErrPermission that it may not be read.
func (t *TPM) BootLog() ([]byte, error) {
	b, err := t.log()
	if err != nil {
		return nil, fmt.Errorf("reading boot log: %w", classed(err))
	}
	if len(b) > attest.MaxBootLog {
		return nil, fmt.Errorf("reading boot log: it has more than %d bytes", attest.MaxBootLog)
	}
	return b, nil
}

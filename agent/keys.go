package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"muster/attest"
)

// keyring is a device's open keys.
type keyring struct {
	attester attest.Attester
	anchor   attest.Anchor // nil for a software key
	identity attest.Identity
	dk, dkb  attest.Digest // kids; dkb is zero where there is none
	bootKey  *attest.Key   // DKb; nil where there is none
	// moved tells that the boot state that DKb is bound to has passed.
	moved bool
	// unbound tells that PCR 7 alone binds DKb: its statements each need a quote.
	unbound bool
}

// place says where keys for a tenant are: in the TPM of the settings, or with
// standIn in a file.
func (a *Agent) place(standIn bool, tenant string, known enrolledKey) KeyPlace {
	p := KeyPlace{
		TPM: a.Settings.TPM, Tenant: tenant, EK: known.EK, DK: known.DK,
		Dir: a.folder.dir, Blobs: Blobs{a.folder, blobPrefix},
	}
	if standIn {
		p.TPM, p.Blobs.prefix = tpmNone, standInPrefix
	}
	return p
}

// openKeys opens keys. With make, what is missing of them is made; else it is
// [attest.ErrKeyLost].
func (a *Agent) openKeys(ctx context.Context, place KeyPlace, make bool) (*keyring, error) {
	if place.TPM != tpmNone {
		s, err := a.folder.secret(make)
		if err != nil {
			return nil, err
		}
		place.Secret = s
	}
	attester, err := a.OpenKeys(ctx, place)
	if err != nil {
		return nil, fmt.Errorf("opening keys: %w", err)
	}
	k, err := newKeyring(ctx, attester)
	if err != nil {
		closeAttester(attester) // nothing of it is used
		return nil, err
	}
	return k, nil
}

func newKeyring(ctx context.Context, attester attest.Attester) (*keyring, error) {
	identity, err := attester.Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading key identity: %w", err)
	}
	k := &keyring{attester: attester, identity: identity}
	if identity.Kind == attest.KindSoft {
		key, err := attest.SoftKey(identity.DK)
		if err != nil {
			return nil, fmt.Errorf("reading software key: %w", err)
		}
		k.dk = key.ID
		return k, nil
	}
	anchor, ok := attester.(attest.Anchor)
	if !ok {
		return nil, fmt.Errorf("keys of kind %q cannot attest", identity.Kind)
	}
	k.anchor = anchor
	key, err := attest.ParseKey(attest.DK, identity.DK)
	if err != nil {
		return nil, fmt.Errorf("reading DK: %w", err)
	}
	k.dk = key.ID
	if len(identity.DKb) > 0 {
		if key, err = attest.ParseKey(attest.DKb, identity.DKb); err != nil {
			return nil, fmt.Errorf("reading DKb: %w", err)
		}
		k.dkb, k.bootKey = key.ID, key
	}
	return k, nil
}

// signer returns the function that signs with one key.
func (k *keyring) signer(role attest.Role) attest.SignFunc {
	return func(ctx context.Context, digest [32]byte) ([]byte, error) {
		return k.attester.Sign(ctx, role, digest)
	}
}

// public says which keys these are, for the state.
func (k *keyring) public() enrolledKey {
	e := enrolledKey{Kind: k.identity.Kind, DK: k.dk, DKb: k.dkb}
	if k.identity.EK != nil {
		e.EK = k.identity.EK.Template
	}
	return e
}

// ready opens the keys of the enrolled device if they are not open, and makes
// sure that they are still those which the server knows.
func (a *Agent) ready(ctx context.Context) (*keyring, error) {
	if a.keys != nil {
		return a.keys, nil
	}
	e, standsIn := a.state.Enrolled, a.state.standsIn()
	if soft := a.Settings.TPM == tpmNone || standsIn && a.Settings.TPM == tpmAuto; soft != (e.Keys.Kind == attest.KindSoft) {
		return nil, Hint(fmt.Errorf("this device enrolled with kind %q, which setting tpm: %s does not open", e.Keys.Kind, a.Settings.TPM),
			`put the setting back, or run "muster-agent enroll --again" for an enrolment with the other kind of key`)
	}
	k, err := a.openKnown(ctx, a.place(standsIn, e.Tenant, e.Keys))
	if err != nil {
		return nil, err
	}
	a.keys = k
	return k, nil
}

// openKnown opens the keys of an enrolment, and no others.
func (a *Agent) openKnown(ctx context.Context, place KeyPlace) (*keyring, error) {
	k, err := a.openKeys(ctx, place, false)
	if err != nil {
		return nil, err
	}
	if k.dk != place.DK {
		closeAttester(k.attester) // nothing of it is used
		return nil, errOtherKey
	}
	return k, nil
}

var errOtherKey = fmt.Errorf("the device key is another than at enrolment: %w", attest.ErrKeyLost)

// present is ready, with the DKb of this boot as it is now: where the boot state
// has moved since the keys were opened, DKb is made anew.
func (a *Agent) present(ctx context.Context) (*keyring, error) {
	k, err := a.ready(ctx)
	if err != nil || !k.moved {
		return k, err
	}
	again, err := newKeyring(ctx, k.attester)
	if err != nil {
		return nil, err
	}
	if again.dk != k.dk {
		return nil, errOtherKey
	}
	a.keys = again
	return again, nil
}

func (a *Agent) closeKeys() {
	if a.keys == nil {
		return
	}
	if err := closeAttester(a.keys.attester); err != nil {
		a.Log.Warn("closing keys", "error", err)
	}
	a.keys = nil
}

// closeAttester closes what can be closed.
func closeAttester(attester attest.Attester) error {
	if c, ok := attester.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// clock reads the TPM's clock; nil where there is none.
func (k *keyring) clock(ctx context.Context) (*attest.Clock, error) {
	c, err := k.attester.Clock(ctx)
	if errors.Is(err, attest.ErrAbsent) && k.anchor == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading TPM clock: %w", err)
	}
	return &c, nil
}

// bootLog returns the boot log, nil when there is none that may be sent: boot
// evidence is then missing, which the server sees.
func (a *Agent) bootLog(k *keyring) []byte {
	logged, ok := k.attester.(interface{ BootLog() ([]byte, error) })
	if !ok {
		return nil
	}
	log, err := logged.BootLog()
	if err != nil {
		a.Log.Debug("reading boot log", "error", err)
		return nil
	}
	if len(log) == 0 || len(log) > attest.MaxBootLog {
		return nil
	}
	return log
}

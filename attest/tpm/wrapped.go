package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// maxPrivate bounds the private part of a wrapped P-256 key: integrity value,
// sensitive area, and room.
const maxPrivate = 512

// blobName is where a role's wrapped key is kept in Config.Wrapped.
func blobName(role attest.Role) string {
	return map[attest.Role]string{attest.AK: "tpm-ak", attest.DK: "tpm-dk", attest.DKb: "tpm-dkb"}[role]
}

// wrappedKey is a key as the storage root key wraps it.
type wrappedKey struct {
	public  []byte // TPMT_PUBLIC
	private []byte // TPM2B_PRIVATE without its size
}

// saved reads a role's blob; nil when there is none.
func (c *chip) saved(role attest.Role) (*wrappedKey, error) {
	blob, err := c.config.Wrapped.Load(blobName(role))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading wrapped %v: %w", role, err)
	}
	key, ok := parseWrapped(blob)
	if !ok {
		return nil, fmt.Errorf("%w: wrapped %v is damaged", attest.ErrKeyLost, role)
	}
	return key, nil
}

// marshal writes both parts, each with its size.
func (k *wrappedKey) marshal() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(k.public)))
	b = append(b, k.public...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.private)))
	return append(b, k.private...)
}

func parseWrapped(b []byte) (*wrappedKey, bool) {
	var parts [2][]byte
	for i, limit := range []int{attest.MaxPublic, maxPrivate} {
		if len(b) < 2 {
			return nil, false
		}
		n := int(binary.BigEndian.Uint16(b))
		if n == 0 || n > limit || len(b) < 2+n {
			return nil, false
		}
		parts[i], b = b[2:2+n], b[2+n:]
	}
	return &wrappedKey{parts[0], parts[1]}, len(b) == 0
}

// wrapped loads a role's key below the storage root key, which is made anew each
// time: persistent handles may be missing, or of another template. The key is
// created when none was saved, and DKb when the saved one is of another boot.
func (c *chip) wrapped(role attest.Role, template []byte) (*object, error) {
	key, err := c.saved(role)
	if err != nil {
		return nil, err
	}
	srk, err := c.primaryUnder(tpm2.TPMRHOwner, nil, tpm2.Marshal(tpm2.ECCSRKTemplate))
	if isOff(err) {
		return nil, fmt.Errorf("%w: owner: %w", attest.ErrDisabled, err)
	}
	if isClosed(err) {
		return nil, fmt.Errorf("%w: the owner hierarchy is closed too: %w", attest.ErrPermission, err)
	}
	if err != nil {
		return nil, fmt.Errorf("storage root key: %w", err)
	}
	defer c.flush(srk.handle)
	if key == nil || role == attest.DKb && !hasPolicy(key.public, c.boot.policy) {
		if role != attest.DKb && (c.public[role] != nil || !c.config.DK.IsZero()) {
			return nil, fmt.Errorf("%w: wrapped %v is gone", attest.ErrKeyLost, role)
		}
		if key, err = c.wrap(srk, role, template); err != nil {
			return nil, err
		}
	}
	rsp, err := tpm2.Load{
		ParentHandle: srk.withPassword(),
		InPrivate:    tpm2.TPM2BPrivate{Buffer: key.private},
		InPublic:     tpm2.BytesAs2B[tpm2.TPMTPublic](key.public),
	}.Execute(c.wire)
	if errors.Is(err, tpm2.TPMRCIntegrity) || errors.Is(err, tpm2.TPMRCBinding) {
		return nil, fmt.Errorf("%w: wrapped by another TPM, or before it was cleared: %w", attest.ErrKeyLost, err)
	}
	if err != nil {
		return nil, err
	}
	return &object{rsp.ObjectHandle, rsp.Name, key.public}, nil
}

// wrap creates a key below the storage root key and saves it.
func (c *chip) wrap(srk *object, role attest.Role, template []byte) (*wrappedKey, error) {
	rsp, err := tpm2.Create{
		ParentHandle: srk.withPassword(),
		InPublic:     tpm2.BytesAs2B[tpm2.TPMTPublic](template),
	}.Execute(c.wire)
	if err != nil {
		return nil, err
	}
	key := &wrappedKey{rsp.OutPublic.Bytes(), rsp.OutPrivate.Buffer}
	if err := c.config.Wrapped.Save(blobName(role), key.marshal()); err != nil {
		return nil, fmt.Errorf("saving wrapped %v: %w", role, err)
	}
	return key, nil
}

func hasPolicy(public []byte, policy attest.Digest) bool {
	key, err := attest.ParseKey(attest.DKb, public)
	return err == nil && string(key.Policy) == string(policy[:])
}

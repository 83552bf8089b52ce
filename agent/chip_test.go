package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"muster/attest"
)

func sha(b []byte) attest.Digest { return sha256.Sum256(b) }

// chip imitates a TPM in software: the same structures, no protection.
type chip struct {
	mu       sync.Mutex
	keys     map[attest.Role]*ecdsa.PrivateKey
	clock    attest.Clock
	pcr7     attest.Digest
	made     attest.Clock  // of DKb
	made7    attest.Digest // PCR 7 of DKb
	fail     error         // of every method
	failOnce error         // of the next
	log      []byte
	opened   int
	noDKb    bool // this chip cannot make one
	pcrOnly  bool // and this one cannot bind it to the reset count
	moves    int  // PCR 7 moves after so many more looks at DKb
	noQuote  error
	onOpen   func(KeyPlace)
	secret   []byte
}

func newChip() *chip {
	c := &chip{keys: map[attest.Role]*ecdsa.PrivateKey{}, clock: attest.Clock{ResetCount: 3, Safe: true}, log: []byte("boot log")}
	c.rekey()
	return c
}

// rekey makes other keys, as another chip would.
func (c *chip) rekey() {
	for _, role := range []attest.Role{attest.AK, attest.DK, attest.DKb} {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		c.keys[role] = k
	}
	c.made, c.made7 = c.clock, c.pcr7
}

// reboot starts the machine again.
func (c *chip) reboot() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock.ResetCount++
	c.clock.RestartCount, c.clock.Clock = 0, c.clock.Clock+1
}

// open stands for tpm.Open: DKb is made anew for this boot.
func (c *chip) open(_ context.Context, place KeyPlace) (attest.Attester, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened++
	c.secret = place.Secret
	if c.onOpen != nil {
		c.onOpen(place)
	}
	if err := c.trouble(); err != nil {
		return nil, err
	}
	if key, err := attest.ParseKey(attest.DK, c.public(attest.DK)); err != nil || !place.DK.IsZero() && place.DK != key.ID {
		return nil, fmt.Errorf("%w: DK is not the enrolled one", errors.Join(attest.ErrKeyLost, err))
	}
	c.renew()
	return c, nil
}

// renew makes the DKb of the boot state as it is.
func (c *chip) renew() {
	if !c.hasMoved() {
		return
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c.keys[attest.DKb], c.made, c.made7 = k, c.clock, c.pcr7
}

func (c *chip) hasMoved() bool {
	return c.made.ResetCount != c.clock.ResetCount && !c.pcrOnly || c.made7 != c.pcr7
}

// extend moves PCR 7.
func (c *chip) extend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pcr7 = sha(append(c.pcr7[:], 1))
}

// breaks has every method fail from now on; nil: no more.
func (c *chip) breaks(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

func (c *chip) trouble() error {
	if err := c.failOnce; err != nil {
		c.failOnce = nil
		return err
	}
	return c.fail
}

func (c *chip) BootLog() ([]byte, error) { return c.log, nil }

func (c *chip) public(role attest.Role) []byte {
	var policy []byte
	if role == attest.DKb {
		p := attest.BootPolicy(c.made7, c.made.ResetCount, !c.pcrOnly)
		policy = p[:]
	}
	b := attest.Template(role, "", nil, policy)
	b = b[:len(b)-2*(2+32)]
	point, err := c.keys[role].PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	b = append(append(b, 0, 32), point[1:33]...)
	return append(append(b, 0, 32), point[33:]...)
}

func (c *chip) Identity(context.Context) (attest.Identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.trouble(); err != nil {
		return attest.Identity{}, err
	}
	id := attest.Identity{
		Kind: attest.KindTPM, EK: &attest.EndorsementKey{Template: attest.EKP256L2, Public: []byte("ek")},
		AK: c.public(attest.AK), DK: c.public(attest.DK),
	}
	if !c.noDKb {
		c.renew()
		id.DKb = c.public(attest.DKb)
		if c.moves > 0 {
			c.moves--
			c.pcr7 = sha(append(c.pcr7[:], 1))
		}
	}
	return id, nil
}

func (c *chip) Sign(_ context.Context, role attest.Role, digest [32]byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.trouble(); err != nil {
		return nil, err
	}
	if role == attest.DKb && c.hasMoved() {
		return nil, fmt.Errorf("signing: %w", attest.ErrBootMoved)
	}
	return c.sign(role, digest), nil
}

func (c *chip) sign(role attest.Role, digest [32]byte) []byte {
	r, s, err := ecdsa.Sign(rand.Reader, c.keys[role], digest[:])
	if err != nil {
		panic(err)
	}
	b := make([]byte, 64)
	r.FillBytes(b[:32])
	s.FillBytes(b[32:])
	return b
}

func (c *chip) Clock(context.Context) (attest.Clock, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.trouble(); err != nil {
		return attest.Clock{}, err
	}
	c.clock.Clock++
	return c.clock, nil
}

func (c *chip) Activate(_ context.Context, blob, _ []byte) ([]byte, error) { return blob, nil }

// statement writes the head of a TPMS_ATTEST and signs it with the AK.
func (c *chip) statement(kind uint16, qualifying attest.Digest, attested []byte) attest.Attestation {
	b := []byte{0xff, 'T', 'C', 'G'}
	b = binary.BigEndian.AppendUint16(b, kind)
	b = append(b, 0, 0) // qualified signer: not looked at
	b = append(append(b, 0, 32), qualifying[:]...)
	b = binary.BigEndian.AppendUint64(b, c.clock.Clock)
	b = binary.BigEndian.AppendUint32(b, c.clock.ResetCount)
	b = binary.BigEndian.AppendUint32(b, c.clock.RestartCount)
	b = append(b, 1)
	b = binary.BigEndian.AppendUint64(b, 7) // firmware
	b = append(b, attested...)
	return attest.Attestation{Attest: b, Signature: c.sign(attest.AK, sha256.Sum256(b))}
}

func (c *chip) Certify(_ context.Context, role attest.Role, qualifying attest.Digest) (attest.Attestation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := sha256.Sum256(c.public(role))
	return c.statement(0x8017, qualifying, append(append([]byte{0, 34, 0, 11}, name[:]...), 0, 0)), nil
}

func (c *chip) Quote(_ context.Context, qualifying attest.Digest) (*attest.Quote, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.trouble(); err != nil {
		return nil, err
	}
	if c.noQuote != nil {
		return nil, c.noQuote
	}
	pcrs, values := attest.PCRs{}, []byte(nil)
	for _, i := range attest.Selection() {
		value := attest.Digest{i}
		if i == 7 {
			value = c.pcr7
		}
		pcrs[i] = value
		values = append(values, value[:]...)
	}
	digest := sha256.Sum256(values)
	attested := []byte{0, 0, 0, 1, 0x00, 0x0b, 3, 0xff, 0xfb, 0x00, 0, 32}
	return &attest.Quote{Attestation: c.statement(0x8018, qualifying, append(attested, digest[:]...)), PCRs: pcrs}, nil
}

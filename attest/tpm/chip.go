package tpm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// chip is the TPM as its owner goroutine knows it; no other touches it.
type chip struct {
	wire   *wire
	shared bool
	config Config

	askAuth func() ([]byte, error)
	auth    []byte // of the endorsement hierarchy; empty nearly everywhere
	closed  bool   // the endorsement hierarchy refuses: keys are wrapped

	info *attest.TPMInfo
	ek   *endorsement
	// public is what each role's key was when it was first made: whatever else
	// comes back later is not our key.
	public map[attest.Role]*attest.Key
	raw    map[attest.Role][]byte // their TPMT_PUBLIC
	boot   *bootState             // what DKb is bound to; nil before the first
}

func newChip(m machine, c Config) *chip {
	return &chip{
		wire: &wire{link: m.link, limit: commandLimit}, shared: m.shared, config: c, askAuth: m.endorsementAuth,
		public: map[attest.Role]*attest.Key{}, raw: map[attest.Role][]byte{},
	}
}

// flush unloads an object. An error would say that it is gone already, or that
// the chip is; either way there is nothing left to do.
func (c *chip) flush(handle tpm2.TPMHandle) {
	_, _ = tpm2.FlushContext{FlushHandle: handle}.Execute(c.wire)
}

// unload flushes what may be a persistent object, which stays.
func (c *chip) unload(o *object) {
	if o.handle < firstPersistent {
		c.flush(o.handle)
	}
}

// firstPersistent is where persistent handles begin (TPM 2.0 Part 2 §7.4).
const firstPersistent = 0x81000000

// reclaim unloads every transient object and session. Only where no resource
// manager stands between, and only when the chip is full.
func (c *chip) reclaim() error {
	for _, first := range []uint32{0x80000000, 0x02000000} { // TPM_HT_TRANSIENT, TPM_HT_LOADED_SESSION
		handles, err := c.handles(first, 64)
		if err != nil {
			return err
		}
		for _, handle := range handles {
			c.flush(handle)
		}
	}
	return nil
}

// clock is TPM2_ReadClock (TPM 2.0 Part 3 §29.1).
func (c *chip) clock() (attest.Clock, error) {
	f, err := c.plain(tpm2.TPMCCReadClock, nil)
	if err != nil {
		return attest.Clock{}, err
	}
	f.uint64() // time since power on
	now := attest.Clock{Clock: f.uint64(), ResetCount: f.uint32(), RestartCount: f.uint32(), Safe: f.uint8() == 1}
	if f.short {
		return attest.Clock{}, errShort
	}
	return now, nil
}

// describe reads the fixed properties that say what chip this is (TPM 2.0 Part 2
// §6.13).
func (c *chip) describe() (attest.TPMInfo, error) {
	if c.info != nil {
		return *c.info, nil
	}
	const count = tpm2.TPMPTFirmwareVersion2 - tpm2.TPMPTManufacturer + 1
	f, err := c.capability(tpm2.TPMCapTPMProperties, uint32(tpm2.TPMPTManufacturer), uint32(count))
	if err != nil {
		return attest.TPMInfo{}, err
	}
	values := map[tpm2.TPMPT]uint32{}
	for range f.count(8) {
		property := tpm2.TPMPT(f.uint32())
		values[property] = f.uint32()
	}
	if f.short {
		return attest.TPMInfo{}, errShort
	}
	if values[tpm2.TPMPTManufacturer] == 0 {
		return attest.TPMInfo{}, errors.New("TPM names no manufacturer")
	}
	c.info = &attest.TPMInfo{
		Manufacturer: letters(values[tpm2.TPMPTManufacturer]),
		Model: letters(values[tpm2.TPMPTVendorString1], values[tpm2.TPMPTVendorString2],
			values[tpm2.TPMPTVendorString3], values[tpm2.TPMPTVendorString4]),
		Firmware: fmt.Sprintf("%08x.%08x", values[tpm2.TPMPTFirmwareVersion1], values[tpm2.TPMPTFirmwareVersion2]),
	}
	return *c.info, nil
}

// letters spells words of four characters, without padding and what cannot be
// printed.
func letters(words ...uint32) string {
	var b strings.Builder
	for _, word := range words {
		for shift := 24; shift >= 0; shift -= 8 {
			if c := byte(word >> shift); c >= ' ' && c <= '~' {
				b.WriteByte(c)
			}
		}
	}
	return strings.TrimSpace(b.String())
}

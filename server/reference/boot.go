package reference

import (
	"crypto/sha256"
	"iter"
	"strconv"
	"strings"
	"time"
)

// Boot is the pack of Reference Values for measured boots: who may vouch for boot
// programs, which keys nobody may use, and how far revocations must have come. It
// is not changed once made, and safe for use from any goroutine.
type Boot struct {
	Number uint64    // grows with each pack; a lower one is refused
	Date   time.Time // when it was put together

	Authorities []BootAuthority
	TestKeys    []TestKey
	DBX         []DBXLevel  // oldest first
	SBAT        []SBATLevel // oldest first
	TPMs        []WeakTPM

	index *dbxIndex // of DBX; nil: made when it is needed
}

// BootAuthority is a CA that firmware, Windows or shim trusts to sign boot
// programs.
type BootAuthority struct {
	SHA256 [sha256.Size]byte // of the certificate
	Name   string
	Kind   AuthorityKind
	// LocksDown: what it signs for Linux locks itself down under Secure Boot, as the
	// review of shim demands of a distribution.
	LocksDown bool
	// Rollout: its owner adds it to the variables of machines that are in use, to
	// replace one that ends, so that a start which gained it is no surprise.
	Rollout bool
}

// AuthorityKind says what an authority signs.
type AuthorityKind string

// Windows' own CAs; Microsoft's CA for everybody else; a KEK; a distribution's CA,
// which its shim holds; a maker of machines.
const (
	WindowsCA      AuthorityKind = "windows"
	UEFICA         AuthorityKind = "uefi"
	KeyExchange    AuthorityKind = "kek"
	DistributionCA AuthorityKind = "distribution"
	MakerCA        AuthorityKind = "maker"
)

// TestKey is a platform key that was published, or is known to be in strangers'
// hands (CVE-2024-8105): whoever has it signs what firmware accepts.
type TestKey struct {
	SHA256 [sha256.Size]byte // of the certificate; zero where Subject tells
	// Subject is a part of the certificate's subject, in any case: "DO NOT TRUST".
	Subject string
	Source  string // CVE or advisory
}

// DBXLevel is the set of hashes that a published revocation list added.
type DBXLevel struct {
	Name   string // as its publisher names it
	Date   time.Time
	Hashes map[[sha256.Size]byte]bool
	// Superseded are those of Hashes that a complete list of a later level left out:
	// later levels are met without them.
	Superseded map[[sha256.Size]byte]bool
}

// SBATLevel is one of shim's published revocation levels.
type SBATLevel struct {
	Name       string
	Date       time.Time
	Components map[string]int // component: least generation that starts
}

// WeakTPM is firmware of TPMs with a published weakness.
type WeakTPM struct {
	Manufacturer string // as TPM_PT_MANUFACTURER, without what fills it to four letters
	// From and Before bound the firmware version, the two words of
	// TPM_PT_FIRMWARE_VERSION as one number; Before 0: every one from From on.
	From, Before uint64
	CVE          string
	Text         string // what it means, one sentence
	// Cap is the highest assurance level that such a chip can have, by its wire
	// name.
	Cap string
}

// DefaultBoot is the pack that the program brings.
func DefaultBoot() (*Boot, error) { return builtInBoot() }

// Authority finds a CA by the SHA-256 of its certificate.
func (b *Boot) Authority(cert [sha256.Size]byte) (a BootAuthority, ok bool) {
	for _, a := range b.Authorities {
		if a.SHA256 == cert {
			return a, true
		}
	}
	return a, false
}

// Test tells whether a certificate's key is in strangers' hands.
func (b *Boot) Test(cert [sha256.Size]byte, subject string) (k TestKey, ok bool) {
	for _, k := range b.TestKeys {
		if k.Subject == "" && k.SHA256 == cert || k.Subject != "" && containsFold(subject, k.Subject) {
			return k, true
		}
	}
	return k, false
}

// containsFold tells that a text contains a part, in any case of letters.
func containsFold(text, part string) bool {
	for i := 0; i+len(part) <= len(text); i++ {
		if strings.EqualFold(text[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

// DBXLevelOf returns the newest level that a list meets: every hash of it stands
// there, and every hash of the levels before it but the superseded ones. ok is
// false when not even the oldest is met. newest tells that it is the last there is.
//
// Were older levels not asked for, an owner of the KEK would meet a level of one
// hash by a list of one hash, which revokes nothing.
func (b *Boot) DBXLevelOf(hashes iter.Seq[[sha256.Size]byte]) (level DBXLevel, newest, ok bool) {
	x := b.index
	if !x.of(b.DBX) {
		x = newDBXIndex(b.DBX)
	}
	i := x.met(hashes)
	if i < 0 {
		return level, false, false
	}
	return b.DBX[i], i == len(b.DBX)-1, true
}

// SBATLevelOf returns the newest level that a text of SbatLevel meets: no
// component has a lower generation. A text that cannot be read meets none.
func (b *Boot) SBATLevelOf(text string) (level SBATLevel, newest, ok bool) {
	has, ok := parseSBAT(text)
	if !ok {
		return level, false, false
	}
	for i := len(b.SBAT) - 1; i >= 0; i-- {
		if b.SBAT[i].met(has) {
			return b.SBAT[i], i == len(b.SBAT)-1, true
		}
	}
	return level, false, false
}

func (l *SBATLevel) met(has map[string]int) bool {
	for component, least := range l.Components {
		if has[component] < least {
			return false
		}
	}
	return true
}

// Weak lists the known weaknesses of a TPM's firmware.
func (b *Boot) Weak(manufacturer string, firmware uint64) []WeakTPM {
	var weak []WeakTPM
	for _, w := range b.TPMs {
		if w.Manufacturer == maker(manufacturer) && w.From <= firmware && (w.Before == 0 || firmware < w.Before) {
			weak = append(weak, w)
		}
	}
	return weak
}

// maker drops what fills three letters up to four.
func maker(manufacturer string) string { return strings.TrimRight(manufacturer, " \x00") }

// Limits of a text of SbatLevel; shim's own are far below.
const (
	maxSBAT           = 16 << 10
	maxSBATComponents = 256
)

// parseSBAT reads the variable's text: lines of a component, its generation and,
// in the first, a date (shim's SBAT.md, "Version revocation").
func parseSBAT(text string) (map[string]int, bool) {
	text = strings.TrimRight(text, "\x00\r\n")
	if len(text) > maxSBAT || !strings.HasPrefix(text, "sbat,1,") {
		return nil, false
	}
	has := map[string]int{}
	for line := range strings.SplitSeq(text, "\n") {
		component, rest, _ := strings.Cut(strings.TrimSuffix(line, "\r"), ",")
		number, _, _ := strings.Cut(rest, ",")
		if component == "" || len(has) == maxSBATComponents {
			return nil, false
		}
		generation, err := strconv.ParseUint(number, 10, 16)
		if _, twice := has[component]; err != nil || generation == 0 || twice {
			return nil, false
		}
		has[component] = int(generation)
	}
	return has, true
}

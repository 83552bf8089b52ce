package reference

import (
	"errors"
	"fmt"
	"time"
)

// check holds what every pack is, however it came to be.
func (b *Boot) check() error {
	switch {
	case b == nil:
		return errors.New("there is none")
	case b.Number == 0 || b.Number > maxNumber:
		return fmt.Errorf("number %d is out of bounds", b.Number)
	case !keepable(b.Date):
		return errors.New("its date is none")
	case max(len(b.Authorities), len(b.TestKeys), len(b.DBX), len(b.SBAT), len(b.TPMs)) > maxBootList:
		return fmt.Errorf("a list of more than %d", maxBootList)
	}
	return errors.Join(b.checkKeys(), b.checkDBX(), b.checkSBAT(), b.checkTPMs())
}

func word(s string) bool { return s != "" && len(s) <= maxDescription && showable(s) }

// showable: what a pack says may be shown on a terminal as it is.
func showable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return false
		}
	}
	return true
}

func (b *Boot) checkKeys() error {
	seen := map[[32]byte]bool{{}: true} // no certificate has the zero hash
	for _, a := range b.Authorities {
		switch a.Kind {
		case WindowsCA, UEFICA, KeyExchange, DistributionCA, MakerCA:
		default:
			return fmt.Errorf("authority %s is of no known kind", quote(a.Name))
		}
		if !word(a.Name) || seen[a.SHA256] {
			return fmt.Errorf("authority %s has no name or no hash of its own", quote(a.Name))
		}
		seen[a.SHA256] = true
	}
	for i, k := range b.TestKeys {
		// A subject of a letter or two would meet everybody's.
		named := len(k.Subject) >= 4 && word(k.Subject) && k.SHA256 == [32]byte{}
		hashed := k.Subject == "" && !seen[k.SHA256]
		if !named && !hashed || !word(k.Source) {
			return fmt.Errorf("test key %d has not exactly one of hash and subject, or no source, or is there twice", i+1)
		}
		if hashed {
			seen[k.SHA256] = true
		}
	}
	return nil
}

// checkDBX: a level without hashes would be met by every list.
func (b *Boot) checkDBX() error {
	var last time.Time
	names := map[string]bool{}
	for _, l := range b.DBX {
		if !word(l.Name) || names[l.Name] || !keepable(l.Date) || l.Date.Before(last) {
			return fmt.Errorf("dbx level %s has no name of its own, no date, or is out of order", quote(l.Name))
		}
		if len(l.Hashes) == 0 || len(l.Hashes) > maxDBXHashes {
			return fmt.Errorf("dbx level %s has %d hashes, not 1 to %d", quote(l.Name), len(l.Hashes), maxDBXHashes)
		}
		for h := range l.Superseded {
			if !l.Hashes[h] {
				return fmt.Errorf("dbx level %s: a superseded hash is none of its own", quote(l.Name))
			}
		}
		names[l.Name], last = true, l.Date
	}
	return nil
}

func (b *Boot) checkSBAT() error {
	var last time.Time
	names := map[string]bool{}
	for _, l := range b.SBAT {
		if !word(l.Name) || names[l.Name] || !keepable(l.Date) || l.Date.Before(last) {
			return fmt.Errorf("SBAT level %s has no name of its own, no date, or is out of order", quote(l.Name))
		}
		if l.Components == nil || len(l.Components) > maxSBATComponents {
			return fmt.Errorf("SBAT level %s has no list of components, or too many", quote(l.Name))
		}
		for name, least := range l.Components {
			if !word(name) || least < 1 || least > maxGeneration {
				return fmt.Errorf("SBAT level %s asks for a generation that is none", quote(l.Name))
			}
		}
		names[l.Name], last = true, l.Date
	}
	return nil
}

// checkTPMs wants a cap that can be one: above it there is nothing, so that no
// pack can raise a level.
func (b *Boot) checkTPMs() error {
	for _, t := range b.TPMs {
		switch {
		case !word(t.Manufacturer) || len(t.Manufacturer) > 4 || maker(t.Manufacturer) != t.Manufacturer:
			return fmt.Errorf("TPM maker %s is no name of up to four letters", quote(t.Manufacturer))
		case t.Before != 0 && t.Before <= t.From:
			return fmt.Errorf("firmware range of %s by %s is empty", quote(t.CVE), quote(t.Manufacturer))
		case !word(t.CVE) || !word(t.Text):
			return fmt.Errorf("weakness of TPMs by %s has no name or no text", quote(t.Manufacturer))
		}
		switch t.Cap {
		case "software", "tpm-unverified", "vtpm", "tpm-listed", "tpm-hw": // verify.Level
		default:
			return fmt.Errorf("weakness %s has no cap that is a level", quote(t.CVE))
		}
	}
	return nil
}

package oracle

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	goattest "github.com/google/go-attestation/attest"

	"muster/attest/bootlog"
)

// said is what a reader makes of a log, as lines that can be compared: for each
// thing that both know, one.
type said map[string]string

// ours reads a log with bootlog.
func ours(p *publicLog) said {
	parsed, err := bootlog.Parse(p.raw)
	if err != nil {
		return said{"verdict": "unreadable"}
	}
	bank := p.bank()
	values := p.values[bank]
	a := parsed.Account(bank, values, nil)
	s := said{"verdict": "explained"}
	for i, v := range values {
		if v != nil && a.PCRs[i] != bootlog.Match && a.PCRs[i] != bootlog.Empty {
			s["verdict"] = fmt.Sprintf("not explained: PCR %d is %v", i, a.PCRs[i])
		}
	}
	s["secure boot"] = told(a.SecureBoot, func(v bool) string { return fmt.Sprint(v) })
	keys := func(v bootlog.Keys) string {
		return fmt.Sprintf("%d certificates %s, %d hashes", len(v.Certificates), sums(v.Certificates), v.Hashes)
	}
	s["PK"], s["KEK"], s["db"] = told(a.PK, keys), told(a.KEK, keys), told(a.DB, keys)
	s["dbx"] = told(a.DBX, func(v bootlog.Revocations) string {
		return fmt.Sprintf("%d certificates %s, %d hashes", len(v.Certificates), sums(v.Certificates), v.Entries-len(v.Certificates))
	})
	vouched := func(early bool) string {
		return told(a.Authorities, func(v []bootlog.Authority) string {
			var certs []*bootlog.Certificate
			for _, authority := range v {
				if authority.Early == early && authority.Certificate != nil {
					certs = append(certs, authority.Certificate)
				}
			}
			return fmt.Sprintf("%d certificates %s", len(certs), sums(certs))
		})
	}
	s["early authorities"], s["authorities"] = vouched(true), vouched(false)
	s["DMA protection off"] = fmt.Sprint(a.DMAProtection.Known && !a.DMAProtection.Value)
	return s
}

// told is a fact's value, or why there is none.
func told[T any](f bootlog.Fact[T], text func(T) string) string {
	if !f.Known {
		return "unknown: " + string(f.Reason)
	}
	return text(f.Value)
}

// sums names certificates by the start of their SHA-256.
func sums(certs []*bootlog.Certificate) string {
	var all []string
	for _, c := range certs {
		all = append(all, fmt.Sprintf("%.4x", c.SHA256))
	}
	return "[" + strings.Join(all, " ") + "]"
}

// theirs reads a log with go-attestation. Where it refuses the whole state, every
// other line is its error.
func theirs(p *publicLog) said {
	parsed, err := goattest.ParseEventLog(p.raw)
	if err != nil {
		return said{"verdict": "unreadable"}
	}
	bank := p.bank()
	hash := map[bootlog.Bank]crypto.Hash{bootlog.SHA1: crypto.SHA1, bootlog.SHA256: crypto.SHA256}[bank]
	var pcrs []goattest.PCR
	for i, v := range p.values[bank] {
		if v != nil {
			pcrs = append(pcrs, goattest.PCR{Index: i, Digest: v, DigestAlg: hash})
		}
	}
	s := said{"verdict": "explained"}
	events, err := parsed.Verify(pcrs)
	if err != nil {
		s["verdict"] = "not explained"
		return s
	}
	state, err := goattest.ParseSecurebootState(events)
	if err != nil {
		for _, line := range []string{"secure boot", "PK", "KEK", "db", "dbx", "early authorities", "authorities", "DMA protection off"} {
			s[line] = "refused: " + err.Error()
		}
		return s
	}
	certs := func(certs []x509.Certificate) string {
		var all []string
		for _, c := range certs {
			all = append(all, fmt.Sprintf("%.4x", sha256.Sum256(c.Raw)))
		}
		return fmt.Sprintf("%d certificates [%s]", len(certs), strings.Join(all, " "))
	}
	keys := func(c []x509.Certificate, hashes [][]byte) string {
		return fmt.Sprintf("%s, %d hashes", certs(c), len(hashes))
	}
	s["secure boot"] = fmt.Sprint(state.Enabled)
	s["PK"] = keys(state.PlatformKeys, state.PlatformKeyHashes)
	s["KEK"] = keys(state.ExchangeKeys, state.ExchangeKeyHashes)
	s["db"] = keys(state.PermittedKeys, state.PermittedHashes)
	s["dbx"] = keys(state.ForbiddenKeys, state.ForbiddenHashes)
	s["early authorities"], s["authorities"] = certs(state.PreSeparatorAuthority), certs(state.PostSeparatorAuthority)
	s["DMA protection off"] = fmt.Sprint(state.DMAProtectionDisabled)
	return s
}

// difference is one line in which the two readers differ, and why that is right.
type difference struct {
	line, ours, theirs, why string
}

// differences are all that there are, by log.
func differences() map[string][]difference {
	const (
		whole = "theirs gives up the whole state for one odd variable; ours tells what else is bound, and of this one that it is unreadable"
		empty = "refused: event %d: SecureBoot data len is 0, expected 1"
	)
	none := func(event int) []difference {
		refused := fmt.Sprintf(empty, event)
		return []difference{
			{"secure boot", "unknown: unreadable", refused, "firmware measured SecureBoot as a variable without a byte: both say neither on nor off"},
			{"*", "", refused, whole},
		}
	}
	ima := []difference{{"verdict", "not explained: PCR 10 is unlogged", "explained",
		"the kernel's integrity log extends PCR 10 and is another log: theirs passes over values of which the log has no event"}}
	return map[string][]difference{
		"muster d13-sb-shim-grub":   ima,
		"muster nosb-direct-tis":    ima,
		"muster nosb-grub-linuxefi": ima,
		"muster sb-shim-grub":       ima,
		"muster sb-systemd-luks":    ima,

		"go-attestation crypto_agile":         none(4),
		"go-tpm-tools arch-linux-workstation": none(3),
		"go-tpm-tools glinux-alex": {
			{"PK", "0 certificates [], 0 hashes", "refused: event 8: failed parsing platform keys: x509: negative serial number",
				"crypto/x509 reads no certificate with a negative serial number: ours counts it among the other entries (its bytes are in the hash of PK)"},
			{"*", "", "refused: event 8: failed parsing platform keys: x509: negative serial number", whole},
		},
		"go-attestation short_no_action": {
			{"*", "unknown: pcr-not-explained", "", "a header alone, and no value is told: theirs calls an empty list of events Secure Boot off, ours does not know"},
		},
	}
}

// TestPeer compares with go-attestation, line by line. A difference that is not
// explained fails, and so does an explanation of none.
func TestPeer(t *testing.T) {
	explained := differences()
	logs := publicLogs(t)
	equal := 0
	for _, p := range logs {
		a, b := ours(&p), theirs(&p)
		reasons := explained[p.name]
		used := make([]bool, len(reasons))
		for _, line := range slices.Sorted(maps.Keys(a)) {
			if a[line] == b[line] {
				equal++
				continue
			}
			at := slices.IndexFunc(reasons, func(d difference) bool {
				return (d.line == line || d.line == "*") && (d.ours == a[line] || d.ours == "") && (d.theirs == b[line] || d.theirs == "")
			})
			if at < 0 {
				t.Errorf("%s, %s:\n  ours   %s\n  theirs %s", p.name, line, a[line], b[line])
				continue
			}
			used[at] = true
		}
		for i, d := range reasons {
			if !used[i] {
				t.Errorf("%s, %s: there is no such difference", p.name, d.line)
			}
		}
		delete(explained, p.name)
	}
	for name := range explained {
		t.Errorf("no log %s", name)
	}
	t.Logf("%d logs, %d lines equal", len(logs), equal)
	if equal < 200 {
		t.Errorf("only %d lines are equal: the comparison shows little", equal)
	}
}

// TestPeerOnOtherValues: with one value changed neither reader explains the log.
func TestPeerOnOtherValues(t *testing.T) {
	for _, p := range publicLogs(t) {
		bank := p.bank()
		if p.values[bank] == nil || p.values[bank][7] == nil {
			continue
		}
		changed := *p.values[bank]
		changed[7] = slices.Clone(changed[7])
		changed[7][0] ^= 1
		p.values = map[bootlog.Bank]*bootlog.Values{bank: &changed}
		a, b := ours(&p), theirs(&p)
		if !strings.HasPrefix(a["verdict"], "not explained") || b["verdict"] != "not explained" {
			t.Errorf("%s: ours %s, theirs %s", p.name, a["verdict"], b["verdict"])
		}
		for _, line := range []string{"secure boot", "PK", "KEK", "db", "dbx", "authorities"} {
			if a[line] != "unknown: pcr-not-explained" {
				t.Errorf("%s: %s is %s", p.name, line, a[line])
			}
		}
	}
}

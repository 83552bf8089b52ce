package bootlog

import (
	"bytes"
	cli "flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = cli.Bool("update", false, "write testdata/table.md anew")

const tablePath = "testdata/table.md"

// TestTable: what the package says of each log in testdata, in each bank, is what
// testdata/table.md says.
func TestTable(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprint(&b, "# What is said of each log\n\nMade by `go test -run Table -update`. Facts are those of the SHA-256 bank; the others say the same.\n\n")
	fmt.Fprint(&b, "| log | bank | events | match | unlogged | empty | others |\n|---|---|---|---|---|---|---|\n")
	var facts bytes.Buffer
	for _, r := range reals(t) {
		said := map[string][]string{}
		for _, bank := range r.log.Banks {
			a := r.log.Account(bank, r.values[bank], nil)
			fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s | %s |\n", r.name, bank, len(r.log.Events),
				pcrs(a, Match), pcrs(a, Unlogged), pcrs(a, Empty), pcrs(a, Mismatch, NotTold))
			for _, line := range tell(a) {
				said[line] = append(said[line], bank.String())
			}
		}
		fmt.Fprintf(&facts, "\n## %s\n\n", r.name)
		for _, line := range tell(r.log.Account(SHA256, r.values[SHA256], nil)) {
			fmt.Fprintf(&facts, "- %s\n", line)
			// Digests of programs differ from bank to bank; nothing else may.
			if len(said[line]) != len(r.log.Banks) && !strings.HasPrefix(line, "program") {
				t.Errorf("%s: %q is said in %v alone", r.name, line, said[line])
			}
		}
	}
	b.Write(facts.Bytes())
	if *update {
		if err := os.WriteFile(tablePath, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(tablePath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%s is not what is said; look, then go test -run Table -update:\n%s", tablePath, b.Bytes())
	}
}

// pcrs lists the PCRs of some status, in ranges.
func pcrs(a *Account, of ...Status) string {
	var list []string
	for i := 0; i < PCRCount; i++ {
		first := i
		for i < PCRCount && slices.Contains(of, a.PCRs[i]) {
			i++
		}
		switch i - first {
		case 0:
		case 1:
			list = append(list, fmt.Sprint(first))
		default:
			list = append(list, fmt.Sprintf("%d–%d", first, i-1))
		}
	}
	return strings.Join(list, ", ")
}

// tell says an account in lines.
func tell(a *Account) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	flag := func(name string, f Fact[bool]) {
		if !f.Known {
			add("%s: unknown, %s", name, f.Reason)
			return
		}
		add("%s: %v (event %d)", name, f.Value, f.Event)
	}
	keys := func(name string, f Fact[Keys]) {
		if !f.Known {
			add("%s: unknown, %s", name, f.Reason)
			return
		}
		add("%s: %d certificates, %d hashes, %d others (event %d)", name, len(f.Value.Certificates), f.Value.Hashes, f.Value.Others, f.Event)
		for _, c := range f.Value.Certificates {
			add("%s: %s, %x", name, c.Subject, c.SHA256[:8])
		}
	}
	flag("Secure Boot", a.SecureBoot)
	keys("PK", a.PK)
	keys("KEK", a.KEK)
	keys("db", a.DB)
	add("dbx: known %v, %d entries %s", a.DBX.Known, a.DBX.Value.Entries, a.DBX.Reason)
	add("authorities: known %v, %d %s", a.Authorities.Known, len(a.Authorities.Value), a.Authorities.Reason)
	for _, v := range a.Authorities.Value {
		if v.Certificate != nil {
			add("authority of %s: %s, %x (event %d, early %v)", v.Variable, v.Certificate.Subject, v.Certificate.SHA256[:8], v.Event, v.Early)
			continue
		}
		add("authority of %s: hash %x (event %d, early %v)", v.Variable, v.Hash, v.Event, v.Early)
	}
	add("SBAT: known %v, %q %s", a.SBAT.Known, a.SBAT.Value, a.SBAT.Reason)
	keys("MOK", a.MOK)
	flag("MOK turned shim's verification off", a.MOKOff)
	flag("UEFI debug", a.UEFIDebug)
	flag("DMA protection", a.DMAProtection)
	add("programs: known %v, %d %s", a.Applications.Known, len(a.Applications.Value), a.Applications.Reason)
	for _, p := range a.Applications.Value {
		add("program %x %s (event %d, early %v)", p.Digest[:8], p.Path, p.Event, p.Early)
	}
	add("command lines: known %v, %d %s", a.CommandLines.Known, len(a.CommandLines.Value), a.CommandLines.Reason)
	for _, line := range a.CommandLines.Value {
		add("line of PCR %d: %q (event %d)", line.PCR, line.Text, line.Event)
	}
	add("Windows: known %v %s", a.Windows.Known, a.Windows.Reason)
	return lines
}

package oracle

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"muster/attest/bootlog"
)

// With -update, TestTable writes testdata/table.md.
var update = flag.Bool("update", false, "write testdata/table.md")

const tableHead = `# Public boot logs

Made by ` + "`go test -run Table -update`" + `: what attest/bootlog says of each public log. Logs of go-attestation v0.6.4 and go-tpm-tools
v0.4.11 (both Apache-2.0) are read from the module cache; those of muster are in attest/bootlog/testdata.

Values: published with the log, or replayed from it, which shows nothing of the replay. PCRs 0 to 23: M match, x mismatch,
u unlogged, e empty, - no value. Keys are certificates + hashes + others; dbx is entries, of which certificates. What is not known
has its reason.

`

// TestTable compares the committed table with what the code says now.
func TestTable(t *testing.T) {
	var b strings.Builder
	b.WriteString(tableHead)
	columns := []string{"log", "bytes", "events", "bank, values", "PCRs", "secure boot", "PK", "KEK", "db", "dbx", "authorities", "SBAT",
		"MOK", "MOK off", "UEFI debug", "DMA protection", "applications", "command lines", "Windows"}
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, p := range publicLogs(t) {
		row := tableRow(t, &p)
		if len(row) != len(columns) {
			t.Fatalf("%d cells for %d columns", len(row), len(columns))
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	const path = "testdata/table.md"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(read(t, path)); got != b.String() {
		want := strings.Split(b.String(), "\n")
		for i, line := range strings.Split(got, "\n") {
			if i >= len(want) || line != want[i] {
				t.Fatalf("line %d of %s is not what this test makes (-update writes it):\n%s", i+1, path, line)
			}
		}
		t.Fatalf("%s is cut", path)
	}
}

// tableRow is what is said of one log.
func tableRow(t testing.TB, p *publicLog) []string {
	t.Helper()
	parsed, err := bootlog.Parse(p.raw)
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	bank := p.bank()
	a := parsed.Account(bank, p.values[bank], nil)
	var pcrs strings.Builder
	for _, s := range a.PCRs {
		pcrs.WriteByte("-Mxue"[s])
	}
	source := "published"
	if p.replayed {
		source = "replayed"
	}
	flag := func(v bool) string { return fmt.Sprint(v) }
	keys := func(v bootlog.Keys) string { return fmt.Sprintf("%d+%d+%d", len(v.Certificates), v.Hashes, v.Others) }
	return []string{
		p.name, fmt.Sprint(len(p.raw)), fmt.Sprint(len(parsed.Events)), fmt.Sprintf("%v, %s", bank, source), "`" + pcrs.String() + "`",
		cell(a.SecureBoot, flag), cell(a.PK, keys), cell(a.KEK, keys), cell(a.DB, keys),
		cell(a.DBX, func(v bootlog.Revocations) string { return fmt.Sprintf("%d, %d", v.Entries, len(v.Certificates)) }),
		cell(a.Authorities, authorityNames),
		cell(a.SBAT, func(v string) string {
			first, _, _ := strings.Cut(v, "\n")
			return first
		}),
		cell(a.MOK, keys), cell(a.MOKOff, flag), cell(a.UEFIDebug, flag), cell(a.DMAProtection, flag),
		cell(a.Applications, func(v []bootlog.Application) string { return fmt.Sprint(len(v)) }),
		cell(a.CommandLines, func(v []bootlog.CommandLine) string { return fmt.Sprint(len(v)) }),
		cell(a.Windows, windowsFacts),
	}
}

// cell is a fact's value, or why there is none.
func cell[T any](f bootlog.Fact[T], text func(T) string) string {
	if !f.Known {
		return "*" + string(f.Reason) + "*"
	}
	return strings.ReplaceAll(text(f.Value), "|", "\\|")
}

// authorityNames counts authorities by the variable that they stand in.
func authorityNames(all []bootlog.Authority) string {
	var names []string
	for _, v := range all {
		name := v.Variable
		if v.Early {
			name += " (early)"
		}
		if v.Certificate == nil {
			name += " (hash)"
		}
		names = append(names, name)
	}
	if len(all) == 0 {
		return "0"
	}
	return fmt.Sprintf("%d: %s", len(all), strings.Join(names, ", "))
}

func windowsFacts(w bootlog.Windows) string {
	var parts []string
	flag := func(name string, f bootlog.Fact[bool]) {
		if f.Known {
			parts = append(parts, fmt.Sprintf("%s %v", name, f.Value))
		}
	}
	flag("boot debug", w.BootDebug)
	flag("kernel debug", w.KernelDebug)
	flag("test signing", w.TestSigning)
	flag("safe mode", w.SafeMode)
	flag("WinPE", w.WinPE)
	flag("code integrity", w.CodeIntegrity)
	flag("VBS", w.VBS)
	flag("HVCI", w.HVCI)
	flag("driver signing off", w.DriverSigningOff)
	flag("ELAM", w.ELAM)
	if w.HypervisorLaunch.Known {
		parts = append(parts, fmt.Sprintf("hypervisor %d", w.HypervisorLaunch.Value))
	}
	if w.Resumed {
		parts = append(parts, "resumed")
	}
	return strings.Join(parts, ", ")
}

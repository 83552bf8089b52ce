package evidence

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"muster/attest/bootlog"
	"muster/server/verify"
)

// Text writes the report for a person: a table of PCRs, the claims, the facts.
// Whatever comes from the log is quoted, so that it stays on its line.
func (r *BootReport) Text(w io.Writer) error {
	var b strings.Builder
	banks := make([]string, 0, len(r.Banks))
	for _, bank := range r.Banks {
		banks = append(banks, bank.String())
	}
	fmt.Fprintf(&b, "%s log, %d events, digests of %s\n", r.Format, r.Events, cmp.Or(strings.Join(banks, ", "), "no known bank"))
	fmt.Fprintf(&b, "judged by boot references number %d of %s\n", r.References.Number, r.References.Date.Format(time.DateOnly))
	for _, name := range r.IgnoredBanks {
		fmt.Fprintf(&b, "the values of bank %q are left out: it is not known here\n", name)
	}
	r.textPCRs(&b)
	r.textClaims(&b)
	if r.Bank != "" {
		b.WriteString("\nWhat the log says, confirmed by the PCR values:\n")
		r.Details.text(&b)
	}
	if r.unconfirmed != nil {
		b.WriteString("\nUNCONFIRMED, what the log says by its own word. Nothing binds it: anybody can write such a log.\n")
		r.unconfirmed.text(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *BootReport) textPCRs(b *strings.Builder) {
	if len(r.PCRs) == 0 {
		b.WriteString("\nNo PCR values were given, so that nothing of the log is confirmed: give them with --pcrs.\n")
		return
	}
	var banks []string
	for _, bank := range []bootlog.Bank{bootlog.SHA1, bootlog.SHA256, bootlog.SHA384, bootlog.SHA512} {
		if _, given := r.PCRs[bank.String()]; given {
			banks = append(banks, bank.String())
		}
	}
	b.WriteByte('\n')
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "PCR\t%s\tHOLDS\n", strings.ToUpper(strings.Join(banks, "\t")))
	odd := map[bootlog.Status][]string{}
	for i := range bootlog.PCRCount {
		index, row, told := strconv.Itoa(i), "", false
		for _, bank := range banks {
			status, given := r.PCRs[bank][index]
			text := "-"
			if given {
				text, told = status.String(), true
			}
			if given && status != bootlog.Match && status != bootlog.Empty && !slices.Contains(odd[status], index) {
				odd[status] = append(odd[status], index)
			}
			row += text + "\t"
		}
		if told {
			fmt.Fprintf(table, "%s\t%s%s\n", index, row, holds(i))
		}
	}
	_ = table.Flush() // to memory
	for _, status := range slices.Sorted(maps.Keys(odd)) {
		for _, index := range odd[status] {
			i, _ := strconv.Atoi(index) // ours
			fmt.Fprintf(b, "PCR %s %s: %s\n", index, status, whyNot(i, status))
		}
	}
}

// holds says what a PCR is for (PFP §3.3.4; the UAPI Group's registry of PCRs).
func holds(i int) string {
	switch i {
	case 0:
		return "firmware"
	case 1:
		return "firmware's settings"
	case 2:
		return "drivers of cards"
	case 3:
		return "their settings"
	case 4:
		return "boot programs"
	case 5:
		return "boot order, partitions"
	case 6:
		return "the maker's own"
	case 7:
		return "Secure Boot policy"
	case 8:
		return "GRUB: commands"
	case 9:
		return "files that were loaded"
	case 10:
		return "Linux' integrity log"
	case 11:
		return "unified kernels; BitLocker"
	case 12:
		return "kernel settings; Windows"
	case 13:
		return "system extensions; Windows"
	case 14:
		return "shim: owner's keys; Windows"
	case 15:
		return "systemd: this system"
	case 16:
		return "debugging"
	case 17, 18, 19, 20, 21, 22:
		return "dynamic launch"
	}
	return "applications"
}

// whyNot says what a status that is no match means.
func whyNot(i int, status bootlog.Status) string {
	running := ""
	switch i {
	case 10:
		return "the running kernel's integrity log moves it, which is no boot log."
	case 5:
		running = " Firmware that does not log the end of its services looks like this too."
	case 8, 9, 11, 12, 13, 14, 15:
		running = " Systems extend it while they run, so this is usual."
	}
	switch status {
	case bootlog.Mismatch:
		return "the events do not lead to the value: some are missing or changed, or more was extended than was logged." + running
	case bootlog.Unlogged:
		return "it was extended, and the log says nothing of it." + running
	}
	return "not told."
}

func (r *BootReport) textClaims(b *strings.Builder) {
	from := "no bank: every claim is unknown"
	if r.Bank != "" {
		from = "bank " + r.Bank
	}
	fmt.Fprintf(b, "\nClaims, from %s\n", from)
	if r.WeakBank {
		b.WriteString("SHA-1 is broken: whoever chose what was measured may have chosen two things with one digest. The server does not accept it.\n")
	}
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CLAIM\tSTATE\tPCR\tEVENT\tWHY")
	var order verify.BootClaims
	for name := range order.Each() {
		claim, pcr, event := r.Claims[name], "-", "-"
		if claim.Event != nil {
			pcr, event = strconv.Itoa(int(*claim.PCR)), strconv.Itoa(*claim.Event)
		}
		fmt.Fprintf(table, "%s\t%v\t%s\t%s\t%s\n", name, claim.State, pcr, event, claim.Reason)
	}
	_ = table.Flush() // to memory
	if r.Bank != "" {
		b.WriteString("The PCR values are taken as given: only a quote shows that they are a TPM's.\n")
	}
}

// line begins one fact: where it stands, or why it is not known.
func (f *bound) line(b *strings.Builder, name string) bool {
	if !f.Known {
		fmt.Fprintf(b, "  %-16s unknown: %s\n", name, cmp.Or(f.Reason, "not told"))
		return false
	}
	if f.Event == nil {
		fmt.Fprintf(b, "  %-16s nothing was measured: ", name)
		return true
	}
	fmt.Fprintf(b, "  %-16s PCR %d, event %d: ", name, *f.PCR, *f.Event)
	return true
}

// at says where a fact stands, in brackets behind it.
func (f *bound) at() string {
	if f.Event == nil {
		return ""
	}
	return fmt.Sprintf(" (PCR %d, event %d)", *f.PCR, *f.Event)
}

func (d *bootDetails) text(b *strings.Builder) {
	d.SecureBoot.text(b, "Secure Boot", "on", "off")
	d.PK.text(b, "PK")
	d.KEK.text(b, "KEK")
	d.DB.text(b, "db")
	if d.DBX.line(b, "dbx") {
		fmt.Fprintf(b, "%d entries, SHA-256 %s, level %s\n", d.DBX.Entries, d.DBX.SHA256, levelText(d.DBX.Level, d.DBX.Newest))
	}
	if d.Authorities.line(b, "authorities") {
		fmt.Fprintf(b, "%d\n", len(d.Authorities.List))
		for _, a := range d.Authorities.List {
			a.text(b)
		}
	}
	if d.SBAT.line(b, "SBAT") {
		fmt.Fprintf(b, "level %s, %q\n", levelText(d.SBAT.Level, d.SBAT.Newest), d.SBAT.Text)
	}
	d.MOK.text(b, "owner's keys")
	d.MOKOff.text(b, "shim verifies", "no, its owner turned that off", "yes")
	if d.Applications.line(b, "boot programs") {
		fmt.Fprintf(b, "%d\n", len(d.Applications.List))
		for _, a := range d.Applications.List {
			fmt.Fprintf(b, "    event %d: %s%s %q\n", a.Event, early(a.Early), a.Digest, a.Path)
		}
	}
	if d.CommandLines.line(b, "command lines") {
		fmt.Fprintf(b, "%d\n", len(d.CommandLines.List))
		for _, l := range d.CommandLines.List {
			fmt.Fprintf(b, "    PCR %d, event %d: %q\n", l.PCR, l.Event, l.Text)
		}
	}
	d.UEFIDebug.text(b, "UEFI debugging", "on", "off")
	d.DMAProtection.text(b, "DMA protection", "on", "off")
	d.Windows.text(b)
}

func levelText(level string, newest bool) string {
	switch {
	case level == "":
		return "below any that is known"
	case newest:
		return level + " (the newest)"
	}
	return level
}

func early(is bool) string {
	if is {
		return "(before the system) "
	}
	return ""
}

func (d *flagDetail) text(b *strings.Builder, name, yes, no string) {
	if !d.line(b, name) {
		return
	}
	if d.Value {
		no = yes
	}
	fmt.Fprintln(b, no)
}

func (d *keysDetail) text(b *strings.Builder, name string) {
	if !d.line(b, name) {
		return
	}
	fmt.Fprintf(b, "%d certificates, %d hashes, %d others, SHA-256 %s\n", len(d.Certificates), d.Hashes, d.Others, d.SHA256)
	for i := range d.Certificates {
		fmt.Fprintf(b, "    %s\n", d.Certificates[i].text())
	}
}

func (c *certificateDetail) text() string {
	text := fmt.Sprintf("%q, SHA-256 %s", c.Subject, c.SHA256)
	if c.Known != "" {
		text += ", known as " + c.Known
	}
	if c.TestKey != "" {
		text += ", a key in strangers' hands: " + c.TestKey
	}
	return text
}

func (a *authorityDetail) text(b *strings.Builder) {
	fmt.Fprintf(b, "    event %d: %s%q: ", a.Event, early(a.Early), a.Variable)
	if a.Certificate != nil {
		fmt.Fprintln(b, a.Certificate.text())
	} else {
		fmt.Fprintln(b, "the program's own hash", a.Hash)
	}
}

func (d *windowsDetail) text(b *strings.Builder) {
	if !d.line(b, "Windows") {
		return
	}
	if d.Resumed {
		b.WriteString("resumed, not started\n")
	} else {
		b.WriteString("started\n")
	}
	for _, f := range []struct {
		name string
		flag flagDetail
	}{
		{"boot debugging", d.BootDebug}, {"kernel debugging", d.KernelDebug}, {"test signing", d.TestSigning},
		{"safe mode", d.SafeMode}, {"WinPE", d.WinPE}, {"code integrity", d.CodeIntegrity}, {"virtual secure mode", d.VBS},
		{"memory integrity", d.HVCI}, {"driver signing off", d.DriverSigningOff}, {"early-launch driver", d.ELAM},
	} {
		if f.flag.Known {
			fmt.Fprintf(b, "    %s: %t%s\n", f.name, f.flag.Value, f.flag.at())
		}
	}
	if d.HypervisorLaunch.Known {
		fmt.Fprintf(b, "    hypervisor launch type: %d%s\n", d.HypervisorLaunch.Value, d.HypervisorLaunch.at())
	}
}

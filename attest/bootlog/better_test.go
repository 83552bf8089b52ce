package bootlog

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
)

// noBetter fails when after, the account of a log that was tampered with, claims
// anything better than before, that of the log as it was: a thing known that was not,
// another value than the bound one unless it is the bad one, an authority or program
// or line gone, or a known thing told as never logged. Paths of programs and numbers
// of events are bound by nothing and not compared.
func noBetter(t testing.TB, before, after *Account) {
	t.Helper()
	for _, what := range better(before, after) {
		t.Errorf("better: %s", what)
	}
}

// better lists what after claims better than before.
func better(before, after *Account) (found []string) {
	add := func(ok bool, format string, args ...any) {
		if !ok {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	for pcr, status := range after.PCRs {
		was := before.PCRs[pcr]
		add(status != Match || was == Match || was == Empty, "PCR %d matches, and was %s", pcr, was)
		add(status != Empty || was == Empty, "PCR %d is empty, and was %s", pcr, was)
	}
	flag := func(name string, was, is Fact[bool], bad bool) {
		add(!is.Known || is.Value == bad || (was.Known && was.Value == is.Value), "%s is %v, and was %+v", name, is.Value, was)
		add(!hidden(was, is), "%s is told as never logged", name)
	}
	flag("SecureBoot", before.SecureBoot, after.SecureBoot, false)
	flag("UEFIDebug", before.UEFIDebug, after.UEFIDebug, true)
	flag("MOKOff", before.MOKOff, after.MOKOff, true)
	flag("DMAProtection", before.DMAProtection, after.DMAProtection, false)

	keys := func(name string, was, is Fact[Keys]) {
		add(!is.Known || (was.Known && sameKeys(was.Value, is.Value)), "%s is %+v, and was %+v", name, is, was)
		add(!hidden(was, is), "%s is told as never logged", name)
	}
	keys("PK", before.PK, after.PK)
	keys("KEK", before.KEK, after.KEK)
	keys("DB", before.DB, after.DB)
	keys("MOK", before.MOK, after.MOK)

	add(!after.DBX.Known || (before.DBX.Known && before.DBX.Value.SHA256 == after.DBX.Value.SHA256), "DBX is known")
	add(!hidden(before.DBX, after.DBX), "DBX is told as never logged")
	add(!after.SBAT.Known || (before.SBAT.Known && before.SBAT.Value == after.SBAT.Value), "SBAT is %q, and was %+v", after.SBAT.Value, before.SBAT)
	add(!hidden(before.SBAT, after.SBAT), "SBAT is told as never logged")

	add(!after.Authorities.Known || before.Authorities.Known, "Authorities are known")
	add(!after.Authorities.Known || within(before.Authorities.Value, after.Authorities.Value, sameAuthority), "an authority is gone")
	add(!after.Applications.Known || before.Applications.Known, "Applications are known")
	add(!after.Applications.Known || within(before.Applications.Value, after.Applications.Value, sameApplication), "a program is gone")
	// Anybody may measure a first line; it must not replace another.
	add(!after.CommandLines.Known || before.CommandLines.Known || before.CommandLines.Reason == NotLogged, "CommandLines are known")
	add(!after.CommandLines.Known || within(before.CommandLines.Value, after.CommandLines.Value, sameLine), "a line is gone")
	add(!hidden(before.CommandLines, after.CommandLines), "CommandLines are told as never logged")

	return append(found, betterWindows(before.Windows, after.Windows)...)
}

// betterWindows compares each fact of Windows by itself.
func betterWindows(before, after Fact[Windows]) (found []string) {
	if !after.Known {
		if hidden(before, after) {
			found = append(found, "Windows is told as never logged")
		}
		return found
	}
	if !before.Known {
		return []string{fmt.Sprintf("Windows is known, and was %s", before.Reason)}
	}
	was, is := reflect.ValueOf(before.Value), reflect.ValueOf(after.Value)
	for i := range is.NumField() {
		name := is.Type().Field(i).Name
		if is.Field(i).Kind() != reflect.Struct {
			continue // Resumed: which of two starts it describes
		}
		known := is.Field(i).FieldByName("Known").Bool()
		if value := is.Field(i).FieldByName("Value"); value.Kind() == reflect.Bool && value.Bool() == badOfWindows(name) {
			continue
		}
		same := was.Field(i).FieldByName("Known").Bool() &&
			reflect.DeepEqual(was.Field(i).FieldByName("Value").Interface(), is.Field(i).FieldByName("Value").Interface())
		if known && !same {
			found = append(found, fmt.Sprintf("Windows.%s is %v, and was %v", name, is.Field(i), was.Field(i)))
		}
	}
	return found
}

// badOfWindows is the value of a fact of Windows that nobody gains by.
func badOfWindows(name string) bool {
	switch name {
	case "CodeIntegrity", "VBS", "HVCI", "ELAM":
		return false
	}
	return true
}

// hidden tells whether a fact that was known is told as if nobody had ever said it.
func hidden[T any](was, is Fact[T]) bool {
	return was.Known && !is.Known && is.Reason == NotLogged
}

// within tells whether every element of a stands in b, in order.
func within[T any](a, b []T, same func(x, y T) bool) bool {
	for _, x := range a {
		for len(b) > 0 && !same(x, b[0]) {
			b = b[1:]
		}
		if len(b) == 0 {
			return false
		}
		b = b[1:]
	}
	return true
}

func sameAuthority(x, y Authority) bool {
	return x.Variable == y.Variable && x.Hash == y.Hash && sameCertificate(x.Certificate, y.Certificate)
}

func sameCertificate(x, y *Certificate) bool {
	return x == y || (x != nil && y != nil && *x == *y)
}

func sameApplication(x, y Application) bool { return bytes.Equal(x.Digest, y.Digest) }

func sameLine(x, y CommandLine) bool { return x.PCR == y.PCR && x.Text == y.Text }

// sameKeys compares what variables hold; an empty one is empty in each form.
func sameKeys(x, y Keys) bool {
	if len(x.Certificates)+x.Hashes+x.Others+len(y.Certificates)+y.Hashes+y.Others == 0 {
		return true
	}
	return x.SHA256 == y.SHA256
}

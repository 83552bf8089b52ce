package collectors

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLabel is the longest text of a machine that goes into a report, in bytes.
const maxLabel = 128

// label makes a text of the machine fit for a report and for a page: valid
// UTF-8, printable, without space around it, and not long.
func label(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	for len(s) > maxLabel {
		_, size := utf8.DecodeLastRuneInString(s)
		s = strings.TrimSpace(s[:len(s)-size])
	}
	return s
}

// realLabel is label for what a vendor should have filled in; what it left as a
// placeholder is nothing.
func realLabel(s string) string {
	s = label(s)
	lower := strings.ToLower(strings.Trim(s, " ."))
	switch lower {
	case "", "none", "null", "n/a", "na", "unknown", "empty", "invalid", "oem", "o.e.m", "undefined",
		"default string", "default", "not specified", "not applicable", "not available", "not provided",
		"not settable", "no asset tag", "no asset information", "to be filled by oem", "to be filled by o.e.m",
		"system manufacturer", "system product name", "system serial number", "system version",
		"chassis serial number", "chassis asset tag", "base board serial number", "asset tag", "serial number",
		"type1productconfigid", "sernum", "empty string", "localhost", "(none)",
		"123456789", "0123456789", "1234567890", "01234567890", "123456789abc", "xxxxxxxxxx":
		return ""
	}
	// One character over and over: 0, 00000000, FFFF, ........, --------.
	if strings.Trim(lower, lower[:1]) == "" {
		return ""
	}
	return s
}

// realUUID drops the UUIDs that whole series of boards share.
func realUUID(s string) string {
	s = strings.ToLower(label(s))
	if len(s) != 36 || strings.Trim(s, "0123456789abcdef-") != "" {
		return ""
	}
	switch s {
	case "03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009",
		"12345678-1234-5678-90ab-cddeefaabbcc", "11111111-2222-3333-4444-555555555555",
		"4c4c4544-0000-2010-8020-80c04f202020":
		return ""
	}
	digits := strings.ReplaceAll(s, "-", "")
	if strings.Trim(digits, digits[:1]) == "" {
		return ""
	}
	return s
}

package reference

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, name string, v any) *MDS {
	t.Helper()
	m, err := readPayload(text(t, v), signedOn())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

// One entry that cannot be read costs that entry; others do not count at all.
func TestPayloadSkips(t *testing.T) {
	a := newAuthority(t)
	long := strings.Repeat("x", maxEntry)
	many := make([]string, maxList+1)
	for i := range many {
		many[i] = x5c(a.root)[0]
	}
	// The serial's first byte decides its sign, a zero where the number's own is high; Go
	// refuses a negative one.
	negative := bytes.Clone(a.root.cert.Raw)
	serial := a.root.cert.SerialNumber.Bytes()
	first := bytes.Index(negative, serial)
	if serial[0] >= 0x80 {
		first--
	}
	negative[first] |= 0x80
	statement := func(name string, v any) object {
		e := a.entryOf(modelOne)
		e["metadataStatement"].(object)[name] = v
		return e
	}
	member := func(name string, v any) object { e := a.entryOf(modelOne); e[name] = v; return e }
	status := func(name string, v any) object {
		e := a.entryOf(modelOne)
		e["statusReports"] = []object{{"status": "REVOKED"}, {"status": "FIDO_CERTIFIED", name: v}}
		return e
	}
	nested := any("x")
	for range 100 {
		nested = []any{nested}
	}
	for name, test := range map[string]struct {
		entry   any
		skipped int
	}{
		"U2F":                      {object{"attestationCertificateKeyIdentifiers": []string{"ab"}}, 0},
		"UAF":                      {object{"aaid": "1234#5678"}, 0},
		"UAF with an AAGUID":       {statement("protocolFamily", "uaf"), 0},
		"U2F with a bad root":      {object{"metadataStatement": object{"attestationRootCertificates": [][]byte{negative}}}, 1},
		"U2F with many roots":      {object{"metadataStatement": object{"attestationRootCertificates": many}}, 1},
		"a number":                 {1, 1},
		"an array":                 {[]int{1}, 1},
		"AAGUID is a number":       {member("aaguid", 7), 1},
		"AAGUID is no AAGUID":      {member("aaguid", modelOne[1:]), 1},
		"AAGUID is zero":           {member("aaguid", AAGUID{}), 1},
		"no statement":             {object{"aaguid": modelOne}, 1},
		"statement of another":     {statement("aaguid", modelTwo), 1},
		"statement without AAGUID": {statement("aaguid", ""), 1},
		"no family":                {statement("protocolFamily", ""), 1},
		"nested roots":             {statement("attestationRootCertificates", nested), 1},
		"roots are a text":         {statement("attestationRootCertificates", "AAAA"), 1},
		"long description":         {statement("description", strings.Repeat("x", maxDescription+1)), 1},
		"long type":                {statement("attestationTypes", []string{strings.Repeat("x", maxWord+1)}), 1},
		"empty type":               {statement("attestationTypes", []string{""}), 1},
		"giant icon":               {statement("icon", long), 1},
		"status without a word":    {status("status", ""), 1},
		"status of another type":   {status("status", 1), 1},
		"long status":              {status("status", strings.Repeat("x", maxWord+1)), 1},
		"status from no date":      {status("effectiveDate", "soon"), 1},
		"status from a wrong day":  {status("effectiveDate", "2023-02-29"), 1},
		"status with a time":       {status("effectiveDate", "2023-02-28T00:00:00Z"), 1},
		"status of no batch":       {status("batchCertificate", "AAAA"), 1},
		"many statuses":            {member("statusReports", make([]object, maxList+1)), 1},
	} {
		m := read(t, name, content(a.entryOf(modelTwo), test.entry))
		if m.Skipped != test.skipped || len(m.Entries) != 1 || m.Entry(model(t, modelTwo)) == nil || m.Entry(model(t, modelOne)) != nil {
			t.Errorf("%s: skipped %d, %d entries", name, m.Skipped, len(m.Entries))
		}
	}
	// Of a model whose roots cannot be read nothing is proved; what ends trust in it
	// still does.
	for name, roots := range map[string]any{
		"root with negative serial": []any{negative}, "root is no certificate": []string{"AAAA"}, "root is no base64": []string{"*"},
		"root too large": []string{strings.Repeat("AAAA", maxCertificate/3+1)}, "many roots": many,
	} {
		entry := statement("attestationRootCertificates", roots)
		entry["statusReports"] = []object{{"status": "REVOKED"}}
		m := read(t, name, content(a.entryOf(modelTwo), entry))
		e := m.Entry(model(t, modelOne))
		if m.Skipped != 1 || len(m.Entries) != 2 || e == nil || len(e.Roots) != 0 || len(e.Statuses) != 1 || e.Statuses[0].Status != "REVOKED" {
			t.Errorf("%s: skipped %d, %+v", name, m.Skipped, e)
		}
	}
	if m := read(t, "good", content(a.entryOf(modelTwo), a.entryOf(modelOne))); m.Skipped != 0 || len(m.Entries) != 2 {
		t.Error("the entry that the cases change is not a good one")
	}
}

func TestPayloadRefused(t *testing.T) {
	a := newAuthority(t)
	whole := func(name string, v any) []byte { c := content(a.entryOf(modelOne)); c[name] = v; return text(t, c) }
	without := func(name string) []byte { c := content(a.entryOf(modelOne)); delete(c, name); return text(t, c) }
	bad := a.entryOf(modelOne)
	bad["metadataStatement"].(object)["attestationRootCertificates"] = []string{"AAAA"}
	giant := []byte(`{"no":1,"nextUpdate":"2026-01-01","entries":[` + strings.Repeat("0,", maxEntries) + `0]}`)
	deep := []byte(`{"no":1,"nextUpdate":"2026-01-01","entries":` + strings.Repeat("[", 100_000))
	good := text(t, content(a.entryOf(modelOne)))
	for name, test := range map[string]struct {
		payload []byte
		says    string
	}{
		"empty":                 {nil, "not a JSON object"},
		"null":                  {[]byte("null"), "not a JSON object"},
		"an array":              {[]byte("[]"), "not a JSON object"},
		"cut off":               {good[:len(good)-1], "not a JSON object"},
		"something behind":      {append(bytes.Clone(good), '1'), "behind"},
		"no number":             {without("no"), "it has no no"},
		"number 0":              {whole("no", 0), "positive"},
		"number below 0":        {whole("no", -7), "positive"},
		"number and a half":     {whole("no", 7.5), "positive"},
		"number as text":        {whole("no", "7"), "positive"},
		"number too large":      {whole("no", 1e30), "positive"},
		"no date":               {without("nextUpdate"), "nextUpdate"},
		"date null":             {whole("nextUpdate", nil), "nextUpdate"},
		"date wrong":            {whole("nextUpdate", "01.04.2026"), "nextUpdate"},
		"date zero":             {whole("nextUpdate", "0001-01-01"), "nextUpdate"},
		"no entries":            {without("entries"), "entries"},
		"entries null":          {whole("entries", nil), "not an array"},
		"entries an object":     {whole("entries", object{}), "not an array"},
		"legal text too long":   {whole("legalHeader", strings.Repeat("x", maxLegal+1)), "legalHeader"},
		"legal text a number":   {whole("legalHeader", 1), "legalHeader"},
		"two numbers":           {[]byte(`{"no":1,"no":2,"nextUpdate":"2026-01-01","entries":[]}`), "two members no"},
		"two lists":             {[]byte(`{"no":1,"nextUpdate":"2026-01-01","entries":[],"entries":[]}`), "two members entries"},
		"capitals":              {[]byte(`{"No":1,"nextUpdate":"2026-01-01","entries":[]}`), "it has no no"},
		"too many entries":      {giant, "more than 8192"},
		"deep":                  {deep, "whole JSON"},
		"a model twice":         {text(t, content(a.entryOf(modelOne), a.entryOf(modelTwo), a.entryOf(modelOne))), "two entries of the model " + modelOne},
		"a bad one and a good":  {text(t, content(bad, a.entryOf(modelOne))), "two entries"},
		"a good one and a bad":  {text(t, content(a.entryOf(modelOne), bad)), "two entries"},
		"a model in capitals":   {text(t, content(a.entryOf(modelTwo), a.entryOf(strings.ToUpper(modelTwo)))), "two entries"},
		"an entry is not whole": {[]byte(`{"no":1,"nextUpdate":"2026-01-01","entries":[{]}`), "entry 1"},
	} {
		m, err := readPayload(test.payload, signedOn())
		wantRefusal(t, name, m, err, "mds-content", test.says)
	}
	m, err := ImportMDS(a.sign(whole("no", 0)), a.pool(), signedOn())
	wantRefusal(t, "signed", m, err, "mds-content", "positive")
}

func TestPayloadStatuses(t *testing.T) {
	a := newAuthority(t)
	batch, root := x5c(a.middle)[0], x5c(a.root)[0]
	e := a.entryOf(modelOne)
	e["statusReports"] = []object{
		{"status": "FIDO_CERTIFIED_L1", "effectiveDate": "2020-02-29"},
		{"status": "ATTESTATION_KEY_COMPROMISE", "effectiveDate": "2021-01-01", "certificate": batch},
		{"status": "USER_KEY_REMOTE_COMPROMISE", "batchCertificate": batch, "certificate": root},
		{"status": "A_WORD_OF_TOMORROW", "sunsetDate": "2030-01-01"},
	}
	e["metadataStatement"].(object)["attestationRootCertificates"] = []string{root[:64] + "\r\n " + root[64:]}
	e["metadataStatement"].(object)["description"] = "Key\x1b[2J\u202e one"
	entry := read(t, "statuses", content(e)).Entry(model(t, modelOne))
	if entry == nil {
		t.Fatal("no entry")
	}
	want := []MDSStatus{
		{Status: "FIDO_CERTIFIED_L1", From: time.Date(2020, 2, 29, 0, 0, 0, 0, time.UTC)},
		{Status: "ATTESTATION_KEY_COMPROMISE", From: time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC), Certificate: a.middle.cert.Raw},
		{Status: "USER_KEY_REMOTE_COMPROMISE", Certificate: a.middle.cert.Raw},
		{Status: "A_WORD_OF_TOMORROW"},
	}
	if fmt.Sprint(entry.Statuses) != fmt.Sprint(want) {
		t.Errorf("statuses %v", entry.Statuses)
	}
	if !bytes.Equal(entry.Roots[0], a.root.cert.Raw) {
		t.Error("a root with line ends was not read")
	}
	if entry.Description != "Key[2J one" {
		t.Errorf("description %q", entry.Description)
	}
}

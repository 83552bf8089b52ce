package reference

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-webauthn/webauthn/metadata"
)

func TestFreshness(t *testing.T) {
	m := &MDS{NextUpdate: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), ImportedAt: signedOn()}
	for at, want := range map[string]Freshness{
		"2026-03-10T12:00:00Z": Fresh,
		"2026-03-09T12:00:00Z": Fresh, // a clock may be a day behind
		"2026-03-09T11:59:59Z": Expired,
		"1970-01-01T00:00:00Z": Expired,
		"2026-04-01T23:59:59Z": Fresh,
		"2026-04-02T00:00:00Z": Late,
		"2026-05-01T23:59:59Z": Late,
		"2026-05-02T00:00:00Z": Expired,
		"2031-01-01T00:00:00Z": Expired,
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Freshness(now); got != want {
			t.Errorf("at %s: %s, want %s", at, got, want)
		}
	}
	for name, m := range map[string]*MDS{"nil": nil, "zero": {}, "no date": {ImportedAt: signedOn()}, "no import": {NextUpdate: m.NextUpdate}} {
		if got := m.Freshness(signedOn()); got != Expired {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A newer BLOB with an older date comes in, and is no fresher for its number.
func TestOldDateIsNotFresh(t *testing.T) {
	a := newAuthority(t)
	c := content(a.entryOf(modelOne))
	c["no"], c["nextUpdate"] = 8, "2026-01-01"
	m, err := ImportMDS(a.sign(text(t, c)), a.pool(), signedOn())
	if err != nil || m.Number != 8 || m.Freshness(signedOn()) != Expired {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestEntry(t *testing.T) {
	a := newAuthority(t)
	var entries []any
	for i := range 50 {
		entries = append(entries, a.entryOf(fmt.Sprintf("%08x-0000-0000-0000-000000000001", (i*37)%50)))
	}
	m := read(t, "fifty", content(entries...))
	for i := range 50 {
		id := model(t, fmt.Sprintf("%08x-0000-0000-0000-000000000001", i))
		if e := m.Entry(id); e == nil || e.AAGUID != id {
			t.Errorf("%s: %v", id, e)
		}
	}
	if m.Entry(model(t, modelOne)) != nil || m.Entry(AAGUID{}) != nil || (*MDS)(nil).Entry(model(t, modelOne)) != nil {
		t.Error("an entry of nothing")
	}
	// Even a kept form that was tampered with has nothing for the zero AAGUID.
	if (&MDS{Entries: []MDSEntry{{}}}).Entry(AAGUID{}) != nil {
		t.Error("an entry for the zero AAGUID")
	}
}

func kept(t testing.TB) (*MDS, []byte) {
	t.Helper()
	a := newAuthority(t)
	e := a.entryOf(modelTwo)
	e["statusReports"] = []object{{"status": "REVOKED", "batchCertificate": x5c(a.middle)[0]}}
	m, err := ImportMDS(a.sign(text(t, content(a.entryOf(modelOne), e, 1))), a.pool(), signedOn())
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return m, b
}

func TestEncodeDecode(t *testing.T) {
	m, b := kept(t)
	again, err := DecodeMDS(b)
	if err != nil || !reflect.DeepEqual(again, m) || m.Skipped != 1 {
		t.Errorf("read again: %+v, %v", again, err)
	}
	change := func(old, new string) string {
		changed := strings.Replace(string(b), old, new, 1)
		if changed == string(b) {
			t.Fatalf("nothing to change: %s", old)
		}
		return changed
	}
	for name, form := range map[string]string{
		"empty":             "",
		"null":              "null",
		"zero":              "{}",
		"an array":          "[]",
		"cut off":           string(b[:len(b)-1]),
		"something behind":  string(b) + "{}",
		"another member":    change(`"number"`, `"more":1,"number"`),
		"number 0":          change(`"number":7`, `"number":0`),
		"no date":           change(`"next_update":"2026-04-01T00:00:00Z",`, ""),
		"no import":         change(`,"imported_at":"2026-03-10T12:00:00Z"`, ""),
		"AAGUID is short":   change(modelTwo, modelTwo[1:]),
		"AAGUID is zero":    change(modelTwo, AAGUID{}.String()),
		"out of order":      change(modelTwo, "ffffffff"+modelTwo[8:]),
		"a model twice":     change(modelTwo, modelOne),
		"status without":    change(`"status":"REVOKED"`, `"status":""`),
		"root is empty":     change(`"roots":["`, `"roots":["","`),
		"long description":  change("Test Key", strings.Repeat("x", maxDescription)),
		"skipped is less":   change(`"skipped":1`, `"skipped":-1`),
		"too large":         strings.Repeat(" ", maxBLOB+1),
		"long legal text":   change("for tests", strings.Repeat("x", maxLegal+1)),
		"certificate large": change(`"certificate":"`, `"certificate":"`+strings.Repeat("AAAA", maxCertificate)),
	} {
		if m, err := DecodeMDS([]byte(form)); err == nil || m != nil {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	for name, m := range map[string]*MDS{"nil": nil, "zero": {}} {
		if b, err := m.Encode(); err == nil || b != nil {
			t.Errorf("%s was encoded: %s", name, b)
		}
	}
}

// What is read can be written, and reads the same.
func FuzzDecodeMDS(f *testing.F) {
	_, good := kept(f)
	f.Add(good)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"number":1,"next_update":"2026-04-01T00:00:00Z","legal":"","entries":null,"skipped":0,"imported_at":"2026-03-10T12:00:00Z"}`))
	f.Add([]byte(`{"number":1,"next_update":"2026-04-01T00:00:00Z","entries":[{"aaguid":"` + modelOne + `"}],"imported_at":"2026-03-10T12:00:00Z"}`))
	f.Add(bytes.ReplaceAll(good, []byte(modelTwo), []byte(modelOne)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMDS(data)
		if err != nil {
			return
		}
		b, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeMDS(b)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(twice, b) {
			t.Fatalf("%s became %s: %v", b, twice, err)
		}
		for i := range m.Entries {
			if m.Entry(m.Entries[i].AAGUID) != &m.Entries[i] {
				t.Fatalf("entry %s is not found", m.Entries[i].AAGUID)
			}
		}
	})
}

// realBLOB reads one of FIDO's own, where the folder with them is.
func realBLOB(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("MUSTER_TEST_DATA")
	if dir == "" {
		t.Skip("MUSTER_TEST_DATA is not set: nothing of FIDO's was read")
	}
	blob, err := os.ReadFile(filepath.Join(dir, "mds", name))
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func TestRealBLOB(t *testing.T) {
	blob := realBLOB(t, "real-no31.jwt")
	m, err := ImportMDS(blob, FIDORoots(), signedOn())
	wantRefusal(t, "today", m, err, "mds-signer-expired", "the signer's certificate ended on 2024-07-09")
	m, err = ImportMDS(blob, FIDORoots(), time.Date(2023, 6, 1, 0, 0, 0, 0, time.UTC))
	wantRefusal(t, "before", m, err, "mds-signer-early", "2023-06-08")
	then := time.Date(2023, 8, 1, 0, 0, 0, 0, time.UTC)
	if m, err = ImportMDS(blob, FIDORoots(), then); err != nil {
		t.Fatal(err)
	}
	if m.Number != 31 || !m.NextUpdate.Equal(time.Date(2023, 10, 1, 0, 0, 0, 0, time.UTC)) || m.Skipped != 1 || len(m.Entries) != 108 {
		t.Errorf("number %d, next %s, %d entries, %d skipped", m.Number, m.NextUpdate, len(m.Entries), m.Skipped)
	}
	if m.Freshness(then) != Fresh || m.Freshness(signedOn()) != Expired {
		t.Error("freshness is wrong")
	}
	hello := m.Entry(model(t, "08987058-cadc-4b81-b6e1-30de50dcbe96"))
	if hello == nil || !strings.Contains(hello.Description, "Windows Hello") || len(hello.Roots) == 0 || len(hello.Statuses) == 0 {
		t.Errorf("Windows Hello: %+v", hello)
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := DecodeMDS(b); err != nil || !reflect.DeepEqual(again, m) {
		t.Errorf("kept and read again: %v", err)
	}
	t.Logf("%d bytes are kept of %d", len(b), len(blob))
	// A character of the content, changed.
	blob[len(blob)/2] ^= 1
	m, err = ImportMDS(blob, FIDORoots(), then)
	wantRefusal(t, "changed", m, err, "mds-signature", blobSigner)
}

// FIDO's conformance BLOBs have a root of their own and a signer without FIDO's
// name, so that the name is asked for apart.
func TestConformanceBLOBs(t *testing.T) {
	der, err := base64.StdEncoding.DecodeString(metadata.ConformanceMDSRoot)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	for name, want := range map[string]struct{ code, says string }{
		"conformance-26448d4d.jwt": {},
		"conformance-8654399f.jwt": {},
		"conformance-36750a72.jwt": {"mds-signature", "FAKE"},
		"conformance-8341670c.jwt": {"mds-chain", "authority key identifier"},
	} {
		blob := realBLOB(t, name)
		m, err := ImportMDS(blob, FIDORoots(), signedOn())
		wantRefusal(t, name+" under FIDO's roots", m, err, "mds-chain", "")
		leaf, payload, err := openBLOB(blob, roots, signedOn())
		if want.code != "" {
			wantRefusal(t, name, nil, err, want.code, want.says)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		m, err = ImportMDS(blob, roots, signedOn())
		wantRefusal(t, name+" by its name", m, err, "mds-name", blobSigner)
		if checkSigner(leaf) == nil {
			t.Errorf("%s: its signer has FIDO's name", name)
		}
		// The roots of its UAF entries have dates that are none.
		if m, err := readPayload(payload, signedOn()); err != nil || m.Number != 42 || len(m.Entries) != 100 || m.Skipped != 100 {
			t.Errorf("%s: %v, or other numbers", name, err)
		}
	}
}

func BenchmarkImportMDS(b *testing.B) {
	blob := realBLOB(b, "real-no31.jwt")
	roots, now := FIDORoots(), time.Date(2023, 8, 1, 0, 0, 0, 0, time.UTC)
	b.SetBytes(int64(len(blob)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ImportMDS(blob, roots, now); err != nil {
			b.Fatal(err)
		}
	}
}

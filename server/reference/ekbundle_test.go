package reference

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func der(t *testing.T, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}

func told(findings []EKFinding) (lines []string) {
	for _, f := range findings {
		line := fmt.Sprintf("%s: %s root=%v new=%v", f.File, f.Subject, f.Root, f.New)
		if f.Skipped != "" {
			line = f.File + ": skipped, " + f.Skipped
		}
		lines = append(lines, line)
	}
	return lines
}

// What Go cannot read, what vouches for nothing and what is no certificate is
// skipped, by name and reason; the rest is used.
func TestImport(t *testing.T) {
	p := newPKI(t)
	pack := NextEKPack(nil, 0, packDay)
	findings, err := pack.Import([]BundleFile{
		{"root.cer", der(t, p.rootPEM)},
		{"both.pem", join(p.middlePEM, p.rootPEM)},
		{"leaf.crt", der(t, p.leafPEM)},
		{"odd.der", append([]byte{0x30, 0x03}, "odd"...)},
		{"cut.pem", join(p.middlePEM, p.rootPEM[:80])},
		{"key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})},
		{"text.crt", []byte("hello")},
		{"setup.cmd", []byte("echo hello")},
		{"empty.cer", nil},
		{"large.cer", append([]byte{0x30}, make([]byte, maxCertificate)...)},
		{"evil\x1b[2J.txt", der(t, p.leafPEM)},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"root.cer: CN=root root=true new=true",
		"both.pem: CN=middle root=false new=true",
		"both.pem: CN=root root=true new=false",
		"leaf.crt: skipped, it is not a CA's certificate",
		`odd.der: skipped, "x509: `,
		"cut.pem: CN=middle root=false new=false",
		"cut.pem: skipped, it is not whole PEM",
		`key.pem: skipped, block "PRIVATE KEY" is no CERTIFICATE`,
		"text.crt: skipped, it holds neither PEM nor DER",
		"empty.cer: skipped, it holds neither PEM nor DER",
		"large.cer: skipped, it has more than 8192 bytes",
		`"evil\x1b[2J.txt": skipped, it is not a CA's certificate`,
	}
	got := told(findings)
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("findings:\n%s", strings.Join(got, "\n"))
	}
	for _, f := range findings {
		if f.Skipped == "" && (f.Kind != OwnCA || len(f.SHA256) != 64) {
			t.Errorf("%+v", f)
		}
	}
	if len(pack.Hardware) != 2 || len(pack.Virtual) != 0 || !slices.IsSortedFunc(pack.Hardware, bytes.Compare) {
		t.Errorf("%d hardware, %d virtual", len(pack.Hardware), len(pack.Virtual))
	}
}

func TestImportCab(t *testing.T) {
	pack := NextEKPack(nil, 0, packDay)
	findings, err := pack.Import([]BundleFile{{"TrustedTpm.cab", gcab(t)}}, false)
	want := []string{
		"Vendor/RootCA/Test EK Root.cer: CN=Test EK Root,O=Test Vendor root=true new=true",
		"Vendor/IntermediateCA/Test_EK_Intermediate.crt: CN=Test EK Intermediate,O=Test Vendor root=false new=true",
	}
	if got := told(findings); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%s", err, strings.Join(got, "\n"))
	}
	if _, err := pack.Import([]BundleFile{{"x.cab", gcab(t)[:500]}}, false); err == nil || !strings.Contains(err.Error(), "x.cab") {
		t.Errorf("cut off: %v", err)
	}
}

func TestImportNothing(t *testing.T) {
	p := newPKI(t)
	for name, files := range map[string][]BundleFile{
		"no file": nil, "an empty one": {{"a.pem", nil}}, "only leaves": {{"leaf.pem", p.leafPEM}}, "only words": {{"a.txt", []byte("hello")}},
		"a cabinet of words": {{"a.cab", makeCab(t, false, BundleFile{"a.txt", []byte("hello")})}},
		// A cabinet in a cabinet is not opened.
		"a cabinet of a cabinet": {{"a.cab", makeCab(t, false, BundleFile{"b.cab", gcab(t)})}},
	} {
		pack := NextEKPack(nil, 0, packDay)
		if _, err := pack.Import(files, false); err == nil || len(pack.Hardware) != 0 {
			t.Errorf("%s: imported", name)
		}
	}
}

func write(t *testing.T, folder, name string, b []byte) {
	t.Helper()
	name = filepath.Join(folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadBundle(t *testing.T) {
	p := newPKI(t)
	folder := t.TempDir()
	write(t, folder, "Vendor/RootCA/root.cer", der(t, p.rootPEM))
	write(t, folder, "Vendor/IntermediateCA/middle.crt", der(t, p.middlePEM))
	write(t, folder, "setup.cmd", []byte("words"))
	files, err := ReadBundle(folder)
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	if want := "Vendor/IntermediateCA/middle.crt Vendor/RootCA/root.cer setup.cmd"; err != nil || strings.Join(names, " ") != want {
		t.Errorf("%v: %v", names, err)
	}
	files, err = ReadBundle(filepath.Join(folder, "Vendor", "RootCA", "root.cer"))
	if err != nil || len(files) != 1 || files[0].Name != "root.cer" || !bytes.Equal(files[0].Data, der(t, p.rootPEM)) {
		t.Errorf("a file: %v %v", files, err)
	}
	if _, err := ReadBundle(filepath.Join(folder, "nowhere")); err == nil {
		t.Error("a missing file was read")
	}
	large := t.TempDir()
	for i := range 3 {
		write(t, large, fmt.Sprint(i), make([]byte, maxBundle/2))
	}
	if _, err := ReadBundle(large); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too much: %v", err)
	}
	write(t, large, "one", make([]byte, maxBundle+1))
	if _, err := ReadBundle(filepath.Join(large, "one")); err == nil {
		t.Error("a huge file was read")
	}
}

// Links below the folder lead nowhere: not out of it, and not in circles.
func TestReadBundleLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	p := newPKI(t)
	outside, folder := t.TempDir(), t.TempDir()
	write(t, outside, "secret.pem", p.rootPEM)
	write(t, folder, "in.pem", p.middlePEM)
	for link, target := range map[string]string{
		"file": filepath.Join(outside, "secret.pem"), "folder": outside, "circle": folder, "dangling": "nowhere", "within": "in.pem",
	} {
		if err := os.Symlink(target, filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := ReadBundle(folder)
	if err != nil || len(files) != 1 || files[0].Name != "in.pem" {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// Microsoft's collection has two thousand certificates, each a file.
func TestReadBundleMany(t *testing.T) {
	folder := t.TempDir()
	const many = 2200
	key := newKey(t)
	for i := range many {
		_, text := certify(t, fmt.Sprintf("CA %d", i), true, nil, key, key)
		write(t, folder, fmt.Sprintf("V%d/CA %d.cer", i%7, i), der(t, text))
	}
	files, err := ReadBundle(folder)
	if err != nil || len(files) != many {
		t.Fatalf("%d files, %v", len(files), err)
	}
	pack := NextEKPack(nil, 0, packDay)
	findings, err := pack.Import(files, true)
	if err != nil || len(findings) != many || len(pack.Virtual) != many {
		t.Errorf("%d findings, %d certificates, %v", len(findings), len(pack.Virtual), err)
	}
	full := &EKPack{Number: 1, Date: packDay, Hardware: make([][]byte, maxEKCertificates)}
	for i := range full.Hardware {
		full.Hardware[i] = []byte{byte(i >> 8), byte(i)}
	}
	if _, err := full.Import(files[:1], false); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a full pack took another: %v", err)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAMCAQA=\n-----END CERTIFICATE-----\n"))
	f.Add(gcab(f))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		pack := NextEKPack(nil, 0, packDay)
		findings, err := pack.Import([]BundleFile{{"x.pem", b}}, false)
		if (err == nil) != (len(pack.Hardware) > 0) {
			t.Fatalf("%d certificates, %v", len(pack.Hardware), err)
		}
		for _, f := range findings {
			if !showable(f.File) || !showable(f.Subject) || !showable(f.Skipped) {
				t.Fatalf("%+v", f)
			}
		}
		if err == nil {
			if _, err := pack.Encode(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

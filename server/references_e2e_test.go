package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"muster/attest"
	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/reference"
	"muster/server/servertest"
	"muster/server/verify"
)

// pack is what the control socket says of one pack.
type pack struct {
	Name, Source, Signer, Freshness, Problem string
	Number                                   uint64
	Counts                                   map[string]int
}

type imported struct {
	Pack     pack
	Same     bool
	Findings []reference.EKFinding
}

// listed returns the packs by name.
func listed(t *testing.T, srv *servertest.Server) map[string]pack {
	t.Helper()
	var list []pack
	if err := srv.Control("GET", "/reference", nil, &list); err != nil {
		t.Fatal(err)
	}
	packs := map[string]pack{}
	for _, p := range list {
		packs[p.Name] = p
	}
	if len(packs) != 3 {
		t.Fatalf("packs %+v", list)
	}
	return packs
}

func vouch(t *testing.T, srv *servertest.Server, virtual bool, text []byte) imported {
	t.Helper()
	var done imported
	err := srv.Control("POST", "/reference/ek-roots", server.EKBundle{Virtual: virtual, Files: []reference.BundleFile{{Name: "ca.pem", Data: text}}}, &done)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// denial is a key's name on the deny list.
func denial(t *testing.T, text []byte) string {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

func deny(t *testing.T, srv *servertest.Server, spki string, remove bool) (done imported) {
	t.Helper()
	body := map[string]any{"spki_sha256": spki, "remove": remove}
	if err := srv.Control("POST", "/reference/deny", body, &done); err != nil {
		t.Fatal(err)
	}
	return done
}

// enrols makes a laptop with a chip, and returns what became of it.
func enrols(t *testing.T, srv *servertest.Server, chip *tpmtest.TPM) server.DeviceView {
	t.Helper()
	laptop := srv.Laptop("laptop", chip.Setting(), srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
	return srv.Device(laptop.Enrol().Device)
}

// TestImportedRoots: CAs that are imported into a running server vouch at once and
// after a restart, apart for virtual TPMs, and no more when they are denied.
func TestImportedRoots(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t)
	stranger := tpmtest.Start(t)
	if d := enrols(t, srv, stranger); d.State != attest.Pending || d.Cause != "ek-chain-unknown" {
		t.Errorf("without any CA: %s, %s", d.State, d.Cause)
	}
	first, second, third := tpmtest.Start(t), tpmtest.Start(t), tpmtest.Start(t)
	done := vouch(t, srv, false, first.Roots())
	if done.Same || len(done.Findings) < 2 || done.Findings[0].Kind != reference.OwnCA || done.Pack.Counts["hardware_roots"] != 1 {
		t.Errorf("import: %+v", done)
	}
	if d := enrols(t, srv, first); d.State != attest.Active || d.Level != verify.TPMHardware {
		t.Errorf("with its CA: %s, %s", d.State, d.Cause)
	}
	if again := vouch(t, srv, false, first.Roots()); !again.Same || again.Pack.Number != done.Pack.Number {
		t.Errorf("the same again: %+v", again)
	}
	vouch(t, srv, true, second.Roots())
	if d := enrols(t, srv, second); d.State != attest.Pending || d.Level != verify.VTPM {
		t.Errorf("with a virtual TPM's CA: %s at %s", d.State, d.Level)
	}
	vouch(t, srv, false, third.Roots())
	denied := deny(t, srv, denial(t, third.Roots()), false)
	if denied.Same || denied.Pack.Counts["denied"] != 1 || !deny(t, srv, denial(t, third.Roots()), false).Same {
		t.Errorf("denying: %+v", denied)
	}
	srv.Restart()
	if d := enrols(t, srv, third); d.State != attest.Pending || d.Cause != "ek-denied" || d.Level != verify.TPMUnverified {
		t.Errorf("with a denied CA: %s, %s at %s", d.State, d.Cause, d.Level)
	}
	if p := listed(t, srv)["ek-roots"]; p.Source != "put together here" || p.Counts["hardware_roots"] != 2 || p.Counts["virtual_roots"] != 1 || p.Freshness != "fresh" {
		t.Errorf("after a restart: %+v", p)
	}
}

// TestDeniedKeyOfSettings: the deny list binds the settings' CAs too, and an
// endorsement key by its own hash, listed or not.
func TestDeniedKeyOfSettings(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	srv := servertest.Start(t, func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ca.pem", string(chip.Roots()))}
	})
	deny(t, srv, denial(t, chip.Roots()), false)
	if d := enrols(t, srv, chip); d.State != attest.Pending || d.Cause != "ek-denied" {
		t.Errorf("a denied CA of the settings: %s, %s", d.State, d.Cause)
	}
	other := servertest.Start(t, func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ca.pem", string(chip.Roots()))}
	})
	d := enrols(t, other, chip)
	if d.Level != verify.TPMHardware || d.EKSHA256 == "" {
		t.Fatalf("%s, EK %q", d.Level, d.EKSHA256)
	}
	third := servertest.Start(t, func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ca.pem", string(chip.Roots()))}
	})
	deny(t, third, d.EKSHA256, false)
	if d := enrols(t, third, chip); d.State != attest.Pending || d.Cause != "ek-denied" {
		t.Errorf("a denied chip: %s, %s", d.State, d.Cause)
	}
	if !deny(t, third, strings.Repeat("0", 64), true).Same {
		t.Error("what was not denied was allowed")
	}
	if allowed := deny(t, third, d.EKSHA256, true); allowed.Same || allowed.Pack.Counts["denied"] != 0 {
		t.Errorf("allowed again: %+v", allowed)
	}
}

// TestDeniedLater: what is denied binds laptops that enrolled before, at once and
// after a restart, until it is allowed again.
func TestDeniedLater(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	srv := servertest.Start(t, func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ca.pem", string(chip.Roots()))}
	})
	laptop := enrols(t, srv, chip)
	counts := func(when string, level verify.Level) {
		t.Helper()
		d := srv.Device(laptop.ID)
		found := slices.ContainsFunc(d.Result.Findings, func(f verify.Finding) bool { return f.Code == verify.FindingDenied })
		if d.Level != level || d.State != attest.Active || found != (level != verify.TPMHardware) {
			t.Errorf("%s: %s, %s, findings %+v", when, d.Level, d.State, d.Result.Findings)
		}
	}
	counts("before", verify.TPMHardware)
	for what, spki := range map[string]string{"its CA": denial(t, chip.Roots()), "its key": laptop.EKSHA256} {
		deny(t, srv, strings.Repeat("a", 64), false)
		counts("something else is denied", verify.TPMHardware)
		deny(t, srv, spki, false)
		counts(what+" is denied", verify.TPMUnverified)
		srv.Restart()
		counts(what+" is denied, after a restart", verify.TPMUnverified)
		deny(t, srv, spki, true)
		counts(what+" is allowed again", verify.TPMHardware)
	}
}

func refusedWith(t *testing.T, what, code string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "("+code+")") {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// export returns a pack that a server signed, and key the file of its public key.
func export(t *testing.T, srv *servertest.Server, name string) []byte {
	t.Helper()
	var p struct{ Pack string }
	if err := srv.Control("GET", "/reference/packs/"+name, nil, &p); err != nil {
		t.Fatal(err)
	}
	return []byte(p.Pack)
}

func publicKey(t *testing.T, srv *servertest.Server) (id, file string) {
	t.Helper()
	var key struct{ KID, JWK, PEM string }
	if err := srv.Control("GET", "/reference/key", nil, &key); err != nil {
		t.Fatal(err)
	}
	return key.KID, servertest.File(t, "packs.pem", key.PEM)
}

// TestPacksTravel takes EK roots from one server to another, which accepts them
// because it was told the first one's key, and nothing older.
func TestPacksTravel(t *testing.T) {
	t.Parallel()
	maker := servertest.Start(t)
	chip, other := tpmtest.Start(t), tpmtest.Start(t)
	vouch(t, maker, false, chip.Roots())
	first := export(t, maker, "ek-roots")
	id, file := publicKey(t, maker)
	maker.Restart()
	if again, _ := publicKey(t, maker); again != id {
		t.Error("the key of packs changed over a restart")
	}
	vouch(t, maker, false, other.Roots())
	second := export(t, maker, "ek-roots")

	taker := servertest.Start(t)
	refusedWith(t, "a stranger's pack", "pack-signer", taker.Control("POST", "/reference/packs", first, nil))
	if p := listed(t, taker)["ek-roots"]; p.Number != 0 || p.Counts["hardware_roots"] != 0 {
		t.Errorf("after a refusal: %+v", p)
	}
	told := servertest.Start(t, func(c *server.Config) { c.ReferenceKeys = []string{file} })
	var done imported
	if err := told.Control("POST", "/reference/packs", first, &done); err != nil {
		t.Fatal(err)
	}
	if done.Pack.Signer != id || done.Pack.Source != "imported" || done.Pack.Counts["hardware_roots"] != 1 {
		t.Errorf("import: %+v", done)
	}
	if d := enrols(t, told, chip); d.Level != verify.TPMHardware {
		t.Errorf("with an imported pack: %s", d.Level)
	}
	if err := told.Control("POST", "/reference/packs", first, &done); err != nil || !done.Same {
		t.Errorf("the same again: %+v %v", done, err)
	}
	var next imported
	if err := told.Control("POST", "/reference/packs", second, &next); err != nil || next.Same || next.Pack.Counts["hardware_roots"] != 2 {
		t.Errorf("the next: %+v %v", next, err)
	}
	refusedWith(t, "the one before", "pack-rollback", told.Control("POST", "/reference/packs", first, nil))
	// What is denied here stays so, whatever a pack says; nor can it be undone by one.
	deny(t, told, denial(t, chip.Roots()), false)
	refusedWith(t, "the same, after a key was denied", "pack-rollback", told.Control("POST", "/reference/packs", second, nil))
}

// TestSignedPackKeepsDenials imports a newer pack over a denial.
func TestSignedPackKeepsDenials(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t)
	chip, other := tpmtest.Start(t), tpmtest.Start(t)
	vouch(t, srv, false, chip.Roots())
	_, file := publicKey(t, srv)
	taker := servertest.Start(t, func(c *server.Config) { c.ReferenceKeys = []string{file} })
	deny(t, taker, denial(t, chip.Roots()), false)
	servertest.Wait(t, "a second later", func() bool {
		vouch(t, srv, true, other.Roots())
		deny(t, srv, strings.Repeat("a", 64), false)
		return deny(t, srv, strings.Repeat("a", 64), true).Pack.Number > listed(t, taker)["ek-roots"].Number
	})
	var done imported
	if err := taker.Control("POST", "/reference/packs", export(t, srv, "ek-roots"), &done); err != nil {
		t.Fatal(err)
	}
	if done.Pack.Counts["denied"] != 1 || done.Pack.Counts["hardware_roots"] != 1 {
		t.Errorf("import: %+v", done)
	}
	if d := enrols(t, taker, chip); d.Cause != "ek-denied" {
		t.Errorf("denied here, vouched for by the pack: %s", d.Cause)
	}
}

func TestBootPack(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t)
	builtIn, err := reference.DefaultBoot()
	if err != nil {
		t.Fatal(err)
	}
	if p := listed(t, srv)["boot"]; p.Source != "built in" || p.Number != builtIn.Number || p.Counts["dbx_levels"] != len(builtIn.DBX) {
		t.Errorf("%+v", p)
	}
	// Its own, exported and imported again, is no change.
	var done imported
	if err := srv.Control("POST", "/reference/packs", export(t, srv, "boot"), &done); err != nil || !done.Same || done.Pack.Source != "built in" {
		t.Errorf("its own: %+v %v", done, err)
	}
	for path, code := range map[string]string{"/reference/packs/mds": "pack-missing", "/reference/packs/other": "pack-missing", "/reference/packs/ek-roots": "pack-missing"} {
		refusedWith(t, path, code, srv.Control("GET", path, nil, nil))
	}
	for what, body := range map[string][]byte{"words": []byte("hello"), "nothing": {}, "unsigned": []byte("e30.e30.")} {
		refusedWith(t, what, "pack-form", srv.Control("POST", "/reference/packs", body, nil))
	}
	bundle := func(data []byte) server.EKBundle {
		return server.EKBundle{Files: []reference.BundleFile{{Name: "ca.pem", Data: data}}}
	}
	refusedWith(t, "a bundle of words", "pack-form", srv.Control("POST", "/reference/ek-roots", bundle([]byte("hello")), nil))
	refusedWith(t, "no bundle", "pack-form", srv.Control("POST", "/reference/ek-roots", server.EKBundle{Files: []reference.BundleFile{}}, nil))
	for _, spki := range []string{"", "hello", strings.Repeat("A", 64)} {
		refusedWith(t, "denying "+spki, "spki-form", srv.Control("POST", "/reference/deny", map[string]string{"spki_sha256": spki}, nil))
	}
}

// TestNewerBootPack: a signed pack that is newer than the program's is used at once
// and after a restart, and is not followed by an older one.
func TestNewerBootPack(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, public, err := reference.PackKeyTexts(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	builtIn, err := reference.DefaultBoot()
	if err != nil {
		t.Fatal(err)
	}
	pack := func(number uint64) []byte {
		b := *builtIn
		b.Number, b.TPMs = number, nil
		content, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		file, err := (&reference.Pack{Name: reference.PackBoot, Number: number, Date: b.Date, Content: content}).Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	srv := servertest.Start(t, func(c *server.Config) {
		c.ReferenceKeys = []string{servertest.File(t, "packs.pem", string(public))}
	})
	for what, number := range map[string]uint64{"older": builtIn.Number - 1, "of the same number": builtIn.Number} {
		refusedWith(t, what, "pack-rollback", srv.Control("POST", "/reference/packs", pack(number), nil))
	}
	if p := listed(t, srv)["boot"]; p.Source != "built in" {
		t.Errorf("after refusals: %+v", p)
	}
	laptop := enrols(t, srv, tpmtest.Start(t))
	if got := laptop.Result.Boot.References; got != builtIn.Number {
		t.Errorf("a laptop is judged by number %d", got)
	}
	for _, number := range []uint64{builtIn.Number + 1, builtIn.Number + 5} {
		var done imported
		if err := srv.Control("POST", "/reference/packs", pack(number), &done); err != nil || done.Same || done.Pack.Number != number || done.Pack.Source != "imported" {
			t.Errorf("number %d: %+v %v", number, done, err)
		}
	}
	refusedWith(t, "between", "pack-rollback", srv.Control("POST", "/reference/packs", pack(builtIn.Number+3), nil))
	srv.Restart()
	if p := listed(t, srv)["boot"]; p.Number != builtIn.Number+5 || p.Source != "imported" || p.Counts["tpms"] != 0 {
		t.Errorf("after a restart: %+v", p)
	}
	if got := srv.Device(laptop.ID).Result.Boot.References; got != builtIn.Number+5 {
		t.Errorf("after a restart a laptop is judged by number %d", got)
	}
	refusedWith(t, "older, after a restart", "pack-rollback", srv.Control("POST", "/reference/packs", pack(builtIn.Number+3), nil))
}

// TestRestoredRoots restores a backup that is older than the last change: what was
// denied since is not known, so that nobody vouches until it is said again.
func TestRestoredRoots(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t)
	chip := tpmtest.Start(t)
	vouch(t, srv, false, chip.Roots())
	before, _ := publicKey(t, srv)
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := srv.Control("POST", "/backup", server.BackupRequest{To: backup}, nil); err != nil {
		t.Fatal(err)
	}
	last := deny(t, srv, denial(t, chip.Roots()), false).Pack.Number
	srv.Stop()
	if _, err := server.Restore(t.Context(), srv.Config, backup, false); err != nil {
		t.Fatal(err)
	}
	srv.Start()
	p := listed(t, srv)["ek-roots"]
	if p.Problem == "" || p.Counts["hardware_roots"] != 0 {
		t.Errorf("restored: %+v", p)
	}
	if after, _ := publicKey(t, srv); after == before {
		t.Error("packs are signed with a key of which the backup has a copy")
	}
	refusedWith(t, "exporting what is gone", "pack-unreadable", srv.Control("GET", "/reference/packs/ek-roots", nil, nil))
	if d := enrols(t, srv, chip); d.State != attest.Pending || d.Cause != "ek-chain-unknown" {
		t.Errorf("restored: %s, %s", d.State, d.Cause)
	}
	if done := vouch(t, srv, false, chip.Roots()); done.Pack.Number <= last || done.Pack.Problem != "" || done.Pack.Counts["hardware_roots"] != 1 {
		t.Errorf("imported again: %+v", done)
	}
}

func TestReferenceKeysOfSettings(t *testing.T) {
	t.Parallel()
	for what, file := range map[string]string{"none": "/nowhere/key.pem", "no key": servertest.File(t, "key.pem", "hello")} {
		config := server.Config{DataDir: t.TempDir(), ReferenceKeys: []string{file}}
		_, err := server.OpenControl(t.Context(), config, nil)
		if err == nil || !strings.Contains(err.Error(), "reading a key of packs") {
			t.Errorf("%s: %v", what, errors.Unwrap(err))
		}
	}
}

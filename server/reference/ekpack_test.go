package reference

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// spki is what a deny list calls a certificate's key.
func spki(c *x509.Certificate) [32]byte { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

func ekPack(t *testing.T, files ...[]byte) *EKPack {
	t.Helper()
	p := NextEKPack(nil, 0, packDay)
	for _, f := range files {
		if _, err := p.Import([]BundleFile{{"ca.pem", f}}, false); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func rootsOf(t *testing.T, p *EKPack, base *EKRoots) *EKRoots {
	t.Helper()
	r, err := p.Roots(base)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The files of the settings and the pack vouch together; hardware and virtual
// never do.
func TestRoots(t *testing.T) {
	p := newPKI(t)
	base := new(EKRoots)
	var err error
	if base.Hardware, err = ParseAuthorities("ca.pem", p.rootPEM); err != nil {
		t.Fatal(err)
	}
	both := rootsOf(t, ekPack(t, p.middlePEM), base)
	if err := both.Hardware.Verify(p.leaf, nil); err != nil {
		t.Errorf("root of the settings, intermediate of the pack: %v", err)
	}
	if both.Virtual.Verify(p.leaf, nil) == nil || base.Hardware.Verify(p.leaf, nil) == nil {
		t.Error("a pack vouches beyond itself")
	}
	if roots, intermediates := rootsOf(t, ekPack(t, p.rootPEM, p.middlePEM), base).Hardware.Count(); roots != 1 || intermediates != 1 {
		t.Errorf("the same root in both: %d roots, %d intermediates", roots, intermediates)
	}
	virtual := NextEKPack(nil, 0, packDay)
	if _, err := virtual.Import([]BundleFile{{"v.pem", join(p.rootPEM, p.middlePEM)}}, true); err != nil {
		t.Fatal(err)
	}
	r := rootsOf(t, virtual, new(EKRoots))
	if r.Virtual.Verify(p.leaf, nil) != nil || r.Hardware.Verify(p.leaf, nil) == nil {
		t.Error("a virtual CA does not vouch for a virtual TPM, and for that alone")
	}
	findings, err := virtual.Import([]BundleFile{{"h.pem", p.rootPEM}}, false)
	if err == nil || len(findings) != 1 || !strings.Contains(findings[0].Skipped, "other kind") || len(virtual.Hardware) != 0 {
		t.Errorf("a virtual CA became hardware: %+v %v", findings, err)
	}
}

// A denied key anywhere in a chain refuses it, also where the certificate came
// beside the leaf, or stands in the settings.
func TestDenied(t *testing.T) {
	p := newPKI(t)
	for name, denied := range map[string]*x509.Certificate{"root": p.root, "intermediate": p.middle, "leaf": p.leaf} {
		pack := ekPack(t, p.rootPEM, p.middlePEM)
		if !pack.Deny(spki(denied)) || pack.Deny(spki(denied)) {
			t.Fatalf("%s: denying is not once", name)
		}
		r := rootsOf(t, pack, new(EKRoots))
		if err := r.Hardware.Verify(p.leaf, nil); !errors.Is(err, ErrDenied) {
			t.Errorf("%s denied: %v", name, err)
		}
		if !r.Denied(spki(denied)) || r.Denied([32]byte{1}) {
			t.Errorf("%s: the list is not told", name)
		}
		base := new(EKRoots)
		var err error
		if base.Hardware, err = ParseAuthorities("ca.pem", p.rootPEM); err != nil {
			t.Fatal(err)
		}
		only := NextEKPack(nil, 0, packDay)
		only.Deny(spki(denied))
		r = rootsOf(t, only, base)
		if err := r.Hardware.Verify(p.leaf, []*x509.Certificate{p.middle}); !errors.Is(err, ErrDenied) {
			t.Errorf("%s denied, root in the settings: %v", name, err)
		}
		if !pack.Allow(spki(denied)) || pack.Allow(spki(denied)) {
			t.Errorf("%s: allowing is not once", name)
		}
		if err := rootsOf(t, pack, new(EKRoots)).Hardware.Verify(p.leaf, nil); err != nil {
			t.Errorf("%s allowed again: %v", name, err)
		}
	}
}

// A certificate of a denied key under another name is denied too, and a chain
// that does without the denied key holds.
func TestDeniedKeyAnew(t *testing.T) {
	rootKey, otherKey, middleKey, leafKey := newKey(t), newKey(t), newKey(t), newKey(t)
	root, rootPEM := certify(t, "root", true, nil, rootKey, rootKey)
	other, otherPEM := certify(t, "other root", true, nil, otherKey, otherKey)
	first, firstPEM := certify(t, "middle", true, root, middleKey, rootKey)
	_, crossPEM := certify(t, "middle", true, other, middleKey, otherKey)
	leaf, _ := certify(t, "leaf", false, first, leafKey, middleKey)
	pack := ekPack(t, rootPEM, otherPEM, firstPEM, crossPEM)
	pack.Deny(spki(root))
	if err := rootsOf(t, pack, new(EKRoots)).Hardware.Verify(leaf, nil); err != nil {
		t.Errorf("the chain to the other root: %v", err)
	}
	pack.Deny(spki(first)) // the same key in the cross certificate
	if err := rootsOf(t, pack, new(EKRoots)).Hardware.Verify(leaf, nil); !errors.Is(err, ErrDenied) {
		t.Errorf("the key in another certificate: %v", err)
	}
}

func TestNextEKPack(t *testing.T) {
	now := time.Date(2027, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600))
	first := NextEKPack(nil, 0, now)
	if first.Number != 20270203030506 {
		t.Errorf("number %d", first.Number)
	}
	for _, highest := range []uint64{first.Number, first.Number + 5} {
		if again := NextEKPack(first, highest, now); again.Number != highest+1 {
			t.Errorf("after %d: %d", highest, again.Number)
		}
	}
	if again := NextEKPack(first, 0, now.AddDate(-1, 0, 0)); again.Number != first.Number+1 {
		t.Errorf("with a clock set back: %d", again.Number)
	}
	first.Deny([32]byte{5})
	next := NextEKPack(first, 0, now)
	next.Deny([32]byte{1})
	if len(first.Denied) != 1 || len(next.Denied) != 2 || next.Denied[0] != [32]byte{1} {
		t.Error("the next pack is not apart, or out of order")
	}
}

func TestEKPackEncode(t *testing.T) {
	p := newPKI(t)
	pack := ekPack(t, p.middlePEM, p.rootPEM, p.strangerRoot)
	pack.Deny([32]byte{9})
	pack.Deny([32]byte{3})
	text, err := pack.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeEKPack(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Hardware) != 3 || len(again.Denied) != 2 || again.Number != pack.Number || !again.Date.Equal(pack.Date) {
		t.Errorf("%+v", again)
	}
	b64 := base64.StdEncoding.EncodeToString
	leaf, _ := pem.Decode(p.leafPEM)
	first, second := b64(again.Hardware[0]), b64(again.Hardware[1])
	number := fmt.Sprint(pack.Number)
	for name, change := range map[string][2]string{
		"a leaf":                {first, b64(leaf.Bytes)},
		"garbage":               {first, "AAAA"},
		"a certificate cut":     {first, first[:len(first)-8]},
		"no base64":             {first, "?"},
		"out of order":          {first + `","` + second, second + `","` + first},
		"twice":                 {first + `","` + second, first + `","` + first},
		"virtual and hardware":  {`"virtual":[]`, `"virtual":["` + first + `"]`},
		"number nought":         {number, "0"},
		"a number too large":    {number, "4503599627370497"},
		"no number":             {`"number":` + number + `,`, ""},
		"a member unknown":      {`"virtual":[]`, `"virtual":[],"more":1`},
		"a member twice":        {`"virtual":[]`, `"virtual":[],"virtual":[]`},
		"a denied hash short":   {`"denied":["`, `"denied":["0`},
		"denied out of order":   {`"denied":["03`, `"denied":["0a`},
		"another form of empty": {`"virtual":[]`, `"virtual":null`},
		"a date that is none":   {`"date":"2027`, `"date":"0000`},
		"something behind":      {`"]}`, `"]}{}`},
		"cut off":               {`"]}`, `"]`},
	} {
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if changed == string(text) {
			t.Errorf("%s: nothing was changed", name)
		}
		if got, err := DecodeEKPack([]byte(changed)); err == nil || got != nil {
			t.Errorf("%s: decoded", name)
		}
	}
	if _, err := DecodeEKPack(bytes.Repeat([]byte(" "), maxPack+1)); err == nil {
		t.Error("huge: decoded")
	}
	for name, bad := range map[string]*EKPack{
		"none": nil, "no number": {Date: packDay}, "no date": {Number: 1},
		"too many denied":       {Number: 1, Date: packDay, Denied: make([][32]byte, maxDenied+1)},
		"too many certificates": {Number: 1, Date: packDay, Hardware: make([][]byte, maxEKCertificates+1)},
	} {
		if _, err := bad.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

func FuzzDecodeEKPack(f *testing.F) {
	f.Add([]byte(`{"number":1,"date":"2027-01-01T00:00:00Z","hardware":[],"virtual":[],"denied":["` + hashA + `"]}`))
	f.Add([]byte(`{"number":1,"date":"2027-01-01T00:00:00Z","hardware":["AAAA"],"virtual":[],"denied":[]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := DecodeEKPack(text)
		if err != nil {
			return
		}
		again, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		if json.Compact(&compact, text) != nil || !bytes.Equal(compact.Bytes(), again) {
			t.Fatal("one pack in two forms")
		}
		if _, err := p.Roots(new(EKRoots)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestKnown(t *testing.T) {
	counts := map[EKKind]int{}
	for _, kind := range knownSums() {
		counts[kind]++
	}
	if counts[KnownRoot] != 26 || counts[KnownIntermediate] != 143 || len(counts) != 2 {
		t.Errorf("%v", counts)
	}
	if kind := knownKind([]byte("a stranger")); kind != OwnCA {
		t.Errorf("a stranger is a %s", kind)
	}
}

// testData returns a file of the vendors' certificates, where the folder with
// them is.
func testData(t *testing.T, elements ...string) []byte {
	t.Helper()
	folder := os.Getenv("MUSTER_TEST_DATA")
	if folder == "" {
		t.Skip("MUSTER_TEST_DATA is not set: no vendor's certificates were read")
	}
	b, err := os.ReadFile(filepath.Join(append([]string{folder}, elements...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every vendor's certificate is told as what it is, and real ones of ST chain to
// them as they were read from the chips.
func TestVendorBundle(t *testing.T) {
	p := NextEKPack(nil, 0, packDay)
	for file, kind := range map[string]EKKind{"roots.pem": KnownRoot, "intermediates.pem": KnownIntermediate} {
		findings, err := p.Import([]BundleFile{{file, testData(t, "ek-roots", file)}}, false)
		if err != nil {
			t.Fatal(err)
		}
		want := map[EKKind]int{KnownRoot: 26, KnownIntermediate: 143}[kind]
		if len(findings) != want {
			t.Errorf("%s: %d findings", file, len(findings))
		}
		for _, f := range findings {
			if f.Kind != kind || f.Skipped != "" || !f.New || f.Root != (kind == KnownRoot) || f.Subject == "" {
				t.Errorf("%s: %+v", file, f)
			}
		}
	}
	r := rootsOf(t, p, new(EKRoots))
	if roots, intermediates := r.Hardware.Count(); roots != 26 || intermediates != 143 {
		t.Errorf("%d roots, %d intermediates", roots, intermediates)
	}
	var certificates []*x509.Certificate
	for _, file := range []string{"st_ecdsa_sha256_der.der", "st_sha256_with_rsa_der.der"} {
		c := realEK(t, testData(t, "ek-roots", "ek-certificates", file))
		certificates = append(certificates, c)
		if err := r.Hardware.Verify(c, nil); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if new(EKRoots).Hardware.Verify(c, nil) == nil || r.Virtual.Verify(c, nil) == nil {
			t.Errorf("%s chains to nothing", file)
		}
	}
	p.Deny(spki(certificates[0]))
	r = rootsOf(t, p, new(EKRoots))
	if err := r.Hardware.Verify(certificates[0], nil); !errors.Is(err, ErrDenied) {
		t.Errorf("a denied chip: %v", err)
	}
	if err := r.Hardware.Verify(certificates[1], nil); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
}

// realEK reads a certificate as it stands in a chip: its subject's alternative
// name is critical and not for Go, and package enroll reads it.
func realEK(t *testing.T, b []byte) *x509.Certificate {
	t.Helper()
	var whole asn1.RawValue // chips fill up behind it
	if _, err := asn1.Unmarshal(b, &whole); err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(whole.FullBytes)
	if err != nil {
		t.Fatal(err)
	}
	c.UnhandledCriticalExtensions = slices.DeleteFunc(c.UnhandledCriticalExtensions, func(id asn1.ObjectIdentifier) bool {
		return id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17})
	})
	return c
}

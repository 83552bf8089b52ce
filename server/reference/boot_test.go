package reference

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func builtIn(t testing.TB) *Boot {
	t.Helper()
	b, err := DefaultBoot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sum(t testing.TB, text string) [32]byte {
	t.Helper()
	s, err := ParseSum(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// The built-in pack is numbered by its day, and its facts are those of the sources
// that data/README.md names.
func TestDefaultBoot(t *testing.T) {
	b := builtIn(t)
	if day := b.Date.Format("20060102"); fmt.Sprint(b.Number) != day {
		t.Errorf("number %d of %s", b.Number, day)
	}
	for hash, want := range map[string]BootAuthority{
		"e8e95f0733a55e8bad7be0a1413ee23c51fcea64b3c8fa6a786935fddcc71961": {Name: "Microsoft Windows Production PCA 2011", Kind: WindowsCA},
		"076f1fea90ac29155ebf77c17682f75f1fdd1be196da302dc8461e350a9ae330": {Name: "Windows UEFI CA 2023", Kind: WindowsCA, Rollout: true},
		"48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507": {Name: "Microsoft Corporation UEFI CA 2011", Kind: UEFICA},
		"f6124e34125bee3fe6d79a574eaa7b91c0e7bd9d929c1a321178efd611dad901": {Name: "Microsoft UEFI CA 2023", Kind: UEFICA, Rollout: true},
		"3cd3f0309edae228767a976dd40d9f4affc4fbd5218f2e8cc3c9dd97e8ac6f9d": {Name: "Microsoft Corporation KEK 2K CA 2023", Kind: KeyExchange, Rollout: true},
		"079646974bce09b1f04da67bd722d1fb0947ae4c4010bccdbba52d5b23cbf1a2": {Name: "Debian Secure Boot CA", Kind: DistributionCA, LocksDown: true},
		"ed1fe72cb9ca31c9af5b757afcd733323d675825032e6ced7fe1ae9eb767998c": {Name: "Canonical Ltd. Master Certificate Authority", Kind: DistributionCA, LocksDown: true},
	} {
		want.SHA256 = sum(t, hash)
		if got, ok := b.Authority(want.SHA256); !ok || got != want {
			t.Errorf("%s: %+v", want.Name, got)
		}
	}
	for _, a := range b.Authorities {
		if a.LocksDown != (a.Kind == DistributionCA) {
			t.Errorf("%s locks down: %v", a.Name, a.LocksDown)
		}
		if _, test := b.Test(a.SHA256, a.Name); test {
			t.Errorf("%s is a test key too", a.Name)
		}
	}
	if _, ok := b.Authority([32]byte{}); ok {
		t.Error("the zero hash is an authority")
	}
	if _, ok := b.Authority([32]byte{1}); ok {
		t.Error("a stranger is an authority")
	}
}

// Exactly Microsoft's CAs of 2023 come to machines in use; one of 2011, of a
// distribution or of nobody never does.
func TestRollout(t *testing.T) {
	want := []string{
		"076f1fea90ac29155ebf77c17682f75f1fdd1be196da302dc8461e350a9ae330", // Windows UEFI CA 2023
		"3cd3f0309edae228767a976dd40d9f4affc4fbd5218f2e8cc3c9dd97e8ac6f9d", // KEK 2K CA 2023
		"e5be3e64c6e66a281457ecdece0d6d0787577aad2a3a0144262c10c14ba8d8f1", // Option ROM UEFI CA 2023
		"f6124e34125bee3fe6d79a574eaa7b91c0e7bd9d929c1a321178efd611dad901", // UEFI CA 2023
	}
	rollout := func(b *Boot) (got []string) {
		for _, a := range b.Authorities {
			if a.Rollout {
				got = append(got, fmt.Sprintf("%x", a.SHA256))
			}
		}
		slices.Sort(got)
		return got
	}
	b := builtIn(t)
	if got := rollout(b); !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
	text, err := b.Encode()
	if err != nil || bytes.Contains(text, []byte(`"rollout":false`)) {
		t.Fatalf("a rollout that is none is written: %v", err)
	}
	again, err := DecodeBoot(text)
	if err != nil || !slices.Equal(rollout(again), want) {
		t.Errorf("after a journey: %v", err)
	}
	if a, ok := b.Authority([32]byte{1}); ok || a.Rollout {
		t.Error("a stranger is rolled out")
	}
}

func TestTestKeys(t *testing.T) {
	b := builtIn(t)
	for _, test := range []struct {
		hash, subject string
		want          bool
	}{
		{"01adaf2c334e76a6479516daf618381898323d8f5e7a57bed12bad7ab229209d", "CN=renamed", true}, // the key that leaked
		{"282e8130b7070f107aaecc25d3992ca4440270860b09088792a5075fab0d13f8", "", true},
		{strings.Repeat("1", 64), "CN=DO NOT TRUST - AMI Test PK", true},
		{strings.Repeat("1", 64), "CN=do not ship - pk", true},
		{strings.Repeat("1", 64), "C=US,ST=Colorado,L=Fort Collins,O=SnakeOil", true},
		{strings.Repeat("1", 64), "CN=Lenovo Ltd. PK CA 2012", false},
		{strings.Repeat("0", 64), "", false},
		// Debian's own PK of its OVMF: the private half was never published.
		{"5fb05ed84c5170d542ed6a7b7487dd57b8faedb02f7e107b0409e1d22cac4169", "O=Debian,CN=Debian UEFI Secure Boot (PK/KEK key)", false},
	} {
		k, ok := b.Test(sum(t, test.hash), test.subject)
		if ok != test.want || ok && k.Source == "" {
			t.Errorf("%s %s: %v %+v", test.hash, test.subject, ok, k)
		}
	}
	if _, ok := new(Boot).Test([32]byte{1}, "DO NOT TRUST"); ok {
		t.Error("an empty pack knows a test key")
	}
}

func (l DBXLevel) without(n int) map[[32]byte]bool {
	left := maps.Clone(l.Hashes)
	for h := range left {
		if n--; n < 0 {
			break
		}
		delete(left, h)
	}
	return left
}

// A level is met by all of its hashes and by nothing less; order, twins and what
// else stands in a list do not matter.
func TestDBXLevelOf(t *testing.T) {
	b := builtIn(t)
	if n := len(b.DBX); n < 10 || b.DBX[n-1].Date.Before(time.Date(2026, 4, 9, 0, 0, 0, 0, time.UTC)) {
		t.Fatalf("%d levels", n)
	}
	all := map[[32]byte]bool{}
	for i, l := range b.DBX {
		maps.Copy(all, l.Hashes)
		got, newest, ok := b.DBXLevelOf(maps.Keys(all))
		if !ok || got.Name != l.Name || newest != (i == len(b.DBX)-1) {
			t.Errorf("list until %s: %s, newest %v", l.Name, got.Name, newest)
		}
		twice := slices.Concat(slices.Collect(maps.Keys(all)), slices.Collect(maps.Keys(all)), [][32]byte{{7}})
		if got, _, _ := b.DBXLevelOf(slices.Values(twice)); got.Name != l.Name {
			t.Errorf("list until %s, twice: %s", l.Name, got.Name)
		}
		if got, _, ok := (&Boot{DBX: []DBXLevel{l}}).DBXLevelOf(maps.Keys(l.without(1))); ok {
			t.Errorf("%s is met with a hash less: %s", l.Name, got.Name)
		}
	}
	if len(all) != 439 { // 443 that Microsoft lists less the four of data/README.md
		t.Errorf("%d hashes", len(all))
	}
	for name, list := range map[string][][32]byte{"empty": nil, "one stranger": {{1}}} {
		if got, _, ok := b.DBXLevelOf(slices.Values(list)); ok {
			t.Errorf("%s: %s", name, got.Name)
		}
	}
	if _, _, ok := (&Boot{DBX: []DBXLevel{{Name: "none"}}}).DBXLevelOf(slices.Values([][32]byte{{1}})); ok {
		t.Error("a level without hashes is met")
	}
}

// levelOf is the name of the level that a list meets; "" is none.
func levelOf(t *testing.T, b *Boot, list map[[32]byte]bool) string {
	t.Helper()
	level, newest, ok := b.DBXLevelOf(maps.Keys(list))
	if ok != (level.Name != "") || newest && level.Name != b.DBX[len(b.DBX)-1].Name {
		t.Errorf("level %q, newest %v, ok %v", level.Name, newest, ok)
	}
	return level.Name
}

// Whoever writes his own KEK writes his own dbx: no level's hashes alone meet it,
// nor do all levels but one.
func TestDBXLevelNeedsThoseBefore(t *testing.T) {
	b := builtIn(t)
	all := map[[32]byte]bool{}
	for i, l := range b.DBX {
		maps.Copy(all, l.Hashes)
		if got := levelOf(t, b, l.Hashes); i > 0 && got != "" {
			t.Errorf("the hashes of %s alone meet %s", l.Name, got)
		}
	}
	before := ""
	for _, l := range b.DBX {
		for h := range l.Hashes {
			left := maps.Clone(all)
			delete(left, h)
			want := before
			if l.Superseded[h] {
				want = b.DBX[len(b.DBX)-1].Name
			}
			if got := levelOf(t, b, left); got != want {
				t.Fatalf("all but %x of %s meet %q, not %q", h, l.Name, got, want)
			}
		}
		before = l.Name
	}
}

// Microsoft's lists of 2025-01-14 and 2026-06-09 had 245 and 288 of the hashes that
// are here, and are what a machine has that got no other.
func TestDBXLevelOfShorterLists(t *testing.T) {
	b := builtIn(t)
	for _, test := range []struct {
		until, without string
		hashes         int
	}{
		{"Microsoft 2024-11-01 x64", "", 412 - 16 - 151},
		{"Microsoft 2026-04-09 x64", "Microsoft 2023-05-01 x64", 439 - 151},
		{"Microsoft 2023-03-01 x64", "", 220 - 16},
	} {
		list := map[[32]byte]bool{}
		for _, l := range b.DBX {
			for h := range l.Hashes {
				if !l.Superseded[h] || test.without != "" && test.without != l.Name {
					list[h] = true
				}
			}
			if l.Name == test.until {
				break
			}
		}
		if got := levelOf(t, b, list); len(list) != test.hashes || got != test.until {
			t.Errorf("%d hashes until %s meet %q", len(list), test.until, got)
		}
	}
	// A level itself is met by nothing less than its hashes.
	last := b.DBX[6]
	if last.Name != "Microsoft 2023-05-01 x64" || len(last.Superseded) != len(last.Hashes) {
		t.Fatalf("%s: %d of %d are superseded", last.Name, len(last.Superseded), len(last.Hashes))
	}
	whole := map[[32]byte]bool{}
	for _, l := range b.DBX[:6] {
		maps.Copy(whole, l.Hashes)
	}
	maps.Copy(whole, last.without(1))
	if got := levelOf(t, &Boot{DBX: b.DBX[:7]}, whole); got != b.DBX[5].Name {
		t.Errorf("a hash less than %s meets %q", last.Name, got)
	}
}

func TestSBATLevelOf(t *testing.T) {
	b := builtIn(t)
	for text, want := range map[string]string{
		"sbat,1,2021030218\n":                                                                "2021030218",
		"sbat,1,2022052400\ngrub,2\n":                                                        "2022052400 automatic",
		"sbat,1,2022052400\nshim,2\ngrub,2\n":                                                "2022052400",
		"sbat,1,2022111500\nshim,2\ngrub,3\n":                                                "2022111500",
		"sbat,1,2023012900\nshim,2\ngrub,3\ngrub.debian,4\n":                                 "2023012900",
		"sbat,1,2024010900\nshim,4\ngrub,3\ngrub.debian,4\n":                                 "2024010900",
		"sbat,1,2024040900\nshim,4\ngrub,4\ngrub.peimage,2\n":                                "2024040900",
		"sbat,1,2025021800\nshim,4\ngrub,5\n":                                                "2025021800",
		"sbat,1,2025051000\r\nshim,4\r\ngrub,5\r\ngrub.proxmox,2\r\n\x00":                    "2025051000",
		"sbat,1,2030010100\nshim,9\ngrub,9\ngrub.proxmox,9\nsomething,7":                     "2025051000",
		"sbat,1,2030010100\nshim,3\ngrub,9\n":                                                "2023091900",
		"sbat,1,2025051000\n":                                                                "2021030218", // the date alone says nothing
		"":                                                                                   "",
		"\x00":                                                                               "",
		"sbat,2,2025051000\nshim,4\ngrub,5\ngrub.proxmox,2":                                  "",
		"shim,4\ngrub,5\ngrub.proxmox,2":                                                     "",
		"sbat,1,2025051000\nshim,4\nshim,1\ngrub,5\ngrub.proxmox,2":                          "", // which of them counts?
		"sbat,1,2025051000\nshim,-4\ngrub,5\ngrub.proxmox,2":                                 "",
		"sbat,1,2025051000\nshim,0\ngrub,5\ngrub.proxmox,2":                                  "",
		"sbat,1,2025051000\nshim,4444444444444444444\ngrub,5\ngrub.proxmox,2":                "",
		"sbat,1,2025051000\nshim\ngrub,5\ngrub.proxmox,2":                                    "",
		"sbat,1,2025051000\n\nshim,4\ngrub,5\ngrub.proxmox,2":                                "",
		"sbat,1,2025051000\n,4\ngrub,5\ngrub.proxmox,2":                                      "",
		"sbat,1,2025051000\nshim,4\ngrub,5\ngrub.proxmox,2" + strings.Repeat("\nx", maxSBAT): "",
	} {
		level, newest, ok := b.SBATLevelOf(text)
		if ok != (want != "") || level.Name != want || newest != (want == "2025051000") {
			t.Errorf("%.60q: %q, newest %v", text, level.Name, newest)
		}
	}
}

func TestWeak(t *testing.T) {
	version := func(text string) uint64 {
		var f firmwareText
		if err := f.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return uint64(f)
	}
	for _, test := range []struct{ maker, firmware, cve, level string }{
		{"STM", "71.12.0.0", "CVE-2019-16863", "tpm-unverified"},
		{"STM ", "73.8.17568.6659", "CVE-2019-16863", "tpm-unverified"},
		{"STM\x00", "74.16.0.0", "CVE-2019-16863", "tpm-unverified"},
		{"STM", "71.16.0.0", "", ""},
		{"STM", "73.20.0.0", "", ""},
		{"STM", "73.64.17568.6659", "", ""},
		{"STM", "1.257.0.0", "", ""},
		{"IFX", "7.61.2785.0", "CVE-2017-15361", "tpm-listed"},
		{"IFX", "5.61.65535.65535", "CVE-2017-15361", "tpm-listed"},
		{"IFX", "7.62.3126.0", "", ""},
		{"IFX", "7.85.4555.0", "", ""},
		{"IFX", "15.21.0.0", "CVE-2025-2884", "tpm-hw"},
		{"IFX", "15.23.0.0", "", ""},
		{"NTC", "1.3.2.8", "CVE-2023-1017", "tpm-hw"},
		{"NTC", "1.3.2.20", "", ""},
		{"NTC", "7.2.3.1", "CVE-2026-6923", "tpm-hw"},
		{"NTC", "7.2.4.0", "", ""},
		{"INTC", "7.61.0.0", "", ""},
		{"", "7.61.0.0", "", ""},
		{"IFX", "0.0.0.0", "", ""},
	} {
		var cves, caps []string
		for _, w := range builtIn(t).Weak(test.maker, version(test.firmware)) {
			cves, caps = append(cves, w.CVE), append(caps, w.Cap)
		}
		if strings.Join(cves, " ") != test.cve || strings.Join(caps, " ") != test.level {
			t.Errorf("%q %s: %v %v", test.maker, test.firmware, cves, caps)
		}
	}
	open := &Boot{TPMs: []WeakTPM{{Manufacturer: "X", From: 5, CVE: "all from 5 on"}}}
	if len(open.Weak("X", 4)) != 0 || len(open.Weak("X", 5)) != 1 || len(open.Weak("X", 1<<63)) != 1 {
		t.Error("a range without an end")
	}
}

// What is written is read, and is the same.
func TestBootEncode(t *testing.T) {
	b := builtIn(t)
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, bootData); err != nil || !bytes.Equal(compact.Bytes(), text) {
		t.Errorf("the built-in pack is not in the form of Encode: %v", err)
	}
	again, err := DecodeBoot(text)
	if err != nil {
		t.Fatal(err)
	}
	if text2, err := again.Encode(); err != nil || !bytes.Equal(text, text2) {
		t.Errorf("a second encoding differs: %v", err)
	}
	if _, err := (*Boot)(nil).Encode(); err == nil {
		t.Error("no pack was encoded")
	}
}

const smallBoot = `{"number":20270101,"date":"2027-01-01",` +
	`"authorities":[{"sha256":"` + hashA + `","name":"A","kind":"windows"}],` +
	`"test_keys":[{"sha256":"` + hashB + `","source":"S"},{"subject":"DO NOT TRUST","source":"S"}],` +
	`"dbx":[{"name":"one","date":"2026-01-01","hashes":["` + hashA + `","` + hashB + `"],"superseded":["` + hashA + `"]}],` +
	`"sbat":[{"name":"one","date":"2026-01-01","components":{"grub":2}}],` +
	`"tpms":[{"manufacturer":"IFX","from":"7.0.0.0","before":"7.62.0.0","cve":"C","text":"T","cap":"tpm-listed"}]}`

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestDecodeBootRefuses(t *testing.T) {
	if _, err := DecodeBoot([]byte(smallBoot)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"a member that is unknown":     {`"dbx":`, `"extra":1,"dbx":`},
		"a member twice":               {`"dbx":`, `"number":20270102,"dbx":`},
		"a member in capitals":         {`"number"`, `"Number"`},
		"a member twice within":        {`"kind":"windows"`, `"kind":"windows","kind":"windows"`},
		"another order":                {`"name":"A","kind":"windows"`, `"kind":"windows","name":"A"`},
		"no number":                    {`"number":20270101,`, ``},
		"number zero":                  {`20270101`, `0`},
		"a number too large":           {`20270101`, `4503599627370497`},
		"a negative number":            {`20270101`, `-1`},
		"a fraction":                   {`20270101`, `1.5`},
		"no date":                      {`"2027-01-01"`, `""`},
		"a date that is none":          {`2027-01-01`, `2027-02-30`},
		"the year nought":              {`"date":"2027-01-01"`, `"date":"0001-01-01"`},
		"a hash that is short":         {hashA, hashA[1:]},
		"a hash in capitals":           {hashA, strings.ToUpper(hashA)},
		"the zero hash":                {`{"sha256":"` + hashA, `{"sha256":"` + strings.Repeat("0", 64)},
		"a kind that is unknown":       {`"windows"`, `"anybody"`},
		"an authority without a name":  {`"name":"A"`, `"name":""`},
		"a rollout that is told false": {`"kind":"windows"`, `"kind":"windows","rollout":false`},
		"a rollout that is no bool":    {`"kind":"windows"`, `"kind":"windows","rollout":"yes"`},
		"a name for a terminal":        {`"name":"A"`, `"name":"A\u001b[2J"`},
		"a test key that is trusted":   {`"test_keys":[{"sha256":"` + hashB, `"test_keys":[{"sha256":"` + hashA},
		"a test key without source":    {`"source":"S"`, `"source":""`},
		"a subject of one letter":      {`"DO NOT TRUST"`, `"C"`},
		"both hash and subject":        {`{"subject":`, `{"sha256":"` + hashA + `","subject":`},
		"a level without hashes":       {`["` + hashA + `","` + hashB + `"]`, `[]`},
		"hashes out of order":          {`["` + hashA + `","` + hashB + `"]`, `["` + hashB + `","` + hashA + `"]`},
		"a hash twice":                 {`["` + hashA + `","` + hashB + `"]`, `["` + hashA + `","` + hashA + `"]`},
		"a superseded stranger":        {`"superseded":["` + hashA, `"superseded":["` + strings.Repeat("c", 64)},
		"superseded twice":             {`"superseded":["` + hashA + `"`, `"superseded":["` + hashA + `","` + hashA + `"`},
		"superseded out of order":      {`"superseded":["` + hashA + `"`, `"superseded":["` + hashB + `","` + hashA + `"`},
		"superseded, and nothing":      {`"superseded":["` + hashA + `"]`, `"superseded":[]`},
		"superseded null":              {`"superseded":["` + hashA + `"]`, `"superseded":null`},
		"no components":                {`{"grub":2}`, `null`},
		"generation nought":            {`{"grub":2}`, `{"grub":0}`},
		"a generation too large":       {`{"grub":2}`, `{"grub":65536}`},
		"an empty range":               {`"before":"7.62.0.0"`, `"before":"7.0.0.0"`},
		"a version of three numbers":   {`"7.62.0.0"`, `"7.62.0"`},
		"a version out of bounds":      {`"7.62.0.0"`, `"7.62.0.65536"`},
		"a cap that is no level":       {`"tpm-listed"`, `"best"`},
		"a maker of five letters":      {`"IFX"`, `"IFXXX"`},
		"a maker with filling":         {`"IFX"`, `"IFX "`},
		"no list":                      {`"tpms":[{"manufacturer":"IFX","from":"7.0.0.0","before":"7.62.0.0","cve":"C","text":"T","cap":"tpm-listed"}]`, `"tpms":null`},
		"something behind":             {`"tpm-listed"}]}`, `"tpm-listed"}]}{}`},
		"cut off":                      {`"tpm-listed"}]}`, `"tpm-listed"}]`},
	} {
		text := strings.Replace(smallBoot, change[0], change[1], 1)
		if text == smallBoot {
			t.Errorf("%s: nothing was changed", name)
		}
		if b, err := DecodeBoot([]byte(text)); err == nil || b != nil {
			t.Errorf("%s: decoded", name)
		}
	}
	two := strings.Replace(smallBoot, `]}],"sbat"`, `]},{"name":"two","date":"2025-12-31","hashes":["`+hashA+`"]}],"sbat"`, 1)
	for name, text := range map[string]string{"nothing": "", "null": "null", "a list": "[]", "levels out of order": two,
		"huge": strings.Repeat(" ", maxBoot) + smallBoot, "deep": strings.Repeat("[", 100000)} {
		if _, err := DecodeBoot([]byte(text)); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

func FuzzDecodeBoot(f *testing.F) {
	f.Add(bootData)
	f.Add([]byte(smallBoot))
	f.Add([]byte(strings.Replace(smallBoot, `"7.0.0.0"`, `"7.00.0.0"`, 1)))
	f.Add([]byte(`{"number":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := DecodeBoot(text)
		if err != nil {
			if b != nil {
				t.Fatal("a pack beside an error")
			}
			return
		}
		again, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		if json.Compact(&compact, text) != nil || !bytes.Equal(compact.Bytes(), again) {
			t.Fatal("one pack in two forms")
		}
		for _, a := range b.Authorities {
			if _, test := b.Test(a.SHA256, ""); test {
				t.Fatal("an authority is a test key")
			}
		}
		if _, _, ok := b.DBXLevelOf(slices.Values([][32]byte{})); ok {
			t.Fatal("an empty list meets a level")
		}
	})
}

func FuzzSBAT(f *testing.F) {
	f.Add("sbat,1,2021030218\n")
	f.Add("sbat,1,2025051000\nshim,4\ngrub,5\ngrub.proxmox,2\n")
	f.Add("sbat,1,2025051000\nshim,4\nshim,1\n")
	b := builtIn(f)
	f.Fuzz(func(t *testing.T, text string) {
		level, _, ok := b.SBATLevelOf(text)
		if !ok && level.Name != "" {
			t.Fatal("a level beside no")
		}
		for component, least := range level.Components {
			if !strings.Contains(text, component+",") {
				t.Fatalf("%s, %d is met by a text without it", component, least)
			}
		}
	})
}

// A pack that was copied and given other levels is judged by those.
func TestDBXLevelOfCopy(t *testing.T) {
	b := *builtIn(t)
	last := b.DBX[len(b.DBX)-1]
	b.DBX = []DBXLevel{{Name: "own", Date: last.Date, Hashes: map[[32]byte]bool{{1}: true}}}
	if got, newest, ok := b.DBXLevelOf(slices.Values([][32]byte{{1}})); !ok || !newest || got.Name != "own" {
		t.Errorf("%q, newest %v", got.Name, newest)
	}
	if got, _, ok := b.DBXLevelOf(maps.Keys(last.Hashes)); ok {
		t.Errorf("the levels of another pack are met: %q", got.Name)
	}
	b.DBX = slices.Repeat(b.DBX, len(builtIn(t).DBX)) // as many as there were
	if got, _, ok := b.DBXLevelOf(maps.Keys(last.Hashes)); ok {
		t.Errorf("the levels of another pack are met: %q", got.Name)
	}
	b.DBX = nil
	if _, _, ok := b.DBXLevelOf(maps.Keys(last.Hashes)); ok {
		t.Error("a pack without levels has one that is met")
	}
}

// A whole dbx is judged for each boot.
func BenchmarkBoot(b *testing.B) {
	refs := builtIn(b)
	var all [][32]byte
	for _, l := range refs.DBX {
		all = slices.AppendSeq(all, maps.Keys(l.Hashes))
	}
	b.ReportAllocs()
	for b.Loop() {
		refs.DBXLevelOf(slices.Values(all))
		refs.SBATLevelOf("sbat,1,2025051000\nshim,4\ngrub,5\ngrub.proxmox,2\n")
		refs.Authority(refs.Authorities[len(refs.Authorities)-1].SHA256)
		refs.Test([32]byte{1}, "CN=Lenovo Ltd. PK CA 2012,O=Lenovo Ltd.,L=Yokohama,ST=Kanagawa,C=JP")
	}
}

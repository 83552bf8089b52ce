package evidence

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"muster/attest/bootlog"
	"muster/attest/posture"
)

// realLogs are the logs of attest/bootlog, whose README says where they are from,
// and what their Secure Boot must be.
func realLogs() map[string]posture.State {
	return map[string]posture.State{
		"d13-sb-shim-grub": posture.Yes, "sb-shim-grub": posture.Yes, "sb-systemd-luks": posture.Yes,
		"nosb-direct-tis": posture.No, "nosb-grub-linuxefi": posture.No,
	}
}

// realLog reads one of them.
func realLog(t testing.TB, name string) (log, pcrs []byte) {
	t.Helper()
	dir := filepath.Join("..", "..", "attest", "bootlog", "testdata", name)
	log, err := os.ReadFile(filepath.Join(dir, "binary_bios_measurements"))
	if err != nil {
		t.Fatal(err)
	}
	if pcrs, err = os.ReadFile(filepath.Join(dir, "pcrs.json")); err != nil {
		t.Fatal(err)
	}
	return log, pcrs
}

type values map[string]map[string]string

// given reads PCR values for a test to change.
func given(t testing.TB, pcrs []byte) (v values) {
	t.Helper()
	if err := json.Unmarshal(pcrs, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v values) text() []byte {
	b, _ := json.Marshal(v) // maps of text
	return b
}

func judged(t testing.TB, log, pcrs []byte) *BootReport {
	t.Helper()
	r, err := Bootlog(log, pcrs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBootlog(t *testing.T) {
	for name, want := range realLogs() {
		log, pcrs := realLog(t, name)
		r := judged(t, log, pcrs)
		if c := r.Claims["secure_boot"]; c.State != want || c.PCR == nil || *c.PCR != 7 || c.Event == nil {
			t.Errorf("%s: Secure Boot is %+v, not %v", name, c, want)
		}
		if r.Bank != "sha256" || r.WeakBank || r.Format != "tcg2" || r.Events < 20 || len(r.Claims) < 8 {
			t.Errorf("%s: %s log of %d events, judged by %q, %d claims", name, r.Format, r.Events, r.Bank, len(r.Claims))
		}
		for bank, given := range given(t, pcrs) {
			if len(r.PCRs[bank]) != len(given) {
				t.Errorf("%s: %d statuses for %d values of %s", name, len(r.PCRs[bank]), len(given), bank)
			}
			for i, want := range map[string]bootlog.Status{"0": bootlog.Match, "4": bootlog.Match, "7": bootlog.Match, "10": bootlog.Unlogged, "16": bootlog.Empty, "17": bootlog.Empty} {
				if got := r.PCRs[bank][i]; got != want {
					t.Errorf("%s: PCR %s of %s is %v, not %v", name, i, bank, got, want)
				}
			}
		}
	}
}

// Without values nothing is bound: every claim is unknown with that reason, and only
// people are told what the log says, marked as such.
func TestBootlogWithoutValues(t *testing.T) {
	log, pcrs := realLog(t, "sb-shim-grub")
	onlyOther := given(t, pcrs)
	for bank := range onlyOther {
		delete(onlyOther, bank)
	}
	onlyOther["sha512"] = map[string]string{"7": digits(64), "16": strings.Repeat("00", 64), "17": strings.Repeat("ff", 64), "0": strings.Repeat("ff", 64)}
	for name, test := range map[string]struct {
		pcrs   []byte
		reason posture.Reason
	}{
		"none":         {nil, reasonNoValues},
		"no bank":      {[]byte(`{}`), reasonNoValues},
		"empty bank":   {[]byte(`{"sha256": {}}`), reasonNoValues},
		"unknown bank": {[]byte(`{"sm3_256": {"7": "` + digits(32) + `"}}`), reasonNoValues},
		"other bank":   {onlyOther.text(), reasonNoBank},
	} {
		r := judged(t, log, test.pcrs)
		for claim, c := range r.Claims {
			if c.State != posture.Unknown || c.Reason != test.reason || c.Event != nil {
				t.Errorf("%s: %s is %+v", name, claim, c)
			}
		}
		if len(r.Claims) < 8 || r.Bank != "" {
			t.Errorf("%s: %d claims from bank %q", name, len(r.Claims), r.Bank)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("grubx64")) || bytes.Contains(b, []byte(`"known":true`)) {
			t.Errorf("%s: JSON has what nothing binds: %s", name, b)
		}
		var text bytes.Buffer
		if err := r.Text(&text); err != nil {
			t.Fatal(err)
		}
		said, unconfirmed, marked := strings.Cut(text.String(), "UNCONFIRMED")
		if !marked || strings.Contains(said, "grubx64") || !strings.Contains(unconfirmed, "grubx64") {
			t.Errorf("%s: the text does not mark what is not confirmed", name)
		}
	}
	r := judged(t, log, onlyOther.text())
	for i, want := range map[string]bootlog.Status{"0": bootlog.Unlogged, "7": bootlog.Unlogged, "16": bootlog.Empty, "17": bootlog.Empty} {
		if got := r.PCRs["sha512"][i]; got != want {
			t.Errorf("PCR %s of a bank that the log has not is %v, not %v", i, got, want)
		}
	}
}

// Claims come from the bank of quotes; when that does not match, no other is asked.
func TestBootlogAsksOneBank(t *testing.T) {
	log, pcrs := realLog(t, "sb-shim-grub")
	wrong := given(t, pcrs)
	wrong["sha256"]["7"] = digits(32)
	r := judged(t, log, wrong.text())
	if c := r.Claims["secure_boot"]; r.Bank != "sha256" || c.State != posture.Unknown || c.Reason == "" {
		t.Errorf("with another PCR 7 in SHA-256: %+v from %s", c, r.Bank)
	}
	if r.PCRs["sha256"]["7"] != bootlog.Mismatch || r.PCRs["sha384"]["7"] != bootlog.Match || r.PCRs["sha256"]["4"] != bootlog.Match {
		t.Errorf("statuses are %v", r.PCRs)
	}
	for _, test := range []struct {
		without []string
		bank    string
		weak    bool
	}{{nil, "sha256", false}, {[]string{"sha256"}, "sha384", false}, {[]string{"sha256", "sha384"}, "sha1", true}} {
		v := given(t, pcrs)
		for _, bank := range test.without {
			delete(v, bank)
		}
		r := judged(t, log, v.text())
		if r.Bank != test.bank || r.WeakBank != test.weak || r.Claims["secure_boot"].State != posture.Yes {
			t.Errorf("without %v: %+v from %s", test.without, r.Claims["secure_boot"], r.Bank)
		}
	}
	cut := given(t, pcrs)
	cut["sha256"] = map[string]string{"4": cut["sha256"]["4"]}
	if c := judged(t, log, cut.text()).Claims["secure_boot"]; c.State != posture.Unknown {
		t.Errorf("without PCR 7 in SHA-256 Secure Boot is %+v", c)
	}
}

// Each value that is changed, one at a time, makes its PCR no match and no claim
// better.
func TestBootlogWrongValues(t *testing.T) {
	log, pcrs := realLog(t, "d13-sb-shim-grub")
	good := judged(t, log, pcrs)
	for i := range bootlog.PCRCount {
		index := strconv.Itoa(i)
		v := given(t, pcrs)
		value, err := hex.DecodeString(v["sha256"][index])
		if err != nil {
			t.Fatal(err)
		}
		value[i] ^= 1
		v["sha256"][index] = hex.EncodeToString(value)
		r := judged(t, log, v.text())
		if s := r.PCRs["sha256"][index]; s == bootlog.Match || s == bootlog.Empty || s == bootlog.NotTold {
			t.Errorf("PCR %d: a changed value is %v", i, s)
		}
		for name, c := range r.Claims {
			if better(c.State, good.Claims[name].State) {
				t.Errorf("PCR %d: %s became %v from %v", i, name, c.State, good.Claims[name].State)
			}
		}
	}
}

// better tells a claim that rose: unknown and no are never better than what was.
func better(now, before posture.State) bool { return now == posture.Yes && before != posture.Yes }

// Mutants of a log: no crash, no claim better. One bit of every 29th byte.
func TestBootlogMutants(t *testing.T) {
	for name := range realLogs() {
		log, pcrs := realLog(t, name)
		good := judged(t, log, pcrs)
		for at := 0; at < len(log); at += 29 {
			mutant := bytes.Clone(log)
			mutant[at] ^= 1 << (at % 8)
			r, err := Bootlog(mutant, pcrs)
			if err != nil {
				continue
			}
			for claim, c := range r.Claims {
				if better(c.State, good.Claims[claim].State) {
					t.Fatalf("%s, byte %d: %s became %v", name, at, claim, c.State)
				}
			}
		}
	}
}

func TestBootlogRefused(t *testing.T) {
	log, pcrs := realLog(t, "sb-shim-grub")
	for name, b := range map[string][]byte{
		"nothing": nil, "text": []byte("no log at all"), "cut": log[:len(log)-3], "too long": make([]byte, bootlog.MaxLog+1), "values": pcrs,
	} {
		if r, err := Bootlog(b, pcrs); err == nil {
			t.Errorf("%s: was judged: %+v", name, r)
		}
	}
	if _, err := Bootlog(log, []byte("{")); err == nil {
		t.Error("bad values were taken")
	}
}

// What a log says reaches a terminal only quoted.
func TestBootlogTextIsQuoted(t *testing.T) {
	d := bootDetails{CommandLines: linesDetail{bound: bound{Known: true}, List: []lineDetail{{Text: "a\x1b[2Jb\nc"}}}}
	var b strings.Builder
	d.text(&b)
	if strings.ContainsAny(b.String(), "\x1b") || strings.Contains(b.String(), "b\nc") {
		t.Errorf("the terminal would get %q", b.String())
	}
}

package bootlog

import (
	"bytes"
	"slices"
	"testing"
)

// extend is what a TPM does.
func extend(value []byte, measured ...string) []byte {
	for _, m := range measured {
		value = bytes.Clone(sum256(append(bytes.Clone(value), sum256([]byte(m))...)))
	}
	return value
}

func from(last byte) []byte { return append(make([]byte, 31), last) }

func TestStatus(t *testing.T) {
	ones := bytes.Repeat([]byte{0xff}, 32)
	one := []made{bound(3, 8, []byte("a"))}
	two := []made{bound(3, 8, []byte("a")), bound(3, 8, []byte("b"))}
	inPCR := func(pcr uint32) []made { return []made{bound(pcr, 8, []byte("a"))} }
	tests := []struct {
		name   string
		events []made
		pcr    int
		value  []byte
		want   Status
	}{
		{"not told", one, 3, nil, NotTold},
		{"not told, no event", nil, 3, nil, NotTold},
		{"match", one, 3, extend(from(0), "a"), Match},
		{"match of two", two, 3, extend(from(0), "a", "b"), Match},
		{"an event too few", one, 3, extend(from(0), "a", "b"), Mismatch},
		{"an event too many", two, 3, extend(from(0), "a"), Mismatch},
		{"the other order", two, 3, extend(from(0), "b", "a"), Mismatch},
		{"logged and never extended", one, 3, from(0), Mismatch},
		{"extended and not logged", nil, 3, extend(from(0), "a"), Unlogged},
		{"neither", nil, 3, from(0), Empty},
		{"IMA's PCR as any other", nil, 10, extend(from(0), "a"), Unlogged},
		{"a value of another bank", one, 3, extend(from(0), "a")[:20], Mismatch},
		{"an empty value", one, 3, []byte{}, Mismatch},
		{"an empty value, no event", nil, 3, []byte{}, Mismatch},
		{"an event that was not extended", []made{bound(3, noAction, []byte("a"))}, 3, from(0), Empty},
		{"an event without a digest", append([]made{{pcr: 3, kind: 8, body: []byte("z")}}, one...), 3, extend(from(0), "a"), Match},

		{"PCR 0 from locality 0", inPCR(0), 0, extend(from(0), "a"), Match},
		{"PCR 0 from locality 3", inPCR(0), 0, extend(from(3), "a"), Match},
		{"PCR 0 after an H-CRTM", inPCR(0), 0, extend(from(4), "a"), Match},
		{"PCR 0 from locality 1", inPCR(0), 0, extend(from(1), "a"), Mismatch},
		{"PCR 1 from locality 3", inPCR(1), 1, extend(from(3), "a"), Mismatch},
		{"PCR 0 from a locality, no event", nil, 0, from(3), Unlogged},
		{"no dynamic launch", nil, 17, ones, Empty},
		{"a dynamic launch", inPCR(17), 17, extend(from(0), "a"), Match},
		{"a dynamic launch without events", nil, 22, from(0), Empty},
		{"PCR 17 from ones", inPCR(17), 17, extend(ones, "a"), Match},
		{"ones elsewhere", nil, 16, ones, Unlogged},
		{"ones elsewhere", nil, 23, ones, Unlogged},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			values := replayed(nil)
			values[test.pcr] = test.value
			if got := account(t, test.events, values).PCRs[test.pcr]; got != test.want {
				t.Errorf("%s, not %s", got, test.want)
			}
		})
	}
}

// TestNoValues: without values, or in a bank that the log or the package does not
// have, nothing is known.
func TestNoValues(t *testing.T) {
	r := oneReal(t, "sb-shim-grub")
	for name, a := range map[string]*Account{
		"no values":       r.log.Account(SHA256, nil, nil),
		"nil values":      r.log.Account(SHA256, &Values{}, nil),
		"unknown bank":    r.log.Account(0x12, r.values[SHA256], nil),
		"bank not logged": r.log.Account(SHA512, r.values[SHA256], nil),
		"other values":    r.log.Account(SHA256, r.values[SHA384], nil),
	} {
		for pcr, status := range a.PCRs {
			if status == Match || status == Empty {
				t.Errorf("%s: PCR %d is %s", name, pcr, status)
			}
		}
		noBetter(t, &Account{}, a)
	}
}

// TestReals: every log in testdata replays to what its system read, in each bank.
// PCR 10 is IMA's, which has a log of its own.
func TestReals(t *testing.T) {
	for _, r := range reals(t) {
		if len(r.values) < 3 {
			t.Errorf("%s: values of %d banks", r.name, len(r.values))
		}
		for bank, values := range r.values {
			a := r.log.Account(bank, values, nil)
			for pcr, status := range a.PCRs {
				want := status == Match || status == Empty
				if pcr == 10 {
					want = status == Unlogged
				}
				if !want {
					t.Errorf("%s, %s: PCR %d is %s", r.name, bank, pcr, status)
				}
			}
			if !a.SecureBoot.Known || !a.Authorities.Known || !a.Applications.Known || !a.DBX.Known {
				t.Errorf("%s, %s: %+v", r.name, bank, a)
			}
		}
	}
}

// TestOldFormat: a log of SHA-1's format says the same under SHA-1 values, and nothing
// under those of another bank.
func TestOldFormat(t *testing.T) {
	body := uefi(globalVendor, "SecureBoot", []byte{1})
	b := slices.Concat(
		oldEvent(0, noAction, nil, []byte("Spec ID Event02\x00")),
		oldEvent(7, kindVariable, body, body),
		oldEvent(7, kindSeparator, make([]byte, 4), make([]byte, 4)),
		oldEvent(4, kindSeparator, make([]byte, 4), make([]byte, 4)),
		oldEvent(4, kindProgram, []byte("MZ"), image("grub")),
	)
	l := parsed(t, b)
	values := matching(l, SHA1, 0)
	a := l.Account(SHA1, values, nil)
	if !a.SecureBoot.Value || a.SecureBoot.Event != 1 || a.PCRs[7] != Match || len(a.Applications.Value) != 1 {
		t.Errorf("%+v", a)
	}
	values[7][0] ^= 1
	if a := l.Account(SHA1, values, nil); a.SecureBoot.Known || a.PCRs[7] != Mismatch {
		t.Errorf("another value: %+v", a.SecureBoot)
	}
	if a := l.Account(SHA256, matching(l, SHA256, 1<<7), nil); a.SecureBoot.Known || a.PCRs[7] != Unlogged || a.PCRs[4] != Empty {
		t.Errorf("another bank: %+v, %s, %s", a.SecureBoot, a.PCRs[7], a.PCRs[4])
	}
}

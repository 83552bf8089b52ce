package bootlog

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"testing"
)

// fixedCost is what an account costs however short its log is: its own size, and the
// certificates that may be parsed of it.
const fixedCost = 1 << 20

// FuzzParse: no bytes end in a panic or in allocations beyond ten times their number;
// what a PCR does not confirm is not known.
func FuzzParse(f *testing.F) {
	for _, r := range reals(f) {
		f.Add(r.raw, uint32(0))
		f.Add(r.raw[:len(r.raw)-3], uint32(1<<7))
	}
	f.Add(write(windowsWishes()), uint32(1<<12))
	f.Add(append(oldEvent(0, noAction, nil, []byte("Spec ID Event02\x00")), oldEvent(7, 4, make([]byte, 4), make([]byte, 4))...), uint32(1<<4))
	f.Add(header(0x0b, 32, 0x04, 20), uint32(0xffffff))
	f.Add([]byte("\x00\x00\x00\x00\x03\x00\x00\x00 and no more"), uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, wrong uint32) {
		if len(b) > MaxLog+64 {
			t.Skip()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l, err := Parse(b)
		var a *Account
		var values *Values
		var bank Bank
		if err == nil {
			bank = SHA1
			if slices.Contains(l.Banks, SHA256) {
				bank = SHA256
			}
			values = matching(l, bank, wrong)
			a = l.Account(bank, values, nil)
		}
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > uint64(10*len(b)+fixedCost) {
			t.Errorf("%d bytes allocated for %d", spent, len(b))
		}
		if err != nil {
			if !errors.Is(err, ErrForm) || l != nil {
				t.Errorf("%v, %v", l, err)
			}
			return
		}
		if len(l.Events) == 0 || len(l.Events) > MaxEvents {
			t.Errorf("%d events", len(l.Events))
		}
		confirmed(t, a)
		// With values of zeros nothing that was logged is confirmed.
		confirmed(t, l.Account(bank, &Values{}, nil))
	})
}

// matching makes the values that a log replays to; those of the PCRs in wrong are
// others.
func matching(l *Log, bank Bank, wrong uint32) *Values {
	var values Values
	var pcrs [PCRCount]Status
	w := newWorking(l, bank, nil, &Account{PCRs: pcrs})
	var sum [maxDigest]byte
	for pcr := range values {
		value := make([]byte, bank.size(), 2*maxDigest)
		for i := range w.steps(pcr) {
			copy(value, bank.sum(&sum, append(value, w.digest(&w.steps(pcr)[i])...)))
		}
		if wrong>>pcr&1 == 1 {
			value[0] ^= 0x80
		}
		values[pcr] = value
	}
	return &values
}

// confirmed asserts that whatever is known stands in PCRs that match, or are empty
// where nothing was to be measured.
func confirmed(t *testing.T, a *Account) {
	t.Helper()
	in := func(name string, known bool, reason Reason, pcrs ...int) {
		if !known {
			if reason == "" {
				t.Errorf("%s is not known without a reason", name)
			}
			return
		}
		for _, pcr := range pcrs {
			if s := a.PCRs[pcr]; s != Match && (s != Empty || pcr == 7 || pcr == 4) {
				t.Errorf("%s is known, and PCR %d is %s", name, pcr, s)
			}
		}
		if reason != "" {
			t.Errorf("%s is known, and not for %s", name, reason)
		}
	}
	in("SecureBoot", a.SecureBoot.Known, a.SecureBoot.Reason, 7)
	in("PK", a.PK.Known, a.PK.Reason, 7)
	in("KEK", a.KEK.Known, a.KEK.Reason, 7)
	in("DB", a.DB.Known, a.DB.Reason, 7)
	in("DBX", a.DBX.Known, a.DBX.Reason, 7)
	in("Authorities", a.Authorities.Known, a.Authorities.Reason, 7)
	in("SBAT", a.SBAT.Known, a.SBAT.Reason, 7)
	in("MOKOff", a.MOKOff.Known, a.MOKOff.Reason, 7)
	in("UEFIDebug", a.UEFIDebug.Known, a.UEFIDebug.Reason, 7)
	in("DMAProtection", a.DMAProtection.Known, a.DMAProtection.Reason, 7)
	in("MOK", a.MOK.Known, a.MOK.Reason, 14)
	in("Applications", a.Applications.Known, a.Applications.Reason, 4)
	in("CommandLines", a.CommandLines.Known, a.CommandLines.Reason, 8, 12)
	in("Windows", a.Windows.Known, a.Windows.Reason, 7)
}

// FuzzMutate: a real log with bytes changed claims nothing better under the values of
// its start. Each five bytes of edits are one: three of the place, what to do, with
// what.
func FuzzMutate(f *testing.F) {
	all := reals(f)
	var certs Certificates
	var before []*Account
	for i, r := range all {
		before = append(before, r.log.Account(SHA256, r.values[SHA256], &certs))
		f.Add(uint8(i), []byte{0, 0, 1, 0, 1})
		f.Add(uint8(i), []byte{3, 0, 0, 1, 0xff, 4, 0, 0, 2, 0})
		f.Add(uint8(i), []byte{200, 2, 0, 3, 7})
	}
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		r := all[int(which)%len(all)]
		b := bytes.Clone(r.raw)
		for ; len(edits) >= 5 && len(b) > 0; edits = edits[5:] {
			at := (int(edits[0]) | int(edits[1])<<8 | int(edits[2])<<16) % len(b)
			switch edits[3] % 4 {
			case 0:
				b[at] ^= 1 << (edits[4] % 8)
			case 1:
				b[at] = edits[4]
			case 2:
				b = slices.Delete(b, at, min(len(b), at+1+int(edits[4])))
			case 3:
				b = slices.Insert(b, at, bytes.Repeat([]byte{0}, int(edits[4]))...)
			}
		}
		l, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrForm) {
				t.Error(err)
			}
			return
		}
		noBetter(t, before[int(which)%len(all)], l.Account(SHA256, r.values[SHA256], &certs))
	})
}

// FuzzSignatureLists: the entries of lists are counted alike by all that walk them,
// and no bytes are walked for ever.
func FuzzSignatureLists(f *testing.F) {
	hash := bytes.Repeat([]byte{1}, 32)
	for _, data := range [][]byte{
		nil, list(kindSHA256, hash, hash), list(kindX509, []byte("x")), list([16]byte{7}, []byte{1}, []byte{2}),
		list(kindSHA256), list(kindX509, hash)[:40], bytes.Repeat([]byte{0}, 64), bytes.Repeat([]byte{0xff}, 64),
		slices.Concat(list(kindSHA256, hash), list(kindX509, hash)), append(list(kindSHA256, hash), 0),
	} {
		f.Add(data)
	}
	for _, r := range reals(f) {
		for i := range r.log.Events {
			if v, ok := readVariable(r.log.Events[i].Body); ok {
				f.Add(v.data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(data []byte) (*content, bool) {
			c := &content{variable: variable{data: data}}
			return c, c.readLists(nil)
		}
		c, ok := read(data)
		if sum := len(c.keys.Certificates) + c.keys.Hashes + c.keys.Others; sum != c.entries || c.entries > len(data)/ownerSize {
			t.Errorf("%d entries, %+v", c.entries, c.keys)
		}
		if !ok {
			return
		}
		hashes := 0
		for h := range c.revocations().Hashes() {
			if hashes++; !bytes.Contains(data, h[:]) {
				t.Errorf("%x is not in the data", h)
			}
		}
		if hashes != c.keys.Hashes {
			t.Errorf("%d hashes, %d counted", hashes, c.keys.Hashes)
		}
		for range c.revocations().Hashes() {
			break // must not go on
		}
		more, ok := read(append(bytes.Clone(data), list(kindSHA256, hash)...))
		if !ok || more.entries != c.entries+1 || more.keys.Hashes != c.keys.Hashes+1 {
			t.Errorf("one entry more: %+v", more.keys)
		}
		if cut, ok := read(append(bytes.Clone(data), list(kindSHA256, hash)[:75]...)); ok {
			t.Errorf("a list that is cut: %+v", cut.keys)
		}
		if a, ok := readAuthority(data, nil); ok && (a.Certificate == nil) == (len(data) != 48) {
			t.Errorf("%d bytes: %+v", len(data), a)
		}
	})
}

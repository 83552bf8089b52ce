package bootlog

import "bytes"

// newWorking sorts the extensions of a bank by PCR. Only what has a digest of the
// bank was extended into it.
func newWorking(l *Log, bank Bank, certs *Certificates, a *Account) *working {
	w := &working{log: l, bank: bank, certs: certs, pcrs: &a.PCRs}
	if bank.size() == 0 {
		return w
	}
	for i := range l.Events {
		if e := &l.Events[i]; w.extended(e) {
			w.from[e.PCR+1]++
		}
	}
	for i := range PCRCount {
		w.from[i+1] += w.from[i]
	}
	w.all = make([]step, w.from[PCRCount])
	next := w.from
	for i := range l.Events {
		if e := &l.Events[i]; w.extended(e) {
			w.all[next[e.PCR]].number = int32(i)
			next[e.PCR]++
		}
	}
	return w
}

// extended tells whether an event says that it was extended into a PCR of the bank.
func (w *working) extended(e *Event) bool {
	return e.PCR < PCRCount && e.Type != noAction && w.log.Digest(e, w.bank) != nil
}

// start is one way in which a PCR may begin: fill in every byte but the last.
type start struct{ fill, last byte }

var (
	localityStarts = []start{{0, 0}, {0, 3}, {0, 4}}
	launchStarts   = []start{{0, 0}, {0xff, 0xff}}
)

// starts lists how a PCR may begin (TPM 2.0 Part 3 §9.3): as zeros; PCR 0 with the
// locality of TPM2_Startup, which is 3, or 4 after an H-CRTM sequence; the PCRs of a
// dynamic launch as ones when there was none. The log's own word of the locality
// (StartupLocality, EV_NO_ACTION) is not needed: only the right start leads to the
// value.
func starts(pcr int) []start {
	switch {
	case pcr == 0:
		return localityStarts
	case pcr >= 17 && pcr <= 22:
		return launchStarts
	}
	return localityStarts[:1]
}

// untouched tells a value that a PCR starts with.
func untouched(pcr int, value []byte) bool {
	if len(value) == 0 {
		return false
	}
	n := len(value) - 1
	for _, s := range starts(pcr) {
		if isAll(value[:n], s.fill) && value[n] == s.last {
			return true
		}
	}
	return false
}

// replay gives each PCR its status, and marks the separators.
func (w *working) replay(values *Values) {
	w.markSeparators()
	for pcr := range PCRCount {
		w.pcrs[pcr] = w.status(pcr, values[pcr])
	}
}

// status says how far the log explains one PCR's value.
func (w *working) status(pcr int, value []byte) Status {
	if value == nil {
		return NotTold
	}
	if len(value) != w.bank.size() {
		return Mismatch
	}
	steps := w.steps(pcr)
	for _, s := range starts(pcr) {
		if len(steps) == 0 {
			// A locality alone is no extension, yet PCR 0 without one event is not
			// empty: firmware measures itself at least.
			if s.fill == s.last && isAll(value, s.fill) {
				return Empty
			}
			continue
		}
		if w.replays(steps, s, value) {
			return Match
		}
	}
	if len(steps) == 0 {
		return Unlogged
	}
	return Mismatch
}

// replays tells whether steps lead from a start to a value.
func (w *working) replays(steps []step, from start, value []byte) bool {
	var state [maxDigest]byte
	var both [2 * maxDigest]byte
	n := w.bank.size()
	for i := range n {
		both[i] = from.fill
	}
	both[n-1] = from.last
	for i := range steps {
		copy(both[n:], w.digest(&steps[i]))
		copy(both[:n], w.bank.sum(&state, both[:2*n]))
	}
	return bytes.Equal(both[:n], value)
}

// markSeparators finds separators by their digests (PFP §10.4.1, EV_SEPARATOR).
func (w *working) markSeparators() {
	var zero, ones, one, wbcl [maxDigest]byte
	marks := [...]struct {
		digest []byte
		mark   mark
	}{
		{w.bank.sum(&zero, []byte{0, 0, 0, 0}), separator},
		{w.bank.sum(&ones, []byte{0xff, 0xff, 0xff, 0xff}), separator},
		{w.bank.sum(&one, []byte{1, 0, 0, 0}), failure},
		{w.bank.sum(&wbcl, []byte("WBCL")), wbclDivider},
	}
	for i := range w.all {
		s := &w.all[i]
		d := w.digest(s)
		for _, m := range marks {
			if bytes.Equal(d, m.digest) {
				s.mark = m.mark
				break
			}
		}
	}
}

// isAll tells whether every byte of b is c.
func isAll(b []byte, c byte) bool {
	for _, x := range b {
		if x != c {
			return false
		}
	}
	return true
}

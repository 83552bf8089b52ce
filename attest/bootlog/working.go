package bootlog

import "bytes"

// working is the state of one account: what was extended into each PCR, in order.
// It lives as long as the call and is used by one goroutine.
type working struct {
	log   *Log
	bank  Bank
	certs *Certificates
	pcrs  *[PCRCount]Status
	tried int // how many certificates were parsed for it, in this log or an earlier one

	// all holds the steps of every PCR, those of PCR i at from[i]:from[i+1], in the
	// log's order.
	all  []step
	from [PCRCount + 1]int32
}

// step is one extension of a PCR.
type step struct {
	number int32 // of the event in Log.Events
	mark   mark
	tied   tie
}

// mark says whether a step is a separator. It is told from the digest alone.
type mark uint8

const (
	noMark      mark = iota
	separator        // EV_SEPARATOR of 0 or 0xFFFFFFFF (PFP §10.4.1)
	failure          // EV_SEPARATOR of 1: firmware met an error
	wbclDivider      // Windows' "WBCL" behind its loader's own events
)

// tie tells whether a step's body hashes to its digest. A body is hashed at most
// once, and only when somebody asks.
type tie uint8

const (
	notAsked  tie = iota
	tiedBody      // the whole body
	tiedShort     // all but its last byte
	looseBody
)

// steps returns what was extended into a PCR, in order. Events that were not
// extended (EV_NO_ACTION) are not among them.
func (w *working) steps(pcr int) []step { return w.all[w.from[pcr]:w.from[pcr+1]] }

// explained tells whether the log says all that was extended into a PCR: its steps
// replay to the value, or there was none.
func (w *working) explained(pcr int) bool {
	return w.pcrs[pcr] == Match || w.pcrs[pcr] == Empty
}

// event is the logged form of a step.
func (w *working) event(s *step) *Event { return &w.log.Events[s.number] }

// digest is what was extended.
func (w *working) digest(s *step) []byte { return w.log.Digest(w.event(s), w.bank) }

// body returns the bytes of a step's body that are bound: they hash to what was
// extended. shim before 15.3 logs one byte more than it hashes; that byte is not
// returned.
func (w *working) body(s *step) (body []byte, bound bool) {
	b := w.event(s).Body
	if s.tied == notAsked {
		s.tied = w.tie(b, w.digest(s))
	}
	switch s.tied {
	case tiedBody:
		return b, true
	case tiedShort:
		return b[: len(b)-1 : len(b)-1], true
	}
	return nil, false
}

// content reads a variable of PCR 7. bound is false when its body is not bound, or
// when the log had more certificates than any real one.
func (w *working) content(s *step) (c *content, bound bool) {
	if w.tried > maxCertificates {
		return nil, false
	}
	body, digest := w.event(s).Body, w.digest(s)
	if c = w.certs.find(w.bank, digest, body); c == nil {
		if body, bound = w.body(s); !bound {
			return nil, false
		}
		if s.tied == tiedBody {
			c = w.certs.keep(w.bank, digest, body)
		} else {
			c = readContent(body, w.certs)
		}
	} else {
		s.tied = tiedBody
	}
	w.tried += c.tried
	return c, true
}

func (w *working) tie(b, digest []byte) tie {
	if w.hashesTo(b, digest) {
		return tiedBody
	}
	if n := len(b) - 1; n > 0 && w.hashesTo(b[:n], digest) {
		return tiedShort
	}
	return looseBody
}

// hashesTo tells whether bytes are what was extended by a digest.
func (w *working) hashesTo(b, digest []byte) bool {
	var sum [maxDigest]byte
	return bytes.Equal(w.bank.sum(&sum, b), digest)
}

// firmware returns the position of the first separator among a PCR's steps, or why
// what firmware said there cannot be told.
func (w *working) firmware(pcr int) (at int, reason Reason) {
	switch w.pcrs[pcr] {
	case Match:
	case Empty:
		return 0, NotLogged
	default:
		return 0, NotReplayed
	}
	for i, s := range w.steps(pcr) {
		switch s.mark {
		case separator:
			return i, ""
		case failure:
			return 0, FirmwareError
		}
	}
	return 0, NoSeparator
}

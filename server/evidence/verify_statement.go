package evidence

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/attest"
	"muster/attest/bootlog"
	"muster/server/reference"
	"muster/server/verify"
)

// statements opens what the device signed, oldest first.
func (a *audit) statements() {
	if len(a.f.Statements) == 0 {
		a.lacks("statement", "The server no longer has the statement that turned the decision.")
		return
	}
	for i := range a.f.Statements {
		s := &a.f.Statements[i]
		err := a.open(s)
		if errors.Is(err, errKeyGone) {
			a.lacks("statement", "Statement %d is signed by a boot key of which nothing is here: nothing shows that it is the device's.", i+1)
			return
		}
		if err != nil {
			a.say("statement", contradicted, "Statement %d is not this device's, or not in its place: %v.", i+1, err)
			return
		}
	}
	last := &a.opened[len(a.opened)-1]
	switch {
	case !a.recorded:
	case last.ev.Digest != a.record.Report:
		a.say("decision-statement", contradicted, "The decision names another statement than the last one here.")
	case !a.record.Result.IsZero() && a.record.Result != sha256.Sum256([]byte(last.Result)):
		a.say("decision-statement", contradicted, "The decision names another Result than the last one here.")
	case a.record.Result.IsZero():
		a.say("decision-statement", proved, "The decision names the last statement here; of its Result it says nothing.")
	default:
		a.say("decision-statement", proved, "The decision names the last statement here, and its Result.")
	}
}

// errKeyGone: whatever certified the key is no longer kept, or never was.
var errKeyGone = errors.New("no key of this name is known")

// open opens one statement with what came beside it. Its place in the sequence, and
// that its nonce was this device's and unused, only the server knows; between the
// statements here the order is checked, also of the TPM's clock in their quotes.
func (a *audit) open(s *Statement) error {
	n := len(a.opened) + 1
	header, err := attest.PeekHeader([]byte(s.JWS))
	if err != nil {
		return err
	}
	var quote *attest.Quote
	if s.Quote != "" {
		quote = new(attest.Quote)
		if err := attest.Decode([]byte(s.Quote), quote); err != nil {
			return fmt.Errorf("reading the quote: %w", err)
		}
	}
	result := new(verify.Result)
	if err := attest.Decode([]byte(s.Result), result); err != nil {
		return fmt.Errorf("reading the Result: %w", err)
	}
	if isLater(result.IssuedAt, s.ReceivedAt) || result.Device.ID != a.f.Device.ID {
		return fmt.Errorf("its Result is of another device, or of a nonce that was issued after it came")
	}
	known, key := a.known(&header, s, result)
	if !slices.ContainsFunc(known.Keys, func(k *attest.Key) bool { return k.ID == header.Kid }) {
		return errKeyGone
	}
	ev, err := attest.Open([]byte(s.JWS), quote, known)
	if err != nil {
		return err
	}
	if err := a.inOrder(ev); err != nil {
		return err
	}
	if err := a.newKey(s, ev, n); err != nil {
		return err
	}
	a.opened = append(a.opened, opened{s, ev, result, key})
	a.toldOf(ev, key, n)
	return nil
}

// known is what attest.Open is to know for a statement, and the boot key that
// signed it, if one did.
func (a *audit) known(h *attest.Header, s *Statement, r *verify.Result) (*attest.Known, *bootKey) {
	known := &attest.Known{
		Typs: []attest.Typ{attest.TypReport, attest.TypHeartbeat}, Device: a.f.Device.ID, Keys: []*attest.Key{a.dk},
		Now: s.ReceivedAt, Seq: h.Seq - 1, Prev: h.Prev, LastClock: a.clock, LastQuoteAt: a.quotedAt,
		NonceIssued: func(attest.Digest) (issued, expires time.Time, ok bool) {
			return r.IssuedAt, s.ReceivedAt.Add(time.Second), true
		},
	}
	if h.Typ == attest.TypEnrol {
		known.Typs, known.Device, known.Transcript = []attest.Typ{attest.TypEnrol}, "", a.transcript
	}
	if a.ak != nil {
		known.Keys = append(known.Keys, a.ak)
	}
	var by *bootKey
	for i := range a.dkbs {
		k := &a.dkbs[i]
		if k.key.ID == h.Kid && (by == nil || k.certified) {
			by = k
		}
	}
	if by != nil {
		known.Keys = append(known.Keys, by.key)
		known.QuoteAlways = by.certified && !by.counter
	} else {
		// DK outlives starts: alone it says nothing of the one that it signed in. The
		// server takes it from a TPM only with a quote, whether there is a DKb or not.
		known.QuoteAlways = a.ak != nil
	}
	return known, by
}

// inOrder compares a statement with the ones before it.
func (a *audit) inOrder(ev *attest.Evidence) error {
	if len(a.opened) == 0 {
		return nil
	}
	before := &a.opened[len(a.opened)-1]
	switch {
	case ev.Header.Seq <= before.ev.Header.Seq || ev.IssuedAt.Before(before.ev.IssuedAt):
		return fmt.Errorf("it is not after the one before it")
	case ev.Header.Seq == before.ev.Header.Seq+1 && ev.Header.Prev != before.ev.Digest:
		return fmt.Errorf("it does not follow the one before it")
	}
	return nil
}

// newKey takes the boot key that came beside a statement.
func (a *audit) newKey(s *Statement, ev *attest.Evidence, n int) error {
	if s.DKb == "" {
		return nil
	}
	r := new(attest.Recertify)
	if err := attest.Decode([]byte(s.DKb), r); err != nil {
		return fmt.Errorf("reading the new boot key: %w", err)
	}
	key, counter, err := attest.OpenRecertify([]byte(s.JWS), r, ev, a.ak)
	if err != nil {
		return fmt.Errorf("the new boot key: %w", err)
	}
	a.dkbs = append(a.dkbs, bootKey{key: key, counter: counter, certified: true})
	a.say("boot-key", proved, "Statement %d brought a boot key, of which the AK stated that its TPM holds it, bound to the start that was quoted.", n)
	return nil
}

// toldOf says what an opened statement shows.
func (a *audit) toldOf(ev *attest.Evidence, key *bootKey, n int) {
	switch {
	case ev.Signer == attest.DK:
		a.say("statement", proved, "Statement %d (%s, sequence %d) is signed by the device key.", n, ev.Header.Typ, ev.Header.Seq)
	case key.certified:
		a.say("statement", proved, "Statement %d (%s, sequence %d) is signed by a certified boot key of the device.", n, ev.Header.Typ, ev.Header.Seq)
	default:
		a.say("statement", word, "Statement %d (%s, sequence %d) is signed by a boot key of which only the server says that it was certified.", n, ev.Header.Typ, ev.Header.Seq)
	}
	if m := ev.Measured; m != nil {
		a.clock, a.quotedAt = &m.Clock, ev.IssuedAt
		a.say("quote", proved, "The AK stated, for exactly statement %d, the values of PCR %s.", n, selected())
	}
}

func selected() string {
	var list []string
	for _, i := range attest.Selection() {
		list = append(list, fmt.Sprint(i))
	}
	return strings.Join(list, " ")
}

// quoted is the last statement here that has a quote; -1: none has.
func (a *audit) quoted() int {
	for i, o := range slices.Backward(a.opened) {
		if o.ev.Measured != nil {
			return i
		}
	}
	return -1
}

// bootLog compares the log with the last quote.
func (a *audit) bootLog() {
	at := a.quoted()
	if at < 0 {
		a.noQuote()
		if len(a.f.Log) > 0 {
			a.say("boot-log", contradicted, "There is a boot log, and no quote that names it.")
		}
		return
	}
	m := a.opened[at].ev.Measured
	switch {
	case m.LogSHA.IsZero() && len(a.f.Log) == 0:
		a.say("boot-log", unproved, "The quote came without a boot log: nothing says what its values mean.")
		return
	case len(a.f.Log) == 0:
		a.say("boot-log", unproved, "The server has no boot log with the digest that came with the quote: what its values mean is its word only.")
		return
	}
	if err := attest.CheckLog(a.f.Log, m.LogSHA); err != nil {
		a.say("boot-log", contradicted, "The boot log is not the one that the quote came with: %v.", err)
		return
	}
	account, missing := verify.ReadLog(a.f.Log, m.PCRs, &a.certs)
	if account == nil {
		a.say("boot-log", unproved, "The boot log cannot be read (%s): nothing says what the quoted values mean.", missing)
		return
	}
	match, other := byStatus(account)
	if len(other) == 0 {
		a.say("boot-log", proved, "The boot log leads to every quoted value that was extended (PCR %s).", match)
		return
	}
	a.say("boot-log", statusOf(account), "The boot log leads to the quoted values of PCR %s, and not to those of %s.", match, strings.Join(other, ", "))
}

// noQuote says what it costs that no statement here has a quote.
func (a *audit) noQuote() {
	switch {
	case a.f.Device.Kind != attest.KindTPM || len(a.opened) == 0:
	case measured(a.opened[len(a.opened)-1].result):
		a.lacks("quote", "The quote that the measured claims rest on is not in the file: what was measured is the server's word only.")
	default:
		a.say("quote", unproved, "No quote is in the file, and no claim is said to be measured.")
	}
}

// byStatus lists the PCRs that a log explains, and the others.
func byStatus(account *bootlog.Account) (match string, other []string) {
	var matching []string
	for _, i := range attest.Selection() {
		switch status := account.PCRs[i]; status {
		case bootlog.Match:
			matching = append(matching, fmt.Sprint(i))
		case bootlog.Empty:
		default:
			other = append(other, fmt.Sprintf("%d (%v)", i, status))
		}
	}
	return strings.Join(matching, " "), other
}

// statusOf is proved when the log explains firmware, its drivers, boot programs and
// the Secure Boot policy; other PCRs are moved by systems while they run.
func statusOf(account *bootlog.Account) standing {
	for _, i := range [...]uint8{0, 2, 4, 7} {
		if account.PCRs[i] != bootlog.Match {
			return unproved
		}
	}
	return proved
}

// references reads the pack that judged the log; nil: it is not in the file. Two
// packs with one number are a contradiction.
func (a *audit) references() {
	given := &a.f.References
	if given.Content == "" {
		return
	}
	refs, err := reference.DecodeBoot([]byte(given.Content))
	if err == nil && refs.Number != given.Number {
		err = fmt.Errorf("they have number %d, not %d", refs.Number, given.Number)
	}
	if err != nil {
		a.say("references", contradicted, "The boot references cannot be used: %v.", err)
		return
	}
	a.refs = refs
	own, err := reference.DefaultBoot()
	if err != nil || own.Number != refs.Number {
		a.say("references", word, "The boot references in the file have number %d, and this program brings others: that they are good ones is the server's word.", refs.Number)
		return
	}
	mine, err := own.Encode()
	theirs, again := refs.Encode()
	if err != nil || again != nil || !bytes.Equal(mine, theirs) {
		a.say("references", contradicted, "The enclosed boot references have the number of those in this program, and are others.")
		return
	}
	a.say("references", proved, "The boot references in the file are those that this program brings, number %d.", refs.Number)
}

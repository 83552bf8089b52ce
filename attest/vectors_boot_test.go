package attest_test

import (
	"muster/attest"
)

// addBoots makes the cases of other boots: another DKb, DKbs that are bound to
// PCR 7 alone.
func addBoots(alder *machine, add func(string, *vector, *lab)) {
	next := alder.boot(1)
	recertified := func(name, about string, typ attest.Typ, payload any) {
		v, l := next.statement(about, typ, attest.DK, mustEncode(payload))
		v.Check, v.Keys[2] = "recertify", vectorKeyOf(alder, attest.DKb)
		v.Known.LastClock = &alder.clock
		v.quoted(l)
		v.Recertify = next.recertify(l.sign().Input)
		v.Want.CounterBound, v.Want.KeyIDs = next.counterBound, []attest.Digest{next.parsed(attest.DKb).ID}
		add(name, v, l)
	}
	recertified("recertify", "after a start: DK signs, quotes, and brings the new boot's key", attest.TypReport, reportOf(next))
	recertified("recertify-heartbeat", "PCR 7 moved and no claim did: a heartbeat brings the key", attest.TypHeartbeat,
		attest.Heartbeat{Base: nonceOf("base"), BootID: reportOf(next).BootID, CollectedAt: vectorNow - 5})
	next.counterBound = false
	recertified("recertify-loose", "the new boot's key is bound to PCR 7 alone", attest.TypReport, reportOf(next))

	loose := newMachine("alder")
	loose.counterBound = false
	v, l := loose.statement("a DKb bound to PCR 7 alone brings a quote each time", attest.TypReport, attest.DKb, mustEncode(reportOf(loose)))
	v.Known.QuoteAlways = true
	v.quoted(l)
	add("report-dkb-loose", v, l)
}

// recertify is this boot's DKb, certified beside a statement.
func (m *machine) recertify(input []byte) *attest.Recertify {
	return &attest.Recertify{
		Public: m.public(attest.DKb), Certify: *m.certify(m.nameOf(attest.DKb), attest.RecertifyBinding(input))}
}

// addClocks makes the cases of a clock that went on, or was set to zero.
func addClocks(alder *machine, add func(string, *vector, *lab)) {
	clocked := func(name, about string, last, now attest.Clock, order attest.Order) *vector {
		m := alder.boot(0)
		m.clock = now
		v, l := m.statement(about, attest.TypReport, attest.DK, mustEncode(reportOf(m)))
		v.Keys[2] = vectorKeyOf(alder, attest.DKb)
		v.Known.LastClock = &last
		v.quoted(l)
		v.Want.Cleared, v.Want.ClockFell = order == attest.Cleared, order == attest.Fell
		add(name, v, l)
		return v
	}
	last := attest.Clock{Clock: alder.clock.Clock, ResetCount: alder.clock.ResetCount, Safe: true}
	young := attest.Clock{Clock: 3_000_000, ResetCount: 2, RestartCount: 4, Safe: true}
	clocked("report-cleared", "the first quote after TPM2_Clear", last, attest.Clock{Clock: 70_000, Safe: true}, attest.Cleared)
	clocked("report-cleared-started", "cleared and started again, with a resume", last,
		attest.Clock{Clock: 1_200_000, ResetCount: 2, RestartCount: 1, Safe: true}, attest.Cleared)
	clocked("report-cleared-often", "cleared, and since then started more often than ever before", young,
		attest.Clock{Clock: 2_900_000, ResetCount: 9, Safe: true}, attest.Cleared)
	clocked("report-cleared-same", "cleared, and the counts are by chance what they were", young,
		attest.Clock{Clock: 2_999_999, ResetCount: 2, RestartCount: 4, Safe: true}, attest.Cleared)
	v := clocked("report-cleared-unknown", "the first boot after TPM2_Clear, where the time of the last quote is not known", last,
		attest.Clock{Clock: 70_000, RestartCount: 1, Safe: true}, attest.Cleared)
	v.Known.LastQuoteAt = 0
	clocked("report-unorderly", "power was lost: the clock is behind by no more than it may", last,
		attest.Clock{Clock: last.Clock - 1<<22, ResetCount: last.ResetCount + 1}, attest.Forward)
	clocked("report-clock-fell", "power was lost: the clock is behind by a millisecond more than it may", last,
		attest.Clock{Clock: last.Clock - 1<<22 - 1, ResetCount: last.ResetCount + 1}, attest.Fell)
	clocked("report-clock-fell-safe", "started, a millisecond behind, and said to be ahead of all that was stated", last,
		attest.Clock{Clock: last.Clock - 1, ResetCount: last.ResetCount + 1, Safe: true}, attest.Fell)
	clocked("report-resumed", "suspended and resumed", last,
		attest.Clock{Clock: last.Clock + 1, ResetCount: last.ResetCount, RestartCount: last.RestartCount + 1, Safe: true}, attest.Forward)
}

package attest

import "time"

// Clock is TPMS_CLOCK_INFO: it orders a device's statements.
type Clock struct {
	Clock        uint64 `json:"clock"`         // milliseconds the TPM was powered
	ResetCount   uint32 `json:"reset_count"`   // TPM resets: starts of the machine
	RestartCount uint32 `json:"restart_count"` // resumes since the last reset
	Safe         bool   `json:"safe"`          // false: the clock may have been ahead
}

// Before reports whether c is earlier than d by reset count, then restart count,
// then clock. It takes no account of TPM2_Clear: see [Clock.Since].
func (c Clock) Before(d Clock) bool {
	if c.ResetCount != d.ResetCount {
		return c.ResetCount < d.ResetCount
	}
	if c.RestartCount != d.RestartCount {
		return c.RestartCount < d.RestartCount
	}
	return c.Clock < d.Clock
}

// Order is how a TPM's clock stands to one that it reported before. The zero
// value is refused.
type Order uint8

// What [Clock.Since] tells.
const (
	// Back: the state of the TPM was rolled back.
	Back Order = iota
	// Forward: the TPM went on.
	Forward
	// Cleared: TPM2_Clear set counts and clock to zero since, or the state was
	// rolled back to one that is as young.
	Cleared
	// Fell: the machine was started since, and the clock is behind by more than a
	// TPM may lose. Virtual TPMs that seldom write their memory do that when power
	// is lost; so does a state that was rolled back and started until its counts
	// were ahead.
	Fell
)

// String returns the order's name.
func (o Order) String() string { return [...]string{"back", "forward", "cleared", "fell"}[o&3] }

const (
	// clockFall is how far, in milliseconds, Clock may be behind what was reported
	// after a stop without TPM2_Shutdown: it is written to memory at least that
	// often (TPM 2.0 Part 2 §10.11.2).
	clockFall = 1 << 22
	// clockSlack is how far the verifier's own clock may have been set back between
	// two quotes.
	clockSlack = 60 * time.Second
)

// Since orders the clock that a fresh and bound quote states after that of the
// last accepted one (TPM 2.0 Part 1 §36). elapsed bounds the time between them,
// from the issue of the nonce of the last one until now; a negative one is not
// known.
//
// A TPM counts resets up, resumes up within a reset, and Clock up always. There
// are two exceptions. After a stop without TPM2_Shutdown, which is followed by a
// reset, Clock is behind by at most [clockFall] and Safe is false until it caught
// up. TPM2_Clear sets all three to zero, with Safe true, and keeps the endorsement
// primaries: whatever the counts reached since, by starts or resumes, Clock is
// then at most the time since. So what has not gone forward was cleared when its
// Clock fits into elapsed. When it does not, it was rolled back (a virtual
// machine's snapshot, an emulator), or it fell: libtpms writes Clock to memory
// only together with something else, so that its resets alone are in order.
//
// Not to be told by the clock are a Clear after which the TPM was started and
// powered for longer than ever before it, and a rollback to a state that was made
// to overtake the last quote; a state so young that its Clock fits into elapsed
// tells as a Clear. With an unknown elapsed only the first boot after a Clear is
// recognised, and Clock is compared within one boot alone.
func (c Clock) Since(last Clock, elapsed time.Duration) Order {
	switch {
	case elapsed < 0 && !c.Before(last):
		return Forward
	case elapsed < 0 && c.ResetCount == 0 && last.ResetCount != 0:
		return Cleared
	case elapsed < 0:
		return Back
	case c.follows(last):
		return Forward
	case c.isWithin(elapsed):
		return Cleared
	case c.ResetCount > last.ResetCount:
		return Fell
	}
	return Back
}

// follows tells whether a TPM that was not cleared can come from last to c.
func (c Clock) follows(last Clock) bool {
	started := c.ResetCount > last.ResetCount
	switch {
	case !started && (c.ResetCount < last.ResetCount || c.RestartCount < last.RestartCount):
		return false
	case c.Clock >= last.Clock:
		return true
	}
	return started && !c.Safe && last.Clock-c.Clock <= clockFall
}

// isWithin tells whether Clock can have counted from zero in that time: a TPM's
// oscillator may be fast by 15 %, and TPM2_ClockRateAdjust can add as much (Part 1
// §36), together less than a third.
func (c Clock) isWithin(elapsed time.Duration) bool {
	most := uint64(elapsed.Milliseconds() + clockSlack.Milliseconds())
	return c.Clock <= most+most/3
}

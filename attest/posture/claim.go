package posture

import (
	"fmt"
	"time"
)

// State is what is known of a claim. The zero value is Unknown, and nothing
// that needs a claim is ever satisfied by it (SPEC.md §4.1).
type State uint8

// The three states. Yes always means that the wanted condition holds: the disk
// is encrypted, remote access is closed, no update is pending.
const (
	Unknown State = iota
	Yes
	No
)

var stateNames = [...]string{Unknown: "unknown", Yes: "yes", No: "no"}

// String returns the wire name: unknown, yes or no.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText writes the wire name; a value outside the three is an error.
func (s State) MarshalText() ([]byte, error) {
	if int(s) >= len(stateNames) {
		return nil, fmt.Errorf("posture: no state %d", uint8(s))
	}
	return []byte(stateNames[s]), nil
}

// UnmarshalText accepts exactly the three wire names.
func (s *State) UnmarshalText(b []byte) error {
	for i, name := range stateNames {
		if string(b) == name {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("posture: state %q is none of unknown, yes, no", b)
}

// Source tells who vouches for a claim, weakest first; policies may demand one.
type Source uint8

// The three sources. Reported is the zero value: the operating system said so,
// and whoever is root on it can lie. Vendor facts come from an MDM or from
// Apple's attestation. Measured ones are bound by firmware to PCRs that the TPM
// signed. Only the server writes the last two; attest.Open refuses a Report
// that brings them.
const (
	Reported Source = iota
	Vendor
	Measured
)

var sourceNames = [...]string{Reported: "reported", Vendor: "vendor", Measured: "measured"}

// String returns the wire name: reported, vendor or measured.
func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return fmt.Sprintf("source(%d)", uint8(s))
}

// MarshalText writes the wire name; a value outside the three is an error.
func (s Source) MarshalText() ([]byte, error) {
	if int(s) >= len(sourceNames) {
		return nil, fmt.Errorf("posture: no source %d", uint8(s))
	}
	return []byte(sourceNames[s]), nil
}

// UnmarshalText accepts exactly the three wire names.
func (s *Source) UnmarshalText(b []byte) error {
	for i, name := range sourceNames {
		if string(b) == name {
			*s = Source(i)
			return nil
		}
	}
	return fmt.Errorf("posture: source %q is none of reported, vendor, measured", b)
}

// Claim is what every claim has beside its typed detail.
type Claim struct {
	// State is unknown until somebody could tell.
	State State `json:"state"`
	// Reason is a stable code, the same in log, API and page: why the claim is
	// unknown or no. An unknown claim always has one; yes may have none.
	Reason Reason `json:"reason"`
	// Source tells who vouches for it.
	Source Source `json:"source"`
	// ObservedAt is when it was looked at, by the laptop's clock, UTC, whole
	// seconds.
	ObservedAt time.Time `json:"observed_at"`
}

// Of is a claim together with its typed detail.
type Of[Detail any] struct {
	Claim
	// Detail is what was seen; its zero value says nothing.
	Detail Detail `json:"detail"`
}

// Observed makes a reported claim as seen at the given time.
func Observed[Detail any](at time.Time, state State, reason Reason, detail Detail) Of[Detail] {
	return Of[Detail]{
		Claim:  Claim{State: state, Reason: reason, ObservedAt: at.UTC().Truncate(time.Second)},
		Detail: detail,
	}
}

// Unseen makes an unknown claim without detail.
func Unseen[Detail any](at time.Time, reason Reason) Of[Detail] {
	var none Detail
	return Observed(at, Unknown, reason, none)
}

package verify

import "fmt"

// Level says how well it is proved that the keys cannot leave the laptop
// (muster's assurance levels, lowest first). The zero value is the lowest.
type Level uint8

// The levels. They are fixed at enrolment and never fall silently.
const (
	// Software keys are files.
	Software Level = iota
	// TPMUnverified: a TPM protocol was spoken, but nobody vouches for the EK; it
	// may be a software TPM. It was approved by a person.
	TPMUnverified
	// SecureEnclave: Apple's enclave, unattested.
	SecureEnclave
	// VTPM: the EK certificate chains to a virtual TPM's CA.
	VTPM
	// TPMListed: the EK hash came on a list that was got out of band.
	TPMListed
	// TPMHardware: the EK certificate chains to a TPM vendor's root.
	TPMHardware
)

var levelNames = [...]string{
	Software: "software", TPMUnverified: "tpm-unverified", SecureEnclave: "secure-enclave",
	VTPM: "vtpm", TPMListed: "tpm-listed", TPMHardware: "tpm-hw",
}

// String returns the wire name.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// MarshalText writes the wire name.
func (l Level) MarshalText() ([]byte, error) {
	if int(l) >= len(levelNames) {
		return nil, fmt.Errorf("verify: no level %d", uint8(l))
	}
	return []byte(levelNames[l]), nil
}

// UnmarshalText accepts exactly the wire names.
func (l *Level) UnmarshalText(b []byte) error {
	for i, name := range levelNames {
		if string(b) == name {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("verify: %q is no assurance level", b)
}

// Tier is the outcome of judging (AR4SI, draft-ietf-rats-ar4si §2.3). The zero
// value is none: not judged.
type Tier uint8

// The tiers, from no statement to the worst.
const (
	None Tier = iota
	Affirming
	Warning
	Contraindicated
)

var tierNames = [...]string{None: "none", Affirming: "affirming", Warning: "warning", Contraindicated: "contraindicated"}

// String returns the wire name.
func (t Tier) String() string {
	if int(t) < len(tierNames) {
		return tierNames[t]
	}
	return fmt.Sprintf("tier(%d)", uint8(t))
}

// MarshalText writes the wire name.
func (t Tier) MarshalText() ([]byte, error) {
	if int(t) >= len(tierNames) {
		return nil, fmt.Errorf("verify: no tier %d", uint8(t))
	}
	return []byte(tierNames[t]), nil
}

// UnmarshalText accepts exactly the wire names.
func (t *Tier) UnmarshalText(b []byte) error {
	for i, name := range tierNames {
		if string(b) == name {
			*t = Tier(i)
			return nil
		}
	}
	return fmt.Errorf("verify: %q is no tier", b)
}

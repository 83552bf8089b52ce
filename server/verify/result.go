package verify

import (
	"time"

	"muster/attest"
	"muster/attest/posture"
)

// Result is what the Verifier says of one device at one time: an Attestation
// Result of RFC 9334 §8.4. It is stored, shown to administrators, and given to
// policies and to their tests as JSON.
type Result struct {
	// Device is who it is about, as the server registered it.
	Device Device `json:"device"`
	// Tier is the worst over the claims and findings; none when nothing could be
	// judged.
	Tier Tier `json:"tier"`
	// IssuedAt is when the nonce was issued: age and lease run from here.
	IssuedAt time.Time `json:"issued_at"`
	// QuotedAt is the same of the last quote; zero when there is none. Measured
	// claims are as old as this.
	QuotedAt time.Time `json:"quoted_at,omitzero"`
	// Claims are the Report's, with the source that the evidence bears.
	Claims posture.Claims `json:"claims"`
	// Tiers judges each claim, by its wire name.
	Tiers map[string]Tier `json:"tiers"`
	// Boot is what is known of the boot evidence. Claims.SecureBoot and
	// Claims.BootSecurity are measured where it says something of them; Reported are
	// then the laptop's own words.
	Boot     Boot      `json:"boot"`
	Reported *Reported `json:"reported,omitempty"`
	// Cap is set when the TPM's firmware is known to be weak, or the TPM is Denied: the
	// device counts for no more than its level.
	Cap    *Cap `json:"cap,omitempty"`
	Denied bool `json:"ek_denied,omitempty"`
	// Findings are what was noticed beside the claims.
	Findings []Finding `json:"findings,omitempty"`
}

// Device is what the server registered of a device.
type Device struct {
	ID       string             `json:"id"`
	State    attest.DeviceState `json:"state"`
	Level    Level              `json:"level"`
	Class    Class              `json:"class"` // whose laptop it is
	Group    string             `json:"group,omitempty"`
	Owner    string             `json:"owner,omitempty"`
	Platform posture.Platform   `json:"platform"`
}

// Class says whose laptop it is; policies call it ownership.
type Class string

// The classes of devices. A device without one is byod, the least trusted.
const (
	ClassCorporate  Class = "corporate"
	ClassBYOD       Class = "byod"
	ClassContractor Class = "contractor"
	ClassShared     Class = "shared"
)

// Finding is something noticed that no claim says.
type Finding struct {
	Code string `json:"code"` // stable, as in SPEC.md §8
	Tier Tier   `json:"tier"`
	Text string `json:"text"`
	Fix  string `json:"fix"`
}

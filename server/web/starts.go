package web

import (
	"time"

	"muster/server/store"
	"muster/server/verify"
)

// DeviceDetail is what is kept of one laptop beside how it stands.
type DeviceDetail struct {
	Starts  []Start  `json:"starts"`  // the last seen first
	Anchors []Anchor `json:"anchors"` // oldest first
	// Predecessor is the device that this system was before, Successors those that
	// say they were this one.
	Predecessor string   `json:"predecessor,omitempty"`
	Successors  []string `json:"successors,omitempty"`
}

// Start is one way in which a laptop started.
type Start struct {
	Key       string              `json:"key"` // hexadecimal
	State     store.BaselineState `json:"state"`
	Now       bool                `json:"now,omitempty"` // the last quote showed it
	FirstSeen time.Time           `json:"first_seen"`
	LastSeen  time.Time           `json:"last_seen"`
	DecidedAt time.Time           `json:"decided_at,omitzero"`
	DecidedBy string              `json:"decided_by,omitempty"`
	Why       string              `json:"why,omitempty"`
	// Unexplained: no boot log tells its parts; it is known by its registers alone.
	Unexplained bool `json:"unexplained,omitempty"`
	// Changes are against the way that was in force when this one came.
	Changes []verify.BootChange `json:"changes,omitempty"`
	// Parts tell, by its component, how common each part of it is among the other
	// healthy laptops of the model, and in how many of those it has been approved for
	// a week; none without a known model.
	Parts map[string]store.Prevalence `json:"parts,omitempty"`
	// Others wait that start in the same way.
	Others int `json:"others,omitempty"`
}

// Anchor is one identity that a device had.
type Anchor struct {
	EKSHA256 string    `json:"ek_sha256,omitempty"`
	Key      string    `json:"key"` // the SHA-256 of its system's key
	Level    string    `json:"level"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until,omitzero"` // zero: it has it now
	Cause    string    `json:"cause,omitempty"`
}

package web

import (
	"context"
	"time"

	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/people"
	"muster/server/store"
)

// Standing is where a browser stands with one application.
type Standing struct {
	App  decide.App
	Host string // as it was asked for, with port
	// Decision is for this browser's own session, which may be over or absent.
	Decision decide.Decision
	Device   string // id of the linked laptop; empty without
	Platform posture.Platform
	// Terms are set where the application asks for an elevation.
	Terms decide.ElevationTerms
	// Again is where to go when it opens: a page of ours that leads back.
	Again string
}

// StandingFunc tells how the session behind a cookie stands with the application at
// a host; ok is false where no application has that host. back is a path there, from
// who asks: rules may name both.
type StandingFunc func(ctx context.Context, cookie, host, back string, from people.From) (a *Standing, ok bool)

// Office is what administrators' pages act on beside people. None may be nil.
type Office struct {
	// Devices shows all devices, those that wait first.
	Devices func() []OfficeDevice
	// Approve and Revoke change one; by names the person in the audit log.
	Approve func(ctx context.Context, by people.Actor, id, code, owner, class string) error
	Revoke  func(ctx context.Context, by people.Actor, id, why string) error
	// Device tells more of one; store.ErrNotFound.
	Device func(ctx context.Context, id string) (*DeviceDetail, error)
	// DecideStart approves or refuses a way to start, by its key in hexadecimal; with
	// everywhere it approves it for all that start in the same way and wait. It tells
	// for how many laptops.
	DecideStart func(ctx context.Context, by people.Actor, id, key string, approve, everywhere bool) (int, error)
	// Policy is the running policy's text and where it comes from: a file's name, or
	// empty where pages may replace it.
	Policy func() (digest, text, file string)
	// Simulate tells what a policy would change, without using it. Its error is
	// decide.Problems where the text is no policy.
	Simulate func(ctx context.Context, text string) (*Simulation, error)
	// UsePolicy replaces the running policy.
	UsePolicy func(ctx context.Context, by people.Actor, text string) error
	// Audit reads records, newest first, before a number; 0: the newest.
	Audit func(ctx context.Context, before uint64, most int) ([]*store.Entry, error)
}

// OfficeDevice is a laptop as administrators see it.
type OfficeDevice struct {
	Laptop
	Serial     string
	EnrolledAt time.Time
	Group      string
	RevokedWhy string
}

// Simulation is what another policy would change.
type Simulation struct {
	Digest   string              `json:"digest"`
	Devices  int                 `json:"devices"`  // looked at
	Sessions int                 `json:"sessions"` // looked at
	Changes  []SimulatedChange   `json:"changes"`  // worst first; at most 1,000
	Lost     int                 `json:"lost"`     // changes to the worse
	Won      int                 `json:"won"`      // changes to the better
	Trial    []SimulatedTrial    `json:"trial"`    // of the new policy's report-only rules
	Diff     []decide.Change     `json:"diff"`     // of the texts' meaning
	Tests    []decide.TestResult `json:"tests"`    // of the new policy
}

// SimulatedChange is one visitor or device whose decision would be another.
type SimulatedChange struct {
	App     string         `json:"app"`
	Person  string         `json:"person,omitempty"` // name; empty: the laptop by itself
	Session string         `json:"session,omitempty"`
	Device  string         `json:"device,omitempty"`
	Laptop  string         `json:"laptop,omitempty"` // name
	Before  decide.Outcome `json:"before"`
	After   decide.Outcome `json:"after"`
	Reasons []string       `json:"reasons"` // codes that count afterwards
}

// SimulatedTrial counts what a report-only rule would have done now.
type SimulatedTrial struct {
	Rule     string `json:"rule"`
	Devices  int    `json:"devices"`  // not met by so many devices
	Sessions int    `json:"sessions"` // and sessions
}

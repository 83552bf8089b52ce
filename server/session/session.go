package session

import "time"

// Limits bound a session.
type Limits struct {
	Idle     time.Duration `json:"idle"`     // without a request
	Absolute time.Duration `json:"absolute"` // since sign-in
}

// Session is one sign-in in one browser.
type Session struct {
	ID         string    `json:"id"` // public: tells nothing of the cookie
	Person     string    `json:"person"`
	Credential []byte    `json:"credential"`
	CreatedAt  time.Time `json:"created_at"`
	// VerifiedAt is the last user verification by a passkey; SeenAt the last
	// request, to the minute.
	VerifiedAt time.Time `json:"verified_at"`
	SeenAt     time.Time `json:"seen_at"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
	Cause      string    `json:"cause,omitempty"` // why it ended: a stable code
	Limits     Limits    `json:"limits"`
	Address    string    `json:"address"` // of the browser at sign-in
	Browser    string    `json:"browser"` // user agent at sign-in, cut
	Attachment string    `json:"attachment,omitempty"`
	AMR        []string  `json:"amr"` // RFC 8176: hwk or swk, user, mfa
	ACR        string    `json:"acr"`
	Binding    string    `json:"binding"` // none
	Link       *Link     `json:"link,omitempty"`
	Epoch      uint64    `json:"epoch"` // the store's; of another one: ended
}

// FreshFor is how long hands stay fresh: every act that adds power needs a user
// verification by an existing passkey within it.
const FreshFor = 5 * time.Minute

// Strength is how a link was proved.
type Strength string

// Code: a code was read from the laptop and typed. App: muster:// opened the
// agent. Loopback: the page asked the agent itself.
const (
	ByCode     Strength = "code"
	ByApp      Strength = "app"
	ByLoopback Strength = "loopback"
)

// Link says which laptop the session's browser is on.
type Link struct {
	Device   string    `json:"device"`
	Anchor   string    `json:"anchor,omitempty"` // the laptop's, when it vouched
	Person   string    `json:"person"`           // name: for whom it vouched
	Strength Strength  `json:"strength"`
	First    time.Time `json:"first"`
	At       time.Time `json:"at"`      // the last proof: links age
	Address  string    `json:"address"` // of the agent at the last proof
}

// Device is what a session needs to know of a laptop.
type Device struct {
	ID, Name, Owner string
	Class           string // corporate, byod, contractor, shared
	Level           string // assurance level: tpm-hw, ...
	Anchor          string // names the key that it is known by: with another one it is another laptop
	Active          bool
	// Current: its lease runs. Healthy: no rule for its kind fails, as it would be
	// told itself.
	Current, Healthy bool
}

// LinkState is what a link is worth now.
type LinkState string

// Absent: there is none. Suspended: the laptop's lease is out; its next good
// report restores the link. Live: it holds; its age and strength are inputs to
// policy.
const (
	LinkAbsent    LinkState = "absent"
	LinkSuspended LinkState = "suspended"
	LinkLive      LinkState = "live"
)

// Fresh reports whether the session's hands are fresh.
func Fresh(s *Session, now time.Time) bool {
	age := now.Sub(s.VerifiedAt)
	return s.EndedAt.IsZero() && age >= 0 && age < FreshFor
}

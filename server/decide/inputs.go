package decide

import (
	"net/netip"
	"time"

	"muster/server/verify"
)

// Inputs are all that a decision rests on, but for the request itself.
type Inputs struct {
	// Device is the last Result of the laptop; it means nothing unless HasResult.
	Device    verify.Result
	HasResult bool
	// TPM is the laptop's, as its EK certificate names it, or what it said of it when
	// it enrolled; zero: its report's claim counts, if there is one.
	TPM TPM
	// App is the id of the application that is asked for.
	App string
	// Now is the server's time.
	Now time.Time
	// Grace is the device's book as [Policy.NextGrace] last returned it; nil when
	// the device never needed grace.
	Grace GraceBook
	// Bypasses are what administrators let pass for this person for a while, and
	// DeviceBypasses for this laptop: those pass rules that are about laptops alone,
	// since anybody may sit there.
	Bypasses, DeviceBypasses []Bypass
	// Visitor is who asks; nil: a laptop asks by itself. With a visitor, Device is
	// the laptop that the session is linked to; without such a link there is none.
	Visitor *Visitor
}

// Visitor is somebody who is signed in, in one browser.
type Visitor struct {
	Session    Session
	Passkey    Passkey
	User       User
	Elevations []Elevation // those that were granted to this session
}

// Session is a sign-in session as a policy sees it.
type Session struct {
	ID string
	// Over is why it is over, as a stable code; empty while it lives.
	Over                             string
	SignedInAt, SeenAt, UserVerified time.Time
	AMR                              []string // RFC 8176
	ACR                              string
	Binding                          string // none, dbsc, mtls
	Link                             Link
}

// Link is what ties the session's browser to the laptop. The zero Link is none.
type Link struct {
	State    string // absent, suspended, live
	Strength string // code, app, loopback
	At       time.Time
}

// Passkey is the one that opened the session.
type Passkey struct {
	Evidence      string // none, self, attested
	AAGUID        string // as in 00000000-0000-0000-0000-000000000000
	Format        string // packed, tpm, ...
	Certification int    // FIDO level 0 to 3; 0 unless attested
	Bad           string // a status that ends trust in the model; empty without
	Weak          []string
	// BackupEligible: it may be synced to other machines.
	BackupEligible, BackupState, CloneWarning bool
	CreatedAt                                 time.Time
	// Platform: at this sign-in the authenticator was part of the machine.
	Platform bool
	// System is the only operating system whose machines have authenticators of this
	// model built in: linux, windows or darwin; empty when unknown or several.
	System string
	// TPM is what a tpm attestation said of the TPM that holds the key; zero
	// otherwise.
	TPM TPM
}

// TPM names a TPM by its vendor's words (TPM 2.0 Part 2 §6.13, TPM_PT_MANUFACTURER;
// TCG EK Credential Profile §3.1.2).
type TPM struct {
	Manufacturer string // four characters at most, as in INTC
	Model        string
	Firmware     string
}

// User is the person.
type User struct {
	Name   string
	Role   string // person, help_desk, auditor, administrator
	Groups []string
}

// Elevation is privileged access to one application for some minutes.
type Elevation struct {
	App           string
	Granted, Ends time.Time
	Approved      bool // by a second person
}

// Bypass lets one rule pass for a while.
type Bypass struct {
	Rule string
	Ends time.Time
}

// Request is what is known only at the check. Rules that name it can only make a
// decision more severe. What is not known is empty.
type Request struct {
	Method  string     // as sent, upper case
	Path    string     // decoded, without dot segments; empty: ambiguous, so unknown
	Address netip.Addr // of the client, as the gateway saw it
	Country string     // ISO 3166-1 alpha-2, upper case
	ASN     uint32     // autonomous system number
	// Upgrade: it asks for another protocol (WebSocket), which then carries what no
	// method tells.
	Upgrade bool
}

package passkey

import (
	"time"

	"muster/server/reference"
)

// Evidence is what is proved of the authenticator that holds a credential.
type Evidence string

// None: nothing, its AAGUID is only a claim. Self: the credential signed for
// itself, which proves no model. Attested: its attestation chains to a root that
// the metadata names for its model.
const (
	None     Evidence = "none"
	Self     Evidence = "self"
	Attested Evidence = "attested"
)

// Credential is a registered passkey. All but Use and Judgement is fixed at
// registration.
type Credential struct {
	ID        []byte           `json:"id"`
	PublicKey []byte           `json:"public_key"` // COSE_Key
	Algorithm int64            `json:"algorithm"`  // COSE: -7, -257, -8
	AAGUID    reference.AAGUID `json:"aaguid"`
	// Attestation and ClientData are the bytes of the registration, so that other
	// metadata can judge the credential again.
	Attestation    []byte   `json:"attestation"`
	ClientData     []byte   `json:"client_data"`
	Transports     []string `json:"transports,omitempty"`
	Attachment     string   `json:"attachment,omitempty"` // platform, cross-platform
	BackupEligible bool     `json:"backup_eligible"`
	UserVerified   bool     `json:"user_verified"`
	// RegisteredAt is when: a certificate of its attestation counts when it was
	// valid then, since what it attested stays true. Zero: it must be valid now.
	RegisteredAt time.Time `json:"registered_at,omitzero"`

	Judgement Judgement `json:"judgement"`
	Use       Use       `json:"use"`
}

// Use is what each assertion says anew.
type Use struct {
	BackupState bool `json:"backup_state"`
	// SignCount is the highest that was seen: a clone that counts lower cannot set
	// it back and silence the warning about the next.
	SignCount uint32 `json:"sign_count"`
	// CloneWarning: the counter did not grow although one is kept (WebAuthn §6.1.1).
	// It is no refusal, since counters go wrong for other reasons, too: policy
	// judges. It speaks of this assertion only.
	CloneWarning bool      `json:"clone_warning,omitempty"`
	UserVerified bool      `json:"user_verified"`
	Attachment   string    `json:"attachment,omitempty"` // of this assertion
	At           time.Time `json:"at"`
}

// Judgement is what the metadata of now says of a credential.
type Judgement struct {
	Evidence Evidence `json:"evidence"`
	// Why is a stable code when Evidence is not attested: no-attestation,
	// self-attestation, no-metadata, metadata-expired, not-in-metadata,
	// chain-untrusted, attestation-type-unlisted, attestation-wrong.
	Why    string `json:"why,omitempty"`
	Format string `json:"format"` // packed, tpm, android-key, apple, fido-u2f, none
	// Model names it for people: the metadata's name when attested, else the
	// community's; empty when nobody knows it.
	Model string `json:"model,omitempty"`
	// Certification is the highest FIDO certification that is in force:
	// FIDO_CERTIFIED_L2; Level is its number, 0 without one, L1plus counts as 1.
	Certification string                `json:"certification,omitempty"`
	Level         int                   `json:"level,omitempty"`
	Statuses      []reference.MDSStatus `json:"statuses,omitempty"`
	// Bad is the status that ends trust in the model (REVOKED, *_COMPROMISE,
	// USER_VERIFICATION_BYPASS, RETIRED); it counts for unattested credentials that
	// only claim the model, too. Empty when there is none.
	Bad string `json:"bad,omitempty"`
	// Weak are flags of weak evidence: rs1.
	Weak []string `json:"weak,omitempty"`
	// TPM is the one that holds the key, as an attested tpm statement's certificate
	// names it: the vendor as in INTC, model and version in its own words; zero
	// otherwise, and where the certificate does not say it clearly.
	TPM struct {
		Manufacturer string `json:"manufacturer,omitempty"`
		Model        string `json:"model,omitempty"`
		Version      string `json:"version,omitempty"`
	} `json:"tpm,omitzero"`
	// Pack is the number of the metadata that it was judged by; 0 without any.
	Pack int `json:"pack,omitempty"`
}

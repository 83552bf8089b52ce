package reference

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// MDS is the verified content of one FIDO metadata BLOB (FIDO Metadata Service
// v3.0 §3.1.7): only what decisions need, ready to be kept. It is never changed.
type MDS struct {
	Number     int        `json:"number"`      // `no`, strictly rising
	NextUpdate time.Time  `json:"next_update"` // the day by which there is another
	Legal      string     `json:"legal"`       // FIDO's legal header
	Entries    []MDSEntry `json:"entries"`     // of FIDO2 authenticators, by AAGUID
	Skipped    int        `json:"skipped"`     // entries that could not be read whole, FIDO2 or not
	ImportedAt time.Time  `json:"imported_at"`
}

// MDSEntry is what the metadata says of one model.
type MDSEntry struct {
	AAGUID      AAGUID      `json:"aaguid"`
	Description string      `json:"description"`
	Statuses    []MDSStatus `json:"statuses"`
	// Roots are the DER certificates that its attestation must chain to.
	Roots [][]byte `json:"roots"`
	// Attestations are its attestation types: basic_full, attca, basic_surrogate...
	Attestations []string `json:"attestations"`
}

// MDSStatus is one status report: REVOKED, FIDO_CERTIFIED_L2 and their like. A
// word that is unknown here is kept as it came.
type MDSStatus struct {
	Status string    `json:"status"`
	From   time.Time `json:"from,omitzero"`
	// Certificate is the DER certificate of the batch that it speaks of; nil: of all.
	Certificate []byte `json:"certificate,omitempty"`
}

// Freshness says how far a pack may be trusted by its age.
type Freshness string

// A pack is fresh until its next update is due, late for thirty days, and
// expired after that: then attested counts no more.
const (
	Fresh   Freshness = "fresh"
	Late    Freshness = "late"
	Expired Freshness = "expired"
)

const (
	day = 24 * time.Hour
	// lateFor is how long a pack that has a successor still counts.
	lateFor = 30 * day
	// clockSlack is how far behind the import a clock may be and still be believed.
	clockSlack = day
)

// Entry returns what is said of a model; nil when nothing is. A nil MDS has none.
// The zero AAGUID is no model.
func (m *MDS) Entry(model AAGUID) *MDSEntry {
	if m == nil || model == (AAGUID{}) {
		return nil
	}
	i, found := slices.BinarySearchFunc(m.Entries, model, func(e MDSEntry, a AAGUID) int {
		return bytes.Compare(e.AAGUID[:], a[:])
	})
	if !found {
		return nil
	}
	return &m.Entries[i]
}

// Freshness tells how far the pack may be trusted now. A clock that stands well
// before the import cannot tell the pack's age, so the pack is expired. A nil MDS
// is expired too.
func (m *MDS) Freshness(now time.Time) Freshness {
	if m == nil || m.NextUpdate.IsZero() || m.ImportedAt.IsZero() || now.Before(m.ImportedAt.Add(-clockSlack)) {
		return Expired
	}
	// The date names a day, and the pack serves until it is over.
	due := m.NextUpdate.Add(day)
	switch {
	case now.Before(due):
		return Fresh
	case now.Before(due.Add(lateFor)):
		return Late
	default:
		return Expired
	}
}

// Encode returns the form to be kept: JSON, which DecodeMDS reads.
func (m *MDS) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	kept, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	return kept, nil
}

var errBehind = errors.New("something stands behind it")

// DecodeMDS reads what Encode wrote. It verifies no signature: it reads our own
// store. Members that it does not know and limits that it does not keep are errors.
func DecodeMDS(kept []byte) (*MDS, error) {
	if len(kept) > maxBLOB {
		return nil, fmt.Errorf("decoding metadata: more than %d bytes", maxBLOB)
	}
	d := json.NewDecoder(bytes.NewReader(kept))
	d.DisallowUnknownFields()
	m := new(MDS)
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("decoding metadata: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("decoding metadata: %w", errBehind)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("decoding metadata: %w", err)
	}
	return m, nil
}

// check holds what every MDS is, however it came to be: in order, without twins,
// within the limits. Entry's search relies on the order.
func (m *MDS) check() error {
	switch {
	case m == nil:
		return errors.New("there is none")
	case m.Number <= 0:
		return fmt.Errorf("number %d is not positive", m.Number)
	case !keepable(m.NextUpdate):
		return errors.New("next update is not a date")
	case !keepable(m.ImportedAt):
		return errors.New("time of import is not a time")
	case m.Skipped < 0 || len(m.Entries) > maxEntries || len(m.Legal) > maxLegal:
		return errors.New("a count or the legal text is out of bounds")
	}
	var last AAGUID // the zero one names none, so that the first must be above it too
	for i := range m.Entries {
		e := &m.Entries[i]
		if bytes.Compare(e.AAGUID[:], last[:]) <= 0 {
			return fmt.Errorf("entry %d (%s) is out of order", i+1, e.AAGUID)
		}
		if err := e.check(); err != nil {
			return fmt.Errorf("entry %s: %w", e.AAGUID, err)
		}
		last = e.AAGUID
	}
	return nil
}

// check holds the limits of one entry.
func (e *MDSEntry) check() error {
	if len(e.Statuses) > maxList || len(e.Roots) > maxList || len(e.Attestations) > maxList {
		return fmt.Errorf("a list of more than %d", maxList)
	}
	if len(e.Description) > maxDescription {
		return fmt.Errorf("a description of more than %d bytes", maxDescription)
	}
	for _, root := range e.Roots {
		if len(root) == 0 || len(root) > maxCertificate {
			return fmt.Errorf("a root of %d bytes", len(root))
		}
	}
	for _, word := range e.Attestations {
		if word == "" || len(word) > maxWord {
			return errors.New("an attestation type that is no word")
		}
	}
	for _, s := range e.Statuses {
		if s.Status == "" || len(s.Status) > maxWord || len(s.Certificate) > maxCertificate {
			return errors.New("a status that is no word, or its certificate too large")
		}
		if !s.From.IsZero() && !keepable(s.From) {
			return errors.New("a status from no date")
		}
	}
	return nil
}

// keepable tells that a time is one and that JSON can say it.
func keepable(t time.Time) bool {
	return t.Year() > 1 && t.Year() <= 9999
}

package reference

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4/json"
)

// blobEntry is what is read of an entry (FIDO Metadata Service v3.0 §3.1.1); what
// else stands there is not looked at. Pointers tell absent from empty. It is read
// with go-jose's decoder, to which a member twice is an error and a name in other
// letters another name.
type blobEntry struct {
	AAGUID    *string        `json:"aaguid"`
	Statement *blobStatement `json:"metadataStatement"`
	Statuses  []blobStatus   `json:"statusReports"`
}

type blobStatement struct {
	AAGUID       string   `json:"aaguid"`
	Description  string   `json:"description"`
	Family       string   `json:"protocolFamily"`
	Attestations []string `json:"attestationTypes"`
	Roots        []string `json:"attestationRootCertificates"`
}

// blobStatus is a status report; version 3.1 of the service calls the certificate
// of a batch batchCertificate, version 3.0 certificate.
type blobStatus struct {
	Status      string `json:"status"`
	From        string `json:"effectiveDate"`
	Batch       string `json:"batchCertificate"`
	Certificate string `json:"certificate"`
}

// payloadReader takes a payload apart piece by piece, so that no count in it is
// paid for before it was looked at.
type payloadReader struct {
	decoder *stdjson.Decoder
	mds     MDS
	seen    map[AAGUID]bool // skipped ones too
}

// readPayload reads what was signed. One entry that cannot be read is skipped and
// counted: its model then has no entry, or one without roots, and is unproved.
func readPayload(payload []byte, now time.Time) (*MDS, error) {
	r := &payloadReader{decoder: stdjson.NewDecoder(bytes.NewReader(payload)), seen: map[AAGUID]bool{}}
	if err := r.read(); err != nil {
		return nil, refuseBLOB("mds-content", fixFetch, "the BLOB's content cannot be used: %v", err)
	}
	r.mds.ImportedAt = now.UTC().Truncate(time.Second)
	slices.SortFunc(r.mds.Entries, func(a, b MDSEntry) int { return bytes.Compare(a.AAGUID[:], b.AAGUID[:]) })
	if err := r.mds.check(); err != nil {
		return nil, refuseBLOB("mds-content", fixFetch, "the BLOB's content cannot be used: %v", err)
	}
	return &r.mds, nil
}

var errNoObject = errors.New("it is not a JSON object")

func (r *payloadReader) read() error {
	if token, err := r.decoder.Token(); err != nil || token != stdjson.Delim('{') {
		return errNoObject
	}
	members := map[string]bool{}
	for r.decoder.More() {
		token, err := r.decoder.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return errNoObject
		}
		known := name == "no" || name == "nextUpdate" || name == "legalHeader" || name == "entries"
		if members[name] && known {
			return fmt.Errorf("it has two members %s", name)
		}
		if known {
			members[name] = true
		}
		if err := r.member(name); err != nil {
			return err
		}
	}
	if _, err := r.decoder.Token(); err != nil {
		return errNoObject
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return errBehind
	}
	for _, name := range []string{"no", "nextUpdate", "entries"} {
		if !members[name] {
			return fmt.Errorf("it has no %s", name)
		}
	}
	return nil
}

// member reads the value of one member of the whole.
func (r *payloadReader) member(name string) error {
	switch name {
	case "entries":
		return r.entries()
	case "no":
		if err := r.decoder.Decode(&r.mds.Number); err != nil || r.mds.Number <= 0 {
			return errors.New("its number (no) is not a positive whole number")
		}
	case "nextUpdate":
		var text string
		err := r.decoder.Decode(&text)
		if err == nil {
			r.mds.NextUpdate, err = readDate(text)
		}
		if err != nil {
			return errors.New("its nextUpdate is not a date as 2006-01-02")
		}
	case "legalHeader":
		if err := r.decoder.Decode(&r.mds.Legal); err != nil || len(r.mds.Legal) > maxLegal {
			return fmt.Errorf("its legalHeader is not a text of at most %d bytes", maxLegal)
		}
	default:
		var skipped stdjson.RawMessage
		if err := r.decoder.Decode(&skipped); err != nil {
			return errNoObject
		}
	}
	return nil
}

func (r *payloadReader) entries() error {
	if token, err := r.decoder.Token(); err != nil || token != stdjson.Delim('[') {
		return errors.New("its entries are not an array")
	}
	var raw stdjson.RawMessage // one entry, its room used again for the next
	for n := 1; r.decoder.More(); n++ {
		if n > maxEntries {
			return fmt.Errorf("it has more than %d entries", maxEntries)
		}
		if err := r.decoder.Decode(&raw); err != nil {
			return fmt.Errorf("entry %d is not whole JSON", n)
		}
		if err := r.entry(raw); err != nil {
			return err
		}
	}
	if _, err := r.decoder.Token(); err != nil {
		return errors.New("its entries do not end")
	}
	return nil
}

// entry keeps an entry, leaves it when it is of no FIDO2 authenticator, or skips
// and counts it. Only a second entry of the same model is an error: which of the
// two counts could not be told.
func (r *payloadReader) entry(raw []byte) error {
	var e blobEntry
	if len(raw) > maxEntry || json.Unmarshal(raw, &e) != nil {
		r.mds.Skipped++
		return nil
	}
	if e.AAGUID == nil {
		// Of UAF or U2F, which have other names: not kept, but a bad one is counted,
		// so that the number says how the whole BLOB reads.
		if _, err := e.Statement.roots(); err != nil {
			r.mds.Skipped++
		}
		return nil
	}
	var model AAGUID
	if model.UnmarshalText([]byte(*e.AAGUID)) != nil || model == (AAGUID{}) {
		r.mds.Skipped++
		return nil
	}
	if r.seen[model] {
		return fmt.Errorf("it has two entries of the model %s", model)
	}
	r.seen[model] = true
	kept, err := e.read(model)
	if err != nil {
		r.mds.Skipped++
	}
	if kept != nil {
		r.mds.Entries = append(r.mds.Entries, *kept)
	}
	return nil
}

// read returns what is kept of an entry; nil when it is of no FIDO2 authenticator.
// Where its roots alone cannot be read there is an error and an entry without any:
// nothing chains to it, and a status that ends trust in the model still does.
func (e *blobEntry) read(model AAGUID) (*MDSEntry, error) {
	if e.Statement == nil {
		return nil, errors.New("no statement")
	}
	if e.Statement.Family == "uaf" || e.Statement.Family == "u2f" {
		return nil, nil
	}
	var stated AAGUID
	if err := stated.UnmarshalText([]byte(e.Statement.AAGUID)); err != nil || stated != model || e.Statement.Family != "fido2" {
		return nil, errors.New("the statement is of another model")
	}
	if len(e.Statuses) > maxList {
		return nil, errors.New("too many statuses")
	}
	roots, unread := e.Statement.roots()
	kept := &MDSEntry{AAGUID: model, Description: printable(e.Statement.Description), Attestations: e.Statement.Attestations, Roots: roots}
	// A status that cannot be read might be the one that revokes, so that the whole
	// entry goes with it.
	for _, s := range e.Statuses {
		status, err := s.read()
		if err != nil {
			return nil, err
		}
		kept.Statuses = append(kept.Statuses, status)
	}
	if err := kept.check(); err != nil {
		return nil, err
	}
	return kept, unread
}

// roots reads the certificates, all of them or none.
func (s *blobStatement) roots() (roots [][]byte, err error) {
	if s == nil {
		return nil, nil
	}
	if len(s.Roots) > maxList {
		return nil, errors.New("too many roots")
	}
	for _, text := range s.Roots {
		der, err := readCertificate(text)
		if err != nil {
			return nil, err
		}
		roots = append(roots, der)
	}
	return roots, nil
}

func (s *blobStatus) read() (status MDSStatus, err error) {
	status.Status = s.Status
	if s.From != "" {
		if status.From, err = readDate(s.From); err != nil {
			return MDSStatus{}, err
		}
	}
	batch := s.Batch
	if batch == "" {
		batch = s.Certificate
	}
	if batch != "" {
		status.Certificate, err = readCertificate(batch)
	}
	return status, err
}

// readDate reads a day, in UTC.
func readDate(text string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil || !keepable(t) {
		return time.Time{}, errors.New("not a date")
	}
	return t, nil
}

// readCertificate reads a certificate that must be one: what Go cannot read (a
// negative serial, for one) could not judge anybody.
func readCertificate(text string) ([]byte, error) {
	der, err := readDER(text)
	if err != nil {
		return nil, err
	}
	if _, err := x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return der, nil
}

// readDER reads base64 of a bounded length. Spaces and line ends are let through:
// makers of authenticators put them in.
func readDER(text string) ([]byte, error) {
	if len(text) > 2*maxCertificate {
		return nil, fmt.Errorf("it has more than %d bytes", maxCertificate)
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("it is not base64")
	}
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("it has more than %d bytes", maxCertificate)
	}
	return der, nil
}

// printable drops what would move a terminal's cursor or turn text around.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

package reference

import (
	_ "embed"
	"encoding/hex"
	"errors"
	"strings"
)

// models has lines of an AAGUID, a space and a name, in order: see data/README.md.
//
//go:embed data/models.txt
var models string

// aaguidText is the length of an AAGUID as text.
const aaguidText = 36

var errAAGUID = errors.New("is not an AAGUID: 36 characters as in 08987058-cadc-4b81-b6e1-30de50dcbe96")

// AAGUID names a model of authenticators (WebAuthn §6.5.1). Its text form is
// that of a UUID in lower case. The zero value names none.
type AAGUID [16]byte

// String returns the text form.
func (a AAGUID) String() string {
	text, _ := a.MarshalText()
	return string(text)
}

// MarshalText returns the text form; it never errs.
func (a AAGUID) MarshalText() ([]byte, error) {
	text := make([]byte, 0, aaguidText)
	for i, b := range a {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, []byte{b})
	}
	return text, nil
}

// UnmarshalText reads the text form, and capitals too.
func (a *AAGUID) UnmarshalText(text []byte) error {
	if len(text) != aaguidText || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return errAAGUID
	}
	digits := strings.ReplaceAll(string(text), "-", "")
	var read AAGUID
	if len(digits) != 2*len(read) {
		return errAAGUID
	}
	if _, err := hex.Decode(read[:], []byte(digits)); err != nil {
		return errAAGUID
	}
	*a = read
	return nil
}

// ModelName is what people call a model, from the community's list: for display,
// since an unattested AAGUID is only a claim. Empty when unknown.
func ModelName(model AAGUID) string {
	id := model.String()
	for line := range strings.Lines(models) {
		if listed, name, _ := strings.Cut(line, " "); listed == id {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

package agent

import (
	"errors"
	"strings"
)

// hinted is an error with what to do about it.
type hinted struct {
	error
	lines []string
}

// Unwrap returns the error proper.
func (h *hinted) Unwrap() error { return h.error }

// Hint adds to an error the lines that say what to do. A nil error stays nil.
func Hint(err error, lines ...string) error {
	if err == nil {
		return nil
	}
	return &hinted{err, lines}
}

// Hints returns what to do about an error, outermost first.
func Hints(err error) (lines []string) {
	for h := (*hinted)(nil); errors.As(err, &h); err = h.error {
		lines = append(lines, h.lines...)
	}
	return lines
}

// fixOf joins the hints of an error to one sentence.
func fixOf(err error) string { return strings.Join(Hints(err), " ") }

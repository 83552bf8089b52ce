package passkey

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"muster/server/reference"
)

// inForce are the statuses that speak of a credential by now, the oldest first: of
// the model as a whole, or of a batch whose certificate is in the path. One
// without a date is as old as the one before it in the list, which grows at its
// end (FIDO Metadata Service v3.0 §3.1.3).
func inForce(all []reference.MDSStatus, path []*x509.Certificate, now time.Time) []reference.MDSStatus {
	var out []reference.MDSStatus
	var last time.Time
	for _, s := range all {
		if s.From.IsZero() {
			s.From = last
		}
		last = s.From
		ours := s.Certificate == nil || slices.ContainsFunc(path, func(c *x509.Certificate) bool { return bytes.Equal(c.Raw, s.Certificate) })
		if ours && !s.From.After(now) {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b reference.MDSStatus) int { return a.From.Compare(b.From) })
	return out
}

// bad is the newest status that ends trust. No later report lifts it: an update
// that is available, or a new certification, says of the authenticator in hand
// neither that it was updated nor that it is a newer one (§3.1.4). It goes when
// the metadata no longer lists it.
func bad(all []reference.MDSStatus, path []*x509.Certificate, now time.Time) string {
	for _, s := range slices.Backward(inForce(all, path, now)) {
		switch {
		case s.Status == "REVOKED", s.Status == "RETIRED", s.Status == "USER_VERIFICATION_BYPASS", strings.HasSuffix(s.Status, "_COMPROMISE"):
			return s.Status
		}
	}
	return ""
}

// grades are FIDO's certifications, the lowest first, with their levels.
func grades() []struct {
	status string
	level  int
} {
	return []struct {
		status string
		level  int
	}{
		{"FIDO_CERTIFIED", 0}, // functional only, from before there were levels
		{"FIDO_CERTIFIED_L1", 1}, {"FIDO_CERTIFIED_L1plus", 1},
		{"FIDO_CERTIFIED_L2", 2}, {"FIDO_CERTIFIED_L2plus", 2},
		{"FIDO_CERTIFIED_L3", 3}, {"FIDO_CERTIFIED_L3plus", 3},
	}
}

// certification is the newest certification in force, the highest of those of one
// day. REVOKED, RETIRED and NOT_FIDO_CERTIFIED end those before them, and of the
// same day.
func certification(all []reference.MDSStatus, path []*x509.Certificate, now time.Time) (status string, level int) {
	best := -1
	var day time.Time
	statuses := inForce(all, path, now)
	var ended time.Time
	over := false
	for _, s := range statuses {
		if s.Status == "REVOKED" || s.Status == "RETIRED" || s.Status == "NOT_FIDO_CERTIFIED" {
			ended, over = s.From, true
		}
	}
	for _, s := range statuses {
		if over && !s.From.After(ended) {
			continue
		}
		for i, g := range grades() {
			if g.status == s.Status && (i > best || s.From.After(day)) {
				best, day, status, level = i, s.From, g.status, g.level
			}
		}
	}
	return status, level
}

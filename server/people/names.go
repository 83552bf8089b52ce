package people

import (
	"net/mail"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"muster/server/store"
)

const (
	maxName      = 64  // characters of a person's name
	maxDisplay   = 128 // bytes
	maxMail      = 254 // bytes (RFC 5321 §4.5.3.1.3)
	maxGroups    = 100
	maxApprovers = 10
)

// validName tells whether a person may be called that: ^[a-z0-9][a-z0-9._@+-]{0,63}$,
// and not as if it were a person's id.
func validName(name string) bool {
	for i, r := range []byte(name) {
		plain := 'a' <= r && r <= 'z' || '0' <= r && r <= '9'
		if !plain && (i == 0 || !strings.ContainsRune("._@+-", rune(r))) {
			return false
		}
	}
	return name != "" && len(name) <= maxName && !strings.HasPrefix(name, "p_")
}

// printable tells whether text is one line that can be shown as it is. Characters
// that turn the direction of writing are none: they make one name look like
// another.
func printable(text string) bool {
	return utf8.ValidString(text) && strings.TrimSpace(text) == text &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// label tells whether a thing may be called that.
func label(text string) bool {
	return text != "" && printable(text) && utf8.RuneCountInString(text) <= maxLabel
}

// validMail tells whether a notice can be sent there: an address alone, in ASCII
// without quotes, so that no header can be smuggled in.
func validMail(address string) bool {
	if len(address) > maxMail || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
		return false
	}
	parsed, err := mail.ParseAddress(address)
	return err == nil && parsed.Address == address
}

func validRole(role store.Role) bool {
	switch role {
	case store.RolePerson, store.RoleHelpDesk, store.RoleAuditor, store.RoleAdministrator:
		return true
	}
	return false
}

// wrongIn says what is wrong in a person's fields; empty when nothing is.
func wrongIn(p *store.Person) string {
	switch {
	case !validName(p.Name):
		return "the name must be 1 to 64 of a-z 0-9 . _ @ + - and begin with a letter or digit"
	case len(p.Display) > maxDisplay || !printable(p.Display):
		return "the display name must be printable text of at most 128 bytes"
	case p.Mail != "" && !validMail(p.Mail):
		return "the mail address must be one plain address"
	case !validRole(p.Role):
		return "the role must be person, help_desk, auditor or administrator"
	case len(p.Groups) > maxGroups || slices.ContainsFunc(p.Groups, func(g string) bool { return !label(g) }):
		return "there may be at most 100 groups, each printable text of at most 64 characters"
	case len(p.Approvers) > maxApprovers || slices.ContainsFunc(p.Approvers, func(n string) bool { return !validName(n) }):
		return "there may be at most 10 approvers, each the name of a person"
	case slices.Contains(p.Approvers, p.Name):
		return "nobody approves their own recovery"
	case repeats(p.Groups) || repeats(p.Approvers):
		return "a group or approver is named twice"
	}
	return ""
}

func repeats(list []string) bool {
	sorted := slices.Sorted(slices.Values(list))
	return len(slices.Compact(sorted)) != len(list)
}

// wrong is the refusal of a person's fields.
func wrong(what string) *Refusal {
	return refuse(400, "person-wrong", "This cannot be kept of a person: "+what+".", "Correct it and send it again.")
}

package platform

import (
	"fmt"
	"slices"
	"strings"
)

// sddlTrusted are the SYSTEM and Administrators accounts, in both spellings of
// the security descriptor definition language (MS-DTYP §2.5.1.1).
func sddlTrusted() []string { return []string{"SY", "S-1-5-18", "BA", "S-1-5-32-544"} }

// sddlPrivate refuses a security descriptor, as text with owner and DACL, that
// lets in anyone but SYSTEM, Administrators and the accounts own, or that is
// owned by anyone else. What it does not know it refuses.
func sddlPrivate(sddl string, own ...string) error {
	trusted := append(sddlTrusted(), own...)
	owner, acl, ok := sddlParts(sddl)
	if !ok {
		return fmt.Errorf("security descriptor %q has no owner or no access list: %w", sddl, ErrNotPrivate)
	}
	if !slices.Contains(trusted, owner) {
		return fmt.Errorf("it belongs to %s: %w", owner, ErrNotPrivate)
	}
	_, aces, found := strings.Cut(acl, "(")
	if !found {
		// "D:" alone admits nobody; "D:NO_ACCESS_CONTROL" everybody.
		if strings.Contains(acl, "NO_ACCESS_CONTROL") {
			return fmt.Errorf("it has no access list: %w", ErrNotPrivate)
		}
		return nil
	}
	for ace := range strings.SplitSeq(strings.TrimSuffix(aces, ")"), ")(") {
		// type;flags;rights;object;inherited object;account
		fields := strings.Split(ace, ";")
		if len(fields) != 6 || (fields[0] != "A" && fields[0] != "D") {
			return fmt.Errorf("its access list has an entry of an unknown kind (%s): %w", ace, ErrNotPrivate)
		}
		if fields[0] == "A" && !slices.Contains(trusted, fields[5]) {
			return fmt.Errorf("it is open to %s: %w", fields[5], ErrNotPrivate)
		}
	}
	return nil
}

// sddlParts takes "O:owner[G:group]D:acl[S:audit]" apart. Within owner and
// group no colon occurs, and an audit list follows a closing parenthesis.
func sddlParts(sddl string) (owner, acl string, ok bool) {
	rest, found := strings.CutPrefix(sddl, "O:")
	if !found {
		return "", "", false
	}
	head, acl, found := strings.Cut(rest, "D:")
	if !found {
		return "", "", false
	}
	owner, _, _ = strings.Cut(head, "G:")
	acl, _, _ = strings.Cut(acl, "S:")
	return owner, acl, owner != ""
}

package evidence

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// standing says how far one point of the evidence holds. The zero value is not
// proved.
type standing uint8

const (
	// unproved: there is nothing in the file, or in the auditor's hands, to show it.
	unproved standing = iota
	// word: only the server says so, and it cannot be shown by anybody else.
	word
	// proved: computed from the file and the auditor's roots alone.
	proved
	// contradicted: two parts of the file, or the file and the roots, cannot both be
	// true.
	contradicted
)

// String returns the wire name.
func (s standing) String() string {
	return [...]string{"not-proved", "server's-word", "proved", "contradicted"}[s&3]
}

// MarshalText is String.
func (s standing) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Check is one point that was looked at.
type Check struct {
	Point    string   `json:"point"` // stable
	Standing standing `json:"standing"`
	Text     string   `json:"text"` // what was found, one sentence
	// Needed: it is not proved, and what the server says rests on it.
	Needed bool `json:"needed,omitempty"`
}

// Verdict is what [Verify] found.
type Verdict struct {
	Format string `json:"format"`
	Device string `json:"device"`
	// Decision is the number of the audit log's entry, and Outcome what it says.
	Decision uint64 `json:"decision"`
	Outcome  string `json:"outcome"`
	// Content is the digest that stands for the whole file: of this one, or, of a
	// redacted one, as it says of itself.
	Content string   `json:"content"`
	Checks  []Check  `json:"checks"`
	Proves  []string `json:"proves"`
	// DoesNotProve is what nobody can read out of the file, however whole it is.
	DoesNotProve []string `json:"does_not_prove"`
	// Holds is [Verdict.Whole], for programs.
	Holds bool `json:"holds"`
}

// Whole reports whether everything that can be proved is: nothing is contradicted,
// and nothing is missing on which the rest stands.
func (v *Verdict) Whole() bool {
	for _, c := range v.Checks {
		if c.Standing == contradicted || c.Needed {
			return false
		}
	}
	return len(v.Checks) > 0
}

func (v *Verdict) say(point string, s standing, format string, args ...any) {
	v.Checks = append(v.Checks, Check{Point: point, Standing: s, Text: fmt.Sprintf(format, args...)})
}

// lacks is say for what is not there, or not shown, and the rest stands on.
func (v *Verdict) lacks(point, format string, args ...any) {
	v.say(point, unproved, format, args...)
	v.Checks[len(v.Checks)-1].Needed = true
}

// is returns the standing of a point; of several with its name, the worst.
func (v *Verdict) is(point string) standing {
	found, worst := false, proved
	for _, c := range v.Checks {
		if c.Point != point {
			continue
		}
		found = true
		switch {
		case c.Standing == contradicted || worst == contradicted:
			worst = contradicted
		case c.Standing < worst:
			worst = c.Standing
		}
	}
	if !found {
		return unproved
	}
	return worst
}

// Text writes the verdict for a person: one line for each point, then what all of
// it proves and what it does not.
func (v *Verdict) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: device %s, decision %d: %s\ncontent %s\n\n", v.Format, plain(v.Device), v.Decision, plain(v.Outcome), v.Content)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range v.Checks {
		mark := strings.ReplaceAll(strings.ToUpper(c.Standing.String()), "-", " ")
		if c.Needed {
			mark += ", and needed"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", mark, c.Point, plain(c.Text))
	}
	_ = table.Flush() // to memory
	for _, part := range []struct {
		title string
		list  []string
	}{{"What this proves", v.Proves}, {"What it does not prove", v.DoesNotProve}} {
		fmt.Fprintf(&b, "\n%s:\n", part.title)
		if len(part.list) == 0 {
			b.WriteString("  nothing\n")
		}
		for _, line := range part.list {
			fmt.Fprintf(&b, "  - %s\n", plain(line))
		}
	}
	if v.Whole() {
		b.WriteString("\nEverything that can be proved is.\n")
	} else {
		b.WriteString("\nTHE EVIDENCE DOES NOT HOLD: see what is contradicted, or not proved and needed.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// plain keeps text out of a file on its line and away from the terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\ufffd'
		}
		return r
	}, s)
}

package decide

import (
	"strings"
	"unicode"
)

// style is how a YAML scalar is written.
type style uint8

const (
	plain style = iota
	singleQuoted
	doubleQuoted
	block // | or >
)

// scalar is a YAML string and where it stands.
type scalar struct {
	text  string
	at    place // of the first character, quote or | included
	style style
}

// find maps a position inside the text to one in the file. YAML folds lines,
// removes indentation and undoes escapes, but keeps the other characters in
// order: so the n-th character that is not blank in the text is the n-th that is
// not blank in the file.
func (s *scalar) find(source []string, line, column int) place {
	n := nonBlankBefore(s.text, line, column)
	at := s.at
	switch s.style {
	case block:
		at = place{s.at.line + 1, 1}
	case singleQuoted, doubleQuoted:
		at.column++
	}
	found := s.at
	for ; at.line <= len(source); at = (place{at.line + 1, 1}) {
		runes := []rune(source[at.line-1])
		for i := at.column - 1; i >= 0 && i < len(runes); {
			width, blank := s.unit(runes[i:])
			if !blank {
				found = place{at.line, i + 1}
				if n == 0 {
					return found
				}
				n--
			}
			i += width
		}
	}
	return found
}

// nonBlankBefore counts the characters that are not blank before a position
// (both from 1) in a text.
func nonBlankBefore(text string, line, column int) (n int) {
	l, c := 1, 1
	for _, r := range text {
		if l > line || (l == line && c >= column) {
			break
		}
		if !unicode.IsSpace(r) {
			n++
		}
		if c++; r == '\n' {
			l, c = l+1, 1
		}
	}
	return n
}

// unit is the next character as written: how many it takes in the file, and
// whether it is blank in the text.
func (s *scalar) unit(r []rune) (width int, blank bool) {
	switch {
	case s.style == singleQuoted && len(r) > 1 && r[0] == '\'' && r[1] == '\'':
		return 2, false
	case s.style == doubleQuoted && r[0] == '\\':
		if len(r) == 1 {
			return 1, true // a line that goes on
		}
		switch r[1] {
		case 'x':
			return 4, false
		case 'u':
			return 6, false
		case 'U':
			return 10, false
		}
		return 2, strings.ContainsRune("nrtvfN_LP \t", r[1])
	}
	return 1, unicode.IsSpace(r[0])
}

package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one defect of a policy file.
type Problem struct {
	File         string
	Line, Column int    // both from 1; columns count characters
	Text         string // what is wrong and what to do, one sentence
}

// Error reads file:line:column: what, what to do.
func (p Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Problems are all defects of a policy file, in the order of the file. It is
// the error that [Load] returns.
type Problems []Problem

// Error has one problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.Error()
	}
	return strings.Join(lines, "\n")
}

// maxProblems are told at once; a file with more is probably not a policy.
const maxProblems = 50

// place is a position in the file, both from 1.
type place struct{ line, column int }

// complaints collects problems of one file.
type complaints struct {
	file  string
	found Problems
}

func (c *complaints) add(at place, format string, args ...any) {
	if len(c.found) < maxProblems {
		c.found = append(c.found, Problem{c.file, max(at.line, 1), max(at.column, 1), fmt.Sprintf(format, args...)})
	}
}

// err returns them in the order of the file, or nil.
func (c *complaints) err() error {
	if len(c.found) == 0 {
		return nil
	}
	slices.SortStableFunc(c.found, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return c.found
}

// Package mutanttest takes evidence that is whole and changes each of its bytes in
// every small way, to show that no change makes it better: boot logs, quotes and
// statements alike.
//
// [Sweep] judges the mutants of each [Subject], some of them or all, measures what
// each costs, and fails the test with the first that got better.
//
// It is imported by tests only.
package mutanttest

package verify

import (
	"slices"

	"muster/server/reference"
)

// BaselineState is where a set stands with the people in charge.
type BaselineState string

// First: the only one ever seen, or none yet. The others are as the store keeps
// them.
const (
	BaselineFirst    BaselineState = "new"
	BaselineApproved BaselineState = "approved"
	BaselineDrifted  BaselineState = "drifted"
	BaselineRefused  BaselineState = "refused"
)

// SeenSet is one set that a device showed before.
type SeenSet struct {
	State BaselineState
	Set   *BootSet
}

// compareRaw compares what can be while the log is on its way: a start whose
// registers are those of a refused one is refused, log or not. It is never good.
func (b *Boot) compareRaw(seen []SeenSet) {
	b.Baseline.Reason = b.Reason
	at := Decided(seen, bootSet(b.PCRs, nil))
	if at < 0 {
		return
	}
	switch seen[at].State {
	case BaselineRefused:
		b.Baseline.State, b.Baseline.Reason = no, BootRefused
	case BaselineApproved, BaselineFirst:
	default:
		b.Baseline.State, b.Baseline.Reason = no, BootDrifted
	}
}

// compare finds the set among those that were seen. The nearest approved one, or
// else the first, is what a new one differs from.
func (b *Boot) compare(seen []SeenSet, refs *reference.Boot) {
	like := Like(seen, b.Set)
	at := Decided(seen, b.Set)
	switch {
	case at >= 0:
		b.Standing = seen[at].State
	case len(seen) == 0:
		b.Standing = BaselineFirst
	default:
		b.Standing = BaselineDrifted
	}
	switch b.Standing {
	case BaselineFirst, BaselineApproved:
		b.Baseline.State, b.Baseline.Reason = yes, ""
		return
	case BaselineRefused:
		b.Baseline.State, b.Baseline.Reason = no, BootRefused
	default:
		b.Baseline.State, b.Baseline.Reason = no, BootDrifted
	}
	if like != nil {
		b.Changes = b.Set.Changes(like, refs)
	}
	if b.Baseline.Reason == BootDrifted && b.Expected() {
		b.Baseline.State, b.Baseline.Reason = yes, BootExpected
	}
}

// Like returns the start that another one is compared with: the last that was
// approved, or else the first; nil for none.
func Like(seen []SeenSet, set *BootSet) *BootSet {
	for _, k := range seen {
		if k.Set != nil && !k.Set.Same(set) && (k.State == BaselineApproved || k.State == BaselineFirst) {
			return k.Set
		}
	}
	return nil
}

// Decided returns which of the sets that were seen before decides of one: of all
// that are the same start, with a log or without, a refused one, else an approved
// one, else the very same set, else one that waits; -1 for none.
func Decided(seen []SeenSet, set *BootSet) int {
	key := set.Key()
	weight := func(k *SeenSet) int {
		switch {
		case k.State == BaselineRefused:
			return 5
		case k.State == BaselineApproved:
			return 4
		case k.Set.Key() == key:
			return 3
		case k.State == BaselineFirst:
			return 1
		}
		return 2
	}
	at := -1
	for i := range seen {
		if seen[i].Set != nil && seen[i].Set.Same(set) && (at < 0 || weight(&seen[i]) > weight(&seen[at])) {
			at = i
		}
	}
	return at
}

// Expected reports whether all that changed is what Microsoft rolls out to every
// machine.
func (b *Boot) Expected() bool {
	return len(b.Changes) > 0 && !slices.ContainsFunc(b.Changes, func(c BootChange) bool { return !c.Expected })
}

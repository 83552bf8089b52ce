package verify

import (
	"slices"
	"strings"
	"testing"

	"muster/attest"
	"muster/attest/bootlog"
	"muster/attest/posture"
)

func setOf(change func(*bootlog.Account), pcrs attest.PCRs) *BootSet {
	a := good()
	if change != nil {
		change(a)
	}
	if pcrs == nil {
		pcrs = attest.PCRs{0: {1}, 4: {4}, 7: {7}}
	}
	return bootSet(pcrs, a)
}

// Every member of a set is in its key, and names for people are not.
func TestSetKeys(t *testing.T) {
	base := setOf(nil, nil)
	if !base.Explained || base.Key() != setOf(nil, nil).Key() {
		t.Fatal("the same start has two keys, or is not explained")
	}
	type account = *bootlog.Account
	for name, other := range map[string]*BootSet{
		"firmware":     setOf(nil, attest.PCRs{0: {2}, 4: {4}, 7: {7}}),
		"pk":           setOf(func(a account) { a.PK = keys("other") }, nil),
		"kek":          setOf(func(a account) { a.KEK = keys("kek", "more") }, nil),
		"db":           setOf(func(a account) { a.DB = keys("windows 2011") }, nil),
		"db hashes":    setOf(func(a account) { a.DB.Value.Hashes = 1 }, nil),
		"mok":          setOf(func(a account) { a.MOK = keys("distribution") }, nil),
		"mok not told": setOf(func(a account) { a.MOK = bootlog.Fact[bootlog.Keys]{} }, nil),
		"applications": setOf(func(a account) { a.Applications.Value[1].Digest = slices.Repeat([]byte{2}, 32) }, nil),
		"one more": setOf(func(a account) {
			a.Applications.Value = append(a.Applications.Value, bootlog.Application{Digest: slices.Repeat([]byte{3}, 32)})
		}, nil),
		"order":       setOf(func(a account) { slices.Reverse(a.Applications.Value) }, nil),
		"authorities": setOf(func(a account) { a.Authorities.Value[1].Certificate = cert("stranger") }, nil),
	} {
		if other.Key() == base.Key() || base.Same(other) || other.Same(base) {
			t.Errorf("%s: the same key", name)
		}
		if len(other.Changes(base, references())) == 0 {
			t.Errorf("%s: nothing is said of what changed", name)
		}
	}
	hidden := func(value byte) *BootSet {
		return setOf(func(a account) { a.MOK = bootlog.Fact[bootlog.Keys]{Reason: bootlog.Unbound} }, attest.PCRs{0: {1}, 4: {4}, 7: {7}, 14: {value}})
	}
	if hidden(1).Key() == hidden(2).Key() {
		t.Error("two lists of keys that the log does not show are the same")
	}
	w := windows()
	w.MOK = bootlog.Fact[bootlog.Keys]{}
	if list := bootSet(attest.PCRs{14: {1}}, w).MOK; list != nil {
		t.Errorf("what Windows has in shim's register counts as keys: %+v", list)
	}
	named := setOf(func(a account) {
		a.Applications.Value[0].Path = "elsewhere"
		a.DB.Value.Certificates[0].Subject = "another"
	}, nil)
	if named.Key() != base.Key() {
		t.Error("a name moved the key")
	}
	moved := setOf(nil, attest.PCRs{0: {1}, 4: {44}, 7: {77}})
	if moved.Key() != base.Key() {
		t.Error("values that the log explains alike moved the key")
	}
}

// What is not explained is compared by registers alone, and is the same start as
// the one that was explained with these.
func TestUnexplainedSets(t *testing.T) {
	base := setOf(nil, nil)
	for name, change := range map[string]func(*bootlog.Account){
		"mismatch": func(a *bootlog.Account) { a.PCRs[4] = bootlog.Mismatch }, "no authorities": func(a *bootlog.Account) { a.Authorities = bootlog.Fact[[]bootlog.Authority]{} },
		"short digest": func(a *bootlog.Account) { a.Applications.Value[0].Digest = []byte{1} },
		"too many": func(a *bootlog.Account) {
			a.PK = keys(strings.Split(strings.Repeat("x,", maxParts), ",")...)
			for i, c := range a.PK.Value.Certificates {
				c.SHA256 = [32]byte{byte(i), byte(i >> 8)}
			}
		},
	} {
		raw := setOf(change, nil)
		if raw.Explained || raw.Key() == base.Key() {
			t.Errorf("%s: explained", name)
		}
		if !raw.Same(base) || !base.Same(raw) {
			t.Errorf("%s: other than the explained one of the same registers", name)
		}
		other := setOf(change, attest.PCRs{0: {1}, 4: {44}, 7: {7}})
		if other.Same(base) || base.Same(other) || other.Same(raw) {
			t.Errorf("%s: the same in spite of other registers", name)
		}
		if c := other.Changes(raw, references()); len(c) != 1 || c[0].Expected || !strings.Contains(c[0].Text, "PCR 4") {
			t.Errorf("%s: changes %+v", name, c)
		}
	}
}

func TestBaseline(t *testing.T) {
	first, other := setOf(nil, nil), setOf(func(a *bootlog.Account) { a.PK = keys("other") }, nil)
	seen := func(list ...SeenSet) []SeenSet { return list }
	for name, test := range map[string]struct {
		seen   []SeenSet
		state  posture.State
		reason posture.Reason
	}{
		"first ever":            {nil, yes, ""},
		"as the first":          {seen(SeenSet{BaselineFirst, first}), yes, ""},
		"approved":              {seen(SeenSet{BaselineFirst, other}, SeenSet{BaselineApproved, first}), yes, ""},
		"other than the first":  {seen(SeenSet{BaselineFirst, other}), no, BootDrifted},
		"still drifted":         {seen(SeenSet{BaselineDrifted, first}, SeenSet{BaselineFirst, other}), no, BootDrifted},
		"refused":               {seen(SeenSet{BaselineRefused, first}, SeenSet{BaselineApproved, other}), no, BootRefused},
		"after a refused one":   {seen(SeenSet{BaselineRefused, other}), no, BootDrifted},
		"a state of the future": {seen(SeenSet{"blessed", first}), no, BootDrifted},
		"one that is unread":    {seen(SeenSet{BaselineFirst, nil}), no, BootDrifted},
	} {
		r := appraise(func(in *Input) { measured(good())(in); in.Boot.Seen = test.seen })
		if b := r.Boot.Baseline; b.State != test.state || b.Reason != test.reason || b.Source != posture.Measured {
			t.Errorf("%s: %v (%s)", name, b.State, b.Reason)
		}
		want := map[posture.Reason]string{BootDrifted: FindingDrift, BootRefused: FindingRefused}[test.reason]
		if want != "" && !slices.Contains(codesOf(r), want) || want == "" && len(r.Findings) > 0 {
			t.Errorf("%s: findings %v", name, codesOf(r))
		}
	}
}

// Microsoft's CAs of 2023 reach every machine: that they joined, and that programs
// show them, is expected. Anything beside it is not.
func TestExpectedDrift(t *testing.T) {
	type account = *bootlog.Account
	before := setOf(func(a account) { a.Authorities = known([]bootlog.Authority{{Certificate: cert("windows 2011")}}) }, nil)
	for name, test := range map[string]struct {
		change func(account)
		want   bool
	}{
		"db gained it":      {func(a account) { a.DB = keys("windows 2011", "uefi 2011", "windows 2023") }, true},
		"KEK gained it":     {func(a account) { a.KEK = keys("kek", "windows 2023") }, true},
		"programs moved on": {func(a account) { a.Authorities = known([]bootlog.Authority{{Certificate: cert("windows 2023")}}) }, true},
		"db gained another": {func(a account) { a.DB = keys("windows 2011", "uefi 2011", "distribution") }, false},
		"db lost one":       {func(a account) { a.DB = keys("uefi 2011") }, false},
		"PK is Microsoft's": {func(a account) { a.PK = keys("windows 2023") }, false},
		"and a new program": {func(a account) {
			a.DB = keys("windows 2011", "uefi 2011", "windows 2023")
			a.Applications.Value = a.Applications.Value[:1]
		}, false},
		"an unknown authority":  {func(a account) { a.Authorities = known([]bootlog.Authority{{Certificate: cert("stranger")}}) }, false},
		"a program by its hash": {func(a account) { a.Authorities = known([]bootlog.Authority{{Hash: [32]byte{9}}}) }, false},
	} {
		a := good()
		a.Authorities = known([]bootlog.Authority{{Certificate: cert("windows 2011")}})
		test.change(a)
		r := appraise(func(in *Input) {
			measured(a)(in)
			in.Boot.Seen = []SeenSet{{BaselineApproved, before}}
		})
		if got := r.Boot.Baseline.Reason == BootExpected; got != test.want || (r.Boot.Baseline.State == yes) != test.want {
			t.Errorf("%s: %v (%s), %+v", name, r.Boot.Baseline.State, r.Boot.Baseline.Reason, r.Boot.Changes)
		}
		if test.want && (r.Tier != appraise(measured(a)).Tier || !slices.Contains(codesOf(r), FindingDriftExpected)) {
			t.Errorf("%s: it counts against the laptop: %v, %v", name, r.Tier, codesOf(r))
		}
	}
}

// Names come out of logs: what is shown of them is short and has no control
// characters.
func TestLabels(t *testing.T) {
	p := Part{Digest: attest.Digest{1}, Name: "a\x1b[31m\r\n" + strings.Repeat("é", 200)}
	got := p.label()
	if strings.ContainsAny(got, "\x1b\r\n") || len(got) > 200 || !strings.Contains(got, "…") {
		t.Errorf("label %q", got)
	}
}

package oracle

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"muster/attest/bootlog"
	"muster/attest/mutanttest"
	"muster/attest/posture"
	"muster/server/reference"
	"muster/server/verify"
)

// With -mutants all, TestMutants judges every mutant of every log, which takes long.
var mutants = flag.String("mutants", "some", "some or all")

// TestMutants: no small change of a public boot log makes it better, ends the
// program or costs much.
func TestMutants(t *testing.T) {
	sample := map[string]int{"some": 1000, "all": 0}
	if _, ok := sample[*mutants]; !ok {
		t.Fatalf("-mutants %s", *mutants)
	}
	refs, err := reference.DefaultBoot()
	if err != nil {
		t.Fatal(err)
	}
	var subjects []mutanttest.Subject
	for _, p := range publicLogs(t) {
		subjects = append(subjects, mutanttest.Log(p.name, p.raw, p.bank(), p.values[p.bank()], noBetterClaim(refs)))
	}
	if len(subjects) != 27 {
		t.Errorf("%d logs", len(subjects))
	}
	mutanttest.Sweep(t, sample[*mutants], subjects...)
}

// noBetterClaim refuses an account of which a claim is yes that was not for the
// first.
func noBetterClaim(refs *reference.Boot) func(*bootlog.Account) error {
	var whole map[string]posture.State
	return func(a *bootlog.Account) error {
		claims := verify.JudgeBoot(a, refs, time.Unix(1795348800, 0))
		if whole == nil {
			whole = map[string]posture.State{}
			for name, c := range claims.Each() {
				whole[name] = c.State
			}
		}
		for name, c := range claims.Each() {
			if c.State == posture.Yes && whole[name] != posture.Yes {
				return fmt.Errorf("claim %s is yes and was %v", name, whole[name])
			}
		}
		return nil
	}
}

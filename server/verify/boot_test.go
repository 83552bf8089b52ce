package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/bootlog"
	"muster/attest/posture"
	"muster/server/reference"
)

func cert(name string) *bootlog.Certificate {
	return &bootlog.Certificate{SHA256: sha256.Sum256([]byte(name)), Subject: "CN=" + name}
}

func known[T any](v T) bootlog.Fact[T] { return bootlog.Fact[T]{Known: true, PCR: 7, Value: v} }

func keys(names ...string) bootlog.Fact[bootlog.Keys] {
	var k bootlog.Keys
	for _, n := range names {
		k.Certificates = append(k.Certificates, cert(n))
	}
	return known(k)
}

// revoked is the dbx of a real start; references ask for its first hash.
func revoked() bootlog.Revocations {
	const dir = "../../attest/bootlog/testdata/sb-shim-grub/"
	b, err := os.ReadFile(dir + "binary_bios_measurements")
	if err != nil {
		panic(err)
	}
	var banks map[string]map[string]string
	j, err := os.ReadFile(dir + "pcrs.json")
	if err == nil {
		err = json.Unmarshal(j, &banks)
	}
	if err != nil {
		panic(err)
	}
	quoted := make(attest.PCRs)
	for i, v := range banks["sha256"] {
		n, _ := strconv.Atoi(i)
		d, _ := hex.DecodeString(v)
		quoted[uint8(n)] = attest.Digest(d)
	}
	a, missing := ReadLog(b, quoted, nil)
	if missing != "" || !a.DBX.Known {
		panic("the real start has no dbx: " + string(missing) + string(a.DBX.Reason))
	}
	return a.DBX.Value
}

// references know two CAs of Microsoft's, a distribution, a test key and one level
// of SBAT; every dbx meets its one level.
func references() *reference.Boot {
	first := make(map[[sha256.Size]byte]bool)
	for h := range revoked().Hashes() {
		first[h] = true
		break
	}
	return &reference.Boot{
		Number: 1,
		Authorities: []reference.BootAuthority{
			{SHA256: sha256.Sum256([]byte("windows 2011")), Kind: reference.WindowsCA},
			{SHA256: sha256.Sum256([]byte("windows 2023")), Kind: reference.WindowsCA, Rollout: true},
			{SHA256: sha256.Sum256([]byte("uefi 2011")), Kind: reference.UEFICA},
			{SHA256: sha256.Sum256([]byte("distribution")), Kind: reference.DistributionCA, LocksDown: true},
			{SHA256: sha256.Sum256([]byte("lax distribution")), Kind: reference.DistributionCA},
		},
		TestKeys: []reference.TestKey{{Subject: "DO NOT TRUST"}, {SHA256: sha256.Sum256([]byte("leaked"))}},
		DBX:      []reference.DBXLevel{{Name: "first", Date: noon, Hashes: first}},
		SBAT:     []reference.SBATLevel{{Name: "first", Date: noon, Components: map[string]int{"shim": 2, "grub": 3}}},
		TPMs:     []reference.WeakTPM{{Manufacturer: "IFX", From: 0, Before: 100, CVE: "CVE-0000-0000", Text: "Its keys can be guessed.", Cap: "tpm-unverified"}},
	}
}

// good is a start of Linux in which everything holds.
func good() *bootlog.Account {
	a := &bootlog.Account{
		Bank: bootlog.SHA256, SecureBoot: known(true),
		PK: keys("maker"), KEK: keys("kek"), DB: keys("windows 2011", "uefi 2011"), DBX: known(revoked()),
		Authorities: known([]bootlog.Authority{{Variable: "db", Certificate: cert("uefi 2011")}, {Variable: "Shim", Certificate: cert("distribution")}}),
		SBAT:        known("sbat,1,2022052400\nshim,2\ngrub,3\n"), MOK: keys(), MOKOff: known(false),
		Applications: known([]bootlog.Application{{Digest: make([]byte, 32), Path: `\EFI\debian\shimx64.efi`}, {Digest: slices.Repeat([]byte{1}, 32)}}),
		UEFIDebug:    known(false), Windows: bootlog.Fact[bootlog.Windows]{Reason: bootlog.NotLogged},
	}
	for i := range a.PCRs {
		a.PCRs[i] = bootlog.Match
	}
	return a
}

// windows is one of Windows with memory integrity.
func windows() *bootlog.Account {
	a := good()
	a.Authorities = known([]bootlog.Authority{{Variable: "db", Certificate: cert("windows 2011")}})
	a.SBAT = bootlog.Fact[string]{Reason: bootlog.NotLogged}
	a.Windows = known(bootlog.Windows{
		BootDebug: known(false), KernelDebug: known(false), TestSigning: known(false), HVCI: known(true), VBS: known(true),
	})
	return a
}

func TestGoodBoots(t *testing.T) {
	for name, a := range map[string]*bootlog.Account{"Linux": good(), "Windows": windows()} {
		c := JudgeBoot(a, references(), noon)
		for claim, got := range c.Each() {
			if got.State != posture.Yes || got.Source != posture.Measured || got.Reason != "" || !got.ObservedAt.Equal(noon) {
				t.Errorf("%s: %s is %v (%s)", name, claim, got.State, got.Reason)
			}
		}
	}
}

// Each way in which a start can be worse, with the claim that says so.
func TestBadBoots(t *testing.T) {
	type account = *bootlog.Account
	lost := func(reason bootlog.Reason) func(account) {
		return func(a account) { a.Authorities = bootlog.Fact[[]bootlog.Authority]{Reason: reason} }
	}
	for name, test := range map[string]struct {
		from   func() account
		change func(account)
		claim  string
		state  posture.State
		reason posture.Reason
	}{
		"off":                    {good, func(a account) { a.SecureBoot.Value = false }, "secure_boot", no, posture.SecureBootOff},
		"not told":               {good, func(a account) { a.SecureBoot = bootlog.Fact[bool]{Reason: bootlog.Unbound} }, "secure_boot", posture.Unknown, NotBound},
		"zero fact":              {good, func(a account) { a.SecureBoot = bootlog.Fact[bool]{} }, "secure_boot", posture.Unknown, NotLogged},
		"no platform key":        {good, func(a account) { a.PK = keys() }, "secure_boot", no, posture.SetupMode},
		"no platform key's keys": {good, func(a account) { a.PK = keys() }, "secure_boot_keys", no, NoKeys},
		"test PK":                {good, func(a account) { a.PK = keys("DO NOT TRUST - AMI") }, "secure_boot_keys", no, TestKeys},
		"leaked KEK":             {good, func(a account) { a.KEK = keys("kek", "leaked") }, "secure_boot_keys", no, TestKeys},
		"test db":                {good, func(a account) { a.DB = keys("do not trust") }, "secure_boot_keys", no, TestKeys},
		"db not told, PK bad":    {good, func(a account) { a.DB, a.PK = bootlog.Fact[bootlog.Keys]{}, keys("leaked") }, "secure_boot_keys", no, TestKeys},
		"KEK not told":           {good, func(a account) { a.KEK = bootlog.Fact[bootlog.Keys]{Reason: bootlog.NotReplayed} }, "secure_boot_keys", posture.Unknown, LogUnexplained},
		"a key unread":           {good, func(a account) { a.DB.Value.Others = 1 }, "secure_boot_keys", posture.Unknown, BootOdd},
		"a stranger's signature": {good, func(a account) { a.Authorities.Value[1].Certificate = cert("stranger") }, "boot_authorities", no, UnknownAuthority},
		"a hash in db":           {good, func(a account) { a.Authorities.Value[0] = bootlog.Authority{Hash: [32]byte{1}} }, "boot_authorities", no, UnknownAuthority},
		"an early stranger": {good, func(a account) {
			a.Authorities.Value = append(a.Authorities.Value, bootlog.Authority{Early: true, Certificate: cert("card")})
		}, "boot_authorities", no, UnknownAuthority},
		"nobody vouched":        {good, func(a account) { a.Authorities.Value = nil }, "boot_authorities", posture.Unknown, NotLogged},
		"authorities not told":  {good, lost(bootlog.Unbound), "boot_authorities", posture.Unknown, NotBound},
		"dbx not told":          {good, func(a account) { a.DBX = bootlog.Fact[bootlog.Revocations]{Reason: bootlog.NotLogged} }, "boot_revocations", posture.Unknown, NotLogged},
		"empty dbx":             {good, func(a account) { a.DBX.Value = bootlog.Revocations{} }, "boot_revocations", no, DBXOld},
		"old SBAT":              {good, func(a account) { a.SBAT.Value = "sbat,1,2021030218\nshim,1\ngrub,3\n" }, "boot_revocations", no, SBATOld},
		"SBAT that is none":     {good, func(a account) { a.SBAT.Value = "shim" }, "boot_revocations", no, SBATOld},
		"no SBAT":               {good, func(a account) { a.SBAT = bootlog.Fact[string]{Reason: bootlog.NotLogged} }, "boot_revocations", no, SBATMissing},
		"SBAT hidden":           {good, func(a account) { a.SBAT = bootlog.Fact[string]{Reason: bootlog.Unbound} }, "boot_revocations", posture.Unknown, NotBound},
		"shim off":              {good, func(a account) { a.MOKOff.Value = true }, "shim_verified", no, ShimOff},
		"shim not told":         {good, func(a account) { a.MOKOff = bootlog.Fact[bool]{Reason: bootlog.NotReplayed} }, "shim_verified", posture.Unknown, LogUnexplained},
		"debugger":              {good, func(a account) { a.UEFIDebug.Value = true }, "boot_no_debug", no, FirmwareDebug},
		"debugger not told":     {good, func(a account) { a.UEFIDebug = bootlog.Fact[bool]{Reason: bootlog.Unbound} }, "boot_no_debug", posture.Unknown, NotBound},
		"kernel debugger":       {windows, func(a account) { a.Windows.Value.KernelDebug.Value = true }, "boot_no_debug", no, SystemDebug},
		"boot debugger":         {windows, func(a account) { a.Windows.Value.BootDebug.Value = true }, "boot_no_debug", no, SystemDebug},
		"test signing":          {windows, func(a account) { a.Windows.Value.TestSigning.Value = true }, "boot_no_debug", no, TestSigning},
		"test signing not told": {windows, func(a account) { a.Windows.Value.TestSigning = bootlog.Fact[bool]{} }, "boot_no_debug", posture.Unknown, NotLogged},
		"Windows behind others": {windows, func(a account) { a.Windows = bootlog.Fact[bootlog.Windows]{Reason: bootlog.Foreign} }, "boot_no_debug", posture.Unknown, BootForeign},
		"debugger of a resume": {windows, func(a account) {
			a.Windows.Value.Resumed, a.Windows.Value.KernelDebug = true, bootlog.Fact[bool]{Reason: bootlog.OfEarlierStart}
		}, "boot_no_debug", posture.Unknown, BootEarlier},
		"safe mode":                      {windows, func(a account) { a.Windows.Value.SafeMode = known(true) }, "boot_no_debug", no, SafeMode},
		"setup environment":              {windows, func(a account) { a.Windows.Value.WinPE = known(true) }, "boot_no_debug", no, SetupSystem},
		"no HVCI":                        {windows, func(a account) { a.Windows.Value.HVCI.Value = false }, "boot_security", no, NoHVCI},
		"HVCI not told":                  {windows, func(a account) { a.Windows.Value.HVCI = bootlog.Fact[bool]{} }, "boot_security", posture.Unknown, KernelUnknown},
		"HVCI while debugged":            {windows, func(a account) { a.Windows.Value.KernelDebug.Value = true }, "boot_security", posture.Unknown, SystemDebug},
		"kernel of a lax signer":         {good, func(a account) { a.Authorities.Value[1].Certificate = cert("lax distribution") }, "boot_security", posture.Unknown, KernelUnknown},
		"kernel signed by no one":        {good, func(a account) { a.Authorities.Value = a.Authorities.Value[:1] }, "boot_security", posture.Unknown, KernelUnknown},
		"a key of the owner's":           {good, func(a account) { a.MOK = keys("distribution", "owner") }, "boot_security", posture.Unknown, OwnerKeys},
		"key of a lax signer":            {good, func(a account) { a.MOK = keys("lax distribution") }, "boot_security", posture.Unknown, OwnerKeys},
		"a hash of the owner's":          {good, func(a account) { a.MOK.Value.Hashes = 1 }, "boot_security", posture.Unknown, OwnerKeys},
		"a key that is not read":         {good, func(a account) { a.MOK.Value.Others = 1 }, "boot_security", posture.Unknown, OwnerKeys},
		"keys not told":                  {good, func(a account) { a.MOK = bootlog.Fact[bootlog.Keys]{Reason: bootlog.Unbound} }, "boot_security", posture.Unknown, OwnerKeys},
		"kernel, shim off":               {good, func(a account) { a.MOKOff.Value = true }, "boot_security", posture.Unknown, ShimOff},
		"kernel, no Secure Boot":         {good, func(a account) { a.SecureBoot.Value = false }, "boot_security", posture.Unknown, posture.SecureBootOff},
		"PCR 0 differs":                  {good, func(a account) { a.PCRs[0] = bootlog.Mismatch }, "boot_chain", no, LogMismatch},
		"PCR 2 without events":           {good, func(a account) { a.PCRs[2] = bootlog.Unlogged }, "boot_chain", no, LogIncomplete},
		"PCR 4 empty, denied by the log": {good, func(a account) { a.PCRs[4], a.Untouched[4] = bootlog.Mismatch, true }, "secure_boot", posture.Unknown, PCREmpty},
		"PCR 4 empty":                    {good, func(a account) { a.PCRs[4] = bootlog.Empty }, "boot_chain", posture.Unknown, PCREmpty},
		"PCR 7 not told":                 {good, func(a account) { a.PCRs[7] = bootlog.NotTold }, "boot_chain", posture.Unknown, LogUnexplained},
	} {
		a := test.from()
		test.change(a)
		c := JudgeBoot(a, references(), noon)
		for claim, got := range c.Each() {
			if claim == test.claim && (got.State != test.state || got.Reason != test.reason) {
				t.Errorf("%s: %s is %v (%s), want %v (%s)", name, claim, got.State, got.Reason, test.state, test.reason)
			}
			if claim == "boot_chain" && got.State == posture.Yes && test.claim != "boot_security" {
				t.Errorf("%s: the chain is good all the same", name)
			}
			if got.State != posture.Yes && got.Reason == "" {
				t.Errorf("%s: %s is %v without a reason", name, claim, got.State)
			}
		}
	}
}

// Without a log, without references, or with levels that nobody has, nothing is yes
// that needs them.
func TestBootNeedsItsInputs(t *testing.T) {
	none := JudgeBoot(nil, references(), noon)
	for name, c := range none.Each() {
		if c.State != posture.Unknown || c.Reason != NoBootLog {
			t.Errorf("without a log %s is %v (%s)", name, c.State, c.Reason)
		}
	}
	bare := JudgeBoot(good(), nil, noon)
	if bare.Authorities.State != no || bare.Revocations.State != no || bare.BootSecurity.State == yes || bare.BootChain.State == yes {
		t.Errorf("without references: %+v", bare)
	}
	empty := JudgeBoot(new(bootlog.Account), references(), noon)
	for name, c := range empty.Each() {
		if c.State == posture.Yes {
			t.Errorf("an empty account makes %s yes", name)
		}
	}
	for _, levels := range []BootLevels{{DBX: "later"}, {SBAT: "later"}} {
		if c := judgeBoot(good(), references(), levels, noon); c.Revocations.State != no {
			t.Errorf("levels %+v: revocations are %v", levels, c.Revocations.State)
		}
	}
	if c := judgeBoot(good(), references(), BootLevels{DBX: "first", SBAT: "first"}, noon); c.Revocations.State != yes {
		t.Errorf("revocations at their level are %v (%s)", c.Revocations.State, c.Revocations.Reason)
	}
}

// measured is a quote with which an account came.
func measured(a *bootlog.Account) func(*Input) {
	return func(in *Input) {
		in.Evidence.Report.BootID = "boot 1"
		in.Evidence.Measured = &attest.Measured{Clock: attest.Clock{ResetCount: 3}, PCRs: attest.PCRs{0: {1}, 4: {4}, 7: {7}}, LogSHA: attest.Digest{1}, Firmware: 100}
		in.Boot = BootInput{Account: a, References: references(), Manufacturer: "IFX"}
	}
}

func codesOf(r *Result) (codes []string) {
	for _, f := range r.Findings {
		codes = append(codes, f.Code)
	}
	return codes
}

func TestMeasuredBeforeReported(t *testing.T) {
	type claims = *posture.Claims
	said := func(state posture.State, reason posture.Reason, enabled posture.State) func(claims) {
		return func(c claims) {
			c.SecureBoot.State, c.SecureBoot.Reason, c.SecureBoot.Detail.Enabled = state, reason, enabled
		}
	}
	off := func() *bootlog.Account { a := good(); a.SecureBoot.Value = false; return a }
	silent := func() *bootlog.Account { a := good(); a.SecureBoot = bootlog.Fact[bool]{}; return a }
	for name, test := range map[string]struct {
		account func() *bootlog.Account
		said    func(claims)
		state   posture.State
		source  posture.Source
		finding string
		tier    Tier
	}{
		"both yes":             {good, said(yes, "", yes), yes, posture.Measured, "", 0},
		"not reported":         {good, said(posture.Unknown, posture.NotMounted, posture.Unknown), yes, posture.Measured, "", 0},
		"shim off is no lie":   {good, said(no, posture.SecureBootOff, yes), no, posture.Reported, "", 0},
		"says less":            {good, said(no, posture.SecureBootOff, no), no, posture.Reported, FindingContradiction, Warning},
		"lies":                 {off, said(yes, "", yes), no, posture.Measured, FindingContradiction, Contraindicated},
		"lies in the detail":   {off, said(posture.Unknown, posture.Unreadable, yes), no, posture.Measured, FindingContradiction, Contraindicated},
		"both no":              {off, said(no, posture.SecureBootOff, no), no, posture.Measured, "", 0},
		"nothing measured":     {silent, said(yes, "", yes), yes, posture.Reported, "", 0},
		"nothing known":        {silent, said(posture.Unknown, posture.Unreadable, posture.Unknown), posture.Unknown, posture.Reported, "", 0},
		"measured no, no word": {off, said(posture.Unknown, posture.NotMounted, posture.Unknown), no, posture.Measured, "", 0},
	} {
		r := appraise(func(in *Input) { measured(test.account())(in); test.said(&in.Evidence.Report.Claims) })
		c := r.Claims.SecureBoot
		if c.State != test.state || c.Source != test.source {
			t.Errorf("%s: %v, %v", name, c.State, c.Source)
		}
		at := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Code == FindingContradiction })
		if (at >= 0) != (test.finding != "") || at >= 0 && r.Findings[at].Tier != test.tier {
			t.Errorf("%s: findings %+v", name, r.Findings)
		}
		if r.Reported == nil || r.Reported.SecureBoot.Source != posture.Reported {
			t.Errorf("%s: the laptop's own word is gone", name)
		}
		// A heartbeat later nothing of it has changed.
		later := noon.Add(time.Minute)
		beat := appraise(func(in *Input) {
			in.Last, in.ReceivedAt = r, later
			in.Evidence = &attest.Evidence{IssuedAt: later, Heartbeat: &attest.Heartbeat{CollectedAt: later.Unix()}}
		})
		if beat.Claims.SecureBoot != r.Claims.SecureBoot || !slices.Equal(codesOf(beat), codesOf(r)) || *beat.Reported != *r.Reported {
			t.Errorf("%s: after a heartbeat %+v, findings %v", name, beat.Claims.SecureBoot, codesOf(beat))
		}
	}
}

// A kernel that says it is protected while it was measured as not, lies.
func TestKernelContradiction(t *testing.T) {
	a := windows()
	a.Windows.Value.HVCI.Value = false
	r := appraise(measured(a))
	if c := r.Claims.BootSecurity; c.State != no || c.Source != posture.Measured || !slices.Contains(codesOf(r), FindingContradiction) || r.Tier != Contraindicated {
		t.Errorf("boot security %+v, findings %v, tier %v", c, codesOf(r), r.Tier)
	}
}

func TestMissingLogs(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Input)
		reason posture.Reason
		keyed  bool
	}{
		"none":        {func(in *Input) { in.Evidence.Measured.LogSHA = attest.Digest{} }, NoBootLog, true},
		"on its way":  {func(in *Input) { in.Boot.Account, in.Boot.Missing = nil, NotJudged }, NotJudged, false},
		"unexplained": {func(in *Input) { in.Boot.Account, in.Boot.Missing = nil, "" }, NotJudged, false},
		"no log":      {func(in *Input) { in.Boot.Account, in.Boot.Missing = nil, LogUnreadable }, LogUnreadable, true},
	} {
		r := appraise(func(in *Input) {
			measured(good())(in)
			if name == "none" {
				in.Boot.Account = nil
			}
			test.change(in)
		})
		if r.Boot.State != posture.Unknown || r.Boot.Reason != test.reason || len(r.Boot.PCRs) != 3 {
			t.Errorf("%s: boot is %v (%s), %d values kept", name, r.Boot.State, r.Boot.Reason, len(r.Boot.PCRs))
		}
		if c := r.Claims.SecureBoot; c.Source != posture.Reported {
			t.Errorf("%s: Secure Boot is %v by %v", name, c.State, c.Source)
		}
		if keyed := !r.Boot.SetKey.IsZero(); keyed != test.keyed {
			t.Errorf("%s: compared with earlier starts: %v", name, keyed)
		}
	}
}

// The log comes after the quote: then all is as if it had been there.
func TestRejudge(t *testing.T) {
	whole := appraise(measured(good()))
	late := appraise(func(in *Input) { measured(good())(in); in.Boot.Account, in.Boot.Missing = nil, NotJudged })
	in := BootInput{Account: good(), References: references(), Manufacturer: "IFX"}
	again := Rejudge(late, &in)
	if again.Boot.State != yes || again.Claims.SecureBoot != whole.Claims.SecureBoot || again.Boot.SetKey != whole.Boot.SetKey || again.Tier != whole.Tier {
		t.Errorf("judged late: %+v", again.Boot)
	}
	if late.Boot.State != posture.Unknown {
		t.Error("the Result before was changed")
	}
	bad := good()
	bad.SecureBoot.Value = false
	worse := Rejudge(again, &BootInput{Account: bad, References: references()})
	if worse.Claims.SecureBoot.State != no || !slices.Contains(codesOf(worse), FindingContradiction) {
		t.Errorf("judged again by a worse log: %+v", worse.Claims.SecureBoot)
	}
	back := Rejudge(worse, &in)
	if back.Claims.SecureBoot != whole.Claims.SecureBoot || slices.Contains(codesOf(back), FindingContradiction) {
		t.Errorf("and by the good one: %+v, %v", back.Claims.SecureBoot, codesOf(back))
	}
}

// A Result of a version that kept no values is not judged by values that it does not
// have.
func TestRejudgeWithoutValues(t *testing.T) {
	old := appraise(measured(good()))
	old.Boot.PCRs = nil
	r := Rejudge(old, &BootInput{Account: good(), References: references()})
	if r.Boot.State != posture.Unknown || r.Boot.Reason != NotJudged || !r.Boot.SetKey.IsZero() || r.Claims.SecureBoot.Source != posture.Reported {
		t.Errorf("judged without values: %+v", r.Boot)
	}
}

func TestWeakTPM(t *testing.T) {
	if r := appraise(measured(good())); r.Cap != nil {
		t.Errorf("firmware 100 is capped: %+v", r.Cap)
	}
	r := appraise(func(in *Input) { measured(good())(in); in.Evidence.Measured.Firmware = 99 })
	if r.Cap == nil || r.Cap.Level != TPMUnverified || !slices.Contains(codesOf(r), FindingWeakTPM) {
		t.Fatalf("firmware 99: %+v, %v", r.Cap, codesOf(r))
	}
	r = appraise(func(in *Input) {
		measured(good())(in)
		in.Evidence.Measured.Firmware, in.Boot.References.TPMs[0].Cap = 99, "fine"
	})
	if r.Cap == nil || r.Cap.Level != Software {
		t.Errorf("a cap that nobody understands: %+v", r.Cap)
	}
}

// Another start under the same boot id is a reset under a running system; the same
// chain is honest hibernation.
func TestResumedThroughReset(t *testing.T) {
	first := appraise(measured(good()))
	next := func(change func(*attest.Measured), bootID string) *Result {
		return appraise(func(in *Input) {
			measured(good())(in)
			in.Last, in.Evidence.Report.BootID = first, bootID
			in.Evidence.Measured.Clock.ResetCount++
			change(in.Evidence.Measured)
		})
	}
	same := func(*attest.Measured) {}
	moved := func(m *attest.Measured) { m.PCRs = attest.PCRs{0: {1}, 4: {44}, 7: {7}} }
	for name, test := range map[string]struct {
		r    *Result
		want bool
	}{
		"hibernated": {next(same, "boot 1"), false}, "restarted": {next(moved, "boot 2"), false}, "swapped": {next(moved, "boot 1"), true},
	} {
		if got := slices.Contains(codesOf(test.r), FindingResumed); got != test.want || test.r.Boot.Resumed != test.want {
			t.Errorf("%s: finding %v", name, got)
		}
	}
}

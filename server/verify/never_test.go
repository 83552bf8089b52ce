package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
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

// Secure Boot switched off in firmware leaves keys and programs as they are, and
// nobody vouches any more: that is no roll-out of Microsoft's.
func TestSecureBootOffIsNotExpected(t *testing.T) {
	before := bootSet(attest.PCRs{0: {1}, 4: {4}, 7: {7}}, windows())
	off := windows()
	off.SecureBoot = known(false)
	off.Authorities = known([]bootlog.Authority(nil))
	off.Windows = bootlog.Fact[bootlog.Windows]{Reason: bootlog.Foreign}
	r := appraise(func(in *Input) {
		measured(off)(in)
		in.Evidence.Report.Platform = posture.Windows
		in.Evidence.Measured.PCRs = attest.PCRs{0: {1}, 4: {4}, 7: {77}}
		in.Boot.Seen = []SeenSet{{BaselineApproved, before}}
	})
	if r.Boot.Baseline.State == yes {
		t.Errorf("Secure Boot off: baseline %v (%s), expected=%v, changes %+v, findings %+v", r.Boot.Baseline.State, r.Boot.Baseline.Reason, r.Boot.Expected(), r.Boot.Changes, r.Findings)
	}
}

// The roll-out is of the CAs of 2023: an older one that joins is somebody's choice.
func TestOldAuthorityIsNotExpected(t *testing.T) {
	w := windows()
	w.DB = keys("windows 2011")
	before := bootSet(attest.PCRs{0: {1}, 4: {4}, 7: {7}}, w)
	now := windows() // gained uefi 2011
	r := appraise(func(in *Input) {
		measured(now)(in)
		in.Evidence.Report.Platform = posture.Windows
		in.Boot.Seen = []SeenSet{{BaselineApproved, before}}
	})
	if r.Boot.Baseline.State == yes {
		t.Errorf("db gained the third-party CA of 2011: %v (%s) %+v", r.Boot.Baseline.State, r.Boot.Baseline.Reason, r.Boot.Changes)
	}
}

// One start, kept once with its log and once without: a refusal of either holds.
func TestRefusedTwins(t *testing.T) {
	whole := setOf(nil, nil)
	raw := setOf(func(a *bootlog.Account) { a.PCRs[4] = bootlog.Mismatch }, nil)
	for name, test := range map[string]struct {
		a    func() *bootlog.Account
		seen []SeenSet
	}{
		"explained":   {good, []SeenSet{{BaselineFirst, raw}, {BaselineRefused, whole}}},
		"unexplained": {func() *bootlog.Account { a := good(); a.PCRs[4] = bootlog.Mismatch; return a }, []SeenSet{{BaselineFirst, raw}, {BaselineRefused, whole}}},
	} {
		r := appraise(func(in *Input) { measured(test.a())(in); in.Boot.Seen = test.seen })
		if r.Boot.Baseline.Reason != BootRefused {
			t.Errorf("%s: a refused start is %v (%s), tier %v", name, r.Boot.Baseline.State, r.Boot.Baseline.Reason, r.Tier)
		}
	}
}

// Withholding the log does not make a refused start one that nobody knows.
func TestRefusedWithoutItsLog(t *testing.T) {
	whole := setOf(nil, nil)
	r := appraise(func(in *Input) {
		measured(good())(in)
		in.Boot.Account, in.Boot.Missing = nil, NotJudged
		in.Boot.Seen = []SeenSet{{BaselineRefused, whole}}
	})
	if r.Tier != Contraindicated {
		t.Errorf("refused start with its log withheld: baseline %v (%s), tier %v, findings %v", r.Boot.Baseline.State, r.Boot.Baseline.Reason, r.Tier, codesOf(r))
	}
}

// What was enforced is part of how a laptop starts.
func TestPolicyIsInTheSet(t *testing.T) {
	base := setOf(nil, nil)
	for name, change := range map[string]func(*bootlog.Account){
		"Secure Boot off": func(a *bootlog.Account) { a.SecureBoot.Value = false },
		"shim off":        func(a *bootlog.Account) { a.MOKOff.Value = true },
		"debug":           func(a *bootlog.Account) { a.UEFIDebug.Value = true },
	} {
		if setOf(change, attest.PCRs{0: {1}, 4: {4}, 7: {99}}).Same(base) {
			t.Errorf("%s: the same set", name)
		}
	}
}

// load reads a real log and its values.
func load(t *testing.T, name string) (log []byte, pcrs attest.PCRs) {
	dir := "../../attest/bootlog/testdata/" + name + "/"
	log, err := os.ReadFile(dir + "binary_bios_measurements")
	if err != nil {
		t.Fatal(err)
	}
	var banks map[string]map[string]string
	j, _ := os.ReadFile(dir + "pcrs.json")
	if err := json.Unmarshal(j, &banks); err != nil {
		t.Fatal(err)
	}
	pcrs = attest.PCRs{}
	for i, v := range banks["sha256"] {
		n, _ := strconv.Atoi(i)
		d, _ := hex.DecodeString(v)
		pcrs[uint8(n)] = attest.Digest(d)
	}
	return
}

// Without Secure Boot a running system extends PCR 7 as if somebody had vouched.
func TestAppendedWithoutSecureBoot(t *testing.T) {
	good, _ := load(t, "sb-shim-grub")
	gl, err := bootlog.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	log, pcrs := load(t, "nosb-grub-linuxefi")
	sep := false
	for i := range gl.Events {
		e := &gl.Events[i]
		if e.PCR != 7 || e.Type == 3 {
			continue
		}
		if e.Type == 4 {
			sep = true
			continue
		}
		if !sep {
			continue
		}
		d := gl.Digest(e, bootlog.SHA256)
		le := binary.LittleEndian
		log = le.AppendUint32(log, 7)
		log = le.AppendUint32(log, e.Type)
		log = le.AppendUint32(log, 1)
		log = le.AppendUint16(log, 0xb)
		log = append(log, d...)
		log = le.AppendUint32(log, uint32(len(e.Body)))
		log = append(log, e.Body...)
		v := pcrs[7]
		pcrs[7] = sha256.Sum256(append(bytes.Clone(v[:]), d...))
	}
	refs, err := reference.DefaultBoot()
	if err != nil {
		t.Fatal(err)
	}
	a, missing := ReadLog(log, pcrs, nil)
	if missing != "" {
		t.Fatal(missing)
	}
	c := JudgeBoot(a, refs, noon)
	for name, got := range c.Each() {
		if got.State == yes && slices.Contains([]string{"boot_authorities", "shim_verified", "boot_revocations"}, name) {
			t.Errorf("Secure Boot off, PCR 7 appended by root: %s is yes", name)
		}
	}
}

// A kernel that defends itself needs everything before it to be in order.
func TestKernelNeedsTheChain(t *testing.T) {
	const onlyLinux = "old SBAT" // nothing of shim's starts Windows
	for name, change := range map[string]func(*bootlog.Account){
		"PCR 4 mismatch": func(a *bootlog.Account) { a.PCRs[4] = bootlog.Mismatch },
		"PCR 0 empty":    func(a *bootlog.Account) { a.PCRs[0] = bootlog.Empty },
		"dbx empty":      func(a *bootlog.Account) { a.DBX.Value = bootlog.Revocations{} },
		onlyLinux:        func(a *bootlog.Account) { a.SBAT.Value = "sbat,1,2021030218\nshim,1\n" },
		"leaked PK":      func(a *bootlog.Account) { a.PK = keys("leaked") },
	} {
		a := good()
		change(a)
		c := JudgeBoot(a, references(), noon)
		if c.BootSecurity.State == yes {
			t.Errorf("%s: boot_security yes, chain %v (%s)", name, c.BootChain.State, c.BootChain.Reason)
		}
		if name == "PCR 0 empty" && c.SecureBoot.State == yes {
			t.Errorf("%s: secure_boot yes", name)
		}
		w := windows()
		change(w)
		if c := JudgeBoot(w, references(), noon); c.BootSecurity.State == yes && name != onlyLinux {
			t.Errorf("%s: Windows: boot_security yes, chain %v (%s)", name, c.BootChain.State, c.BootChain.Reason)
		}
	}
}

// The whole is not better than its part.
func TestBadChainCounts(t *testing.T) {
	a := good()
	a.Authorities.Value[1].Certificate = cert("stranger")
	r := appraise(measured(a))
	if r.Tiers["boot_chain"] > r.Tier || r.Tier == Affirming {
		t.Errorf("boot_chain %v, whole %v", r.Tiers["boot_chain"], r.Tier)
	}
}

// A rule may read the detail beside the source.
func TestMeasuredDetail(t *testing.T) {
	a := good()
	a.SecureBoot.Value = false
	r := appraise(func(in *Input) {
		measured(a)(in)
		in.Evidence.Report.Claims.SecureBoot.Detail.Enabled = yes
	})
	if c := r.Claims.SecureBoot; c.Source == posture.Measured && c.State == no && c.Detail.Enabled == yes {
		t.Errorf("measured no, and beside it enabled is yes: %+v", c)
	}
}

// What the TPM's clock showed stays for the whole start.
func TestClockFindingsStay(t *testing.T) {
	r := appraise(func(in *Input) { measured(good())(in); in.Evidence.ClockFell = true })
	later := noon.Add(time.Minute)
	beat := appraise(func(in *Input) {
		in.Last, in.ReceivedAt = r, later
		in.Evidence = &attest.Evidence{IssuedAt: later, Heartbeat: &attest.Heartbeat{CollectedAt: later.Unix(), BootID: "boot 1"}}
	})
	if slices.Contains(codesOf(r), FindingClockFell) && !slices.Contains(codesOf(beat), FindingClockFell) {
		t.Errorf("one heartbeat later nobody knows that the clock fell: %v then %v", codesOf(r), codesOf(beat))
	}
}

// A loader that Microsoft's CA for others signed and that measures nothing starts
// whatever it likes, which then extends what shim would have.
func TestForgedVouching(t *testing.T) {
	for _, name := range []string{"sb-shim-grub", "d13-sb-shim-grub"} {
		b, pcrs := load(t, name)
		l, err := bootlog.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		le := binary.LittleEndian
		var log []byte
		// header as it was
		head := 32 + len(l.Events[0].Body)
		log = append(log, b[:head]...)
		v4 := make([]byte, 32)
		add := func(pcr, typ uint32, d, body []byte) {
			log = le.AppendUint32(log, pcr)
			log = le.AppendUint32(log, typ)
			log = le.AppendUint32(log, 1)
			log = le.AppendUint16(log, 0xb)
			log = append(log, d...)
			log = le.AppendUint32(log, uint32(len(body)))
			log = append(log, body...)
			if pcr == 4 {
				s := sha256.Sum256(append(bytes.Clone(v4), d...))
				v4 = s[:]
			}
		}
		for i := range l.Events {
			e := &l.Events[i]
			d := l.Digest(e, bootlog.SHA256)
			if d == nil || e.Type == 3 || e.PCR > 23 {
				continue
			}
			if e.PCR == 4 && e.Type == 0x80000003 {
				continue // no shim, no GRUB, no kernel
			}
			add(e.PCR, e.Type, d, e.Body)
		}
		d := sha256.Sum256([]byte("PreLoader.efi, then anything"))
		add(4, 0x80000003, d[:], nil)
		pcrs[4] = attest.Digest(v4)
		refs, err := reference.DefaultBoot()
		if err != nil {
			t.Fatal(err)
		}
		a, missing := ReadLog(log, pcrs, nil)
		if missing != "" {
			t.Fatal(missing)
		}
		c := JudgeBoot(a, refs, noon)
		if c.BootSecurity.State == yes {
			t.Errorf("%s: boot_security is measured yes of a kernel that nobody verified", name)
		}
	}
}

// Root enrols a key in shim's list, by which the kernel of a distribution takes
// modules: PCR 14 alone moves. It is drift, and the kernel's protection is not shown
// any more.
func TestOwnersKey(t *testing.T) {
	for _, name := range []string{"sb-shim-grub", "d13-sb-shim-grub"} {
		log, pcrs := load(t, name)
		refs, err := reference.DefaultBoot()
		if err != nil {
			t.Fatal(err)
		}
		copied := *refs
		copied.DBX = references().DBX // which any dbx meets
		a, missing := ReadLog(log, pcrs, nil)
		if missing != "" {
			t.Fatal(missing)
		}
		if c := JudgeBoot(a, &copied, noon); c.BootSecurity.State != yes {
			t.Fatalf("%s: boot_security is %v (%s)", name, c.BootSecurity.State, c.BootSecurity.Reason)
		}
		l, err := bootlog.Parse(log)
		if err != nil {
			t.Fatal(err)
		}
		var v [32]byte
		other := bytes.Clone(log)
		for i, replaced := 0, false; i < len(l.Events); i++ {
			e := &l.Events[i]
			d := l.Digest(e, bootlog.SHA256)
			if e.PCR != 14 || d == nil {
				continue
			}
			if !replaced {
				list := sha256.Sum256([]byte("shim's certificate, and another"))
				other = bytes.Replace(other, d, list[:], 1)
				d, replaced = list[:], true
			}
			v = sha256.Sum256(append(v[:], d...))
		}
		moved := make(attest.PCRs)
		for i, x := range pcrs {
			moved[i] = x
		}
		moved[14] = v
		b, missing := ReadLog(other, moved, nil)
		if missing != "" || b.PCRs[14] != bootlog.Match {
			t.Fatalf("%s: PCR 14 is %v, %s", name, b.PCRs[14], missing)
		}
		if c := JudgeBoot(b, &copied, noon); c.BootSecurity.State != posture.Unknown || c.BootSecurity.Reason != OwnerKeys || c.BootChain.State != yes {
			t.Errorf("%s: boot_security is %v (%s), chain %v", name, c.BootSecurity.State, c.BootSecurity.Reason, c.BootChain.State)
		}
		now, before := bootSet(moved, b), bootSet(pcrs, a)
		if changes := now.Changes(before, refs); now.Same(before) || len(changes) == 0 || changes[0].Component != ComponentMOK || changes[0].Expected {
			t.Errorf("%s: changes %+v", name, changes)
		}
	}
}

// Firmware that says that DMA protection was off is a finding, which goes with the
// next start.
func TestDMAOffIsTold(t *testing.T) {
	a := good()
	a.DMAProtection = known(false)
	r := appraise(measured(a))
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == FindingDMA }) {
		t.Errorf("findings %+v", r.Findings)
	}
	whole := BootInput{Account: good(), References: references()}
	if r := Rejudge(r, &whole); slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == FindingDMA }) {
		t.Errorf("after another start: %+v", r.Findings)
	}
}

package web

import (
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/store"
	"muster/server/verify"
)

// causeTexts are as the server has them (server/anchor.go).
func causeTexts() map[string][2]string {
	const back = ", ask for the laptop back on your page of laptops, with the code that muster-agent status shows."
	return map[string][2]string{
		"re-anchor":   {"This machine was enrolled before and asks again with a new system key: it was installed anew, or started from another disk.", "If you installed the system anew" + back},
		"ek-changed":  {"The TPM shows another endorsement key than before, as after an update of its firmware.", "If its firmware was updated" + back},
		"tpm-changed": {"This laptop was enrolled with another TPM: its mainboard was replaced, or its TPM was reset by firmware.", "If the mainboard was replaced, or the TPM reset in the firmware's settings" + back},
		"disk-moved":  {"This system was enrolled on another machine: its disk was moved, or copied.", "If you moved the disk" + back + " A copy must be enrolled by itself, with a token."},
		"tpm-gone":    {"This system was enrolled with a TPM and finds none now; it reports with keys in a file, which prove nothing.", "Turn the TPM on in the firmware's settings: the laptop is then what it was, by itself."},
		"replaced":    {"Device d_9 was admitted in its place.", "Use the laptop that took its place, or ask an administrator."},
		"no-token":    {"It was enrolled without a token.", "An administrator compares the code that muster-agent status shows and approves the device."},
	}
}

func waitingLaptop(name, cause string) *Laptop {
	l, text := *sampleLaptop(), causeTexts()[cause]
	l.ID, l.Name, l.State, l.Claims, l.Result, l.Active = "d2", name, attest.Pending, nil, nil, false
	l.Cause, l.CauseText, l.Back = cause, text[0], cause != "replaced" && cause != "no-token"
	l.Decision = attest.Decision{Outcome: "deny", Reasons: []attest.Reason{
		{Code: "pending", Claim: "device", Text: "This laptop waits for an approval.", Fix: "Tell an administrator the comparison code that `muster-agent status` shows."},
		{Code: cause, Claim: "device", Text: text[0], Fix: text[1]}}}
	return &l
}

// started gives a laptop a measured start in which all is well; change spoils it.
func started(change func(*verify.Result)) *Laptop {
	l := *sampleLaptop()
	claims := *l.Claims
	r := &verify.Result{QuotedAt: noon().Add(-3 * time.Hour), Claims: claims, Tier: verify.Affirming}
	r.Boot.PCRs, r.Boot.Status = attest.PCRs{}, map[uint8]string{}
	for i := range uint8(16) {
		if i != 10 {
			r.Boot.PCRs[i], r.Boot.Status[i] = attest.Digest{i}, "match"
		}
	}
	r.Boot.Status[3], r.Boot.Status[6], r.Boot.Status[13] = "empty", "empty", "empty"
	for _, c := range bootClaims(r) {
		*c = posture.Claim{State: posture.Yes, Source: posture.Measured, ObservedAt: r.QuotedAt}
	}
	r.Boot.Platform = posture.Linux
	r.Reported = &verify.Reported{SecureBoot: claims.SecureBoot.Claim, BootSecurity: claims.BootSecurity.Claim}
	r.Claims.SecureBoot.Source, r.Claims.BootSecurity.Source = posture.Measured, posture.Measured
	change(r)
	l.Claims, l.Result = &r.Claims, r
	l.Decision = attest.Decision{Outcome: "allow"}
	return &l
}

func well(*verify.Result) {}

const driftText = "The laptop starts in another way than before: the boot programs gained \\EFI\\debian\\grubx64.efi (6f1c2a9b7d04…); the boot programs lost \\EFI\\debian\\grubx64.efi (a81f00c2d5e9…)."

func drifted(r *verify.Result) {
	r.Boot.Baseline = posture.Claim{State: posture.No, Reason: verify.BootDrifted, Source: posture.Measured}
	r.Findings = append(r.Findings, verify.Finding{Code: verify.FindingDrift, Tier: verify.Warning, Text: driftText,
		Fix: "If you updated firmware or the system, an administrator approves it; otherwise let the laptop be looked at."})
}

func lying(r *verify.Result) {
	no := posture.Claim{State: posture.No, Reason: posture.SecureBootOff, Source: posture.Measured}
	r.Boot.Claims.SecureBoot, r.Boot.Claims.BootChain, r.Claims.SecureBoot.Claim = no, no, no
	r.Boot.Claims.Revocations = posture.Claim{State: posture.No, Reason: verify.DBXOld, Source: posture.Measured}
	r.Boot.Claims.BootSecurity = posture.Claim{Reason: posture.SecureBootOff}
	r.Boot.Platform = ""
	r.Boot.Status[4], r.Boot.Status[8] = "mismatch", "unlogged"
	r.Boot.State, r.Boot.Reason = posture.No, verify.LogMismatch
	r.Cap = &verify.Cap{Level: verify.TPMUnverified, CVE: "CVE-2025-2884", Text: "Whoever is administrator of the laptop may read what its TPM keeps."}
	r.Findings = append(r.Findings,
		verify.Finding{Code: verify.FindingContradiction, Tier: verify.Contraindicated, Text: "Secure Boot is said to be on and was measured as off.", Fix: "The system does not tell the truth about how it was started: let the laptop be looked at."},
		verify.Finding{Code: verify.FindingBootLog, Tier: verify.Warning, Text: "The boot log does not explain what the TPM measured.", Fix: "Restart the laptop; if it stays, update its firmware, and send the log with muster-server evidence bootlog."},
		verify.Finding{Code: verify.FindingWeakTPM, Tier: verify.Warning, Text: "The TPM's firmware has a known weakness (CVE-2025-2884).", Fix: "Update the firmware of the laptop and of its TPM."})
}

func unlogged(r *verify.Result) {
	for _, c := range bootClaims(r) {
		*c = posture.Claim{Reason: verify.NoBootLog, Source: posture.Measured}
	}
	r.Boot.Baseline.State, r.Boot.Baseline.Reason, r.Boot.Platform = posture.Yes, "", ""
	r.Boot.Status = nil
}

func sampleStarts(state store.BaselineState) []Start {
	part := func(shows, approved int) store.Prevalence {
		return store.Prevalence{Shows: shows, Of: 40, Approved: approved}
	}
	first := Start{Key: "a81f02030405", State: store.BaselineNew, FirstSeen: noon().Add(-80 * 24 * time.Hour), LastSeen: noon().Add(-4 * 24 * time.Hour),
		Parts: map[string]store.Prevalence{"firmware": part(31, 30), "pk": part(40, 39), "kek": part(40, 39), "db": part(40, 39), "applications": part(22, 22), "authorities": part(40, 39)}}
	second := Start{Key: "6f1c02030405", State: state, Now: true, FirstSeen: noon().Add(-3 * time.Hour), LastSeen: noon().Add(-4 * time.Minute), Others: 7,
		Changes: []verify.BootChange{
			{Component: "db", Text: "the allowed signers (db) gained CN=Windows UEFI CA 2023,O=Microsoft Corporation,C=US (076f1fea90ac…)", Expected: true},
			{Component: "applications", Text: "the boot programs gained \\EFI\\debian\\grubx64.efi (6f1c2a9b7d04…)"}, {Component: "applications", Text: "the boot programs lost \\EFI\\debian\\grubx64.efi (a81f00c2d5e9…)"}},
		Parts: map[string]store.Prevalence{"firmware": part(31, 30), "pk": part(40, 39), "kek": part(40, 39), "db": part(18, 3), "applications": part(18, 3), "authorities": {}}}
	if state == store.BaselineApproved {
		second.DecidedAt, second.DecidedBy, second.Others = noon().Add(-time.Hour), "fleet", 0
		second.Why = "applications: 18 of 40 laptops of this model show it, 6 approved for a week"
	}
	if state == store.BaselineRefused {
		second.DecidedAt, second.DecidedBy, second.Parts = noon().Add(-time.Hour), "person:carol", nil
	}
	return []Start{second, first}
}

func sampleDetail(starts []Start) *DeviceDetail {
	key := attest.Digest{1, 2, 3}.String()
	return &DeviceDetail{Starts: starts, Anchors: []Anchor{
		{Key: key, Level: "tpm-hw", From: noon().Add(-80 * 24 * time.Hour), Until: noon().Add(-9 * 24 * time.Hour)},
		{Key: attest.Digest{9, 8, 7}.String(), Level: "tpm-hw", From: noon().Add(-9 * 24 * time.Hour), Cause: "re-anchor"}}}
}

func bootSamples(s *site) []sample {
	device := func(l *Laptop, detail *DeviceDetail) *oneDeviceView {
		v := s.oneDevice(&OfficeDevice{Laptop: *l, Serial: "FRANDACP01", EnrolledAt: noon().Add(-80 * 24 * time.Hour)}, detail)
		v.May = true
		return v
	}
	page := func(name string, v *oneDeviceView) sample {
		return sample{name, "device", "layout", v.Laptop.Name, store.RoleAdministrator, "", v}
	}
	read := device(started(drifted), sampleDetail(sampleStarts(store.BaselineDrifted)))
	read.May = false
	moved := sampleDetail(nil)
	moved.Predecessor, moved.Anchors, moved.Successors = "d1", []Anchor{{Key: attest.Digest{5}.String(), Level: "tpm-hw", From: noon().Add(-time.Hour), Cause: "tpm-changed"}}, []string{"d_9"}
	soft := *sampleLaptop()
	soft.Level, soft.Result = verify.Software.String(), &verify.Result{}
	own := func(change func(*verify.Result), decision attest.Decision) laptopView {
		l := started(change)
		l.Decision = decision
		v := s.laptopViewOf(l, false)
		v.Recheck = true
		return v
	}
	var causes []laptopView
	for _, cause := range []string{"re-anchor", "ek-changed", "tpm-changed", "disk-moved", "tpm-gone", "replaced", "no-token"} {
		causes = append(causes, s.laptopViewOf(waitingLaptop("alice-"+cause, cause), false))
	}
	refused := attest.Decision{Outcome: "deny", Reasons: []attest.Reason{
		{Code: "boot-contradiction", Claim: "device", Text: "Secure Boot is said to be on and was measured as off.", Fix: "The system does not tell the truth about how it was started: let the laptop be looked at."},
		{Code: "measured-boot-chain", Claim: "boot_chain", Text: "This laptop still starts programs that were revoked.", Fix: "Update the revocation list: `sudo fwupdmgr update`, and install the updates of shim and GRUB; then restart."}}}
	pending := sampleAccess(s, todo{Kind: doReadmit}, decide.Deny)
	pending = one(pending, s.reasonView(decide.Reason{Code: "pending", Claim: "device", Text: "This laptop waits for an approval.", Fix: "Tell an administrator the comparison code."}, waitingLaptop("alice-laptop", "disk-moved")))
	boot := sampleAccess(s, todo{Kind: doFix}, decide.Deny)
	boot = one(boot, s.reasonView(decide.Reason{Code: "boot-unapproved", Claim: "boot_baseline", Text: "This laptop starts in another way than the one that was approved.",
		Fix: "Tell an administrator what was updated: they see what changed, and approve it."}, started(drifted)))
	liar := started(lying)
	liar.Decision = refused
	return []sample{
		page("device", device(started(well), sampleDetail(sampleStarts(store.BaselineApproved)))),
		page("device-drift", device(started(drifted), sampleDetail(sampleStarts(store.BaselineDrifted)))),
		page("device-refused", device(started(drifted), sampleDetail(sampleStarts(store.BaselineRefused)))),
		page("device-lies", device(liar, sampleDetail(nil))),
		page("device-unlogged", device(started(unlogged), sampleDetail([]Start{{Key: "070000000000", State: store.BaselineNew, Now: true, Unexplained: true, FirstSeen: noon(), LastSeen: noon()}}))),
		page("device-software", device(&soft, sampleDetail(nil))),
		page("device-moved", device(waitingLaptop("alice-laptop", "tpm-changed"), moved)),
		{"device-help-desk", "device", "layout", "alice-laptop", store.RoleHelpDesk, "", read},
		{"laptops-started", "laptops", "layout", "Your laptops", store.RolePerson, "", []laptopView{own(drifted, attest.Decision{Outcome: "allow"}), own(lying, refused), own(unlogged, attest.Decision{Outcome: "allow"})}},
		{"laptops-causes", "laptops", "layout", "Your laptops", store.RolePerson, "", causes},
		{"access-pending", "access", "layout", pending.title(), store.RolePerson, "", pending},
		{"access-start", "access", "layout", boot.title(), store.RolePerson, "", boot},
	}
}

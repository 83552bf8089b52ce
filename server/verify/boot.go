package verify

import (
	"slices"
	"strconv"
	"strings"

	"muster/attest"
	"muster/attest/bootlog"
	"muster/attest/posture"
	"muster/server/reference"
)

const (
	yes = posture.Yes
	no  = posture.No
)

// Reasons of the claim boot.
const (
	// NotJudged: the log is announced and not here yet.
	NotJudged posture.Reason = "not-judged"
	// LogWithheld: it was announced, asked for time and again, and did not come.
	LogWithheld posture.Reason = "boot-log-withheld"
	// NoBootLog: a quote came without a boot log to explain it.
	NoBootLog posture.Reason = "boot-evidence-missing"
	// NoQuote: no quote came since the device enrolled, or it has no TPM.
	NoQuote posture.Reason = "no-quote"
	// LogUnreadable: the log came and is none.
	LogUnreadable posture.Reason = "boot-log-unreadable"
	// LogMismatch: the log does not replay to the quoted values.
	LogMismatch posture.Reason = "boot-log-mismatch"
	// LogIncomplete: the log says nothing of a PCR that was extended.
	LogIncomplete posture.Reason = "boot-log-incomplete"
	// PCREmpty: firmware measured nothing into a PCR of the boot chain, so that any
	// program may have filled it since.
	PCREmpty posture.Reason = "pcr-empty"
)

// Reasons of the claim boot_baseline. With BootExpected it is yes: only what
// Microsoft rolls out to every machine has changed.
const (
	BootExpected posture.Reason = "boot-expected-change"
	BootDrifted  posture.Reason = "boot-drifted"
	BootRefused  posture.Reason = "boot-refused"
)

// Finding codes of boot evidence.
const (
	FindingBootLog       = "boot-log-mismatch"
	FindingContradiction = "boot-contradiction"
	FindingWithheld      = "boot-log-withheld"
	FindingDrift         = "boot-drift"
	FindingDriftExpected = "boot-drift-expected"
	FindingRefused       = "boot-refused"
	FindingResumed       = "resumed-through-reset"
	FindingWeakTPM       = "tpm-weak"
	FindingDMA           = "dma-protection-off"
	FindingDenied        = "ek-denied"
)

// Boot says how far the boot evidence goes. Its claim is the server's: yes only
// when a log explains the quoted values of firmware, drivers, boot programs and
// Secure Boot policy (PCR 0, 2, 4, 7).
type Boot struct {
	posture.Claim
	// PCR7 is the quoted Secure Boot policy register; zero when not quoted.
	PCR7 attest.Digest `json:"pcr7,omitzero"`
	// PCRs are the quoted values, kept also where no log explains them.
	PCRs attest.PCRs `json:"pcrs,omitempty"`
	// LogSHA256 names the log that came with the quote.
	LogSHA256 attest.Digest `json:"log_sha256,omitzero"`
	// Clock and Firmware are of the last quote; BootID of the report beside it.
	Clock    *attest.Clock `json:"clock,omitempty"`
	Firmware string        `json:"firmware,omitempty"` // hexadecimal
	BootID   string        `json:"boot_id,omitempty"`
	// Status says of each quoted PCR how far the log explains it.
	Status map[uint8]string `json:"status,omitempty"`
	// Claims are what the log says, as far as the quote confirms it.
	Claims BootClaims `json:"claims"`
	// Platform is the system that was measured; empty where nothing tells it.
	Platform posture.Platform `json:"platform,omitempty"`
	// Baseline: yes when this way to start is the first that was seen, or approved.
	Baseline posture.Claim `json:"baseline"`
	// Standing is where this way stood with the people in charge when it was judged.
	Standing BaselineState `json:"standing,omitempty"`
	// SetKey names this way to start; zero before a quote, or while its log is on the
	// way. Changes are what differs from the approved or first one, where it drifted.
	SetKey  attest.Digest `json:"set_key,omitzero"`
	Changes []BootChange  `json:"changes,omitempty"`
	// Set is what SetKey names; nil in a Result that was read from a store.
	Set *BootSet `json:"-"`
	// References is the number of the pack that it was judged by, and Levels what was
	// asked of revocations.
	References uint64     `json:"references,omitempty"`
	Levels     BootLevels `json:"levels,omitzero"`
	// Cleared and ClockFell tell what the TPM's clock showed at the first quote of this
	// start.
	Cleared   bool `json:"cleared,omitempty"`
	ClockFell bool `json:"clock_fell,omitempty"`
	// Resumed tells that the machine was reset while its system went on
	// (hibernation), and started in another way than before.
	Resumed bool `json:"resumed,omitempty"`
	// DMAOff tells that firmware measured that protection against DMA was turned off.
	DMAOff bool `json:"dma_off,omitempty"`
}

// Cap is why a device counts for less than it enrolled with.
type Cap struct {
	Level Level  `json:"level"`
	CVE   string `json:"cve,omitempty"` // empty: it was denied
	Text  string `json:"text"`
}

// BootInput is what boot evidence is judged by.
type BootInput struct {
	// Account is what the log says; nil when there is none that can be read, and
	// Missing says why: NotJudged, LogWithheld, NoBootLog or LogUnreadable.
	Account *bootlog.Account
	Missing posture.Reason
	// References and Levels are what good looks like; nil knows nothing.
	References *reference.Boot
	Levels     BootLevels
	// Manufacturer of the TPM: four letters. Denied tells that its endorsement key, or a
	// CA's above it, is on the deny list.
	Manufacturer string
	Denied       bool
	// Seen are the sets that the device showed before, the last seen first.
	Seen []SeenSet
}

// Owed reports whether a log was named that is not here.
func (b *Boot) Owed() bool { return b.Reason == NotJudged || b.Reason == LogWithheld }

// quoted takes over what a quote states.
func (b *Boot) quoted(m *attest.Measured, bootID string) {
	clock, last := m.Clock, *b
	*b = Boot{
		PCR7: m.PCRs[7], PCRs: m.PCRs, LogSHA256: m.LogSHA, Clock: &clock,
		BootID: bootID, Firmware: strconv.FormatUint(m.Firmware, 16),
	}
	if last.Clock != nil && last.Clock.ResetCount == clock.ResetCount {
		b.Cleared, b.ClockFell = last.Cleared, last.ClockFell
	}
}

// judgeBoot judges the boot evidence of the last quote. at is the quote's time.
func (r *Result) judgeBoot(from *BootInput) {
	copied := *from
	in := &copied
	b := &r.Boot
	refs := in.References
	if refs == nil {
		refs = new(reference.Boot)
	}
	b.References, b.Levels = refs.Number, in.Levels
	b.Claim = posture.Claim{Reason: in.Missing, Source: posture.Measured, ObservedAt: r.QuotedAt}
	b.Status, b.Set, b.SetKey, b.Changes, b.Standing, b.Platform, b.DMAOff = nil, nil, attest.Digest{}, nil, "", "", false
	b.Baseline = posture.Claim{Reason: NoQuote, Source: posture.Measured, ObservedAt: r.QuotedAt}
	switch {
	case r.QuotedAt.IsZero():
		b.Reason = NoQuote
	case len(b.PCRs) == 0: // kept by an older version, without the values
		b.Reason, in.Account = NotJudged, nil
	case b.LogSHA256.IsZero():
		b.Reason = NoBootLog
	case in.Account == nil && b.Reason == "":
		b.Reason = NotJudged
	case in.Account != nil:
		whole := explained(in.Account)
		b.State, b.Reason = whole.State, whole.Reason
	}
	if r.QuotedAt.IsZero() || in.Account == nil {
		b.Claims = noBoot(r.QuotedAt, b.Reason)
	} else {
		b.Claims = judgeBoot(in.Account, refs, in.Levels, r.QuotedAt)
		b.Platform = system(in.Account, refs, &b.Claims)
		b.DMAOff = in.Account.DMAProtection.Known && !in.Account.DMAProtection.Value
		b.Status = make(map[uint8]string, len(b.PCRs))
		for i := range b.PCRs {
			if int(i) < len(in.Account.PCRs) {
				b.Status[i] = in.Account.PCRs[i].String()
			}
		}
	}
	switch {
	case r.QuotedAt.IsZero() || len(b.PCRs) == 0:
	case b.Owed():
		b.compareRaw(in.Seen)
	default:
		b.Set = bootSet(b.PCRs, in.Account)
		b.SetKey = b.Set.Key()
		b.compare(in.Seen, refs)
	}
}

// bootFindings says what people should look at.
func (r *Result) bootFindings() {
	b := &r.Boot
	if b.Reason == LogMismatch || b.Reason == LogIncomplete {
		r.find(FindingBootLog, Warning, "The boot log does not explain what the TPM measured.",
			"Restart the laptop; if it stays, update its firmware, and send the log with muster-server evidence bootlog.")
	}
	if b.Reason == LogWithheld {
		r.find(FindingWithheld, Warning, "The laptop named a boot log and does not send it: nobody can tell how it was started.",
			"Restart the laptop; if it stays, let it be looked at.")
	}
	switch {
	case b.Baseline.Reason == BootRefused:
		r.find(FindingRefused, Contraindicated, "The laptop starts in a way that an administrator refused.", "Put firmware and boot programs back as they were, or ask the administrator.")
	case b.Baseline.Reason == BootExpected:
		r.find(FindingDriftExpected, None, "Microsoft's certificates of 2023 changed how the laptop starts: "+b.said()+".", "Nothing needs to be done; an administrator may approve it.")
	case b.Baseline.Reason == BootDrifted:
		r.find(FindingDrift, Warning, "The laptop starts in another way than before: "+b.said()+".",
			"If you updated firmware or the system, an administrator approves it; otherwise let the laptop be looked at.")
	}
	if r.Denied {
		r.find(FindingDenied, Warning, "The TPM's endorsement key, or a CA that vouches for it, is on the deny list: nobody vouches for this TPM any more.",
			"Ask the administrator why it was denied; another laptop may be needed.")
	}
	if r.Cap != nil && r.Cap.CVE != "" {
		r.find(FindingWeakTPM, Warning, "The TPM's firmware has a known weakness ("+r.Cap.CVE+"): "+r.Cap.Text, "Update the firmware of the laptop and of its TPM.")
	}
	if b.DMAOff {
		r.find(FindingDMA, Warning, "Firmware started with its protection against direct memory access turned off: a device at a port can read and write memory.",
			"Turn on the protection (Kernel DMA protection, IOMMU, VT-d) in the firmware's settings, and restart.")
	}
	if b.Resumed {
		r.find(FindingResumed, Warning, "The laptop was reset under a running system and started in another way than before.", "Shut it down and start it again.")
	}
}

const maxSaid = 3

// said lists what changed, for one sentence.
func (b *Boot) said() string {
	var list []string
	for _, c := range b.Changes {
		list = append(list, c.Text)
	}
	if len(list) == 0 {
		return "no earlier start is on record to compare with"
	}
	if len(list) > maxSaid {
		list = append(list[:maxSaid:maxSaid], "and more")
	}
	return strings.Join(list, "; ")
}

// weak caps the level of a TPM that was denied since it enrolled, and by known
// weaknesses of its firmware, which each quote states.
func (r *Result) weak(in *BootInput) {
	r.Cap, r.Denied = nil, in.Denied
	if r.Denied {
		r.Cap = &Cap{Level: TPMUnverified, Text: "Its endorsement key, or a CA that vouches for it, is on the deny list."}
	}
	firmware, err := strconv.ParseUint(r.Boot.Firmware, 16, 64)
	if err != nil || in.References == nil || in.Manufacturer == "" {
		return
	}
	for _, w := range in.References.Weak(in.Manufacturer, firmware) {
		var level Level
		if err := level.UnmarshalText([]byte(w.Cap)); err != nil {
			level = Software // a pack that this program does not understand trusts nothing
		}
		if r.Cap == nil || level < r.Cap.Level {
			r.Cap = &Cap{Level: level, CVE: w.CVE, Text: w.Text}
		}
	}
}

// Recapped returns a copy that counts for what its TPM does by other references, or
// another deny list; all else stays.
func (r *Result) Recapped(in *BootInput) *Result {
	again := *r
	again.weak(in)
	return &again
}

// Reported are a report's own words where measured ones stand before them.
type Reported struct {
	SecureBoot   posture.Claim `json:"secure_boot"`
	BootSecurity posture.Claim `json:"boot_security"`
	Enabled      posture.State `json:"enabled"` // of the detail of SecureBoot
}

// join puts what was measured before what was reported, and finds where the two
// contradict each other. The worse of two words counts.
func (r *Result) join() {
	c, m := &r.Claims, &r.Boot.Claims
	r.Reported = &Reported{SecureBoot: c.SecureBoot.Claim, BootSecurity: c.BootSecurity.Claim, Enabled: c.SecureBoot.Detail.Enabled}
	r.otherSystem()
	lies := false
	said := c.SecureBoot.Detail.Enabled
	if said == posture.Unknown {
		said = c.SecureBoot.State
	}
	if contradicts(m.SecureBoot.State, said) {
		lies = true
		r.contradiction("Secure Boot", m.SecureBoot.State)
	}
	worse(&c.SecureBoot.Claim, m.SecureBoot)
	if m.SecureBoot.State == no {
		c.SecureBoot.Detail.Enabled = no // a rule may read the detail beside the source
	}
	if contradicts(m.BootSecurity.State, c.BootSecurity.State) && !lies {
		r.contradiction("The kernel's protection", m.BootSecurity.State)
	}
	worse(&c.BootSecurity.Claim, m.BootSecurity)
}

func contradicts(measured, said posture.State) bool {
	return measured == yes && said == no || measured == no && said == yes
}

// contradiction: a system that claims more than was measured lies; one that claims
// less is strange.
func (r *Result) contradiction(what string, measured posture.State) {
	if measured == no {
		r.find(FindingContradiction, Contraindicated, what+" is said to be on and was measured as off.",
			"The system does not tell the truth about how it was started: let the laptop be looked at.")
		return
	}
	r.find(FindingContradiction, Warning, what+" is said to be off and was measured as on.", "Restart the laptop, and update the agent.")
}

// worse makes a reported claim what the measured one says, unless the laptop itself
// says worse.
func worse(claim *posture.Claim, measured posture.Claim) {
	if measured.State == no || measured.State == yes && claim.State != no {
		*claim = measured
	}
}

// resumed tells that the machine went through a reset under a running system and
// that what was started is other than before: honest hibernation starts the same.
// A quote of the same start keeps what was found of it.
func resumed(last, now *Boot) bool {
	if last.Clock == nil || now.Clock == nil || last.BootID == "" || last.BootID != now.BootID {
		return false
	}
	if now.Clock.ResetCount == last.Clock.ResetCount {
		return last.Resumed
	}
	return last.PCRs[0] != now.PCRs[0] || last.PCRs[4] != now.PCRs[4] || last.PCRs[7] != now.PCRs[7]
}

// Rejudge judges a Result's boot evidence anew: the log arrived, references or an
// approval changed. It returns another Result; times, claims and findings that do
// not rest on the log stay.
func Rejudge(r *Result, in *BootInput) *Result {
	again := *r
	again.Findings = slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return bootFinding(f.Code) })
	again.asReported(r)
	again.judgeBoot(in)
	again.weak(in)
	again.join()
	again.bootFindings()
	again.grade()
	return &again
}

// asReported takes the report's own words back from a Result in which measured ones
// stand before them.
func (r *Result) asReported(from *Result) {
	if from.Reported != nil {
		r.Claims.SecureBoot.Claim, r.Claims.BootSecurity.Claim = from.Reported.SecureBoot, from.Reported.BootSecurity
		r.Claims.SecureBoot.Detail.Enabled = from.Reported.Enabled
	}
}

func bootFinding(code string) bool {
	switch code {
	case FindingBootLog, FindingWithheld, FindingContradiction, FindingDrift, FindingDriftExpected, FindingRefused, FindingResumed, FindingWeakTPM, FindingDMA, FindingDenied:
		return true
	}
	return false
}

// each yields the claims of the boot evidence that are not the report's, by the name
// that policies have for them.
func (b *Boot) each() func(yield func(string, *posture.Claim) bool) {
	return func(yield func(string, *posture.Claim) bool) {
		if !yield("boot", &b.Claim) || !yield("boot_baseline", &b.Baseline) {
			return
		}
		for name, c := range b.Claims.Each() {
			if name == "secure_boot" || name == "boot_security" {
				continue // they stand among the report's
			}
			if !yield(name, c) {
				return
			}
		}
	}
}

// Certificates keeps parsed certificates of boot logs; the zero value is ready.
type Certificates = bootlog.Certificates

// ReadLog reads a boot log as far as quoted values confirm it. Without an account
// missing says why.
func ReadLog(log []byte, quoted attest.PCRs, certificates *Certificates) (account *bootlog.Account, missing posture.Reason) {
	l, err := bootlog.Parse(log)
	if err != nil {
		return nil, LogUnreadable
	}
	var values bootlog.Values
	for i, v := range quoted {
		if int(i) < len(values) {
			values[i] = v[:]
		}
	}
	return l.Account(bootlog.SHA256, &values, certificates), ""
}

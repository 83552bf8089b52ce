package evidence

import (
	"crypto/sha1" //nolint:gosec // replays a bank of old TPMs for display
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"time"

	"muster/attest/bootlog"
	"muster/attest/posture"
	"muster/server/reference"
	"muster/server/verify"
)

// Reasons that a claim of a log on its own has beside those of the log and of the
// Verifier.
const (
	// reasonNoValues: nobody said what the PCRs held, so that nothing binds the log.
	reasonNoValues posture.Reason = "pcr-values-missing"
	// reasonNoBank: the values are of other banks than the log's digests.
	reasonNoBank posture.Reason = "no-common-bank"
)

// BootReport is what can be said of one boot log on its own. The PCR values are
// taken as they were given: no TPM signed them for this.
type BootReport struct {
	// Format is tcg2 (crypto-agile) or tcg-sha1.
	Format string         `json:"format"`
	Events int            `json:"events"`
	Banks  []bootlog.Bank `json:"banks"` // of the log, in its order
	// PCRs has a status for every value that was given, by bank and index.
	PCRs map[string]map[string]bootlog.Status `json:"pcrs"`
	// Bank is the one that the claims come from; empty: there is none, and every
	// claim is unknown.
	Bank string `json:"bank"`
	// WeakBank: the claims are bound by SHA-1 only, which the server never accepts.
	WeakBank bool `json:"weak_bank,omitempty"`
	// IgnoredBanks stand in the values and are not known here.
	IgnoredBanks []string       `json:"ignored_banks,omitempty"`
	References   bootReferences `json:"references"`
	// Claims are those of verify.BootClaims by their names.
	Claims  map[string]bootClaim `json:"claims"`
	Details bootDetails          `json:"details"`

	// unconfirmed is what the log says where nothing binds it: never in JSON.
	unconfirmed *bootDetails
}

// bootReferences name what was judged by.
type bootReferences struct {
	Number uint64    `json:"number"`
	Date   time.Time `json:"date,omitzero"`
}

// bootClaim is one claim with the event that binds it.
type bootClaim struct {
	State  posture.State  `json:"state"`
	Reason posture.Reason `json:"reason"`
	// PCR and Event, its number in the log from 0, bind it; both are absent where
	// nothing does.
	PCR   *uint8 `json:"pcr,omitempty"`
	Event *int   `json:"event,omitempty"`
}

// Bootlog judges one boot log by PCR values, JSON {bank: {index: hexadecimal}} or
// nil for none, and by the references that the program brings. Claims come from one bank alone, which the log
// and the values both have: SHA-256, in which a quote would be, before any other,
// then the strongest. Where that bank does not match, no other is asked.
func Bootlog(log, pcrs []byte) (*BootReport, error) {
	refs, err := reference.DefaultBoot()
	if err != nil {
		return nil, fmt.Errorf("reading the boot references: %w", err)
	}
	parsed, err := bootlog.Parse(log)
	if err != nil {
		return nil, fmt.Errorf("reading the boot log: %w", err)
	}
	r := &BootReport{
		Format: "tcg-sha1", Events: len(parsed.Events), Banks: append([]bootlog.Bank{}, parsed.Banks...),
		PCRs:       map[string]map[string]bootlog.Status{},
		References: bootReferences{refs.Number, refs.Date},
	}
	if parsed.Agile {
		r.Format = "tcg2"
	}
	values := new(pcrValues)
	if pcrs != nil {
		if values, err = parsePCRs(pcrs); err != nil {
			return nil, err
		}
	}
	r.IgnoredBanks = values.other
	var certs bootlog.Certificates
	for bank, given := range values.banks {
		r.PCRs[bank.String()] = statuses(parsed, bank, given, &certs)
	}
	reason := reasonNoValues
	for _, bank := range bankOrder() {
		given := values.banks[bank]
		if given == nil || !hasValue(given) {
			continue
		}
		reason = reasonNoBank
		if slices.Contains(parsed.Banks, bank) {
			r.judge(bank, parsed.Account(bank, given, &certs), refs)
			return r, nil
		}
	}
	r.unjudged(reason, parsed, refs, &certs)
	return r, nil
}

func hasValue(v *bootlog.Values) bool {
	return slices.ContainsFunc(v[:], func(b []byte) bool { return b != nil })
}

// statuses tells, for every value that was given of a bank, how far the log
// explains it. In a bank that the log does not have, it explains nothing.
func statuses(parsed *bootlog.Log, bank bootlog.Bank, given *bootlog.Values, certs *bootlog.Certificates) map[string]bootlog.Status {
	told := map[string]bootlog.Status{}
	var account *bootlog.Account
	if slices.Contains(parsed.Banks, bank) {
		account = parsed.Account(bank, given, certs)
	}
	for i, value := range given {
		switch {
		case value == nil:
		case account != nil:
			told[strconv.Itoa(i)] = account.PCRs[i]
		case neverExtended(i, value):
			told[strconv.Itoa(i)] = bootlog.Empty
		default:
			told[strconv.Itoa(i)] = bootlog.Unlogged
		}
	}
	return told
}

// judge fills in what the values confirm.
func (r *BootReport) judge(bank bootlog.Bank, account *bootlog.Account, refs *reference.Boot) {
	r.Bank, r.WeakBank = bank.String(), bank == bootlog.SHA1
	r.Details = detailsOf(account, refs)
	binding := map[string]*bound{
		"secure_boot": &r.Details.SecureBoot.bound, "secure_boot_keys": &r.Details.PK.bound,
		"boot_authorities": &r.Details.Authorities.bound, "boot_revocations": &r.Details.DBX.bound,
		"shim_verified": &r.Details.MOKOff.bound, "boot_no_debug": &r.Details.UEFIDebug.bound,
	}
	claims := verify.JudgeBoot(account, refs, time.Time{})
	r.Claims = map[string]bootClaim{}
	for name, c := range claims.Each() {
		claim := bootClaim{State: c.State, Reason: c.Reason}
		if b := binding[name]; b != nil && c.State != posture.Unknown {
			claim.PCR, claim.Event = b.PCR, b.Event
		}
		r.Claims[name] = claim
	}
}

// unjudged makes every claim unknown, and keeps aside what the log says of itself.
func (r *BootReport) unjudged(reason posture.Reason, parsed *bootlog.Log, refs *reference.Boot, certs *bootlog.Certificates) {
	r.Claims = map[string]bootClaim{}
	var claims verify.BootClaims
	for name := range claims.Each() {
		r.Claims[name] = bootClaim{Reason: reason}
	}
	r.Details = detailsOf(new(bootlog.Account), refs)
	r.Details.because(string(reason))
	for _, bank := range bankOrder() {
		if slices.Contains(parsed.Banks, bank) {
			own := ownValues(parsed, bank)
			said := detailsOf(parsed.Account(bank, &own, certs), refs)
			r.unconfirmed = &said
			return
		}
	}
}

// ownValues are the PCR values that a log leads to by its own word: they bind
// nothing, and only serve to read what it says.
func ownValues(parsed *bootlog.Log, bank bootlog.Bank) (values bootlog.Values) {
	const noAction = 0x00000003 // EV_NO_ACTION is not extended (PFP §10.4.1)
	h := hashOf(bank)
	for i := range parsed.Events {
		e := &parsed.Events[i]
		digest := parsed.Digest(e, bank)
		if e.Type == noAction || e.PCR >= bootlog.PCRCount || len(digest) != h.Size() {
			continue
		}
		if values[e.PCR] == nil {
			values[e.PCR] = make([]byte, h.Size())
		}
		h.Reset()
		h.Write(values[e.PCR])
		h.Write(digest)
		values[e.PCR] = h.Sum(values[e.PCR][:0])
	}
	return values
}

func hashOf(bank bootlog.Bank) hash.Hash {
	switch bank {
	case bootlog.SHA1:
		return sha1.New() //nolint:gosec // see the import
	case bootlog.SHA384:
		return sha512.New384()
	case bootlog.SHA512:
		return sha512.New()
	}
	return sha256.New()
}

package evidence

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/decide"
	"muster/server/verify"
)

// results appraises the statements from the last quote on again, and compares.
func (a *audit) results() {
	if len(a.opened) == 0 || len(a.opened) < len(a.f.Statements) {
		return
	}
	first := max(a.quoted(), 0)
	var last *verify.Result
	if a.f.Before != "" {
		last = new(verify.Result)
		if err := attest.Decode([]byte(a.f.Before), last); err != nil {
			a.say("result", contradicted, "The Result before the first one cannot be read: %v.", err)
			return
		}
	}
	a.asRegistered()
	lasts := []*verify.Result{last}
	for i := first; i < len(a.opened); i++ {
		if lasts = a.appraise(&a.opened[i], lasts, i+1); len(lasts) == 0 {
			return
		}
	}
}

// asRegistered compares what a Result says of the keys with what enrolled: a decision
// rests on the Result's word.
func (a *audit) asRegistered() {
	d, r := &a.f.Device, a.opened[len(a.opened)-1].result
	switch {
	case r.Device.Level != d.Level:
		a.say("result", contradicted, "The Result is of a device at %v, and it is registered at %v.", r.Device.Level, d.Level)
	case d.Kind == attest.KindSoft && measured(r):
		a.say("result", contradicted, "The key is a file, and the Result has claims that a TPM measured.")
	}
}

// measured tells whether a Result says anything that was measured.
func measured(r *verify.Result) bool {
	known := r.Boot.State != posture.Unknown || r.Boot.Baseline.State != posture.Unknown
	for _, c := range r.Boot.Claims.Each() {
		known = known || c.State != posture.Unknown
	}
	for _, c := range r.Claims.Each() {
		known = known || c.Source == posture.Measured
	}
	return known
}

// memory are the members of a Result that rest on what the server remembered of the
// device, and not on what the device sent. Of the findings these do not: they follow
// from the report and the log.
func memory(path string) bool {
	switch strings.TrimPrefix(path, "findings.") {
	case verify.FindingBootLog, verify.FindingContradiction, verify.FindingWeakTPM, verify.FindingDMA:
		return false
	}
	for _, of := range []string{"boot.baseline", "boot.standing", "boot.changes", "boot.resumed", "tiers.boot_baseline", "findings", "tier"} {
		if path == of || strings.HasPrefix(path, of+".") {
			return true
		}
	}
	return false
}

// appraise judges one statement again and compares every member with the stored
// Result. lasts are what may have been known before it. It returns what the next one
// may rest on; none: it cannot go on.
func (a *audit) appraise(o *opened, lasts []*verify.Result, n int) []*verify.Result {
	lasts = a.before(o, lasts)
	if len(lasts) == 0 {
		a.say("result", unproved, "Statement %d says that nothing changed since a report that is not here: its Result is the server's word.", n)
		return []*verify.Result{o.result}
	}
	inputs, how := a.bootInputs(o)
	var best *verify.Result
	var differ []string
	for _, last := range lasts {
		for i := range inputs {
			ev := *o.ev
			// The server compared the TPM's clock with a quote that need not be here.
			ev.Cleared, ev.ClockFell = has(o.result, verify.FindingTPMCleared), has(o.result, verify.FindingClockFell)
			again := verify.Appraise(verify.Input{
				Device: o.result.Device, Evidence: &ev, Boot: inputs[i], Last: last,
				Cloned: has(o.result, verify.FindingCloned), ReceivedAt: o.ReceivedAt,
			})
			d, err := differences(o.Result, again)
			if err != nil {
				a.say("result", contradicted, "The Result of statement %d cannot be compared: %v.", n, err)
				return nil
			}
			if best == nil || worse(differ) > worse(d) {
				best, differ = again, d
			}
		}
	}
	a.compared(differ, how, n)
	if how != "" {
		best = o.result // what could not be repeated goes on as it was stored
	}
	// The server judges the boot evidence of a quote anew when its log comes after it,
	// or when other references are used: then the next statement rests on that.
	next := []*verify.Result{best}
	if o.ev.Measured != nil && a.judged != nil {
		next = append(next, verify.Rejudge(best, a.judged))
	}
	if o.ev.Measured != nil && how == "" && best.Boot.Owed() {
		withheld := inputs[len(inputs)-1]
		withheld.Missing = verify.LogWithheld
		next = append(next, verify.Rejudge(best, &withheld))
	}
	return next
}

// before is what a statement rests on. An enrolment begins anew. A heartbeat has the
// claims of the report that it names, which is in the file or else nothing shows them;
// what the file has as the Result before it is the server's word.
func (a *audit) before(o *opened, lasts []*verify.Result) (list []*verify.Result) {
	switch {
	case o.ev.Header.Typ == attest.TypEnrol:
		return []*verify.Result{nil}
	case o.ev.Measured == nil:
		lasts = a.denied(o, lasts)
	}
	if o.ev.Heartbeat == nil {
		return lasts
	}
	at := slices.IndexFunc(a.opened, func(b opened) bool { return b.ev.Report != nil && b.ev.Digest == o.ev.Heartbeat.Base })
	if at < 0 {
		return nil
	}
	base := &a.opened[at]
	said := verify.Appraise(verify.Input{Device: o.result.Device, Evidence: &attest.Evidence{Report: base.ev.Report}, ReceivedAt: base.ReceivedAt})
	for _, last := range lasts {
		on := new(verify.Result)
		if last != nil {
			*on = *last
		}
		on.Claims, on.Reported = said.Claims, said.Reported
		list = append(list, on)
	}
	return list
}

// denied makes of what a statement may rest on what it was when the TPM had been put
// on the deny list, or taken from it, as the server says.
func (a *audit) denied(o *opened, lasts []*verify.Result) []*verify.Result {
	list := slices.Clone(lasts)
	for i, last := range list {
		if last != nil && last.Denied != o.result.Denied {
			list[i] = last.Recapped(&verify.BootInput{References: a.refs, Manufacturer: a.manufacturer(), Denied: o.result.Denied})
		}
	}
	return list
}

func (a *audit) manufacturer() string {
	return cmp.Or(a.record.TPM.Manufacturer, a.f.Device.TPM.Manufacturer)
}

// worse orders lists of differences: those outside memory first.
func worse(differ []string) int {
	n := 0
	for _, path := range differ {
		if memory(path) {
			n++
		} else {
			n += 1 << 16
		}
	}
	return n
}

// compared says how a recomputed Result and the stored one stand to each other.
func (a *audit) compared(differ []string, how string, n int) {
	other := slices.DeleteFunc(slices.Clone(differ), memory)
	if how != "" {
		other = slices.DeleteFunc(other, judgedBoot)
	}
	switch {
	case len(other) > 0:
		a.say("result", contradicted, "Judged again, statement %d comes to another Result in: %s.", n, strings.Join(other[:min(len(other), 8)], ", "))
	case how != "":
		a.say("result", word, "Judged again, statement %d comes to the same Result; but for its boot evidence, which is the server's word: %s.", n, how)
	case len(differ) > 0:
		a.say("result", word, "Judged again, statement %d comes to the same Result; but for what rests on the server's memory of the device, which is its word: %s.", n, strings.Join(differ[:min(len(differ), 8)], ", "))
	default:
		a.say("result", proved, "Judged again by the same references, statement %d comes to the same Result, member by member.", n)
	}
}

// judgedBoot tells the members that come from boot evidence.
func judgedBoot(path string) bool {
	for _, of := range []string{"boot", "quoted_at", "cap", "claims.secure_boot", "claims.boot_security", "tiers", "findings"} {
		if path == of || strings.HasPrefix(path, of+".") {
			return true
		}
	}
	return false
}

// bootInputs are what the boot evidence of a statement may have been judged by: with
// its log, or before that came. how says why it cannot be judged here.
func (a *audit) bootInputs(o *opened) (inputs []verify.BootInput, how string) {
	m := o.ev.Measured
	in := verify.BootInput{
		References: a.refs, Levels: verify.BootLevels{DBX: a.f.References.DBX, SBAT: a.f.References.SBAT},
		Manufacturer: a.manufacturer(), Missing: verify.NotJudged, Seen: a.seen(o),
		Denied: o.result.Denied, // the server's word, which only lowers
	}
	if m == nil {
		return []verify.BootInput{in}, a.carried(o)
	}
	if a.refs == nil {
		return []verify.BootInput{in}, "the references that judged it are not in the file"
	}
	if len(a.f.Log) > 0 && attest.CheckLog(a.f.Log, m.LogSHA) == nil {
		judged := in
		judged.Account, judged.Missing = verify.ReadLog(a.f.Log, m.PCRs, &a.certs)
		inputs, a.judged = append(inputs, judged), &judged
	}
	switch {
	case a.refs.Number != o.result.Boot.References || in.Levels != o.result.Boot.Levels:
		how = "it was judged by other references, or levels, at first"
	case !m.LogSHA.IsZero() && len(inputs) == 0 && !o.result.Boot.Owed():
		how = "the boot log is not in the file"
	}
	if o.result.Boot.Reason == verify.LogWithheld {
		in.Missing = verify.LogWithheld // how often it was asked for, only the server knows
	}
	return append(inputs, in), how
}

// carried says why nothing shows that the last quote speaks for a statement without
// one; empty: its signature does. Only a boot key can that is bound to the quoted
// start, and of which the AK said that a TPM holds it.
func (a *audit) carried(o *opened) string {
	at := a.quoted()
	switch {
	case a.f.Device.Kind != attest.KindTPM:
		return ""
	case at < 0:
		return "the quote is not in the file"
	case o.by != nil && o.by.certified:
		if counter, err := attest.CheckBootPolicy(o.by.key, a.opened[at].ev.Measured); err == nil && counter {
			return ""
		}
	}
	return "nothing shows that the key which signed it is of the start that was quoted"
}

// seen are the ways to start that the server had on record before a statement.
func (a *audit) seen(o *opened) (list []verify.SeenSet) {
	for _, b := range a.f.Baselines {
		if !b.FirstSeen.Before(o.ReceivedAt) {
			continue
		}
		seen := verify.SeenSet{State: verify.BaselineState(b.State), Set: new(verify.BootSet)}
		if attest.Decode([]byte(b.Set), seen.Set) != nil {
			seen.Set = nil // as the server takes one that it cannot read
		}
		list = append(list, seen)
	}
	return list
}

func has(r *verify.Result, code string) bool {
	return slices.ContainsFunc(r.Findings, func(f verify.Finding) bool { return f.Code == code })
}

// differences are the paths of members in which a stored Result and a recomputed
// one differ, in order. Findings are compared by their codes: their sentences name
// what the server remembered.
func differences(stored string, again *verify.Result) ([]string, error) {
	b, err := attest.Encode(again)
	if err != nil {
		return nil, err
	}
	var was, is any
	if err := json.Unmarshal([]byte(stored), &was); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &is); err != nil {
		return nil, err
	}
	byCode(was)
	byCode(is)
	paths := map[string]bool{}
	differ("", was, is, paths)
	return slices.Sorted(maps.Keys(paths)), nil
}

// byCode makes the findings of a Result a set of codes.
func byCode(result any) {
	object, ok := result.(map[string]any)
	if !ok {
		return
	}
	list, _ := object["findings"].([]any) // absent: there is none
	codes := map[string]any{}
	for _, one := range list {
		if finding, ok := one.(map[string]any); ok {
			if code, ok := finding["code"].(string); ok {
				codes[code] = finding["tier"]
			}
		}
	}
	object["findings"] = codes
}

// differ notes where two values differ: at the deepest object members, at most
// three names down. A Result is less deep than attest.MaxDepth.
func differ(path string, a, b any, paths map[string]bool) {
	x, isX := a.(map[string]any)
	y, isY := b.(map[string]any)
	if !isX || !isY || strings.Count(path, ".") >= 2 {
		if !reflect.DeepEqual(a, b) && !sameTime(a, b) {
			paths[path] = true
		}
		return
	}
	for _, object := range []map[string]any{x, y} {
		for name := range object {
			below := strings.TrimPrefix(path+"."+name, ".")
			differ(below, x[name], y[name], paths)
		}
	}
}

// isLater compares with a time of the store, which keeps milliseconds.
func isLater(t, stored time.Time) bool { return t.Truncate(time.Millisecond).After(stored) }

// sameTime tells two times that are the same but for what a store cuts off, which
// keeps milliseconds.
func sameTime(a, b any) bool {
	x, _ := a.(string)
	y, _ := b.(string)
	t, err := time.Parse(time.RFC3339, x)
	u, wrong := time.Parse(time.RFC3339, y)
	return err == nil && wrong == nil && t.Truncate(time.Millisecond).Equal(u.Truncate(time.Millisecond))
}

// decision decides again by the policy, and compares.
func (a *audit) decision() {
	if a.f.Policy == "" {
		a.lacks("policy", "The server no longer has the policy: the decision is its word.")
		return
	}
	p, err := decide.Load("policy", []byte(a.f.Policy))
	if err != nil {
		a.say("policy", contradicted, "The policy is not understood: %v.", err)
		return
	}
	if !a.recorded || p.Digest() != a.record.Policy {
		a.say("policy", contradicted, "The policy is not the one that the decision names.")
		return
	}
	a.say("policy", proved, "The policy is the one that the decision names: %s.", p.Digest())
	switch {
	case len(a.opened) == 0 || len(a.opened) < len(a.f.Statements):
		a.say("decision", unproved, "Without the statement the decision cannot be repeated.")
		return
	case a.record.At.IsZero():
		a.say("decision", word, "The entry does not say with what grace and at what time it was decided: it cannot be repeated.")
		return
	}
	result := *a.opened[len(a.opened)-1].result
	if result.Cap != nil {
		result.Device.Level = min(result.Device.Level, result.Cap.Level)
	}
	worst, codes := decideAgain(p, decide.Inputs{
		Device: result, HasResult: true, TPM: a.record.TPM, Now: a.record.At, Grace: a.record.Grace, DeviceBypasses: a.record.Bypasses,
	})
	if worst != a.record.Outcome || !slices.ContainsFunc(codes, func(c []string) bool { return sameCodes(c, a.record.Reasons) }) {
		a.say("decision", contradicted, "Decided again from the Result, the policy says %s, not %s for the same reasons.", worst, a.record.Outcome)
		return
	}
	if a.is("result") != proved {
		a.say("decision", word, "Decided again from the Result by this policy, it is %s for the same reasons; the Result is not proved.", worst)
		return
	}
	a.say("decision", proved, "Decided again from the Result by this policy, it is %s for the same reasons.", worst)
}

// decideAgain returns the most severe outcome over the applications that devices
// may use, and the reasons of each that comes to it: of several, the server tells
// any one's.
func decideAgain(p *decide.Policy, in decide.Inputs) (worst string, codes [][]string) {
	outcome := decide.Allow
	all := p.DecideAll(in)
	for _, id := range slices.Sorted(maps.Keys(all)) {
		d := all[id].OfDevice()
		if d.Outcome < outcome {
			outcome, codes = d.Outcome, nil
		}
		if d.Outcome == outcome {
			var list []string
			for i := range d.Reasons {
				list = append(list, d.Reasons[i].Code)
			}
			codes = append(codes, list)
		}
	}
	if len(all) == 0 {
		outcome, codes = decide.Deny, [][]string{nil} // answers.worst of no application
	}
	return outcome.String(), codes
}

func sameCodes(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

package decide

import (
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"muster/attest/posture"
	"muster/server/verify"
)

// field is one name that a condition may use, and how it is read. Each is a CEL
// variable with a dotted name rather than a member of an object: so there is no
// whole object whose comparison could hide an unknown part, and the fields that
// a rule rests on can be listed.
type field struct {
	path  string // device.disk_encryption.state
	claim string // what it belongs to, for reasons and fixes
	typ   *cel.Type
	about subject // set by fields, from the path
	// values are all that a string can be; empty when it can be anything.
	values []string
	// read returns nil for what is not known. Fields of an unknown claim are
	// unknown whatever their detail says. It is only called where there is
	// somebody, or something, of whom the field tells.
	read func(*reading) ref.Val
	// since is set instead of read for an age: now less that time.
	since func(*reading) time.Time
	// turns, where set, is the next instant at which time alone changes what read
	// or since return; zero for never.
	turns func(*reading) time.Time
	// blank is the field when it is unknown: shared, since an Unknown never changes.
	blank *types.Unknown
}

// subject is whom a field tells of. Several are a set.
type subject uint8

const (
	aboutDevice subject = 1 << iota
	aboutVisitor
	aboutRequest
)

// subjects are the inputs of the language by their first word; app is always
// known, and is not among them.
func subjects() map[string]subject {
	return map[string]subject{
		"device":  aboutDevice,
		"session": aboutVisitor, "passkey": aboutVisitor, "user": aboutVisitor, "elevation": aboutVisitor,
		"request": aboutRequest,
	}
}

// futureSlack is how far a time may lie ahead of the server's clock, since
// laptops set some of them. What is further ahead is unknown.
const futureSlack = verify.MaxSkew

// value reads the field; nil means unknown.
func (f *field) value(r *reading) ref.Val {
	if r.known&f.about == 0 {
		return nil
	}
	if f.since == nil {
		return f.read(r)
	}
	at := f.since(r)
	if at.IsZero() || at.After(r.now.Add(futureSlack)) {
		return nil
	}
	return types.Duration{Duration: r.now.Sub(at)}
}

// fields is the whole vocabulary but for app, in the order of the README.
func fields() []field {
	list := registered()
	for _, c := range claims() {
		list = append(list, c.fields()...)
	}
	for _, part := range [][]field{
		details(), sessionFields(), linkFields(), passkeyFields(), crossChecks(), userFields(), elevationFields(), requestFields(),
	} {
		list = append(list, part...)
	}
	about := subjects()
	for i := range list {
		list[i].about = about[root(list[i].path)]
		list[i].blank = types.NewUnknown(int64(i)+1, types.NewAttributeTrail(list[i].path))
	}
	return list
}

// registered are the facts that the server itself has of a device; where there is
// a device they are never unknown, except for a quote that never came.
func registered() []field {
	text := func(path string, read func(*verify.Device) string, values ...string) field {
		return field{path: "device." + path, claim: "device", typ: cel.StringType, values: values,
			read: func(r *reading) ref.Val { return types.String(read(&r.in.Device.Device)) }}
	}
	return []field{
		text("id", func(d *verify.Device) string { return d.ID }),
		text("group", func(d *verify.Device) string { return d.Group }),
		text("owner", func(d *verify.Device) string { return d.Owner }),
		text("ownership", ownership, string(verify.ClassCorporate), string(verify.ClassBYOD), string(verify.ClassContractor), string(verify.ClassShared)),
		text("platform", func(d *verify.Device) string { return string(d.Platform) }, string(posture.Linux), string(posture.Windows), string(posture.Darwin)),
		{path: "device.level", claim: "level", typ: levelType, read: func(r *reading) ref.Val {
			if r.in.Device.Device.Level > verify.TPMHardware {
				return nil
			}
			return symbol{levelType, uint8(r.in.Device.Device.Level)}
		}},
		{path: "device.tier", claim: "device", typ: tierType, read: func(r *reading) ref.Val { return tierValue(r.in.Device.Tier) }},
		{path: "device.findings", claim: "device", typ: cel.ListType(cel.StringType), read: func(r *reading) ref.Val { return findings(&r.in.Device) }},
		{path: "device.age", claim: "report", typ: cel.DurationType, since: func(r *reading) time.Time { return r.in.Device.IssuedAt }},
		{path: "device.quote_age", claim: "quote", typ: cel.DurationType, since: func(r *reading) time.Time { return r.in.Device.QuotedAt }},
	}
}

// ownership is the class; a device without one is byod, the least trusted.
func ownership(d *verify.Device) string {
	if d.Class == "" {
		return string(verify.ClassBYOD)
	}
	return string(d.Class)
}

// findings lists the codes; without a single judged claim, that none was found
// says nothing.
func findings(r *verify.Result) ref.Val {
	if r.Tier == verify.None {
		return nil
	}
	codes := make([]string, len(r.Findings))
	for i, f := range r.Findings {
		codes[i] = f.Code
	}
	return types.NewStringList(types.DefaultTypeAdapter, codes)
}

// claim is a claim proper: what every one has beside its detail.
type claim struct {
	name string // wire name
	of   func(*verify.Result) *posture.Claim
}

// claims are those of the Report and the Verifier's own of the boot evidence.
func claims() []claim {
	type result = *verify.Result
	type proper = *posture.Claim
	return append([]claim{
		{"os", func(r result) proper { return &r.Claims.OS.Claim }},
		{"patches", func(r result) proper { return &r.Claims.Patches.Claim }},
		{"disk_encryption", func(r result) proper { return &r.Claims.DiskEncryption.Claim }},
		{"home_encryption", func(r result) proper { return &r.Claims.HomeEncryption.Claim }},
		{"firewall", func(r result) proper { return &r.Claims.Firewall.Claim }},
		{"secure_boot", func(r result) proper { return &r.Claims.SecureBoot.Claim }},
		{"boot_security", func(r result) proper { return &r.Claims.BootSecurity.Claim }},
		{"tpm", func(r result) proper { return &r.Claims.TPM.Claim }},
		{"hardware", func(r result) proper { return &r.Claims.Hardware.Claim }},
		{"screen_lock", func(r result) proper { return &r.Claims.ScreenLock.Claim }},
		{"malware_protection", func(r result) proper { return &r.Claims.MalwareProtection.Claim }},
		{"automatic_updates", func(r result) proper { return &r.Claims.AutomaticUpdates.Claim }},
		{"remote_access", func(r result) proper { return &r.Claims.RemoteAccess.Claim }},
		{"local_administrators", func(r result) proper { return &r.Claims.LocalAdministrators.Claim }},
		{"mdm", func(r result) proper { return &r.Claims.MDM.Claim }},
	}, bootClaims()...)
}

const bootClaim = "boot"

// fields are state, reason, source, age and tier of the claim. All are unknown
// with the claim: a reason that were readable while nobody could tell would let
// `reason != 'plain-volume'` open.
func (c claim) fields() []field {
	known := func(read func(*verify.Result, *posture.Claim) ref.Val) func(*reading) ref.Val {
		return func(r *reading) ref.Val {
			proper := c.of(&r.in.Device)
			if !told(proper.State) {
				return nil
			}
			return read(&r.in.Device, proper)
		}
	}
	path := "device." + c.name
	return []field{
		{path: path + ".state", claim: c.name, typ: stateType, read: func(r *reading) ref.Val { return stateValue(c.of(&r.in.Device).State) }},
		{path: path + ".reason", claim: c.name, typ: cel.StringType,
			read: known(func(_ *verify.Result, p *posture.Claim) ref.Val { return types.String(p.Reason) })},
		{path: path + ".source", claim: c.name, typ: sourceType,
			read: known(func(_ *verify.Result, p *posture.Claim) ref.Val { return sourceValue(p.Source) })},
		{path: path + ".tier", claim: c.name, typ: tierType,
			read: known(func(r *verify.Result, _ *posture.Claim) ref.Val { return tierValue(r.Tiers[c.name]) })},
		{path: path + ".age", claim: c.name, typ: cel.DurationType, since: func(r *reading) time.Time {
			if proper := c.of(&r.in.Device); told(proper.State) {
				return proper.ObservedAt
			}
			return time.Time{}
		}},
	}
}

// told reports whether somebody could tell. A state outside the three is not.
func told(s posture.State) bool { return s == posture.Yes || s == posture.No }

// The states as CEL has them, made once: every rule about a claim reads one.
var (
	stateYes ref.Val = symbol{stateType, uint8(posture.Yes)}
	stateNo  ref.Val = symbol{stateType, uint8(posture.No)}
)

func stateValue(s posture.State) ref.Val {
	switch s {
	case posture.Yes:
		return stateYes
	case posture.No:
		return stateNo
	}
	return nil
}

func sourceValue(s posture.Source) ref.Val {
	if s > posture.Measured {
		return nil
	}
	return symbol{sourceType, uint8(s)}
}

func tierValue(t verify.Tier) ref.Val {
	if t == verify.None || t > verify.Contraindicated {
		return nil
	}
	return symbol{tierType, uint8(t)}
}

package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"muster/attest"
	"muster/attest/bootlog"
	"muster/attest/posture"
	"muster/server/reference"
)

// BootSet is how a device started: what is compared from start to start. Members
// that the log does not explain are empty; Raw is always whole.
type BootSet struct {
	// Raw are the values of PCR 0, 4 and 7: all there is without a log. PCR 2 is not
	// among them, since a dock moves it.
	Raw [3]attest.Digest `json:"raw"`
	// Explained tells that the members below are known.
	Explained bool `json:"explained"`
	// PK, KEK, DB and MOK are the keys, sorted; applications and authorities in the order
	// of first use, each once.
	Policy       Policy `json:"policy,omitzero"`
	PK           []Part `json:"pk,omitempty"`
	KEK          []Part `json:"kek,omitempty"`
	DB           []Part `json:"db,omitempty"`
	MOK          []Part `json:"mok,omitempty"` // shim's list of the owner's keys
	Applications []Part `json:"applications,omitempty"`
	Authorities  []Part `json:"authorities,omitempty"`
	// Model is what the laptop called itself when it was first seen to start so. It is
	// not compared.
	Model string `json:"model,omitempty"`
}

// Policy is what firmware and shim enforced at a start, as far as the log says it.
// The bits of PCR 7 that say so are a start's own; a running system may have made
// the rest of that register look like another start's.
type Policy struct {
	SecureBoot posture.State `json:"secure_boot"`
	ShimOff    posture.State `json:"shim_off"`
	Debug      posture.State `json:"debug"`
}

func policyOf(a *bootlog.Account) Policy {
	state := func(f bootlog.Fact[bool]) posture.State {
		switch {
		case !f.Known:
			return posture.Unknown
		case f.Value:
			return yes
		}
		return no
	}
	return Policy{SecureBoot: state(a.SecureBoot), ShimOff: state(a.MOKOff), Debug: state(a.UEFIDebug)}
}

func (p Policy) digest() attest.Digest {
	return attest.Digest{byte(p.SecureBoot), byte(p.ShimOff), byte(p.Debug), 1}
}

// changes says what other rules a start followed; never an expected change.
func (p Policy) changes(before Policy) (list []BootChange) {
	add := func(now, then posture.State, on, off, unknown string) {
		if now != then {
			list = append(list, BootChange{Component: ComponentPolicy, Text: map[posture.State]string{yes: on, no: off}[now]})
			if list[len(list)-1].Text == "" {
				list[len(list)-1].Text = unknown
			}
		}
	}
	add(p.SecureBoot, before.SecureBoot, "Secure Boot was turned on", "Secure Boot was turned off", "the log no longer says whether Secure Boot is on")
	add(p.ShimOff, before.ShimOff, "shim's verification was turned off", "shim's verification was turned on", "the log no longer says whether shim verifies")
	add(p.Debug, before.Debug, "firmware can be debugged", "firmware can no longer be debugged", "the log no longer says whether firmware can be debugged")
	return list
}

// Part is one member of a set. Name is for people and is not compared: a path of
// an application stands in no digest.
type Part struct {
	Digest attest.Digest `json:"digest"`
	Name   string        `json:"name,omitempty"`
}

// The components of a set, as the store counts them over the fleet.
const (
	ComponentFirmware     = "firmware"
	ComponentPolicy       = "policy"
	ComponentPK           = "pk"
	ComponentKEK          = "kek"
	ComponentDB           = "db"
	ComponentMOK          = "mok"
	ComponentApplications = "applications"
	ComponentAuthorities  = "authorities"
	ComponentRaw          = "raw"
)

// What a store keeps of a set is bounded: one that would not fit as JSON is not
// explained. Each part takes partSize beside its name.
const (
	maxParts = 128
	maxName  = 120
	maxSet   = 14 << 10
	partSize = 100
)

// bootSet makes the set of one start.
func bootSet(pcrs attest.PCRs, a *bootlog.Account) *BootSet {
	s := &BootSet{Raw: [3]attest.Digest{pcrs[0], pcrs[4], pcrs[7]}}
	if a == nil || explained(a).State != yes || !a.PK.Known || !a.KEK.Known || !a.DB.Known || !a.Applications.Known || !a.Authorities.Known {
		return s
	}
	full := *s
	full.Explained, full.Policy = true, policyOf(a)
	full.PK, full.KEK, full.DB = keyParts(&a.PK.Value), keyParts(&a.KEK.Value), keyParts(&a.DB.Value)
	full.MOK = ownerParts(a, pcrs)
	for _, app := range a.Applications.Value {
		if len(app.Digest) != sha256.Size || len(full.Applications) > maxParts {
			return s
		}
		full.Applications = once(full.Applications, attest.Digest(app.Digest), app.Path)
	}
	for _, by := range a.Authorities.Value {
		if len(full.Authorities) > maxParts {
			return s
		}
		if by.Certificate != nil {
			full.Authorities = once(full.Authorities, by.Certificate.SHA256, by.Certificate.Subject)
		} else {
			full.Authorities = once(full.Authorities, by.Hash, "a program by its own hash")
		}
	}
	parts, size := 0, 0
	for _, list := range full.members() {
		parts += len(list)
		for _, p := range list {
			escaped := strings.Count(p.Name, `"`) + strings.Count(p.Name, `\`) + 5*(strings.Count(p.Name, "<")+strings.Count(p.Name, ">")+strings.Count(p.Name, "&"))
			size += partSize + len(p.Name) + escaped
		}
	}
	if parts > maxParts || size > maxSet {
		return s
	}
	return &full
}

// once adds a member. Its name is foreign text, for people alone.
func once(list []Part, digest attest.Digest, name string) []Part {
	if slices.ContainsFunc(list, func(p Part) bool { return p.Digest == digest }) {
		return list
	}
	return append(list, Part{digest, printable(name)})
}

// printable cuts what does not belong into a line, and the line.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > 0xffff || r == utf8.RuneError || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, text)
	if len(text) > maxName {
		text = strings.ToValidUTF8(text[:maxName], "") + "…"
	}
	return text
}

// keyParts lists a variable's certificates; what is no certificate stands for the
// whole variable.
func keyParts(k *bootlog.Keys) []Part {
	var list []Part
	for _, c := range k.Certificates {
		list = once(list, c.SHA256, c.Subject)
	}
	if k.Hashes+k.Others > 0 {
		list = once(list, k.SHA256, "entries that are no certificates")
	}
	slices.SortFunc(list, func(a, b Part) int { return strings.Compare(string(a.Digest[:]), string(b.Digest[:])) })
	return list
}

// ownerParts lists the keys of shim's list. One that the log does not show stands
// for itself by its register; Windows has that register for other things.
func ownerParts(a *bootlog.Account, pcrs attest.PCRs) []Part {
	switch {
	case a.Windows.Known:
		return nil
	case a.MOK.Known:
		return keyParts(&a.MOK.Value)
	}
	return []Part{{pcrs[14], "keys that the log does not show (PCR 14)"}}
}

// Components are the parts of a set, each as one digest.
func (s *BootSet) Components() map[string]attest.Digest {
	if !s.Explained {
		return map[string]attest.Digest{ComponentRaw: hashOf("raw", s.Raw[:])}
	}
	list := map[string]attest.Digest{
		ComponentFirmware: hashOf("firmware", s.Raw[:1]),
		ComponentPolicy:   hashOf("policy", []attest.Digest{s.Policy.digest()}),
	}
	for name, parts := range s.members() {
		digests := make([]attest.Digest, len(parts))
		for i, p := range parts {
			digests[i] = p.Digest
		}
		list[name] = hashOf(name, digests)
	}
	return list
}

func (s *BootSet) members() map[string][]Part {
	return map[string][]Part{
		ComponentPK: s.PK, ComponentKEK: s.KEK, ComponentDB: s.DB, ComponentMOK: s.MOK,
		ComponentApplications: s.Applications, ComponentAuthorities: s.Authorities,
	}
}

// Key names the set: equal sets, and only those, have the same.
func (s *BootSet) Key() attest.Digest {
	components := s.Components()
	var all []attest.Digest
	for _, name := range componentOrder {
		all = append(all, components[name]) // zero for one that is not there
	}
	return hashOf("set", all)
}

var componentOrder = [...]string{ComponentFirmware, ComponentPolicy, ComponentPK, ComponentKEK, ComponentDB, ComponentMOK, ComponentApplications, ComponentAuthorities, ComponentRaw}

// ComponentNames are all of them, in the order in which they are told.
func ComponentNames() []string {
	names := componentOrder
	return names[:]
}

func hashOf(name string, digests []attest.Digest) (d attest.Digest) {
	h := sha256.New()
	h.Write([]byte("muster/boot-set/1"))
	h.Write([]byte(name))
	h.Write([]byte{0})
	for _, part := range digests {
		h.Write(part[:])
	}
	h.Sum(d[:0])
	return d
}

// Same reports whether two sets are of the same way to start: equal by what they
// mean, or, where one of them has no meaning yet, by their registers.
func (s *BootSet) Same(other *BootSet) bool {
	if s.Explained && other.Explained {
		return s.Key() == other.Key()
	}
	return s.Raw == other.Raw
}

// BootChange is one difference between two sets.
type BootChange struct {
	Component string `json:"component"`
	Text      string `json:"text"` // one clause: "db gained Windows UEFI CA 2023"
	// Expected: a change that Microsoft rolls out to every machine (its CAs of 2023).
	Expected bool `json:"expected,omitempty"`
}

// Changes says what is other in s than in before.
func (s *BootSet) Changes(before *BootSet, refs *reference.Boot) []BootChange {
	if !s.Explained || !before.Explained {
		if s.Raw == before.Raw {
			return nil
		}
		return []BootChange{{Component: ComponentRaw, Text: "the registers of firmware, boot programs or Secure Boot policy (PCR " + s.rawMoved(before) + ") have other values"}}
	}
	var list []BootChange
	if s.Raw[0] != before.Raw[0] {
		list = append(list, BootChange{Component: ComponentFirmware, Text: "firmware has another version or settings (PCR 0)"})
	}
	list = append(list, s.Policy.changes(before.Policy)...)
	now, then := s.members(), before.members()
	for _, name := range componentOrder {
		list = append(list, partChanges(name, now[name], then[name], refs)...)
	}
	return list
}

func (s *BootSet) rawMoved(before *BootSet) string {
	var moved []string
	for i, pcr := range [...]string{"0", "4", "7"} {
		if s.Raw[i] != before.Raw[i] {
			moved = append(moved, pcr)
		}
	}
	return strings.Join(moved, ", ")
}

func partChanges(name string, now, then []Part, refs *reference.Boot) (list []BootChange) {
	has := func(parts []Part, d attest.Digest) bool {
		return slices.ContainsFunc(parts, func(p Part) bool { return p.Digest == d })
	}
	rolledOut := false
	for _, p := range now {
		if !has(then, p.Digest) {
			is := expected(name, p, refs)
			rolledOut = rolledOut || is
			list = append(list, BootChange{name, title(name) + " gained " + p.label(), is})
		}
	}
	for _, p := range then {
		if !has(now, p.Digest) {
			// Programs that moved on to a CA of 2023 no longer show the one of 2011; that
			// nobody vouches any more, or a key gone from db, is a decision of somebody's.
			list = append(list, BootChange{name, title(name) + " lost " + p.label(), rolledOut && name == ComponentAuthorities && microsoft(p, refs)})
		}
	}
	if len(list) == 0 && !slices.EqualFunc(now, then, func(a, b Part) bool { return a.Digest == b.Digest }) {
		list = append(list, BootChange{name, title(name) + " are in another order", false})
	}
	return list
}

// expected tells a CA of 2023, which Microsoft rolls out, that joined a list of keys
// or authorities.
func expected(name string, p Part, refs *reference.Boot) bool {
	switch name {
	case ComponentKEK, ComponentDB, ComponentAuthorities:
		a, ok := refs.Authority(p.Digest)
		return ok && a.Rollout
	}
	return false
}

// microsoft tells one of Microsoft's own CAs on the list.
func microsoft(p Part, refs *reference.Boot) bool {
	a, ok := refs.Authority(p.Digest)
	return ok && (a.Kind == reference.WindowsCA || a.Kind == reference.UEFICA || a.Kind == reference.KeyExchange)
}

// ComponentTitle names a component for people.
func ComponentTitle(component string) string {
	switch component {
	case ComponentFirmware:
		return "firmware"
	case ComponentPolicy:
		return "what was enforced"
	case ComponentRaw:
		return "the registers"
	}
	return title(component)
}

func title(component string) string {
	return map[string]string{
		ComponentPK: "the platform key", ComponentKEK: "the key-exchange keys", ComponentDB: "the allowed signers (db)", ComponentMOK: "the owner's keys (shim)",
		ComponentApplications: "the boot programs", ComponentAuthorities: "the signers of boot programs",
	}[component]
}

// label is for people.
func (p Part) label() string {
	short := hex.EncodeToString(p.Digest[:6])
	if p.Name == "" {
		return short + "…"
	}
	return printable(p.Name) + " (" + short + "…)"
}

package decide

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// testVisitor is who asks in a test. Its times are ages, because a test begins
// when its device's report was made.
type testVisitor struct {
	Visitor                          // without its times and elevations
	signedIn, seen, verified, linked testAge
	// passkey: the test says something of it; without, it is not known.
	passkey bool
	created testAge
	// elevated: there is an elevation for the application that is asked for.
	elevated, approved bool
	granted            testAge
	lasts              time.Duration // 0: as the application says
}

// testAge is how long ago something was; never: nobody knows.
type testAge struct {
	ago   time.Duration
	never bool
}

// before is the instant that lies so far before another.
func (a testAge) before(now time.Time) time.Time {
	if a.never {
		return time.Time{}
	}
	return now.Add(-a.ago)
}

// at is the visitor at a time who asks for an application, which may be unknown.
func (v *testVisitor) at(now time.Time, id string, a App) *Visitor {
	out := v.Visitor
	out.Session.SignedInAt, out.Session.SeenAt = v.signedIn.before(now), v.seen.before(now)
	out.Session.UserVerified = v.verified.before(now)
	if out.Session.Link.State != linkAbsent {
		out.Session.Link.At = v.linked.before(now)
	}
	if v.passkey {
		out.Passkey.CreatedAt = v.created.before(now)
	}
	if v.elevated {
		granted, lasts := v.granted.before(now), v.lasts
		if lasts == 0 {
			lasts = a.Elevation.Lasts
		}
		out.Elevations = []Elevation{{App: id, Granted: granted, Ends: granted.Add(lasts), Approved: v.approved}}
	}
	return &out
}

func linkStates() []string    { return []string{linkAbsent, linkSuspended, linkLive} }
func linkStrengths() []string { return []string{"code", "app", "loopback"} }
func bindings() []string      { return []string{"none", "dbsc", "mtls"} }

// visitor reads who asks, where given says so. Whoever is left out is a laptop
// that asks by itself.
func (l *loading) visitor(t *test, given map[string]member) {
	s, signedIn := given["session"]
	if !signedIn {
		for _, name := range []string{"passkey", "user", "elevation"} {
			if m, ok := given[name]; ok {
				l.add(m.at, "%s needs a session beside it: session: {} is one that was just opened", name)
			}
		}
		return
	}
	v, before := &testVisitor{}, len(l.found)
	v.Session.ID = "test"
	l.visitorSession(v, s)
	if m, ok := given["passkey"]; ok {
		l.visitorPasskey(v, m)
	}
	if m, ok := given["user"]; ok {
		members := l.mapping(m.value, "user", "name", "role", "groups")
		v.User.Name = l.textOf(members, "name")
		v.User.Role = l.wordOf(members, "role", "person", "help_desk", "auditor", "administrator")
		v.User.Groups = l.listOf(members, "groups")
	}
	if m, ok := given["elevation"]; ok {
		l.visitorElevation(v, m)
		i, named := l.policy.byID[t.app]
		if v.lasts == 0 && (!named || l.policy.apps[i].Elevation.Lasts == 0) {
			l.add(m.at, "elevation needs lasts: %q is no application that has elevation", short(t.app))
		}
	}
	t.visitor = v
	if len(l.found) > before {
		return // what follows could be because of that
	}
	_, device := given["device"]
	switch absent := v.Session.Link.State == linkAbsent; {
	case absent && device:
		l.add(s.at, "a session that is linked to no laptop has no device: give it link: {state: live, strength: loopback}, or remove device")
	case !absent && !device:
		l.add(s.at, "a session that is linked to a laptop needs a device: give it one, or remove link")
	}
}

func (l *loading) visitorSession(v *testVisitor, m member) {
	members := l.mapping(m.value, "session", "signed_in_ago", "seen_ago", "verified_ago", "over", "amr", "acr", "binding", "link")
	v.signedIn, _ = l.ageOf(members, "signed_in_ago")
	v.seen, _ = l.ageOf(members, "seen_ago")
	var said bool
	if v.verified, said = l.ageOf(members, "verified_ago"); !said {
		v.verified = v.signedIn // whoever signs in is verified
	}
	v.Session.Over = l.wordOf(members, "over", sessionCodes()[1:]...)
	v.Session.AMR = l.listOf(members, "amr")
	v.Session.ACR = l.textOf(members, "acr")
	if v.Session.Binding = l.wordOf(members, "binding", bindings()...); v.Session.Binding == "" {
		v.Session.Binding = bindings()[0]
	}
	v.Session.Link.State = linkAbsent
	link, ok := members["link"]
	if !ok {
		return
	}
	inner := l.mapping(link.value, "link", "state", "strength", "ago")
	if _, ok := inner["state"]; !ok && inner != nil {
		l.add(link.at, "link needs a state: %s", strings.Join(linkStates(), ", "))
	}
	if state := l.wordOf(inner, "state", linkStates()...); state != "" {
		v.Session.Link.State = state
	}
	v.Session.Link.Strength = l.wordOf(inner, "strength", linkStrengths()...)
	v.linked, _ = l.ageOf(inner, "ago")
	if len(inner) > 1 && v.Session.Link.State == linkAbsent {
		l.add(link.at, "a link that is absent has nothing else")
	}
}

// aaguidForm is how an AAGUID is written (WebAuthn §6.5.1 as a UUID).
var aaguidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func (l *loading) visitorPasskey(v *testVisitor, m member) {
	members := l.mapping(m.value, "passkey", "evidence", "aaguid", "format", "certification", "bad", "weak",
		"backup_eligible", "backup_state", "clone_warning", "created_ago", "platform", "system", "tpm")
	p := &v.Passkey
	p.Evidence = l.wordOf(members, "evidence", "none", "self", "attested")
	if _, ok := members["evidence"]; !ok && members != nil {
		l.add(m.at, "passkey needs evidence: none, self, attested")
	}
	p.AAGUID = l.textOf(members, "aaguid")
	if p.AAGUID != "" && !aaguidForm.MatchString(p.AAGUID) {
		l.add(members["aaguid"].at, "aaguid is written as 00000000-0000-0000-0000-000000000000, in lower case")
	}
	p.Format, p.Bad, p.Weak = l.textOf(members, "format"), l.textOf(members, "bad"), l.listOf(members, "weak")
	p.Certification = int(l.numberOf(members, "certification", 3))
	if p.Certification > 0 && p.Evidence != "attested" {
		l.add(members["certification"].at, "only a passkey with evidence: attested has a certification")
	}
	p.BackupEligible, p.BackupState = l.flagOf(members, "backup_eligible"), l.flagOf(members, "backup_state")
	if p.BackupState && !p.BackupEligible {
		l.add(members["backup_state"].at, "what is backed up is backup_eligible as well")
	}
	p.CloneWarning, p.Platform = l.flagOf(members, "clone_warning"), l.flagOf(members, "platform")
	p.System = l.wordOf(members, "system", "linux", "windows", "darwin")
	v.created, _ = l.ageOf(members, "created_ago")
	v.passkey = true
	if tpm, ok := members["tpm"]; ok {
		inner := l.mapping(tpm.value, "tpm", "manufacturer", "model", "firmware")
		p.TPM = TPM{l.textOf(inner, "manufacturer"), l.textOf(inner, "model"), l.textOf(inner, "firmware")}
	}
}

func (l *loading) visitorElevation(v *testVisitor, m member) {
	members := l.mapping(m.value, "elevation", "granted_ago", "lasts", "approved")
	v.elevated = members != nil
	v.granted, _ = l.ageOf(members, "granted_ago")
	if v.granted.never {
		l.add(members["granted_ago"].at, "an elevation was granted at some time: leave elevation out instead")
	}
	if lasts, ok := members["lasts"]; ok {
		v.lasts = l.duration(lasts, "lasts")
	}
	v.approved = l.flagOf(members, "approved")
}

// request reads what is known only at the check.
func (l *loading) request(m member) *Request {
	members := l.mapping(m.value, "request", "method", "path", "address", "country", "asn", "upgrade")
	r := &Request{Method: l.textOf(members, "method"), Path: l.textOf(members, "path"), Country: l.textOf(members, "country")}
	if r.Method != strings.ToUpper(r.Method) {
		l.add(members["method"].at, "method is written in upper case, as in GET")
	}
	if r.Path != "" && r.Path[0] != '/' {
		l.add(members["path"].at, "path begins with /")
	}
	if len(r.Country) != 0 && (len(r.Country) != 2 || strings.Trim(r.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		l.add(members["country"].at, "country is two upper-case letters, as in DE (ISO 3166-1)")
	}
	if text := l.textOf(members, "address"); text != "" {
		var err error
		if r.Address, err = netip.ParseAddr(text); err != nil {
			l.add(members["address"].at, "%q is no address: write one like 192.0.2.7 or 2001:db8::7", short(text))
		}
	}
	r.ASN = uint32(l.numberOf(members, "asn", 1<<32-1))
	r.Upgrade = l.flagOf(members, "upgrade")
	return r
}

// The readers below take a member that may be absent, which reads as nothing.

func (l *loading) textOf(members map[string]member, name string) string {
	m, ok := members[name]
	if !ok {
		return ""
	}
	s, _ := l.text(m, name)
	return s.text
}

func (l *loading) wordOf(members map[string]member, name string, words ...string) string {
	m, ok := members[name]
	if !ok {
		return ""
	}
	i, ok := l.choice(m, name, words...)
	if !ok {
		return ""
	}
	return words[i]
}

func (l *loading) flagOf(members map[string]member, name string) bool {
	m, ok := members[name]
	return ok && l.flag(m, name)
}

// maxWords bounds a list of a test.
const maxWords = 64

func (l *loading) listOf(members map[string]member, name string) []string {
	m, ok := members[name]
	if !ok {
		return nil
	}
	words := []string{}
	for _, n := range l.entries(m, name, maxWords) {
		s, ok := l.scalar(n)
		if !ok || strings.TrimSpace(s.text) == "" || slices.Contains(words, s.text) {
			l.add(nodePlace(n), "%s is a list of words, each once", name)
			continue
		}
		words = append(words, s.text)
	}
	return words
}

func (l *loading) numberOf(members map[string]member, name string, most uint64) uint64 {
	m, ok := members[name]
	if !ok {
		return 0
	}
	var n uint64
	var err error
	node, ok := m.value.(*ast.IntegerNode)
	if ok {
		n, err = strconv.ParseUint(node.GetToken().Value, 10, 64)
	}
	if !ok || err != nil || n > most {
		l.add(m.at, "%s is a whole number from 0 to %d", name, most)
		return 0
	}
	return n
}

// ageOf reads how long ago something was, or never; ok tells whether the test says
// so at all. What is left out is now.
func (l *loading) ageOf(members map[string]member, name string) (age testAge, ok bool) {
	m, ok := members[name]
	if !ok {
		return testAge{}, false
	}
	if s, isText := l.scalar(m.value); isText && s.text == "never" {
		return testAge{never: true}, true
	}
	return testAge{ago: l.duration(m, name)}, true
}

package decide

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const visitorPolicy = `apps:
- {id: wiki, sensitivity: low, devices: true}
- {id: prod, sensitivity: privileged, elevation: {lasts: 15m}}
require:
- {id: linked, that: session.link.state == LIVE, otherwise: step_up}
- {id: away, for: app.id == 'prod', that: "request.method == 'GET' && in_network(request.address, '192.0.2.0/24')", otherwise: deny}
tests:
- name: it
  expect: {decision: allow}
  given:
`

// laptopOf is a device of a test, in place.
const laptopOf = "    device: {device: {state: active, level: tpm-hw, platform: linux}}\n"

// TestVisitorOfTest reads who asks, all of it.
func TestVisitorOfTest(t *testing.T) {
	p := load(t, visitorPolicy+laptopOf+`    app: prod
    age: 10m
    session:
      signed_in_ago: 1h
      seen_ago: 2m
      verified_ago: 3m
      amr: [hwk, user]
      acr: 'muster:passkey'
      binding: mtls
      link: {state: live, strength: app, ago: 4m}
    passkey:
      evidence: attested
      aaguid: 08987058-cadc-4b81-b6e1-30de50dcbe96
      format: tpm
      certification: 2
      bad: REVOKED
      weak: [rs1]
      backup_eligible: true
      backup_state: true
      clone_warning: true
      created_ago: 9d
      platform: true
      system: windows
      tpm: {manufacturer: INTC, model: m, firmware: '1.2'}
    user: {name: alice, role: auditor, groups: [staff, leads]}
    elevation: {granted_ago: 5m, approved: true}
    request: {method: GET, path: /a, address: 192.0.2.7, country: DE, asn: 4294967295, upgrade: true}
`)
	test := p.tests[0]
	now := inlineIssuedAt().Add(10 * time.Minute)
	a, _ := p.App("prod")
	want := &Visitor{
		Session: Session{
			ID: "test", SignedInAt: now.Add(-time.Hour), SeenAt: now.Add(-2 * time.Minute), UserVerified: now.Add(-3 * time.Minute),
			AMR: []string{"hwk", "user"}, ACR: "muster:passkey", Binding: "mtls",
			Link: Link{State: "live", Strength: "app", At: now.Add(-4 * time.Minute)},
		},
		Passkey: Passkey{
			Evidence: "attested", AAGUID: "08987058-cadc-4b81-b6e1-30de50dcbe96", Format: "tpm", Certification: 2, Bad: "REVOKED", Weak: []string{"rs1"},
			BackupEligible: true, BackupState: true, CloneWarning: true, CreatedAt: now.Add(-9 * 24 * time.Hour), Platform: true, System: "windows",
			TPM: TPM{"INTC", "m", "1.2"},
		},
		User:       User{"alice", "auditor", []string{"staff", "leads"}},
		Elevations: []Elevation{{App: "prod", Granted: now.Add(-5 * time.Minute), Ends: now.Add(10 * time.Minute), Approved: true}},
	}
	if got := test.visitor.at(now, "prod", a); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if want := (Request{"GET", "/a", netip.MustParseAddr("192.0.2.7"), "DE", 1<<32 - 1, true}); *test.request != want {
		t.Errorf("%+v", test.request)
	}
	if r := p.Test(noFile)[0]; r.Problem != "" {
		t.Error(r)
	}
	// Every part of a visitor can be said, so that a new one is not forgotten here.
	want.Session.Over = "idle"
	everyPart(t, "", reflect.ValueOf(*want))
	everyPart(t, "Request", reflect.ValueOf(*test.request))
}

// everyPart complains of what is empty.
func everyPart(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	if v.Kind() == reflect.Slice && v.Len() > 0 {
		v = v.Index(0)
	}
	if v.IsZero() {
		t.Errorf("%s is not said by this test", name)
	}
	if v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[Visitor]().PkgPath() {
		for i := range v.NumField() {
			everyPart(t, name+"."+v.Type().Field(i).Name, v.Field(i))
		}
	}
}

// TestVisitorShort has what is left out: times are now, the rest is unknown or none.
func TestVisitorShort(t *testing.T) {
	p := load(t, visitorPolicy+"    app: wiki\n    session: {}\n")
	now := noon()
	got := p.tests[0].visitor.at(now, "wiki", App{})
	want := &Visitor{Session: Session{ID: "test", SignedInAt: now, SeenAt: now, UserVerified: now, Binding: "none", Link: Link{State: linkAbsent}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	for given, want := range map[string]time.Duration{
		"signed_in_ago: 2h":                   2 * time.Hour,
		"signed_in_ago: 2h, verified_ago: 1h": time.Hour,
		"verified_ago: 1h":                    time.Hour,
		"seen_ago: 1h":                        0,
	} {
		p := load(t, visitorPolicy+"    app: wiki\n    session: {"+given+"}\n")
		if got := p.tests[0].visitor.at(now, "wiki", App{}).Session.UserVerified; !got.Equal(now.Add(-want)) {
			t.Errorf("%s: verified %v ago", given, now.Sub(got))
		}
	}
	p = load(t, visitorPolicy+"    app: wiki\n    session: {signed_in_ago: never, seen_ago: never}\n")
	if s := p.tests[0].visitor.at(now, "wiki", App{}).Session; !s.SignedInAt.IsZero() || !s.SeenAt.IsZero() || !s.UserVerified.IsZero() {
		t.Errorf("%+v", s)
	}
}

// TestVisitorDecides: who asks, and what for, has a say in the test.
func TestVisitorDecides(t *testing.T) {
	const live = laptopOf + "    session: {link: {state: live}}\n"
	for _, test := range []struct{ name, given, want string }{
		{"a laptop by itself", laptopOf + "    app: wiki\n", ""},
		{"nobody linked", "    app: wiki\n    session: {}\n", "step_up because of linked"},
		{"linked", live + "    app: wiki\n", ""},
		{"over", "    app: wiki\n    session: {over: idle}\n", "step_up because of idle"},
		{"never signed in", laptopOf + "    app: wiki\n    session: {signed_in_ago: never, link: {state: live}}\n", "step_up because of session-old"},
		{"no elevation", live + "    app: prod\n", "step_up because of elevation-needed"},
		{"elevation", live + "    app: prod\n    elevation: {}\n", ""},
		{"elevation over", live + "    app: prod\n    elevation: {granted_ago: 15m}\n", "step_up because of elevation-needed"},
		{"a short one", live + "    app: prod\n    elevation: {granted_ago: 1m, lasts: 1m}\n", "step_up because of elevation-needed"},
		{"a request from elsewhere", live + "    app: prod\n    elevation: {}\n    request: {method: GET, address: 198.51.100.1}\n", "deny because of away"},
		{"a request from nowhere", live + "    app: prod\n    elevation: {}\n    request: {method: GET}\n", "deny because of away"},
		{"the right request", live + "    app: prod\n    elevation: {}\n    request: {method: GET, address: 192.0.2.1}\n", ""},
		{"the right request of nobody", "    app: prod\n    session: {over: signed-out}\n    request: {method: GET, address: 192.0.2.1}\n", "step_up because of signed-out"},
		{"no report", "    app: wiki\n", "deny because of no-report"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := load(t, visitorPolicy+test.given).Test(noFile)[0].Problem
			want := ""
			if test.want != "" {
				want = "expected allow, decided " + test.want
			}
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// TestVisitorRefuses has one defect a case, and where it must be told.
func TestVisitorRefuses(t *testing.T) {
	const linked = laptopOf + "    app: wiki\n    session: {link: {state: live}}\n"
	line := strings.Count(visitorPolicy, "\n") + 1 // of the first member of given
	if line != 11 {
		t.Fatalf("the cases below count from line 11, not %d", line)
	}
	for _, test := range []struct{ name, given, want string }{
		{"unknown member of given", "    app: wiki\n    sessions: {}\n", `12:5: given has no member "sessions"`},
		{"passkey alone", "    app: wiki\n    passkey: {evidence: none}\n", "12:5: passkey needs a session beside it"},
		{"user alone", "    app: wiki\n    user: {name: alice}\n", "12:5: user needs a session beside it"},
		{"elevation alone", "    app: prod\n    elevation: {}\n", "12:5: elevation needs a session beside it"},
		{"no mapping", "    app: wiki\n    session: yes\n", "session must be a mapping"},
		{"unknown member of session", "    app: wiki\n    session: {age: 1h}\n", `12:15: session has no member "age"`},
		{"member twice", "    app: wiki\n    session: {seen_ago: 1h, seen_ago: 2h}\n", "12:29: session has seen_ago twice"},
		{"a time that is none", "    app: wiki\n    session: {seen_ago: soon}\n", "12:25: seen_ago must be a time like 90m, 24h or 7d"},
		{"a time to come", "    app: wiki\n    session: {seen_ago: -1h}\n", "12:25: seen_ago must be a time"},
		{"a cause that nobody has", "    app: wiki\n    session: {over: tired}\n", "12:21: over is one of signed-out,"},
		{"a binding that nobody has", "    app: wiki\n    session: {binding: glue}\n", "12:24: binding is one of none, dbsc, mtls"},
		{"amr that is no list", "    app: wiki\n    session: {amr: hwk}\n", "12:15: amr must be a list"},
		{"amr twice", "    app: wiki\n    session: {amr: [hwk, hwk]}\n", "12:26: amr is a list of words, each once"},
		{"amr of lists", "    app: wiki\n    session: {amr: [[hwk]]}\n", "12:21: amr is a list of words"},
		{"a link without a state", laptopOf + "    app: wiki\n    session: {link: {ago: 1m}}\n", "13:15: link needs a state: absent, suspended, live"},
		{"a state that nobody has", laptopOf + "    app: wiki\n    session: {link: {state: LIVE}}\n", "13:29: state is one of absent, suspended, live"},
		{"a strength that nobody has", laptopOf + "    app: wiki\n    session: {link: {state: live, strength: BY_APP}}\n", "13:45: strength is one of code, app, loopback"},
		{"an absent link that is strong", "    app: wiki\n    session: {link: {state: absent, strength: app}}\n", "12:15: a link that is absent has nothing else"},
		{"a laptop without a link", laptopOf + "    app: wiki\n    session: {}\n", "13:5: a session that is linked to no laptop has no device"},
		{"a link without a laptop", "    app: wiki\n    session: {link: {state: suspended}}\n", "12:5: a session that is linked to a laptop needs a device"},
		{"a passkey without evidence", linked + "    passkey: {platform: true}\n", "14:5: passkey needs evidence: none, self, attested"},
		{"evidence that is none", linked + "    passkey: {evidence: basic}\n", "14:25: evidence is one of none, self, attested"},
		{"an AAGUID that is none", linked + "    passkey: {evidence: none, aaguid: 08987058CADC4B81B6E130DE50DCBE96}\n", "14:31: aaguid is written as"},
		{"a level too high", linked + "    passkey: {evidence: attested, certification: 4}\n", "14:35: certification is a whole number from 0 to 3"},
		{"a level in words", linked + "    passkey: {evidence: attested, certification: FIDO_L2}\n", "14:35: certification is a whole number"},
		{"a level below", linked + "    passkey: {evidence: attested, certification: -1}\n", "14:35: certification is a whole number"},
		{"a level of nothing", linked + "    passkey: {evidence: none, certification: 2}\n", "14:31: only a passkey with evidence: attested has a certification"},
		{"backed up against its word", linked + "    passkey: {evidence: none, backup_state: true}\n", "14:31: what is backed up is backup_eligible as well"},
		{"a flag in words", linked + "    passkey: {evidence: none, platform: 'yes'}\n", "14:31: platform must be true or false"},
		{"a system that nobody has", linked + "    passkey: {evidence: none, system: plan9}\n", "14:39: system is one of linux, windows, darwin"},
		{"unknown member of tpm", linked + "    passkey: {evidence: none, tpm: {vendor: INTC}}\n", `14:37: tpm has no member "vendor"`},
		{"a role that nobody has", linked + "    user: {role: root}\n", "14:18: role is one of person, help_desk, auditor, administrator"},
		{"groups that are no list", linked + "    user: {groups: staff}\n", "14:12: groups must be a list"},
		{"an elevation that nobody terms", linked + "    elevation: {}\n", `14:5: elevation needs lasts: "wiki" is no application that has elevation`},
		{"an elevation from ever", linked + "    elevation: {granted_ago: never, lasts: 1m}\n", "14:17: an elevation was granted at some time"},
		{"a method in small letters", linked + "    request: {method: get}\n", "14:15: method is written in upper case"},
		{"a path that is none", linked + "    request: {path: a}\n", "14:15: path begins with /"},
		{"an address that is none", linked + "    request: {address: 10.0.0.0/8}\n", `14:15: "10.0.0.0/8" is no address`},
		{"a country that is none", linked + "    request: {country: Germany}\n", "14:15: country is two upper-case letters"},
		{"a system too large", linked + "    request: {asn: 4294967296}\n", "14:15: asn is a whole number from 0 to 4294967295"},
		{"unknown member of request", linked + "    request: {host: a}\n", `14:15: request has no member "host"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			env, err := language()
			if err != nil {
				t.Fatal(err)
			}
			p, err := env.load("policy.yaml", []byte(visitorPolicy+test.given))
			if p != nil || err == nil {
				t.Fatal("was loaded")
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			if place, _ := strings.CutPrefix(first, "policy.yaml:"); !strings.HasPrefix(place, test.want) && !strings.Contains(place, test.want) {
				t.Errorf("%s\nwant %s", err, test.want)
			}
		})
	}
}

// TestVisitorCodes: a test may expect every code that people get, and no other.
func TestVisitorCodes(t *testing.T) {
	for _, code := range append([]string{"session-idle", "session-old", "elevation-needed", "linked"}, sessionCodes()...) {
		load(t, strings.Replace(visitorPolicy, "{decision: allow}", "{decision: allow, reasons: ["+code+"]}", 1)+"    app: wiki\n")
	}
	env, err := language()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(visitorPolicy, "{decision: allow}", "{decision: allow, reasons: [session-olde]}", 1) + "    app: wiki\n"
	if _, err := env.load("policy.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), `9:39: no rule has the id "session-olde"`) {
		t.Error(err)
	}
}

// FuzzVisitorOfTest reads whatever is given: what is no visitor is complained of at
// a place in the file, and what is one is decided, the same each time.
func FuzzVisitorOfTest(f *testing.F) {
	for _, given := range []string{
		"    app: wiki\n    session: {}\n",
		laptopOf + "    app: prod\n    session: {verified_ago: 1m, link: {state: live, strength: app, ago: 2m}}\n    elevation: {approved: true}\n",
		laptopOf + "    app: prod\n    session: {link: {state: live}}\n    passkey: {evidence: attested, certification: 2, tpm: {model: m}}\n    user: {groups: [a]}\n",
		"    app: wiki\n    session: {over: idle, amr: [a, b], seen_ago: never}\n    request: {method: GET, address: '::1', asn: 1, upgrade: true}\n",
		"    app: wiki\n    session: {link: [], amr: {}}\n    request: 1\n",
		"    app: wiki\n    passkey: {evidence: none}\n    request: {asn: 0x1F, country: ÄÖ}\n",
		"    app: wiki\n    session: {signed_in_ago: 3650d, seen_ago: 99999999d}\n",
	} {
		f.Add(given)
	}
	f.Fuzz(func(t *testing.T, given string) {
		env, err := language()
		if err != nil {
			t.Fatal(err)
		}
		p, err := env.load("p", []byte(visitorPolicy+given))
		if err != nil {
			problems, ok := err.(Problems)
			if !ok || len(problems) == 0 || p != nil {
				t.Fatalf("%v", err)
			}
			for _, problem := range problems {
				if problem.Line < 1 || problem.Column < 1 || problem.Text == "" {
					t.Errorf("%+v", problem)
				}
			}
			return
		}
		first := p.Test(noFile)
		if !reflect.DeepEqual(first, p.Test(noFile)) {
			t.Error("not the same twice")
		}
		for i, r := range first {
			if v := p.tests[i].visitor; r.Got.Outcome == Allow && v != nil && (v.Session.Over != "" || v.Session.Link.State != linkLive) {
				t.Errorf("allowed to %+v", v)
			}
		}
	})
}

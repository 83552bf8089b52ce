package decide

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// always is a condition that every laptop meets.
const always = "device.level >= SOFTWARE"

const oneApp = "apps: [{id: wiki, sensitivity: low, devices: true}]\n"

// language is built once: that takes longer than a load.
var language = sync.OnceValues(newEnvironment)

// load is Load for policies that must be right.
func load(t testing.TB, policy string) *Policy {
	t.Helper()
	env, err := language()
	if err != nil {
		t.Fatal(err)
	}
	p, err := env.load("policy.yaml", []byte(policy))
	if err != nil {
		t.Fatalf("%v\n%s", err, policy)
	}
	return p
}

// that is a policy of one rule.
func that(condition string) string {
	return oneApp + "require:\n- id: rule\n  that: |\n    " + condition + "\n"
}

// TestLoadRefuses has one defect a case, and where it must be told.
func TestLoadRefuses(t *testing.T) {
	for _, test := range []struct{ name, policy, want string }{
		{"empty", "", "1:1: the policy is empty"},
		{"comment only", "# nothing\n", "1:1: the policy is empty"},
		{"not a mapping", "- a\n", "1:1: a policy must be a mapping"},
		{"no yaml", "apps: [\n", "is not YAML"},
		{"two documents", oneApp + "require: []\n---\na: b\n", "4:1: a policy is one YAML document"},
		{"unknown member", oneApp + "require: []\nrequires: []\n", `3:1: a policy has no member "requires"`},
		{"member twice", oneApp + "require: []\napps: []\n", "3:1: a policy has apps twice"},
		{"no apps", "require: []\n", "1:1: a policy needs apps"},
		{"no rules", oneApp, "1:1: a policy needs require"},
		{"apps no list", "apps: wiki\nrequire: []\n", "1:1: apps must be a list"},
		{"app no mapping", "apps: [wiki]\nrequire: []\n", "1:8: an application must be a mapping"},
		{"app without id", "apps: [{sensitivity: low}]\nrequire: []\n", "1:8: an application needs an id"},
		{"app without weight", "apps: [{id: a}]\nrequire: []\n", "1:8: an application needs sensitivity"},
		{"app of another weight", "apps: [{id: a, sensitivity: secret}]\nrequire: []\n", "1:29: sensitivity is one of low, medium, high, privileged"},
		{"app id", "apps: [{id: A b, sensitivity: low}]\nrequire: []\n", `1:13: "A b" is no id`},
		{"app twice", "apps:\n- {id: a, sensitivity: low}\n- {id: a, sensitivity: low}\nrequire: []\n", "3:8: application a is there already, in line 2"},
		{"host", "apps: [{id: a, sensitivity: low, hosts: ['https://a']}]\nrequire: []\n", "1:42: a host is"},
		{"host twice", "apps:\n- {id: a, sensitivity: low, hosts: [h]}\n- {id: b, sensitivity: low, hosts: [h]}\nrequire: []\n", "3:37: host h is already of application a"},
		{"devices", "apps: [{id: a, sensitivity: low, devices: maybe}]\nrequire: []\n", "1:34: devices must be true or false"},
		{"report age", oneApp + "require: []\nlimits: {report_age: -1h}\n", "3:22: report_age must be a time"},
		{"report age in words", oneApp + "require: []\nlimits: {report_age: hourly}\n", "3:22: report_age must be a time"},
		{"other limit", oneApp + "require: []\nlimits: {age: 1h}\n", `3:10: limits has no member "age"`},
		{"sessions no mapping", oneApp + "require: []\nlimits: {sessions: 1h}\n", "3:20: sessions must be a mapping"},
		{"sessions of another weight", oneApp + "require: []\nlimits: {sessions: {secret: {idle: 1h}}}\n", `3:21: sessions has no member "secret"`},
		{"other session limit", oneApp + "require: []\nlimits: {sessions: {low: {age: 1h}}}\n", `3:27: low has no member "age"`},
		{"session that never ends", oneApp + "require: []\nlimits: {sessions: {low: {absolute: 0s}}}\n", "3:37: absolute must be a time"},
		{"idle in words", oneApp + "require: []\nlimits: {sessions: {low: {idle: long}}}\n", "3:33: idle must be a time"},
		{"idle longer than life", oneApp + "require: []\nlimits:\n  sessions:\n    high: {idle: 2h, absolute: 1h}\n", "5:5: sessions of sensitivity high may stand idle for 2h0m0s, longer than the 1h0m0s"},
		{"idle longer than the default life", oneApp + "require: []\nlimits: {sessions: {privileged: {idle: 5h}}}\n", "3:21: sessions of sensitivity privileged"},
		{"rule without that", oneApp + "require:\n- id: a\n", "3:3: a rule needs that"},
		{"rule without id", oneApp + "require:\n- that: 'true'\n", "3:3: a rule needs an id"},
		{"rule id", oneApp + "require:\n- id: Disk_Encrypted\n  that: true\n", `3:7: "Disk_Encrypted" is no id of a rule`},
		{"rule id taken", oneApp + "require:\n- id: report-stale\n  that: true\n", `3:7: "report-stale" is no id of a rule: the code has a meaning`},
		{"rule twice", oneApp + "require:\n- {id: a, that: true}\n- {id: a, that: true}\n", "4:8: rule a is there already, in line 3"},
		{"otherwise allow", oneApp + "require: [{id: a, that: true, otherwise: allow}]\n", "2:42: otherwise is one of deny, step_up, restrict, report_only"},
		{"grace of a report", oneApp + "require: [{id: a, that: true, otherwise: report_only, grace: 1h}]\n", "2:55: a rule that only reports needs no grace"},
		{"grace_unknown alone", oneApp + "require: [{id: a, that: true, grace_unknown: true}]\n", "2:31: grace_unknown needs grace"},
		{"grace of a person", oneApp + "require: [{id: a, that: session.link.state == LIVE, grace: 1h}]\n", "2:53: grace is a laptop's budget"},
		{"grace of a request", oneApp + "require: [{id: a, that: device.firewall.state == YES, for: request.upgrade, grace: 1h}]\n", "2:77: grace is a laptop's budget"},
		{"no rule at all", oneApp + "require: [{id: a, for: app.sensitivity > LOW, that: device.firewall.state == YES}]\n", "2:24: rule a can never apply"},
		{"no rule for anybody", oneApp + "require:\n- id: a\n  for: |\n    device.platform == 'linux' && app.id != 'wiki'\n  that: device.firewall.state == YES\n", "5:5: rule a can never apply"},
		{"elevation in words", "apps: [{id: a, sensitivity: low, elevation: yes}]\nrequire: []\n", "1:45: elevation must be a mapping"},
		{"elevation for ever", "apps: [{id: a, sensitivity: low, elevation: {approval: ops}}]\nrequire: []\n", "elevation needs lasts"},
		{"elevation for seconds", "apps: [{id: a, sensitivity: low, elevation: {lasts: 59s}}]\nrequire: []\n", "1:53: lasts must be from 1m0s to 8h0m0s"},
		{"elevation for days", "apps: [{id: a, sensitivity: low, elevation: {lasts: 9h}}]\nrequire: []\n", "1:53: lasts must be from"},
		{"elevation of another word", "apps: [{id: a, sensitivity: low, elevation: {lasts: 9m, approver: x}}]\nrequire: []\n", `elevation has no member "approver"`},
		{"elevation by nobody", "apps: [{id: a, sensitivity: low, elevation: {lasts: 9m, approval: ''}}]\nrequire: []\n", "approval must be text"},
		{"elevation of a laptop", "apps: [{id: a, sensitivity: low, devices: true, elevation: {lasts: 9m}}]\nrequire: []\n", "1:49: nobody can grant a laptop"},
		{"code of a session", oneApp + "require: [{id: session-idle, that: device.firewall.state == YES}]\n", "the code has a meaning"},
		{"long text", oneApp + "require: [{id: a, that: true, text: " + strings.Repeat("x", 500) + "}]\n", "text has 500 bytes"},
		{"that is a list", oneApp + "require:\n- id: a\n  that: [true]\n", "4:3: that must be text"},
		{"that is nothing", oneApp + "require:\n- id: a\n  that: ''\n", "4:3: that must be text"},
		{"anchor", "apps: &a [{id: a, sensitivity: low}]\nrequire: []\n", "1:7: anchors, aliases"},
		{"alias", oneApp + "require: *a\n", "2:10: anchors, aliases"},
		{"merge", oneApp + "require: []\n<<: {}\n", "3:1: anchors, aliases"},
		{"tag", oneApp + "require: !!str x\n", "2:10: anchors, aliases"},
		{"test of no rule", that(always) + "tests: [{name: a, given: {app: wiki}, expect: {decision: deny, reasons: [rulez]}}]\n", `6:74: no rule has the id "rulez"`},
		{"test without decision", that(always) + "tests: [{name: a, given: {app: wiki}, expect: {}}]\n", "6:39: expect needs a decision"},
		{"test device", that(always) + "tests: [{name: a, given: {app: wiki, device: {claims: {disk: {}}}}, expect: {decision: deny}}]\n", "is no device"},
		{"test device state", that(always) + "tests: [{name: a, given: {app: wiki, device: {claims: {os: {state: good}}}}, expect: {decision: deny}}]\n", "is no device"},
	} {
		t.Run(test.name, func(t *testing.T) { refuses(t, test.policy, test.want) })
	}
}

func refuses(t *testing.T, policy, want string) {
	t.Helper()
	env, err := language()
	if err != nil {
		t.Fatal(err)
	}
	p, err := env.load("policy.yaml", []byte(policy))
	if p != nil {
		t.Fatal("there is a policy")
	}
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("the error is %T: %v", err, err)
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if !strings.HasPrefix(line, "policy.yaml:") {
			t.Errorf("a problem without a place: %s", line)
		}
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestConditionRefused has one defect of a condition a case, and its place.
func TestConditionRefused(t *testing.T) {
	for _, test := range []struct{ name, condition, want string }{
		{"misspelt field", "device.disk_encrypton.state == YES", "5:5: undeclared reference to 'device.disk_encrypton.state' (did you mean"},
		{"misspelt member", "device.firewall.stat == YES", "5:5: undeclared"},
		{"misspelt word", "device.firewall.state == YESS", "undeclared reference to 'YESS'"},
		{"not a bool", "device.level", "5:5: is of type level"},
		{"a number", "1", "5:5: is of type int"},
		{"wrong enumeration", "device.level >= MEDIUM", "5:18: found no matching overload for '_>=_' applied to '(level, sensitivity)'"},
		{"state as text", "device.firewall.state == 'yes'", "5:27: found no matching overload"},
		{"state has no order", "device.firewall.state > NO", "found no matching overload"},
		{"versions as text", "device.os.version >= '14.2'", "version_at_least(device.os.version"},
		{"version of a device", "version_at_least(device.os.version, device.os.build)", "5:41: the version to compare with must be written down"},
		{"version of nothing", "version_at_least(device.os.version, 'new')", "5:41: the version"},
		{"UNKNOWN", "device.firewall.state == UNKNOWN", "5:30: nothing is ever equal to UNKNOWN"},
		{"not UNKNOWN", "device.firewall.state != UNKNOWN", "is_unknown"},
		{"unknown of a sum", "is_unknown(1 + 1)", "takes one name"},
		{"unknown of a comparison", "is_unknown(device.firewall.state == YES)", "takes one name"},
		{"presence of text", "has('a')", "takes one name"},
		{"syntax", "device.firewall.state ==", "5:28: Syntax error"},
		{"misspelt passkey", "passkey.atested", "5:5: undeclared reference to 'passkey.atested' (did you mean"},
		{"misspelt session", "device.level > SOFTWARE && session.link.stat == LIVE", "5:32: undeclared reference to 'session.link.stat'"},
		{"session as a number", "session.age < 1", "found no matching overload for '_<_' applied to '(duration, int)'"},
		{"strength of another kind", "session.link.strength >= LIVE", "found no matching overload"},
		{"state of a link has no order", "session.link.state >= SUSPENDED", "found no matching overload"},
		{"certification as a number", "passkey.certification >= 2", "found no matching overload"},
		{"binding misspelt", "session.binding == 'dsbc'", "5:24: session.binding is never 'dsbc'"},
		{"evidence misspelt", "passkey.evidence in ['attest']", "5:26: passkey.evidence is never 'attest'"},
		{"role misspelt", "user.role == 'admin'", "5:18: user.role is never 'admin': it is one of person, help_desk, auditor, administrator"},
		{"another application", "app.id == 'wikki' || device.level > SOFTWARE", "5:15: no application has the id 'wikki'"},
		{"another application before", "'wikki' != app.id", "5:5: no application has the id 'wikki'"},
		{"another application in a list", "app.id in ['wiki', 'wikki']", "5:24: no application has the id 'wikki'"},
		{"group of a number", "1 in user.groups", "found no matching overload"},
		{"age of a link alone", "session.link.age == session.age", "an age is compared with constants only"},
		{"age of a link with an age", "session.link.age < session.age", "an age is compared with constants only"},
		{"age of a verification", "session.user_verified_ago < duration(user.name)", "an age is compared with constants only"},
		{"age of a passkey", "[passkey.age].exists(a, a > duration('1h'))", "an age is compared with constants only"},
		{"age of an elevation", "elevation.age == duration('1m')", "an age is compared with constants only"},
		{"network of a person", "in_network(request.address, user.name)", "5:33: a network must be written down"},
		{"no network", "in_network(request.address, '10.0.0.0')", `5:33: "10.0.0.0" is no network`},
		{"no network at all", "in_network(request.address)", "found no matching overload"},
		{"an address inside", "in_network(request.address, '10.0.0.0/8', '10.1.2.3/8')", "5:47: 10.1.2.3/8 is an address inside a network: write '10.0.0.0/8'"},
		{"dressed up", "in_network(request.address, '::ffff:10.0.0.0/104')", "is no network"},
		{"network of text", "in_network('10.0.0.1', '10.0.0.0/8')", "found no matching overload"},
		{"address as text", "request.address == '10.0.0.1'", "found no matching overload"},
		{"part of an address", "request.address.startsWith('10.')", "found no matching overload"},
		{"an asn as text", "request.asn == '64500'", "found no matching overload"},
		{"constant", "true", "5:5: that names no input"},
		{"constant sum", "1 + 1 == 3", "5:5: that names no input"},
		{"constant list", "[1].all(x, x == 1)", "5:5: that names no input"},
		{"whole inputs", "session == session", "undeclared reference"},
		{"hidden session", "[1].all(session, session == 1)", `"session" is taken`},
		{"hidden LIVE", "[1].all(LIVE, LIVE == 1)", `"LIVE" is taken`},
		{"presence of an application", "has(app.id)", "takes one name"},
		{"is_unknown of an application", "is_unknown(app.sensitivity)", "takes one name"},
		{"hidden device", "[1].all(device, device == 1)", `"device" is taken`},
		{"hidden YES", "[1].exists(YES, YES == 1)", `"YES" is taken`},
		{"map", "{'a': 1}['a'] == 1", "maps and messages"},
		{"message", "google.protobuf.Duration{} == duration('1h')", "maps and messages"},
		{"float", "1.5 == 1.5", "only strings, whole numbers"},
		{"null", "device.group == null", ""},
		{"bytes", "b'a' == b'a'", "only strings, whole numbers"},
		{"dyn", "dyn(device.level) == 5", "undeclared reference to 'dyn'"},
		{"type", "type(1) == int", "undeclared reference to 'type'"},
		{"conversion", "int(device.age) > 5", "undeclared reference to 'int'"},
		{"mixed list", "device.level in [TPM_HW, MEDIUM]", "5:"},
		{"age alone", "[device.age] == [device.age]", "an age is compared with constants only"},
		{"age with age", "device.age < device.quote_age", "an age is compared with constants only"},
		{"age equal", "device.age == duration('1h')", "an age is compared with constants only"},
		{"age in a list", "[device.age].exists(a, a < duration('1h'))", "an age is compared with constants only"},
		{"age of a choice", "(true ? device.age : device.quote_age) < duration('1h')", "an age is compared with constants only"},
		{"age with a device's word", "device.age < duration(device.group)", "an age is compared with constants only"},
		{"age of a century", "device.age < duration('876000h')", "at most ten years"},
		{"a bad duration", "device.age < duration('1 day')", "duration('36h')"},
		{"regex of the device", "'a'.matches(device.group)", "a regular expression must be written down"},
		{"broken regex", "device.group.matches('(')", "5:"},
		{"ownership misspelt", "device.ownership == 'corporat'", "5:25: device.ownership is never 'corporat'"},
		{"ownership misspelt before", "'corporat' != device.ownership", "5:5: device.ownership is never 'corporat'"},
		{"platform misspelt in a list", "device.platform in ['linux', 'macos']", "5:34: device.platform is never 'macos'"},
		{"a whole claim", "device.firewall == device.firewall", "5:5: device.firewall is a whole claim: write device.firewall.state"},
		{"the device", "device == device", "undeclared reference"},
		{"other words", "app.hosts == ['a']", "undeclared reference"},
	} {
		t.Run(test.name, func(t *testing.T) { refuses(t, that(test.condition), test.want) })
	}
}

// TestConditionPlace writes one condition with one defect in every way that YAML
// has, and expects the place of the defect in the file.
func TestConditionPlace(t *testing.T) {
	head := oneApp + "require:\n- id: rule\n"
	for _, test := range []struct{ name, written, want string }{
		{"plain", "  that: device.group == 'é' && oops\n", ":4:32: "},
		{"single quotes", "  that: 'device.group == ''é'' && oops'\n", ":4:35: "},
		{"double quotes", `  that: "device.group == \"\u00e9\" && oops"` + "\n", ":4:40: "},
		{"block", "  that: | # a comment\n    device.group == 'é' &&\n\n      oops\n", ":7:7: "},
		{"block without end", "  that: |-\n    device.group == 'é'\n    && oops", ":6:8: "},
		{"folded", "  that: >-\n    device.group == 'é'\n    && oops\n", ":6:8: "},
		{"plain on two lines", "  that: device.group == 'é'\n     && oops\n", ":5:9: "},
		{"with a CEL comment", "  that: |\n    // oops is here\n    true && oops\n", ":6:13: "},
		{"carriage returns", "  that: |\r\n    true &&\r\n    oops\r\n", ":6:5: "},
		{"flow", "  that: {}\n- {id: b, that: true && oops}\n", ":5:25: "},
	} {
		t.Run(test.name, func(t *testing.T) { refuses(t, head+test.written, test.want+"undeclared reference to 'oops'") })
	}
}

// TestLoadTellsAll expects every defect of a file, in its order.
func TestLoadTellsAll(t *testing.T) {
	_, err := Load("p", []byte("apps: [{id: a}]\nrequire:\n- {id: x, that: devic.level, grace: 1y}\n- {id: X, that: 1}\nlimit: 1\n"))
	want := []string{"p:1:8:", "p:3:17:", "p:3:37:", "p:4:8:", "p:4:17:", "p:5:1:"}
	lines := strings.Split(fmt.Sprint(err), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d problems, want %d:\n%v", len(lines), len(want), err)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("got %s, want %s", line, want[i])
		}
	}
}

// TestLoadHostile loads what would bring a careless reader down. Each must be
// refused, and quickly.
func TestLoadHostile(t *testing.T) {
	deep := func(open, shut string, n int) string { return strings.Repeat(open, n) + "1" + strings.Repeat(shut, n) }
	var indented strings.Builder
	for i := range 2_000 {
		indented.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	bomb := "a: &a [x, x]\n"
	for c := 'b'; c < 'z'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c, *%c]\n", c, c, c-1, c-1)
	}
	for name, policy := range map[string]string{
		"large":             oneApp + "require: []\n#" + strings.Repeat("x", maxPolicy),
		"many words":        oneApp + "require: [" + strings.Repeat("1,", maxTokens/2) + "]",
		"brackets":          "apps: " + deep("[", "]", 200_000),
		"open brackets":     "apps: " + strings.Repeat("[", 500_000),
		"braces":            "apps: " + deep("{a: ", "}", 100_000),
		"entries":           strings.Repeat("- ", 400_000),
		"keys":              strings.Repeat("? ", 400_000),
		"indentation":       indented.String(),
		"aliases":           bomb,
		"control":           "apps: \x00\n",
		"not utf-8":         "apps: \xff\xfe\n",
		"many apps":         "apps: [" + strings.Repeat("{id: a, sensitivity: low},", maxApps+1) + "]\nrequire: []",
		"many rules":        oneApp + "require: [" + strings.Repeat("{id: a, that: true},", maxRules+1) + "]",
		"long condition":    that(strings.Repeat("true && ", 2_000) + "true"),
		"deep condition":    that(deep("(", ")", 1_000) + " == 1"),
		"long chain":        that("device" + strings.Repeat(".a", 2_000)),
		"deep choice":       that(strings.Repeat("true ? ", 500) + "true" + strings.Repeat(" : false", 500) + ""),
		"huge regex":        that("device.group.matches('" + strings.Repeat("(a{1,99})", 20) + "')"),
		"nested regex":      that("device.group.matches('((a{1,99}){1,99}){1,99}')"),
		"many of a problem": "x: [" + strings.Repeat("{},", 10_000) + "]\n" + strings.Repeat("a: 1\n", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			p, err := Load("p", []byte(policy))
			if err == nil || p != nil {
				t.Error("was loaded")
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if len(fmt.Sprint(err)) > 100_000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// TestCostIsBounded evaluates a comprehension bomb: it fails, so the rule is not
// met, and it does so before anybody waits.
func TestCostIsBounded(t *testing.T) {
	list := "[" + strings.Repeat("1,", 60) + "1]"
	bomb := "true"
	for i := range 4 {
		bomb = fmt.Sprintf("%s.all(v%d, %s)", list, i, bomb)
	}
	p := load(t, that(always+" && "+bomb))
	in := healthy("wiki")
	start := time.Now()
	d := p.Decide(in)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	if d.Outcome != Deny || len(d.Reasons) != 1 || !d.Reasons[0].Unknown {
		t.Errorf("decided %+v", d)
	}
	doubling := always + " && [1].map(a, 'x').map(a, a).size() == 1"
	if d := load(t, that(doubling)).Decide(in); d.Outcome != Allow {
		t.Errorf("a small comprehension: %+v", d)
	}
}

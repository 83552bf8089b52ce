package session_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"muster/server/passkey"
	"muster/server/session"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// began is a session that signed in at noon and was not seen since.
func began() *session.Session {
	return &session.Session{ID: "s_1", CreatedAt: noon, VerifiedAt: noon, SeenAt: noon,
		Limits: session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour}}
}

func TestOver(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*session.Session)
		after  time.Duration
		want   string
	}{
		"zero":                     {func(s *session.Session) { *s = session.Session{} }, 0, "unlimited"},
		"no idle limit":            {func(s *session.Session) { s.Limits.Idle = 0 }, 0, "unlimited"},
		"no absolute limit":        {func(s *session.Session) { s.Limits.Absolute = 0 }, 0, "unlimited"},
		"negative limit":           {func(s *session.Session) { s.Limits.Idle = -time.Hour }, 0, "unlimited"},
		"ended":                    {func(s *session.Session) { s.EndedAt, s.Cause = noon, "signed-out" }, 0, "signed-out"},
		"ended in silence":         {func(s *session.Session) { s.EndedAt = noon }, 0, "ended"},
		"ended in the future":      {func(s *session.Session) { s.EndedAt = noon.Add(time.Hour) }, 0, "ended"},
		"at once":                  {nil, 0, ""},
		"just not idle":            {nil, time.Hour - 1, ""},
		"idle":                     {nil, time.Hour, "idle"},
		"seen":                     {func(s *session.Session) { s.SeenAt = noon.Add(time.Hour) }, 2*time.Hour - 1, ""},
		"verified":                 {func(s *session.Session) { s.VerifiedAt = noon.Add(time.Hour) }, 2*time.Hour - 1, ""},
		"never seen":               {func(s *session.Session) { s.SeenAt = time.Time{} }, time.Minute, ""},
		"just not too old":         {func(s *session.Session) { s.SeenAt = noon.Add(8 * time.Hour) }, 8*time.Hour - 1, ""},
		"too old, though seen":     {func(s *session.Session) { s.SeenAt = noon.Add(8 * time.Hour) }, 8 * time.Hour, "too-old"},
		"a replica's clock":        {nil, -time.Minute, ""},
		"a clock that went back":   {nil, -time.Minute - 1, "clock"},
		"seen in the far future":   {func(s *session.Session) { s.SeenAt = noon.Add(1000 * time.Hour) }, time.Hour, "clock"},
		"idle shorter than a blip": {func(s *session.Session) { s.Limits.Idle = time.Nanosecond }, time.Nanosecond, "idle"},
	} {
		s := began()
		if test.change != nil {
			test.change(s)
		}
		if got := s.Over(noon.Add(test.after)); got != test.want {
			t.Errorf("%s: %q, not %q", name, got, test.want)
		}
	}
}

func TestFresh(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*session.Session)
		after  time.Duration
		want   bool
	}{
		"at once":             {nil, 0, true},
		"just":                {nil, session.FreshFor - 1, true},
		"five minutes":        {nil, session.FreshFor, false},
		"in the future":       {nil, -1, false},
		"never verified":      {func(s *session.Session) { s.VerifiedAt = time.Time{} }, 0, false},
		"ended":               {func(s *session.Session) { s.EndedAt = noon }, 0, false},
		"seen is no verified": {func(s *session.Session) { s.SeenAt = noon.Add(time.Hour) }, time.Hour, false},
	} {
		s := began()
		if test.change != nil {
			test.change(s)
		}
		if got := session.Fresh(s, noon.Add(test.after)); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestLinkState(t *testing.T) {
	link := &session.Link{Device: "d1", Anchor: "k1", Person: "alice", Strength: session.ByLoopback, First: noon, At: noon}
	byCode, nobodys := *link, *link
	byCode.Strength, nobodys.Person = session.ByCode, ""
	good := session.Device{ID: "d1", Anchor: "k1", Owner: "alice", Active: true, Current: true}
	as := func(change func(*session.Device)) *session.Device {
		d := good
		change(&d)
		return &d
	}
	for name, test := range map[string]struct {
		link   *session.Link
		device *session.Device
		ended  bool
		want   session.LinkState
	}{
		"live":          {link, &good, false, session.LinkLive},
		"no link":       {nil, &good, false, session.LinkAbsent},
		"no device":     {link, nil, false, session.LinkAbsent},
		"zero device":   {link, &session.Device{}, false, session.LinkAbsent},
		"another":       {link, as(func(d *session.Device) { d.ID = "d2" }), false, session.LinkAbsent},
		"lease out":     {link, as(func(d *session.Device) { d.Current = false }), false, session.LinkSuspended},
		"not active":    {link, as(func(d *session.Device) { d.Active = false }), false, session.LinkSuspended},
		"neither":       {link, as(func(d *session.Device) { d.Active, d.Current = false, false }), false, session.LinkSuspended},
		"ended session": {link, &good, true, session.LinkAbsent},
		// Health is policy's to judge, rule by rule.
		"not healthy": {link, as(func(d *session.Device) { d.Healthy = false }), false, session.LinkLive},
		// What changed since the proof counts now.
		"another's now":           {link, as(func(d *session.Device) { d.Owner = "bob" }), false, session.LinkAbsent},
		"nobody's now":            {link, as(func(d *session.Device) { d.Owner = "" }), false, session.LinkLive},
		"nobody's, by code":       {&byCode, as(func(d *session.Device) { d.Owner = "" }), false, session.LinkAbsent},
		"shared now":              {link, as(func(d *session.Device) { d.Owner, d.Class = "bob", "shared" }), false, session.LinkLive},
		"shared now, by code":     {&byCode, as(func(d *session.Device) { d.Class = "shared" }), false, session.LinkAbsent},
		"of the owner, by code":   {&byCode, &good, false, session.LinkLive},
		"other keys":              {link, as(func(d *session.Device) { d.Anchor = "k2" }), false, session.LinkAbsent},
		"other keys, waiting":     {link, as(func(d *session.Device) { d.Anchor, d.Active = "k2", false }), false, session.LinkAbsent},
		"keys unknown":            {link, as(func(d *session.Device) { d.Anchor = "" }), false, session.LinkAbsent},
		"for nobody":              {&nobodys, &good, false, session.LinkAbsent},
		"for nobody, on nobody's": {&nobodys, as(func(d *session.Device) { d.Owner = "" }), false, session.LinkAbsent},
	} {
		s := began()
		s.Link = test.link
		if test.ended {
			s.EndedAt = noon
		}
		if got := s.LinkState(test.device); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestLinkAge(t *testing.T) {
	link := &session.Link{At: noon}
	for name, test := range map[string]struct {
		link *session.Link
		now  time.Time
		age  time.Duration
		ok   bool
	}{
		"a while":         {link, noon.Add(time.Hour), time.Hour, true},
		"now":             {link, noon, 0, true},
		"a replica ahead": {link, noon.Add(-time.Second), 0, true},
		"far ahead":       {link, noon.Add(-time.Hour), 0, false},
		"never":           {&session.Link{}, noon, 0, false},
		"none":            {nil, noon, 0, false},
	} {
		if age, ok := test.link.Age(test.now); age != test.age || ok != test.ok {
			t.Errorf("%s: %v, %v", name, age, ok)
		}
	}
}

func TestMeans(t *testing.T) {
	attested := passkey.Judgement{Evidence: passkey.Attested}
	for name, test := range map[string]struct {
		c   passkey.Credential
		key string
		acr string
	}{
		"zero":             {passkey.Credential{}, "hwk", "muster:passkey"},
		"synced":           {passkey.Credential{BackupEligible: true}, "swk", "muster:passkey"},
		"self":             {passkey.Credential{Judgement: passkey.Judgement{Evidence: passkey.Self}}, "hwk", "muster:passkey"},
		"attested":         {passkey.Credential{Judgement: attested}, "hwk", session.ACRAttested},
		"attested, synced": {passkey.Credential{Judgement: attested, BackupEligible: true}, "swk", session.ACRAttested},
		"attested, bad":    {passkey.Credential{Judgement: passkey.Judgement{Evidence: passkey.Attested, Bad: "REVOKED"}}, "hwk", "muster:passkey"},
	} {
		amr, acr := session.Means(&test.c)
		if !slices.Equal(amr, []string{test.key, "user", "mfa"}) || acr != test.acr {
			t.Errorf("%s: %v, %s", name, amr, acr)
		}
	}
	// What one caller does with its list is nothing to another.
	first, _ := session.Means(&passkey.Credential{})
	first[0] = "pwd"
	if second, _ := session.Means(&passkey.Credential{}); second[0] != "hwk" {
		t.Error("the list is shared")
	}
}

func TestHash(t *testing.T) {
	if got := session.Hash("s_1"); got != sha256.Sum256([]byte("muster/session/1\x00\x00\x00\x03s_1")) {
		t.Errorf("hash is %x", got)
	}
	if session.Hash("") == session.Hash("\x00") || session.Hash("a") == session.Hash("b") {
		t.Error("two sessions have one hash")
	}
}

func TestCut(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"Mozilla/5.0 (X11; Linux)":      "Mozilla/5.0 (X11; Linux)",
		"  a\tb\r\nc\x00d ":             "a b  c d",
		"a\u202eb":                      "a b",
		"a\xffb":                        "ab",
		"\x1b[31mred":                   "[31mred",
		strings.Repeat("é", 101):        strings.Repeat("é", 100),
		"x" + strings.Repeat("é", 100):  "x" + strings.Repeat("é", 99),
		strings.Repeat("<", 1000) + "!": strings.Repeat("<", 200),
	} {
		if got := session.Cut(text); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")
	f.Add("\xff\xfe\u202e\n")
	f.Add(strings.Repeat("\xf0\x9f\x98\x80", 60))
	f.Fuzz(func(t *testing.T, text string) {
		got := session.Cut(text)
		if len(got) > 200 || !utf8.ValidString(got) || session.Cut(got) != got || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e }) {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}

package web

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/people"
	"muster/server/store"
	"muster/server/verify"
)

// Everything that is said of a start has words, whatever its state; a contradiction
// stands first.
func TestStartsHaveWords(t *testing.T) {
	r := started(well).Result
	names := 0
	for name, c := range bootClaims(r) {
		words, ok := wordsOfClaim(name)
		if !ok || words.name == "" || words.yes == "" || words.no == "" || words.unknown == "" {
			t.Errorf("%s lacks words", name)
		}
		if _, own := claimTable()[name]; !own {
			names++
		}
		for state, icon := range map[posture.State]string{posture.Yes: "ok", posture.No: "bad", posture.Unknown: "unknown", 9: "unknown"} {
			c.State = state
			if got := words.stateMark(state); got.Icon != icon || got.Text == "" {
				t.Errorf("%s, state %d: %+v", name, state, got)
			}
		}
	}
	if names != len(bootTable()) {
		t.Errorf("%d claims, %d have words", names, len(bootTable()))
	}
	views := sampleSite().bootViews(started(lying))
	at := slices.IndexFunc(views, func(v bootView) bool { return v.Lies })
	if at < 0 || views[at].Name != "Secure Boot" || views[at].Told != "On." || at > 3 {
		t.Errorf("the lie is not told: %+v", views)
	}
	for _, status := range []string{"match", "mismatch", "unlogged", "empty", "not-told", "", "odd"} {
		if m := pcrMark(status); m.Text == "" || (m.Icon == "ok") != (status == "match") {
			t.Errorf("%q is %+v", status, m)
		}
	}
	if got := pcrViews(&started(well).Result.Boot); len(got) != 15 || got[0].Index != 0 || got[14].Index != 15 || pcrHolds(99) == "" {
		t.Errorf("registers: %+v", got)
	}
}

// The owner reads of the start what they can do something about, and each thing once.
func TestOwnerReadsOfTheStart(t *testing.T) {
	s := sampleSite()
	count := func(v laptopView, name string) (n int) {
		for _, list := range [][]claimView{v.Wrong, v.Unknown, v.Well} {
			for _, c := range list {
				if c.Name == name {
					n++
				}
			}
		}
		return n
	}
	v := s.laptopViewOf(started(drifted), false)
	if len(v.Noticed) != 1 || v.Noticed[0].Text != driftText || count(v, "Way to start") != 0 || count(v, "Secure Boot") != 1 || count(v, "Keys in firmware") != 1 {
		t.Errorf("drifted: %+v", v)
	}
	asked := started(drifted)
	asked.Decision.Reasons = []attest.Reason{{Code: "boot-unapproved", Claim: "boot_baseline", Text: "Not approved.", Fix: "Ask."}}
	if v := s.laptopViewOf(asked, false); count(v, "Way to start") != 1 || len(v.Other) != 0 {
		t.Errorf("asked for: %+v", v)
	}
	none := s.laptopViewOf(started(unlogged), false)
	if count(none, "Boot log") != 1 || count(none, "Keys in firmware") != 0 {
		t.Errorf("without a log: %+v", none)
	}
	soft := sampleLaptop()
	soft.Result = &verify.Result{}
	if v := s.laptopViewOf(soft, false); count(v, "Boot log") != 0 {
		t.Errorf("without a TPM: %+v", v)
	}
	// Each cause has a way back, told once; only who may ask for it back is offered to.
	for cause, text := range causeTexts() {
		l := waitingLaptop("alice-old", cause)
		v := s.laptopViewOf(l, false)
		page := string(sample{name: cause, page: "laptops", block: "layout", title: "Your laptops", role: store.RolePerson, body: []laptopView{v}}.draw(t, s, "/laptops"))
		if v.Way == "" || len(v.Other) != 0 || strings.Count(page, strings.Split(text[0], ":")[0]) != 1 {
			t.Errorf("%s: %+v", cause, v)
		}
		if offered := strings.Contains(page, "/laptops/readmit"); offered != l.Back {
			t.Errorf("%s: the form is there: %v", cause, offered)
		}
	}
}

// A device's page is for who may see laptops; a word on how it starts is for
// administrators with fresh hands, about the start that the page showed.
func TestDevicePage(t *testing.T) {
	g := newRig(t)
	var did []string
	g.desk.DecideStart = func(_ context.Context, by people.Actor, id, key string, approve, everywhere bool) (int, error) {
		word := map[bool]string{true: "approve", false: "refuse"}[approve]
		if everywhere {
			word += " everywhere"
		}
		did = append(did, strings.Join([]string{string(by), id, key, word}, "|"))
		return 1, nil
	}
	fleet := g.desk.Devices()
	g.desk.Devices = func() []OfficeDevice { return append([]OfficeDevice{{Laptop: *started(drifted)}}, fleet[2:]...) }
	alice, carol, bob := g.join("alice", store.RoleAdministrator), g.join("carol", store.RoleHelpDesk), g.join("bob", store.RolePerson)
	page := text(alice.get("/office/devices/d1"))
	checkHTML(t, "device", []byte(page), true)
	if !strings.Contains(page, "31 of 40 show the same") || strings.Count(page, `action="/office/devices/start"`) != 5 {
		t.Errorf("the page:\n%s", page)
	}
	if page := text(carol.get("/office/devices/d1")); !strings.Contains(page, "Ways in which it started") || strings.Contains(page, `action="/office`) {
		t.Error("the help desk is offered to act, or sees nothing")
	}
	if got := bob.get("/office/devices/d1").StatusCode; got != 403 {
		t.Errorf("a person sees it: %d", got)
	}
	for _, none := range []string{"nobody", "d_2", "%3Cscript%3E"} {
		if got := alice.get("/office/devices/" + none).StatusCode; got != 404 {
			t.Errorf("%s: %d", none, got)
		}
	}
	word := func(id, key, do string) url.Values { return url.Values{"id": {id}, "key": {key}, "do": {do}} }
	for do, done := range map[string]string{"approve": "start-approved", "everywhere": "start-approved-everywhere", "refuse": "start-refused"} {
		answer := alice.form("/office/devices/start", word("d1", "6f1c02030405", do))
		if answer.Header.Get("Location") != "/office/devices/d1?done="+done || doneWords(done) == "" {
			t.Errorf("%s: %d %s", do, answer.StatusCode, code(answer))
		}
	}
	slices.Sort(did)
	want := []string{"person:alice|d1|6f1c02030405|approve", "person:alice|d1|6f1c02030405|approve everywhere", "person:alice|d1|6f1c02030405|refuse"}
	if !slices.Equal(did, want) {
		t.Errorf("did %q", did)
	}
	for name, values := range map[string]url.Values{"no key": word("d1", "", "approve"), "no word": word("d1", "6f1c02030405", ""), "another word": word("d1", "6f1c02030405", "Approve"), "no laptop": word("d9", "6f1c02030405", "approve")} {
		if answer := alice.form("/office/devices/start", values); answer.StatusCode < 400 || answer.StatusCode >= 500 {
			t.Errorf("%s: %d", name, answer.StatusCode)
		}
	}
	if answer := carol.form("/office/devices/start", word("d1", "6f1c02030405", "approve")); answer.StatusCode != 403 {
		t.Errorf("the help desk approves: %d", answer.StatusCode)
	}
	g.stale()
	if answer := alice.form("/office/devices/start", word("d1", "6f1c02030405", "approve")); answer.StatusCode == 303 && strings.Contains(answer.Header.Get("Location"), "done=") {
		t.Error("stale hands approve")
	}
	if len(did) != 3 {
		t.Errorf("refused requests did %q", did[3:])
	}
}

// What waits because a laptop is other than it was is found, and told at first sight.
func TestChangedLaptopsAreFound(t *testing.T) {
	g := newRig(t)
	refused := started(drifted)
	refused.ID, refused.Result.Boot.Baseline.Reason = "d_r", verify.BootRefused
	g.desk.Devices = func() []OfficeDevice {
		return []OfficeDevice{{Laptop: *waitingLaptop("moved", "disk-moved")}, {Laptop: *waitingLaptop("replaced", "replaced")}, {Laptop: *started(drifted)}, {Laptop: *refused}, {Laptop: *started(well)}}
	}
	b := g.join("alice", store.RoleAdministrator)
	for state, n := range map[string]int{"moved": 1, "drift": 2, "": 5} {
		if page := text(b.get("/office/devices?state=" + state)); strings.Count(page, "<dt>Id</dt>") != n {
			t.Errorf("%q finds %d", state, strings.Count(page, "<dt>Id</dt>"))
		}
	}
	page := text(b.get("/office"))
	for _, said := range []string{"1 laptop came back with other keys", "1 laptop starts in another way than before", "/office/devices?state=moved", "/office/devices?state=drift"} {
		if !strings.Contains(page, said) {
			t.Errorf("the overview lacks %q", said)
		}
	}
}

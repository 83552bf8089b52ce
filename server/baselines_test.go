package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/people"
	"muster/server/store"
	"muster/server/verify"
	"muster/server/web"
)

// codeOfErr is the stable code of a refusal.
func codeOfErr(err error) string {
	var own *refusal
	var theirs *people.Refusal
	switch {
	case errors.As(err, &own):
		return own.Code
	case errors.As(err, &theirs):
		return theirs.Code
	case errors.Is(err, store.ErrNotFound):
		return "not-found"
	}
	return fmt.Sprint(err)
}

// twoStarts has laptops of one model that started in one way, and now in another.
func twoStarts(t *testing.T, n int) (f *drifting, ids []string, first, now realStart) {
	t.Helper()
	first, now = startOf(t, "sb-shim-grub"), startOf(t, "d13-sb-shim-grub")
	f = newDrifting(t, accepting(t, first, now))
	for range n {
		id := f.laptop(nil)
		f.starts(id, first, "M")
		f.clock.advance(time.Minute)
		f.starts(id, now, "M")
		ids = append(ids, id)
	}
	return f, ids, first, now
}

// What people see of how a laptop started is what is stored: the same after it was
// read again, when nothing of the set is in memory.
func TestStartsAreListed(t *testing.T) {
	t.Parallel()
	f, ids, _, _ := twoStarts(t, 3)
	for _, read := range []string{"fresh", "read again"} {
		detail, err := f.s.detail(t.Context(), ids[0])
		if err != nil || len(detail.Starts) != 2 || len(detail.Anchors) != 1 {
			t.Fatalf("%s: %+v, %v", read, detail, err)
		}
		now, before := detail.Starts[0], detail.Starts[1]
		if now.State != store.BaselineDrifted || !now.Now || now.Unexplained || now.Others != 2 || len(now.Changes) == 0 ||
			before.State != store.BaselineNew || before.Now || before.Others != 0 || len(before.Changes) != 0 {
			t.Errorf("%s: now %+v, before %+v", read, now, before)
		}
		want := store.Prevalence{Shows: 2, Of: 2}
		if len(now.Parts) != 8 || now.Parts[verify.ComponentApplications] != want || before.Parts[verify.ComponentApplications] != (store.Prevalence{Of: 2}) {
			t.Errorf("%s: %+v, before %+v", read, now.Parts, before.Parts)
		}
		d := f.s.fleet.get(ids[0])
		d.mu.Lock()
		if err := f.s.reread(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		d.mu.Unlock()
	}
	if _, err := f.s.detail(t.Context(), "nobody"); codeOfErr(err) != "not-found" {
		t.Errorf("of a device that is none: %v", err)
	}
	empty, err := f.s.detail(t.Context(), f.laptop(nil))
	if err != nil || len(empty.Starts) != 0 || len(empty.Anchors) != 1 {
		t.Errorf("of one without a quote: %+v, %v", empty, err)
	}
}

func TestStartIsNamed(t *testing.T) {
	t.Parallel()
	f, ids, _, _ := twoStarts(t, 1)
	id, whole := ids[0], hexOf(f.s.fleet.get(ids[0]).result.Boot.SetKey)
	other := f.laptop(nil)
	f.s.mustUpdate(t, func(tx *store.Tx) error { // two whose keys begin alike
		for _, last := range []byte{1, 2} {
			b := &store.Baseline{Device: other, Key: attest.Digest{minKeyPrefix / 2: last}, Set: []byte(`{}`), State: store.BaselineDrifted, FirstSeen: tx.Now(), LastSeen: tx.Now()}
			if err := tx.PutBaseline(b); err != nil {
				return err
			}
		}
		return nil
	})
	for _, test := range []struct{ id, prefix, key, code string }{
		{id, whole[:32], whole, ""}, {id, strings.ToUpper(whole[:33]), whole, ""}, {id, whole, whole, ""},
		{id, "", "", "start-key"}, {id, whole[:8], "", "start-key"}, {id, whole[:31], "", "start-key"}, {id, whole + "0", "", "start-key"},
		{id, strings.Repeat("z", 32), "", "start-key"}, {id, "%" + whole[:32], "", "start-key"},
		{id, strings.Repeat("0", 32), "", "start-unknown"}, {other, whole[:32], "", "start-unknown"},
		{other, strings.Repeat("0", 32), "", "start-ambiguous"}, {"nobody", "", "", "not-found"}, {"nobody", whole, "", "not-found"},
	} {
		key, err := f.s.startNamed(t.Context(), test.id, test.prefix)
		if test.code != "" && (codeOfErr(err) != test.code || !key.IsZero()) || test.code == "" && (err != nil || hexOf(key) != test.key) {
			t.Errorf("%s %q: %x, %v", test.id, test.prefix, key, err)
		}
	}
}

// Everywhere is where it waits: not where somebody said no, nor where it started in
// another way since.
func TestDecideStartEverywhere(t *testing.T) {
	t.Parallel()
	f, ids, first, _ := twoStarts(t, 4)
	key := hexOf(f.s.fleet.get(ids[0]).result.Boot.SetKey)
	f.clock.advance(time.Minute)
	if _, err := f.s.decideStart(t.Context(), "carol", ids[2], key, false, false); err != nil {
		t.Fatal(err)
	}
	f.clock.advance(time.Minute)
	f.starts(ids[3], first, "M")
	if _, err := f.s.decideStart(t.Context(), "carol", ids[0], key, false, true); codeOfErr(err) != "start-everywhere" {
		t.Errorf("refused everywhere: %v", err)
	}
	got, err := f.s.decideStart(t.Context(), "carol", ids[0], key, true, true)
	if err != nil || !slices.Equal(got, ids[:2]) {
		t.Fatalf("approved for %v, %v; want %v", got, err, ids[:2])
	}
	for i, want := range []posture.State{posture.Yes, posture.Yes, posture.No, posture.Yes} {
		f.s.Check(ids[i], "wiki")
		if b := f.s.fleet.get(ids[i]).result.Boot.Baseline; b.State != want {
			t.Errorf("laptop %d: %+v", i, b)
		}
	}
	if f.audited("device.boot-approved", ids[1]) != 1 || f.audited("device.boot-approved", ids[2])+f.audited("device.boot-approved", ids[3]) != 0 {
		t.Error("the audit log tells it otherwise")
	}
	if r := f.s.fleet.get(ids[2]).result; r.Tier != verify.Contraindicated || f.s.fleet.get(ids[1]).result.Tier == verify.Contraindicated {
		t.Errorf("the refused one is %v: %+v", r.Tier, r.Findings)
	}
}

// told lists the kinds of notices that wait.
func (f *drifting) told(kind string) (list []string) {
	f.t.Helper()
	if err := f.s.store.View(f.t.Context(), func(tx *store.Tx) error {
		due, err := tx.DueNotices(1000)
		for _, n := range due {
			if n.Kind == kind {
				list = append(list, string(n.Body))
			}
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return list
}

// Administrators hear of another way to start when it is seen first, once, and not
// of what the fleet approved; somebody who moves registers at will does not fill
// their mail.
func TestDriftIsTold(t *testing.T) {
	t.Parallel()
	first, now := startOf(t, "sb-shim-grub"), startOf(t, "d13-sb-shim-grub")
	f := newDrifting(t, accepting(t, first, now))
	f.s.people.Webhook = true
	id := f.laptop(func(row *store.Device) { row.Name = "carol-laptop" })
	f.starts(id, first, "M")
	if got := f.told("boot-drift"); len(got) != 0 {
		t.Fatalf("the first start is told: %v", got)
	}
	for range 3 {
		f.clock.advance(time.Minute)
		f.starts(id, now, "M")
	}
	got := f.told("boot-drift")
	if len(got) != 1 || !strings.Contains(got[0], "carol-laptop") || !strings.Contains(got[0], "the boot programs") || !strings.Contains(got[0], "/office/devices/"+id) {
		t.Fatalf("told: %v", got)
	}
	other := now
	for i := range byte(8) {
		f.clock.advance(time.Minute)
		other.pcrs = attest.PCRs{0: {i}, 4: {i, 1}, 7: {i, 2}}
		f.starts(id, other, "M")
	}
	if got := f.told("boot-drift"); len(got) != driftsTold {
		t.Errorf("%d are told of one day", len(got))
	}
	f.clock.advance(driftsIn)
	other.pcrs = attest.PCRs{0: {9}, 4: {9}, 7: {9}}
	f.starts(id, other, "M")
	if got := f.told("boot-drift"); len(got) != driftsTold+1 {
		t.Errorf("%d are told, of the next day too", len(got))
	}
}

func TestStartsForPrograms(t *testing.T) {
	t.Parallel()
	f, ids, _, _ := twoStarts(t, 2)
	p, program := newProgram(t, f.s, "devices:read", "devices:write")
	path := "/api/v1/devices/" + ids[0] + "/baselines"
	list := get[apiStart](t, p, path)
	if len(list) != 2 || list[0].State != "drifted" || !list[0].Now || list[0].Others != 1 || len(list[0].Parts) != 8 || list[0].Parts[0].Component != "firmware" ||
		len(list[0].Changes) == 0 || list[0].DecidedAt != nil || list[1].State != "new" || list[1].Changes == nil {
		t.Fatalf("starts: %+v", list)
	}
	key := list[0].Key
	if raw := hexOf(f.s.fleet.get(ids[0]).result.Boot.SetKey); key != raw {
		t.Fatalf("the key is %q, want %q", key, raw)
	}
	for name, test := range map[string]struct {
		path, body, code string
		status           int
	}{
		"another member":       {path + "/" + key + "/approve", `{"all": true}`, "payload-form", 400},
		"no key":               {path + "/x/approve", "", "start-key", 400},
		"too little of a key":  {path + "/" + key[:minKeyPrefix-1] + "/approve", "", "start-key", 400},
		"another key":          {path + "/" + strings.Repeat("0", minKeyPrefix) + "/refuse", "", "start-unknown", 404},
		"a device that is not": {"/api/v1/devices/nobody/baselines/" + key + "/approve", "", "not-found", 404},
	} {
		if w := p.do("POST", test.path, test.body); w.Code != test.status || codeOf(w) != test.code {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	f.clock.advance(time.Minute)
	w := p.do("POST", path+"/"+key[:minKeyPrefix]+"/approve", `{"everywhere": true}`)
	var done struct{ Devices []string }
	if err := json.Unmarshal(w.Body.Bytes(), &done); w.Code != http.StatusOK || err != nil || !slices.Equal(done.Devices, ids) {
		t.Fatalf("approve: %d %s", w.Code, w.Body)
	}
	f.clock.advance(time.Minute)
	if w := p.do("POST", path+"/"+key+"/refuse", ""); w.Code != http.StatusOK {
		t.Errorf("refuse: %d %s", w.Code, w.Body)
	}
	if list := get[apiStart](t, p, path); list[0].State != "refused" || list[0].DecidedBy != "program:"+program || list[0].DecidedAt == nil {
		t.Errorf("refused: %+v", list[0])
	}
}

// The control socket and the pages act alike, and say who it was.
func TestStartsOverControl(t *testing.T) {
	t.Parallel()
	f, ids, _, _ := twoStarts(t, 2)
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		w := httptest.NewRecorder()
		f.s.controlRoutes().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
	status, body := ask("GET", "/devices/"+ids[0]+"/baselines", "")
	var starts []web.Start
	if err := json.Unmarshal([]byte(body), &starts); status != http.StatusOK || err != nil || len(starts) != 2 {
		t.Fatalf("list: %d %s", status, body)
	}
	status, body = ask("GET", "/devices/"+ids[0], "")
	var view DeviceView
	if err := json.Unmarshal([]byte(body), &view); status != http.StatusOK || err != nil || view.Detail == nil || len(view.Detail.Starts) != 2 || len(view.Detail.Anchors) != 1 ||
		view.Result.Boot.Claims.BootChain.State != posture.Yes || len(view.Result.Findings) != 1 {
		t.Fatalf("show: %d %s", status, body)
	}
	f.clock.advance(time.Minute)
	if status, body := ask("POST", "/devices/"+ids[0]+"/baselines/approve", `{}`); status != http.StatusBadRequest || !strings.Contains(body, "start-key") {
		t.Errorf("approve what nobody named: %d %s", status, body)
	}
	if status, body := ask("POST", "/devices/"+ids[0]+"/baselines/approve", `{"key":"`+starts[0].Key+`"}`); status != http.StatusOK || !strings.Contains(body, ids[0]) || strings.Contains(body, ids[1]) {
		t.Errorf("approve: %d %s", status, body)
	}
	if status, body := ask("POST", "/devices/"+ids[1]+"/baselines/refuse", `{"everywhere":true}`); status != http.StatusBadRequest || !strings.Contains(body, "start-everywhere") {
		t.Errorf("refuse everywhere: %d %s", status, body)
	}
	n, err := f.s.officeDecides(t.Context(), "person:carol", ids[1], starts[0].Key, false, false)
	if n != 1 || err != nil {
		t.Errorf("the page: %d, %v", n, err)
	}
	var refused *people.Refusal
	if _, err := f.s.officeDecides(t.Context(), "person:carol", ids[1], "x", true, false); !errors.As(err, &refused) || refused.Code != "start-key" {
		t.Errorf("the page, with no key: %v", err)
	}
	detail, err := f.s.detail(t.Context(), ids[1])
	if err != nil || detail.Starts[0].State != store.BaselineRefused || detail.Starts[0].DecidedBy != "person:carol" {
		t.Errorf("after: %+v, %v", detail, err)
	}
}

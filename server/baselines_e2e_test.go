package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"muster/attest"
	"muster/attest/posture"
	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/servertest"
	"muster/server/store"
	"muster/server/verify"
	"muster/server/web"
)

// hook takes the webhook's notices.
type hook struct {
	mu    sync.Mutex
	kinds []string // guarded by mu
	texts []string // guarded by mu
}

// told is an option: notices go to the hook.
func (h *hook) told(t *testing.T) func(*server.Config) {
	t.Helper()
	at := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var n struct{ Kind, Text string }
		if b, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(b, &n) != nil {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.kinds, h.texts = append(h.kinds, n.Kind), append(h.texts, n.Text)
	}))
	t.Cleanup(at.Close)
	return func(c *server.Config) {
		c.Webhook.URL, c.Webhook.SecretFile = at.URL, servertest.File(t, "secret", "0123456789abcdef0123456789abcdef\n")
	}
}

// of lists the texts of a kind.
func (h *hook) of(kind string) (texts []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, k := range h.kinds {
		if k == kind {
			texts = append(texts, h.texts[i])
		}
	}
	return texts
}

// detail is the device with what is kept of it beside how it stands.
func (f *fixture) detail() server.DeviceView {
	f.t.Helper()
	var v server.DeviceView
	if err := f.srv.Control("GET", "/devices/"+f.device, nil, &v); err != nil {
		f.t.Fatal(err)
	}
	return v
}

// decides is the administrator's word on how the device started now.
func (f *fixture) decides(word string) {
	f.t.Helper()
	starts := f.detail().Detail.Starts
	at := slices.IndexFunc(starts, func(one web.Start) bool { return one.Now })
	if at < 0 {
		f.t.Fatalf("not known how it started now: %+v", starts)
	}
	var done struct{ Devices []string }
	if err := f.srv.Control("POST", "/devices/"+f.device+"/baselines/"+word, map[string]string{"key": starts[at].Key}, &done); err != nil || !slices.Equal(done.Devices, []string{f.device}) {
		f.t.Fatalf("%s: %v %v", word, done.Devices, err)
	}
}

// Another boot program was started, which PCR 4 shows without any log: administrators
// hear of it once, and their word counts from the next check on.
func TestDriftWithoutLog(t *testing.T) {
	t.Parallel()
	var h hook
	f := enrolled(t, h.told(t))
	before := f.srv.Device(f.device)
	f.chip.Reboot()
	f.chip.ExtendPCR(4, 1)
	f.laptop.Start()
	after := f.quoted(before)
	if b := after.Result.Boot.Baseline; b.State != posture.No || b.Reason != verify.BootDrifted {
		t.Fatalf("the start is %v (%s)", b.State, b.Reason)
	}
	if !f.opens("vault") {
		t.Fatal("a drift that no rule asks for closes the vault")
	}
	servertest.Wait(t, "the administrators are told", func() bool { return len(h.of("boot-drift")) > 0 })
	starts := f.detail().Detail.Starts
	if len(starts) != 2 || starts[0].State != store.BaselineDrifted || !starts[0].Now || !starts[0].Unexplained || starts[1].State != store.BaselineNew {
		t.Fatalf("starts: %+v", starts)
	}
	if c := starts[0].Changes; len(c) != 1 || !strings.Contains(c[0].Text, "PCR 4") || !strings.Contains(h.of("boot-drift")[0], c[0].Text) {
		t.Fatalf("changes %+v, told %q", c, h.of("boot-drift"))
	}
	f.decides("refuse")
	if answer := f.gateway.Ask(f.device, "vault"); answer.Allowed || !answer.Has(verify.FindingRefused) {
		t.Fatalf("refused: %+v", answer)
	}
	if f.srv.NextReport(f.device); f.opens("vault") {
		t.Fatal("a report opened what was refused")
	}
	f.srv.Restart()
	if f.opens("vault") {
		t.Fatal("a restart opened what was refused")
	}
	f.decides("approve")
	if !f.opens("vault") {
		t.Fatalf("approved: %+v", f.gateway.Ask(f.device, "vault"))
	}
	// The next boot is of the same way: nobody has to do anything, and nobody is told.
	last := f.srv.Device(f.device)
	f.chip.Reboot()
	f.chip.ExtendPCR(4, 1)
	if again := f.quoted(last); again.Result.Boot.Baseline.State != posture.Yes {
		t.Fatalf("the approved start is %+v", again.Result.Boot.Baseline)
	}
	if n := len(h.of("boot-drift")); n != 1 {
		t.Fatalf("administrators were told %d times", n)
	}
}

// A system that shows up on another TPM waits, and is shown with what it was before;
// who is let in takes the other's place.
func TestMovedIsTold(t *testing.T) {
	t.Parallel()
	var h hook
	f := enrolled(t, h.told(t))
	old := f.device
	f.chip.Become(tpmtest.Start(t))
	f.laptop.Start()
	servertest.Wait(t, "the administrators are told", func() bool { return len(h.of("laptop-moved")) > 0 })
	for _, d := range f.srv.Devices() {
		if d.ID != old {
			f.device = d.ID
		}
	}
	now := f.detail()
	if now.State != attest.Pending || now.Detail.Predecessor != old || len(now.Detail.Anchors) != 1 || now.Detail.Anchors[0].Cause != now.Cause {
		t.Fatalf("the newcomer: %+v, %+v", now, now.Detail)
	}
	if text := h.of("laptop-moved")[0]; !strings.HasSuffix(text, now.CauseText) {
		t.Errorf("told %q, want it to end in %q", text, now.CauseText)
	}
	if err := f.srv.Approve(f.device, now.CompareCode); err != nil {
		t.Fatal(err)
	}
	var before server.DeviceView
	if err := f.srv.Control("GET", "/devices/"+old, nil, &before); err != nil || before.Cause != "replaced" || !slices.Equal(before.Detail.Successors, []string{f.device}) {
		t.Fatalf("the one before: %+v, %v", before, err)
	}
	if n := len(h.of("laptop-moved")); n != 1 {
		t.Errorf("administrators were told %d times", n)
	}
	var starts []web.Start
	if err := f.srv.Control("GET", "/devices/"+old+"/baselines", nil, &starts); err != nil || len(starts) != 1 {
		t.Errorf("the one before started as %+v, %v", starts, err)
	}
}

// The same machine comes with a new system key: told once, however often it asks.
func TestReanchorIsTold(t *testing.T) {
	t.Parallel()
	var h hook
	f := enrolled(t, h.told(t))
	for range 2 {
		f.laptop.UseToken(f.srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
		if err := os.RemoveAll(f.laptop.Dir); err != nil {
			t.Fatal(err)
		}
		if standing := f.laptop.Enrol(); standing.State != attest.Pending {
			t.Fatalf("enrolled again: %+v", standing)
		}
	}
	servertest.Wait(t, "the administrators are told", func() bool { return len(h.of("laptop-moved")) > 0 })
	if n := len(h.of("laptop-moved")); n != 1 {
		t.Errorf("administrators were told %d times", n)
	}
	if a := f.detail().Detail.Anchors; len(a) != 3 || a[0].Cause != "" || a[1].Cause != "re-anchor" || a[0].Until.IsZero() || !a[2].Until.IsZero() {
		t.Errorf("anchors: %+v", a)
	}
}

package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/server"
	"muster/server/store"
	"muster/server/web"
)

// starting answers like a server that knows one device, and notes what it was asked
// to decide.
func starting(t *testing.T, starts []web.Start) (s *settings, decided *startDecision) {
	t.Helper()
	decided = new(startDecision)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /devices/laptop/baselines", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(starts)
	})
	mux.HandleFunc("POST /devices/laptop/baselines/approve", func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(decided); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"devices":["laptop"]}`))
	})
	s = &settings{DataDir: t.TempDir()}
	l, err := net.Listen("unix", filepath.Join(s.DataDir, server.ControlSocket))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(mux)
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return s, decided
}

// Without a key, what is shown is what is decided: its whole key is sent, so that a
// device that starts in another way meanwhile gets nothing approved.
func TestApproveWhatIsShown(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := web.Start{Key: strings.Repeat("0a", 32), State: store.BaselineNew, FirstSeen: now, LastSeen: now}
	present := web.Start{Key: strings.Repeat("1b", 32), State: store.BaselineDrifted, Now: true, FirstSeen: now, LastSeen: now}
	for name, c := range map[string]struct {
		starts     []web.Start
		key, want  string
		everywhere bool
	}{
		"the present one": {[]web.Start{first, present}, "", present.Key, true},
		"a key":           {[]web.Start{first, present}, first.Key[:keyDigits], first.Key[:keyDigits], false},
		"none is present": {[]web.Start{first}, "", "", false},
		"none at all":     {nil, "", "", false},
	} {
		s, decided := starting(t, c.starts)
		err := (&baselineApproveCmd{Device: "laptop", Key: c.key, Everywhere: c.everywhere}).Run(t.Context(), s)
		if (err == nil) != (c.want != "") || decided.Key != c.want || decided.Everywhere != c.everywhere {
			t.Errorf("%s: %v, asked for %+v, want %s", name, err, decided, c.want)
		}
	}
	var shown strings.Builder
	if err := writeStarts(&shown, []web.Start{present}); err != nil || !strings.Contains(shown.String(), present.Key[:keyDigits]) {
		t.Errorf("what is printed names no start: %v\n%s", err, shown.String())
	}
}

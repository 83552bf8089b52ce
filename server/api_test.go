package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"muster/attest"
	"muster/server/people"
	"muster/server/store"
)

// program is one with a token.
type program struct {
	h      http.Handler
	secret string
}

func newProgram(t *testing.T, s *Server, scopes ...string) (*program, string) {
	t.Helper()
	maker := newGuest(t, s, "maker", store.RoleAdministrator)
	secret, token, err := s.people.CreateAPIToken(t.Context(), &people.Who{Session: maker.session, Person: maker.person}, "test", scopes, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &program{s.Handler(), secret}, token.ID
}

func (p *program) do(method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, guestURL+path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("Authorization", "Bearer "+p.secret)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	return w
}

// get decodes a list.
func get[T any](t *testing.T, p *program, path string) (list []T) {
	t.Helper()
	w := p.do("GET", path, "")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("GET %s: %d %v %s", path, w.Code, w.Header(), w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		t.Fatalf("GET %s: %v\n%s", path, err, w.Body)
	}
	return list
}

// A program does what an administrator does, and the audit log says which one.
func TestAPI(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	p, id := newProgram(t, s, people.Scopes()...)
	alice, laptop := newGuest(t, s, "alice", store.RolePerson), newLaptop(t, s)
	if w := p.do("POST", "/api/v1/users", `[{"name": "bob", "groups": ["staff"]}]`); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"added":1`) {
		t.Fatalf("import: %d %s", w.Code, w.Body)
	}
	users := get[apiUser](t, p, "/api/v1/users")
	if !slices.ContainsFunc(users, func(u apiUser) bool { return u.Name == "bob" && slices.Equal(u.Groups, []string{"staff"}) }) ||
		!slices.ContainsFunc(users, func(u apiUser) bool { return u.Name == "alice" && u.Passkeys == 1 && u.Sessions == 1 }) {
		t.Errorf("people: %+v", users)
	}
	if sessions := get[apiSession](t, p, "/api/v1/sessions?user=alice"); len(sessions) != 1 || sessions[0].ID != alice.session.ID || sessions[0].User != "alice" {
		t.Errorf("sessions: %+v", sessions)
	}
	for _, act := range []struct {
		method, path, body string
	}{
		{"DELETE", "/api/v1/sessions/" + alice.session.ID, ""},
		{"POST", "/api/v1/users/alice/disable", `{"why": "left"}`},
		{"POST", "/api/v1/users/alice/enable", ""},
		{"POST", "/api/v1/devices/" + laptop.row.ID + "/revoke", `{"why": "lost"}`},
	} {
		if w := p.do(act.method, act.path, act.body); w.Code != http.StatusNoContent {
			t.Errorf("%s %s: %d %s", act.method, act.path, w.Code, w.Body)
		}
	}
	if sessions := get[apiSession](t, p, "/api/v1/sessions?user=alice"); len(sessions) != 0 {
		t.Errorf("sessions after the end: %+v", sessions)
	}
	devices := get[apiDevice](t, p, "/api/v1/devices")
	if len(devices) != 1 || devices[0].State != string(attest.Revoked) || devices[0].RevokedWhy != "lost" || devices[0].Outcome != "deny" {
		t.Errorf("devices: %+v", devices)
	}
	var did []string
	last := uint64(0)
	for _, e := range get[apiEntry](t, p, "/api/v1/audit?after=0") {
		if e.Actor == "program:"+id {
			did = append(did, e.Action)
		}
		last = e.Number
	}
	if len(did) < 5 || !slices.Contains(did, "device.revoke") {
		t.Errorf("the audit log has of the program: %v", did)
	}
	if rest := get[apiEntry](t, p, fmt.Sprint("/api/v1/audit?after=", last)); len(rest) != 0 {
		t.Errorf("behind the last entry: %+v", rest)
	}
}

// What is refused is a problem document with a stable code, whoever found it.
func TestAPIRefuses(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	p, _ := newProgram(t, s, people.Scopes()...)
	laptop := newLaptop(t, s)
	for name, test := range map[string]struct {
		method, path, body, code string
		status                   int
	}{
		"nobody's session":     {"DELETE", "/api/v1/sessions/s_nothing", "", "not-found", 404},
		"a person who is not":  {"POST", "/api/v1/users/nobody/disable", "", "not-found", 404},
		"sessions of nobody":   {"GET", "/api/v1/sessions?user=nobody", "", "not-found", 404},
		"a device that is not": {"POST", "/api/v1/devices/nothing/revoke", "", "not-found", 404},
		"another member":       {"POST", "/api/v1/devices/" + laptop.row.ID + "/revoke", `{"who": "me"}`, "payload-form", 400},
		"no number":            {"GET", "/api/v1/audit?after=x", "", "after-wrong", 400},
		"a negative number":    {"GET", "/api/v1/audit?after=-1", "", "after-wrong", 400},
		"too large":            {"POST", "/api/v1/devices/" + laptop.row.ID + "/revoke", `{"why": "` + strings.Repeat("x", attest.MaxMessage) + `"}`, "too-large", 413},
		"no list":              {"POST", "/api/v1/users", `{}`, "", 400},
	} {
		w := p.do(test.method, test.path, test.body)
		var problem attest.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
			continue
		}
		if w.Code != test.status || problem.Status != w.Code || problem.Code == "" || problem.Detail == "" && problem.Fix == "" || test.code != "" && problem.Code != test.code {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if laptop.row.State != attest.Active {
		t.Error("a refused request revoked the laptop")
	}
}

// The document names every operation, and no others; a token without the scope
// does nothing.
func TestAPIDocument(t *testing.T) {
	t.Parallel()
	s, _ := guestServer(t)
	p, _ := newProgram(t, s, "users:read")
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]struct{ Security []map[string][]string }
	}
	if err := json.Unmarshal(p.do("GET", pathOpenAPI, "").Body.Bytes(), &document); err != nil || !strings.HasPrefix(document.OpenAPI, "3.1") {
		t.Fatalf("%v %+v", err, document)
	}
	rows := 0
	for _, r := range s.routes() {
		if r.access.class() != byProgram {
			continue
		}
		rows++
		method, path, _ := strings.Cut(r.pattern, " ")
		op, ok := document.Paths[path][strings.ToLower(method)]
		if !ok || len(op.Security) != 1 || !slices.Equal(op.Security[0]["token"], r.access.words()) || !slices.Contains(people.Scopes(), r.access.words()[0]) {
			t.Errorf("%s %s: %+v", r.pattern, r.access, op)
		}
	}
	named := 0
	for _, methods := range document.Paths {
		named += len(methods)
	}
	if rows == 0 || named != rows {
		t.Errorf("%d operations in the document, %d rows in the table", named, rows)
	}
	if w := p.do("GET", "/api/v1/devices", ""); w.Code != http.StatusForbidden || codeOf(w) != "scope" {
		t.Errorf("without the scope: %d %s", w.Code, w.Body)
	}
}

package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/server/decide"
)

const secret = "mgw_secret"

// desk is an AuthZEN endpoint that knows laptop d and alice's session s1, and serves
// wiki and mail.
type desk struct {
	t          *testing.T
	credential Credential
	session    *Answer // of s1
	device     *Answer // of d
	request    *decide.Request
	lookups    int
}

func newDesk(t *testing.T) *desk {
	return &desk{
		t: t, credential: Credential{Name: "g", Dialect: AuthZEN, Apps: []string{"wiki", "mail"}},
		session: allowed(), device: NewAnswer(decide.Decision{Outcome: decide.Allow, Until: time.Unix(1e9, 0)}, Identity{}),
	}
}

func (k *desk) subjects() Subjects {
	return Subjects{
		Device: func(device, app string) *Answer {
			k.lookups++
			if device == "d" && (app == "wiki" || app == "secret") {
				return k.device
			}
			return Refusal("no", "No.", "Do not.")
		},
		Session: func(ctx context.Context, session, user, app string, req *decide.Request) *Answer {
			k.lookups++
			k.request = req
			if _, ok := ctx.Deadline(); !ok {
				k.t.Error("the look has no limit")
			}
			switch session {
			case "s1":
				return k.session
			case "panic":
				panic("defect")
			case "nil":
				return nil
			}
			return outcome(decide.StepUp, Identity{}, because("sign-in", "session"))
		},
	}
}

func (k *desk) post(path, body string, header ...string) *httptest.ResponseRecorder {
	k.t.Helper()
	authenticate := func(_ context.Context, s string) (*Credential, bool) { return &k.credential, s == secret }
	h := Evaluation(k.subjects(), authenticate)
	if path == PathEvaluations {
		h = Evaluations(k.subjects(), authenticate)
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// evaluate asks with the credential, and wants an answer.
func (k *desk) evaluate(body string) evaluation {
	k.t.Helper()
	w := k.post(PathEvaluation, body, "Authorization", "Bearer "+secret)
	var e evaluation
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		k.t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	if !e.Decision && (len(e.Context.Reasons) == 0 || e.Context.Reasons[0].Code == "") {
		k.t.Errorf("no without a reason: %s", w.Body)
	}
	return e
}

func about(kind, id, context string) string {
	return fmt.Sprintf(`{"subject": {"type": %q, "id": %q}, "action": {"name": "use"}, "resource": {"type": "app", "id": "wiki"}, "context": {%s}}`, kind, id, context)
}

const asks = `{"subject": {"type": "device", "id": "d"}, "action": {"name": "use"}, "resource": {"type": "app", "id": "wiki"}, "context": {"x": 1}}`

func TestEvaluationAllows(t *testing.T) {
	k := newDesk(t)
	w := k.post(PathEvaluation, asks, "Authorization", "Bearer "+secret, "X-Request-Id", "r1")
	if w.Code != http.StatusOK || w.Header().Get("X-Request-Id") != "r1" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	for name, body := range map[string]string{
		"device": asks, "session": about("session", "s1", ""), "user": about("user", "alice", `"session": "s1"`),
		"with a request":  about("session", "s1", `"request": {"method": "POST", "path": "/a%20b?c", "address": "::ffff:203.0.113.9", "x": 1}`),
		"unknown members": strings.Replace(about("session", "s1", `"y": {}`), `"type": "session"`, `"type": "session", "properties": {"a": [1]}`, 1),
	} {
		if e := k.evaluate(body); !e.Decision || e.Context.Outcome != "allow" || len(e.Context.Obligations) != 0 {
			t.Errorf("%s: %+v", name, e)
		}
	}
	want := decide.Request{Method: "POST", Path: "/a b", Address: netip.MustParseAddr("203.0.113.9")}
	k.evaluate(about("session", "s1", `"request": {"method": "POST", "path": "/a%20b?c", "address": "::ffff:203.0.113.9"}`))
	if *k.request != want {
		t.Errorf("the request is %+v", *k.request)
	}
	for _, target := range ambiguous() {
		b, err := json.Marshal(target)
		if err != nil || strings.Contains(target, "\xff") {
			continue // no JSON
		}
		if k.evaluate(about("session", "s1", `"request": {"path": `+string(b)+`}`)); k.request.Path != "" {
			t.Errorf("%q is the path %q", target, k.request.Path)
		}
	}
	if k.evaluate(about("session", "s1", "")); *k.request != (decide.Request{}) {
		t.Errorf("of no request is known %+v", *k.request)
	}
}

// A caller that we do not know learns nothing, whatever it asks.
func TestEvaluationNeedsACredential(t *testing.T) {
	for name, header := range map[string][]string{
		"none":        nil,
		"wrong":       {"Authorization", "Bearer mgw_other"},
		"empty":       {"Authorization", "Bearer "},
		"basic":       {"Authorization", "Basic " + secret},
		"bare":        {"Authorization", secret},
		"two headers": {"Authorization", "Bearer " + secret, "Authorization", "Bearer x"},
		"in a cookie": {"Cookie", "Authorization=Bearer " + secret},
	} {
		for _, body := range []string{asks, "{", ""} {
			for _, path := range []string{PathEvaluation, PathEvaluations} {
				w := newDesk(t).post(path, body, header...)
				if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || strings.Contains(w.Body.String(), "decision") {
					t.Errorf("%s: %d %s", name, w.Code, w.Body)
				}
			}
		}
	}
}

func TestEvaluationDenies(t *testing.T) {
	replace := func(old, with string) string { return strings.Replace(asks, old, with, 1) }
	for name, test := range map[string]struct{ body, code string }{
		"another device":       {replace(`"id": "d"`, `"id": "e"`), "no"},
		"nobody":               {replace(`"id": "d"`, `"id": ""`), "subject-missing"},
		"subject type case":    {replace(`"type": "device"`, `"type": "Device"`), "subject-unsupported"},
		"subject missing":      {replace(`"subject"`, `"Subject"`), "subject-missing"},
		"subject of a kind":    {replace(`"type": "device"`, `"type": "group"`), "subject-unsupported"},
		"resource of a kind":   {replace(`"type": "app"`, `"type": "file"`), "resource-unsupported"},
		"no action":            {replace(`"use"`, `""`), "action-missing"},
		"not its application":  {replace(`"wiki"`, `"secret"`), "app-not-yours"},
		"star is no app":       {replace(`"wiki"`, `"*"`), "app-not-yours"},
		"nothing":              {`{}`, "resource-unsupported"},
		"session by device id": {about("session", "d", ""), "sign-in"},
		"device by session id": {about("device", "s1", ""), "no"},
		"user alone":           {about("user", "alice", ""), "session-required"},
		"user by session":      {about("user", "s1", ""), "session-required"},
		"session elsewhere":    {about("user", "alice", `"Session": "s1"`), "session-required"},
		"another's session":    {about("user", "bob", `"session": "s1"`), "session-required"},
		"name in other case":   {about("user", "Alice", `"session": "s1"`), "session-required"},
		"user, session over":   {about("user", "alice", `"session": "s2"`), "sign-in"},
		"method in lower case": {about("session", "s1", `"request": {"method": "get"}`), "request-unreadable"},
		"address with a port":  {about("session", "s1", `"request": {"address": "203.0.113.9:80"}`), "request-unreadable"},
		"address with a zone":  {about("session", "s1", `"request": {"address": "fe80::1%eth0"}`), "request-unreadable"},
		"path too long":        {about("session", "s1", `"request": {"path": "/`+strings.Repeat("a", maxTarget)+`"}`), "request-unreadable"},
		"panic":                {about("session", "panic", ""), "internal"},
		"no answer":            {about("session", "nil", ""), "internal"},
	} {
		if e := newDesk(t).evaluate(test.body); e.Decision || e.Context.Reasons[0].Code != test.code {
			t.Errorf("%s: %+v, want %s", name, e, test.code)
		}
	}
	for _, d := range append(dialects(), Envoy, "") {
		k := newDesk(t)
		k.credential.Dialect = d
		if e := k.evaluate(asks); e.Decision || e.Context.Reasons[0].Code != "dialect-wrong" || k.lookups > 0 {
			t.Errorf("a credential of %q: %+v", d, e)
		}
	}
	k := newDesk(t)
	k.session = NewAnswer(decide.Decision{Outcome: decide.Allow}, Identity{User: "alice", Session: "s9"})
	for _, body := range []string{about("session", "s1", ""), about("user", "alice", `"session": "s1"`)} {
		if e := k.evaluate(body); e.Decision {
			t.Error("an answer about another session opens this one")
		}
	}
}

func TestEvaluationRefusesWhatIsNoRequest(t *testing.T) {
	replace := func(old, with string) string { return strings.Replace(asks, old, with, 1) }
	for name, body := range map[string]string{
		"not JSON": "{", "empty": "", "an array": "[]", "null subject id": replace(`"d"`, `7`), "duplicate member": replace(`"action"`, `"subject"`),
		"trailing": asks + "{}", "text": `"x"`, "bad UTF-8": replace(`"d"`, "\"\xff\""), "request of text": about("session", "s1", `"request": "GET /"`),
		"deep": replace(`1`, strings.Repeat("[", 20000)+strings.Repeat("]", 20000)),
	} {
		for _, path := range []string{PathEvaluation, PathEvaluations} {
			k := newDesk(t)
			if w := k.post(path, body, "Authorization", "Bearer "+secret); w.Code != http.StatusBadRequest || k.lookups > 0 {
				t.Errorf("%s: %s: %d %s", path, name, w.Code, w.Body)
			}
		}
	}
	large := replace(`"x": 1`, `"x": "`+strings.Repeat("y", maxEvaluation)+`"`)
	for _, path := range []string{PathEvaluation, PathEvaluations} {
		if w := newDesk(t).post(path, large, "Authorization", "Bearer "+secret); w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("too large: %d %s", w.Code, w.Body)
		}
	}
}

func ids(e evaluation) (list []string) {
	for _, o := range e.Context.Obligations {
		list = append(list, o.ID)
	}
	return list
}

func TestObligations(t *testing.T) {
	gone := Identity{}
	for name, test := range map[string]struct {
		answer *Answer
		want   []string
	}{
		"sign in":      {outcome(decide.StepUp, gone, because("sign-in", "session")), []string{"end-session", "sign-in"}},
		"disabled":     {outcome(decide.Deny, gone, because("person-disabled", "session")), []string{"end-session"}},
		"denied":       {outcome(decide.Deny, alice(), because("disk-encrypted", "disk_encryption")), nil},
		"old session":  {outcome(decide.StepUp, alice(), because("session-old", "session")), []string{"sign-in"}},
		"link":         {outcome(decide.StepUp, alice(), because("link-fresh", "link")), []string{"link"}},
		"hands":        {outcome(decide.StepUp, alice(), because("fresh-hands", "verification")), []string{"step-up"}},
		"all":          {outcome(decide.StepUp, alice(), because("a", "link"), because("b", "passkey"), because("c", "session")), []string{"sign-in", "link", "step-up"}},
		"elevation":    {outcome(decide.StepUp, alice(), because("elevation-needed", "elevation")), []string{"step-up"}},
		"not enforced": {outcome(decide.Restrict, alice(), because("old-os", "os")), []string{"read-only"}},
		"zero":         {new(Answer), []string{"end-session"}},
	} {
		k := newDesk(t)
		k.session = test.answer
		if len(test.answer.decision.Reasons) == 0 {
			k.session = NewAnswer(decide.Decision{Reasons: []decide.Reason{{Code: "internal"}}}, gone)
		}
		e := k.evaluate(about("session", "s1", ""))
		if e.Decision || !slices.Equal(ids(e), test.want) || e.Context.Outcome != k.session.decision.Outcome.String() {
			t.Errorf("%s: %+v", name, e)
		}
	}
	k := newDesk(t)
	k.session = outcome(decide.StepUp, alice(), because("a", "verification"), because("b", "passkey"))
	want := obligation{ID: "step-up", ACRValues: "muster:passkey-attested", MaxAge: 300}
	if e := k.evaluate(about("session", "s1", "")); len(e.Context.Obligations) != 1 || e.Context.Obligations[0].ACRValues != want.ACRValues || e.Context.Obligations[0].MaxAge != want.MaxAge {
		t.Errorf("%+v", e)
	}
}

// Restrict is a yes only for a caller that enforces it, and never for what we see
// ourselves to be no reading.
func TestEvaluationRestricts(t *testing.T) {
	for _, test := range []struct {
		request  string
		enforces bool
		yes      bool
	}{
		{"", false, false}, {"", true, true},
		{`"request": {}`, true, true}, {`"request": {"path": "/"}`, true, false},
		{`"request": {"method": "GET"}`, true, true}, {`"request": {"method": "HEAD"}`, true, true}, {`"request": {"method": "OPTIONS"}`, true, true},
		{`"request": {"method": "GET"}`, false, false},
		{`"request": {"method": "POST"}`, true, false}, {`"request": {"method": "DELETE"}`, true, false}, {`"request": {"method": "TRACE"}`, true, false},
		{`"request": {"method": "GET", "upgrade": true}`, true, false}, {`"request": {"upgrade": true}`, true, false},
		{`"request": {"method": "get"}`, true, false},
	} {
		for _, subject := range []string{"session", "device"} {
			k := newDesk(t)
			k.credential.Restricts = test.enforces
			k.session = outcome(decide.Restrict, alice(), because("old-os", "os"))
			k.device = outcome(decide.Restrict, Identity{}, because("old-os", "os"))
			e := k.evaluate(about(subject, map[string]string{"session": "s1", "device": "d"}[subject], test.request))
			if e.Decision != test.yes || test.yes && (e.Context.Outcome != "restrict" || !slices.Equal(ids(e), []string{"read-only"})) {
				t.Errorf("%s %+v: %+v", subject, test, e)
			}
		}
	}
}

// many asks for several decisions.
func (k *desk) many(body string) []evaluation {
	k.t.Helper()
	w := k.post(PathEvaluations, body, "Authorization", "Bearer "+secret)
	var reply struct{ Evaluations []evaluation }
	if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || w.Code != http.StatusOK {
		k.t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	return reply.Evaluations
}

func TestEvaluations(t *testing.T) {
	const head = `{"subject": {"type": "device", "id": "d"}, "action": {"name": "use"}, "resource": {"type": "app", "id": "wiki"}, "context": {"session": "s1"}, `
	const items = `"evaluations": [{}, {"resource": {"type": "app", "id": "mail"}}, {"resource": {"id": "wiki"}}, {"subject": {"type": "user", "id": "alice"}},
		{"subject": {"type": "user", "id": "alice"}, "context": {}}, {"subject": "d"}, 7, null, [], {"subject": {"type": "session", "id": "panic"}}, {"resource": {"type": "app", "id": "secret"}}, {"x": 1}]`
	codes := []string{"", "no", "resource-unsupported", "", "session-required", "item-unreadable", "item-unreadable", "item-unreadable", "item-unreadable", "internal", "app-not-yours", ""}
	for semantic, n := range map[string]int{"": 12, "execute_all": 12, "deny_on_first_deny": 2, "permit_on_first_permit": 1} {
		got := newDesk(t).many(head + `"options": {"evaluations_semantic": "` + semantic + `", "y": 1}, ` + items + `}`)
		if len(got) != n {
			t.Fatalf("%q: %d answers", semantic, len(got))
		}
		for i, e := range got {
			if e.Decision != (codes[i] == "") || !e.Decision && e.Context.Reasons[0].Code != codes[i] {
				t.Errorf("%q %d: %+v, want %q", semantic, i, e, codes[i])
			}
		}
	}
	k := newDesk(t)
	w := k.post(PathEvaluations, asks, "Authorization", "Bearer "+secret)
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), `{"decision":true`) {
		t.Errorf("without items: %d %s", w.Code, w.Body)
	}
	for name, body := range map[string]string{
		"too many": head + `"evaluations": [{}` + strings.Repeat(", {}", maxItems) + `]}`, "semantic": head + `"options": {"evaluations_semantic": "any"}, "evaluations": [{}]}`,
		"items": head + `"evaluations": {}}`, "options": head + `"options": [], "evaluations": [{}]}`, "semantic of one": head + `"options": {"evaluations_semantic": "permit"}}`,
	} {
		k := newDesk(t)
		if w := k.post(PathEvaluations, body, "Authorization", "Bearer "+secret); w.Code != http.StatusBadRequest || k.lookups > 0 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if got := newDesk(t).many(head + `"evaluations": [{}` + strings.Repeat(", {}", maxItems-1) + `]}`); len(got) != maxItems {
		t.Errorf("%d answers", len(got))
	}
}

// FuzzEvaluations: whatever is asked, yes comes only where the lookup said it, about
// what the credential may ask.
func FuzzEvaluations(f *testing.F) {
	for _, body := range []string{asks, "{}", "[]", "", "{", about("session", "s1", ""), about("user", "alice", `"session": "s1", "request": {"method": "GET", "path": "/a"}`),
		`{"evaluations": [{}, null, 7, {"subject": {"type": "device", "id": "d"}}], "action": {"name": "use"}, "resource": {"type": "app", "id": "wiki"}}`,
		`{"evaluations": [{"resource": {"type": "app", "id": "secret"}}], "subject": {"type": "device", "id": "d"}, "action": {"name": "a"}, "options": {"evaluations_semantic": "deny_on_first_deny"}}`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{PathEvaluation, PathEvaluations} {
			k := newDesk(t)
			w := k.post(path, body, "Authorization", "Bearer "+secret)
			if w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusRequestEntityTooLarge {
				t.Fatalf("%d", w.Code)
			}
			if w.Code == http.StatusOK && !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s", w.Body)
			}
			if yes := strings.Contains(w.Body.String(), `"decision":true`); yes && (k.lookups == 0 || !strings.Contains(body, "wiki") && !strings.Contains(body, `\u`)) {
				t.Fatalf("%q: yes without being asked: %s", body, w.Body)
			}
		}
	})
}

// Only allow is true; the zero value and every other outcome are false.
func TestAnswer(t *testing.T) {
	if zero := new(Answer); zero.Allowed() || !strings.Contains(string(zero.Bytes()), `"decision":false`) {
		t.Error("the zero Answer does not deny")
	}
	for _, o := range []decide.Outcome{decide.Deny, decide.StepUp, decide.Restrict, decide.Outcome(9)} {
		a := NewAnswer(decide.Decision{Outcome: o, Reasons: []decide.Reason{{Code: "c", Text: "t", Fix: "f"}}}, Identity{})
		if a.Allowed() || !strings.Contains(string(a.Bytes()), `"decision":false`) || !strings.Contains(string(a.Bytes()), `"fix":"f"`) {
			t.Errorf("%v: %s", o, a.Bytes())
		}
	}
	a := NewAnswer(decide.Decision{Outcome: decide.Allow}, Identity{})
	if !a.Allowed() || !strings.Contains(string(a.Bytes()), `"decision":true`) {
		t.Errorf("allow: %s", a.Bytes())
	}
}

func TestConfiguration(t *testing.T) {
	w := httptest.NewRecorder()
	Configuration("https://trust.example").ServeHTTP(w, httptest.NewRequest(http.MethodGet, PathConfiguration, nil))
	var reply map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || reply["policy_decision_point"] != "https://trust.example" ||
		reply["access_evaluation_endpoint"] != "https://trust.example/access/v1/evaluation" ||
		reply["access_evaluations_endpoint"] != "https://trust.example/access/v1/evaluations" {
		t.Errorf("%s, %v", w.Body, err)
	}
}

package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"muster/server/decide"
)

const secret = "mgw_secret"

// evaluate asks a handler that knows one credential, for wiki and mail, and
// allows exactly device d to use wiki.
func evaluate(t *testing.T, body string, header ...string) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	allow := NewAnswer(decide.Decision{Outcome: decide.Allow, Until: time.Unix(1e9, 0)})
	check := func(device, app string) *Answer {
		if device == "d" && (app == "wiki" || app == "secret") {
			return allow
		}
		return Refusal("no", "No.", "Do not.")
	}
	authenticate := func(_ context.Context, s string) (*Credential, bool) {
		return &Credential{Name: "g", Apps: []string{"wiki", "mail"}}, s == secret
	}
	r := httptest.NewRequest(http.MethodPost, PathEvaluation, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Evaluation(check, authenticate).ServeHTTP(w, r)
	var reply map[string]any
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
	}
	return w, reply
}

const asked = `{"subject": {"type": "device", "id": "d"}, "action": {"name": "use"}, "resource": {"type": "app", "id": "wiki"}, "context": {"x": 1}}`

func TestEvaluationAllows(t *testing.T) {
	w, reply := evaluate(t, asked, "Authorization", "Bearer "+secret, "X-Request-Id", "r1")
	if reply["decision"] != true || w.Header().Get("X-Request-Id") != "r1" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %v", w.Code, reply, w.Header())
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
		for _, body := range []string{asked, "{", ""} {
			w, _ := evaluate(t, body, header...)
			if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || strings.Contains(w.Body.String(), "decision") {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
		}
	}
}

func TestEvaluationDenies(t *testing.T) {
	replace := func(old, with string) string { return strings.Replace(asked, old, with, 1) }
	for name, test := range map[string]struct{ body, code string }{
		"another device":      {replace(`"id": "d"`, `"id": "e"`), "no"},
		"subject user":        {replace(`"type": "device"`, `"type": "user"`), "subject-unsupported"},
		"subject type case":   {replace(`"type": "device"`, `"type": "Device"`), "subject-unsupported"},
		"subject missing":     {replace(`"subject"`, `"Subject"`), "subject-unsupported"},
		"resource of a kind":  {replace(`"type": "app"`, `"type": "file"`), "resource-unsupported"},
		"no action":           {replace(`"use"`, `""`), "action-missing"},
		"not its application": {replace(`"wiki"`, `"secret"`), "app-not-yours"},
		"star is no app":      {replace(`"wiki"`, `"*"`), "app-not-yours"},
		"nothing":             {`{}`, "subject-unsupported"},
	} {
		w, reply := evaluate(t, test.body, "Authorization", "Bearer "+secret)
		if w.Code != http.StatusOK || reply["decision"] != false || !strings.Contains(w.Body.String(), `"code":"`+test.code+`"`) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for name, body := range map[string]string{
		"not JSON": "{", "empty": "", "an array": "[]", "duplicate member": replace(`"action"`, `"subject"`),
		"trailing": asked + "{}", "too large": replace(`"x": 1`, `"x": "`+strings.Repeat("y", maxEvaluation)+`"`),
	} {
		if w, _ := evaluate(t, body, "Authorization", "Bearer "+secret); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// Only allow is true; the zero value and every other outcome are false.
func TestAnswer(t *testing.T) {
	if zero := new(Answer); zero.Allowed() || !strings.Contains(string(zero.Bytes()), `"decision":false`) {
		t.Error("the zero Answer does not deny")
	}
	for _, outcome := range []decide.Outcome{decide.Deny, decide.StepUp, decide.Restrict, decide.Outcome(9)} {
		a := NewAnswer(decide.Decision{Outcome: outcome, Reasons: []decide.Reason{{Code: "c", Text: "t", Fix: "f"}}})
		if a.Allowed() || !strings.Contains(string(a.Bytes()), `"decision":false`) || !strings.Contains(string(a.Bytes()), `"fix":"f"`) {
			t.Errorf("%v: %s", outcome, a.Bytes())
		}
	}
	a := NewAnswer(decide.Decision{Outcome: decide.Allow})
	if !a.Allowed() || !strings.Contains(string(a.Bytes()), `"decision":true`) {
		t.Errorf("allow: %s", a.Bytes())
	}
}

func TestConfiguration(t *testing.T) {
	w := httptest.NewRecorder()
	Configuration("https://trust.example").ServeHTTP(w, httptest.NewRequest(http.MethodGet, PathConfiguration, nil))
	var reply map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || reply["access_evaluation_endpoint"] != "https://trust.example/access/v1/evaluation" {
		t.Errorf("%s, %v", w.Body, err)
	}
}

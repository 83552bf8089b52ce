package gateway

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
)

// Paths of AuthZEN 1.0.
const (
	PathEvaluation    = "/access/v1/evaluation"
	PathConfiguration = "/.well-known/authzen-configuration"
)

// maxEvaluation bounds a request; ids and an action are all that is read of it.
const maxEvaluation = 16 << 10

// CheckFunc looks up the answer for a device and an application, now.
type CheckFunc func(device, app string) *Answer

// Credential is a caller that may ask.
type Credential struct {
	Name string
	// Apps are the applications it may ask about; nil means none.
	Apps []string
}

// sees reports whether a credential may ask about an application; "*" is all.
func (c *Credential) sees(app string) bool {
	for _, a := range c.Apps {
		if a == app || a == "*" {
			return true
		}
	}
	return false
}

// AuthenticateFunc finds the credential of a bearer secret. It compares hashes:
// those of random secrets leak nothing of them.
type AuthenticateFunc func(ctx context.Context, secret string) (*Credential, bool)

// Evaluation handles POST /access/v1/evaluation for subjects of type device
// (AuthZEN 1.0 §6). A deny is 200 with decision false; 401 is only for callers
// that we do not know; members that we do not know are ignored.
func Evaluation(check CheckFunc, authenticate AuthenticateFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credential, ok := bearer(r, authenticate)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="muster"`)
			http.Error(w, "a gateway credential is needed", http.StatusUnauthorized)
			return
		}
		if id := r.Header.Get("X-Request-Id"); id != "" && len(id) <= 128 {
			w.Header().Set("X-Request-Id", id)
		}
		q, err := readQuestion(r)
		if err != nil {
			http.Error(w, "not an AuthZEN evaluation request: "+err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(q.answer(check, credential).Bytes())
	})
}

func bearer(r *http.Request, authenticate AuthenticateFunc) (*Credential, bool) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || secret == "" || len(r.Header.Values("Authorization")) != 1 {
		return nil, false
	}
	return authenticate(r.Context(), secret)
}

// question is what is read of an evaluation request.
type question struct {
	Subject struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"subject"`
	Action struct {
		Name string `json:"name"`
	} `json:"action"`
	Resource struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"resource"`
}

func readQuestion(r *http.Request) (*question, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxEvaluation))
	if err != nil {
		return nil, err
	}
	q := new(question)
	return q, json.Unmarshal(body, q)
}

func (q *question) answer(check CheckFunc, credential *Credential) *Answer {
	switch {
	case q.Subject.Type != "device":
		return Refusal("subject-unsupported", "Only subjects of type device are answered.", "Ask about a device.")
	case q.Resource.Type != "app":
		return Refusal("resource-unsupported", "Only resources of type app are answered.", "Name the application as {type: app, id}.")
	case q.Action.Name == "":
		return Refusal("action-missing", "The request names no action.", "Name the action.")
	case !credential.sees(q.Resource.ID):
		return Refusal("app-not-yours", "This credential does not serve that application.", "Use the application's own gateway credential.")
	}
	return check(q.Subject.ID, q.Resource.ID)
}

// Configuration handles GET /.well-known/authzen-configuration (AuthZEN 1.0 §9).
func Configuration(origin string) http.Handler {
	body, err := json.Marshal(map[string]string{
		"policy_decision_point":      origin,
		"access_evaluation_endpoint": origin + PathEvaluation,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			http.Error(w, "configuration cannot be written", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
}

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"

	strict "github.com/go-json-experiment/json"

	"muster/server/decide"
)

// Paths of AuthZEN 1.0.
const (
	PathEvaluation    = "/access/v1/evaluation"
	PathEvaluations   = "/access/v1/evaluations"
	PathConfiguration = "/.well-known/authzen-configuration"
)

// maxEvaluation bounds a request, in bytes.
const maxEvaluation = 64 << 10

// Subjects look up the answers about those that AuthZEN may ask about, now. What is
// nil is not answered.
type Subjects struct {
	// Device is about a laptop by itself.
	Device func(device, app string) *Answer
	// Session is about a session, by its id; with a user, a name, it must be that
	// person's. The answer's Identity has session and person, else it opens nothing.
	// What is not known of the request is empty, and unknown to policies.
	Session func(ctx context.Context, session, user, app string, req *decide.Request) *Answer
	// Log hears of our own defects; nil: the default one.
	Log *slog.Logger
}

// subjectKind is what an answer is about.
type subjectKind uint8

const (
	aboutDevice subjectKind = iota
	aboutSession
)

// evaluation is an AuthZEN response.
type evaluation struct {
	Decision bool          `json:"decision"`
	Context  answerContext `json:"context"`
}

// answerContext is what the response's context carries beside the decision.
type answerContext struct {
	Outcome     string       `json:"outcome"`
	Reasons     []reason     `json:"reasons"`
	Obligations []obligation `json:"obligations,omitempty"`
	Until       string       `json:"until,omitempty"` // when time alone changes the answer
}

func (a *Answer) evaluation(yes bool, about subjectKind) evaluation {
	return evaluation{Decision: yes, Context: answerContext{
		Outcome: a.decision.Outcome.String(), Reasons: a.reasons(), Obligations: a.obligations(about), Until: wireTime(a.decision.Until),
	}}
}

// Evaluation handles POST /access/v1/evaluation (AuthZEN 1.0 §6) for subjects of
// type session, device and user. A deny is 200 with decision false; 401 is only for
// callers that we do not know; members that we do not know are ignored.
func Evaluation(subjects Subjects, authenticate AuthenticateFunc) http.Handler {
	return authzen(authenticate, func(ctx context.Context, c *Credential, body []byte) ([]byte, error) {
		var q question
		if err := strict.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, maxLook)
		defer cancel()
		return subjects.evaluate(ctx, c, &q).bytes(), nil
	})
}

// authzen is what the endpoints have in common.
func authzen(authenticate AuthenticateFunc, answer func(context.Context, *Credential, []byte) ([]byte, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credential, ok := caller(r, authenticate)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="muster"`)
			http.Error(w, "a gateway credential is needed", http.StatusUnauthorized)
			return
		}
		if id := r.Header.Get("X-Request-Id"); id != "" && len(id) <= 128 {
			w.Header().Set("X-Request-Id", id)
		}
		body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxEvaluation))
		var reply []byte
		if err == nil {
			reply, err = answer(r.Context(), credential, body)
		}
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
			return
		case err != nil:
			http.Error(w, "not an AuthZEN request: "+err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(reply)
	})
}

// question is what is read of an evaluation request.
type question struct {
	Subject  subject  `json:"subject"`
	Action   action   `json:"action"`
	Resource resource `json:"resource"`
	Context  asking   `json:"context"`
}

type (
	subject struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}
	action struct {
		Name string `json:"name"`
	}
	resource struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}
	// asking is what is read of the context. Session is for subjects of type user.
	asking struct {
		Session string `json:"session"`
		Request *asked `json:"request"`
	}
	// asked is the request that the caller is about to let through.
	asked struct {
		Method  string `json:"method"`
		Path    string `json:"path"` // as it was sent, not decoded
		Address string `json:"address"`
		Upgrade bool   `json:"upgrade"`
	}
)

// request is what policies see of it. What is given must be well-formed; an
// ambiguous path is unknown.
func (r *asked) request() (*decide.Request, error) {
	q := new(decide.Request)
	if r == nil {
		return q, nil
	}
	if r.Method != "" && !validMethod(r.Method) || len(r.Path) > maxTarget {
		return nil, errUnreadable
	}
	if r.Address != "" {
		a, err := netip.ParseAddr(r.Address)
		if err != nil || a.Zone() != "" {
			return nil, errUnreadable
		}
		q.Address = a.Unmap()
	}
	q.Method, q.Upgrade = r.Method, r.Upgrade
	q.Path, _ = canonical(r.Path)
	return q, nil
}

// judged is an answer and what a caller is told of it.
type judged struct {
	answer *Answer
	about  subjectKind
	yes    bool
}

// bytes is the response. What is about a laptop and was denied or allowed outright
// is the same for every caller.
func (j judged) bytes() []byte {
	if j.about == aboutDevice && j.answer.decision.Outcome != decide.Restrict {
		return j.answer.Bytes()
	}
	return append(encode(j.answer.evaluation(j.yes, j.about)), '\n')
}

// evaluate answers one question.
func (s *Subjects) evaluate(ctx context.Context, c *Credential, q *question) judged {
	j := judged{answer: q.refused(c)}
	if j.answer != nil {
		return j
	}
	req, err := q.Context.Request.request()
	if err != nil {
		j.answer = Refusal(codeUnreadable, "The request in the context is not one.", "Give method, path and address as the client sent them, or leave them out.")
		return j
	}
	log := (&Places{Log: s.Log}).log()
	j.answer = guarded(log, func() *Answer { j.about, j.answer = s.look(ctx, q, req); return j.answer })
	switch {
	case ctx.Err() != nil:
		return judged{answer: late()}
	case j.about == aboutSession && !j.answer.isOf(q):
		j.answer = Refusal("session-required", "The session that is named is not there, or not this person's.", "Give the id of the person's own session.")
	case j.answer.Allowed():
		j.yes = true
	case j.answer.decision.Outcome != decide.Restrict || !c.Restricts:
	case q.Context.Request == nil || *q.Context.Request == (asked{}):
		j.yes = true // the caller enforces it
	case !reads(req):
		j.answer = j.answer.because(codeRestricted, textRestricted, fixRestricted)
	default:
		j.yes = true
	}
	return j
}

// isOf reports whether an answer that may let somebody in is about the session, and
// the person, that were asked about. It is the lookup's to see to; this is the net.
func (a *Answer) isOf(q *question) bool {
	switch {
	case a.decision.Outcome != decide.Allow && a.decision.Outcome != decide.Restrict:
		return true
	case q.Subject.Type == "user":
		return a.who.Session == q.Context.Session && a.who.User == q.Subject.ID
	}
	return a.who.Session == q.Subject.ID
}

// refused is why a question is not looked up; nil when it is.
func (q *question) refused(c *Credential) *Answer {
	switch {
	case c.Dialect != AuthZEN:
		return wrongDialect()
	case q.Resource.Type != "app":
		return Refusal("resource-unsupported", "Only resources of type app are answered.", "Name the application as {type: app, id}.")
	case q.Action.Name == "":
		return Refusal("action-missing", "The request names no action.", "Name the action.")
	case q.Resource.ID == "*" || !c.sees(q.Resource.ID):
		return notYours()
	case q.Subject.ID == "":
		return Refusal("subject-missing", "The request names no subject.", "Name the subject as {type, id}.")
	}
	return nil
}

// look asks whoever knows the subject.
func (s *Subjects) look(ctx context.Context, q *question, req *decide.Request) (subjectKind, *Answer) {
	app := q.Resource.ID
	switch {
	case q.Subject.Type == "device" && s.Device != nil:
		return aboutDevice, s.Device(q.Subject.ID, app)
	case q.Subject.Type == "session" && s.Session != nil:
		return aboutSession, s.Session(ctx, q.Subject.ID, "", app, req)
	case q.Subject.Type == "user" && s.Session != nil:
		if q.Context.Session == "" {
			return aboutDevice, Refusal("session-required", "A person is let in by a session, and none is named.", "Give the id of the session in context.session.")
		}
		return aboutSession, s.Session(ctx, q.Context.Session, q.Subject.ID, app, req)
	}
	return aboutDevice, Refusal("subject-unsupported", "Only subjects of type session, device and user are answered.", "Ask about one of these.")
}

// Configuration handles GET /.well-known/authzen-configuration (AuthZEN 1.0 §9).
func Configuration(origin string) http.Handler {
	body, err := json.Marshal(map[string]string{
		"policy_decision_point":       origin,
		"access_evaluation_endpoint":  origin + PathEvaluation,
		"access_evaluations_endpoint": origin + PathEvaluations,
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

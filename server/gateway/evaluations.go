package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxItems bounds the questions of one request.
const maxItems = 100

// batch is a request with many questions. What an item leaves out is as in the
// request itself (AuthZEN 1.0 §7.1.1).
type batch struct {
	question
	Evaluations []jsontext.Value `json:"evaluations"`
	Options     struct {
		Semantic string `json:"evaluations_semantic"`
	} `json:"options"`
}

// Evaluations handles POST /access/v1/evaluations (AuthZEN 1.0 §7). An item that
// cannot be read is decision false and does not hinder the others. Without items it
// is an evaluation.
func Evaluations(subjects Subjects, authenticate AuthenticateFunc) http.Handler {
	return authzen(authenticate, func(ctx context.Context, c *Credential, body []byte) ([]byte, error) {
		var b batch
		if err := strict.Unmarshal(body, &b); err != nil {
			return nil, err
		}
		if len(b.Evaluations) > maxItems {
			return nil, fmt.Errorf("more than %d evaluations", maxItems)
		}
		last, err := b.last()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, maxLook)
		defer cancel()
		if len(b.Evaluations) == 0 {
			return subjects.evaluate(ctx, c, &b.question).bytes(), nil
		}
		reply := struct {
			Evaluations []json.RawMessage `json:"evaluations"`
		}{make([]json.RawMessage, 0, len(b.Evaluations))}
		for _, item := range b.Evaluations {
			j := subjects.item(ctx, c, b.question, item)
			reply.Evaluations = append(reply.Evaluations, j.bytes())
			if last(j.yes) {
				break
			}
		}
		return json.Marshal(reply)
	})
}

// last tells after which decision no other is made (AuthZEN 1.0 §7.1.2.1).
func (b *batch) last() (func(yes bool) bool, error) {
	switch b.Options.Semantic {
	case "", "execute_all":
		return func(bool) bool { return false }, nil
	case "deny_on_first_deny":
		return func(yes bool) bool { return !yes }, nil
	case "permit_on_first_permit":
		return func(yes bool) bool { return yes }, nil
	}
	return nil, errors.New("evaluations_semantic is none of execute_all, deny_on_first_deny, permit_on_first_permit")
}

// item answers one question of many. A member that it has replaces the whole of the
// request's.
func (s *Subjects) item(ctx context.Context, c *Credential, q question, raw jsontext.Value) judged {
	own := struct {
		Subject  *subject  `json:"subject"`
		Action   *action   `json:"action"`
		Resource *resource `json:"resource"`
		Context  *asking   `json:"context"`
	}{}
	if raw.Kind() != '{' || strict.Unmarshal(raw, &own) != nil {
		return judged{answer: Refusal("item-unreadable", "This item is not an evaluation request.", "Send it alone to see what is wrong with it.")}
	}
	if own.Subject != nil {
		q.Subject = *own.Subject
	}
	if own.Action != nil {
		q.Action = *own.Action
	}
	if own.Resource != nil {
		q.Resource = *own.Resource
	}
	if own.Context != nil {
		q.Context = *own.Context
	}
	return s.evaluate(ctx, c, &q)
}

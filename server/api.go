package server

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"muster/attest"
	"muster/server/people"
	"muster/server/store"
)

// The administrators' interface for programs: below /api/v1, with a token that an
// administrator made for its scopes. What it is, it says itself in OpenAPI 3.1.
const (
	pathAPI     = "/api/v1"
	pathOpenAPI = pathAPI + "/openapi.json"
)

// asking is a program's request, by programKey in its context: huma decodes no
// bodies, so that all of muster's messages are read alike.
type asking struct {
	program people.Actor // program:ID, as the audit log names it
	body    []byte
}

type programKey struct{}

// asked is the request of a context; of any other one nobody's.
func asked(ctx context.Context) asking {
	a, _ := ctx.Value(programKey{}).(asking)
	return a
}

// api is the operations and the rows that they stand in.
type api struct {
	s    *Server
	huma huma.API
	mux  *http.ServeMux
	rows []route
}

// apiRoutes makes the interface. Each operation gets a row of its own in the
// route table, whose access is its scope; behind it huma finds the operation.
func (s *Server) apiRoutes() []route {
	config := huma.DefaultConfig("muster", Version())
	config.Info.Description = "What administrators do, for programs. A token is made on the page Programs; errors are problem documents (RFC 9457) with a stable code."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", "", nil
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", Description: "mat_..."}}
	a := &api{s: s, mux: http.NewServeMux()}
	a.huma = humago.New(a.mux, config)
	a.usersAndSessions()
	a.devicesAndAudit()
	a.starts()
	document, err := a.huma.OpenAPI().MarshalJSON()
	if err != nil {
		panic("server: OpenAPI document: " + err.Error()) // ours, the same at every start
	}
	return append(a.rows, route{"GET " + pathOpenAPI, byAnyone, 0, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.answer(w, stored(document), nil)
	})})
}

// none is an operation's input without anything to tell.
type none struct{}

// oneID names what an operation acts on.
type oneID struct {
	ID string `path:"id" doc:"Its id."`
}

// operate adds an operation. takes is the type of its body, nil for none, and
// limit how many bytes that may have.
func operate[I, O any](a *api, method, path, scope, does string, takes reflect.Type, limit int64, handle func(context.Context, *I) (*O, error)) {
	words := strings.FieldsFunc(strings.ToLower(method)+path, func(r rune) bool { return r == '/' || r == '{' || r == '}' })
	op := huma.Operation{
		OperationID: strings.Join(words, "-"), Method: method, Path: pathAPI + path, Summary: does, Description: "Scope " + scope + ".",
		Security: []map[string][]string{{"token": {scope}}},
	}
	if takes != nil {
		schema := a.huma.OpenAPI().Components.Schemas.Schema(takes, true, op.OperationID)
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.s.refusal(err)
		}
		return out, nil
	})
	a.rows = append(a.rows, route{method + " " + pathAPI + path, byProgram + access("/"+scope), max(limit, 1), a.s.program(scope, a.mux)})
}

// program lets through who brings a token with the scope. The body is read here,
// bounded by its row.
func (s *Server) program(scope string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			secret = ""
		}
		token, err := s.people.Program(r.Context(), secret, scope)
		if err == nil && !s.programRate.allow(token.ID) {
			err = tooMany()
		}
		if err != nil {
			if !s.pageRate.allow(clientAddress(r, s.config.TrustedProxies)) {
				err = tooMany()
			}
			if known := asRefusal(err); known != nil && known.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="muster"`)
			}
			answerError(w, s.log, err)
			return
		}
		body, err := readAll(r)
		if err != nil {
			answerError(w, s.log, badBody())
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), programKey{}, asking{people.Actor("program:" + token.ID), body}))
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// GetStatus and ContentType make a refusal an answer of huma's.
func (r *refusal) GetStatus() int { return r.Status }

// ContentType is that of problem documents.
func (r *refusal) ContentType(string) string { return "application/problem+json" }

// MarshalJSON writes the problem document.
func (r *refusal) MarshalJSON() ([]byte, error) { return json.Marshal(r.Problem) }

// body is an answer's.
type body[T any] struct{ Body T }

func (a *api) usersAndSessions() {
	s := a.s
	operate(a, "GET", "/users", "users:read", "List people", nil, 0, func(ctx context.Context, _ *none) (*body[[]apiUser], error) {
		users, err := s.users(ctx)
		out := &body[[]apiUser]{Body: make([]apiUser, 0, len(users))}
		for _, u := range users {
			out.Body = append(out.Body, asUser(u))
		}
		return out, err
	})
	operate(a, "POST", "/users", "users:write", "Add and change people: a list, all or nothing; nobody is disabled by being absent", reflect.TypeFor[[]people.Invitation](), maxPeopleFile,
		func(ctx context.Context, _ *none) (*body[apiImported], error) {
			done, err := s.people.Import(ctx, asked(ctx).program, asked(ctx).body)
			if err != nil {
				return nil, err
			}
			return &body[apiImported]{apiImported{done.Added, done.Changed, done.Same}}, nil
		})
	type named struct {
		Name string `path:"name" doc:"User name or id."`
	}
	operate(a, "POST", "/users/{name}/disable", "users:write", "Bar a person and end all of theirs", reflect.TypeFor[Revocation](), attest.MaxMessage,
		func(ctx context.Context, in *named) (*none, error) {
			why, err := whyOf(asked(ctx).body)
			if err != nil {
				return nil, err
			}
			return a.turn(ctx, in.Name, func(id string) error { return s.people.Disable(ctx, asked(ctx).program, id, why) })
		})
	operate(a, "POST", "/users/{name}/enable", "users:write", "Let a person in again", nil, 0,
		func(ctx context.Context, in *named) (*none, error) {
			return a.turn(ctx, in.Name, func(id string) error { return s.people.Enable(ctx, asked(ctx).program, id) })
		})
	operate(a, "GET", "/sessions", "sessions:read", "List live sessions", nil, 0,
		func(ctx context.Context, in *struct {
			User string `query:"user" doc:"Of this person only."`
		}) (*body[[]apiSession], error) {
			sessions, err := s.liveSessions(ctx, in.User)
			out := &body[[]apiSession]{Body: make([]apiSession, 0, len(sessions))}
			for _, one := range sessions {
				out.Body = append(out.Body, asSession(one))
			}
			return out, err
		})
	operate(a, "DELETE", "/sessions/{id}", "sessions:write", "End a session at once", nil, 0, func(ctx context.Context, in *oneID) (*none, error) {
		return nil, s.people.EndSessionOf(ctx, asked(ctx).program, in.ID, "by a program")
	})
}

// turn disables or enables the person of a name.
func (a *api) turn(ctx context.Context, name string, turn func(id string) error) (*none, error) {
	person, err := a.s.people.PersonBy(ctx, name)
	if err == nil {
		err = turn(person.ID)
	}
	return nil, err
}

// whyOf reads an optional reason.
func whyOf(b []byte) (string, error) {
	var v Revocation
	if len(b) == 0 {
		return "", nil
	}
	err := read(b, &v)
	return v.Why, err
}

func (a *api) devicesAndAudit() {
	s := a.s
	operate(a, "GET", "/devices", "devices:read", "List devices", nil, 0, func(context.Context, *none) (*body[[]apiDevice], error) {
		views := s.Devices()
		out := &body[[]apiDevice]{Body: make([]apiDevice, 0, len(views))}
		for i := range views {
			out.Body = append(out.Body, asDevice(&views[i]))
		}
		return out, nil
	})
	operate(a, "POST", "/devices/{id}/revoke", "devices:write", "End a device for ever", reflect.TypeFor[Revocation](), attest.MaxMessage,
		func(ctx context.Context, in *oneID) (*none, error) {
			why, err := whyOf(asked(ctx).body)
			if err == nil {
				_, err = s.revoke(ctx, string(asked(ctx).program), in.ID, Revocation{Why: why})
			}
			return nil, err
		})
	operate(a, "GET", "/audit", "audit:read", "Read the audit log, a thousand entries at a time", nil, 0,
		func(ctx context.Context, in *struct {
			After string `query:"after" doc:"The number of the last entry that is known already."`
		}) (*body[[]apiEntry], error) {
			after, err := strconv.ParseUint(in.After, 10, 63)
			if err != nil && in.After != "" {
				return nil, refuse(http.StatusBadRequest, "after-wrong", "The parameter after is no number.", "Give the number of the last entry that you have.")
			}
			return s.auditPage(ctx, after)
		})
}

const auditPage = 1000

func (s *Server) auditPage(ctx context.Context, after uint64) (*body[[]apiEntry], error) {
	out := &body[[]apiEntry]{Body: []apiEntry{}}
	err := s.store.View(ctx, func(tx *store.Tx) error {
		entries, err := tx.AuditLog(after, auditPage)
		for _, e := range entries {
			out.Body = append(out.Body, apiEntry{e.Seq, e.At, e.Actor, e.Action, e.Subject, json.RawMessage(e.Detail), e.Hash.String()})
		}
		return err
	})
	return out, err
}

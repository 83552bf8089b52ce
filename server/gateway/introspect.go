package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
)

// Paths for who has a token and wants to know what it is worth.
const (
	PathIntrospection = "/access/v1/introspect"
	PathJWKS          = "/.well-known/muster-jwks.json"
)

// maxForm bounds an introspection request, in bytes.
const maxForm = 16 << 10

// TokenClaims are what a good token says, by the names of the wire (RFC 7519,
// RFC 7662 §2.2).
type TokenClaims struct {
	Issuer      string   `json:"iss"`
	Subject     string   `json:"sub"`
	Audience    string   `json:"aud"`
	ID          string   `json:"jti"`
	IssuedAt    int64    `json:"iat"` // seconds since 1970, as the others
	Expires     int64    `json:"exp"`
	Session     string   `json:"sid,omitempty"`
	App         string   `json:"app"`
	ACR         string   `json:"acr,omitempty"`
	AMR         []string `json:"amr,omitempty"`
	AuthTime    int64    `json:"auth_time,omitempty"`
	Device      string   `json:"device,omitempty"`
	Level       string   `json:"level,omitempty"`
	Groups      []string `json:"groups,omitempty"`
	Outcome     string   `json:"outcome"`
	ReasonsHash string   `json:"reasons_hash,omitempty"`
	Policy      string   `json:"policy"`
}

// Introspector knows what tokens are worth.
type Introspector struct {
	// Verify reads a token for an audience, now; false: it is not good.
	Verify func(token, audience string) (*TokenClaims, bool)
	// Live reports whether its session, or its laptop without one, would still be let
	// through to its application, with no more severe an outcome.
	Live func(ctx context.Context, t *TokenClaims) bool
	// Log hears of our own defects; nil: the default one.
	Log *slog.Logger
}

// inactive is all that is told of a token that is worth nothing (RFC 7662 §2.2).
const inactive = `{"active":false}`

// Introspection handles POST /access/v1/introspect (RFC 7662): token, in a form. A
// gateway may ask about tokens for its own audience and its own applications; every
// other one is inactive. 401 is only for callers that we do not know.
func Introspection(i Introspector, authenticate AuthenticateFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		credential, ok := caller(r, authenticate)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="muster gateways"`)
			http.Error(w, "a gateway credential is needed", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		token, ok := tokenOf(w, r)
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_request"}`))
			return
		}
		_, _ = w.Write(i.introspect(r.Context(), credential, token))
	})
}

// tokenOf reads the form's token: one, in the body. In the address it would stand
// in logs.
func tokenOf(w http.ResponseWriter, r *http.Request) (string, bool) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || r.Method != http.MethodPost {
		return "", false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil || len(r.PostForm["token"]) != 1 {
		return "", false
	}
	return r.PostForm.Get("token"), true
}

func (i *Introspector) introspect(ctx context.Context, c *Credential, token string) (body []byte) {
	defer func() {
		if p := recover(); p != nil {
			(&Places{Log: i.Log}).log().Error("introspection panicked", "panic", p, "stack", string(debug.Stack()))
			body = []byte(inactive)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, maxLook)
	defer cancel()
	if c.Audience == "" || token == "" || tokenForm(token) == "" {
		return []byte(inactive)
	}
	t, ok := i.Verify(token, c.Audience)
	if !ok || t == nil || t.Audience != c.Audience || t.App == "*" || !c.sees(t.App) ||
		!slices.Contains([]string{"allow", "restrict"}, t.Outcome) || !i.Live(ctx, t) || ctx.Err() != nil {
		return []byte(inactive)
	}
	body, err := json.Marshal(struct {
		Active bool   `json:"active"`
		Type   string `json:"token_type"`
		*TokenClaims
	}{true, "Bearer", t})
	if err != nil {
		return []byte(inactive)
	}
	return body
}

// JWKS handles GET /.well-known/muster-jwks.json (RFC 7517 §5): the public halves of
// the keys that sign tokens. It may be kept for five minutes.
func JWKS(keys func() []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body := keys()
		if len(body) == 0 {
			http.Error(w, "there are no keys", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(body)
	})
}

package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func good() *TokenClaims {
	return &TokenClaims{Issuer: "https://id.corp.example", Subject: "alice", Audience: "aud", ID: "j", IssuedAt: 1, Expires: 2, Session: "s1",
		App: "wiki", ACR: "muster:passkey", AMR: []string{"hwk"}, AuthTime: 1, Device: "d1", Level: "tpm-hw", Groups: []string{"dev"}, Outcome: "allow", Policy: "p"}
}

const goodToken = "a.b-_9.c"

func introspect(c Credential, i Introspector, kind, body string, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, PathIntrospection, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	r.Header["Authorization"] = authorization
	w := httptest.NewRecorder()
	authenticate := func(_ context.Context, s string) (*Credential, bool) { return &c, s == secret }
	Introspection(i, authenticate).ServeHTTP(w, r)
	return w
}

const formType = "application/x-www-form-urlencoded"

func introspector(t *TokenClaims, live bool) Introspector {
	return Introspector{
		Verify: func(token, audience string) (*TokenClaims, bool) { return t, token == goodToken && audience == "aud" },
		Live:   func(context.Context, *TokenClaims) bool { return live },
	}
}

func TestIntrospection(t *testing.T) {
	c := Credential{Dialect: Nginx, Apps: []string{"wiki"}, Audience: "aud"}
	w := introspect(c, introspector(good(), true), formType+"; charset=utf-8", "token="+goodToken+"&token_type_hint=access_token", "Bearer "+secret)
	var reply struct {
		Active bool
		TokenClaims
	}
	if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || w.Code != http.StatusOK || !reply.Active || !reflect.DeepEqual(reply.TokenClaims, *good()) ||
		w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %v %s: %v", w.Code, w.Header(), w.Body, err)
	}
}

// Of a token that is worth nothing here nothing is told, not even why.
func TestIntrospectionIsInactive(t *testing.T) {
	change := func(f func(*TokenClaims)) *TokenClaims { c := good(); f(c); return c }
	yours := Credential{Dialect: Nginx, Apps: []string{"wiki"}, Audience: "aud"}
	for name, test := range map[string]struct {
		c     Credential
		i     Introspector
		token string
	}{
		"another token":    {yours, introspector(good(), true), "a.b.d"},
		"empty":            {yours, introspector(good(), true), ""},
		"no token form":    {yours, introspector(good(), true), goodToken + "\n"},
		"not live":         {yours, introspector(good(), false), goodToken},
		"no claims":        {yours, introspector(nil, true), goodToken},
		"no audience":      {Credential{Apps: []string{"wiki"}}, introspector(change(func(c *TokenClaims) { c.Audience = "" }), true), goodToken},
		"another audience": {yours, introspector(change(func(c *TokenClaims) { c.Audience = "other" }), true), goodToken},
		"another gateway":  {Credential{Apps: []string{"wiki"}, Audience: "other"}, introspector(good(), true), goodToken},
		"another app":      {yours, introspector(change(func(c *TokenClaims) { c.App = "mail" }), true), goodToken},
		"no app":           {yours, introspector(change(func(c *TokenClaims) { c.App = "" }), true), goodToken},
		"star":             {Credential{Apps: []string{"*"}, Audience: "aud"}, introspector(change(func(c *TokenClaims) { c.App = "*" }), true), goodToken},
		"a refusal":        {yours, introspector(change(func(c *TokenClaims) { c.Outcome = "deny" }), true), goodToken},
		"no functions":     {yours, Introspector{}, goodToken},
		"panic": {yours, Introspector{Verify: func(string, string) (*TokenClaims, bool) { return good(), true },
			Live: func(context.Context, *TokenClaims) bool { panic("defect") }}, goodToken},
	} {
		w := introspect(test.c, test.i, formType, url.Values{"token": {test.token}}.Encode(), "Bearer "+secret)
		if w.Code != http.StatusOK || w.Body.String() != `{"active":false}` {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestIntrospectionRefuses(t *testing.T) {
	c := Credential{Dialect: Nginx, Apps: []string{"wiki"}, Audience: "aud"}
	i := introspector(good(), true)
	for name, values := range map[string][]string{"none": nil, "wrong": {"Bearer x"}, "basic": {"Basic " + secret}, "two": {"Bearer " + secret, "Bearer " + secret}} {
		if w := introspect(c, i, formType, "token="+goodToken, values...); w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "active") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for name, test := range map[string]struct{ kind, body string }{
		"no token": {formType, "x=1"}, "empty": {formType, ""}, "two": {formType, "token=" + goodToken + "&token=" + goodToken},
		"JSON": {"application/json", `{"token":"` + goodToken + `"}`}, "no type": {"", "token=" + goodToken}, "bad form": {formType, "token=%zz"},
		"too large": {formType, "token=" + goodToken + "&x=" + strings.Repeat("y", maxForm)}, "multipart": {"multipart/form-data; boundary=x", "--x\r\n"},
	} {
		if w := introspect(c, i, test.kind, test.body, "Bearer "+secret); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "true") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	// In the address a token is not read.
	r := httptest.NewRequest(http.MethodPost, PathIntrospection+"?token="+goodToken, strings.NewReader(""))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Authorization", "Bearer "+secret)
	w := httptest.NewRecorder()
	Introspection(i, func(context.Context, string) (*Credential, bool) { return &c, true }).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("in the address: %d %s", w.Code, w.Body)
	}
}

func TestJWKS(t *testing.T) {
	for body, status := range map[string]int{`{"keys":[]}`: http.StatusOK, "": http.StatusServiceUnavailable} {
		w := httptest.NewRecorder()
		JWKS(func() []byte { return []byte(body) }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, PathJWKS, nil))
		if w.Code != status || status == http.StatusOK && (w.Body.String() != body || w.Header().Get("Cache-Control") != "public, max-age=300") ||
			status != http.StatusOK && w.Header().Get("Cache-Control") != "" {
			t.Errorf("%q: %d %v %s", body, w.Code, w.Header(), w.Body)
		}
	}
}

package notice

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The receiver's side of Standard Webhooks, written anew.
func verified(key []byte, h http.Header, body []byte) bool {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), body)
	return hmac.Equal([]byte("v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(h.Get("webhook-signature")))
}

func TestWebhookSignature(t *testing.T) {
	raw := []byte("thirty-two bytes of secret, base")
	for secret, key := range map[Secret][]byte{
		testSecret: []byte(testSecret),
		Secret("whsec_" + base64.StdEncoding.EncodeToString(raw)): raw,
	} {
		o, h := newOutbox(t), newReceiver(t, nil)
		c := o.config()
		c.Webhook = h.settings()
		c.Webhook.Secret = secret
		s := o.sender(c)
		h.answer(http.StatusServiceUnavailable)
		o.add("", "one")
		o.round(s)
		h.answer(http.StatusOK)
		o.pass(time.Minute)
		o.round(s)
		if len(h.got) != 2 || len(o.left()) != 0 {
			t.Fatalf("%d requests, %d left", len(h.got), len(o.left()))
		}
		for i, r := range h.got {
			if !verified(key, r.Header, h.bodies[i]) {
				t.Errorf("signature %q does not fit", r.Header.Get("webhook-signature"))
			}
			if verified([]byte("another secret of the same use"), r.Header, h.bodies[i]) || verified(key, r.Header, append(h.bodies[i], ' ')) {
				t.Error("the signature fits anything")
			}
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.URL.String() != "/hook?token=t0ken" {
				t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
			}
		}
		// The id is of the notice, the time of the attempt.
		a, b := h.got[0].Header, h.got[1].Header
		if a.Get("webhook-id") != b.Get("webhook-id") || a.Get("webhook-id") == "" || strings.Contains(a.Get("webhook-id"), ".") ||
			b.Get("webhook-timestamp") != fmt.Sprint(o.now().Unix()) || a.Get("webhook-timestamp") == b.Get("webhook-timestamp") {
			t.Errorf("first %v, second %v", a, b)
		}
	}
}

func TestWebhookSettingsRefused(t *testing.T) {
	good := Webhook{URL: "https://hooks.muster.example/x", Secret: testSecret}
	for name, w := range map[string]Webhook{
		"http":           {URL: "http://hooks.muster.example/x", Secret: testSecret},
		"http, a name":   {URL: "http://localhost.evil.example/x", Secret: testSecret},
		"http, address":  {URL: "http://192.0.2.1/x", Secret: testSecret},
		"file":           {URL: "file:///etc/passwd", Secret: testSecret},
		"no scheme":      {URL: "hooks.muster.example", Secret: testSecret},
		"opaque":         {URL: "https:hooks.muster.example", Secret: testSecret},
		"user":           {URL: "https://u:p@hooks.muster.example/", Secret: testSecret},
		"empty":          {Secret: testSecret},
		"no secret":      {URL: good.URL},
		"short secret":   {URL: good.URL, Secret: "fifteen bytes.."},
		"short base64":   {URL: good.URL, Secret: "whsec_AAAA"},
		"broken base64":  {URL: good.URL, Secret: "whsec_!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"},
		"control in URL": {URL: "https://hooks.muster.example/\n", Secret: testSecret},
	} {
		_, err := New(Config{Webhook: &w})
		if err == nil {
			t.Errorf("%s is taken", name)
			continue
		}
		if w.URL != "" && strings.Contains(err.Error(), string(w.URL)) || w.Secret != "" && strings.Contains(err.Error(), string(w.Secret)) {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
	for _, url := range []Secret{good.URL, "http://127.0.0.1:8080/x", "http://[::1]:8080/", "http://localhost/x"} {
		if _, err := New(Config{Webhook: &Webhook{URL: url, Secret: testSecret}}); err != nil {
			t.Errorf("%s: %v", string(url), err)
		}
	}
}

func TestWebhookAnswers(t *testing.T) {
	elsewhere := newReceiver(t, nil)
	for name, test := range map[string]struct {
		before func(http.ResponseWriter, *http.Request) bool
		ok     bool
	}{
		"200": {nil, true},
		"redirect": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			return true
		}, false},
		"see": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL, http.StatusSeeOther)
			return true
		}, false},
		"404": {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(404); return true }, false},
		"headers": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			return true
		}, false},
		"endless body": {func(w http.ResponseWriter, r *http.Request) bool {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					break
				}
			}
			return true
		}, true},
	} {
		h := newReceiver(t, test.before)
		k, err := newHook(Config{Webhook: h.settings()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		n := mailOf("", "s", "t")
		if err := k.send(ctx, n, 1); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	if len(elsewhere.texts()) != 0 {
		t.Error("a redirect was followed")
	}
}

// The transport is a seam, and TLS is the receiver's own matter.
func TestWebhookOverTLS(t *testing.T) {
	var got int
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got++ }))
	defer server.Close()
	hooked := Config{Webhook: &Webhook{URL: Secret(server.URL), Secret: testSecret}}
	k, err := newHook(hooked)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.send(t.Context(), mailOf("", "s", "t"), 1); err == nil {
		t.Error("a certificate of nobody's is taken")
	}
	hooked.HTTP = server.Client().Transport
	if k, err = newHook(hooked); err != nil {
		t.Fatal(err)
	}
	if err := k.send(t.Context(), mailOf("", "s", "t"), 1); err != nil || got != 1 {
		t.Errorf("%v, %d requests", err, got)
	}
}

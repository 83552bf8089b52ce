package passkeytest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
)

// failing is a test that notes why it failed.
type failing struct {
	testing.TB
	why string
}

func (f *failing) Helper() {}

func (f *failing) Fatal(args ...any) {
	f.why = fmt.Sprint(args...)
	runtime.Goexit()
}

func (f *failing) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

const (
	creation = `{"rp":{"id":"muster.example"},"user":{"id":"YWxpY2U"},"challenge":"YWJj"}`
	request  = `{"rpId":"muster.example","challenge":"YWJj"}`
)

// TestMisuse: what no browser would do fails the test that does it.
func TestMisuse(t *testing.T) {
	for name, misuse := range map[string]func(*Authenticator){
		"creation options for an assertion":  func(a *Authenticator) { a.Register([]byte(creation)); a.Assert([]byte(creation)) },
		"request options for a registration": func(a *Authenticator) { a.Register([]byte(request)) },
		"no JSON":                            func(a *Authenticator) { a.Register([]byte("{")) },
		"no credential":                      func(a *Authenticator) { a.Assert([]byte(request)) },
		"another rp id": func(a *Authenticator) {
			a.Register([]byte(creation))
			a.Assert([]byte(`{"rpId":"evil.example","challenge":"YWJj"}`))
		},
		"none that is asked": func(a *Authenticator) {
			a.Register([]byte(creation))
			a.Assert([]byte(`{"rpId":"muster.example","challenge":"YWJj","allowCredentials":[{"id":"AAAA"}]}`))
		},
		"forgotten":          func(a *Authenticator) { a.Register([]byte(creation)); a.Forget(a.Last()); a.Assert([]byte(request)) },
		"forgets a stranger": func(a *Authenticator) { a.Forget([]byte("x")) },
		"format":             func(a *Authenticator) { a.Format = "sealed"; a.Register([]byte(creation)) },
		"algorithm":          func(a *Authenticator) { a.Algorithm = -35; a.Register([]byte(creation)) },
		"eddsa in a tpm":     func(a *Authenticator) { a.Format, a.Algorithm = "tpm", eddsa; a.Register([]byte(creation)) },
		"excluded": func(a *Authenticator) {
			a.Register([]byte(creation))
			a.Register(fmt.Appendf(nil, `{"rp":{"id":"r"},"user":{"id":"YWxpY2U"},"challenge":"YWJj","excludeCredentials":[{"id":%q}]}`,
				base64.RawURLEncoding.EncodeToString(a.Last())))
		},
	} {
		f := &failing{TB: t}
		done := make(chan struct{})
		go func() { defer close(done); misuse(New(f, "https://muster.example")) }()
		if <-done; f.why == "" {
			t.Errorf("%s: the test went on", name)
		}
	}
}

// TestSeveral: the newest credential answers, or the one that is asked for; options
// may come wrapped as a page has them.
func TestSeveral(t *testing.T) {
	a := New(t, "https://muster.example")
	id := func(response []byte) []byte {
		var r answer
		if err := json.Unmarshal(response, &r); err != nil || !bytes.Equal(r.ID, r.RawID) {
			t.Fatal(err)
		}
		return r.ID
	}
	first := id(a.Register([]byte(creation)))
	second := id(a.Register([]byte(`{"publicKey":` + creation + `}`)))
	if got := id(a.Assert([]byte(request))); !bytes.Equal(got, second) || bytes.Equal(first, second) {
		t.Error("the newest did not answer")
	}
	asked := fmt.Sprintf(`{"publicKey":{"rpId":"muster.example","challenge":"YWJj","allowCredentials":[{"id":%q}]}}`, base64.RawURLEncoding.EncodeToString(first))
	if got := id(a.Assert([]byte(asked))); !bytes.Equal(got, first) || !bytes.Equal(a.Last(), first) {
		t.Error("the one that was asked for did not answer")
	}
	a.Forget(second)
	if got := id(a.Assert([]byte(request))); !bytes.Equal(got, first) {
		t.Error("the older did not answer after the newer was forgotten")
	}
}

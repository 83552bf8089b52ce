package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
)

// discard is a ResponseWriter that costs nothing of its own.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkCheck is a check without the lookup: what the handler itself costs.
func BenchmarkCheck(b *testing.B) {
	for _, d := range []Dialect{Nginx, Caddy} {
		answer := allowed()
		credential := &Credential{Dialect: d, Apps: []string{"wiki"}}
		look := func(context.Context, *Question, *Credential) *Answer { return answer }
		h := Check(d, look, func(context.Context, string) (*Credential, bool) { return credential, true }, Places{})
		r := httptest.NewRequest(http.MethodGet, "/check/"+string(d)+"/wiki", nil)
		r.Header = honest(d)
		r.Header.Set("Accept", "text/html")
		w := &discard{header: make(http.Header, 16)}
		b.Run(string(d), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
			if w.status != http.StatusOK {
				b.Fatal(w.status)
			}
		})
	}
}

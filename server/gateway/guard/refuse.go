package guard

import (
	"encoding/json"
	"net/http"
	"strings"
)

// refusal is an answer to the client in place of the application's.
type refusal struct {
	status int
	header http.Header
	body   []byte
}

func (f *refusal) write(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range f.header {
		h[name] = values
	}
	if len(f.body) > 0 && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "text/plain; charset=utf-8") // never a guess from the body
	}
	h.Set("Cache-Control", "no-store") // the next answer may be another one
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(f.status)
	_, _ = w.Write(f.body)
}

// problem is a refusal as programs get it (RFC 9457), in muster's own form.
type problem struct {
	Type    string   `json:"type"`
	Title   string   `json:"title"`
	Status  int      `json:"status"`
	Detail  string   `json:"detail"`
	Code    string   `json:"code"`
	Outcome string   `json:"outcome"`
	Reasons []reason `json:"reasons"`
}

type reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Fix  string `json:"fix"`
}

// refuse answers for muster where it did not: a sentence for people, a problem
// document for programs.
func refuse(w http.ResponseWriter, r *http.Request, status int, code, text, fix string) {
	f := &refusal{status: status, header: http.Header{}, body: []byte(text + " " + fix + " (" + code + ")\n")}
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		body, err := json.Marshal(problem{
			Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: text, Code: code,
			Outcome: "deny", Reasons: []reason{{code, text, fix}},
		})
		if err == nil { // else the sentence must do
			f.header.Set("Content-Type", "application/problem+json")
			f.body = append(body, '\n')
		}
	}
	f.write(w)
}

package web

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"muster/server/people"
)

// request is one that was found in order: for our host, from our pages when it
// changes something, by who may come.
type request struct {
	*http.Request
	who  *people.Who // nil: not signed in
	from people.From
}

// message is the body of every JSON endpoint; each reads what it needs.
type message struct {
	Secret   string          `json:"secret,omitempty"`
	Response json.RawMessage `json:"response,omitempty"` // of the browser's credential API
	Name     string          `json:"name,omitempty"`
	Next     string          `json:"next,omitempty"`
	Way      string          `json:"way,omitempty"`
	ID       string          `json:"id,omitempty"`
	Value    string          `json:"value,omitempty"`
}

// message decodes the body: one object, no unknown member, nothing behind it.
func (r *request) message() (*message, error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	var m message
	if err := d.Decode(&m); err != nil {
		return nil, badBody(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, badBody(err)
	}
	return &m, nil
}

func badBody(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &people.Refusal{Status: http.StatusRequestEntityTooLarge, Code: "too-large",
			Text: "That was more than this page takes.", Fix: "Go back, shorten what you typed, and send it again."}
	}
	return &people.Refusal{Status: http.StatusBadRequest, Code: "bad-request",
		Text: "The server did not understand what the page sent.", Fix: "Reload the page and try again."}
}

// bodyIs reports whether the request says that its body is of the row's form.
func bodyIs(r *http.Request, f form) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return false
	case f == jsonBody:
		return kind == "application/json"
	}
	return kind == "application/x-www-form-urlencoded"
}

// ownPath returns p when it is a path of our own to go on to, else "/". A path
// that a browser might read as another host is none.
func ownPath(p string) string {
	const most = 2000
	odd := func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' || r == unicode.ReplacementChar
	}
	if len(p) > most || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsFunc(p, odd) {
		return "/"
	}
	u, err := url.Parse(p)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || strings.HasPrefix(u.Path, "//") || strings.ContainsFunc(u.Path, odd) {
		return "/"
	}
	if p = u.String(); len(p) > most { // it writes some characters as three
		return "/"
	}
	return p
}

// words splits what a person typed as a list: at commas and spaces.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || unicode.IsSpace(r) })
}

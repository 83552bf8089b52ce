package web

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"muster/attest/posture"
	"muster/server/people"
	"muster/server/store"
)

//go:embed templates/*.html
var templateFiles embed.FS

// sheet is what the layout works with.
type sheet struct {
	Title string
	Path  string // of the request, to mark where one is
	Who   *people.Who
	Done  string    // what was just done, a sentence
	Fresh time.Time // until when hands are fresh; zero: they are not
	// Office: the administrators' pages are there.
	Office bool
	Body   any
}

// readPages parses every page with the layout and the parts beside it. A file
// whose name begins with _ belongs to all.
func (s *site) readPages() map[string]*template.Template {
	shared := template.Must(template.New("").Option("missingkey=error").Funcs(s.functions()).ParseFS(templateFiles, "templates/_*.html"))
	files, err := fs.Glob(templateFiles, "templates/[a-z]*.html")
	if err != nil {
		panic(err)
	}
	pages := make(map[string]*template.Template, len(files))
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		pages[name] = template.Must(template.Must(shared.Clone()).ParseFS(templateFiles, file))
	}
	return pages
}

// functions are what templates call beside methods of their views.
func (s *site) functions() template.FuncMap {
	return template.FuncMap{
		"asset": s.asset,
		// Times are relative for people; the exact one stands beside it for all.
		"ago":      func(t time.Time) string { return ago(s.Now(), t) },
		"in":       func(t time.Time) string { return in(s.Now(), t) },
		"when":     func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
		"machine":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"b64":      base64.RawURLEncoding.EncodeToString,
		"browser":  browserName,
		"level":    levelWords,
		"role":     roleWords,
		"spans":    spans,
		"span":     span,
		"by":       s.actorWords,
		"platform": posture.Platform.Name,
		"tier":     tierIcon,
		"list":     func(all []string) string { return strings.Join(all, ", ") },
		"part":     func(name string, data any) part { return part{name, data} },
		"info":     func(text string) mark { return mark{"info", text} },
		"bad":      func(text string) mark { return mark{"bad", text} },
		"good":     func(text string) mark { return mark{"ok", text} },
		"waiting":  func(text string) mark { return mark{"wait", text} },
		"notices":  func() string { return s.Notices },
		"roles": func() []store.Role {
			return []store.Role{store.RolePerson, store.RoleHelpDesk, store.RoleAuditor, store.RoleAdministrator}
		},
	}
}

// part is two values for a template that takes one.
type part struct {
	Name string
	Data any
}

// secure sets the headers of every answer: what a browser may do with it, and
// with us from elsewhere.
func (s *site) secure(w http.ResponseWriter, route row) {
	connect := "'self'"
	if s.LinkPort > 0 && (strings.HasPrefix(route.pattern, "GET /link") || route.pattern == "GET /invitation") {
		connect += " http://127.0.0.1:" + strconv.Itoa(s.LinkPort)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src "+connect+"; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Permissions-Policy", "publickey-credentials-get=(self), publickey-credentials-create=(self), clipboard-write=(self), "+
		"loopback-network=(self), local-network-access=(self), local-network=(), camera=(), microphone=(), geolocation=(), payment=(), usb=()")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	if strings.HasPrefix(s.Origin, "https:") {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	// no-referrer would make browsers say Origin: null of our own forms.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// show answers with a page.
func (s *site) show(w http.ResponseWriter, r *request, name, title string, body any) error {
	s.write(w, r, http.StatusOK, name, title, body)
	return nil
}

// part answers htmx with a part of a page.
func (s *site) part(w http.ResponseWriter, r *request, page, name string, body any) error {
	return s.execute(w, http.StatusOK, page, name, s.sheet(r, "", body))
}

// write answers with a page, a refusal's too. To htmx it gives the refusal alone.
func (s *site) write(w http.ResponseWriter, r *request, status int, name, title string, body any) {
	block := "layout"
	if name == "refusal" && r.Header.Get("HX-Request") != "" {
		block = "main"
	}
	if err := s.execute(w, status, name, block, s.sheet(r, title, body)); err != nil {
		s.Log.Error("page not written", "path", r.URL.Path, "error", err)
		http.Error(w, "The server could not show this page. Try again; if it stays, ask an administrator.", http.StatusInternalServerError)
	}
}

func (s *site) sheet(r *request, title string, body any) sheet {
	return sheet{Title: title, Path: r.URL.Path, Who: r.who, Done: doneWords(r.URL.Query().Get("done")), Fresh: s.freshUntil(r.who),
		Office: s.Office != nil, Body: body}
}

// execute runs a template to its end before a byte is sent: half a page is none.
func (s *site) execute(w http.ResponseWriter, status int, page, block string, data sheet) error {
	t := s.pages[page]
	if t == nil {
		return fmt.Errorf("no page %q", page)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, block, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
	return nil
}

// done leads from a POST to the page that shows what it did. code is of doneWords.
func (s *site) done(w http.ResponseWriter, r *request, page, code string) error {
	http.Redirect(w, r.Request, page+"?done="+code, http.StatusSeeOther)
	return nil
}

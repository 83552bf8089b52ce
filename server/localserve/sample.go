package localserve

import (
	"context"
	"fmt"
	"html/template"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"muster/server"
	"muster/server/decide"
	"muster/server/gateway/guard"
)

// The sample applications are those of the policy in the program, below the RP ID's
// domain and behind the middleware that any Go program can use: no gateway need be
// installed to see one opened and closed.

// samplePolicy writes the policy in the program with hosts of this machine, and
// returns the file.
func samplePolicy(dir string) (string, error) {
	_, text, err := decide.Default()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "policy.yaml")
	return file, os.WriteFile(file, []byte(strings.ReplaceAll(text, ".corp.example", "."+rpID)), 0o600)
}

// samples answers at the hosts of applications.
type samples struct {
	apps   map[string]decide.App   // by host name
	behind map[string]http.Handler // by application, guarded
	port   string
}

// newSamples puts a guard before each application that the policy file names.
func newSamples(file, port string) (*samples, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	policy, err := decide.Load(file, text)
	if err != nil {
		return nil, err
	}
	s := &samples{apps: make(map[string]decide.App), behind: make(map[string]http.Handler), port: port}
	for _, a := range policy.Apps() {
		for _, h := range a.Hosts {
			if strings.HasSuffix(h, "."+rpID) {
				s.apps[h] = a
			}
		}
	}
	return s, nil
}

// open gets the applications a credential of the server that is running by now.
func (s *samples) open(ctx context.Context, srv *server.Server) error {
	made, err := srv.CreateGateway(ctx, server.GatewayRequest{Name: "samples", Apps: []string{"*"}, Dialect: "http", Restricts: true})
	if err != nil {
		return err
	}
	for host, a := range s.apps {
		g, err := guard.New(guard.Config{
			// Names below .localhost are for browsers: this program goes by the address.
			Muster: "http://" + net.JoinHostPort("127.0.0.1", s.port), App: a.ID, Secret: made.Secret,
		})
		if err != nil {
			return fmt.Errorf("guarding the sample application %s: %w", host, err)
		}
		s.behind[a.ID] = g.Protect(http.HandlerFunc(s.page))
	}
	return nil
}

// front answers what is for an application and leaves the rest to the server, the
// reserved paths of the applications' own hosts too.
func (s *samples) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, sample := s.apps[nameOf(r.Host)]
		if !sample || strings.HasPrefix(r.URL.Path, "/.muster/") {
			next.ServeHTTP(w, r)
			return
		}
		behind := s.behind[a.ID]
		if behind == nil {
			http.Error(w, "The sample application is not there yet.", http.StatusServiceUnavailable)
			return
		}
		behind.ServeHTTP(w, r)
	})
}

func nameOf(host string) string {
	name, _, _ := strings.Cut(strings.ToLower(host), ":")
	return name
}

// address is where a person opens one.
func (s *samples) address(app string) string {
	for host, a := range s.apps {
		if a.ID == app {
			return "http://" + net.JoinHostPort(host, s.port) + "/"
		}
	}
	return ""
}

// page is the whole application: what it was told of who is there.
func (s *samples) page(w http.ResponseWriter, r *http.Request) {
	who := guard.From(r.Context())
	v := sampleView{Host: nameOf(r.Host), App: s.apps[nameOf(r.Host)], Who: who, At: time.Now().Format(time.TimeOnly)}
	for _, host := range slices.Sorted(maps.Keys(s.apps)) {
		if host != v.Host {
			v.Others = append(v.Others, sampleLink{"http://" + net.JoinHostPort(host, s.port) + "/", s.apps[host]})
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = samplePage().Execute(w, v)
}

type sampleView struct {
	Host   string
	App    decide.App
	Who    guard.Identity
	At     string
	Others []sampleLink
}

type sampleLink struct {
	Address string
	App     decide.App
}

func samplePage() *template.Template {
	return template.Must(template.New("sample").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.App.ID}}: sample application</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem}dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}
</style>
<h1>{{.App.ID}}</h1>
<p>You are in. This sample application of sensitivity {{.App.Sensitivity}} was told, at {{.At}}:</p>
<dl>
<dt>person</dt><dd>{{.Who.User}}</dd>
<dt>laptop</dt><dd>{{.Who.Device}} ({{.Who.Level}})</dd>
<dt>session</dt><dd>{{.Who.Session}}</dd>
<dt>signed in by</dt><dd>{{.Who.ACR}}</dd>
{{with .Who.Restrict}}<dt>restricted</dt><dd>{{.}}</dd>{{end}}
</dl>
<p>Change something on this machine, then reload: the next request is decided anew.</p>
<p>Other sample applications:</p>
<ul>{{range .Others}}<li><a href="{{.Address}}">{{.App.ID}}</a>, sensitivity {{.App.Sensitivity}}{{if .App.Elevation.Lasts}}, opened for minutes{{end}}</li>{{end}}</ul>
</html>
`))
}

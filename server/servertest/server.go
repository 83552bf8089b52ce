package servertest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"muster/server"
	"muster/server/people"
)

// Server is one muster-server and its data folder, which outlives stops and
// starts. What administrators do goes over the control socket, as their
// commands do it. It is used from the test's goroutine.
type Server struct {
	// Config is what it starts with; a change counts from the next start.
	Config server.Config

	t       testing.TB
	said    *said
	program string          // of a launched one; else it runs in this process
	stop    func(kill bool) // nil while it does not run
}

// Start runs a server in this process, on an address of its own, with a report
// every second. options change what it starts with.
func Start(t testing.TB, options ...func(*server.Config)) *Server {
	t.Helper()
	s := newServer(t, options)
	s.Start()
	return s
}

// Launch is Start for the built program, in a process that can be killed.
func Launch(t testing.TB, options ...func(*server.Config)) *Server {
	t.Helper()
	s := newServer(t, options)
	s.program, _ = Programs(t)
	s.Start()
	return s
}

func newServer(t testing.TB, options []func(*server.Config)) *Server {
	t.Helper()
	s := &Server{t: t, said: &said{name: "server", show: t.Output()}}
	s.Config = server.Config{DataDir: folder(t), Listen: freeAddress(t), ReportEvery: 1}
	s.Config.PublicURL = "http://" + s.Config.Listen
	for _, option := range options {
		option(&s.Config)
	}
	t.Cleanup(s.Kill)
	return s
}

// Named gives a server the name that browsers need for passkeys: people sign in at
// http://id.muster.localhost:PORT, with RP ID muster.localhost, and agents may
// listen for pages. Names below .localhost are 127.0.0.1 to browsers, to the agent
// and to [Person]; not to Go.
func Named() func(*server.Config) {
	return func(c *server.Config) {
		c.Listen = "127.0.0.1:" + strconv.Itoa(freePort())
		_, port, _ := net.SplitHostPort(c.Listen)
		c.RPID = "muster.localhost"
		c.PublicURL = "http://id." + c.RPID + ":" + port
		c.LinkPort = freePort()
	}
}

// Fronted is [Named] behind a gateway of this machine: people and laptops come to
// the port of the public URL, where the gateway listens that the test starts, and
// what it tells of their addresses is believed.
func Fronted() func(*server.Config) {
	return func(c *server.Config) {
		Named()(c)
		c.PublicURL = "http://id." + c.RPID + ":" + strconv.Itoa(freePort())
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// folder is t.TempDir with a short name: socket addresses end at 107 bytes.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "muster")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// freeAddress finds an address that stays free while a server is down: on Linux
// the whole of 127/8 is this machine, and nobody else picks the same host.
func freeAddress(t testing.TB) string {
	t.Helper()
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 2+rand.IntN(250))
	}
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Start starts a stopped server.
func (s *Server) Start() {
	s.t.Helper()
	if s.program == "" {
		s.serve()
	} else {
		s.launch()
	}
}

// Stop ends the server in order.
func (s *Server) Stop() { s.end(false) }

// Kill ends a launched server at once, as loss of power would; a server in this
// process it stops.
func (s *Server) Kill() { s.end(true) }

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

func (s *Server) end(kill bool) {
	s.t.Helper()
	if stop := s.stop; stop != nil {
		s.stop = nil
		stop(kill)
	}
}

// serve runs the server in this process.
func (s *Server) serve() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	srv, err := server.New(ctx, s.Config, slog.New(slog.NewTextHandler(s.said, nil)), time.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	public, err := srv.Listen()
	if err != nil {
		s.t.Fatal(errors.Join(err, srv.Close()))
	}
	control, err := srv.ListenControl()
	if err != nil {
		s.t.Fatal(errors.Join(err, public.Close(), srv.Close()))
	}
	served := make(chan error, 2)
	go func() { served <- srv.Serve(ctx, public) }()
	go func() { served <- srv.ServeControl(ctx, control) }()
	s.stop = func(bool) {
		cancel()
		if err := errors.Join(<-served, <-served, srv.Close()); err != nil {
			s.t.Errorf("stopping the server: %v", err)
		}
	}
}

// launch runs the built program until it is ready.
func (s *Server) launch() {
	s.t.Helper()
	cmd := exec.Command(s.program, append([]string{"serve"}, s.flags()...)...)
	cmd.Stdout, cmd.Stderr = s.said, s.said
	cmd.Env = withoutSettings()
	p := spawn(s.t, "muster-server", cmd, nil)
	s.stop = func(kill bool) {
		if kill {
			p.kill()
		} else {
			p.stop()
		}
	}
	address, client := "http://"+s.Config.Listen, http.DefaultClient
	if s.Config.TLSCert != "" {
		// Who answers does not matter here, only that somebody does.
		address, client = "https://"+s.Config.Listen, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		defer client.CloseIdleConnections()
	}
	Wait(s.t, "the server is ready", func() bool {
		if p.gone() {
			s.t.Fatal("muster-server ended")
		}
		resp, err := client.Get(address + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// flags writes Config as a command line.
func (s *Server) flags() []string {
	c := &s.Config
	flags := []string{"--data-dir", c.DataDir, "--listen", c.Listen, "--public-url", c.PublicURL, "--report-every", strconv.Itoa(c.ReportEvery)}
	if c.Policy != "" {
		flags = append(flags, "--policy", c.Policy)
	}
	for _, network := range c.TrustedProxies {
		flags = append(flags, "--trusted-proxy", network.String())
	}
	for _, file := range c.EKRoots {
		flags = append(flags, "--ek-roots", file)
	}
	for _, file := range c.VTPMRoots {
		flags = append(flags, "--vtpm-roots", file)
	}
	for _, file := range c.MDSRoots {
		flags = append(flags, "--mds-roots", file)
	}
	if c.RPID != "" {
		flags = append(flags, "--rp-id", c.RPID, "--link-port", strconv.Itoa(c.LinkPort))
	}
	if c.TLSCert != "" {
		flags = append(flags, "--tls-cert", c.TLSCert, "--tls-key", c.TLSKey)
	}
	if c.GatewayListen != "" {
		flags = append(flags, "--gateway-listen", c.GatewayListen)
	}
	if c.EnvoyListen != "" {
		flags = append(flags, "--envoy-listen", c.EnvoyListen)
	}
	if c.RecoveryWait != 0 {
		flags = append(flags, "--recovery-wait", c.RecoveryWait.String())
	}
	if c.ReadmitAlone {
		flags = append(flags, "--readmit-alone")
	}
	if c.RequireToken {
		flags = append(flags, "--require-token")
	}
	return flags
}

// withoutSettings is this process's environment without settings of muster.
func withoutSettings() (env []string) {
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "MUSTER_") {
			env = append(env, pair)
		}
	}
	return env
}

// Control does what a command of muster-server does with a running server; reply
// may be nil.
func (s *Server) Control(method, path string, body, reply any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	control, err := server.OpenControl(ctx, s.Config, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(control.Do(ctx, method, path, body, reply), control.Close())
}

func (s *Server) must(method, path string, body, reply any) {
	s.t.Helper()
	if err := s.Control(method, path, body, reply); err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// Token makes an enrolment token for corporate laptops.
func (s *Server) Token(q server.TokenRequest) string {
	s.t.Helper()
	if q.Class == "" {
		q.Class = "corporate"
	}
	q.Uses, q.ExpiresS = max(1, q.Uses), 3600
	var made server.NewToken
	s.must("POST", "/tokens", q, &made)
	return made.Token
}

// Devices lists the devices.
func (s *Server) Devices() (views []server.DeviceView) {
	s.t.Helper()
	s.must("GET", "/devices", nil, &views)
	return views
}

// Device shows one device whole.
func (s *Server) Device(id string) (view server.DeviceView) {
	s.t.Helper()
	s.must("GET", "/devices/"+url.PathEscape(id), nil, &view)
	return view
}

// Approve lets a waiting device in that shows this code.
func (s *Server) Approve(id, code string) error {
	return s.Control("POST", "/devices/"+url.PathEscape(id)+"/approve", server.Approval{Code: code}, nil)
}

// Revoke ends a device.
func (s *Server) Revoke(id, why string) {
	s.t.Helper()
	s.must("POST", "/devices/"+url.PathEscape(id)+"/revoke", server.Revocation{Why: why}, nil)
}

// Said reports whether the server's log, and what else it printed, has a text.
func (s *Server) Said(text string) bool { return s.said.has(text) }

// FirstLink makes the link of the first administrator.
func (s *Server) FirstLink() string {
	s.t.Helper()
	var made struct {
		Link string `json:"link"`
	}
	s.must("POST", "/invitations/first", nil, &made)
	return made.Link
}

// Invite makes an invitation, whose members are server/people's, and returns its
// link.
func (s *Server) Invite(i people.Invitation) string {
	s.t.Helper()
	var made struct {
		Link string `json:"link"`
	}
	s.must("POST", "/invitations", i, &made)
	return made.Link
}

// NextReport waits for a statement of a device that was made after the call: one
// with a nonce that was issued later.
func (s *Server) NextReport(id string) (view server.DeviceView) {
	s.t.Helper()
	since := time.Now()
	Wait(s.t, "a report of device "+id, func() bool {
		view = s.Device(id)
		return view.LastReport.After(since)
	})
	return view
}

// File writes a private file that goes with the test, and returns its path.
func File(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(folder(t), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

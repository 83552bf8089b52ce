// Package gatewaytest starts real gateways for tests, configured by the snippets
// that ship. It is for tests only.
package gatewaytest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"muster/server/gateway/snippets"
)

// Site is a server block for [Nginx] that hands all of a host to a program, as
// muster's own host is served behind the nginx that it decides for.
func Site(address, host, to string) string {
	return fmt.Sprintf(`server {
    listen %s;
    server_name %s;
    client_max_body_size 8m; # the log of a boot
    location / {
        proxy_pass http://%s;
        proxy_http_version 1.1;
        proxy_read_timeout 120s; # agents hold a request open
        proxy_set_header Host              $http_host;
        proxy_set_header Connection        "";
        proxy_set_header X-Forwarded-For   $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
    }
}
`, address, host, to)
}

// Nginx starts a real nginx on an address, with a server block of the shipped
// snippet for each application and more beside them, as an operator has them in
// their http block. It ends with the test. Without nginx the test skips, or fails
// where MUSTER_TEST_STRICT is set.
func Nginx(t testing.TB, address, secret, more string, apps ...snippets.Values) {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/nginx")
	}
	if err != nil {
		if os.Getenv("MUSTER_TEST_STRICT") == "1" {
			t.Fatal("nginx is needed: install the package nginx-light")
		}
		t.Skip("nginx is needed: install the package nginx-light")
	}
	dir, err := os.MkdirTemp("", "muster-nginx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // its workers may still hold a file
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	user, include := "", ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // the folder is this user's alone
	}
	secretFile := write("secret", "proxy_set_header Authorization \"Bearer "+secret+"\";\n")
	for i, v := range apps {
		v.SecretFile, v.Listen = secretFile, address
		text, err := snippets.Render("nginx", v)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 { // as the snippet says: its first part once
			_, block, found := strings.Cut(text, "# ---- For each application")
			if !found {
				t.Fatal("the snippet has no part for each application")
			}
			text = "#" + block
		}
		include += "include " + write(v.App+".conf", text) + ";\n"
	}
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	main := write("nginx.conf", user+"worker_processes 1;\nerror_log stderr crit;\npid "+filepath.Join(dir, "pid")+";\nevents { worker_connections 2048; }\nhttp {\naccess_log off;\n"+
		temp+include+more+"\n}\n")
	c := exec.Command(program, "-e", "stderr", "-p", dir, "-c", main, "-g", "daemon off;")
	c.Stdout, c.Stderr = t.Output(), t.Output()
	ended := start(t, c)
	t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt)
		<-ended
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nginx does not listen: ", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// start starts a program that the kernel ends with the test, however that ends: with
// the thread that started it, which therefore lives as long as the program.
func start(t testing.TB, c *exec.Cmd) (ended <-chan struct{}) {
	t.Helper()
	end(c)
	started, gone := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(gone)
		runtime.LockOSThread() // and nobody else's goroutine ends it
		defer runtime.UnlockOSThread()
		err := c.Start()
		started <- err
		if err == nil {
			_ = c.Wait() // it is told to end
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return gone
}

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"muster/attest/tpmtest"
	"muster/server/browsertest"
	"muster/server/servertest"
)

// TestLocalserveLevels runs the whole product in one command with a real TPM:
// who vouches for it decides its level, and with nobody it waits.
func TestLocalserveLevels(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	roots := servertest.File(t, "roots.pem", string(chip.Roots()))
	for _, test := range []struct {
		name, state, level, decision, reason string
		args                                 []string
	}{
		{"hardware", "active", "tpm-hw", "", "", []string{"--ek-roots", roots}},
		{"virtual", "active", "vtpm", "", "", []string{"--vtpm-roots", roots}},
		{"unknown", "pending", "tpm-unverified", "deny", "pending", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			program, _ := servertest.Programs(t)
			dir := t.TempDir()
			cmd := exec.Command(program, append([]string{"localserve", "--once", "--json", "--tpm", chip.Setting()}, test.args...)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			cmd.Env = append(os.Environ(), "TMPDIR="+dir)
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			var said struct {
				State, Level, Decision string
				Reasons                []struct{ Code, Text, Fix string }
			}
			if err := json.Unmarshal(stdout.Bytes(), &said); err != nil {
				t.Fatal(err)
			}
			if said.State != test.state || said.Level != test.level {
				t.Fatalf("%s at %s, want %s at %s", said.State, said.Level, test.state, test.level)
			}
			if test.decision != "" && said.Decision != test.decision {
				t.Fatalf("decision %s, want %s", said.Decision, test.decision)
			}
			if test.reason != "" && (len(said.Reasons) == 0 || said.Reasons[0].Code != test.reason || said.Reasons[0].Fix == "") {
				t.Fatalf("reasons %+v, want %s and its fix", said.Reasons, test.reason)
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) > 0 {
				t.Fatalf("left behind: %v %v", left, err)
			}
		})
	}
}

// TestLocalserveInvites runs it as a person does, and does in a browser what it
// says: register, link this machine, see what muster knows.
func TestLocalserveInvites(t *testing.T) {
	t.Parallel()
	program, _ := servertest.Programs(t)
	dir := t.TempDir()
	cmd := exec.Command(program, "localserve", "--tpm", "none")
	cmd.Env, cmd.Stderr = append(os.Environ(), "TMPDIR="+dir), t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	wanted := []*regexp.Regexp{
		regexp.MustCompile(`sample application "wiki" now\?  ALLOW$`),
		regexp.MustCompile(`register your passkey, .*  http://id\.muster\.localhost:[0-9]+/invitation#mso_[A-Za-z0-9_-]{43}$`),
		regexp.MustCompile(`link this machine .*  http://id\.muster\.localhost:[0-9]+/link$`),
		regexp.MustCompile(`see what muster knows .*  http://id\.muster\.localhost:[0-9]+/laptops$`),
		regexp.MustCompile(`open the sample application: .*  http://wiki\.muster\.localhost:[0-9]+/$`),
	}
	var links []string
	lines := bufio.NewScanner(stdout)
	for len(wanted) > 0 && lines.Scan() {
		if wanted[0].MatchString(lines.Text()) {
			wanted = wanted[1:]
		}
		if _, link, ok := strings.Cut(lines.Text(), "  http://"); ok && strings.Contains(link, "mso_") {
			links = append(links, "http://"+link)
		}
	}
	if len(wanted) > 0 || len(links) != 1 {
		t.Fatalf("it did not say %v; %d links", wanted, len(links))
	}
	go func() {
		for lines.Scan() { // or it would wait for a reader
		}
	}()
	walk(t, links[0])
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// walk is what localserve tells a person to do.
func walk(t *testing.T, link string) {
	t.Helper()
	tab := browsertest.Start(t).Profile().Tab()
	tab.Authenticator(false, false)
	tab.Go(link)
	tab.Click(`form[data-ceremony="/invitation"] button.main`)
	tab.At("/")
	origin := link[:strings.LastIndex(link, "/")]
	tab.Go(origin + "/link")
	tab.Click(`[data-way="loopback"]`)
	tab.At("/")
	tab.See("This browser is linked to it")
	tab.Go(origin + "/laptops")
	tab.See("This browser is linked to it", "Disk encryption")

	// The sample application is open; one that asks for protected keys says why it
	// is not, and what to do.
	at := func(name string) string { return strings.Replace(origin, "://id.", "://"+name+".", 1) + "/" }
	tab.Go(at("wiki"))
	tab.See("You are in", "(software)")
	shot(tab, "localserve-wiki")
	tab.Go(at("git"))
	tab.See("protected-keys", "Turn on a firewall")
	shot(tab, "localserve-refused")
}

// shot keeps a picture where MUSTER_TEST_PICTURES names a folder.
func shot(tab *browsertest.Tab, name string) {
	if dir := os.Getenv("MUSTER_TEST_PICTURES"); dir != "" {
		tab.Shot(filepath.Join(dir, name+".png"))
	}
}

// TestServeAsksForAdministrator: a service says which command makes the first
// link, and puts no link into its log.
func TestServeAsksForAdministrator(t *testing.T) {
	t.Parallel()
	srv := servertest.Launch(t, servertest.Named())
	servertest.Wait(t, "it says that nobody can administer", func() bool { return srv.Said("muster-server user first-link") })
	admin := srv.Administrator()
	if srv.Said("mso_") {
		t.Error("a link is in the log")
	}
	if srv.Restart(); !admin.SignedIn() {
		t.Error("the administrator is not signed in any more")
	}
}

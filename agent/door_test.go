package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/platform"
	"muster/platform/seat"
)

// shortDir is a folder whose sockets have paths that systems take, which every
// account may enter.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "door")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newDoor runs an agent with a door, for whoever the rig says that connects.
func newDoor(t *testing.T) (*rig, *linkServer, *Door) {
	t.Helper()
	r := newRig(t, nil)
	l := newLinkServer(r.server)
	r.peer, r.seated = seat.Peer{User: "1000"}, []seat.Session{{ID: "3", User: "1000"}}
	r.settings.doors = []string{filepath.Join(shortDir(t), doorFile)}
	stop := r.start()
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	door := r.settings.Door()
	for range 200 {
		if _, err := door.Status(t.Context(), false); !errors.Is(err, errNoAgent) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return r, l, door
}

const testAddress = linkScheme + "link-1/"

func TestDoor(t *testing.T) {
	_, l, door := newDoor(t)
	ctx := t.Context()
	s, err := door.Status(ctx, true)
	if err != nil || s.Device != "device-1" || !s.Fit || !s.Asked || s.Server != testOrigin {
		t.Fatalf("%+v, %v", s, err)
	}
	l.set(func() { l.reply = attest.LinkReply{URL: testOrigin + "/link#x"} })
	offer, err := door.Offer(ctx, testAddress+attest.Digest{1}.String())
	if err != nil || offer.Person != "alice" || len(l.proofs) != 0 {
		t.Fatalf("%+v, %v; %d proofs before the person agreed", offer, err, len(l.proofs))
	}
	if reply, err := door.Prove(ctx, offer, attest.WayApp); err != nil || reply.URL != testOrigin+"/link#x" {
		t.Errorf("%+v, %v", reply, err)
	}
	l.set(func() { l.reply = attest.LinkReply{Code: "ABCD-EFGH"} })
	offers, err := door.Offers(ctx)
	if err != nil || len(offers) != 1 {
		t.Fatalf("%+v, %v", offers, err)
	}
	if reply, err := door.Prove(ctx, &offers[0], attest.WayCode); err != nil || reply.Code != "ABCD-EFGH" {
		t.Errorf("%+v, %v", reply, err)
	}
	if reply, err := door.Recover(ctx); err != nil || reply.Code != "ABCD-EFGH" {
		t.Errorf("%+v, %v", reply, err)
	}
	var ways []string
	for _, ask := range l.asks {
		ways = append(ways, ask.Way)
	}
	if got := strings.Join(ways, ","); got != "app,app,code,code," || !l.asks[4].Recover || len(l.proofs) != 3 {
		t.Errorf("asked %q, %d proofs", got, len(l.proofs))
	}
	l.set(func() { l.offers = nil })
	if offers, err := door.Offers(ctx); err != nil || len(offers) != 0 {
		t.Errorf("nobody asks: %+v, %v", offers, err)
	}
	_, err = door.Offer(ctx, "muster://link/x")
	wantCode(t, "no address", err, codeForm)
	if len(Hints(err)) == 0 {
		t.Error("no hint")
	}
	// What others wrote reaches no terminal as it is, and a long list is cut.
	bad := testOffer()
	bad.Browser, bad.Person = "\x1b]0;x\a", strings.Repeat("x", 1000)
	l.set(func() {
		for range 2 * attest.MaxOffers {
			l.offers = append(l.offers, bad)
		}
	})
	offers, err = door.Offers(ctx)
	if err != nil || len(offers) != attest.MaxOffers || offers[0].Browser != "?]0;x?" || len(offers[0].Person) != maxPlain {
		t.Errorf("%d offers, %.300q, %v", len(offers), offers, err)
	}
}

// talk writes text and returns what comes until the other side ends.
func talk(t *testing.T, path, text string) string {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, text) // who is refused may be cut off before
	_ = c.SetReadDeadline(time.Now().Add(2 * doorRead))
	b, err := io.ReadAll(c)
	if err != nil && len(b) == 0 {
		t.Fatal(err)
	}
	return string(b)
}

func TestDoorRefuses(t *testing.T) {
	r, l, door := newDoor(t)
	path := r.settings.doorPath()
	nonce := attest.Digest{1}.String()
	for name, text := range map[string]string{
		"no JSON":             "hello\n",
		"no operation":        "{}\n",
		"another operation":   `{"op":"enroll"}` + "\n",
		"a member too much":   `{"op":"status","user":"0"}` + "\n",
		"a member twice":      `{"op":"offers","op":"status"}` + "\n",
		"two values":          `{"op":"status"}{"op":"status"}` + "\n",
		"half a request":      `{"op":"link","link":"a"}` + "\n",
		"path for an id":      `{"op":"link","link":"../a","nonce":"` + nonce + `"}` + "\n",
		"proof without a way": `{"op":"prove","link":"a","nonce":"` + nonce + `"}` + "\n",
		"a page's way":        `{"op":"prove","link":"a","nonce":"` + nonce + `","way":"loopback"}` + "\n",
		"too long":            `{"op":"status"` + strings.Repeat(" ", doorQuestion) + "}\n",
	} {
		if got := talk(t, path, text); !strings.Contains(got, `"declined":{"code":"`+codeForm) || !strings.HasSuffix(got, "\n") {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, c := range map[string]struct {
		peer seat.Peer
		code string
	}{
		"another account": {seat.Peer{User: "1001"}, codeUser},
		"nobody knows":    {seat.Peer{}, codeUnknown},
		"forwarded":       {seat.Peer{User: "1000", Forwarder: "sshd"}, codeForwarded},
	} {
		r.set(func() { r.peer = c.peer })
		for _, ask := range []func() error{
			func() error { _, err := door.Status(t.Context(), false); return err },
			func() error { _, err := door.Offers(t.Context()); return err },
			func() error { _, err := door.Recover(t.Context()); return err },
		} {
			wantCode(t, name, ask(), c.code)
		}
	}
	r.set(func() { r.peer = seat.Peer{User: "0"} })
	if _, err := door.Status(t.Context(), false); err != nil {
		t.Errorf("root: %v", err)
	}
	if len(l.asks) != 0 || len(l.proofs) != 0 {
		t.Errorf("the server was asked %d times, %d proofs", len(l.asks), len(l.proofs))
	}
}

func TestDoorIsBounded(t *testing.T) {
	r, _, door := newDoor(t)
	path := r.settings.doorPath()
	// Who says nothing is cut off; meanwhile others are answered, up to a number.
	began := time.Now()
	var silent []net.Conn
	for range doorConns - 1 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	if _, err := door.Status(t.Context(), false); err != nil {
		t.Errorf("beside silent ones: %v", err)
	}
	_ = silent[0].SetReadDeadline(began.Add(3 * doorRead))
	b, err := io.ReadAll(silent[0])
	if took := time.Since(began); err != nil || !strings.Contains(string(b), codeForm) || took < doorRead-time.Second {
		t.Errorf("after %v: %q, %v", took, b, err)
	}
	limited := 0
	for range 2 * doorMinute {
		if _, err := door.Status(t.Context(), false); err != nil {
			wantCode(t, "too many", err, codeRateLimited)
			limited++
		}
	}
	if limited < doorMinute {
		t.Errorf("%d of %d were limited", limited, 2*doorMinute)
	}
}

func TestOpenDoor(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "run", doorFile)
	l, err := openDoor(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o666 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	l.SetUnlinkOnClose(false) // as a kill leaves it
	_ = l.Close()
	if l, err = openDoor(path); err != nil {
		t.Fatalf("in place of a dead one: %v", err)
	}
	_ = l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	for name, spoil := range map[string]func() string{
		"a file": func() string {
			return errPath(os.WriteFile(filepath.Join(dir, "f"), nil, 0o600), filepath.Join(dir, "f"))
		},
		"a link to a socket": func() string {
			return errPath(os.Symlink(path, filepath.Join(dir, "l")), filepath.Join(dir, "l"))
		},
		"a folder of others": func() string {
			return errPath(errors.Join(os.Mkdir(filepath.Join(dir, "o"), 0o777), os.Chmod(filepath.Join(dir, "o"), 0o777)), filepath.Join(dir, "o", doorFile))
		},
		"a long path": func() string { return filepath.Join(dir, strings.Repeat("x", doorPath), doorFile) },
	} {
		place := spoil()
		if l, err := openDoor(place); err == nil {
			_ = l.Close()
			t.Errorf("%s was taken", name)
		}
	}
}

func errPath(err error, path string) string {
	if err != nil {
		panic(err)
	}
	return path
}

func TestDoorsOf(t *testing.T) {
	p := platform.Paths{StateDir: "/home/a/state", RunDir: "/run/user/1000/muster", SystemRunDir: "/run/muster-agent"}
	for _, c := range []struct {
		stateDir string
		paths    platform.Paths
		want     string
	}{
		{"/home/a/state", p, "/run/user/1000/muster/agent.sock /run/muster-agent/agent.sock"},
		{"/elsewhere", p, "/elsewhere/agent.sock"},
		{"/s", platform.Paths{StateDir: "/s", RunDir: "/run/muster-agent", SystemRunDir: "/run/muster-agent"}, "/run/muster-agent/agent.sock"},
		{"", platform.Paths{}, ""},
	} {
		if got := strings.Join(doorsOf(c.stateDir, c.paths), " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.stateDir, got, c.want)
		}
	}
}

func TestDoorWithoutAnAgent(t *testing.T) {
	dir := shortDir(t)
	dead := filepath.Join(dir, "dead")
	l, err := openDoor(dead)
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	door := &Door{[]string{filepath.Join(dir, "none"), dead}}
	if _, err := door.Status(t.Context(), false); !errors.Is(err, errNoAgent) || len(Hints(err)) == 0 {
		t.Errorf("%v", err)
	}
	// What answers there may be no agent.
	other, err := openDoor(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	answers := make(chan string, 1)
	go func() {
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, <-answers)
			_ = c.Close()
		}
	}()
	door = &Door{[]string{filepath.Join(dir, "other")}}
	for name, text := range map[string]string{
		"nothing": "", "no line": `{"standing":{}}`, "another member": `{"x":1}` + "\n", "an empty answer": "{}\n",
		"another answer": `{"reply":{"expire_s":1}}` + "\n", "endless": strings.Repeat("x", doorAnswer+1) + "\n",
	} {
		answers <- text
		if s, err := door.Status(context.Background(), false); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func FuzzDoor(f *testing.F) {
	nonce := attest.Digest{1}.String()
	for _, s := range []string{
		`{"op":"status"}`, `{"op":"status","ask":true}`, `{"op":"offers"}`, `{"op":"recover"}`, `{"op":"link","link":"a","nonce":"` + nonce + `"}`,
		`{"op":"prove","link":"a","nonce":"` + nonce + `","way":"app"}`, `{"op":"prove","way":"loopback"}`, `{}`, `null`, `[`, `{"op":"status"}{}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		ask, err := parseDoorAsk(line)
		if err != nil {
			if ask != nil || declinedOf(err).Code != codeForm {
				t.Errorf("%q: %+v, %v", line, ask, err)
			}
			return
		}
		named := ask.Op == opLink || ask.Op == opProve
		if named != (ask.Link != "") || named != !ask.Nonce.IsZero() || (ask.Op == opProve) != (ask.Way != "") || ask.Way == attest.WayLoopback {
			t.Errorf("%q is read as %+v", line, ask)
		}
		b, err := attest.Encode(ask)
		if again, err2 := parseDoorAsk(b); err != nil || err2 != nil || *again != *ask {
			t.Errorf("%q reads differently when written again: %v, %v", line, err, err2)
		}
	})
}

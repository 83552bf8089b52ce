package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"muster/attest"
	"muster/platform"
)

// The limits of the door.
const (
	doorFile     = "agent.sock"
	doorQuestion = 4 << 10  // bytes of a question
	doorAnswer   = 64 << 10 // bytes of an answer
	doorConns    = 16       // open at once
	doorRead     = 5 * time.Second
	doorWrite    = 5 * time.Second
	doorMinute   = 30  // questions of one account in a minute
	doorPath     = 100 // bytes of its path: systems take 104 to 108
)

// What can be asked at the door.
const (
	opLink    = "link"    // who asks, for a request of a page; Link and Nonce
	opOffers  = "offers"  // which requests by code there are
	opProve   = "prove"   // prove one: Link, Nonce, Way
	opRecover = "recover" // prove that this is the laptop of a person who lost their passkeys
	opStatus  = "status"  // where this device stands; Ask: by the server's word
)

// doorAsk is one line of strict JSON.
type doorAsk struct {
	Op    string        `json:"op"`
	Link  string        `json:"link,omitempty"`
	Nonce attest.Digest `json:"nonce,omitzero"`
	Way   string        `json:"way,omitempty"`
	Ask   bool          `json:"ask,omitempty"`
}

// doorReply answers it, in one line. Exactly one member is there.
type doorReply struct {
	Offers   []attest.LinkOffer `json:"offers,omitzero"`
	Reply    *attest.LinkReply  `json:"reply,omitempty"`
	Standing *Standing          `json:"standing,omitempty"`
	Declined *declined          `json:"declined,omitempty"`
}

// doorsOf returns where the sockets of a person's commands are: beside a state
// folder that was chosen, else in the run folder of this account, and then in
// that of the service.
func doorsOf(stateDir string, p platform.Paths) []string {
	if stateDir != p.StateDir {
		return []string{filepath.Join(stateDir, doorFile)}
	}
	var doors []string
	for _, dir := range []string{p.RunDir, p.SystemRunDir} {
		if dir != "" && (len(doors) == 0 || filepath.Dir(doors[0]) != dir) {
			doors = append(doors, filepath.Join(dir, doorFile))
		}
	}
	return doors
}

// doorPath is where the running agent has its own; empty: nowhere.
func (s *Settings) doorPath() string {
	if len(s.doors) == 0 {
		return ""
	}
	return s.doors[0]
}

// keepDoor serves the door until ctx ends. Anybody may connect; who does is asked
// of the system.
func (a *Agent) keepDoor(ctx context.Context, path string) error {
	l, err := openDoor(path)
	if err != nil {
		return fmt.Errorf("opening the door: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, doorConns)
	asked := &quota{most: doorMinute, per: time.Minute}
	for {
		// Strangers are gone at once, so others wait at most for who is slow.
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		c, err := l.AcceptUnix()
		if err != nil {
			return fmt.Errorf("waiting at the door: %w", err)
		}
		wg.Go(func() {
			defer func() { <-room }()
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			a.visit(ctx, c, asked)
		})
	}
}

// openDoor makes the socket, in place of one that an agent before us left.
func openDoor(path string) (*net.UnixListener, error) {
	if len(path) > doorPath {
		return nil, fmt.Errorf("path %s is longer than %d bytes", path, doorPath)
	}
	dir := filepath.Dir(path)
	if err := makeDoorDir(dir); err != nil {
		return nil, err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() || runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s is no folder, or others may write in it", dir)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case runtime.GOOS != "windows" && info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is no socket: move it away", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// makeDoorDir makes a missing folder, into which everybody may look whatever our
// umask; one that is there stays as it is.
func makeDoorDir(dir string) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// visit answers one question.
func (a *Agent) visit(ctx context.Context, c *net.UnixConn, asked *quota) {
	reply, err := a.hear(ctx, c, asked)
	if err != nil {
		reply = &doorReply{Declined: declinedOf(err)}
	}
	b, err := attest.Encode(reply)
	if err != nil || len(b) >= doorAnswer {
		a.Log.Error("answer at the door not written", "error", err, "bytes", len(b))
		return
	}
	_ = c.SetWriteDeadline(time.Now().Add(doorWrite))
	_, _ = c.Write(append(b, '\n')) // who left hears nothing
}

// hear finds out who asks, then reads, then has the running agent answer.
func (a *Agent) hear(ctx context.Context, c *net.UnixConn, asked *quota) (*doorReply, error) {
	p, err := a.UnixPeer(c)
	if err := a.admit(p, err, owners()...); err != nil {
		return nil, err
	}
	if !asked.take(p.User, a.Up()) {
		return nil, decline(codeRateLimited, "Too many requests.", "Try again in a minute.")
	}
	_ = c.SetReadDeadline(time.Now().Add(doorRead))
	line, err := readLine(c, doorQuestion)
	if err != nil {
		return nil, decline(codeForm, "The question is no line of at most 4 kB.", "Update muster-agent on both sides.")
	}
	ask, err := parseDoorAsk(line)
	if err != nil {
		return nil, err
	}
	v, err := a.await(ctx, func(ctx context.Context) (any, error) { return a.attend(ctx, ask, p.User) })
	if err != nil {
		return nil, err
	}
	return v.(*doorReply), nil
}

// readLine reads one line of at most limit bytes, its end not counted.
func readLine(r io.Reader, limit int) ([]byte, error) {
	line, err := bufio.NewReaderSize(r, limit+1).ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return line[:len(line)-1], nil
}

// parseDoorAsk reads a question strictly: each has its own members and no other.
func parseDoorAsk(line []byte) (*doorAsk, error) {
	ask := new(doorAsk)
	wrong := decline(codeForm, "The agent does not understand the question.", "Update muster-agent and restart its service.")
	if err := attest.Decode(line, ask); err != nil {
		return nil, wrong
	}
	named := linkID(ask.Link) && !ask.Nonce.IsZero()
	none := ask.Link == "" && ask.Nonce.IsZero() && ask.Way == ""
	ok := false
	switch ask.Op {
	case opLink:
		ok = named && ask.Way == "" && !ask.Ask
	case opProve:
		ok = named && (ask.Way == attest.WayApp || ask.Way == attest.WayCode) && !ask.Ask
	case opOffers, opRecover:
		ok = none && !ask.Ask
	case opStatus:
		ok = none
	}
	if !ok {
		return nil, wrong
	}
	return ask, nil
}

// attend answers a question on the agent's own goroutine.
func (a *Agent) attend(ctx context.Context, ask *doorAsk, user string) (*doorReply, error) {
	switch ask.Op {
	case opStatus:
		return &doorReply{Standing: a.stands(ctx, ask.Ask)}, nil
	case opOffers:
		offers, err := a.offers(ctx, attest.LinkAsk{Way: attest.WayCode})
		if offers == nil {
			offers = []attest.LinkOffer{}
		}
		return &doorReply{Offers: offers}, err
	case opLink:
		offer, err := a.offer(ctx, attest.LinkAsk{Link: ask.Link, Nonce: ask.Nonce, Way: attest.WayApp})
		if err != nil {
			return nil, err
		}
		return &doorReply{Offers: []attest.LinkOffer{*offer}}, nil
	case opProve:
		reply, err := a.prove(ctx, attest.LinkAsk{Link: ask.Link, Nonce: ask.Nonce, Way: ask.Way}, user)
		return &doorReply{Reply: reply}, err
	case opRecover:
		reply, err := a.prove(ctx, attest.LinkAsk{Recover: true}, user)
		return &doorReply{Reply: reply}, err
	}
	return nil, decline(codeForm, "The agent does not understand the question.", "Update muster-agent.")
}

package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
)

// bareEnv makes this program the bare server instead of tests: a process of its
// own, as its contenders are.
const bareEnv = "MUSTER_BENCH_BARE"

// bare is the least that an answer can cost: net/http, one look-up in a map, and
// the same bytes as muster answers.
type bare struct {
	Cookies  map[string][]header // by value of the application's cookie; the answer to a check
	Sessions map[string]string   // by id; the answer to an evaluation
}

// header is one of an answer, as net/http has it.
type header struct {
	Name   string
	Values []string
}

const appCookie = "__Host-muster-app"

func (s *bare) check(w http.ResponseWriter, r *http.Request) {
	c, err := r.Cookie(appCookie)
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	headers, ok := s.Cookies[c.Value]
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h := w.Header()
	for _, one := range headers {
		h[one.Name] = one.Values
	}
	w.WriteHeader(http.StatusOK)
}

func (s *bare) evaluation(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var q struct{ Subject struct{ ID string } }
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	answer, ok := s.Sessions[q.Subject.ID]
	if err != nil || !ok {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, answer)
}

// serveBare is the process: what to answer comes in one line, the address goes out
// in one, and the end of input is the end.
func serveBare() int {
	// As much memory as muster has there; a heap of nothing is collected ten times as
	// often, which is no fair peer.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(bareMemory)
	in := json.NewDecoder(os.Stdin)
	s := new(bare)
	if err := in.Decode(s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /check/nginx/wiki", s.check)
	mux.HandleFunc("POST /access/v1/evaluation", s.evaluation)
	fmt.Println(l.Addr())
	go func() { _ = http.Serve(l, mux) }() // ends with the process
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

const bareMemory = 64 << 20

// startBare runs the bare server, and returns its address and process.
func startBare(b *testing.B, s *bare) (address string, pid int) {
	b.Helper()
	c := exec.Command(os.Args[0])
	c.Env, c.Stderr = append(os.Environ(), bareEnv+"=1"), os.Stderr
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = c.Wait()
	})
	if err := json.NewEncoder(in).Encode(s); err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal("the bare server does not start: ", err)
	}
	return strings.TrimSpace(line), c.Process.Pid
}

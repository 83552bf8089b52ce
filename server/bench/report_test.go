package bench

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/collectors"
	"muster/server"
	"muster/server/servertest"
	"muster/server/verify"
)

func TestMain(m *testing.M) {
	if os.Getenv(bareEnv) != "" {
		os.Exit(serveBare())
	}
	os.Exit(servertest.Main(m))
}

// Devices and statements of one measurement: few enough each for the server's
// rate limit of a device.
const (
	devices    = 300
	statements = 24
)

// serverPID is the process of the real server that keeps its data there.
func serverPID(b *testing.B, dataDir string) int {
	b.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		command, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(command, []byte("\x00"+dataDir+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			b.Fatal(err)
		}
		return pid
	}
	b.Skip("no /proc to read the server's processor time from")
	return 0
}

// spent is what processes used, in user and kernel mode, from /proc/PID/stat
// (proc(5)); its ticks are 10 ms.
func spent(b *testing.B, pids ...int) (all time.Duration) {
	b.Helper()
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, err1 := strconv.Atoi(fields[11])
		system, err2 := strconv.Atoi(fields[12])
		if err1 != nil || err2 != nil {
			b.Fatal(err1, err2)
		}
		all += time.Duration(user+system) * 10 * time.Millisecond
	}
	return all
}

// BenchmarkReport measures the whole path of a statement in a real server
// process, from bytes on a kept-alive connection to the commit and the reply:
// the server's processor time for each, from one connection at a time and from
// a hundred at once, which share commits.
func BenchmarkReport(b *testing.B) {
	for _, c := range []struct {
		name        string
		full        bool
		connections int
	}{
		{"full-report/1-connection", true, 1},
		{"full-report/100-connections", true, 100},
		{"heartbeat/1-connection", false, 1},
		{"heartbeat/100-connections", false, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			full := c.full
			s := servertest.Launch(b, func(config *server.Config) {
				config.ReportEvery = 3600
				config.Policy = "testdata/policy.yaml"
				config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			})
			token := s.Token(server.TokenRequest{Class: verify.ClassCorporate, Uses: devices, ExpiresS: 600, MinLevel: verify.Software})
			fleet := make([]*servertest.SoftDevice, devices)
			for i := range fleet {
				var err error
				if fleet[i], err = s.SoftDevice(token, fmt.Sprintf("192.0.2.%d", i%250), nil); err != nil {
					b.Fatal(err)
				}
				fleet[i].Claims = healthy(b)
			}
			pid := serverPID(b, s.Config.DataDir)
			before, start := spent(b, pid), time.Now()
			report(b, fleet, full, c.connections)
			wall := time.Since(start)
			each := float64((spent(b, pid) - before).Microseconds()) / (devices * statements)
			bare := bareVerify(b)
			b.ReportMetric(bare, "bare-p256-verify-µs")
			b.ReportMetric(each/bare, "ratio")
			b.ReportMetric(each, "server-CPU-µs/statement")
			b.ReportMetric(devices*statements/wall.Seconds(), "statements/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// bareVerify measures the one signature check in a statement's path, in the same
// run: the machine's speed, to read the others by.
func bareVerify(b *testing.B) float64 {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	sum := sha256.Sum256(nil)
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	const times = 4000
	start := time.Now()
	for range times {
		if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
			b.Fatal(errSignature)
		}
	}
	return float64(time.Since(start).Microseconds()) / times
}

// healthy is this machine's own report, about 4 kB as a JWS, with every claim
// that could not be told, or is bad here, as on a laptop in order.
func healthy(b *testing.B) *posture.Claims {
	b.Helper()
	tree, err := collectors.NewTree("/")
	if err != nil {
		b.Fatal(err)
	}
	claims := collectors.Refresh(b.Context(), &collectors.Machine{Tree: tree, Now: time.Now}, collectors.Cheap,
		posture.Unfilled(time.Now(), posture.NotCollected))
	for _, c := range claims.Each() {
		c.State, c.Reason = posture.Yes, ""
	}
	return &claims
}

// report sends every statement of every device, from so many workers.
func report(b *testing.B, fleet []*servertest.SoftDevice, full bool, connections int) {
	b.Helper()
	queue := make(chan *servertest.SoftDevice, len(fleet))
	for _, d := range fleet {
		queue <- d
	}
	close(queue)
	var workers sync.WaitGroup
	for range connections {
		workers.Go(func() {
			for d := range queue {
				for range statements {
					if err := one(d, full); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	workers.Wait()
}

func one(d *servertest.SoftDevice, full bool) error {
	body, digest, err := d.Compose(full)
	if err != nil {
		return err
	}
	status, reply, err := d.Post(attest.PathReport, body)
	if err != nil {
		return err
	}
	if status != 200 {
		return fmt.Errorf("statement answered %d %s", status, reply)
	}
	return d.Took(reply, digest, full)
}

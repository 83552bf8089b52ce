package bench

import (
	"bytes"
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

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// Devices and statements of one measurement: few enough each for the server's
// rate limit of a device.
const (
	devices    = 300
	statements = 24
)

// processorTime is what a process used, in user and kernel mode, from
// /proc/PID/stat (proc(5)); its ticks are 10 ms.
func processorTime(b *testing.B, dataDir string) time.Duration {
	b.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		command, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(command, []byte(dataDir)) {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(file), "stat"))
		if err != nil {
			b.Fatal(err)
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, err1 := strconv.Atoi(fields[11])
		system, err2 := strconv.Atoi(fields[12])
		if err1 != nil || err2 != nil {
			b.Fatal(err1, err2)
		}
		return time.Duration(user+system) * 10 * time.Millisecond
	}
	b.Skip("no /proc to read the server's processor time from")
	return 0
}

// BenchmarkReport measures the whole path of a statement in a real server
// process, from bytes on a kept-alive connection to the commit and the reply:
// the server's processor time for each. Devices report from several connections
// at once, as a fleet does.
func BenchmarkReport(b *testing.B) {
	for _, full := range []bool{true, false} {
		name := map[bool]string{true: "full-report", false: "heartbeat"}[full]
		b.Run(name, func(b *testing.B) {
			s := servertest.Launch(b, func(c *server.Config) {
				c.ReportEvery = 3600
				c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
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
			before, start := processorTime(b, s.Config.DataDir), time.Now()
			report(b, fleet, full)
			wall := time.Since(start)
			each := float64((processorTime(b, s.Config.DataDir) - before).Microseconds()) / (devices * statements)
			b.ReportMetric(each, "server-CPU-µs/statement")
			b.ReportMetric(devices*statements/wall.Seconds(), "statements/s")
			b.ReportMetric(0, "ns/op")
		})
	}
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

// report sends every statement of every device, from 20 workers.
func report(b *testing.B, fleet []*servertest.SoftDevice, full bool) {
	b.Helper()
	queue := make(chan *servertest.SoftDevice, len(fleet))
	for _, d := range fleet {
		queue <- d
	}
	close(queue)
	var workers sync.WaitGroup
	for range 20 {
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

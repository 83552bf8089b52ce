package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"muster/attest"
	"muster/server"
	"muster/server/servertest"
	"muster/server/verify"
)

// withPolicy is an option: this policy, and a report every so many seconds.
func withPolicy(t *testing.T, yaml string, every int) func(*server.Config) {
	return func(c *server.Config) {
		c.Policy, c.ReportEvery = servertest.File(t, "policy.yaml", yaml), every
	}
}

const shortLease = `
limits:
  report_age: 5s
apps:
  - {id: board, sensitivity: low, devices: true}
require: []
`

// No report comes any more: the answer changes by itself when the lease ends, and
// comes back with the reports.
func TestLeaseEnds(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, withPolicy(t, shortLease, 1))
	gateway := srv.Gateway("board")
	laptop := srv.Laptop("laptop", "none", srv.Token(softToken))
	id := laptop.Enrol().Device
	laptop.Start()
	allowed := func() bool { return gateway.Ask(id, "board").Allowed }
	servertest.Wait(t, "the board is open", allowed)
	laptop.Kill()
	servertest.Wait(t, "the lease ends", func() bool {
		answer := gateway.Ask(id, "board")
		return !answer.Allowed && answer.Outcome == "deny" && answer.Has("report-stale")
	})
	if last := srv.Device(id).LastReport; time.Since(last) < 5*time.Second {
		t.Fatalf("the lease ended %v after the last report's nonce, want 5s", time.Since(last))
	}
	if standing := laptop.Status(); standing.Fit || !standing.Has("report-stale") {
		t.Fatalf("the laptop is told %+v", standing.Decision)
	}
	laptop.Start()
	servertest.Wait(t, "the board is open again", allowed)
}

const currentRelease = `
apps:
  - {id: board, sensitivity: low, devices: true}
require:
  - {id: current-release, that: "version_at_least(device.os.version, '2')", otherwise: deny}
`

// A claim changes while the next report is an hour away: the agent reports at
// once, and the gateway's answer turns.
func TestChangeIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, withPolicy(t, currentRelease, 3600))
	gateway := srv.Gateway("board")
	laptop := srv.Laptop("laptop", "none", srv.Token(softToken))
	laptop.Upgrade("1")
	standing := laptop.Enrol()
	if standing.Fit || !standing.Has("current-release") {
		t.Fatalf("the old release is fit: %+v", standing)
	}
	laptop.Start()
	for _, release := range []string{"2", "1"} {
		began := time.Now()
		laptop.Upgrade(release)
		servertest.Wait(t, "the answer turns", func() bool {
			return gateway.Ask(standing.Device, "board").Allowed == (release == "2")
		})
		t.Logf("release %s was in the answer after %v", release, time.Since(began).Round(time.Millisecond))
	}
}

// A disk is copied to a second machine, both report: neither is believed, until
// an administrator who found the copy approves the device again.
func TestCloned(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, open(t))
	gateway := srv.Gateway("board")
	laptop := srv.Laptop("laptop", "none", srv.Token(softToken))
	id := laptop.Enrol().Device
	laptop.Start()
	srv.NextReport(id)
	laptop.Stop()
	clone := laptop.Copy("clone")
	laptop.Start()
	clone.Start()
	cloned := func(x verify.Finding) bool { return x.Code == verify.FindingCloned && x.Tier == verify.Contraindicated }
	servertest.Wait(t, "the clone is noticed", func() bool {
		return slices.ContainsFunc(srv.Device(id).Result.Findings, cloned)
	})
	if answer := gateway.Ask(id, "board"); answer.Allowed || !answer.Has(verify.FindingCloned) {
		t.Fatalf("two copies of one device: %+v, want deny for %s", answer, verify.FindingCloned)
	}
	clone.Kill()
	srv.NextReport(id)
	if gateway.Ask(id, "board").Allowed {
		t.Fatal("the finding went away by itself")
	}
	if err := srv.Approve(id, srv.Device(id).CompareCode); err != nil {
		t.Fatal(err)
	}
	servertest.Wait(t, "the approved device is back", func() bool { return gateway.Ask(id, "board").Allowed })
}

// A backup is put back: a new epoch begins, the laptop goes on by itself, what was
// revoked since stays revoked, and who enrolled since is unknown.
func TestRestoredBackup(t *testing.T) {
	t.Parallel()
	wire := servertest.NewWire(t)
	f := enrolled(t, wire.Between)
	stolen, err := f.srv.SoftDevice(f.srv.Token(softToken), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	f.laptop.Start()
	f.srv.NextReport(f.device)
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := f.srv.Control("POST", "/backup", server.BackupRequest{To: backup}, nil); err != nil {
		t.Fatal(err)
	}
	f.srv.NextReport(f.device)
	f.srv.Revoke(stolen.ID, "stolen after the backup")
	newcomer, err := f.srv.SoftDevice(f.srv.Token(softToken), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	before := epoch(t, f.srv)

	f.srv.Stop()
	if _, err := server.Restore(context.Background(), f.srv.Config, backup, false); err != nil {
		t.Fatal(err)
	}
	f.srv.Start()
	if after := epoch(t, f.srv); after <= before {
		t.Fatalf("epoch %d after %d", after, before)
	}
	if answer := f.gateway.Ask(stolen.ID, "board"); answer.Allowed || !answer.Has("revoked") {
		t.Fatalf("the stolen laptop after the restore: %+v, want deny for revoked", answer)
	}
	view := f.srv.NextReport(f.device)
	if view.State != attest.Active || len(view.Result.Findings) > 0 || !f.opens("vault") {
		t.Fatalf("the laptop after the restore: %s, %+v, %+v", view.State, view.Result.Findings, view.Decision)
	}
	resync := func(x servertest.Exchange) bool { return problem(x.Reply) == attest.CodeResync }
	if !slices.ContainsFunc(wire.Seen(attest.PathReport), resync) {
		t.Fatal("a statement of the old epoch was taken as if nothing had happened")
	}
	status, reply, err := newcomer.Post(attest.PathStatus, []byte("{}"))
	if err != nil || status != http.StatusUnauthorized || problem(reply) != attest.CodeDeviceUnknown {
		t.Fatalf("who enrolled after the backup: %d %s %v, want %s", status, reply, err, attest.CodeDeviceUnknown)
	}
}

func epoch(t *testing.T, srv *servertest.Server) uint64 {
	t.Helper()
	resp, err := http.Get("http://" + srv.Config.Listen + attest.PathTenant)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var tenant attest.Tenant
	if err := json.NewDecoder(resp.Body).Decode(&tenant); err != nil {
		t.Fatal(err)
	}
	return tenant.Epoch
}

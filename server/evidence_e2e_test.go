package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"muster/attest"
	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/evidence"
	"muster/server/servertest"
	"muster/server/verify"
)

// evidenceFile is what the control socket answers.
type evidenceFile struct {
	File     []byte `json:"file"`
	Decision uint64 `json:"decision"`
	Token    bool   `json:"token"`
}

// exported has a server export the evidence of a device.
func exported(t *testing.T, s *servertest.Server, device, query string) evidenceFile {
	t.Helper()
	var out evidenceFile
	if err := s.Control("GET", "/evidence/"+url.PathEscape(device)+query, nil, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// judgedAgain verifies a file by roots.
func judgedAgain(t *testing.T, file []byte, roots string) (*evidence.Verdict, map[string]string) {
	t.Helper()
	hardware := map[string][]byte{}
	if roots != "" {
		hardware["roots.pem"] = []byte(roots)
	}
	v, err := evidence.Verify(file, hardware, nil)
	if err != nil {
		t.Fatal(err)
	}
	standings := map[string]string{}
	for _, c := range v.Checks {
		standings[c.Point] = c.Standing.String()
		t.Logf("%s\t%s\t%s", c.Standing, c.Point, c.Text)
	}
	return v, standings
}

func wantStandings(t *testing.T, got map[string]string, want string) {
	t.Helper()
	for _, pair := range strings.Fields(want) {
		point, standing, _ := strings.Cut(pair, "=")
		if got[point] != standing {
			t.Errorf("%s is %q, not %s", point, got[point], standing)
		}
	}
}

// sends has a device send a report, or a heartbeat.
func sends(t *testing.T, d *servertest.SoftDevice, full bool) {
	t.Helper()
	body, digest, err := d.Compose(full)
	if err != nil {
		t.Fatal(err)
	}
	status, reply, err := d.Post(attest.PathReport, body)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, reply, err)
	}
	if err := d.Took(reply, digest, full); err != nil {
		t.Fatal(err)
	}
}

// What a decision about a laptop with a TPM rested on is proved again from one file
// and the maker's roots, without the server.
func TestEvidenceOfATPM(t *testing.T) {
	t.Parallel()
	chip, other := tpmtest.Start(t), tpmtest.Start(t)
	srv := servertest.Start(t, func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ek-roots.pem", string(chip.Roots()))}
	})
	laptop := srv.Laptop("laptop", chip.Setting(), srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
	id := laptop.Enrol().Device

	// What was decided when it enrolled can be proved at once.
	enrolled, standings := judgedAgain(t, exported(t, srv, id, "").File, string(chip.Roots()))
	if !enrolled.Whole() {
		t.Error("the evidence of an enrolment is not whole")
	}
	wantStandings(t, standings, "enrolment-statement=proved decision-statement=proved decision=proved result=proved")

	srv.Restart() // it does not know what was told last: the next statement is a decision
	laptop.Start()
	srv.NextReport(id)
	laptop.Stop()

	out := exported(t, srv, id, "")
	if !out.Token {
		t.Error("the export does not tell of the token in it")
	}
	v, standings := judgedAgain(t, out.File, string(chip.Roots()))
	if !v.Holds || !v.Whole() {
		t.Error("the evidence does not hold")
	}
	if v.Content == enrolled.Content {
		t.Error("it is the evidence of the enrolment still")
	}
	wantStandings(t, standings, `audit-entry=proved registered-keys=proved key-templates=proved level=proved activation=server's-word
		certified-dk=proved enrolment-statement=proved statement=proved quote=proved decision-statement=proved
		policy=proved decision=proved result=proved freshness=server's-word`)

	// With no roots, and with another maker's, the level is not shown.
	for _, roots := range []string{"", string(other.Roots())} {
		v, standings := judgedAgain(t, out.File, roots)
		if v.Holds {
			t.Error("the level holds without the right roots")
		}
		wantStandings(t, standings, "level=not-proved statement=proved")
	}

	// The redacted form names nothing, and shows what is left.
	redacted := exported(t, srv, id, "?redacted=1")
	for _, secret := range []string{"laptop", "linux", "kernel", srv.Config.PublicURL} {
		if strings.Contains(string(redacted.File), secret) {
			t.Errorf("the redacted file has %q", secret)
		}
	}
	r, standings := judgedAgain(t, redacted.File, "")
	if !r.Holds || r.Content != v.Content || redacted.Token {
		t.Errorf("the redacted file holds: %v, and is of content %s, not %s", r.Holds, r.Content, v.Content)
	}
	wantStandings(t, standings, "audit-entry=proved level=server's-word certified-dk=proved statement=proved quote=proved left-out=not-proved")
	if again := exported(t, srv, id, ""); string(again.File) == string(out.File) {
		t.Error("two exports are the same, with their times")
	} else if w, _ := judgedAgain(t, again.File, string(chip.Roots())); w.Content != v.Content {
		t.Error("the same decision has another content when it is exported again")
	}
}

// The evidence of a laptop whose TPM was denied since, and allowed again, holds and
// says what it counted for.
func TestEvidenceOfADeniedTPM(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	srv := servertest.Start(t, func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ek-roots.pem", string(chip.Roots()))}
	})
	laptop := srv.Laptop("laptop", chip.Setting(), srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
	id := laptop.Enrol().Device
	for _, denied := range []bool{true, false} {
		deny(t, srv, srv.Device(id).EKSHA256, !denied)
		srv.Restart()
		laptop.Start()
		srv.NextReport(id)
		laptop.Stop()
		out := exported(t, srv, id, "")
		if got := srv.Device(id).Result.Denied; got != denied || !strings.Contains(string(out.File), "ek_denied") {
			t.Errorf("denied is %v, and the file says so: %v", got, strings.Contains(string(out.File), "ek_denied"))
		}
		if v, standings := judgedAgain(t, out.File, string(chip.Roots())); !v.Holds {
			t.Errorf("denied %v: the evidence does not hold: %v", denied, standings)
		}
		if v, standings := judgedAgain(t, exported(t, srv, id, "?redacted=1").File, ""); !v.Holds {
			t.Errorf("denied %v: the redacted evidence does not hold: %v", denied, standings)
		}
	}
}

// A key in a file proves nothing about a machine, and its evidence says so.
func TestEvidenceOfASoftKey(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t)
	device, err := srv.SoftDevice(srv.Token(server.TokenRequest{MinLevel: verify.Software}), "127.0.0.1", nil)
	if err != nil {
		t.Fatal(err)
	}
	sends(t, device, true)
	out := exported(t, srv, device.ID, "")
	v, standings := judgedAgain(t, out.File, "")
	if !v.Holds {
		t.Error("the evidence does not hold")
	}
	wantStandings(t, standings, "level=not-proved registered-keys=proved statement=proved result=proved policy=proved decision=proved quote= certified-dk=")
	if !strings.Contains(strings.Join(v.DoesNotProve, " "), "it is a file") {
		t.Errorf("what it does not prove: %q", v.DoesNotProve)
	}
	if r, _ := judgedAgain(t, exported(t, srv, device.ID, "?redacted=1").File, ""); !r.Holds || r.Content != v.Content {
		t.Error("the redacted file does not hold, or is of another content")
	}
	for query, code := range map[string]string{"?decision=1": "decision-unknown", "?decision=x": "decision-wrong", "?decision=99999": "decision-unknown"} {
		var none evidenceFile
		if err := srv.Control("GET", "/evidence/"+device.ID+query, nil, &none); err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("%s: %v", query, err)
		}
	}
	var none evidenceFile
	if err := srv.Control("GET", "/evidence/nobody", nil, &none); err == nil {
		t.Error("evidence of a device that is none")
	}
}

// After a reboot statements are signed by another boot key, which a statement
// brought: the file has that one too.
func TestEvidenceAfterAReboot(t *testing.T) {
	t.Parallel()
	f := enrolled(t)
	before := f.srv.Device(f.device)
	f.chip.Reboot()
	f.laptop.Start()
	f.quoted(before)
	f.signsAlone()
	f.srv.Restart() // the first statement after it is decided on anew
	f.srv.NextReport(f.device)
	f.laptop.Stop()
	out := exported(t, f.srv, f.device, "")
	v, standings := judgedAgain(t, out.File, string(f.chip.Roots()))
	if !v.Holds {
		t.Error("the evidence does not hold")
	}
	wantStandings(t, standings, "boot-key=proved statement=proved quote=proved result=proved decision=proved decision-statement=proved")
	if r, _ := judgedAgain(t, exported(t, f.srv, f.device, "?redacted=1").File, ""); !r.Holds || r.Content != v.Content {
		t.Error("the redacted file does not hold, or is of another content")
	}
}

package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/attest"
	"muster/attest/bootlog"
	"muster/attest/posture"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
	"muster/server"
	"muster/server/servertest"
	"muster/server/verify"
)

// started is a laptop that speaks the protocol by itself, on a TPM into which a real
// boot log was measured.
type started struct {
	t      *testing.T
	srv    *servertest.Server
	chip   *tpm.TPM
	log    []byte
	id     string
	secret []byte
	seq    uint64
	last   attest.Digest
	nonce  attest.Digest
	kid    attest.Digest // of DK
}

// extended has a chip extend what a log says.
func extended(t *testing.T, chip *tpmtest.TPM, name string) []byte {
	t.Helper()
	log, err := os.ReadFile(filepath.Join("..", "attest", "bootlog", "testdata", name, "binary_bios_measurements"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := bootlog.Parse(log)
	if err != nil {
		t.Fatal(err)
	}
	const noAction = 3
	for i := range parsed.Events {
		e := &parsed.Events[i]
		if digest := parsed.Digest(e, bootlog.SHA256); e.Type != noAction && len(digest) == 32 {
			chip.Extend(e.PCR, [32]byte(digest))
		}
	}
	return log
}

func (s *started) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *started) post(path string, body []byte, reply any) {
	s.t.Helper()
	method := http.MethodPost
	if body == nil {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.srv.Config.Listen+path, bytes.NewReader(body))
	s.must(err)
	if s.id != "" {
		r.Header.Set(attest.HeaderDevice, s.id)
		r.Header.Set(attest.HeaderMAC, attest.MAC(s.secret, path, body).String())
	}
	resp, err := http.DefaultClient.Do(r)
	s.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	s.must(err)
	if resp.StatusCode/100 != 2 {
		s.t.Fatalf("%s: %d %s", path, resp.StatusCode, b)
	}
	if reply != nil {
		s.must(json.Unmarshal(b, reply))
	}
}

func (s *started) encode(v any) []byte {
	s.t.Helper()
	b, err := attest.Encode(v)
	s.must(err)
	return b
}

// states signs a report by DK, with a quote that names the log.
func (s *started) states(h attest.Header) (string, *attest.Quote, attest.Digest) {
	s.t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	report := posture.Report{Agent: "test", Platform: posture.Linux, Profile: posture.Corporate, BootID: "boot-1", CollectedAt: now, Claims: posture.Unfilled(now, posture.NotCollected)}
	h.Kid = s.kid
	signed, err := attest.Sign(s.t.Context(), func(ctx context.Context, d [32]byte) ([]byte, error) { return s.chip.Sign(ctx, attest.DK, d) }, h, s.encode(report))
	s.must(err)
	quote, err := s.chip.Quote(s.t.Context(), attest.QuoteBinding(signed.Input))
	s.must(err)
	quote.LogSHA256 = sha256.Sum256(s.log)
	return string(signed.Compact), quote, signed.Digest
}

func (s *started) enrols(token string) {
	s.t.Helper()
	ctx := s.t.Context()
	id, err := s.chip.Identity(ctx)
	s.must(err)
	dk, err := attest.ParseKey(attest.DK, id.DK)
	s.must(err)
	s.kid, id.DKb = dk.ID, nil // it signs with DK and a quote, always
	begin := s.encode(attest.EnrolBegin{Token: token, Platform: posture.Linux, Identity: id, Name: "started"})
	var tenant attest.Tenant
	var c attest.EnrolChallenge
	var reply attest.EnrolReply
	s.post(attest.PathTenant, nil, &tenant)
	s.post(attest.PathEnrolBegin, begin, &c)
	transcript := attest.EnrolTranscript(begin, c.Session, c.Nonce, s.srv.Config.PublicURL, tenant.Tenant)
	secret, err := s.chip.Activate(ctx, c.CredentialBlob, c.EncryptedSecret)
	s.must(err)
	certify, err := s.chip.Certify(ctx, attest.DK, transcript)
	s.must(err)
	jws, quote, _ := s.states(attest.Header{Typ: attest.TypEnrol, Nonce: c.Nonce, Transcript: transcript})
	s.post(attest.PathEnrolFinish, s.encode(attest.EnrolFinish{
		Session: c.Session, JWS: jws, Proof: attest.EnrolProof(secret, transcript), CertifyDK: &certify, Quote: quote,
	}), &reply)
	s.id, s.secret, s.last, s.nonce = reply.Device, reply.Secret, reply.Next.Accepted, reply.Next.Nonce
}

func (s *started) reports() attest.ReportReply {
	s.t.Helper()
	s.seq++
	jws, quote, digest := s.states(attest.Header{Typ: attest.TypReport, Device: s.id, Nonce: s.nonce, Seq: s.seq, Prev: s.last})
	var reply attest.ReportReply
	s.post(attest.PathReport, s.encode(attest.ReportSubmit{JWS: jws, Quote: quote}), &reply)
	s.last, s.nonce = digest, reply.Nonce
	return reply
}

func (s *started) uploads() {
	s.t.Helper()
	s.post(attest.PathLog+"/"+attest.Digest(sha256.Sum256(s.log)).String(), s.log, nil)
}

// What was measured of a start is proved from the file: the log, its claims, and the
// decision that rests on them, also when the log came after the report.
func TestEvidenceOfAStart(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		chip := tpmtest.Start(t)
		s := &started{t: t, log: extended(t, chip, "sb-shim-grub")}
		s.srv = servertest.Start(t, func(c *server.Config) {
			c.EKRoots = []string{servertest.File(t, "ek-roots.pem", string(chip.Roots()))}
			c.Policy = servertest.File(t, "policy.yaml", startPolicy)
		})
		tenant := attest.Tenant{}
		s.post(attest.PathTenant, nil, &tenant)
		var err error
		s.chip, err = tpm.Open(t.Context(), tpm.Config{Setting: chip.Setting(), Tenant: tenant.Tenant, Secret: bytes.Repeat([]byte{7}, 32)})
		s.must(err)
		t.Cleanup(func() { s.chip.Close() })
		s.enrols(s.srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
		if !late {
			s.uploads()
		}
		if reply := s.reports(); late != !reply.NeedLog.IsZero() {
			t.Errorf("the log is late: %v, and is asked for: %v", late, reply.NeedLog)
		}
		if late {
			before := exported(t, s.srv, s.id, "")
			s.uploads()
			s.reports()
			v, standings := judgedAgain(t, exported(t, s.srv, s.id, fmt.Sprintf("?decision=%d", before.Decision)).File, string(chip.Roots()))
			if !v.Holds || v.Outcome != "deny" {
				t.Errorf("the decision before the log came: it holds is %v, and it is %s", v.Holds, v.Outcome)
			}
			wantStandings(t, standings, "boot-log=proved result=proved decision=proved")
		}
		out := exported(t, s.srv, s.id, "")
		v, standings := judgedAgain(t, out.File, string(chip.Roots()))
		if !v.Holds || v.Outcome != "allow" {
			t.Errorf("log late %v: it holds is %v, and it is %s", late, v.Holds, v.Outcome)
		}
		wantStandings(t, standings, "level=proved quote=proved boot-log=proved references=proved result=proved policy=proved decision=proved statement=proved")
		if !strings.Contains(string(out.File), `"log":`) {
			t.Error("the file has no log")
		}
	}
}

// What rests on the starts that the server remembers is judged again with those that
// it had on record.
func TestEvidenceOfADrift(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	s := &started{t: t, log: extended(t, chip, "sb-shim-grub")}
	s.srv = servertest.Start(t, func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ek-roots.pem", string(chip.Roots()))}
	})
	tenant := attest.Tenant{}
	s.post(attest.PathTenant, nil, &tenant)
	opened := func() {
		var err error
		s.chip, err = tpm.Open(t.Context(), tpm.Config{Setting: chip.Setting(), Tenant: tenant.Tenant, Secret: bytes.Repeat([]byte{7}, 32)})
		s.must(err)
	}
	opened()
	s.enrols(s.srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
	s.uploads()
	s.reports()
	s.chip.Close()
	chip.Reboot()
	s.log = extended(t, chip, "d13-sb-shim-grub")
	opened()
	t.Cleanup(func() { s.chip.Close() })
	s.reports()
	s.uploads()
	s.srv.Restart() // so that the next statement is decided on anew
	s.reports()
	out := exported(t, s.srv, s.id, "")
	v, standings := judgedAgain(t, out.File, string(chip.Roots()))
	if !v.Holds || !strings.Contains(string(out.File), verify.FindingDrift) {
		t.Errorf("it holds is %v, drift is in it: %v", v.Holds, strings.Contains(string(out.File), verify.FindingDrift))
	}
	wantStandings(t, standings, "boot-log=proved result=proved decision=proved")
}

// A decision about keys that the device no longer has is judged by how those
// enrolled.
func TestEvidenceOfFormerKeys(t *testing.T) {
	t.Parallel()
	chip := tpmtest.Start(t)
	s := &started{t: t, log: extended(t, chip, "sb-shim-grub")}
	s.srv = servertest.Start(t, func(c *server.Config) {
		c.EKRoots = []string{servertest.File(t, "ek-roots.pem", string(chip.Roots()))}
		c.Policy = servertest.File(t, "policy.yaml", startPolicy)
	})
	tenant := attest.Tenant{}
	s.post(attest.PathTenant, nil, &tenant)
	var decisions []uint64
	for i := range 2 {
		var err error
		s.chip, err = tpm.Open(t.Context(), tpm.Config{Setting: chip.Setting(), Tenant: tenant.Tenant, Secret: bytes.Repeat([]byte{byte(7 + i)}, 32)})
		s.must(err)
		device := s.id
		s.id, s.seq = "", 0
		s.enrols(s.srv.Token(server.TokenRequest{MinLevel: verify.TPMHardware}))
		if i == 1 && s.id != device {
			t.Fatalf("with another secret it is another device: %s, %s", device, s.id)
		}
		// What is decided when it enrols, anew too, rests on nothing before.
		decisions = append(decisions, exported(t, s.srv, s.id, "").Decision)
		if i == 0 { // it is allowed; the second waits for an approval
			s.uploads()
		}
		s.reports()
		s.chip.Close()
		decisions = append(decisions, exported(t, s.srv, s.id, "").Decision)
	}
	if decisions[1] == decisions[2] {
		t.Fatal("nothing was decided about the new keys")
	}
	for _, n := range decisions {
		out := exported(t, s.srv, s.id, fmt.Sprintf("?decision=%d", n))
		v, standings := judgedAgain(t, out.File, string(chip.Roots()))
		if !v.Holds || v.Decision != n {
			t.Errorf("decision %d: it holds is %v", n, v.Holds)
		}
		wantStandings(t, standings, "registered-keys=proved certified-dk=proved statement=proved result=proved decision=proved")
	}
}

// startPolicy opens the vault to laptops of which Secure Boot was measured.
const startPolicy = `
apps:
  - {id: vault, sensitivity: high, devices: true}
require:
  - {id: secure-boot-on, that: device.secure_boot.state == YES && device.secure_boot.source == MEASURED, otherwise: deny}
`

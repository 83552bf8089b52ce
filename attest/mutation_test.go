package attest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json"

	"muster/attest"
	"muster/attest/bootlog"
	"muster/attest/mutanttest"
)

// With -mutants all, TestMutants judges every mutant, which takes minutes.
var mutants = flag.String("mutants", "some", "some or all")

// sampleOf is how many mutants of each subject are judged.
func sampleOf(t testing.TB, some int) int {
	t.Helper()
	switch *mutants {
	case "some":
		return some
	case "all":
		return 0
	}
	t.Fatalf("-mutants %s", *mutants)
	return 0
}

// TestMutants: no small change of a boot log, a quote, a certify or a statement
// makes it better, ends the program or costs much.
func TestMutants(t *testing.T) {
	subjects := append(statementSubjects(t), logSubjects(t)...)
	if len(subjects) < 10 {
		t.Errorf("only %d subjects", len(subjects))
	}
	mutanttest.Sweep(t, sampleOf(t, 2000), subjects...)
}

// logSubjects are the logs in testdata of bootlog, and those of MUSTER_TEST_DATA
// that are not among them.
func logSubjects(t testing.TB) (subjects []mutanttest.Subject) {
	t.Helper()
	seen := map[string]bool{}
	for _, dir := range []string{"bootlog/testdata", filepath.Join(os.Getenv("MUSTER_TEST_DATA"), "eventlogs")} {
		paths, err := filepath.Glob(filepath.Join(dir, "*", "binary_bios_measurements"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			log, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if seen[string(log)] {
				continue
			}
			seen[string(log)] = true
			name := filepath.Base(filepath.Dir(path))
			subjects = append(subjects, mutanttest.Log("log "+name, log, bootlog.SHA256, valuesBeside(t, path)))
		}
	}
	return subjects
}

// valuesBeside reads the SHA-256 values of the pcrs.json beside a log.
func valuesBeside(t testing.TB, path string) *bootlog.Values {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "pcrs.json"))
	if err != nil {
		t.Fatal(err)
	}
	var banks map[string]map[string]string
	if err := json.Unmarshal(text, &banks); err != nil {
		t.Fatal(err)
	}
	values := new(bootlog.Values)
	for index, value := range banks["sha256"] {
		i, err := strconv.Atoi(index)
		if err != nil || i >= len(values) {
			t.Fatalf("PCR %s", index)
		}
		if values[i], err = hex.DecodeString(value); err != nil {
			t.Fatal(err)
		}
	}
	return values
}

// statementSubjects are a quote, a certify and whole requests: of a machine of
// tests, and of a real TPM where there is one.
func statementSubjects(t *testing.T) (subjects []mutanttest.Subject) {
	t.Helper()
	m := newMachine("alder").boot(1).logged("one")
	b := bundleOf(m)
	subjects = requestSubjects(t, "made", b.compact(), &attest.Quote{Attestation: b.quote, PCRs: b.pcrs, LogSHA256: b.logSHA},
		&attest.Recertify{Public: b.public, Certify: b.certify}, b.known(), b.log)
	t.Run("swtpm", func(t *testing.T) {
		c := startClocked(t)
		known, submit := c.submit(t, m.log())
		subjects = append(subjects, requestSubjects(t, "swtpm", []byte(submit.JWS), submit.Quote, submit.DKb, known, m.log())...)
	})
	return subjects
}

// submit is what an agent with this TPM sends, and what its server knows.
func (c *clockedTPM) submit(t *testing.T, log []byte) (*attest.Known, *attest.ReportSubmit) {
	t.Helper()
	dk, laptop := c.key(t, attest.DK), newMachine("alder")
	known := laptop.known(attest.TypReport).known([]*attest.Key{c.ak, dk})
	known.LastClock = &c.last
	h := laptop.header(attest.TypReport, attest.DK)
	h.Kid = dk.ID
	sign := func(ctx context.Context, d [32]byte) ([]byte, error) { return c.x.Sign(ctx, attest.DK, d) }
	s, err := attest.Sign(t.Context(), sign, h, mustEncode(reportOf(laptop)))
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.x.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	certify, err := c.x.Certify(t.Context(), attest.DKb, attest.RecertifyBinding(s.Input))
	if err != nil {
		t.Fatal(err)
	}
	quote, err := c.x.Quote(t.Context(), attest.QuoteBinding(s.Input))
	if err != nil {
		t.Fatal(err)
	}
	quote.LogSHA256 = sha256.Sum256(log)
	return known, &attest.ReportSubmit{
		JWS: string(s.Compact), Quote: quote, DKb: &attest.Recertify{Public: id.DKb, Certify: certify}}
}

// requestSubjects are one request as its body and in its parts. A mutant that is
// accepted must say exactly what the whole says.
func requestSubjects(t *testing.T, name string, compact []byte, quote *attest.Quote, r *attest.Recertify, known *attest.Known, log []byte) []mutanttest.Subject {
	t.Helper()
	ak := keyOfRole(known.Keys, attest.AK)
	type said struct {
		ev    *attest.Evidence
		dkb   *attest.Key
		bound bool
	}
	open := func(compact []byte, quote *attest.Quote, r *attest.Recertify) (s said, err error) {
		if s.ev, err = attest.Open(compact, quote, known); err != nil {
			return s, err
		}
		if err := attest.CheckLog(log, s.ev.Measured.LogSHA); err != nil {
			return s, err
		}
		s.dkb, s.bound, err = attest.OpenRecertify(compact, r, s.ev, ak)
		return s, err
	}
	whole, err := open(compact, quote, r)
	if err != nil {
		t.Fatal(err)
	}
	judge := func(compact []byte, quote *attest.Quote, r *attest.Recertify) error {
		s, err := open(compact, quote, r)
		refusal := new(attest.Error)
		switch {
		case err == nil && !reflect.DeepEqual(s, whole):
			return errors.New("accepted, and says something else")
		case err != nil && !errors.As(err, &refusal):
			return fmt.Errorf("refused without a code: %w", err)
		}
		return nil
	}
	part := func(what string, b []byte, judge func(b []byte) error) mutanttest.Subject {
		return mutanttest.Subject{Name: what + ", " + name, Bytes: b, Judge: judge}
	}
	return []mutanttest.Subject{
		part("statement", compact, func(b []byte) error { return judge(b, quote, r) }),
		part("quote", quote.Attest, func(b []byte) error {
			q := *quote
			q.Attest = b
			return judge(compact, &q, r)
		}),
		part("signature of the quote", quote.Signature, func(b []byte) error {
			q := *quote
			q.Signature = b
			return judge(compact, &q, r)
		}),
		part("new DKb", r.Public, func(b []byte) error {
			return judge(compact, quote, &attest.Recertify{Public: b, Certify: r.Certify})
		}),
		part("certify", r.Certify.Attest, func(b []byte) error {
			return judge(compact, quote, &attest.Recertify{Public: r.Public, Certify: attest.Attestation{Attest: b, Signature: r.Certify.Signature}})
		}),
		part("request", mustEncode(attest.ReportSubmit{JWS: string(compact), Quote: quote, DKb: r}), func(b []byte) error {
			submit := new(attest.ReportSubmit)
			if attest.Decode(b, submit) != nil {
				return nil
			}
			if submit.Quote == nil || submit.DKb == nil {
				return errors.New("a part of it has gone without a word")
			}
			return judge([]byte(submit.JWS), submit.Quote, submit.DKb)
		}),
	}
}

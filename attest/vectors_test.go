package attest_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"muster/attest"
)

// vector is one accepted case of testdata/vectors, told by SPEC.md §11.
type vector struct {
	About     string            `json:"about"`
	Check     string            `json:"check"`
	Keys      []vectorKey       `json:"keys,omitempty"`
	Known     *vectorKnown      `json:"known,omitempty"`
	Signs     string            `json:"signs,omitempty"`
	Header    string            `json:"header,omitempty"`
	Payload   string            `json:"payload,omitempty"`
	Compact   string            `json:"compact,omitempty"`
	Quote     *attest.Quote     `json:"quote,omitempty"`
	Enrol     *vectorEnrol      `json:"enrol,omitempty"`
	Certify   *vectorCertify    `json:"certify,omitempty"`
	Recertify *attest.Recertify `json:"recertify,omitempty"`
	Log       attest.Bytes      `json:"log,omitempty"`
	Announced attest.Digest     `json:"announced,omitzero"`
	Message   *vectorMessage    `json:"message,omitempty"`
	Want      vectorWant        `json:"want"`
}

// vectorKey is a public key in the form that a device shows it, and its secret:
// these keys are of no use outside tests.
type vectorKey struct {
	Role    string       `json:"role"` // AK, DK, DKb, softkey
	Public  attest.Bytes `json:"public"`
	Private attest.Bytes `json:"private,omitempty"`
}

// vectorKnown is what the verifier holds; times are Unix seconds.
type vectorKnown struct {
	Typs        []attest.Typ  `json:"typs"`
	Device      string        `json:"device"`
	Nonces      []vectorNonce `json:"nonces"`
	Now         int64         `json:"now"`
	Seq         uint64        `json:"seq"`
	Prev        attest.Digest `json:"prev,omitzero"`
	LastClock   *attest.Clock `json:"last_clock,omitempty"`
	LastQuoteAt int64         `json:"last_quote_at,omitzero"`
	QuoteAlways bool          `json:"quote_always,omitempty"`
}

type vectorNonce struct {
	Nonce   attest.Digest `json:"nonce"`
	Issued  int64         `json:"issued"`
	Expires int64         `json:"expires"`
}

type vectorEnrol struct {
	Begin  string             `json:"begin"` // exact bytes of the first message
	Nonce  attest.Digest      `json:"nonce"`
	Origin string             `json:"origin"`
	Tenant string             `json:"tenant"`
	Secret attest.Bytes       `json:"secret,omitempty"` // what the credential releases
	Finish attest.EnrolFinish `json:"finish"`
}

type vectorCertify struct {
	Attestation attest.Attestation `json:"attestation"`
	Qualifying  attest.Digest      `json:"qualifying"`
	Name        attest.Bytes       `json:"name"`
}

type vectorMessage struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// vectorWant is what the accepted case yields.
type vectorWant struct {
	Digest       attest.Digest   `json:"digest,omitzero"`
	Signer       string          `json:"signer,omitempty"`
	IssuedAt     int64           `json:"issued_at,omitzero"`
	Measured     bool            `json:"measured,omitzero"`
	Cleared      bool            `json:"cleared,omitzero"`
	ClockFell    bool            `json:"clock_fell,omitzero"`
	CounterBound bool            `json:"counter_bound,omitzero"`
	Transcript   attest.Digest   `json:"transcript,omitzero"`
	KeyIDs       []attest.Digest `json:"key_ids,omitempty"`
}

// judge does what a server does with the case, by the contract's own functions.
func (v *vector) judge() (vectorWant, error) {
	keys, err := v.keys()
	if err != nil {
		return vectorWant{}, err
	}
	switch v.Check {
	case "open":
		return openAll(v.Compact, v.Quote, v.Known.known(keys))
	case "recertify":
		return v.judgeRecertify(keys)
	case "enrol":
		return v.Enrol.judge(v.Known)
	case "certify":
		_, err := attest.CheckCertify(v.Certify.Attestation, keys[0], v.Certify.Qualifying, v.Certify.Name)
		return vectorWant{}, err
	case "key":
		var want vectorWant
		for _, key := range keys {
			want.KeyIDs = append(want.KeyIDs, key.ID)
		}
		return want, nil
	case "log":
		return vectorWant{}, attest.CheckLog(v.Log, v.Announced)
	case "message":
		return vectorWant{}, v.Message.decode()
	}
	return vectorWant{}, fmt.Errorf("no check %q", v.Check)
}

func openAll(compact string, quote *attest.Quote, known *attest.Known) (vectorWant, error) {
	ev, err := attest.Open([]byte(compact), quote, known)
	if err != nil {
		return vectorWant{}, err
	}
	return vectorWant{
		Digest: ev.Digest, Signer: ev.Signer.String(), IssuedAt: ev.IssuedAt.Unix(),
		Measured: ev.Measured != nil, Cleared: ev.Cleared, ClockFell: ev.ClockFell,
	}, nil
}

func (v *vector) judgeRecertify(keys []*attest.Key) (vectorWant, error) {
	known := v.Known.known(keys)
	ev, err := attest.Open([]byte(v.Compact), v.Quote, known)
	if err != nil {
		return vectorWant{}, err
	}
	fresh, bound, err := attest.OpenRecertify([]byte(v.Compact), v.Recertify, ev, keyOfRole(keys, attest.AK))
	if err != nil {
		return vectorWant{}, err
	}
	return vectorWant{
		Digest: ev.Digest, Signer: ev.Signer.String(), IssuedAt: ev.IssuedAt.Unix(),
		Measured: true, CounterBound: bound, KeyIDs: []attest.Digest{fresh.ID},
	}, nil
}

// judge is SPEC.md §7.2 as a server does it, the EK's part apart.
func (e *vectorEnrol) judge(known *vectorKnown) (want vectorWant, err error) {
	begin := new(attest.EnrolBegin)
	if err := attest.Decode([]byte(e.Begin), begin); err != nil {
		return want, &attest.Error{Code: attest.PayloadForm, Detail: err.Error()}
	}
	id := &begin.Identity
	t := attest.EnrolTranscript([]byte(e.Begin), e.Finish.Session, e.Nonce, e.Origin, e.Tenant)
	k := known.known(nil)
	k.Transcript = t
	if id.Kind == attest.KindSoft {
		dk, err := attest.SoftKey(id.DK)
		if err != nil {
			return want, err
		}
		k.Keys = []*attest.Key{dk}
		want, err = openAll(e.Finish.JWS, nil, k)
		want.Transcript = t
		return want, err
	}
	if k.Keys, err = parseAll(id); err != nil {
		return want, err
	}
	if err := e.resident(k.Keys, t); err != nil {
		return want, err
	}
	ev, err := attest.Open([]byte(e.Finish.JWS), e.Finish.Quote, k)
	if err != nil {
		return want, err
	}
	bound, err := attest.CheckBootPolicy(k.Keys[2], ev.Measured)
	return vectorWant{
		Digest: ev.Digest, Signer: ev.Signer.String(), IssuedAt: ev.IssuedAt.Unix(),
		Measured: true, CounterBound: bound, Transcript: t,
	}, err
}

// resident is the proof that the secret was released, then the two certifies.
func (e *vectorEnrol) resident(keys []*attest.Key, t attest.Digest) error {
	proof := attest.EnrolProof(e.Secret, t)
	if !hmac.Equal(proof[:], e.Finish.Proof[:]) {
		return &attest.Error{Code: attest.TranscriptWrong}
	}
	if _, err := attest.CheckCertify(*e.Finish.CertifyDK, keys[0], t, keys[1].Name); err != nil {
		return err
	}
	_, err := attest.CheckCertify(*e.Finish.CertifyDKb, keys[0], t, keys[2].Name)
	return err
}

func parseAll(id *attest.Identity) ([]*attest.Key, error) {
	var keys []*attest.Key
	for i, public := range [][]byte{id.AK, id.DK, id.DKb} {
		key, err := attest.ParseKey([]attest.Role{attest.AK, attest.DK, attest.DKb}[i], public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (v *vector) keys() (keys []*attest.Key, err error) {
	for _, k := range v.Keys {
		var key *attest.Key
		switch k.Role {
		case "softkey":
			key, err = attest.SoftKey(k.Public)
		default:
			key, err = attest.ParseKey(roleNamed(k.Role), k.Public)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func roleNamed(name string) attest.Role {
	for _, r := range []attest.Role{attest.AK, attest.DK, attest.DKb} {
		if r.String() == name {
			return r
		}
	}
	return attest.NoRole
}

func keyOfRole(keys []*attest.Key, role attest.Role) *attest.Key {
	for _, k := range keys {
		if k.Role == role {
			return k
		}
	}
	return nil
}

func (k *vectorKnown) known(keys []*attest.Key) *attest.Known {
	var lastQuoteAt time.Time
	if k.LastQuoteAt != 0 {
		lastQuoteAt = time.Unix(k.LastQuoteAt, 0)
	}
	return &attest.Known{
		Typs: k.Typs, Device: k.Device, Keys: keys, Now: time.Unix(k.Now, 0),
		Seq: k.Seq, Prev: k.Prev, LastClock: k.LastClock, LastQuoteAt: lastQuoteAt, QuoteAlways: k.QuoteAlways,
		NonceIssued: func(n attest.Digest) (issued, expires time.Time, ok bool) {
			for _, live := range k.Nonces {
				if live.Nonce == n {
					return time.Unix(live.Issued, 0), time.Unix(live.Expires, 0), true
				}
			}
			return issued, expires, false
		},
	}
}

// decode reads a message as its receiver does; a body that is not strict JSON is
// answered with the code payload-form.
func (m *vectorMessage) decode() error {
	into := map[string]any{
		"EnrolBegin": new(attest.EnrolBegin), "EnrolChallenge": new(attest.EnrolChallenge),
		"EnrolFinish": new(attest.EnrolFinish), "ReportSubmit": new(attest.ReportSubmit),
		"ReportReply": new(attest.ReportReply), "NonceRequest": new(attest.NonceRequest), "Problem": new(attest.Problem),
		"WaitRequest": new(attest.WaitRequest), "WaitReply": new(attest.WaitReply),
		"LinkAsk": new(attest.LinkAsk), "LinkOffers": new(attest.LinkOffers), "LinkSubmit": new(attest.LinkSubmit),
		"LinkReply": new(attest.LinkReply), "LinkEnd": new(attest.LinkEnd),
	}[m.Type]
	if into == nil {
		return fmt.Errorf("no message %q", m.Type)
	}
	if err := attest.Decode([]byte(m.Text), into); err != nil {
		return &attest.Error{Code: attest.PayloadForm, Detail: err.Error()}
	}
	if formed, ok := into.(interface{ Form() error }); ok {
		if err := formed.Form(); err != nil {
			return err
		}
	}
	again, err := attest.Encode(into)
	if err != nil || string(again) != m.Text {
		return fmt.Errorf("writes as %s (%v)", again, err)
	}
	return nil
}

const vectorDir = "testdata/vectors"

// writeVector writes one file; readVector reads a tree that changes apply to.
func writeVector(t *testing.T, name string, v any) {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		t.Fatalf("writing %s: %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(vectorDir, name+".json"), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readVector[T any](t testing.TB, name string) (v T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorDir, name+".json"))
	if err != nil {
		t.Fatalf("%v (go test -run Vectors -update makes it)", err)
	}
	if err := json.Unmarshal(b, &v, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
	return v
}

// vectorNames lists the accepted or the rejected cases.
func vectorNames(t testing.TB, rejected bool) (names []string) {
	t.Helper()
	files, err := filepath.Glob(vectorDir + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		if strings.Contains(name, "reject") == rejected {
			names = append(names, name)
		}
	}
	return names
}

// codeOf is the reason of a refusal, empty for none.
func codeOf(err error) attest.Code {
	var refusal *attest.Error
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	if err != nil {
		return attest.Code("not an *attest.Error: " + err.Error())
	}
	return ""
}

// TestVectorsAccepted is the opening side.
func TestVectorsAccepted(t *testing.T) {
	for _, name := range vectorNames(t, false) {
		t.Run(name, func(t *testing.T) {
			v := readVector[*vector](t, name)
			got, err := v.judge()
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(v.Want) {
				t.Fatalf("yields %+v\nnot    %+v", got, v.Want)
			}
		})
	}
}

// TestVectorsSigning is the signing side: the same header, payload and key make
// the same bytes.
func TestVectorsSigning(t *testing.T) {
	signed := 0
	for _, name := range vectorNames(t, false) {
		v := readVector[*vector](t, name)
		if v.Header == "" {
			continue
		}
		signed++
		t.Run(name, func(t *testing.T) {
			var h attest.Header
			if err := attest.Decode([]byte(v.Header), &h); err != nil {
				t.Fatal(err)
			}
			compact := v.Compact
			if v.Enrol != nil {
				compact = v.Enrol.Finish.JWS
			}
			input, err := attest.SigningInput(h, []byte(v.Payload))
			if err != nil || !strings.HasPrefix(compact, string(input)+".") {
				t.Fatalf("signing input is %s (%v)", input, err)
			}
			s, err := attest.Sign(context.Background(), signer(v.private(t)), h, []byte(v.Payload))
			if err != nil || string(s.Compact) != compact || s.Digest != v.Want.Digest || !bytes.Equal(s.Input, input) {
				t.Fatalf("signs as %s, digest %v (%v)", s.Compact, s.Digest, err)
			}
			if s.Digest != sha256.Sum256(input) {
				t.Fatalf("digest is not SHA-256 of the signing input")
			}
		})
	}
	if signed < 10 {
		t.Fatalf("only %d vectors have a statement", signed)
	}
}

package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/attest/softkey"
)

// SoftDevice speaks the protocol with a software key that lives in memory. It
// sends only what it is told to, when it is told to: also the wrong thing. It is
// used from one goroutine; many may be used at once.
type SoftDevice struct {
	// ID is what the server calls it.
	ID string
	// Seq, Last, Base and Nonce are where its statements stand, as the server
	// said; the next one follows from them.
	Seq               uint64
	Last, Base, Nonce attest.Digest

	// Claims are what it reports; nil: that everything is unknown.
	Claims *posture.Claims

	url    string
	from   string // the address that a trusted proxy would tell
	http   *http.Client
	key    *softkey.Key
	kid    attest.Digest
	secret []byte
	boot   string
}

// SoftDevice enrols a device; as changes its first message before it is sent.
// from is its address, which the server believes when 127/8 is a trusted proxy.
func (s *Server) SoftDevice(token, from string, as func(*attest.EnrolBegin)) (*SoftDevice, error) {
	var file []byte
	key, err := softkey.Open(
		func() ([]byte, error) {
			if file == nil {
				return nil, fs.ErrNotExist
			}
			return file, nil
		},
		func(b []byte) error { file = b; return nil })
	if err != nil {
		return nil, err
	}
	d := &SoftDevice{
		url: "http://" + s.Config.Listen, from: from, key: key, boot: "boot-1",
		http: &http.Client{Timeout: patience, Transport: &http.Transport{}},
	}
	if err := d.enrol(token, s.Config.PublicURL, as); err != nil {
		return nil, fmt.Errorf("enrolling: %w", err)
	}
	return d, nil
}

func (d *SoftDevice) enrol(token, origin string, as func(*attest.EnrolBegin)) error {
	identity, err := d.key.Identity(context.Background())
	if err != nil {
		return err
	}
	public, err := attest.SoftKey(identity.DK)
	if err != nil {
		return err
	}
	d.kid = public.ID
	begin := attest.EnrolBegin{Token: token, Platform: posture.Linux, Identity: identity, Name: "soft"}
	if as != nil {
		as(&begin)
	}
	first, err := attest.Encode(begin)
	if err != nil {
		return err
	}
	var tenant attest.Tenant
	var challenge attest.EnrolChallenge
	var reply attest.EnrolReply
	if err := d.exchange(http.MethodGet, attest.PathTenant, nil, &tenant); err != nil {
		return err
	}
	if err := d.exchange(http.MethodPost, attest.PathEnrolBegin, first, &challenge); err != nil {
		return err
	}
	h := attest.Header{
		Typ: attest.TypEnrol, Kid: d.kid, Nonce: challenge.Nonce,
		Transcript: attest.EnrolTranscript(first, challenge.Session, challenge.Nonce, origin, tenant.Tenant),
	}
	signed, err := d.sign(h, d.report())
	if err != nil {
		return err
	}
	second, err := attest.Encode(attest.EnrolFinish{Session: challenge.Session, JWS: string(signed.Compact)})
	if err != nil {
		return err
	}
	if err := d.exchange(http.MethodPost, attest.PathEnrolFinish, second, &reply); err != nil {
		return err
	}
	d.ID, d.secret = reply.Device, reply.Secret
	d.Last, d.Base, d.Nonce = reply.Next.Accepted, reply.Next.Accepted, reply.Next.Nonce
	return nil
}

// exchange is for messages without a MAC, which must be answered with 200.
func (d *SoftDevice) exchange(method, path string, body []byte, reply any) error {
	status, b, err := d.send(method, path, body)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s answers %d: %s", path, status, b)
	}
	return json.Unmarshal(b, reply)
}

// report is a whole report in which everything is unknown.
func (d *SoftDevice) report() []byte {
	now := time.Now().UTC().Truncate(time.Second)
	claims := posture.Unfilled(now, posture.NotCollected)
	if d.Claims != nil {
		claims = *d.Claims
	}
	b, _ := attest.Encode(posture.Report{ // plain values
		Agent: "test", Platform: posture.Linux, Profile: posture.Corporate, BootID: d.boot,
		CollectedAt: now, Claims: claims,
	})
	return b
}

// Compose makes the body of the next statement, a report when full, else a
// heartbeat, and the statement's digest. Nothing of d changes.
func (d *SoftDevice) Compose(full bool) (body []byte, digest attest.Digest, err error) {
	h := attest.Header{Typ: attest.TypReport, Kid: d.kid, Device: d.ID, Nonce: d.Nonce, Seq: d.Seq + 1, Prev: d.Last}
	payload := d.report()
	if !full {
		h.Typ = attest.TypHeartbeat
		if payload, err = attest.Encode(attest.Heartbeat{Base: d.Base, BootID: d.boot, CollectedAt: time.Now().Unix()}); err != nil {
			return nil, digest, err
		}
	}
	signed, err := d.sign(h, payload)
	if err != nil {
		return nil, digest, err
	}
	body, err = attest.Encode(attest.ReportSubmit{JWS: string(signed.Compact)})
	return body, signed.Digest, err
}

func (d *SoftDevice) sign(h attest.Header, payload []byte) (*attest.Signed, error) {
	return attest.Sign(context.Background(), func(ctx context.Context, digest [32]byte) ([]byte, error) {
		return d.key.Sign(ctx, attest.DK, digest)
	}, h, payload)
}

// Post sends a body to a path with the device's MAC. An error says that no whole
// reply came.
func (d *SoftDevice) Post(path string, body []byte) (status int, reply []byte, err error) {
	return d.send(http.MethodPost, path, body)
}

func (d *SoftDevice) send(method, path string, body []byte) (status int, reply []byte, err error) {
	r, err := http.NewRequest(method, d.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if d.from != "" {
		r.Header.Set("X-Forwarded-For", d.from)
	}
	if d.ID != "" {
		r.Header.Set(attest.HeaderDevice, d.ID)
		r.Header.Set(attest.HeaderMAC, attest.MAC(d.secret, path, body).String())
	}
	resp, err := d.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	reply, err = io.ReadAll(resp.Body)
	return resp.StatusCode, reply, err
}

// Took goes on from the reply to an accepted statement.
func (d *SoftDevice) Took(reply []byte, digest attest.Digest, full bool) error {
	var accepted attest.ReportReply
	if err := json.Unmarshal(reply, &accepted); err != nil {
		return err
	}
	if accepted.Accepted != digest {
		return fmt.Errorf("the reply is about %v, not %v", accepted.Accepted, digest)
	}
	d.Seq, d.Last, d.Nonce = d.Seq+1, digest, accepted.Nonce
	if full {
		d.Base = digest
	}
	return nil
}

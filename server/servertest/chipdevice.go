package servertest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/attest/tpm"
	"muster/attest/tpmtest"
)

// ChipDevice speaks the protocol with the keys of a TPM, and shows the boot log that
// it is given. It sends only what it is told to: also the wrong thing. It is used
// from one goroutine.
type ChipDevice struct {
	// ID is what the server calls it; empty before it enrolled.
	ID string
	// Secret is S, the local secret; another one is another installed system.
	Secret [tpm.SecretSize]byte
	// Token, Serial and UUID are what it shows when it enrols.
	Token, Serial, UUID string
	// Former, when set, is the device that it says it was before.
	Former *ChipDevice
	// Log is the boot log that its quotes name; empty: they name none.
	Log []byte
	// BootID changes with each start of its system.
	BootID string
	// Claims are what it reports; nil: that everything is unknown.
	Claims *posture.Claims

	server    *Server
	chip      *tpmtest.TPM
	http      *http.Client
	seq       uint64
	last      attest.Digest
	nonce     attest.Digest
	macSecret []byte
	tenant    string
	dkb       attest.Digest // that the server knows
}

// ChipDevice makes one that is not enrolled yet.
func (s *Server) ChipDevice(chip *tpmtest.TPM, token string) *ChipDevice {
	d := &ChipDevice{Token: token, BootID: "boot-1", server: s, chip: chip, http: &http.Client{Timeout: patience, Transport: &http.Transport{}}}
	copy(d.Secret[:], "the secret of this system, always")
	return d
}

// Statement says what a report brings.
type Statement struct {
	// Role signs: DK or DKb. Zero: DKb if the server knows it as it is now, else DK.
	Role attest.Role
	// Quote and Recertify go beside it. Zero of Role implies both where DK signs.
	Quote, Recertify bool
	// Change alters what is sent before it is encoded.
	Change func(*attest.ReportSubmit)
}

// opened is a TPM with the keys of one moment.
type opened struct {
	*tpm.TPM
	identity attest.Identity
	dk, dkb  *attest.Key
}

func (d *ChipDevice) open(ctx context.Context) (*opened, error) {
	t, err := tpm.Open(ctx, tpm.Config{Setting: d.chip.Setting(), Tenant: d.tenant, Secret: d.Secret[:]})
	if err != nil {
		return nil, err
	}
	o := &opened{TPM: t}
	if o.identity, err = t.Identity(ctx); err == nil {
		o.dk, err = attest.ParseKey(attest.DK, o.identity.DK)
	}
	if err == nil {
		o.dkb, err = attest.ParseKey(attest.DKb, o.identity.DKb)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return o, nil
}

func (o *opened) signer(role attest.Role) attest.SignFunc {
	return func(ctx context.Context, digest [32]byte) ([]byte, error) { return o.Sign(ctx, role, digest) }
}

func (d *ChipDevice) quote(ctx context.Context, o *opened, input []byte) (*attest.Quote, error) {
	q, err := o.Quote(ctx, attest.QuoteBinding(input))
	if err == nil && len(d.Log) > 0 {
		q.LogSHA256 = sha256.Sum256(d.Log)
	}
	return q, err
}

// Enrol enrols it, and sends the log where the server asks.
func (d *ChipDevice) Enrol() error {
	ctx := context.Background()
	var tenant attest.Tenant
	if err := d.exchange(http.MethodGet, attest.PathTenant, nil, &tenant); err != nil {
		return err
	}
	d.tenant = tenant.Tenant
	o, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer o.Close()
	first, err := attest.Encode(attest.EnrolBegin{
		Token: d.Token, Platform: posture.Linux, Identity: o.identity, Serial: d.Serial, UUID: d.UUID, Name: "chip",
	})
	if err != nil {
		return err
	}
	var challenge attest.EnrolChallenge
	if err := d.exchange(http.MethodPost, attest.PathEnrolBegin, first, &challenge); err != nil {
		return err
	}
	finish, err := d.finish(ctx, o, first, &challenge)
	if err != nil {
		return err
	}
	second, err := attest.Encode(finish)
	if err != nil {
		return err
	}
	var reply attest.EnrolReply
	if err := d.exchange(http.MethodPost, attest.PathEnrolFinish, second, &reply); err != nil {
		return err
	}
	d.ID, d.macSecret, d.dkb = reply.Device, reply.Secret, o.dkb.ID
	d.seq, d.last, d.nonce = 0, reply.Next.Accepted, reply.Next.Nonce
	return d.sendLog(reply.Next.NeedLog)
}

func (d *ChipDevice) finish(ctx context.Context, o *opened, first []byte, c *attest.EnrolChallenge) (*attest.EnrolFinish, error) {
	t := attest.EnrolTranscript(first, c.Session, c.Nonce, d.server.Config.PublicURL, d.tenant)
	released, err := o.Activate(ctx, c.CredentialBlob, c.EncryptedSecret)
	if err != nil {
		return nil, err
	}
	f := &attest.EnrolFinish{Session: c.Session, Proof: attest.EnrolProof(released, t), CertifyDK: new(attest.Attestation), CertifyDKb: new(attest.Attestation)}
	if *f.CertifyDK, err = o.Certify(ctx, attest.DK, t); err != nil {
		return nil, err
	}
	if *f.CertifyDKb, err = o.Certify(ctx, attest.DKb, t); err != nil {
		return nil, err
	}
	h := attest.Header{Typ: attest.TypEnrol, Kid: o.dk.ID, Nonce: c.Nonce, Transcript: t}
	signed, err := attest.Sign(ctx, o.signer(attest.DK), h, d.report())
	if err != nil {
		return nil, err
	}
	f.JWS = string(signed.Compact)
	f.Quote, err = d.quote(ctx, o, signed.Input)
	return f, err
}

func (d *ChipDevice) report() []byte {
	now := time.Now().UTC().Truncate(time.Second)
	claims := posture.Unfilled(now, posture.NotCollected)
	if d.Claims != nil {
		claims = *d.Claims
		for _, c := range claims.Each() {
			c.ObservedAt = now
		}
	}
	b, _ := attest.Encode(posture.Report{ // plain values
		Agent: "test", Platform: posture.Linux, Profile: posture.Corporate, BootID: d.BootID, CollectedAt: now, Claims: claims,
	})
	return b
}

// Report sends one, and the log where the server asks. A refusal comes as a problem.
func (d *ChipDevice) Report(st Statement) (*attest.ReportReply, *attest.Problem, error) {
	ctx := context.Background()
	o, err := d.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer o.Close()
	if st.Role == attest.NoRole {
		if st.Role = attest.DKb; d.dkb != o.dkb.ID {
			st.Role, st.Quote, st.Recertify = attest.DK, true, true
		}
	}
	h := attest.Header{Typ: attest.TypReport, Kid: o.dkb.ID, Device: d.ID, Nonce: d.nonce, Seq: d.seq + 1, Prev: d.last}
	if st.Role == attest.DK {
		h.Kid = o.dk.ID
	}
	signed, err := attest.Sign(ctx, o.signer(st.Role), h, d.report())
	if err != nil {
		return nil, nil, err
	}
	submit := &attest.ReportSubmit{JWS: string(signed.Compact)}
	if st.Quote {
		if submit.Quote, err = d.quote(ctx, o, signed.Input); err != nil {
			return nil, nil, err
		}
	}
	if st.Recertify {
		certify, err := o.Certify(ctx, attest.DKb, attest.RecertifyBinding(signed.Input))
		if err != nil {
			return nil, nil, err
		}
		submit.DKb = &attest.Recertify{Public: o.identity.DKb, Certify: certify}
	}
	if st.Change != nil {
		st.Change(submit)
	}
	body, err := attest.Encode(submit)
	if err != nil {
		return nil, nil, err
	}
	reply, problem, err := d.post(body)
	if err != nil || problem != nil {
		return nil, problem, err
	}
	d.seq, d.last, d.nonce = d.seq+1, signed.Digest, reply.Nonce
	if submit.DKb != nil {
		d.dkb = o.dkb.ID
	}
	return reply, nil, d.sendLog(reply.NeedLog)
}

// post sends a statement. A problem that says how to go on is followed by the next.
func (d *ChipDevice) post(body []byte) (*attest.ReportReply, *attest.Problem, error) {
	status, b, err := d.send(http.MethodPost, attest.PathReport, body)
	if err != nil {
		return nil, nil, err
	}
	if status == http.StatusOK {
		reply := new(attest.ReportReply)
		return reply, nil, json.Unmarshal(b, reply)
	}
	problem := new(attest.Problem)
	if err := json.Unmarshal(b, problem); err != nil {
		return nil, nil, fmt.Errorf("answered %d: %s", status, b)
	}
	if r := problem.Resync; r != nil {
		d.seq, d.last, d.nonce = r.Seq, r.Last, r.Nonce
	}
	return nil, problem, nil
}

func (d *ChipDevice) sendLog(want attest.Digest) error {
	if want.IsZero() || sha256.Sum256(d.Log) != want {
		return nil
	}
	return d.SendLog(want, d.Log)
}

// SendLog sends bytes as the log with a digest.
func (d *ChipDevice) SendLog(digest attest.Digest, log []byte) error {
	return d.exchange(http.MethodPost, attest.PathLog+"/"+digest.String(), log, new(struct{}))
}

// exchange is for messages that must be answered with 200.
func (d *ChipDevice) exchange(method, path string, body []byte, reply any) error {
	status, b, err := d.send(method, path, body)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s answers %d: %s", path, status, b)
	}
	return json.Unmarshal(b, reply)
}

func (d *ChipDevice) send(method, path string, body []byte) (status int, reply []byte, err error) {
	by := d
	if d.ID == "" {
		if by = d.Former; by == nil || path != attest.PathEnrolBegin {
			by = &ChipDevice{}
		}
	}
	soft := &SoftDevice{ID: by.ID, url: "http://" + d.server.Config.Listen, http: d.http, secret: by.macSecret}
	return soft.send(method, path, body)
}

// ForgetMAC loses the secret that requests are MACed with.
func (d *ChipDevice) ForgetMAC() { d.macSecret = make([]byte, len(d.macSecret)) }

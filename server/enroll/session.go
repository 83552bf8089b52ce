package enroll

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
	"muster/server/verify"
)

// Session is what the server must remember between the two round trips. It
// travels sealed with the device.
type Session struct {
	// Begin are the exact bytes of the first message.
	Begin []byte `json:"begin"`
	// Secret is what the TPM must release; nil for softkey.
	Secret []byte        `json:"secret,omitempty"`
	Nonce  attest.Digest `json:"nonce"`
	Issued time.Time     `json:"issued"`
	Level  verify.Level  `json:"level"`
	Cause  Cause         `json:"cause"`
	// Issuer and CertSerial are the Candidate's: a verified certificate's name.
	Issuer     string `json:"issuer,omitempty"`
	CertSerial string `json:"cert_serial,omitempty"`
	Origin
}

// Origin is what else stands behind an enrolment.
type Origin struct {
	TokenID string `json:"token_id,omitempty"`
	// Previous is the device that this system was before, as a MAC under that
	// device's secret showed. It says that the sender has that system's state, not
	// its TPM.
	Previous string `json:"previous,omitempty"`
}

// Sealer seals sessions under a key that only this server's replicas have. A new
// epoch makes every open session void.
type Sealer struct{ aead cipher.AEAD }

// NewSealer derives the sealing key from the server's key and epoch.
func NewSealer(serverKey []byte, epoch uint64) (*Sealer, error) {
	mac := hmac.New(sha256.New, serverKey)
	mac.Write([]byte("muster/enrol-session/1"))
	mac.Write(binary.BigEndian.AppendUint64(nil, epoch))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("making session cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("making session cipher: %w", err)
	}
	return &Sealer{aead}, nil
}

// ErrSession means that a session was not sealed here, or is too old.
var ErrSession = errors.New("enrolment session is not ours or has ended")

// Seal returns the opaque form.
func (s *Sealer) Seal(session *Session) ([]byte, error) {
	plain, err := attest.Encode(session)
	if err != nil {
		return nil, fmt.Errorf("sealing session: %w", err)
	}
	return s.aead.Seal(nil, nil, plain, nil), nil
}

// Open returns the session if it was sealed here and its window is not over.
func (s *Sealer) Open(sealed []byte, now time.Time) (*Session, error) {
	plain, err := s.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, ErrSession
	}
	session := new(Session)
	if err := attest.Decode(plain, session); err != nil {
		return nil, ErrSession
	}
	if !now.Before(session.Issued.Add(attest.EnrolWindow)) {
		return nil, ErrSession
	}
	return session, nil
}

// Challenge starts an enrolment: a nonce and, for a TPM, a secret that only the
// TPM with this EK can release, and only to a key with this AK's Name
// (TPM 2.0 Part 1 §24). It needs no TPM.
func Challenge(c *Candidate, begin []byte, origin Origin, sealer *Sealer, now time.Time) (*attest.EnrolChallenge, error) {
	session := &Session{Begin: begin, Issued: now, Level: c.Level, Cause: c.Cause, Issuer: c.Issuer, CertSerial: c.CertSerial, Origin: origin}
	if _, err := rand.Read(session.Nonce[:]); err != nil {
		return nil, fmt.Errorf("making nonce: %w", err)
	}
	reply := &attest.EnrolChallenge{Nonce: session.Nonce, ExpiresS: int(attest.EnrolWindow / time.Second)}
	if c.ek != nil {
		session.Secret = make([]byte, sha256.Size)
		if _, err := rand.Read(session.Secret); err != nil {
			return nil, fmt.Errorf("making secret: %w", err)
		}
		public, err := tpm2.ImportEncapsulationKey(c.ek.area)
		if err != nil {
			return nil, refuse(attest.PublicForm, "EK: %v", err)
		}
		reply.CredentialBlob, reply.EncryptedSecret, err = tpm2.CreateCredential(rand.Reader, public, c.AK.Name, session.Secret)
		if err != nil {
			return nil, fmt.Errorf("making credential: %w", err)
		}
	}
	var err error
	reply.Session, err = sealer.Seal(session)
	return reply, err
}

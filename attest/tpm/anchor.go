package tpm

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"muster/attest"
)

// Quote has the AK state the values of attest.Selection (TPM2_Quote), and checks
// the statement as a verifier will. attest.ErrTransient when PCRs moved at each
// of three attempts.
func (t *TPM) Quote(ctx context.Context, qualifying attest.Digest) (*attest.Quote, error) {
	return do(ctx, t, "quoting PCRs", func(c *chip) (*attest.Quote, error) {
		ak, err := c.load(attest.AK)
		if err != nil {
			return nil, err
		}
		defer c.flush(ak.handle)
		for range attempts {
			q, err := c.quoteOnce(ak, qualifying)
			if err != nil {
				return nil, err
			}
			_, err = attest.CheckQuote(q, c.public[attest.AK], qualifying)
			if refusal := new(attest.Error); errors.As(err, &refusal) && refusal.Code == attest.PCRDigest {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("own quote: %w", err)
			}
			return q, nil
		}
		return nil, fmt.Errorf("%w: PCRs keep moving", attest.ErrTransient)
	})
}

func (c *chip) quoteOnce(ak *object, qualifying attest.Digest) (*attest.Quote, error) {
	rsp, err := tpm2.Quote{
		SignHandle:     ak.withPassword(),
		QualifyingData: tpm2.TPM2BData{Buffer: qualifying[:]},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      selection(attest.Selection()...),
	}.Execute(c.wire)
	if err != nil {
		return nil, err
	}
	signature, err := fixed(&rsp.Signature)
	if err != nil {
		return nil, err
	}
	values, err := c.read(attest.Selection()...)
	if err != nil {
		return nil, err
	}
	return &attest.Quote{
		Attestation: attest.Attestation{Attest: rsp.Quoted.Bytes(), Signature: signature}, PCRs: values,
	}, nil
}

// Certify has the AK state that this TPM holds DK, or the DKb that Identity last
// returned (TPM2_Certify), and checks the statement as a verifier will.
func (t *TPM) Certify(ctx context.Context, role attest.Role, qualifying attest.Digest) (attest.Attestation, error) {
	return do(ctx, t, "certifying "+role.String(), func(c *chip) (attest.Attestation, error) {
		if role != attest.DK && role != attest.DKb {
			return attest.Attestation{}, errors.New("only DK and DKb are certified")
		}
		ak, err := c.load(attest.AK)
		if err != nil {
			return attest.Attestation{}, err
		}
		defer c.flush(ak.handle)
		if role == attest.DKb && c.boot == nil {
			if err := c.renew(); err != nil {
				return attest.Attestation{}, err
			}
		}
		subject, err := c.load(role)
		if err != nil {
			return attest.Attestation{}, err
		}
		defer c.flush(subject.handle)
		return c.certify(ak, subject, role, qualifying)
	})
}

func (c *chip) certify(ak, subject *object, role attest.Role, qualifying attest.Digest) (attest.Attestation, error) {
	rsp, err := tpm2.Certify{
		ObjectHandle:   subject.withPassword(), // the administrator's role is the empty authorisation
		SignHandle:     ak.withPassword(),
		QualifyingData: tpm2.TPM2BData{Buffer: qualifying[:]},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
	}.Execute(c.wire)
	if err != nil {
		return attest.Attestation{}, err
	}
	signature, err := fixed(&rsp.Signature)
	if err != nil {
		return attest.Attestation{}, err
	}
	a := attest.Attestation{Attest: rsp.CertifyInfo.Bytes(), Signature: signature}
	if _, err := attest.CheckCertify(a, c.public[attest.AK], qualifying, c.public[role].Name); err != nil {
		return attest.Attestation{}, fmt.Errorf("own statement: %w", err)
	}
	return a, nil
}

// Activate opens a credential that was made for this EK and AK
// (TPM2_ActivateCredential). Blob is a TPMS_ID_OBJECT and secret a
// TPMS_ENCRYPTED_SECRET, each without its size. An error that wraps no sentinel
// means that the credential is another TPM's, or another AK's.
func (t *TPM) Activate(ctx context.Context, blob, secret []byte) ([]byte, error) {
	return do(ctx, t, "activating credential", func(c *chip) ([]byte, error) {
		ek, err := c.endorse()
		if err != nil {
			return nil, err
		}
		ak, err := c.load(attest.AK)
		if err != nil {
			return nil, err
		}
		defer c.flush(ak.handle)
		key, err := c.loadEK(&ek.template, ek.Certificate)
		if err != nil {
			return nil, err
		}
		defer c.unload(key)
		if string(key.public) != string(ek.Public) {
			return nil, fmt.Errorf("%w: EK is another key than before", attest.ErrKeyLost)
		}
		return c.activate(ak, key, &ek.template, blob, secret)
	})
}

func (c *chip) activate(ak, ek *object, template *ekTemplate, blob, secret []byte) ([]byte, error) {
	session, end, err := c.policySession(template.alg)
	if err != nil {
		return nil, err
	}
	defer end()
	_, err = tpm2.PolicySecret{
		AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(c.auth)},
		PolicySession: session.Handle(),
		NonceTPM:      session.NonceTPM(),
	}.Execute(c.wire)
	auth := ek.withPolicy(session)
	switch {
	case err == nil && template.branches != nil:
		_, err = c.plain(tpm2.TPMCCPolicyOR, append(words(uint32(session.Handle())), template.branches...))
	case isClosed(err) && template.branches != nil:
		// Keys of the high range take their own empty authorisation too.
		auth, err = ek.withPassword(), nil
	case isClosed(err):
		err = closedError(err)
	}
	if err != nil {
		return nil, fmt.Errorf("policy of %s: %w", template.name, err)
	}
	rsp, err := tpm2.ActivateCredential{
		ActivateHandle: ak.withPassword(),
		KeyHandle:      auth,
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: blob},
		Secret:         tpm2.TPM2BEncryptedSecret{Buffer: secret},
	}.Execute(c.wire)
	if err != nil {
		return nil, err
	}
	return rsp.CertInfo.Buffer, nil
}

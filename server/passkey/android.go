package passkey

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
)

// keyDescription is Android's key attestation extension (WebAuthn §8.4.1). Its
// lists are read element by element: Android adds tags with each version.
type keyDescription struct {
	Version       int
	Security      asn1.Enumerated
	Keymaster     int
	KeymasterIn   asn1.Enumerated
	Challenge     []byte
	Unique        []byte
	Software, TEE asn1.RawValue
}

// Tags of an AuthorizationList, and the values that are asked for.
const (
	tagPurpose, tagAllApplications, tagOrigin = 1, 600, 702
	purposeSign, originGenerated              = 2, 0
)

// verifyAndroid is §8.4. Only what the trusted environment enforces counts.
func (r *registration) verifyAndroid() (*proof, error) {
	alg, signature, err := r.signed("alg", "sig", "x5c")
	if err != nil {
		return nil, err
	}
	chain, err := r.chain()
	if err != nil {
		return nil, err
	}
	if !r.key.same(chain[0].PublicKey) || alg != r.key.algorithm {
		return nil, errors.New("the certificate is for another key")
	}
	if err := r.key.verify(r.message(), signature); err != nil {
		return nil, err
	}
	value, _, there := extension(chain[0], asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 1, 17})
	if !there {
		return nil, errors.New("the certificate describes no key")
	}
	if err := r.checkDescription(value); err != nil {
		return nil, fmt.Errorf("key description: %w", err)
	}
	return &proof{chain: chain, types: []string{"basic_full"}}, nil
}

func (r *registration) checkDescription(value []byte) error {
	var d keyDescription
	if rest, err := asn1.Unmarshal(value, &d); err != nil || len(rest) != 0 {
		return errors.New("malformed")
	}
	if !bytes.Equal(d.Challenge, r.clientDataHash[:]) {
		return errors.New("another challenge")
	}
	if d.Security == 0 || d.KeymasterIn == 0 { // software
		return errors.New("not from a trusted environment")
	}
	software, err := authorizations(d.Software)
	if err != nil {
		return err
	}
	tee, err := authorizations(d.TEE)
	if err != nil {
		return err
	}
	if software[tagAllApplications] != nil || tee[tagAllApplications] != nil {
		return errors.New("the key is for all applications")
	}
	var purposes []int
	var origin int
	if rest, err := asn1.UnmarshalWithParams(tee[tagPurpose], &purposes, "set"); err != nil || len(rest) != 0 {
		return errors.New("no purpose in the trusted environment")
	}
	if rest, err := asn1.Unmarshal(tee[tagOrigin], &origin); err != nil || len(rest) != 0 || origin != originGenerated {
		return errors.New("not made in the trusted environment")
	}
	for _, p := range purposes {
		if p == purposeSign {
			return nil
		}
	}
	return errors.New("not for signing in the trusted environment")
}

// authorizations reads an AuthorizationList: the content of each explicit tag,
// never nil; none may stand twice.
func authorizations(list asn1.RawValue) (map[int][]byte, error) {
	if list.Class != asn1.ClassUniversal || list.Tag != asn1.TagSequence || !list.IsCompound {
		return nil, errors.New("malformed list")
	}
	out := map[int][]byte{}
	for rest := list.Bytes; len(rest) > 0; {
		var element asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &element); err != nil || element.Class != asn1.ClassContextSpecific {
			return nil, errors.New("malformed list")
		}
		if out[element.Tag] != nil {
			return nil, fmt.Errorf("tag %d stands twice", element.Tag)
		}
		out[element.Tag] = append([]byte{}, element.Bytes...)
	}
	return out, nil
}

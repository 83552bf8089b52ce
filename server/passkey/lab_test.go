package passkey

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/server/passkey/passkeytest"
	"muster/server/reference"
)

const labOrigin = "https://id.muster.example"

// lab is a Party with a clock and a metadata pack that tests change, and what it
// registered.
type lab struct {
	t    testing.TB
	p    *Party
	now  time.Time
	pack *reference.MDS
	kept []*Credential
	user User
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, now: vectorNow(), user: vectorUser()}
	var err error
	l.p, err = New(Config{RPID: "muster.example", Origin: labOrigin, Name: "muster",
		Metadata: func() *reference.MDS { return l.pack }, Now: func() time.Time { return l.now }})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// know puts entries into a new pack.
func (l *lab) know(entries ...reference.MDSEntry) {
	slices.SortFunc(entries, func(a, b reference.MDSEntry) int { return bytes.Compare(a.AAGUID[:], b.AAGUID[:]) })
	number := 1
	if l.pack != nil {
		number += l.pack.Number
	}
	l.pack = &reference.MDS{Number: number, NextUpdate: l.now.Add(7 * 24 * time.Hour), ImportedAt: l.now.Add(-time.Hour), Entries: entries}
}

// authenticator has a model.
func (l *lab) authenticator(format string) *passkeytest.Authenticator {
	l.t.Helper()
	a := passkeytest.New(l.t, labOrigin)
	a.Format, a.AAGUID = format, reference.AAGUID{0xa1, 15: byte(len(format))}
	return a
}

func (l *lab) register(a *passkeytest.Authenticator) (*Credential, error) {
	l.t.Helper()
	options, c, err := l.p.BeginRegistration(l.user, l.kept)
	if err != nil {
		l.t.Fatal(err)
	}
	cred, err := l.p.FinishRegistration(l.user, c, a.Register(options))
	if err == nil {
		l.kept = append(l.kept, cred)
	}
	return cred, err
}

func (l *lab) mustRegister(a *passkeytest.Authenticator) *Credential {
	l.t.Helper()
	cred, err := l.register(a)
	if err != nil {
		l.t.Fatal(err)
	}
	return cred
}

// find is the store of the tests.
func (l *lab) find(id []byte) (*Credential, User, error) {
	for _, c := range l.kept {
		if bytes.Equal(c.ID, id) {
			return c, l.user, nil
		}
	}
	return nil, User{}, errors.New("unknown credential")
}

// signIn signs in and keeps what changed.
func (l *lab) signIn(a *passkeytest.Authenticator) (*Credential, *Use, error) {
	l.t.Helper()
	options, c, err := l.p.BeginSignIn()
	if err != nil {
		l.t.Fatal(err)
	}
	cred, use, err := l.p.FinishSignIn(c, a.Assert(options), l.find)
	if err == nil {
		cred.Use = *use
	}
	return cred, use, err
}

func mustRefuse(t testing.TB, err error, reason string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want a refusal that says %q", err, reason)
	}
}

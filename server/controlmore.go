package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"time"

	"muster/attest"
	"muster/server/store"
	"muster/server/verify"
)

// TokenRequest asks for an enrolment token.
type TokenRequest struct {
	Label    string       `json:"label"`
	Class    verify.Class `json:"class"`
	Group    string       `json:"group"`
	Owner    string       `json:"owner"`
	Uses     int          `json:"uses"`
	ExpiresS int          `json:"expires_s"`
	MinLevel verify.Level `json:"min_level"`
}

// NewToken is the only time that a token is seen.
type NewToken struct {
	ID    string `json:"id"`
	Token string `json:"token"`
}

// CreateToken makes an enrolment token.
func (s *Server) CreateToken(ctx context.Context, q TokenRequest) (*NewToken, error) {
	if q.Uses < 1 || q.Uses > 1_000_000 || q.ExpiresS < 1 || !knownClass(q.Class) {
		return nil, refuse(http.StatusBadRequest, "token-request", "A token needs a class, at least one use and a time to live.", "Give them.")
	}
	made := new(NewToken)
	err := s.store.Update(ctx, func(tx *store.Tx) (err error) {
		token := &store.Token{
			ID: newID(), Label: q.Label, Class: q.Class, Group: q.Group, Owner: q.Owner, MinLevel: q.MinLevel,
			UsesLeft: q.Uses, Expires: tx.Now().Add(time.Duration(q.ExpiresS) * time.Second), CreatedBy: localActor,
		}
		if made.Token, err = tx.AddToken(token); err != nil {
			return err
		}
		made.ID = token.ID
		return audit(tx, localActor, "token.create", token.ID, q)
	})
	return made, err
}

func knownClass(c verify.Class) bool {
	switch c {
	case verify.ClassCorporate, verify.ClassBYOD, verify.ClassContractor, verify.ClassShared:
		return true
	}
	return false
}

func (s *Server) createToken(r *http.Request, body []byte) (any, error) {
	var q TokenRequest
	if err := read(body, &q); err != nil {
		return nil, err
	}
	return s.CreateToken(r.Context(), q)
}

func (s *Server) listTokens(r *http.Request, _ []byte) (any, error) {
	return listOf(r.Context(), s, (*store.Tx).Tokens)
}

func (s *Server) deleteToken(r *http.Request, _ []byte) (any, error) {
	id := r.PathValue("id")
	return struct{}{}, s.store.Update(r.Context(), func(tx *store.Tx) error {
		if err := tx.RevokeToken(id); err != nil {
			return err
		}
		return audit(tx, localActor, "token.delete", id, nil)
	})
}

// listOf reads a list; an empty one is [], not null.
func listOf[T any](ctx context.Context, s *Server, f func(*store.Tx) ([]T, error)) (any, error) {
	list := []T{}
	err := s.store.View(ctx, func(tx *store.Tx) error {
		found, err := f(tx)
		list = append(list, found...)
		return err
	})
	return list, err
}

// ListedRequest names a TPM that may enrol by itself, by its EK hash or by the
// issuer and serial number of its EK certificate; or a machine whose approval is
// to be pre-filled.
type ListedRequest struct {
	EKSHA256 string `json:"ek_sha256,omitempty"` // hexadecimal
	Issuer   string `json:"issuer,omitempty"`
	Serial   string `json:"serial,omitempty"` // hexadecimal
	// Machine is its serial number, which alone only pre-fills an approval.
	Machine string       `json:"machine,omitempty"`
	Label   string       `json:"label,omitempty"`
	Class   verify.Class `json:"class"`
	Group   string       `json:"group,omitempty"`
	Owner   string       `json:"owner,omitempty"`
}

func (s *Server) createListed(r *http.Request, body []byte) (any, error) {
	var q ListedRequest
	if err := read(body, &q); err != nil {
		return nil, err
	}
	hash, err := hex.DecodeString(q.EKSHA256)
	byHash, byCert := q.EKSHA256 != "", q.Issuer != "" && q.Serial != ""
	if err != nil || byHash && byCert || !byHash && !byCert && q.Machine == "" || (byHash && len(hash) != sha256.Size) || !knownClass(q.Class) {
		return nil, refuse(http.StatusBadRequest, "listed-request",
			"A listed TPM needs a class, and an EK hash of 64 hexadecimal digits, or an issuer with a serial number, or the machine's serial number.", "Give one of them.")
	}
	listed := &store.Listed{ID: newID(), AddedBy: localActor, Issuer: q.Issuer, CertSerial: q.Serial, Serial: q.Machine, Label: q.Label, Class: q.Class, Group: q.Group, Owner: q.Owner}
	copy(listed.EKHash[:], hash)
	return struct{}{}, s.store.Update(r.Context(), func(tx *store.Tx) error {
		if err := tx.AddListed(listed); err != nil {
			return err
		}
		return audit(tx, localActor, "listed.add", listed.ID, q)
	})
}

func (s *Server) listListed(r *http.Request, _ []byte) (any, error) {
	return listOf(r.Context(), s, func(tx *store.Tx) ([]*store.Listed, error) { return tx.Listed("", 100_000) })
}

// BackupRequest names the file to write, by an absolute path on the server.
type BackupRequest struct {
	To string `json:"to"`
}

func (s *Server) backup(r *http.Request, body []byte) (any, error) {
	var q BackupRequest
	if err := read(body, &q); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(q.To) {
		return nil, refuse(http.StatusBadRequest, "backup-path", "The path is not absolute.", "Give an absolute path.")
	}
	if err := s.store.Backup(r.Context(), q.To); err != nil {
		if errors.Is(err, store.ErrExists) {
			return nil, refuse(http.StatusConflict, "backup-exists", "The file is there already; nothing was written.", "Name a new file.")
		}
		return nil, err
	}
	return struct{}{}, nil
}

// Restore puts a backup in place of the database of a server that does not run.
// It returns where the old one was put aside. The revocation journal must be in
// the data folder, unless revocations since the backup may be forgotten.
func Restore(ctx context.Context, config Config, from string, withoutJournal bool) (aside string, err error) {
	path := config.path(databaseFile)
	aside, err = store.Restore(ctx, from, store.Config{Path: path, Now: time.Now, WithoutJournal: withoutJournal})
	if errors.Is(err, store.ErrNoJournal) {
		err = fmt.Errorf("%w; put the newest %s.revocations of this server into %s, or give --without-journal and revoke again what was revoked since",
			err, databaseFile, filepath.Dir(path))
	}
	return aside, err
}

// AuditCheck is what a check of the audit log found.
type AuditCheck struct {
	Entries uint64 `json:"entries"`
	Head    string `json:"head"`
	Broken  string `json:"broken,omitempty"`
}

// audit appends to the audit log, in the transaction of what it tells of.
func audit(tx *store.Tx, actor, action, subject string, detail any) error {
	b, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = tx.Audit(store.Entry{Actor: actor, Action: action, Subject: subject, Detail: b})
	return err
}

func (s *Server) verifyAudit(r *http.Request, _ []byte) (any, error) {
	head, err := s.store.VerifyAudit(r.Context())
	check := AuditCheck{Entries: head.Seq, Head: head.Hash.String()}
	var broken *store.AuditBreak
	if errors.As(err, &broken) {
		check.Broken = broken.Error()
		return check, nil
	}
	return check, err
}

// newID makes an id for something that is named in lists, not a secret.
func newID() string { return newDeviceID()[:12] }

func hexOf(d attest.Digest) string { return hex.EncodeToString(d[:]) }

// Version is the program's version, as the Go tool recorded it.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

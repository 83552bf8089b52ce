package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"muster/server/reference"
	"muster/server/store"
)

// warnOfLostMetadata says why there is no metadata: a restored backup may be older
// than what was imported last, and knows no later revocation.
func (s *Server) warnOfLostMetadata(ctx context.Context) error {
	var last uint64
	err := s.store.View(ctx, func(tx *store.Tx) error {
		packs, err := tx.Packs()
		last = packs[packMDS]
		return err
	})
	if last == 0 {
		s.log.Info("no FIDO metadata was imported; passkeys are at best unproved")
	} else {
		s.log.Warn("FIDO metadata that was imported is gone with a restored backup; passkeys are at best unproved, and revocations since then unknown, until it is imported again", "number", last)
	}
	return err
}

// maxMDS bounds a file of FIDO metadata: today's has ten megabytes.
const maxMDS = 64 << 20

// packMDS is the FIDO metadata's name in the store.
const packMDS = "mds"

// errPack: what is kept cannot be read.
var errPack = errors.New("kept metadata")

// loadMetadata puts the kept FIDO metadata into use. Without any, or with one
// that this program cannot read, every passkey is at best unproved.
func (s *Server) loadMetadata(ctx context.Context) error {
	pack, err := s.keptMetadata(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound):
		// Also after a restored backup: what was proved by metadata that is gone is proved no more.
		if err := s.warnOfLostMetadata(ctx); err != nil {
			return err
		}
		_, err := s.people.SetMetadata(ctx, nil)
		return err
	case errors.Is(err, errPack):
		s.log.Error("kept FIDO metadata not understood; passkeys are at best unproved", "error", err)
		_, err := s.people.SetMetadata(ctx, nil)
		return err
	case err != nil:
		return err
	}
	if f := pack.Freshness(s.now()); f != reference.Fresh {
		s.log.Warn("FIDO metadata is past its next update; import another", "freshness", f, "next_update", pack.NextUpdate)
	}
	if _, err := s.people.SetMetadata(ctx, pack); err != nil {
		return fmt.Errorf("judging passkeys by the kept metadata: %w", err)
	}
	return nil
}

func (s *Server) keptMetadata(ctx context.Context) (*reference.MDS, error) {
	var kept []byte
	err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		kept, err = tx.Content(packMDS)
		return err
	})
	if err != nil {
		return nil, err
	}
	pack, err := reference.DecodeMDS(kept)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPack, err)
	}
	return pack, nil
}

// mdsStatus is where the FIDO metadata stands.
type mdsStatus struct {
	Number     int                 `json:"number"` // 0: none was imported
	NextUpdate time.Time           `json:"next_update,omitzero"`
	Freshness  reference.Freshness `json:"freshness,omitempty"`
	Entries    int                 `json:"entries"`
	Skipped    int                 `json:"skipped"` // entries that could not be read
	ImportedAt time.Time           `json:"imported_at,omitzero"`
	// Of an import: it was in use already; and how many passkeys are judged
	// otherwise than before.
	Same    bool `json:"same,omitempty"`
	Changed int  `json:"changed,omitempty"`
}

func (s *Server) statusOfMDS(pack *reference.MDS) mdsStatus {
	return mdsStatus{
		Number: pack.Number, NextUpdate: pack.NextUpdate, Freshness: pack.Freshness(s.now()),
		Entries: len(pack.Entries), Skipped: pack.Skipped, ImportedAt: pack.ImportedAt,
	}
}

// showMDS handles the control socket's GET /reference/mds.
func (s *Server) showMDS(r *http.Request, _ []byte) (any, error) {
	pack, err := s.keptMetadata(r.Context())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return mdsStatus{}, nil
	case errors.Is(err, errPack):
		return nil, refuse(http.StatusConflict, "mds-unreadable", "The kept metadata is of another version of this program.", "Import the newest BLOB.")
	case err != nil:
		return nil, err
	}
	return s.statusOfMDS(pack), nil
}

// importMDS handles the control socket's POST /reference/mds: the body is FIDO's
// file as it was downloaded.
func (s *Server) importMDS(r *http.Request, body []byte) (any, error) {
	roots, err := s.config.mdsRoots()
	if err != nil {
		return nil, err
	}
	pack, err := reference.ImportMDS(body, roots, s.now())
	if err != nil {
		return nil, notImported("metadata", err)
	}
	s.metadataMu.Lock()
	defer s.metadataMu.Unlock()
	status := s.statusOfMDS(pack)
	if status.Same, err = s.keepMetadata(r.Context(), pack); err != nil || status.Same {
		return status, err
	}
	if s.config.visit {
		return status, nil // the server judges by it when it starts
	}
	if status.Changed, err = s.people.SetMetadata(r.Context(), pack); err != nil {
		return nil, fmt.Errorf("judging passkeys by new metadata: %w", err)
	}
	return status, nil
}

// keepMetadata stores a pack that is newer than the kept one. An older one is
// refused: it would bring models back to trust that lost it.
func (s *Server) keepMetadata(ctx context.Context, pack *reference.MDS) (same bool, err error) {
	content, err := pack.Encode()
	if err != nil {
		return false, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		numbers, err := tx.Packs()
		if err != nil {
			return err
		}
		if _, err := tx.Content(packMDS); err == nil && numbers[packMDS] == uint64(pack.Number) {
			same = true
			return nil
		} else if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := tx.AcceptPack(packMDS, uint64(pack.Number)); err != nil {
			if errors.Is(err, store.ErrRollback) {
				return refuse(http.StatusConflict, "mds-rollback",
					fmt.Sprintf("Number %d is older than number %d, which was imported before.", pack.Number, numbers[packMDS]),
					"Download the newest BLOB from FIDO.")
			}
			return err
		}
		if err := tx.PutContent(packMDS, content); err != nil {
			return err
		}
		return audit(tx, localActor, "reference.mds", fmt.Sprint(pack.Number), s.statusOfMDS(pack))
	})
	return same, err
}

// mdsRoots are the CAs that may sign metadata: FIDO's and those of MDSRoots.
func (c *Config) mdsRoots() (*x509.CertPool, error) {
	roots := reference.FIDORoots()
	for _, file := range c.MDSRoots {
		b, err := readBounded(file, maxMDSRoots)
		if err != nil {
			return nil, fmt.Errorf("reading CA file: %w", err)
		}
		if !roots.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("reading CA file: %s has no certificate (PEM)", file)
		}
	}
	return roots, nil
}

const maxMDSRoots = 1 << 20

package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"muster/server/reference"
	"muster/server/store"
)

// importedPack says what an import did.
type importedPack struct {
	Pack packStatus `json:"pack"`
	// Same: it was in use already, and nothing was changed.
	Same     bool                  `json:"same,omitempty"`
	Findings []reference.EKFinding `json:"findings,omitempty"` // of a bundle of CAs
}

// importPack handles the control socket's POST /reference/packs: the body is a
// signed pack.
func (s *Server) importPack(r *http.Request, body []byte) (any, error) {
	own, err := s.packSigner(r.Context())
	if err != nil {
		return nil, err
	}
	signers, err := s.config.packSigners()
	if err != nil {
		return nil, err
	}
	p, signer, err := reference.OpenPack(body, append(signers, &own.PublicKey), s.now())
	if err != nil {
		return nil, notImported("a pack", err)
	}
	s.referencesMu.Lock()
	defer s.referencesMu.Unlock()
	if p.Name == reference.PackBoot {
		return s.importBoot(r.Context(), p, signer)
	}
	return s.importSignedEK(r.Context(), p, signer)
}

func (s *Server) importBoot(ctx context.Context, p *reference.Pack, signer string) (any, error) {
	b, err := reference.DecodeBoot(p.Content)
	if err != nil {
		return nil, fmt.Errorf("importing boot references: %w", err)
	}
	if builtIn, err := reference.DefaultBoot(); err == nil && b.Number <= builtIn.Number {
		if text, err := builtIn.Encode(); err == nil && string(text) == string(p.Content) {
			return s.importedNow(ctx, p.Name, true, nil)
		}
		return nil, refuse(http.StatusConflict, "pack-rollback",
			fmt.Sprintf("Number %d is not newer than number %d, which the program brings.", b.Number, builtIn.Number), "Get a newer pack, or go on with the one in use.")
	}
	same, err := s.keep(ctx, p, signer, packNote{})
	if err != nil {
		return nil, err
	}
	if !same {
		s.bootRefs.Store(b)
	}
	return s.importedNow(ctx, p.Name, same, nil)
}

// importSignedEK puts a pack in place of the one in use; keys that were denied
// here stay denied.
func (s *Server) importSignedEK(ctx context.Context, p *reference.Pack, signer string) (any, error) {
	next, err := reference.DecodeEKPack(p.Content)
	if err != nil {
		return nil, fmt.Errorf("importing EK roots: %w", err)
	}
	_, last, err := s.keptEKPack(ctx)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errPack) {
		return nil, err
	}
	if last != nil {
		for _, denied := range last.Denied {
			next.Deny(denied)
		}
	}
	content, err := next.Encode()
	if err != nil {
		return nil, fmt.Errorf("importing EK roots: %w", err)
	}
	p.Content = content
	return s.putEKPack(ctx, p, next, signer, packNote{}, nil)
}

// putEKPack stores and uses a pack. The caller holds referencesMu.
func (s *Server) putEKPack(ctx context.Context, p *reference.Pack, next *reference.EKPack, signer string, note packNote, findings []reference.EKFinding) (any, error) {
	roots, err := next.Roots(s.givenRoots) // before anything is stored
	if err != nil {
		return nil, fmt.Errorf("importing EK roots: %w", err)
	}
	same, err := s.keep(ctx, p, signer, note)
	if err != nil {
		return nil, err
	}
	if !same {
		s.roots.Store(roots)
	}
	return s.importedNow(ctx, p.Name, same, findings)
}

func (s *Server) importedNow(ctx context.Context, name reference.PackName, same bool, findings []reference.EKFinding) (any, error) {
	if !same && !s.config.visit {
		s.referencesChanged()
	}
	all, err := s.packs(ctx)
	at := slices.IndexFunc(all, func(p packStatus) bool { return p.Name == string(name) })
	if err != nil || at < 0 {
		return nil, errors.Join(err, errors.New("what was imported is not there"))
	}
	return importedPack{Pack: all[at], Same: same, Findings: findings}, nil
}

// packNote is what the audit log says of a change.
type packNote struct {
	action, subject string    // empty: the import of a pack
	Number          uint64    `json:"number"`
	Date            time.Time `json:"date"`
	Signer          string    `json:"signer,omitempty"`
	Added           int       `json:"added,omitempty"` // certificates
	Skipped         int       `json:"skipped,omitempty"`
	Virtual         bool      `json:"virtual,omitempty"`
}

// keep stores a pack that is newer than the kept one. An older one is refused: it
// would bring back to trust what lost it.
func (s *Server) keep(ctx context.Context, p *reference.Pack, signer string, note packNote) (same bool, err error) {
	content, err := json.Marshal(keptPack{Number: p.Number, Date: p.Date, ImportedAt: s.now().UTC(), By: localActor, Signer: signer, Content: p.Content})
	if err != nil {
		return false, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		numbers, err := tx.Packs()
		if err != nil {
			return err
		}
		last, err := readKept(tx, p.Name)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errPack) {
			return err
		}
		if last != nil && last.Number == p.Number {
			if same = string(last.Content) == string(p.Content); same {
				return nil
			}
			return refuse(http.StatusConflict, "pack-rollback",
				fmt.Sprintf("Another pack of number %d is in use.", p.Number), "Get a pack with a higher number.")
		}
		if err := tx.AcceptPack(string(p.Name), p.Number); err != nil {
			if errors.Is(err, store.ErrRollback) {
				return refuse(http.StatusConflict, "pack-rollback",
					fmt.Sprintf("Number %d is older than number %d, which was in use before.", p.Number, numbers[string(p.Name)]), "Get the newest pack.")
			}
			return err
		}
		if err := tx.PutContent(string(p.Name), content); err != nil {
			return err
		}
		note.Number, note.Date, note.Signer = p.Number, p.Date, signer
		return audit(tx, localActor, cmp.Or(note.action, "reference.import"), cmp.Or(note.subject, string(p.Name)), note)
	})
	return same, err
}

// notImported says why nothing was imported: in words where the file is to blame.
func notImported(what string, err error) error {
	var refused *reference.Refusal
	if errors.As(err, &refused) {
		return refuse(http.StatusBadRequest, refused.Code, "Nothing was imported: "+refused.Text+".", refused.Fix)
	}
	return fmt.Errorf("importing %s: %w", what, err)
}

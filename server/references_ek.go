package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"muster/server/reference"
	"muster/server/store"
)

// EKBundle are certificates of CAs that vouch for TPMs, as an operator got them.
type EKBundle struct {
	// Virtual: they vouch for virtual TPMs, and for no hardware.
	Virtual bool                   `json:"virtual,omitempty"`
	Files   []reference.BundleFile `json:"files"`
}

// ReadEKBundle reads a PEM or DER file, a cabinet, or a folder of these.
func ReadEKBundle(path string, virtual bool) (*EKBundle, error) {
	files, err := reference.ReadBundle(path)
	if err != nil {
		return nil, fmt.Errorf("reading EK roots: %w", err)
	}
	return &EKBundle{Virtual: virtual, Files: files}, nil
}

// importEKRoots handles the control socket's POST /reference/ek-roots: the
// certificates of a bundle come beside those that are there.
func (s *Server) importEKRoots(r *http.Request, body []byte) (any, error) {
	bundle := new(EKBundle)
	if err := read(body, bundle); err != nil {
		return nil, err
	}
	var findings []reference.EKFinding
	return s.changeEKPack(r.Context(), func(p *reference.EKPack) (*packNote, []reference.EKFinding, error) {
		var err error
		if findings, err = p.Import(bundle.Files, bundle.Virtual); err != nil {
			return nil, nil, refuse(http.StatusBadRequest, "pack-form", "Nothing was imported: "+err.Error()+".",
				"Give certificates of CAs: PEM, DER, a cabinet as TrustedTpm.cab, or a folder of these.")
		}
		note := &packNote{Virtual: bundle.Virtual}
		for _, f := range findings {
			if f.New {
				note.Added++
			}
			if f.Skipped != "" {
				note.Skipped++
			}
		}
		if note.Added == 0 {
			note = nil
		}
		return note, findings, nil
	})
}

// deniedKey is a key on the deny list, or to be taken off it.
type deniedKey struct {
	SPKI   string `json:"spki_sha256"` // hexadecimal
	Remove bool   `json:"remove,omitempty"`
}

// denyKey handles the control socket's POST /reference/deny.
func (s *Server) denyKey(r *http.Request, body []byte) (any, error) {
	d := new(deniedKey)
	if err := read(body, d); err != nil {
		return nil, err
	}
	sum, err := reference.ParseSum(d.SPKI)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "spki-form", "What is denied "+err.Error()+".",
			"Give the SHA-256 of the key's SubjectPublicKeyInfo, in DER.")
	}
	return s.changeEKPack(r.Context(), func(p *reference.EKPack) (*packNote, []reference.EKFinding, error) {
		if d.Remove && p.Allow(sum) {
			return &packNote{action: "reference.allow", subject: d.SPKI}, nil, nil
		}
		if !d.Remove && p.Deny(sum) {
			return &packNote{action: "reference.deny", subject: d.SPKI}, nil, nil
		}
		return nil, nil, nil
	})
}

// changeEKPack makes the next pack of the last. A pack that cannot be read is
// begun anew: nothing of it is trusted, and what it denied must be denied again. No
// note means that nothing changed.
func (s *Server) changeEKPack(ctx context.Context, change func(p *reference.EKPack) (*packNote, []reference.EKFinding, error)) (any, error) {
	s.referencesMu.Lock()
	defer s.referencesMu.Unlock()
	_, last, err := s.keptEKPack(ctx)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errPack) {
		return nil, err
	}
	var highest uint64
	err = s.store.View(ctx, func(tx *store.Tx) error {
		numbers, err := tx.Packs()
		highest = numbers[string(reference.PackEKRoots)]
		return err
	})
	if err != nil {
		return nil, err
	}
	next := reference.NextEKPack(last, highest, s.now())
	note, findings, err := change(next)
	if err != nil {
		return nil, err
	}
	if note == nil {
		return s.importedNow(ctx, reference.PackEKRoots, true, findings)
	}
	content, err := next.Encode()
	if err != nil {
		return nil, fmt.Errorf("changing EK roots: %w", err)
	}
	p := &reference.Pack{Name: reference.PackEKRoots, Number: next.Number, Date: next.Date, Content: content}
	return s.putEKPack(ctx, p, next, "", *note, findings)
}

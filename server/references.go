package server

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"muster/server/reference"
	"muster/server/store"
)

// maxReferences bounds what is imported at once, as base64 in JSON.
const maxReferences = 32 << 20

// keptPack is a pack as the store has it.
type keptPack struct {
	Number     uint64          `json:"number"`
	Date       time.Time       `json:"date"`
	ImportedAt time.Time       `json:"imported_at"`
	By         string          `json:"by"`               // who imported or changed it
	Signer     string          `json:"signer,omitempty"` // key id; empty: put together on this server
	Content    json.RawMessage `json:"content"`
}

// bootReferences returns what measured boots are judged by; it is never nil.
func (s *Server) bootReferences() *reference.Boot {
	builtIn, err := reference.DefaultBoot()
	if err != nil || builtIn == nil {
		builtIn = new(reference.Boot) // which vouches for nothing
	}
	if b := s.bootRefs.Load(); b != nil && b.Number > builtIn.Number {
		return b
	}
	return builtIn
}

// referencesChanged judges every device by references that were just put into use,
// before their import is answered.
func (s *Server) referencesChanged() { s.judgeAll(context.Background()) }

// loadReferences puts the kept packs into use. What cannot be read, or is gone
// with a restored backup, never widens trust: while it is not known what they held,
// no start is good, unless the program brings a newer pack, and no CA vouches for a
// TPM.
func (s *Server) loadReferences(ctx context.Context) error {
	switch boot, err := s.keptBoot(ctx); {
	case err == nil:
		s.bootRefs.Store(boot)
	case errors.Is(err, errPack):
		s.log.Error("kept boot references cannot be used; until they are imported again no start is good", "error", err)
		if err := s.nothingBoots(ctx); err != nil {
			return err
		}
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	_, pack, err := s.keptEKPack(ctx)
	if err == nil {
		return s.useEKPack(pack)
	}
	if errors.Is(err, errPack) {
		s.log.Error("kept EK roots cannot be used; until they are imported again no CA vouches for a TPM", "error", err)
		s.roots.Store(lostRoots)
		return nil
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// lostBoot is the number of references while those in use cannot be read: greater than
// any that a date makes.
const lostBoot = 1<<53 - 1

// nothingBoots puts a pack into use that vouches for nothing, unless the program
// brings a newer one than was lost. No pack has its number: all that was judged by it,
// or by the lost one, is judged again when that changes.
func (s *Server) nothingBoots(ctx context.Context) error {
	builtIn, err := reference.DefaultBoot()
	if err != nil {
		return fmt.Errorf("reading the program's boot references: %w", err)
	}
	return s.store.View(ctx, func(tx *store.Tx) error {
		numbers, err := tx.Packs()
		if numbers[string(reference.PackBoot)] > builtIn.Number {
			s.bootRefs.Store(&reference.Boot{Number: lostBoot})
		}
		return err
	})
}

// lostRoots stand for a pack of EK roots that cannot be read: no CA vouches for a
// TPM, and nobody knows which were denied.
var lostRoots = new(reference.EKRoots)

// useEKPack joins a pack with the roots of the settings.
func (s *Server) useEKPack(pack *reference.EKPack) error {
	roots, err := pack.Roots(s.givenRoots)
	if err != nil {
		return fmt.Errorf("using EK roots: %w", err)
	}
	s.roots.Store(roots)
	return nil
}

// kept reads a pack; store.ErrNotFound, or errPack when there was one that cannot
// be read or is gone.
func (s *Server) kept(ctx context.Context, name reference.PackName) (*keptPack, error) {
	var k *keptPack
	err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		k, err = readKept(tx, name)
		return err
	})
	return k, err
}

func readKept(tx *store.Tx, name reference.PackName) (*keptPack, error) {
	content, err := tx.Content(string(name))
	if errors.Is(err, store.ErrNotFound) {
		numbers, err := tx.Packs()
		if err != nil {
			return nil, err
		}
		if last := numbers[string(name)]; last != 0 {
			return nil, fmt.Errorf("%w: number %d of %s is gone with a restored backup", errPack, last, name)
		}
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	k := new(keptPack)
	if err := json.Unmarshal(content, k); err != nil {
		return nil, fmt.Errorf("%w %s: %w", errPack, name, err)
	}
	return k, nil
}

func (s *Server) keptBoot(ctx context.Context) (*reference.Boot, error) {
	k, err := s.kept(ctx, reference.PackBoot)
	if err != nil {
		return nil, err
	}
	b, err := reference.DecodeBoot(k.Content)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPack, err)
	}
	return b, nil
}

func (s *Server) keptEKPack(ctx context.Context) (k *keptPack, p *reference.EKPack, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		k, p, err = readKeptEK(tx)
		return err
	})
	return k, p, err
}

func readKeptEK(tx *store.Tx) (*keptPack, *reference.EKPack, error) {
	k, err := readKept(tx, reference.PackEKRoots)
	if err != nil {
		return nil, nil, err
	}
	p, err := reference.DecodeEKPack(k.Content)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errPack, err)
	}
	return k, p, nil
}

// packSigners are whose packs are accepted beside this server's own.
func (c *Config) packSigners() ([]*ecdsa.PublicKey, error) {
	var keys []*ecdsa.PublicKey
	for _, file := range c.ReferenceKeys {
		b, err := readBounded(file, maxMDSRoots)
		if err != nil {
			return nil, fmt.Errorf("reading a key of packs: %w", err)
		}
		key, err := reference.ParsePackKey(b)
		if err != nil {
			return nil, fmt.Errorf("reading a key of packs: %s %w", file, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

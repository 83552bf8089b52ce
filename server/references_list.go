package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"muster/server/reference"
	"muster/server/store"
)

// packOld is when a pack is worth a warning: what was found since is missing.
const packOld = 365 * 24 * time.Hour

// packStatus is where one pack stands.
type packStatus struct {
	Name    string    `json:"name"`
	Number  uint64    `json:"number"` // 0: there is none
	Date    time.Time `json:"date,omitzero"`
	AgeDays int       `json:"age_days"`
	// Source: built in, imported, or put together here.
	Source     string         `json:"source,omitempty"`
	By         string         `json:"by,omitempty"`
	Signer     string         `json:"signer,omitempty"`
	ImportedAt time.Time      `json:"imported_at,omitzero"`
	Counts     map[string]int `json:"counts,omitempty"`
	Freshness  string         `json:"freshness,omitempty"` // fresh or old; of FIDO's metadata its own words
	// Levels are the names that the settings dbx-level and sbat-level take, oldest
	// first.
	Levels  map[string][]string `json:"levels,omitempty"`
	Problem string              `json:"problem,omitempty"` // why it is not in use
}

// listReferences handles the control socket's GET /reference.
func (s *Server) listReferences(r *http.Request, _ []byte) (any, error) {
	return s.packs(r.Context())
}

func (s *Server) packs(ctx context.Context) ([]packStatus, error) {
	boot, err := s.bootStatus(ctx)
	if err != nil {
		return nil, err
	}
	ek, err := s.ekStatus(ctx)
	if err != nil {
		return nil, err
	}
	mds, err := s.mdsPackStatus(ctx)
	return []packStatus{boot, ek, mds}, err
}

// dated fills what follows from a pack's date.
func (s *Server) dated(p packStatus, date time.Time) packStatus {
	age := s.now().Sub(date)
	p.Date, p.AgeDays, p.Freshness = date, max(0, int(age/(24*time.Hour))), string(reference.Fresh)
	if age > packOld {
		p.Freshness = "old"
	}
	return p
}

func (p packStatus) imported(k *keptPack) packStatus {
	p.By, p.Signer, p.ImportedAt, p.Source = k.By, k.Signer, k.ImportedAt, "imported"
	if k.Signer == "" {
		p.Source = "put together here"
	}
	return p
}

func levelNames(b *reference.Boot) map[string][]string {
	names := make(map[string][]string)
	for _, l := range b.DBX {
		names["dbx"] = append(names["dbx"], l.Name)
	}
	for _, l := range b.SBAT {
		names["sbat"] = append(names["sbat"], l.Name)
	}
	return names
}

func (s *Server) bootStatus(ctx context.Context) (packStatus, error) {
	b := s.bootReferences()
	p := s.dated(packStatus{Name: string(reference.PackBoot), Number: b.Number, Source: "built in", Counts: map[string]int{
		"authorities": len(b.Authorities), "test_keys": len(b.TestKeys), "dbx_levels": len(b.DBX), "sbat_levels": len(b.SBAT), "tpms": len(b.TPMs),
	}}, b.Date)
	p.Levels = levelNames(b)
	for kind, wanted := range map[string]string{"dbx": s.config.BootLevels.DBX, "sbat": s.config.BootLevels.SBAT} {
		if wanted != "" && !slices.Contains(p.Levels[kind], wanted) {
			p.Problem = "it has no " + kind + " level " + wanted + ", which the settings ask for: no laptop meets it"
		}
	}
	k, err := s.kept(ctx, reference.PackBoot)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case errors.Is(err, errPack):
		p.Problem = "what was imported cannot be read; import it again"
	case err != nil:
		return p, err
	case k.Number == b.Number:
		p = p.imported(k)
	}
	return p, nil
}

func (s *Server) ekStatus(ctx context.Context) (packStatus, error) {
	p := packStatus{Name: string(reference.PackEKRoots), Counts: map[string]int{}}
	k, pack, err := s.keptEKPack(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case errors.Is(err, errPack):
		p.Problem = "it is gone with a restored backup, or cannot be read: no CA vouches for a TPM until EK roots are imported again, and keys denied again"
	case err != nil:
		return p, err
	default:
		p.Number = k.Number
		p = s.dated(p, k.Date).imported(k)
		p.Counts["denied"] = len(pack.Denied)
	}
	roots := s.roots.Load() // with those of the settings
	p.Counts["hardware_roots"], p.Counts["hardware_intermediates"] = roots.Hardware.Count()
	p.Counts["virtual_roots"], p.Counts["virtual_intermediates"] = roots.Virtual.Count()
	return p, nil
}

func (s *Server) mdsPackStatus(ctx context.Context) (packStatus, error) {
	p := packStatus{Name: packMDS}
	m, err := s.keptMetadata(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return p, nil
	case errors.Is(err, errPack):
		p.Problem = "it cannot be read; import the newest BLOB"
		return p, nil
	case err != nil:
		return p, err
	}
	p.Number, p.Source, p.ImportedAt, p.Signer = uint64(m.Number), "imported", m.ImportedAt, "FIDO"
	p.AgeDays, p.Freshness = max(0, int(s.now().Sub(m.ImportedAt)/(24*time.Hour))), string(m.Freshness(s.now()))
	p.Counts = map[string]int{"authenticators": len(m.Entries), "skipped": m.Skipped}
	return p, nil
}

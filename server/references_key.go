package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"muster/server/gateway/token"
	"muster/server/reference"
	"muster/server/store"
)

// packKey is the name under which the store keeps the key that signs packs. It is
// a key of its own: one that signs tokens for gateways signs nothing else. Its
// number is the epoch's, so that a restored backup, of which there may be copies,
// signs with a new one.
const packKey = "pack-key"

// packSigner returns the key that signs packs, and makes it when there is none.
func (s *Server) packSigner(ctx context.Context) (*ecdsa.PrivateKey, error) {
	s.referencesMu.Lock()
	defer s.referencesMu.Unlock()
	private, err := s.keptPackKey(ctx)
	if errors.Is(err, store.ErrNotFound) {
		private, err = s.makePackKey(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key of packs: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(private)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok { // the parser's error may quote bytes
		return nil, errors.New("the key of packs is not an ECDSA key in PKCS #8")
	}
	return key, nil
}

func (s *Server) keptPackKey(ctx context.Context) (private []byte, err error) {
	err = s.store.View(ctx, func(tx *store.Tx) error {
		meta, err := tx.Meta()
		if err != nil {
			return err
		}
		numbers, err := tx.Packs()
		if err != nil {
			return err
		}
		if numbers[packKey] != meta.Epoch+1 {
			return store.ErrNotFound
		}
		private, err = tx.Content(packKey)
		return err
	})
	return private, err
}

func (s *Server) makePackKey(ctx context.Context) ([]byte, error) {
	k, err := token.NewKey(s.now())
	if err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		meta, err := tx.Meta()
		if err != nil {
			return err
		}
		if err := tx.AcceptPack(packKey, meta.Epoch+1); err != nil {
			return err
		}
		if err := tx.PutContent(packKey, k.Private); err != nil {
			return err
		}
		return audit(tx, localActor, "reference.key", k.ID, nil)
	})
	return k.Private, err
}

// packKeyView is the public half.
type packKeyView struct {
	ID  string `json:"kid"`
	JWK string `json:"jwk"`
	PEM string `json:"pem"`
}

// showPackKey handles the control socket's GET /reference/key.
func (s *Server) showPackKey(r *http.Request, _ []byte) (any, error) {
	key, err := s.packSigner(r.Context())
	if err != nil {
		return nil, err
	}
	id, err := reference.PackKeyID(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	jwk, pem, err := reference.PackKeyTexts(&key.PublicKey)
	return packKeyView{ID: id, JWK: string(jwk), PEM: string(pem)}, err
}

// exportedPack is a signed pack.
type exportedPack struct {
	Number uint64 `json:"number"`
	Pack   string `json:"pack"`
}

// exportPack handles the control socket's GET /reference/packs/{name}: what is in
// use, signed by this server.
func (s *Server) exportPack(r *http.Request, _ []byte) (any, error) {
	p, err := s.packInUse(r.Context(), reference.PackName(r.PathValue("name")))
	if err != nil {
		return nil, err
	}
	key, err := s.packSigner(r.Context())
	if err != nil {
		return nil, err
	}
	signed, err := p.Sign(key)
	if err != nil {
		return nil, err
	}
	return exportedPack{Number: p.Number, Pack: string(signed)}, nil
}

func (s *Server) packInUse(ctx context.Context, name reference.PackName) (*reference.Pack, error) {
	switch name {
	case reference.PackBoot:
		b := s.bootReferences()
		content, err := b.Encode()
		return &reference.Pack{Name: name, Number: b.Number, Date: b.Date, Content: content}, err
	case reference.PackEKRoots:
		k, err := s.kept(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil, refuse(http.StatusNotFound, "pack-missing", "No EK roots were imported; those of the settings are files that you have.", "Import some: muster-server reference import FILE --as-ek-roots.")
		}
		if err != nil {
			return nil, unreadable(err)
		}
		return &reference.Pack{Name: name, Number: k.Number, Date: k.Date, Content: k.Content}, nil
	}
	return nil, refuse(http.StatusNotFound, "pack-missing", "There is no such pack.", "Export boot or ek-roots; FIDO's metadata is passed on as FIDO's own file.")
}

// unreadable makes a refusal of a pack that cannot be read; other errors stay.
func unreadable(err error) error {
	if !errors.Is(err, errPack) {
		return err
	}
	return refuse(http.StatusConflict, "pack-unreadable", "The kept pack is gone with a restored backup, or of another version of this program.", "Import it again.")
}

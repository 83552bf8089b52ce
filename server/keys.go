package server

import (
	"context"
	"fmt"

	"muster/server/decide"
	"muster/server/gateway"
	"muster/server/gateway/token"
	"muster/server/geo"
	"muster/server/store"
)

// openGateways makes what answers to gateways need beside decisions: signing keys,
// and where addresses are.
func (s *Server) openGateways(ctx context.Context) error {
	if s.config.visit {
		return nil // commands answer no gateway
	}
	if s.config.CountryFile != "" || s.config.ASNFile != "" {
		var err error
		if s.geo, err = geo.Open(s.config.CountryFile, s.config.ASNFile); err != nil {
			return fmt.Errorf("opening the databases of addresses: %w", err)
		}
	}
	return s.rotateKeys(ctx)
}

// rotateKeys makes and forgets signing keys as their times come. A key is stored
// before anything is signed with it. Mostly nothing is due, and nothing is written.
func (s *Server) rotateKeys(ctx context.Context) error {
	var keys []token.Key
	err := s.store.View(ctx, func(tx *store.Tx) (err error) {
		keys, err = storedKeys(tx)
		return err
	})
	if err == nil {
		due, forget := token.Due(keys, s.now())
		if !due && len(forget) == 0 && s.tokens.Load() != nil {
			return nil
		}
		if due || len(forget) > 0 {
			keys, err = s.replaceKeys(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("rotating signing keys: %w", err)
	}
	now, err := token.NewKeys(keys)
	if err == nil {
		s.tokens.Store(now)
	}
	return err
}

// replaceKeys makes and forgets what is due by now, and returns what is left.
func (s *Server) replaceKeys(ctx context.Context) (keys []token.Key, err error) {
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		if keys, err = storedKeys(tx); err != nil {
			return err
		}
		due, forget := token.Due(keys, tx.Now())
		for _, id := range forget {
			if err := tx.RemoveSigningKey(id); err != nil {
				return err
			}
		}
		if due {
			k, err := token.NewKey(tx.Now())
			if err != nil {
				return err
			}
			if err := tx.AddSigningKey(&store.SigningKey{ID: k.ID, Private: k.Private}); err != nil {
				return err
			}
		}
		keys, err = storedKeys(tx)
		return err
	})
	return keys, err
}

func storedKeys(tx *store.Tx) (keys []token.Key, err error) {
	list, err := tx.SigningKeys()
	for _, k := range list {
		keys = append(keys, token.Key{ID: k.ID, Private: k.Private, CreatedAt: k.CreatedAt})
	}
	return keys, err
}

// jwks is the public halves of the signing keys.
func (s *Server) jwks() []byte {
	if k := s.tokens.Load(); k != nil {
		return k.JWKS()
	}
	return nil // none is worse than not knowing: clients keep what they get for a while
}

// mint makes the token that an application gets with an allowed request; empty
// where it gets none.
func (s *Server) mint(a *gateway.Answer, c *gateway.Credential, app string) string {
	keys, d := s.tokens.Load(), a.Decision()
	if keys == nil || c.Audience == "" || d.Outcome < decide.Restrict {
		return ""
	}
	now, who := s.now(), a.Identity()
	claims := &token.Claims{
		Issuer: s.config.PublicURL, Subject: who.User, Audience: c.Audience, ID: newID(), IssuedAt: now, Expires: now.Add(token.Life),
		Session: who.Session, App: app, ACR: who.ACR, AMR: who.AMR, Device: who.Device, Level: who.Level, Groups: who.Groups,
		Outcome: d.Outcome.String(), ReasonsHash: token.HashReasons(codes(*d)), Policy: d.Policy,
	}
	if !d.Until.IsZero() && d.Until.Before(claims.Expires) {
		claims.Expires = d.Until // a token says no longer yes than the decision
	}
	if !who.UserVerifiedAt.IsZero() {
		claims.AuthTime = who.UserVerifiedAt.Unix()
	}
	if claims.Subject == "" {
		claims.Subject = who.Device
	}
	signed, err := keys.Sign(claims, now)
	if err != nil && len(claims.Groups) > 0 {
		claims.Groups = nil // somebody in very many: the application has them in a header
		signed, err = keys.Sign(claims, now)
	}
	if err != nil {
		s.log.Error("token not signed", "error", err)
		return ""
	}
	return signed
}

// introspector tells what tokens of ours are worth now.
func (s *Server) introspector() gateway.Introspector {
	return gateway.Introspector{Verify: s.readToken, Live: s.tokenLives, Log: s.log}
}

// readToken reads a token that this server made for an audience.
func (s *Server) readToken(text, audience string) (*gateway.TokenClaims, bool) {
	keys := s.tokens.Load()
	if keys == nil {
		return nil, false
	}
	c, err := keys.Verify(text, s.config.PublicURL, audience, s.now())
	if err != nil {
		s.log.Info("token not good", "reason", cut(err.Error()))
		return nil, false
	}
	return &gateway.TokenClaims{
		Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, ID: c.ID, IssuedAt: c.IssuedAt.Unix(), Expires: c.Expires.Unix(),
		Session: c.Session, App: c.App, ACR: c.ACR, AMR: c.AMR, AuthTime: c.AuthTime, Device: c.Device, Level: c.Level,
		Groups: c.Groups, Outcome: c.Outcome, ReasonsHash: c.ReasonsHash, Policy: c.Policy,
	}, true
}

// tokenLives reports whether who a token is about would still get what it says.
func (s *Server) tokenLives(ctx context.Context, t *gateway.TokenClaims) bool {
	var was decide.Outcome
	if was.UnmarshalText([]byte(t.Outcome)) != nil || was < decide.Restrict {
		return false
	}
	if t.Session == "" {
		return s.Check(t.Device, t.App).Decision().Outcome >= was
	}
	if !s.hostIndex().named[t.App] {
		return false
	}
	st, _, refused := s.sessionNow(ctx, t.Session, t.App)
	return refused == nil && st.of.who.User == t.Subject && st.prepared.Decision.Outcome >= was
}

package people

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"muster/server/store"
)

// maxTokenDays is how long a program's token may live.
const maxTokenDays = 366

// Scopes are what a program's token may be good for: what, and whether to read or
// to write. Writing does not imply reading.
func Scopes() []string {
	return []string{"users:read", "users:write", "devices:read", "devices:write", "sessions:read", "sessions:write", "audit:read"}
}

// CreateAPIToken makes a token for a program: administrators with fresh hands.
// Scopes are of Scopes.
func (p *People) CreateAPIToken(ctx context.Context, w *Who, name string, scopes []string, days int) (secret string, k *store.APIToken, err error) {
	if !label(name) {
		return "", nil, errLabel
	}
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(Scopes(), s) }) {
		return "", nil, refuse(400, "scope-unknown", "A token needs scopes, each of a fixed list.", "Choose among "+strings.Join(Scopes(), ", ")+".")
	}
	if days < 1 || days > maxTokenDays {
		return "", nil, errDays
	}
	err = p.update(ctx, func(tx *store.Tx) error {
		now, err := administrator(tx, w)
		if err != nil {
			return err
		}
		k = &store.APIToken{Label: name, Scopes: scopes, CreatedBy: now.Person.ID, Expires: tx.Now().Add(time.Duration(days) * 24 * time.Hour)}
		if secret, err = tx.AddAPIToken(k); err != nil {
			return err
		}
		detail := map[string]any{"label": name, "scopes": scopes, "expires": k.Expires}
		if err := audit(tx, now.actor(), "program.create", k.ID, detail); err != nil {
			return err
		}
		return p.notify(tx, now.Person, "program-created", detail)
	})
	if err != nil {
		return "", nil, err
	}
	return secret, k, nil
}

// administrator is fresh for acts that are administrators'.
func administrator(tx *store.Tx, w *Who) (*Who, error) {
	now, err := still(tx, w)
	if err != nil {
		return nil, err
	}
	if !now.Is(store.RoleAdministrator) {
		return nil, errRole
	}
	if !now.Fresh(tx.Now()) {
		return nil, errVerify
	}
	return now, nil
}

// Program returns the token of a secret when it lives and has the scope. It is
// worth no more than who made it: one who administers no more has no programs.
func (p *People) Program(ctx context.Context, secret, scope string) (*store.APIToken, error) {
	var k *store.APIToken
	err := p.view(ctx, func(tx *store.Tx) (err error) {
		if k, err = tx.APITokenBySecret(secret); err != nil {
			return err
		}
		return worth(tx, k)
	})
	if errors.Is(err, errUsed) {
		err = errProgram
	}
	if err != nil {
		return nil, err
	}
	p.noteProgram(ctx, secret, k)
	if !slices.Contains(Scopes(), scope) || !slices.Contains(k.Scopes, scope) {
		return nil, refuse(403, "scope", "This token is not for that.", "Make one with scope "+scope+".")
	}
	return k, nil
}

// noteProgram writes down that a token was used, to the hour. As with visits,
// that it cannot be written refuses nobody.
func (p *People) noteProgram(ctx context.Context, secret string, k *store.APIToken) {
	if !p.Now().Truncate(time.Hour).After(k.UsedAt) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, noteWait)
	defer cancel()
	err := p.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.APITokenBySecret(secret)
		return err
	})
	if err != nil {
		p.Log.Warn("use of a program's token not noted", "token", k.ID, "error", err)
	}
}

// worth refuses the token of somebody who could not make it now.
func worth(tx *store.Tx, k *store.APIToken) error {
	maker, err := tx.Person(k.CreatedBy)
	if errors.Is(err, store.ErrNotFound) || err == nil && (maker.Disabled || maker.Role != store.RoleAdministrator) {
		return errProgram
	}
	return err
}

// APITokens lists them, without secrets: administrators and auditors.
func (p *People) APITokens(ctx context.Context, w *Who) (list []*store.APIToken, err error) {
	err = p.view(ctx, func(tx *store.Tx) error {
		now, err := still(tx, w)
		if err != nil {
			return err
		}
		if !now.Is(store.RoleAdministrator, store.RoleAuditor) {
			return errRole
		}
		list, err = tx.APITokens()
		return err
	})
	return list, err
}

// EndAPIToken ends one: administrators with fresh hands.
func (p *People) EndAPIToken(ctx context.Context, w *Who, id string) error {
	return p.update(ctx, func(tx *store.Tx) error {
		now, err := administrator(tx, w)
		if err != nil {
			return err
		}
		if err := tx.EndAPIToken(id); err != nil {
			return err
		}
		return audit(tx, now.actor(), "program.end", id, struct{}{})
	})
}

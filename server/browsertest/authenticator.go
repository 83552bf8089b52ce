package browsertest

import (
	"context"
	"encoding/json"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// Authenticator is a virtual one that a tab has: Chromium's own, spoken to by the
// page as any other.
type Authenticator struct {
	tab *Tab
	id  webauthn.AuthenticatorID
}

// Authenticator plugs one in: built into the laptop, or a key that people carry
// (roaming); synced makes credentials that are backup-eligible and backed up.
func (tab *Tab) Authenticator(roaming, synced bool) *Authenticator {
	tab.t.Helper()
	transport := webauthn.AuthenticatorTransportInternal
	if roaming {
		transport = webauthn.AuthenticatorTransportUsb
	}
	a := &Authenticator{tab: tab}
	a.call("making an authenticator", func(ctx context.Context) error {
		if _, err := chromedp.Call(ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		made, err := chromedp.Call(ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
			Options: &webauthn.VirtualAuthenticatorOptions{
				Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21, Transport: transport,
				HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
				DefaultBackupEligibility: synced, DefaultBackupState: synced,
			},
		})
		if err == nil {
			a.id = made.AuthenticatorID
		}
		return err
	})
	return a
}

func (a *Authenticator) call(what string, f func(context.Context) error) {
	a.tab.t.Helper()
	ctx, cancel := context.WithTimeout(a.tab.ctx, patience)
	defer cancel()
	if err := f(ctx); err != nil {
		a.tab.t.Fatalf("%s: %v", what, err)
	}
}

// Verifies sets whether the person's finger or PIN is right.
func (a *Authenticator) Verifies(right bool) {
	a.tab.t.Helper()
	a.call("setting user verification", func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: a.id, IsUserVerified: right})
		return err
	})
}

// Present sets whether somebody touches it when it asks; until then it waits.
func (a *Authenticator) Present(touches bool) {
	a.tab.t.Helper()
	a.call("setting presence", func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: a.id, Enabled: touches})
		return err
	})
}

// BadUV makes it clear the user-verified flag of what it signs, as a client would
// that left verification out.
func (a *Authenticator) BadUV(bad bool) {
	a.tab.t.Helper()
	a.call("setting response bits", func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, webauthn.SetResponseOverrideBits, webauthn.SetResponseOverrideBitsParams{AuthenticatorID: a.id, IsBadUV: &bad})
		return err
	})
}

// Credentials are what it holds.
func (a *Authenticator) Credentials() []*webauthn.Credential {
	a.tab.t.Helper()
	var list []*webauthn.Credential
	a.call("listing credentials", func(ctx context.Context) error {
		got, err := chromedp.Call(ctx, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: a.id})
		if err == nil {
			list = got.Credentials
		}
		return err
	})
	return list
}

// Adopt puts credentials of another authenticator into this one, as the same
// authenticator in another tab.
func (a *Authenticator) Adopt(credentials []*webauthn.Credential) {
	a.tab.t.Helper()
	add := cdp.Command[adoptParams, cdp.Empty]{Method: webauthn.CommandAddCredential}
	for _, c := range credentials {
		a.call("adding a credential", func(ctx context.Context) error {
			_, err := chromedp.Call(ctx, add, adoptParams{a.id, adopted{
				c.CredentialID, true, c.RpID, c.PrivateKey, c.UserHandle, c.SignCount, c.BackupEligibility, c.BackupState, c.UserName,
			}})
			return err
		})
	}
}

// adoptParams are WebAuthn.addCredential's, without the members that Chromium's
// own authenticator refuses even when they say no.
type adoptParams struct {
	AuthenticatorID webauthn.AuthenticatorID `json:"authenticatorId"`
	Credential      adopted                  `json:"credential"`
}

type adopted struct {
	CredentialID         []byte  `json:"credentialId"`
	IsResidentCredential bool    `json:"isResidentCredential"`
	RPID                 string  `json:"rpId"`
	PrivateKey           []byte  `json:"privateKey"`
	UserHandle           []byte  `json:"userHandle"`
	SignCount            float64 `json:"signCount"`
	BackupEligibility    bool    `json:"backupEligibility"`
	BackupState          bool    `json:"backupState"`
	UserName             string  `json:"userName"`
}

// Lose forgets everything it holds.
func (a *Authenticator) Lose() {
	a.tab.t.Helper()
	a.call("clearing credentials", func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, webauthn.ClearCredentials, webauthn.ClearCredentialsParams{AuthenticatorID: a.id})
		return err
	})
}

// Unplug takes it away.
func (a *Authenticator) Unplug() {
	a.tab.t.Helper()
	a.call("removing the authenticator", func(ctx context.Context) error {
		_, err := chromedp.Call(ctx, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: a.id})
		return err
	})
}

// quote spells a string for JavaScript.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

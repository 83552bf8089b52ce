package server

import (
	"encoding/json"
	"time"
)

// What programs get. These are of the interface: they change only by addition.

type apiUser struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Display   string     `json:"display,omitempty"`
	Mail      string     `json:"mail,omitempty"`
	Role      string     `json:"role"`
	Groups    []string   `json:"groups,omitempty"`
	Approvers []string   `json:"approvers,omitempty"`
	Disabled  bool       `json:"disabled"`
	CreatedAt time.Time  `json:"created_at"`
	Passkeys  int        `json:"passkeys"`
	Sessions  int        `json:"sessions"`
	LastUse   *time.Time `json:"last_use,omitempty" doc:"Of a passkey."`
}

func asUser(u *userView) apiUser {
	return apiUser{
		ID: u.ID, Name: u.Name, Display: u.Display, Mail: u.Mail, Role: string(u.Role), Groups: u.Groups, Approvers: u.Approvers,
		Disabled: u.Disabled, CreatedAt: u.CreatedAt, Passkeys: u.Passkeys, Sessions: u.Sessions, LastUse: when(u.LastUse),
	}
}

// when is a time that may not have come.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

type apiImported struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Same    int `json:"same"`
}

type apiSession struct {
	ID         string    `json:"id"`
	User       string    `json:"user"`
	CreatedAt  time.Time `json:"created_at"`
	VerifiedAt time.Time `json:"verified_at"`
	SeenAt     time.Time `json:"seen_at"`
	Address    string    `json:"address,omitempty"`
	Browser    string    `json:"browser,omitempty"`
	Device     string    `json:"device,omitempty" doc:"The linked laptop."`
	Strength   string    `json:"strength,omitempty" doc:"Of the link: code, app, loopback."`
}

func asSession(one listedSession) apiSession {
	out := apiSession{
		ID: one.ID, User: one.User, CreatedAt: one.CreatedAt, VerifiedAt: one.VerifiedAt, SeenAt: one.SeenAt,
		Address: one.Address, Browser: one.Browser,
	}
	if l := one.Link; l != nil {
		out.Device, out.Strength = l.Device, string(l.Strength)
	}
	return out
}

type apiDevice struct {
	ID         string      `json:"id"`
	Name       string      `json:"name,omitempty"`
	State      string      `json:"state"`
	Level      string      `json:"level"`
	Class      string      `json:"class"`
	Group      string      `json:"group,omitempty"`
	Owner      string      `json:"owner,omitempty"`
	Platform   string      `json:"platform"`
	Serial     string      `json:"serial,omitempty" doc:"As the device says."`
	EnrolledAt time.Time   `json:"enrolled_at"`
	LastReport *time.Time  `json:"last_report,omitempty"`
	RevokedAt  *time.Time  `json:"revoked_at,omitempty"`
	RevokedWhy string      `json:"revoked_why,omitempty"`
	Outcome    string      `json:"outcome" doc:"What it is told: allow, step_up, restrict, deny."`
	Reasons    []apiReason `json:"reasons"`
}

type apiReason struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Fix  string `json:"fix"`
}

func asDevice(v *DeviceView) apiDevice {
	out := apiDevice{
		ID: v.ID, Name: v.Name, State: string(v.State), Level: v.Level.String(), Class: string(v.Class), Group: v.Group, Owner: v.Owner,
		Platform: string(v.Platform), Serial: v.Serial, EnrolledAt: v.EnrolledAt, LastReport: when(v.LastReport),
		RevokedAt: when(v.RevokedAt), RevokedWhy: v.RevokedWhy, Outcome: v.Decision.Outcome, Reasons: []apiReason{},
	}
	for _, r := range v.Decision.Reasons {
		out.Reasons = append(out.Reasons, apiReason{r.Code, r.Text, r.Fix})
	}
	return out
}

type apiEntry struct {
	Number  uint64          `json:"number"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	Action  string          `json:"action"`
	Subject string          `json:"subject"`
	Detail  json.RawMessage `json:"detail"`
	Hash    string          `json:"hash" doc:"Over the entry and the one before."`
}

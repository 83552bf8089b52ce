// Package web is the pages that people see, and the few JSON endpoints that the
// pages call: html/template, htmx and one style sheet, all in the binary.
//
// It guarantees that every route says who may come, in one table; that every
// state change is a POST that a browser says comes from our own pages; that no
// page runs a script that is not ours; and that what a page shows of a laptop or
// a person is shown to its owner, or to a role that may see it.
//
// It decides nothing: what may be done is decided by package people, also where
// a page hides the button.
package web

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"muster/attest"
	"muster/attest/posture"
	"muster/server/people"
	"muster/server/session"
	"muster/server/store"
	"muster/server/verify"
)

// Access says who may call a route.
type Access string

// ByAnyone: nobody need be signed in. BySecret: who brings a one-time secret in
// the request itself. ByPerson: a live session. ByFresh: one with fresh hands.
const (
	ByAnyone Access = "anyone"
	BySecret Access = "secret"
	ByPerson Access = "person"
	ByFresh  Access = "fresh"
)

// Route is one row of the server's route table.
type Route struct {
	Pattern string // of http.ServeMux
	Access  Access
	Roles   []store.Role // with ByPerson and ByFresh: one of them; nil: any
	Limit   int64        // bytes of the body
	Handler http.Handler
}

// Laptop is what its owner sees of a device.
type Laptop struct {
	session.Device
	Platform    posture.Platform
	State       attest.DeviceState
	Cause       string // why it is pending: a code, and a sentence
	CauseText   string
	Back        bool // its owner may ask for it back, by the code that it shows
	CompareCode string
	LastReport  time.Time
	Claims      *posture.Claims // nil before the first report
	// Result is what Claims is of, with how it was started; nil before the first
	// report.
	Result   *verify.Result
	Decision attest.Decision
}

// Config is what the pages work with.
type Config struct {
	People *people.People
	// Origin is the public URL; requests for another host are refused.
	Origin string
	// Laptop shows a device.
	Laptop func(id string) (*Laptop, bool)
	// Advice says what is wrong with a claim that is no or unknown, and what to do
	// about it on that platform; nil: only what the laptop's decision says.
	Advice func(claim string, platform posture.Platform, c posture.Claim) (text, fix string)
	// Recheck asks a laptop for a report now and waits some seconds for it, telling
	// whether it came; nil: the button is not there.
	Recheck func(ctx context.Context, device string) bool
	// LinkPort is where agents listen on their own loopback; 0: nowhere.
	LinkPort int
	// Address is the client's address, for people and for rates.
	Address func(*http.Request) string
	// Allow counts a request of somebody who is not signed in; false: too many.
	// nil: no limit.
	Allow func(key string) bool
	// AllowPerson counts what somebody who is signed in sends; false: too much. nil:
	// no limit.
	AllowPerson func(id string) bool
	// Standing tells how a browser stands with an application; Office is what
	// administrators act on; nil: their pages are not there.
	Standing StandingFunc
	Office   *Office
	// Notices tells where notices go, in words: "mail", "mail and webhook", "".
	Notices string
	Now     func() time.Time
	Log     *slog.Logger
}

// Routes is every page and endpoint. It panics when the public URL or our own
// templates are no good, which no request can cause.
func Routes(c Config) []Route {
	s := newSite(c)
	rows := s.table()
	routes := make([]Route, 0, len(rows))
	for _, row := range rows {
		routes = append(routes, Route{
			Pattern: row.pattern, Access: row.access, Roles: row.roles, Limit: row.limit, Handler: s.serve(row),
		})
	}
	return routes
}

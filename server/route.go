package server

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"muster/attest"
	"muster/server/web"
)

// access says who may call a route. Of persons, roles may stand behind a slash:
// person/administrator,auditor; of programs, the scope: program/users:read.
type access string

const (
	byAnyone  access = "anyone"  // nothing secret is answered
	byEnrolee access = "enrolee" // rate-limited by address; proves itself in the message
	byDevice  access = "device"  // an enrolled device, by its MAC
	byGateway access = "gateway" // a gateway credential
	byProgram access = "program" // an API token with the scope
	// Of pages, as server/web has them.
	bySecret        = access(web.BySecret) // who brings a one-time secret in the request itself
	byPerson        = access(web.ByPerson) // a live session
	byFresh         = access(web.ByFresh)  // one with fresh hands
	byFlow   access = "flow"               // a browser at an application's host, on its way to a cookie
)

// route is one row of the table that every handler stands in.
type route struct {
	pattern string
	access  access
	limit   int64 // bytes of the body
	handler http.Handler
}

// Paths for load balancers; they tell nothing but whether to come here.
const (
	pathHealth = "/healthz"
	pathReady  = "/readyz"
)

// routes is the public listener's whole surface.
func (s *Server) routes() []route {
	return slices.Concat(s.programRoutes(), s.gatewayRoutes(), s.pageRoutes(), s.api)
}

// pageRoutes are what browsers call.
func (s *Server) pageRoutes() []route {
	rows := s.visitRoutes()
	for _, p := range s.pages {
		who := access(p.Access)
		if len(p.Roles) > 0 {
			var roles []string
			for _, r := range p.Roles {
				roles = append(roles, string(r))
			}
			who += access("/" + strings.Join(roles, ","))
		}
		rows = append(rows, route{p.Pattern, who, p.Limit, p.Handler})
	}
	return rows
}

// programRoutes are what agents, gateways and load balancers call.
func (s *Server) programRoutes() []route {
	return []route{
		{"GET " + pathHealth, byAnyone, 0, http.HandlerFunc(s.healthz)},
		{"GET " + pathReady, byAnyone, 0, http.HandlerFunc(s.readyz)},
		{"GET " + attest.PathTenant, byAnyone, 0, http.HandlerFunc(s.tenant)},
		{"POST " + attest.PathEnrolBegin, byEnrolee, attest.MaxMessage, s.enrolee(s.enrolBegin)},
		{"POST " + attest.PathEnrolFinish, byEnrolee, attest.MaxMessage, s.enrolee(s.enrolFinish)},
		{"POST " + attest.PathNonce, byDevice, attest.MaxMessage, s.authentic(s.nonce)},
		{"POST " + attest.PathReport, byDevice, attest.MaxMessage, s.authentic(s.report)},
		{"POST " + attest.PathStatus, byDevice, attest.MaxMessage, s.authentic(s.status)},
		{"POST " + attest.PathLog + "/{digest}", byDevice, attest.MaxBootLog, s.oneOfFew(s.authentic(s.bootLog))},
		{"POST " + attest.PathLinkAsk, byDevice, attest.MaxMessage, s.authentic(s.linkAsk)},
		{"POST " + attest.PathLink, byDevice, attest.MaxMessage, s.authentic(s.linkProve)},
		{"POST " + attest.PathLinkEnd, byDevice, attest.MaxMessage, s.authentic(s.linkEnd)},
		{"POST " + attest.PathWait, byDevice, attest.MaxMessage, s.authentic(s.holding.serve)},
	}
}

// Handler serves the route table. Every answer is closed to browsers' guesses,
// and a panic is a 500 that changed nothing.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.Handle(r.pattern, limited(r.limit, r.handler))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.log.Error("handler panicked", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		if !s.config.private(r) && r.URL.Path != pathHealth && r.URL.Path != pathReady {
			answerError(w, s.log, refuse(http.StatusForbidden, attest.CodePlainHTTP,
				"This listener speaks plain HTTP and serves its own machine and the trusted proxies only.", "Use the server's public URL."))
			return
		}
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		mux.ServeHTTP(w, r)
	})
}

// limited bounds the body; 0 means that the handler bounds it itself.
func limited(n int64, h http.Handler) http.Handler {
	if n == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, n)
		h.ServeHTTP(w, r)
	})
}

// messageFunc answers one message of the device protocol with a value that is
// written as JSON, or an error that answerError writes.
type messageFunc func(r *http.Request, body []byte) (reply any, err error)

// enrolee runs a handler for devices that we do not know yet.
func (s *Server) enrolee(f messageFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enrolRate.allow(clientAddress(r, s.config.TrustedProxies)) {
			answerError(w, s.log, tooMany())
			return
		}
		body, err := readAll(r)
		if err != nil {
			answerError(w, s.log, badBody())
			return
		}
		reply, err := f(r, body)
		s.answer(w, reply, err)
	})
}

// deviceFunc is a messageFunc for an enrolled device.
type deviceFunc func(r *http.Request, d *device, body []byte) (reply any, err error)

// authentic runs a handler after the MAC over path and body was found right.
// What is wrong with a device that we cannot believe is not told: an unknown id
// and a wrong MAC answer alike.
func (s *Server) authentic(f deviceFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(attest.HeaderDevice)
		d := s.fleet.get(id)
		var body []byte
		if d != nil { // what a stranger sends is not even read
			var err error
			if body, err = readAll(r); err != nil {
				answerError(w, s.log, badBody())
				return
			}
		}
		if d == nil || !d.authentic(r.URL.Path, body, r.Header.Get(attest.HeaderMAC)) {
			answerError(w, s.log, refuse(http.StatusUnauthorized, attest.CodeDeviceUnknown,
				"This server does not know the device by this secret.", "Enrol the laptop again: muster-agent enroll."))
			return
		}
		if !s.deviceRate.allow(id) {
			answerError(w, s.log, tooMany())
			return
		}
		reply, err := f(r, d, body)
		s.answer(w, reply, err)
	})
}

// oneOfFew bounds how many large bodies are in memory at once: others wait a
// little, and come again with the device's next report.
func (s *Server) oneOfFew(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), largeWait)
		defer cancel()
		select {
		case s.large <- struct{}{}:
			defer func() { <-s.large }()
			h.ServeHTTP(w, r)
		case <-ctx.Done():
			answerError(w, s.log, tooMany())
		}
	})
}

const largeWait = 10 * time.Second

// stored is a reply whose exact bytes were kept.
type stored []byte

func (s *Server) answer(w http.ResponseWriter, reply any, err error) {
	if err != nil {
		answerError(w, s.log, err)
		return
	}
	b, ok := reply.(stored)
	if !ok {
		if b, err = attest.Encode(reply); err != nil {
			answerError(w, s.log, err)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b)
}

func tooMany() error {
	r := refuse(http.StatusTooManyRequests, attest.CodeRateLimited, "Too many requests.", "It is tried again by itself.")
	r.RetryS = 30
	return r
}

func badBody() error {
	return refuse(http.StatusRequestEntityTooLarge, string(attest.TooLarge), "The message could not be read or is too large.", "Update muster-agent.")
}

// read decodes a strict message.
func read(body []byte, v any) error {
	if err := attest.Decode(body, v); err != nil {
		return &attest.Error{Code: attest.PayloadForm, Detail: err.Error()}
	}
	return nil
}

// requestDigest names the exact bytes of a request.
func requestDigest(body []byte) attest.Digest { return sha256.Sum256(body) }

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

// readyz is 200 while the store answers. It is asked once a second at most,
// however many ask.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.ready(r.Context()); err != nil {
		s.log.Error("not ready", "error", err)
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	s.healthz(w, r)
}

func (s *Server) tenant(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, attest.Tenant{Tenant: s.meta.Tenant, Origin: s.config.PublicURL, Epoch: s.meta.Epoch}, nil)
}

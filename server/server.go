package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"muster/server/decide"
	"muster/server/enroll"
	"muster/server/gateway/token"
	"muster/server/geo"
	"muster/server/notice"
	"muster/server/people"
	"muster/server/reference"
	"muster/server/store"
	"muster/server/verify"
	"muster/server/web"
)

// Server is one running muster-server. Make it with [New]; it may be used from
// any goroutine until Close.
type Server struct {
	config Config
	log    *slog.Logger
	clock  *clock
	now    func() time.Time // clock.now
	store  *store.Store
	meta   store.Meta
	roots  atomic.Pointer[reference.EKRoots] // of the settings and of what was imported
	sealer *enroll.Sealer
	fleet  fleet
	policy atomic.Pointer[decide.Policy]
	hosts  atomic.Pointer[hosts] // of the policy, as last asked
	// bootRefs is what was imported, if it is newer than what the program brings.
	bootRefs     atomic.Pointer[reference.Boot]
	givenRoots   *reference.EKRoots // of the settings alone
	referencesMu sync.Mutex         // held while references are replaced
	// certificates are those of boot logs, parsed once.
	certificates verify.Certificates
	people       *people.People
	// visitors are who was seen at applications; elevated who has privileged access.
	visitors *visitors
	elevated *elevated
	geo      *geo.Map
	sockets  *sockets
	holding  *holding
	tokens   atomic.Pointer[token.Keys]
	sender   *notice.Sender // nil when opened for one command
	pages    []web.Route
	api      []route // of programs

	credentials atomic.Pointer[sync.Map] // SHA-256 of a secret → *gateway.Credential
	enrolling   sync.Mutex               // held while an enrolment or an administrator's change is stored
	enrolRate   *limiter                 // by client address
	deviceRate  *limiter                 // by device
	queueRate   *limiter                 // by client address: devices that nobody let in
	againRate   *limiter                 // by device: enrolments of a known machine
	judging     chan struct{}            // room for each certificate chain that is verified now
	personRate  *limiter                 // by person: POSTs of people who are signed in
	pageRate    *limiter                 // by client address: POSTs of people who are not signed in
	programRate *limiter                 // by API token
	large       chan struct{}            // room for each boot log that is read now
	policyMu    sync.Mutex               // held while the policy is replaced
	metadataMu  sync.Mutex               // held while FIDO metadata is replaced

	readyMu  sync.Mutex
	readyAt  time.Time // guarded by readyMu; when the store was last asked
	readyErr error     // guarded by readyMu; what it said
}

// Rates: an honest agent enrols once and reports every few minutes, at most once a
// second; a change may bring a handful of reports in a row, and links come beside.
const (
	enrolPerSecond, enrolBurst   = 5, 200
	reportPerSecond, reportBurst = 3, 60
	// Devices that queue for an approval: an office's worth behind one address, then
	// a hundred an hour. Give a token to more.
	queuePerSecond, queueBurst = 100.0 / 3600, 200
	againPerSecond, againBurst = 20.0 / 3600, 20
	// An office that signs in at nine, behind one address.
	pagePerSecond, pageBurst = 5, 400
	// A person clicks; a page of theirs makes a few requests of it.
	personPerSecond, personBurst = 5, 200
	// A program that follows the audit log, or reads all lists now and then.
	programPerSecond, programBurst = 10, 200
	// Boot logs are up to four megabytes each.
	largeBodies = 8
)

// New opens the store, reads roots and policy and loads the fleet.
func New(ctx context.Context, config Config, log *slog.Logger, now func() time.Time) (*Server, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	s := &Server{config: config, log: log, clock: newClock(now)}
	s.now = s.clock.now
	s.credentials.Store(new(sync.Map))
	s.visitors, s.elevated, s.geo = newVisitors(), newElevated(), new(geo.Map)
	s.sockets, s.holding = newSockets(), newHolding(s.now)
	s.fleet.devices = make(map[string]*device)
	s.fleet.owners, s.fleet.owned = make(map[string]string), make(map[string]map[string]bool)
	s.enrolRate = newLimiter(enrolPerSecond, enrolBurst, s.now)
	s.deviceRate = newLimiter(reportPerSecond, reportBurst, s.now)
	s.queueRate = newLimiter(queuePerSecond, queueBurst, s.now)
	s.againRate = newLimiter(againPerSecond, againBurst, s.now)
	s.personRate = newLimiter(personPerSecond, personBurst, s.now)
	s.pageRate = newLimiter(pagePerSecond, pageBurst, s.now)
	s.programRate = newLimiter(programPerSecond, programBurst, s.now)
	s.judging = make(chan struct{}, runtime.GOMAXPROCS(0))
	s.large = make(chan struct{}, largeBodies)
	var err error
	if s.givenRoots, err = config.loadEKRoots(); err != nil {
		return nil, err
	}
	s.roots.Store(s.givenRoots)
	if _, err := config.packSigners(); err != nil {
		return nil, err
	}
	if _, _, err := loadPolicy(config.Policy); err != nil {
		return nil, err // before the store is made or touched
	}
	if _, err := config.mdsRoots(); err != nil {
		return nil, err
	}
	if !config.visit {
		if s.sender, err = s.config.sender(log, s.now); err != nil {
			return nil, err
		}
	}
	if s.store, err = store.Open(ctx, store.Config{Path: config.path(databaseFile), Now: s.now, Log: log, Committed: s.committed}); err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	if s.sender != nil {
		s.sender.Store = s.store
	}
	begin := s.ReloadPolicy
	if config.visit {
		begin = s.storedPolicy
	}
	for _, step := range []func(context.Context) error{begin, s.loadReferences, s.load, s.openPeople, s.openGateways} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.store.Close())
		}
	}
	return s, nil
}

// databaseFile is the database's name in the data folder.
const databaseFile = "muster.db"

// Close stops the store; what was acknowledged is on disk already.
func (s *Server) Close() error { return s.store.Close() }

package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"muster/attest"
	"muster/server/store"
	"muster/server/verify"
	"muster/server/web"
)

// The control socket is how the program's own commands act on a running server:
// a unix socket in the data folder, which only its owner can reach. That is the
// whole of its authentication: who can open it can read the database too.

// ControlSocket is the socket's name in the data folder.
const ControlSocket = "control.sock"

// localActor is who the audit log names for what came over the control socket.
const localActor = "local administrator"

// controlRoutes is the socket's whole surface.
func (s *Server) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	handleLarge := func(pattern string, limit int64, f func(r *http.Request, body []byte) (any, error)) {
		mux.Handle(pattern, limited(limit, s.controlled(f)))
	}
	handle := func(pattern string, f func(r *http.Request, body []byte) (any, error)) {
		handleLarge(pattern, attest.MaxMessage, f)
	}
	handle("GET /devices", s.listDevices)
	handle("GET /devices/{id}", s.showDevice)
	handle("POST /devices/{id}/approve", s.approveDevice)
	handle("POST /devices/{id}/revoke", s.revokeDevice)
	handle("GET /devices/{id}/baselines", s.listBaselines)
	handle("POST /devices/{id}/baselines/approve", s.approveBaseline)
	handle("POST /devices/{id}/baselines/refuse", s.refuseBaseline)
	handle("GET /tokens", s.listTokens)
	handle("POST /tokens", s.createToken)
	handle("DELETE /tokens/{id}", s.deleteToken)
	handle("GET /listed", s.listListed)
	handle("POST /listed", s.createListed)
	handle("GET /gateways", s.listGateways)
	handle("POST /gateways", s.createGateway)
	handle("DELETE /gateways/{id}", s.deleteGateway)
	handle("GET /users", s.listUsers)
	handle("GET /users/{name}", s.showUser)
	handle("POST /users/{name}/change", s.changeUser)
	handle("POST /users/{name}/disable", s.disableUser)
	handle("POST /users/{name}/enable", s.enableUser)
	handle("POST /invitations", s.inviteUser)
	handle("POST /invitations/first", s.firstLink)
	handleLarge("POST /users", maxPeopleFile, s.importUsers)
	handle("GET /sessions", s.listSessions)
	handle("DELETE /sessions/{id}", s.endSession)
	handle("GET /bypasses", s.listBypasses)
	handle("POST /bypasses", s.addBypass)
	handle("DELETE /bypasses/{id}", s.endBypass)
	handle("GET /evidence/{device}", s.exportEvidence)
	handle("GET /reference/mds", s.showMDS)
	handleLarge("POST /reference/mds", maxMDS, s.importMDS)
	handle("GET /reference", s.listReferences)
	handle("GET /reference/key", s.showPackKey)
	handle("GET /reference/packs/{name}", s.exportPack)
	handleLarge("POST /reference/packs", maxReferences, s.importPack)
	handleLarge("POST /reference/ek-roots", maxReferences, s.importEKRoots)
	handle("POST /reference/deny", s.denyKey)
	handle("POST /policy", s.replacePolicy)
	handleLarge("POST /policy/simulate", maxPolicyText, s.simulate)
	handle("POST /backup", s.backup)
	handle("POST /audit/verify", s.verifyAudit)
	handle("POST /evaluate", s.evaluate)
	handleLarge("POST /explain", maxPolicyText, s.explain)
	return mux
}

// controlled reads the body and answers with JSON.
func (s *Server) controlled(f func(r *http.Request, body []byte) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := readAll(r)
		if err != nil {
			answerError(w, s.log, badBody())
			return
		}
		reply, err := f(r, body)
		if err != nil {
			answerError(w, s.log, s.refusal(err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(reply)
	})
}

// ListenControl opens the control socket. A socket file that nobody answers on
// is left over from a crash and is replaced: the store's lock has made sure that
// this is the only server.
func (s *Server) ListenControl() (net.Listener, error) {
	path := s.config.path(ControlSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// ServeControl answers on the control socket until ctx ends.
func (s *Server) ServeControl(ctx context.Context, l net.Listener) error {
	return serve(ctx, &http.Server{Handler: s.controlRoutes(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}, l)
}

// DeviceView is what an administrator sees of a device.
type DeviceView struct {
	verify.Device
	Name        string          `json:"name,omitempty"`
	Serial      string          `json:"serial,omitempty"` // claimed
	Cause       string          `json:"cause,omitempty"`  // why it is pending
	CauseText   string          `json:"cause_text,omitempty"`
	CompareCode string          `json:"compare_code"`
	EKSHA256    string          `json:"ek_sha256,omitempty"` // hexadecimal
	EnrolledAt  time.Time       `json:"enrolled_at"`
	ApprovedBy  string          `json:"approved_by,omitempty"`
	RevokedAt   time.Time       `json:"revoked_at,omitzero"`
	RevokedWhy  string          `json:"revoked_why,omitempty"`
	LastReport  time.Time       `json:"last_report,omitzero"` // issue of its nonce
	Decision    attest.Decision `json:"decision"`
	Result      *verify.Result  `json:"result,omitempty"`
	// Detail is there when one device is asked for.
	Detail *web.DeviceDetail `json:"detail,omitempty"`
}

func (s *Server) view(d *device, whole bool) DeviceView {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		s.log.Error("device not read again; it is shown as it was", "device", d.row.ID, "error", err)
	}
	row := &d.row
	v := DeviceView{
		Device: s.registered(d).Device, Name: row.Name, Serial: row.Serial, Cause: row.Cause, CauseText: row.CauseText,
		CompareCode: attest.CompareCode(row.ID, row.Keys.DKID), EnrolledAt: row.CreatedAt, ApprovedBy: row.ApprovedBy,
		RevokedAt: row.RevokedAt, RevokedWhy: row.RevokedWhy, LastReport: d.hot.IssuedAt, Decision: s.settled(d).told(),
	}
	if !row.Keys.EKHash.IsZero() {
		v.EKSHA256 = hexOf(row.Keys.EKHash)
	}
	if whole {
		v.Result = d.result
	}
	return v
}

func (s *Server) listDevices(*http.Request, []byte) (any, error) {
	views := s.Devices()
	for i := range views {
		views[i].Result = nil
	}
	return views, nil
}

// Devices shows every device, those that wait first, then by name.
func (s *Server) Devices() []DeviceView {
	views := []DeviceView{}
	for _, d := range s.fleet.all() {
		views = append(views, s.view(d, true))
	}
	slices.SortFunc(views, func(a, b DeviceView) int {
		waits := func(v *DeviceView) int { return map[bool]int{false: 1}[v.State == attest.Pending] }
		return cmp.Or(cmp.Compare(waits(&a), waits(&b)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return views
}

func (s *Server) showDevice(r *http.Request, _ []byte) (any, error) {
	d := s.fleet.get(r.PathValue("id"))
	if d == nil {
		return nil, store.ErrNotFound
	}
	v := s.view(d, true)
	var err error
	v.Detail, err = s.detail(r.Context(), v.ID)
	return v, err
}

// Approval is what an approver decides.
type Approval struct {
	// Code is what the laptop shows; a pending device is not approved without it.
	Code  string       `json:"code,omitempty"`
	Class verify.Class `json:"class,omitempty"`
	Group string       `json:"group,omitempty"`
	Owner string       `json:"owner,omitempty"`
}

func (s *Server) approveDevice(r *http.Request, body []byte) (any, error) {
	a := new(Approval)
	if err := read(body, a); err != nil {
		return nil, err
	}
	return s.approve(r.Context(), localActor, r.PathValue("id"), *a)
}

// Approve lets a waiting device in, or confirms one that is in.
func (s *Server) Approve(ctx context.Context, id string, a Approval) error {
	_, err := s.approve(ctx, localActor, id, a)
	return err
}

func (s *Server) approve(ctx context.Context, by, id string, a Approval) (any, error) {
	return s.change(ctx, by, id, a.apply(by, s.now()), "device.approve", a)
}

// apply returns what an approval does to a device.
func (a Approval) apply(by string, now time.Time) func(row *store.Device, hot *store.Hot) error {
	return func(row *store.Device, hot *store.Hot) error {
		if row.State == attest.Revoked {
			return store.ErrRevoked
		}
		if a.Class != "" && !knownClass(a.Class) {
			return refuse(http.StatusBadRequest, "class-unknown", "There is no such class of devices.", "Use corporate, byod, contractor or shared.")
		}
		if (a.Code != "" || row.State == attest.Pending) && a.Code != attest.CompareCode(row.ID, row.Keys.DKID) {
			return refuse(http.StatusConflict, "code-differs", "The code is not the one that this laptop shows.",
				"Compare again; if it still differs, this is another laptop: revoke the device.")
		}
		row.State, row.Cause, row.CauseText = attest.Active, "", ""
		row.ApprovedAt, row.ApprovedBy = now, by
		if a.Class != "" {
			row.Class = a.Class
		}
		if a.Group != "" {
			row.Group = a.Group
		}
		if a.Owner != "" {
			row.Owner = a.Owner
		}
		hot.Resyncs = 0
		return nil
	}
}

// Revocation says why.
type Revocation struct {
	Why string `json:"why,omitempty"`
}

// apply revokes.
func (v Revocation) apply(row *store.Device, _ *store.Hot) error {
	row.State, row.RevokedWhy = attest.Revoked, v.Why
	return nil
}

func (s *Server) revokeDevice(r *http.Request, body []byte) (any, error) {
	v := new(Revocation)
	if err := read(body, v); err != nil {
		return nil, err
	}
	return s.revoke(r.Context(), localActor, r.PathValue("id"), *v)
}

func (s *Server) revoke(ctx context.Context, by, id string, v Revocation) (any, error) {
	return s.change(ctx, by, id, v.apply, "device.revoke", v)
}

// change alters a device's registration: stored, audited, then seen by every
// check that begins afterwards.
func (s *Server) change(ctx context.Context, by, id string, alter func(*store.Device, *store.Hot) error, action string, detail any) (any, error) {
	d := s.fleet.get(id)
	if d == nil {
		return nil, store.ErrNotFound
	}
	if err := s.alter(ctx, by, d, alter, action, detail); err != nil {
		return nil, err
	}
	s.lookNow(ctx)
	return s.view(d, false), nil
}

// alter holds what enrolments hold, so that a device cannot get other keys
// between what its approver saw and what is approved.
func (s *Server) alter(ctx context.Context, by string, d *device, alter func(*store.Device, *store.Hot) error, action string, detail any) error {
	s.enrolling.Lock()
	defer s.enrolling.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.refresh(d); err != nil {
		return err
	}
	row, hot := d.row, d.hot
	if err := alter(&row, &hot); err != nil {
		return err
	}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		return s.storeChange(tx, by, &row, &hot, action, detail)
	})
	if err != nil {
		return err
	}
	admitted := d.row.State != attest.Active && row.State == attest.Active
	d.row, d.hot = row, hot
	s.fleet.own(row.ID, row.Owner)
	s.decideFor(d, s.now())
	if admitted && d.result != nil && !d.result.QuotedAt.IsZero() {
		// How it was started while it waited is kept now, and told if it is another way.
		if err := s.judgeAgain(ctx, d); err != nil {
			s.log.Error("boot evidence of an admitted device not judged", "device", row.ID, "error", err)
		}
	}
	return nil
}

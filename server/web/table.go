package web

import (
	"net/http"

	"muster/server/store"
)

// form says what a route's body is.
type form string

const (
	noBody   form = ""     // GET: there is none
	formBody form = "form" // application/x-www-form-urlencoded
	jsonBody form = "json" // application/json; so are its answers, refusals too
)

// Limits of bodies, in bytes: a form is a few fields, a ceremony's response
// carries an attestation with a chain of certificates.
const (
	maxForm     = 16 << 10
	maxCeremony = 64 << 10
)

// row is a route before it is wrapped.
type row struct {
	pattern string
	access  Access
	roles   []store.Role
	body    form
	limit   int64
	handle  handler
}

// handler answers a request that was found in order; its error is answered for it.
type handler func(w http.ResponseWriter, r *request) error

// The roles of rows. What else is asked of somebody is asked by package people.
func readers() []store.Role {
	return []store.Role{store.RoleAdministrator, store.RoleHelpDesk, store.RoleAuditor}
}

func inviters() []store.Role {
	return []store.Role{store.RoleAdministrator, store.RoleHelpDesk}
}

func administrators() []store.Role { return []store.Role{store.RoleAdministrator} }

func auditors() []store.Role {
	return []store.Role{store.RoleAdministrator, store.RoleAuditor}
}

// table is every page and endpoint, with who may come.
func (s *site) table() []row {
	rows := []row{
		{pattern: "GET " + staticPattern, access: ByAnyone, handle: s.static},
		{pattern: "GET /favicon.ico", access: ByAnyone, handle: s.favicon},
		{pattern: "GET /", access: ByAnyone, handle: s.nowhere},

		page("GET /{$}", ByPerson, s.home),
		page("GET /sign-in", ByAnyone, s.signInPage),
		ceremony("POST /sign-in/begin", ByAnyone, s.signInBegin),
		ceremony("POST /sign-in/finish", ByAnyone, s.signInFinish),
		post("POST /sign-out", ByPerson, s.signOut),

		page("GET /verify", ByPerson, s.verifyPage),
		ceremony("POST /verify/begin", ByPerson, s.verifyBegin),
		ceremony("POST /verify/finish", ByPerson, s.verifyFinish),

		page("GET /invitation", ByAnyone, s.invitationPage),
		post("POST /invitation/open", BySecret, s.invitationOpen),
		ceremony("POST /invitation/link", BySecret, s.invitationLink),
		ceremony("POST /invitation/begin", BySecret, s.invitationBegin),
		ceremony("POST /invitation/finish", BySecret, s.invitationFinish),

		page("GET /recover", ByAnyone, s.recoverPage),
		post("POST /recover/state", BySecret, s.recoverState),
		ceremony("POST /recover/begin", BySecret, s.recoverBegin),
		ceremony("POST /recover/finish", BySecret, s.recoverFinish),
	}
	for _, more := range [][]row{s.ownRows(), s.accessRows(), s.officeRows(), s.deskRows()} {
		rows = append(rows, more...)
	}
	return rows
}

// ownRows are what everybody has of their own.
func (s *site) ownRows() []row {
	return []row{
		page("GET /passkeys", ByPerson, s.passkeysPage),
		ceremony("POST /passkeys/begin", ByFresh, s.passkeyBegin),
		ceremony("POST /passkeys/finish", ByFresh, s.passkeyFinish),
		post("POST /passkeys/rename", ByPerson, s.passkeyRename),
		// Without fresh hands only where people find that an older session undoes.
		post("POST /passkeys/remove", ByPerson, s.passkeyRemove),

		page("GET /link", ByPerson, s.linkPage),
		page("GET /link/confirm", ByPerson, s.linkConfirmPage),
		ceremony("POST /link/begin", ByPerson, s.linkBegin),
		ceremony("POST /link/confirm", ByPerson, s.linkConfirm),

		page("GET /laptops", ByPerson, s.laptopsPage),
		post("POST /laptops/check", ByPerson, s.laptopCheck),
		post("POST /laptops/readmit", ByFresh, s.laptopReadmit),

		page("GET /sessions", ByPerson, s.sessionsPage),
		post("POST /sessions/end", ByPerson, s.sessionEnd),
		post("POST /sessions/end-all", ByPerson, s.sessionsEndAll),

		// Anybody may be somebody's approver.
		page("GET /approvals", ByPerson, s.approvalsPage),
		post("POST /approvals/recovery", ByFresh, s.recoveryApprove),
		post("POST /approvals/cancel", ByPerson, s.recoveryCancel),

		page("GET /elevations", ByPerson, s.elevationsPage),
		post("POST /elevations/approve", ByFresh, s.elevationApprove),
		post("POST /elevations/decline", ByFresh, s.elevationDecline),
		post("POST /elevations/end", ByPerson, s.elevationEnd), // one's own
	}
}

// officeRows are what roles add. All that changes something needs fresh hands.
func (s *site) officeRows() []row {
	return []row{
		page("GET /people", ByPerson, s.peoplePage, readers()...),
		page("GET /people/{name}", ByPerson, s.personPage, readers()...),
		post("POST /people/invite", ByFresh, s.invite, inviters()...),
		post("POST /people/change", ByFresh, s.personChange, administrators()...),
		post("POST /people/disable", ByFresh, s.personDisable, administrators()...),
		post("POST /people/enable", ByFresh, s.personEnable, administrators()...),
		post("POST /people/recover", ByFresh, s.personRecover, administrators()...),
		post("POST /people/end-session", ByFresh, s.personEndSession, administrators()...),
		post("POST /approvals/laptop", ByFresh, s.readmissionApprove, inviters()...),
		post("POST /approvals/withdraw", ByFresh, s.invitationWithdraw, inviters()...),

		page("GET /programs", ByPerson, s.programsPage, auditors()...),
		post("POST /programs/create", ByFresh, s.programCreate, administrators()...),
		post("POST /programs/end", ByFresh, s.programEnd, administrators()...),
	}
}

// deskRows are the administrators' pages over the Office. What changes something
// needs fresh hands; trying a policy changes nothing.
func (s *site) deskRows() []row {
	if s.Office == nil {
		return nil
	}
	try := post("POST /office/policy/try", ByFresh, s.policyTry, administrators()...)
	use := post("POST /office/policy/use", ByFresh, s.policyUse, administrators()...)
	try.limit, use.limit = maxPolicyForm, maxPolicyForm
	return []row{
		page("GET /office", ByPerson, s.overviewPage, readers()...),

		page("GET /office/devices", ByPerson, s.devicesPage, readers()...),
		page("GET /office/devices/{id}", ByPerson, s.devicePage, readers()...),
		post("POST /office/devices/start", ByFresh, s.deviceStart, administrators()...),
		post("POST /office/devices/approve", ByFresh, s.deviceApprove, administrators()...),
		post("POST /office/devices/revoke", ByFresh, s.deviceRevoke, administrators()...),

		page("GET /office/sessions", ByPerson, s.officeSessionsPage, auditors()...),
		post("POST /office/sessions/end", ByFresh, s.officeSessionEnd, administrators()...),

		page("GET /office/policy", ByPerson, s.policyPage, auditors()...),
		try, use,

		page("GET /office/audit", ByPerson, s.auditPage, auditors()...),

		page("GET /office/bypasses", ByPerson, s.bypassesPage, auditors()...),
		post("POST /office/bypasses/add", ByFresh, s.bypassAdd, administrators()...),
		post("POST /office/bypasses/end", ByFresh, s.bypassEnd, administrators()...),
	}
}

// accessRows are what gateways send refused people to.
func (s *site) accessRows() []row {
	if s.Standing == nil {
		return nil
	}
	return []row{
		page("GET /access", ByAnyone, s.accessPage),
		post("POST /access/elevate", ByFresh, s.accessElevate),
		post("POST /access/recheck", ByPerson, s.accessRecheck),
	}
}

func page(pattern string, access Access, h handler, roles ...store.Role) row {
	return row{pattern: pattern, access: access, roles: roles, handle: h}
}

func post(pattern string, access Access, h handler, roles ...store.Role) row {
	return row{pattern: pattern, access: access, roles: roles, body: formBody, limit: maxForm, handle: h}
}

func ceremony(pattern string, access Access, h handler) row {
	return row{pattern: pattern, access: access, body: jsonBody, limit: maxCeremony, handle: h}
}

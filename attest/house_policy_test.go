package attest_test

// This file is the policy of the house: what may lean on what, and the caps on
// how code reads, each with its reason. A row changes by a commit of its own.

// houseRow is what one package may import, in code that ships. Anything absent
// is forbidden. Tests (_test.go) may import what they like.
type houseRow struct {
	dir     string   // below the module's root
	muster  []string // our packages, as folders
	foreign []string // modules or packages outside the standard library, with all below
	guarded []string // packages of the standard library that houseGuarded keeps
	pure    bool     // neither files, network, processes nor chance
	tests   bool     // may be imported by tests only
	why     string
}

const (
	jsonStrict = "github.com/go-json-experiment/json"
	jsonPlain  = "encoding/json"
)

// houseGuarded are packages of the standard library that a row must name.
func houseGuarded() map[string]string {
	return map[string]string{
		"os/exec":        "foreign programs run from platform's list of absolute paths, or from localserve",
		"plugin":         "code is linked, not loaded",
		"C":              "pure Go: CGO_ENABLED=0 on every system",
		"unsafe":         "bytes from outside are read by bounded parsers; only calls into a system need it",
		"testing":        "a fake or a fixture must not ship",
		"log":            "log/slog is the one log",
		"expvar":         "it registers a handler by being imported",
		"net/http/pprof": "it registers a handler by being imported",
		jsonPlain:        "what JSON is read, and how strictly, is a decision of a row: one door, attest.Open, reads a Report",
	}
}

// housePure is what a pure package may not import.
func housePure() []string {
	return []string{"crypto/rand", "database/sql", "io/ioutil", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "os/signal", "syscall"}
}

// houseTable is DESIGN's table of who may import whom.
func houseTable() []houseRow {
	contract := []string{"attest", "attest/posture"}
	server := []string{"server/decide", "server/enroll", "server/evidence", "server/gateway", "server/gateway/extauthz",
		"server/gateway/snippets", "server/gateway/token", "server/geo", "server/notice", "server/passkey",
		"server/people", "server/reference", "server/session", "server/signals", "server/store", "server/verify"}
	admin := []string{"github.com/danielgtaylor/huma/v2", "github.com/knadh/koanf", "github.com/prometheus/client_golang"}
	both := []string{jsonPlain}
	return append(houseLaptop(contract, both), []houseRow{
		{dir: "server/reference", muster: []string{"attest/posture"}, foreign: []string{"github.com/go-jose/go-jose/v4"}, guarded: both,
			why: "endorsements and reference values; the MDS BLOB is verified here so that no library fetches anything"},
		{dir: "server/verify", muster: []string{"attest", "attest/posture", "attest/bootlog", "server/reference"}, pure: true,
			why: "Report and references to Result: the same answer for the same inputs, for ever"},
		{dir: "server/enroll", muster: []string{"attest", "attest/posture", "server/verify", "server/reference"},
			foreign: []string{"github.com/google/go-tpm/tpm2"}, guarded: both, why: "the structures of activation, without a TPM"},
		{dir: "server/evidence", muster: append([]string{"attest/bootlog", "server/decide", "server/enroll", "server/reference", "server/verify"}, contract...),
			foreign: []string{jsonStrict}, guarded: both, pure: true, why: "what a decision rested on, as a file that is verified without a server; boot logs on their own"},
		{dir: "server/passkey", muster: []string{"server/reference"}, foreign: []string{"github.com/go-webauthn/webauthn", "github.com/go-webauthn/x", "github.com/google/uuid"}, guarded: both,
			why: "the one home of WebAuthn"},
		{dir: "server/passkey/passkeytest", muster: []string{"server/passkey", "server/reference"}, foreign: []string{"github.com/fxamacker/cbor/v2"},
			guarded: []string{jsonPlain, "testing"}, tests: true, why: "an authenticator in software, for tests"},
		{dir: "server/session", muster: []string{"server/passkey"}, pure: true, why: "a session is a passkey's and a device's; it takes the device as a value"},
		{dir: "server/people", muster: append([]string{"server/passkey", "server/reference", "server/session", "server/store", "server/verify"}, contract...), foreign: []string{jsonStrict}, guarded: both,
			why: "who may sign in and what they did about it, in one place under the pages, the API and the commands; it speaks no HTTP"},
		{dir: "server/notice", muster: []string{"server/store"}, guarded: both, why: "the one place that sends: mail and webhooks, from the store's outbox"},
		{dir: "server/decide", muster: []string{"attest/posture", "server/verify"}, pure: true, guarded: both,
			foreign: []string{"cel.dev/cel-go", "cel.dev/expr", "github.com/goccy/go-yaml", "google.golang.org/genproto/googleapis/api/expr", jsonStrict},
			why:     "inputs to Decision, pure; it owns its Session, Passkey and App; the policy file is YAML with CEL"},
		{dir: "server/gateway", muster: []string{"server/decide", "server/session"}, foreign: []string{"github.com/go-jose/go-jose/v4", jsonStrict}, guarded: both,
			why: "serves decisions; it cannot make one"},
		{dir: "server/gateway/token", foreign: []string{"github.com/go-jose/go-jose/v4", jsonStrict}, guarded: both,
			why: "tokens for gateways: keys, signing, verifying; knows no decision"},
		{dir: "server/gateway/guard", guarded: both, why: "applications import it: the standard library and nothing of ours"},
		{dir: "server/gateway/snippets", why: "what operators paste into their gateways, as files"},
		{dir: "server/gateway/gatewaytest", muster: []string{"server/gateway/snippets"}, guarded: []string{"os/exec", "testing"},
			tests: true, why: "starts real gateways for tests"},
		{dir: "server/geo", foreign: []string{"github.com/oschwald/maxminddb-golang/v2"}, why: "where an address is, from an operator's file"},
		{dir: "server/gateway/extauthz", muster: []string{"server/decide", "server/gateway", "server/session"}, guarded: both,
			foreign: []string{"github.com/envoyproxy/go-control-plane/envoy", "google.golang.org/grpc", "google.golang.org/genproto/googleapis/rpc", "google.golang.org/protobuf"},
			why:     "the one package that links gRPC"},
		{dir: "server/signals", muster: []string{"server/decide", "server/session"}, foreign: []string{"github.com/go-jose/go-jose/v4", jsonStrict}, guarded: both,
			why: "tells others what was decided"},
		{dir: "server/store", muster: append([]string{"server/verify", "server/passkey", "server/session"}, contract...), guarded: both,
			foreign: []string{"modernc.org/sqlite", "github.com/jackc/pgx/v5", "github.com/pressly/goose/v3"},
			why:     "the value types that it stores, and the one home of databases"},
		{dir: "server/web", muster: append(server, contract...), foreign: admin, guarded: both, why: "pages over everything"},
		{dir: "server", muster: append(append([]string{"server/web"}, server...), contract...), foreign: append([]string{jsonStrict}, admin...), guarded: both,
			why: "the route table joins everything; no TPM library: enroll has the structures"},
		{dir: "server/localserve", muster: append([]string{"server", "server/decide", "server/gateway/guard", "server/verify", "server/store"}, contract...),
			guarded: []string{jsonPlain, "os/exec"}, why: "the whole product in one command: starts the go tool and the agent, a process of its own"},
		{dir: "server/servertest", muster: append([]string{"server", "server/web", "server/passkey/passkeytest", "attest/tpm", "attest/softkey", "attest/tpmtest"}, append(server, contract...)...),
			foreign: []string{jsonStrict}, guarded: []string{jsonPlain, "os/exec", "testing"}, tests: true, why: "starts server and agent for tests"},
		{dir: "server/browsertest", foreign: []string{"github.com/chromedp/chromedp", "github.com/chromedp/cdproto"}, guarded: []string{jsonPlain, "os/exec", "testing"},
			tests: true, why: "the one home of the browser"},
		{dir: "server/cmd/muster-server", muster: []string{"server", "server/localserve", "server/decide", "server/evidence", "server/verify", "server/store", "server/enroll", "server/gateway/snippets", "server/web", "attest/posture"},
			foreign: []string{"github.com/alecthomas/kong", jsonStrict}, guarded: both, why: "wiring, one file a command"},
	}...)
}

// houseLaptop has the rows of the contract and of what runs on the laptop.
func houseLaptop(contract, both []string) []houseRow {
	const tpm, sys = "github.com/google/go-tpm", "golang.org/x/sys"
	return []houseRow{
		{dir: "attest/posture", pure: true, guarded: both, why: "the words that all share: a leaf"},
		{dir: "attest/bootlog", pure: true, why: "hostile bytes to bounded claims: a leaf, no library of others"},
		{dir: "attest", muster: []string{"attest/posture", "attest/bootlog"}, foreign: []string{tpm + "/tpm2", jsonStrict},
			why: "the contract; its JSON is strict, so the lenient package is not for it"},
		{dir: "attest/tpm", muster: contract, foreign: []string{tpm, sys}, guarded: []string{"unsafe", jsonPlain}, why: "the one home of TPM commands"},
		{dir: "attest/softkey", muster: contract, foreign: []string{tpm, sys}, guarded: both, why: "the same Attester on a file"},
		{dir: "attest/tpmtest", muster: append([]string{"attest/tpm", "attest/softkey"}, contract...), foreign: []string{tpm},
			guarded: []string{"os/exec", "testing"}, tests: true, why: "starts swtpm for tests"},
		{dir: "attest/mutanttest", muster: append([]string{"attest/bootlog"}, contract...), guarded: []string{"testing"},
			tests: true, why: "every small change of a log, quote or statement, for the tests of this and the oracle's module"},
		{dir: "platform", foreign: []string{"github.com/kardianos/service", sys}, guarded: []string{"os/exec", jsonPlain, "unsafe"},
			why: "how a program lives on a machine: knows no claim and no server"},
		{dir: "platform/seat", foreign: []string{sys}, guarded: []string{"unsafe"},
			why: "who sits here and who is at the other end of a local connection: a leaf"},
		{dir: "collectors", muster: []string{"attest/posture", "platform"}, foreign: []string{"github.com/shirou/gopsutil/v3", sys}, guarded: []string{jsonPlain, "unsafe"},
			why: "what is true of this machine; programs run through platform"},
		{dir: "installer", muster: []string{"platform"}, why: "packages; their libraries live in a module or tools.mod of their own"},
		{dir: "agent", muster: append([]string{"platform", "platform/seat"}, contract...), foreign: []string{jsonStrict}, guarded: both,
			why: "the loop: collectors and keys are passed in; no WebAuthn, database or policy code"},
		{dir: "agent/cmd/muster-agent", muster: append([]string{"agent", "attest/tpm", "attest/softkey", "collectors", "platform", "platform/seat"}, contract...),
			foreign: []string{jsonStrict}, guarded: both, why: "wiring; flag and strict JSON: kong and koanf cost 3 MB"},
	}
}

// The caps. They bind the tails, since the median is good in bad trees too.
const (
	capFileLines     = 500 // of a file that ships
	capFileMedian    = 150 // of all of them
	capTestLines     = 800 // of a test file
	capMainLines     = 80  // of main.go: wiring only
	capFuncLines     = 80
	capFuncNinetieth = 40 // nine functions of ten are no longer
	capMethods       = 3  // of an interface
	capExported      = 20 // names of a package
	capDepth         = 8  // imports between our packages, from a main
)

// houseExportedFree are packages that capExported does not bind, and why.
func houseExportedFree() map[string]string {
	return map[string]string{
		"attest/posture":    "one type for each claim",
		"attest":            "every message of the protocol",
		"attest/bootlog":    "one name for each kind of fact in a log, and for each reason why it is not known",
		"server":            "one name for each setting, and for what the control socket and the interface of programs answer",
		"server/reference":  "one type for each kind of reference value and pack",
		"server/web":        "one type for what each page is given",
		"server/decide":     "one type for each input of a policy",
		"server/gateway":    "one name for each dialect and endpoint, and for what each is given",
		"server/servertest": "one name for each kind of peer of the server",
		"server/store":      "one method set over every kind of row",
		"server/verify":     "levels, tiers and classes are one vocabulary each, and a reason or finding is a name",
	}
}

// houseBannedWords say that a thing has no name of its own.
func houseBannedWords() []string {
	return []string{"common", "dto", "helper", "helpers", "impl", "manager", "util", "utils"}
}

// houseBannedTexts must not stand in source and prose: hosts of registries and
// folders of the machine on which somebody worked. Spelt apart, since this file
// is read too.
func houseBannedTexts() map[string]string {
	const registry, machine = "names a registry's host", "names a folder of somebody's machine"
	return map[string]string{
		"proxy" + ".golang.org":     registry,
		"sum" + ".golang.org":       registry,
		"registry" + ".npmjs":       registry,
		"pypi" + ".org":             registry,
		"go" + "proxy=":             registry,
		"/work" + "/main":           machine,
		"/work" + "/shared":         machine,
		"/root" + "/go/":            machine,
		"/tmp/" + "issue":           machine,
		"/home/" + "runner":         machine,
		"/usr/local/go/" + "bin/go": machine,
	}
}

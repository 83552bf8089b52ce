package agent

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"muster/attest"
	"muster/platform"
)

// The private files of the state folder.
const (
	stateFile  = "state.json"
	secretFile = "s" // S of SPEC.md §5.1
	lockFile   = "lock"
)

// stateVersion is refused when it is newer than ours: an old program must not
// rewrite what it does not understand.
const stateVersion = 1

// maxState bounds the state file, in bytes: a journalled request and its frame.
const maxState = 1 << 20

// secretSize is the length of S, in bytes.
const secretSize = 32

// state is everything that an agent must remember. It is written as a whole, so
// that there is never half a change.
type state struct {
	Version int `json:"version"`

	Enrolled *enrolled `json:"enrolled,omitempty"`
	// Enrolling is an enrolment whose second message may have been sent.
	Enrolling *enrolling `json:"enrolling,omitempty"`
	// Pending is a report that was written before it was sent and is not answered.
	Pending *pending `json:"pending,omitempty"`
	// Trouble is what stands between the agent and its next report.
	Trouble *Trouble `json:"trouble,omitempty"`
	// Again asks for another enrolment in place of Enrolled.
	Again bool `json:"again,omitempty"`
	// Reanchored tells that lost keys made the agent enrol again by itself; it
	// does so once until the device is active again.
	Reanchored bool `json:"reanchored,omitempty"`
	// Changed tells a person what became of the keys that this device had, until the
	// server took it with those that it has.
	Changed *Trouble `json:"changed,omitempty"`
	// StandIn tells that enrolments are made with a software key, since the TPM is
	// gone; Parked is the one with the TPM, whole, once there is one instead.
	StandIn bool    `json:"stand_in,omitempty"`
	Parked  *parked `json:"parked,omitempty"`
	// Linked is the last link that was proved for who sits at this machine, until
	// the server knows that they left.
	Linked *linked `json:"linked,omitempty"`
}

// linked says for whom a browser session was linked, and in which boot.
type linked struct {
	BootID string `json:"boot_id"`
	User   string `json:"user"` // account, as package seat names it
}

// enrolled is the device as the server knows it.
type enrolled struct {
	Server string      `json:"server"` // origin
	Tenant string      `json:"tenant"`
	Epoch  uint64      `json:"epoch"`
	Device string      `json:"device"`
	Level  string      `json:"level"`
	Secret []byte      `json:"secret"` // for attest.MAC
	Keys   enrolledKey `json:"keys"`

	Seq  uint64        `json:"seq"`  // of the last accepted statement
	Last attest.Digest `json:"last"` // its digest
	Base base          `json:"base"`

	Nonce   nonce     `json:"nonce,omitzero"`
	Quoted  quoted    `json:"quoted,omitzero"`
	Answer  answer    `json:"answer"`
	NextAt  time.Time `json:"next_at"` // wall clock; when the next report is due
	Revoked bool      `json:"revoked,omitempty"`
	// OweReport and OweQuote are what the next statement must bring.
	OweReport bool `json:"owe_report,omitempty"`
	OweQuote  bool `json:"owe_quote,omitempty"`
	// Unaccepted is the boot key that the server did not take last.
	Unaccepted unaccepted `json:"unaccepted,omitzero"`
}

// unaccepted is a DKb that is not brought again before a time.
type unaccepted struct {
	DKb   attest.Digest `json:"dkb"` // kid
	Until time.Time     `json:"until"`
}

// parked is an enrolment that waits for its TPM to come back.
type parked struct {
	Enrolled *enrolled `json:"enrolled"`
	Pending  *pending  `json:"pending,omitempty"`
	// Ended is the code with which the server ended it; empty: it did not.
	Ended string `json:"ended,omitempty"`
}

// enrolledKey says which keys the server knows.
type enrolledKey struct {
	Kind attest.Kind       `json:"kind"`
	EK   attest.EKTemplate `json:"ek,omitempty"` // kept: making another costs seconds of TPM time
	DK   attest.Digest     `json:"dk"`           // kid
	DKb  attest.Digest     `json:"dkb,omitzero"` // kid
}

// base is the last accepted full report, to which heartbeats refer.
type base struct {
	Digest attest.Digest `json:"digest"`
	Print  attest.Digest `json:"print"` // fingerprint of its claims
	BootID string        `json:"boot_id"`
}

// nonce is one that the server gave, and its life by our wall clock.
type nonce struct {
	Value   attest.Digest `json:"value"`
	Issued  time.Time     `json:"issued"`
	Expires time.Time     `json:"expires"`
}

// quoted is the last accepted quote.
type quoted struct {
	At    time.Time    `json:"at"`
	Clock attest.Clock `json:"clock"`
}

// answer is what the server last said.
type answer struct {
	At       time.Time          `json:"at"`
	State    attest.DeviceState `json:"state"`
	Decision attest.Decision    `json:"decision"`
}

// pending is a report or heartbeat in the journal.
type pending struct {
	Body   []byte        `json:"body"` // the exact bytes that are sent
	Digest attest.Digest `json:"digest"`
	Seq    uint64        `json:"seq"`
	Full   bool          `json:"full"`
	Print  attest.Digest `json:"print"`
	BootID string        `json:"boot_id"`
	Quoted *attest.Clock `json:"quoted,omitempty"` // clock of the quote beside it
	DKb    attest.Digest `json:"dkb,omitzero"`     // kid of the boot key that it brings
}

// enrolling is the second message of an enrolment in the journal.
type enrolling struct {
	Body   []byte        `json:"body"` // the exact bytes that are sent
	Digest attest.Digest `json:"digest"`
	Server string        `json:"server"`
	Tenant string        `json:"tenant"`
	Epoch  uint64        `json:"epoch"`
	Keys   enrolledKey   `json:"keys"`
	Print  attest.Digest `json:"print"`
	BootID string        `json:"boot_id"`
	Quoted *attest.Clock `json:"quoted,omitempty"`
	// StandIn tells that it is one in place of an enrolment whose TPM is gone.
	StandIn bool `json:"stand_in,omitempty"`
}

// Trouble is why no report gets through, for a person.
type Trouble struct {
	Code  string    `json:"code"`          // stable
	Text  string    `json:"text"`          // what happened and why
	Fix   string    `json:"fix,omitempty"` // what to do
	Since time.Time `json:"since"`
}

// folder is the private folder of an agent.
type folder struct {
	dir   string
	write func(path string, data []byte) error // platform.WritePrivate
}

// openFolder makes the state folder if it is missing and takes its lock, so that
// two agents never answer with one identity.
func openFolder(dir string, write func(string, []byte) error) (*folder, func() error, error) {
	if dir == "" || !filepath.IsAbs(dir) {
		return nil, nil, &SettingsError{fmt.Errorf("state_dir %q is no absolute path", dir)}
	}
	if err := platform.MakePrivateDir(dir); err != nil {
		return nil, nil, err
	}
	release, err := platform.Lock(filepath.Join(dir, lockFile))
	if errors.Is(err, platform.ErrLocked) {
		err = Hint(errors.New("another muster-agent works in this state folder"),
			`look with "muster-agent status"; stop the service with "muster-agent stop" before you run the agent by hand`)
	}
	return &folder{dir, write}, release, err
}

// load reads the state; a folder without one gives the empty state. A state that
// cannot be read is left as it is: what is in it may still be saved.
func (f *folder) load() (*state, error) {
	path := filepath.Join(f.dir, stateFile)
	data, err := platform.ReadPrivate(path, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return &state{Version: stateVersion}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading state: %w", err)
	}
	s := new(state)
	if err := attest.Decode(data, s); err != nil {
		return nil, Hint(fmt.Errorf("state file %s is damaged: %w", path, err),
			"nothing was changed: restore the file from a backup, or move it away and run \"muster-agent enroll\";",
			"the server will then ask for a new approval of this device")
	}
	if s.Version != stateVersion {
		return nil, Hint(fmt.Errorf("state file %s has version %d, this program knows %d", path, s.Version, stateVersion),
			"install the newer muster-agent again")
	}
	return s, nil
}

// save makes the state durable.
func (f *folder) save(s *state) error {
	data, err := attest.Encode(s)
	if err != nil {
		return fmt.Errorf("writing state: %w", err)
	}
	if err := f.write(filepath.Join(f.dir, stateFile), data); err != nil {
		return fmt.Errorf("%w: %w", errUnwritable, err)
	}
	return nil
}

// errUnwritable says that the state could not be made durable: going on could
// send one sequence number with two contents.
var errUnwritable = errors.New("writing state")

// secret returns S. With make set it is made when there is none; else a missing
// one is [attest.ErrKeyLost]. One of the wrong size is damage and never
// replaced.
func (f *folder) secret(make bool) ([]byte, error) {
	path := filepath.Join(f.dir, secretFile)
	s, err := platform.ReadPrivate(path, secretSize+1)
	switch {
	case errors.Is(err, fs.ErrNotExist) && make:
		s = newSecret()
		if err := f.write(path, s); err != nil {
			return nil, fmt.Errorf("%w: local secret: %w", errUnwritable, err)
		}
		return s, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the local secret %s is gone: %w", path, attest.ErrKeyLost)
	case err != nil && !errors.Is(err, platform.ErrTooLong):
		return nil, fmt.Errorf("reading local secret: %w", err)
	case len(s) != secretSize:
		return nil, Hint(fmt.Errorf("local secret %s is damaged: not %d bytes", path, secretSize),
			"nothing was changed: restore the file from a backup, or move it away and run \"muster-agent enroll --again\"")
	}
	return s, nil
}

func newSecret() []byte {
	s := make([]byte, secretSize)
	rand.Read(s) // never returns an error (crypto/rand)
	return s
}

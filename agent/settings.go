package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"

	"muster/attest"
	"muster/attest/posture"
	"muster/platform"
)

// Settings are what an administrator decides about an agent.
type Settings struct {
	Server   string          // origin of the server: scheme://host[:port]
	TPM      string          // auto, device:PATH, unix:PATH, tcp:HOST:PORT, none
	Profile  posture.Profile // corporate, byod
	StateDir string          // private folder
	CAFile   string          // PEM of further roots for the server's certificate; may be empty
	LogLevel slog.Level
	LinkPort int    // of the loopback listener; 0: off
	LinkUser string // account whose programs may link; empty: the active local session's

	doors     []string // sockets of the door, the own one first
	tokenFile string
	token     string // from managed settings only; secret
	values    []Value
}

// Value is one setting as `config` shows it.
type Value struct {
	Name   string `json:"name"`
	Value  string `json:"value"`  // "(set)" for a secret
	Origin string `json:"origin"` // where it came from
}

// Sources are where settings come from, strongest first.
type Sources struct {
	Managed []platform.Layer // weakest layer first, as platform returns them
	Flags   map[string]string
	Env     func(string) (string, bool) // os.LookupEnv
	File    string                      // path; empty: the machine's
	Paths   platform.Paths
}

// The names of settings: members of files and managed settings, flags with
// hyphens for underscores, and variables in capitals after MUSTER_.
const (
	nameServer    = "server"
	nameTokenFile = "token_file"
	nameToken     = "token"
	nameTPM       = "tpm"
	nameProfile   = "profile"
	nameStateDir  = "state_dir"
	nameCAFile    = "ca_file"
	nameLogLevel  = "log_level"
	nameLinkPort  = "link_port"
	nameLinkUser  = "link_user"
)

// names lists the settings in the order in which they are shown.
func names() []string {
	return []string{nameServer, nameTokenFile, nameToken, nameTPM, nameProfile, nameStateDir, nameCAFile, nameLogLevel,
		nameLinkPort, nameLinkUser}
}

// maxSettings bounds a settings file, in bytes.
const maxSettings = 64 << 10

// SettingsError says that settings are wrong or missing: a usage error.
type SettingsError struct{ Err error }

// Error implements error.
func (e *SettingsError) Error() string { return "settings: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SettingsError) Unwrap() error { return e.Err }

// LoadSettings joins the sources and checks every value. A missing server is no
// error here: `report` and `config` need none (see [Settings.NeedServer]).
// Errors are [*SettingsError].
func LoadSettings(from Sources) (*Settings, error) {
	layers, err := from.layers()
	if err != nil {
		return nil, &SettingsError{err}
	}
	s := new(Settings)
	for _, name := range names() {
		value := Value{Name: name, Value: from.preset(name), Origin: "default"}
		for _, l := range layers {
			if v, ok := l.values[name]; ok {
				value.Value, value.Origin = v, l.origin
				break
			}
		}
		if err := s.set(name, value.Value); err != nil {
			return nil, &SettingsError{fmt.Errorf("%s from %s: %w", name, value.Origin, err)}
		}
		if name == nameToken && value.Value != "" {
			value.Value = "(set)"
		}
		s.values = append(s.values, value)
	}
	s.doors = doorsOf(s.StateDir, from.Paths)
	return s, nil
}

// layer is one source, decoded.
type layer struct {
	origin string
	values map[string]string
}

// layers returns the sources, strongest first.
func (from *Sources) layers() (layers []layer, err error) {
	for i := len(from.Managed) - 1; i >= 0; i-- {
		m := from.Managed[i]
		values, err := decodeSettings(m.JSON, true)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Origin, err)
		}
		layers = append(layers, layer{"managed: " + m.Origin, values})
	}
	layers = append(layers, layer{"flag", from.Flags}, layer{"environment", from.environment()})
	path := from.File
	if path == "" {
		path = from.Paths.ConfigFile
	}
	data, err := readSettings(path)
	if errors.Is(err, fs.ErrNotExist) && from.File == "" {
		return layers, nil
	}
	if err != nil {
		return nil, err
	}
	values, err := decodeSettings(data, false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return append(layers, layer{path, values}), nil
}

func (from *Sources) environment() map[string]string {
	values := make(map[string]string)
	for _, name := range names() {
		if name == nameToken || from.Env == nil {
			continue // a process's environment can be read by its user's other programs
		}
		if v, ok := from.Env("MUSTER_" + strings.ToUpper(name)); ok && v != "" {
			values[name] = v
		}
	}
	return values
}

func (from *Sources) preset(name string) string {
	switch name {
	case nameTPM:
		return tpmAuto
	case nameProfile:
		return string(posture.Corporate)
	case nameStateDir:
		return from.Paths.StateDir
	case nameLogLevel:
		return "info"
	}
	return ""
}

// readSettings reads a settings file, which nobody but its owner may write:
// whoever can change the server's address gets everything that is reported.
func readSettings(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSettings {
		return nil, fmt.Errorf("%s is no settings file: want a regular file of at most %d bytes", path, maxSettings)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s can be written by others (mode %04o): run chmod go-w %s", path, info.Mode().Perm(), path)
	}
	return os.ReadFile(path)
}

// decodeSettings reads strict JSON: one object of known names and strings.
func decodeSettings(data []byte, managed bool) (map[string]string, error) {
	var values map[string]string
	if err := attest.Decode(data, &values); err != nil {
		return nil, fmt.Errorf("want a JSON object of strings: %w", err)
	}
	for name := range values {
		if name == nameToken && !managed {
			return nil, errors.New("a token is read from managed settings only: put it in a private file and name that as token_file")
		}
		if !known(name) {
			return nil, fmt.Errorf("no setting %q: the settings are %s", name, strings.Join(names(), ", "))
		}
	}
	return values, nil
}

func known(name string) bool {
	for _, n := range names() {
		if n == name {
			return true
		}
	}
	return false
}

// set checks and takes one value.
func (s *Settings) set(name, value string) (err error) {
	switch name {
	case nameServer:
		if value != "" {
			s.Server, err = parseOrigin(value)
		}
	case nameTokenFile:
		s.tokenFile = value
	case nameToken:
		s.token = value
	case nameTPM:
		s.TPM, err = value, checkTPM(value)
	case nameProfile:
		s.Profile = posture.Profile(value)
		if s.Profile != posture.Corporate && s.Profile != posture.BYOD {
			err = fmt.Errorf("%q is neither corporate nor byod", value)
		}
	case nameStateDir:
		s.StateDir = value
	case nameCAFile:
		s.CAFile = value
	case nameLogLevel:
		if err = s.LogLevel.UnmarshalText([]byte(value)); err != nil {
			err = fmt.Errorf("%q is none of debug, info, warn, error", value)
		}
	case nameLinkPort:
		s.LinkPort, err = parsePort(value)
	case nameLinkUser:
		s.LinkUser = value
	}
	return err
}

// parsePort reads a port that needs no privilege; empty is 0.
func parsePort(value string) (int, error) {
	if value == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n < 1024 || value != strconv.FormatUint(n, 10) {
		return 0, fmt.Errorf("%q is no port from 1024 to 65535", value)
	}
	return int(n), nil
}

// checkTPM checks the form of the tpm setting; whether it opens is seen later.
func checkTPM(value string) error {
	if value == tpmAuto || value == tpmNone {
		return nil
	}
	kind, rest, _ := strings.Cut(value, ":")
	switch kind {
	case "device", "unix", "tcp":
		if rest != "" {
			return nil
		}
	}
	return fmt.Errorf("%q is none of auto, device:PATH, unix:PATH, tcp:HOST:PORT, none", value)
}

// With the setting tpm: auto the machine's own TPM is taken, with tpm: none keys
// are files.
const (
	tpmAuto = "auto"
	tpmNone = "none"
)

// NeedServer returns a [*SettingsError] with the remedy when no server is set.
func (s *Settings) NeedServer() error {
	if s.Server != "" {
		return nil
	}
	return Hint(&SettingsError{errors.New("no server is set")},
		`put {"server": "https://your.server"} in the settings file that "muster-agent config" names,`,
		"or give --server, or set MUSTER_SERVER")
}

// Values returns every setting, with secrets as "(set)", in a fixed order.
func (s *Settings) Values() []Value { return s.values }

// maxToken bounds a token, in bytes.
const maxToken = 1 << 10

// Token returns the enrolment token, from managed settings or from the token
// file, which must be private. Empty: there is none, and an approval is asked
// for. The value must not be printed.
func (s *Settings) Token() (string, error) {
	if s.token != "" || s.tokenFile == "" {
		return strings.TrimSpace(s.token), nil
	}
	data, err := platform.ReadPrivate(s.tokenFile, maxToken)
	if err != nil {
		return "", fmt.Errorf("reading token file: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

package platform

import (
	"fmt"
	"path"
	"runtime"
	"strings"
)

// Paths says where the agent's files are. Every member is an absolute path in
// the syntax of the OS that it was made for, except ManagedSource on Windows,
// which is a registry key.
type Paths struct {
	// ConfigFile is the settings file that the owner of the machine may write.
	ConfigFile string
	// ManagedSource is where an administrator's fixed settings come from; see
	// [ManagedSettings]. The same for every user.
	ManagedSource string
	// StateDir is private: keys, identity, sequence. See [MakePrivateDir].
	StateDir string
	// LogDir holds log files, on systems whose service manager keeps no log.
	LogDir string
	// RunDir holds what does not outlive a boot: sockets. The service's may be
	// entered by everybody.
	RunDir string
	// SystemRunDir is the RunDir of the service, whoever asks; [HostPaths] sets it.
	SystemRunDir string
}

// managedDomain names our settings to a management system: the file below
// /Library/Managed Preferences on macOS.
const managedDomain = "muster"

// HostPaths returns the paths of this machine for this process. Root, and an
// elevated process on Windows, gets the machine's; anyone else gets their own.
func HostPaths() (Paths, error) {
	p, err := pathsFor(runtime.GOOS, privileged(), hostEnv)
	if err != nil {
		return Paths{}, err
	}
	// What a person's environment says of the machine's folders does not count:
	// hostEnv asks the system for the one that Windows has.
	if system, err := pathsFor(runtime.GOOS, true, hostEnv); err == nil {
		p.SystemRunDir = system.RunDir
	}
	return p, nil
}

// pathsFor returns the paths for an OS (linux, windows or darwin, as in
// [runtime.GOOS]), for the system's account or, with root false, for a person.
// It is pure: env stands for the environment and is asked only for a person's
// folders (XDG Base Directory Specification 0.8 on Linux), and for ProgramData
// on Windows. Relative values are ignored, as that specification demands.
//
// It fails on an unknown OS, and when a person has no home folder.
func pathsFor(goos string, root bool, env func(string) string) (Paths, error) {
	switch goos {
	case "linux":
		if root {
			return linuxSystemPaths(), nil
		}
		return linuxUserPaths(env)
	case "darwin":
		if root {
			return darwinSystemPaths(), nil
		}
		return darwinUserPaths(env)
	case "windows":
		return windowsPaths(root, env)
	}
	return Paths{}, fmt.Errorf("paths: no layout for operating system %q", goos)
}

const (
	linuxManaged   = "/etc/muster/managed.d"
	darwinManaged  = "/Library/Managed Preferences/" + managedDomain + ".plist"
	windowsManaged = `HKLM\` + policyKey
	policyKey      = `Software\Policies\Muster`
)

func linuxSystemPaths() Paths {
	return Paths{
		ConfigFile:    "/etc/muster/agent.json",
		ManagedSource: linuxManaged,
		StateDir:      "/var/lib/muster",
		LogDir:        "/var/log/muster",
		RunDir:        "/run/muster-agent",
	}
}

func linuxUserPaths(env func(string) string) (Paths, error) {
	config, err := unixFolder(env, "XDG_CONFIG_HOME", ".config")
	if err != nil {
		return Paths{}, err
	}
	state, err := unixFolder(env, "XDG_STATE_HOME", ".local/state")
	if err != nil {
		return Paths{}, err
	}
	p := Paths{
		ConfigFile:    path.Join(config, "muster/agent.json"),
		ManagedSource: linuxManaged,
		StateDir:      path.Join(state, "muster"),
		LogDir:        path.Join(state, "muster/log"),
		RunDir:        path.Join(state, "muster/run"),
	}
	// The runtime folder exists only inside a login session.
	if dir := env("XDG_RUNTIME_DIR"); path.IsAbs(dir) {
		p.RunDir = path.Join(dir, "muster")
	}
	return p, nil
}

func darwinSystemPaths() Paths {
	return Paths{
		ConfigFile:    "/Library/Application Support/muster/agent.json",
		ManagedSource: darwinManaged,
		StateDir:      "/Library/Application Support/muster/state",
		LogDir:        "/Library/Logs/muster",
		RunDir:        "/var/run/muster",
	}
}

func darwinUserPaths(env func(string) string) (Paths, error) {
	library, err := unixFolder(env, "", "Library")
	if err != nil {
		return Paths{}, err
	}
	return Paths{
		ConfigFile:    path.Join(library, "Application Support/muster/agent.json"),
		ManagedSource: darwinManaged,
		StateDir:      path.Join(library, "Application Support/muster/state"),
		LogDir:        path.Join(library, "Logs/muster"),
		RunDir:        path.Join(library, "Application Support/muster/run"),
	}, nil
}

// unixFolder returns the folder that variable names, or else rest below HOME.
func unixFolder(env func(string) string, variable, rest string) (string, error) {
	if variable != "" {
		if dir := env(variable); path.IsAbs(dir) {
			return path.Clean(dir), nil
		}
	}
	home := env("HOME")
	if !path.IsAbs(home) {
		return "", fmt.Errorf("paths: HOME is %q, not an absolute path: set it, or run as root", home)
	}
	return path.Join(home, rest), nil
}

func windowsPaths(root bool, env func(string) string) (Paths, error) {
	variable := "ProgramData"
	if !root {
		variable = "LocalAppData"
	}
	base := strings.TrimRight(env(variable), `\`)
	if !windowsAbs(base) {
		return Paths{}, fmt.Errorf("paths: %s is %q, not an absolute path: set it", variable, base)
	}
	base += `\Muster`
	return Paths{
		ConfigFile:    base + `\agent.json`,
		ManagedSource: windowsManaged,
		StateDir:      base + `\State`,
		LogDir:        base + `\Logs`,
		RunDir:        base + `\Run`,
	}, nil
}

// windowsAbs reports whether p starts with a drive and a backslash. A network
// path is not taken: state on another machine is not private.
func windowsAbs(p string) bool {
	if len(p) < 3 || p[1] != ':' || p[2] != '\\' {
		return false
	}
	letter := p[0] | 0x20
	return 'a' <= letter && letter <= 'z'
}

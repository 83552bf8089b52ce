package platform

import (
	"path"
	"strings"
	"testing"
)

func env(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func TestPathsFor(t *testing.T) {
	const win = `C:\Users\ann\AppData\Local\Muster`
	for _, test := range []struct {
		name, goos string
		root       bool
		env        map[string]string
		want       Paths
	}{
		{"linux system", "linux", true, nil, Paths{
			"/etc/muster/agent.json", "/etc/muster/managed.d", "/var/lib/muster", "/var/log/muster", "/run/muster-agent", ""}},
		{"linux person", "linux", false, map[string]string{"HOME": "/home/ann", "XDG_RUNTIME_DIR": "/run/user/1000"}, Paths{
			"/home/ann/.config/muster/agent.json", "/etc/muster/managed.d", "/home/ann/.local/state/muster",
			"/home/ann/.local/state/muster/log", "/run/user/1000/muster", ""}},
		{"linux person with XDG, no session", "linux", false, map[string]string{
			"XDG_CONFIG_HOME": "/c/", "XDG_STATE_HOME": "/s/x/.."}, Paths{
			"/c/muster/agent.json", "/etc/muster/managed.d", "/s/muster", "/s/muster/log", "/s/muster/run", ""}},
		{"relative XDG is ignored", "linux", false, map[string]string{
			"HOME": "/h", "XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": "../s", "XDG_RUNTIME_DIR": "."}, Paths{
			"/h/.config/muster/agent.json", "/etc/muster/managed.d", "/h/.local/state/muster",
			"/h/.local/state/muster/log", "/h/.local/state/muster/run", ""}},
		{"darwin system", "darwin", true, nil, Paths{
			"/Library/Application Support/muster/agent.json", "/Library/Managed Preferences/muster.plist",
			"/Library/Application Support/muster/state", "/Library/Logs/muster", "/var/run/muster", ""}},
		{"darwin person", "darwin", false, map[string]string{"HOME": "/Users/ann"}, Paths{
			"/Users/ann/Library/Application Support/muster/agent.json", "/Library/Managed Preferences/muster.plist",
			"/Users/ann/Library/Application Support/muster/state", "/Users/ann/Library/Logs/muster",
			"/Users/ann/Library/Application Support/muster/run", ""}},
		{"windows system", "windows", true, map[string]string{"ProgramData": `D:\ProgramData\`}, Paths{
			`D:\ProgramData\Muster\agent.json`, `HKLM\Software\Policies\Muster`, `D:\ProgramData\Muster\State`,
			`D:\ProgramData\Muster\Logs`, `D:\ProgramData\Muster\Run`, ""}},
		{"windows person", "windows", false, map[string]string{"LocalAppData": `C:\Users\ann\AppData\Local`}, Paths{
			win + `\agent.json`, `HKLM\Software\Policies\Muster`, win + `\State`, win + `\Logs`, win + `\Run`, ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := pathsFor(test.goos, test.root, env(test.env))
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestPathsForRefuses(t *testing.T) {
	for _, test := range []struct {
		name, goos string
		root       bool
		env        map[string]string
		want       string
	}{
		{"unknown system", "plan9", true, nil, `"plan9"`},
		{"no home", "linux", false, nil, "HOME"},
		{"relative home", "darwin", false, map[string]string{"HOME": "ann"}, "HOME"},
		{"no ProgramData", "windows", true, nil, "ProgramData"},
		{"state on a share", "windows", false, map[string]string{"LocalAppData": `\\evil\share`}, "LocalAppData"},
		{"drive without a root", "windows", false, map[string]string{"LocalAppData": `C:x`}, "LocalAppData"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := pathsFor(test.goos, test.root, env(test.env))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that names %s", err, test.want)
			}
		})
	}
}

// Whoever starts a privileged agent must not choose where its secrets go.
func TestPathsForRootTakesNothingFromTheEnvironment(t *testing.T) {
	for _, goos := range []string{"linux", "darwin"} {
		_, err := pathsFor(goos, true, func(name string) string {
			t.Errorf("%s: the environment was asked for %s", goos, name)
			return "/evil"
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestHostPaths(t *testing.T) {
	p, err := HostPaths()
	if err != nil {
		t.Skipf("this account has no home: %v", err)
	}
	if !path.IsAbs(p.StateDir) && !windowsAbs(p.StateDir) {
		t.Errorf("state folder %q is not absolute", p.StateDir)
	}
}

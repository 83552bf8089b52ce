package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/attest/posture"
	"muster/platform"
)

func layerOf(json string) platform.Layer { return platform.Layer{Origin: "test", JSON: []byte(json)} }

func envOf(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func fileOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.json")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSettingsStrongestWins(t *testing.T) {
	s, err := LoadSettings(Sources{
		Managed: []platform.Layer{layerOf(`{"server":"https://weak.example","profile":"byod"}`), layerOf(`{"server":"https://M.example:443/"}`)},
		Flags:   map[string]string{"server": "https://flag.example", "tpm": "none"},
		Env:     envOf("MUSTER_TPM", "auto", "MUSTER_LOG_LEVEL", "debug", "MUSTER_TOKEN", "leaked", "MUSTER_CA_FILE", "", "MUSTER_LINK_PORT", "47113"),
		File:    fileOf(t, `{"log_level":"error","ca_file":"/ca.pem","link_user":"bob"}`),
		Paths:   platform.Paths{StateDir: "/state"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{
		"server": {"https://M.example:443/", "managed: test"}, "profile": {"byod", "managed: test"},
		"tpm": {"none", "flag"}, "log_level": {"debug", "environment"}, "token": {"", "default"},
		"state_dir": {"/state", "default"}, "token_file": {"", "default"},
		"link_port": {"47113", "environment"},
	}
	for _, v := range s.Values() {
		if w, ok := want[v.Name]; ok && w != [2]string{v.Value, v.Origin} {
			t.Errorf("%s is %q from %s, want %v", v.Name, v.Value, v.Origin, w)
		}
	}
	if s.Server != "https://m.example" || s.Profile != posture.BYOD || s.CAFile != "/ca.pem" || s.LinkPort != 47113 || s.LinkUser != "bob" {
		t.Errorf("%+v", s)
	}
}

func TestSettingsRefused(t *testing.T) {
	for name, from := range map[string]Sources{
		"unknown in file":      {File: fileOf(t, `{"sever":"https://a.example"}`)},
		"duplicate":            {File: fileOf(t, `{"tpm":"auto","tpm":"none"}`)},
		"case":                 {File: fileOf(t, `{"TPM":"auto"}`)},
		"number":               {File: fileOf(t, `{"server":1}`)},
		"trailing":             {File: fileOf(t, `{}{}`)},
		"token in file":        {File: fileOf(t, `{"token":"abc"}`)},
		"file is not there":    {File: "/nonexistent/agent.json"},
		"http to elsewhere":    {Flags: map[string]string{"server": "http://a.example"}},
		"no scheme":            {Flags: map[string]string{"server": "a.example"}},
		"path":                 {Flags: map[string]string{"server": "https://a.example/x"}},
		"password":             {Flags: map[string]string{"server": "https://u:p@a.example"}},
		"tpm":                  {Flags: map[string]string{"tpm": "yes"}},
		"tpm without a path":   {Flags: map[string]string{"tpm": "unix:"}},
		"profile":              {Env: envOf("MUSTER_PROFILE", "private")},
		"log level":            {Env: envOf("MUSTER_LOG_LEVEL", "loud")},
		"link port below 1024": {Env: envOf("MUSTER_LINK_PORT", "443")},
		"link port too great":  {Flags: map[string]string{"link_port": "65536"}},
		"link port 0":          {Flags: map[string]string{"link_port": "0"}},
		"link port with sign":  {Flags: map[string]string{"link_port": "+8080"}},
		"link port with zeros": {Flags: map[string]string{"link_port": "08080"}},
		"link port, a number":  {File: fileOf(t, `{"link_port":47113}`)},
		"unknown, managed":     {Managed: []platform.Layer{layerOf(`{"x":"y"}`)}},
		"managed with a list":  {Managed: []platform.Layer{layerOf(`{"server":["a"]}`)}},
		"weak but wrong layer": {Managed: []platform.Layer{layerOf(`{"x":"y"}`), layerOf(`{"tpm":"auto"}`)}},
	} {
		_, err := LoadSettings(from)
		if wrong := (*SettingsError)(nil); !errors.As(err, &wrong) {
			t.Errorf("%s: %v, want a settings error", name, err)
		}
	}
	open := fileOf(t, `{}`)
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSettings(Sources{File: open}); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("a file that others may write: %v", err)
	}
}

// No setting that is secret comes out of Values or an error.
func TestTokenIsNotShown(t *testing.T) {
	const secret = "hunter2-token"
	s, err := LoadSettings(Sources{Managed: []platform.Layer{layerOf(`{"token":"` + secret + `"}`)}})
	if err != nil {
		t.Fatal(err)
	}
	if token, err := s.Token(); token != secret || err != nil {
		t.Fatalf("%q, %v", token, err)
	}
	for _, v := range s.Values() {
		if strings.Contains(v.Value, secret) || v.Name == nameToken && v.Value != "(set)" {
			t.Errorf("shown: %+v", v)
		}
	}
	_, err = LoadSettings(Sources{Managed: []platform.Layer{layerOf(`{"token":["` + secret + `"]}`)}})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("in an error: %v", err)
	}
}

func TestTokenFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) *Settings {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return &Settings{tokenFile: path}
	}
	if token, err := write("good", " abc\n", 0o600).Token(); token != "abc" || err != nil {
		t.Errorf("%q, %v", token, err)
	}
	if token, err := write("open", "abc", 0o644).Token(); token != "" || !errors.Is(err, platform.ErrNotPrivate) {
		t.Errorf("open to others: %q, %v", token, err)
	}
	if token, err := write("long", strings.Repeat("a", maxToken+1), 0o600).Token(); token != "" || err == nil {
		t.Errorf("too long: %q, %v", token, err)
	}
	if token, err := (&Settings{tokenFile: filepath.Join(dir, "none")}).Token(); token != "" || err == nil {
		t.Errorf("missing: %q, %v", token, err)
	}
}

func TestParseOrigin(t *testing.T) {
	for in, want := range map[string]string{
		"https://Muster.Example":          "https://muster.example",
		"https://muster.example:443/":     "https://muster.example",
		"https://muster.example:8443":     "https://muster.example:8443",
		"http://127.0.0.1:8080":           "http://127.0.0.1:8080",
		"http://127.9.9.9":                "http://127.9.9.9",
		"http://[::1]:80":                 "http://[::1]",
		"http://localhost:8080":           "http://localhost:8080",
		"http://muster.localhost:8080":    "http://muster.localhost:8080",
		"https://[2001:db8::1]:8443":      "https://[2001:db8::1]:8443",
		"http://muster.example":           "",
		"http://localhost.example":        "",
		"http://localhostx":               "",
		"http://10.0.0.1":                 "",
		"http://[::ffff:10.0.0.1]":        "",
		"ftp://localhost":                 "",
		"https://":                        "",
		"https:muster.example":            "",
		"https://muster.example?x":        "",
		"https://muster.example/#x":       "",
		"https://muster.example:x":        "",
		"https://a@muster.example":        "",
		"https://muster.example/v1/":      "",
		"//muster.example":                "",
		"":                                "",
		"https://muster.example\nx: y":    "",
		" https://muster.example":         "",
		"https://muster.example:443:443/": "",
	} {
		got, err := parseOrigin(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestDialAddress(t *testing.T) {
	for in, want := range map[string]string{
		"localhost:1": "127.0.0.1:1", "a.b.LOCALHOST.:1": "127.0.0.1:1", "localhost.example:1": "localhost.example:1",
		"notlocalhost:1": "notlocalhost:1", "[::1]:1": "[::1]:1",
	} {
		if got := dialAddress(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

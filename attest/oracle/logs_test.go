package oracle

import (
	"bufio"
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"muster/attest/bootlog"
)

// The modules whose logs are read.
const (
	goAttestation = "github.com/google/go-attestation"
	goTPMTools    = "github.com/google/go-tpm-tools"
)

// publicLog is a boot log that somebody published, with the PCR values of its
// machine.
type publicLog struct {
	name   string
	raw    []byte
	values map[bootlog.Bank]*bootlog.Values
	// replayed tells that no values were published: they are what the log itself
	// leads to, which shows nothing of the replay.
	replayed bool
}

// bank is the one that is judged: SHA-256, where there is no such SHA-1.
func (p *publicLog) bank() bootlog.Bank {
	if p.values[bootlog.SHA256] != nil {
		return bootlog.SHA256
	}
	return bootlog.SHA1
}

// publicLogs are all logs of both modules that can be read, and shared ones where
// MUSTER_TEST_DATA has them.
func publicLogs(t testing.TB) []publicLog {
	t.Helper()
	logs := slices.Concat(attestationLogs(t), toolsLogs(t), sharedLogs(t))
	slices.SortFunc(logs, func(a, b publicLog) int { return strings.Compare(a.name, b.name) })
	return logs
}

// moduleDir is where the module cache has a module.
func moduleDir(t testing.TB, module string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).CombinedOutput()
	dir := strings.TrimSpace(string(out))
	if err == nil && dir != "" {
		return dir
	}
	const missing = "%s is not in the module cache: run go mod download in attest/oracle (%v, %s)"
	if os.Getenv("MUSTER_TEST_STRICT") == "1" {
		t.Fatalf(missing, module, err, out)
	}
	t.Skipf(missing, module, err, out)
	return ""
}

// attestationLogs are those of go-attestation: bare files, and one dump of a
// Windows machine with its values.
func attestationLogs(t testing.TB) (logs []publicLog) {
	t.Helper()
	dir := filepath.Join(moduleDir(t, goAttestation), "attest", "testdata")
	paths, err := filepath.Glob(filepath.Join(dir, "*_eventlog"))
	if err != nil || len(paths) != 7 {
		t.Fatalf("%d logs in %s, %v", len(paths), dir, err)
	}
	for _, path := range paths {
		p := publicLog{name: "go-attestation " + strings.TrimSuffix(filepath.Base(path), "_eventlog"), raw: read(t, path)}
		p.replay()
		logs = append(logs, p)
	}
	var dump struct {
		Log struct {
			PCRs []struct {
				Index     int
				Digest    []byte
				DigestAlg crypto.Hash
			}
			Raw []byte
		}
	}
	if err := json.Unmarshal(read(t, filepath.Join(dir, "windows_gcp_shielded_vm.json")), &dump); err != nil {
		t.Fatal(err)
	}
	windows := publicLog{name: "go-attestation windows_gcp_shielded_vm", raw: dump.Log.Raw}
	for _, v := range dump.Log.PCRs {
		windows.set(t, map[crypto.Hash]string{crypto.SHA1: "SHA1", crypto.SHA256: "SHA256"}[v.DigestAlg], v.Index, v.Digest)
	}
	return append(logs, windows)
}

// toolsLogs are those of go-tpm-tools: files, and the values as its own tests name
// them.
func toolsLogs(t testing.TB) (logs []publicLog) {
	t.Helper()
	dir := moduleDir(t, goTPMTools)
	data := read(t, filepath.Join(dir, "internal", "test", "test_data.go"))
	files := map[string]string{}
	for _, m := range regexp.MustCompile(`//go:embed (eventlogs/\S+)\s+(\w+) \[\]byte`).FindAllSubmatch(data, -1) {
		files[string(m[2])] = string(m[1])
	}
	var (
		rawLog = regexp.MustCompile(`RawLog:\s+test\.(\w+),`)
		hash   = regexp.MustCompile(`Hash:\s+pb\.HashAlgo_(\w+),`)
		value  = regexp.MustCompile(`^\s*(\d+):\s+decodeHex\("([0-9a-f]+)"\)`)
		bank   string
	)
	lines := bufio.NewScanner(bytes.NewReader(read(t, filepath.Join(dir, "server", "eventlog_test.go"))))
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "func TestParseEventLogs") {
		line := lines.Text()
		if m := rawLog.FindStringSubmatch(line); m != nil {
			file := files[m[1]]
			logs = append(logs, publicLog{
				name: "go-tpm-tools " + strings.TrimSuffix(filepath.Base(file), ".bin"),
				raw:  read(t, filepath.Join(dir, "internal", "test", filepath.FromSlash(file))),
			})
		} else if m := hash.FindStringSubmatch(line); m != nil {
			bank = m[1]
		} else if m := value.FindStringSubmatch(line); m != nil {
			index, err := strconv.Atoi(m[1])
			digest, errHex := hex.DecodeString(m[2])
			if err != nil || errHex != nil {
				t.Fatalf("%s: %v, %v", line, err, errHex)
			}
			logs[len(logs)-1].set(t, bank, index, digest)
		}
	}
	if len(logs) != 14 || len(files) != 14 {
		t.Fatalf("%d logs, %d files", len(logs), len(files))
	}
	return logs
}

// sharedLogs are those of MUSTER_TEST_DATA with their values, or, without it, those
// that bootlog's own tests keep.
func sharedLogs(t testing.TB) (logs []publicLog) {
	t.Helper()
	dir := filepath.Join("..", "bootlog", "testdata")
	if data := os.Getenv("MUSTER_TEST_DATA"); data != "" {
		dir = filepath.Join(data, "eventlogs")
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*", "binary_bios_measurements"))
	if err != nil || len(paths) != 5 {
		t.Fatalf("%d logs in %s, %v", len(paths), dir, err)
	}
	for _, path := range paths {
		p := publicLog{name: "muster " + filepath.Base(filepath.Dir(path)), raw: read(t, path)}
		var banks map[string]map[string]string
		if err := json.Unmarshal(read(t, filepath.Join(filepath.Dir(path), "pcrs.json")), &banks); err != nil {
			t.Fatal(err)
		}
		for bank, values := range banks {
			for index, value := range values {
				i, err := strconv.Atoi(index)
				digest, errHex := hex.DecodeString(value)
				if err != nil || errHex != nil {
					t.Fatalf("%s: %v, %v", path, err, errHex)
				}
				p.set(t, strings.ToUpper(bank), i, digest)
			}
		}
		logs = append(logs, p)
	}
	return logs
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// set keeps a value.
func (p *publicLog) set(t testing.TB, bank string, index int, digest []byte) {
	t.Helper()
	id, ok := map[string]bootlog.Bank{"SHA1": bootlog.SHA1, "SHA256": bootlog.SHA256, "SHA384": bootlog.SHA384}[bank]
	if !ok || index < 0 || index >= bootlog.PCRCount {
		t.Fatalf("%s: PCR %d of bank %q", p.name, index, bank)
	}
	if p.values == nil {
		p.values = map[bootlog.Bank]*bootlog.Values{}
	}
	if p.values[id] == nil {
		p.values[id] = new(bootlog.Values)
	}
	p.values[id][index] = digest
}

// replay makes up the values that a log leads to.
func (p *publicLog) replay() {
	p.replayed = true
	p.values = map[bootlog.Bank]*bootlog.Values{}
	parsed, err := bootlog.Parse(p.raw)
	if err != nil {
		return
	}
	for bank, hash := range map[bootlog.Bank]crypto.Hash{bootlog.SHA1: crypto.SHA1, bootlog.SHA256: crypto.SHA256} {
		if !slices.Contains(parsed.Banks, bank) {
			continue
		}
		values := new(bootlog.Values)
		for i := range parsed.Events {
			e := &parsed.Events[i]
			digest := parsed.Digest(e, bank)
			if e.PCR >= bootlog.PCRCount || e.Type == 3 || digest == nil { // EV_NO_ACTION was not extended
				continue
			}
			if values[e.PCR] == nil {
				values[e.PCR] = make([]byte, hash.Size())
			}
			h := hash.New()
			fmt.Fprintf(h, "%s%s", values[e.PCR], digest)
			values[e.PCR] = h.Sum(nil)
		}
		p.values[bank] = values
	}
}

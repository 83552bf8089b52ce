package attest_test

import (
	"os"
	"slices"
	"testing"
)

// TestHouse parses every Go file of the module, whatever system it is for, and
// fails on a breach of the import table or of the caps: both, with reasons, are
// in house_policy_test.go.
func TestHouse(t *testing.T) {
	tree, err := readHouse(os.DirFS(".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, breach := range tree.checkHouse(houseTable()) {
		t.Error(breach)
	}
	// A walk that found nothing would find no breach either.
	for _, dir := range []string{"attest", "attest/posture", "platform"} {
		if pkg := tree.packages[dir]; pkg == nil || len(pkg.shipped()) == 0 {
			t.Errorf("package %s was not found", dir)
		}
	}
	if tree.texts[".ci/test"] == nil || tree.texts["LICENSE"] != nil {
		t.Error("the texts read are not the ones meant")
	}
}

// TestHouseTable checks the policy itself: rows name packages that have rows,
// nothing that ships may import what is for tests, and each row has a reason.
func TestHouseTable(t *testing.T) {
	rows := map[string]houseRow{}
	for _, row := range houseTable() {
		if _, twice := rows[row.dir]; twice {
			t.Errorf("%s has two rows", row.dir)
		}
		if row.why == "" {
			t.Errorf("%s has no reason", row.dir)
		}
		rows[row.dir] = row
	}
	for _, row := range rows {
		for _, dir := range row.muster {
			target, known := rows[dir]
			switch {
			case !known:
				t.Errorf("%s may import %s, which has no row", row.dir, dir)
			case target.tests && !row.tests:
				t.Errorf("%s may import %s, which is for tests", row.dir, dir)
			case dir == row.dir:
				t.Errorf("%s may import itself", dir)
			}
		}
		for _, name := range row.guarded {
			if houseGuarded()[name] == "" {
				t.Errorf("%s is allowed %s, which nothing guards", row.dir, name)
			}
			if row.pure && slices.Contains(housePure(), name) {
				t.Errorf("%s is pure and allowed %s", row.dir, name)
			}
		}
	}
}

// TestHouseTableSeparates checks what the table must never allow, however many
// rows are between: the laptop and the server meet in the contract alone.
func TestHouseTableSeparates(t *testing.T) {
	rows := map[string]houseRow{}
	for _, row := range houseTable() {
		rows[row.dir] = row
	}
	for _, test := range []struct{ from, to string }{
		{"agent/cmd/muster-agent", "server"},
		{"agent/cmd/muster-agent", "server/verify"},
		{"server/cmd/muster-server", "agent"},
		{"server/cmd/muster-server", "collectors"},
		{"server/cmd/muster-server", "platform"},
		{"server/cmd/muster-server", "attest/tpm"},
		{"server/verify", "server/store"},
		{"server/decide", "server/store"},
		{"attest", "attest/tpm"},
	} {
		if houseReaches(rows, test.from, test.to, nil) {
			t.Errorf("the table lets %s reach %s", test.from, test.to)
		}
	}
	for module, home := range map[string][]string{
		"github.com/google/go-tpm/tpm2":     {"attest", "attest/softkey", "attest/tpm", "attest/tpmtest", "server/enroll"},
		"github.com/shirou/gopsutil/v3":     {"collectors"},
		"github.com/kardianos/service":      {"platform"},
		"github.com/go-webauthn/webauthn":   {"server/passkey"},
		"cel.dev/cel-go":                    {"server/decide"},
		"github.com/goccy/go-yaml":          {"server/decide"},
		"modernc.org/sqlite":                {"server/store"},
		"github.com/alecthomas/kong":        {"server/cmd/muster-server"},
		"google.golang.org/grpc":            {"server/gateway/extauthz"},
		"github.com/knadh/koanf/v2":         {"server", "server/web"},
		"github.com/google/go-tpm-tools":    nil,
		"github.com/google/go-attestation":  nil,
		"github.com/stretchr/testify":       nil,
		"github.com/google/go-tpmevil/tpm2": nil,
	} {
		var found []string
		for dir, row := range rows {
			if allowsForeign(row, module) {
				found = append(found, dir)
			}
		}
		slices.Sort(found)
		if !slices.Equal(found, home) {
			t.Errorf("%s may be imported by %v, want %v", module, found, home)
		}
	}
}

func houseReaches(rows map[string]houseRow, from, to string, seen map[string]bool) bool {
	if seen == nil {
		seen = map[string]bool{}
	}
	seen[from] = true
	for _, next := range rows[from].muster {
		if next == to || !seen[next] && houseReaches(rows, next, to, seen) {
			return true
		}
	}
	return false
}

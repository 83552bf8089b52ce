package platform

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func privateDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	if err := MakePrivateDir(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPrivateRoundTrip(t *testing.T) {
	dir := privateDir(t)
	path := filepath.Join(dir, "key.json")
	for _, want := range [][]byte{[]byte("one"), {}, []byte("a longer two")} {
		if err := WritePrivate(path, want); err != nil {
			t.Fatal(err)
		}
		got, err := ReadPrivate(path, len(want))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("read %q, wrote %q", got, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%d files are there, want the one: temporary files were left", len(entries))
	}
}

func TestReadPrivateLimit(t *testing.T) {
	path := filepath.Join(privateDir(t), "f")
	if err := WritePrivate(path, []byte("12345")); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadPrivate(path, 4); !errors.Is(err, ErrTooLong) || got != nil {
		t.Errorf("got %q, %v; want ErrTooLong and nothing", got, err)
	}
}

func TestReadPrivateMissing(t *testing.T) {
	if _, err := ReadPrivate(filepath.Join(privateDir(t), "f"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// A failed write must leave neither a change nor a trace.
func TestWritePrivateOntoAFolder(t *testing.T) {
	dir := privateDir(t)
	path := filepath.Join(dir, "f")
	if err := os.MkdirAll(filepath.Join(path, "inside"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WritePrivate(path, []byte("x")); err == nil {
		t.Fatal("a folder was replaced by a file")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%d entries, want the folder alone", len(entries))
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(privateDir(t), "lock")
	release, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v, want ErrLocked", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	release, err = Lock(path)
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

func TestSDDLPrivate(t *testing.T) {
	const me = "S-1-5-21-1-2-3-1001"
	for _, test := range []struct {
		name, sddl string
		private    bool
	}{
		{"made by MakePrivateDir", "O:" + me + "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;" + me + ")", true},
		{"inherited", "O:" + me + "D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;FA;;;" + me + ")", true},
		{"the service's own", "O:SYG:SYD:P(A;;FA;;;SY)(A;;FA;;;BA)", true},
		{"alias of this account", "O:LAD:P(A;;FA;;;LA)", true},
		{"admits nobody", "O:BAD:P", true},
		{"a denial opens nothing", "O:BAD:P(D;;FA;;;WD)(A;;FA;;;BA)", true},
		{"an audit list after it", "O:BAD:P(A;;FA;;;BA)S:(AU;FA;FA;;;WD)", true},
		{"everyone", "O:BAD:P(A;;FR;;;WD)(A;;FA;;;BA)", false},
		{"users at the end", "O:BAD:P(A;;FA;;;BA)(A;;FR;;;BU)", false},
		{"another account", "O:BAD:P(A;;FA;;;S-1-5-21-1-2-3-1002)", false},
		{"another account whose number starts with ours", "O:BAD:P(A;;FA;;;" + me + "1)", false},
		{"another owner", "O:S-1-5-21-9D:P(A;;FA;;;BA)", false},
		{"no list at all: everyone", "O:BAD:NO_ACCESS_CONTROL", false},
		{"no list in the text", "O:BAG:BA", false},
		{"no owner", "D:P(A;;FA;;;BA)", false},
		{"an empty owner", "O:D:P(A;;FA;;;BA)", false},
		{"conditional entry", `O:BAD:P(XA;;FA;;;BA;(@User.x == 1))`, false},
		{"object entry", "O:BAD:P(OA;;FA;;;BA)", false},
		{"cut short", "O:BAD:P(A;;FA", false},
		{"empty", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := sddlPrivate(test.sddl, me, "LA")
			if (err == nil) != test.private {
				t.Errorf("%s: %v, want private %v", test.sddl, err, test.private)
			}
			if err != nil && !errors.Is(err, ErrNotPrivate) {
				t.Errorf("%v is not ErrNotPrivate", err)
			}
		})
	}
}

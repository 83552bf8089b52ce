package collectors

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// A kernel that says none does not come to say more by losing a byte.
func FuzzLockdown(f *testing.F) {
	for _, seed := range []string{"[none] integrity confidentiality", "none [integrity] confidentiality", "none integrity]", "[none] [integrity", "[none][integrity]"} {
		f.Add(seed, uint(0))
	}
	f.Fuzz(func(t *testing.T, line string, at uint) {
		level, err := parseLockdown(line)
		if err != nil {
			if level != "" {
				t.Fatalf("%q beside an error", level)
			}
			return
		}
		if !strings.Contains(line, "["+level+"]") {
			t.Fatalf("%q is not in brackets", level)
		}
		i := int(at % uint(len(line)))
		less, err := parseLockdown(line[:i] + line[i+1:])
		if err == nil && less != level {
			t.Fatalf("without byte %d: %q instead of %q", i, less, level)
		}
	})
}

// Quoting a value and reading it gives the value back; what is read of any file
// can be quoted again.
func FuzzOSRelease(f *testing.F) {
	f.Add("ID=debian\nNAME=\"Debian GNU/Linux\"\n# x\n\nVERSION_ID='12'\n")
	f.Add("A=\"\\\"\"\n")
	f.Add("A=\"\\\n")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := parseOSRelease([]byte(text))
		if err != nil {
			if values != nil {
				t.Fatal("values beside an error")
			}
			return
		}
		for name, value := range values {
			quoted := name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
			again, err := parseOSRelease([]byte(quoted))
			if err != nil || again[name] != value {
				t.Fatalf("%q is %q when quoted and read again, %v", value, again[name], err)
			}
		}
	})
}

// What goes into a report is short, valid and printable whatever a vendor or an
// attacker wrote, and a placeholder does not become a label by being cleaned.
func FuzzLabel(f *testing.F) {
	f.Add("To be filled by O.E.M.\x00")
	f.Add("\xff\xfe\u202eabc")
	f.Fuzz(func(t *testing.T, s string) {
		l := label(s)
		if len(l) > maxLabel || !utf8.ValidString(l) || strings.ContainsAny(l, "\x00\n\x1b") || label(l) != l {
			t.Fatalf("label %q", l)
		}
		if r := realLabel(s); r != "" && r != l {
			t.Fatalf("label %q, real label %q", l, r)
		}
	})
}

// No person's home can be hidden by losing one byte: the rest is refused, or
// differs in that home alone.
func FuzzPasswd(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nben:x:1001:1001::/home/ben:/bin/sh\n"), uint(40))
	f.Fuzz(func(t *testing.T, b []byte, at uint) {
		homes, err := parseHomes(b)
		if err != nil || len(b) == 0 {
			return
		}
		for _, home := range homes {
			if !strings.HasPrefix(home, "/") || home == "/" || strings.Contains(home, "/../") {
				t.Fatalf("home %q", home)
			}
		}
		i := int(at % uint(len(b)))
		less, err := parseHomes(slices.Delete(slices.Clone(b), i, i+1))
		if err == nil && len(less) < len(homes)-1 {
			t.Fatalf("without byte %d: %v instead of %v", i, less, homes)
		}
	})
}

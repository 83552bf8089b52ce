package bootlog

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

func wide(s string) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b
}

func TestCommandLines(t *testing.T) {
	grub := func(prefix, text, end string) made {
		return of(8, kindIPL, []byte(prefix+text+end), []byte(text))
	}
	tests := []struct {
		name   string
		events []made
		want   []string
		reason Reason
	}{
		{"none", nil, nil, NotLogged},
		{"GRUB 2.06", []made{grub("grub_cmd: ", "set a=b", "\x00"), grub("kernel_cmdline: ", "/vmlinuz ro", "\x00")}, []string{"set a=b", "/vmlinuz ro"}, ""},
		{"Red Hat's", []made{grub("grub_cmd ", "set a=b", ""), grub("grub_kernel_cmdline ", "/vmlinuz ro", "\x00")}, []string{"set a=b", "/vmlinuz ro"}, ""},
		{"the stub", []made{bound(12, kindIPL, wide("root=x quiet\x00"))}, []string{"root=x quiet"}, ""},
		{"both", []made{bound(12, kindIPL, wide("root=x\x00")), grub("grub_cmd: ", "a", "\x00")}, []string{"a", "root=x"}, ""},
		{"relabelled", []made{grub("kernel_cmdline: ", "set a=b", "\x00")}, []string{"set a=b"}, ""},
		{"without its prefix", []made{grub("", "/vmlinuz lockdown=none", "")}, []string{"/vmlinuz lockdown=none"}, ""},
		{"bytes that are no text", []made{grub("grub_cmd: ", "a\xff\x00b", "\x00")}, []string{"a??b"}, ""},
		{"not bound", []made{grub("grub_cmd: ", "a", "\x00"), of(8, kindIPL, []byte("grub_cmd: b\x00"), []byte("c"))}, nil, Unbound},
		{"with its prefix measured", []made{bound(8, kindIPL, []byte("grub_cmd: b\x00"))}, []string{"grub_cmd: b?"}, ""},
		{"Windows' events", []made{bound(12, 6, []byte{1, 0, 1, 0x40, 4, 0, 0, 0, 1, 2, 3, 4})}, nil, NotLogged},
		{"an empty command", []made{grub("grub_cmd: ", "", "\x00")}, nil, NotLogged},
		{"too long", []made{grub("grub_cmd: ", strings.Repeat("é", MaxCommandLine), "\x00")}, []string{strings.Repeat("é", MaxCommandLine/2)}, ""},
		{"a separator", []made{parting(8), grub("grub_cmd: ", "a", "\x00")}, []string{"a"}, ""},
		{"another PCR", []made{of(9, kindIPL, []byte("grub_cmd: a\x00"), []byte("a"))}, nil, NotLogged},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := judge(t, test.events).CommandLines
			var texts []string
			for _, line := range got.Value {
				texts = append(texts, line.Text)
				if !utf8.ValidString(line.Text) || len(line.Text) > MaxCommandLine {
					t.Errorf("%d bytes: %q", len(line.Text), line.Text)
				}
			}
			if got.Known != (test.reason == "") || got.Reason != test.reason || !slices.Equal(texts, test.want) {
				t.Errorf("%v %s %q", got.Known, got.Reason, texts)
			}
			for pcr := range PCRCount {
				values := replayed(test.events)
				values[pcr] = bytes.Repeat([]byte{1}, 32)
				if a := account(t, test.events, values); a.CommandLines.Known && (pcr == 8 || pcr == 12) {
					t.Errorf("known with another PCR %d", pcr)
				}
			}
		})
	}
}

func TestApplications(t *testing.T) {
	program := func(path, bytes string) made { return of(4, kindProgram, image(path), []byte(bytes)) }
	end := parting(4)
	call := bound(4, kindAction, []byte(callAction))
	tests := []struct {
		name   string
		events []made
		want   []string
		reason Reason
	}{
		{"one", []made{call, end, program(`\EFI\a.efi`, "MZ a")}, []string{`\EFI\a.efi`}, ""},
		{"early", []made{program(`early`, "MZ e"), end, program(`a`, "MZ a")}, []string{"early", "a"}, ""},
		{"an odd path", []made{end, of(4, kindProgram, []byte("short"), []byte("MZ a"))}, []string{""}, ""},
		{"an action whose body is gone", []made{of(4, kindAction, []byte("x"), []byte(callAction)), end}, nil, ""},
		{"another action", []made{bound(4, kindAction, []byte("Entering ROM Based Setup")), end}, nil, ""},
		{"relabelled as an action", []made{end, of(4, kindAction, image("a"), []byte("MZ a"))}, []string{"a"}, ""},
		{"hidden behind its own bytes", []made{end, bound(4, kindAction, []byte("MZ\x90\x00 a program"))}, []string{""}, ""},
		{"no separator", []made{program("a", "MZ")}, nil, NoSeparator},
		{"an error", []made{bound(4, kindSeparator, []byte{1, 0, 0, 0}), program("a", "MZ"), end}, nil, FirmwareError},
		{"nothing", nil, nil, NotLogged},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := judge(t, test.events).Applications
			var paths []string
			for _, p := range got.Value {
				paths = append(paths, p.Path)
				if p.Early != (p.Path == "early") || len(p.Digest) != 32 {
					t.Errorf("%+v", p)
				}
			}
			if got.Known != (test.reason == "") || got.Reason != test.reason || !slices.Equal(paths, test.want) {
				t.Errorf("%v %s %q", got.Known, got.Reason, paths)
			}
			values := replayed(test.events)
			values[4] = bytes.Repeat([]byte{1}, 32)
			if got := account(t, test.events, values).Applications; got.Known || got.Reason != NotReplayed {
				t.Errorf("another value: %+v", got)
			}
		})
	}
}

func TestImagePath(t *testing.T) {
	whole := image(`\EFI\BOOT\é`)
	if got := imagePath(whole); got != `\EFI\BOOT\é` {
		t.Errorf("%q", got)
	}
	for n := range whole {
		if got := imagePath(whole[:n]); !strings.HasPrefix(`\EFI\BOOT\é`, got) {
			t.Errorf("cut at %d: %q", n, got)
		}
	}
	le := binary.LittleEndian
	loop := append(make([]byte, 24), le.AppendUint64(nil, 1<<63)...)
	for name, b := range map[string][]byte{
		"nodes of no length": append(bytes.Clone(loop), bytes.Repeat([]byte{4, 4, 0, 0}, 100)...),
		"a node too long":    append(bytes.Clone(loop), 4, 4, 0xff, 0xff, 'a', 0),
		"another kind":       append(bytes.Clone(loop), 4, 3, 6, 0, 'a', 0),
		"nothing":            nil,
	} {
		if got := imagePath(b); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	long := imagePath(image(strings.Repeat("x", 30000)))
	if len(long) != maxPath {
		t.Errorf("a path of %d bytes", len(long))
	}
}

func TestUTF16(t *testing.T) {
	for in, want := range map[string]string{
		"a\x00b\x00":         "ab",
		"a\x00\x00\x00b\x00": "a",
		"\x3d\xd8\x00\xde":   "\U0001f600",
		"\x3d\xd8":           "?",
		"\x3d\xd8a\x00":      "?a",
		"\x00\xdea\x00":      "?a",
		"a":                  "",
	} {
		if got := string(appendUTF16(nil, []byte(in), 100)); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
	if got := string(appendUTF16([]byte("12"), wide("éé"), 3)); got != "12é" {
		t.Errorf("limit: %q", got)
	}
}

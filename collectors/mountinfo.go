package collectors

import (
	"bytes"
	"fmt"
	"strings"
)

// mount is one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	dev    string // major:minor of the super block; 0:N where no block device is behind it
	root   string // the part of the file system that is mounted
	point  string // where, absolute
	fs     string // ext4, btrfs, fuse.sshfs ...
	source string // what the file system calls its source; may be empty
	super  string // options of the super block, joined by commas, still escaped
}

// maxMounts is the most lines that are read; the kernel's own limit per mount
// namespace is 100,000, a busy container host has some thousands.
const maxMounts = 20000

// parseMountinfo reads all of /proc/self/mountinfo or nothing: a line that is
// not understood could be the one plain disk, so it is an error and is never
// skipped. So is a last line without its newline, which was cut.
func parseMountinfo(b []byte) ([]mount, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[len(b)-1] != '\n' {
		return nil, fmt.Errorf("mountinfo: cut short: %w", errUnparsable)
	}
	if n := bytes.Count(b, []byte{'\n'}); n > maxMounts {
		return nil, fmt.Errorf("mountinfo: %d lines: %w", n, errUnparsable)
	}
	var mounts []mount
	for line := range strings.SplitSeq(string(b[:len(b)-1]), "\n") {
		m, err := parseMount(line)
		if err != nil {
			return nil, fmt.Errorf("mountinfo: line %d: %w", len(mounts)+1, err)
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// parseMount reads one line:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//
// with any number of tagged fields before the dash and exactly three after it.
// A source may be empty, which leaves two spaces in a row.
func parseMount(line string) (mount, error) {
	fields := strings.Split(line, " ")
	dash := -1
	for i := 6; i < len(fields); i++ {
		if fields[i] == "-" {
			dash = i
			break
		}
		if fields[i] == "" {
			return mount{}, fmt.Errorf("an empty field: %w", errUnparsable)
		}
	}
	if dash < 0 || len(fields) != dash+4 {
		return mount{}, fmt.Errorf("%d fields: %w", len(fields), errUnparsable)
	}
	if !decimal(fields[0]) || !decimal(fields[1]) || !isDev(fields[2]) {
		return mount{}, fmt.Errorf("no number where one belongs: %w", errUnparsable)
	}
	m := mount{dev: fields[2], super: fields[dash+3]}
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&m.root, fields[3]}, {&m.point, fields[4]}, {&m.fs, fields[dash+1]},
		{&m.source, fields[dash+2]},
	} {
		var ok bool
		if *f.to, ok = unescape(f.from); !ok {
			return mount{}, fmt.Errorf("a bad escape: %w", errUnparsable)
		}
	}
	if m.root == "" || fields[5] == "" || m.fs == "" || m.super == "" || !strings.HasPrefix(m.point, "/") {
		return mount{}, fmt.Errorf("an empty field: %w", errUnparsable)
	}
	return m, nil
}

// unescape undoes the kernel's \NNN (octal) for space, tab, newline, backslash
// and whatever else it chose to write so. The kernel escapes each backslash, so
// one that starts nothing is not the kernel's.
func unescape(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out.WriteByte(s[i])
			continue
		}
		if len(s)-i < 4 {
			return "", false
		}
		n := 0
		for _, c := range []byte(s[i+1 : i+4]) {
			if c < '0' || c > '7' {
				return "", false
			}
			n = n*8 + int(c-'0')
		}
		if n > 0xff {
			return "", false
		}
		out.WriteByte(byte(n))
		i += 3
	}
	return out.String(), true
}

// isDev reports whether s is major:minor.
func isDev(s string) bool {
	major, minor, ok := strings.Cut(s, ":")
	return ok && decimal(major) && decimal(minor)
}

// decimal reports whether s is a number of at most ten digits.
func decimal(s string) bool {
	if s == "" || len(s) > 10 {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// options returns the values of the super block options of that name.
func (m mount) options(name string) []string {
	var values []string
	for o := range strings.SplitSeq(m.super, ",") {
		// Escapes are undone last: an escaped comma is part of a value.
		if raw, ok := strings.CutPrefix(o, name+"="); ok {
			value, _ := unescape(raw)
			values = append(values, value)
		}
	}
	return values
}

// under reports whether path is dir or lies below it.
func under(path, dir string) bool {
	return path == dir || dir == "/" && strings.HasPrefix(path, "/") || strings.HasPrefix(path, dir+"/")
}

// mountOf returns the index of the mount that holds path: the longest mount
// point above it and, of several there, the last, which hides the others.
func mountOf(mounts []mount, path string) int {
	best := -1
	for i, m := range mounts {
		if under(path, m.point) && (best < 0 || len(m.point) >= len(mounts[best].point)) {
			best = i
		}
	}
	return best
}

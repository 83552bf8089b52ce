package collectors

import (
	"cmp"
	"errors"
	"io/fs"
	"strconv"
	"strings"
)

// newestKernel finds the newest installed kernel of the same flavour as the
// running one: those with an image in /boot or beside their modules. A folder
// of modules alone is what a removed kernel leaves behind. No kernel at all
// (a container, a kernel that somebody else loads) is the empty string.
func newestKernel(t Tree, running string) (string, error) {
	newest := ""
	consider := func(release string) {
		if kernelFlavour(release) == kernelFlavour(running) && (newest == "" || compareKernels(release, newest) > 0) {
			newest = release
		}
	}
	boot, err := t.ReadDir("/boot")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, e := range boot {
		if release, ok := strings.CutPrefix(e.Name(), "vmlinuz-"); ok && startsWithDigit(release) {
			consider(release)
		}
	}
	modules, err := t.ReadDir("/usr/lib/modules")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, e := range modules {
		image, err := t.Has("/usr/lib/modules/" + e.Name() + "/vmlinuz")
		if err == nil && image && startsWithDigit(e.Name()) {
			consider(e.Name())
		}
	}
	return newest, nil
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// kernelFlavour is what is left of a kernel release without its version:
//
//	6.1.0-56-cloud-amd64      cloud-amd64
//	6.12.107+deb13-amd64      amd64
//	6.8.0-45-generic          generic
//	6.11.4-301.fc41.x86_64    (empty)
//	6.11.5-zen1-1-zen         zen
//	6.11.4-301.fc41.x86_64+rt rt
//	0-rescue-4c1a...          rescue, never a newer kernel of another flavour
func kernelFlavour(release string) string {
	var words []string
	parts := strings.Split(release, "-")
	for i, part := range parts {
		last := i == len(parts)-1
		if startsWithDigit(part) {
			if _, variant, ok := strings.Cut(part, "+"); ok && last {
				words = append(words, variant)
			}
			continue
		}
		if part == "" || !last && startsWithDigit(part[len(part)-1:]) {
			continue // arch1, zen1, rc2: part of the version
		}
		words = append(words, part)
	}
	return strings.Join(words, "-")
}

// compareKernels orders two kernel releases: number by number, word by word; a
// release candidate comes before its release.
func compareKernels(a, b string) int {
	as, bs := runs(a), runs(b)
	for i := range max(len(as), len(bs)) {
		switch {
		case i == len(as):
			return preRelease(bs[i])
		case i == len(bs):
			return -preRelease(as[i])
		}
		x, errX := strconv.ParseUint(as[i], 10, 64)
		y, errY := strconv.ParseUint(bs[i], 10, 64)
		var order int
		switch {
		case errX == nil && errY == nil:
			order = cmp.Compare(x, y)
		case errX == nil:
			order = preRelease(bs[i]) * -1
		case errY == nil:
			order = preRelease(as[i])
		default:
			order = cmp.Compare(as[i], bs[i])
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

// preRelease says how a version compares with itself followed by this word:
// greater (1) if the word makes it a candidate, else less.
func preRelease(word string) int {
	if word == "rc" {
		return 1
	}
	return -1
}

// runs splits a version into its numbers and its words.
func runs(s string) []string {
	var out []string
	for s != "" {
		end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') == startsWithDigit(s) })
		if end < 0 {
			end = len(s)
		}
		if word := strings.Trim(s[:end], "-.+_~"); word != "" {
			out = append(out, word)
		}
		s = s[end:]
	}
	return out
}

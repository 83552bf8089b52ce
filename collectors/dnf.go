package collectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// dnfPending is the status of `dnf check-update` when there are updates
// (dnf(8), dnf5-check-upgrade(8)).
const dnfPending = 100

// lookDnf asks dnf 4 or 5 from its cache (-C): an agent that looks does not
// download. Plug-ins are left out, since some of them do, and so are excludes:
// an update that somebody excluded is still pending.
func lookDnf(ctx context.Context, m *Machine) patchFacts {
	f := patchFacts{manager: "dnf", updatedAt: rpmUpdated(m.Tree)}
	repos, err := dnfRepositories(m.Tree)
	if err != nil {
		f.err = err
		return f
	}
	f.metadataAt = oldestRepository(m.Tree, repos)
	args := []string{"-q", "-C", "--disableplugin=*", "--setopt=disable_excludes=*"}
	out, err := m.run(ctx, "dnf", append(args, "check-update")...)
	if err != nil && exitCode(err) != dnfPending {
		f.err = err
		return f
	}
	pending := exitCode(err) == dnfPending
	all, err := parseDnfUpdates(out)
	if err == nil && pending != (len(all) > 0) {
		err = fmt.Errorf("%w: dnf's status does not fit its list", errUnparsable)
	}
	if err != nil {
		f.err = err
		return f
	}
	told := false
	for _, repo := range repos {
		told = told || hasUpdateInfo(m.Tree, repo)
	}
	if !told {
		f.countOther(len(all))
		return f
	}
	out, err = m.run(ctx, "dnf", append(args, "updateinfo", "list", "--security")...)
	if err != nil {
		f.err = err
		return f
	}
	security, err := parseDnfAdvisories(out)
	if err != nil {
		f.err = err
		return f
	}
	f.countSecurity(security, len(all))
	return f
}

// countOther notes updates of which nobody says whether they are for security.
func (f *patchFacts) countOther(all int) { f.other = &all }

// countSecurity notes the names of packages with security updates among all.
func (f *patchFacts) countSecurity(names []string, all int) {
	count, rest := len(names), max(0, all-len(names))
	f.security, f.other, f.packages = &count, &rest, names
}

// parseDnfUpdates reads the packages of `dnf -q check-update`: three columns,
// name.arch, version and repository. A list of what is made obsolete follows
// under a title of its own.
func parseDnfUpdates(out []byte) ([]string, error) {
	var names []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0, strings.HasPrefix(line, "Security:"):
			continue // "Security: kernel-core-... is an installed security update"
		case fields[0] == "Obsoleting":
			return names, nil
		case len(fields) == 2 && fields[0] == "Available" && fields[1] == "upgrades":
			continue
		case len(fields) < 3 || !strings.Contains(fields[0], "."):
			return nil, fmt.Errorf("%w: line of dnf check-update", errUnparsable)
		}
		names = append(names, fields[0])
	}
	return names, nil
}

// parseDnfAdvisories reads `dnf -q updateinfo list --security` and returns the
// names of the packages, each once. dnf 4 has three columns:
//
//	MUSTER-2026-1 Important/Sec. muster-weak-1.1-1.noarch
//
// and dnf 5 (dnf5-advisory(8)) a title and six, the last two a time:
//
//	Name          Type     Severity  Package                  Issued
//	MUSTER-2026-1 security Important muster-weak-1.1-1.noarch 2026-11-01 00:00:00
func parseDnfAdvisories(out []byte) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		var nevra string
		switch {
		case len(fields) == 0, len(fields) == 5 && fields[0] == "Name" && fields[4] == "Issued":
			continue
		case len(fields) == 3:
			nevra = fields[2]
		case len(fields) == 6:
			nevra = fields[3]
		}
		name, ok := rpmName(nevra)
		if !ok {
			return nil, fmt.Errorf("%w: line of dnf updateinfo", errUnparsable)
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}

// rpmName takes the name from name-[epoch:]version-release.arch.
func rpmName(nevra string) (string, bool) {
	dot := strings.LastIndexByte(nevra, '.')
	if dot < 0 {
		return "", false
	}
	name := nevra[:dot]
	for range 2 {
		dash := strings.LastIndexByte(name, '-')
		if dash <= 0 {
			return "", false
		}
		name = name[:dash]
	}
	return label(name), true
}

// dnfRepositories lists, for each repository that is in use, its repomd.xml in
// the cache of dnf 4 or 5. One that was never fetched is listed by a name that
// does not exist, so that its age is zero.
func dnfRepositories(t Tree) ([]string, error) {
	repos := map[string]map[string]string{}
	for _, dir := range []string{"/etc/yum.repos.d", "/etc/dnf/repos.override.d"} {
		if err := readRepositories(t, dir, repos); err != nil {
			return nil, err
		}
	}
	cached := map[string]string{}
	for _, cache := range []string{"/var/cache/dnf", "/var/cache/libdnf5"} {
		entries, err := t.ReadDir(cache)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			dash := strings.LastIndexByte(e.Name(), '-')
			repomd := cache + "/" + e.Name() + "/repodata/repomd.xml"
			if dash < 0 {
				continue
			}
			id := e.Name()[:dash]
			if old, ok := cached[id]; !ok || modified(t, repomd).After(modified(t, old)) {
				cached[id] = repomd
			}
		}
	}
	var files []string
	for id, values := range repos {
		if enabled, ok := values["enabled"]; ok && !iniTrue(enabled) {
			continue
		}
		file, ok := cached[id]
		if !ok && iniTrue(values["skip_if_unavailable"]) {
			continue
		}
		if !ok {
			file = "/var/cache/dnf/none" // does not exist
		}
		files = append(files, file)
	}
	return files, nil
}

// readRepositories adds the sections of each .repo file of a directory.
func readRepositories(t Tree, dir string, into map[string]map[string]string) error {
	entries, err := t.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".repo") {
			continue
		}
		b, err := t.ReadFile(dir + "/" + e.Name())
		if err != nil {
			return err
		}
		sections, err := parseINI(b)
		if err != nil {
			return err
		}
		for id, values := range sections {
			if into[id] == nil {
				into[id] = map[string]string{}
			}
			for name, value := range values {
				into[id][name] = value
			}
		}
	}
	return nil
}

// rpmUpdated tells when rpm's database was last written.
func rpmUpdated(t Tree) time.Time {
	var latest time.Time
	for _, dir := range []string{"/usr/lib/sysimage/rpm", "/var/lib/rpm"} {
		for _, name := range []string{"rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages", "Packages.db"} {
			if at := modified(t, dir+"/"+name); at.After(latest) {
				latest = at
			}
		}
	}
	return latest
}

package collectors

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"muster/attest/posture"
)

// staleAfter is the age from which package lists no longer say that nothing is
// pending: Debian's own limit for those of its security archive.
const staleAfter = 7 * 24 * time.Hour

// clockSlack is how far in the future package lists may be before the clock is
// taken to be wrong, and with it every age.
const clockSlack = 24 * time.Hour

// maxNamed is how many pending packages are told by name.
const maxNamed = 50

// patchFacts are what a package manager knows, before anything is judged.
type patchFacts struct {
	manager string
	// security and other count pending updates; nil where they could not be
	// counted. Where the distribution does not tell them apart, all are other
	// and mixed is set.
	security, other *int
	mixed           bool
	packages        []string // with pending security updates
	metadataAt      time.Time
	expired         bool // the lists' publisher says that they are too old
	updatedAt       time.Time
	staged          bool  // installed as a whole, waits for the next start
	err             error // why pending updates could not be counted
}

// collectPatches asks the package manager of this distribution, from the lists
// that it already has: nothing is fetched, locked or changed.
func collectPatches(ctx context.Context, m *Machine, c *posture.Claims) {
	look := packageManager(m.Tree)
	if look == nil {
		c.Patches = posture.Unseen[posture.Patches](m.Now(), posture.Unsupported)
		return
	}
	facts := look(ctx, m)
	reboot, kernel := rebootPending(m.Tree)
	if facts.staged {
		reboot = posture.Yes
	}
	state, reason := facts.judge(m.Now(), reboot)
	c.Patches = posture.Observed(m.Now(), state, reason, posture.Patches{
		Manager:         facts.manager,
		SecurityPending: facts.security,
		OtherPending:    facts.other,
		Packages:        facts.packages[:min(len(facts.packages), maxNamed)],
		MetadataAt:      wholeSeconds(facts.metadataAt),
		UpdatedAt:       wholeSeconds(facts.updatedAt),
		RebootPending:   reboot,
		KernelPending:   kernel,
	})
}

// judge turns the facts into the claim: what is surely bad first, then what is
// not known, then yes.
func (f patchFacts) judge(now time.Time, reboot posture.State) (posture.State, posture.Reason) {
	switch {
	case f.security != nil && *f.security > 0:
		return posture.No, posture.UpdatesPending
	case f.mixed && f.other != nil && *f.other > 0:
		return posture.No, posture.UpdatesPending
	case reboot == posture.Yes:
		return posture.No, posture.RebootPending
	case f.err != nil:
		return posture.Unknown, whyNoAnswer(f.err)
	case f.expired, f.metadataAt.IsZero(), now.Sub(f.metadataAt) > staleAfter, f.metadataAt.Sub(now) > clockSlack:
		return posture.Unknown, posture.StaleMetadata
	case f.security == nil && (f.other == nil || *f.other > 0):
		return posture.Unknown, posture.Unsupported
	case reboot != posture.No:
		return posture.Unknown, posture.Unreadable
	}
	return posture.Yes, ""
}

// packageManager picks who answers: by what the system says it is, so that a
// foreign tool that somebody installed beside it is not asked. Nil: none that
// we know.
func packageManager(t Tree) func(context.Context, *Machine) patchFacts {
	if ok, err := t.Has("/run/ostree-booted"); ok && err == nil {
		return lookOstree
	}
	b, err := t.ReadFile("/etc/os-release")
	if errors.Is(err, fs.ErrNotExist) {
		b, err = t.ReadFile("/usr/lib/os-release")
	}
	if err != nil {
		return nil
	}
	values, err := parseOSRelease(b)
	if err != nil {
		return nil
	}
	for _, id := range append([]string{values["ID"]}, strings.Fields(values["ID_LIKE"])...) {
		switch id {
		case "debian", "ubuntu":
			return lookApt
		case "fedora", "rhel", "centos":
			return lookDnf
		case "suse", "opensuse", "sles", "opensuse-leap", "opensuse-tumbleweed":
			return lookZypper
		case "arch":
			return lookPacman
		}
	}
	return nil
}

// rebootPending says whether something installed is not yet running: the
// distribution's own flag, or a newer kernel of the running flavour.
func rebootPending(t Tree) (posture.State, string) {
	state := posture.No
	for _, flag := range []string{"/run/reboot-required", "/run/reboot-needed", "/var/run/reboot-required", "/var/run/reboot-needed"} {
		ok, err := t.Has(flag)
		if err != nil {
			state = posture.Unknown
		}
		if ok {
			state = posture.Yes
			break
		}
	}
	running, err := t.ReadWord("/proc/sys/kernel/osrelease")
	if err != nil {
		return unlessYes(state), ""
	}
	newest, err := newestKernel(t, running)
	if err != nil {
		return unlessYes(state), ""
	}
	if newest != "" && compareKernels(newest, running) > 0 {
		return posture.Yes, newest
	}
	return state, ""
}

func unlessYes(s posture.State) posture.State {
	if s == posture.Yes {
		return posture.Yes
	}
	return posture.Unknown
}

// youngest returns the latest modification of the named files and of those
// directly below dirs; zero when there is none.
func youngest(t Tree, dirs ...string) time.Time {
	var latest time.Time
	for _, dir := range dirs {
		entries, err := t.ReadDir(dir)
		if err != nil {
			continue // a detail for people: absent, it is simply not told
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && info.ModTime().After(latest) {
				latest = info.ModTime()
			}
		}
	}
	return latest
}

// modified returns when a file was last written, or zero.
func modified(t Tree, name string) time.Time {
	info, err := t.Stat(name)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func wholeSeconds(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.UTC().Truncate(time.Second)
}

// oldestRepository returns the age that a set of repositories has together:
// that of the oldest, and zero when one of them was never fetched.
func oldestRepository(t Tree, files []string) time.Time {
	var oldest time.Time
	for i, file := range files {
		at := modified(t, file)
		if i == 0 || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest
}

// hasUpdateInfo reports whether a repository's lists say which updates are for
// security.
func hasUpdateInfo(t Tree, repomd string) bool {
	entries, err := t.ReadDir(path.Dir(repomd))
	if err != nil {
		return false
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "updateinfo") {
			return true
		}
	}
	return false
}

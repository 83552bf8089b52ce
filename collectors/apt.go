package collectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// aptLists is where apt keeps what `apt-get update` fetched.
const aptLists = "/var/lib/apt/lists"

// idleArchive is how long a security archive may publish nothing while apt's
// note of its last success still counts for it. Beyond, that note is taken to
// be about the other archives.
const idleArchive = 30 * 24 * time.Hour

// lookApt simulates an upgrade with apt-get, from the lists that are there.
//
// A hold, a phased roll-out or a newer version elsewhere do not hide a security
// update: the security archive is preferred for the simulation, so that a
// package is from it exactly when its newest version there is not installed.
func lookApt(ctx context.Context, m *Machine) patchFacts {
	f := patchFacts{manager: "apt", updatedAt: youngest(m.Tree, "/var/lib/dpkg/info")}
	security, some, err := aptSecurity(m.Tree)
	if err != nil {
		f.err = err
		return f
	}
	f.metadataAt, f.expired = aptFetched(m.Tree, security, m.Now())
	args := []string{
		"-s", "-o", "Debug::NoLocking=1", "-o", "APT::Get::Show-User-Simulation-Note=0", "-o", "APT::Color=0",
		"-o", "APT::Get::Always-Include-Phased-Updates=1", "--ignore-hold",
	}
	if len(security) > 0 {
		args = append(args, "-t", security[0].suite)
	}
	out, err := m.run(ctx, "apt-get", append(args, "dist-upgrade")...)
	if err != nil {
		f.err = err
		return f
	}
	found, err := parseAptSimulation(out)
	if err != nil {
		f.err = err
		return f
	}
	f.other = &found.other
	if len(security) == 0 {
		if some {
			// Updates may exist that no archive of this system would tell us of.
			f.err = fmt.Errorf("no security archive in %s: %w", aptLists, errors.ErrUnsupported)
		}
		return f
	}
	count := len(found.security)
	f.security, f.packages = &count, found.security
	if count == 0 && found.keptBack > 0 {
		f.err = fmt.Errorf("%d packages cannot be upgraded: %w", found.keptBack, errors.ErrUnsupported)
	}
	return f
}

// aptUpgrade is what a simulation would install.
type aptUpgrade struct {
	security []string
	other    int
	keptBack int
}

// parseAptSimulation reads the output of `apt-get -s dist-upgrade` in the C
// locale. The sum that apt prints at the end must fit, so that output which was
// cut never looks like fewer updates.
func parseAptSimulation(out []byte) (aptUpgrade, error) {
	var u aptUpgrade
	installs, summed := 0, false
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\r\n")
		if rest, ok := strings.CutPrefix(line, "Inst "); ok {
			name, security, err := parseAptInst(rest)
			if err != nil {
				return aptUpgrade{}, err
			}
			installs++
			if security {
				u.security = append(u.security, name)
			} else {
				u.other++
			}
			continue
		}
		if sum, ok := parseAptSum(line); ok {
			if summed {
				return aptUpgrade{}, fmt.Errorf("%w: apt-get summed up twice", errUnparsable)
			}
			summed, u.keptBack = true, sum.kept
			installs -= sum.installs
		}
	}
	if !summed || installs != 0 {
		return aptUpgrade{}, fmt.Errorf("%w: apt-get's sum does not fit its list", errUnparsable)
	}
	return u, nil
}

type aptSum struct{ installs, kept int }

// parseAptSum reads "3 upgraded, 1 newly installed, 0 to remove and 2 not
// upgraded.", which may have ", 1 downgraded" and ", 1 reinstalled" in it.
func parseAptSum(line string) (aptSum, bool) {
	if !strings.HasSuffix(line, " not upgraded.") || !strings.Contains(line, " upgraded, ") {
		return aptSum{}, false
	}
	var sum aptSum
	line = strings.Replace(strings.TrimSuffix(line, "."), " and ", ", ", 1)
	for part := range strings.SplitSeq(line, ", ") {
		number, what, _ := strings.Cut(part, " ")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 {
			return aptSum{}, false
		}
		switch what {
		case "upgraded", "newly installed", "downgraded", "reinstalled":
			sum.installs += n
		case "not upgraded":
			sum.kept = n
		}
	}
	return sum, true
}

// parseAptInst reads what follows "Inst ":
//
//	unzip [6.0-28] (6.0-28+deb12u1 Debian-Security:12/oldstable-security [amd64])
//
// The part in square brackets is missing for a package that is new here, and
// several archives are joined by a comma.
func parseAptInst(rest string) (name string, security bool, err error) {
	name, rest, _ = strings.Cut(rest, " ")
	_, inside, ok := strings.Cut(rest, "(")
	inside, _, closed := strings.Cut(inside, ")")
	_, archives, versioned := strings.Cut(inside, " ")
	if name == "" || !ok || !closed || !versioned {
		return "", false, fmt.Errorf("%w: line of apt-get -s", errUnparsable)
	}
	if at := strings.LastIndex(archives, " ["); at >= 0 {
		archives = archives[:at]
	}
	for archive := range strings.SplitSeq(archives, ", ") {
		origin, suite, _ := strings.Cut(archive, "/")
		if isSecurityArchive(strings.TrimSpace(origin), suite) {
			security = true
		}
	}
	return label(name), security, nil
}

// isSecurityArchive knows an archive of security updates by its label, which
// apt prints with a version, and its suite.
func isSecurityArchive(origin, suite string) bool {
	labelled, _, _ := strings.Cut(origin, ":")
	return labelled == "Debian-Security" || strings.HasSuffix(suite, "-security")
}

// aptRelease is the head of a Release file (Debian's repository format,
// "Release" files).
type aptRelease struct {
	origin, label, suite string
	date, validUntil     time.Time
	at                   time.Time // when the file was written, by its publisher or by us
}

// aptSecurity finds the security archives of this system among its lists; some
// says whether there are lists of any archive.
func aptSecurity(t Tree) (security []aptRelease, some bool, err error) {
	entries, err := t.ReadDir(aptLists)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_InRelease") && !strings.HasSuffix(e.Name(), "_Release") {
			continue
		}
		b, err := t.ReadFile(aptLists + "/" + e.Name())
		if err != nil {
			return nil, false, err
		}
		r := parseAptRelease(b)
		r.at = modified(t, aptLists+"/"+e.Name())
		some = true
		// Ubuntu's extended maintenance publishes rarely and comes on top.
		if isSecurityArchive(r.label, r.suite) && !strings.HasPrefix(r.origin, "UbuntuESM") && r.suite != "" {
			security = append(security, r)
		}
	}
	return security, some, nil
}

// parseAptRelease reads the fields at the top of a Release or InRelease file.
// Dates that it cannot read stay zero, which is very old.
func parseAptRelease(b []byte) aptRelease {
	var r aptRelease
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		if strings.HasPrefix(line, " ") || !ok {
			continue
		}
		switch name {
		case "Origin":
			r.origin = value
		case "Label":
			r.label = value
		case "Suite":
			r.suite = value
		case "Date":
			r.date = aptDate(value)
		case "Valid-Until":
			r.validUntil = aptDate(value)
		}
	}
	return r
}

func aptDate(value string) time.Time {
	for _, layout := range []string{"Mon, 2 Jan 2006 15:04:05 MST", time.RFC1123Z} {
		if at, err := time.Parse(layout, value); err == nil {
			return at.UTC()
		}
	}
	return time.Time{}
}

// aptFetched says as of when the lists of all security archives are known.
//
// apt gives a list the time of its publisher, and what an update run touches
// besides it touches even when one archive could not be reached. So an archive
// is known as of its own date or its file's time, whichever is later. Ubuntu's
// note of a successful run counts as well, unless the archive has been silent
// for long. Past its own expiry a list says nothing.
func aptFetched(t Tree, security []aptRelease, now time.Time) (at time.Time, expired bool) {
	note := modified(t, "/var/lib/apt/periodic/update-success-stamp")
	var oldest time.Time
	for i, r := range security {
		if !r.validUntil.IsZero() && now.After(r.validUntil) {
			expired = true
		}
		at := r.date
		if r.at.After(at) {
			at = r.at
		}
		if note.After(at) && now.Sub(r.date) <= idleArchive {
			at = note
		}
		if i == 0 || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest, expired
}

package collectors

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"muster/attest/posture"
	"muster/platform"
)

// updateMechanism is one program that installs updates by itself.
type updateMechanism struct {
	name string
	// configured says whether its files tell it to install; no when it is not
	// there.
	configured func(Tree) (bool, error)
	// timers must all be active for anything to happen. Each is a list of units
	// of which one is enough.
	timers [][]string
	// cron is a script that does the same where systemd does not run.
	cron string
}

// updateMechanisms is every program that we know, in the order in which they
// are looked at.
func updateMechanisms() []updateMechanism {
	return []updateMechanism{
		{
			name: "unattended-upgrades", configured: aptUnattended, cron: "/etc/cron.daily/apt-compat",
			timers: [][]string{{"apt-daily.timer"}, {"apt-daily-upgrade.timer"}},
		},
		{
			name: "dnf-automatic", configured: dnfAutomatic,
			timers: [][]string{{"dnf-automatic.timer", "dnf5-automatic.timer", "dnf-automatic-install.timer"}},
		},
		{name: "dnf-automatic-install", configured: dnfAutomaticInstalled, timers: [][]string{{"dnf-automatic-install.timer"}}},
		{name: "rpm-ostree", configured: ostreeAutomatic, timers: [][]string{{"rpm-ostreed-automatic.timer"}}},
		{name: "packagekit", configured: packagekitBackground, timers: [][]string{{"packagekit-background.timer"}}},
		{name: "transactional-update", configured: transactionalUpdate, timers: [][]string{{"transactional-update.timer"}}},
	}
}

// collectAutomaticUpdates says whether updates install themselves. One
// mechanism that is configured and whose timers run is enough; configuration
// without a timer does nothing.
func collectAutomaticUpdates(ctx context.Context, m *Machine, c *posture.Claims) {
	best := posture.Observed(m.Now(), posture.No, posture.NotConfigured, posture.AutomaticUpdates{Configured: posture.No})
	var unread error
	for _, mechanism := range updateMechanisms() {
		configured, err := mechanism.configured(m.Tree)
		if err != nil {
			unread = err
			continue
		}
		if !configured {
			continue
		}
		found := posture.AutomaticUpdates{Mechanism: mechanism.name, Configured: posture.Yes}
		active, err := mechanism.active(ctx, m)
		switch {
		case err != nil:
			best = posture.Observed(m.Now(), posture.Unknown, whyNoAnswer(err), found)
		case active:
			found.Active = posture.Yes
			c.AutomaticUpdates = posture.Observed(m.Now(), posture.Yes, "", found)
			return
		case best.State != posture.Unknown:
			found.Active = posture.No
			best = posture.Observed(m.Now(), posture.No, posture.TimerInactive, found)
		}
	}
	if best.Reason == posture.NotConfigured && packageManager(m.Tree) == nil {
		// A system that we do not know may have means that we do not know.
		best.State, best.Reason, best.Detail.Configured = posture.Unknown, posture.Unsupported, posture.Unknown
	}
	if unread != nil && best.State == posture.No {
		best.State, best.Reason, best.Detail.Configured = posture.Unknown, whyUnknown(unread), posture.Unknown
	}
	c.AutomaticUpdates = best
}

// active reports whether everything that the mechanism waits for is running.
func (u updateMechanism) active(ctx context.Context, m *Machine) (bool, error) {
	if m.Run == nil {
		return false, errNotThisRoot
	}
	// What systemd itself takes for "I am in charge here" (sd_booted(3)).
	booted, err := m.Tree.Has("/run/systemd/system")
	if err != nil {
		return false, err
	}
	if !booted {
		return false, u.withoutSystemd(m.Tree)
	}
	for _, either := range u.timers {
		one := false
		for _, unit := range either {
			active, err := unitActive(ctx, m, unit)
			if err != nil {
				return false, err
			}
			one = one || active
		}
		if !one {
			return false, nil
		}
	}
	return true, nil
}

// withoutSystemd is an error where cron might do the work, since whether cron
// runs is not looked at.
func (u updateMechanism) withoutSystemd(t Tree) error {
	if ok, err := t.Has(u.cron); u.cron == "" || err == nil && !ok {
		return nil
	}
	for _, daemon := range []string{"/usr/sbin/cron", "/usr/sbin/crond", "/usr/sbin/anacron"} {
		if ok, err := t.Has(daemon); ok || err != nil {
			return errors.ErrUnsupported
		}
	}
	return nil
}

// unitActive asks systemd for one unit. Its answer is a word; the exit status
// says the same (systemctl(1), is-active).
func unitActive(ctx context.Context, m *Machine, unit string) (bool, error) {
	out, err := m.run(ctx, "systemctl", "is-active", unit)
	word := strings.TrimSpace(string(out))
	var exit *platform.ExitError
	switch {
	case err == nil && word == "active":
		return true, nil
	case errors.As(err, &exit) && (word == "inactive" || word == "failed" || word == "unknown" || word == "deactivating" || word == "activating"):
		return false, nil
	case err == nil:
		return false, errUnparsable
	}
	return false, err
}

// dnfAutomatic reads the settings of dnf 4 and 5: the file in /etc stands over
// the one that dnf 5 brings (dnf-automatic(8), dnf5-automatic(8)).
func dnfAutomatic(t Tree) (bool, error) {
	apply := false
	for _, name := range []string{"/usr/share/dnf5/dnf5-plugins/automatic.conf", "/etc/dnf/automatic.conf", "/etc/dnf/dnf5-plugins/automatic.conf"} {
		sections, err := readINI(t, name)
		if err != nil {
			return false, err
		}
		if value, ok := sections["commands"]["apply_updates"]; ok {
			apply = iniTrue(value)
		}
	}
	return apply, nil
}

// dnfAutomaticInstalled: the unit dnf-automatic-install applies updates
// whatever the settings say.
func dnfAutomaticInstalled(t Tree) (bool, error) {
	return t.Has("/usr/lib/systemd/system/dnf-automatic-install.timer")
}

// ostreeAutomatic reads rpm-ostreed.conf(5).
func ostreeAutomatic(t Tree) (bool, error) {
	sections, err := readINI(t, "/etc/rpm-ostreed.conf")
	switch sections["Daemon"]["automaticupdatepolicy"] {
	case "stage", "apply", "ex-stage":
		return err == nil, err
	}
	return false, err
}

// packagekitBackground reads the settings of packagekit-background.
func packagekitBackground(t Tree) (bool, error) {
	b, err := t.ReadFile("/etc/sysconfig/packagekit-background")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return shellValue(b, "ENABLED") == "yes" && shellValue(b, "CHECK_ONLY") == "no", err
}

// transactionalUpdate: openSUSE's read-only systems install by a timer alone.
func transactionalUpdate(t Tree) (bool, error) {
	return t.Has("/usr/lib/systemd/system/transactional-update.timer")
}

// readINI reads a file that may be missing.
func readINI(t Tree, name string) (map[string]map[string]string, error) {
	b, err := t.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseINI(b)
}

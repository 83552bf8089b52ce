package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/attest"
)

// Each change of the anchor that an agent can see (a TPM that is gone or switched
// off apart, see TestTPMGone): what becomes of the device, and what status says
// until somebody approved.
func TestChangesOfAnchor(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*testing.T, *rig)
		enrols bool
		told   string // by status; empty: nothing is to be told
	}{
		"S lost": {enrols: true, told: "local secret", change: func(t *testing.T, r *rig) {
			if err := os.Remove(filepath.Join(r.settings.StateDir, secretFile)); err != nil {
				t.Fatal(err)
			}
			r.chip.rekey() // as another S would
		}},
		"another TPM: mainboard, firmware's reset, moved disk": {enrols: true, told: "not the enrolled one", change: func(_ *testing.T, r *rig) {
			r.chip.rekey()
		}},
		"cleared": {change: func(_ *testing.T, r *rig) {
			r.chip.clock = attest.Clock{Safe: true} // endorsement keys stay
		}},
		"rolled back": {enrols: true, told: "refused", change: func(_ *testing.T, r *rig) {
			r.chip.clock.ResetCount -= 2
		}},
		"started anew, with another Secure Boot policy": {change: func(_ *testing.T, r *rig) {
			r.chip.reboot()
			r.chip.extend()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			withChip(t, func(t *testing.T, r *rig) {
				r.withToken(t) // which admits nobody who was known
				stop := r.start()
				defer func() { stop() }()
				pass(time.Minute)
				stop()
				for range 3 {
					r.anotherBoot()
				}
				stop = r.start()
				pass(time.Minute)
				stop()
				c.change(t, r)
				r.boot = "boot-of-after"
				r.server.set(func() { r.server.enrolAs = attest.Pending })
				stop = r.start()
				pass(30 * time.Minute)
				stop()
				inStep(t, r)
				s := status(t, r, false)
				if !c.enrols {
					oneDKb(t, r)
					if enrolments(r) != 1 || s.Changed != nil || !s.Fit {
						t.Errorf("%d enrolments, changed %+v, fit %v", enrolments(r), s.Changed, s.Fit)
					}
					return
				}
				list := begins(r.server)
				sentAs(t, r.server, list[len(list)-1], "device-1")
				text := s.String()
				if enrolments(r) != 2 || s.Fit || s.Code == "" || s.Changed == nil || s.Changed.Fix == "" ||
					!strings.Contains(s.Changed.Text, c.told) || !strings.Contains(text, "device-1") || !strings.Contains(text, "This device waits.") {
					t.Errorf("%d enrolments, status tells\n%s", enrolments(r), text)
				}
				if n := len(r.server.reports()); n < 5 {
					t.Errorf("%d statements while it waits", n)
				}
				r.server.set(func() { r.server.device.state = attest.Active })
				stop = r.start()
				pass(6 * time.Minute)
				stop()
				if s := status(t, r, false); s.Changed != nil || !s.Fit {
					t.Errorf("after the approval: %+v", s)
				}
			})
		})
	}
}

// copied makes a second laptop of the same disk. With the same chip it is a cloned
// virtual machine.
func (r *rig) copied(t *testing.T) *rig {
	t.Helper()
	settings := *r.settings
	settings.StateDir = filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(settings.StateDir, os.DirFS(r.settings.StateDir)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(settings.StateDir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return errors.Join(err, os.Chmod(path, 0o700))
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	twin := newRig(t, r.chip)
	twin.server, twin.settings, twin.boot = r.server, &settings, r.boot
	return twin
}

// Two copies of one device keep answering resync with full reports, which is what
// the server counts; neither enrols anew by itself, and neither falls silent.
func TestClone(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		stop := r.start()
		pass(time.Minute)
		stop()
		twin := r.copied(t)
		resyncs := 0
		for range 4 {
			for _, one := range []*rig{r, twin} {
				before := len(r.server.reports())
				stop := one.start()
				pass(6 * time.Minute)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				got := r.server.reports()
				if len(got) == before {
					t.Error("a copy fell silent")
				}
				for _, ev := range got[before:] {
					if ev.Report != nil {
						resyncs++
					}
				}
			}
		}
		if enrolments(r) != 1 || resyncs < 4 {
			t.Errorf("%d enrolments, %d answers to resync", enrolments(r), resyncs)
		}
	})
}

// A disk in another machine beside the first: the copy enrols as another device,
// and says which it was.
func TestDiskMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newChip())
		stop := r.start()
		pass(time.Minute)
		stop()
		twin := r.copied(t)
		twin.chip = newChip()
		r.server.set(func() { r.server.enrolAs = attest.Pending })
		stop = twin.start()
		pass(10 * time.Minute)
		stop()
		list := begins(r.server)
		sentAs(t, r.server, list[len(list)-1], "device-1")
		if s := twin.state(); s.Enrolled.Device != "device-2" || s.Changed == nil {
			t.Errorf("the copy is %s, told %+v", s.Enrolled.Device, s.Changed)
		}
		inStep(t, twin)
		stop = r.start() // the first is who it was
		pass(6 * time.Minute)
		stop()
		if s := r.state(); s.Enrolled.Device != "device-1" || s.Changed != nil {
			t.Errorf("the first is %s", s.Enrolled.Device)
		}
		inStep(t, r)
	})
}

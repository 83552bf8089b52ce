package decide

import (
	"testing"
	"time"
)

// What a policy does not say is the default, of each sensitivity by itself; what
// is no sensitivity gets the shortest.
func TestSessionLimits(t *testing.T) {
	p := load(t, oneApp+"require: []\nlimits:\n  sessions:\n    low: {idle: 1d, absolute: 7d}\n    high: {idle: 10m}\n")
	for _, test := range []struct {
		sensitivity    string
		idle, absolute time.Duration
	}{
		{"low", 24 * time.Hour, 7 * 24 * time.Hour},
		{"medium", 8 * time.Hour, 24 * time.Hour},
		{"high", 10 * time.Minute, 12 * time.Hour},
		{"privileged", 15 * time.Minute, 4 * time.Hour},
		{"", 15 * time.Minute, 4 * time.Hour},
		{"LOW", 15 * time.Minute, 4 * time.Hour},
	} {
		if idle, absolute := p.SessionLimits(test.sensitivity); idle != test.idle || absolute != test.absolute {
			t.Errorf("%q: %v and %v, want %v and %v", test.sensitivity, idle, absolute, test.idle, test.absolute)
		}
	}
	for _, sensitivity := range append(sensitivityNames[:], "") {
		if idle, absolute := new(Policy).SessionLimits(sensitivity); idle != 0 || absolute != 0 {
			t.Errorf("no policy allows a session of %q: %v and %v", sensitivity, idle, absolute)
		}
	}
}

// The file in the program and what holds without a file are the same limits.
func TestSessionLimitsOfDefault(t *testing.T) {
	p, _, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if p.sessions != defaultSessionLimits() {
		t.Errorf("default.yaml: %v, without limits: %v", p.sessions, defaultSessionLimits())
	}
}

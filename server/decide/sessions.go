package decide

import (
	"slices"
	"time"
)

// sessionLimits bound a signed-in person's session.
type sessionLimits struct {
	idle     time.Duration // without a request
	absolute time.Duration // since sign-in
}

// defaultSessionLimits hold where limits.sessions says nothing, by sensitivity.
func defaultSessionLimits() [len(sensitivityNames)]sessionLimits {
	return [len(sensitivityNames)]sessionLimits{
		low:        {12 * time.Hour, 72 * time.Hour},
		medium:     {8 * time.Hour, 24 * time.Hour},
		high:       {time.Hour, 12 * time.Hour},
		privileged: {15 * time.Minute, 4 * time.Hour},
	}
}

// SessionLimits is how long a session may stand idle, and how old it may become,
// for applications of a sensitivity: low, medium, high or privileged. What is no
// sensitivity gets the limits of privileged; the zero policy allows none at all.
func (p *Policy) SessionLimits(sensitivity string) (idle, absolute time.Duration) {
	i := slices.Index(sensitivityNames[:], sensitivity)
	if i < 0 {
		i = int(privileged)
	}
	return p.sessions[i].idle, p.sessions[i].absolute
}

// sessionLimits reads limits.sessions.
func (l *loading) sessionLimits(m member) {
	levels := l.mapping(m.value, "sessions", sensitivityNames[:]...)
	for i, name := range sensitivityNames {
		level, ok := levels[name]
		if !ok {
			continue
		}
		limits := &l.policy.sessions[i]
		members := l.mapping(level.value, name, "idle", "absolute")
		if idle, ok := members["idle"]; ok {
			limits.idle = l.duration(idle, "idle")
		}
		if absolute, ok := members["absolute"]; ok {
			limits.absolute = l.duration(absolute, "absolute")
		}
		// One that was not readable is zero and was complained of already.
		if limits.absolute > 0 && limits.idle > limits.absolute {
			l.add(level.at, "sessions of sensitivity %s may stand idle for %v, longer than the %v that they live: make idle the shorter",
				name, limits.idle, limits.absolute)
		}
	}
}

package agent

import (
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"muster/platform/seat"
)

// guests are the accounts whose programs may ask this agent to link: the one that
// the setting link_user names, else those with the active local session.
func (a *Agent) guests() ([]string, error) {
	if a.Settings.LinkUser != "" {
		account, err := seat.Account(a.Settings.LinkUser)
		return []string{account}, err
	}
	sessions, err := a.Active()
	var accounts []string
	for _, s := range sessions {
		accounts = append(accounts, s.User)
	}
	return accounts, err
}

// admit decides on who made a local connection, by what the system told of them.
func (a *Agent) admit(p seat.Peer, err error, always ...string) error {
	const other = "Use the code: run \"muster-agent link\" as the person who is signed in here."
	if err != nil || p.User == "" {
		a.Log.Info("peer not known", "error", err)
		return decline(codeUnknown, "This system does not tell whose program asked.", other)
	}
	if p.Forwarder != "" {
		a.Log.Warn("forwarded connection refused", "user", p.User, "program", p.Forwarder)
		return decline(codeForwarded, "The request may come from another machine, through "+p.Forwarder+".",
			"Open the page in a browser on this laptop, without a remote login; or use the code.")
	}
	if slices.Contains(always, p.User) {
		return nil
	}
	guests, err := a.guests()
	if err != nil {
		a.Log.Info("active person not known", "error", err)
		return decline(codeUnknown, "This system does not tell who is signed in at this laptop.",
			"Ask the administrator to set link_user; \"muster-agent config\" tells where.")
	}
	if !slices.Contains(guests, p.User) {
		a.Log.Warn("another account refused", "user", p.User)
		return decline(codeUser, "Only the person who is signed in at this laptop's own screen may do this.", "Sign in there first.")
	}
	return nil
}

// owners are the accounts that may always use the door: root, and the one that
// the agent runs as, which can read the state anyway.
func owners() []string { return []string{"0", strconv.Itoa(os.Geteuid())} }

// quota bounds how often something happens. The zero value lets nothing through.
type quota struct {
	most int
	per  time.Duration

	mu   sync.Mutex
	when map[string][]time.Duration // guarded by mu; by who, oldest first
}

// maxQuota bounds how many accounts are counted.
const maxQuota = 64

// take reports whether there is room for one more at a time.
func (q *quota) take(who string, now time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.when == nil {
		q.when = make(map[string][]time.Duration)
	}
	for name, times := range q.when {
		if times = slices.DeleteFunc(times, func(at time.Duration) bool { return now-at >= q.per }); len(times) == 0 {
			delete(q.when, name)
		} else {
			q.when[name] = times
		}
	}
	times, known := q.when[who]
	if len(times) >= q.most || !known && len(q.when) >= maxQuota {
		return false
	}
	q.when[who] = append(times, now)
	return true
}

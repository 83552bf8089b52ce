package bootlog

// Account replays the log's bank and reads what the values confirm. certs may be
// nil; with it, certificates that were read before are not parsed again.
func (l *Log) Account(bank Bank, values *Values, certs *Certificates) *Account {
	a := &Account{Bank: bank}
	w := newWorking(l, bank, certs, a)
	if values != nil && bank.size() != 0 {
		w.replay(values)
		for pcr, value := range values {
			a.Untouched[pcr] = untouched(pcr, value)
		}
	}
	p := readPolicy(w, a)
	a.MOK = readOwner(w, p.candidates)
	a.Applications = readApplications(w)
	a.CommandLines = readCommandLines(w)
	a.Windows = readWindows(w, a)
	return a
}

func known[T any](pcr uint8, event int, v T) Fact[T] {
	return Fact[T]{Known: true, PCR: pcr, Event: event, Value: v}
}

func unknown[T any](r Reason) Fact[T] { return Fact[T]{Reason: r} }

package mutanttest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"

	"muster/attest/bootlog"
)

// Log is a boot log as a subject, with the PCR values that its mutants are held
// against too: those are the quote's, which nobody can change.
//
// A mutant is better than the whole when
//   - a PCR matches, or is empty, that was not so before,
//   - a fact is known that was not, or has another value than it had,
//   - a fact is not known because nothing says it, though something did.
//
// What is not bound to any digest (paths, numbers of events) may change. Programs
// may be added to those that were started, since what is no longer seen to be an
// action counts as one, but none may go. Whoever judges accounts can say more by
// also, which is called with the whole's, then with those of mutants that say
// something else, and some that do not.
func Log(name string, log []byte, bank bootlog.Bank, values *bootlog.Values, also ...func(*bootlog.Account) error) Subject {
	certs := new(bootlog.Certificates)
	var whole *told
	if parsed, err := bootlog.Parse(log); err == nil {
		whole = tell(parsed.Account(bank, values, certs))
	}
	read := 0
	return Subject{
		Name: name, Bytes: log,
		Judge: func(mutant []byte) error {
			parsed, err := bootlog.Parse(mutant)
			if err != nil {
				if !errors.Is(err, bootlog.ErrForm) {
					return fmt.Errorf("error is %w", err)
				}
				return nil
			}
			account := parsed.Account(bank, values, certs)
			now := tell(account)
			read++
			if read%aloneEvery == 0 && !reflect.DeepEqual(now, tell(parsed.Account(bank, values, nil))) {
				return errors.New("with certificates that were kept the account is another")
			}
			same := reflect.DeepEqual(now, whole)
			for _, judge := range also {
				if same && read%aloneEvery != 1 {
					break
				}
				if err := judge(account); err != nil {
					return err
				}
			}
			return whole.better(now)
		},
		Read: func(mutant []byte) {
			if parsed, err := bootlog.Parse(mutant); err == nil {
				parsed.Account(bank, values, nil)
			}
		},
	}
}

// aloneEvery is how many readable mutants there are for one that is read a second
// time, without what is kept of the others.
const aloneEvery = 32

// told is an account in a form that can be compared.
type told struct {
	pcrs     [bootlog.PCRCount]bootlog.Status
	facts    []fact
	started  bool     // the applications are known
	programs [][]byte // their digests, in order
}

type fact struct {
	name   string
	known  bool
	reason bootlog.Reason
	value  uint64 // a hash of what is bound
}

// better returns what is better in another account; whole is nil when it could not
// be read at all, and then nothing may be told.
func (whole *told) better(mutant *told) error {
	if whole == nil {
		whole = &told{facts: make([]fact, len(mutant.facts))}
	}
	for i, now := range mutant.pcrs {
		if was := whole.pcrs[i]; now != was && (now == bootlog.Match || now == bootlog.Empty) {
			return fmt.Errorf("PCR %d was %d and is %d", i, was, now)
		}
	}
	for i, now := range mutant.facts {
		was := whole.facts[i]
		switch {
		case now.known && !was.known:
			return fmt.Errorf("%s became known", now.name)
		case now.known && now.value != was.value:
			return fmt.Errorf("%s has another value", now.name)
		case !now.known && now.reason == bootlog.NotLogged && was.reason != bootlog.NotLogged:
			return fmt.Errorf("%s is not logged, and was %v %q", now.name, was.known, was.reason)
		case !now.known && now.reason == "":
			return fmt.Errorf("%s is unknown without a reason", now.name)
		}
	}
	rest := mutant.programs
	for _, digest := range whole.programs {
		at := slices.IndexFunc(rest, func(d []byte) bool { return slices.Equal(d, digest) })
		if at < 0 && mutant.started {
			return fmt.Errorf("program %x is gone", digest)
		}
		rest = rest[at+1:] // all of it when none is known
	}
	return nil
}

// tell takes an account apart.
func tell(a *bootlog.Account) *told {
	s := &told{pcrs: a.PCRs, facts: make([]fact, 0, 32)}
	put(s, "secure boot", a.SecureBoot, a.SecureBoot.Value)
	putKeys(s, "PK", a.PK)
	putKeys(s, "KEK", a.KEK)
	putKeys(s, "db", a.DB)
	put(s, "dbx", a.DBX, a.DBX.Value.SHA256, a.DBX.Value.Entries, len(a.DBX.Value.Certificates))
	authorities := []any{len(a.Authorities.Value)}
	for _, v := range a.Authorities.Value {
		authorities = append(authorities, v.Variable, v.Early, v.Hash)
		if v.Certificate != nil {
			authorities = append(authorities, v.Certificate.SHA256)
		}
	}
	put(s, "authorities", a.Authorities, authorities...)
	put(s, "SBAT", a.SBAT, a.SBAT.Value)
	putKeys(s, "MOK", a.MOK)
	put(s, "MOK off", a.MOKOff, a.MOKOff.Value)
	put(s, "applications", a.Applications)
	s.started = a.Applications.Known
	for _, v := range a.Applications.Value {
		s.programs = append(s.programs, v.Digest)
	}
	var lines []any
	for _, v := range a.CommandLines.Value {
		lines = append(lines, v.PCR, v.Text)
	}
	put(s, "command lines", a.CommandLines, lines...)
	put(s, "UEFI debug", a.UEFIDebug, a.UEFIDebug.Value)
	put(s, "DMA protection", a.DMAProtection, a.DMAProtection.Value)
	putWindows(s, a)
	return s
}

func putWindows(s *told, a *bootlog.Account) {
	w := a.Windows.Value
	put(s, "Windows", a.Windows, w.Resumed)
	for _, f := range []struct {
		name string
		fact bootlog.Fact[bool]
	}{
		{"boot debug", w.BootDebug}, {"kernel debug", w.KernelDebug}, {"test signing", w.TestSigning}, {"safe mode", w.SafeMode},
		{"WinPE", w.WinPE}, {"code integrity", w.CodeIntegrity}, {"VBS", w.VBS}, {"HVCI", w.HVCI},
		{"driver signing off", w.DriverSigningOff}, {"ELAM", w.ELAM},
	} {
		put(s, f.name, within(a.Windows, f.fact), f.fact.Value)
	}
	for _, f := range []struct {
		name string
		fact bootlog.Fact[uint64]
	}{{"hypervisor launch", w.HypervisorLaunch}, {"boot counter", w.BootCounter}, {"reset count", w.ResetCount}} {
		put(s, f.name, within(a.Windows, f.fact), f.fact.Value)
	}
}

// within gives a fact of Windows the reason of the whole when that is not known.
func within[T any](whole bootlog.Fact[bootlog.Windows], f bootlog.Fact[T]) bootlog.Fact[T] {
	if !whole.Known {
		return bootlog.Fact[T]{Reason: whole.Reason}
	}
	return f
}

func putKeys(s *told, name string, f bootlog.Fact[bootlog.Keys]) {
	put(s, name, f, f.Value.SHA256, f.Value.Hashes, f.Value.Others, len(f.Value.Certificates))
}

// put keeps a fact, with a hash of what counts of its value.
func put[T any](s *told, name string, f bootlog.Fact[T], value ...any) {
	s.facts = append(s.facts, fact{name: name, known: f.Known, reason: f.Reason, value: hashOf(value)})
}

func hashOf(value []any) uint64 {
	h := fnv.New64a()
	var b []byte
	for _, v := range value {
		switch v := v.(type) {
		case bool:
			b = append(b[:0], 'b', '0')
			if v {
				b[1] = '1'
			}
		case string:
			b = append(append(b[:0], 's'), v...)
		case [32]byte:
			b = append(append(b[:0], 'h'), v[:]...)
		default:
			b = fmt.Append(b[:0], v)
		}
		h.Write(append(b, 0))
	}
	return h.Sum64()
}

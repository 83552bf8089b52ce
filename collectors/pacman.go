package collectors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"muster/platform"
)

// pacmanNone is the status of `pacman -Qu` when nothing is pending. It is also
// that of an error, which says so on standard error.
const pacmanNone = 1

// pacmanSync is where pacman keeps what -Sy fetched.
const pacmanSync = "/var/lib/pacman/sync"

// lookPacman asks pacman from the lists that it has (checkupdates would
// download). Arch does not mark security updates: each update that is pending
// may be one.
func lookPacman(ctx context.Context, m *Machine) patchFacts {
	f := patchFacts{manager: "pacman", mixed: true, updatedAt: youngest(m.Tree, "/var/lib/pacman/local")}
	f.metadataAt = pacmanFetched(m.Tree)
	out, err := m.run(ctx, "pacman", "-Qu")
	if err != nil && (exitCode(err) != pacmanNone || saysAnything(err)) {
		f.err = err
		return f
	}
	count, err2 := parsePacman(out)
	if err2 != nil {
		f.err = err2
		return f
	}
	if (count == 0) == (err == nil) {
		f.err = fmt.Errorf("%w: pacman's status does not fit its list", errUnparsable)
		return f
	}
	f.countOther(count)
	return f
}

// saysAnything reports whether a program that ended with a status had something
// to say about it.
func saysAnything(err error) bool {
	var exit *platform.ExitError
	ok := errors.As(err, &exit)
	return ok && exit.Stderr != ""
}

// parsePacman counts the lines "name old -> new", to which " [ignored]" is
// added for packages that somebody holds back.
func parsePacman(out []byte) (int, error) {
	count := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 4 || fields[2] != "->" {
			return 0, fmt.Errorf("%w: line of pacman -Qu", errUnparsable)
		}
		count++
	}
	return count, nil
}

// pacmanFetched is the age of the distribution's own list; without it, of the
// oldest.
func pacmanFetched(t Tree) time.Time {
	if at := modified(t, pacmanSync+"/core.db"); !at.IsZero() {
		return at
	}
	entries, err := t.ReadDir(pacmanSync)
	if err != nil {
		return time.Time{}
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".db") {
			files = append(files, pacmanSync+"/"+e.Name())
		}
	}
	return oldestRepository(t, files)
}

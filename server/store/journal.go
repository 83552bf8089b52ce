package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// journalSuffix is what the journal's name has behind the database's.
const journalSuffix = ".revocations"

// Kinds of journal lines.
const (
	lineTenant  = "tenant"  // the first one: whose journal it is
	lineOpen    = "open"    // the database was opened: generation, epoch
	lineEpoch   = "epoch"   // a restore began an epoch, at an audit head
	lineRevoke  = "revoke"  // keys of a revoked device
	lineRetire  = "retire"  // a DK that its device replaced
	lineGateway = "gateway" // a gateway's credential that was removed
	lineAudit   = "audit"   // the audit log had this head
	linePack    = "pack"    // a pack of reference values has at least this number
	linePasskey = "passkey" // a passkey that was removed
	lineDisable = "disable" // a person was disabled: the number-th word of them
	lineEnable  = "enable"  // a person was enabled again
	lineRole    = "role"    // a person lost a role, at an audit head
	lineRefuse  = "refuse"  // a way in which a device starts was refused, at an audit head
)

// line is what one line of the journal says. Time is Unix milliseconds.
type line struct {
	Kind       string `json:"kind"`
	Time       int64  `json:"time,omitempty"`
	Tenant     string `json:"tenant,omitempty"`
	Epoch      uint64 `json:"epoch,omitempty"`
	Generation uint64 `json:"generation,omitempty"`
	Device     string `json:"device,omitempty"`
	EKHash     []byte `json:"ek_hash,omitempty"`
	AKName     []byte `json:"ak_name,omitempty"`
	DKID       []byte `json:"dk_id,omitempty"`
	By         string `json:"by,omitempty"`
	Cause      string `json:"cause,omitempty"` // role: the one that is left
	Seq        uint64 `json:"seq,omitempty"`   // audit, role, refuse
	Hash       []byte `json:"hash,omitempty"`  // audit; gateway: of its secret; refuse: key of the set
	Gateway    string `json:"gateway,omitempty"`
	Pack       string `json:"pack,omitempty"`
	Number     uint64 `json:"number,omitempty"` // pack; disable, enable
	Person     string `json:"person,omitempty"`
	Passkey    []byte `json:"passkey,omitempty"` // credential id
	Set        []byte `json:"set,omitempty"`     // refuse
}

// written is a line as it stands in the file. Sum is over the sum before it and
// the bytes of Line, so that neither a changed nor a missing line goes unseen;
// only lines missing at the end do.
type written struct {
	Line json.RawMessage `json:"line"`
	Sum  string          `json:"sum"`
}

// maxLine bounds a line: texts in it come from administrators.
const maxLine = 64 << 10

func chain(prev string, line []byte) string {
	h := sha256.New()
	io.WriteString(h, "muster/journal/1\n"+prev+"\n")
	h.Write(line)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// journal is the append-only file beside the database. What ends something is
// durable in it before the commit that it belongs to, save replaced DKs (see
// retire). That a person was enabled again is written behind the commit.
type journal struct {
	path string

	mu     sync.Mutex
	file   *os.File
	end    int64  // length of what is whole
	sum    string // of the last line
	broken error  // a sync failed: what is on disk is not known until reopened
	// lines are what was there at opening; start takes them.
	lines []line
}

// openJournal reads the whole journal, making it when absent. A torn last line,
// which nobody was told of, is cut off; anything else that does not add up is
// ErrJournal with the number of the line.
func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	j := &journal{path: path, file: f}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if j.lines, j.sum, j.end, err = readJournal(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := j.repair(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// repair cuts off what is behind the last whole line, and ends that line.
func (j *journal) repair() error {
	if j.end > 0 {
		if _, err := j.file.WriteAt([]byte{'\n'}, j.end-1); err != nil {
			return err
		}
	}
	return errors.Join(j.file.Truncate(j.end), j.file.Sync(), syncDir(filepath.Dir(j.path)))
}

// readJournal returns the lines, the last sum, and where the whole part ends:
// behind a newline, or where the one of an otherwise whole last line belongs.
func readJournal(r io.Reader) (lines []line, sum string, end int64, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	for number := 1; ; number++ {
		raw, err := in.ReadSlice('\n')
		if err == io.EOF && len(raw) == 0 {
			return lines, sum, end, nil
		}
		if err != nil && err != io.EOF {
			return nil, "", 0, fmt.Errorf("%w: line %d: %w", ErrJournal, number, err)
		}
		l, next, size, bad := parseLine(raw, sum)
		cut := err == io.EOF
		if bad == nil && !cut && size != len(raw)-1 {
			bad = errors.New("something stands behind the line")
		}
		if bad != nil && cut {
			// What a crash leaves of the last append: nobody was told of it. A line
			// that was ended and does not add up is damage, also as the last.
			return lines, sum, end, nil
		}
		if bad != nil {
			return nil, "", 0, fmt.Errorf("%w: line %d, at byte %d: %w", ErrJournal, number, end, bad)
		}
		lines, sum, end = append(lines, l), next, end+int64(size)+1
	}
}

// parseLine reads a line at the start of raw and tells its size.
func parseLine(raw []byte, prev string) (l line, sum string, size int, err error) {
	var w written
	if size, err = strictJSON(raw, &w); err != nil {
		return l, "", 0, err
	}
	if sum = chain(prev, w.Line); sum != w.Sum {
		return l, "", 0, errors.New("checksum is wrong, or a line before is missing")
	}
	if _, err := strictJSON(w.Line, &l); err != nil {
		return l, "", 0, err
	}
	switch l.Kind {
	case lineTenant, lineOpen, lineEpoch, lineRevoke, lineRetire, lineGateway, lineAudit, linePack,
		linePasskey, lineDisable, lineEnable, lineRole, lineRefuse:
		return l, sum, size, nil
	}
	return l, "", 0, fmt.Errorf("unknown kind %q: written by a newer version", l.Kind)
}

// strictJSON reads the first value of b and tells where it ends.
func strictJSON(b []byte, v any) (end int, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err = d.Decode(v)
	return int(d.InputOffset()), err
}

// append writes lines and returns after they are durable.
func (j *journal) append(lines []line) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	var b []byte
	sum := j.sum
	for i := range lines {
		text, err := json.Marshal(&lines[i])
		if err != nil {
			return fmt.Errorf("writing revocation journal: %w", err)
		}
		sum = chain(sum, text)
		w, err := json.Marshal(written{Line: text, Sum: sum})
		if err != nil {
			return fmt.Errorf("writing revocation journal: %w", err)
		}
		if len(w) >= maxLine {
			return errors.New("writing revocation journal: line is too long")
		}
		b = append(append(b, w...), '\n')
	}
	if _, err := j.file.WriteAt(b, j.end); err != nil {
		// Usually a full disk: what is there of the lines must go before others come.
		if e := j.file.Truncate(j.end); e != nil {
			j.broken = fmt.Errorf("revocation journal cannot be repaired: %w", e)
		}
		return fmt.Errorf("writing revocation journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		j.broken = fmt.Errorf("syncing revocation journal: %w", err)
		return j.broken
	}
	j.end, j.sum = j.end+int64(len(b)), sum
	return nil
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = ErrClosed
	}
	return j.file.Close()
}

// read returns the lines that are durable now.
func (j *journal) read() ([]line, error) {
	j.mu.Lock()
	end := j.end
	j.mu.Unlock()
	lines, _, _, err := readJournal(io.NewSectionReader(j.file, 0, end))
	return lines, err
}

package collectors

import (
	"context"
	"errors"
	"io/fs"

	"muster/attest/posture"
	"muster/platform"
)

// errUnparsable is wrapped by every parser: there was an answer, and it is not
// one that we understand.
var errUnparsable = errors.New("not understood")

// errNotThisRoot says that only a command of the running system could tell.
var errNotThisRoot = errors.New("needs a command of the running system")

// whyUnknown gives the reason code for an error of a file, a command or a
// parser. What it does not know is unreadable; there is no error for which the
// answer is that all is well.
func whyUnknown(err error) posture.Reason {
	switch {
	case errors.Is(err, errNotThisRoot):
		return posture.NotThisRoot
	case errors.Is(err, platform.ErrNoTool):
		return posture.NoTool
	case errors.Is(err, platform.ErrTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return posture.Timeout
	case errors.Is(err, fs.ErrPermission):
		return posture.Permission
	case errors.Is(err, errUnparsable):
		return posture.Unparsable
	case errors.Is(err, errors.ErrUnsupported):
		return posture.Unsupported
	}
	return posture.Unreadable
}

// run starts one of the machine's commands, or says that there are none below
// another root.
func (m *Machine) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	if m.Run == nil {
		return nil, errNotThisRoot
	}
	return m.Run(ctx, name, args...)
}

// yesNo turns what was found out into a state.
func yesNo(holds bool) posture.State {
	if holds {
		return posture.Yes
	}
	return posture.No
}

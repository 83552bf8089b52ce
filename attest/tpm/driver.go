package tpm

import (
	"fmt"
	"time"

	"muster/attest"
)

// A caller is an operating system's blocking way to a TPM.
type caller interface {
	call(command []byte) ([]byte, error)
	Close() error
}

// driverLink bounds calls into a driver that cannot be interrupted: a call that
// takes too long is left behind, and nothing more is sent before it came back,
// so that no two commands are ever in the driver.
type driverLink struct {
	driver caller
	stuck  chan answer // of the call left behind; nil when there is none
}

type answer struct {
	response []byte
	err      error
}

func (l *driverLink) exchange(command []byte, limit time.Duration) ([]byte, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	if l.stuck != nil {
		select {
		case <-l.stuck:
			l.stuck = nil
		case <-timer.C:
			return nil, fmt.Errorf("%w: an earlier command has not returned", attest.ErrTransient)
		}
	}
	done := make(chan answer, 1)
	go func() {
		response, err := l.driver.call(command)
		done <- answer{response, err}
	}()
	select {
	case a := <-done:
		return a.response, a.err
	case <-timer.C:
		l.stuck = done
		return nil, fmt.Errorf("%w: no response within %v", attest.ErrTransient, limit)
	}
}

// Close closes the driver, in the background when it is stuck: closing waits for
// the call.
func (l *driverLink) Close() error {
	if l.stuck == nil {
		return l.driver.Close()
	}
	go func() {
		<-l.stuck
		_ = l.driver.Close() // nobody is left to tell
	}()
	return nil
}

//go:build unix

package platform

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// openPatience is how long an opener that fails is waited for.
const openPatience = 2 * time.Second

func (c Commands) open(goos, page string) error {
	tool, err := c.find(opener(goos))
	if err != nil {
		return err
	}
	cmd := exec.Command(tool, page)
	cmd.Env, cmd.Dir = os.Environ(), rootDir()
	// A session of its own: the browser outlives the terminal.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(openPatience): // it became the browser
		return nil
	}
}

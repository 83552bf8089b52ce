package gatewaytest

import (
	"os/exec"
	"syscall"
)

// end has the kernel end the program with the test, however that ends.
func end(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }

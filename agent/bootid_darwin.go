package agent

import "syscall"

func hostBootID() (string, error) { return syscall.Sysctl("kern.bootsessionuuid") }

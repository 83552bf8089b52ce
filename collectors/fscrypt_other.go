//go:build !linux

package collectors

// fscrypted needs Linux's own system call.
func fscrypted(Tree, string) (bool, error) { return false, errNotThisRoot }

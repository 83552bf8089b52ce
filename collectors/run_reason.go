package collectors

import (
	"errors"
	"strings"

	"muster/attest/posture"
	"muster/platform"
)

// whyNoAnswer is whyUnknown for a command. Programs have no exit status for
// "only root may", so their words are looked at too; all run in the C locale.
func whyNoAnswer(err error) posture.Reason {
	var exit *platform.ExitError
	if errors.As(err, &exit) && deniedWords(exit.Stderr) {
		return posture.Permission
	}
	return whyUnknown(err)
}

func deniedWords(stderr string) bool {
	s := strings.ToLower(stderr)
	for _, words := range []string{
		"operation not permitted", "permission denied", "must be root",
		"need to be root", "root privileges", "not authorized",
	} {
		if strings.Contains(s, words) {
			return true
		}
	}
	return false
}

// exitCode is the status other than 0 that a program ended with by itself, or
// -1 when it did not.
func exitCode(err error) int {
	var exit *platform.ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	return -1
}

package platform

import (
	"fmt"
	"runtime"
	"strings"
)

// opener is the name on the list of the program that opens what a person's
// desktop has a program for; Windows does it without one.
func opener(goos string) string {
	if goos == "darwin" {
		return "open"
	}
	return "xdg-open"
}

// Open has the calling person's own browser open a page, and does not wait for
// it. Unlike [Commands.Run] it passes their environment on, without which no
// desktop is found: it is for commands that a person runs, never for the service.
// The address can be seen by others on this machine while it is handed over, so
// it must not be a secret that is enough by itself. Errors: another address than
// http or https; [ErrNoTool]; the program could not be started, or said at once
// that it could not open anything.
func (c Commands) Open(page string) error {
	if !strings.HasPrefix(page, "https://") && !strings.HasPrefix(page, "http://") {
		return fmt.Errorf("open page: neither http nor https")
	}
	for _, b := range []byte(page) {
		if b <= ' ' || b > '~' || b == '"' || b == '\\' || b == '`' || b == '\'' {
			return fmt.Errorf("open page: the address holds a character that addresses do not have")
		}
	}
	if err := c.open(runtime.GOOS, page); err != nil {
		return fmt.Errorf("open page: %w", err)
	}
	return nil
}

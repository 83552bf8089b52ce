package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

const recoverText = `You have lost all your passkeys. This laptop can vouch for you:

  1. You get a page to open, and a code.
  2. Somebody who was named beforehand to approve for you compares the code with
     you, in person or by a call that they make.
  3. After a waiting time that is told to you by mail, the page lets you register
     a new passkey. All others, and all sessions, end then.

Whoever still has one of your passkeys can stop it at any time.

`

// recovery begins the recovery of the passkeys of this laptop's owner.
func recovery(ctx context.Context, args []string, stdout io.Writer) error {
	o := newOptions("recover")
	if err := o.parse(args); err != nil {
		return err
	}
	settings, err := o.settings()
	if err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, recoverText)
	if !agreed(bufio.NewReader(os.Stdin), "Begin?") {
		return errors.New("nothing was begun")
	}
	reply, err := settings.Door().Recover(ctx)
	if err != nil {
		return err
	}
	if reply.Code == "" || reply.URL == "" {
		return errors.New("the server named no code or no page")
	}
	// The page is printed and not opened: its address is the key to the recovery,
	// and a program's arguments can be seen by others on this machine.
	_, err = fmt.Fprintf(stdout, "Code to compare:  %s\nPage to open:     %s\n\nKeep the page's address to yourself, and open it in a browser on this laptop.\n", reply.Code, reply.URL)
	return err
}

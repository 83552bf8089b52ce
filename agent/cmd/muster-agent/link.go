package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"muster/agent"
	"muster/attest"
	"muster/platform"
)

// link ties a browser session to this laptop: the one whose page opened us by a
// muster:// address, or one of those that ask for a code.
func link(ctx context.Context, args []string, stdout io.Writer) error {
	o := newOptions("link")
	show := o.Bool("print", false, "")
	address := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		address, args = args[0], args[1:]
	}
	if err := o.Parse(args); err != nil {
		return usageError{fmt.Errorf("link: %w", err)}
	}
	if address == "" && o.NArg() == 1 {
		address = o.Arg(0)
	} else if o.NArg() > 0 {
		return usageError{fmt.Errorf("link: unexpected argument %q", o.Arg(0))}
	}
	settings, err := o.settings()
	if err != nil {
		return err
	}
	ask := bufio.NewReader(os.Stdin)
	if address == "" {
		return linkByCode(ctx, settings.Door(), ask, stdout)
	}
	return linkByApp(ctx, settings.Door(), address, ask, *show, stdout)
}

// linkByApp shows who asks, and opens the page that confirms.
func linkByApp(ctx context.Context, door *agent.Door, address string, ask *bufio.Reader, show bool, stdout io.Writer) error {
	offer, err := door.Offer(ctx, address)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "A browser asks to be linked with this laptop:\n\n%s\n", describe(offer))
	if !agreed(ask, "Is that you, in a browser on this laptop, just now?") {
		return agent.Hint(errors.New("nothing was linked"), "if it was not you, tell your administrator who asked")
	}
	reply, err := door.Prove(ctx, offer, attest.WayApp)
	if err != nil {
		return err
	}
	if reply.URL == "" {
		return errors.New("the server named no page to confirm on")
	}
	if show {
		_, err = fmt.Fprintln(stdout, reply.URL)
		return err
	}
	// The address is worth nothing without the session of the browser that asked,
	// so others on this machine may see it.
	if err := platform.Host().Open(reply.URL); err != nil {
		fmt.Fprintf(os.Stderr, "muster-agent: warning: %v\nOpen this page in the browser that asked:\n\n", err)
		_, err = fmt.Fprintln(stdout, reply.URL)
		return err
	}
	_, err = fmt.Fprintln(stdout, "The page that links this laptop opens in your browser.")
	return err
}

// linkByCode lists who asks for a code, and shows one.
func linkByCode(ctx context.Context, door *agent.Door, ask *bufio.Reader, stdout io.Writer) error {
	offers, err := door.Offers(ctx)
	if err != nil {
		return err
	}
	if len(offers) == 0 {
		return agent.Hint(errors.New("no browser asks for a code"), `on the page, choose to link with a code; then run "muster-agent link" again`)
	}
	fmt.Fprintln(os.Stderr, "These browsers ask for a code:")
	for i := range offers {
		fmt.Fprintf(os.Stderr, "\n%3d\n%s", i+1, describe(&offers[i]))
	}
	fmt.Fprint(os.Stderr, "\nNobody who calls or writes to you needs a code: it is for your own browser alone.\nWhich one is yours? [number, or nothing] ")
	n, err := strconv.Atoi(answered(ask))
	if err != nil || n < 1 || n > len(offers) {
		return errors.New("no code was made")
	}
	reply, err := door.Prove(ctx, &offers[n-1], attest.WayCode)
	if err != nil {
		return err
	}
	if reply.Code == "" {
		return errors.New("the server gave no code")
	}
	_, err = fmt.Fprintf(stdout, "Type this into the page: %s\n", reply.Code)
	return err
}

func describe(o *attest.LinkOffer) string {
	return fmt.Sprintf("  signed in  %s\n  from       %s\n  browser    %s\n  asked at   %s\n",
		o.Person, o.Address, o.Browser, o.AskedAt.Local().Format(time.DateTime))
}

// agreed asks a person; anything but yes is no, and so is silence.
func agreed(ask *bufio.Reader, question string) bool {
	fmt.Fprintf(os.Stderr, "%s [y/N] ", question)
	a := strings.ToLower(answered(ask))
	return a == "y" || a == "yes"
}

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 100

func answered(ask *bufio.Reader) string {
	var line []byte
	for len(line) < maxAnswer {
		b, err := ask.ReadByte()
		if err != nil || b == '\n' {
			break
		}
		line = append(line, b)
	}
	return strings.TrimSpace(string(line))
}

package localserve

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"muster/attest"
	"muster/server"
)

// print shows what the server knows of the machine, and what follows from it.
func (t *trial) print(view *server.DeviceView) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\nThis machine is device %s: %s, level %s.\n", view.ID, view.State, view.Level)
	if view.State == attest.Pending {
		fmt.Fprintf(&b, "  %s\n  It shows the code %s.\n", view.CauseText, view.CompareCode)
	}
	if view.Result != nil {
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "\nCLAIM\tSTATE\tREASON\tSOURCE")
		for name, c := range view.Result.Claims.Each() {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", name, c.State, c.Reason, c.Source)
		}
		_ = w.Flush() // writes to memory
	}
	decision := t.srv.Decision(view.ID, t.App)
	fmt.Fprintf(&b, "\nMay it use the sample application %q now?  %s\n", t.App, strings.ToUpper(decision.Outcome))
	for _, r := range decision.Reasons {
		fmt.Fprintf(&b, "  %s: %s\n    %s\n", r.Code, r.Text, r.Fix)
	}
	if bytes.Equal(b.Bytes(), t.last) {
		return
	}
	t.last = bytes.Clone(b.Bytes())
	_, _ = t.Stdout.Write(b.Bytes())
}

// stay runs the agent as it runs as a service, and shows each change, until ctx
// ends.
func (t *trial) stay(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	running := t.agent.command(ctx, "run")
	if err := running.Start(); err != nil {
		return fmt.Errorf("starting muster-agent: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- running.Wait() }()
	fmt.Fprintf(t.Stdout, "\nThe server answers at %s; the agent reports every %v and when something changes.\n", t.url, 10*time.Second)
	fmt.Fprintln(t.Stdout, "Change something (start a firewall, say) and watch; Ctrl-C ends it and leaves nothing behind.")
	if err := t.invite(ctx); err != nil {
		return err
	}
	go t.prompt(ctx)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if view, err := t.device(); err == nil {
				t.print(view)
			}
		case err := <-ended:
			if ctx.Err() != nil {
				return nil // told to end, and ended
			}
			return fmt.Errorf("muster-agent ended: %w", err)
		}
	}
}

// invite tells where to sign in, once: the first link is a secret that works once.
func (t *trial) invite(ctx context.Context) error {
	link, err := t.srv.FirstLink(ctx)
	if err != nil {
		return fmt.Errorf("inviting the first administrator: %w", err)
	}
	_, err = fmt.Fprintf(t.Stdout, "\nSign in, in a browser on this machine:\n"+
		"  1. register your passkey, by this link that works once:  %s\n"+
		"  2. link this machine to your session:                    %s/link\n"+
		"  3. see what muster knows of it:                          %s/laptops\n", link, t.url, t.url)
	if address := t.apps.address(t.App); err == nil && address != "" {
		_, err = fmt.Fprintf(t.Stdout, "  4. open the sample application:                          %s\n", address)
	}
	fmt.Fprintln(t.Stdout)
	return err
}

// prompt offers to approve a device that waits.
func (t *trial) prompt(ctx context.Context) {
	view, err := t.device()
	if err != nil || view.State != attest.Pending {
		return
	}
	fmt.Fprintf(t.Stdout, "\nThe device waits for an approval. In a real roll-out an administrator runs:\n  muster-server device approve %s --code %s\nPress Enter to approve it here.\n",
		view.ID, view.CompareCode)
	if _, err := bufio.NewReader(t.Stdin).ReadString('\n'); err != nil || ctx.Err() != nil {
		return
	}
	if err := t.srv.Approve(ctx, view.ID, server.Approval{Code: view.CompareCode}); err != nil {
		fmt.Fprintln(t.Stderr, "approving:", err)
	}
}

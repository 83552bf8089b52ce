package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"

	"muster/attest"
)

// Door is the way of a person's command to the agent that runs on this machine.
// The agent answers who is signed in at the machine's own screen, and root. Each
// method is one question; what the agent declines is an error with hints.
type Door struct{ paths []string }

// Door returns the way to the agent that these settings mean.
func (s *Settings) Door() *Door { return &Door{s.doors} }

// Offer tells who asks for a link, by the muster:// address that their page gave.
// Nothing is proved by it.
func (d *Door) Offer(ctx context.Context, address string) (*attest.LinkOffer, error) {
	link, nonce, err := parseLinkURL(address)
	if err != nil {
		return nil, hintOf(err)
	}
	reply, err := d.ask(ctx, &doorAsk{Op: opLink, Link: link, Nonce: nonce})
	if err != nil {
		return nil, err
	}
	if len(reply.Offers) != 1 || reply.Offers[0].Link != link || reply.Offers[0].Nonce != nonce {
		return nil, errStrangeAgent
	}
	return &reply.Offers[0], nil
}

// Offers are the requests by code of this laptop's owner.
func (d *Door) Offers(ctx context.Context) ([]attest.LinkOffer, error) {
	reply, err := d.ask(ctx, &doorAsk{Op: opOffers})
	if err != nil {
		return nil, err
	}
	return reply.Offers, nil
}

// Prove has the agent prove a request that the person agreed to: by app, for
// what [Door.Offer] told, or by code.
func (d *Door) Prove(ctx context.Context, o *attest.LinkOffer, way string) (*attest.LinkReply, error) {
	return d.reply(ctx, &doorAsk{Op: opProve, Link: o.Link, Nonce: o.Nonce, Way: way})
}

// Recover begins the recovery of the owner's passkeys by this laptop.
func (d *Door) Recover(ctx context.Context) (*attest.LinkReply, error) {
	return d.reply(ctx, &doorAsk{Op: opRecover})
}

// Status is [Agent.Status] by the running agent, for those who may not read its
// state.
func (d *Door) Status(ctx context.Context, ask bool) (*Standing, error) {
	reply, err := d.ask(ctx, &doorAsk{Op: opStatus, Ask: ask})
	if err == nil && reply.Standing == nil {
		err = errStrangeAgent
	}
	if err != nil {
		return nil, err
	}
	return reply.Standing, nil
}

func (d *Door) reply(ctx context.Context, ask *doorAsk) (*attest.LinkReply, error) {
	reply, err := d.ask(ctx, ask)
	if err == nil && reply.Reply == nil {
		err = errStrangeAgent
	}
	if err != nil {
		return nil, err
	}
	return reply.Reply, nil
}

var (
	errStrangeAgent = errors.New("the agent answered something else than was asked")
	errNoAgent      = errors.New("no agent runs on this machine, or it has no door")
)

// ask asks one question at the first door behind which somebody is.
func (d *Door) ask(ctx context.Context, ask *doorAsk) (*doorReply, error) {
	ctx, cancel := context.WithTimeout(ctx, jobTime+doorRead+doorWrite)
	defer cancel()
	for _, path := range d.paths {
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, "unix", path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("asking the agent: %w", err)
		}
		return converse(ctx, c, ask)
	}
	return nil, Hint(fmt.Errorf("asking the agent: %w", errNoAgent), `start it: "muster-agent start", as the system's administrator`)
}

// converse sends the question and reads the answer.
func converse(ctx context.Context, c net.Conn, ask *doorAsk) (*doorReply, error) {
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	} else {
		_ = c.SetDeadline(time.Now().Add(jobTime))
	}
	b, err := attest.Encode(ask)
	if err != nil {
		return nil, fmt.Errorf("asking the agent: %w", err)
	}
	// A refusal may come before the question was read; it is the answer all the
	// same.
	_, sent := c.Write(append(b, '\n'))
	line, err := readLine(c, doorAnswer)
	if err != nil {
		return nil, fmt.Errorf("asking the agent: %w", errors.Join(sent, err))
	}
	reply := new(doorReply)
	if err := attest.Decode(line, reply); err != nil {
		return nil, fmt.Errorf("reading the agent's answer: %w", err)
	}
	if reply.Declined != nil {
		return nil, hintOf(reply.Declined)
	}
	return reply, nil
}

// hintOf gives what was declined its fix as a hint.
func hintOf(err error) error {
	if d := (*declined)(nil); errors.As(err, &d) && d.Fix != "" {
		return Hint(err, d.Fix)
	}
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"muster/server"
)

// serveCmd runs the server until it is told to end. SIGHUP reads the policy file
// again; a policy that does not load leaves the running one in place.
type serveCmd struct{}

const gcPercent = 400

func (serveCmd) Run(ctx context.Context, s *settings) error {
	log := s.log()
	if os.Getenv("GOGC") == "" {
		// The heap is small beside what a report allocates: collecting at twice its
		// size would spend a quarter of the processor on it.
		debug.SetGCPercent(gcPercent)
	}
	srv, err := server.New(ctx, s.server(), log, time.Now)
	if err != nil {
		return err
	}
	public, err := srv.Listen()
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	control, err := srv.ListenControl()
	if err != nil {
		return errors.Join(err, public.Close(), srv.Close())
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan error, 2)
	go func() { ended <- srv.Serve(ctx, public) }()
	go func() { ended <- srv.ServeControl(ctx, control) }()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	log.Info("serving", "address", public.Addr().String(), "url", srv.PublicURL())
	if err := sayFirst(ctx, srv); err != nil {
		log.Error("not known whether somebody can administer", "error", err)
	}
	for {
		select {
		case <-reload:
			if err := srv.ReloadPolicy(ctx); err != nil {
				log.Error("policy not replaced; the old one stays", "error", err)
			}
		case err := <-ended:
			stop(err)
			return errors.Join(err, <-ended, srv.Close())
		}
	}
}

// sayFirst tells how the first administrator gets in, when there is none. The
// link is a secret: it is shown to a person at a terminal and to nobody else, for
// standard error of a service ends in a log.
func sayFirst(ctx context.Context, srv *server.Server) error {
	needed, err := srv.NeedsAdministrator(ctx)
	if err != nil || !needed {
		return err
	}
	info, err := os.Stderr.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		fmt.Fprintln(os.Stderr, "Nobody can administer this server yet. On this machine run: muster-server user first-link")
		return nil
	}
	link, err := srv.FirstLink(ctx)
	if err != nil || link == "" {
		return err
	}
	_, err = fmt.Fprintf(os.Stderr, "\nNobody can administer this server yet. Open this link, once, to register the first administrator's passkey:\n\n  %s\n\n"+
		"Whoever has the link can do that. \"muster-server user first-link\" makes another one and ends this.\n\n", link)
	return err
}

// configCmd prints the settings by their names in the settings file.
type configCmd struct{}

func (configCmd) Run(k *kong.Context) error {
	used := make(map[string]any)
	for _, f := range k.Model.Flags {
		if f.Name != "help" && f.Name != "config" {
			used[settingName(f.Name)] = f.Target.Interface()
			if d, ok := f.Target.Interface().(time.Duration); ok {
				used[settingName(f.Name)] = d.String() // as the file has it
			}
			if f.Name == "webhook-url" && f.Target.String() != "" {
				used[settingName(f.Name)] = "(secret)" // it may hold a token
			}
		}
	}
	return printJSON(used)
}

// versionCmd prints the version.
type versionCmd struct{}

func (versionCmd) Run() error {
	_, err := fmt.Println("muster-server", server.Version())
	return err
}

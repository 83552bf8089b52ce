package main

import (
	"context"
	"log/slog"
	"os"

	"muster/server/localserve"
)

// localserveCmd is the product in one command.
type localserveCmd struct {
	Once bool   `help:"End after the first decision."`
	JSON bool   `name:"json" help:"With --once: print one JSON object and nothing else on standard output."`
	TPM  string `name:"tpm" help:"The agent's TPM: auto, none, device:PATH, unix:PATH, tcp:HOST:PORT." default:"auto"`
	App  string `help:"The sample application; one that the policy opens to devices." default:"wiki"`
}

func (c *localserveCmd) Run(ctx context.Context, s *settings) error {
	level := max(s.LogLevel, slog.LevelWarn)
	return localserve.Run(ctx, localserve.Options{
		Once: c.Once, JSON: c.JSON, TPM: c.TPM, App: c.App, EKRoots: s.EKRoots, VTPMRoots: s.VTPMRoots, Policy: s.PolicyFile,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
}

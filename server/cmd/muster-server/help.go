package main

import (
	"slices"

	"github.com/alecthomas/kong"
)

// printHelp puts a command's own flags before the server's settings, and those
// settings that only a running server uses nowhere but where it is run.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	selected := ctx.Selected()
	running := selected != nil && slices.Contains([]string{"serve", "localserve", "config"}, selected.Name)
	for _, flag := range ctx.Model.Flags {
		if flag.Name == "help" {
			continue
		}
		flag.Group = &kong.Group{Key: "settings", Title: "Settings:"}
		if !running {
			flag.Group.Title = `Settings ("muster-server serve --help" lists all; every command takes them):`
			flag.Hidden = flag.Hidden || !slices.Contains([]string{"config", "data-dir"}, flag.Name)
		}
	}
	options.FlagsLast = true
	return kong.DefaultHelpPrinter(options, ctx)
}

package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// newCommand returns the command line: one file a subcommand.
func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "hwlab",
		Short:         "The Lab Advisor: a chat advisor for your homelab that forgets nothing",
		Long:          longHelp(),
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,

		SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			text := fmt.Sprintf("there is no command %q", args[0])
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				text += "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return &usageError{errors.New(text + "; hwlab --help lists them")}
		},
	}
	for i, group := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Ask:", []*cobra.Command{newServeCommand(), newChatCommand()}},
		{"Conversations:", []*cobra.Command{newListCommand(), newShowCommand(), newSearchCommand(), newRenameCommand(), newDeleteCommand()}},
		{"The record:", []*cobra.Command{newExportCommand(), newImportCommand(), newCopyCommand(), newBackupCommand(), newVerifyCommand(), newRetentionCommand()}},
	} {
		id := strconv.Itoa(i)
		cmd.AddGroup(&cobra.Group{ID: id, Title: group.title})
		for _, c := range group.commands {
			c.GroupID = id
			cmd.AddCommand(c)
		}
	}
	cmd.InitDefaultCompletionCmd()
	for _, c := range cmd.Commands() {
		if c.Name() == "completion" { // what is no shell is not help, which a shell would run
			c.Args, c.RunE = usage(cobra.NoArgs), func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	return cmd
}

func longHelp() string {
	var cfg config
	text := "The Lab Advisor: a chat advisor for your homelab that forgets nothing.\n\n" +
		"hwlab serve is for the browser and for every OpenAI client, hwlab chat for the terminal; both work with the same record. What can be\n" +
		"set is listed by hwlab serve --help. For chat, list, show, search, rename and delete there is also, in the environment or in .env:\n"
	for _, s := range cfg.clientSettings() {
		text += fmt.Sprintf("  %s  %s;\n%*sHWLAB_PASSWORD is for it then\n", s.env, s.help, len(s.env)+4, "")
	}
	return strings.TrimSuffix(text, "\n")
}

// version is the module's version, or of a build from a checkout its commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && info.Main.Version == "(devel)" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}

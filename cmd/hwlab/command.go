package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// newCommand returns the command line: one file a subcommand.
func newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "hwlab",
		Short:         "The Lab Advisor: a chat advisor for your homelab that forgets nothing",
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
	cmd.AddCommand(newServeCommand(), newChatCommand(), newExportCommand(), newImportCommand(), newCopyCommand(), newBackupCommand(), newVerifyCommand(), newRetentionCommand(),
		newListCommand(), newShowCommand(), newSearchCommand(), newRenameCommand(), newDeleteCommand())
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	return cmd
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

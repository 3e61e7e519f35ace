package main

import (
	"runtime/debug"

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
	}
	cmd.AddCommand(newServeCommand(), newExportCommand(), newImportCommand(), newCopyCommand(), newBackupCommand(), newVerifyCommand(), newRetentionCommand(),
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

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newRetentionCommand() *cobra.Command {
	const most = 10000
	var asJSON bool
	cmd := recordCommand(&cobra.Command{
		Use:   "retention [TIME]",
		Short: "List the conversations that HWLAB_RETENTION would erase now",
		Long: "List the conversations, the oldest activity first, that hwlab serve would erase now with HWLAB_RETENTION, or that it would erase " +
			"if that were TIME, such as 180d, 12w or 36h. Pinned ones are never among them. Nothing is erased by this command.",
		Args:              usage(cobra.MaximumNArgs(1)),
		ValidArgsFunction: cobra.NoFileCompletions,
	}, func(cmd *cobra.Command, args []string, cfg config) error {
		if len(args) > 0 {
			cfg.Retention = args[0]
		}
		retention, err := cfg.retention()
		if err == nil && retention == 0 {
			err = errors.New("HWLAB_RETENTION is not set, so nothing is ever erased; hwlab retention 180d lists what would be")
		}
		if err != nil {
			return &usageError{err}
		}
		r, err := openSource(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer r.Close()
		before := time.Now().Add(-retention)
		list, err := r.Expired(cmd.Context(), before, most)
		if err != nil {
			return err
		}
		messages := 0
		for _, c := range list {
			messages += c.MessageCount
			if err := writeListed(cmd.OutOrStdout(), c, asJSON); err != nil {
				return err
			}
		}
		more := ""
		if len(list) == most {
			more = ", the oldest of those that would be erased"
		}
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s in which nothing was said since %s%s\n", counted(len(list), messages), before.Local().Format("2006-01-02 15:04"), more)
		return err
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write a JSON object a line, as list does")
	return cmd
}

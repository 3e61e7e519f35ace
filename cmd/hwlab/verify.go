package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"git.georgsen.dk/hwlab/internal/archive"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/sqlite"
)

func newBackupCommand() *cobra.Command {
	return recordCommand(&cobra.Command{
		Use:   "backup FILE",
		Short: "Write the SQLite record, as it is now, to a new file",
		Long:  "Write the SQLite record, as it is now, to a new file, and check that file. The server may be running. PostgreSQL has pg_dump for this.",
		Args:  usage(cobra.ExactArgs(1)),
	}, func(cmd *cobra.Command, args []string, cfg config) error {
		if cfg.DatabaseURL != "" {
			return errors.New("the record is in PostgreSQL: pg_dump makes its backup")
		}
		r, err := openSource(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer r.Close()
		path, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		if err := r.(*sqlite.Store).Backup(cmd.Context(), path); err != nil {
			return err
		}
		made, err := sqlite.OpenReadOnly(cmd.Context(), path)
		if err != nil {
			return fmt.Errorf("the backup cannot be opened: %w", err)
		}
		defer made.Close()
		problems, err := made.CheckFile(cmd.Context())
		if err == nil && len(problems) > 0 {
			err = fmt.Errorf("the backup is damaged: %s", problems[0])
		}
		return err
	})
}

func newVerifyCommand() *cobra.Command {
	var asJSON bool
	cmd := recordCommand(&cobra.Command{
		Use:   "verify",
		Short: "Look through the record for what is not whole",
		Long: "Look through the record for what is not whole: the order of each conversation, its branches, replies that nobody settles or whose " +
			"log is not what they say, what a search cannot find, what is left of what was deleted. What is wrong is listed, and the exit code is 1. The server may be running.",
		Args: usage(cobra.NoArgs),

		ValidArgsFunction: cobra.NoFileCompletions,
	}, func(cmd *cobra.Command, _ []string, cfg config) error {
		r, err := openSource(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer r.Close()
		wrong := 0
		var unwritten error
		problem := func(text string) {
			wrong++
			var err error
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), map[string]string{"problem": text})
			} else {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			}
			unwritten = cmp.Or(unwritten, err)
		}
		if s, ok := r.(*sqlite.Store); ok {
			list, err := s.CheckFile(cmd.Context())
			if err != nil {
				return err
			}
			for _, text := range list {
				problem("SQLite: " + text)
			}
		}
		_, all, err := r.ArchiveSize(cmd.Context())
		if err != nil {
			return err
		}
		p := newProgress(cmd.ErrOrStderr(), "verified")
		n, err := archive.Verify(cmd.Context(), r.(archive.Verifiable), sync.OnceValues(func() (bool, error) { return alive(cmd, r) }), problem,
			func(n archive.Counts) {
				p.show(n.Messages, int64(n.Messages), int64(all), counted(n.Conversations, n.Messages))
			})
		if err = cmp.Or(err, unwritten); err != nil {
			return err
		}
		p.end(counted(n.Conversations, n.Messages))
		if wrong > 0 {
			return errors.New(plural(wrong, "problem"))
		}
		return nil
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "write a JSON object a problem")
	return cmd
}

// alive reports whether all servers that have replies to write are there: their counters go up.
func alive(cmd *cobra.Command, r keeper) (bool, error) {
	before, err := r.BusyServers(cmd.Context())
	if err != nil || len(before) == 0 {
		return false, err
	}
	select {
	case <-time.After(4 * time.Second): // longer than a heartbeat
	case <-cmd.Context().Done():
		return false, cmd.Context().Err()
	}
	after, err := r.BusyServers(cmd.Context())
	if err != nil {
		return false, err
	}
	was := map[store.Server]bool{}
	for _, s := range before {
		was[s] = true
	}
	for _, s := range after {
		if was[s] {
			return false, nil
		}
	}
	return true, nil
}

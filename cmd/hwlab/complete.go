package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/store"
)

// What the shells complete: ids of conversations, with their titles, and models. Where something is wrong there is nothing to
// complete, and no error, which would stand in the line that is being typed.

// completeTime is how long somebody who has pressed Tab waits, at most.
const completeTime = 3 * time.Second

type completion = func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeIDs completes ids where fewer than most arguments are there; 0 is any number.
func completeIDs(most int) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const how = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		cfg, ctx, cancel, err := completing(cmd)
		if err != nil || most > 0 && len(args) >= most {
			return nil, how
		}
		defer cancel()
		r, err := openReader(ctx, cfg)
		if err != nil {
			return nil, how
		}
		defer r.Close()
		page, err := r.List(ctx, store.ListQuery{Limit: store.ListLimit})
		if err != nil {
			return nil, how
		}
		var ids []cobra.Completion
		for _, c := range page.Conversations {
			id := c.ID
			if strings.HasPrefix(begun, "c") {
				id = "conv_" + id
			}
			if strings.HasPrefix(id, begun) {
				ids = append(ids, cobra.CompletionWithDesc(id, oneLine(c.Title, 60)))
			}
		}
		return ids, how
	}
}

// completeModels completes the models that can be asked.
func completeModels(cmd *cobra.Command, _ []string, begun string) (models []cobra.Completion, _ cobra.ShellCompDirective) {
	const how = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	cfg, ctx, cancel, err := completing(cmd)
	if err != nil {
		return nil, how
	}
	defer cancel()
	for _, id := range knownModels(ctx, cfg) {
		if strings.HasPrefix(id, begun) {
			models = append(models, id)
		}
	}
	return models, how
}

// knownModels are those of the server of HWLAB_URL or of the one that serves here, or those that this process finds.
func knownModels(ctx context.Context, cfg config) (ids []string) {
	var c *client
	if cfg.URL != "" {
		c, _ = remoteClient(cfg)
	} else if text, err := os.ReadFile(filepath.Join(cfg.DataDir, "server-id")); err == nil { // of a server that may have gone
		if _, url, _ := strings.Cut(strings.TrimSpace(string(text)), "\n"); url != "" {
			c = &client{base: url, password: cfg.Password}
		}
	}
	if c != nil {
		defer c.http.CloseIdleConnections()
		if ids, err := c.models(ctx); err == nil || cfg.URL != "" {
			return ids
		}
	}
	models, err := newCatalog(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), nil, lab.New("", 0))
	if err != nil {
		return nil
	}
	defer models.Close()
	found, _ := models.Models(ctx) // none where nobody answers
	for _, m := range found {
		ids = append(ids, m.ID)
	}
	return ids
}

// completing reads the configuration of the command whose line is completed.
func completing(cmd *cobra.Command) (cfg config, ctx context.Context, cancel context.CancelFunc, err error) {
	if flag := cmd.Flags().Lookup("data-dir"); flag != nil {
		cfg.DataDir = flag.Value.String()
	}
	err = cfg.load(cmd.Flags())
	ctx, cancel = context.WithTimeout(cmd.Context(), completeTime)
	return cfg, ctx, cancel, err
}

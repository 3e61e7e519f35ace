package advisor

import (
	"cmp"
	"context"
	"errors"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

const (
	retentionPage  = 100                   // conversations that are looked up at once
	retentionPause = 50 * time.Millisecond // between two erasures, for everybody else
	retentionEvery = time.Minute
)

// retain erases the conversations in which nothing was said for as long as the retention, the oldest first and one by one. First
// it only says how many they are, and gives whoever set it wrongly time to see that. Any number of servers may do this at once.
func (a *Advisor) retain(ctx context.Context) {
	if a.Retention == 0 {
		return
	}
	wait := cmp.Or(a.RetentionGrace, time.Hour)
	list, err := a.Record.Expired(ctx, time.Now().Add(-a.Retention), 1000)
	if err == nil {
		a.Log.Warn("retention: conversations in which nothing was said for so long will be erased; hwlab retention lists them",
			"retention", a.Retention, "conversations", len(list), "more", len(list) == 1000, "from", time.Now().Add(wait).Round(time.Second))
	}
	for ; each(ctx, wait); wait = retentionEvery {
		if err := a.eraseExpired(ctx); err != nil && ctx.Err() == nil {
			a.Log.Warn("retention waits", "error", err)
		}
	}
}

// eraseExpired erases what has expired by now.
func (a *Advisor) eraseExpired(ctx context.Context) error {
	before := time.Now().Add(-a.Retention)
	for {
		list, err := a.Record.Expired(ctx, before, retentionPage)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, c := range list {
			err := a.Record.DeleteExpired(ctx, c.ID, before)
			switch {
			case errors.Is(err, store.ErrNotFound): // another server was first, or somebody came back to it
				continue
			case err != nil:
				return err
			}
			a.Log.Info("retention: a conversation was erased", "conversation", "conv_"+c.ID, "messages", c.MessageCount, "updated", c.UpdatedAt)
			if !each(ctx, retentionPause) {
				return ctx.Err()
			}
		}
	}
}

package advisor

import (
	"context"
	"time"
)

// HoldConversation is a DeleteConversation that the record's UndoDeletion undoes, until the returned time; then the
// conversation is erased, if not by this server then by another or the next. The replies stay stopped, with the text they had.
func (a *Advisor) HoldConversation(ctx context.Context, id string, hold time.Duration) (until time.Time, err error) {
	until, err = a.Record.HoldConversation(ctx, id, hold)
	if err == nil {
		a.stopDeleted(id)
	}
	return until, err
}

// eraseHeld erases what was deleted and can no longer be brought back.
func (a *Advisor) eraseHeld(ctx context.Context) {
	for ok := true; ok; ok = each(ctx, time.Second) { // at once what became due while no server ran
		if _, err := a.Record.EraseHeld(ctx); err != nil && ctx.Err() == nil {
			a.Log.Warn("the erasing of what was deleted waits", "error", err)
		}
	}
}

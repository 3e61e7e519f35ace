package advisor

import (
	"context"
	"errors"
	"strings"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// ContinueError says why a reply cannot be gone on with. Its text is fit to be shown.
type ContinueError struct{ Reason string }

func (e *ContinueError) Error() string { return "this reply cannot be gone on with: " + e.Reason }

// beginning finds out how to go on with the reply q.Continue in a reply of its own, which continues what that one did: after is that
// message, and rows are how its log begins, with all that was said and thought so far. The model is told what was said.
func (a *Advisor) beginning(ctx context.Context, q Question) (after string, rows []store.Delta, err error) {
	old, log, err := a.Record.ReadLog(ctx, q.Continue, 0)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", nil, err
	}
	switch {
	case err != nil, old.ConversationID != q.ConversationID:
		return "", nil, &ContinueError{"there is no such reply in this conversation"}
	case !old.Ended():
		return "", nil, store.ErrReplyRunning
	case old.Status == store.ResponseCompleted:
		return "", nil, &ContinueError{"it is complete"}
	}
	for _, d := range log {
		last := len(rows) - 1
		switch {
		case d.Kind == store.DeltaItem && d.Text == store.ItemFunctionCall, d.Kind == store.DeltaPart && d.Text == store.PartRefusal:
			return "", nil, &ContinueError{"there is more in it than text"}
		case d.Kind == store.DeltaText && last >= 0 && rows[last].Kind == store.DeltaText:
			rows[last].Text += d.Text
			continue
		case d.Kind == store.DeltaItem:
			d.ItemID = store.NewID()
		}
		rows = append(rows, d)
	}
	for len(rows) > 0 && (rows[len(rows)-1].Kind == store.DeltaItemDone || rows[len(rows)-1].Kind == store.DeltaPartDone) {
		rows = rows[:len(rows)-1]
	}
	if n := len(rows); n < 2 || rows[n-1].Kind != store.DeltaText || rows[n-1].Text == "" || rows[n-2].Text != store.PartOutputText {
		return "", nil, &ContinueError{"it had not begun to answer, or its text was deleted"}
	}
	history, err := a.Record.History(ctx, old)
	if err != nil {
		return "", nil, err
	}
	if len(history) > 0 {
		after = history[len(history)-1].ID
	}
	return after, rows, nil
}

// toldBeginning is what the model is told of such rows.
func toldBeginning(rows []store.Delta) llm.Message {
	var texts []string
	for i, d := range rows {
		if d.Kind == store.DeltaText && rows[i-1].Text == store.PartOutputText {
			texts = append(texts, d.Text)
		}
	}
	return llm.Message{Role: llm.RoleAssistant, Text: strings.Join(texts, "\n\n")}
}

package advisor

import (
	"cmp"
	"context"
	"iter"
	"math"
	"time"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// Answer answers a question of which nothing is kept, and yields what [Advisor.Follow] would of one that is. It may read a
// conversation, or what an earlier reply continued, and adds nothing to it. The answer is written for as long as it is ranged
// over. Errors come before the first step: the store's, [llm.UnknownModelError] and [UnknownCallError].
func (a *Advisor) Answer(ctx context.Context, q Question) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		provider, model, err := a.Models.Resolve(ctx, q.Model)
		if err != nil {
			yield(Step{}, err)
			return
		}
		history, err := a.continued(ctx, q)
		if err == nil {
			err = checkOutputs(history, q.Input)
		}
		if err != nil {
			yield(Step{}, err)
			return
		}
		history = append(history, asMessages(q.Input)...)
		s, err := a.enter(ctx, "")
		if err != nil {
			yield(Step{}, err)
			return
		}

		out := &unstored{responseID: store.NewID(), rows: make(chan []store.Delta)}
		r := &reply{session: s, question: q, provider: provider, out: out.add, request: llm.Request{Model: model, Options: q.Options},
			note:    a.Log.With("response", out.responseID, "model", model),
			history: func() ([]store.Message, error) { return history, nil },
			Response: store.Response{ID: out.responseID, ConversationID: q.ConversationID, Listed: q.ConversationID != "", PreviousID: q.PreviousID,
				Status: store.ResponseInProgress, Model: model, Request: q.Request, CreatedAt: time.Now()}}
		r.ctx, r.cancel = context.WithCancelCause(ctx)
		defer context.AfterFunc(s.ctx, func() { r.cancel(context.Cause(s.ctx)) })()
		a.titles.begin()
		defer a.titles.end(nil)
		ended := make(chan store.Finish, 1)
		go func() { // what is to be waited for; a reader may hold a step for as long as they like
			defer s.work.Done()
			ended <- a.generate(r)
		}()
		over := false
		defer func() { // a reader who leaves stops it
			r.cancel(errLeft)
			if !over {
				<-ended
			}
		}()

		if !yield(Step{Response: r.Response}, nil) {
			return
		}
		still := time.NewTicker(keepAlive)
		defer still.Stop()
		for !over {
			step := Step{Response: r.Response}
			select {
			case step.Deltas = <-out.rows:
			case <-still.C:
			case end := <-ended:
				over = true
				step.Response.Status, step.Response.Usage, step.Response.Error = end.Status, end.Usage, end.Error
				step.Response.IncompleteReason, step.Response.DroppedTurns, step.Response.EndedAt = end.IncompleteReason, end.DroppedTurns, time.Now()
			}
			if !yield(step, nil) {
				return
			}
		}
	}
}

// continued is what a question of which nothing is kept comes after.
func (a *Advisor) continued(ctx context.Context, q Question) ([]store.Message, error) {
	switch {
	case q.ConversationID != "":
		place := store.Response{ConversationID: q.ConversationID, Seq: math.MaxInt64}
		if q.After != nil {
			place.ParentID = cmp.Or(*q.After, q.ConversationID)
		}
		return a.Record.History(ctx, place)
	case q.PreviousID != "":
		previous, log, err := a.Record.ReadLog(ctx, q.PreviousID, 0)
		if err != nil {
			return nil, err
		}
		if !previous.Ended() {
			return nil, store.ErrReplyRunning
		}
		if len(log) > 0 {
			previous.Seq, previous.ParentID = previous.Seq+1, "" // after its output
		}
		return a.Record.History(ctx, previous)
	}
	return nil, nil
}

// asMessages is what a question says, as far as a model is told.
func asMessages(input []store.NewMessage) []store.Message {
	list := make([]store.Message, len(input))
	for i, m := range input {
		list[i] = store.Message{Role: m.Role, Content: m.Content, Item: m.Item, Status: store.MessageCompleted}
	}
	return list
}

// unstored hands the rows of a reply to the one who reads it.
type unstored struct {
	responseID string
	n          int
	rows       chan []store.Delta
}

func (u *unstored) add(ctx context.Context, rows ...store.Delta) error {
	for i := range rows {
		rows[i].ResponseID, rows[i].N = u.responseID, u.n
		u.n++
	}
	select {
	case u.rows <- rows:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

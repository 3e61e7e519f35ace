package advisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// reply is a reply that this process writes.
type reply struct {
	store.Response               // of one that is kept it is set when it is known that the question is in the record
	known          chan struct{} // closed when it is known whether it is

	session  *session
	question Question
	provider llm.Provider
	request  llm.Request                                          // without messages
	history  func() ([]store.Message, error)                      // what it answers, the question last
	out      func(ctx context.Context, rows ...store.Delta) error // takes the rows
	note     *slog.Logger
	log      *replyLog             // nil for one that is not kept
	wait     *atomic.Pointer[Wait] // nil for one that is not kept
	ctx      context.Context
	cancel   context.CancelCauseFunc
}

// isKept waits until it is known whether the question is in the record, and says so.
func (r *reply) isKept() bool {
	<-r.known
	return r.ID != ""
}

// drop ends a reply whose question is not in the record.
func (r *reply) drop() {
	r.cancel(errNotKept)
	close(r.known)
}

// finishTimeout is for one try of the end of a reply. It is tried again, but not for long once the server is stopping: what is
// not settled by then is settled at the next start.
const finishTimeout = 4 * time.Second

// write lets the model answer and brings the reply to its one end.
func (a *Advisor) write(r *reply) {
	defer r.cancel(nil)
	end := a.generate(r)
	if !r.isKept() {
		a.titles.end(nil)
		return
	}
	end.Fence, end.ConversationID, end.ResponseID = r.session.fence, r.ConversationID, r.ID
	rows, err := r.rest()
	var kept bool
	var as *Step
	switch {
	case err == errUnknown:
		r.note.Warn("a reply is left for the next start to settle", "error", err)
	case err != nil:
		as, kept = a.finish(r, r.without(end, err))
	default:
		end.Deltas = rows
		as, kept = a.finish(r, end)
	}
	a.mu.Lock()
	delete(a.replies, r.ID)
	a.mu.Unlock()
	if kept {
		a.tails.ended(r.ID, as)
	}
	if end.Status == store.ResponseCompleted && r.Model != llm.OfflineModel {
		r.question.Input, r.history = nil, nil // it may wait long
		a.titles.end(r)
	} else {
		a.titles.end(nil)
	}
}

// rest returns the last rows of the reply once nothing of it is on its way to the log, where it would be shown while the end does
// without it. A session that is over does not wait long: who settles the reply waits for the writes under way.
func (r *reply) rest() ([]store.Delta, error) {
	ctx, cancel := r.session.soon(r.ctx)
	defer cancel()
	return r.log.rest(ctx)
}

// without is end when the last rows cannot be kept because of err.
func (r *reply) without(end store.Finish, err error) store.Finish {
	stopped := r.stopped(err)
	end.Status, end.IncompleteReason, end.Error, end.Deltas = stopped.Status, stopped.IncompleteReason, stopped.Error, nil
	return end
}

// finish commits the end, as often as it takes; after an unknown outcome the record says which end it was. It returns the end as the
// record has it, with the whole log, or nil where it has nothing any more; and false where the reply has not ended.
func (a *Advisor) finish(r *reply, end store.Finish) (*Step, bool) {
	ctx := r.session.last
	var pause backoff
	for {
		try, cancel := context.WithTimeout(ctx, finishTimeout)
		ended, log, err := a.Record.FinishResponse(try, end)
		cancel()
		switch {
		case err == nil:
			if end.Status == store.ResponseCompleted && ended.Status == store.ResponseIncomplete {
				r.note.Error("the database has lost a part of a reply; what it has left is kept")
			}
			return &Step{Response: ended, Deltas: log}, true
		case errors.Is(err, store.ErrNotFound):
			return nil, true
		case errors.Is(err, store.ErrFenced): // who has taken it over ends it
			return nil, false
		case store.Permanent(err) && len(end.Deltas) > 0:
			end = r.without(end, err)
			continue
		case store.Permanent(err):
			r.note.Error("a reply cannot be ended", "error", err)
			return nil, false
		}
		r.note.Warn("the end of a reply waits for the database", "error", err)
		// A server that is stopping leaves the rest to the next start.
		if r.session.ctx.Err() != nil && pause.next >= time.Second || !pause.wait(ctx) {
			return nil, false
		}
	}
}

// generate lets the model write and returns how the reply ended. When the question asks for it, the oldest turns are left out of a
// conversation that is longer than the model's context.
func (a *Advisor) generate(r *reply) store.Finish {
	request, turns, err := a.request(r)
	if err != nil {
		return r.stopped(err)
	}
	said := newComposer(func(rows ...store.Delta) error { return r.out(r.ctx, rows...) })
	said.most = r.question.MaxToolCalls
	end := store.Finish{Status: store.ResponseCompleted}
	stopped := func(err error) store.Finish { return r.without(end, err) }
	if err := said.resume(r.question.beginning); err != nil {
		return stopped(err)
	}
	request.Waiting, request.Continue = r.waitFor, len(r.question.beginning) > 0
	fixed := len(request.Messages) // the instructions
	begun := false                 // the model has
	finish := ""
	for again := true; again; {
		again = false
		request.Messages = append(request.Messages[:fixed:fixed], turns.messages...)
		if request.Continue {
			request.Messages = append(request.Messages, toldBeginning(r.question.beginning))
		}
		for delta, err := range r.provider.Stream(r.ctx, request) {
			if r.question.Truncate && !begun && tooLong(err) {
				if dropped := turns.drop(); dropped > 0 {
					end.DroppedTurns += dropped
					again = true
					break
				}
			}
			if err != nil {
				return stopped(err)
			}
			if !begun {
				begun = true
				r.begun()
			}
			if delta.Usage != nil {
				u := store.Usage(*delta.Usage)
				end.Usage = &u
			}
			if delta.Finish != "" {
				finish = delta.Finish
			}
			if err := said.write(delta); err != nil {
				return stopped(err)
			}
		}
	}
	switch finish {
	case llm.FinishLength:
		end.Status, end.IncompleteReason = store.ResponseIncomplete, ReasonMaxOutputTokens
	case llm.FinishContentFilter:
		end.Status, end.IncompleteReason = store.ResponseIncomplete, ReasonContentFilter
	}
	if err := said.end(end.Status == store.ResponseCompleted); err != nil {
		return stopped(err)
	}
	return end
}

// tooLong reports whether a model was told more than its context holds.
func tooLong(err error) bool {
	var model *llm.Error
	return errors.As(err, &model) && model.Code == llm.CodeContextExceeded
}

// stopped is the end of a reply that could not be finished because of err.
func (r *reply) stopped(err error) store.Finish {
	if r.log != nil && !r.isKept() {
		return store.Finish{}
	}
	if r.ctx.Err() != nil {
		cause := context.Cause(r.ctx)
		r.note.Info("a reply was interrupted", "cause", cause)
		if cause == errCancelled {
			return store.Finish{Status: store.ResponseCancelled}
		}
		return store.Finish{Status: store.ResponseIncomplete, IncompleteReason: store.ReasonInterrupted}
	}
	r.note.Warn("a reply failed", "error", err)
	failure := &store.ResponseError{Code: "server_error", Message: "The reply could not be written: " + err.Error()}
	var model *llm.Error
	if errors.As(err, &model) {
		failure = &store.ResponseError{Code: "model_error", Message: model.Error()}
		if tooLong(err) {
			failure.Code = llm.CodeContextExceeded // OpenAI's word, too
		}
	}
	return store.Finish{Status: store.ResponseFailed, Error: failure}
}

// request is what the model is told, without the conversation up to the question, which is the dialogue: the lab's notes and the
// instructions.
func (a *Advisor) request(r *reply) (llm.Request, *dialogue, error) {
	q := r.question
	request := r.request
	if r.log != nil {
		request.Pace = func() { r.log.pace(r.ctx) }
	}
	notes, err := a.Notes.Read(r.ctx)
	if err != nil {
		a.Log.Warn("answering without the lab's notes", "error", err)
		notes = &lab.Notes{}
	}
	if system := joined(q.Instructions, notes.Instructions()); system != "" {
		request.Messages = append(request.Messages, llm.Message{Role: llm.RoleSystem, Text: system})
	}
	history, err := r.history()
	if err != nil {
		return request, nil, fmt.Errorf("the conversation could not be read: %w", err)
	}
	turns, err := newDialogue(history, len(q.Input))
	return request, turns, err
}

// read reads what the reply answers, as often as it takes.
func (a *Advisor) read(r *reply) ([]store.Message, error) {
	var pause backoff
	for {
		try, cancel := context.WithTimeout(r.ctx, 3*patience) // a long one takes a while
		messages, err := a.Record.History(try, r.Response)
		cancel()
		if !store.Unknown(err) {
			return messages, err
		}
		r.note.Warn("a reply waits for the database", "error", err)
		if !pause.wait(r.ctx) {
			return nil, err
		}
	}
}

// title is what a conversation is called until someone names it: the first line of the first question.
func title(input []store.NewMessage) string {
	const longest = 80
	for _, m := range input {
		if it, err := (store.Message{Role: m.Role, Item: m.Item}).Typed(); err != nil || m.Role != llm.RoleUser || it.Type != store.ItemMessage {
			continue
		}
		line, _, _ := strings.Cut(strings.TrimSpace(m.Content), "\n")
		if runes := []rune(strings.TrimSpace(line)); len(runes) > longest {
			return strings.TrimSpace(string(runes[:longest])) + "…"
		} else if len(runes) > 0 {
			return string(runes)
		}
	}
	return ""
}

func joined(parts ...string) string {
	var list []string
	for _, p := range parts {
		if p != "" {
			list = append(list, p)
		}
	}
	return strings.Join(list, "\n\n")
}

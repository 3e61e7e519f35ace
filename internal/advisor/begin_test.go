package advisor

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// refusing is away when it is first asked, and then keeps no question. When it answers, all that was to happen until then has happened.
type refusing struct {
	Record
	tries []func()
}

func (r *refusing) StartResponse(context.Context, store.NewResponse) (store.Response, error) {
	synctest.Wait()
	r.tries[0]()
	if r.tries = r.tries[1:]; len(r.tries) > 0 {
		return store.Response{}, errors.New("connection refused")
	}
	return store.Response{}, store.ErrNotFound
}

// quiet is a model that says nothing until it is stopped.
type quiet struct {
	llm.Provider
	asked, stopped int
}

func (q *quiet) Resolve(context.Context, string) (llm.Provider, string, error) { return q, "m", nil }

func (q *quiet) Stream(ctx context.Context, _ llm.Request) iter.Seq2[llm.Delta, error] {
	return func(yield func(llm.Delta, error) bool) {
		q.asked++
		<-ctx.Done()
		q.stopped++
		yield(llm.Delta{}, ctx.Err())
	}
}

// A model that is asked something new is asked while the question is being kept, and left alone when the database is away. What
// follows something, or may have been asked before, is in the record first.
func TestWhenAModelIsAsked(t *testing.T) {
	for name, test := range map[string]struct {
		q     Question
		asked int
	}{
		"something new":                       {Question{}, 1},
		"in a conversation":                   {Question{ConversationID: store.NewID()}, 0},
		"after a reply":                       {Question{PreviousID: store.NewID()}, 0},
		"something that may come twice":       {Question{Key: "key"}, 0},
		"in a conversation, and may be twice": {Question{ConversationID: store.NewID(), Key: "key"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var model quiet
				var said strings.Builder
				record := &refusing{tries: []func(){func() {
					if model.asked != test.asked || model.stopped > 0 {
						t.Errorf("the model was asked %d times while the question was being kept, and stopped %d times", model.asked, model.stopped)
					}
				}, func() {
					if model.asked != test.asked || model.stopped != test.asked {
						t.Errorf("while the database was away the model was asked %d times and stopped %d times", model.asked, model.stopped)
					}
				}}}
				a := &Advisor{Config: Config{Record: record, Models: &model, Notes: lab.New("", 0), Log: slog.New(slog.NewTextHandler(&said, nil))},
					replies: map[string]*reply{}, asked: map[string]bool{}, titles: &titles{}}
				a.session = &session{flusher: &flusher{wake: make(chan struct{}, 1)}, last: t.Context()}
				a.session.ctx, a.session.end = context.WithCancelCause(t.Context())
				test.q.Input = []store.NewMessage{{Role: "user", Content: "q"}}
				if _, err := a.Ask(t.Context(), test.q); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("the answer is %v", err)
				}
				a.session.work.Wait()
				if model.asked != test.asked || model.stopped != test.asked {
					t.Errorf("the model was asked %d times and stopped %d times", model.asked, model.stopped)
				}
				if got := said.String(); len(a.replies) > 0 || a.titles.writing > 0 || strings.Count(got, "\n") != 1 || !strings.Contains(got, "a question waits for the database") {
					t.Errorf("something is left of it: %d replies, %d of them written, %s", len(a.replies), a.titles.writing, got)
				}
			})
		})
	}
}

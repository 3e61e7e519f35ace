package api_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/api"
	"git.georgsen.dk/hwlab/internal/api/apitest"
	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// unread is a record whose replies cannot be read.
type unread struct{ testrecord.Record }

func (unread) ReadLog(context.Context, string, int) (store.Response, []store.Delta, error) {
	return store.Response{}, nil, &store.ConnectError{Reason: "no answer"}
}

func TestABackgroundReplyIsAnsweredAlthoughTheDatabaseGoesAway(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		s := start(t, unread{r}, store.NewID(), lab.New("", 0))
		gate := llmtest.NewGate()
		defer gate.Open()
		s.model.Script(llmtest.Step{Gate: gate})
		here := s.ok("POST", "/v1/responses", object{"input": "go", "background": true, "metadata": object{"rack": "2"}})
		is(t, "it is as others read it", here, start(t, r, store.NewID(), lab.New("", 0)).ok("GET", "/v1/responses/"+here.str("id"), nil))
	})
}

// failing is an advisor that fails to keep a question, or to show the reply.
type failing struct {
	api.Advisor
	ask, follow error
}

func (f failing) Ask(context.Context, advisor.Question) (store.Response, error) {
	return store.Response{ID: store.NewID(), Status: store.ResponseInProgress}, f.ask
}

func (f failing) Asked(context.Context, string, string) (store.Response, bool, error) {
	return store.Response{}, false, nil
}

func (f failing) Follow(context.Context, string, int) iter.Seq2[advisor.Step, error] {
	return func(yield func(advisor.Step, error) bool) { yield(advisor.Step{}, f.follow) }
}

func (f failing) Ended(context.Context, string) (store.Response, []store.Delta, error) {
	return store.Response{}, nil, f.follow
}

// Clients repeat what is answered with a 5xx, unless they are told not to. A question that is kept, or may be, would then stand twice.
func TestAQuestionThatMayBeKeptIsNotRepeated(t *testing.T) {
	broken := errors.New("the connection broke")
	refused := &store.ConnectError{Reason: "connection refused"}
	for _, test := range []struct {
		name        string
		advisor     failing
		key         string
		shouldRetry string
	}{
		{"it was not kept", failing{ask: refused}, "", ""},
		{"it may be kept", failing{ask: &advisor.UnsureError{Err: refused}}, "", "false"},
		{"it may be kept, with a key", failing{ask: &advisor.UnsureError{Err: refused}}, "k", ""},
		{"it is kept, and the reply cannot be read", failing{follow: broken}, "", "false"},
		{"it is kept, and the reply cannot be read, with a key", failing{follow: broken}, "k", ""},
	} {
		for _, stream := range []bool{false, true} {
			web := httptest.NewServer(apitest.Handler(t, api.New(api.Config{Advisor: test.advisor, Log: slog.New(slog.DiscardHandler)})))
			s := &server{t: t, url: web.URL}
			header := http.Header{}
			if test.key != "" {
				header.Set("Idempotency-Key", test.key)
			}
			status, raw, got := s.send("POST", "/v1/responses", object{"input": "q", "stream": stream}, header)
			if status < 500 || got.Get("X-Should-Retry") != test.shouldRetry {
				t.Errorf("%s: %d %s, x-should-retry is %q", test.name, status, raw, got.Get("X-Should-Retry"))
			}
			web.Close()
		}
	}
}

package advisor_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// Outcomes that nobody was told: the database did what it was asked to, and the answer got lost.

var errLost = errors.New("unexpected EOF")

func TestAQuestionWhoseStartWasNotAnsweredStandsOnce(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		var starts atomic.Int32
		record := &troubled{Record: r, start: func(ctx context.Context, n store.NewResponse) (store.Response, error) {
			response, err := r.StartResponse(ctx, n)
			if starts.Add(1) == 1 && err == nil {
				return store.Response{}, errLost
			}
			return response, err
		}}
		a := start(t, record, llmtest.New("m"), store.NewID())
		reply := ask(t, a, "only once")
		if starts.Load() < 2 {
			t.Error("the question was not asked again")
		}
		shown, end := follow(t, a, reply.ID)
		if end.Status != store.ResponseCompleted || shown == "" {
			t.Errorf("shown is %q, %s", shown, end.Status)
		}
		page, err := r.Thread(t.Context(), store.ThreadQuery{ConversationID: reply.ConversationID})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Messages) != 2 || page.Messages[0].Content != "only once" || page.Messages[1].Content != shown {
			t.Errorf("the conversation is %+v", page.Messages)
		}
	})
}

// A server that never learns what became of a question says that it does not know, and still answers it if it is there.
func TestAQuestionOfUnknownFateIsAnsweredIfItWasKept(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		var id atomic.Value
		ctx, cancel := context.WithCancel(t.Context())
		record := &troubled{Record: r, start: func(ctx context.Context, n store.NewResponse) (store.Response, error) {
			if _, err := r.StartResponse(context.WithoutCancel(ctx), n); err != nil && id.Load() == nil {
				t.Error(err)
			}
			id.Store(n.ID)
			cancel() // who asked does not wait any longer
			return store.Response{}, errLost
		}}
		a := start(t, record, llmtest.New("m"), store.NewID())
		if _, err := a.Ask(ctx, advisor.Question{Model: "m", Input: []store.NewMessage{{Role: "user", Content: "q"}}}); !errors.Is(err, errLost) {
			t.Fatalf("the answer is %v", err)
		}
		if shown, end := follow(t, a, id.Load().(string)); end.Status != store.ResponseCompleted || shown == "" {
			t.Errorf("shown is %q, %s", shown, end.Status)
		}
	})
}

// The end waits for a write that is under way, however long it takes: what it commits is shown, so it must be kept.
func TestTheEndWaitsForAWriteUnderWay(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		stuck, release := make(chan struct{}), make(chan struct{})
		var underWay atomic.Bool
		var once sync.Once
		record := &troubled{Record: r}
		record.appendDeltas = func(ctx context.Context, f store.Fence, rows []store.Delta) error {
			if !strings.Contains(rows[len(rows)-1].Text, "late") {
				return r.AppendDeltas(ctx, f, rows)
			}
			underWay.Store(true)
			defer underWay.Store(false)
			once.Do(func() { close(stuck) })
			<-release
			return r.AppendDeltas(context.WithoutCancel(ctx), f, rows)
		}
		record.finish = func(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error) {
			if underWay.Load() {
				t.Error("the reply was ended while a write was under way")
			}
			return r.FinishResponse(ctx, f)
		}
		gate := llmtest.NewGate()
		model := llmtest.New("m")
		model.Script(llmtest.Step{Text: "early "}, llmtest.Step{Gate: gate, Text: "late"}, llmtest.Step{Gate: llmtest.NewGate()})
		// What the server says of a reply that was stopped it says before it ends it, and the commit takes longer than a call.
		a, err := advisor.Start(t.Context(), advisor.Config{Record: record, Models: models{model}, Notes: lab.New("", 0), ServerID: store.NewID(),
			Log: slog.New(&listener{Handler: slog.NewTextHandler(t.Output(), nil), message: "a reply was interrupted",
				heard: sync.OnceFunc(func() { close(release) })})})
		if err != nil {
			t.Fatal(err)
		}
		reply := ask(t, a, "q")
		<-gate.Reached()
		gate.Open()
		<-stuck
		if err := a.Cancel(t.Context(), reply.ID); err != nil {
			t.Fatal(err)
		}
		shown, end := follow(t, a, reply.ID)
		if got := kept(t, r, reply); shown != "early late" || got != shown || end.Status != store.ResponseCancelled {
			t.Errorf("shown is %q, kept is %q, %s", shown, got, end.Status)
		}
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// listener calls heard when a message is logged.
type listener struct {
	slog.Handler
	message string
	heard   func()
}

func (l *listener) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == l.message {
		l.heard()
	}
	return l.Handler.Handle(ctx, r)
}

func (l *listener) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &listener{l.Handler.WithAttrs(attrs), l.message, l.heard}
}

// A question that is being kept when the server stops is one of those that it settles.
func TestAQuestionIsSettledThatIsKeptWhileTheServerStops(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		asking, stopping := make(chan struct{}), make(chan struct{})
		record := &troubled{Record: r, start: func(ctx context.Context, n store.NewResponse) (store.Response, error) {
			close(asking)
			<-stopping
			response, err := r.StartResponse(context.WithoutCancel(ctx), n) // its commit is under way, whatever becomes of ctx
			return response, cmp.Or(ctx.Err(), err)
		}}
		server := store.NewID()
		a, err := advisor.Start(t.Context(), advisor.Config{Record: record, Models: models{llmtest.New("m")}, Notes: lab.New("", 0), ServerID: server,
			Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			a.Ask(context.WithoutCancel(t.Context()), advisor.Question{Model: "m", Input: []store.NewMessage{{Role: "user", Content: "q"}}})
		}()
		<-asking
		stopped := make(chan error)
		go func() { stopped <- a.Stop(context.WithoutCancel(t.Context())) }()
		for a.Ready(t.Context()) != advisor.ErrStopping {
			runtime.Gosched()
		}
		close(stopping)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		<-asked
		if left, err := r.Running(t.Context(), server); err != nil || len(left) > 0 {
			t.Errorf("the next start finds %+v, %v", left, err)
		}
	})
}

// A reply of this server that it does not write, since the database kept its question long after that was given up, is settled; one
// that it writes is not.
func TestAReplyThatNobodyWritesIsSettled(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		var fence store.Fence
		record := &troubled{Record: r, start: func(ctx context.Context, n store.NewResponse) (store.Response, error) {
			fence = n.Fence
			return r.StartResponse(ctx, n)
		}}
		gate := llmtest.NewGate()
		model := llmtest.New("m")
		model.Script(llmtest.Step{Text: "one "}, llmtest.Step{Gate: gate, Text: "two"})
		a, err := advisor.Start(t.Context(), advisor.Config{Record: record, Models: models{model}, Notes: lab.New("", 0), ServerID: store.NewID(),
			Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Heartbeat: 10 * time.Millisecond, DeadAfter: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Stop(context.WithoutCancel(t.Context()))
		written := ask(t, a, "q")
		<-gate.Reached()
		stray, err := r.StartResponse(t.Context(), store.NewResponse{ID: store.NewID(), Fence: fence, Model: "m", Input: []store.NewMessage{{Role: "user", Content: "late"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, end := follow(t, a, stray.ID); end.Status != store.ResponseIncomplete || end.IncompleteReason != store.ReasonInterrupted {
			t.Errorf("it ends as %s, %s", end.Status, end.IncompleteReason)
		}
		gate.Open()
		if shown, end := follow(t, a, written.ID); end.Status != store.ResponseCompleted || shown != "one two" {
			t.Errorf("the one that is written ends as %s with %q", end.Status, shown)
		}
	})
}

// A server that has no more time to stop does not wait for a database that hangs.
func TestAStopThatGivesUpEndsWhatHangs(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		hanging := make(chan struct{})
		var tries atomic.Int32
		record := &troubled{Record: r, finish: func(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error) {
			if tries.Add(1) == 1 {
				close(hanging)
			}
			<-ctx.Done()
			return store.Response{}, nil, ctx.Err()
		}}
		gate := llmtest.NewGate()
		model := llmtest.New("m")
		model.Script(llmtest.Step{Gate: gate, Text: "never"})
		a, err := advisor.Start(t.Context(), advisor.Config{Record: record, Models: models{model}, Notes: lab.New("", 0), ServerID: store.NewID(),
			Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		ask(t, a, "q")
		<-gate.Reached()
		ctx, giveUp := context.WithCancel(context.WithoutCancel(t.Context()))
		stopped := make(chan error)
		go func() { stopped <- a.Stop(ctx) }()
		<-hanging
		giveUp()
		if err := <-stopped; !errors.Is(err, context.Canceled) || tries.Load() != 1 {
			t.Errorf("it stops with %v after %d tries", err, tries.Load())
		}
	})
}

// A server that has so much to settle when it starts that another takes it for dead goes on with what is left.
func TestAStartThatIsFencedOffGoesOn(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		id := store.NewID()
		fence, err := r.JoinServer(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		left, err := r.StartResponse(t.Context(), store.NewResponse{Fence: fence, Model: "m", Input: []store.NewMessage{{Role: "user", Content: "q"}}})
		if err != nil {
			t.Fatal(err)
		}
		var tries atomic.Int32
		record := &troubled{Record: r, finish: func(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error) {
			if tries.Add(1) == 1 {
				if done, err := r.FenceOff(ctx, store.Server{ID: id, Epoch: f.Fence.Epoch}); !done || err != nil {
					t.Errorf("it is not fenced off: %v", err)
				}
			}
			return r.FinishResponse(ctx, f)
		}}
		a := start(t, record, llmtest.New("m"), id)
		if now, _, err := r.ReadLog(t.Context(), left.ID, 0); err != nil || now.Status != store.ResponseIncomplete || tries.Load() != 2 {
			t.Errorf("after %d tries it is %s, %v", tries.Load(), now.Status, err)
		}
		ask(t, a, "and one that is new")
	})
}

// Who reads a reply of which nothing is kept, and takes nothing of it, keeps the server from nothing.
func TestAReaderWhoTakesNothingHoldsUpNobody(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		id := store.NewID()
		a, err := advisor.Start(t.Context(), advisor.Config{Record: r, Models: models{llmtest.New("m")}, Notes: lab.New("", 0), ServerID: id,
			Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Heartbeat: 10 * time.Millisecond, DeadAfter: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		question := advisor.Question{Model: "m", Input: []store.NewMessage{{Role: "user", Content: "q"}}}
		reads, read, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(left)
			full := sync.OnceFunc(func() { close(reads); <-read })
			for range a.Answer(context.WithoutCancel(t.Context()), question) {
				full()
			}
		}()
		<-reads
		if _, err := r.JoinServer(t.Context(), id); err != nil { // as one that takes it over
			t.Fatal(err)
		}
		for {
			if _, err = a.Ask(t.Context(), question); !errors.Is(err, store.ErrFenced) { // the next waits until it has joined anew
				break
			}
		}
		if err := errors.Join(err, a.Stop(t.Context())); err != nil {
			t.Error(err)
		}
		close(read)
		<-left
	})
}

package advisor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(testpg.Exit)) }

// troubled is a record whose writes of questions, of log rows and of ends a test can let fail.
type troubled struct {
	testrecord.Record
	start        func(ctx context.Context, n store.NewResponse) (store.Response, error)
	appendDeltas func(ctx context.Context, f store.Fence, rows []store.Delta) error
	finish       func(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error)
}

func (r *troubled) StartResponse(ctx context.Context, n store.NewResponse) (store.Response, error) {
	if r.start != nil {
		return r.start(ctx, n)
	}
	return r.Record.StartResponse(ctx, n)
}

func (r *troubled) AppendDeltas(ctx context.Context, f store.Fence, rows []store.Delta) error {
	if r.appendDeltas != nil {
		return r.appendDeltas(ctx, f, rows)
	}
	return r.Record.AppendDeltas(ctx, f, rows)
}

func (r *troubled) FinishResponse(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error) {
	if r.finish != nil {
		return r.finish(ctx, f)
	}
	return r.Record.FinishResponse(ctx, f)
}

// models has one provider for every name.
type models struct{ llm.Provider }

func (m models) Resolve(_ context.Context, model string) (llm.Provider, string, error) {
	return m.Provider, model, nil
}

func start(t *testing.T, record advisor.Record, provider llm.Provider, id string) *advisor.Advisor {
	t.Helper()
	a, err := advisor.Start(t.Context(), advisor.Config{Record: record, Models: models{provider}, Notes: lab.New("", 0), ServerID: id,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return a
}

func ask(t *testing.T, a *advisor.Advisor, question string) store.Response {
	t.Helper()
	r, err := a.Ask(t.Context(), advisor.Question{Model: "m", Input: []store.NewMessage{{Role: "user", Content: question}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// follow reads a reply to its end and returns the text shown and how it ended.
func follow(t *testing.T, a *advisor.Advisor, id string) (shown string, r store.Response) {
	t.Helper()
	next := 0
	for step, err := range a.Follow(t.Context(), id, 0) {
		if err != nil {
			t.Fatal(err)
		}
		r = step.Response
		for _, d := range step.Deltas {
			if d.N != next {
				t.Errorf("row %d came where %d should", d.N, next)
			}
			next++
			if d.Kind == store.DeltaText {
				shown += d.Text
			}
		}
	}
	return shown, r
}

// kept is the text of a reply's messages.
func kept(t *testing.T, record testrecord.Record, r store.Response) string {
	t.Helper()
	page, err := record.Thread(t.Context(), store.ThreadQuery{ConversationID: r.ConversationID})
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, m := range page.Messages {
		if m.ResponseID == r.ID {
			text += m.Content
		}
	}
	return text
}

// A model may have begun before its question is in the record; nothing of it is written before.
func TestWhatAModelSaysWaitsForItsQuestion(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		gate := llmtest.NewGate()
		model := llmtest.New("m")
		model.Script(llmtest.Step{Gate: gate, Text: "at once"})
		var isKept atomic.Bool
		record := &troubled{Record: r, start: func(ctx context.Context, n store.NewResponse) (store.Response, error) {
			<-gate.Reached()
			gate.Open()
			response, err := r.StartResponse(ctx, n)
			isKept.Store(true)
			return response, err
		}, appendDeltas: func(ctx context.Context, f store.Fence, rows []store.Delta) error {
			if !isKept.Load() {
				t.Error("rows are written before the question is kept")
			}
			return r.AppendDeltas(ctx, f, rows)
		}, finish: func(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error) {
			if !isKept.Load() {
				t.Error("the reply is ended before the question is kept")
			}
			return r.FinishResponse(ctx, f)
		}}
		a := start(t, record, model, store.NewID())
		reply := ask(t, a, "q")
		shown, end := follow(t, a, reply.ID)
		if shown != "at once" || end.Status != store.ResponseCompleted || kept(t, r, reply) != shown {
			t.Errorf("shown is %q, %s", shown, end.Status)
		}
	})
}

func TestADatabaseThatIsAwayIsWaitedForAndNothingIsLostOrDoubled(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		var calls atomic.Int32
		record := &troubled{Record: r}
		record.appendDeltas = func(ctx context.Context, f store.Fence, rows []store.Delta) error {
			switch calls.Add(1) % 4 {
			case 1: // away
				return errors.New("connection refused")
			case 2: // committed, but the answer was lost
				if err := r.AppendDeltas(ctx, f, rows); err != nil {
					return err
				}
				return errors.New("unexpected EOF")
			}
			return r.AppendDeltas(ctx, f, rows)
		}
		var ends atomic.Int32
		record.finish = func(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error) {
			switch ends.Add(1) {
			case 1:
				return store.Response{}, nil, errors.New("connection refused")
			case 2:
				if _, _, err := r.FinishResponse(ctx, f); err != nil {
					return store.Response{}, nil, err
				}
				return store.Response{}, nil, errors.New("unexpected EOF")
			}
			return r.FinishResponse(ctx, f)
		}
		want := ""
		var script []llmtest.Step
		for i := range 30 {
			text := fmt.Sprintf("wörd %d ", i)
			want += text
			script = append(script, llmtest.Step{Text: text})
		}
		model := llmtest.New("m")
		model.Script(script...)
		a := start(t, record, model, store.NewID())
		reply := ask(t, a, "q")
		shown, end := follow(t, a, reply.ID)
		if shown != want || end.Status != store.ResponseCompleted {
			t.Errorf("shown is %q, %s", shown, end.Status)
		}
		if got := kept(t, r, reply); got != want {
			t.Errorf("kept is %q", got)
		}
	})
}

func TestNothingIsShownBeforeItsCommit(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		var mu sync.Mutex
		committed, flushes := "", 0
		commit := func(rows []store.Delta, write func() error) error {
			mu.Lock()
			defer mu.Unlock()
			if err := write(); err != nil {
				return err
			}
			for _, d := range rows {
				if d.Kind == store.DeltaText {
					committed += d.Text
				}
			}
			return nil
		}
		gate := llmtest.NewGate()
		record := &troubled{Record: r, appendDeltas: func(ctx context.Context, f store.Fence, rows []store.Delta) error {
			if flushes++; flushes == 1 {
				gate.Open()
			}
			return commit(rows, func() error { return r.AppendDeltas(ctx, f, rows) })
		}, finish: func(ctx context.Context, f store.Finish) (ended store.Response, log []store.Delta, err error) {
			err = commit(f.Deltas, func() error {
				ended, log, err = r.FinishResponse(ctx, f)
				return err
			})
			return ended, log, err
		}}
		model := llmtest.New("m")
		words := llmtest.Say(strings.Split(strings.Repeat("some words of an answer ", 40), " ")...)
		model.Script(slices.Concat(words[:len(words)-1], []llmtest.Step{{Gate: gate}}, words)...)
		a := start(t, record, model, store.NewID())
		reply := ask(t, a, "q")
		shown := ""
		for step, err := range a.Follow(t.Context(), reply.ID, 0) {
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range step.Deltas {
				if d.Kind == store.DeltaText {
					shown += d.Text
				}
			}
			mu.Lock()
			if !strings.HasPrefix(committed, shown) {
				t.Errorf("shown is %q, committed only %q", shown, committed)
			}
			mu.Unlock()
		}
	})
}

func TestAnOwnerThatWasTakenOverWritesNothingMore(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		id := store.NewID()
		gate := llmtest.NewGate()
		model := llmtest.New("m")
		model.Script(llmtest.Step{Text: "before "}, llmtest.Step{Gate: gate, Text: "after"})
		old := start(t, r, model, id)
		reply := ask(t, old, "q")
		<-gate.Reached()
		for step, err := range old.Follow(t.Context(), reply.ID, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if len(step.Deltas) > 0 && step.Deltas[len(step.Deltas)-1].Kind == store.DeltaText {
				break // "before" is committed
			}
		}
		// The same id starts elsewhere, as if this process were a ghost: it settles the reply.
		successor := start(t, r, llmtest.New("m"), id)
		gate.Open()
		for _, a := range []*advisor.Advisor{old, successor} {
			if shown, end := follow(t, a, reply.ID); shown != "before " || end.Status != store.ResponseIncomplete || end.IncompleteReason != store.ReasonInterrupted {
				t.Errorf("shown is %q, %s (%s)", shown, end.Status, end.IncompleteReason)
			}
		}
		if err := old.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if got := kept(t, r, reply); got != "before " {
			t.Errorf("kept is %q", got)
		}
	})
}

// flood is a model that says more than may wait in memory.
type flood struct {
	*llmtest.Fake
	words int
	said  atomic.Int64
}

// word is a kilobyte.
func (f *flood) word(i int) string { return fmt.Sprintf("%01023d ", i) }

func (f *flood) Stream(ctx context.Context, _ llm.Request) iter.Seq2[llm.Delta, error] {
	return func(yield func(llm.Delta, error) bool) {
		for i := range f.words {
			f.said.Add(1)
			if !yield(llm.Delta{Text: f.word(i)}, nil) {
				return
			}
		}
		yield(llm.Delta{Finish: llm.FinishStop}, nil)
	}
}

func TestWhileTheDatabaseIsAwayTheModelIsPausedAndNothingIsDropped(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		back := make(chan struct{})
		reached := make(chan struct{})
		reach := sync.OnceFunc(func() { close(reached) })
		record := &troubled{Record: r, appendDeltas: func(ctx context.Context, f store.Fence, rows []store.Delta) error {
			reach()
			select {
			case <-back:
			case <-ctx.Done():
				return ctx.Err()
			}
			return r.AppendDeltas(ctx, f, rows)
		}}
		model := &flood{Fake: llmtest.New("m"), words: 4 << 10}
		a := start(t, record, model, store.NewID())
		reply := ask(t, a, "q")
		<-reached
		// The reply waits in add once it has said too much: then what was said stops growing.
		for last, same := int64(0), 0; last < 256 || same < 100; same++ {
			if said := model.said.Load(); said != last {
				last, same = said, 0
			}
			if _, _, err := r.ReadLog(t.Context(), reply.ID, 0); err != nil { // something that takes a moment
				t.Fatal(err)
			}
		}
		if said := model.said.Load(); said > 1<<10 {
			t.Errorf("the model said %d kB that nobody could keep", said)
		}
		close(back)
		var whole strings.Builder
		for i := range model.words {
			whole.WriteString(model.word(i))
		}
		if shown, end := follow(t, a, reply.ID); end.Status != store.ResponseCompleted || shown != whole.String() {
			t.Errorf("shown are %d bytes of %d, and it is %s", len(shown), whole.Len(), end.Status)
		}
		if got := kept(t, r, reply); got != whole.String() {
			t.Errorf("kept are %d bytes of %d", len(got), whole.Len())
		}
	})
}

// refused is an error of the data itself.
type refused struct{}

func (refused) Error() string   { return "the database refuses this text" }
func (refused) Permanent() bool { return true }

func TestAReplyThatTheDatabaseRefusesDoesNotStopTheOthers(t *testing.T) {
	for _, atTheEnd := range []bool{false, true} { // its last words, or words before
		r := testrecord.SQLite(t)
		begin, end := llmtest.NewGate(), llmtest.NewGate()
		poisoned := func(rows []store.Delta) bool {
			return slices.ContainsFunc(rows, func(d store.Delta) bool { return strings.Contains(d.Text, "poison") })
		}
		record := &troubled{Record: r, appendDeltas: func(ctx context.Context, f store.Fence, rows []store.Delta) error {
			if !poisoned(rows) {
				return r.AppendDeltas(ctx, f, rows)
			}
			if !slices.ContainsFunc(rows, func(d store.Delta) bool { return d.ResponseID != rows[0].ResponseID }) {
				defer end.Open() // it was tried alone
			}
			return refused{}
		}, finish: func(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error) {
			if poisoned(f.Deltas) {
				return store.Response{}, nil, refused{}
			}
			return r.FinishResponse(ctx, f)
		}}
		model := llmtest.New("m")
		const n = 8
		for i := range n {
			text := "fine"
			if i == 3 {
				text = "poison"
			}
			steps := []llmtest.Step{{Gate: begin, Text: text}}
			if !atTheEnd {
				steps = append(steps, llmtest.Step{Gate: end, Text: "."})
			}
			model.Script(steps...)
		}
		a := start(t, record, model, store.NewID())
		var replies []store.Response
		for range n {
			replies = append(replies, ask(t, a, "q"))
		}
		begin.Open()
		fine, failed := 0, 0
		for _, reply := range replies {
			switch shown, end := follow(t, a, reply.ID); {
			case end.Status == store.ResponseCompleted && strings.TrimSuffix(shown, ".") == "fine":
				fine++
			case end.Status == store.ResponseFailed && shown == "":
				failed++
			default:
				t.Errorf("one shows %q and is %s", shown, end.Status)
			}
		}
		if fine != n-1 || failed != 1 {
			t.Errorf("%d are whole and %d failed", fine, failed)
		}
	}
}

func TestAskFailsOnceItIsStopped(t *testing.T) {
	a := start(t, testrecord.SQLite(t), llmtest.New("m"), store.NewID())
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Ask(t.Context(), advisor.Question{Model: "m", Input: []store.NewMessage{{Role: "user", Content: "q"}}}); !errors.Is(err, advisor.ErrStopping) {
		t.Errorf("it says %v", err)
	}
}

func TestTheFirstLineIsTheTitle(t *testing.T) {
	r := testrecord.SQLite(t)
	a := start(t, r, llmtest.New("m"), store.NewID())
	for question, want := range map[string]string{
		"Why?":                      "Why?",
		"\n  First line \nsecond":   "First line",
		strings.Repeat("wört ", 40): strings.TrimSpace(strings.Repeat("wört ", 16)) + "…",
		" \n ":                      "",
	} {
		c, err := r.CreateConversation(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		reply, err := a.Ask(t.Context(), advisor.Question{Model: "m", ConversationID: c, Input: []store.NewMessage{{Role: "system", Content: "x"}, {Role: "user", Content: question}}})
		if err != nil {
			t.Fatal(err)
		}
		follow(t, a, reply.ID)
		if got, err := r.Summary(t.Context(), c); err != nil || got.Title != want || got.Model != "m" {
			t.Errorf("after %q the conversation is %q of %q (%v), not %q", question, got.Title, got.Model, err, want)
		}
	}
}

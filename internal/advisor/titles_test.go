package advisor_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// naming is a server that lets a scripted model name conversations.
type naming struct {
	*advisor.Advisor
	t      *testing.T
	record testrecord.Record
	model  *llmtest.Fake
	named  chan error  // of each attempt to give a conversation a title
	untold chan string // a conversation that the model gave none
}

// Handle hears in the log of what has no other sign.
func (n *naming) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelDebug {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "conversation" {
				n.untold <- a.Value.String()
			}
			return true
		})
	}
	return nil
}

func (n *naming) Enabled(context.Context, slog.Level) bool { return true }
func (n *naming) WithAttrs([]slog.Attr) slog.Handler       { return n }
func (n *naming) WithGroup(string) slog.Handler            { return n }

// settled waits until the model gave a conversation no title.
func (n *naming) settled(conversation string) {
	n.t.Helper()
	if c := <-n.untold; c != conversation {
		n.t.Errorf("%s is without a title by the model, not %s", c, conversation)
	}
}

// renamed is a record that tells of titles.
type renamed struct {
	testrecord.Record
	named chan error
}

func (r renamed) UpdateConversation(ctx context.Context, id string, change store.ConversationChange) (store.ConversationSummary, error) {
	c, err := r.Record.UpdateConversation(ctx, id, change)
	r.named <- err
	return c, err
}

// eachNaming runs test with a server on each engine.
func eachNaming(t *testing.T, test func(t *testing.T, n *naming)) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) { test(t, startNaming(t, r, store.NewID())) })
}

func startNaming(t *testing.T, r testrecord.Record, id string) *naming {
	t.Helper()
	n := &naming{t: t, record: r, model: llmtest.New("m"), named: make(chan error, 100), untold: make(chan string, 100)}
	var err error
	n.Advisor, err = advisor.Start(t.Context(), advisor.Config{Record: renamed{r, n.named}, Models: models{n.model}, Notes: lab.New("", 0), ServerID: id,
		Log: slog.New(n), Titles: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n
}

func (n *naming) stop() {
	if err := n.Stop(context.Background()); err != nil {
		n.t.Error(err)
	}
}

// create makes a listed conversation.
func (n *naming) create(title string) string {
	n.t.Helper()
	id, err := n.record.CreateConversationWith(n.t.Context(), store.NewConversation{Title: title})
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// turn asks in a conversation and waits for the answer's end.
func (n *naming) turn(conversation, question string) store.Response {
	n.t.Helper()
	return n.ask(advisor.Question{Model: "m", ConversationID: conversation, Input: []store.NewMessage{{Role: "user", Content: question}}})
}

func (n *naming) ask(q advisor.Question) store.Response {
	n.t.Helper()
	r, err := n.Ask(n.t.Context(), q)
	if err != nil {
		n.t.Fatal(err)
	}
	_, r = follow(n.t, n.Advisor, r.ID)
	return r
}

// attempt waits until a conversation is given a title, and returns whether it was.
func (n *naming) attempt() error { return <-n.named }

func (n *naming) title(conversation string) string {
	n.t.Helper()
	c, err := n.record.Summary(n.t.Context(), conversation)
	if err != nil {
		n.t.Fatal(err)
	}
	return c.Title
}

func (n *naming) wantTitle(conversation, want string) {
	n.t.Helper()
	if got := n.title(conversation); got != want {
		n.t.Errorf("the title is %q, want %q", got, want)
	}
}

func TestAModelNamesAConversationAfterItsFirstReply(t *testing.T) {
	eachNaming(t, func(t *testing.T, n *naming) {
		c := n.create("")
		n.model.Script(llmtest.Say("It is ", "sdb.")...)
		n.model.Script(llmtest.Say("**\"The failing disk\"**")...)
		strict, most := true, 5
		r := n.ask(advisor.Question{Model: "m", ConversationID: c, Input: []store.NewMessage{{Role: "user", Content: "Which disk fails?\nsmartctl says no."}},
			Instructions: "Be brief.", Options: llm.Options{Tools: []llm.Tool{{Name: "look"}}, ToolChoice: llm.ToolChoice{Mode: llm.ChoiceRequired},
				Format: &llm.Format{Type: "json_object"}, ParallelToolCalls: &strict, MaxOutputTokens: &most, ReasoningEffort: "high"}})
		before, err := n.record.GetConversation(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.attempt(); err != nil {
			t.Fatal(err)
		}
		n.wantTitle(c, "The failing disk")

		// It was asked with the same messages and one more.
		asked := n.model.Requests()
		if len(asked) != 2 {
			t.Fatalf("the model was asked %d times", len(asked))
		}
		first, second := asked[0], asked[1]
		same := len(first.Messages)
		if len(second.Messages) != same+2 || !reflect.DeepEqual(second.Messages[:same], first.Messages) ||
			second.Messages[same].Role != llm.RoleAssistant || second.Messages[same].Text != "It is sdb." || second.Messages[same+1].Role != llm.RoleUser {
			t.Errorf("asked with\n%+v\nand then with\n%+v", first.Messages, second.Messages)
		}
		if !second.NoThinking || second.Format != nil || second.ToolChoice != (llm.ToolChoice{}) || !reflect.DeepEqual(second.Tools, first.Tools) || second.Model != first.Model {
			t.Errorf("asked for a title with %+v", second)
		}

		// Nothing else is kept of it, and the next reply is not asked about.
		after, err := n.record.GetConversation(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if after.Head != before.Head || len(after.Messages) != 2 || !after.UpdatedAt.Equal(before.UpdatedAt) || after.Messages[1].ResponseID != r.ID {
			t.Errorf("before %+v, after %+v", before, after)
		}
		n.turn(c, "And the next?")
		other := n.create("")
		n.turn(other, "hi")
		if err := n.attempt(); err != nil {
			t.Fatal(err)
		}
		n.wantTitle(c, "The failing disk")
		n.wantTitle(other, "ok")
		if asked := n.model.Requests(); len(asked) != 5 {
			t.Errorf("the model was asked %d times", len(asked))
		}
	})
}

func TestAPersonsTitleWinsOverTheModels(t *testing.T) {
	eachNaming(t, func(t *testing.T, n *naming) {
		c, gate := n.create(""), llmtest.NewGate()
		n.model.Script(llmtest.Say("a")...)
		n.model.Script(append([]llmtest.Step{{Gate: gate}}, llmtest.Say("The model's")...)...)
		n.turn(c, "The question")
		<-gate.Reached()
		n.wantTitle(c, "The question")
		mine := "Mine"
		if _, err := n.record.UpdateConversation(t.Context(), c, store.ConversationChange{Title: &mine}); err != nil {
			t.Fatal(err)
		}
		gate.Open()
		if err := n.attempt(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the model's title: %v", err)
		}
		n.wantTitle(c, "Mine")
	})
}

func TestSendingGoesBeforeATitle(t *testing.T) {
	eachNaming(t, func(t *testing.T, n *naming) {
		c, never := n.create(""), llmtest.NewGate()
		n.model.Script(llmtest.Say("a1")...)
		n.model.Script(append([]llmtest.Step{{Gate: never}}, llmtest.Say("too late")...)...)
		n.model.Script(llmtest.Say("a2")...)
		n.model.Script(llmtest.Say("After both")...)
		n.turn(c, "q1")
		<-never.Reached()
		n.turn(c, "q2")
		if err := n.attempt(); err != nil {
			t.Fatal(err)
		}
		n.wantTitle(c, "After both")
		if asked := n.model.Requests(); len(asked) != 4 || len(asked[3].Messages) != 5 {
			t.Errorf("%d requests, the last with %+v", len(asked), asked[len(asked)-1].Messages)
		}

		// Also to another conversation; the first is asked about again, then the second.
		c, d, never := n.create(""), n.create(""), llmtest.NewGate()
		n.model.Script(llmtest.Say("a")...)
		n.model.Script(llmtest.Step{Gate: never})
		n.model.Script(llmtest.Say("b")...)
		n.model.Script(llmtest.Say("Of the first")...)
		n.model.Script(llmtest.Say("Of the second")...)
		n.turn(c, "q")
		<-never.Reached()
		n.turn(d, "q")
		for range 2 {
			if err := n.attempt(); err != nil {
				t.Fatal(err)
			}
		}
		n.wantTitle(c, "Of the first")
		n.wantTitle(d, "Of the second")
	})
}

func TestSeveralRepliesAtOnceAreAskedAboutOnce(t *testing.T) {
	eachNaming(t, func(t *testing.T, n *naming) {
		c, gates, waits := n.create(""), []*llmtest.Gate{llmtest.NewGate(), llmtest.NewGate()}, llmtest.NewGate()
		n.model.Script(llmtest.Say("a")...)
		n.model.Script(llmtest.Step{Gate: waits})
		for _, g := range gates {
			n.model.Script(append([]llmtest.Step{{Gate: g}}, llmtest.Say("more")...)...)
		}
		n.model.Script(llmtest.Say("Named")...)
		first := n.turn(c, "q")
		<-waits.Reached()
		var running []store.Response
		for _, g := range gates {
			r, err := n.Ask(t.Context(), advisor.Question{Model: "m", PreviousID: first.ID, Input: []store.NewMessage{{Role: "user", Content: "on"}}})
			if err != nil {
				t.Fatal(err)
			}
			<-g.Reached()
			running = append(running, r)
		}
		for i, g := range gates {
			g.Open()
			follow(t, n.Advisor, running[i].ID)
		}
		if err := n.attempt(); err != nil {
			t.Fatal(err)
		}
		n.wantTitle(c, "Named")
		d := n.create("")
		n.turn(d, "q")
		if err := n.attempt(); err != nil {
			t.Fatal(err)
		}
		if asked := n.model.Requests(); len(asked) != 7 {
			t.Errorf("%d requests", len(asked))
		}
	})
}

func TestAnAnswerThatIsNotKeptGoesBeforeATitle(t *testing.T) {
	eachNaming(t, func(t *testing.T, n *naming) {
		c, never := n.create(""), llmtest.NewGate()
		n.model.Script(llmtest.Say("a")...)
		n.model.Script(llmtest.Step{Gate: never})
		n.model.Script(llmtest.Say("unkept")...)
		n.model.Script(llmtest.Say("Named")...)
		n.turn(c, "q")
		<-never.Reached()
		for _, err := range n.Answer(t.Context(), advisor.Question{Model: "m", Input: []store.NewMessage{{Role: "user", Content: "x"}}}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := n.attempt(); err != nil {
			t.Fatal(err)
		}
		n.wantTitle(c, "Named")
	})
}

func TestWhatIsNotNamed(t *testing.T) {
	eachNaming(t, func(t *testing.T, n *naming) {
		given, broken := n.create("q"), n.create("")
		n.turn(given, "q")                                                                                                                    // somebody's title, though it is the same
		n.ask(advisor.Question{Model: "m", Input: []store.NewMessage{{Role: "user", Content: "unlisted"}}})                                   // nobody sees it
		offline := n.create("")                                                                                                               //
		n.ask(advisor.Question{Model: llm.OfflineModel, ConversationID: offline, Input: []store.NewMessage{{Role: "user", Content: "look"}}}) // it makes none
		n.model.Script(llmtest.Step{Text: "half"}, llmtest.Step{Err: &llm.Error{Message: "out of memory"}})
		n.turn(broken, "fails") // no reply to be named after
		if asked := n.model.Requests(); len(asked) != 4 {
			t.Fatalf("%d requests", len(asked))
		}

		// A title that fails, or is none, is not tried again.
		failing, empty := n.create(""), n.create("")
		n.model.Script(llmtest.Say("a")...)
		failed := llmtest.NewGate()
		n.model.Script(llmtest.Step{Gate: failed}, llmtest.Step{Err: errors.New("no")})
		n.turn(failing, "one that fails")
		<-failed.Reached()
		failed.Open()
		n.model.Script(llmtest.Say("b")...)
		none := llmtest.NewGate()
		n.model.Script(append([]llmtest.Step{{Gate: none}}, llmtest.Say("\"\"\n")...)...)
		n.settled(failing)
		n.turn(empty, "one that is none")
		<-none.Reached()
		none.Open()
		n.settled(empty)

		last := n.create("")
		n.turn(last, "the last")
		if err := n.attempt(); err != nil {
			t.Fatal(err)
		}
		for c, want := range map[string]string{given: "q", offline: "look", broken: "fails", failing: "one that fails", empty: "one that is none", last: "ok"} {
			n.wantTitle(c, want)
		}
		if asked := n.model.Requests(); len(asked) != 10 {
			t.Errorf("%d requests", len(asked))
		}

		// One whose first reply failed is named after the next.
		n.turn(broken, "again")
		if err := n.attempt(); err != nil {
			t.Fatal(err)
		}
		n.wantTitle(broken, "ok")
	})
}

func TestOnlyTheServerThatAnsweredAsksAndARestartDoesNot(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		a, never := startNaming(t, r, store.NewID()), llmtest.NewGate()
		c := a.create("")
		a.model.Script(llmtest.Say("a")...)
		a.model.Script(llmtest.Step{Gate: never})
		a.turn(c, "q")
		<-never.Reached()
		a.stop() // does not wait for the model

		b := startNaming(t, r, store.NewID())
		d := b.create("")
		b.turn(d, "another")
		if err := b.attempt(); err != nil {
			t.Fatal(err)
		}
		b.turn(c, "q2")
		e := b.create("")
		b.turn(e, "a third")
		if err := b.attempt(); err != nil {
			t.Fatal(err)
		}
		b.wantTitle(c, "q")
		if asked := b.model.Requests(); len(asked) != 5 {
			t.Errorf("%d requests", len(asked))
		}
	})
}

func TestDeletingAConversationEndsTheRequestForItsTitle(t *testing.T) {
	eachNaming(t, func(t *testing.T, n *naming) {
		c, never := n.create(""), llmtest.NewGate()
		n.model.Script(llmtest.Say("a")...)
		n.model.Script(llmtest.Step{Gate: never})
		n.turn(c, "q")
		<-never.Reached()
		if err := n.DeleteConversation(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		d := n.create("")
		n.turn(d, "q") // and then its title, which would wait for the other
		if err := n.attempt(); err != nil {
			t.Fatal(err)
		}
		n.wantTitle(d, "ok")
		if asked := n.model.Requests(); len(asked) != 4 {
			t.Errorf("%d requests", len(asked))
		}
	})
}

// dated notes until when it may answer.
type dated struct {
	llm.Provider
	until chan time.Time
}

func (d dated) Stream(ctx context.Context, req llm.Request) iter.Seq2[llm.Delta, error] {
	at, _ := ctx.Deadline()
	d.until <- at
	return d.Provider.Stream(ctx, req)
}

func TestATitleMayTakeTwentySeconds(t *testing.T) {
	r, model := testrecord.SQLite(t), dated{llmtest.New("m"), make(chan time.Time, 2)}
	a, err := advisor.Start(t.Context(), advisor.Config{Record: r, Models: models{model}, Notes: lab.New("", 0), ServerID: store.NewID(),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Titles: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	c, err := r.CreateConversation(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Ask(t.Context(), advisor.Question{Model: "m", ConversationID: c, Input: []store.NewMessage{{Role: "user", Content: "q"}}}); err != nil {
		t.Fatal(err)
	}
	if at := <-model.until; !at.IsZero() {
		t.Errorf("a reply may take until %v", at)
	}
	if at := <-model.until; at.IsZero() || at.After(time.Now().Add(20*time.Second)) {
		t.Errorf("a title may take until %v", at)
	}
}

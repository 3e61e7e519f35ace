// Package storetest is the contract of the record as tests. Both engines run all of it; what is promised of a store is
// tested here or nowhere. Only tests import it.
//
// Every test makes its own conversations and removes them, and looks at no others, so the suite also runs in a database
// in which somebody lives.
package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

// Store is the method set of both engines.
type Store interface {
	CreateConversation(ctx context.Context, model string) (id string, err error)
	CreateConversationWith(ctx context.Context, c store.NewConversation) (id string, err error)
	AddMessage(ctx context.Context, conversationID, role, content string) (id string, err error)
	AppendMessages(ctx context.Context, a store.Append) (ids []string, head int64, err error)
	GetConversation(ctx context.Context, id string) (*store.Conversation, error)
	Summary(ctx context.Context, id string) (store.ConversationSummary, error)
	ListConversations(ctx context.Context) ([]store.ConversationSummary, error)
	List(ctx context.Context, q store.ListQuery) (store.ListPage, error)
	Thread(ctx context.Context, q store.ThreadQuery) (store.ThreadPage, error)
	Message(ctx context.Context, conversationID, id string) (store.Message, error)
	FindMessage(ctx context.Context, id string) (store.Message, error)
	Place(ctx context.Context, conversationID, messageID string) (store.Position, error)
	UpdateConversation(ctx context.Context, id string, change store.ConversationChange) (store.ConversationSummary, error)
	DeleteConversation(ctx context.Context, id string) error
	DeleteMessage(ctx context.Context, conversationID, id string) error
	HoldConversation(ctx context.Context, id string, hold time.Duration) (until time.Time, err error)
	UndoDeletion(ctx context.Context, id string) (store.ConversationSummary, error)
	EraseHeld(ctx context.Context) (int, error)
	Expired(ctx context.Context, before time.Time, limit int) ([]store.ConversationSummary, error)
	DeleteExpired(ctx context.Context, id string, before time.Time) error

	JoinServer(ctx context.Context, serverID string) (store.Fence, error)
	Heartbeat(ctx context.Context, f store.Fence) error
	BusyServers(ctx context.Context) ([]store.Server, error)
	FenceOff(ctx context.Context, seen store.Server) (bool, error)
	Running(ctx context.Context, serverID string) ([]store.Response, error)
	StartResponse(ctx context.Context, n store.NewResponse) (store.Response, error)
	AppendDeltas(ctx context.Context, f store.Fence, deltas []store.Delta) error
	FinishResponse(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error)
	ReadLog(ctx context.Context, responseID string, from int) (store.Response, []store.Delta, error)
	ReadTails(ctx context.Context, tails []store.Tail) ([]store.TailRows, error)
	History(ctx context.Context, r store.Response) ([]store.Message, error)
	DeleteResponse(ctx context.Context, id string) (store.Response, error)
	RequestCancel(ctx context.Context, responseID string) error
	Unwanted(ctx context.Context, responseIDs []string) (cancelled, gone []string, err error)
	KeyedResponse(ctx context.Context, key, fingerprint string) (responseID string, err error)
	ForgetKeys(ctx context.Context, before time.Time) (int, error)

	Search(ctx context.Context, q store.SearchQuery) (store.Hits, error)
	IndexPending(ctx context.Context, limit int) (int, error)
	Waiting(ctx context.Context) (int, error)

	ConversationIDs(ctx context.Context, after string, limit int) ([]string, error)
	ArchiveSize(ctx context.Context) (conversations, messages int, err error)
	ArchiveConversation(ctx context.Context, id string, f func(store.ArchiveRow) error) error
	Restore(ctx context.Context, rows iter.Seq[store.ArchiveRow]) (store.Restored, error)

	Info() store.Info
	Close()
}

// Engine is what the suite needs to know of an engine. None of its functions may be nil.
type Engine struct {
	// Open returns an open, migrated store and closes it by t.Cleanup. Each test opens one; it may hold other rows.
	Open func(t *testing.T) Store

	// Alone says that what is opened holds no other rows, so that those a test leaves behind are seen.
	Alone bool

	// Foreign does what a program does that knows only the two plain tables:
	// INSERT INTO messages (conversation_id, role, content). It returns the database's error.
	Foreign func(ctx context.Context, s Store, conversationID, role, content string) error

	// Leftovers returns the places, "table.column" or so, where text occurs in any row of any table of the record, the
	// search index's own tables among them. An id is looked for in the form in which the engine keeps it.
	Leftovers func(t *testing.T, s Store, text string) []string

	// SetTimes sets started_at and updated_at of a conversation, and created_at of all its messages, replies and their keys,
	// to at, so that nothing can be ordered by them.
	SetTimes func(t *testing.T, s Store, conversationID string, at time.Time)
}

// Run runs the suite.
func Run(t *testing.T, e Engine) {
	for _, concept := range []struct {
		name  string
		tests []test
	}{
		{"Conversations", conversationTests},
		{"Text", textTests},
		{"Order", orderTests},
		{"Paging", pagingTests},
		{"Replies", replyTests},
		{"Branches", branchTests},
		{"Ownership", ownershipTests},
		{"Servers", serverTests},
		{"Idempotency", idempotencyTests},
		{"Search", searchTests},
		{"Deletion", deletionTests},
		{"DeletedReplies", deletedReplyTests},
		{"HeldDeletions", heldTests},
		{"Retention", retentionTests},
		{"Foreign", foreignTests},
		{"Cancellation", cancellationTests},
		{"Archive", archiveTests},
	} {
		t.Run(concept.name, func(t *testing.T) {
			for _, test := range concept.tests {
				t.Run(test.name, func(t *testing.T) { test.run(t, open(t, e)) })
			}
		})
	}
}

// test is one promise.
type test struct {
	name string
	run  func(t *testing.T, r *record)
}

// tb is what a helper needs of a *testing.T or *rapid.T.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// record is a store with helpers that fail the test instead of returning errors.
type record struct {
	Store
	engine Engine
	ctx    context.Context
}

func open(t *testing.T, e Engine) *record {
	s := e.Open(t)
	if e.Alone {
		t.Cleanup(func() { // after those of the test; one that has closed the store cannot be asked
			if conversations, messages, err := s.ArchiveSize(context.WithoutCancel(t.Context())); err == nil && conversations+messages > 0 {
				t.Errorf("the test leaves %d conversations with %d messages behind", conversations, messages)
			}
		})
	}
	return &record{Store: s, engine: e, ctx: t.Context()}
}

// create makes a conversation that is removed when the test ends.
func (r *record) create(t tb) string {
	t.Helper()
	return r.createWith(t, store.NewConversation{Model: "test"})
}

func (r *record) createWith(t tb, c store.NewConversation) string {
	t.Helper()
	id, err := r.CreateConversationWith(r.ctx, c)
	if err != nil {
		t.Fatalf("CreateConversationWith: %v", err)
	}
	r.remove(t, id)
	return id
}

// remove deletes a conversation when the test ends, if it is still there.
func (r *record) remove(t tb, conversation string) {
	t.Cleanup(func() {
		err := r.DeleteConversation(context.WithoutCancel(r.ctx), conversation)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("remove the test's conversation: %v", err)
		}
	})
}

func (r *record) add(t tb, conversation, role, content string) (id string) {
	t.Helper()
	id, err := r.AddMessage(r.ctx, conversation, role, content)
	if err != nil {
		t.Fatalf("AddMessage(%s, %s): %v", role, short(content), err)
	}
	return id
}

// fill adds n messages and returns their texts.
func (r *record) fill(t tb, conversation string, n int) (texts []string) {
	t.Helper()
	var list []store.NewMessage
	for i := range n {
		texts = append(texts, fmt.Sprint("message ", i))
		list = append(list, store.NewMessage{Role: "user", Content: texts[i]})
	}
	r.append(t, store.Append{ConversationID: conversation, Messages: list})
	return texts
}

func (r *record) append(t tb, a store.Append) (ids []string, head int64) {
	t.Helper()
	ids, head, err := r.AppendMessages(r.ctx, a)
	if err != nil {
		t.Fatalf("AppendMessages(%d messages): %v", len(a.Messages), err)
	}
	return ids, head
}

func (r *record) get(t tb, conversation string) *store.Conversation {
	t.Helper()
	c, err := r.GetConversation(r.ctx, conversation)
	if err != nil {
		t.Fatalf("GetConversation: %v", err)
	}
	return c
}

func (r *record) summary(t tb, conversation string) store.ConversationSummary {
	t.Helper()
	c, err := r.Summary(r.ctx, conversation)
	if err != nil {
		t.Fatalf("Summary: %v", err)
	}
	return c
}

// rename sets a conversation's title.
func (r *record) rename(id, title string) error {
	_, err := r.UpdateConversation(r.ctx, id, store.ConversationChange{Title: &title})
	return err
}

func (r *record) setMetadata(id string, metadata map[string]string) error {
	if metadata == nil {
		metadata = map[string]string{}
	}
	_, err := r.UpdateConversation(r.ctx, id, store.ConversationChange{Metadata: metadata})
	return err
}

func (r *record) thread(t tb, q store.ThreadQuery) store.ThreadPage {
	t.Helper()
	page, err := r.Thread(r.ctx, q)
	if err != nil {
		t.Fatalf("Thread(%+v): %v", q, err)
	}
	return page
}

func (r *record) message(t tb, conversation, id string) store.Message {
	t.Helper()
	m, err := r.Message(r.ctx, conversation, id)
	if err != nil {
		t.Fatalf("Message: %v", err)
	}
	if found, err := r.FindMessage(r.ctx, id); err != nil || !reflect.DeepEqual(found, m) {
		t.Errorf("FindMessage: %+v, %v, not %+v", found, err, m)
	}
	return m
}

// all reads every row of a conversation, of all branches and in order, tombstones among them: the end of one branch back to
// where it left the line, then what lies before that place.
func (r *record) all(t tb, conversation string) []store.Message {
	t.Helper()
	var rows []store.Message
	to := store.Position{Seq: math.MaxInt64}
	for to.Seq > 0 {
		branch := r.thread(t, store.ThreadQuery{ConversationID: conversation, Tip: &to, Tombstones: true}).Messages
		to = store.Position{}
		for _, m := range slices.Backward(branch) {
			rows = append(rows, m)
			if m.ParentID != "" {
				to = store.Position{Seq: m.Seq - 1, Idx: math.MaxInt32} // a branch leaves at the first item of its seq
				break
			}
		}
	}
	slices.Reverse(rows)
	return rows
}

// join makes a new server.
func (r *record) join(t tb) store.Fence {
	t.Helper()
	return r.joinAs(t, store.NewID())
}

func (r *record) joinAs(t tb, server string) store.Fence {
	t.Helper()
	f, err := r.JoinServer(r.ctx, server)
	if err != nil {
		t.Fatalf("JoinServer: %v", err)
	}
	return f
}

// start begins a reply; a conversation that it makes is removed when the test ends.
func (r *record) start(t tb, n store.NewResponse) store.Response {
	t.Helper()
	reply, err := r.StartResponse(r.ctx, n)
	if err != nil {
		t.Fatalf("StartResponse: %v", err)
	}
	if n.ConversationID == "" && n.PreviousID == "" {
		r.remove(t, reply.ConversationID)
	}
	return reply
}

func (r *record) log(t tb, f store.Fence, deltas []store.Delta) {
	t.Helper()
	if err := r.AppendDeltas(r.ctx, f, deltas); err != nil {
		t.Fatalf("AppendDeltas: %v", err)
	}
}

func (r *record) finish(t tb, f store.Fence, reply store.Response, status store.ResponseStatus) store.Response {
	t.Helper()
	ended, log, err := r.FinishResponse(r.ctx, end(f, reply, status))
	if err != nil {
		t.Fatalf("FinishResponse: %v", err)
	}
	kept, rows, err := r.ReadLog(r.ctx, reply.ID, 0)
	if err != nil || !reflect.DeepEqual(ended, kept) || !slices.Equal(log, rows) {
		t.Fatalf("FinishResponse returned %+v with the log %+v, ReadLog %+v with %+v, %v", ended, log, kept, rows, err)
	}
	return ended
}

// answer logs texts, an item each, and completes the reply.
func (r *record) answer(t tb, f store.Fence, reply store.Response, texts ...string) store.Response {
	t.Helper()
	r.log(t, f, says(reply, texts...))
	return r.finish(t, f, reply, store.ResponseCompleted)
}

// turn asks and answers.
func (r *record) turn(t tb, n store.NewResponse, answers ...string) store.Response {
	t.Helper()
	return r.answer(t, n.Fence, r.start(t, n), answers...)
}

func (r *record) readLog(t tb, reply store.Response, from int) (store.Response, []store.Delta) {
	t.Helper()
	got, deltas, err := r.ReadLog(r.ctx, reply.ID, from)
	if err != nil {
		t.Fatalf("ReadLog(%d): %v", from, err)
	}
	return got, deltas
}

func (r *record) history(t tb, reply store.Response) []store.Message {
	t.Helper()
	list, err := r.History(r.ctx, reply)
	if err != nil {
		t.Fatalf("History: %v", err)
	}
	return list
}

func (r *record) search(t tb, text string) []store.Hit {
	t.Helper()
	return r.find(t, store.SearchQuery{Text: text, Limit: 100}).Hits
}

func (r *record) find(t tb, q store.SearchQuery) store.Hits {
	t.Helper()
	page, err := r.Search(r.ctx, q)
	if err != nil {
		t.Fatalf("Search(%s, %+v): %v", short(q.Text), q, err)
	}
	return page
}

// drain empties the search queue.
func (r *record) drain(t tb) {
	t.Helper()
	for {
		n, err := r.IndexPending(r.ctx, 500)
		if err != nil {
			t.Fatalf("IndexPending: %v", err)
		}
		if n == 0 {
			return
		}
	}
}

// state is all that can be read of a conversation.
func (r *record) state(t tb, conversation string) any {
	t.Helper()
	return []any{r.summary(t, conversation), r.thread(t, store.ThreadQuery{ConversationID: conversation, Tombstones: true})}
}

// sameState fails when f changed what can be read of a conversation.
func (r *record) sameState(t tb, conversation string, f func()) {
	t.Helper()
	was := r.state(t, conversation)
	f()
	if is := r.state(t, conversation); !reflect.DeepEqual(was, is) {
		t.Errorf("the conversation changed:\n was %+v\n is  %+v", was, is)
	}
}

// whole fails when a conversation's counts are not those of its rows: messages are numbered from 1 without a gap but for
// reserved numbers, head is the last number and MessageCount the number of rows that are not deleted.
func (r *record) whole(t tb, conversation string, reserved int) {
	t.Helper()
	c, rows := r.summary(t, conversation), r.all(t, conversation)
	seqs, live := map[int64]bool{}, 0
	for _, m := range rows {
		seqs[m.Seq] = true
		if m.Status != store.MessageDeleted {
			live++
		}
	}
	if c.MessageCount != live {
		t.Errorf("MessageCount is %d, there are %d messages", c.MessageCount, live)
	}
	if len(seqs)+reserved != int(c.Head) {
		t.Errorf("Head is %d; %d numbers have messages and %d should have none", c.Head, len(seqs), reserved)
	}
	if n := len(rows); n > 0 && rows[n-1].Seq > c.Head {
		t.Errorf("Head is %d, the last message is number %d", c.Head, rows[n-1].Seq)
	}
}

// end is a plain Finish.
func end(f store.Fence, reply store.Response, status store.ResponseStatus) store.Finish {
	return store.Finish{Fence: f, ConversationID: reply.ConversationID, ResponseID: reply.ID, Status: status}
}

// says is the log of a reply that says texts, an item each.
func says(reply store.Response, texts ...string) []store.Delta {
	l := logOf(reply)
	for _, text := range texts {
		l.item("message", "output_text", text)
	}
	return l.rows
}

// logWriter writes the rows of a reply's log.
type logWriter struct {
	reply store.Response
	items int
	rows  []store.Delta
}

func logOf(reply store.Response) *logWriter { return &logWriter{reply: reply} }

func (l *logWriter) row(kind store.DeltaKind, part int, itemID, text string) {
	l.rows = append(l.rows, store.Delta{ResponseID: l.reply.ID, ConversationID: l.reply.ConversationID, N: len(l.rows),
		Kind: kind, Item: max(l.items-1, 0), Part: part, ItemID: itemID, Text: text})
}

func (l *logWriter) open(kind string) {
	l.items++
	l.row(store.DeltaItem, 0, store.NewID(), kind)
}

// item writes a whole item with one part, cut into texts.
func (l *logWriter) item(kind, part string, texts ...string) {
	l.open(kind)
	l.row(store.DeltaPart, 0, "", part)
	for _, text := range texts {
		l.row(store.DeltaText, 0, "", text)
	}
	l.row(store.DeltaPartDone, 0, "", "")
	l.row(store.DeltaItemDone, 0, "", "")
}

// user is one message of a user.
func user(text string) []store.NewMessage { return []store.NewMessage{{Role: "user", Content: text}} }

func texts(messages []store.Message) []string {
	list := make([]string, len(messages))
	for i, m := range messages {
		list[i] = m.Content
	}
	return list
}

func ids(messages []store.Message) []string {
	list := make([]string, len(messages))
	for i, m := range messages {
		list[i] = m.ID
	}
	return list
}

func hitIDs(hits []store.Hit) []string {
	list := make([]string, len(hits))
	for i, h := range hits {
		list[i] = h.ID
	}
	return list
}

// same fails unless got is want. Lists without elements are the same.
func same[T comparable](t tb, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got  %s\n want %s", what, short(quoted(got)), short(quoted(want)))
	}
}

func quoted(list any) string {
	if texts, ok := list.([]string); ok {
		return fmt.Sprintf("%q", texts)
	}
	return fmt.Sprint(list)
}

func equal[T comparable](t tb, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %s, want %s", what, short(fmt.Sprintf("%#v", got)), short(fmt.Sprintf("%#v", want)))
	}
}

// fails fails unless err is want.
func fails(t tb, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: the error is %v, want %v", what, err, want)
	}
}

// short is text as it may stand in a failure message.
func short(text string) string {
	if len(text) <= 1000 {
		return text
	}
	return fmt.Sprintf("%s … (%d bytes) … %s", text[:400], len(text), text[len(text)-400:])
}

// word is a word that stands nowhere else.
func word() string { return "w" + strings.ToLower(rand.Text()) }

// together runs n goroutines that start at once, and waits for them.
func together(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-gate
			f(i)
		})
	}
	ready.Wait()
	close(gate)
	done.Wait()
}

// meanwhile runs f again and again until stop is called, which waits for it. f runs at least once.
func meanwhile(f func()) (stop func()) {
	var done sync.WaitGroup
	quit := make(chan struct{})
	done.Go(func() {
		for {
			f()
			select {
			case <-quit:
				return
			default:
				runtime.Gosched()
			}
		}
	})
	return sync.OnceFunc(func() {
		close(quit)
		done.Wait()
	})
}

// check checks a property with n examples, a fifth of them with -short. The flag -rapid.checks, where it asks for more
// than its default, wins. No file of what failed is left in the package; the failure's seed says the same.
func check(t *testing.T, n int, property func(t *rapid.T)) {
	t.Helper()
	if flag.Lookup("rapid.checks").Value.String() == flag.Lookup("rapid.checks").DefValue {
		defer set(t, "rapid.checks", strconv.Itoa(n))()
	}
	defer set(t, "rapid.nofailfile", "true")()
	rapid.Check(t, property)
}

// set sets a flag and returns what sets it back.
func set(t *testing.T, name, value string) (undo func()) {
	f := flag.Lookup(name)
	was := f.Value.String()
	if err := f.Value.Set(value); err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Value.Set(was) }
}

// Package advisor is what a reply is: history to model to log to readers.
//
// What is always true in it:
//
//   - Nothing of a reply reaches a reader before it is committed. The log in the record is the only road from the model to
//     the screen: a reader ([Advisor.Follow]) gets the rows that the record gives back, and what goes on in memory only tells it when
//     to look. Only a reply of which nothing is to be kept goes straight to its one reader ([Advisor.Answer]).
//   - A reply belongs to this process from [Advisor.Ask] to its end, whoever asked and whether or not they still listen.
//   - A reply ends once, and what is kept of it is what was committed to its log.
//   - No database connection is held while a model thinks.
//
// It knows neither HTTP nor SQL.
package advisor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// Record is the part of the store that replies are kept in.
type Record interface {
	JoinServer(ctx context.Context, serverID string) (store.Fence, error)
	Heartbeat(ctx context.Context, f store.Fence) error
	BusyServers(ctx context.Context) ([]store.Server, error)
	FenceOff(ctx context.Context, seen store.Server) (bool, error)
	Running(ctx context.Context, serverID string) ([]store.Response, error)
	Unwanted(ctx context.Context, responseIDs []string) (cancelled, gone []string, err error)

	StartResponse(ctx context.Context, n store.NewResponse) (store.Response, error)
	AppendDeltas(ctx context.Context, f store.Fence, deltas []store.Delta) error
	FinishResponse(ctx context.Context, f store.Finish) (store.Response, []store.Delta, error)
	ReadLog(ctx context.Context, responseID string, from int) (store.Response, []store.Delta, error)
	ReadTails(ctx context.Context, tails []store.Tail) ([]store.TailRows, error)
	History(ctx context.Context, r store.Response) ([]store.Message, error)
	HoldConversation(ctx context.Context, id string, hold time.Duration) (until time.Time, err error)
	EraseHeld(ctx context.Context) (int, error)
	Expired(ctx context.Context, before time.Time, limit int) ([]store.ConversationSummary, error)
	DeleteExpired(ctx context.Context, id string, before time.Time) error
	RequestCancel(ctx context.Context, responseID string) error
	DeleteConversation(ctx context.Context, id string) error
	DeleteResponse(ctx context.Context, id string) (store.Response, error)
	Summary(ctx context.Context, id string) (store.ConversationSummary, error)
	UpdateConversation(ctx context.Context, id string, change store.ConversationChange) (store.ConversationSummary, error)

	IndexPending(ctx context.Context, limit int) (int, error)
	KeyedResponse(ctx context.Context, key, fingerprint string) (responseID string, err error)
	ForgetKeys(ctx context.Context, before time.Time) (int, error)
}

// Models finds the model that is to answer. The second result is its concrete name.
type Models interface {
	Resolve(ctx context.Context, model string) (llm.Provider, string, error)
}

// Notes reads the lab's notes as they are now.
type Notes interface {
	Read(ctx context.Context) (*lab.Notes, error)
}

// Config is what an Advisor works with. All fields but the times are needed.
type Config struct {
	Record   Record
	Models   Models
	Notes    Notes
	ServerID string // a UUID that no other living process uses
	Log      *slog.Logger
	Titles   bool // models are asked to name conversations

	Heartbeat time.Duration // how often the server shows that it lives; 0 is 3 s
	DeadAfter time.Duration // how long another may show nothing before it is taken for dead; 0 is 15 s

	Retention      time.Duration // how long nothing may be said in a conversation before it is erased; 0 is for ever
	RetentionGrace time.Duration // how long after the start nothing is erased for that; 0 is an hour
}

// Advisor answers. Its methods are safe for concurrent use.
type Advisor struct {
	Config
	stop context.CancelFunc // of the background work
	idle sync.WaitGroup     // the background work

	mu      sync.Mutex
	closed  bool
	session *session
	tails   *tails
	titles  *titles
	replies map[string]*reply // being written by this process, by id
	asked   map[string]bool   // ids of replies of which it is not known yet whether their questions are kept
	missed  time.Time         // when last this server could not show that it lives

	fenced chan struct{} // holds one token when another server has taken over
}

// session is the time in which the server's row is its own. It ends when another server has taken over, or with Stop; a
// reply belongs to the session that it was started in.
type session struct {
	fence    store.Fence
	flusher  *flusher
	ctx      context.Context // ends with the session, its cause says why
	replaced chan struct{}   // closed when another is a.session, or none will be
	end      context.CancelCauseFunc
	work     sync.WaitGroup  // replies being written
	last     context.Context // ends what work is still being kept; not before Stop gives up
	giveUp   context.CancelFunc

	stopFlusher context.CancelFunc // once there is no work
}

// soon returns a context that ends some time after the session: a start or a row that is on its way to the record then may be kept, and
// who settles what the session leaves has to know. cancel must be called.
func (s *session) soon(ctx context.Context) (_ context.Context, cancel func()) {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	over := context.AfterFunc(s.ctx, func() { time.AfterFunc(finishTimeout, end) })
	gone := context.AfterFunc(s.last, end)
	return ctx, func() { over(); gone(); end() }
}

// Why a reply was stopped before the model had finished. Each is a cause of the reply's context.
var (
	errShutdown  = errors.New("the server was stopped")
	errDeleted   = errors.New("the conversation or the reply was deleted")
	errCancelled = errors.New("somebody cancelled it")
	errFenced    = errors.New("another server took over")
	errLeft      = errors.New("nobody reads it any more, and it is not kept")
	errNotKept   = errors.New("the question was not kept")
)

// ReasonMaxOutputTokens is why a reply is incomplete that reached its token limit. OpenAI's reference has the name.
const ReasonMaxOutputTokens = "max_output_tokens"

// ReasonContentFilter is why a reply is incomplete whose rest the model's server withheld. OpenAI's reference has the name.
const ReasonContentFilter = "content_filter"

// Start makes the process the owner of cfg.ServerID's replies, settles what an earlier process with that id left running
// as interrupted, with the text it had, and starts answering. Stop must be called in the end.
func Start(ctx context.Context, cfg Config) (*Advisor, error) {
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 3*time.Second)
	cfg.DeadAfter = cmp.Or(cfg.DeadAfter, 15*time.Second)
	a := &Advisor{Config: cfg, replies: map[string]*reply{}, asked: map[string]bool{}, fenced: make(chan struct{}, 1)}
	a.tails = &tails{record: cfg.Record, news: a.news, wake: make(chan struct{}, 1), waiting: map[*waiter]struct{}{}, over: map[string]time.Time{}}
	a.titles = &titles{first: map[string]string{}, wake: make(chan struct{}, 1)}
	background, stop := context.WithCancel(context.Background())
	a.stop = stop
	err := error(store.ErrFenced)
	for errors.Is(err, store.ErrFenced) { // who has much to settle may be taken for dead meanwhile, and goes on
		a.session, err = a.join(ctx, background)
	}
	if err != nil {
		stop()
		a.idle.Wait()
		return nil, err
	}
	a.idle.Go(func() { a.index(background) })
	a.idle.Go(func() { a.eraseHeld(background) })
	a.idle.Go(func() { a.retain(background) })
	a.idle.Go(func() { a.live(background) })
	a.idle.Go(func() { a.watch(background) })
	a.idle.Go(func() { a.takeOver(background) })
	a.idle.Go(func() { a.entitle(background) })
	return a, nil
}

// Stop ends all replies as interrupted, keeps what they have and returns when that is done, or with ctx's error when it is
// not done by then. Ask fails afterwards; Follow still works.
func (a *Advisor) Stop(ctx context.Context) error {
	a.mu.Lock()
	s := a.session
	if !a.closed {
		close(s.replaced) // nobody needs to wait for the next
	}
	a.closed = true
	a.mu.Unlock()
	s.end(errShutdown)
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		a.stop()
		a.idle.Wait()
		close(done)
	}()
	defer s.giveUp()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		a.stop() // a database that is away: the next start settles what is left
		s.giveUp()
		<-done
		return ctx.Err()
	}
}

// ErrStopping is returned by Ask once Stop was called.
var ErrStopping = errors.New("advisor: the server is stopping")

// ErrDeleted is returned by Ask for a question that was asked before with the same key, and whose reply was deleted since.
var ErrDeleted = errors.New("advisor: the reply to this question was deleted")

// UnsureError is returned by Ask when the database has not said whether it kept the question. If it did, the question is answered.
type UnsureError struct{ Err error }

func (e *UnsureError) Error() string {
	return "advisor: the question may have been kept: " + e.Err.Error()
}

func (e *UnsureError) Unwrap() error { return e.Err }

// Question is what is asked.
type Question struct {
	// Where: in a conversation, or after an earlier reply, or, with neither, in a new unlisted conversation.
	ConversationID string
	PreviousID     string
	Expect         *int64  // with ConversationID: the head the person saw; nil: whatever it is
	After          *string // with ConversationID: the message to go on from, "" for a new beginning; nil: the active branch's last
	Continue       string  // with ConversationID, without Input: a reply of it that is written anew with what it said as its beginning, or ""

	Input        []store.NewMessage
	Model        string          // "": the default; for Continue one that does, see [llm.Info]
	Instructions string          // for this reply alone; not kept as a message
	Request      json.RawMessage // kept with the reply as it is
	Key          string          // an Idempotency-Key, or ""
	Fingerprint  string          // of the request that came with it
	Truncate     bool            // leave out the oldest turns when the conversation is too long for the model
	MaxToolCalls int             // of the reply, 0 for any number: no model server knows such a limit, so it is kept here

	llm.Options

	beginning []store.Delta // of the reply's log
}

// Ask keeps the question and starts the reply. When it returns without an error the question is in the record, and the
// answer is being written whether or not anyone follows it; even a model that cannot be reached is then an end of the
// reply, not an error. A question that was asked before with the same key gives the reply of the first time. Errors are the
// store's, [llm.UnknownModelError], [UnknownCallError], [ContinueError], [ErrStopping] and [ErrDeleted], and nothing was kept; or an
// [UnsureError]. A server that was taken over joins anew first, for which Ask waits ten seconds at most.
func (a *Advisor) Ask(ctx context.Context, q Question) (store.Response, error) {
	provider, model, err := a.Models.Resolve(ctx, q.Model)
	if err != nil {
		return store.Response{}, err
	}
	if err := a.checkOutputs(ctx, q); err != nil {
		return store.Response{}, err
	}
	if q.Continue != "" {
		after, rows, err := a.beginning(ctx, q)
		if err != nil {
			return store.Response{}, err
		}
		q.After, q.beginning = &after, rows
	}
	id := store.NewID()
	s, err := a.enter(ctx, id)
	if err != nil {
		return store.Response{}, err
	}
	done := func() {
		a.mu.Lock()
		delete(a.asked, id)
		a.mu.Unlock()
		s.work.Done()
	}

	n := store.NewResponse{ID: id, Fence: s.fence, ConversationID: q.ConversationID, PreviousID: q.PreviousID,
		Expect: q.Expect, After: q.After, Input: q.Input, Model: model, Request: q.Request, Title: title(q.Input), Key: q.Key, Fingerprint: q.Fingerprint}
	begun := a.begin(s, q, provider, n)
	drop := func() { // no model works for what may not be kept
		if begun != nil {
			begun.drop()
		}
		begun = nil
	}
	goOn := func(r store.Response) {
		if begun == nil {
			begun = a.begin(s, q, provider, n)
		}
		a.kept(begun, r)
	}
	r, unknown, err := a.start(ctx, s, n, drop)
	var repeated *store.RepeatedError
	switch {
	case err == nil && !r.Ended():
		goOn(r)
		done()
	case err != nil && unknown: // it may be in the record all the same, and then it is answered
		err = &UnsureError{err}
		go func() {
			defer done()
			if r, kept := a.find(s, n.ID); kept {
				goOn(r)
			}
		}()
	default:
		if errors.Is(err, store.ErrFenced) {
			a.lost(s)
		}
		drop()
		done()
	}
	if errors.As(err, &repeated) {
		return a.first(ctx, repeated.ResponseID)
	}
	return r, err
}

// enter begins some work of the session, which is to be told when it is done; id is that of a reply which may be in the record soon, or "".
// A server that joins anew is waited for, for as long as a database is. It returns [ErrStopping], or store.ErrFenced where that took too
// long.
func (a *Advisor) enter(ctx context.Context, id string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		a.mu.Lock()
		s := a.session
		if !a.closed && s.ctx.Err() == nil {
			s.work.Add(1)
			if id != "" {
				a.asked[id] = true
			}
			a.mu.Unlock()
			return s, nil
		}
		closed := a.closed
		a.mu.Unlock()
		if closed {
			return nil, ErrStopping
		}
		select {
		case <-s.replaced:
		case <-ctx.Done():
			return nil, store.ErrFenced
		}
	}
}

// Asked returns the reply to a question that was asked before with the same key, or false. What the question names may be gone since,
// or be unknown to this server. Errors are the store's, and [ErrDeleted].
func (a *Advisor) Asked(ctx context.Context, key, fingerprint string) (store.Response, bool, error) {
	id, err := a.Record.KeyedResponse(ctx, key, fingerprint)
	if store.Unknown(err) { // for a database that is away Ask waits
		return store.Response{}, false, nil
	}
	if err != nil || id == "" {
		return store.Response{}, false, err
	}
	r, err := a.first(ctx, id)
	return r, err == nil, err
}

// first returns the reply to the first of several requests with one key.
func (a *Advisor) first(ctx context.Context, id string) (store.Response, error) {
	r, _, err := a.Record.ReadLog(ctx, id, 0)
	if errors.Is(err, store.ErrNotFound) {
		err = ErrDeleted
	}
	return r, err
}

// begin begins to write a reply whose question is being kept; then kept goes on with it, or drop ends it. It is some of the session's
// work. A model that is asked something new is asked at once; what it says waits until the question is in the record. Before any other
// is asked there is the conversation to be read, and a question with a key may have been asked before.
func (a *Advisor) begin(s *session, q Question, provider llm.Provider, n store.NewResponse) *reply {
	r := &reply{session: s, question: q, provider: provider, request: llm.Request{Model: n.Model, Options: q.Options},
		note: a.Log.With("response", n.ID, "model", n.Model), log: s.flusher.open(n.ID), wait: &atomic.Pointer[Wait]{}, known: make(chan struct{})}
	r.history = func() ([]store.Message, error) {
		isNew := r.question.ConversationID == "" && r.question.PreviousID == ""
		if (!isNew || r.question.Key != "") && !r.isKept() {
			return nil, errNotKept
		}
		if isNew {
			return asMessages(r.question.Input), nil
		}
		return a.read(r)
	}
	r.out = func(ctx context.Context, rows ...store.Delta) error {
		if !r.isKept() {
			return errNotKept
		}
		return r.log.add(ctx, rows...)
	}
	r.wait.Store(&Wait{})
	r.ctx, r.cancel = context.WithCancelCause(s.ctx)
	a.titles.begin()
	s.work.Go(func() { a.write(r) })
	return r
}

// kept goes on with a reply whose question is in the record.
func (a *Advisor) kept(r *reply, as store.Response) {
	r.Response, r.log.conversationID = as, as.ConversationID
	a.mu.Lock()
	a.replies[r.ID] = r
	a.mu.Unlock()
	if a.Titles && r.Titled && r.Listed && r.Model != llm.OfflineModel {
		a.titles.untitled(r.ConversationID, title(r.question.Input))
	}
	a.titles.goesOn(r.ConversationID)
	close(r.known)
}

// start keeps a question. When the connection broke it cannot know whether it is kept, and asks again with the same id, after it has
// called troubled. If it still does not know when it gives up, it says so; where the database could not be reached it does. Who asked may
// leave meanwhile: what was sent to the database is waited for, and not sent again.
func (a *Advisor) start(ctx context.Context, s *session, n store.NewResponse, troubled func()) (r store.Response, unknown bool, err error) {
	soon, end := s.soon(ctx)
	defer end()
	try, cancel := context.WithTimeout(soon, patience)
	defer cancel()
	ctx, leave := context.WithTimeout(ctx, patience)
	defer leave()
	defer context.AfterFunc(s.ctx, leave)()
	var pause backoff
	for {
		r, err = a.Record.StartResponse(try, n)
		var repeated *store.RepeatedError
		if errors.As(err, &repeated) && repeated.ResponseID == n.ID {
			r, _, err = a.Record.ReadLog(try, n.ID, 0)
		}
		if !store.Unknown(err) {
			return r, false, err
		}
		var connect *store.ConnectError
		unknown = unknown || !errors.As(err, &connect) || !connect.Unasked
		a.Log.Warn("a question waits for the database", "error", err)
		troubled()
		if !pause.wait(ctx) {
			return r, unknown, err
		}
	}
}

// lateCommit is how long after a connection broke what was sent over it may still be kept. What is kept even later is settled, see
// [Advisor.settle].
const lateCommit = 30 * time.Second

// find returns a reply that may be in the record, or false when it is not, or soon after the session has ended.
func (a *Advisor) find(s *session, id string) (store.Response, bool) {
	ctx, end := s.soon(context.Background())
	defer end()
	var pause backoff
	for begun := time.Now(); ; {
		try, cancel := context.WithTimeout(ctx, patience)
		r, _, err := a.Record.ReadLog(try, id, 0)
		cancel()
		if err == nil {
			return r, !r.Ended()
		}
		if errors.Is(err, store.ErrNotFound) && time.Since(begun) > lateCommit || !pause.wait(ctx) {
			return r, false
		}
	}
}

// Cancel asks for a reply to be stopped, whoever writes it. It returns at once; the reply ends as cancelled with the text it
// has, unless it ended otherwise before. It returns store.ErrNotFound when there is no such reply.
func (a *Advisor) Cancel(ctx context.Context, responseID string) error {
	if err := a.Record.RequestCancel(ctx, responseID); err != nil {
		return err
	}
	if r := a.writes(responseID); r != nil {
		r.cancel(errCancelled)
	}
	return nil
}

// DeleteConversation erases a conversation and stops the replies that are being written in it. It returns
// store.ErrNotFound when there is none.
func (a *Advisor) DeleteConversation(ctx context.Context, id string) error {
	if err := a.Record.DeleteConversation(ctx, id); err != nil {
		return err
	}
	a.stopDeleted(id)
	return nil
}

// stopDeleted stops what is being written in a conversation that was deleted.
func (a *Advisor) stopDeleted(id string) {
	a.titles.forget(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.replies {
		if r.ConversationID == id {
			r.cancel(errDeleted)
		}
	}
}

// DeleteResponse removes a reply, whoever writes it, and stops it; readers of it get store.ErrNotFound. In a listed conversation
// its messages stay, those of one that was running with the text it had; otherwise they are erased. It returns store.ErrNotFound
// when there is no such reply.
func (a *Advisor) DeleteResponse(ctx context.Context, responseID string) error {
	if _, err := a.Record.DeleteResponse(ctx, responseID); err != nil {
		return err
	}
	if r := a.writes(responseID); r != nil {
		r.cancel(errDeleted)
	}
	return nil
}

// Step is what a reader of a reply learns at once: log rows, and the reply as it was when they were all there was; or, until the
// model begins, what it waits for.
type Step struct {
	Response store.Response
	Deltas   []store.Delta
	Wait     *Wait
}

// keepAlive is how long a reader hears nothing at most, unless the database hangs just then.
const keepAlive = 15 * time.Second

// newcomer is how long who has read nothing yet, of a reply that may not be there, waits for a database that is away.
const newcomer = 30 * time.Second

// Follow yields the log of a reply from row from on as it grows, and stops after the step in which the reply has ended. The
// first step comes at once, also without rows, and every 15 seconds there is one; what a reply that is written here waits for is
// told as it changes. It ends with store.ErrNotFound for an unknown reply or one that is deleted meanwhile, and with ctx's error. A
// database that is away is waited for; before the first step for 30 seconds, unless the reply is written here.
func (a *Advisor) Follow(ctx context.Context, responseID string, from int) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		var deltas []store.Delta
		var err error
		w := newWaiter(responseID)
		told, waits := Wait{}, true // for the model to begin
		r, ours := a.running(responseID)
		if !ours {
			r, deltas, err = a.readLog(ctx, responseID, from, true)
		}
		for {
			if err != nil {
				yield(Step{}, err)
				return
			}
			from += len(deltas)
			if !yield(Step{Response: r, Deltas: deltas}, nil) || r.Ended() {
				return
			}
			quiet := time.Now() // since when nothing was told
			var found found
			for !found.Over {
				interval := keepAlive
				if waits {
					var wait *Wait
					if wait, waits = a.waitsFor(responseID); waits {
						interval = waitInterval
					}
					if waits && *wait != told {
						told, quiet = *wait, time.Now()
						if !yield(Step{Response: r, Wait: wait}, nil) {
							return
						}
					}
				}
				found = a.tails.next(ctx, w, from, interval)
				if ctx.Err() != nil {
					yield(Step{}, ctx.Err())
					return
				}
				if waits && !found.Over && len(found.Deltas) == 0 {
					if time.Since(quiet) < keepAlive {
						continue
					}
					quiet = time.Now()
				}
				if !found.Over {
					from += len(found.Deltas)
					if !yield(Step{Response: r, Deltas: found.Deltas}, nil) {
						return
					}
				}
			}
			r, deltas, err = a.left(ctx, responseID, from, found)
		}
	}
}

// Ended waits until a reply has ended, and returns it and its log. Errors are as in Follow.
func (a *Advisor) Ended(ctx context.Context, responseID string) (r store.Response, log []store.Delta, err error) {
	w := newWaiter(responseID)
	_, ours := a.running(responseID)
	if !ours {
		r, log, err = a.readLog(ctx, responseID, 0, true)
	}
	for err == nil && !r.Ended() {
		var found found
		for ctx.Err() == nil && !found.Over {
			found = a.tails.next(ctx, w, math.MaxInt32, keepAlive) // from there on no row is read
		}
		r, log, err = a.left(ctx, responseID, 0, found)
	}
	return r, log, err
}

// left returns what is left of a reply that is over, from row from on.
func (a *Advisor) left(ctx context.Context, responseID string, from int, found found) (store.Response, []store.Delta, error) {
	if found.end == nil {
		return a.readLog(ctx, responseID, from, false)
	}
	return found.end.Response, found.end.Deltas[min(from, len(found.end.Deltas)):], nil
}

// readLog returns what the record has of a reply from row from on, once the database is there; a newcomer, for whose reply there may be
// none, gives up after 30 seconds. Errors are the store's, and ctx's.
func (a *Advisor) readLog(ctx context.Context, responseID string, from int, isNew bool) (store.Response, []store.Delta, error) {
	var pause backoff
	for begun := time.Now(); ; {
		try, cancel := context.WithTimeout(ctx, patience)
		r, deltas, err := a.Record.ReadLog(try, responseID, from)
		cancel()
		if _, ours := a.running(responseID); ctx.Err() == nil && (!store.Unknown(err) || isNew && !ours && time.Since(begun) > newcomer) {
			return r, deltas, err
		}
		if !pause.wait(ctx) {
			return store.Response{}, nil, ctx.Err()
		}
	}
}

// running returns a reply that is written here, as it began, and false for another, and for one that was deleted and is just being stopped.
func (a *Advisor) running(responseID string) (store.Response, bool) {
	r := a.writes(responseID)
	if r == nil || context.Cause(r.ctx) == errDeleted {
		return store.Response{}, false
	}
	return r.Response, true
}

// writes returns a reply that is written here, or nil.
func (a *Advisor) writes(responseID string) *reply {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.replies[responseID]
}

// news says whether there is more of a reply than its first from rows, or it is over, as far as is known without asking the
// record; ours is false for a reply that is not written here, of which nothing is known.
func (a *Advisor) news(responseID string, from int) (fresh, ours bool) {
	r := a.writes(responseID)
	if r == nil {
		return false, false
	}
	return r.log.committedAfter(from), true
}

// index drains the search queue whenever there is something in it.
func (a *Advisor) index(ctx context.Context) {
	const batch, every = 500, time.Second
	for {
		try, cancel := context.WithTimeout(ctx, time.Minute) // a batch of very long texts takes a while
		n, err := a.Record.IndexPending(try, batch)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			a.Log.Warn("the search index waits", "error", err)
		}
		if n > 0 {
			continue
		}
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

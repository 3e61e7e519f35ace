package advisor

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// The flusher commits the log rows of all running replies together. The next flush starts when the last one has ended, so
// a lone stream waits for nothing but its own commit, and load makes rows larger, not commits more. A batch is frozen when
// it is first sent: after an unknown outcome the same rows are sent again, and the store leaves alone what is there.

const (
	patience  = 10 * time.Second      // for one answer of the database; a connection that has died may never say so
	gap       = 25 * time.Microsecond // between two flushes, for each reply in the first: with a thousand it saves half the work
	maxGap    = 100 * time.Millisecond
	crowd     = 64         // after a flush of more replies than this the models that are fast are read once for the next
	maxUnsent = 256 * 1024 // bytes of a reply's text in memory before its model is paused
)

type flusher struct {
	record interface {
		AppendDeltas(ctx context.Context, f store.Fence, deltas []store.Delta) error
	}
	fence  store.Fence
	log    *slog.Logger
	fenced func() // called when another server has taken over
	commit func() // called after each commit

	wake chan struct{} // holds one token while there is something to send

	mu      sync.Mutex
	waiting []*replyLog // with rows to send, in the order they came
	turn    *turn       // the next, in a crowd; else nil
}

// turn is the reading of the models for one flush. It begins when all that waits is about to be sent, and ends when they were read. So
// in a crowd a model is read once a flush and not for each word, which would be most of the work and show no word sooner.
type turn struct {
	begin, end chan struct{} // closed then
	begun      bool
	left       int // replies that wait for it to begin, and then those whose models have not been read
	spare      int // so few are not waited for: a model may have paused
}

// replyLog is the log of one running reply on its way to the record.
type replyLog struct {
	f              *flusher
	responseID     string
	conversationID string

	// Under f.mu:
	n         int           // the next row's number
	rows      []store.Delta // not sent yet; the last may still grow
	unsent    int           // bytes of text in rows
	added     int           // how often something was added since the last flush
	fast      bool          // more than once between the last two
	turn      *turn         // that it waits for or reads in
	sending   bool          // some are in the batch under way
	committed int           // how many rows are committed
	changed   chan struct{} // closed at the next commit, or when no more can be written
	err       error         // why no more can be written
}

func newFlusher(record Record, fence store.Fence, log *slog.Logger, fenced, commit func()) *flusher {
	return &flusher{record: record, fence: fence, log: log, fenced: fenced, commit: commit, wake: make(chan struct{}, 1)}
}

// open starts the log of a reply; in which conversation it is, is to be set before anything is added.
func (f *flusher) open(responseID string) *replyLog {
	return &replyLog{f: f, responseID: responseID, changed: make(chan struct{})}
}

// committedAfter reports whether more than the first n rows are committed.
func (l *replyLog) committedAfter(n int) bool {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	return l.committed > n
}

// add queues rows, all for the same flush, or lengthens the text that waits for it. While too much of the reply is unsent it waits,
// so that the model is not read further; it returns ctx's error, or why the log can take no more.
func (l *replyLog) add(ctx context.Context, rows ...store.Delta) error {
	l.f.mu.Lock()
	for l.unsent > maxUnsent && l.err == nil {
		changed := l.changed
		l.f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		l.f.mu.Lock()
	}
	defer l.f.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.added++
	for _, d := range rows {
		l.unsent += len(d.Text)
		if last := len(l.rows) - 1; d.Kind == store.DeltaText && last >= 0 && l.rows[last].Kind == store.DeltaText &&
			l.rows[last].Item == d.Item && l.rows[last].Part == d.Part {
			l.rows[last].Text += d.Text
			continue
		}
		d.ResponseID, d.ConversationID, d.N = l.responseID, l.conversationID, l.n
		l.n++
		if len(l.rows) == 0 {
			l.f.waiting = append(l.f.waiting, l)
		}
		l.rows = append(l.rows, d)
	}
	select {
	case l.f.wake <- struct{}{}:
	default:
	}
	return nil
}

// pace is called when all that had come from the model was added. In a crowd it waits for the next turn to read on, if there is
// something to send already and more of it is likely to come until then.
func (l *replyLog) pace(ctx context.Context) {
	l.f.mu.Lock()
	l.leave()
	t := l.f.turn
	if t == nil || !l.fast || len(l.rows) == 0 {
		l.f.mu.Unlock()
		return
	}
	l.turn = t
	t.left++
	l.f.mu.Unlock()
	select {
	case <-t.begin:
	case <-ctx.Done():
	}
}

// leave ends the reply's part in its turn. f.mu is held.
func (l *replyLog) leave() {
	if l.turn != nil {
		l.turn.left--
		l.turn.settle()
		l.turn = nil
	}
}

// settle ends the turn when it has begun and nearly all have read. f.mu is held.
func (t *turn) settle() {
	if t.begun && t.left == t.spare {
		close(t.end)
	}
}

// rest is called when nothing more is to be added. It takes back the rows that are not sent yet, for the end to bring them, and waits until
// none is on its way to the record. It returns an error when the log could take no more; and [errUnknown] when it is not known what
// was kept, because ctx or the flusher ended before that.
func (l *replyLog) rest(ctx context.Context) ([]store.Delta, error) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.leave()
	rows := l.rows
	l.rows, l.unsent = nil, 0
	l.f.waiting = slices.DeleteFunc(l.f.waiting, func(other *replyLog) bool { return other == l })
	for l.sending {
		changed := l.changed
		l.f.mu.Unlock()
		select {
		case <-changed:
			l.f.mu.Lock()
		case <-ctx.Done():
			l.f.mu.Lock()
			if l.sending {
				return nil, errUnknown
			}
		}
	}
	switch {
	case errors.Is(l.err, context.Canceled):
		return nil, errUnknown
	case l.err != nil:
		return nil, l.err
	}
	return rows, nil
}

// errUnknown is returned when the database has not said what it kept.
var errUnknown = errors.New("the database has not said what it kept")

// run flushes until ctx ends.
func (f *flusher) run(ctx context.Context) {
	defer f.begin(nil)
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			f.fail(ctx.Err(), f.take())
			return
		}
		batches := f.take()
		if len(batches) == 0 {
			continue
		}
		f.send(ctx, batches)
		n := len(batches)
		wait := min(time.Duration(n)*gap, maxGap)
		if n > 1 {
			sleep(ctx, wait, nil)
		}
		if n <= crowd {
			f.begin(nil)
		} else if now := f.begin(&turn{begin: make(chan struct{}), end: make(chan struct{})}); now != nil {
			sleep(ctx, wait/2, now.end)
		}
	}
}

// begin begins the turn that was the next and returns it, or nil when there was none.
func (f *flusher) begin(next *turn) (now *turn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, f.turn = f.turn, next
	if now != nil {
		now.begun, now.spare = true, now.left/128
		close(now.begin)
		now.settle()
	}
	return now
}

// sleep waits for d, or until enough is closed or ctx ends.
func sleep(ctx context.Context, d time.Duration, enough <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-enough:
	case <-ctx.Done():
	}
}

// batch is the rows of one reply, frozen.
type batch struct {
	log  *replyLog
	rows []store.Delta
}

func (f *flusher) take() []batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	batches := make([]batch, len(f.waiting))
	for i, l := range f.waiting {
		batches[i] = batch{l, l.rows}
		l.rows, l.unsent, l.sending = nil, 0, true
		l.fast, l.added = l.added > 1, 0
	}
	f.waiting = nil
	return batches
}

// send commits batches, however often it takes, and lets readers look.
func (f *flusher) send(ctx context.Context, batches []batch) {
	var rows []store.Delta
	for _, b := range batches {
		rows = append(rows, b.rows...)
	}
	var pause backoff
	for {
		try, cancel := context.WithTimeout(ctx, patience)
		err := f.record.AppendDeltas(try, f.fence, rows)
		cancel()
		switch {
		case err == nil:
			f.sent(batches)
			return
		case errors.Is(err, store.ErrFenced):
			f.log.Error("another server has taken this one's replies over; they stop here")
			f.fail(err, batches)
			f.fenced()
			return
		case store.Permanent(err) && len(batches) > 1: // one of them spoils it; it must not stop the others
			for i := range batches {
				f.send(ctx, batches[i:i+1])
			}
			return
		case store.Permanent(err):
			f.fail(err, batches)
			return
		}
		f.log.Warn("a flush waits for the database", "error", err, "replies", len(batches))
		if !pause.wait(ctx) {
			f.fail(ctx.Err(), batches)
			return
		}
	}
}

func (f *flusher) sent(batches []batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range batches {
		b.log.sending = false
		b.log.committed += len(b.rows)
		b.log.announce()
	}
	f.commit()
}

func (f *flusher) fail(err error, batches []batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range batches {
		b.log.sending, b.log.err = false, err
		f.waiting = slices.DeleteFunc(f.waiting, func(l *replyLog) bool { return l == b.log }) // its rows would have no beginning
		b.log.announce()
	}
}

// announce wakes who waits for the log to change. f.mu is held.
func (l *replyLog) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// backoff is a pause between tries, growing to a second.
type backoff struct{ next time.Duration }

// wait pauses and reports whether ctx still goes on.
func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(max(2*b.next, 20*time.Millisecond), time.Second)
	timer := time.NewTimer(b.next)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

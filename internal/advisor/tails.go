package advisor

import (
	"context"
	"maps"
	"sync"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// Readers of running replies read the log together: one statement for all who wait, the next as soon as the last has ended.
// So what a thousand readers cost the database is one read a flush, and a lone reader waits for nothing but its own.

// pollInterval is how often the log of a reply that another server writes is looked at.
const pollInterval = 100 * time.Millisecond

type tails struct {
	record interface {
		ReadTails(ctx context.Context, tails []store.Tail) ([]store.TailRows, error)
	}
	news func(responseID string, from int) (fresh, ours bool) // what is known without asking

	wake chan struct{} // holds one token while there may be something to read

	mu      sync.Mutex
	running bool // somebody reads; true while somebody waits
	waiting map[*waiter]struct{}
	over    map[string]time.Time // when replies ended that were written here, for a moment: who begins to wait just then
}

// waiter is a reader; it waits when it has read all there was.
type waiter struct {
	tail  store.Tail
	until time.Time  // when it wants to hear that there is nothing
	found chan found // gets one each time it waits
}

// found is what a waiter is told.
type found struct {
	store.TailRows
	end *Step // of a reply that is over: how it ended, with all of its log; nil where that is to be read
}

func newWaiter(responseID string) *waiter {
	return &waiter{tail: store.Tail{ResponseID: responseID}, found: make(chan found, 1)}
}

// next waits until there is more of w's reply than its first from rows, or it is over, or ctx or patience ends: then it returns
// nothing. Once ctx has ended w is of no more use.
func (t *tails) next(ctx context.Context, w *waiter, from int, patience time.Duration) found {
	t.mu.Lock()
	if _, over := t.over[w.tail.ResponseID]; over {
		t.mu.Unlock()
		return found{TailRows: store.TailRows{Over: true}}
	}
	w.tail.From, w.until = from, time.Now().Add(patience)
	t.waiting[w] = struct{}{}
	if !t.running {
		t.running = true
		go t.run()
	}
	t.mu.Unlock()
	if fresh, _ := t.news(w.tail.ResponseID, from); fresh { // looked at after waiting, so that no commit is missed
		t.look()
	}
	select {
	case it := <-w.found:
		return it
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waiting, w)
	return found{}
}

// look lets the log be read again for those who wait and for whom there is something new.
func (t *tails) look() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// ended ends the waits for a reply that was written here, and whose end is in the record; end is what the record said of it, or nil.
func (t *tails) ended(responseID string, end *Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.over, func(_ string, at time.Time) bool { return time.Since(at) > 10*pollInterval })
	t.over[responseID] = time.Now()
	for w := range t.waiting {
		if w.tail.ResponseID == responseID {
			t.give(w, found{store.TailRows{Over: true}, end})
		}
	}
}

// run reads for those who wait, as long as somebody does.
func (t *tails) run() {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		all := false // also for replies of which nothing is known here
		select {
		case <-t.wake:
		case <-poll.C:
			all = true
		}
		t.mu.Lock()
		if len(t.waiting) == 0 {
			t.running = false
			t.mu.Unlock()
			return
		}
		var ready, waiting []*waiter
		now := time.Now()
		for w := range t.waiting {
			if all && w.until.Before(now) {
				t.give(w, found{}) // here, so that no wait needs a timer of its own
				continue
			}
			waiting = append(waiting, w)
		}
		t.mu.Unlock()
		for _, w := range waiting {
			if fresh, ours := t.news(w.tail.ResponseID, w.tail.From); fresh || all && !ours {
				ready = append(ready, w)
			}
		}
		asked := make([]store.Tail, len(ready))
		for i, w := range ready {
			asked[i] = w.tail
		}
		if len(ready) == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		rows, err := t.record.ReadTails(ctx, asked)
		cancel()
		if err != nil {
			continue // the next look is at most an interval away
		}
		t.mu.Lock()
		for i, w := range ready {
			if _, waits := t.waiting[w]; waits && (rows[i].Over || len(rows[i].Deltas) > 0) {
				t.give(w, found{TailRows: rows[i]})
			}
		}
		t.mu.Unlock()
	}
}

// give ends the wait of w. t.mu is held.
func (t *tails) give(w *waiter, it found) {
	delete(t.waiting, w)
	w.found <- it
}

package advisor

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// oneRow is a log in which there is a row once there has been news.
type oneRow struct{ news atomic.Bool }

func (o *oneRow) ReadTails(_ context.Context, tails []store.Tail) ([]store.TailRows, error) {
	found := make([]store.TailRows, len(tails))
	for i, at := range tails {
		if o.news.Load() && at.From == 0 {
			found[i].Deltas = []store.Delta{{ResponseID: at.ResponseID, Text: "word"}}
		}
	}
	return found, nil
}

func TestAReaderHearsThatThereIsNothingAndThenWhatThereIs(t *testing.T) {
	var log oneRow
	tails := &tails{record: &log, wake: make(chan struct{}, 1), waiting: map[*waiter]struct{}{}, over: map[string]time.Time{},
		news: func(_ string, from int) (fresh, ours bool) { return log.news.Load() && from == 0, true }}
	w := newWaiter("r")
	for range 2 {
		if found := tails.next(t.Context(), w, 0, time.Millisecond); found.Over || found.Deltas != nil {
			t.Fatalf("there is nothing, and it found %+v", found)
		}
	}
	log.news.Store(true)
	if found := tails.next(t.Context(), w, 0, time.Hour); len(found.Deltas) != 1 || found.Deltas[0].Text != "word" {
		t.Fatalf("found %+v", found)
	}
	if found := tails.next(t.Context(), w, 1, time.Millisecond); found.Deltas != nil {
		t.Fatalf("a row was found twice: %+v", found)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found := tails.next(ctx, w, 1, time.Hour); found.Deltas != nil {
		t.Fatalf("found %+v", found)
	}
	tails.mu.Lock()
	defer tails.mu.Unlock()
	if len(tails.waiting) > 0 {
		t.Error("who has left still waits")
	}
}

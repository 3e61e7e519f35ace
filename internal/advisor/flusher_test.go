package advisor

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// slowRecord keeps text by reply; a flush takes 5 ms.
type slowRecord struct {
	mu      sync.Mutex
	texts   map[string]string
	flushes int
}

func (r *slowRecord) AppendDeltas(_ context.Context, _ store.Fence, deltas []store.Delta) error {
	time.Sleep(5 * time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushes++
	for _, d := range deltas {
		r.texts[d.ResponseID] += d.Text
	}
	return nil
}

// crowdOf lets n models say words, one every pause, and returns what was kept and how often each model was read. The model of the
// last reply says half of its words, then nothing for a second, then the rest.
func crowdOf(t *testing.T, n, words int, pause time.Duration) (record *slowRecord, reads []int) {
	record = &slowRecord{texts: map[string]string{}}
	f := &flusher{record: record, log: slog.New(slog.DiscardHandler), fenced: func() {}, commit: func() {}, wake: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go f.run(ctx)
	reads = make([]int, n)
	begun := time.Now()
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			log := f.open(store.Response{ID: fmt.Sprint(i)})
			said := func(w int) time.Time {
				at := begun.Add(time.Duration(w+1) * pause)
				if i == n-1 && w >= words/2 {
					at = at.Add(time.Second)
				}
				return at
			}
			for w := 0; w < words; {
				log.pace(ctx)
				time.Sleep(time.Until(said(w))) // a read waits for one word and takes all there are
				reads[i]++
				for ; w < words && !said(w).After(time.Now()); w++ {
					if err := log.add(ctx, store.Delta{Kind: store.DeltaText, Text: fmt.Sprint(w, " ")}); err != nil {
						t.Error(err)
					}
				}
			}
			if err := log.flushed(ctx); err != nil {
				t.Error(err)
			}
			if i == n-2 && time.Since(begun) > time.Duration(words)*pause+100*time.Millisecond {
				t.Error("a model that has nothing to say holds the others up")
			}
		})
	}
	group.Wait()
	return record, reads
}

func TestInACrowdAModelIsReadOnceAFlush(t *testing.T) {
	const words = 200
	for _, test := range []struct {
		replies int
		pause   time.Duration
		once    bool
	}{
		{1, time.Millisecond, false},
		{crowd, time.Millisecond, false},
		{2 * crowd, time.Millisecond, true},
		{2 * crowd, 50 * time.Millisecond, false}, // slower than the flushes
	} {
		t.Run(fmt.Sprint(test.replies, " replies, a word every ", test.pause), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				record, reads := crowdOf(t, test.replies, words, test.pause)
				var all strings.Builder
				for w := range words {
					fmt.Fprint(&all, w, " ")
				}
				for i := range test.replies {
					if got := record.texts[fmt.Sprint(i)]; got != all.String() {
						t.Fatalf("of reply %d was kept %q", i, got)
					}
				}
				if once := reads[0] < words/4 && reads[0] <= record.flushes+3; once != test.once {
					t.Errorf("the first model was read %d times for %d words in %d flushes", reads[0], words, record.flushes)
				}
			})
		})
	}
}

func TestAPacedReplyCanBeStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flusher{wake: make(chan struct{}, 1), turn: &turn{begin: make(chan struct{}), end: make(chan struct{})}}
		log := f.open(store.Response{ID: "r"})
		log.fast = true
		if err := log.add(t.Context(), store.Delta{Kind: store.DeltaText, Text: "word"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		returned := false
		go func() {
			log.pace(ctx)
			returned = true
		}()
		synctest.Wait()
		if returned {
			t.Fatal("it was not paced")
		}
		cancel()
		synctest.Wait()
		if !returned {
			t.Fatal("it waits although it was stopped")
		}
	})
}

package advisor

import (
	"context"
	"errors"
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
	r.flushes++
	r.mu.Unlock()
	r.keep(deltas)
	return nil
}

func (r *slowRecord) keep(deltas []store.Delta) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range deltas {
		r.texts[d.ResponseID] += d.Text
	}
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
			log := f.open(fmt.Sprint(i))
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
			rest, err := log.rest(ctx)
			if err != nil {
				t.Error(err)
			}
			record.keep(rest)
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
		log := f.open("r")
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

// The end brings what was not sent yet, and waits for what was: that may be shown, and stands before it.
func TestTheEndTakesWhatIsNotUnderWay(t *testing.T) {
	for _, outage := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			record := &slowRecord{texts: map[string]string{}}
			f := &flusher{record: record, log: slog.New(slog.DiscardHandler), fenced: func() {}, commit: func() {}, wake: make(chan struct{}, 1)}
			if outage {
				f.record = &hanging{}
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			go f.run(ctx)
			log := f.open("r")
			for _, text := range []string{"sent", " and", " not sent"} {
				if err := log.add(ctx, store.Delta{Kind: store.DeltaText, Text: text}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // the first is under way
			}
			begun := time.Now()
			patient, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			rest, err := log.rest(patient)
			took := time.Since(begun)
			if outage && (err != errUnknown || rest != nil || took != time.Hour) {
				t.Errorf("the rest is %v, %v after %v", rest, err, took)
			}
			if !outage && (err != nil || len(rest) != 1 || rest[0].N != 1 || rest[0].Text != " and not sent" || took != 5*time.Millisecond || record.texts["r"] != "sent") {
				t.Errorf("the rest is %+v, %v after %v; before it there is %q", rest, err, took, record.texts["r"])
			}
			time.Sleep(time.Second) // in the bubble's time: a flush would have ended
			if record.texts["r"] != "sent" && !outage {
				t.Errorf("what the end brings was flushed as well: %q", record.texts["r"])
			}
		})
	}
}

// hanging never answers.
type hanging struct{}

func (hanging) AppendDeltas(ctx context.Context, _ store.Fence, _ []store.Delta) error {
	<-ctx.Done()
	return ctx.Err()
}

// spoilt refuses the first rows of a log for good, once they are told to.
type spoilt struct {
	came, refuse chan struct{}
	kept         []store.Delta
}

type permanent struct{ error }

func (permanent) Permanent() bool { return true }

func (r *spoilt) AppendDeltas(_ context.Context, _ store.Fence, rows []store.Delta) error {
	if rows[0].N == 0 {
		close(r.came)
		<-r.refuse
		return permanent{errors.New("refused")}
	}
	r.kept = append(r.kept, rows...)
	return nil
}

// What waits behind rows that are refused for good is not written: it has no beginning.
func TestNothingIsWrittenBehindWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		record := &spoilt{came: make(chan struct{}), refuse: make(chan struct{})}
		f := &flusher{record: record, log: slog.New(slog.DiscardHandler), fenced: func() {}, commit: func() {}, wake: make(chan struct{}, 1)}
		ctx, stop := context.WithCancel(t.Context())
		go f.run(ctx)
		log := f.open("reply")
		log.add(ctx, store.Delta{Kind: store.DeltaItem})
		<-record.came
		log.add(ctx, store.Delta{Kind: store.DeltaPart})
		close(record.refuse)
		synctest.Wait()
		stop()
		synctest.Wait()
		if len(record.kept) > 0 {
			t.Errorf("kept is %+v", record.kept)
		}
	})
}

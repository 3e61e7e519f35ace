package advisor

import (
	"context"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// silent is a record in which a reply runs and says nothing.
type silent struct{ Record }

func (silent) ReadLog(_ context.Context, id string, _ int) (store.Response, []store.Delta, error) {
	return store.Response{ID: id, Status: store.ResponseInProgress}, nil, nil
}

func (silent) ReadTails(_ context.Context, tails []store.Tail) ([]store.TailRows, error) {
	return make([]store.TailRows, len(tails)), nil
}

// Who follows a reply that waits hears at once what for, and every 15 seconds that the line is there, whether or not anything is known.
func TestAReaderOfAReplyThatWaitsHearsOfItAndEvery15Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Advisor{Config: Config{Record: silent{}}, replies: map[string]*reply{}}
		a.tails = &tails{record: silent{}, news: a.news, wake: make(chan struct{}, 1), waiting: map[*waiter]struct{}{}, over: map[string]time.Time{}}
		r := &reply{ctx: t.Context(), log: &replyLog{f: &flusher{}}, wait: &atomic.Pointer[Wait]{}}
		r.wait.Store(&Wait{})
		a.replies["r"] = r
		for _, said := range []struct {
			after time.Duration
			wait  llm.Wait
		}{{20 * time.Second, llm.Wait{Loading: true}}, {21 * time.Second, llm.Wait{Loading: true}}, {40 * time.Second, llm.Wait{Reading: true, Percent: 34}}} {
			time.AfterFunc(said.after, func() { r.waitFor(said.wait) })
		}
		time.AfterFunc(50*time.Second, r.begun)
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		type heard struct {
			second float64
			wait   llm.Wait
		}
		var all []heard
		begun := time.Now()
		for step, err := range a.Follow(ctx, "r", 0) {
			if err != nil {
				break
			}
			h := heard{second: time.Since(begun).Round(time.Second).Seconds()}
			if step.Wait != nil {
				h.wait = step.Wait.Wait
			}
			all = append(all, h)
		}
		want := []heard{{0, llm.Wait{}}, {15, llm.Wait{}}, {20, llm.Wait{Loading: true}}, {35, llm.Wait{}}, {40, llm.Wait{Reading: true, Percent: 34}},
			{65, llm.Wait{}}, {80, llm.Wait{}}}
		if !reflect.DeepEqual(all, want) {
			t.Errorf("it hears\n%v\nnot\n%v", all, want)
		}
		time.Sleep(pollInterval) // in the bubble's time: then nobody reads for those who wait
	})
}

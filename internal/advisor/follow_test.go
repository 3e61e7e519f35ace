package advisor

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// away is a record that does not answer until a time.
type away struct {
	silent
	until time.Time
}

var errAway = errors.New("connection refused")

func (r away) ReadLog(_ context.Context, id string, _ int) (store.Response, []store.Delta, error) {
	if time.Now().Before(r.until) {
		return store.Response{}, nil, errAway
	}
	return store.Response{ID: id, Status: store.ResponseCompleted, EndedAt: time.Now()}, nil, nil
}

// Who asked has nothing to gain from an error: the question is kept, and asking again would have it stand twice. So who reads a reply
// that is written here waits as long as it takes; another, which may not be there, is waited for half a minute.
func TestWhoReadsAReplyThatIsWrittenHereWaitsForTheDatabase(t *testing.T) {
	readers := map[string]func(t *testing.T, a *Advisor) (end store.Response, failed error){
		"all of it": func(t *testing.T, a *Advisor) (end store.Response, failed error) {
			for step, err := range a.Follow(t.Context(), "r", 0) {
				end, failed = step.Response, err
			}
			return end, failed
		},
		"its end": func(t *testing.T, a *Advisor) (end store.Response, failed error) {
			end, _, failed = a.Ended(t.Context(), "r")
			return end, failed
		},
	}
	for _, ours := range []bool{true, false} {
		for name, read := range readers {
			synctest.Test(t, func(t *testing.T) {
				record := away{until: time.Now().Add(10 * time.Minute)}
				a := &Advisor{Config: Config{Record: record}, replies: map[string]*reply{}}
				a.tails = &tails{record: silent{}, news: a.news, wake: make(chan struct{}, 1), waiting: map[*waiter]struct{}{}, over: map[string]time.Time{}}
				if ours {
					a.replies["r"] = &reply{ctx: t.Context(), log: &replyLog{f: &flusher{}}, wait: &atomic.Pointer[Wait]{}}
					time.AfterFunc(time.Second, func() { a.tails.ended("r", nil) })
				}
				begun := time.Now()
				end, failed := read(t, a)
				took := time.Since(begun)
				if ours && (failed != nil || end.Status != store.ResponseCompleted || took < 10*time.Minute) {
					t.Errorf("%s: of a reply that is written here it hears %+v, %v after %v", name, end, failed, took)
				}
				if !ours && (failed != errAway || took < newcomer || took > newcomer+2*time.Second) {
					t.Errorf("%s: of another it hears %+v, %v after %v", name, end, failed, took)
				}
				time.Sleep(pollInterval) // in the bubble's time: then nobody reads for those who wait
			})
		}
	}
}

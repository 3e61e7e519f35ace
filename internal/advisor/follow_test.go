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

// Who asked has nothing to gain from an error: the question is kept, and asking again would have it stand twice. So the first look at a
// reply that is written here waits as long as it takes; at another, which may not be there, half a minute.
func TestTheFirstLookAtAReplyThatIsWrittenHereWaitsForTheDatabase(t *testing.T) {
	for _, ours := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			record := away{until: time.Now().Add(10 * time.Minute)}
			a := &Advisor{Config: Config{Record: record}, replies: map[string]*reply{}}
			if ours {
				a.replies["r"] = &reply{log: &replyLog{f: &flusher{}}, wait: &atomic.Pointer[Wait]{}}
			}
			begun := time.Now()
			var end store.Response
			var failed error
			for step, err := range a.Follow(t.Context(), "r", 0) {
				end, failed = step.Response, err
			}
			took := time.Since(begun)
			if ours && (failed != nil || end.Status != store.ResponseCompleted) {
				t.Errorf("of a reply that is written here it hears %+v, %v after %v", end, failed, took)
			}
			if !ours && (failed != errAway || took < newcomer || took > newcomer+2*time.Second) {
				t.Errorf("of another it hears %+v, %v after %v", end, failed, took)
			}
		})
	}
}

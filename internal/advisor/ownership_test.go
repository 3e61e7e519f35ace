package advisor

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// still is a record with a server whose counter stands still.
type still struct {
	Record
	look   func() error   // called by each look at the servers
	fenced chan time.Time // gets when it was fenced off
}

func (s *still) BusyServers(context.Context) ([]store.Server, error) {
	return []store.Server{{ID: "other", Epoch: 1, Counter: 7}}, s.look()
}

func (s *still) FenceOff(context.Context, store.Server) (bool, error) {
	s.fenced <- time.Now()
	return true, nil
}

func (s *still) Running(context.Context, string) ([]store.Response, error) { return nil, nil }

// A server is taken for dead once its counter was seen to stand still all of 15 seconds. A time in which nobody looked, or the database
// did not answer, or this server could not write to it, is none of them: it may have had no way to show that it lives.
func TestAServerIsSeenToStandStillBeforeItIsTakenOver(t *testing.T) {
	for name, test := range map[string]struct {
		tenth  func() error  // instead of the tenth look, after nine seconds
		missed bool          // then this server could not show that it lives
		within time.Duration // after which the server is fenced off
	}{
		"seen all along":                {tenth: func() error { return nil }, within: 16 * time.Second},
		"the database is away":          {tenth: func() error { return errors.New("no answer") }, within: 26 * time.Second},
		"the database can only be read": {tenth: func() error { return nil }, missed: true, within: 26 * time.Second},
		"the process is paused":         {tenth: func() error { time.Sleep(time.Minute); return nil }, within: 86 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				looks, begun := 0, time.Now()
				record := &still{fenced: make(chan time.Time, 1)}
				var a *Advisor
				record.look = func() error {
					if looks++; looks != 10 {
						return nil
					}
					if test.missed {
						a.mu.Lock()
						a.missed = time.Now()
						a.mu.Unlock()
					}
					return test.tenth()
				}
				a = &Advisor{Config: Config{Record: record, ServerID: "this", Log: slog.New(slog.DiscardHandler), Heartbeat: 3 * time.Second,
					DeadAfter: 15 * time.Second}, session: &session{}}
				ctx, stop := context.WithCancel(t.Context())
				go a.takeOver(ctx)
				fenced := <-record.fenced
				stop()
				synctest.Wait()
				if after := fenced.Sub(begun); after < test.within-2*time.Second || after > test.within+time.Second {
					t.Errorf("it is taken over after %v, not about %v", after, test.within)
				}
			})
		})
	}
}

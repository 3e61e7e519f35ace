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

// dying is a record with a server that has died with a reply.
type dying struct {
	Record
	server   store.Server
	fenceOff func(ctx context.Context) error // called before the server is fenced off, or nil
	listed   func()                          // called after its replies were listed, or nil
	finish   func(ctx context.Context) error
}

func (d *dying) BusyServers(context.Context) ([]store.Server, error) {
	return []store.Server{d.server}, nil
}

func (d *dying) FenceOff(ctx context.Context, seen store.Server) (bool, error) {
	if d.fenceOff != nil {
		if err := d.fenceOff(ctx); err != nil {
			return false, err
		}
	}
	d.server.Epoch++
	return seen.Epoch == d.server.Epoch-1, nil
}

func (d *dying) Running(context.Context, string) ([]store.Response, error) {
	if d.listed != nil {
		defer d.listed()
	}
	return []store.Response{{ID: "reply"}}, nil
}

func (d *dying) FinishResponse(ctx context.Context, _ store.Finish) (store.Response, []store.Delta, error) {
	return store.Response{}, nil, d.finish(ctx)
}

// What goes wrong when a server is taken over is tried again at once, and not after another 15 seconds.
func TestATakeOverGoesOn(t *testing.T) {
	for name, trouble := range map[string]func(d *dying, tries *int){
		"after a reply that is not settled": func(d *dying, tries *int) {
			finish := d.finish
			d.finish = func(ctx context.Context) error {
				if *tries++; *tries == 1 {
					return errors.New("a reset")
				}
				return finish(ctx)
			}
		},
		"after a reply that hangs": func(d *dying, tries *int) {
			finish := d.finish
			d.finish = func(ctx context.Context) error {
				if *tries++; *tries == 1 {
					<-ctx.Done()
					return ctx.Err()
				}
				return finish(ctx)
			}
		},
		"after a connection that nobody answers": func(d *dying, tries *int) {
			d.fenceOff = func(ctx context.Context) error {
				if *tries++; *tries == 1 {
					<-ctx.Done()
				}
				return ctx.Err()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settled, tries, begun := make(chan time.Time, 100), 0, time.Now()
				d := &dying{server: store.Server{ID: "other", Epoch: 1, Counter: 7}, finish: func(context.Context) error { settled <- time.Now(); return nil }}
				trouble(d, &tries)
				stop := watches(t, d)
				at := (<-settled).Sub(begun)
				stop()
				if at > 20*time.Second || tries < 2 {
					t.Errorf("its reply is settled after %v and %d tries", at, tries)
				}
			})
		})
	}
}

// A server that joins anew between being fenced off and the look at its replies settles what it had, and what it asks from then on
// nobody else ends.
func TestAServerThatJoinsAnewIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lists int
		d := &dying{server: store.Server{ID: "other", Epoch: 1, Counter: 7}, finish: func(context.Context) error { t.Error("its new reply is ended"); return nil }}
		d.listed = func() {
			lists++
			d.server.Epoch++
			d.server.Counter++
		}
		stop := watches(t, d)
		time.Sleep(29 * time.Second)
		stop()
		if lists != 1 {
			t.Errorf("its replies are looked at %d times", lists)
		}
	})
}

// watches lets a server take over what has died, until stop.
func watches(t *testing.T, record Record) (stop func()) {
	a := &Advisor{Config: Config{Record: record, ServerID: "this", Log: slog.New(slog.DiscardHandler), Heartbeat: 3 * time.Second,
		DeadAfter: 15 * time.Second}, session: &session{}}
	ctx, cancel := context.WithCancel(t.Context())
	go a.takeOver(ctx)
	return func() { cancel(); synctest.Wait() }
}

// forgetful is a record whose keys cannot be forgotten, since nobody answers the connection any more.
type forgetful struct {
	Record
	beats int
}

func (f *forgetful) Heartbeat(context.Context, store.Fence) error { f.beats++; return nil }

func (f *forgetful) Running(context.Context, string) ([]store.Response, error) { return nil, nil }

func (f *forgetful) ForgetKeys(ctx context.Context, _ time.Time) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// What a server does beside showing that it lives holds that up for a beat at most.
func TestForgettingKeysHoldsUpNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		record, s := &forgetful{}, &session{}
		s.ctx, s.end = context.WithCancelCause(t.Context())
		a := &Advisor{Config: Config{Record: record, ServerID: "this", Log: slog.New(slog.DiscardHandler), Heartbeat: 3 * time.Second,
			DeadAfter: 15 * time.Second}, session: s}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		a.live(ctx)
		if record.beats < 8 {
			t.Errorf("in a minute it shows %d times that it lives", record.beats)
		}
	})
}

package advisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"git.georgsen.dk/hwlab/internal/store"
)

// Ownership. A server shows that it lives by raising its counter. Who sees another's counter stand still for long, on its own
// clock and while the database answered all along, fences it off and settles its replies with the text they had. A server that
// finds itself fenced off stops what it writes, none of which it can commit any more, and joins anew.

const (
	watchEvery = 100 * time.Millisecond // how long it takes to see that a reply is unwanted
	keepKeys   = 48 * time.Hour         // how long a retry gets the response of the first try

	settleAtOnce = 8 // replies of a dead server: it may have written thousands, and each is a transaction
)

// join begins a session: the server's row is this process's from here, and what the row's last owner left is settled.
func (a *Advisor) join(ctx, background context.Context) (*session, error) {
	fence, err := a.Record.JoinServer(ctx, a.ServerID)
	if err != nil {
		return nil, err
	}
	if err := a.settle(ctx, fence, fence); err != nil {
		return nil, err
	}
	s := &session{fence: fence, replaced: make(chan struct{})}
	s.last, s.giveUp = context.WithCancel(context.Background())
	s.ctx, s.end = context.WithCancelCause(context.Background())
	s.flusher = newFlusher(a.Record, fence, a.Log, func() { a.lost(s) }, a.tails.look)
	flushing, stop := context.WithCancel(background)
	s.stopFlusher = stop
	a.idle.Go(func() { s.flusher.run(flushing) })
	return s, nil
}

// settle ends the replies of a server that nobody writes any more as interrupted, with the text they had. Those are spared that this
// server writes, or may soon, and all of a server that is not at of's epoch any more: it has joined anew, settles what it had and goes on.
func (a *Advisor) settle(ctx context.Context, fence, of store.Fence) error {
	left, err := a.Record.Running(ctx, of.ServerID)
	if err != nil {
		return err
	}
	a.mu.Lock()
	left = slices.DeleteFunc(left, func(r store.Response) bool { return a.replies[r.ID] != nil || a.asked[r.ID] })
	a.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	servers, err := a.Record.BusyServers(ctx) // later than the replies: at of's epoch none of them is of a later one
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(servers, func(v store.Server) bool { return v.ID == of.ServerID && v.Epoch == of.Epoch }) {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(settleAtOnce)
	for _, r := range left {
		group.Go(func() error {
			_, _, err := a.Record.FinishResponse(ctx, store.Finish{Fence: fence, ConversationID: r.ConversationID, ResponseID: r.ID,
				Status: store.ResponseIncomplete, IncompleteReason: store.ReasonInterrupted})
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("advisor: settle an interrupted reply: %w", err)
			}
			a.Log.Info("settled a reply that nobody writes any more", "response", r.ID, "server", of.ServerID)
			return nil
		})
	}
	return group.Wait()
}

// live shows that this server lives, settles what it has started and does not write, and joins anew after another has taken over.
func (a *Advisor) live(ctx context.Context) {
	forgotten, settled := time.Time{}, time.Now()
	beat := time.NewTicker(a.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-beat.C:
		case <-a.fenced:
		case <-ctx.Done():
			return
		}
		a.mu.Lock()
		s := a.session
		a.mu.Unlock()
		err := s.ctx.Err()
		if err == nil {
			try, cancel := a.beat(ctx)
			err = a.Record.Heartbeat(try, s.fence)
			cancel()
		}
		switch {
		case errors.Is(err, store.ErrFenced), context.Cause(s.ctx) == errFenced:
			s.end(errFenced)
			a.rejoin(ctx, s)
		case err != nil && s.ctx.Err() == nil && ctx.Err() == nil:
			a.mu.Lock()
			a.missed = time.Now()
			a.mu.Unlock()
			a.Log.Warn("the database does not answer", "error", err)
		case err == nil && time.Since(settled) > a.DeadAfter: // a question may be kept after it was given up, and an end may be refused
			settled = time.Now()
			try, cancel := a.beat(ctx) // meanwhile nothing shows that this server lives
			err := a.settle(try, s.fence, s.fence)
			cancel()
			if err != nil && ctx.Err() == nil {
				a.Log.Warn("replies that nobody writes are not settled yet", "error", err)
			}
		}
		if time.Since(forgotten) > time.Hour {
			try, cancel := a.beat(ctx)
			if _, err := a.Record.ForgetKeys(try, time.Now().Add(-keepKeys)); err == nil {
				forgotten = time.Now()
			}
			cancel()
		}
	}
}

// Ready returns why no question could be kept now, or nil: it shows that this server lives, which is a write to the record. Nothing is
// held between two calls.
func (a *Advisor) Ready(ctx context.Context) error {
	a.mu.Lock()
	s, closed := a.session, a.closed
	a.mu.Unlock()
	if closed {
		return ErrStopping
	}
	if s.ctx.Err() != nil {
		return store.ErrFenced
	}
	return a.Record.Heartbeat(ctx, s.fence)
}

// Writing is how many replies this server writes now.
func (a *Advisor) Writing() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.replies)
}

// lost ends a session that has been fenced off, and lets the server join anew at once.
func (a *Advisor) lost(s *session) {
	s.end(errFenced)
	select {
	case a.fenced <- struct{}{}:
	default:
	}
}

// rejoin begins a new session once the replies of the old one have stopped.
func (a *Advisor) rejoin(ctx context.Context, old *session) {
	a.Log.Error("another server has taken this one's replies over; they stop here, and it joins anew")
	old.work.Wait()
	old.giveUp()
	old.stopFlusher()
	try, cancel := context.WithTimeout(ctx, a.DeadAfter)
	defer cancel()
	s, err := a.join(try, ctx)
	if err != nil {
		a.Log.Warn("joining anew waits for the database", "error", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session = s; a.closed {
		s.end(errShutdown)
		return
	}
	close(old.replaced)
}

// watch stops the replies of this server that somebody, here or elsewhere, has cancelled or deleted.
func (a *Advisor) watch(ctx context.Context) {
	for each(ctx, watchEvery) {
		a.mu.Lock()
		ids := make([]string, 0, len(a.replies))
		for id := range a.replies {
			ids = append(ids, id)
		}
		a.mu.Unlock()
		if len(ids) == 0 {
			continue
		}
		try, cancel := a.beat(ctx)
		cancelled, gone, err := a.Record.Unwanted(try, ids)
		cancel()
		if err != nil {
			continue // while the database is away nobody can cancel
		}
		a.mu.Lock()
		for cause, ids := range map[error][]string{errCancelled: cancelled, errDeleted: gone} {
			for _, id := range ids {
				if r := a.replies[id]; r != nil {
					r.cancel(cause)
				}
			}
		}
		a.mu.Unlock()
	}
}

// takeOver settles the replies of servers that have died.
func (a *Advisor) takeOver(ctx context.Context) {
	type sighting struct {
		server store.Server
		since  time.Time
	}
	seen := map[string]sighting{}
	looked := time.Now()
	for each(ctx, a.Heartbeat/3) {
		try, cancel := a.beat(ctx)
		servers, err := a.Record.BusyServers(try)
		cancel()
		if err != nil || time.Since(looked) > 2*a.Heartbeat {
			clear(seen) // the database was away, or this process stood still: they may have been unable to show anything, too
		}
		if looked = time.Now(); err != nil {
			continue
		}
		a.mu.Lock()
		missed := a.missed
		a.mu.Unlock()
		still := map[string]sighting{}
		for _, server := range servers {
			if server.ID == a.ServerID {
				continue
			}
			was, known := seen[server.ID]
			if !known || was.server != server {
				was = sighting{server, time.Now()}
			}
			if was.since.Before(missed) { // where this server could not write the other could not, either
				was.since = missed
			}
			if time.Since(was.since) >= a.DeadAfter {
				fenced, err := a.replace(ctx, server)
				if fenced {
					was.server.Epoch++ // what is left of its replies is settled after the next look
				}
				if err != nil {
					a.Log.Warn("a dead server's replies are not settled yet", "server", server.ID, "error", err)
				}
			}
			still[server.ID] = was
		}
		seen = still
	}
}

// replace fences a dead server off and settles its replies. If it lives after all and shows so first, nothing happens.
func (a *Advisor) replace(ctx context.Context, dead store.Server) (fenced bool, err error) {
	ctx, cancel := a.beat(ctx) // who looks after servers less often sees none stand still
	defer cancel()
	if fenced, err = a.Record.FenceOff(ctx, dead); err != nil || !fenced {
		return false, err
	}
	a.Log.Warn("a server has died; its replies are settled here", "server", dead.ID)
	a.mu.Lock()
	fence := a.session.fence
	a.mu.Unlock()
	return true, a.settle(ctx, fence, store.Fence{ServerID: dead.ID, Epoch: dead.Epoch + 1})
}

// beat is ctx for as long as one call may take that others wait for, so that a connection nobody answers any more holds nothing up.
func (a *Advisor) beat(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, max(a.Heartbeat, time.Second))
}

// each waits for d and reports whether ctx still goes on.
func each(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

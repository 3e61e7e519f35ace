package chaos

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// execute runs statements on a database, each in a transaction of its own.
func execute(t *testing.T, databaseURL string, statements ...string) {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, databaseURL)
	must(t, err)
	defer conn.Close(ctx)
	for _, statement := range statements {
		_, err := conn.Exec(ctx, statement)
		must(t, err)
	}
}

// synchronous waits until the standby confirms every commit.
func synchronous(t *testing.T, databaseURL string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	must(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	for done := false; !done; {
		must(t, conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')`).Scan(&done))
	}
}

// writer writes messages, one after the other, through an outage.
type writer struct {
	stop chan struct{}
	done sync.WaitGroup

	mu           sync.Mutex
	acknowledged []string // the conversations, each with its number as its message
	last         time.Time
	longest      time.Duration // between two acknowledgements
}

func write(p *process) *writer {
	w := &writer{stop: make(chan struct{}), last: time.Now()}
	w.done.Go(func() {
		for i := 0; ; {
			select {
			case <-w.stop:
				return
			default:
			}
			status, o, err := p.try("POST", "/v1/conversations",
				object{"items": []object{{"type": "message", "role": "user", "content": message(i)}}}, nil)
			if err != nil || status != 200 {
				continue
			}
			i++
			w.mu.Lock()
			w.acknowledged = append(w.acknowledged, o.str("id"))
			w.longest = max(w.longest, time.Since(w.last))
			w.last = time.Now()
			w.mu.Unlock()
		}
	})
	return w
}

func message(i int) string { return fmt.Sprintf("message %d", i) }

// until waits for an acknowledgement of a message that was sent after now, and returns how long that took.
func (w *writer) until(t *testing.T) time.Duration {
	t.Helper()
	begun := time.Now()
	w.mu.Lock()
	n := len(w.acknowledged)
	w.mu.Unlock()
	for deadline := begun.Add(60 * time.Second); ; {
		w.mu.Lock()
		now := len(w.acknowledged)
		w.mu.Unlock()
		if now > n {
			return time.Since(begun)
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing can be written any more")
		}
		<-time.After(5 * time.Millisecond)
	}
}

// kept checks that every message that was acknowledged is there.
func (w *writer) kept(t *testing.T, p *process) {
	t.Helper()
	close(w.stop)
	w.done.Wait()
	for i, id := range w.acknowledged {
		status, items, err := p.try("GET", "/v1/conversations/"+id+"/items", nil, nil)
		if text := items.str("data", 0, "content", 0, "text"); err != nil || status != 200 || text != message(i) {
			t.Fatalf("message %d of %d that were acknowledged is lost: %d %v %v", i, len(w.acknowledged), status, items, err)
		}
	}
	t.Logf("%d messages were acknowledged; the longest gap was %v", len(w.acknowledged), w.longest.Round(time.Millisecond))
}

func TestFailover(t *testing.T) {
	t.Parallel()
	random := dice(t)
	for round := range times(1, 5) {
		primary := cluster(t)
		standby, err := primary.Standby("second")
		must(t, err)
		t.Cleanup(func() { standby.Close() })
		execute(t, primary.URL(), `ALTER SYSTEM SET synchronous_standby_names = 'second'`, `SELECT pg_reload_conf()`)
		synchronous(t, primary.URL())
		both, err := url.Parse(primary.URL())
		must(t, err)
		second, err := url.Parse(standby.URL())
		must(t, err)
		both.Host += "," + second.Host
		both.RawQuery += "&target_session_attrs=read-write"

		p := serve(t, t.TempDir(), append(model(t), "HWLAB_DATABASE_URL="+both.String())...)
		w := write(p)
		var replies []*reply
		for i := range 6 {
			s := speech{Tag: fmt.Sprintf("%d.%d", round, i), Words: 300 + random.IntN(300), Pace: between(random, 2*time.Millisecond, 6*time.Millisecond)}
			replies = append(replies, ask(p, s))
		}
		for _, r := range replies {
			wait(t, "a reply has begun", r.readers[0].begun, 20*time.Second)
			r.join(p)
		}
		w.until(t)
		moment := time.NewTimer(between(random, 0, 500*time.Millisecond))
		<-moment.C
		must(t, primary.Kill())
		<-time.After(time.Second)
		execute(t, standby.URL(), `SELECT pg_promote()`)
		again := w.until(t)
		if t.Logf("writing again %v after the promotion", again.Round(time.Millisecond)); again > 2*time.Second {
			t.Error("that is too long")
		}
		for _, r := range replies {
			r.completes(t, 30*time.Second)
		}
		for _, r := range replies {
			r.kept(t, p, random)
			r.goesOn(t, p)
		}
		w.kept(t, p)
		p.stop()
		must(t, standby.Close(), primary.Close())
	}
}

package chaos

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

func contains(p *process, text string) bool { return strings.Contains(p.output(), text) }

// Two servers share the database, so that each could take the other for dead.
func TestKillTheDatabase(t *testing.T) {
	t.Parallel()
	random, pg := dice(t), cluster(t)
	settings := append(model(t), "HWLAB_DATABASE_URL="+pg.URL())
	servers := []*process{serve(t, t.TempDir(), settings...), serve(t, t.TempDir(), settings...)}
	rounds := times(2, 20)
	for round := range rounds {
		var replies []*reply
		for i := range 6 {
			s := speech{Tag: fmt.Sprintf("%d.%d", round, i), Words: 200 + random.IntN(300), Pace: between(random, time.Millisecond, 6*time.Millisecond)}
			replies = append(replies, ask(servers[i%2], s))
		}
		for _, r := range replies {
			wait(t, "a reply has begun", r.readers[0].begun, 20*time.Second)
			for _, p := range servers {
				wait(t, "a second reader has begun", r.join(p).begun, 20*time.Second)
			}
		}
		moment := time.NewTimer(between(random, 0, 300*time.Millisecond))
		<-moment.C
		must(t, pg.Kill())
		away := between(random, 0, 5*time.Second)
		if !full {
			away = between(random, 0, 2*time.Second)
		} else if round == rounds-1 {
			away = 31 * time.Second
		}
		<-time.After(away)
		must(t, pg.Restart())
		for _, r := range replies {
			r.completes(t, 30*time.Second)
		}
		for i, r := range replies {
			r.kept(t, servers[i%2], random)
			r.goesOn(t, servers[(i+1)%2])
		}
	}
	for _, p := range servers {
		p.stop()
	}
}

// A server that is told to stop while its database is away ends all the same; its next start settles what it left.
func TestSIGTERMWithoutADatabase(t *testing.T) {
	t.Parallel()
	random, pg, dir := dice(t), cluster(t), t.TempDir()
	settings := append(model(t), "HWLAB_DATABASE_URL="+pg.URL())
	p := serve(t, dir, settings...)
	var replies []*reply
	for i := range 4 {
		replies = append(replies, ask(p, speech{Tag: fmt.Sprint(i), Pace: between(random, time.Millisecond, 6*time.Millisecond)}))
	}
	for _, r := range replies {
		wait(t, "a reply has begun", r.readers[0].begun, 20*time.Second)
	}
	must(t, pg.Kill())
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	wait(t, "the end after SIGTERM", p.ended, 30*time.Second)
	if took := time.Since(begun); took > 12*time.Second {
		t.Errorf("SIGTERM took %v", took)
	}
	for _, r := range replies {
		wait(t, "the readers of a server that is gone have ended", r.readers[0].ended, 20*time.Second)
	}
	must(t, pg.Restart())
	p = serve(t, dir, settings...)
	for _, r := range replies {
		r.kept(t, p, random)
		r.goesOn(t, p)
	}
	p.stop()
}

package chaos

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// settledWithin is how long the replies of a dead server may seem to go on.
const settledWithin = 20 * time.Second

func TestKillOneOfTwoServers(t *testing.T) {
	t.Parallel()
	random := dice(t)
	settings := append(model(t), "HWLAB_DATABASE_URL="+sharedURL(t))
	dirs := []string{t.TempDir(), t.TempDir()}
	servers := []*process{serve(t, dirs[0], settings...), serve(t, dirs[1], settings...)}
	for round := range times(1, 5) {
		victim, other := servers[round%2], servers[(round+1)%2]
		var lost, living []*reply
		for i := range 4 {
			lost = append(lost, ask(victim, speech{Tag: fmt.Sprintf("lost%d.%d", round, i), Pace: 5 * time.Millisecond}))
			living = append(living, ask(other, speech{Tag: fmt.Sprintf("living%d.%d", round, i), Words: 2000, Pace: 12 * time.Millisecond}))
		}
		for i := range lost {
			wait(t, "a reply has begun", lost[i].readers[0].begun, 20*time.Second)
			wait(t, "a reply has begun", living[i].readers[0].begun, 20*time.Second)
			lost[i].join(other)
			living[i].join(other)
		}
		moment := time.NewTimer(between(random, 0, 400*time.Millisecond))
		<-moment.C
		victim.kill()
		killed := time.Now()
		for _, r := range lost {
			events := r.readers[1].end(t, time.Until(killed.Add(settledWithin)))
			if last := events[len(events)-1]; last.Type != "response.incomplete" {
				t.Errorf("at the other server it ends with %s", last.raw)
			}
		}
		t.Logf("settled by the other server after %v", time.Since(killed).Round(time.Millisecond))
		for _, r := range lost {
			wait(t, "the readers of a killed server have ended", r.readers[0].ended, 20*time.Second)
			r.kept(t, other, random)
			r.goesOn(t, other)
		}
		for _, r := range living {
			r.completes(t, 60*time.Second)
		}
		servers[round%2] = serve(t, dirs[round%2], settings...)
		for _, r := range lost {
			r.goesOn(t, servers[round%2])
		}
	}
	for _, p := range servers {
		p.stop()
	}
}

// rows are all rows of the record that a reply's owner writes.
func rows(t *testing.T, conn *pgx.Conn, responses []string) string {
	var text string
	err := conn.QueryRow(t.Context(), `SELECT concat_ws(E'\n',
		(SELECT string_agg(d::text, E'\n' ORDER BY d.response_id, d.n) FROM response_deltas d WHERE d.response_id = ANY ($1::uuid[])),
		(SELECT string_agg(m::text, E'\n' ORDER BY m.response_id, m.idx) FROM messages m WHERE m.response_id = ANY ($1::uuid[])),
		(SELECT string_agg(r::text, E'\n' ORDER BY r.id) FROM responses r WHERE r.id = ANY ($1::uuid[])))`, responses).Scan(&text)
	if err != nil {
		t.Error(err)
	}
	return text
}

// An owner that is held past its settling and then goes on where it was.
func TestPauseAnOwner(t *testing.T) {
	t.Parallel()
	random := dice(t)
	url := sharedURL(t)
	settings := append(model(t), "HWLAB_DATABASE_URL="+url)
	owner, other := serve(t, t.TempDir(), settings...), serve(t, t.TempDir(), settings...)
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	for round := range times(1, 4) {
		var replies []*reply
		var ids []string
		for i := range 4 {
			s := speech{Tag: fmt.Sprintf("%d.%d", round, i), Pace: between(random, time.Millisecond, 6*time.Millisecond)}
			replies = append(replies, ask(owner, s))
		}
		for _, r := range replies {
			wait(t, "a reply has begun", r.readers[0].begun, 20*time.Second)
			r.join(owner)
			r.join(other)
			ids = append(ids, strings.TrimPrefix(r.id, "resp_"))
		}
		for _, r := range replies { // who is not connected yet would not be waited for
			for _, reader := range r.readers {
				wait(t, "a reader has begun", reader.begun, 20*time.Second)
			}
		}
		moment := time.NewTimer(between(random, 0, 400*time.Millisecond))
		<-moment.C
		owner.signal(syscall.SIGSTOP)
		stopped := time.Now()
		for _, r := range replies {
			events := r.readers[2].end(t, time.Until(stopped.Add(settledWithin)))
			if last := events[len(events)-1]; last.Type != "response.incomplete" {
				t.Errorf("at the other server it ends with %s", last.raw)
			}
		}
		before := rows(t, conn, ids)
		awake, watched, unwatched := make(chan struct{}), make(chan string, 1), make(chan struct{})
		done := sync.OnceFunc(func() { close(awake) })
		t.Cleanup(func() {
			done()
			<-unwatched
		})
		go func() { // also a row that is removed again was written
			defer close(unwatched)
			for {
				after := rows(t, conn, ids)
				if after == before {
					select {
					case <-awake:
					default:
						continue
					}
				}
				watched <- after
				return
			}
		}()
		owner.signal(syscall.SIGCONT)
		for _, r := range replies {
			for _, reader := range r.readers { // those at the owner learn the same end
				events := reader.end(t, 20*time.Second)
				if last := events[len(events)-1]; last.Type != "response.incomplete" {
					t.Errorf("it ends with %s", last.raw)
				}
			}
		}
		again := speech{Tag: "awake", Words: 20, Pace: time.Millisecond}
		deadline := time.Now().Add(20 * time.Second)
		for { // it joins anew, and answers
			o := object{"input": again.question()}
			status, o, err := owner.try("POST", "/v1/responses", o, nil)
			if status == 200 && o.str("status") == "completed" && o.str("output", 0, "content", 0, "text") == again.whole() {
				break
			}
			if status != 503 || time.Now().After(deadline) {
				t.Fatalf("the woken server answers %d %v %v", status, o, err)
			}
			<-time.After(50 * time.Millisecond)
		}
		t.Logf("it answers %v after it woke", (20*time.Second - time.Until(deadline)).Round(time.Millisecond))
		done()
		if after := <-watched; after != before {
			t.Errorf("the rows were\n%s\nand after the owner woke\n%s", before, after)
		}
		for _, r := range replies {
			r.kept(t, owner, random)
			r.goesOn(t, owner)
			r.goesOn(t, other)
		}
		owner, other = other, owner
	}
	owner.stop()
	other.stop()
}

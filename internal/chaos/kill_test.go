package chaos

import (
	"fmt"
	"testing"
	"time"
)

func TestKillTheServer(t *testing.T) {
	eachEngine(t, func(t *testing.T, settings []string) {
		random, dir := dice(t), t.TempDir()
		settings = append(settings, model(t)...)
		p := serve(t, dir, settings...)
		for round := range times(5, 50) {
			var replies []*reply
			for i := range 4 {
				s := speech{Tag: fmt.Sprintf("%d.%d", round, i), Pace: between(random, time.Millisecond, 6*time.Millisecond)}
				if i == 3 {
					s.Words = 1 + random.IntN(60) // it may have ended by then
				}
				if i == 2 {
					replies = append(replies, askInBackground(p, s))
					replies[i].join(p)
				} else {
					replies = append(replies, ask(p, s))
				}
			}
			if random.IntN(5) > 0 { // sometimes before anything was shown
				for _, r := range replies {
					wait(t, "a reply has begun", r.readers[0].begun, 20*time.Second)
				}
				for range random.IntN(3) {
					replies[0].join(p)
				}
			}
			pause := time.NewTimer(between(random, 0, 400*time.Millisecond)) // the moment
			<-pause.C
			p.kill()
			for _, r := range replies {
				for _, reader := range r.readers {
					wait(t, "the readers of a killed server have ended", reader.ended, 20*time.Second)
				}
			}
			p = serve(t, dir, settings...)
			for _, r := range replies {
				r.kept(t, p, random)
				r.goesOn(t, p)
			}
			if t.Failed() {
				return
			}
		}
		if took := p.stop(); took > 10*time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}

func TestSIGTERM(t *testing.T) {
	eachEngine(t, func(t *testing.T, settings []string) {
		random, dir := dice(t), t.TempDir()
		settings = append(settings, model(t)...)
		p := serve(t, dir, settings...)
		for round := range times(2, 20) {
			var replies []*reply
			for i := range 8 {
				replies = append(replies, ask(p, speech{Tag: fmt.Sprintf("%d.%d", round, i), Pace: between(random, time.Millisecond, 6*time.Millisecond)}))
			}
			for _, r := range replies {
				wait(t, "a reply has begun", r.readers[0].begun, 20*time.Second)
				r.join(p)
			}
			for _, r := range replies { // who is not connected yet may find the door closed
				wait(t, "the second reader has begun", r.readers[1].begun, 20*time.Second)
			}
			if took := p.stop(); took > 10*time.Second {
				t.Errorf("SIGTERM took %v", took)
			}
			for _, r := range replies {
				for _, reader := range r.readers {
					events := reader.end(t, 20*time.Second)
					if last := events[len(events)-1]; last.Type != "response.incomplete" {
						t.Errorf("%s ended with %s", reader.name, last.raw)
					}
				}
			}
			p = serve(t, dir, settings...)
			for _, r := range replies {
				r.kept(t, p, random)
				r.goesOn(t, p)
			}
			if settled := "settled a reply"; contains(p, settled) {
				t.Errorf("the next start found replies in progress:\n%s", p.output())
			}
		}
		p.stop()
	})
}

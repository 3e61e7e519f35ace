package api_test

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// seconds is how long something lasted.
var seconds = regexp.MustCompile(`"seconds":\d+`)

// comment returns the next comment that is hwlab's own, whatever the seconds; the events before it are passed over.
func (s *stream) comment() string {
	s.t.Helper()
	for s.lines.Scan() {
		if own, ok := strings.CutPrefix(s.lines.Text(), ": hwlab "); ok {
			return seconds.ReplaceAllString(own, `"seconds":0`)
		}
	}
	s.t.Fatal("the stream ended without a comment")
	return ""
}

func TestAStreamTellsInCommentsWhatAReplyWaitsFor(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		load, read, write := llmtest.NewGate(), llmtest.NewGate(), llmtest.NewGate()
		s.model.Load(load)
		s.model.Script(llmtest.Step{Gate: read, Read: [3]int{1100, 100, 440}}, llmtest.Step{Gate: write, Text: "Hello"}, llmtest.Step{Text: " you"})
		live := s.stream("POST", "/v1/responses", object{"input": "hi", "stream": true})
		id := live.next().str("response", "id")
		says := func(want string, readers ...*stream) {
			t.Helper()
			for i, reader := range readers {
				if got := reader.comment(); got != want {
					t.Errorf("reader %d is told %s, want %s", i, got, want)
				}
			}
		}
		late := s.stream("GET", "/v1/responses/"+id+"?stream=true", nil)
		says(`{"phase":"loading","seconds":0}`, live, late)
		load.Open()
		says(`{"phase":"waiting"}`, live, late)
		read.Open()
		says(`{"phase":"reading","percent":34}`, live, late)
		says(`{"phase":"reading","percent":34}`, s.stream("GET", "/v1/responses/"+id+"?stream=true&starting_after=1", nil))
		write.Open()
		events := live.rest()
		is(t, "what the one says who read all along", shown(events), "Hello you")
		// In a reading afterwards there is nothing of it, and the numbers are as if there had been nothing.
		_, raw, _ := s.raw("GET", "/v1/responses/"+id+"?stream=true", nil)
		if strings.Contains(string(raw), "hwlab") {
			t.Errorf("later it is told %s", raw)
		}
		for i, e := range events {
			is(t, "sequence_number", e.at("sequence_number"), float64(i+2))
		}
	})
}

// What a reply waits for is known where it is written; elsewhere its readers wait as they always did.
func TestAReaderElsewhereWaitsAsBefore(t *testing.T) {
	a, b := two(t)
	load := llmtest.NewGate()
	a.model.Load(load)
	live := a.stream("POST", "/v1/responses", object{"input": "hi", "stream": true})
	id := live.next().str("response", "id")
	elsewhere := b.stream("GET", "/v1/responses/"+id+"?stream=true", nil)
	live.comment()
	load.Open()
	is(t, "what it says", shown(elsewhere.rest()), "ok")
}

// All the way: from a model's server over the wire to the reader.
func TestWhatAModelServerTellsReachesTheReader(t *testing.T) {
	const loading, reading = `{"phase":"loading","seconds":0}`, `{"phase":"reading","percent":34}`
	for _, test := range []struct {
		owner string
		says  []string
	}{{"llamacpp", []string{loading, reading}}, {"library", []string{loading}}} {
		t.Run(test.owner, func(t *testing.T) {
			model, load, write, cut := llmtest.New(), llmtest.NewGate(), llmtest.NewGate(), llmtest.NewGate()
			model.SetInfos(llm.Info{ID: "m", OwnedBy: test.owner, Continues: true})
			wire := httptest.NewServer(llmtest.Handler(model))
			t.Cleanup(wire.Close)
			client, err := llm.NewClient(llm.ClientConfig{BaseURL: wire.URL + "/v1"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			s := startWith(t, testrecord.SQLite(t), store.NewID(), lab.New("", 0), model, client)
			c := s.conversation()
			model.Load(load)
			model.Script(llmtest.Step{Read: [3]int{1100, 100, 440}}, llmtest.Step{Gate: write, Text: "Half "}, llmtest.Step{Gate: cut, Text: "never"})
			live := s.stream("POST", "/v1/responses", object{"conversation": c, "input": "hi", "stream": true})
			id := live.next().str("response", "id")
			for i, want := range test.says {
				if i == 1 {
					load.Open()
				}
				got := live.comment()
				for got == `{"phase":"waiting"}` {
					got = live.comment()
				}
				is(t, "it says", got, want)
			}
			load.Open()
			write.Open()
			<-cut.Reached()
			s.ok("POST", "/v1/responses/"+id+"/cancel", nil)
			model.Script(llmtest.Say("and half.")...)
			next := s.ok("POST", "/v1/responses", object{"conversation": object{"id": c, "continue": id}})
			is(t, "continued", next.str("output", 0, "content", 0, "text"), "Half and half.")
		})
	}
}

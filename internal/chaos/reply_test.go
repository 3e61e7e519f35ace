package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// reply is a reply that was asked for, and who reads it.
type reply struct {
	speech
	conversation string
	id           string // "" until it is known
	readers      []*reader
}

// ask asks in a new conversation and reads the answer.
func ask(p *process, s speech) *reply {
	p.t.Helper()
	r := &reply{speech: s, conversation: p.conversation()}
	r.readers = append(r.readers, p.read("POST", "/v1/responses", r.body(object{"stream": true}), nil))
	return r
}

// askInBackground asks in a new conversation; nobody reads yet.
func askInBackground(p *process, s speech) *reply {
	p.t.Helper()
	r := &reply{speech: s, conversation: p.conversation()}
	r.id = p.ok("POST", "/v1/responses", r.body(object{"background": true})).str("id")
	return r
}

// body is the request that asks.
func (r *reply) body(more object) object {
	body := object{"input": r.question(), "conversation": r.conversation}
	for key, value := range more {
		body[key] = value
	}
	return body
}

// join adds a reader, who may be at another server. The reply's id must be known, or its first reader have begun.
func (r *reply) join(p *process) *reader {
	p.t.Helper()
	if r.know(); r.id == "" {
		p.t.Fatalf("the reply is not known: %v", r.readers[0].err)
	}
	reader := p.read("GET", "/v1/responses/"+r.id+"?stream=true", nil, nil)
	r.readers = append(r.readers, reader)
	return reader
}

// know learns the reply's id from its readers.
func (r *reply) know() {
	for i := 0; r.id == "" && i < len(r.readers); i++ {
		r.id = r.readers[i].id()
	}
}

// consistent checks what the readers have received: numbers without a gap, the same events for the same numbers, and text
// that is a beginning of what the model says. It returns the longest.
func (r *reply) consistent(t *testing.T) []event {
	t.Helper()
	var longest []event
	for _, reader := range r.readers {
		events := reader.events()
		if len(events) > len(longest) {
			longest = events
		}
	}
	for _, reader := range r.readers {
		for i, e := range reader.events() {
			if e.Sequence != i {
				t.Fatalf("%s got number %d after %d events: %s", reader.name, e.Sequence, i, e.raw)
			}
			if e.raw != longest[i].raw {
				t.Fatalf("number %d is\n%s\nand for another reader\n%s", i, e.raw, longest[i].raw)
			}
		}
	}
	if text := shown(longest); !r.begins(text) {
		t.Fatalf("the text shown is not what the model says: …%q", tail(text))
	}
	return longest
}

// kept checks that all that was shown is kept, in every way to read it, and returns the reply as it is. The reply has ended,
// whatever happened to it.
func (r *reply) kept(t *testing.T, p *process, random *rand.Rand) object {
	t.Helper()
	seen := r.consistent(t)
	about := p.ok("GET", "/v1/conversations/"+r.conversation, nil)
	if running := about.at("running_response_id"); running != nil {
		t.Fatalf("%v is still in progress", running)
	}
	if r.know(); r.id == "" {
		if len(seen) > 0 {
			t.Fatalf("events without a response: %v", seen)
		}
		return nil // it was not shown to have begun
	}
	o := p.ok("GET", "/v1/responses/"+r.id, nil)
	status, text := o.str("status"), o.str("output", 0, "content", 0, "text")
	if status != "incomplete" && status != "completed" {
		t.Fatalf("%s is %s: %v", r.id, status, o.at("error"))
	}
	if !r.begins(text) || status == "completed" && text != r.whole() {
		t.Fatalf("%s is %s, and what is kept is not what the model says: …%q", r.id, status, tail(text))
	}
	if had := shown(seen); !strings.HasPrefix(text, had) {
		t.Fatalf("%s: shown were %d bytes …%q, kept are %d …%q", r.id, len(had), tail(had), len(text), tail(text))
	}

	again := p.read("GET", "/v1/responses/"+r.id+"?stream=true", nil, nil).end(t, 20*time.Second)
	for i, e := range seen {
		if i >= len(again) || again[i].raw != e.raw {
			t.Fatalf("%s: number %d was\n%s\nand is now\n%s", r.id, i, e.raw, again[min(i, len(again)-1)].raw)
		}
	}
	if shown(again) != text || again[len(again)-1].Type != "response."+status {
		t.Fatalf("%s is shown again as …%q and ends with %s", r.id, tail(shown(again)), again[len(again)-1].raw)
	}
	after := random.IntN(len(again))
	rest := p.read("GET", fmt.Sprintf("/v1/responses/%s?stream=true&starting_after=%d", r.id, after), nil, nil).end(t, 20*time.Second)
	if len(rest) != len(again)-after-1 {
		t.Fatalf("%s: after %d of %d events come %d", r.id, after, len(again), len(rest))
	}
	for i, e := range rest {
		if e.raw != again[after+1+i].raw {
			t.Fatalf("%s: after %d comes\n%s\nnot\n%s", r.id, after, e.raw, again[after+1+i].raw)
		}
	}

	items := p.ok("GET", "/v1/conversations/"+r.conversation+"/items?order=asc", nil)
	if n, _ := items.at("data").([]any); items.str("data", 0, "content", 0, "text") != r.question() ||
		text != "" && items.str("data", 1, "content", 0, "text") != text || len(n) > 2 {
		t.Fatalf("the conversation of %s is %v", r.id, items)
	}
	return o
}

// goesOn asks once more in the reply's conversation.
func (r *reply) goesOn(t *testing.T, p *process) {
	t.Helper()
	next := speech{Tag: "next", Words: 3}
	o := p.ok("POST", "/v1/responses", object{"input": next.question(), "conversation": r.conversation})
	if o.str("status") != "completed" || o.str("output", 0, "content", 0, "text") != next.whole() {
		t.Fatalf("the next turn after %s is %v", r.id, o)
	}
}

// completes waits until every reader has seen the reply's whole text and its end.
func (r *reply) completes(t *testing.T, atMost time.Duration) {
	t.Helper()
	for _, reader := range r.readers {
		events := reader.end(t, atMost)
		if last := events[len(events)-1]; last.Type != "response.completed" {
			t.Fatalf("%s ends with %s", reader.name, last.raw)
		}
		if text := shown(events); text != r.whole() {
			t.Fatalf("%s has shown %d bytes of %d …%q", reader.name, len(text), len(r.whole()), tail(text))
		}
	}
	r.consistent(t)
}

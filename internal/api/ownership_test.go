package api_test

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// two servers on one database.
func two(t *testing.T) (a, b *server) {
	dsn := testpg.Schema(t, testpg.URL(t))
	notes := lab.New("", 0)
	return start(t, testrecord.PostgresAt(t, dsn), store.NewID(), notes), start(t, testrecord.PostgresAt(t, dsn), store.NewID(), notes)
}

func TestCancelKeepsTheTextSoFar(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "so far"}, llmtest.Step{Gate: gate, Text: "never"})
		live := s.stream("POST", "/v1/responses", object{"input": "go", "stream": true})
		id := live.until("response.output_text.delta")[0].str("response", "id")
		r := s.ok("POST", "/v1/responses/"+id+"/cancel", nil)
		if r.str("status") != "cancelled" || r.str("output", 0, "content", 0, "text") != "so far" {
			t.Errorf("it is %v", r)
		}
		events := live.rest()
		if last := events[len(events)-1]; last.str("type") != "response.incomplete" || last.str("response", "status") != "cancelled" {
			t.Errorf("the reader saw %v", last)
		}
		if again := s.ok("POST", "/v1/responses/"+id+"/cancel", nil); !reflect.DeepEqual(again, r) {
			t.Errorf("cancelled again it is %v", again)
		}
		whole := s.ok("POST", "/v1/responses", object{"input": "go"})
		if after := s.ok("POST", "/v1/responses/"+whole.str("id")+"/cancel", nil); !reflect.DeepEqual(after, whole) {
			t.Errorf("cancelled after its end it is %v", after)
		}
		if status, o := s.do("POST", "/v1/responses/resp_x/cancel", nil); status != 404 {
			t.Errorf("cancelling nothing is answered %d %v", status, o)
		}
	})
}

func TestABackgroundReplyIsAnsweredAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Gate: gate, Text: "done"})
		r := s.ok("POST", "/v1/responses", object{"input": "go", "background": true})
		if r.str("status") != "in_progress" || r.at("background") != true {
			t.Errorf("it is %v", r)
		}
		gate.Open()
		events := s.stream("GET", "/v1/responses/"+r.str("id")+"?stream=true", nil).rest()
		if shown(events) != "done" || s.ok("GET", "/v1/responses/"+r.str("id"), nil).str("status") != "completed" {
			t.Errorf("it shows %q", shown(events))
		}
	})
}

func TestAnyServerReadsStreamsAndCancelsWhatAnotherRuns(t *testing.T) {
	a, b := two(t)
	gate := llmtest.NewGate()
	a.model.Script(llmtest.Step{Text: "one "}, llmtest.Step{Gate: gate, Text: "two"})
	c := a.conversation()
	here := a.stream("POST", "/v1/responses", object{"input": "go", "stream": true, "conversation": c})
	seen := here.until("response.output_text.delta")
	id := seen[0].str("response", "id")
	if got := b.ok("GET", "/v1/conversations/"+c, nil).str("running_response_id"); got != id {
		t.Errorf("elsewhere the running response is %q", got)
	}
	there := b.stream("GET", "/v1/responses/"+id+"?stream=true", nil)
	first := there.until("response.output_text.delta")
	gate.Open()
	left, right := append(seen, here.rest()...), append(first, there.rest()...)
	if !reflect.DeepEqual(left, right) {
		t.Errorf("two servers show\n%v\nand\n%v", left, right)
	}

	a.model.Script(llmtest.Step{Text: "three "}, llmtest.Step{Gate: llmtest.NewGate(), Text: "never"})
	here = a.stream("POST", "/v1/responses", object{"input": "go", "stream": true, "conversation": c})
	id = here.until("response.output_text.delta")[0].str("response", "id")
	if r := b.ok("POST", "/v1/responses/"+id+"/cancel", nil); r.str("status") != "cancelled" || r.str("output", 0, "content", 0, "text") != "three " {
		t.Errorf("cancelled elsewhere it is %v", r)
	}
	if events := here.rest(); events[len(events)-1].str("response", "status") != "cancelled" {
		t.Errorf("its reader saw %v", events)
	}

	a.model.Script(llmtest.Step{Text: "four "}, llmtest.Step{Gate: llmtest.NewGate(), Text: "never"})
	here = a.stream("POST", "/v1/responses", object{"input": "go", "stream": true, "conversation": c})
	here.until("response.output_text.delta")
	b.ok("DELETE", "/v1/conversations/"+c, nil)
	if events := here.rest(); events[len(events)-1].str("type") != "error" {
		t.Errorf("the reader of a reply that was deleted elsewhere saw %v", events)
	}
}

func TestADeadServersReplyIsSettledByAnother(t *testing.T) {
	dsn := testpg.Schema(t, testpg.URL(t))
	record := testrecord.PostgresAt(t, dsn)
	// A server that joined, showed some text and then fell silent.
	fence, err := record.JoinServer(t.Context(), store.NewID())
	if err != nil {
		t.Fatal(err)
	}
	c, err := record.CreateConversation(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	reply, err := record.StartResponse(t.Context(), store.NewResponse{Fence: fence, ConversationID: c, Model: "m", Input: []store.NewMessage{{Role: "user", Content: "q"}}})
	if err != nil {
		t.Fatal(err)
	}
	row := store.Delta{ResponseID: reply.ID, ConversationID: c}
	item, part, text := row, row, row
	item.Kind, item.Text, item.ItemID = store.DeltaItem, "message", store.NewID()
	part.N, part.Kind, part.Text = 1, store.DeltaPart, "output_text"
	text.N, text.Kind, text.Text = 2, store.DeltaText, "what was shown"
	if err := record.AppendDeltas(t.Context(), fence, []store.Delta{item, part, text}); err != nil {
		t.Fatal(err)
	}
	s := start(t, testrecord.PostgresAt(t, dsn), store.NewID(), lab.New("", 0))
	events := s.stream("GET", "/v1/responses/resp_"+reply.ID+"?stream=true", nil).rest()
	last := events[len(events)-1]
	if shown(events) != "what was shown" || last.str("response", "incomplete_details", "reason") != "interrupted" {
		t.Errorf("its reader saw %q and %v", shown(events), last)
	}
	text.N, text.Text = 3, "late"
	if err := record.AppendDeltas(t.Context(), fence, []store.Delta{text}); err != store.ErrFenced {
		t.Errorf("the dead server writes on: %v", err)
	}
	s.ok("POST", "/v1/responses", object{"input": "go on", "conversation": "conv_" + c})
}

func TestAServerThatWasTakenOverJoinsAnew(t *testing.T) {
	a, b := two(t)
	gate := llmtest.NewGate()
	a.model.Script(llmtest.Step{Text: "before "}, llmtest.Step{Gate: gate, Text: "after"})
	live := a.stream("POST", "/v1/responses", object{"input": "go", "stream": true})
	events := live.until("response.output_text.delta")
	// As after a pause of a's process that was too long: b has seen nothing of it and fences it off.
	for done := false; !done; {
		servers, err := b.record.BusyServers(t.Context())
		if err != nil || len(servers) != 1 {
			t.Fatal(servers, err)
		}
		if done, err = b.record.FenceOff(t.Context(), servers[0]); err != nil { // not if it shows that it lives just then
			t.Fatal(err)
		}
	}
	fence, err := b.record.JoinServer(t.Context(), store.NewID())
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(events[0].str("response", "id"), "resp_")
	r, _, err := b.record.ReadLog(t.Context(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.record.FinishResponse(t.Context(), store.Finish{Fence: fence, ConversationID: r.ConversationID, ResponseID: id,
		Status: store.ResponseIncomplete, IncompleteReason: "interrupted"}); err != nil {
		t.Fatal(err)
	}
	gate.Open()
	if rest := live.rest(); shown(rest) != "" || rest[len(rest)-1].str("type") != "response.incomplete" {
		t.Errorf("its reader saw %v", rest)
	}
	for { // until it has joined anew
		status, o := a.do("POST", "/v1/responses", object{"input": "again"})
		if status == http.StatusOK {
			break
		}
		if status != http.StatusServiceUnavailable {
			t.Fatalf("meanwhile it answers %d %v", status, o)
		}
	}
}

func TestARetryGetsTheSameResponse(t *testing.T) {
	key := func(name string) http.Header { return http.Header{"Idempotency-Key": {name}} }
	each(t, func(t *testing.T, s *server) {
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Gate: gate, Text: "once"})
		body := object{"input": "go", "conversation": s.conversation(), "background": true}
		_, raw, _ := s.send("POST", "/v1/responses", body, key("k"))
		first := decode(t, raw)
		status, raw, _ := s.send("POST", "/v1/responses", body, key("k"))
		if again := decode(t, raw); status != 200 || again.str("id") != first.str("id") {
			t.Errorf("a retry while it runs is answered %d %v", status, again)
		}
		gate.Open()
		s.stream("GET", "/v1/responses/"+first.str("id")+"?stream=true", nil).rest()
		status, raw, _ = s.send("POST", "/v1/responses", body, key("k"))
		if again := decode(t, raw); status != 200 || again.str("status") != "completed" || again.str("id") != first.str("id") {
			t.Errorf("a retry after the end is answered %d %v", status, again)
		}
		body["input"] = "something else"
		status, raw, header := s.send("POST", "/v1/responses", body, key("k"))
		if o := decode(t, raw); status != 409 || o.str("error", "code") != "idempotency_key_reused" || header.Get("X-Should-Retry") != "false" {
			t.Errorf("another body is answered %d %v %v", status, o, header)
		}
		if n := len(s.model.Requests()); n != 1 {
			t.Errorf("the model was asked %d times", n)
		}
	})
	t.Run("from two servers at the same moment", func(t *testing.T) {
		a, b := two(t)
		c := a.conversation()
		ids := make([]string, 8)
		var group sync.WaitGroup
		for i := range ids {
			group.Go(func() {
				s := []*server{a, b}[i%2]
				status, raw, _ := s.send("POST", "/v1/responses", object{"input": "go", "conversation": c}, key("same"))
				o := decode(t, raw)
				if ids[i] = o.str("id"); status != 200 || o.str("output", 0, "content", 0, "text") != "ok" {
					t.Errorf("one is answered %d %v", status, o)
				}
			})
		}
		group.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Errorf("the responses are %q", ids)
			}
		}
		if n := len(a.model.Requests()) + len(b.model.Requests()); n != 1 {
			t.Errorf("the models were asked %d times", n)
		}
		if got := a.ok("GET", "/v1/conversations/"+c, nil).at("message_count"); got != 2.0 {
			t.Errorf("the conversation has %v messages", got)
		}
	})
}

// What a question names may be gone when it is sent again, or be unknown to the server that gets it.
func TestARetryNeedsNothingThatItNames(t *testing.T) {
	key := func(name string) http.Header { return http.Header{"Idempotency-Key": {name}} }
	each(t, func(t *testing.T, s *server) {
		other := s.ok("POST", "/v1/responses", object{"input": "to be named"})
		item := data(s.ok("GET", "/v1/responses/"+other.str("id")+"/input_items", nil))[0].str("id")
		body := object{"input": []object{{"type": "item_reference", "id": item}}}
		_, raw, _ := s.send("POST", "/v1/responses", body, key("item"))
		first := decode(t, raw)
		s.ok("DELETE", "/v1/responses/"+other.str("id"), nil)
		if status, raw, _ := s.send("POST", "/v1/responses", body, key("item")); status != 200 || decode(t, raw).str("id") != first.str("id") {
			t.Errorf("a retry after its item was deleted is answered %d %s", status, raw)
		}
		if status, _, _ := s.send("POST", "/v1/responses", body, key("another")); status != 404 {
			t.Errorf("a new request that names it is answered %d", status)
		}
	})
	t.Run("from a server without the model", func(t *testing.T) {
		dsn := testpg.Schema(t, testpg.URL(t))
		with := func(model string) *server {
			fake := llmtest.New(model)
			return startWith(t, testrecord.PostgresAt(t, dsn), store.NewID(), lab.New("", 0), fake, fake)
		}
		a, b := with("only-here"), with("elsewhere")
		body := object{"input": "q", "model": "only-here"}
		_, raw, _ := a.send("POST", "/v1/responses", body, key("model"))
		first := decode(t, raw)
		if status, raw, _ := b.send("POST", "/v1/responses", body, key("model")); status != 200 || decode(t, raw).str("id") != first.str("id") || first.str("id") == "" {
			t.Errorf("the retry is answered %d %s", status, raw)
		}
		if status, raw, header := b.send("POST", "/v1/responses", object{"input": "q", "model": "nowhere"}, key("model")); status != 409 || header.Get("X-Should-Retry") != "false" {
			t.Errorf("another body is answered %d %s", status, raw)
		}
	})
}

func TestARetryGetsTheSameConversation(t *testing.T) {
	key := func() http.Header { return http.Header{"Idempotency-Key": {"k"}} }
	each(t, func(t *testing.T, s *server) {
		body := object{"title": "once", "items": []object{{"role": "user", "content": "q"}}}
		_, raw, _ := s.send("POST", "/v1/conversations", body, key())
		first := decode(t, raw)
		if status, raw, _ := s.send("POST", "/v1/conversations", body, key()); status != 200 {
			t.Errorf("a retry is answered %d %s", status, raw)
		} else {
			is(t, "the answer to a retry", decode(t, raw), first)
		}
		is(t, "its items", line(s.items(first.str("id"), "")), []string{"q"})
		status, raw, header := s.send("POST", "/v1/conversations", object{"title": "another"}, key())
		if o := decode(t, raw); status != 409 || o.str("error", "code") != "idempotency_key_reused" || header.Get("X-Should-Retry") != "false" {
			t.Errorf("another body is answered %d %v %v", status, o, header)
		}
		if status, raw, _ := s.send("POST", "/v1/responses", object{"input": "q"}, key()); status != 200 {
			t.Errorf("a reply with the key of a conversation is answered %d %s", status, raw)
		}
		s.ok("DELETE", "/v1/conversations/"+first.str("id"), nil)
		status, raw, _ = s.send("POST", "/v1/conversations", body, key())
		if o := decode(t, raw); status != 404 || o.str("error", "param") != "Idempotency-Key" {
			t.Errorf("a retry after it was deleted is answered %d %v", status, o)
		}
	})
	t.Run("from two servers at the same moment", func(t *testing.T) {
		a, b := two(t)
		ids := make([]string, 8)
		var group sync.WaitGroup
		for i := range ids {
			group.Go(func() {
				status, raw, _ := []*server{a, b}[i%2].send("POST", "/v1/conversations", object{}, key())
				if ids[i] = decode(t, raw).str("id"); status != 200 {
					t.Errorf("one is answered %d %s", status, raw)
				}
			})
		}
		group.Wait()
		if slices.Sort(ids); ids[0] != ids[7] {
			t.Errorf("the conversations are %q", ids)
		}
		is(t, "conversations", len(data(a.ok("GET", "/v1/conversations", nil))), 1)
	})
}

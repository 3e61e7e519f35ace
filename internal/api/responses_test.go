package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

func TestAnAnswerIsGivenAndKept(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		s.model.Script(append(llmtest.Say("Check ", "`smartctl -a`", " first."),
			llmtest.Step{Usage: &llm.Usage{InputTokens: 12, OutputTokens: 5}})...)
		r := s.ok("POST", "/v1/responses", object{"input": "Is /dev/sda dying?", "conversation": c, "metadata": object{"a": "b"}, "temperature": 0.5})
		for path, want := range map[string]any{"status": "completed", "model": "test-model", "object": "response", "store": true, "temperature": 0.5} {
			if got := r.at(path); got != want {
				t.Errorf("%s is %v, not %v", path, got, want)
			}
		}
		if got := r.str("output", 0, "content", 0, "text"); got != "Check `smartctl -a` first." {
			t.Errorf("the answer is %q", got)
		}
		if r.str("conversation", "id") != c || r.str("metadata", "a") != "b" {
			t.Errorf("the response is not of the conversation: %v", r)
		}

		if again := s.ok("GET", "/v1/responses/"+r.str("id"), nil); !reflect.DeepEqual(again, r) {
			t.Errorf("read again, the response is\n%v\nnot\n%v", again, r)
		}
		items := s.ok("GET", "/v1/conversations/"+c+"/items?order=asc", nil)
		if want := []string{"user: Is /dev/sda dying?", "assistant: Check `smartctl -a` first."}; !slices.Equal(texts(items), want) {
			t.Errorf("the items are %q", texts(items))
		}
		if items.str("data", 1, "id") != r.str("output", 0, "id") || items.str("data", 1, "response_id") != r.str("id") {
			t.Errorf("the answer's item has another id: %v", items)
		}
		o := s.ok("GET", "/v1/conversations/"+c, nil)
		if o.str("title") != "Is /dev/sda dying?" || o.at("message_count") != 2.0 || o.at("running_response_id") != nil {
			t.Errorf("the conversation is %v", o)
		}

		s.ok("POST", "/v1/responses", object{"input": "And sdb?", "conversation": c, "instructions": "Be brief."})
		got := s.model.Requests()[1].Messages
		want := []llm.Message{{Role: "system", Text: "Be brief."}, {Role: "user", Text: "Is /dev/sda dying?"},
			{Role: "assistant", Text: "Check `smartctl -a` first."}, {Role: "user", Text: "And sdb?"}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the model was told %+v", got)
		}
	})
}

func TestAStreamHasTheSpecificationsEventsAndCanBeReadAgain(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.Script(llmtest.Say("One ", "twö ", "3\n")...)
		events := s.stream("POST", "/v1/responses", object{"input": "count", "stream": true}).rest()
		want := "created in_progress output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done completed"
		if got := types(events); got != want {
			t.Fatalf("the events are\n%s\nnot\n%s", got, want)
		}
		for i, e := range events {
			if e.at("sequence_number") != float64(i) {
				t.Errorf("event %d has number %v", i, e.at("sequence_number"))
			}
		}
		last := events[len(events)-1]
		if shown(events) != "One twö 3\n" || last.str("response", "output", 0, "content", 0, "text") != "One twö 3\n" {
			t.Errorf("shown is %q, the end has %v", shown(events), last)
		}
		if last.at("response", "conversation") != nil {
			t.Errorf("a response without a conversation says it has one: %v", last)
		}
		id := last.str("response", "id")
		for after := -1; after < len(events); after++ {
			path := "/v1/responses/" + id + "?stream=true"
			if after >= 0 {
				path += "&starting_after=" + string(must(json.Marshal(after)))
			}
			if again := s.stream("GET", path, nil).rest(); !reflect.DeepEqual(again, append([]object(nil), events[after+1:]...)) {
				t.Errorf("after %d the events are %v", after, again)
			}
		}
		for query, want := range map[string]string{"": "id: 5\n", "&starting_after=2": "id: 5\n", "&starting_after=6": "id: 7\n"} {
			request, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/v1/responses/"+id+"?stream=true"+query, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Last-Event-ID", "4") // what an EventSource sends when it comes back
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || !strings.HasPrefix(string(raw), want) {
				t.Errorf("%s after Last-Event-ID 4 begins with %.20q (%v)", query, raw, err)
			}
		}
		if list := s.ok("GET", "/v1/conversations", nil); len(list.at("data").([]any)) != 0 {
			t.Errorf("a response without a conversation is listed: %v", list)
		}
	})
}

func TestNothingIsShownThatIsNotCommitted(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "first words "}, llmtest.Step{Gate: gate, Text: "last words"})
		live := s.stream("POST", "/v1/responses", object{"input": "go", "stream": true})
		events := live.until("response.output_text.delta")
		id := strings.TrimPrefix(events[0].str("response", "id"), "resp_")
		r, deltas, err := s.record.ReadLog(t.Context(), id, 0)
		if err != nil || r.Ended() {
			t.Fatal(r, err)
		}
		kept := ""
		for _, d := range deltas {
			if d.Kind == store.DeltaText {
				kept += d.Text
			}
		}
		if !strings.Contains(kept, shown(events)) || shown(events) == "" {
			t.Errorf("shown is %q, kept is %q", shown(events), kept)
		}
		gate.Open()
		if rest := live.rest(); shown(events)+shown(rest) != "first words last words" {
			t.Errorf("shown is %q and %q", shown(events), shown(rest))
		}
	})
}

func TestAReaderLeavingStopsNothing(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "a "}, llmtest.Step{Gate: gate, Text: "b"})
		c := s.conversation()
		live := s.stream("POST", "/v1/responses", object{"input": "go", "stream": true, "conversation": c})
		id := live.until("response.output_text.delta")[0].str("response", "id")
		live.Close()
		if got := s.ok("GET", "/v1/conversations/"+c, nil).str("running_response_id"); got != id {
			t.Errorf("the conversation's running response is %q, not %q", got, id)
		}
		second := s.stream("GET", "/v1/responses/"+id+"?stream=true", nil)
		gate.Open()
		if events := second.rest(); shown(events) != "a b" || types(events)[len(types(events))-9:] != "completed" {
			t.Errorf("the second reader saw %q, %s", shown(events), types(events))
		}
	})
}

func TestPoolOfTwoCarriesManyReplies(t *testing.T) {
	dsn := testpg.Schema(t, testpg.URL(t)) + "&pool_max_conns=2"
	s := start(t, testrecord.PostgresAt(t, dsn), store.NewID(), lab.New("", 0))
	gate := llmtest.NewGate()
	const n = 100
	var streams []*stream
	for range n {
		s.model.Script(llmtest.Step{Text: "a"}, llmtest.Step{Gate: gate, Text: "b"})
	}
	for range n {
		streams = append(streams, s.stream("POST", "/v1/responses", object{"input": "go", "stream": true}))
	}
	for _, live := range streams {
		live.until("response.output_text.delta")
	}
	gate.Open()
	for _, live := range streams {
		if got := shown(live.rest()); got != "b" {
			t.Errorf("one shows %q", got)
		}
	}
}

func TestTheLogOutlivesTheServer(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		id := store.NewID()
		notes := lab.New("", 0)
		first := start(t, r, id, notes)
		gate := llmtest.NewGate()
		first.model.Script(llmtest.Step{Text: "half of "}, llmtest.Step{Gate: gate, Text: "never"})
		c := first.conversation()
		live := first.stream("POST", "/v1/responses", object{"input": "go", "stream": true, "conversation": c})
		events := live.until("response.output_text.delta")
		first.stop()
		events = append(events, live.rest()...)
		last := events[len(events)-1]
		if last.str("type") != "response.incomplete" || last.str("response", "incomplete_details", "reason") != "interrupted" {
			t.Fatalf("the stream of a stopped server ends with %v", last)
		}

		second := start(t, r, id, notes)
		again := second.stream("GET", "/v1/responses/"+last.str("response", "id")+"?stream=true", nil).rest()
		if !reflect.DeepEqual(again, events) {
			t.Errorf("after the restart the events are\n%v\nnot\n%v", again, events)
		}
		second.model.Script(llmtest.Say("whole")...)
		second.ok("POST", "/v1/responses", object{"input": "go on", "conversation": c})
		want := []string{"user: go", "assistant: half of ", "user: go on", "assistant: whole"}
		if got := texts(second.ok("GET", "/v1/conversations/"+c+"/items?order=asc", nil)); !slices.Equal(got, want) {
			t.Errorf("the conversation is %q", got)
		}
	})
}

func TestAReplyOfADeadServerIsSettledAtItsNextStart(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		// What a kill -9 leaves: a reply in progress and rows of its log.
		id := store.NewID()
		fence, err := r.JoinServer(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := r.StartResponse(t.Context(), store.NewResponse{Fence: fence, Model: "m", Input: []store.NewMessage{{Role: "user", Content: "q"}}})
		if err != nil {
			t.Fatal(err)
		}
		row := func(n int, kind store.DeltaKind, text, item string) store.Delta {
			return store.Delta{ResponseID: reply.ID, ConversationID: reply.ConversationID, N: n, Kind: kind, Text: text, ItemID: item}
		}
		if err := r.AppendDeltas(t.Context(), fence, []store.Delta{row(0, store.DeltaItem, "message", store.NewID()),
			row(1, store.DeltaPart, "output_text", ""), row(2, store.DeltaText, "what was shown", "")}); err != nil {
			t.Fatal(err)
		}
		s := start(t, r, id, lab.New("", 0))
		o := s.ok("GET", "/v1/responses/resp_"+reply.ID, nil)
		if o.str("status") != "incomplete" || o.str("output", 0, "content", 0, "text") != "what was shown" || o.str("output", 0, "status") != "incomplete" {
			t.Errorf("it is %v", o)
		}
	})
}

func TestAFailingModelIsAnEndOfTheReply(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		s.model.Script(llmtest.Step{Text: "so far "}, llmtest.Step{Err: &llm.Error{Where: "test", Status: 500, Message: "out of memory"}})
		r := s.ok("POST", "/v1/responses", object{"input": "go", "conversation": c})
		if r.str("status") != "failed" || !strings.Contains(r.str("error", "message"), "out of memory") || r.str("output", 0, "content", 0, "text") != "so far " {
			t.Errorf("it is %v", r)
		}
		s.model.Script(llmtest.Step{Text: "cut"}, llmtest.Step{Finish: "length"})
		r = s.ok("POST", "/v1/responses", object{"input": "again", "conversation": c})
		if r.str("status") != "incomplete" || r.str("incomplete_details", "reason") != "max_output_tokens" {
			t.Errorf("it is %v", r)
		}
		s.model.Script(llmtest.Say("bad \x00 and \xff bytes")...)
		r = s.ok("POST", "/v1/responses", object{"input": "again", "conversation": c})
		if got := r.str("output", 0, "content", 0, "text"); got != "bad \uFFFD and \uFFFD bytes" {
			t.Errorf("what no database can hold is kept as %q", got)
		}
	})
}

func TestPreviousResponseBranches(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		say := func(text, previous string) string {
			s.model.Script(llmtest.Say(text)...)
			body := object{"input": "q" + text}
			if previous != "" {
				body["previous_response_id"] = previous
			}
			return s.ok("POST", "/v1/responses", body).str("id")
		}
		told := func() []string {
			requests := s.model.Requests()
			var list []string
			for _, m := range requests[len(requests)-1].Messages {
				list = append(list, m.Text)
			}
			return list
		}
		one := say("1", "")
		two := say("2", one)
		say("3", two)
		if want := []string{"q1", "1", "q2", "2", "q3"}; !slices.Equal(told(), want) {
			t.Errorf("a line tells the model %q", told())
		}
		branch := say("4", one)
		if want := []string{"q1", "1", "q4"}; !slices.Equal(told(), want) {
			t.Errorf("a branch tells the model %q", told())
		}
		say("5", branch)
		if want := []string{"q1", "1", "q4", "4", "q5"}; !slices.Equal(told(), want) {
			t.Errorf("a branch goes on with %q", told())
		}
		// Regenerate: the same question again, without new input.
		s.model.Script(llmtest.Say("5b")...)
		again := s.ok("POST", "/v1/responses", object{"previous_response_id": branch}).str("id")
		if want := []string{"q1", "1", "q4", "4"}; !slices.Equal(told(), want) {
			t.Errorf("a reply without input answers %q", told())
		}
		say("6", again)
		if want := []string{"q1", "1", "q4", "4", "5b", "q6"}; !slices.Equal(told(), want) {
			t.Errorf("a reply after it answers %q", told())
		}
	})
}

func TestOneTurnAtATimeInAConversation(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Gate: gate, Text: "a"})
		c := s.conversation()
		live := s.stream("POST", "/v1/responses", object{"input": "go", "stream": true, "conversation": object{"id": c}})
		live.until("response.in_progress")
		status, raw, header := s.raw("POST", "/v1/responses", object{"input": "me too", "conversation": c})
		var o object
		json.Unmarshal(raw, &o)
		if status != 400 || o.str("error", "code") != "conversation_locked" || o.str("error", "param") != "conversation" || header.Get("X-Should-Retry") != "true" {
			t.Errorf("a second turn is answered %d %s %v", status, raw, header)
		}
		gate.Open()
		live.rest()
		head := s.ok("GET", "/v1/conversations/"+c, nil).at("head").(float64)
		s.ok("POST", "/v1/responses", object{"input": "now", "conversation": object{"id": c, "head": head}})
		status, o = s.do("POST", "/v1/responses", object{"input": "stale", "conversation": object{"id": c, "head": head}})
		if status != http.StatusConflict || o.str("error", "code") != "conversation_conflict" || o.at("error", "head") != head+2 {
			t.Errorf("a stale turn is answered %d %v", status, o)
		}
	})
}

func TestDeletingAConversationStopsItsReply(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "a"}, llmtest.Step{Gate: gate, Text: "b"})
		c := s.conversation()
		live := s.stream("POST", "/v1/responses", object{"input": "go", "stream": true, "conversation": c})
		id := live.until("response.output_text.delta")[0].str("response", "id")
		ahead, err := http.Get(s.url + "/v1/responses/" + id + "?stream=true&starting_after=500")
		if err != nil {
			t.Fatal(err)
		}
		defer ahead.Body.Close()
		s.ok("DELETE", "/v1/conversations/"+c, nil)
		events := live.rest() // ends without the gate: the model was stopped
		if last := events[len(events)-1]; last.str("type") != "error" || last.str("error", "code") != "not_found" {
			t.Errorf("the reader saw %v", events)
		}
		// Without an id, which an EventSource would take for having seen the event that has the number when the conversation is brought back.
		if raw, err := io.ReadAll(ahead.Body); err != nil || !strings.HasPrefix(string(raw), "event: error\ndata: {") {
			t.Errorf("a reader that is ahead saw %q, %v", raw, err)
		}
		for _, path := range []string{"/v1/conversations/" + c, "/v1/conversations/" + c + "/items", "/v1/responses/" + id} {
			if status, o := s.do("GET", path, nil); status != 404 {
				t.Errorf("GET %s: %d %v", path, status, o)
			}
		}
		s.stop() // the owner has removed what it wrote
		_, _, err = s.record.ReadLog(context.Background(), strings.TrimPrefix(id, "resp_"), 0)
		if err != store.ErrNotFound {
			t.Error(err)
		}
	})
}

// left is a reader that has left.
type left struct {
	header http.Header
	writes int
}

func (l *left) Header() http.Header { return l.header }
func (l *left) WriteHeader(int)     {}
func (l *left) Write([]byte) (int, error) {
	l.writes++
	return 0, errors.New("nobody is there")
}

// Each of a long reply's last events has all of its text: none is made for a reader who has left.
func TestNothingMoreIsMadeForAReaderWhoHasLeft(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.Script(llmtest.Say(strings.Repeat("degraded ", 20_000))...)
		r := s.ok("POST", "/v1/responses", object{"input": "q"})
		reader := &left{header: http.Header{}}
		s.api.ServeHTTP(reader, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/responses/"+r.str("id")+"?stream=true", nil))
		if reader.writes != 1 {
			t.Errorf("it is written to %d times", reader.writes)
		}
	})
}

func TestTheOfflineAdvisorLooksThingsUp(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "network.md"), []byte("# VLANs\n\nThe cameras are in VLAN 40, 10.5.40.0/24.\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, r, store.NewID(), lab.New(dir, 0))
		s.ok("POST", "/v1/conversations", object{"title": "Camera trouble", "items": []object{
			{"role": "user", "content": "The cameras drop frames"}, {"role": "assistant", "content": "The cameras share a switch port with the NAS."}}})
		a := s.ok("POST", "/v1/responses", object{"input": "Where are the cameras?", "conversation": s.conversation(), "model": "offline"})
		text := a.str("output", 0, "content", 0, "text")
		for _, want := range []string{"no model", "VLAN 40", "network.md", "switch port", "Camera trouble", "/c/conv_"} {
			if !strings.Contains(strings.ToLower(text), strings.ToLower(want)) {
				t.Errorf("the answer does not have %q:\n%s", want, text)
			}
		}
		s.ok("POST", "/v1/responses", object{"input": "hello"})
		told := s.model.Requests()[0].Messages[0]
		if told.Role != "system" || !strings.Contains(told.Text, "VLAN 40") {
			t.Errorf("the notes do not go to the model: %+v", told)
		}
		if o := s.ok("GET", "/v1/lab", nil); o.str("notes", 0, "name") != "network.md" || o.at("notes", 0, "included") != true {
			t.Errorf("the lab is %v", o)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

package api_test

import (
	"slices"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
)

func TestWhatIsBeingWrittenIsAmongTheItems(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		path := "/v1/conversations/" + c + "/items"
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Reasoning: "hm"}, llmtest.Step{Text: "so "}, llmtest.Step{Text: "far"}, llmtest.Step{Gate: gate, Text: ", done"})
		live := s.stream("POST", "/v1/responses", object{"input": "go", "conversation": c, "stream": true})
		var events []object
		for shown(events) != "so far" {
			events = append(events, live.next())
		}
		reply := events[0].str("response", "id")

		running := s.items(c, "")
		is(t, "what is there while it runs", len(running), 3)
		is(t, "its types", []string{running[0].str("type"), running[1].str("type"), running[2].str("type")}, []string{"message", "reasoning", "message"})
		last := running[2]
		is(t, "the last item", []any{last.str("status"), last.str("role"), last.str("content", 0, "text"), last.str("model"), last.str("response_id"), last.at("branch", "count")},
			[]any{"in_progress", "assistant", "so far", "test-model", reply, 1.0})
		is(t, "the item before it", []any{running[1].str("status"), running[1].str("summary", 0, "text")}, []any{"completed", "hm"})
		is(t, "the first with the default order", data(s.ok("GET", path, nil))[0], last)
		for _, o := range running {
			is(t, "an item alone", s.ok("GET", path+"/"+o.str("id"), nil), o)
		}
		for _, through := range []string{reply, last.str("id"), running[0].str("id")} {
			is(t, "the branch through "+through, s.items(c, "&branch="+through), running)
		}
		is(t, "message_count", s.ok("GET", "/v1/conversations/"+c, nil).at("message_count"), 1.0)
		for _, o := range running[1:] {
			if status, e := s.do("DELETE", path+"/"+o.str("id"), nil); status != 409 || e.str("error", "code") != "item_in_progress" {
				t.Errorf("deleting what is being written: %d %v", status, e)
			}
		}
		other := s.conversation()
		if status, _ := s.do("GET", "/v1/conversations/"+other+"/items/"+last.str("id"), nil); status != 404 {
			t.Errorf("in another conversation it is answered %d", status)
		}
		if status, _ := s.do("GET", "/v1/conversations/"+other+"/items?after="+last.str("id"), nil); status != 400 {
			t.Errorf("as a cursor in another conversation it is answered %d", status)
		}

		// A page before the reply's end, the next one after it.
		pages := map[string]object{}
		for _, order := range []string{"asc", "desc"} {
			for _, limit := range []string{"1", "2"} {
				page := s.ok("GET", path+"?limit="+limit+"&order="+order, nil)
				is(t, "has_more", page.at("has_more"), true)
				pages["?limit="+limit+"&order="+order] = page
			}
		}
		whole := s.ok("GET", path+"?limit=3", nil)
		is(t, "has_more of all there is", whole.at("has_more"), false)
		backward := s.ok("GET", path+"?limit=1&before="+running[0].str("id"), nil)
		is(t, "the page before the oldest", data(backward), []object{running[1]})
		is(t, "has_more of it", backward.at("has_more"), true)

		gate.Open()
		live.rest()
		after := s.items(c, "")
		is(t, "afterwards", line(after[2:]), []string{"so far, done"})
		is(t, "its status", after[2].str("status"), "completed")
		ids := func(items []object) (list []string) {
			for _, o := range items {
				list = append(list, o.str("id"))
			}
			return list
		}
		is(t, "the ids afterwards", ids(after), ids(running))
		for query, page := range pages {
			got := ids(data(page))
			for page.at("has_more") == true {
				page = s.ok("GET", path+query+"&after="+page.str("last_id"), nil)
				got = append(got, ids(data(page))...)
			}
			want := ids(after)
			if strings.Contains(query, "desc") {
				slices.Reverse(want)
			}
			is(t, "the pages of "+query, got, want)
		}
	})
}

func TestWhatIsBeingWrittenOnBranches(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		s.model.Script(llmtest.Say("one")...)
		s.ok("POST", "/v1/responses", object{"conversation": c, "input": "go"})
		kept := s.items(c, "")

		// The question is answered again, and before the first item nothing leaves the line.
		first, second := llmtest.NewGate(), llmtest.NewGate()
		s.model.Script(llmtest.Step{Gate: first, Text: "two"}, llmtest.Step{Gate: second, Text: " more"})
		again := s.stream("POST", "/v1/responses", object{"conversation": object{"id": c, "after": kept[0].str("id")}, "stream": true})
		reply := again.until("response.in_progress")[0].str("response", "id")
		is(t, "before the first item", s.items(c, ""), kept)
		first.Open()
		again.until("response.output_text.delta")
		running := s.items(c, "")
		is(t, "with it", line(running), []string{"go", "two 2/2"})
		is(t, "its siblings", running[1].at("branch", "ids"), any([]any{kept[1].str("id"), running[1].str("id")}))
		is(t, "the other branch", line(s.items(c, "&branch="+kept[1].str("id"))), []string{"go", "one 1/2"})
		is(t, "the branch through the reply", s.items(c, "&branch="+reply), running)
		second.Open()
		again.rest()
		after := s.items(c, "")
		is(t, "afterwards", line(after), []string{"go", "two more 2/2"})
		is(t, "the branch afterwards", after[1].at("branch"), running[1].at("branch"))

		// Several at once go on from one reply.
		var streams []*stream
		var replies []string
		gate := llmtest.NewGate()
		for _, text := range []string{"left", "right"} {
			s.model.Script(llmtest.Step{Text: text}, llmtest.Step{Gate: gate, Text: "!"})
			live := s.stream("POST", "/v1/responses", object{"previous_response_id": reply, "input": "to the " + text, "stream": true})
			replies = append(replies, live.until("response.output_text.delta")[0].str("response", "id"))
			streams = append(streams, live)
		}
		for i, want := range [][]string{{"go", "two more 2/2", "to the left 1/2", "left"}, {"go", "two more 2/2", "to the right 2/2", "right"}} {
			is(t, "a branch of two", line(s.items(c, "&branch="+replies[i])), want)
		}
		is(t, "the active branch of two", line(s.items(c, "")), []string{"go", "two more 2/2", "to the right 2/2", "right"})
		gate.Open()
		for _, live := range streams {
			live.rest()
		}
		is(t, "the first branch afterwards", line(s.items(c, "&branch="+replies[0])), []string{"go", "two more 2/2", "to the left 1/2", "left!"})
	})
}

func TestACallIsAmongTheItemsWhileItsArgumentsCome(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		gate := llmtest.NewGate()
		s.model.Script(calls(llmtest.Call(0, "call_1", "look", `{"at":`), []llmtest.Step{{Gate: gate}}, []llmtest.Step{{Call: &llm.Call{Arguments: `"nas"}`}}})...)
		live := s.stream("POST", "/v1/responses", object{"conversation": c, "input": "How is the NAS?", "tools": []object{look}, "stream": true})
		live.until("response.function_call_arguments.delta")
		call := data(s.ok("GET", "/v1/conversations/"+c+"/items", nil))[0]
		is(t, "the call while it is written", []any{call.str("type"), call.str("call_id"), call.str("name"), call.str("arguments"), call.str("status")},
			[]any{"function_call", "call_1", "look", `{"at":`, "in_progress"})
		is(t, "it alone", s.ok("GET", "/v1/conversations/"+c+"/items/"+call.str("id"), nil), call)
		gate.Open()
		live.rest()
		after := data(s.ok("GET", "/v1/conversations/"+c+"/items", nil))[0]
		is(t, "the call afterwards", []any{after.str("id"), after.str("arguments"), after.str("status")}, []any{call.str("id"), `{"at":"nas"}`, "completed"})
	})
}

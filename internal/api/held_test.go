package api_test

import (
	"slices"
	"testing"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
)

// What is deleted with an undo is gone for every client, and its reply is stopped; then all of it is there again.
func TestADeletionIsUndone(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		id := s.conversation()
		path := "/v1/conversations/" + id
		s.ok("POST", "/v1/responses", object{"input": "which disk?", "conversation": id})
		gate := llmtest.NewGate()
		defer gate.Open()
		s.model.Script(llmtest.Step{Text: "the first "}, llmtest.Step{Gate: gate, Text: "never"})
		reading := s.stream("POST", "/v1/responses", object{"input": "and then?", "conversation": id, "stream": true})
		seen := reading.until("response.output_text.delta")
		reply := seen[0].str("response", "id")
		was := s.ok("GET", path, nil)

		d := s.ok("DELETE", path+"?undo=60", nil)
		if until, _ := d.at("undo_until").(float64); d.at("deleted") != true || d.str("id") != id || until < was.at("updated_at").(float64)+50 {
			t.Errorf("it is deleted as %v", d)
		}
		if rest := reading.rest(); shown(rest) != "" {
			t.Errorf("its reader goes on: %v", rest)
		}
		for _, gone := range []struct{ method, path string }{
			{"GET", path}, {"POST", path}, {"DELETE", path}, {"DELETE", path + "?undo=10"}, {"GET", path + "/items"},
			{"GET", "/v1/responses/" + reply}, {"GET", "/v1/responses/" + reply + "/input_items"}, {"DELETE", "/v1/responses/" + reply},
			{"POST", "/v1/responses/" + reply + "/cancel"},
		} {
			var body any
			if gone.method == "POST" && gone.path == path {
				body = object{"title": "x"}
			}
			if status, o := s.do(gone.method, gone.path, body); status != 404 {
				t.Errorf("%s %s: %d %v", gone.method, gone.path, status, o)
			}
		}
		if status, o := s.do("POST", "/v1/responses", object{"input": "x", "conversation": id}); status != 404 {
			t.Errorf("a question to it: %d %v", status, o)
		}
		if list := s.ok("GET", "/v1/conversations", nil); len(list.at("data").([]any)) != 0 {
			t.Errorf("the list is %v", list)
		}

		for range 2 { // a repetition is safe
			if c := s.ok("POST", path+"/restore", nil); c.str("id") != id || c.at("message_count") != 4.0 {
				t.Errorf("it comes back as %v", c)
			}
		}
		if got, want := texts(s.ok("GET", path+"/items?order=asc", nil)), []string{"user: which disk?", "assistant: ok", "user: and then?", "assistant: the first "}; !slices.Equal(got, want) {
			t.Errorf("its items are %q, not %q", got, want)
		}
		if r := s.ok("GET", "/v1/responses/"+reply, nil); r.str("status") != "cancelled" {
			t.Errorf("its reply is %v", r)
		}
		s.ok("POST", "/v1/responses", object{"input": "on we go", "conversation": id})
	})
}

func TestADeletionCannotBeUndoneForEver(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		id := s.conversation()
		path := "/v1/conversations/" + id
		for _, undo := range []string{"0", "61", "x", "-1"} {
			if status, o := s.do("DELETE", path+"?undo="+undo, nil); status != 400 || o.str("error", "param") != "undo" {
				t.Errorf("undo=%s: %d %v", undo, status, o)
			}
		}
		if _, err := s.record.HoldConversation(t.Context(), id[len("conv_"):], 0); err != nil {
			t.Fatal(err)
		}
		if status, o := s.do("POST", path+"/restore", nil); status != 404 {
			t.Errorf("restored too late: %d %v", status, o)
		}
		other := s.conversation()
		s.ok("DELETE", "/v1/conversations/"+other, nil)
		if status, o := s.do("POST", "/v1/conversations/"+other+"/restore", nil); status != 404 {
			t.Errorf("restored after a deletion without an undo: %d %v", status, o)
		}
	})
}

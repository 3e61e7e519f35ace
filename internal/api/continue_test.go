package api_test

import (
	"net/http"
	"testing"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
)

// cut asks in a conversation and cancels the reply once it has said all of the script.
func (s *server) cut(c, question string, script ...llmtest.Step) object {
	s.t.Helper()
	gate := llmtest.NewGate()
	s.model.Script(append(script, llmtest.Step{Gate: gate, Text: "never"})...)
	live := s.stream("POST", "/v1/responses", object{"conversation": c, "input": question, "stream": true})
	id := live.next().str("response", "id")
	<-gate.Reached()
	return s.ok("POST", "/v1/responses/"+id+"/cancel", nil)
}

func TestAnInterruptedReplyIsContinued(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.SetInfos(llm.Info{ID: "test-model", Continues: true})
		c := s.conversation()
		old := s.cut(c, "Count.", llmtest.Step{Reasoning: "Up to four."}, llmtest.Step{Text: "One, "}, llmtest.Step{Text: "two, "})
		is(t, "it was", old.str("output", 1, "content", 0, "text"), "One, two, ")
		ask := object{"conversation": object{"id": c, "continue": old.at("id"), "head": 2}, "stream": true}
		s.model.Script(llmtest.Step{Text: "three, "}, llmtest.Step{Finish: llm.FinishLength})
		live := s.stream("POST", "/v1/responses", ask)
		events := live.rest()
		is(t, "what is shown", shown(events), "One, two, three, ")
		next := object(events[len(events)-1]["response"].(map[string]any))
		is(t, "its thoughts", next.str("output", 0, "summary", 0, "text"), "Up to four.")
		is(t, "its text", next.str("output", 1, "content", 0, "text"), "One, two, three, ")
		for i, item := range next["output"].([]any) {
			if item.(map[string]any)["id"] == old.str("output", i, "id") {
				t.Errorf("item %d has the id of the one that it begins with", i)
			}
		}
		asked := s.model.Requests()[1]
		if m := asked.Messages; !asked.Continue || len(m) != 2 || m[0].Text != "Count." || m[1].Role != llm.RoleAssistant || m[1].Text != "One, two, " {
			t.Errorf("the model is asked %+v", asked)
		}
		again := s.stream("GET", "/v1/responses/"+next.str("id")+"?stream=true", nil).rest()
		is(t, "the events in another reading", shown(again), shown(events))
		is(t, "and their number", len(again), len(events))

		// It reached its limit: on it goes, and is one message of the assistant after that.
		s.model.Script(llmtest.Say("four.")...)
		whole := s.ok("POST", "/v1/responses", object{"conversation": object{"id": c, "continue": next.at("id")}})
		is(t, "status", whole.str("status"), "completed")
		is(t, "its whole text", whole.str("output", 1, "content", 0, "text"), "One, two, three, four.")
		items := s.items(c, "")
		is(t, "the conversation", line(items), []string{"Count.", " 3/3", "One, two, three, four."})
		is(t, "the first version", line(s.items(c, "&branch="+old.str("output", 1, "id"))), []string{"Count.", " 1/3", "One, two, "})
		s.ok("POST", "/v1/responses", object{"conversation": c, "input": "And then?"})
		if m := s.model.Requests()[3].Messages; len(m) != 3 || m[1].Text != "One, two, three, four." {
			t.Errorf("later the model is told %+v", m)
		}
	})
}

func TestAContinuationThatFailsKeepsTheBeginning(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.SetInfos(llm.Info{ID: "test-model", Continues: true})
		c := s.conversation()
		old := s.cut(c, "Count.", llmtest.Step{Text: "One, "})
		ask := object{"conversation": object{"id": c, "continue": old.at("id")}}
		key := func() http.Header { return http.Header{"Idempotency-Key": {"k"}} }
		s.model.Script(llmtest.Step{Err: &llm.Error{Status: 400, Message: "Assistant response prefill is incompatible with enable_thinking."}})
		status, raw, _ := s.send("POST", "/v1/responses", ask, key())
		failed := decode(t, raw)
		if status != 200 || failed.str("status") != "failed" || failed.str("output", 0, "content", 0, "text") != "One, " {
			t.Errorf("it is answered %d %v", status, failed)
		}
		status, raw, _ = s.send("POST", "/v1/responses", ask, key())
		if o := decode(t, raw); status != 200 || o.str("id") != failed.str("id") {
			t.Errorf("a retry is answered %d %v", status, o)
		}
		s.model.Script(llmtest.Say("two.")...)
		next := s.ok("POST", "/v1/responses", object{"conversation": object{"id": c, "continue": failed.at("id")}})
		is(t, "once more", next.str("output", 0, "content", 0, "text"), "One, two.")
	})
}

// A conversation that does not fit is cut to what does, and the beginning stays.
func TestAContinuationLeavesOutTheOldestTurns(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.SetInfos(llm.Info{ID: "test-model", Continues: true})
		c := s.conversation()
		s.ok("POST", "/v1/responses", object{"conversation": c, "input": "A first question that takes the most of the room there is."})
		old := s.cut(c, "Count.", llmtest.Step{Text: "One, "})
		s.model.Script(llmtest.Step{Err: &llm.Error{Status: 400, Code: llm.CodeContextExceeded, Message: "too long"}})
		s.model.Script(llmtest.Say("two.")...)
		next := s.ok("POST", "/v1/responses", object{"conversation": object{"id": c, "continue": old.at("id")}, "truncation": "auto"})
		is(t, "its text", next.str("output", 0, "content", 0, "text"), "One, two.")
		is(t, "dropped_turns", next.at("dropped_turns"), 1.0)
		asked := s.model.Requests()
		if m := asked[len(asked)-1].Messages; len(m) != 2 || m[0].Text != "Count." || m[1].Text != "One, " {
			t.Errorf("the model is told %+v", m)
		}
	})
}

func TestWhatCannotBeContinuedIsRefused(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.SetInfos(llm.Info{ID: "test-model", Continues: true}, llm.Info{ID: "other"})
		c, elsewhere := s.conversation(), s.conversation()
		whole := s.ok("POST", "/v1/responses", object{"conversation": c, "input": "hi"}).str("id")
		thinking := s.cut(c, "q", llmtest.Step{Reasoning: "Hm."}).str("id")
		calling := s.cut(c, "q", append([]llmtest.Step{{Text: "I look."}}, llmtest.Call(0, "call_1", "look", `{"at":`)...)...).str("id")
		good := s.cut(c, "q", llmtest.Step{Text: "One, "})
		erased := s.cut(c, "q", llmtest.Step{Text: "gone"})
		s.ok("DELETE", "/v1/conversations/"+c+"/items/"+erased.str("output", 0, "id"), nil)
		refuses := func(what string, body object, code, param string) {
			t.Helper()
			if status, o := s.do("POST", "/v1/responses", body); status != 400 || o.str("error", "code") != code || o.str("error", "param") != param {
				t.Errorf("%s is answered %d %v", what, status, o)
			}
		}
		const param = "conversation.continue"
		of := func(id string) object { return object{"id": c, "continue": id} }
		before := len(s.model.Requests())
		refuses("a complete one", object{"conversation": of(whole)}, "invalid_value", param)
		refuses("one that thought only", object{"conversation": of(thinking)}, "invalid_value", param)
		refuses("one with a call", object{"conversation": of(calling)}, "invalid_value", param)
		refuses("one whose text was deleted", object{"conversation": of(erased.str("id"))}, "invalid_value", param)
		refuses("one of another conversation", object{"conversation": object{"id": elsewhere, "continue": good.at("id")}}, "invalid_value", param)
		refuses("one that is not there", object{"conversation": of("resp_0")}, "invalid_value", param)
		refuses("an item", object{"conversation": of(good.str("output", 0, "id"))}, "invalid_value", param)
		refuses("a number", object{"conversation": object{"id": c, "continue": 7}}, "invalid_value", param)
		refuses("one with input", object{"conversation": of(good.str("id")), "input": "more"}, "invalid_value", param)
		refuses("one with after", object{"conversation": object{"id": c, "continue": good.at("id"), "after": nil}}, "invalid_value", param)
		refuses("one that is not kept", object{"conversation": of(good.str("id")), "store": false}, "invalid_value", param)
		refuses("a model that does not", object{"conversation": of(good.str("id")), "model": "other"}, "unsupported_parameter", param)
		refuses("the offline advisor", object{"conversation": of(good.str("id")), "model": "offline"}, "unsupported_parameter", param)
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "One, "}, llmtest.Step{Gate: gate, Text: "two."})
		live := s.stream("POST", "/v1/responses", object{"conversation": c, "input": "Count.", "stream": true})
		running := live.until("response.output_text.delta")[0].str("response", "id")
		refuses("one that is being written", object{"conversation": of(running)}, "conversation_locked", "conversation")
		gate.Open()
		live.rest()
		is(t, "requests of the model", len(s.model.Requests()), before+1)
		models := data(s.ok("GET", "/v1/models", nil))
		is(t, "continues", []any{models[0].at("continues"), models[1].at("continues")}, []any{true, nil})
	})
}

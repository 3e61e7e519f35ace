package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// told is what the model was told last, a line a message.
func (s *server) told() string {
	s.t.Helper()
	requests := s.model.Requests()
	var lines []string
	for _, m := range requests[len(requests)-1].Messages {
		line := m.Role + ": " + m.Text
		for _, p := range m.Parts {
			line += fmt.Sprintf("[%s%s%s%s%s]", p.Text, p.ImageURL, p.Detail, p.FileName, p.FileData)
		}
		for _, c := range m.Calls {
			line += fmt.Sprintf(" %s %s(%s)", c.ID, c.Name, c.Arguments)
		}
		if m.CallID != "" {
			line += " of " + m.CallID
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// look is a tool.
var look = object{"type": "function", "name": "look", "description": "Looks.", "strict": true,
	"parameters": object{"type": "object", "properties": object{"at": object{"type": "string"}}, "required": []string{"at"}}}

var list = object{"type": "function", "name": "list"}

// calls is a script that ends in calls.
func calls(steps ...[]llmtest.Step) []llmtest.Step {
	return append(slices.Concat(steps...), llmtest.Step{Finish: llm.FinishToolCalls})
}

func TestSystemAndDeveloperPrompts(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.ok("POST", "/v1/responses", object{"instructions": "Be kind.", "input": []object{
			{"type": "message", "role": "system", "content": "Be brief."},
			{"type": "message", "role": "developer", "content": []object{{"type": "input_text", "text": "Be right."}}},
			{"type": "message", "role": "user", "content": "hi"}}})
		is(t, "what the model was told", s.told(), "system: Be kind.\nsystem: Be brief.\nsystem: Be right.\nuser: hi")
	})
}

func TestSeveralTurnsInOneRequest(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		r := s.ok("POST", "/v1/responses", object{"input": []object{
			{"role": "user", "content": "My name is Alice."},
			{"role": "assistant", "content": []object{{"type": "output_text", "text": "Hello Alice!", "annotations": []any{}}, {"type": "refusal", "refusal": "No more."}}},
			{"type": "reasoning", "id": "rs_1", "summary": []object{{"type": "summary_text", "text": "hm"}}, "encrypted_content": "x"},
			{"role": "user", "content": []object{{"type": "input_text", "text": "What is"}, {"type": "input_text", "text": "my name?"}}}}})
		is(t, "what the model was told", s.told(), "user: My name is Alice.\nassistant: Hello Alice!\n\nNo more.\nuser: What is\n\nmy name?")
		s.ok("POST", "/v1/responses", object{"input": "And yours?", "previous_response_id": r.str("id")})
		if !strings.HasSuffix(s.told(), "user: What is\n\nmy name?\nassistant: ok\nuser: And yours?") {
			t.Errorf("the model was told\n%s", s.told())
		}
	})
}

func TestImagesArePassedOn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		data := "data:image/png;base64,iVBORw0KGgo="
		s.ok("POST", "/v1/responses", object{"conversation": c, "input": []object{{"role": "user", "content": []object{
			{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": data},
			{"type": "input_image", "image_url": "https://example.com/rack.jpg", "detail": "high"}}}}})
		is(t, "what the model was told", s.told(), "user: [What is it?]["+data+"][https://example.com/rack.jpghigh]")
		item := s.ok("GET", "/v1/conversations/"+c+"/items?order=asc", nil)
		is(t, "the image kept", item.at("data", 0, "content", 1), any(map[string]any{"type": "input_image", "image_url": data, "detail": "auto"}))
		is(t, "the title", s.ok("GET", "/v1/conversations/"+c, nil).str("title"), "What is it?")
		for param, part := range map[string]object{
			"image_url":         {"type": "input_image"},
			"file_id":           {"type": "input_image", "file_id": "file_1"},
			"detail":            {"type": "input_image", "image_url": data, "detail": "wow"},
			"detail ":           {"type": "input_image", "image_url": data, "detail": "original"},
			"image_url ":        {"type": "input_image", "image_url": "file:///etc/passwd"},
			"image_url  ":       {"type": "input_image", "image_url": "data:text/html,x"},
			"type":              {"type": "input_audio"},
			"type ":             {"type": "input_video", "video_url": "https://example.com/a.mp4"},
			"image_url.url    ": {"type": "input_image", "image_url": object{"url": data}},
		} {
			status, o := s.do("POST", "/v1/responses", object{"input": []object{{"role": "user", "content": []object{part}}}})
			if want := "input[0].content[0]." + strings.TrimSuffix(strings.TrimSpace(param), ".url"); status != 400 || o.str("error", "param") != want {
				t.Errorf("%v: %d %v, not %s", part, status, o, want)
			}
		}
	})
}

func TestFilesAreTextOrPDF(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		text := base64.StdEncoding.EncodeToString([]byte("vlan 40\nvlan 50 blåbær"))
		pdf := base64.StdEncoding.EncodeToString([]byte("%PDF-1.7 \xff\x00"))
		s.ok("POST", "/v1/responses", object{"conversation": c, "input": []object{{"role": "user", "content": []object{
			{"type": "input_file", "filename": "switch.txt", "file_data": text},
			{"type": "input_file", "filename": "ups.pdf", "file_data": "data:application/pdf;base64," + pdf},
			{"type": "input_text", "text": "Sum up."}}}}})
		is(t, "what the model was told", s.told(),
			"user: [switch.txt\n\nvlan 40\nvlan 50 blåbær][ups.pdfdata:application/pdf;base64,"+pdf+"][Sum up.]")
		items := s.ok("GET", "/v1/conversations/"+c+"/items?order=asc", nil)
		is(t, "the file kept", items.str("data", 0, "content", 0, "file_data"), text)
		page, err := s.record.Search(t.Context(), store.SearchQuery{Text: "blåbær"})
		hits := page.Hits
		if err != nil || len(hits) != 1 {
			t.Errorf("its text is found in %v, %v", hits, err)
		}
		for param, part := range map[string]object{
			"file_url":   {"type": "input_file", "file_url": "https://example.com/a.pdf"},
			"file_id":    {"type": "input_file", "file_id": "file_1"},
			"file_data":  {"type": "input_file", "filename": "a.txt"},
			"file_data ": {"type": "input_file", "file_data": "%%%"},
			"file_data.": {"type": "input_file", "filename": "a.zip", "file_data": base64.StdEncoding.EncodeToString([]byte("PK\x03\x04\xff"))},
		} {
			status, o := s.do("POST", "/v1/responses", object{"input": []object{{"role": "user", "content": []object{part}}}})
			if want := "input[0].content[0]." + strings.Trim(param, " ."); status != 400 || o.str("error", "param") != want {
				t.Errorf("%v: %d %v, not %s", part, status, o, want)
			}
		}
	})
}

func TestAToolIsCalledAndItsOutputGoesOn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.Script(calls([]llmtest.Step{{Text: "I look."}}, llmtest.Call(0, "call_1", "look", `{"at":`, `"nas"}`), llmtest.Call(1, "call_2", "list"))...)
		r := s.ok("POST", "/v1/responses", object{"input": "How is the NAS?", "tools": []object{look, list}, "parallel_tool_calls": true, "tool_choice": "auto"})
		is(t, "its status", r.str("status"), "completed")
		is(t, "the text before", r.str("output", 0, "content", 0, "text"), "I look.")
		for path, want := range map[string]string{"type": "function_call", "call_id": "call_1", "name": "look", "arguments": `{"at":"nas"}`, "status": "completed"} {
			is(t, path+" of the call", r.str("output", 1, path), want)
		}
		is(t, "the arguments of a call without", r.at("output", 2, "arguments"), any(""))
		if !strings.HasPrefix(r.str("output", 1, "id"), "fc_") {
			t.Errorf("the id of a call is %s", r.str("output", 1, "id"))
		}
		is(t, "the tool", r.str("tools", 0, "name"), "look")
		is(t, "what is required of it", r.str("tools", 0, "parameters", "required", 0), "at")
		asked := s.model.Requests()[0]
		is(t, "the tools the model knows", len(asked.Tools), 2)
		is(t, "the choice it has", asked.ToolChoice, llm.ToolChoice{Mode: "auto"})
		is(t, "whether it may call two", *asked.ParallelToolCalls, true)
		is(t, "the same read again", s.ok("GET", "/v1/responses/"+r.str("id"), nil), r)

		s.model.Script(llmtest.Say("Well.")...)
		next := s.ok("POST", "/v1/responses", object{"previous_response_id": r.str("id"), "tools": []object{look, list}, "input": []object{
			{"type": "function_call_output", "call_id": "call_2", "output": []object{{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}}},
			{"type": "function_call_output", "call_id": "call_1", "output": "SMART passed"}}})
		want := "user: How is the NAS?\nassistant: I look. call_1 look({\"at\":\"nas\"}) call_2 list({})\ntool: SMART passed of call_1\ntool: one\n\ntwo of call_2"
		is(t, "what the model was told", s.told(), want)
		s.ok("POST", "/v1/responses", object{"previous_response_id": next.str("id"), "input": "Thanks."})
		is(t, "what it was told later", s.told(), want+"\nassistant: Well.\nuser: Thanks.")

		// The same by a client that sends all there was.
		s.ok("POST", "/v1/responses", object{"store": false, "input": []any{object{"role": "user", "content": "How is the NAS?"},
			r.at("output", 0), r.at("output", 1),
			object{"type": "function_call_output", "call_id": "call_1", "output": "SMART passed"},
			object{"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
			object{"type": "function_call_output", "call_id": "call_1", "output": "again"}}})
		is(t, "what the model was told of that", s.told(), "user: How is the NAS?\nassistant: I look. call_1 look({\"at\":\"nas\"})\n"+
			"tool: SMART passed of call_1\nassistant:  call_1 look({})\ntool: again of call_1")
	})
}

func TestACallIsStreamedArgumentByArgument(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		gate := llmtest.NewGate()
		s.model.Script(calls([]llmtest.Step{{Reasoning: "hm, "}, {Reasoning: "well"}, {Text: "I look."}}, llmtest.Call(0, "call_1", "look", `{"at":`),
			[]llmtest.Step{{Gate: gate}}, []llmtest.Step{{Call: &llm.Call{Arguments: `"nas"}`}}}, llmtest.Call(1, "call_2", "list", "{}"))...)
		live := s.stream("POST", "/v1/responses", object{"input": "How is the NAS?", "tools": []object{look, list}, "stream": true})
		events := live.until("response.function_call_arguments.delta")
		is(t, "the first piece", events[len(events)-1].str("delta"), `{"at":`)
		added := events[len(events)-2]
		is(t, "the call when it begins", added.str("item", "call_id")+" "+added.str("item", "name")+" "+added.str("item", "status"), "call_1 look in_progress")
		gate.Open()
		events = append(events, live.rest()...)
		is(t, "the events", types(events), "created in_progress "+
			"output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done output_item.done "+
			"output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done "+
			"output_item.added function_call_arguments.delta function_call_arguments.done output_item.done "+
			"output_item.added function_call_arguments.delta function_call_arguments.done output_item.done completed")
		for i, e := range events {
			is(t, "a sequence_number", e.at("sequence_number"), any(float64(i)))
			if e.str("type") == "response.function_call_arguments.done" && e.at("output_index") == 2.0 {
				is(t, "the arguments in the end", e.str("arguments"), `{"at":"nas"}`)
			}
		}
		last := events[len(events)-1]
		is(t, "what it thought", last.str("response", "output", 0, "summary", 0, "text"), "hm, well")
		path := "/v1/responses/" + last.str("response", "id")
		for after := range events {
			is(t, "the events again", s.stream("GET", path+fmt.Sprintf("?stream=true&starting_after=%d", after), nil).rest(), append([]object(nil), events[after+1:]...))
		}
		is(t, "the response again", s.ok("GET", path, nil), object(last.at("response").(map[string]any)))
		s.ok("POST", "/v1/responses", object{"input": "and?", "previous_response_id": last.str("response", "id")})
		is(t, "what the model is told of calls that nobody made, and of its thoughts", s.told(), "user: How is the NAS?\nassistant: I look.\nuser: and?")
	})
}

func TestAReplyHasNoMoreCallsThanItMay(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		s.model.Script(calls([]llmtest.Step{{Text: "I look."}}, llmtest.Call(3, "call_1", "look", `{"at":`), llmtest.Call(4, "call_2", "look", "{}"),
			[]llmtest.Step{{Call: &llm.Call{Index: 3, Arguments: `"nas"}`}}}, llmtest.Call(5, "call_3", "list"), []llmtest.Step{{Text: " Wait."}})...)
		ask := object{"input": "How is the NAS?", "conversation": c, "tools": []object{look, list}, "max_tool_calls": 1, "stream": true}
		events := s.stream("POST", "/v1/responses", ask).rest()
		is(t, "the events", types(events), "created in_progress output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done "+
			"output_item.added function_call_arguments.delta function_call_arguments.done output_item.done "+
			"output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done completed")
		r := object(events[len(events)-1].at("response").(map[string]any))
		is(t, "the call", r.str("output", 1, "call_id")+r.str("output", 1, "arguments"), `call_1{"at":"nas"}`)
		s.ok("POST", "/v1/responses", object{"conversation": c, "input": []object{{"type": "function_call_output", "call_id": "call_1", "output": "fine"}}})
		is(t, "what the model is told", s.told(), "user: How is the NAS?\nassistant: I look.\n\n Wait. call_1 look({\"at\":\"nas\"})\ntool: fine of call_1")

		delete(ask, "stream")
		for most, want := range map[int]int{2: 2, 3: 3, 4: 3} {
			s.model.Script(calls(llmtest.Call(0, "call_1", "list"), llmtest.Call(1, "call_2", "list"), llmtest.Call(2, "call_3", "list"))...)
			ask["max_tool_calls"] = most
			r := s.ok("POST", "/v1/responses", ask)
			is(t, fmt.Sprint("calls of ", most), len(r.at("output").([]any)), want)
		}
	})
}

func TestCallsInTurnsComeOneAfterTheOther(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		piece := func(index int, arguments string) []llmtest.Step {
			return []llmtest.Step{{Call: &llm.Call{Index: index, Arguments: arguments}}}
		}
		s.model.Script(calls(llmtest.Call(0, "call_1", "look", `{"a`), llmtest.Call(1, "call_2", "look", `{"b`), piece(0, `":1`), piece(1, `":2}`),
			[]llmtest.Step{{Text: "So."}}, piece(0, `}`), piece(0, " "), llmtest.Call(2, "call_3", "list"))...)
		events := s.stream("POST", "/v1/responses", object{"input": "q", "tools": []object{look, list}, "stream": true}).rest()
		r := object(events[len(events)-1].at("response").(map[string]any))
		is(t, "the calls", fmt.Sprint(r.str("output", 0, "arguments"), r.str("output", 1, "arguments"), r.str("output", 2, "content", 0, "text"), r.str("output", 3, "call_id")),
			`{"a":1}{"b":2}So.call_3`)
		is(t, "its status", r.str("status"), "completed")
	})
}

func TestARefusalIsItsOwnPart(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		s.model.Script(llmtest.Step{Text: "Hm. "}, llmtest.Step{Refusal: "I can"}, llmtest.Step{Refusal: "not."})
		events := s.stream("POST", "/v1/responses", object{"input": "q", "conversation": c, "stream": true}).rest()
		is(t, "the events", types(events), "created in_progress output_item.added content_part.added output_text.delta output_text.done content_part.done "+
			"content_part.added refusal.delta refusal.done content_part.done output_item.done completed")
		items := s.ok("GET", "/v1/conversations/"+c+"/items", nil)
		is(t, "the refusal kept", items.at("data", 0, "content", 1), any(map[string]any{"type": "refusal", "refusal": "I cannot."}))
	})
}

func TestAConversationGoesOnAfterAReplyWasKilledInACall(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		id := store.NewID()
		first := start(t, r, id, lab.New("", 0))
		gate := llmtest.NewGate()
		first.model.Script(calls([]llmtest.Step{{Text: "I look."}}, llmtest.Call(0, "call_0", "list", "{}"), llmtest.Call(1, "call_1", "look", `{"at":`), []llmtest.Step{{Gate: gate}})...)
		c := first.conversation()
		live := first.stream("POST", "/v1/responses", object{"input": "How is the NAS?", "conversation": c, "tools": []object{look}, "stream": true})
		events := live.until("response.function_call_arguments.delta")
		events = append(events, live.until("response.function_call_arguments.delta")...) // of the second call
		first.stop()
		events = append(events, live.rest()...)
		last := events[len(events)-1]
		is(t, "the end", last.str("type")+" "+last.str("response", "output", 2, "status")+" "+last.str("response", "output", 2, "arguments"), `response.incomplete incomplete {"at":`)

		second := start(t, r, id, lab.New("", 0))
		is(t, "the events again", second.stream("GET", "/v1/responses/"+last.str("response", "id")+"?stream=true", nil).rest(), events)
		second.ok("POST", "/v1/responses", object{"conversation": c, "tools": []object{look}, "input": []object{
			{"type": "function_call_output", "call_id": "call_1", "output": "too late"}, {"role": "user", "content": "Go on."}}})
		is(t, "what the model was told", second.told(), "user: How is the NAS?\nassistant: I look.\nuser: Go on.")
		is(t, "the items", len(second.ok("GET", "/v1/conversations/"+c+"/items", nil).at("data").([]any)), 7)
	})
}

func TestAConversationThatOutgrewTheModelGoesOn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		long := llmtest.Step{Err: &llm.Error{Where: "test", Status: 400, Code: llm.CodeContextExceeded, Message: "the context is 8 tokens"}}
		c := s.ok("POST", "/v1/conversations", object{"items": []object{{"role": "system", "content": "Be brief."}}}).str("id")
		ask := func(q string, more object) object {
			body := object{"input": q, "conversation": c}
			for k, v := range more {
				body[k] = v
			}
			return s.ok("POST", "/v1/responses", body)
		}
		for i := range 4 {
			s.model.Script(llmtest.Say(fmt.Sprint("a", i))...)
			ask(fmt.Sprint("q", i), nil)
		}
		s.model.Script(long)
		r := ask("q4", object{"truncation": "disabled"})
		is(t, "a reply that did not fit", r.str("status")+" "+r.str("error", "code"), "failed context_length_exceeded")
		if !strings.Contains(r.str("error", "message"), "the context is 8 tokens") {
			t.Errorf("its error is %v", r.at("error"))
		}

		s.model.Script(long)
		s.model.Script(long)
		s.model.Script(llmtest.Say("a5")...)
		r = ask("q5", object{"truncation": "auto"})
		is(t, "the reply", r.str("status")+" "+r.str("output", 0, "content", 0, "text")+" "+r.str("truncation"), "completed a5 auto")
		is(t, "what the model was told", s.told(), "system: Be brief.\nuser: q3\nassistant: a3\nuser: q4\nuser: q5")
		is(t, "how many turns were left out", r.at("dropped_turns"), any(3.0))
		is(t, "the same read again", s.ok("GET", "/v1/responses/"+r.str("id"), nil), r)

		for range 4 { // even the question alone
			s.model.Script(long)
		}
		r = ask("q6", object{"truncation": "auto"})
		is(t, "a question that does not fit", r.str("status")+" "+r.str("error", "code"), "failed context_length_exceeded")
		s.model.Script(llmtest.Step{Text: "half"}, long)
		r = ask("q7", object{"truncation": "auto"})
		is(t, "a reply that began", r.str("status")+" "+r.str("output", 0, "content", 0, "text"), "failed half")
	})
}

func TestATurnWithItsCallsIsDroppedWhole(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.Script(calls(llmtest.Call(0, "call_1", "look", "{}"))...)
		r := s.ok("POST", "/v1/responses", object{"input": "first", "tools": []object{look}})
		s.model.Script(calls(llmtest.Call(0, "call_1", "look", "{}"))...) // a server that gives the same id again
		r = s.ok("POST", "/v1/responses", object{"previous_response_id": r.str("id"), "input": []object{
			{"type": "function_call_output", "call_id": "call_1", "output": "one"}, {"role": "user", "content": "second"}}})
		s.model.Script(llmtest.Step{Err: &llm.Error{Code: llm.CodeContextExceeded, Message: "too long"}})
		r = s.ok("POST", "/v1/responses", object{"previous_response_id": r.str("id"), "truncation": "auto", "input": []object{
			{"type": "function_call_output", "call_id": "call_1", "output": "two"}}})
		is(t, "what the model was told", s.told(), "user: second\nassistant:  call_1 look({})\ntool: two of call_1")
		is(t, "how many turns were left out", r.at("dropped_turns"), any(1.0))
	})
}

func TestAReplyThatIsNotKeptLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		kept := s.ok("POST", "/v1/responses", object{"input": "q0", "conversation": c})
		before := s.ok("GET", "/v1/conversations/"+c, nil)
		all := func() []object {
			var list []object
			for _, path := range []string{"/v1/conversations", "/v1/conversations?listed=false"} {
				list = append(list, s.ok("GET", path, nil))
			}
			return list
		}
		unlisted := all()

		s.model.Script(append([]llmtest.Step{{Reasoning: "hm"}}, llmtest.Say("One ", "two")...)...)
		r := s.ok("POST", "/v1/responses", object{"input": "q1", "conversation": c, "store": false})
		is(t, "the answer", fmt.Sprint(r.str("status"), r.str("output", 1, "content", 0, "text"), r.at("store"), r.str("conversation", "id") == c), "completedOne twofalse true")
		is(t, "what the model was told", s.told(), "user: q0\nassistant: ok\nuser: q1")

		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "One "}, llmtest.Step{Gate: gate, Text: "two"}, llmtest.Step{Finish: "length"})
		live := s.stream("POST", "/v1/responses", object{"input": "q2", "previous_response_id": kept.str("id"), "store": false, "stream": true})
		events := live.until("response.output_text.delta")
		id := events[0].str("response", "id")
		for _, call := range [][2]string{{"GET", ""}, {"GET", "?stream=true"}, {"DELETE", ""}, {"POST", "/cancel"}, {"GET", "/input_items"}} {
			if status, o := s.do(call[0], "/v1/responses/"+id+call[1], nil); status != 404 {
				t.Errorf("%s %s of a reply that is not kept: %d %v", call[0], call[1], status, o)
			}
		}
		gate.Open()
		events = append(events, live.rest()...)
		is(t, "the events", types(events), "created in_progress output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done incomplete")
		for i, e := range events {
			is(t, "a sequence_number", e.at("sequence_number"), any(float64(i)))
		}
		is(t, "what is shown", shown(events), "One two")
		is(t, "what the model was told", s.told(), "user: q0\nassistant: ok\nuser: q2")
		if status, o := s.do("POST", "/v1/responses", object{"input": "q", "previous_response_id": id}); status != 404 || o.str("error", "param") != "previous_response_id" {
			t.Errorf("going on from a reply that is not kept: %d %v", status, o)
		}

		s.model.Script(llmtest.Step{Err: &llm.Error{Status: 500, Message: "out of memory"}})
		is(t, "a reply that fails", s.ok("POST", "/v1/responses", object{"input": "q", "store": false}).str("status"), "failed")
		is(t, "the conversation", s.ok("GET", "/v1/conversations/"+c, nil), before)
		is(t, "the lists", all(), unlisted)

		const nowhere = "00000000-0000-7000-8000-000000000000"
		for param, body := range map[string]object{
			"background":           {"input": "a", "background": true},
			"previous_response_id": {"input": "a", "previous_response_id": "resp_" + nowhere},
			"conversation":         {"input": "a", "conversation": "conv_" + nowhere},
			"model":                {"input": "a", "model": "nope"},
		} {
			for _, stream := range []bool{false, true} {
				body["store"], body["stream"] = false, stream
				if status, o := s.do("POST", "/v1/responses", body); status/100 != 4 || o.str("error", "param") != param {
					t.Errorf("%v: %d %v, not about %s", body, status, o, param)
				}
			}
		}
		status, raw, _ := s.send("POST", "/v1/responses", object{"input": "a", "store": false}, http.Header{"Idempotency-Key": {"k"}})
		if status != 400 || !strings.Contains(string(raw), `"param":"Idempotency-Key"`) {
			t.Errorf("with a key: %d %s", status, raw)
		}
	})
}

func TestNobodyReadsWhatIsNotKept(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "One "}, llmtest.Step{Gate: gate, Text: "two"})
		live := s.stream("POST", "/v1/responses", object{"input": "q", "store": false, "stream": true})
		live.until("response.output_text.delta")
		<-gate.Reached()
		live.Close()
		s.stop() // returns once nothing is being written any more
	})
}

func TestAStoppingServerEndsWhatIsNotKept(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "One "}, llmtest.Step{Gate: gate, Text: "two"})
		live := s.stream("POST", "/v1/responses", object{"input": "q", "store": false, "stream": true})
		live.until("response.output_text.delta")
		s.stop()
		events := live.rest()
		is(t, "the end", events[len(events)-1].str("response", "incomplete_details", "reason"), "interrupted")
	})
}

func TestToolChoices(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		allowed := object{"type": "allowed_tools", "mode": "required", "tools": []any{object{"type": "function", "name": "list"}}}
		for _, test := range []struct {
			choice any
			want   llm.ToolChoice
			tools  []string
		}{
			{nil, llm.ToolChoice{}, []string{"look", "list"}},
			{"none", llm.ToolChoice{Mode: "none"}, []string{"look", "list"}},
			{"required", llm.ToolChoice{Mode: "required"}, []string{"look", "list"}},
			{object{"type": "function", "name": "list"}, llm.ToolChoice{Name: "list"}, []string{"look", "list"}},
			{allowed, llm.ToolChoice{Mode: "required"}, []string{"list"}},
		} {
			r := s.ok("POST", "/v1/responses", object{"input": "q", "tools": []object{look, list}, "tool_choice": test.choice})
			requests := s.model.Requests()
			asked := requests[len(requests)-1]
			var names []string
			for _, tool := range asked.Tools {
				names = append(names, tool.Name)
			}
			if !slices.Equal(names, test.tools) || asked.ToolChoice != test.want {
				t.Errorf("%v: the model knows %v and has the choice %+v", test.choice, names, asked.ToolChoice)
			}
			want := test.choice
			if want == nil {
				want = "auto"
			}
			if got, want := must(json.Marshal(r.at("tool_choice"))), must(json.Marshal(want)); string(got) != string(want) {
				t.Errorf("%s is echoed as %s", want, got)
			}
		}
	})
}

func TestWhatIsAskedForIsPassedOnAndEchoed(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		body := object{"input": "q", "text": object{"verbosity": "low", "format": object{"type": "json_schema", "name": "answer", "strict": true,
			"schema": object{"type": "object", "maxProperties": 9007199254740993.0}}},
			"reasoning": object{"effort": "low", "summary": "auto"}, "temperature": 0, "top_p": 0.5, "presence_penalty": 1, "frequency_penalty": -1.5,
			"max_output_tokens": 100, "max_tool_calls": 3, "service_tier": "flex", "prompt_cache_key": "k", "safety_identifier": "me", "user": "me",
			"include": []string{"reasoning.encrypted_content"}, "stream_options": object{"include_obfuscation": false}, "metadata": object{"a": "b"},
			"parallel_tool_calls": false, "truncation": "auto"}
		r := s.ok("POST", "/v1/responses", body)
		asked := s.model.Requests()[0]
		is(t, "the form", asked.Format.Name+string(asked.Format.Schema), `answer{"maxProperties":9007199254740992,"type":"object"}`)
		is(t, "the rest", fmt.Sprint(asked.ReasoningEffort, asked.Verbosity, *asked.Temperature, *asked.TopP, *asked.PresencePenalty, *asked.FrequencyPenalty, *asked.MaxOutputTokens),
			"lowlow0 0.5 1 -1.5 100")
		for path, want := range map[string]any{"temperature": 0.0, "top_p": 0.5, "presence_penalty": 1.0, "frequency_penalty": -1.5, "max_output_tokens": 100.0,
			"max_tool_calls": 3.0, "service_tier": "flex", "prompt_cache_key": "k", "safety_identifier": "me", "user": "me", "parallel_tool_calls": false, "truncation": "auto"} {
			is(t, path, r.at(path), want)
		}
		is(t, "the form echoed", r.str("text", "format", "name")+r.str("text", "verbosity")+r.str("reasoning", "effort"), "answerlowlow")
		r = s.ok("POST", "/v1/responses", object{"input": "q", "text": object{"format": object{"type": "json_object"}}})
		is(t, "the other form", s.model.Requests()[1].Format.Type+r.str("text", "format", "type"), "json_objectjson_object")
	})
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		tool := `"tools":[{"type":"function","name":"look"}]`
		for body, param := range map[string]string{
			`"tools":{}`:                                 "tools",
			`"tools":[7]`:                                "tools[0]",
			`"tools":[{"name":"x"}]`:                     "tools[0].type",
			`"tools":[{"type":"mcp"}]`:                   "tools[0].type",
			`"tools":[{"type":"function","name":"a b"}]`: "tools[0].name",
			`"tools":[{"type":"function","name":"a","parameters":[]}]`:                "tools[0].parameters",
			`"tools":[{"type":"function","name":"a","strict":"yes"}]`:                 "tools[0].strict",
			`"tools":[{"type":"function","name":"a"},{"type":"function","name":"a"}]`: "tools[1].name",
			`"tool_choice":"any"`:                                                      "tool_choice",
			`"tool_choice":7`:                                                          "tool_choice",
			`"tool_choice":"required"`:                                                 "tool_choice",
			`"tool_choice":{"type":"function","name":"a"}`:                             "tool_choice.name",
			`"tool_choice":{"type":"mcp"}`:                                             "tool_choice.type",
			`"tool_choice":{"name":"a"}`:                                               "tool_choice.type",
			tool + `,"tool_choice":{"type":"allowed_tools","tools":[]}`:                "tool_choice.tools",
			tool + `,"tool_choice":{"type":"allowed_tools","mode":"all","tools":[{}]}`: "tool_choice.mode",
			tool + `,"tool_choice":{"type":"allowed_tools","mode":7}`:                  "tool_choice.mode",
			tool + `,"tool_choice":{"type":"allowed_tools","tools":[{"type":"function","name":"x"}]}`:   "tool_choice.tools[0].name",
			tool + `,"tool_choice":{"type":"allowed_tools","tools":[{"type":"function","nam":"look"}]}`: "tool_choice.tools[0].nam",
			tool + `,"tool_choice":{"type":"allowed_tools","tools":["look"]}`:                           "tool_choice.tools[0]",
			`"parallel_tool_calls":"no"`:                            "parallel_tool_calls",
			`"text":{"format":{"type":"xml"}}`:                      "text.format.type",
			`"text":{"format":{"type":"json_schema","name":"a"}}`:   "text.format.schema",
			`"text":{"format":{"type":"json_schema","schema":{}}}`:  "text.format.name",
			`"text":{"verbosity":"loud"}`:                           "text.verbosity",
			`"text":7`:                                              "text",
			`"reasoning":{"effort":"much"}`:                         "reasoning.effort",
			`"reasoning":{"summary":"no"}`:                          "reasoning.summary",
			`"reasoning":{"effort":7}`:                              "reasoning.effort",
			`"include":["everything"]`:                              "include[0]",
			`"service_tier":"gold"`:                                 "service_tier",
			`"presence_penalty":3`:                                  "presence_penalty",
			`"frequency_penalty":-3`:                                "frequency_penalty",
			`"max_tool_calls":0`:                                    "max_tool_calls",
			`"top_logprobs":2`:                                      "top_logprobs",
			`"temperature":1e999`:                                   "temperature",
			`"safety_identifier":"` + strings.Repeat("é", 65) + `"`: "safety_identifier",
			`"prompt_cache_key":"` + strings.Repeat("x", 65) + `"`:  "prompt_cache_key",
			`"metadata":{"a":7}`:                                    "metadata.a",
			`"metadata":{"a":"\u0000"}`:                             "metadata",
			`"prompt":{"id":"p"}`:                                   "prompt",
			`"messages":[]`:                                         "messages",
			`"max_tokens":5`:                                        "max_tokens",
			`"stop":["x"]`:                                          "stop",
			`"top_k":4`:                                             "top_k",
			`"Temperature":1`:                                       "Temperature",
			`"input":[7]`:                                           "input[0]",
			`"input":[{}]`:                                          "input[0].type",
			`"input":[{"type":"message","content":"a"}]`:            "input[0].role",
			`"input":[{"role":"user","content":[]}]`:                "input[0].content",
			`"input":[{"role":"user","content":[7]}]`:               "input[0].content[0]",
			`"input":[{"role":"user","content":[{"text":"a"}]}]`:    "input[0].content[0].type",
			`"input":[{"role":"user","content":[{"type":"refusal","refusal":"a"}]}]`:                   "input[0].content[0].type",
			`"input":[{"role":"system","content":[{"type":"input_image","image_url":"https://x"}]}]`:   "input[0].content[0].type",
			`"input":[{"type":"function_call","call_id":"c","arguments":"{}"}]`:                        "input[0].name",
			`"input":[{"type":"function_call","call_id":"c","name":"n"}]`:                              "input[0].arguments",
			`"input":[{"type":"function_call","call_id":"c","name":"n","arguments":{}}]`:               "input[0].arguments",
			`"input":[{"type":"function_call_output","output":"a"}]`:                                   "input[0].call_id",
			`"input":[{"type":"function_call_output","call_id":"c"}]`:                                  "input[0].output",
			`"input":[{"type":"function_call_output","call_id":"c","output":[{"type":"input_text"}]}]`: "input[0].output[0].text",
			`"input":[{"type":"reasoning","summary":[{"type":"text","text":"a"}]}]`:                    "input[0].summary[0].type",
			`"input":[{"type":"reasoning","summary":{}}]`:                                              "input[0].summary",
			`"input":[{"type":"item_reference","id":"msg_x"}]`:                                         "input[0].id",
			`"input":[{"id":"x"}]`:                             "input[0].id",
			`"input":[{"type":"web_search_call","id":"ws_1"}]`: "input[0].type",
		} {
			if !strings.Contains(body, `"input"`) {
				body += `,"input":"a"`
			}
			if status, o := s.do("POST", "/v1/responses", "{"+body+"}"); status != 400 && !(status == 404 && strings.HasSuffix(param, ".id")) || o.str("error", "param") != param {
				t.Errorf("%s: %d %v, not about %s", body, status, o, param)
			}
		}
		is(t, "how often the model was asked", len(s.model.Requests()), 0)
	})
}

func TestAnItemThatIsCutIsDoneToo(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		begin, end := "created in_progress output_item.added ", " incomplete"
		message := "content_part.added output_text.delta output_text.done content_part.done output_item.done"
		for _, test := range []struct {
			name   string
			said   []llmtest.Step
			events string
		}{
			{"a text", []llmtest.Step{{Text: "half"}}, message},
			{"a refusal", []llmtest.Step{{Refusal: "no"}}, "content_part.added refusal.delta refusal.done content_part.done output_item.done"},
			{"a thought", []llmtest.Step{{Reasoning: "hm"}},
				"reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done output_item.done"},
			{"a call", llmtest.Call(0, "call_1", "look", `{"at":`), "function_call_arguments.delta"}, // clients run one that is done
		} {
			s.model.Script(append(test.said, llmtest.Step{Finish: llm.FinishLength})...)
			events := s.stream("POST", "/v1/responses", object{"input": "go", "stream": true, "tools": []object{look}}).rest()
			var types []string
			for _, e := range events {
				types = append(types, strings.TrimPrefix(e.str("type"), "response."))
			}
			is(t, "the events of "+test.name, strings.Join(types, " "), begin+test.events+end)
			last := events[len(events)-1]
			if before := events[len(events)-2]; before.str("type") == "response.output_item.done" {
				is(t, "the item of "+test.name, before.at("item"), last.at("response", "output", 0))
			}
			is(t, "the status of "+test.name, last.str("response", "output", 0, "status"), "incomplete")
			is(t, "the same read again", s.stream("GET", "/v1/responses/"+last.str("response", "id")+"?stream=true", nil).rest(), events)
		}
		s.model.Script(llmtest.Step{Text: "half"}, llmtest.Step{Err: &llm.Error{Message: "out of memory"}})
		events := s.stream("POST", "/v1/responses", object{"input": "go", "stream": true}).rest()
		is(t, "before a failure", events[len(events)-2].str("type"), "response.output_text.delta")
	})
}

func TestAnOutputWithoutItsCallIsRefused(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		refused := func(what string, body object) {
			t.Helper()
			asked := len(s.model.Requests())
			if status, o := s.do("POST", "/v1/responses", body); status != 400 || o.str("error", "param") != "input" || !strings.Contains(o.str("error", "message"), "call_9") {
				t.Errorf("%s: %d %v", what, status, o)
			}
			is(t, "whether the model was asked "+what, len(s.model.Requests())-asked, 0)
		}
		output := func(call string) object {
			return object{"type": "function_call_output", "call_id": call, "output": "x"}
		}
		call := object{"type": "function_call", "call_id": "call_9", "name": "look", "arguments": "{}"}
		refused("alone", object{"input": []object{output("call_9")}})
		refused("before its call", object{"input": []object{output("call_9"), call}})
		refused("not kept", object{"store": false, "input": []object{output("call_9")}})
		s.ok("POST", "/v1/responses", object{"input": []object{call, output("call_9")}})

		c := s.conversation()
		s.model.Script(calls(llmtest.Call(0, "call_1", "look", "{}"))...)
		first := s.ok("POST", "/v1/responses", object{"conversation": c, "input": "Look.", "tools": []object{look}})
		head := s.ok("GET", "/v1/conversations/"+c, nil).at("head")
		refused("in a conversation", object{"conversation": c, "input": []object{output("call_1"), output("call_9")}})
		refused("after a reply", object{"previous_response_id": first.str("id"), "input": []object{output("call_9")}})
		refused("not kept, after a reply", object{"store": false, "previous_response_id": first.str("id"), "input": []object{output("call_9")}})
		is(t, "the head", s.ok("GET", "/v1/conversations/"+c, nil).at("head"), head)

		// On another branch there is no such call.
		question := s.ok("GET", "/v1/conversations/"+c+"/items?order=asc", nil).str("data", 0, "id")
		refused("on another branch", object{"conversation": object{"id": c, "after": question}, "input": []object{output("call_9")}})
		if status, o := s.do("POST", "/v1/responses", object{"conversation": object{"id": c, "after": question}, "input": []object{output("call_1")}}); status != 400 {
			t.Errorf("an output after the question of its call: %d %v", status, o)
		}
		s.ok("POST", "/v1/responses", object{"store": false, "conversation": c, "input": []object{output("call_1")}})
		s.ok("POST", "/v1/responses", object{"previous_response_id": first.str("id"), "input": []object{output("call_1")}})

		// What is refused for another reason is refused for that.
		for _, test := range []struct {
			what   string
			body   object
			status int
			param  string
		}{
			{"an unknown conversation", object{"conversation": "conv_" + store.NewID(), "input": []object{output("call_9")}}, 404, "conversation"},
			{"an unknown reply", object{"previous_response_id": "resp_" + store.NewID(), "input": []object{output("call_9")}}, 404, "previous_response_id"},
			{"a conversation that has gone on", object{"conversation": object{"id": c, "head": 1}, "input": []object{output("call_9")}}, 409, "conversation"},
		} {
			if status, o := s.do("POST", "/v1/responses", test.body); status != test.status || o.str("error", "param") != test.param {
				t.Errorf("%s: %d %v", test.what, status, o)
			}
		}
		gate := llmtest.NewGate()
		defer gate.Open()
		s.model.Script(calls([]llmtest.Step{{Gate: gate}}, llmtest.Call(0, "call_9", "look", "{}"))...)
		running := s.ok("POST", "/v1/responses", object{"conversation": c, "background": true, "input": "Again.", "tools": []object{look}})
		if status, o := s.do("POST", "/v1/responses", object{"conversation": c, "input": []object{output("call_9")}}); status != 400 || o.str("error", "code") != "conversation_locked" {
			t.Errorf("while the reply with the call is written: %d %v", status, o)
		}
		if status, o := s.do("POST", "/v1/responses", object{"previous_response_id": running.str("id"), "input": []object{output("call_9")}}); status != 400 || o.str("error", "code") != "response_in_progress" {
			t.Errorf("after the reply with the call while it is written: %d %v", status, o)
		}
	})
}

func TestAReferenceIsACopyOfWhatItNames(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.Script(calls(llmtest.Call(0, "call_1", "look", "{}"))...)
		r := s.ok("POST", "/v1/responses", object{"input": "q", "tools": []object{look}})
		s.ok("POST", "/v1/responses", object{"input": []object{{"role": "user", "content": "q"},
			{"type": "item_reference", "id": r.str("output", 0, "id")}, {"type": "function_call_output", "call_id": "call_1", "output": "fine"}}})
		is(t, "what the model was told", s.told(), "user: q\nassistant:  call_1 look({})\ntool: fine of call_1")
		c := s.ok("POST", "/v1/conversations", object{"items": []object{{"id": r.str("output", 0, "id")}}}).str("id")
		is(t, "its name in a conversation", s.ok("GET", "/v1/conversations/"+c+"/items", nil).str("data", 0, "name"), "look")
	})
}

func TestAConversationIsAnsweredAsItIs(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.ok("POST", "/v1/conversations", object{"items": []object{{"role": "user", "content": "Is it on?"}}}).str("id")
		s.ok("POST", "/v1/responses", object{"conversation": c})
		is(t, "what the model was told", s.told(), "user: Is it on?")
		is(t, "the items", texts(s.ok("GET", "/v1/conversations/"+c+"/items?order=asc", nil)), []string{"user: Is it on?", "assistant: ok"})
	})
}

func TestManyMayGoOnFromOneReply(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		r := s.ok("POST", "/v1/responses", object{"input": "q"})
		gate := llmtest.NewGate()
		var streams []*stream
		for i := range 3 {
			s.model.Script(llmtest.Step{Text: "a"}, llmtest.Step{Gate: gate, Text: "b"})
			streams = append(streams, s.stream("POST", "/v1/responses", object{"input": fmt.Sprint("q", i), "previous_response_id": r.str("id"), "stream": true}))
		}
		running := ""
		for _, live := range streams {
			running = live.until("response.output_text.delta")[0].str("response", "id")
		}
		status, raw, header := s.raw("POST", "/v1/responses", object{"input": "q", "previous_response_id": running})
		if status != 400 || !strings.Contains(string(raw), `"param":"previous_response_id"`) || header.Get("X-Should-Retry") != "true" || header.Get("Retry-After-Ms") == "" {
			t.Errorf("going on from a reply that is being written: %d %s %v", status, raw, header)
		}
		gate.Open()
		for _, live := range streams {
			is(t, "what is shown", shown(live.rest()), "b")
		}
	})
}

func TestABackgroundReplyIsQueuedFirst(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		events := s.stream("POST", "/v1/responses", object{"input": "q", "background": true, "stream": true}).rest()
		if !strings.HasPrefix(types(events), "created queued in_progress output_item.added ") || events[0].str("response", "status") != "queued" {
			t.Errorf("the events are %s", types(events))
		}
		is(t, "the events again", s.stream("GET", "/v1/responses/"+events[0].str("response", "id")+"?stream=true", nil).rest(), events)
	})
}

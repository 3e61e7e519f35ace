package api_test

import (
	"net/http"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
)

// What each answer has in common, type, code and param among it, is held against the description of an error by apitest.
func TestErrorsSayWhatIsWrong(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		r := s.ok("POST", "/v1/responses", object{"input": "hi"}).str("id")
		const uuid = "00000000-0000-7000-8000-000000000000"
		message := func(fields string) string { return `{"input":[{"role":"user",` + fields + `}]}` }
		long := strings.Repeat("k", 65)
		deep := strings.Repeat(`{"a":`, 1100) + "1" + strings.Repeat("}", 1100)
		for _, test := range []struct {
			name, method, path, body string
			header                   http.Header
			status                   int
			code, param              string
		}{
			{name: "broken JSON", method: "POST", path: "/v1/responses", body: `{"input":`, status: 400, code: "invalid_value"},
			{name: "JSON that goes on", method: "POST", path: "/v1/responses", body: `{"input":"a"} x`, status: 400, code: "invalid_value"},
			{name: "no object", method: "POST", path: "/v1/conversations", body: `"a"`, status: 400, code: "invalid_value"},
			{name: "not UTF-8", method: "POST", path: "/v1/responses", body: "{\"input\":\"\xc3(\"}", status: 400, code: "invalid_text", param: "input"},
			{name: "a NUL", method: "POST", path: "/v1/responses", body: `{"input":"a\u0000"}`, status: 400, code: "invalid_text", param: "input"},

			{name: "too deep a schema", method: "POST", path: "/v1/responses", body: `{"input":"a","tools":[{"type":"function","name":"f","parameters":` + deep + `}]}`, status: 400, code: "invalid_value", param: "tools"},
			{name: "too deep a format", method: "POST", path: "/v1/responses", body: `{"input":"a","text":{"format":{"type":"json_schema","name":"f","schema":` + deep + `}}}`, status: 400, code: "invalid_value", param: "text"},
			{name: "a null in metadata", method: "POST", path: "/v1/responses", body: `{"input":"a","metadata":{"rack":null}}`, status: 400, code: "invalid_value", param: "metadata.rack"},
			{name: "a number in metadata", method: "POST", path: "/v1/conversations", body: `{"metadata":{"rack":2}}`, status: 400, code: "invalid_value", param: "metadata.rack"},
			{name: "too many pairs", method: "POST", path: "/v1/conversations/" + c, body: `{"metadata":{"` + strings.Join(strings.Split("abcdefghijklmnopq", ""), `":"","`) + `":""}}`, status: 400, code: "invalid_value", param: "metadata"},
			{name: "a head that is a string", method: "POST", path: "/v1/responses", body: `{"input":"a","conversation":{"id":"` + c + `","head":"7"}}`, status: 400, code: "invalid_value", param: "conversation.head"},
			{name: "an after that is a number", method: "POST", path: "/v1/responses", body: `{"input":"a","conversation":{"id":"` + c + `","after":7}}`, status: 400, code: "invalid_value", param: "conversation.after"},
			{name: "a list for a conversation", method: "POST", path: "/v1/responses", body: `{"input":"a","conversation":["` + c + `"]}`, status: 400, code: "invalid_value", param: "conversation"},
			{name: "a number in a reasoning", method: "POST", path: "/v1/responses", body: `{"input":[{"type":"reasoning","summary":[{"type":"summary_text","text":7}]}]}`, status: 400, code: "invalid_value", param: "input[0].summary[0].text"},
			{name: "an image that is not base64", method: "POST", path: "/v1/responses", body: message(`"content":[{"type":"input_image","image_url":"data:image/png;base64,@"}]`), status: 400, code: "invalid_value", param: "input[0].content[0].image_url"},
			{name: "an image from nowhere", method: "POST", path: "/v1/responses", body: message(`"content":[{"type":"input_image","image_url":"http://"}]`), status: 400, code: "invalid_value", param: "input[0].content[0].image_url"},
			{name: "an image on the disk", method: "POST", path: "/v1/responses", body: message(`"content":[{"type":"input_image","image_url":"file:///etc/passwd"}]`), status: 400, code: "invalid_value", param: "input[0].content[0].image_url"},
			{name: "text for items", method: "POST", path: "/v1/conversations", body: `{"items":"a"}`, status: 400, code: "invalid_value", param: "items"},
			{name: "text for more items", method: "POST", path: "/v1/conversations/" + c + "/items", body: `{"items":"a"}`, status: 400, code: "invalid_value", param: "items"},
			{name: "a long title", method: "POST", path: "/v1/conversations", body: `{"title":"` + strings.Repeat("é", 513) + `"}`, status: 400, code: "invalid_value", param: "title"},
			{name: "a long new title", method: "POST", path: "/v1/conversations/" + c, body: `{"title":"` + strings.Repeat("t", 513) + `"}`, status: 400, code: "invalid_value", param: "title"},

			{name: "an unknown role", method: "POST", path: "/v1/responses", body: `{"input":[{"role":"boss","content":"a"}]}`, status: 400, code: "invalid_value", param: "input[0].role"},
			{name: "an unknown truncation", method: "POST", path: "/v1/responses", body: `{"input":"a","truncation":"some"}`, status: 400, code: "invalid_value", param: "truncation"},
			{name: "an unknown item", method: "POST", path: "/v1/responses", body: `{"input":[{"type":"teleport"}]}`, status: 400, code: "unsupported_parameter", param: "input[0].type"},
			{name: "an unknown part", method: "POST", path: "/v1/responses", body: message(`"content":[{"type":"smell"}]`), status: 400, code: "unsupported_parameter", param: "input[0].content[0].type"},
			{name: "an unknown order", method: "GET", path: "/v1/conversations/" + c + "/items?order=up", status: 400, code: "invalid_value", param: "order"},
			{name: "an unknown stream", method: "GET", path: "/v1/responses/" + r + "?stream=maybe", status: 400, code: "invalid_value", param: "stream"},

			{name: "a number for a string", method: "POST", path: "/v1/responses", body: `{"input":"a","model":7}`, status: 400, code: "invalid_value", param: "model"},
			{name: "a string for a number", method: "POST", path: "/v1/responses", body: `{"input":"a","top_p":"all"}`, status: 400, code: "invalid_value", param: "top_p"},
			{name: "a string for a boolean", method: "POST", path: "/v1/responses", body: `{"input":"a","stream":"yes"}`, status: 400, code: "invalid_value", param: "stream"},
			{name: "a list for an object", method: "POST", path: "/v1/responses", body: `{"input":"a","metadata":[]}`, status: 400, code: "invalid_value", param: "metadata"},
			{name: "an object for input", method: "POST", path: "/v1/responses", body: `{"input":{}}`, status: 400, code: "invalid_value", param: "input"},
			{name: "a number for content", method: "POST", path: "/v1/responses", body: message(`"content":7`), status: 400, code: "invalid_value", param: "input[0].content"},
			{name: "a part without text", method: "POST", path: "/v1/responses", body: message(`"content":[{"type":"input_text"}]`), status: 400, code: "invalid_value", param: "input[0].content[0].text"},

			{name: "too large a number", method: "GET", path: "/v1/conversations?limit=101", status: 400, code: "invalid_value", param: "limit"},
			{name: "too small a number", method: "GET", path: "/v1/conversations/" + c + "/items?limit=0", status: 400, code: "invalid_value", param: "limit"},
			{name: "a fraction", method: "GET", path: "/v1/responses/" + r + "?stream=true&starting_after=1.5", status: 400, code: "invalid_value", param: "starting_after"},
			{name: "a word for an event", method: "GET", path: "/v1/responses/" + r + "?stream=true", header: http.Header{"Last-Event-Id": {"x"}}, status: 400, code: "invalid_value", param: "Last-Event-ID"},
			{name: "a long key of metadata", method: "POST", path: "/v1/conversations", body: `{"metadata":{"` + long + `":"v"}}`, status: 400, code: "invalid_value", param: "metadata"},
			{name: "a long key", method: "POST", path: "/v1/responses", body: `{"input":"a"}`, header: http.Header{"Idempotency-Key": {strings.Repeat("k", 256)}}, status: 400, code: "invalid_value", param: "Idempotency-Key"},
			{name: "a long key of a conversation", method: "POST", path: "/v1/conversations", body: `{}`, header: http.Header{"Idempotency-Key": {strings.Repeat("k", 256)}}, status: 400, code: "invalid_value", param: "Idempotency-Key"},
			{name: "a beginning without input", method: "POST", path: "/v1/responses", body: `{"conversation":{"id":"` + c + `","after":null}}`, status: 400, code: "invalid_value", param: "input"},
			{name: "an unknown conversation to ask in", method: "POST", path: "/v1/responses", body: `{"input":"a","conversation":"x"}`, status: 404, code: "not_found", param: "conversation"},
			{name: "an unknown field of a conversation", method: "POST", path: "/v1/conversations", body: `{"name":"x"}`, status: 400, code: "unknown_parameter", param: "name"},
			{name: "an unknown field of the field conversation", method: "POST", path: "/v1/responses", body: `{"input":"a","conversation":{"id":"` + c + `","afer":null,"x":1}}`, status: 400, code: "unknown_parameter", param: "conversation.x"},
			{name: "an unknown field of text", method: "POST", path: "/v1/responses", body: `{"input":"a","text":{"form":"x"}}`, status: 400, code: "unknown_parameter", param: "text.form"},
			{name: "an unknown field of a format", method: "POST", path: "/v1/responses", body: `{"input":"a","text":{"format":{"type":"text","x":1}}}`, status: 400, code: "unknown_parameter", param: "text.format.x"},
			{name: "an unknown field of reasoning", method: "POST", path: "/v1/responses", body: `{"input":"a","reasoning":{"efort":"low"}}`, status: 400, code: "unknown_parameter", param: "reasoning.efort"},
			{name: "an unknown field of a choice", method: "POST", path: "/v1/responses", body: `{"input":"a","tool_choice":{"type":"function","nam":"f"}}`, status: 400, code: "unknown_parameter", param: "tool_choice.nam"},
			{name: "an unknown parameter", method: "GET", path: "/v1/conversations?limt=3", status: 400, code: "unknown_parameter", param: "limt"},
			{name: "a parameter that would have made it another request", method: "DELETE", path: "/v1/conversations/" + c + "?undoo=10", status: 400, code: "unknown_parameter", param: "undoo"},
			{name: "an unknown field of a tool", method: "POST", path: "/v1/responses", body: `{"input":"a","tools":[{"type":"function","name":"f","paramters":{}}]}`, status: 400, code: "unknown_parameter", param: "tools[0].paramters"},
			{name: "a tool as Chat Completions has it", method: "POST", path: "/v1/responses", body: `{"input":"a","tools":[{"type":"function","function":{"name":"f"}}]}`, status: 400, code: "unknown_parameter", param: "tools[0].function"},
			{name: "an unknown field of the options of a stream", method: "POST", path: "/v1/responses", body: `{"input":"a","stream_options":{"include_usage":true}}`, status: 400, code: "unknown_parameter", param: "stream_options.include_usage"},
			{name: "something to be included that nobody knows", method: "GET", path: "/v1/responses/" + r + "?include[]=everything", status: 400, code: "invalid_value", param: "include"},
			{name: "items with something included that nobody knows", method: "GET", path: "/v1/conversations/" + c + "/items?include=everything", status: 400, code: "invalid_value", param: "include"},
			{name: "a word for a boolean", method: "GET", path: "/v1/responses/" + r + "?stream=true&include_obfuscation=some", status: 400, code: "invalid_value", param: "include_obfuscation"},
			{name: "a broken query", method: "DELETE", path: "/v1/conversations/" + c + "?undo=%zz", status: 400, code: "invalid_value"},
			{name: "an undo without its seconds", method: "DELETE", path: "/v1/conversations/" + c + "?undo=", status: 400, code: "invalid_value", param: "undo"},
			{name: "an unknown model", method: "POST", path: "/v1/responses", body: `{"input":"a","model":"gpt-0"}`, status: 400, code: "model_not_found", param: "model"},

			{name: "an unknown cursor", method: "GET", path: "/v1/conversations?after=conv_" + uuid, status: 400, code: "invalid_value", param: "after"},
			{name: "an unknown cursor back", method: "GET", path: "/v1/conversations?before=conv_x", status: 400, code: "invalid_value", param: "before"},
			{name: "an unknown item as cursor", method: "GET", path: "/v1/conversations/" + c + "/items?after=msg_" + uuid, status: 400, code: "invalid_value", param: "after"},

			{name: "an unknown conversation", method: "GET", path: "/v1/conversations/conv_" + uuid, status: 404, code: "not_found"},
			{name: "an unknown conversation's items", method: "GET", path: "/v1/conversations/conv_" + uuid + "/items", status: 404, code: "not_found"},
			{name: "deleting an unknown conversation", method: "DELETE", path: "/v1/conversations/conv_x", status: 404, code: "not_found"},
			{name: "changing an unknown conversation", method: "POST", path: "/v1/conversations/conv_" + uuid, body: `{"title":"a"}`, status: 404, code: "not_found"},
			{name: "an id of another kind", method: "GET", path: "/v1/conversations/" + r, status: 404, code: "not_found"},
			{name: "an unknown response", method: "GET", path: "/v1/responses/resp_" + uuid, status: 404, code: "not_found"},
			{name: "an unknown response's events", method: "GET", path: "/v1/responses/resp_" + uuid + "?stream=true", status: 404, code: "not_found"},
			{name: "cancelling an unknown response", method: "POST", path: "/v1/responses/resp_" + uuid + "/cancel", status: 404, code: "not_found"},
			{name: "going on from an unknown response", method: "POST", path: "/v1/responses", body: `{"input":"a","previous_response_id":"resp_` + uuid + `"}`, status: 404, code: "not_found", param: "previous_response_id"},
			{name: "answering in an unknown conversation", method: "POST", path: "/v1/responses", body: `{"input":"a","conversation":"conv_` + uuid + `"}`, status: 404, code: "not_found", param: "conversation"},
			{name: "an unknown path", method: "POST", path: "/v1/chat/completions", body: `{}`, status: 404, code: "unknown_url"},

			{name: "an impossible method", method: "PATCH", path: "/v1/conversations/" + c, status: 405, code: "method_not_allowed"},
			{name: "a compressed body", method: "POST", path: "/v1/responses", body: `{"input":"a"}`, header: http.Header{"Content-Encoding": {"gzip"}}, status: 415, code: "unsupported_media_type", param: "Content-Encoding"},
			{name: "a key that is not UTF-8", method: "POST", path: "/v1/responses", body: `{"input":"a"}`, header: http.Header{"Idempotency-Key": {"\xff"}}, status: 400, code: "invalid_text", param: "Idempotency-Key"},
			{name: "a form", method: "POST", path: "/v1/responses", body: `input=a`, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, status: 415, code: "unsupported_media_type", param: "Content-Type"},

			{name: "null", method: "POST", path: "/v1/conversations", body: `null`, status: 400, code: "invalid_value"},
			{name: "a field twice, deep at first", method: "POST", path: "/v1/responses", body: `{"input":"a","text":{"format":{"type":"json_schema","name":"f","schema":` + deep + `}},"text":null}`, status: 400, code: "invalid_value", param: "text"},
			{name: "a field twice, a NUL at first", method: "POST", path: "/v1/responses", body: `{"input":"a","metadata":{"a":"\u0000"},"metadata":null}`, status: 400, code: "invalid_value", param: "metadata"},
			{name: "a title twice", method: "POST", path: "/v1/conversations", body: `{"title":"\ud800","title":null}`, status: 400, code: "invalid_value", param: "title"},
			{name: "an empty question", method: "POST", path: "/v1/responses", body: `{"input":""}`, status: 400, code: "invalid_value", param: "input"},
			{name: "an empty part", method: "POST", path: "/v1/responses", body: message(`"content":[{"type":"input_text","text":""}]`), status: 400, code: "invalid_value", param: "input"},
			{name: "nothing but a thought", method: "POST", path: "/v1/responses", body: `{"input":[{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]}]}`, status: 400, code: "invalid_value", param: "input"},
			{name: "a function's odd name", method: "POST", path: "/v1/responses", body: `{"input":[{"type":"function_call","call_id":"c","name":"a b","arguments":"{}"}]}`, status: 400, code: "invalid_value", param: "input[0].name"},
			{name: "a call's long id", method: "POST", path: "/v1/responses", body: `{"input":[{"type":"function_call","call_id":"` + long + `","name":"f","arguments":"{}"}]}`, status: 400, code: "invalid_value", param: "input[0].call_id"},
			{name: "a call's long id beside its output", method: "POST", path: "/v1/conversations/" + c + "/items", body: `{"items":[{"type":"function_call_output","call_id":"` + long + `","output":""}]}`, status: 400, code: "invalid_value", param: "items[0].call_id"},
			{name: "a reference to nothing", method: "POST", path: "/v1/responses", body: `{"input":[{"type":"item_reference"}]}`, status: 400, code: "invalid_value", param: "input[0].id"},
			{name: "an image without a byte", method: "POST", path: "/v1/responses", body: message(`"content":[{"type":"input_image","image_url":"data:image/png;base64,"}]`), status: 400, code: "invalid_value", param: "input[0].content[0].image_url"},
			{name: "an old head", method: "POST", path: "/v1/conversations/" + c + "/items", body: `{"head":999,"items":[{"role":"user","content":"a"}]}`, status: 409, code: "conversation_conflict", param: "head"},
		} {
			if test.header == nil {
				test.header = http.Header{}
			}
			status, raw, header := s.send(test.method, test.path, test.body, test.header)
			o := decode(t, raw)
			if status != test.status || o.str("error", "code") != test.code || o.str("error", "param") != test.param {
				t.Errorf("%s is answered %d %s", test.name, status, raw)
			}
			if allow := header.Get("Allow"); status == 405 && allow != "GET, HEAD, POST, DELETE" {
				t.Errorf("%s: Allow is %q", test.name, allow)
			}
		}
	})
}

func TestConflictsAndLocks(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.ok("POST", "/v1/conversations", object{})
		ask := func(body object) (int, object, http.Header) {
			status, raw, header := s.raw("POST", "/v1/responses", body)
			return status, decode(t, raw), header
		}
		s.ok("POST", "/v1/responses", object{"input": "one", "conversation": c.str("id")})
		status, o, header := ask(object{"input": "two", "conversation": object{"id": c.str("id"), "head": c.at("head")}})
		if status != 409 || o.str("error", "code") != "conversation_conflict" || o.str("error", "param") != "conversation" || o.at("error", "head") == nil ||
			header.Get("X-Should-Retry") != "false" {
			t.Errorf("an old head is answered %d %v %v", status, o, header)
		}
		gate := llmtest.NewGate()
		defer gate.Open()
		s.model.Script(llmtest.Step{Gate: gate})
		s.ok("POST", "/v1/responses", object{"input": "three", "conversation": c.str("id"), "background": true})
		status, o, header = ask(object{"input": "four", "conversation": c.str("id")})
		if status != 400 || o.str("error", "code") != "conversation_locked" || o.str("error", "param") != "conversation" ||
			header.Get("X-Should-Retry") != "true" || header.Get("Retry-After-Ms") == "" {
			t.Errorf("while a reply runs it is answered %d %v %v", status, o, header)
		}
	})
}

func TestARequestThatIsTooLargeIsRefused(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		body := func(bytes int) string {
			const frame = `{"input":""}`
			return frame[:10] + strings.Repeat("x", bytes-len(frame)) + frame[10:]
		}
		s.ok("POST", "/v1/responses", body(maxRequest))
		if status, o := s.do("POST", "/v1/responses", body(maxRequest+1)); status != http.StatusRequestEntityTooLarge || o.str("error", "code") != "request_too_large" {
			t.Errorf("a byte more is answered %d %v", status, o)
		}
	})
}

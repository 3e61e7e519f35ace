package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/llm"
)

func TestAConversationsLife(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.ok("POST", "/v1/conversations", object{"metadata": object{"rack": "2"}, "title": "UPS", "items": []object{
			{"type": "message", "role": "developer", "content": "Speak plainly."},
			{"role": "user", "content": []object{{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}}}}})
		id := c.str("id")
		if c.str("object") != "conversation" || c.str("metadata", "rack") != "2" || c.str("title") != "UPS" || c.at("message_count") != 2.0 {
			t.Errorf("it is made as %v", c)
		}
		items := s.ok("GET", "/v1/conversations/"+id+"/items", nil)
		if items.str("data", 0, "content", 1, "text") != "two" || items.str("data", 1, "role") != "developer" {
			t.Errorf("its items are %v", items)
		}
		if c = s.ok("POST", "/v1/conversations/"+id, object{"title": "The UPS", "metadata": object{}}); c.str("title") != "The UPS" || len(c.at("metadata").(map[string]any)) != 0 {
			t.Errorf("it is renamed to %v", c)
		}
		if d := s.ok("DELETE", "/v1/conversations/"+id, nil); d.at("deleted") != true || d.str("id") != id {
			t.Errorf("it is deleted as %v", d)
		}
		if status, o := s.do("DELETE", "/v1/conversations/"+id, nil); status != 404 || o.str("error", "type") != "invalid_request_error" {
			t.Errorf("deleted twice: %d %v", status, o)
		}
	})
}

func TestListsArePaged(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		var made []string
		for range 7 {
			made = append([]string{s.conversation()}, made...)
		}
		s.ok("POST", "/v1/responses", object{"input": "hi", "conversation": made[6]}) // the oldest comes to the top
		made = append([]string{made[6]}, made[:6]...)
		var got []string
		path := "/v1/conversations?limit=3"
		for {
			page := s.ok("GET", path, nil)
			data := page.at("data").([]any)
			for i := range data {
				got = append(got, page.str("data", i, "id"))
			}
			if page.at("has_more") != true {
				break
			}
			path = "/v1/conversations?limit=3&after=" + page.str("last_id")
		}
		if !slices.Equal(got, made) {
			t.Errorf("the list is %q, not %q", got, made)
		}
		back := s.ok("GET", "/v1/conversations?limit=2&before="+made[4], nil)
		if back.str("data", 0, "id") != made[2] || back.str("data", 1, "id") != made[3] {
			t.Errorf("the page before is %v", back)
		}

		c := made[1]
		for i := range 3 {
			s.ok("POST", "/v1/responses", object{"input": fmt.Sprint("q", i), "conversation": c})
		}
		for order, want := range map[string][]string{
			"asc":  {"user: q0", "assistant: ok", "user: q1", "assistant: ok", "user: q2", "assistant: ok"},
			"desc": {"assistant: ok", "user: q2", "assistant: ok", "user: q1", "assistant: ok", "user: q0"}} {
			var got []string
			path := "/v1/conversations/" + c + "/items?limit=4&order=" + order
			for {
				page := s.ok("GET", path, nil)
				got = append(got, texts(page)...)
				if page.at("has_more") != true {
					break
				}
				path = "/v1/conversations/" + c + "/items?limit=4&order=" + order + "&after=" + page.str("last_id")
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s is %q", order, got)
			}
		}
	})
}

func TestBadRequestsNameTheField(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		nowhere := "conv_00000000-0000-7000-8000-000000000000"
		for _, test := range []struct {
			method, path string
			body         any
			status       int
			param        string
		}{
			{"POST", "/v1/responses", `{`, 400, ""},
			{"POST", "/v1/responses", `[]`, 400, ""},
			{"POST", "/v1/responses", `{}`, 400, "input"},
			{"POST", "/v1/responses", `{"input":7}`, 400, "input"},
			{"POST", "/v1/responses", `{"input":"a","temperature":"hot"}`, 400, "temperature"},
			{"POST", "/v1/responses", `{"input":"a","temperature":3}`, 400, "temperature"},
			{"POST", "/v1/responses", `{"input":"a","max_output_tokens":1}`, 400, "max_output_tokens"},
			{"POST", "/v1/responses", `{"input":"a","truncation":"some"}`, 400, "truncation"},
			{"POST", "/v1/responses", `{"input":"a","tools":[{"type":"function"}]}`, 400, "tools[0].name"},
			{"POST", "/v1/responses", `{"input":"a","model":"nope"}`, 400, "model"},
			{"POST", "/v1/responses", `{"input":"a","conversation":"` + nowhere + `"}`, 404, "conversation"},
			{"POST", "/v1/responses", `{"input":"a","conversation":"abc"}`, 404, "conversation"},
			{"POST", "/v1/responses", `{"input":"a","conversation":{}}`, 400, "conversation"},
			{"POST", "/v1/responses", `{"input":"a","previous_response_id":"resp_x"}`, 404, "previous_response_id"},
			{"POST", "/v1/responses", `{"input":"a","previous_response_id":"resp_x","conversation":"` + c + `"}`, 400, "previous_response_id"},
			{"POST", "/v1/responses", `{"input":[{"role":"boss","content":"a"}]}`, 400, "input[0].role"},
			{"POST", "/v1/responses", `{"input":[{"role":"user"}]}`, 400, "input[0].content"},
			{"POST", "/v1/responses", `{"input":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]}`, 400, "input[0].content[0].image_url"},
			{"POST", "/v1/responses", `{"input":[{"type":"function_call","name":"x"}]}`, 400, "input[0].call_id"},
			{"POST", "/v1/responses", `{"input":"a\u0000b"}`, 400, "input"},
			{"POST", "/v1/responses", `{"input":"a\ud800b"}`, 400, "input"},
			{"POST", "/v1/responses", `{"input":"a\udc00\ud800b"}`, 400, "input"},
			{"POST", "/v1/responses", "{\"instructions\":\"\xff\",\"input\":\"a\"}", 400, "instructions"},
			{"POST", "/v1/conversations", `{"title":"a\u0000"}`, 400, "title"},
			{"POST", "/v1/conversations", `{"metadata":{"k":"` + strings.Repeat("x", 513) + `"}}`, 400, "metadata.k"},
			{"GET", "/v1/conversations?limit=0", nil, 400, "limit"},
			{"GET", "/v1/conversations?limit=x", nil, 400, "limit"},
			{"GET", "/v1/conversations?after=" + nowhere, nil, 400, "after"},
			{"GET", "/v1/conversations/" + nowhere, nil, 404, ""},
			{"GET", "/v1/conversations/" + c[5:], nil, 404, ""},
			{"GET", "/v1/conversations/" + c + "/items?order=up", nil, 400, "order"},
			{"GET", "/v1/conversations/" + c + "/items?after=msg_x", nil, 400, "after"},
			{"GET", "/v1/responses/resp_x", nil, 404, ""},
			{"GET", "/v1/responses/resp_x?stream=true", nil, 404, ""},
			{"GET", "/v1/nothing", nil, 404, ""},
			{"PUT", "/v1/models", nil, 405, ""},
		} {
			status, o := s.do(test.method, test.path, test.body)
			if status != test.status || o.str("error", "param") != test.param || o.str("error", "message") == "" {
				t.Errorf("%s %s %v: %d %v; want %d and param %q", test.method, test.path, test.body, status, o, test.status, test.param)
			}
		}
		if got := s.ok("GET", "/v1/conversations/"+c, nil).at("message_count"); got != 0.0 {
			t.Errorf("a refused request left %v messages", got)
		}
		s.ok("POST", "/v1/responses", `{"input":"a \ud83d\ude00 \\ud800 b"}`) // a pair, and text that looks like an escape
	})
}

func TestModelsAreListed(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.SetModels("test-model", "hf.co/some/model:Q4")
		o := s.ok("GET", "/v1/models", nil)
		if o.str("data", 0, "id") != "test-model" || o.at("data", 0, "default") != true || o.str("data", 2, "id") != "offline" {
			t.Errorf("the models are %v", o)
		}
		if o := s.ok("GET", "/v1/models/hf.co%2Fsome%2Fmodel:Q4", nil); o.str("id") != "hf.co/some/model:Q4" {
			t.Errorf("one is %v", o)
		}
		if o := s.ok("GET", "/v1/models/test-model", nil); o["context_length"] != nil || o["vision"] != nil || o["tools"] != nil {
			t.Errorf("nobody said what it can do: %v", o)
		}
		if status, o := s.do("GET", "/v1/models/nope", nil); status != 404 {
			t.Errorf("one that is not there is answered %d %v", status, o)
		}
	})
}

func TestAModelSaysWhatItCanDo(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.model.SetInfos(llm.Info{ID: "test-model", ContextLength: 8192, Vision: new(false), Tools: new(true)})
		if o := s.ok("GET", "/v1/models/test-model", nil); o.at("context_length") != 8192.0 || o.at("vision") != false || o.at("tools") != true {
			t.Errorf("what it can do is %v", o)
		}
	})
}

func TestConversationsAreFoundByTheBeginningOfTheirIDs(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		one, other := s.conversation(), s.conversation()
		s.ok("POST", "/v1/conversations/"+other, object{"archived": true})
		ids := func(query string) (ids []string) {
			for _, c := range s.ok("GET", "/v1/conversations?prefix="+query, nil).at("data").([]any) {
				ids = append(ids, c.(map[string]any)["id"].(string))
			}
			return ids
		}
		both := []string{one, other}
		slices.Sort(both)
		for query, want := range map[string][]string{one: {one}, strings.TrimPrefix(one, "conv_"): {one}, other[:len(other)-1]: {other}, one[:9]: both,
			"conv_": both, one[:9] + "&limit=1": both[:1], "ffffffff": nil} {
			if got := ids(query); !slices.Equal(got, want) {
				t.Errorf("%s: %q, not %q", query, got, want)
			}
		}
		if page := s.ok("GET", "/v1/conversations?limit=1&prefix="+one[:9], nil); page.at("has_more") != true {
			t.Errorf("one of two: %v", page)
		}
		for query, param := range map[string]string{"what": "prefix", one + "0": "prefix", one + "&archived=true": "archived", one + "&limit=0": "limit"} {
			if status, o := s.do("GET", "/v1/conversations?prefix="+query, nil); status != 400 || o.str("error", "param") != param {
				t.Errorf("%s: %d %v", query, status, o)
			}
		}
	})
}

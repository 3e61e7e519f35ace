package apitest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// recorder is a test that notes what it is failed with.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func TestViolationsAreNamed(t *testing.T) {
	const conversation = `{"id":"conv_1","object":"conversation","created_at":1,"metadata":{},"title":"","model":"","message_count":0,"head":0,` +
		`"updated_at":1,"pinned":false,"archived":false,"running_response_id":null}`
	const item = `{"type":"message","id":"msg_1","status":"completed","role":"user","content":[{"type":"input_text","text":"a"}]}`
	const list = `{"object":"list","data":[%s],"first_id":null,"last_id":null,"has_more":false}`
	const stream = "text/event-stream"
	const event = "id: 4\nevent: response.output_text.delta\ndata: " + `{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1",` +
		`"output_index":0,"content_index":0,"delta":"a","logprobs":[]}` + "\n\n"
	for _, test := range []struct {
		name, method, path, asked string
		status                    int
		media, body               string
		want                      string // "" for no violation
	}{
		{name: "as described", path: "/v1/conversations/conv_1", body: conversation},
		{name: "a wrong type", path: "/v1/conversations/conv_1", body: strings.Replace(conversation, `"title":""`, `"title":7`, 1), want: "/title: got number, want string"},
		{name: "a field less", path: "/v1/conversations/conv_1", body: strings.Replace(conversation, `"head":0,`, ``, 1), want: "'head'"},
		{name: "a field more", path: "/v1/conversations/conv_1", body: strings.Replace(conversation, `{`, `{"more":1,`, 1), want: "'more'"},
		{name: "an item of a list", path: "/v1/conversations/conv_1/items", body: fmt.Sprintf(list, item)},
		{name: "a wrong item of a list", path: "/v1/conversations/conv_1/items", body: fmt.Sprintf(list, strings.Replace(item, `"a"`, `7`, 1)), want: "/data/0/content/0/text: got number"},
		{name: "an unknown type of item", path: "/v1/conversations/conv_1/items", body: fmt.Sprintf(list, strings.Replace(item, `message`, `massage`, 1)), want: "/data/0/type"},
		{name: "an error", path: "/v1/conversations/conv_1", status: 404, body: `{"error":{"type":"server_error","code":null,"message":"m","param":null}}`},
		{name: "an error without a param", path: "/v1/conversations/conv_1", status: 404, body: `{"error":{"type":"server_error","code":null,"message":"m"}}`, want: "'param'"},
		{name: "an error of no route", path: "/v1/nothing", status: 404, body: `{}`, want: "'error'"},
		{name: "an answer of no route", path: "/v1/nothing", body: `{}`, want: "not described"},
		{name: "a media type", path: "/v1/conversations/conv_1", media: "text/plain", body: conversation, want: "text/plain"},
		{name: "no JSON", path: "/v1/conversations/conv_1", body: `{`, want: "is not JSON"},
		{name: "an event", path: "/v1/responses/resp_1", media: stream, body: event + "data: [DONE]\n\n"},
		{name: "a wrong event", path: "/v1/responses/resp_1", media: stream, body: strings.Replace(event, `"delta":"a"`, `"delta":null`, 1), want: "/delta: got null"},
		{name: "an unknown event", path: "/v1/responses/resp_1", media: stream, body: strings.ReplaceAll(event, `output_text`, `output_smell`), want: "output_smell.delta is not described"},
		{name: "a gap", path: "/v1/responses/resp_1", media: stream, body: event + strings.NewReplacer("id: 4", "id: 6", `r":4`, `r":6`).Replace(event), want: "number 6, not 5"},
		{name: "another id", path: "/v1/responses/resp_1", media: stream, body: strings.Replace(event, "id: 4", "id: 5", 1), want: `id "5"`},
		{name: "half a frame", path: "/v1/responses/resp_1", media: stream, body: event + "data: {", want: "after the last frame"},
		{name: "a parameter", path: "/v1/conversations/conv_1/items?limit=3&include[]=x", body: fmt.Sprintf(list, item)},
		{name: "a parameter that is not described", path: "/v1/conversations/conv_1/items?colour=red", body: fmt.Sprintf(list, item), want: `"colour" is not described`},
		{name: "a request", method: "POST", path: "/v1/conversations", asked: `{"metadata":{"a":"b"},"other":1}`, body: conversation},
		{name: "a request that is not described", method: "POST", path: "/v1/conversations", asked: `{"metadata":{"a":7}}`, body: conversation, want: "what was asked /metadata/a"},
	} {
		if test.method == "" {
			test.method = "GET"
		}
		if test.status == 0 {
			test.status = 200
		}
		if test.media == "" {
			test.media = "application/json"
		}
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", test.media)
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		})
		r := &recorder{TB: t}
		Handler(r, handler).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(test.method, test.path, strings.NewReader(test.asked)))
		said := strings.Join(r.failures, "\n")
		if (said == "") != (test.want == "") || !strings.Contains(said, test.want) {
			t.Errorf("%s: it says %q, not %q", test.name, said, test.want)
		}
	}
}

// The published specification is held against too, where it is found.
func TestThePublishedSpecificationCounts(t *testing.T) {
	doc, err := published()
	if err != nil {
		t.Fatal(err)
	}
	if doc == nil {
		if path := os.Getenv("OPENRESPONSES_SPEC"); path != "" {
			t.Errorf("OPENRESPONSES_SPEC is %s, and nothing was read", path)
		}
		t.Log("the published specification is not here")
		return
	}
	list, err := doc.check(component("ResponseResource"), map[string]any{"id": "resp_1"})
	if err != nil || len(list) == 0 {
		t.Errorf("a response that is nearly empty violates %q (%v)", list, err)
	}
	for _, e := range exceptions {
		if e.reason == "" {
			t.Errorf("%v has no reason", e.path)
		}
	}
}

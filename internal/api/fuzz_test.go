package api

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/store"
)

// nowhere is a record in which nothing is.
type nowhere struct{ Record }

func (nowhere) FindMessage(context.Context, string) (store.Message, error) {
	return store.Message{}, store.ErrNotFound
}

func (nowhere) Place(context.Context, string, string) (store.Position, error) {
	return store.Position{}, store.ErrNotFound
}

func (nowhere) Summary(context.Context, string) (store.ConversationSummary, error) {
	return store.ConversationSummary{}, nil
}

func (nowhere) CreateConversationWith(context.Context, store.NewConversation) (string, error) {
	return store.NewID(), nil
}

func (nowhere) UpdateConversation(context.Context, string, store.ConversationChange) (store.ConversationSummary, error) {
	return store.ConversationSummary{}, nil
}

// echoing is an advisor that keeps what a record would keep, and says nothing.
type echoing struct {
	Advisor
	t    *testing.T
	kept store.Response
}

func (e *echoing) Ask(_ context.Context, q advisor.Question) (store.Response, error) {
	if err := store.CheckMessages(q.Input); err != nil {
		return store.Response{}, err
	}
	for _, in := range q.Input {
		if role := store.BadRole(in.Role); role != "" {
			e.t.Errorf("a message has the role %q", role)
		}
		m := store.Message{ID: store.NewID(), Role: in.Role, Content: in.Content, Item: in.Item, Status: store.MessageCompleted}
		item, err := newItem(m)
		if err != nil {
			e.t.Errorf("the item %s cannot be read again: %v", in.Item, err)
		}
		if err := store.CheckText("item", string(marshal(item))); err != nil {
			e.t.Error(err)
		}
	}
	for _, tool := range q.Tools {
		if !toolName.MatchString(tool.Name) {
			e.t.Errorf("a tool has the name %q", tool.Name)
		}
	}
	e.kept = store.Response{ID: store.NewID(), Request: q.Request, Status: store.ResponseCompleted, EndedAt: time.Now()}
	return e.kept, nil
}

func (e *echoing) Answer(ctx context.Context, q advisor.Question) iter.Seq2[advisor.Step, error] {
	return func(yield func(advisor.Step, error) bool) {
		r, err := e.Ask(ctx, q)
		yield(advisor.Step{Response: r}, err)
	}
}

func (e *echoing) Follow(context.Context, string, int) iter.Seq2[advisor.Step, error] {
	return func(yield func(advisor.Step, error) bool) { yield(advisor.Step{Response: e.kept}, nil) }
}

func (e *echoing) Ended(context.Context, string) (store.Response, []store.Delta, error) {
	return e.kept, nil, nil
}

func (nowhere) ReadLog(context.Context, string, int) (store.Response, []store.Delta, error) {
	return store.Response{ID: store.NewID(), Request: json.RawMessage("{}"), Status: store.ResponseInProgress}, nil, nil
}

// Whatever a client sends, it gets an answer that says what is wrong with it, and what is kept can be read again.
func FuzzCreateResponse(f *testing.F) {
	for _, seed := range []string{
		`{"input":"hi"}`,
		`{"input":"hi","stream":true,"store":false,"instructions":null,"metadata":{"a":"b"},"temperature":0.5,"top_p":1,"max_output_tokens":16}`,
		`{"input":[{"role":"developer","content":"a"},{"type":"message","role":"user","content":[{"type":"input_text","text":"a"},` +
			`{"type":"input_image","image_url":"data:image/png;base64,AA==","detail":"low"},{"type":"input_file","filename":"a","file_data":"YQ=="}]}]}`,
		`{"input":[{"role":"assistant","content":[{"type":"output_text","text":"a","annotations":[]},{"type":"refusal","refusal":"no"}]}],"background":true}`,
		`{"input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"x"}]},` +
			`{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"content":[{"type":"reasoning_text","text":"hm"}],"encrypted_content":"x"}]}`,
		`{"input":[{"type":"item_reference","id":"msg_0"},{"id":"fc_1"}]}`,
		`{"input":"a","tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]}}`,
		`{"input":"a","text":{"format":{"type":"json_schema","name":"a","schema":{},"strict":null},"verbosity":"low"},"reasoning":{"effort":"low","summary":"auto"},"truncation":"auto"}`,
		`{"input":"a","conversation":{"id":"conv_0","head":1},"previous_response_id":"","include":[],"stream_options":{},"service_tier":"auto","user":"u"}`,
		`{"input":"a","conversation":{"id":"conv_0","after":null}}`, `{"conversation":{"id":"conv_0","after":"msg_0"}}`, `{"conversation":{"id":"conv_0","after":7}}`,
		`{"input":"\ud800"}`, "{\"input\":\"\xff\"}", `{"input":"\u0000"}`, `{"input":[[[[{}]]]]}`, `[]`, `{`, `null`, `{"input":"a","INPUT":7}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		handler := New(Config{Record: nowhere{}, Advisor: &echoing{t: t}, Log: slog.New(slog.DiscardHandler)})
		answer := httptest.NewRecorder()
		request := httptest.NewRequest("POST", "/v1/responses", bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		handler.ServeHTTP(answer, request)
		var o struct {
			Object string
			Error  *struct{ Message string }
		}
		switch answer.Code {
		case 200:
			if answer.Header().Get("Content-Type") != "text/event-stream" && (json.Unmarshal(answer.Body.Bytes(), &o) != nil || o.Object != "response") {
				t.Errorf("the answer is %s", answer.Body)
			}
		case 400, 404, 413:
			if json.Unmarshal(answer.Body.Bytes(), &o) != nil || o.Error == nil || o.Error.Message == "" {
				t.Errorf("the error is %s", answer.Body)
			}
		default:
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
	})
}

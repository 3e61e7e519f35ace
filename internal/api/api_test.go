package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/api"
	"git.georgsen.dk/hwlab/internal/api/apitest"
	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

func TestMain(m *testing.M) { testpg.Main(m) }

// server is the API on a record, with a scripted model.
type server struct {
	t      *testing.T
	url    string
	record testrecord.Record
	model  *llmtest.Fake
	api    http.Handler // what url serves
	stop   func()
}

// maxRequest is the largest request that a server reads.
const maxRequest = 4 << 20

// start serves record as the server of id.
func start(t *testing.T, record testrecord.Record, id string, notes *lab.Lab) *server {
	model := llmtest.New("test-model")
	return startWith(t, record, id, notes, model, model)
}

// startWith reaches the model through a provider.
func startWith(t *testing.T, record testrecord.Record, id string, notes *lab.Lab, model *llmtest.Fake, provider llm.Provider) *server {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	offline := llm.NewOffline(log, advisor.NotesLibrary{Notes: notes}, advisor.ConversationLibrary{Record: record})
	models := llm.NewCatalog(llm.CatalogConfig{Sources: []llm.Source{{Name: "test", Provider: provider}}, Offline: offline, Log: log})
	replies, err := advisor.Start(t.Context(), advisor.Config{Record: record, Models: models, Notes: notes, ServerID: id, Log: log,
		Heartbeat: 100 * time.Millisecond, DeadAfter: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	handler := api.New(api.Config{Record: record, Advisor: replies, Models: models, Notes: notes, Log: log, MaxRequest: maxRequest})
	web := httptest.NewServer(apitest.Handler(t, handler))
	s := &server{t: t, url: web.URL, record: record, model: model, api: handler}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := replies.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		web.Close()
		models.Close()
	}
	t.Cleanup(s.stop)
	return s
}

// each runs test against a server on each engine.
func each(t *testing.T, test func(t *testing.T, s *server)) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) { test(t, start(t, r, store.NewID(), lab.New("", 0))) })
}

// object is a JSON object as a client sees it.
type object map[string]any

func decode(t *testing.T, raw []byte) object {
	t.Helper()
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return o
}

// at follows keys and indexes into an object; nil where there is nothing.
func (o object) at(path ...any) any {
	var v any = map[string]any(o)
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func (o object) str(path ...any) string {
	s, _ := o.at(path...).(string)
	return s
}

// do sends a request and returns the answer's status and body.
func (s *server) do(method, path string, body any) (int, object) {
	s.t.Helper()
	status, raw, _ := s.raw(method, path, body)
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		s.t.Fatalf("%s %s: %d %q is not a JSON object", method, path, status, raw)
	}
	return status, o
}

func (s *server) raw(method, path string, body any) (int, []byte, http.Header) {
	s.t.Helper()
	return s.send(method, path, body, nil)
}

func (s *server) send(method, path string, body any, header http.Header) (int, []byte, http.Header) {
	s.t.Helper()
	var reader io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(body)
	default:
		text, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if header != nil {
		request.Header = header
	}
	if body != nil && request.Header.Get("Content-Type") == "" {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, raw, answer.Header
}

// ok is do for a request that must be answered with 200.
func (s *server) ok(method, path string, body any) object {
	s.t.Helper()
	status, o := s.do(method, path, body)
	if status != http.StatusOK {
		s.t.Fatalf("%s %s: %d %v", method, path, status, o)
	}
	return o
}

// conversation makes one and returns its id.
func (s *server) conversation() string {
	s.t.Helper()
	return s.ok("POST", "/v1/conversations", object{}).str("id")
}

// stream is an open event stream.
type stream struct {
	t      *testing.T
	lines  *bufio.Scanner
	Close  func() error
	status int
}

func (s *server) stream(method, path string, body any) *stream {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	if got := answer.Header.Get("Content-Type"); got != "text/event-stream" {
		raw, _ := io.ReadAll(answer.Body)
		s.t.Fatalf("%s %s: %d %s %s", method, path, answer.StatusCode, got, raw)
	}
	s.t.Cleanup(func() { answer.Body.Close() })
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 64<<20)
	return &stream{t: s.t, lines: lines, Close: answer.Body.Close, status: answer.StatusCode}
}

// next returns the next event, or nil at the end of the stream.
func (s *stream) next() object {
	s.t.Helper()
	name := ""
	for s.lines.Scan() {
		line := s.lines.Text()
		if rest, ok := strings.CutPrefix(line, "event: "); ok {
			name = rest
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var o object
		if err := json.Unmarshal([]byte(data), &o); err != nil {
			s.t.Fatalf("event %q: %v", data, err)
		}
		if o.str("type") != name {
			s.t.Fatalf("event %q has type %q", name, o.str("type"))
		}
		return o
	}
	return nil
}

// rest returns the events to the end of the stream.
func (s *stream) rest() []object {
	s.t.Helper()
	var list []object
	for o := s.next(); o != nil; o = s.next() {
		list = append(list, o)
	}
	return list
}

// until returns the events up to the first of the type.
func (s *stream) until(kind string) []object {
	s.t.Helper()
	var list []object
	for o := s.next(); o != nil; o = s.next() {
		list = append(list, o)
		if o.str("type") == kind {
			return list
		}
	}
	s.t.Fatalf("the stream ended without a %s", kind)
	return nil
}

// shown is the text that events show.
func shown(events []object) string {
	text := ""
	for _, e := range events {
		if e.str("type") == "response.output_text.delta" {
			text += e.str("delta")
		}
	}
	return text
}

// types are the types of events, runs of the same one once.
func types(events []object) string {
	var list []string
	for _, e := range events {
		if kind := strings.TrimPrefix(e.str("type"), "response."); len(list) == 0 || list[len(list)-1] != kind {
			list = append(list, kind)
		}
	}
	return strings.Join(list, " ")
}

// texts are "role: text" of a list of items.
func texts(items object) []string {
	var list []string
	data, _ := items.at("data").([]any)
	for i := range data {
		list = append(list, fmt.Sprintf("%s: %s", items.str("data", i, "role"), items.str("data", i, "content", 0, "text")))
	}
	return list
}

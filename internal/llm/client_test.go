package llm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
)

// serve starts a server that answers everything with handler, and a client of it.
func serve(t testing.TB, handler http.HandlerFunc) *llm.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return dial(t, server.URL+"/v1")
}

func dial(t testing.TB, url string) *llm.Client {
	t.Helper()
	client, err := llm.NewClient(llm.ClientConfig{BaseURL: url, APIKey: "sk-secret", Remedy: "start Ollama"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// reply is all there is in a stream. It fails the test when the stream breaks its contract.
type reply struct {
	text      string
	reasoning string
	refusal   string
	calls     []llm.Call // put together
	deltas    []string
	finish    string
	usage     *llm.Usage
	err       error
}

func collect(t testing.TB, p llm.Provider, req llm.Request) reply {
	t.Helper()
	var r reply
	for d, err := range p.Stream(t.Context(), req) {
		if r.err != nil || r.finish != "" {
			t.Fatalf("the stream went on after its end: %+v, %v", d, err)
		}
		r.err, r.finish = err, d.Finish
		if d.Text != "" {
			r.text += d.Text
			r.deltas = append(r.deltas, d.Text)
		}
		r.reasoning, r.refusal = r.reasoning+d.Reasoning, r.refusal+d.Refusal
		if c := d.Call; c != nil && c.Index == len(r.calls) && c.ID != "" && c.Name != "" {
			r.calls = append(r.calls, *c)
		} else if c != nil && c.Index < len(r.calls) && c.ID == "" && c.Name == "" && c.Arguments != "" {
			r.calls[c.Index].Arguments += c.Arguments
		} else if c != nil {
			t.Fatalf("the piece %+v follows %+v", c, r.calls)
		}
		if d.Usage != nil {
			r.usage = d.Usage
		}
	}
	if (r.err == nil) == (r.finish == "") {
		t.Fatalf("a stream ends with a finish or an error, not with %q and %v", r.finish, r.err)
	}
	return r
}

func ask(text string) llm.Request {
	return llm.Request{Model: "m", Messages: []llm.Message{{Role: llm.RoleUser, Text: text}}}
}

func events(lines ...string) string { return strings.Join(lines, "\n\n") + "\n\n" }

const (
	hello = `data: {"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}`
	world = `data: {"choices":[{"index":0,"delta":{"content":" world"}}]}`
	stop  = `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	done  = `data: [DONE]`
)

func TestStreamToleratesWhatServersSend(t *testing.T) {
	usage := `{"prompt_tokens":7,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}}`
	tests := []struct {
		name, wire, kind string
		text, finish     string
		usage            *llm.Usage
		code, message    string // of the error; message is a part of it
	}{
		{name: "OpenAI: role first, usage last without choices",
			wire: events(`data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`, hello, world, stop,
				`data: {"choices":[],"usage":`+usage+`}`, done),
			text: "Hello world", finish: "stop", usage: &llm.Usage{InputTokens: 7, CachedTokens: 3, OutputTokens: 5, ReasoningTokens: 2}},
		{name: "vLLM: usage null, then in every chunk",
			wire: events(`data: {"choices":[{"delta":{"content":"Hello"}}],"usage":null}`,
				`data: {"choices":[{"delta":{"content":"!"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`,
				`data: {"choices":[{"delta":{"content":""},"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`, done),
			text: "Hello!", finish: "length", usage: &llm.Usage{InputTokens: 1, OutputTokens: 2}},
		{name: "OpenRouter: comments before, between and after", wire: events(": PROCESSING", ": PROCESSING", hello, ": ping", world, stop, done),
			text: "Hello world", finish: "stop"},
		{name: "a thousand pings", wire: strings.Repeat(":\n\n", 1000) + events(hello, stop, done), text: "Hello", finish: "stop"},
		{name: "ids, events, retries and empty data", wire: events("retry: 3", "id: 1\nevent: message\n"+hello, "data:", "data: ", stop, done),
			text: "Hello", finish: "stop"},
		{name: "carriage returns and no space", wire: strings.ReplaceAll(strings.ReplaceAll(events(hello, stop, done), "data: ", "data:"), "\n", "\r\n"),
			text: "Hello", finish: "stop"},
		{name: "no blank lines", wire: strings.Join([]string{hello, world, stop, done}, "\n") + "\n", text: "Hello world", finish: "stop"},
		{name: "no newline after the last line", wire: hello + "\n\n" + stop, text: "Hello", finish: "stop"},
		{name: "finished without [DONE]", wire: events(hello, stop), text: "Hello", finish: "stop"},
		{name: "[DONE] without a finish", wire: events(hello, done), text: "Hello", finish: "stop"},
		{name: "text after the finish", wire: events(hello, stop, world, stop, done), text: "Hello world", finish: "stop"},
		{name: "reasoning is not the reply",
			wire: events(`data: {"choices":[{"delta":{"reasoning_content":"hm","content":null}}]}`,
				`data: {"choices":[{"delta":{"reasoning":"hm","content":""}}]}`,
				`data: {"choices":[{"delta":{"reasoning_details":[{"text":"hm"}]}}]}`, hello, stop, done),
			text: "Hello", finish: "stop"},
		{name: "Mistral: content in parts", wire: events(
			`data: {"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"Hello"}]}}]}`, stop, done),
			text: "Hello", finish: "stop"},
		{name: "only the first choice", wire: events(hello, `data: {"choices":[{"index":1,"delta":{"content":"x"},"finish_reason":"length"}]}`, stop, done),
			text: "Hello", finish: "stop"},
		{name: "empty errors", wire: events(`data: {"choices":[{"delta":{"content":"Hello"}}],"error":null}`, `data: {"error":{},"choices":[]}`, stop, done),
			text: "Hello", finish: "stop"},
		{name: "a server that does not stream", kind: "application/json",
			wire: `{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`,
			text: "Hello", finish: "stop", usage: &llm.Usage{InputTokens: 1, OutputTokens: 1}},

		{name: "llama.cpp: an error frame", wire: events(hello, `data: {"error":{"code":500,"message":"out of memory","type":"server_error"}}`, done),
			text: "Hello", code: "server_error", message: "out of memory"},
		{name: "llama.cpp until 2025: an error line", wire: events(": ping", `error: {"code":400,"message":"exceeds the context size","type":"invalid_request_error"}`, done),
			code: llm.CodeContextExceeded, message: "exceeds the context size"},
		{name: "Ollama: an error that is text", wire: events(hello, `data: {"error":"model runner has stopped"}`),
			text: "Hello", message: "model runner has stopped"},
		{name: "vLLM: an error object", wire: events(hello, `data: {"id":"x","error":{"message":"engine dead","code":"engine"}}`, done),
			text: "Hello", code: "engine", message: "engine dead"},
		{name: "an error event", wire: events(hello, "event: error\n"+`data: {"message":"overloaded","type":"overloaded_error"}`),
			text: "Hello", code: "overloaded_error", message: "overloaded"},
		{name: "bare JSON amid the events", wire: events(hello, `{"error":{"message":"boom"}}`), text: "Hello", message: "boom"},
		{name: "an error after usage", wire: events(hello, `data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, `data: {"error":"boom"}`),
			text: "Hello", usage: &llm.Usage{InputTokens: 1, OutputTokens: 1}, message: "boom"},
		{name: "an error in a 200 without a stream", kind: "application/json", wire: `{"error":{"message":"no such model","code":"model_not_found"}}`,
			code: "model_not_found", message: "no such model"},
		{name: "the stream just ends", wire: events(hello, world), text: "Hello world", code: llm.CodeTruncated, message: "ask again"},
		{name: "an empty answer", wire: "", code: llm.CodeTruncated, message: "ended"},
		{name: "half a frame", wire: hello + "\n\n" + `data: {"choices":[{"del`, text: "Hello", code: llm.CodeBadResponse, message: `{"choices":[{"del`},
		{name: "a web page", kind: "text/html; charset=utf-8", wire: "<html>Sign in</html>", code: llm.CodeBadResponse, message: "ends in /v1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.kind)
				if test.kind == "" {
					w.Header().Set("Content-Type", "text/event-stream")
				}
				io.WriteString(w, test.wire)
			})
			got := collect(t, client, ask("hi"))
			if got.text != test.text || got.finish != test.finish {
				t.Errorf("got %q, %q; want %q, %q (error: %v)", got.text, got.finish, test.text, test.finish, got.err)
			}
			if (got.usage == nil) != (test.usage == nil) || got.usage != nil && *got.usage != *test.usage {
				t.Errorf("usage %+v, want %+v", got.usage, test.usage)
			}
			if test.finish != "" {
				return
			}
			var known *llm.Error
			if !errors.As(got.err, &known) {
				t.Fatalf("want an *llm.Error, got %v", got.err)
			}
			if known.Code != test.code || !strings.Contains(known.Message, test.message) || known.Where != client.BaseURL() {
				t.Errorf("got %+v, want code %q and %q in the message", known, test.code, test.message)
			}
		})
	}
}

func TestStreamKeepsBytes(t *testing.T) {
	frame := func(inside string) string { return `data: {"choices":[{"delta":{"content":"` + inside + `"}}]}` }
	tests := []struct {
		name   string
		wire   []string
		deltas []string
	}{
		{"a character split into raw bytes", []string{frame("a\xe2"), frame("\x82"), frame("\xacb")}, []string{"a", "€b"}},
		{"an emoji split into surrogates", []string{frame(`a\ud83d`), frame(`\ude00b`)}, []string{"a", "😀b"}},
		{"escapes", []string{frame(`\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00`)}, []string{"\"\\/\b\f\n\r\té😀"}},
		{"NUL", []string{frame(`a\u0000b`)}, []string{"a\x00b"}},
		{"bytes that are no UTF-8", []string{frame("a\xff\xfeb\xc3"), frame("(")}, []string{"a\xff\xfeb", "\xc3("}},
		{"a character that never ends", []string{frame("a\xe2\x82")}, []string{"a", "\xe2\x82"}},
		{"a surrogate that stays alone", []string{frame(`\ud83d`), frame("x")}, []string{"\xed\xa0\xbdx"}},
		{"surrogates in the wrong order", []string{frame(`\ude00\ud83d`)}, []string{"\xed\xb8\x80", "\xed\xa0\xbd"}},
		{"a line of 3 MB", []string{frame(strings.Repeat("0123456789", 300_000))}, []string{strings.Repeat("0123456789", 300_000)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, events(append(test.wire, stop, done)...))
			})
			if got := collect(t, client, ask("hi")); got.err != nil || !slices.Equal(got.deltas, test.deltas) {
				t.Errorf("got %.80q, %v; want %.80q", got.deltas, got.err, test.deltas)
			}
		})
	}
}

// For any text, cut anywhere and written in pieces of any size, what arrives is the text, in whole characters.
func TestTextArrivesWholeHoweverItIsCut(t *testing.T) {
	var mu sync.Mutex
	var wire []string
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for _, piece := range wire {
			io.WriteString(w, piece)
			http.NewResponseController(w).Flush()
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		source := rapid.StringOfN(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune("aé€😀\x00\"\\\n\u2028"))), 0, 60, -1).Draw(rt, "source")
		stream := ""
		for rest := source; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "frame")
			quoted := strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(rest[:n])
			for c := range rune(0x20) {
				quoted = strings.ReplaceAll(quoted, string(c), fmt.Sprintf(`\u%04x`, c))
			}
			stream += `data: {"choices":[{"delta":{"content":"` + quoted + `"}}]}` + "\n\n"
			rest = rest[n:]
		}
		stream += events(stop, done)
		mu.Lock()
		for wire = nil; stream != ""; {
			n := rapid.IntRange(1, len(stream)).Draw(rt, "write")
			wire, stream = append(wire, stream[:n]), stream[n:]
		}
		mu.Unlock()
		got := collect(t, client, ask("hi"))
		if got.err != nil || got.text != source {
			rt.Fatalf("got %q, %v; want %q", got.text, got.err, source)
		}
		for _, d := range got.deltas {
			if !utf8.ValidString(d) {
				rt.Fatalf("a delta breaks a character: %q", d)
			}
		}
	})
}

func TestStreamSendsTheRequest(t *testing.T) {
	var got string
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + string(body)
		io.WriteString(w, events(hello, stop, done))
	})
	zero, most := 0.0, 100
	collect(t, client, llm.Request{Model: "m", Options: llm.Options{Temperature: &zero, MaxOutputTokens: &most}, Messages: []llm.Message{
		{Role: llm.RoleSystem, Text: "Be brief."}, {Role: llm.RoleSystem, Text: "Be right."}, {Role: llm.RoleAssistant, Text: ""},
		{Role: llm.RoleUser, Text: "hi"}, {Role: llm.RoleSystem, Text: "Now."}}})
	want := `POST /v1/chat/completions Bearer sk-secret {"model":"m","messages":[{"role":"system","content":"Be brief.\n\nBe right."},` +
		`{"role":"user","content":"hi"},{"role":"system","content":"Now."}],"stream":true,"stream_options":{"include_usage":true},"temperature":0,"max_tokens":100}`
	if got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}

func TestRefusedParametersAreLeftOutOnce(t *testing.T) {
	tests := []struct{ name, refuses, says string }{
		{"stream_options", `"stream_options"`, `{"detail":"Unknown field: stream_options"}`},
		{"max_tokens", `"max_tokens"`, `{"error":{"message":"Use 'max_completion_tokens' instead.","param":"max_tokens","code":"unsupported_parameter"}}`},
		{"no thinking", `"chat_template_kwargs"`, `{"error":{"message":"Unknown parameter","param":"chat_template_kwargs","code":"unknown_parameter"}}`},
		{"all", ``, `{"error":{"message":"the prompt is too long","type":"exceed_context_size_error","code":400}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var bodies []string
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				bodies = append(bodies, string(body))
				if strings.Contains(string(body), test.refuses) {
					w.WriteHeader(http.StatusBadRequest)
					io.WriteString(w, test.says)
					return
				}
				io.WriteString(w, events(hello, stop, done))
			})
			most := 100
			got := collect(t, client, llm.Request{Model: "m", Options: llm.Options{MaxOutputTokens: &most}, NoThinking: true, Messages: ask("hi").Messages})
			if want := min(2, 1+len(test.refuses)); len(bodies) != want {
				t.Fatalf("%d requests, want %d", len(bodies), want)
			}
			if test.refuses != "" {
				if got.text != "Hello" || !strings.Contains(bodies[1], "tokens\":100") {
					t.Errorf("got %+v after %s", got, bodies[1])
				}
				return
			}
			var known *llm.Error
			if !errors.As(got.err, &known) || known.Status != 400 || known.Code != llm.CodeContextExceeded {
				t.Errorf("got %v", got.err)
			}
		})
	}
}

func TestErrorsAreFitToShow(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"OpenAI", 429, `{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`, "Rate limit reached (HTTP 429)"},
		{"the key in the message", 401, `{"error":{"message":"Incorrect API key provided: sk-secret"}}`, "Incorrect API key provided: [hidden]; check the API key (HTTP 401)"},
		{"Ollama", 404, `{"error":{"message":"model \"x\" not found, try pulling it first","type":"not_found_error"}}`, `model "x" not found, try pulling it first (HTTP 404)`},
		{"FastAPI", 500, `{"detail":"Internal"}`, "Internal (HTTP 500)"},
		{"FastAPI's validation", 500, `{"detail":[{"msg":"bad"}]}`, `[{"msg":"bad"}] (HTTP 500)`},
		{"a list of messages", 500, `{"error":{"message":["a","b"]}}`, `["a","b"] (HTTP 500)`},
		{"plain text", 503, "Loading\n  model\x00\x1b", "Loading model (HTTP 503)"},
		{"a proxy's page", 502, "<html><h1>Bad gateway</h1></html>", "Bad Gateway (HTTP 502)"},
		{"nothing", 404, "", "Not Found; check the base URL, which usually ends in /v1 (HTTP 404)"},
		{"too much", 500, strings.Repeat("é", 5000), strings.Repeat("é", 1000) + "… (HTTP 500)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			})
			want := "model server at " + client.BaseURL() + ": " + test.want
			if got := collect(t, client, ask("hi")); got.err.Error() != want {
				t.Errorf("got  %v\nwant %s", got.err, want)
			}
			if _, err := client.Models(t.Context()); err == nil || err.Error() != want {
				t.Errorf("Models: got %v", err)
			}
		})
	}
}

func TestAShortKeyIsHiddenWhereItStandsAlone(t *testing.T) {
	for key, want := range map[string]string{"x": "[hidden] is max [hidden]+[hidden]. x_x", "!x": "x is max x+x. x_x", "max": "x is [hidden] x+x. x_x"} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			io.WriteString(w, `{"error":{"message":"x is max x+x. x_x","code":"context_length_exceeded"}}`)
		})
		client, err := llm.NewClient(llm.ClientConfig{BaseURL: server.BaseURL(), APIKey: key})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		var known *llm.Error
		if got := collect(t, client, ask("hi")); !errors.As(got.err, &known) || known.Message != want || known.Code != llm.CodeContextExceeded {
			t.Errorf("with %q: %v", key, got.err)
		}
	}
}

func TestUnreachableServerIsNamedWithoutItsCredentials(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close() // nobody listens at its address now
	host := strings.TrimPrefix(server.URL, "http://")
	client := dial(t, "http://admin:hunter2@"+host+"/v1?token=abc")
	want := "model server at http://" + host + "/v1: connection refused; start Ollama"
	_, err := client.Models(t.Context())
	for _, err := range []error{err, collect(t, client, ask("hi")).err} {
		var known *llm.Error
		if !errors.As(err, &known) || known.Code != llm.CodeUnreachable || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// failing is a transport on which nothing works.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func TestNetworkFailuresAreInPlainWords(t *testing.T) {
	tests := []struct {
		cause error
		want  string
	}{
		{&net.DNSError{Err: "no such host", Name: "nas.lan", IsNotFound: true}, "no such host: nas.lan; start it or correct its address"},
		{os.ErrDeadlineExceeded, "no answer in time; start it or correct its address"},
		{errors.New("tls: bad certificate for hunter2"), "tls: bad certificate for [hidden]; start it or correct its address"},
	}
	for _, test := range tests {
		client, err := llm.NewClient(llm.ClientConfig{BaseURL: "http://admin:hunter2@nas.lan/v1/", Transport: failing{test.cause}})
		if err != nil {
			t.Fatal(err)
		}
		want := "model server at http://nas.lan/v1: " + test.want
		if _, err := client.Models(t.Context()); !errors.Is(err, test.cause) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestModelsThatAreNoListAreExplained(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })
	if _, err := client.Models(t.Context()); err == nil || !strings.Contains(err.Error(), "ends in /v1") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	client = serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		cancel() // in the middle of the body
		<-r.Context().Done()
	})
	if _, err := client.Models(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestALineWithoutEndIsGivenUp(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				return
			}
		}
	})
	var known *llm.Error
	if got := collect(t, client, ask("hi")); !errors.As(got.err, &known) || known.Code != llm.CodeBadResponse {
		t.Errorf("got %v", got.err)
	}
}

func TestNewClientRefusesWhatIsNoBaseURL(t *testing.T) {
	for _, url := range []string{"", "localhost:11434", "ftp://host/v1", "http://", "http://user:hunter2@%zz"} {
		if _, err := llm.NewClient(llm.ClientConfig{BaseURL: url}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v", url, err)
		}
	}
}

func TestCancellingEndsTheRequest(t *testing.T) {
	fake := llmtest.New("m")
	server := llmtest.NewServer(fake)
	t.Cleanup(server.Close)
	client := dial(t, server.URL+"/v1")
	for name, stopReading := range map[string]bool{"by leaving the loop": true, "by the context": false} {
		t.Run(name, func(t *testing.T) {
			gate := llmtest.NewGate()
			fake.Script(llmtest.Step{Text: "Hello"}, llmtest.Step{Gate: gate}, llmtest.Step{Text: " world"})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var last error
			for _, err := range client.Stream(ctx, ask("hi")) {
				<-gate.Reached()
				if stopReading {
					break
				}
				last = err
				cancel()
			}
			if !stopReading && !errors.Is(last, context.Canceled) {
				t.Errorf("got %v", last)
			}
		})
	}
	// The gates were never opened: the server's Close, which waits for its handlers, shows that they were cancelled.
}

func TestABrokenConnectionIsNotAFinish(t *testing.T) {
	fake := llmtest.New("m")
	server := llmtest.NewServer(fake)
	t.Cleanup(server.Close)
	client := dial(t, server.URL+"/v1")

	fake.Script(llmtest.Step{Text: "Hello"}, llmtest.Step{Break: true})
	var known *llm.Error
	if got := collect(t, client, ask("hi")); got.text != "Hello" || !errors.As(got.err, &known) || known.Code != llm.CodeTruncated {
		t.Errorf("got %+v", got)
	}
	fake.Script(llmtest.Step{Raw: events(hello, stop)}, llmtest.Step{Break: true})
	if got := collect(t, client, ask("hi")); got.text != "Hello" || got.finish != "stop" {
		t.Errorf("broken after the finish: got %+v", got)
	}
}

func TestModelsAreListed(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"data": []any{
			map[string]any{"id": "a", "owned_by": "library", "created": 1700000000},
			map[string]any{"id": "b", "permission": "odd", "pricing": map[string]any{}},
			map[string]any{"object": "model"},
		}})
	})
	got, err := client.Models(t.Context())
	if err != nil || len(got) != 2 || got[0].ID != "a" || got[0].OwnedBy != "library" || got[0].Created.Year() != 2023 || !got[1].Created.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWhatAModelCanDo(t *testing.T) {
	yes, no := new(true), new(false)
	tests := []struct {
		name    string
		answers map[string]string // by path; of /api/show by its model
		want    []llm.Info
	}{
		{"llama.cpp", map[string]string{
			"/v1/models": `{"models":[{"name":"gemma","capabilities":["completion","multimodal"]}],
				"data":[{"id":"gemma","owned_by":"llamacpp","meta":{"n_ctx_train":262144,"n_params":1}}]}`,
			"/props": `{"default_generation_settings":{"n_ctx":8192},"modalities":{"vision":true,"audio":false},"chat_template_caps":{"supports_tools":false}}`,
		}, []llm.Info{{ID: "gemma", OwnedBy: "llamacpp", ContextLength: 8192, Vision: yes, Tools: no, Continues: true}}},
		{"an old llama.cpp", map[string]string{
			"/v1/models": `{"data":[{"id":"gemma","owned_by":"llamacpp","meta":{"n_ctx_train":262144}}]}`,
		}, []llm.Info{{ID: "gemma", OwnedBy: "llamacpp", Continues: true}}},
		{"llama.cpp with several", map[string]string{
			"/v1/models": `{"data":[{"id":"a","owned_by":"llamacpp","status":{"value":"loaded"},"meta":{"n_ctx":4096},"architecture":{"input_modalities":["text","image"]}},
				{"id":"b","owned_by":"llamacpp","status":{"value":"unloaded"},"architecture":{"input_modalities":["text"]}}]}`,
		}, []llm.Info{{ID: "a", OwnedBy: "llamacpp", ContextLength: 4096, Vision: yes, Continues: true},
			{ID: "b", OwnedBy: "llamacpp", Vision: no, Continues: true}}},
		{"vLLM", map[string]string{
			"/v1/models": `{"data":[{"id":"qwen","owned_by":"vllm","max_model_len":256000}]}`,
		}, []llm.Info{{ID: "qwen", OwnedBy: "vllm", ContextLength: 256000, Continues: true}}},
		{"OpenRouter", map[string]string{
			"/v1/models": `{"data":[{"id":"x/y","context_length":131072,"architecture":{"input_modalities":["text"]},"supported_parameters":["tools","stop"]}]}`,
		}, []llm.Info{{ID: "x/y", ContextLength: 131072, Vision: no, Tools: yes}}},
		{"Ollama", map[string]string{
			"/v1/models": `{"data":[{"id":"llava:7b","owned_by":"library"},{"id":"me/tuned:latest","owned_by":"me"},{"id":"qwen3:8b","owned_by":"library"},
				{"id":"gone:1b","owned_by":"library"},{"id":"small:latest","owned_by":"library"}]}`,
			"/api/ps":  `{"models":[{"model":"qwen3:8b","context_length":16384}]}`,
			"llava:7b": `{"capabilities":["completion","vision"],"parameters":"temperature 0.7","template":"{{ .Prompt }} ASSISTANT: {{ .Response }}</s>"}`,
			"me/tuned:latest": `{"capabilities":["completion"],"parameters":"stop \"x\"\nnum_ctx     2048",
				"template":"{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}{{ .Content }}</s>{{ if $last }}"}`,
			"qwen3:8b": `{"capabilities":["completion","tools","thinking"],"parameters":"num_ctx 40960",
				"template":"{{- $last := eq (len (slice $.Messages $i)) 1 }}{{ .Content }}{{ if not $last }}<|im_end|>{{ end }}"}`,
			"small:latest": `{"capabilities":["embedding"],"parameters":""}`,
		}, []llm.Info{{ID: "llava:7b", OwnedBy: "library", Vision: yes, Tools: no, Chats: yes, Continues: true},
			{ID: "me/tuned:latest", OwnedBy: "me", ContextLength: 2048, Vision: no, Tools: no, Chats: yes},
			{ID: "qwen3:8b", OwnedBy: "library", ContextLength: 16384, Vision: no, Tools: yes, Chats: yes, Continues: true}, {ID: "gone:1b", OwnedBy: "library"},
			{ID: "small:latest", OwnedBy: "library", Vision: no, Tools: no, Chats: no}}},
		{"odd", map[string]string{
			"/v1/models": `{"data":[{"id":"m","meta":"none","max_model_len":"much","context_length":-1,"architecture":["text"],"supported_parameters":{"tools":true}}]}`,
		}, []llm.Info{{ID: "m"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			asked := map[string]int{}
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				what := r.URL.Path
				if what == "/api/show" {
					var body struct{ Model string }
					json.NewDecoder(r.Body).Decode(&body)
					what = body.Model
				}
				mu.Lock()
				asked[what]++
				mu.Unlock()
				if answer, ok := test.answers[what]; ok {
					io.WriteString(w, answer)
				} else {
					http.NotFound(w, r)
				}
			})
			for range 2 {
				if got, err := client.Models(t.Context()); err != nil || !reflect.DeepEqual(got, test.want) {
					t.Errorf("got %s, %v", toJSON(got), err)
				}
			}
			if asked["qwen3:8b"] > 1 || asked["/api/ps"] > 2 || asked["/props"] > 0 && test.name == "llama.cpp with several" {
				t.Errorf("asked too often: %v", asked)
			}
		})
	}
}

func TestAModelServerThatSaysNothingElseIsNotWaitedForLong(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/models" {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done() // until the client gives up
			return
		}
		io.WriteString(w, `{"data":[{"id":"a","owned_by":"library"}]}`)
	})
	if got, err := client.Models(t.Context()); err != nil || len(got) != 1 || got[0].ID != "a" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func toJSON(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

func TestOverHTTPAScriptIsTheSame(t *testing.T) {
	fake := llmtest.New("m")
	server := llmtest.NewServer(fake)
	t.Cleanup(server.Close)
	script := append([]llmtest.Step{{Reasoning: "hm"}, {Text: "Hello"}, {Text: " wörld"}, {Refusal: "No."},
		{Usage: &llm.Usage{InputTokens: 4, CachedTokens: 1, OutputTokens: 2, ReasoningTokens: 1}}},
		append(llmtest.Call(0, "call_a", "look", `{"at":`, `"nas"}`), llmtest.Call(1, "call_b", "list")...)...)
	script = append(script, llmtest.Step{Finish: "tool_calls"})
	fake.Script(script...)
	fake.Script(script...)
	yes, most, warm := true, 100, 0.7
	request := llm.Request{Model: "m", Messages: []llm.Message{
		{Role: llm.RoleUser, Parts: []llm.Part{{Text: "what is"}, {ImageURL: "data:image/png;base64,AA==", Detail: "low"},
			{FileName: "a.pdf", FileData: "data:application/pdf;base64,AA=="}}},
		{Role: llm.RoleAssistant, Text: "I look.", Calls: []llm.Call{{ID: "call_1", Name: "look", Arguments: "{}"}}},
		{Role: llm.RoleTool, CallID: "call_1"},
		{Role: llm.RoleUser, Text: "go on"}}, Options: llm.Options{
		Tools:      []llm.Tool{{Name: "look", Description: "Looks.", Parameters: json.RawMessage(`{"type":"object"}`), Strict: &yes}, {Name: "list"}},
		ToolChoice: llm.ToolChoice{Name: "look"}, ParallelToolCalls: &yes,
		Format:          &llm.Format{Type: "json_schema", Name: "answer", Schema: json.RawMessage(`{}`)},
		ReasoningEffort: "low", Verbosity: "high", Temperature: &warm, TopP: &warm, PresencePenalty: &warm, FrequencyPenalty: &warm, MaxOutputTokens: &most}}
	direct, wire := collect(t, fake, request), collect(t, dial(t, server.URL+"/v1"), request)
	if !reflect.DeepEqual(direct, wire) || len(wire.calls) != 2 || wire.reasoning != "hm" || wire.refusal != "No." {
		t.Errorf("direct %+v, over the wire %+v", direct, wire)
	}
	if asked := fake.Requests(); len(asked) != 2 || !reflect.DeepEqual(asked[0], asked[1]) {
		t.Errorf("requests\n%+v\n%+v", asked[0], asked[1])
	}
	request.ToolChoice = llm.ToolChoice{Mode: llm.ChoiceNone}
	collect(t, dial(t, server.URL+"/v1"), request)
	if asked := fake.Requests()[2]; len(asked.Tools) != 0 || asked.ToolChoice != (llm.ToolChoice{}) || asked.ParallelToolCalls != nil {
		t.Errorf("with no tool to be called it is told of %+v", asked)
	}
	request.NoThinking = true
	collect(t, dial(t, server.URL+"/v1"), request)
	if asked := fake.Requests()[3]; !asked.NoThinking || asked.ReasoningEffort != "none" {
		t.Errorf("not to think, it is told %+v", asked)
	}
}

func TestCallsAndThoughtsInAllTheirForms(t *testing.T) {
	frame := func(delta string) string { return `data: {"choices":[{"index":0,"delta":` + delta + `}]}` }
	call := func(arguments string) llm.Call { return llm.Call{ID: "call_1", Name: "look", Arguments: arguments} }
	for _, test := range []struct {
		name, wire         string
		calls              []llm.Call // an ID of "*" is one that was made up
		reasoning, refusal string
		text               string
		finish             string
	}{
		{name: "OpenAI: argument by argument", wire: events(
			frame(`{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"look","arguments":""}}]}`),
			frame(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}`), frame(`{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}`),
			frame(`{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"list","arguments":""}}]}`),
			frame(`{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}`), done),
			calls: []llm.Call{call(`{"a":1}`), {Index: 1, ID: "call_2", Name: "list", Arguments: "{}"}}},
		{name: "the pieces of two calls in turns", wire: events(
			frame(`{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"look","arguments":"{"}},{"index":1,"id":"call_2","function":{"name":"list","arguments":"{"}}]}`),
			frame(`{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}`), frame(`{"tool_calls":[{"index":1,"function":{"arguments":"}"}}]}`), done),
			calls: []llm.Call{call(`{}`), {Index: 1, ID: "call_2", Name: "list", Arguments: "{}"}}},
		{name: "whole, without index and id", wire: events(frame(`{"tool_calls":[{"function":{"name":"look","arguments":"{}"}},{"function":{"name":"look","arguments":"{}"}}]}`), done),
			calls: []llm.Call{{ID: "*", Name: "look", Arguments: "{}"}, {Index: 1, ID: "*", Name: "look", Arguments: "{}"}}},
		{name: "every call at index 0, without id", wire: events(frame(`{"tool_calls":[{"index":0,"id":"","function":{"name":"look","arguments":"{}"}}]}`),
			frame(`{"tool_calls":[{"index":0,"id":"","function":{"name":"list","arguments":"{}"}}]}`), done),
			calls: []llm.Call{{ID: "*", Name: "look", Arguments: "{}"}, {Index: 1, ID: "*", Name: "list", Arguments: "{}"}}},
		{name: "every call at index 0, each with its id", wire: events(frame(`{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"look","arguments":"{}"}}]}`),
			frame(`{"tool_calls":[{"index":0,"id":"call_2","function":{"name":"look","arguments":"{}"}}]}`), done),
			calls: []llm.Call{call("{}"), {Index: 1, ID: "call_2", Name: "look", Arguments: "{}"}}},
		{name: "id and name with every piece", wire: events(frame(`{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"look","arguments":"{"}}]}`),
			frame(`{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"look","arguments":"}"}}]}`), done), calls: []llm.Call{call("{}")}},
		{name: "the name with every piece, and no id", wire: events(frame(`{"tool_calls":[{"index":0,"function":{"name":"look","arguments":"{"}}]}`),
			frame(`{"tool_calls":[{"index":0,"function":{"name":"look","arguments":"}"}}]}`), frame(`{"tool_calls":[{"index":0,"function":{"name":"look","arguments":""}}]}`), done),
			calls: []llm.Call{{ID: "*", Name: "look", Arguments: "{}"}}},
		{name: "the name after the arguments have begun", wire: events(frame(`{"tool_calls":[{"index":0,"id":"call_1","function":{"arguments":"{"}}]}`),
			frame(`{"tool_calls":[{"index":0,"function":{"name":"look","arguments":"}"}}]}`), done), calls: []llm.Call{call("{}")}},
		{name: "an id later than the name", wire: events(frame(`{"tool_calls":[{"index":0,"function":{"name":"look","arguments":"{"}}]}`),
			frame(`{"tool_calls":[{"index":0,"id":"call_9","function":{"arguments":"}"}}]}`), done), calls: []llm.Call{{ID: "*", Name: "look", Arguments: "{}"}}},
		{name: "arguments as an object, in a body that is no stream", wire: events(`data: {"choices":[{"message":{"content":null,"tool_calls":[{"id":"call_1","function":{"name":"look","arguments":{ "a": 1 }}}]},"finish_reason":"tool_calls"}]}`),
			calls: []llm.Call{call(`{"a":1}`)}, finish: "tool_calls"},
		{name: "a character between two pieces", wire: events(frame(`{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"look","arguments":"\ud83d"}}]}`),
			frame(`{"tool_calls":[{"index":0,"function":{"arguments":"\ude00"}}]}`), done), calls: []llm.Call{call("😀")}},
		{name: "an id that is too long", wire: events(frame(`{"tool_calls":[{"index":0,"id":"`+strings.Repeat("x", 65)+`","function":{"name":"look","arguments":"{}"}}]}`), done),
			calls: []llm.Call{{ID: "*", Name: "look", Arguments: "{}"}}},
		{name: "two calls with one id", wire: events(frame(`{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"look","arguments":"{\"a\":"}}]}`),
			frame(`{"tool_calls":[{"index":1,"id":"call_1","function":{"name":"look","arguments":"{"}}]}`), frame(`{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}`),
			frame(`{"tool_calls":[{"index":1,"id":"call_1","function":{"arguments":"}"}}]}`), done),
			calls: []llm.Call{call(`{"a":1}`), {Index: 1, ID: "*", Name: "look", Arguments: "{}"}}},
		{name: "a name that no function can have", wire: events(frame(`{"tool_calls":[{"index":0,"id":"call_1","function":{"name":" lab.look é`+strings.Repeat("x", 64)+`","arguments":"{}"}}]}`), done),
			calls: []llm.Call{{ID: "call_1", Name: "lab_look__" + strings.Repeat("x", 54), Arguments: "{}"}}},
		{name: "no calls", wire: events(frame(`{"content":"a","tool_calls":null}`), frame(`{"tool_calls":[]}`), done), text: "a"},
		{name: "DeepSeek: reasoning_content", wire: events(frame(`{"reasoning_content":"h","content":null}`), frame(`{"reasoning_content":"m"}`), frame(`{"content":"a"}`), done), reasoning: "hm", text: "a"},
		{name: "Ollama: reasoning", wire: events(frame(`{"reasoning":"hm","content":""}`), frame(`{"content":"a"}`), done), reasoning: "hm", text: "a"},
		{name: "the same under both names", wire: events(frame(`{"reasoning":"hm","reasoning_content":"hm"}`), done), reasoning: "hm"},
		{name: "Mistral: thinking", wire: events(frame(`{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"}]}`), done), reasoning: "hm", text: "a"},
		{name: "reasoning that is something else", wire: events(frame(`{"reasoning":{"tokens":3},"content":"a"}`), done), text: "a"},
		{name: "a refusal", wire: events(frame(`{"content":"a"}`), frame(`{"refusal":"No"}`), frame(`{"refusal":"."}`), done), text: "a", refusal: "No."},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, test.wire)
			})
			got := collect(t, client, ask("hi"))
			for i := range got.calls {
				if i < len(test.calls) && test.calls[i].ID == "*" && strings.HasPrefix(got.calls[i].ID, "call_") && len(got.calls[i].ID) <= 64 {
					got.calls[i].ID = "*"
				}
			}
			if test.finish == "" {
				test.finish = "stop"
			}
			if !slices.Equal(got.calls, test.calls) || got.reasoning != test.reasoning || got.refusal != test.refusal || got.text != test.text ||
				got.finish != test.finish || got.err != nil {
				t.Errorf("got %+v, want %+v", got, test)
			}
		})
	}
}

func TestATooLongConversationIsToldByItsCode(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   bool
	}{
		"OpenAI":         {400, `{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, true},
		"llama.cpp":      {400, `{"error":{"code":400,"message":"request (9 tokens) exceeds the available context size (8 tokens)","type":"exceed_context_size_error"}}`, true},
		"vLLM":           {400, `{"error":{"message":"This model's maximum context length is 2048 tokens. However, you requested 3000","type":"BadRequestError","code":400}}`, true},
		"in the stream":  {200, `data: {"error":{"code":500,"message":"the request exceeds the available context size","type":"server_error"}}` + "\n\n", true},
		"another":        {400, `{"error":{"message":"unknown field"}}`, false},
		"not its fault":  {404, `{"error":{"message":"no model with this context length"}}`, false},
		"out of memory":  {500, `{"error":{"message":"out of memory"}}`, false},
		"in the stream,": {200, `data: {"error":"boom"}` + "\n\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			})
			var known *llm.Error
			if got := collect(t, client, ask("hi")); !errors.As(got.err, &known) || (known.Code == llm.CodeContextExceeded) != test.want {
				t.Errorf("got %v", got.err)
			}
		})
	}
}

// After a pace nearly all is read that has come, though it is more than one read of the connection gives.
func TestAPacedAnswerIsReadInFewPaces(t *testing.T) {
	const words = 300 // 30 kB, in chunks of their own
	said := make(chan struct{})
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for range words {
			io.WriteString(w, hello+"\n\n")
			http.NewResponseController(w).Flush()
		}
		io.WriteString(w, events(stop, done))
		http.NewResponseController(w).Flush()
		close(said)
	})
	paces := 0
	request := ask("hi")
	request.Pace = func() {
		paces++
		<-said
	}
	if got := collect(t, client, request); got.err != nil || got.text != strings.Repeat("Hello", words) || paces < 1 || paces > words/20 {
		t.Errorf("%d bytes of text in %d paces, %v", len(got.text), paces, got.err)
	}
}

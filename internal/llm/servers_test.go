package llm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
)

// owned are models of a server.
func owned(owner string, ids ...string) (models []llm.Info) {
	for _, id := range ids {
		models = append(models, llm.Info{ID: id, OwnedBy: owner})
	}
	return models
}

func TestWhatAReplyWaitsForIsTold(t *testing.T) {
	loading, reading := llm.Wait{Loading: true}, func(percent int) llm.Wait { return llm.Wait{Reading: true, Percent: percent} }
	all := []llm.Wait{loading, {}, reading(0), reading(34), reading(100)}
	tests := []struct {
		name   string
		models []llm.Info
		want   []llm.Wait
	}{
		{"llama.cpp", owned("llamacpp", "m"), all},
		{"llama.cpp with several", owned("llamacpp", "m", "n"), all},
		{"llama-swap", owned("llama-swap", "m", "n"), all},
		{"Ollama", owned("library", "m", "n"), []llm.Wait{loading, {}}},
		{"vLLM", owned("vllm", "m"), nil},
		{"another, which knows no more fields than OpenAI's", owned("me", "m"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fake := llmtest.New()
			fake.SetInfos(test.models...)
			server := llmtest.NewServer(fake)
			t.Cleanup(server.Close)
			client := dial(t, server.URL+"/v1")
			if _, err := client.Models(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, loaded := range []bool{false, true} {
				gate := llmtest.NewGate()
				if fake.Load(gate); loaded || test.want == nil {
					gate.Open()
				}
				fake.Script(llmtest.Step{Read: [3]int{1100, 100, 100}}, llmtest.Step{Read: [3]int{1100, 100, 440}},
					llmtest.Step{Read: [3]int{1100, 100, 1100}}, llmtest.Step{Text: "Hello"})
				var told []llm.Wait
				request := ask("hi")
				request.Waiting = func(w llm.Wait) {
					if gate.Open(); len(told) == 0 || told[len(told)-1] != w {
						told = append(told, w)
					}
				}
				want := test.want
				if loaded && len(want) > 0 {
					want = want[2:]
				}
				if got := collect(t, client, request); got.text != "Hello" || got.err != nil || !reflect.DeepEqual(told, want) && len(told)+len(want) > 0 {
					t.Errorf("loaded before: %v; got %+v after %+v, want %+v", loaded, got, told, want)
				}
			}
			if got := collect(t, client, ask("hi")); got.text != "ok" {
				t.Errorf("where nobody minds: %+v", got)
			}
		})
	}
}

// What llama-swap starts may be anything.
func TestAServerBehindLlamaSwapThatKnowsNoProgressIsAskedWithout(t *testing.T) {
	asked := 0
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Method == "GET":
			io.WriteString(w, `{"data":[{"id":"m","owned_by":"llama-swap"}],"running":[{"model":"m","state":"ready"}]}`)
		case strings.Contains(string(body), "return_progress"):
			asked++
			w.WriteHeader(http.StatusUnprocessableEntity)
			io.WriteString(w, `{"detail":"Extra inputs are not permitted"}`)
		default:
			if !strings.Contains(string(body), "include_usage") {
				t.Errorf("it is asked for less: %s", body)
			}
			io.WriteString(w, events(hello, stop, done))
		}
	})
	client.Models(t.Context())
	request := ask("hi")
	request.Waiting = func(w llm.Wait) { t.Errorf("told %+v", w) }
	if got := collect(t, client, request); got.text != "Hello" || asked != 1 {
		t.Errorf("got %+v, refused %d times", got, asked)
	}
}

func TestCancellingEndsTheWaitForAModelThatIsLoaded(t *testing.T) {
	fake := llmtest.New()
	fake.SetInfos(owned("llamacpp", "m")...)
	fake.Load(llmtest.NewGate())
	server := llmtest.NewServer(fake)
	t.Cleanup(server.Close)
	client := dial(t, server.URL+"/v1")
	client.Models(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	request := ask("hi")
	request.Waiting = func(llm.Wait) { cancel() }
	for _, err := range client.Stream(ctx, request) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ends with %v", err)
		}
	}
}

func TestAReplyIsContinuedInTheWayOfItsServer(t *testing.T) {
	messages := []llm.Message{{Role: llm.RoleUser, Text: "Count."}, {Role: llm.RoleAssistant, Text: "One, "}}
	for _, owner := range []string{"llamacpp", "llama-swap", "vllm", "library"} {
		t.Run(owner, func(t *testing.T) {
			fake := llmtest.New()
			fake.SetInfos(llm.Info{ID: "m", OwnedBy: owner, Continues: true}, llm.Info{ID: "n", OwnedBy: owner})
			server := llmtest.NewServer(fake)
			t.Cleanup(server.Close)
			client := dial(t, server.URL+"/v1")
			models, err := client.Models(t.Context())
			if err != nil || !models[0].Continues || models[1].Continues != (owner != "library") { // Ollama says it of each
				t.Errorf("the models are %+v, %v", models, err)
			}
			fake.Script(llmtest.Say("two.")...)
			got := collect(t, client, llm.Request{Model: "m", Messages: messages, Continue: true, Options: llm.Options{ReasoningEffort: "high"}})
			asked := fake.Requests()[0]
			if got.text != "two." || !asked.Continue || !reflect.DeepEqual(asked.Messages, messages) {
				t.Errorf("got %+v, asked %+v", got, asked)
			}
			if asked.NoThinking != (owner != "library") || asked.ReasoningEffort != map[bool]string{true: "none"}[owner == "library"] {
				t.Errorf("it is asked to think: %+v", asked)
			}
		})
	}
}

func TestAModelThatRefusesToContinueIsNotSaidTo(t *testing.T) {
	for _, status := range []int{400, 422, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) { refusesToContinue(t, status) })
	}
}

func refusesToContinue(t *testing.T, status int) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			fmt.Fprint(w, `{"data":[{"id":"m","owned_by":"llamacpp","status":{"value":"loaded"}},{"id":"n","owned_by":"llamacpp","status":{"value":"loaded"}}]}`)
			return
		}
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "assistant") {
			w.WriteHeader(status)
			fmt.Fprint(w, `{"error":{"message":"Assistant response prefill is incompatible with enable_thinking.","type":"invalid_request_error"}}`)
			return
		}
		io.WriteString(w, events(hello, stop, done))
	})
	continues := func(want bool) {
		t.Helper()
		if models, err := client.Models(t.Context()); err != nil || models[0].Continues != want || !models[1].Continues {
			t.Errorf("the models are %+v, %v", models, err)
		}
	}
	continues(true)
	request := llm.Request{Model: "m", Messages: []llm.Message{{Role: llm.RoleUser, Text: "hi"}, {Role: llm.RoleAssistant, Text: "Hel"}}}
	collect(t, client, request) // is another matter
	continues(true)
	request.Continue = true
	var refused *llm.Error
	if got := collect(t, client, request); !errors.As(got.err, &refused) || refused.Status != status {
		t.Errorf("got %+v", got)
	}
	continues(false)
}

package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
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
	"git.georgsen.dk/hwlab/internal/web"
)

func TestMain(m *testing.M) { testpg.Main(m) }

func TestOpenAI(t *testing.T) { run(t, "openai.mjs") }

func TestVercelAI(t *testing.T) { run(t, "ai.mjs") }

func TestAgents(t *testing.T) { run(t, "agents.mjs") }

// password is the servers', and so the clients' key.
const password = "correct horse"

// The example of docs/api.md, as it stands there but for the address and the key.
func TestTheDocumentedClient(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "\n```js\n")
	example, _, found := strings.Cut(example, "\n```\n")
	if !found {
		t.Fatal("docs/api.md has no example in JavaScript")
	}
	eachEngine(t, func(t *testing.T, server string, settings ...string) {
		example := strings.NewReplacer("http://127.0.0.1:8080", server, "apiKey: 'none'", "apiKey: '"+password+"'").Replace(example)
		if out := node(t, example, settings, "--input-type=module", "-"); !regexp.MustCompile(`^okmessage msg_\S+\nmessage msg_\S+\n$`).MatchString(out) {
			t.Errorf("it prints %q", out)
		}
	})
}

// run runs a script against a server on each engine.
func run(t *testing.T, script string) {
	eachEngine(t, func(t *testing.T, server string, settings ...string) {
		node(t, "", append(settings, "OPENAI_BASE_URL="+server+"/v1"), script)
	})
}

// eachEngine runs test with a server on each engine, and the settings with which a script reaches the server's model.
func eachEngine(t *testing.T, test func(t *testing.T, server string, settings ...string)) {
	testrecord.Each(t, func(t *testing.T, record testrecord.Record) {
		model := llmtest.New("test-model")
		told := llmtest.NewGate()
		control := httptest.NewServer(newControl(model, told))
		defer control.Close()
		test(t, serve(t, record, model, told), "MODEL_CONTROL="+control.URL)
	})
}

// node runs Node among the clients, and returns what it prints.
func node(t *testing.T, stdin string, settings []string, args ...string) string {
	program, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("Node is not in PATH; scripts/test-deps installs it")
	}
	if _, err := os.Stat("testdata/node_modules/openai"); err != nil {
		t.Fatal("the clients are not installed; scripts/test-deps does it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "testdata"
	cmd.Stdin = strings.NewReader(stdin)
	// Nothing of this process's own settings; no script reaches beyond this machine.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "OPENAI_API_KEY=" + password, "OPENAI_AGENTS_DISABLE_TRACING=1"}, settings...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("node %q: %v\n%s", args, err, out)
	}
	t.Logf("%s", out)
	return string(out)
}

// serve starts a server and returns its URL. It opens told when a client has been sent a comment of hwlab's own.
func serve(t *testing.T, record testrecord.Record, model llm.Provider, told *llmtest.Gate) string {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	notes := lab.New("", 0)
	offline := llm.NewOffline(log, advisor.NotesLibrary{Notes: notes}, advisor.ConversationLibrary{Record: record})
	models := llm.NewCatalog(llm.CatalogConfig{Sources: []llm.Source{{Name: "test", Provider: model}}, Offline: offline, Log: log})
	t.Cleanup(models.Close)
	replies, err := advisor.Start(t.Context(), advisor.Config{Record: record, Models: models, Notes: notes, ServerID: store.NewID(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	v1 := api.New(api.Config{Record: record, Advisor: replies, Models: models, Notes: notes, Log: log})
	checked := apitest.Handler(t, web.New(web.Config{API: v1, Password: password}))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { checked.ServeHTTP(watched{w, told}, r) }))
	t.Cleanup(func() {
		if err := replies.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return server.URL
}

// watched opens a gate when a comment of hwlab's own is written.
type watched struct {
	http.ResponseWriter
	told *llmtest.Gate
}

func (w watched) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	if bytes.Contains(p, []byte(": hwlab ")) {
		w.told.Open()
	}
	return n, err
}

func (w watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// newControl serves what the scripts set the model with: POST /script adds a reply, POST /open/{gate} opens a gate, and
// GET /requests is what the model was asked.
func newControl(model *llmtest.Fake, told *llmtest.Gate) http.Handler {
	var mu sync.Mutex
	gates := map[string]*llmtest.Gate{"told": told}
	gate := func(name string) *llmtest.Gate {
		mu.Lock()
		defer mu.Unlock()
		if gates[name] == nil {
			gates[name] = llmtest.NewGate()
		}
		return gates[name]
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /script", func(w http.ResponseWriter, r *http.Request) {
		var steps []struct {
			Text, Reasoning, Refusal, Gate, Finish, Error string

			Read  [3]int
			Usage *llm.Usage
			Call  *struct {
				Index     int
				ID, Name  string
				Arguments []string
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&steps); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var script []llmtest.Step
		for _, s := range steps {
			if s.Call != nil {
				script = append(script, llmtest.Call(s.Call.Index, s.Call.ID, s.Call.Name, s.Call.Arguments...)...)
				continue
			}
			step := llmtest.Step{Text: s.Text, Reasoning: s.Reasoning, Refusal: s.Refusal, Read: s.Read, Usage: s.Usage, Finish: s.Finish}
			if s.Gate != "" {
				step.Gate = gate(s.Gate)
			}
			if s.Error != "" {
				step.Err = errors.New(s.Error)
			}
			script = append(script, step)
		}
		model.Script(script...)
	})
	mux.HandleFunc("POST /open/{gate}", func(w http.ResponseWriter, r *http.Request) { gate(r.PathValue("gate")).Open() })
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, r *http.Request) {
		type told struct{ Role, Text string }
		list := [][]told{}
		for _, q := range model.Requests() {
			messages := []told{}
			for _, m := range q.Messages {
				messages = append(messages, told{m.Role, m.Text})
			}
			list = append(list, messages)
		}
		json.NewEncoder(w).Encode(list)
	})
	return mux
}

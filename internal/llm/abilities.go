package llm

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What a model can do has no place in the list of models that servers share. Some say it there all the same, each in a field of
// its own; llama.cpp and Ollama say it elsewhere. What is not said stays unknown: a guess would hide that a context is cut.

// abilityTimeout bounds the questions about models beyond the list: whoever waits for the list waits for them.
const abilityTimeout = 300 * time.Millisecond

// abilities is what is known of the models of a server.
type abilities struct {
	mu      sync.Mutex
	known   map[version]shown // what Ollama said: it reads it from disk each time
	kinds   map[string]kind   // by id, as last listed
	refused map[string]bool   // by id, that would not go on with a reply
}

// version is a model as it was made at that time.
type version struct {
	id      string
	created time.Time
}

// shown is what is read of Ollama's answer about one model.
type shown struct {
	Capabilities []string `json:"capabilities"`
	Parameters   string   `json:"parameters"`
	Template     string   `json:"template"`
}

var numCtx = regexp.MustCompile(`(?m)^num_ctx\s+(\d+)`)

// learn reads what an entry of the list says beyond the name.
func (m *Info) learn(entry json.RawMessage) {
	var context struct {
		Meta struct {
			Size int64 `json:"n_ctx"` // llama.cpp; what the model was trained with is not what it is run with
		} `json:"meta"`
	}
	read(entry, &context)
	m.ContextLength = max(context.Meta.Size, 0)
	var fields map[string]json.RawMessage
	read(entry, &fields)
	for _, name := range []string{"max_model_len", "context_length", "context_window"} { // vLLM; llama-swap, OpenRouter; Groq
		if m.ContextLength == 0 {
			read(fields[name], &m.ContextLength)
			m.ContextLength = max(m.ContextLength, 0)
		}
	}
	var takes struct {
		Kinds []string `json:"input_modalities"`
	}
	if read(fields["architecture"], &takes); len(takes.Kinds) > 0 { // llama.cpp with several models, OpenRouter
		m.Vision = new(slices.Contains(takes.Kinds, "image"))
	}
	var parameters []string
	if read(fields["supported_parameters"], &parameters); len(parameters) > 0 { // OpenRouter
		m.Tools = new(slices.Contains(parameters, "tools"))
	}
}

// read takes what is of the right type.
func read(raw json.RawMessage, to any) {
	if len(raw) > 0 {
		_ = json.Unmarshal(raw, to)
	}
}

// ask asks a server of which the list shows that it is llama.cpp or Ollama what it says elsewhere.
func (c *Client) ask(ctx context.Context, models []Info) {
	ctx, cancel := context.WithTimeout(ctx, abilityTimeout)
	defer cancel()
	switch {
	case len(models) == 1 && models[0].OwnedBy == "llamacpp" && models[0].Vision == nil: // with several, asking would load one
		c.askLlama(ctx, &models[0])
	case isOllama(models):
		c.askOllama(ctx, models)
	}
}

func (c *Client) askLlama(ctx context.Context, m *Info) {
	var props struct {
		Settings struct {
			Size int64 `json:"n_ctx"`
		} `json:"default_generation_settings"`
		Modalities struct {
			Vision *bool `json:"vision"`
		} `json:"modalities"`
		Template struct {
			Tools *bool `json:"supports_tools"`
		} `json:"chat_template_caps"`
	}
	c.get(ctx, http.MethodGet, "../props", nil, &props)
	if props.Settings.Size > 0 {
		m.ContextLength = props.Settings.Size
	}
	m.Vision, m.Tools = props.Modalities.Vision, props.Template.Tools
}

// askOllama asks for each model once, and each time which are loaded: Ollama cuts what does not fit the context that a model is
// loaded with, which is mostly much less than the model could have.
func (c *Client) askOllama(ctx context.Context, models []Info) {
	var running ollamaRunning
	var asking sync.WaitGroup
	asking.Go(func() { c.get(ctx, http.MethodGet, "../api/ps", nil, &running) })
	told := make([]shown, len(models))
	atOnce := make(chan struct{}, 4)
	for i, m := range models {
		v := version{m.ID, m.Created}
		c.abilities.mu.Lock()
		was, known := c.abilities.known[v]
		c.abilities.mu.Unlock()
		if told[i] = was; known {
			continue
		}
		asking.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			if c.get(ctx, http.MethodPost, "../api/show", map[string]string{"model": m.ID}, &told[i]) {
				c.abilities.mu.Lock()
				defer c.abilities.mu.Unlock()
				if c.abilities.known == nil {
					c.abilities.known = map[version]shown{}
				}
				c.abilities.known[v] = told[i]
			}
		})
	}
	asking.Wait()
	for i := range models {
		m := &models[i]
		if can := told[i].Capabilities; len(can) > 0 {
			m.Vision, m.Tools = new(slices.Contains(can, "vision")), new(slices.Contains(can, "tools"))
			m.Chats = new(slices.Contains(can, "completion"))
			m.Continues = *m.Chats && continues(told[i].Template)
		}
		if set := numCtx.FindStringSubmatch(told[i].Parameters); set != nil {
			m.ContextLength, _ = strconv.ParseInt(set[1], 10, 64)
		}
		for _, r := range running.Models {
			if r.Length > 0 && strings.EqualFold(r.Model, m.ID) {
				m.ContextLength = r.Length
			}
		}
	}
}

// get reads an answer into to, and reports whether there was one.
func (c *Client) get(ctx context.Context, method, path string, body, to any) bool {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return json.NewDecoder(io.LimitReader(resp.Body, maxModelsBody)).Decode(to) == nil
}

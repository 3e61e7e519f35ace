package llm

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// kind is what is known of the server of a model beyond that it has Chat Completions.
type kind int

const (
	kindUnknown kind = iota
	kindOllama
	kindLlama  // llama.cpp with one model, which answers 503 while it loads it
	kindRouter // llama.cpp with several, which loads the one that is asked for
	kindSwap   // llama-swap, which starts servers, mostly llama.cpp's
	kindVLLM   // and SGLang: they answer once they have loaded their model
)

// loadEvery is how soon a server that loads its model is asked again.
const loadEvery = 250 * time.Millisecond

// kindOf tells by an entry of a list of models.
func kindOf(m Info, entry json.RawMessage) kind {
	switch m.OwnedBy {
	case "llamacpp":
		if stateOf(entry) != "" {
			return kindRouter
		}
		return kindLlama
	case "llama-swap":
		return kindSwap
	case "vllm", "sglang":
		return kindVLLM
	}
	return kindUnknown
}

// stateOf is what a llama.cpp with several models says of one: loaded, unloaded, loading, …
func stateOf(entry json.RawMessage) string {
	var m struct {
		Status struct {
			Value string `json:"value"`
		} `json:"status"`
	}
	read(entry, &m)
	return m.Status.Value
}

// isOllama tells by a list of models.
func isOllama(models []Info) bool {
	return slices.ContainsFunc(models, func(m Info) bool { return m.OwnedBy == "library" })
}

// readsAloud reports whether a server of the kind can tell how much of a prompt it has read.
func (k kind) readsAloud() bool { return k == kindLlama || k == kindRouter || k == kindSwap }

// takesContinue reports whether a server of the kind takes the parameters that vLLM has for the going on with a last message.
// Ollama takes none, its templates leave that message open.
func (k kind) takesContinue() bool { return k.readsAloud() || k == kindVLLM }

// leavesOpen finds in one of Ollama's templates that what closes a message is left out after the last one.
var leavesOpen = regexp.MustCompile(`\bnot (\$last\b|\(eq \(len \(slice \$\.Messages )`)

// continues reports whether Ollama goes on with a reply by a template. Of the older kind, which knows one question and its reply, it
// leaves out what follows the reply.
func continues(template string) bool {
	if !strings.Contains(template, ".Messages") {
		return strings.Contains(template, ".Response")
	}
	return leavesOpen.MatchString(template)
}

// loads reports whether a server has to load the model that it is going to be asked for. While Ollama loads one it lists it as
// loaded, so all this holds for is the moment before.
func (c *Client) loads(ctx context.Context, k kind, model string) bool {
	ctx, cancel := context.WithTimeout(ctx, abilityTimeout)
	defer cancel()
	switch k {
	case kindOllama:
		var running ollamaRunning
		return c.get(ctx, http.MethodGet, "../api/ps", nil, &running) &&
			!slices.ContainsFunc(running.Models, func(m ollamaModel) bool { return strings.EqualFold(m.Model, model) })
	case kindRouter:
		var list struct {
			Data []modelEntry `json:"data"`
		}
		return c.get(ctx, http.MethodGet, "models", nil, &list) &&
			slices.ContainsFunc(list.Data, func(m modelEntry) bool { return m.ID == model && stateOf(m.raw) != "loaded" })
	case kindSwap:
		type started struct{ Model, State string }
		var running struct{ Running []started }
		return c.get(ctx, http.MethodGet, "../running", nil, &running) && !slices.Contains(running.Running, started{model, "ready"})
	}
	return false
}

type ollamaRunning struct {
	Models []ollamaModel `json:"models"`
}

type ollamaModel struct {
	Model  string `json:"model"`
	Length int64  `json:"context_length"`
}

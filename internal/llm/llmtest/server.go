package llmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"git.georgsen.dk/hwlab/internal/llm"
)

// NewServer starts a Chat Completions server on loopback that plays the Fake's scripts; its base URL is server.URL +
// "/v1". Close it. An error before any text is the answer's status, one after it is a frame in the stream.
func NewServer(f *Fake) *httptest.Server {
	return httptest.NewServer(Handler(f))
}

// Handler is what NewServer serves.
func Handler(f *Fake) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, r *http.Request) {
		models, err := f.Models(r.Context())
		if err != nil {
			refuse(w, err)
			return
		}
		data := []map[string]any{}
		for _, m := range models {
			data = append(data, map[string]any{"id": m.ID, "object": "model", "owned_by": m.OwnedBy, "created": 0})
		}
		json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": data})
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Model    string
			Messages []struct {
				Role    string
				Content string
			}
			Temperature   *float64
			TopP          *float64 `json:"top_p"`
			MaxTokens     *int     `json:"max_tokens"`
			StreamOptions struct {
				IncludeUsage bool `json:"include_usage"`
			} `json:"stream_options"`
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			refuse(w, &llm.Error{Status: http.StatusBadRequest, Message: err.Error()})
			return
		}
		req := llm.Request{Model: asked.Model, Temperature: asked.Temperature, TopP: asked.TopP, MaxOutputTokens: asked.MaxTokens}
		for _, m := range asked.Messages {
			req.Messages = append(req.Messages, llm.Message{Role: m.Role, Text: m.Content})
		}
		play(w, r, f.take(req), asked.Model, asked.StreamOptions.IncludeUsage)
	})
	return mux
}

// play writes a script as server-sent events. Usage comes after the finish, in a chunk without choices, as OpenAI's.
func play(w http.ResponseWriter, r *http.Request, steps []Step, model string, usage bool) {
	begun := false
	send := func(raw string) {
		if !begun {
			w.Header().Set("Content-Type", "text/event-stream")
			begun = true
		}
		io.WriteString(w, raw)
		http.NewResponseController(w).Flush()
	}
	chunk := func(fields map[string]any) {
		fields["id"], fields["object"], fields["created"], fields["model"] = "chatcmpl-1", "chat.completion.chunk", 0, model
		data, err := json.Marshal(fields)
		if err != nil {
			panic(err) // of a test's own making
		}
		send(fmt.Sprintf("data: %s\n\n", data))
	}
	choice := func(text string, finish any) {
		chunk(map[string]any{"choices": []any{map[string]any{
			"index": 0, "delta": map[string]any{"content": text}, "finish_reason": finish}}})
	}
	var counted *llm.Usage
	finish := llm.FinishStop
	for _, s := range steps {
		if s.Gate != nil && s.Gate.wait(r.Context()) != nil {
			return
		}
		if s.Text != "" {
			choice(s.Text, nil)
		}
		if s.Usage != nil {
			counted = s.Usage
		}
		if s.Raw != "" {
			send(s.Raw)
		}
		if s.Break {
			panic(http.ErrAbortHandler)
		}
		if s.Err != nil && !begun {
			refuse(w, s.Err)
			return
		}
		if s.Err != nil {
			chunk(map[string]any{"error": errorBody(s.Err)})
			return
		}
		if s.Finish != "" {
			finish = s.Finish
			break
		}
	}
	choice("", finish)
	if counted != nil && usage {
		chunk(map[string]any{"choices": []any{}, "usage": map[string]any{
			"prompt_tokens": counted.InputTokens, "completion_tokens": counted.OutputTokens,
			"total_tokens":              counted.InputTokens + counted.OutputTokens,
			"prompt_tokens_details":     map[string]any{"cached_tokens": counted.CachedTokens},
			"completion_tokens_details": map[string]any{"reasoning_tokens": counted.ReasoningTokens},
		}})
	}
	send("data: [DONE]\n\n")
}

// refuse answers with the status of an llm.Error, or 500.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if known := (*llm.Error)(nil); errors.As(err, &known) && known.Status != 0 {
		status = known.Status
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": errorBody(err)})
}

func errorBody(err error) map[string]any {
	body := map[string]any{"message": err.Error()}
	if known := (*llm.Error)(nil); errors.As(err, &known) {
		body["message"], body["code"] = known.Message, known.Code
	}
	return body
}

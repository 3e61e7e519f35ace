package llmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"

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
			entry := map[string]any{"id": m.ID, "object": "model", "owned_by": m.OwnedBy, "created": 0}
			if m.OwnedBy == "llamacpp" && len(models) > 1 {
				entry["status"] = map[string]any{"value": map[bool]string{false: "loaded", true: "unloaded"}[f.loading() != nil]}
			}
			if m.ContextLength > 0 {
				entry["max_model_len"] = m.ContextLength
			}
			if m.Vision != nil {
				entry["architecture"] = map[string]any{"input_modalities": map[bool][]string{false: {"text"}, true: {"text", "image"}}[*m.Vision]}
			}
			if m.Tools != nil {
				entry["supported_parameters"] = map[bool][]string{false: {"stop"}, true: {"stop", "tools"}}[*m.Tools]
			}
			data = append(data, entry)
		}
		json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": data})
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var asked request
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			refuse(w, &llm.Error{Status: http.StatusBadRequest, Message: err.Error()})
			return
		}
		req, err := asked.parse()
		models, _ := f.Models(r.Context())
		if err == nil {
			err = asked.strict(models)
		}
		if err != nil {
			refuse(w, &llm.Error{Status: http.StatusBadRequest, Message: err.Error()})
			return
		}
		if gate := f.loading(); gate != nil && owner(models) == "llamacpp" && len(models) == 1 {
			gate.reach()
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}`)
			return
		} else if gate != nil && gate.wait(r.Context()) != nil {
			return
		}
		if owner(models) == "library" && len(req.Messages) > 0 {
			req.Continue = req.Messages[len(req.Messages)-1].Role == llm.RoleAssistant
		}
		steps := f.take(req)
		if !asked.ReturnProgress {
			steps = slices.Clone(steps)
			for i := range steps {
				steps[i].Read = [3]int{}
			}
		}
		play(w, r, steps, asked.Model, asked.StreamOptions.IncludeUsage)
	})
	// only answers where the models are of that owner.
	only := func(of string, answer func(r *http.Request, models []llm.Info) any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if models, _ := f.Models(r.Context()); owner(models) == of {
				json.NewEncoder(w).Encode(answer(r, models))
			} else {
				http.NotFound(w, r)
			}
		}
	}
	mux.HandleFunc("GET /api/ps", only("library", func(_ *http.Request, models []llm.Info) any {
		running := []any{}
		if gate := f.loading(); gate == nil || isClosed(gate.reached) { // while it is loaded, too
			for _, m := range models {
				running = append(running, map[string]any{"model": m.ID, "context_length": m.ContextLength})
			}
		}
		return map[string]any{"models": running}
	}))
	mux.HandleFunc("POST /api/show", only("library", func(r *http.Request, models []llm.Info) any {
		var asked struct{ Model string }
		json.NewDecoder(r.Body).Decode(&asked)
		template := "{{ range .Messages }}{{ .Content }}</s>{{ end }}"
		for _, m := range models {
			if m.ID == asked.Model && m.Continues {
				template = "{{ range $i, $_ := .Messages }}{{ .Content }}{{ if not (eq (len (slice $.Messages $i)) 1) }}</s>{{ end }}{{ end }}"
			}
		}
		return map[string]any{"capabilities": []string{"completion"}, "template": template}
	}))
	mux.HandleFunc("GET /running", only("llama-swap", func(_ *http.Request, models []llm.Info) any {
		running := []any{}
		for _, m := range models {
			running = append(running, map[string]any{"model": m.ID, "state": map[bool]string{false: "ready", true: "starting"}[f.loading() != nil]})
		}
		return map[string]any{"running": running}
	}))
	return mux
}

// owner is whose the models are.
func owner(models []llm.Info) string {
	if len(models) == 0 {
		return ""
	}
	return models[0].OwnedBy
}

// strict refuses what the server that owns the models does not know.
func (q request) strict(models []llm.Info) error {
	reads := owner(models) == "llamacpp" || owner(models) == "llama-swap"
	if q.ReturnProgress && !reads {
		return errors.New("unknown field return_progress")
	}
	if (q.ContinueFinalMessage || q.AddGenerationPrompt != nil) && !reads && owner(models) != "vllm" {
		return errors.New("unknown field continue_final_message")
	}
	if q.ContinueFinalMessage && (q.AddGenerationPrompt == nil || *q.AddGenerationPrompt) {
		return errors.New("cannot set both add_generation_prompt and continue_final_message to true")
	}
	return nil
}

// request is what is read of a request, in a shape of its own so that it is not the client's that it is held against.
type request struct {
	Model    string
	Messages []struct {
		Role      string
		Content   json.RawMessage
		ToolCalls []struct {
			ID       string
			Function struct{ Name, Arguments string }
		} `json:"tool_calls"`
		ToolCallID string `json:"tool_call_id"`
	}
	Tools []struct {
		Function struct {
			Name, Description string
			Parameters        json.RawMessage
			Strict            *bool
		}
	}
	ToolChoice        json.RawMessage `json:"tool_choice"`
	ParallelToolCalls *bool           `json:"parallel_tool_calls"`
	ResponseFormat    *struct {
		Type       string
		JSONSchema struct {
			Name, Description string
			Schema            json.RawMessage
			Strict            *bool
		} `json:"json_schema"`
	} `json:"response_format"`
	ReasoningEffort string `json:"reasoning_effort"`
	Template        struct {
		Thinking *bool `json:"enable_thinking"`
	} `json:"chat_template_kwargs"`
	ReturnProgress       bool  `json:"return_progress"`
	ContinueFinalMessage bool  `json:"continue_final_message"`
	AddGenerationPrompt  *bool `json:"add_generation_prompt"`

	Verbosity        string
	Temperature      *float64
	TopP             *float64 `json:"top_p"`
	PresencePenalty  *float64 `json:"presence_penalty"`
	FrequencyPenalty *float64 `json:"frequency_penalty"`
	MaxTokens        *int     `json:"max_tokens"`
	StreamOptions    struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

func (q request) parse() (llm.Request, error) {
	req := llm.Request{Model: q.Model, Options: llm.Options{ParallelToolCalls: q.ParallelToolCalls, ReasoningEffort: q.ReasoningEffort, Verbosity: q.Verbosity,
		Temperature: q.Temperature, TopP: q.TopP, PresencePenalty: q.PresencePenalty, FrequencyPenalty: q.FrequencyPenalty, MaxOutputTokens: q.MaxTokens}}
	req.Continue = q.ContinueFinalMessage
	req.NoThinking = q.Template.Thinking != nil && !*q.Template.Thinking
	for _, m := range q.Messages {
		message := llm.Message{Role: m.Role, CallID: m.ToolCallID}
		var parts []struct {
			Type, Text string
			ImageURL   struct{ URL, Detail string } `json:"image_url"`
			File       struct {
				Filename string
				FileData string `json:"file_data"`
			}
		}
		if json.Unmarshal(m.Content, &message.Text) != nil {
			if err := json.Unmarshal(m.Content, &parts); err != nil {
				return req, err
			}
		}
		for _, p := range parts {
			message.Parts = append(message.Parts, llm.Part{Text: p.Text, ImageURL: p.ImageURL.URL, Detail: p.ImageURL.Detail,
				FileName: p.File.Filename, FileData: p.File.FileData})
		}
		for i, c := range m.ToolCalls {
			message.Calls = append(message.Calls, llm.Call{Index: i, ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
		}
		req.Messages = append(req.Messages, message)
	}
	for _, t := range q.Tools {
		req.Tools = append(req.Tools, llm.Tool(t.Function))
	}
	if len(q.ToolChoice) > 0 && json.Unmarshal(q.ToolChoice, &req.ToolChoice.Mode) != nil {
		var one struct{ Function struct{ Name string } }
		if err := json.Unmarshal(q.ToolChoice, &one); err != nil {
			return req, err
		}
		req.ToolChoice.Name = one.Function.Name
	}
	if f := q.ResponseFormat; f != nil {
		req.Format = &llm.Format{Type: f.Type, Name: f.JSONSchema.Name, Description: f.JSONSchema.Description, Schema: f.JSONSchema.Schema,
			Strict: f.JSONSchema.Strict}
	}
	return req, nil
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
	choice := func(delta map[string]any, finish any) {
		chunk(map[string]any{"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}})
	}
	var counted *llm.Usage
	finish := llm.FinishStop
	for _, s := range steps {
		if s.Gate != nil && s.Gate.wait(r.Context()) != nil {
			return
		}
		if s.Read != [3]int{} {
			chunk(map[string]any{"choices": []any{map[string]any{"index": 0, "delta": map[string]any{"role": "assistant", "content": nil}, "finish_reason": nil}},
				"prompt_progress": map[string]any{"total": s.Read[0], "cache": s.Read[1], "processed": s.Read[2], "time_ms": 1}})
		}
		if s.Reasoning != "" {
			choice(map[string]any{"reasoning_content": s.Reasoning}, nil)
		}
		if s.Text != "" {
			choice(map[string]any{"content": s.Text}, nil)
		}
		if s.Refusal != "" {
			choice(map[string]any{"refusal": s.Refusal}, nil)
		}
		if c := s.Call; c != nil {
			call := map[string]any{"index": c.Index, "function": map[string]any{"arguments": c.Arguments}}
			if c.Name != "" {
				call["id"], call["type"], call["function"] = c.ID, "function", map[string]any{"name": c.Name, "arguments": c.Arguments}
			}
			choice(map[string]any{"tool_calls": []any{call}}, nil)
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
	choice(map[string]any{"content": ""}, finish)
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

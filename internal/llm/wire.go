package llm

import (
	"encoding/json"
	"fmt"

	openai "github.com/sashabaranov/go-openai"
)

// wireRequest is a request as Chat Completions servers take it. go-openai's type has no files, leaves out what is zero (a
// temperature of 0 is a wish, not an absence) and sends an assistant without text as one without content, which some refuse.
type wireRequest struct {
	Model               string                `json:"model"`
	Messages            []wireMessage         `json:"messages"`
	Stream              bool                  `json:"stream"`
	StreamOptions       *openai.StreamOptions `json:"stream_options,omitempty"`
	Tools               []wireTool            `json:"tools,omitempty"`
	ToolChoice          any                   `json:"tool_choice,omitempty"`
	ParallelToolCalls   *bool                 `json:"parallel_tool_calls,omitempty"`
	ResponseFormat      *wireFormat           `json:"response_format,omitempty"`
	ReasoningEffort     string                `json:"reasoning_effort,omitempty"`
	ChatTemplateKwargs  map[string]bool       `json:"chat_template_kwargs,omitempty"`
	Verbosity           string                `json:"verbosity,omitempty"`
	Temperature         *float64              `json:"temperature,omitempty"`
	TopP                *float64              `json:"top_p,omitempty"`
	PresencePenalty     *float64              `json:"presence_penalty,omitempty"`
	FrequencyPenalty    *float64              `json:"frequency_penalty,omitempty"`
	MaxTokens           *int                  `json:"max_tokens,omitempty"`
	MaxCompletionTokens *int                  `json:"max_completion_tokens,omitempty"`

	// Of some servers, see kind.
	ReturnProgress       bool  `json:"return_progress,omitempty"`
	AddGenerationPrompt  *bool `json:"add_generation_prompt,omitempty"`
	ContinueFinalMessage bool  `json:"continue_final_message,omitempty"`
}

type wireMessage struct {
	Role       string     `json:"role"`
	Content    any        `json:"content"` // a string, or []wirePart
	ToolCalls  []wireCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type wirePart struct {
	Type     string     `json:"type"` // text, image_url or file
	Text     string     `json:"text,omitempty"`
	ImageURL *wireImage `json:"image_url,omitempty"`
	File     *wireFile  `json:"file,omitempty"`
}

type wireImage struct {
	URL    string `json:"url"`
	Detail string `json:"detail,omitempty"`
}

type wireFile struct {
	Filename string `json:"filename"`
	FileData string `json:"file_data"`
}

type wireCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"` // function
	Function wireFunction `json:"function"`
}

type wireFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type wireTool struct {
	Type     string         `json:"type"` // function
	Function wireDefinition `json:"function"`
}

type wireDefinition struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

type wireFormat struct {
	Type       string      `json:"type"`
	JSONSchema *wireSchema `json:"json_schema,omitempty"`
}

type wireSchema struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

var withoutThinking = map[string]bool{"enable_thinking": false}

func newWireRequest(req Request) wireRequest {
	wire := wireRequest{Model: req.Model, Stream: true, StreamOptions: &openai.StreamOptions{IncludeUsage: true},
		ReasoningEffort: req.ReasoningEffort, Verbosity: req.Verbosity, Temperature: req.Temperature, TopP: req.TopP, Messages: []wireMessage{},
		PresencePenalty: req.PresencePenalty, FrequencyPenalty: req.FrequencyPenalty,
		MaxTokens: req.MaxOutputTokens} // the older name is the one that every local server knows
	if req.NoThinking { // of Ollama, llama.cpp and OpenAI; of vLLM and older llama.cpp
		wire.ReasoningEffort, wire.ChatTemplateKwargs = "none", withoutThinking
	}
	for _, m := range req.Messages {
		w, said := newWireMessage(m)
		switch {
		case !said:
		case m.Role == RoleSystem && len(wire.Messages) == 1 && wire.Messages[0].Role == RoleSystem: // many templates take one, at the beginning
			wire.Messages[0].Content = fmt.Sprintf("%s\n\n%s", wire.Messages[0].Content, m.Text)
		default:
			wire.Messages = append(wire.Messages, w)
		}
	}
	if f := req.Format; f != nil {
		wire.ResponseFormat = &wireFormat{Type: f.Type}
		if f.Schema != nil {
			wire.ResponseFormat.JSONSchema = &wireSchema{f.Name, f.Description, f.Schema, f.Strict}
		}
	}
	if req.ToolChoice.Mode == ChoiceNone { // told of no tool, no model calls one, and some do not know the choice
		return wire
	}
	for _, t := range req.Tools {
		wire.Tools = append(wire.Tools, wireTool{"function", wireDefinition(t)})
	}
	if len(wire.Tools) > 0 {
		wire.ParallelToolCalls = req.ParallelToolCalls
		switch {
		case req.ToolChoice.Name != "":
			wire.ToolChoice = map[string]any{"type": "function", "function": map[string]string{"name": req.ToolChoice.Name}}
		case req.ToolChoice.Mode != "":
			wire.ToolChoice = req.ToolChoice.Mode
		}
	}
	return wire
}

// newWireMessage returns false for a message that says nothing, which servers refuse.
func newWireMessage(m Message) (w wireMessage, said bool) {
	w = wireMessage{Role: m.Role, Content: m.Text, ToolCallID: m.CallID}
	said = m.Text != "" || m.CallID != "" || len(m.Calls) > 0
	if len(m.Parts) > 0 {
		var parts []wirePart
		for _, p := range m.Parts {
			switch {
			case p.ImageURL != "":
				parts = append(parts, wirePart{Type: "image_url", ImageURL: &wireImage{p.ImageURL, p.Detail}})
			case p.FileData != "":
				parts = append(parts, wirePart{Type: "file", File: &wireFile{p.FileName, p.FileData}})
			case p.Text != "":
				parts = append(parts, wirePart{Type: "text", Text: p.Text})
			}
		}
		w.Content, said = parts, said || len(parts) > 0
	}
	for _, call := range m.Calls {
		w.ToolCalls = append(w.ToolCalls, wireCall{call.ID, "function", wireFunction{call.Name, call.Arguments}})
	}
	return w, said
}

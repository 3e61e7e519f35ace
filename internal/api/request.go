package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"git.georgsen.dk/hwlab/internal/llm"
)

// responseRequest is the body of POST /v1/responses. Hints that change nothing here are read so that they can be echoed.
type responseRequest struct {
	Model              string            `json:"model"`
	Input              json.RawMessage   `json:"input"`
	Conversation       json.RawMessage   `json:"conversation"`
	PreviousResponseID string            `json:"previous_response_id"`
	Instructions       *string           `json:"instructions"`
	Stream             bool              `json:"stream"`
	StreamOptions      streamOptions     `json:"stream_options"`
	Store              *bool             `json:"store"`
	Background         bool              `json:"background"`
	Include            []string          `json:"include"`
	Metadata           metadata          `json:"metadata"`
	Temperature        *float64          `json:"temperature"`
	TopP               *float64          `json:"top_p"`
	PresencePenalty    *float64          `json:"presence_penalty"`
	FrequencyPenalty   *float64          `json:"frequency_penalty"`
	TopLogprobs        int               `json:"top_logprobs"`
	MaxOutputTokens    *int              `json:"max_output_tokens"`
	MaxToolCalls       *int              `json:"max_tool_calls"`
	Truncation         string            `json:"truncation"`
	Tools              []json.RawMessage `json:"tools"`
	ToolChoice         json.RawMessage   `json:"tool_choice"`
	ParallelToolCalls  *bool             `json:"parallel_tool_calls"`
	Text               textField         `json:"text"`
	Reasoning          *reasoning        `json:"reasoning"`
	ServiceTier        string            `json:"service_tier"`
	SafetyIdentifier   *string           `json:"safety_identifier"`
	PromptCacheKey     *string           `json:"prompt_cache_key"`
	User               *string           `json:"user"`

	PromptCacheOptions   promptCacheOptions `json:"prompt_cache_options"`
	PromptCacheRetention string             `json:"prompt_cache_retention"`

	refusedFields
}

// refusedFields are fields that other APIs, or OpenAI's hosted service, have, that change the answer and that are not had here.
type refusedFields struct {
	Prompt              json.RawMessage `json:"prompt"`
	ContextManagement   json.RawMessage `json:"context_management"`
	Messages            json.RawMessage `json:"messages"`
	MaxTokens           json.RawMessage `json:"max_tokens"`
	MaxCompletionTokens json.RawMessage `json:"max_completion_tokens"`
	ResponseFormat      json.RawMessage `json:"response_format"`
	Functions           json.RawMessage `json:"functions"`
	FunctionCall        json.RawMessage `json:"function_call"`
	ReasoningEffort     json.RawMessage `json:"reasoning_effort"`
	Stop                json.RawMessage `json:"stop"`
	Seed                json.RawMessage `json:"seed"`
	N                   json.RawMessage `json:"n"`
	LogitBias           json.RawMessage `json:"logit_bias"`
	Logprobs            json.RawMessage `json:"logprobs"`
}

func (f refusedFields) check() error {
	for _, field := range []struct {
		name  string
		value json.RawMessage
		use   string // instead
	}{
		{"prompt", f.Prompt, "instructions"}, {"context_management", f.ContextManagement, "truncation"}, {"messages", f.Messages, "input"},
		{"max_tokens", f.MaxTokens, "max_output_tokens"}, {"max_completion_tokens", f.MaxCompletionTokens, "max_output_tokens"},
		{"response_format", f.ResponseFormat, "text.format"}, {"functions", f.Functions, "tools"}, {"function_call", f.FunctionCall, "tool_choice"},
		{"reasoning_effort", f.ReasoningEffort, "reasoning.effort"}, {"stop", f.Stop, ""}, {"seed", f.Seed, ""}, {"n", f.N, ""},
		{"logit_bias", f.LogitBias, ""}, {"logprobs", f.Logprobs, ""},
	} {
		if !given(field.value) {
			continue
		}
		e := unsupported(field.name, field.name)
		if field.use != "" {
			e.Message += "; there is " + field.use
		}
		return e
	}
	return nil
}

type textField struct {
	Format    json.RawMessage `json:"format"`
	Verbosity string          `json:"verbosity"`
}

func (t *textField) UnmarshalJSON(raw []byte) error {
	type plain textField
	return decodeKnown("text", raw, (*plain)(t))
}

type reasoning struct {
	Effort  *string `json:"effort"`
	Summary *string `json:"summary"`
}

func (r *reasoning) UnmarshalJSON(raw []byte) error {
	type plain reasoning
	return decodeKnown("reasoning", raw, (*plain)(r))
}

type streamOptions struct {
	IncludeObfuscation *bool `json:"include_obfuscation"`
}

func (o *streamOptions) UnmarshalJSON(raw []byte) error {
	type plain streamOptions
	return decodeKnown("stream_options", raw, (*plain)(o))
}

type promptCacheOptions struct {
	Mode string `json:"mode"`
	TTL  string `json:"ttl"`
}

func (o *promptCacheOptions) UnmarshalJSON(raw []byte) error {
	type plain promptCacheOptions
	return decodeKnown("prompt_cache_options", raw, (*plain)(o))
}

// echo is what the response object repeats of its request. It is kept with the response; what an older one lacks has its default.
type echo struct {
	Instructions      *string           `json:"instructions"`
	Metadata          map[string]string `json:"metadata"`
	Temperature       *float64          `json:"temperature"`
	TopP              *float64          `json:"top_p"`
	PresencePenalty   float64           `json:"presence_penalty"`
	FrequencyPenalty  float64           `json:"frequency_penalty"`
	MaxOutputTokens   *int              `json:"max_output_tokens"`
	MaxToolCalls      *int              `json:"max_tool_calls"`
	Tools             []toolObject      `json:"tools"`
	ToolChoice        json.RawMessage   `json:"tool_choice"`
	ParallelToolCalls *bool             `json:"parallel_tool_calls"`
	Text              *textObject       `json:"text"`
	Reasoning         *reasoning        `json:"reasoning"`
	Truncation        string            `json:"truncation"`
	Unstored          bool              `json:"unstored,omitempty"`
	Background        bool              `json:"background"`
	ServiceTier       string            `json:"service_tier"`
	SafetyIdentifier  *string           `json:"safety_identifier"`
	PromptCacheKey    *string           `json:"prompt_cache_key"`
	User              *string           `json:"user"`
}

// toolObject is the specification's function tool.
type toolObject struct {
	Type        string          `json:"type"` // function
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      *bool           `json:"strict"`
}

// textObject is the specification's text field.
type textObject struct {
	Format    json.RawMessage `json:"format"`
	Verbosity string          `json:"verbosity,omitempty"`
}

type formatObject struct {
	Type string `json:"type"` // text or json_object
}

type schemaObject struct {
	Type        string          `json:"type"` // json_schema
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Strict      bool            `json:"strict"`
}

// check refuses what is wrong, and by its name what would change the answer and cannot be had. What is not checked here is
// checked where it is read.
func (q responseRequest) check() error {
	inside := func(v *float64, least, most float64) bool { return v == nil || *v >= least && *v <= most }
	short := func(param string, id *string) error {
		if utf8.RuneCountInString(value(id)) > maxIdentifier {
			return badRequest(param, "%s is longer than %d characters", param, maxIdentifier)
		}
		return nil
	}
	switch {
	case !inside(q.Temperature, 0, 2):
		return badRequest("temperature", "temperature must be from 0 to 2")
	case !inside(q.TopP, 0, 1):
		return badRequest("top_p", "top_p must be from 0 to 1")
	case !inside(q.PresencePenalty, -2, 2):
		return badRequest("presence_penalty", "presence_penalty must be from -2 to 2")
	case !inside(q.FrequencyPenalty, -2, 2):
		return badRequest("frequency_penalty", "frequency_penalty must be from -2 to 2")
	case q.MaxOutputTokens != nil && *q.MaxOutputTokens < 16:
		return badRequest("max_output_tokens", "max_output_tokens must be at least 16")
	case q.MaxToolCalls != nil && *q.MaxToolCalls < 1:
		return badRequest("max_tool_calls", "max_tool_calls must be at least 1")
	case q.PreviousResponseID != "" && given(q.Conversation):
		return badRequest("previous_response_id", "previous_response_id and conversation cannot be used together")
	case !q.stored() && q.Background:
		return badRequest("background", "a reply in the background has to be kept: background cannot be used with store: false")
	case q.TopLogprobs != 0:
		return unsupported("top_logprobs", "top_logprobs")
	}
	errs := []error{
		q.refusedFields.check(),
		oneOf("truncation", q.Truncation, "auto", "disabled"),
		oneOf("service_tier", q.ServiceTier, "auto", "default", "flex", "scale", "priority"),
		oneOf("text.verbosity", q.Text.Verbosity, "low", "medium", "high"),
		oneOf("prompt_cache_retention", q.PromptCacheRetention, "in_memory", "in-memory", "24h"),
		short("safety_identifier", q.SafetyIdentifier),
		short("prompt_cache_key", q.PromptCacheKey),
	}
	if r := q.Reasoning; r != nil {
		errs = append(errs, oneOf("reasoning.effort", value(r.Effort), "none", "minimal", "low", "medium", "high", "xhigh"),
			oneOf("reasoning.summary", value(r.Summary), "auto", "concise", "detailed"))
	}
	for i, name := range q.Include {
		errs = append(errs, oneOf(fmt.Sprintf("include[%d]", i), name, includable...))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// includable is what OpenAI's clients can ask to be included. Here nothing is that would not be otherwise.
var includable = []string{"reasoning.encrypted_content", "message.output_text.logprobs", "message.input_image.image_url",
	"file_search_call.results", "web_search_call.results", "web_search_call.action.sources", "computer_call_output.output.image_url",
	"code_interpreter_call.outputs"}

// oneOf refuses a word that is not one of those that are known; "" is none.
func oneOf(param, value string, of ...string) error {
	if value == "" || slices.Contains(of, value) {
		return nil
	}
	return badRequest(param, "%s is one of %s, not %q", param, strings.Join(of, ", "), value)
}

// maxIdentifier is the longest safety_identifier and prompt_cache_key, in characters.
const maxIdentifier = 64

// stored reports whether the reply is to be kept.
func (q responseRequest) stored() bool { return q.Store == nil || *q.Store }

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func badToolName(field string) *Error {
	return badRequest(field+".name", "%s.name must have 1 to 64 letters, digits, _ or -", field)
}

// toolName is what the specification allows as the name of a function.
var toolName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// tools reads the tools, for the model and to be echoed.
func (q responseRequest) tools() (tools []llm.Tool, objects []toolObject, err error) {
	for i, raw := range q.Tools {
		at := fmt.Sprintf("tools[%d]", i)
		var o toolObject
		if err := decode(at, raw, &o); err != nil {
			return nil, nil, err
		}
		switch {
		case o.Type == "":
			return nil, nil, badRequest(at+".type", "%s.type is missing", at)
		case o.Type != "function":
			return nil, nil, unsupported(at+".type", "a tool of type "+o.Type)
		}
		if err := decodeKnown(at, raw, &o); err != nil {
			return nil, nil, err
		}
		switch {
		case !toolName.MatchString(o.Name):
			return nil, nil, badToolName(at)
		case slices.ContainsFunc(objects, func(other toolObject) bool { return other.Name == o.Name }):
			return nil, nil, badRequest(at+".name", "there are two tools with the name %s", o.Name)
		}
		if !given(o.Parameters) {
			o.Parameters = nil
		} else if o.Parameters[0] != '{' {
			return nil, nil, badRequest(at+".parameters", "%s.parameters must be a JSON schema, which is an object", at)
		}
		objects = append(objects, o)
		tools = append(tools, llm.Tool{Name: o.Name, Description: value(o.Description), Parameters: o.Parameters, Strict: o.Strict})
	}
	return tools, objects, nil
}

type functionChoice struct {
	Type string `json:"type"` // function
	Name string `json:"name"`
}

type allowedChoice struct {
	Type  string           `json:"type"` // allowed_tools
	Mode  string           `json:"mode"`
	Tools []functionChoice `json:"tools"`
}

// toolChoice reads which of the tools are to be called, for the model and to be echoed. Where only some are allowed the model is
// told of no others.
func (q responseRequest) toolChoice(tools []llm.Tool) (choice llm.ToolChoice, allowed []llm.Tool, object json.RawMessage, err error) {
	if !given(q.ToolChoice) {
		return choice, tools, marshal(llm.ChoiceAuto), nil
	}
	has := func(name string) bool {
		return slices.ContainsFunc(tools, func(t llm.Tool) bool { return t.Name == name })
	}
	mode := func(param, mode string) error {
		switch {
		case !slices.Contains([]string{llm.ChoiceNone, llm.ChoiceAuto, llm.ChoiceRequired}, mode):
			return badRequest(param, "%s is one of none, auto, required, not %q", param, mode)
		case mode == llm.ChoiceRequired && len(tools) == 0:
			return badRequest(param, "a tool must be called, and there are no tools")
		}
		return nil
	}
	var text string
	if json.Unmarshal(q.ToolChoice, &text) == nil {
		return llm.ToolChoice{Mode: text}, tools, marshal(text), mode("tool_choice", text)
	}
	var o struct {
		Type  string            `json:"type"`
		Name  string            `json:"name"`
		Mode  string            `json:"mode"`
		Tools []json.RawMessage `json:"tools"`
	}
	if err := decodeKnown("tool_choice", q.ToolChoice, &o); err != nil {
		return choice, nil, nil, err
	}
	switch o.Type {
	case "function":
		if !has(o.Name) {
			return choice, nil, nil, badRequest("tool_choice.name", "there is no tool %q", o.Name)
		}
		return llm.ToolChoice{Name: o.Name}, tools, marshal(functionChoice{o.Type, o.Name}), nil
	case "allowed_tools":
		if o.Mode == "" {
			o.Mode = llm.ChoiceAuto
		}
		if err := mode("tool_choice.mode", o.Mode); err != nil {
			return choice, nil, nil, err
		}
		if len(o.Tools) == 0 {
			return choice, nil, nil, badRequest("tool_choice.tools", "tool_choice.tools is empty")
		}
		chosen := make([]functionChoice, len(o.Tools))
		for i, raw := range o.Tools {
			at, t := fmt.Sprintf("tool_choice.tools[%d]", i), &chosen[i]
			if err := decodeKnown(at, raw, t); err != nil {
				return choice, nil, nil, err
			}
			if t.Type != "function" {
				return choice, nil, nil, badRequest(at+".type", "%s.type must be function", at)
			}
			if !has(t.Name) {
				return choice, nil, nil, badRequest(at+".name", "there is no tool %q", t.Name)
			}
		}
		for _, t := range tools {
			if slices.Contains(chosen, functionChoice{"function", t.Name}) {
				allowed = append(allowed, t)
			}
		}
		return llm.ToolChoice{Mode: o.Mode}, allowed, marshal(allowedChoice{o.Type, o.Mode, chosen}), nil
	case "":
		return choice, nil, nil, badRequest("tool_choice.type", "tool_choice.type is missing")
	}
	return choice, nil, nil, unsupported("tool_choice.type", "tool_choice of type "+o.Type)
}

// format reads the form that the text must have, for the model and to be echoed.
func (q responseRequest) format() (*llm.Format, *textObject, error) {
	text := &textObject{Format: marshal(formatObject{"text"}), Verbosity: q.Text.Verbosity}
	if !given(q.Text.Format) {
		return nil, text, nil
	}
	var in struct {
		Type        string          `json:"type"`
		Name        string          `json:"name"`
		Description *string         `json:"description"`
		Schema      json.RawMessage `json:"schema"`
		Strict      *bool           `json:"strict"`
	}
	if err := decodeKnown("text.format", q.Text.Format, &in); err != nil {
		return nil, nil, err
	}
	switch in.Type {
	case "text":
		return nil, text, nil
	case "json_object":
		text.Format = marshal(formatObject{in.Type})
		return &llm.Format{Type: in.Type}, text, nil
	case "json_schema":
		switch {
		case !toolName.MatchString(in.Name):
			return nil, nil, badRequest("text.format.name", "text.format.name must have 1 to 64 letters, digits, _ or -")
		case !given(in.Schema) || in.Schema[0] != '{':
			return nil, nil, badRequest("text.format.schema", "text.format.schema must be a JSON schema, which is an object")
		}
		text.Format = marshal(schemaObject{in.Type, in.Name, in.Description, in.Schema, in.Strict != nil && *in.Strict})
		return &llm.Format{Type: in.Type, Name: in.Name, Description: value(in.Description), Schema: in.Schema, Strict: in.Strict}, text, nil
	case "":
		return nil, nil, badRequest("text.format.type", "text.format.type is missing")
	}
	return nil, nil, badRequest("text.format.type", "text.format.type is one of text, json_object, json_schema, not %q", in.Type)
}

// echo is what the response repeats of the request, beside what tools, toolChoice and format return.
func (q responseRequest) echo() echo {
	e := echo{Instructions: q.Instructions, Metadata: q.Metadata, Temperature: q.Temperature, TopP: q.TopP, MaxOutputTokens: q.MaxOutputTokens,
		MaxToolCalls: q.MaxToolCalls, ParallelToolCalls: q.ParallelToolCalls, Reasoning: q.Reasoning, Truncation: q.Truncation,
		Unstored: !q.stored(), Background: q.Background, ServiceTier: q.ServiceTier, SafetyIdentifier: q.SafetyIdentifier,
		PromptCacheKey: q.PromptCacheKey, User: q.User}
	if q.PresencePenalty != nil {
		e.PresencePenalty = *q.PresencePenalty
	}
	if q.FrequencyPenalty != nil {
		e.FrequencyPenalty = *q.FrequencyPenalty
	}
	return e
}

func unsupported(param, what string) *Error {
	return &Error{Status: 400, Code: "unsupported_parameter", Param: param, Message: what + " is not supported by this server"}
}

// maxValue is the longest value of metadata, in characters.
const maxValue = 512

// metadata is a client's own, within OpenAI's limits.
type metadata map[string]string

func (m *metadata) UnmarshalJSON(raw []byte) error {
	const most, longest = 16, 64
	var pairs map[string]json.RawMessage
	if err := decode("metadata", raw, &pairs); err != nil {
		return err
	}
	if pairs == nil {
		return nil
	}
	if len(pairs) > most {
		return badRequest("metadata", "metadata has more than %d pairs", most)
	}
	*m = metadata{}
	for key, raw := range pairs {
		if utf8.RuneCountInString(key) > longest {
			return badRequest("metadata", "a key of metadata is longer than %d characters", longest)
		}
		var value *string
		if err := decode("metadata."+key, raw, &value); err != nil {
			return err
		}
		switch {
		case value == nil:
			return badRequest("metadata."+key, "metadata.%s must be a string", key)
		case utf8.RuneCountInString(*value) > maxValue:
			return badRequest("metadata."+key, "metadata.%s is longer than %d characters", key, maxValue)
		}
		(*m)[key] = *value
	}
	return nil
}

func given(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }

// conversationField is the conversation field as an object; a string is its id. All but that is hwlab's own.
type conversationField struct {
	ID       string          `json:"id"`
	Head     *int64          `json:"head"`
	After    json.RawMessage `json:"after"`
	Continue string          `json:"continue"`
}

// conversation reads the conversation field, none where nothing is given: its UUID, where it ended when the sender last looked, or nil,
// and the item to go on from, nil where none is given and "" for null, which begins the conversation anew.
func (q responseRequest) conversation() (id string, expect *int64, after *string, err error) {
	if !given(q.Conversation) {
		return "", nil, nil, nil
	}
	var f conversationField
	if json.Unmarshal(q.Conversation, &f.ID) != nil && q.Conversation[0] == '{' {
		if err := decodeKnown("conversation", q.Conversation, &f); err != nil {
			return "", nil, nil, err
		}
	}
	if f.ID == "" {
		return "", nil, nil, badRequest("conversation", "conversation must be an id or an object with an id")
	}
	if id = parseID(conversationID, f.ID); id == "" {
		e := notFound("conversation", f.ID)
		e.Param = "conversation"
		return "", nil, nil, e
	}
	if f.After != nil {
		var item *string
		if err := decode("conversation.after", f.After, &item); err != nil {
			return "", nil, nil, err
		}
		after = new(string)
		if item != nil {
			if *after = parseItemID(*item); *after == "" {
				return "", nil, nil, unknownAfter(*item)
			}
		}
	}
	return id, f.Head, after, nil
}

func unknownAfter(id string) *Error {
	return badRequest("conversation.after", "there is no item %q in this conversation", id)
}

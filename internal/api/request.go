package api

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// responseRequest is the body of POST /v1/responses. Hints that change nothing here are read so that they can be echoed.
type responseRequest struct {
	Model              string            `json:"model"`
	Input              json.RawMessage   `json:"input"`
	Conversation       json.RawMessage   `json:"conversation"`
	PreviousResponseID string            `json:"previous_response_id"`
	Instructions       string            `json:"instructions"`
	Stream             bool              `json:"stream"`
	Store              *bool             `json:"store"`
	Background         bool              `json:"background"`
	Metadata           map[string]string `json:"metadata"`
	Temperature        *float64          `json:"temperature"`
	TopP               *float64          `json:"top_p"`
	MaxOutputTokens    *int              `json:"max_output_tokens"`
	Truncation         string            `json:"truncation"`
	PresencePenalty    float64           `json:"presence_penalty"`
	FrequencyPenalty   float64           `json:"frequency_penalty"`
	TopLogprobs        int               `json:"top_logprobs"`
	Tools              []json.RawMessage `json:"tools"`
	Text               struct {
		Format struct {
			Type string `json:"type"`
		} `json:"format"`
	} `json:"text"`
	Reasoning        *reasoning `json:"reasoning"`
	SafetyIdentifier *string    `json:"safety_identifier"`
	PromptCacheKey   *string    `json:"prompt_cache_key"`
}

type reasoning struct {
	Effort  *string `json:"effort"`
	Summary *string `json:"summary"`
}

// echo is what the response object repeats of its request. It is kept with the response.
type echo struct {
	Instructions     *string           `json:"instructions"`
	Metadata         map[string]string `json:"metadata"`
	Temperature      *float64          `json:"temperature"`
	TopP             *float64          `json:"top_p"`
	MaxOutputTokens  *int              `json:"max_output_tokens"`
	Reasoning        *reasoning        `json:"reasoning"`
	SafetyIdentifier *string           `json:"safety_identifier"`
	PromptCacheKey   *string           `json:"prompt_cache_key"`
	Background       bool              `json:"background"`
}

func (q responseRequest) echo() json.RawMessage {
	e := echo{Metadata: q.Metadata, Temperature: q.Temperature, TopP: q.TopP, MaxOutputTokens: q.MaxOutputTokens, Reasoning: q.Reasoning,
		SafetyIdentifier: q.SafetyIdentifier, PromptCacheKey: q.PromptCacheKey, Background: q.Background}
	if q.Instructions != "" {
		e.Instructions = &q.Instructions
	}
	return marshal(e)
}

// check refuses what is wrong, and by its name what would change the answer and cannot be had.
func (q responseRequest) check() error {
	switch {
	case q.Temperature != nil && (*q.Temperature < 0 || *q.Temperature > 2):
		return badRequest("temperature", "temperature must be from 0 to 2")
	case q.TopP != nil && (*q.TopP < 0 || *q.TopP > 1):
		return badRequest("top_p", "top_p must be from 0 to 1")
	case q.MaxOutputTokens != nil && *q.MaxOutputTokens < 16:
		return badRequest("max_output_tokens", "max_output_tokens must be at least 16")
	case q.Truncation != "" && q.Truncation != "auto" && q.Truncation != "disabled":
		return badRequest("truncation", "truncation is auto or disabled")
	case q.PreviousResponseID != "" && given(q.Conversation):
		return badRequest("previous_response_id", "previous_response_id and conversation cannot be used together")
	case q.Truncation == "auto":
		return unsupported("truncation", "truncation: auto")
	case q.Store != nil && !*q.Store:
		return unsupported("store", "store: false")
	case len(q.Tools) > 0:
		return unsupported("tools", "tools")
	case q.Text.Format.Type != "" && q.Text.Format.Type != "text":
		return unsupported("text.format", "text.format "+q.Text.Format.Type)
	case q.PresencePenalty != 0:
		return unsupported("presence_penalty", "presence_penalty")
	case q.FrequencyPenalty != 0:
		return unsupported("frequency_penalty", "frequency_penalty")
	case q.TopLogprobs != 0:
		return unsupported("top_logprobs", "top_logprobs")
	}
	return checkMetadata(q.Metadata)
}

func unsupported(param, what string) *Error {
	return &Error{Status: 400, Code: "unsupported_parameter", Param: param, Message: what + " is not supported by this server"}
}

// checkMetadata holds metadata to OpenAI's limits.
func checkMetadata(metadata map[string]string) error {
	const pairs, key, value = 16, 64, 512
	if len(metadata) > pairs {
		return badRequest("metadata", "metadata has more than %d pairs", pairs)
	}
	for k, v := range metadata {
		if utf8.RuneCountInString(k) > key {
			return badRequest("metadata", "a key of metadata is longer than %d characters", key)
		}
		if utf8.RuneCountInString(v) > value {
			return badRequest("metadata."+k, "metadata.%s is longer than %d characters", k, value)
		}
	}
	return nil
}

func given(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }

// conversation reads the conversation field: an id, or an object with one. With head, hwlab's own, the object says where
// the conversation ended when the sender last looked.
func (q responseRequest) conversation() (id string, expect *int64, err error) {
	if !given(q.Conversation) {
		return "", nil, nil
	}
	var object struct {
		ID   string `json:"id"`
		Head *int64 `json:"head"`
	}
	if json.Unmarshal(q.Conversation, &object.ID) != nil && json.Unmarshal(q.Conversation, &object) != nil || object.ID == "" {
		return "", nil, badRequest("conversation", "conversation must be an id or an object with an id")
	}
	if id = parseID(conversationID, object.ID); id == "" {
		return "", nil, notFound("conversation", object.ID)
	}
	return id, object.Head, nil
}

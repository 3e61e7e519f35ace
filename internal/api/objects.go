package api

import (
	"cmp"
	"encoding/json"
	"time"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// list is OpenAI's page of objects.
type list struct {
	Object  string  `json:"object"` // list
	Data    []any   `json:"data"`
	FirstID *string `json:"first_id"`
	LastID  *string `json:"last_id"`
	HasMore bool    `json:"has_more"`
}

func newList[T any](rows []T, id func(T) string, object func(T) any, more bool) list {
	l := list{Object: "list", Data: []any{}, HasMore: more}
	for _, row := range rows {
		l.Data = append(l.Data, object(row))
	}
	if len(rows) > 0 {
		first, last := id(rows[0]), id(rows[len(rows)-1])
		l.FirstID, l.LastID = &first, &last
	}
	return l
}

// conversationObject is OpenAI's conversation, and from Title on hwlab's own.
type conversationObject struct {
	ID        string            `json:"id"`
	Object    string            `json:"object"` // conversation
	CreatedAt int64             `json:"created_at"`
	Metadata  map[string]string `json:"metadata"`

	Title             string  `json:"title"`
	Model             string  `json:"model"`
	MessageCount      int     `json:"message_count"`
	Head              int64   `json:"head"` // what a turn may expect, see responseRequest.conversation
	UpdatedAt         int64   `json:"updated_at"`
	Pinned            bool    `json:"pinned"`
	Archived          bool    `json:"archived"`
	RunningResponseID *string `json:"running_response_id"` // the reply being written
}

func newConversation(c store.ConversationSummary) conversationObject {
	return conversationObject{ID: conversationID + c.ID, Object: "conversation", CreatedAt: c.StartedAt.Unix(), Metadata: c.Metadata,
		Title: c.Title, Model: c.Model, MessageCount: c.MessageCount, Head: c.Head, UpdatedAt: c.UpdatedAt.Unix(),
		Pinned: c.Pinned, Archived: c.Archived, RunningResponseID: nullable(responseID, c.RunningID)}
}

// responseObject is the specification's response resource; every field it requires is there. Conversation and User are OpenAI's,
// DroppedTurns is hwlab's own: how many turns truncation: auto has left out.
type responseObject struct {
	ID                 string             `json:"id"`
	Object             string             `json:"object"` // response
	CreatedAt          int64              `json:"created_at"`
	CompletedAt        *int64             `json:"completed_at"`
	Status             string             `json:"status"`
	IncompleteDetails  *incompleteDetails `json:"incomplete_details"`
	Model              string             `json:"model"`
	PreviousResponseID *string            `json:"previous_response_id"`
	Conversation       *conversationRef   `json:"conversation"`
	Instructions       *string            `json:"instructions"`
	Output             []itemObject       `json:"output"`
	Error              *responseError     `json:"error"`
	Tools              []toolObject       `json:"tools"`
	ToolChoice         json.RawMessage    `json:"tool_choice"`
	Truncation         string             `json:"truncation"`
	ParallelToolCalls  bool               `json:"parallel_tool_calls"`
	Text               *textObject        `json:"text"`
	TopP               float64            `json:"top_p"`
	PresencePenalty    float64            `json:"presence_penalty"`
	FrequencyPenalty   float64            `json:"frequency_penalty"`
	TopLogprobs        int                `json:"top_logprobs"`
	Temperature        float64            `json:"temperature"`
	Reasoning          *reasoning         `json:"reasoning"`
	Usage              *usage             `json:"usage"`
	MaxOutputTokens    *int               `json:"max_output_tokens"`
	MaxToolCalls       *int               `json:"max_tool_calls"`
	Store              bool               `json:"store"`
	Background         bool               `json:"background"`
	ServiceTier        string             `json:"service_tier"`
	Metadata           map[string]string  `json:"metadata"`
	SafetyIdentifier   *string            `json:"safety_identifier"`
	PromptCacheKey     *string            `json:"prompt_cache_key"`
	User               *string            `json:"user,omitempty"`
	DroppedTurns       int                `json:"dropped_turns,omitempty"`
}

type incompleteDetails struct {
	Reason string `json:"reason"`
}

type conversationRef struct {
	ID string `json:"id"`
}

type responseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type usage struct {
	InputTokens        int64            `json:"input_tokens"`
	InputTokensDetails map[string]int64 `json:"input_tokens_details"`
	OutputTokens       int64            `json:"output_tokens"`
	OutputDetails      map[string]int64 `json:"output_tokens_details"`
	TotalTokens        int64            `json:"total_tokens"`
}

// newResponse is a reply as an object, with the output it has.
func newResponse(r store.Response, output []itemObject) (responseObject, error) {
	e := echo{ToolChoice: marshal(llm.ChoiceAuto), Text: &textObject{Format: marshal(formatObject{"text"})}}
	if err := json.Unmarshal(r.Request, &e); err != nil {
		return responseObject{}, err
	}
	o := responseObject{ID: responseID + r.ID, Object: "response", CreatedAt: r.CreatedAt.Unix(), Status: string(r.Status), Model: r.Model,
		PreviousResponseID: nullable(responseID, r.PreviousID), Instructions: e.Instructions, Output: output, Tools: []toolObject{},
		ToolChoice: e.ToolChoice, Truncation: cmp.Or(e.Truncation, "disabled"), ParallelToolCalls: e.ParallelToolCalls == nil || *e.ParallelToolCalls,
		Text: e.Text, TopP: 1, PresencePenalty: e.PresencePenalty, FrequencyPenalty: e.FrequencyPenalty, Temperature: 1, Reasoning: e.Reasoning,
		MaxOutputTokens: e.MaxOutputTokens, MaxToolCalls: e.MaxToolCalls, Store: !e.Unstored, Background: e.Background,
		ServiceTier: cmp.Or(e.ServiceTier, "default"), Metadata: map[string]string{}, SafetyIdentifier: e.SafetyIdentifier,
		PromptCacheKey: e.PromptCacheKey, User: e.User, DroppedTurns: r.DroppedTurns}
	if e.Tools != nil {
		o.Tools = e.Tools
	}
	if e.Metadata != nil {
		o.Metadata = e.Metadata
	}
	if e.Temperature != nil {
		o.Temperature = *e.Temperature
	}
	if e.TopP != nil {
		o.TopP = *e.TopP
	}
	if o.Output == nil {
		o.Output = []itemObject{}
	}
	if r.Listed {
		o.Conversation = &conversationRef{conversationID + r.ConversationID}
	}
	if r.Ended() {
		at := r.EndedAt.Unix()
		o.CompletedAt = &at
	}
	if r.IncompleteReason != "" {
		o.IncompleteDetails = &incompleteDetails{r.IncompleteReason}
	}
	if r.Error != nil {
		o.Error = &responseError{r.Error.Code, r.Error.Message}
	}
	if u := r.Usage; u != nil {
		o.Usage = &usage{InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, TotalTokens: u.InputTokens + u.OutputTokens,
			InputTokensDetails: map[string]int64{"cached_tokens": u.CachedTokens, "cache_write_tokens": 0}, // which nobody tells
			OutputDetails:      map[string]int64{"reasoning_tokens": u.ReasoningTokens}}
	}
	return o, nil
}

// started is r as it was when it started, for the events that open its stream.
func started(r store.Response) store.Response {
	r.Status, r.Usage, r.Error, r.IncompleteReason, r.DroppedTurns, r.EndedAt = store.ResponseInProgress, nil, nil, "", 0, time.Time{}
	return r
}

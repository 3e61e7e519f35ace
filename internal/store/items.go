package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// The types of items.
const (
	ItemMessage      = "message"
	ItemFunctionCall = "function_call"
	ItemCallOutput   = "function_call_output"
	ItemReasoning    = "reasoning"
)

// The types of parts. The parts of an output that are fields of its item in the API are parts in its log, so that they can be
// told as they come: the name of a call, its arguments, the summary of a reasoning.
const (
	PartInputText     = "input_text"
	PartInputImage    = "input_image"
	PartInputFile     = "input_file"
	PartOutputText    = outputText
	PartRefusal       = "refusal"
	PartSummaryText   = "summary_text"
	PartReasoningText = "reasoning_text"
	PartCallID        = "call_id"
	PartName          = "name"
	PartArguments     = "arguments"
)

// Part is one part of an [Item].
type Part struct {
	Type     string `json:"type"`
	Text     string `json:"text,omitempty"`      // also of a refusal
	ImageURL string `json:"image_url,omitempty"` // http, https or data
	Detail   string `json:"detail,omitempty"`
	Filename string `json:"filename,omitempty"`
	FileData string `json:"file_data,omitempty"` // base64, or a data URL
}

// Item is what a message is, typed. As JSON it is [NewMessage.Item].
type Item struct {
	Type             string `json:"type"`
	Role             string `json:"role,omitempty"`    // of a message; developer keeps its role here
	Content          []Part `json:"content,omitempty"` // of a message, or of a reasoning
	CallID           string `json:"call_id,omitempty"`
	Name             string `json:"name,omitempty"`
	Arguments        string `json:"arguments,omitempty"`
	Output           []Part `json:"output,omitempty"` // of a call's output; without, the message's Content is the output
	Summary          []Part `json:"summary,omitempty"`
	EncryptedContent string `json:"encrypted_content,omitempty"`
}

// Typed is what m is: the item that is kept with it, or made of its text.
func (m Message) Typed() (Item, error) {
	if m.Item == nil {
		kind := PartInputText
		if m.Role == "assistant" {
			kind = PartOutputText
		}
		return Item{Type: ItemMessage, Role: m.Role, Content: []Part{{Type: kind, Text: m.Content}}}, nil
	}
	var kept struct {
		Item
		Parts []Part `json:"parts"` // of an output, see Fold
	}
	if err := json.Unmarshal(m.Item, &kept); err != nil {
		return Item{}, fmt.Errorf("store: message %s: %w", m.ID, err)
	}
	it := kept.Item
	if it.Type == ItemMessage && it.Role == "" {
		it.Role = m.Role
	}
	for _, p := range kept.Parts {
		switch p.Type {
		case PartCallID:
			it.CallID = p.Text
		case PartName:
			it.Name = p.Text
		case PartArguments:
			it.Arguments = p.Text
		case PartSummaryText:
			it.Summary = append(it.Summary, p)
		default:
			it.Content = append(it.Content, p)
		}
	}
	return it, nil
}

// FindMessage returns a message by its id alone, whatever its conversation. It returns ErrNotFound for an unknown or deleted one.
func (s *Store) FindMessage(ctx context.Context, id string) (Message, error) {
	if !IsID(id) {
		return Message{}, ErrNotFound
	}
	rows, err := s.pool.Query(ctx, `SELECT `+messageColumns+` FROM messages WHERE id = $1::uuid AND status <> 'deleted'`, id)
	if err != nil {
		return Message{}, Wrap("find message", err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, scanMessage)
	if errors.Is(err, pgx.ErrNoRows) {
		return Message{}, ErrNotFound
	}
	if err != nil {
		return Message{}, Wrap("find message", err)
	}
	return m, nil
}

package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"git.georgsen.dk/hwlab/internal/store"
)

// This file is the way of an item between a client and the record: parseInput makes messages of what a client sends, newItem
// makes an item of a message that is kept.

// inputItem is an item as clients send it. Its id and status are not read: an item that is kept gets its own.
type inputItem struct {
	Type             string          `json:"type"`
	ID               string          `json:"id"`
	Role             string          `json:"role"`
	Content          json.RawMessage `json:"content"`
	CallID           string          `json:"call_id"`
	Name             string          `json:"name"`
	Arguments        *string         `json:"arguments"`
	Output           json.RawMessage `json:"output"`
	Summary          json.RawMessage `json:"summary"`
	EncryptedContent string          `json:"encrypted_content"`
}

// inputPart is a part of an item as clients send it.
type inputPart struct {
	Type     string  `json:"type"`
	Text     *string `json:"text"`
	Refusal  *string `json:"refusal"`
	ImageURL string  `json:"image_url"`
	Detail   string  `json:"detail"`
	Filename string  `json:"filename"`
	FileData string  `json:"file_data"`
	FileURL  string  `json:"file_url"`
	FileID   string  `json:"file_id"`
}

// parseInput reads input: a string, or items.
func (a *API) parseInput(ctx context.Context, raw json.RawMessage) ([]store.NewMessage, error) {
	var text string
	if given(raw) && json.Unmarshal(raw, &text) == nil {
		return []store.NewMessage{{Role: "user", Content: text}}, nil
	}
	var items []json.RawMessage
	if given(raw) && json.Unmarshal(raw, &items) != nil {
		return nil, badRequest("input", "input must be a string or a list of items")
	}
	return a.parseItems(ctx, "input", items)
}

// mostItems is how many items a request can add to a conversation.
const mostItems = 20

// parseNewItems reads the items that are added to a conversation without a question.
func (a *API) parseNewItems(ctx context.Context, raw json.RawMessage) ([]store.NewMessage, error) {
	var items []json.RawMessage
	if given(raw) && json.Unmarshal(raw, &items) != nil {
		return nil, badRequest("items", "items must be a list of items")
	}
	if len(items) > mostItems {
		return nil, badRequest("items", "items has more than %d items", mostItems)
	}
	return a.parseItems(ctx, "items", items)
}

// parseItems reads the items of a field. An item_reference becomes a copy of the item that it names.
func (a *API) parseItems(ctx context.Context, field string, items []json.RawMessage) (list []store.NewMessage, err error) {
	for i, raw := range items {
		m, err := a.parseItem(ctx, fmt.Sprintf("%s[%d]", field, i), raw)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

func (a *API) parseItem(ctx context.Context, field string, raw json.RawMessage) (m store.NewMessage, err error) {
	var in inputItem
	if err := decode(field, raw, &in); err != nil {
		return m, err
	}
	kind := in.Type
	switch {
	case kind == "" && in.Role != "":
		kind = store.ItemMessage
	case kind == "" && in.ID != "":
		kind = "item_reference"
	}
	switch kind {
	case store.ItemMessage:
		return parseMessage(field, in)
	case store.ItemFunctionCall:
		switch {
		case !isCallID(in.CallID):
			return m, badCallID(field)
		case !toolName.MatchString(in.Name):
			return m, badToolName(field)
		case in.Arguments == nil:
			return m, badRequest(field+".arguments", "%s.arguments is missing", field)
		}
		it := store.Item{Type: kind, CallID: in.CallID, Name: in.Name, Arguments: *in.Arguments}
		return store.NewMessage{Role: "assistant", Content: it.Arguments, Item: marshal(it)}, nil
	case store.ItemCallOutput:
		if !isCallID(in.CallID) {
			return m, badCallID(field)
		}
		m.Role = "user"
		it := store.Item{Type: kind, CallID: in.CallID}
		if m.Content, it.Output, err = parseContent(field+".output", in.Output, m.Role); err != nil {
			return m, err
		}
		m.Item = marshal(it)
		return m, nil
	case store.ItemReasoning:
		it := store.Item{Type: kind, EncryptedContent: in.EncryptedContent}
		if it.Summary, err = parseReasoning(field+".summary", in.Summary, store.PartSummaryText); err != nil {
			return m, err
		}
		if it.Content, err = parseReasoning(field+".content", in.Content, store.PartReasoningText); err != nil {
			return m, err
		}
		return store.NewMessage{Role: "assistant", Item: marshal(it)}, nil
	case "item_reference":
		if in.ID == "" {
			return m, badRequest(field+".id", "%s.id is missing", field)
		}
		found, err := a.Record.FindMessage(ctx, parseItemID(in.ID))
		if errors.Is(err, store.ErrNotFound) {
			e := notFound("item", in.ID)
			e.Param = field + ".id"
			return m, e
		}
		return store.NewMessage{Role: found.Role, Content: found.Content, Item: found.Item}, err
	case "":
		return m, badRequest(field+".type", "%s.type is missing", field)
	}
	return m, unsupported(field+".type", "an item of type "+kind)
}

// saysSomething reports whether a model that knows nothing else is told anything by input.
func saysSomething(input []store.NewMessage) bool {
	return slices.ContainsFunc(input, func(m store.NewMessage) bool {
		it, err := store.Message{Role: m.Role, Content: m.Content, Item: m.Item}.Typed()
		switch {
		case err != nil || it.Type == store.ItemCallOutput:
			return true
		case it.Type != store.ItemMessage:
			return false
		}
		return m.Content != "" || slices.ContainsFunc(it.Content, func(p store.Part) bool {
			return p.Type == store.PartInputImage || p.Type == store.PartInputFile
		})
	})
}

// isCallID reports whether the specification allows id as the id of a call.
func isCallID(id string) bool { return id != "" && utf8.RuneCountInString(id) <= 64 }

func badCallID(field string) *Error {
	return badRequest(field+".call_id", "%s.call_id must have 1 to 64 characters", field)
}

func parseMessage(field string, in inputItem) (m store.NewMessage, err error) {
	m.Role = in.Role
	if in.Role == "developer" { // the record knows three roles; the item keeps the fourth
		m.Role = "system"
	}
	if !slices.Contains([]string{"user", "assistant", "system"}, m.Role) {
		return m, badRequest(field+".role", "%q is not a role: it is one of user, assistant, system, developer", in.Role)
	}
	it := store.Item{Type: store.ItemMessage, Role: in.Role}
	if m.Content, it.Content, err = parseContent(field+".content", in.Content, in.Role); err != nil {
		return m, err
	}
	if it.Content == nil {
		it.Content = []store.Part{{Type: partTypeOf(m.Role), Text: m.Content}}
	}
	if it.Role != m.Role || len(it.Content) != 1 || it.Content[0].Type != partTypeOf(m.Role) {
		m.Item = marshal(it)
	}
	return m, nil
}

// parseContent reads a string, or parts that may stand in a message of role, and returns the text to be searched in.
func parseContent(field string, raw json.RawMessage, role string) (text string, parts []store.Part, err error) {
	if given(raw) && json.Unmarshal(raw, &text) == nil {
		return text, nil, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return "", nil, badRequest(field, "%s must be a string or a list of parts", field)
	}
	var texts, files []string
	for i, raw := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		var in inputPart
		if err := decode(at, raw, &in); err != nil {
			return "", nil, err
		}
		p := store.Part{Type: in.Type}
		switch {
		case in.Type == store.PartInputText || in.Type == store.PartOutputText || in.Type == "text":
			if in.Text == nil {
				return "", nil, badRequest(at+".text", "%s.text is missing", at)
			}
			p.Type, p.Text = partTypeOf(role), *in.Text
			texts = append(texts, p.Text)
		case in.Type == store.PartRefusal && role == "assistant":
			if in.Refusal == nil {
				return "", nil, badRequest(at+".refusal", "%s.refusal is missing", at)
			}
			p.Text = *in.Refusal
			texts = append(texts, p.Text)
		case in.Type == store.PartInputImage && role == "user":
			if err := parseImage(at, in, &p); err != nil {
				return "", nil, err
			}
		case in.Type == store.PartInputFile && role == "user":
			text, err := parseFile(at, in, &p)
			if err != nil {
				return "", nil, err
			}
			if text != "" {
				files = append(files, text)
			}
		case in.Type == "":
			return "", nil, badRequest(at+".type", "%s.type is missing", at)
		default:
			return "", nil, unsupported(at+".type", "a part of type "+in.Type+" in what the "+role+" says")
		}
		parts = append(parts, p)
	}
	return strings.Join(append(texts, files...), "\n"), parts, nil
}

func parseImage(field string, in inputPart, p *store.Part) error {
	switch {
	case in.FileID != "":
		return unsupported(field+".file_id", "file_id")
	case in.ImageURL == "":
		return badRequest(field+".image_url", "%s.image_url is missing", field)
	case !isImage(in.ImageURL):
		return badRequest(field+".image_url", "%s.image_url must be a URL with http or https, or a data URL of an image in base64", field)
	case !slices.Contains([]string{"", "low", "high", "auto"}, in.Detail):
		return badRequest(field+".detail", "%s.detail is one of low, high, auto", field)
	}
	p.ImageURL, p.Detail = in.ImageURL, in.Detail
	return nil
}

// parseFile takes a file that is text, which the model is told, or PDF, which is passed on. It returns the text.
func parseFile(field string, in inputPart, p *store.Part) (string, error) {
	switch {
	case in.FileID != "":
		return "", unsupported(field+".file_id", "file_id")
	case in.FileURL != "":
		return "", unsupported(field+".file_url", "file_url, as files are not fetched,")
	case in.FileData == "":
		return "", badRequest(field+".file_data", "%s.file_data is missing", field)
	}
	p.Filename, p.FileData = in.Filename, in.FileData
	data, err := fileBytes(in.FileData)
	switch {
	case err != nil:
		return "", badRequest(field+".file_data", "%s.file_data is not base64", field)
	case isPDF(data):
		return "", nil
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		return "", unsupported(field+".file_data", "a file that is neither text nor PDF")
	}
	return string(data), nil
}

// parseReasoning reads the parts of a reasoning; absent is none.
func parseReasoning(field string, raw json.RawMessage, kind string) (parts []store.Part, err error) {
	if !given(raw) {
		return nil, nil
	}
	var list []json.RawMessage
	if err := decode(field, raw, &list); err != nil {
		return nil, err
	}
	for i, raw := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		var in inputPart
		if err := decode(at, raw, &in); err != nil {
			return nil, err
		}
		if in.Type != kind {
			return nil, badRequest(at+".type", "%s.type must be %s", at, kind)
		}
		if in.Text == nil {
			return nil, badRequest(at+".text", "%s.text is missing", at)
		}
		parts = append(parts, store.Part{Type: kind, Text: *in.Text})
	}
	return parts, nil
}

// decode reads JSON into v and names the field that is of the wrong type.
func decode(field string, raw json.RawMessage, v any) error {
	err := json.Unmarshal(raw, v)
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		if wrong.Field != "" {
			field = inside(field, wrong.Field)
		}
		return badRequest(field, "%s cannot be %s", field, article(wrong.Value))
	}
	if err != nil {
		return badRequest(field, "%s cannot be read: %v", cmp.Or(field, "the body"), err)
	}
	return nil
}

// article is what encoding/json calls a value, with its article.
func article(value string) string {
	if value == "array" || value == "object" {
		return "an " + value
	}
	return "a " + value
}

// fileBytes decodes file_data: base64, alone or in a data URL.
func fileBytes(data string) ([]byte, error) {
	if hasScheme(data, "data") {
		head, rest, ok := strings.Cut(data, ",")
		if !ok || !strings.HasSuffix(strings.ToLower(head), ";base64") {
			return nil, errors.New("not base64")
		}
		data = rest
	}
	return base64.StdEncoding.DecodeString(data)
}

// isImage reports whether a model can be told of an image by this URL. One that no model takes would be in its conversation for ever.
func isImage(image string) bool {
	if hasScheme(image, "data") {
		data, err := fileBytes(image)
		return err == nil && len(data) > 0 && strings.HasPrefix(strings.ToLower(image), "data:image/")
	}
	u, err := url.Parse(image)
	return err == nil && hasScheme(image, "http", "https") && u.Host != ""
}

func isPDF(data []byte) bool { return bytes.HasPrefix(data, []byte("%PDF-")) }

func hasScheme(u string, schemes ...string) bool {
	scheme, _, ok := strings.Cut(u, ":")
	return ok && slices.Contains(schemes, strings.ToLower(scheme))
}

// partTypeOf is the type of a text part in a message of role.
func partTypeOf(role string) string {
	if role == "assistant" {
		return store.PartOutputText
	}
	return store.PartInputText
}

// itemObject is an item as clients get it; what an item of its type does not have is nil or "". From CreatedAt on it is
// hwlab's own.
type itemObject struct {
	Type             string  `json:"type"`
	ID               string  `json:"id"`
	Status           string  `json:"status"`
	Role             string  `json:"role,omitempty"`
	Content          []any   `json:"content,omitzero"`
	CallID           string  `json:"call_id,omitempty"`
	Name             string  `json:"name,omitempty"`
	Arguments        *string `json:"arguments,omitempty"`
	Output           any     `json:"output,omitempty"`
	Summary          []any   `json:"summary,omitzero"`
	EncryptedContent string  `json:"encrypted_content,omitempty"`

	CreatedAt  int64   `json:"created_at,omitempty"`
	ResponseID *string `json:"response_id,omitempty"`

	// In the lists of items, see newThreadItem:
	Model  string        `json:"model,omitempty"` // that wrote it
	Branch *branchObject `json:"branch,omitempty"`
	Silent *string       `json:"silent_response_id,omitempty"` // the reply that it asked for, which ended without a word
}

// newItem is a kept message as an item.
func newItem(m store.Message) (itemObject, error) {
	it, err := m.Typed()
	if err != nil {
		return itemObject{}, err
	}
	o := itemObject{Type: it.Type, ID: newItemID(it.Type, m.ID), Status: string(m.Status), CreatedAt: m.CreatedAt.Unix(),
		ResponseID: nullable(responseID, m.ResponseID)}
	switch it.Type {
	case store.ItemFunctionCall:
		o.CallID, o.Name, o.Arguments = it.CallID, it.Name, &it.Arguments
	case store.ItemCallOutput:
		o.CallID, o.Output = it.CallID, m.Content
		if it.Output != nil {
			o.Output = newParts(it.Output)
		}
	case store.ItemReasoning:
		o.Summary, o.EncryptedContent = newParts(it.Summary), it.EncryptedContent
		if it.Content != nil {
			o.Content = newParts(it.Content)
		}
	default:
		o.Role, o.Content = it.Role, newParts(it.Content)
	}
	return o, nil
}

// copy is o as it is now, for an event; o goes on changing.
func (o itemObject) copy() *itemObject {
	o.Content, o.Summary = slices.Clone(o.Content), slices.Clone(o.Summary)
	return &o
}

func newParts(parts []store.Part) []any {
	list := []any{}
	for _, p := range parts {
		list = append(list, newPart(p))
	}
	return list
}

type textPart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type outputText struct {
	Type        string `json:"type"` // output_text
	Text        string `json:"text"`
	Annotations []any  `json:"annotations"`
	Logprobs    []any  `json:"logprobs"`
}

type refusalPart struct {
	Type    string `json:"type"` // refusal
	Refusal string `json:"refusal"`
}

type imagePart struct {
	Type     string `json:"type"` // input_image
	ImageURL string `json:"image_url"`
	Detail   string `json:"detail"`
}

type filePart struct {
	Type     string `json:"type"` // input_file
	Filename string `json:"filename,omitempty"`
	FileData string `json:"file_data,omitempty"`
}

// newPart is a part as clients get it.
func newPart(p store.Part) any {
	switch p.Type {
	case store.PartOutputText:
		return outputText{p.Type, p.Text, []any{}, []any{}}
	case store.PartRefusal:
		return refusalPart{p.Type, p.Text}
	case store.PartInputImage:
		detail := p.Detail
		if detail == "" {
			detail = "auto"
		}
		return imagePart{p.Type, p.ImageURL, detail}
	case store.PartInputFile:
		return filePart{p.Type, p.Filename, p.FileData}
	}
	return textPart{p.Type, p.Text}
}

// itemPrefixes are what the ids of items begin with, by type. The rest is the UUID of the message.
var itemPrefixes = map[string]string{store.ItemMessage: messageID, store.ItemFunctionCall: "fc_", store.ItemCallOutput: "fco_",
	store.ItemReasoning: "rs_"}

func newItemID(kind, id string) string {
	if prefix, ok := itemPrefixes[kind]; ok {
		return prefix + id
	}
	return messageID + id
}

// parseItemID returns the UUID of an item's id, or "", which names nothing.
func parseItemID(id string) string {
	for _, prefix := range itemPrefixes {
		if rest, ok := strings.CutPrefix(id, prefix); ok {
			return rest
		}
	}
	return ""
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"git.georgsen.dk/hwlab/internal/archive"
	"git.georgsen.dk/hwlab/internal/store"
)

// reader is what the commands that only look need: a record on this machine, or the hwlab of HWLAB_URL.
type reader interface {
	archive.Thread
	List(ctx context.Context, q store.ListQuery) (store.ListPage, error)
	Search(ctx context.Context, q store.SearchQuery) (store.Hits, error)
	// Find returns the id of the conversation that text names.
	Find(ctx context.Context, text string) (string, error)
	Close()
}

// openReader opens what is configured to be looked at.
func openReader(ctx context.Context, cfg config) (reader, error) {
	if cfg.URL != "" {
		c, err := remoteClient(cfg)
		if err != nil {
			return nil, err
		}
		return remote{c}, nil
	}
	r, err := openSource(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return localReader{r}, nil
}

type localReader struct{ keeper }

func (r localReader) Find(ctx context.Context, text string) (string, error) {
	return findConversation(ctx, r.keeper, text)
}

// remote reads through a hwlab. Times are in whole seconds there.
type remote struct{ *client }

func (r remote) Close() { r.http.CloseIdleConnections() }

// conversationWire is a conversation as the API writes it.
type conversationWire struct {
	ID        string
	CreatedAt int64 `json:"created_at"`
	UpdatedAt int64 `json:"updated_at"`
	Title     string
	Model     string
	Messages  int `json:"message_count"`
	Pinned    bool
	Archived  bool
}

func (c conversationWire) summary() store.ConversationSummary {
	return store.ConversationSummary{ID: uuidOf(c.ID), Model: c.Model, StartedAt: time.Unix(c.CreatedAt, 0).UTC(), UpdatedAt: time.Unix(c.UpdatedAt, 0).UTC(),
		MessageCount: c.Messages, Title: c.Title, Pinned: c.Pinned, Archived: c.Archived}
}

// uuidOf is an id without its kind.
func uuidOf(id string) string { return id[strings.LastIndexByte(id, '_')+1:] }

// conversations is a page of conversations.
func (c *client) conversations(ctx context.Context, q url.Values) (list []conversationWire, more bool, err error) {
	var page struct {
		Data []conversationWire
		More bool `json:"has_more"`
	}
	err = c.call(ctx, http.MethodGet, "/v1/conversations?"+q.Encode(), nil, &page)
	return page.Data, page.More, err
}

// Find returns the id of the conversation that text names: its id, with or without conv_, or a unique beginning of it.
func (c *client) Find(ctx context.Context, text string) (string, error) {
	prefix := strings.ToLower(strings.TrimPrefix(text, "conv_"))
	if prefix == "" {
		return "", &notFoundError{text}
	}
	found, _, err := c.conversations(ctx, url.Values{"prefix": {prefix}, "limit": {"2"}})
	var refused *apiError
	if errors.As(err, &refused) && refused.Status == http.StatusBadRequest { // no id begins so
		return "", &notFoundError{text}
	}
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", &notFoundError{text}
	case 1:
		return uuidOf(found[0].ID), nil
	}
	return "", severalError(text)
}

func (r remote) List(ctx context.Context, q store.ListQuery) (page store.ListPage, err error) {
	query := url.Values{"limit": {strconv.Itoa(q.Limit)}, "archived": {strconv.FormatBool(q.Archived)}}
	if q.After != nil {
		query.Set("after", "conv_"+q.After.ID)
	}
	list, more, err := r.conversations(ctx, query)
	for _, c := range list {
		page.Conversations = append(page.Conversations, c.summary())
	}
	page.More = more
	return page, err
}

// itemWire is an item as the API writes it.
type itemWire struct {
	store.Item
	ID         string
	Status     store.MessageStatus
	CreatedAt  int64           `json:"created_at"`
	ResponseID string          `json:"response_id"`
	Output     json.RawMessage `json:"output"` // a text, or parts
	Content    []partWire      `json:"content"`
}

// partWire is a part of a message as the API writes it.
type partWire struct {
	store.Part
	Refusal string
}

// message is an item as the record has it.
func (i itemWire) message() (m store.Message, err error) {
	it := i.Item
	m = store.Message{ID: uuidOf(i.ID), Role: "assistant", Status: i.Status, CreatedAt: time.Unix(i.CreatedAt, 0).UTC(), ResponseID: uuidOf(i.ResponseID)}
	var texts []string
	for _, p := range i.Content {
		if p.Type == store.PartRefusal {
			p.Text = p.Refusal
		}
		it.Content = append(it.Content, p.Part)
		if p.Text != "" {
			texts = append(texts, p.Text)
		}
	}
	switch it.Type {
	case store.ItemMessage:
		if m.Role = it.Role; m.Role == "developer" {
			m.Role = "system"
		}
		m.Content = strings.Join(texts, "\n")
		if it.Role == m.Role && len(it.Content) == 1 && (it.Content[0].Type == store.PartInputText || it.Content[0].Type == store.PartOutputText) {
			return m, nil
		}
	case store.ItemFunctionCall:
		m.Content = it.Arguments
	case store.ItemCallOutput:
		m.Role = "user"
		if json.Unmarshal(i.Output, &m.Content) != nil {
			err = json.Unmarshal(i.Output, &it.Output)
		}
	}
	if err == nil {
		m.Item, err = json.Marshal(it)
	}
	return m, err
}

func (r remote) GetConversation(ctx context.Context, id string) (*store.Conversation, error) {
	path := "/v1/conversations/conv_" + url.PathEscape(id)
	var c conversationWire
	if err := r.call(ctx, http.MethodGet, path, nil, &c); err != nil {
		return nil, err
	}
	all := &store.Conversation{ID: id, Model: c.Model, StartedAt: time.Unix(c.CreatedAt, 0).UTC(), Title: c.Title}
	for query := (url.Values{"order": {"asc"}, "limit": {"100"}}); ; {
		var page struct {
			Data []itemWire
			Last string `json:"last_id"`
			More bool   `json:"has_more"`
		}
		if err := r.call(ctx, http.MethodGet, path+"/items?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		for _, i := range page.Data {
			m, err := i.message()
			if err != nil {
				return nil, err
			}
			m.ConversationID = id
			all.Messages = append(all.Messages, m)
		}
		if !page.More {
			return all, nil
		}
		query.Set("after", page.Last)
	}
}

func (r remote) Search(ctx context.Context, q store.SearchQuery) (found store.Hits, err error) {
	query := url.Values{"q": {q.Text}}
	for name, value := range map[string]string{"role": q.Role, "model": q.Model, "cursor": q.Cursor} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, at := range map[string]time.Time{"after": q.After, "before": q.Before} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	if q.Archived != nil {
		query.Set("archived", strconv.FormatBool(*q.Archived))
	}
	if q.Best {
		query.Set("order", "best")
	}
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	var page struct {
		Data []struct {
			Conversation string `json:"conversation_id"`
			Title        string
			Item         string `json:"item_id"`
			Role         string
			Model        string
			CreatedAt    int64 `json:"created_at"`
			Snippet      string
			Marks        []struct {
				Start int `json:"start_index"`
				End   int `json:"end_index"`
			}
		}
		Next  string `json:"next_cursor"`
		Since int64  `json:"searched_since"`
	}
	if err := r.call(ctx, http.MethodGet, "/v1/conversations/search?"+query.Encode(), nil, &page); err != nil {
		return found, err
	}
	found.Next = page.Next
	if page.Since != 0 {
		found.Back = time.Unix(page.Since, 0)
	}
	for _, h := range page.Data {
		hit := store.Hit{Title: h.Title, Model: h.Model, Message: store.Message{ID: uuidOf(h.Item), ConversationID: uuidOf(h.Conversation),
			Role: h.Role, CreatedAt: time.Unix(h.CreatedAt, 0).UTC()}}
		if hit.ID != "" {
			hit.Excerpt = h.Snippet
		}
		for _, m := range h.Marks { // of characters, here of bytes
			hit.Marks = append(hit.Marks, store.Mark{From: byteOf(h.Snippet, m.Start), To: byteOf(h.Snippet, m.End)})
		}
		found.Hits = append(found.Hits, hit)
	}
	return found, nil
}

// byteOf is where in text the character of that number begins.
func byteOf(text string, character int) int {
	at := 0
	for ; character > 0 && at < len(text); character-- {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

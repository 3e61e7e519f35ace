package api

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"git.georgsen.dk/hwlab/internal/store"
)

// hitsObject is a page of hits, hwlab's own.
type hitsObject struct {
	Object        string      `json:"object"` // list
	Data          []hitObject `json:"data"`
	HasMore       bool        `json:"has_more"`
	NextCursor    *string     `json:"next_cursor"`
	SearchedSince *int64      `json:"searched_since"` // null: all was searched
}

// hitObject is an item that a search found, or a conversation by its title; that has no item, role and model.
type hitObject struct {
	Object         string       `json:"object"` // search_hit
	ConversationID string       `json:"conversation_id"`
	Title          string       `json:"title"`
	ItemID         *string      `json:"item_id"`
	Role           *string      `json:"role"`
	Model          *string      `json:"model"`
	CreatedAt      int64        `json:"created_at"`
	Snippet        string       `json:"snippet"` // of the item's text; of a title all of it
	Marks          []markObject `json:"marks"`
}

// markObject is a run of characters, Unicode code points, of a snippet.
type markObject struct {
	StartIndex int `json:"start_index"`
	EndIndex   int `json:"end_index"`
}

// search is GET /v1/conversations/search, hwlab's own.
func (a *API) search(w http.ResponseWriter, r *http.Request) error {
	given := r.URL.Query()
	q := store.SearchQuery{Text: given.Get("q"), Role: given.Get("role"), Model: given.Get("model"), Cursor: given.Get("cursor")}
	if strings.TrimSpace(q.Text) == "" {
		return badRequest("q", "q says what to look for; it is empty")
	}
	if q.Role != "" && !slices.Contains([]string{"user", "assistant", "system"}, q.Role) {
		return badRequest("role", "role is one of user, assistant, system")
	}
	if q.Best = given.Get("order") == "best"; !q.Best && given.Get("order") != "" && given.Get("order") != "newest" {
		return badRequest("order", "order is newest or best")
	}
	var err, afterErr, beforeErr, archivedErr error
	q.Limit, err = queryInt(r, "limit", 20, 1, 100)
	q.After, afterErr = queryTime(r, "after")
	q.Before, beforeErr = queryTime(r, "before")
	if given.Get("archived") != "" {
		var archived bool
		archived, archivedErr = queryBool(r, "archived", false)
		q.Archived = &archived
	}
	if err := cmp.Or(err, afterErr, beforeErr, archivedErr); err != nil {
		return err
	}
	found, err := a.Record.Search(r.Context(), q)
	if errors.Is(err, store.ErrCursor) {
		return badRequest("cursor", "cursor is not a next_cursor of this search")
	}
	if err != nil {
		return err
	}
	page := hitsObject{Object: "list", Data: []hitObject{}, HasMore: found.Next != "", NextCursor: nullable("", found.Next)}
	if !found.Back.IsZero() {
		since := found.Back.Unix()
		page.SearchedSince = &since
	}
	for _, h := range found.Hits {
		o, err := newHit(h)
		if err != nil {
			return err
		}
		page.Data = append(page.Data, o)
	}
	writeJSON(w, http.StatusOK, page)
	return nil
}

func newHit(h store.Hit) (hitObject, error) {
	o := hitObject{Object: "search_hit", ConversationID: conversationID + h.ConversationID, Title: h.Title, CreatedAt: h.CreatedAt.Unix(),
		Snippet: h.Title, Marks: []markObject{}}
	if h.ID != "" {
		it, err := h.Typed()
		if err != nil {
			return o, err
		}
		role := cmp.Or(it.Role, h.Role)
		o.ItemID, o.Role, o.Model, o.Snippet = nullable("", newItemID(it.Type, h.ID)), &role, nullable("", h.Model), h.Excerpt
	}
	for _, m := range h.Marks {
		start := utf8.RuneCountInString(o.Snippet[:m.From])
		o.Marks = append(o.Marks, markObject{start, start + utf8.RuneCountInString(o.Snippet[m.From:m.To])})
	}
	return o, nil
}

// queryTime reads a time from the query: seconds since 1970, a date (its beginning in UTC), or a date and a time with its zone.
func queryTime(r *http.Request, name string) (time.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds >= 0 && seconds < 1<<37 {
		return time.Unix(seconds, 0), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil && at.Year() >= 1970 {
			return at, nil
		}
	}
	return time.Time{}, badRequest(name, "%s is a number of seconds since 1970, a date such as 2026-11-24, or 2026-11-24T08:00:00Z", name)
}

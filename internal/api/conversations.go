package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"git.georgsen.dk/hwlab/internal/store"
)

// createConversation is POST /v1/conversations; title and the Idempotency-Key are hwlab's own.
func (a *API) createConversation(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Metadata metadata        `json:"metadata"`
		Items    json.RawMessage `json:"items"`
		Title    title           `json:"title"`
	}
	body, err := readBody(r, &q)
	if err != nil {
		return err
	}
	c := store.NewConversation{Title: string(q.Title), Metadata: q.Metadata}
	if c.Key, c.Fingerprint, err = idempotency(r, body); err != nil {
		return err
	}
	if c.Messages, err = a.parseNewItems(r.Context(), q.Items); err != nil {
		return err
	}
	id, err := a.Record.CreateConversationWith(r.Context(), c)
	if err != nil {
		return err
	}
	err = a.sendConversation(w, r, id)
	if e := toError(err); err != nil && e.Status == http.StatusNotFound { // only one of an earlier request can be gone
		return &Error{Status: http.StatusNotFound, Code: "not_found", Param: "Idempotency-Key",
			Message: "the conversation of the request that first came with this Idempotency-Key was deleted"}
	}
	return err
}

// title is a title of a request. It is shown in lists, so it has OpenAI's limit for a value of metadata.
type title string

func (t *title) UnmarshalJSON(raw []byte) error {
	if err := decode("title", raw, (*string)(t)); err != nil {
		return err
	}
	if utf8.RuneCountInString(string(*t)) > maxValue {
		return badRequest("title", "title is longer than %d characters", maxValue)
	}
	return nil
}

// getConversation is GET /v1/conversations/{id}.
func (a *API) getConversation(w http.ResponseWriter, r *http.Request) error {
	return a.sendConversation(w, r, parseID(conversationID, r.PathValue("id")))
}

func (a *API) sendConversation(w http.ResponseWriter, r *http.Request, id string) error {
	c, err := a.Record.Summary(r.Context(), id)
	if err != nil {
		return conversationError(err, r)
	}
	writeJSON(w, http.StatusOK, newConversation(c))
	return nil
}

// conversationError says which conversation is not there.
func conversationError(err error, r *http.Request) error {
	if errors.Is(err, store.ErrNotFound) {
		return notFound("conversation", r.PathValue("id"))
	}
	return err
}

// updateConversation is POST /v1/conversations/{id}; all but metadata is hwlab's own.
func (a *API) updateConversation(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Title    *title   `json:"title"`
		Metadata metadata `json:"metadata"`
		Pinned   *bool    `json:"pinned"`
		Archived *bool    `json:"archived"`
	}
	if err := readJSON(r, &q); err != nil {
		return err
	}
	c, err := a.Record.UpdateConversation(r.Context(), parseID(conversationID, r.PathValue("id")),
		store.ConversationChange{Title: (*string)(q.Title), Metadata: q.Metadata, Pinned: q.Pinned, Archived: q.Archived})
	if err != nil {
		return conversationError(err, r)
	}
	writeJSON(w, http.StatusOK, newConversation(c))
	return nil
}

// deleteConversation is DELETE /v1/conversations/{id}. It erases, at once or, with undo, hwlab's own, after so many seconds in
// which restoreConversation brings it back; and stops what is being written there.
func (a *API) deleteConversation(w http.ResponseWriter, r *http.Request) error {
	undo, err := queryInt(r, "undo", 0, 1, 60)
	if err == nil && undo == 0 && r.URL.Query().Has("undo") {
		err = badRequest("undo", "undo is empty: without it what is deleted is erased at once")
	}
	if err != nil {
		return err
	}
	deleted := map[string]any{"id": r.PathValue("id"), "object": "conversation.deleted", "deleted": true}
	id := parseID(conversationID, r.PathValue("id"))
	if undo == 0 {
		err = a.Advisor.DeleteConversation(r.Context(), id)
	} else {
		var until time.Time
		until, err = a.Advisor.HoldConversation(r.Context(), id, time.Duration(undo)*time.Second)
		deleted["undo_until"] = until.Unix()
	}
	if err != nil {
		return conversationError(err, r)
	}
	writeJSON(w, http.StatusOK, deleted)
	return nil
}

// restoreConversation is POST /v1/conversations/{id}/restore, hwlab's own.
func (a *API) restoreConversation(w http.ResponseWriter, r *http.Request) error {
	c, err := a.Record.UndoDeletion(r.Context(), parseID(conversationID, r.PathValue("id")))
	if err != nil {
		return conversationError(err, r)
	}
	writeJSON(w, http.StatusOK, newConversation(c))
	return nil
}

// listConversations is GET /v1/conversations, hwlab's own: the listed conversations that are not archived, latest activity
// first; the filters give others. after and before are ids; the page is the one next to that conversation's place of now.
func (a *API) listConversations(w http.ResponseWriter, r *http.Request) error {
	var q store.ListQuery
	limit, err := queryInt(r, "limit", 20, 1, store.ListLimit)
	if prefix := r.URL.Query().Get("prefix"); prefix != "" && err == nil {
		return a.listByID(w, r, prefix, limit)
	}
	archived, archivedErr := queryBool(r, "archived", false)
	pinned, pinnedErr := queryBool(r, "pinned", false)
	listed, listedErr := queryBool(r, "listed", true)
	if err := cmp.Or(err, archivedErr, pinnedErr, listedErr); err != nil {
		return err
	}
	q.Limit, q.Archived, q.Pinned, q.Unlisted = limit, archived, pinned, !listed
	for name, cursor := range map[string]**store.ListCursor{"after": &q.After, "before": &q.Before} {
		id := r.URL.Query().Get(name)
		if id == "" {
			continue
		}
		c, err := a.Record.Summary(r.Context(), parseID(conversationID, id))
		if errors.Is(err, store.ErrNotFound) {
			return badRequest(name, "there is no conversation %q to go on from", id)
		}
		if err != nil {
			return err
		}
		at := c.Cursor()
		*cursor = &at
	}
	if q.After != nil && q.Before != nil {
		return badRequest("before", "after and before cannot be used together")
	}
	page, err := a.Record.List(r.Context(), q)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, newList(page.Conversations,
		func(c store.ConversationSummary) string { return conversationID + c.ID },
		func(c store.ConversationSummary) any { return newConversation(c) }, page.More))
	return nil
}

// listByID answers with the conversations, of whatever kind, whose ids begin so, in the order of their ids.
func (a *API) listByID(w http.ResponseWriter, r *http.Request, prefix string, limit int) error {
	const least = "00000000-0000-0000-0000-000000000000"
	prefix = strings.TrimPrefix(prefix, conversationID)
	for name := range r.URL.Query() {
		if name != "prefix" && name != "limit" {
			return badRequest(name, "%s and prefix cannot be used together", name)
		}
	}
	from := prefix[:min(len(prefix), len(least))]
	from += least[len(from):]
	if !store.IsID(from) || len(prefix) > len(least) {
		return badRequest("prefix", "no id begins with %q", prefix)
	}
	ids, err := a.Record.ConversationIDs(r.Context(), from, limit+1)
	if err != nil {
		return err
	}
	var found []store.ConversationSummary
	for _, id := range append([]string{from}, ids...) { // those after it, and it may be one itself
		if !strings.HasPrefix(id, prefix) || len(found) > limit {
			break
		}
		c, err := a.Record.Summary(r.Context(), id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		found = append(found, c)
	}
	more := len(found) > limit
	writeJSON(w, http.StatusOK, newList(found[:min(len(found), limit)],
		func(c store.ConversationSummary) string { return conversationID + c.ID },
		func(c store.ConversationSummary) any { return newConversation(c) }, more))
	return nil
}

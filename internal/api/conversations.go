package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"git.georgsen.dk/hwlab/internal/store"
)

// createConversation is POST /v1/conversations; title is hwlab's own.
func (a *API) createConversation(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Metadata map[string]string `json:"metadata"`
		Items    json.RawMessage   `json:"items"`
		Title    string            `json:"title"`
	}
	if err := readJSON(r, &q); err != nil {
		return err
	}
	if err := checkMetadata(q.Metadata); err != nil {
		return err
	}
	items, err := a.parseInput(r.Context(), "items", q.Items)
	if err != nil {
		return err
	}
	const most = 20
	if len(items) > most {
		return badRequest("items", "items has more than %d items", most)
	}
	if err := store.CheckMessages(items); err != nil {
		return err
	}
	id, err := a.Record.CreateConversationWith(r.Context(), store.NewConversation{Title: q.Title, Metadata: q.Metadata})
	if err != nil {
		return err
	}
	if len(items) > 0 {
		if _, _, err := a.Record.AppendMessages(r.Context(), store.Append{ConversationID: id, Messages: items}); err != nil {
			return errors.Join(err, a.Advisor.DeleteConversation(r.Context(), id)) // all or nothing
		}
	}
	return a.sendConversation(w, r, id)
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
	running, err := a.Record.RunningIn(r.Context(), id)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, newConversation(c, running))
	return nil
}

// conversationError says which conversation is not there.
func conversationError(err error, r *http.Request) error {
	if errors.Is(err, store.ErrNotFound) {
		return notFound("conversation", r.PathValue("id"))
	}
	return err
}

// updateConversation is POST /v1/conversations/{id}; title is hwlab's own.
func (a *API) updateConversation(w http.ResponseWriter, r *http.Request) error {
	id := parseID(conversationID, r.PathValue("id"))
	var q struct {
		Metadata *map[string]string `json:"metadata"`
		Title    *string            `json:"title"`
	}
	if err := readJSON(r, &q); err != nil {
		return err
	}
	if q.Metadata != nil {
		if err := checkMetadata(*q.Metadata); err != nil {
			return err
		}
		if err := a.Record.SetMetadata(r.Context(), id, *q.Metadata); err != nil {
			return conversationError(err, r)
		}
	}
	if q.Title != nil {
		if err := a.Record.RenameConversation(r.Context(), id, *q.Title); err != nil {
			return conversationError(err, r)
		}
	}
	return a.sendConversation(w, r, id)
}

// deleteConversation is DELETE /v1/conversations/{id}. It erases, and stops what is being written there.
func (a *API) deleteConversation(w http.ResponseWriter, r *http.Request) error {
	if err := a.Advisor.DeleteConversation(r.Context(), parseID(conversationID, r.PathValue("id"))); err != nil {
		return conversationError(err, r)
	}
	writeJSON(w, http.StatusOK, map[string]any{"id": r.PathValue("id"), "object": "conversation.deleted", "deleted": true})
	return nil
}

// listConversations is GET /v1/conversations, hwlab's own: the listed conversations, latest activity first. after and
// before are ids; the page is the one next to that conversation's place of now.
func (a *API) listConversations(w http.ResponseWriter, r *http.Request) error {
	var q store.ListQuery
	var err error
	if q.Limit, err = queryInt(r, "limit", 20, 1, store.ListLimit); err != nil {
		return err
	}
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
		func(c store.ConversationSummary) any { return newConversation(c, "") }, page.More))
	return nil
}

// listItems is GET /v1/conversations/{id}/items: the messages of the active branch, newest first unless order=asc. after is
// the id of the last item of the page before.
func (a *API) listItems(w http.ResponseWriter, r *http.Request) error {
	q := store.ThreadQuery{ConversationID: parseID(conversationID, r.PathValue("id"))}
	var err error
	if q.Limit, err = queryInt(r, "limit", 20, 1, 100); err != nil {
		return err
	}
	switch r.URL.Query().Get("order") {
	case "", "desc":
		q.Newest = true
	case "asc":
	default:
		return badRequest("order", "order is asc or desc")
	}
	if after := r.URL.Query().Get("after"); after != "" {
		m, err := a.Record.Message(r.Context(), q.ConversationID, parseItemID(after))
		if errors.Is(err, store.ErrNotFound) {
			return badRequest("after", "there is no item %q to go on from", after)
		}
		if err != nil {
			return err
		}
		if q.Newest {
			q.Before = &m.Position
		} else {
			q.After = &m.Position
		}
	}
	page, err := a.Record.Thread(r.Context(), q)
	if err != nil {
		return conversationError(err, r)
	}
	if q.Newest {
		slices.Reverse(page.Messages)
	}
	items := make([]itemObject, len(page.Messages))
	for i, m := range page.Messages {
		if items[i], err = newItem(m); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusOK, newList(items, func(m itemObject) string { return m.ID }, func(m itemObject) any { return m }, page.More))
	return nil
}

package api

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"

	"git.georgsen.dk/hwlab/internal/store"
)

// This file is the items of a conversation.

// createItems is POST /v1/conversations/{id}/items: up to 20 items are added to the active branch, whether or not a reply is
// being written. head, hwlab's own, is where the sender saw the conversation end.
func (a *API) createItems(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Items json.RawMessage `json:"items"`
		Head  *int64          `json:"head"`
	}
	if err := readJSON(r, &q); err != nil {
		return err
	}
	items, err := a.parseNewItems(r.Context(), q.Items)
	switch {
	case err != nil:
		return err
	case len(items) == 0:
		return badRequest("items", "items is missing")
	}
	conversation := parseID(conversationID, r.PathValue("id"))
	_, head, err := a.Record.AppendMessages(r.Context(), store.Append{ConversationID: conversation, Messages: items, Expect: q.Head})
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		e := toError(err)
		e.Param = "head"
		return e
	}
	if err != nil {
		return conversationError(err, r)
	}
	page, err := a.Record.Thread(r.Context(), store.ThreadQuery{ConversationID: conversation, Details: true,
		After: &store.Position{Seq: head - int64(len(items)), Idx: math.MaxInt32}, Tip: &store.Position{Seq: head}})
	if err != nil {
		return conversationError(err, r)
	}
	return writeItems(w, page, false)
}

// listItems is GET /v1/conversations/{id}/items: the items of the active branch. branch, hwlab's own, is the id of an item or a
// response that another branch goes through.
func (a *API) listItems(w http.ResponseWriter, r *http.Request) error {
	q := store.ThreadQuery{ConversationID: parseID(conversationID, r.PathValue("id")), Details: true}
	branch := r.URL.Query().Get("branch")
	if branch != "" {
		if q.Through = parseID(responseID, branch); q.Through == "" {
			q.Through = parseItemID(branch)
		}
		if q.Through == "" {
			return unknownBranch(branch)
		}
	}
	newestFirst, err := a.itemPage(r, &q)
	if err != nil {
		return err
	}
	page, err := a.Record.Thread(r.Context(), q)
	if errors.Is(err, store.ErrNotFound) && branch != "" {
		if _, err := a.Record.Summary(r.Context(), q.ConversationID); err == nil {
			return unknownBranch(branch)
		}
	}
	if err != nil {
		return conversationError(err, r)
	}
	return writeItems(w, page, newestFirst)
}

func unknownBranch(id string) *Error {
	return badRequest("branch", "there is no item or response %q in this conversation", id)
}

// getItem is GET /v1/conversations/{id}/items/{item}.
func (a *API) getItem(w http.ResponseWriter, r *http.Request) error {
	conversation, id := parseID(conversationID, r.PathValue("id")), parseItemID(r.PathValue("item"))
	at, err := a.Record.Place(r.Context(), conversation, id)
	if err != nil {
		return a.itemError(err, r)
	}
	page, err := a.Record.Thread(r.Context(), store.ThreadQuery{ConversationID: conversation, Tip: &at, Newest: true, Limit: 1, Details: true})
	if err == nil && (len(page.Messages) == 0 || page.Messages[0].ID != id) {
		err = store.ErrNotFound // it was deleted
	}
	if err != nil {
		return a.itemError(err, r)
	}
	o, err := newThreadItem(page.Messages[0])
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, o)
	return nil
}

// deleteItem is DELETE /v1/conversations/{id}/items/{item}. It erases; the item's place in the branches stays.
func (a *API) deleteItem(w http.ResponseWriter, r *http.Request) error {
	conversation := parseID(conversationID, r.PathValue("id"))
	err := a.Record.DeleteMessage(r.Context(), conversation, parseItemID(r.PathValue("item")))
	if errors.Is(err, store.ErrReplyRunning) {
		return &Error{Status: http.StatusConflict, Code: "item_in_progress", Headers: map[string]string{"x-should-retry": "false"},
			Message: "the item belongs to a reply that is being written; cancel it first, or wait for its end"}
	}
	if err != nil {
		return a.itemError(err, r)
	}
	return a.sendConversation(w, r, conversation)
}

// itemError says what is not there: the item, or even the conversation.
func (a *API) itemError(err error, r *http.Request) error {
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if _, err := a.Record.Summary(r.Context(), parseID(conversationID, r.PathValue("id"))); err != nil {
		return conversationError(err, r)
	}
	return notFound("item", r.PathValue("item"))
}

// listInputItems is GET /v1/responses/{id}/input_items: what the response was asked with, not what came before.
func (a *API) listInputItems(w http.ResponseWriter, r *http.Request) error {
	reply, _, err := a.Record.ReadLog(r.Context(), parseID(responseID, r.PathValue("id")), 0)
	if errors.Is(err, store.ErrNotFound) {
		return notFound("response", r.PathValue("id"))
	}
	if err != nil {
		return err
	}
	q := store.ThreadQuery{ConversationID: reply.ConversationID, Details: true, Tip: &store.Position{Seq: reply.Seq - 1, Idx: math.MaxInt32},
		After: &store.Position{Seq: reply.Seq - 1 - int64(reply.Inputs), Idx: math.MaxInt32}}
	newestFirst, err := a.itemPage(r, &q)
	if err != nil {
		return err
	}
	page, err := a.Record.Thread(r.Context(), q)
	if errors.Is(err, store.ErrNotFound) {
		return notFound("response", r.PathValue("id"))
	}
	if err != nil {
		return err
	}
	return writeItems(w, page, newestFirst)
}

// itemPage reads which page of q's range a request asks for and reports whether its items come newest first. A cursor may be
// an item that has been deleted since.
func (a *API) itemPage(r *http.Request, q *store.ThreadQuery) (newestFirst bool, err error) {
	query := r.URL.Query()
	if q.Limit, err = queryInt(r, "limit", 20, 1, 100); err != nil {
		return false, err
	}
	switch query.Get("order") {
	case "", "desc":
		newestFirst = true
	case "asc":
	default:
		return false, badRequest("order", "order is asc or desc")
	}
	if query.Get("after") != "" && query.Get("before") != "" {
		return false, badRequest("before", "after and before cannot be used together")
	}
	q.Newest = newestFirst
	from := q.After
	for _, name := range []string{"after", "before"} {
		id := query.Get(name)
		if id == "" {
			continue
		}
		at, err := a.Record.Place(r.Context(), q.ConversationID, parseItemID(id))
		if err == nil && (from != nil && !from.Before(at) || q.Tip != nil && q.Tip.Before(at)) {
			err = store.ErrNotFound
		}
		if errors.Is(err, store.ErrNotFound) {
			return false, badRequest(name, "there is no item %q to go on from", id)
		}
		if err != nil {
			return false, err
		}
		if q.Newest = newestFirst == (name == "after"); q.Newest {
			q.Before = &at
		} else {
			q.After = &at
		}
	}
	return newestFirst, nil
}

// writeItems answers with a page of items.
func writeItems(w http.ResponseWriter, page store.ThreadPage, newestFirst bool) error {
	if newestFirst {
		slices.Reverse(page.Messages)
	}
	items := make([]itemObject, len(page.Messages))
	for i, m := range page.Messages {
		var err error
		if items[i], err = newThreadItem(m); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusOK, newList(items, func(o itemObject) string { return o.ID }, func(o itemObject) any { return o }, page.More))
	return nil
}

// branchObject says which of the items that continue the same one an item is: each begins a branch.
type branchObject struct {
	Index int      `json:"index"` // from 0
	Count int      `json:"count"`
	IDs   []string `json:"ids"` // of all, itself among them, in the order in which they were written
}

// newThreadItem is a message of a thread with details as an item, with hwlab's own fields.
func newThreadItem(m store.Message) (itemObject, error) {
	o, err := newItem(m)
	o.Model, o.Branch, o.Silent = m.Model, &branchObject{Count: 1, IDs: []string{o.ID}}, nullable(responseID, m.SilentID)
	if m.Siblings != nil {
		o.Branch.Count, o.Branch.IDs = len(m.Siblings), nil
	}
	for i, s := range m.Siblings {
		o.Branch.IDs = append(o.Branch.IDs, newItemID(s.Type, s.ID))
		if s.ID == m.ID {
			o.Branch.Index = i
		}
	}
	return o, err
}

package storetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

var heldTests = []test{
	{"NobodyFindsIt", heldIsNotThere},
	{"AnUndoBringsAllBack", heldComesBack},
	{"ThenItIsErased", heldIsErased},
	{"AReplyThatRuns", heldWhileRunning},
	{"AnUndoAndTheEndHaveOneOutcome", heldUndoneAndErased},
	{"WhileEverythingGoesOn", heldWhileEverything},
	{"NobodyWaitsInACircle", heldInACircle},
	{"AfterAnImportOfTheSame", heldAndImported},
}

// hold deletes a conversation for a time.
func (r *record) hold(t tb, conversation string, hold time.Duration) time.Time {
	t.Helper()
	until, err := r.HoldConversation(r.ctx, conversation, hold)
	if err != nil {
		t.Fatalf("HoldConversation: %v", err)
	}
	t.Cleanup(func() { r.eraseNow(t, conversation) })
	return until
}

// eraseNow erases a conversation if it is held.
func (r *record) eraseNow(t tb, conversation string) {
	t.Helper()
	ctx := context.WithoutCancel(r.ctx)
	if _, err := r.UndoDeletion(ctx, conversation); err == nil {
		if _, err := r.HoldConversation(ctx, conversation, 0); err != nil {
			t.Errorf("HoldConversation: %v", err)
		}
	}
	if _, err := r.EraseHeld(ctx); err != nil {
		t.Errorf("EraseHeld: %v", err)
	}
}

// rows are all rows of a conversation as an archive has them.
func (r *record) rows(t tb, conversation string) []store.ArchiveRow {
	t.Helper()
	var rows []store.ArchiveRow
	if err := r.ArchiveConversation(r.ctx, conversation, func(row store.ArchiveRow) error {
		rows = append(rows, row)
		return nil
	}); err != nil {
		t.Fatalf("ArchiveConversation: %v", err)
	}
	return rows
}

func (r *record) sameRows(t tb, conversation string, was []store.ArchiveRow) {
	t.Helper()
	if is := r.rows(t, conversation); !reflect.DeepEqual(is, was) {
		t.Errorf("the conversation changed:\n was %+v\n is  %+v", was, is)
	}
}

// missing fails when anything finds a conversation, its message or its reply.
func (r *record) missing(t *testing.T, f store.Fence, conversation, message string, reply store.Response, words string) {
	t.Helper()
	_, err := r.Summary(r.ctx, conversation)
	fails(t, "Summary", err, store.ErrNotFound)
	_, err = r.GetConversation(r.ctx, conversation)
	fails(t, "GetConversation", err, store.ErrNotFound)
	_, err = r.Thread(r.ctx, store.ThreadQuery{ConversationID: conversation})
	fails(t, "Thread", err, store.ErrNotFound)
	_, err = r.Message(r.ctx, conversation, message)
	fails(t, "Message", err, store.ErrNotFound)
	_, err = r.FindMessage(r.ctx, message)
	fails(t, "FindMessage", err, store.ErrNotFound)
	_, err = r.Place(r.ctx, conversation, message)
	fails(t, "Place", err, store.ErrNotFound)
	_, _, err = r.ReadLog(r.ctx, reply.ID, 0)
	fails(t, "ReadLog", err, store.ErrNotFound)
	_, err = r.History(r.ctx, reply)
	fails(t, "History", err, store.ErrNotFound)
	fails(t, "RequestCancel", r.RequestCancel(r.ctx, reply.ID), store.ErrNotFound)
	_, err = r.DeleteResponse(r.ctx, reply.ID)
	fails(t, "DeleteResponse", err, store.ErrNotFound)
	_, err = r.AddMessage(r.ctx, conversation, "user", "x")
	fails(t, "AddMessage", err, store.ErrNotFound)
	_, err = r.StartResponse(r.ctx, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("x")})
	fails(t, "StartResponse", err, store.ErrNotFound)
	_, err = r.StartResponse(r.ctx, store.NewResponse{Fence: f, PreviousID: reply.ID, Input: user("x")})
	fails(t, "a turn after its reply", err, store.ErrNotFound)
	_, err = r.UpdateConversation(r.ctx, conversation, store.ConversationChange{})
	fails(t, "UpdateConversation", err, store.ErrNotFound)
	fails(t, "DeleteMessage", r.DeleteMessage(r.ctx, conversation, message), store.ErrNotFound)
	fails(t, "DeleteConversation", r.DeleteConversation(r.ctx, conversation), store.ErrNotFound)
	_, err = r.HoldConversation(r.ctx, conversation, time.Hour)
	fails(t, "HoldConversation", err, store.ErrNotFound)
	fails(t, "ArchiveConversation", r.ArchiveConversation(r.ctx, conversation, func(store.ArchiveRow) error { return nil }), store.ErrNotFound)
	if err := r.engine.Foreign(r.ctx, r.Store, conversation, "user", "x"); err == nil {
		t.Error("a foreign program adds to it")
	}
	same(t, "found", hitIDs(r.search(t, words)), nil)
	list, err := r.ListConversations(r.ctx)
	page, pageErr := r.List(r.ctx, store.ListQuery{})
	archived, archivedErr := r.List(r.ctx, store.ListQuery{Archived: true})
	if err := errors.Join(err, pageErr, archivedErr); err != nil {
		t.Fatal(err)
	}
	for _, c := range slices.Concat(list, page.Conversations, archived.Conversations) {
		if c.ID == conversation {
			t.Error("it is in a list")
		}
	}
	var ids []string
	for after := ""; ; after = ids[len(ids)-1] {
		if ids, err = r.ConversationIDs(r.ctx, after, 1000); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(ids, conversation) {
			t.Error("it is among the ids")
		}
		if len(ids) == 0 {
			break
		}
	}
}

// talk makes a conversation of everything: branches, a deleted message, a reply that said nothing, a foreign row.
func (r *record) talk(t *testing.T, f store.Fence, mark string) (conversation, message string, reply store.Response) {
	t.Helper()
	conversation = r.createWith(t, store.NewConversation{Title: mark + " title", Metadata: map[string]string{"k": mark}})
	r.add(t, conversation, "system", mark+" sys")
	reply = r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user(mark + " q"), Request: itemOf(t, mark)}, mark+" a", mark+" b")
	r.turn(t, store.NewResponse{Fence: f, PreviousID: reply.ID, Input: user(mark + " q2")}, mark+" a2")
	r.turn(t, store.NewResponse{Fence: f, PreviousID: reply.ID, Input: user(mark + " q3")}, mark+" a3")
	r.finish(t, f, r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user(mark + " q4")}), store.ResponseFailed)
	made, _ := r.append(t, store.Append{ConversationID: conversation, Messages: []store.NewMessage{
		{Role: "user", Content: mark + " i", Item: itemOf(t, mark)}, {Role: "user", Content: "to be deleted"}}})
	if err := r.DeleteMessage(r.ctx, conversation, made[1]); err != nil {
		t.Fatal(err)
	}
	if err := r.engine.Foreign(r.ctx, r.Store, conversation, "user", mark+" foreign"); err != nil {
		t.Fatal(err)
	}
	return conversation, made[0], reply
}

func heldIsNotThere(t *testing.T, r *record) {
	for _, drained := range []bool{false, true} {
		mark, f := word(), r.join(t)
		conversation, message, reply := r.talk(t, f, mark)
		if drained {
			r.drain(t)
		}
		before := time.Now()
		until := r.hold(t, conversation, time.Hour)
		if until.Before(before.Add(59*time.Minute)) || until.After(time.Now().Add(61*time.Minute)) {
			t.Errorf("held from %v until %v", before, until)
		}
		r.missing(t, f, conversation, message, reply, mark)
		r.drain(t)
		if n, err := r.EraseHeld(r.ctx); err != nil || n != 0 {
			t.Errorf("EraseHeld before its time: %d, %v", n, err)
		}
		r.missing(t, f, conversation, message, reply, mark)
	}
}

func heldComesBack(t *testing.T, r *record) {
	for _, drained := range []bool{false, true} {
		mark, f := word(), r.join(t)
		conversation, message, reply := r.talk(t, f, mark)
		if drained {
			r.drain(t)
		}
		was, hits, state := r.rows(t, conversation), hitIDs(r.search(t, mark)), r.summary(t, conversation)
		_, log := r.readLog(t, reply, 0)
		r.hold(t, conversation, time.Hour)
		r.drain(t)
		for range 2 { // the second finds it there
			c, err := r.UndoDeletion(r.ctx, conversation)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(c, state) {
				t.Errorf("the conversation is %+v, not %+v", c, state)
			}
			r.sameRows(t, conversation, was)
			same(t, "found", hitIDs(r.search(t, mark)), hits)
			r.drain(t)
			same(t, "found when it is indexed", hitIDs(r.search(t, mark)), hits)
			_, is := r.readLog(t, reply, 0)
			same(t, "the log", is, log)
		}
		r.message(t, conversation, message)
		r.turn(t, store.NewResponse{Fence: f, PreviousID: reply.ID, Input: user("on")}, "it goes")
		r.whole(t, conversation, 1)
		if err := r.DeleteConversation(r.ctx, conversation); err != nil {
			t.Fatal(err)
		}
		r.drain(t)
		r.gone(t, r.places(t), "after a deletion", mark, conversation, reply.ID, message)
	}
}

func heldIsErased(t *testing.T, r *record) {
	for _, drained := range []bool{false, true} {
		mark, f := word(), r.join(t)
		conversation, message, reply := r.talk(t, f, mark)
		if drained {
			r.drain(t)
		}
		kept, _, _ := r.talk(t, f, word())
		r.sameState(t, kept, func() {
			r.hold(t, conversation, 0)
			_, err := r.UndoDeletion(r.ctx, conversation)
			fails(t, "an undo that is too late", err, store.ErrNotFound)
			if n, err := r.EraseHeld(r.ctx); err != nil || n == 0 {
				t.Errorf("EraseHeld: %d, %v", n, err)
			}
			r.drain(t)
			r.gone(t, r.places(t), "in the end", mark, conversation, reply.ID, message)
			_, err = r.UndoDeletion(r.ctx, conversation)
			fails(t, "an undo of nothing", err, store.ErrNotFound)
		})
	}
	_, err := r.UndoDeletion(r.ctx, "no id")
	fails(t, "an undo of no id", err, store.ErrNotFound)
}

// What was shown of a reply comes back with it.
func heldWhileRunning(t *testing.T, r *record) {
	f, mark := r.join(t), word()
	conversation := r.create(t)
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user(mark)})
	rows := says(reply, mark+"one", mark+"two")
	r.log(t, f, rows[:5])
	r.hold(t, conversation, time.Hour)
	r.missing(t, f, conversation, conversation, reply, mark)
	cancelled, gone, err := r.Unwanted(r.ctx, []string{reply.ID})
	if err != nil || len(cancelled) > 0 || !slices.Equal(gone, []string{reply.ID}) {
		t.Errorf("Unwanted: %v, %v, %v", cancelled, gone, err)
	}
	tails, err := r.ReadTails(r.ctx, []store.Tail{{ResponseID: reply.ID}})
	if err != nil || !tails[0].Over {
		t.Errorf("ReadTails: %+v, %v", tails, err)
	}
	// Its owner does not know yet.
	r.log(t, f, rows[5:])
	_, _, err = r.FinishResponse(r.ctx, end(f, reply, store.ResponseCompleted))
	fails(t, "FinishResponse", err, store.ErrNotFound)

	if _, err := r.UndoDeletion(r.ctx, conversation); err != nil {
		t.Fatal(err)
	}
	ended, deltas := r.readLog(t, reply, 0)
	equal(t, "its status", ended.Status, store.ResponseCancelled)
	same(t, "its log", deltaTexts(deltas)[:5], deltaTexts(rows[:5]))
	r.whole(t, conversation, 0)
}

func heldUndoneAndErased(t *testing.T, r *record) {
	for range times(10) {
		f, mark := r.join(t), word()
		conversation, message, reply := r.talk(t, f, mark)
		was := r.rows(t, conversation)
		until := r.hold(t, conversation, 3*time.Millisecond)
		var mu sync.Mutex
		var undone, late int
		together(6, func(i int) {
			for {
				over := time.Now().After(until)
				if i < 3 {
					if _, err := r.EraseHeld(r.ctx); err != nil {
						t.Errorf("EraseHeld: %v", err)
					}
				} else {
					_, err := r.UndoDeletion(r.ctx, conversation)
					mu.Lock()
					if err == nil {
						undone++
					} else if errors.Is(err, store.ErrNotFound) {
						late++
					} else {
						t.Errorf("UndoDeletion: %v", err)
					}
					mu.Unlock()
					return
				}
				if over {
					return
				}
			}
		})
		if undone > 0 && late > 0 {
			t.Errorf("%d undos found it and %d did not", undone, late)
		}
		if undone > 0 {
			r.sameRows(t, conversation, was)
			continue
		}
		r.eraseNow(t, conversation)
		r.drain(t)
		r.gone(t, r.places(t), "in the end", mark, conversation, reply.ID, message)
	}
}

// Whatever falls together with a deletion came before it, and comes back with it, or finds nothing.
func heldWhileEverything(t *testing.T, r *record) {
	for range times(5) {
		f, mark := r.join(t), word()
		conversation := r.create(t)
		done := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user(mark)}, mark)
		reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user(mark)})
		expected := func(what string, err error) bool {
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", what, err)
			}
			return err == nil
		}
		var added [2]string
		var held [2]bool
		together(7, func(i int) {
			switch i {
			case 0, 1:
				_, err := r.HoldConversation(r.ctx, conversation, time.Hour)
				held[i] = expected("HoldConversation", err)
			case 2, 3:
				id, err := r.AddMessage(r.ctx, conversation, "user", mark)
				if expected("AddMessage", err) {
					added[i-2] = id
				}
			case 4:
				expected("AppendDeltas", r.AppendDeltas(r.ctx, f, says(reply, mark)))
				_, _, err := r.FinishResponse(r.ctx, end(f, reply, store.ResponseCompleted))
				expected("FinishResponse", err)
			case 5:
				branch, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, PreviousID: done.ID, Input: user(mark)})
				if expected("StartResponse", err) {
					_, _, err = r.FinishResponse(r.ctx, end(f, branch, store.ResponseFailed))
					expected("FinishResponse of a branch", err)
				}
			case 6:
				_, err := r.IndexPending(r.ctx, 100)
				expected("IndexPending", err)
			}
		})
		if held[0] == held[1] {
			t.Errorf("of two deletions %v succeeded", held)
		}
		same(t, "found while it is held", hitIDs(r.search(t, mark)), nil)
		if _, err := r.UndoDeletion(r.ctx, conversation); err != nil {
			t.Fatal(err)
		}
		all := ids(r.all(t, conversation))
		for _, id := range added {
			if id != "" && !slices.Contains(all, id) {
				t.Errorf("message %s did not come back", id)
			}
		}
		rows := r.rows(t, conversation)
		places := map[int64]bool{}
		for _, row := range rows {
			if row.Message != nil {
				places[row.Message.Seq] = true
			} else if row.Response != nil {
				places[row.Response.Seq] = true
			}
		}
		equal(t, "places of the order", int64(len(places)), rows[0].Conversation.Head)
	}
}

// A deletion waits for the owners of the replies it ends, and a reply that begins or ends holds its owner while it waits for the
// conversation. Should they wait for each other, PostgreSQL ends one by an error; the appends and updates that queue behind
// them are not tried again, and show it.
func heldInACircle(t *testing.T, r *record) {
	conversations := []string{r.create(t), r.create(t), r.create(t)}
	fences := []store.Fence{r.join(t), r.join(t)}
	expected := func(what string, err error) {
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrReplyRunning) {
			t.Errorf("%s: %v", what, err)
		}
	}
	together(12, func(i int) {
		f := fences[i%2]
		for n := range times(50) {
			conversation := conversations[(i+n)%3]
			switch i % 6 {
			case 0, 1, 2:
				reply, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
				expected("StartResponse", err)
				if err == nil {
					_, _, err = r.FinishResponse(r.ctx, end(f, reply, store.ResponseCompleted))
					expected("FinishResponse", err)
				}
			case 3:
				_, err := r.HoldConversation(r.ctx, conversation, time.Hour)
				expected("HoldConversation", err)
				_, err = r.UndoDeletion(r.ctx, conversation)
				expected("UndoDeletion", err)
			case 4:
				_, err := r.AddMessage(r.ctx, conversation, "user", "a")
				expected("AddMessage", err)
				expected("Heartbeat", r.Heartbeat(r.ctx, f))
			case 5:
				pinned := true
				_, err := r.UpdateConversation(r.ctx, conversation, store.ConversationChange{Pinned: &pinned})
				expected("UpdateConversation", err)
			}
		}
	})
}

func heldAndImported(t *testing.T, r *record) {
	f, mark := r.join(t), word()
	conversation, _, _ := r.talk(t, f, mark)
	was := r.rows(t, conversation)
	r.hold(t, conversation, time.Hour)
	restore := func() {
		t.Helper()
		same(t, "what was there", r.restore(t, was), nil)
	}
	restore()
	c, err := r.UndoDeletion(r.ctx, conversation)
	if err != nil || c.ID != conversation {
		t.Errorf("UndoDeletion: %+v, %v", c, err)
	}
	r.sameRows(t, conversation, was)
	r.hold(t, conversation, time.Hour)
	r.eraseNow(t, conversation)
	r.drain(t)
	r.gone(t, r.places(t), "in the end", mark, conversation)
}

package storetest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
)

var deletionTests = []test{
	{"ErasesAConversation", erasesConversation},
	{"OfConcurrentDeletionsOneSucceeds", concurrentDeletions},
	{"WhileAReplyRuns", deletionWhileRunning},
	{"WhileEverythingGoesOn", deletionWhileEverything},
	{"AMessageLeavesItsPlace", messageLeavesItsPlace},
	{"AMessageOfAReply", messageOfAReply},
	{"OfConcurrentMessageDeletionsOneSucceeds", concurrentMessageDeletions},
	{"DuringIndexing", deletionDuringIndexing},
}

// gone fails when something of what was deleted is left anywhere.
func (r *record) gone(t tb, places func(string) []string, what string, list ...string) {
	t.Helper()
	for _, text := range list {
		if left := places(text); len(left) > 0 {
			t.Errorf("%s: %s is still in %s", what, short(text), strings.Join(left, ", "))
		}
	}
}

func (r *record) places(t *testing.T) func(string) []string {
	return func(text string) []string { return r.engine.Leftovers(t, r.Store, text) }
}

func erasesConversation(t *testing.T, r *record) {
	for _, drained := range []bool{false, true} {
		mark, f := word(), r.join(t)
		body, title, meta, item, request, answer, failure := mark+"body", mark+"title", mark+"meta", mark+"item", mark+"request", mark+"answer", mark+"error"
		conversation := r.createWith(t, store.NewConversation{Title: title, Model: mark + "model", Metadata: map[string]string{meta: meta}})
		made, _ := r.append(t, store.Append{ConversationID: conversation, Messages: []store.NewMessage{
			{Role: "user", Content: body, Item: itemOf(t, item)}, {Role: "user", Content: "more of " + body}}})
		reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user(body), Request: itemOf(t, request), Model: mark + "model"})
		r.log(t, f, says(reply, answer))
		e := end(f, reply, store.ResponseFailed)
		e.Error, e.IncompleteReason = &store.ResponseError{Code: failure, Message: failure}, mark+"reason"
		if _, _, err := r.FinishResponse(r.ctx, e); err != nil {
			t.Fatal(err)
		}
		if err := r.engine.Foreign(r.ctx, r.Store, conversation, "user", mark+"foreign"); err != nil {
			t.Fatal(err)
		}
		if err := r.DeleteMessage(r.ctx, conversation, made[1]); err != nil {
			t.Fatal(err)
		}
		if drained {
			r.drain(t)
		}
		places := r.places(t)
		for _, text := range []string{body, title, meta, item, request, answer, failure, conversation} {
			if len(places(text)) == 0 {
				t.Errorf("Leftovers does not find %q before the deletion", text)
			}
		}
		other := r.create(t)
		kept := r.add(t, other, "user", "stays "+word())
		r.sameState(t, other, func() {
			if err := r.DeleteConversation(r.ctx, conversation); err != nil {
				t.Fatal(err)
			}
		})
		r.gone(t, places, "after the deletion", mark, conversation, reply.ID)
		same(t, "found", hitIDs(r.search(t, mark)), nil)
		r.drain(t)
		r.gone(t, places, "after indexing", mark, conversation, reply.ID, made[0], made[1])
		fails(t, "a second deletion", r.DeleteConversation(r.ctx, conversation), store.ErrNotFound)
		_, _, err := r.ReadLog(r.ctx, reply.ID, 0)
		fails(t, "ReadLog", err, store.ErrNotFound)
		_, err = r.StartResponse(r.ctx, store.NewResponse{Fence: f, PreviousID: reply.ID, Input: user("q")})
		fails(t, "a turn after its reply", err, store.ErrNotFound)
		_, err = r.History(r.ctx, reply)
		fails(t, "History", err, store.ErrNotFound)
		equal(t, "the other conversation's message", r.message(t, other, kept).ID, kept)
	}
}

func concurrentDeletions(t *testing.T, r *record) {
	for range times(10) {
		conversation := r.create(t)
		r.fill(t, conversation, 5)
		var mu sync.Mutex
		won := 0
		together(6, func(int) {
			err := r.DeleteConversation(r.ctx, conversation)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("DeleteConversation: %v", err)
			}
		})
		equal(t, "deletions that succeed", won, 1)
	}
}

func deletionWhileRunning(t *testing.T, r *record) {
	f, mark := r.join(t), word()
	reply := r.start(t, store.NewResponse{Fence: f, Input: user(mark)})
	rows := says(reply, mark+"one", mark+"two")
	r.log(t, f, rows[:5])
	if err := r.DeleteConversation(r.ctx, reply.ConversationID); err != nil {
		t.Fatal(err)
	}
	r.gone(t, r.places(t), "after the deletion", mark, reply.ID, reply.ConversationID)
	list, err := r.Running(r.ctx, f.ServerID)
	if err != nil || len(list) != 0 {
		t.Errorf("Running: %v, %v", list, err)
	}
	_, _, err = r.ReadLog(r.ctx, reply.ID, 0)
	fails(t, "ReadLog", err, store.ErrNotFound)
	// Its owner does not know yet.
	if err := r.AppendDeltas(r.ctx, f, rows[5:]); err != nil {
		t.Logf("a flush after the deletion: %v", err)
	}
	for range 2 {
		_, _, err = r.FinishResponse(r.ctx, end(f, reply, store.ResponseCompleted))
		fails(t, "FinishResponse", err, store.ErrNotFound)
		r.gone(t, r.places(t), "after the end", mark, reply.ID, reply.ConversationID)
	}
}

// Whatever falls together with a deletion either came before it or finds nothing; nothing is left of it.
func deletionWhileEverything(t *testing.T, r *record) {
	for range times(5) {
		f, mark := r.join(t), word()
		conversation := r.create(t)
		done := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user(mark)}, mark)
		reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user(mark)})
		r.log(t, f, says(reply, mark))
		expected := func(what string, err error) {
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
		var branches = make([]store.Response, 2)
		together(8, func(i int) {
			switch i {
			case 0:
				if err := r.DeleteConversation(r.ctx, conversation); err != nil {
					t.Errorf("DeleteConversation: %v", err)
				}
			case 1, 2:
				_, err := r.AddMessage(r.ctx, conversation, "user", mark)
				expected("AddMessage", err)
			case 3:
				_, _, err := r.FinishResponse(r.ctx, end(f, reply, store.ResponseCompleted))
				expected("FinishResponse", err)
			case 4, 5:
				var err error
				branches[i-4], err = r.StartResponse(r.ctx, store.NewResponse{Fence: f, PreviousID: done.ID, Input: user(mark)})
				expected("StartResponse", err)
			case 6:
				_, err := r.IndexPending(r.ctx, 100)
				expected("IndexPending", err)
			case 7:
				_, err := r.GetConversation(r.ctx, conversation)
				expected("GetConversation", err)
			}
		})
		for _, branch := range branches {
			if branch.ID != "" {
				_, _, err := r.FinishResponse(r.ctx, end(f, branch, store.ResponseFailed))
				fails(t, "FinishResponse of a branch", err, store.ErrNotFound)
			}
		}
		_, _, err := r.FinishResponse(r.ctx, end(f, reply, store.ResponseFailed))
		fails(t, "FinishResponse", err, store.ErrNotFound)
		r.drain(t)
		r.gone(t, r.places(t), "afterwards", mark, conversation, reply.ID)
	}
}

func messageLeavesItsPlace(t *testing.T, r *record) {
	for _, drained := range []bool{false, true} {
		mark := word()
		conversation := r.create(t)
		made, _ := r.append(t, store.Append{ConversationID: conversation, Messages: []store.NewMessage{
			{Role: "user", Content: "one"}, {Role: "user", Content: mark, Item: itemOf(t, mark+"item")}, {Role: "user", Content: "three"}}})
		if drained {
			r.drain(t)
		}
		if err := r.DeleteMessage(r.ctx, conversation, made[1]); err != nil {
			t.Fatal(err)
		}
		r.gone(t, r.places(t), "after the deletion", mark)
		same(t, "the conversation", texts(r.get(t, conversation).Messages), []string{"one", "three"})
		same(t, "found", hitIDs(r.search(t, mark)), nil)
		_, err := r.Message(r.ctx, conversation, made[1])
		fails(t, "Message", err, store.ErrNotFound)
		_, err = r.FindMessage(r.ctx, made[1])
		fails(t, "FindMessage", err, store.ErrNotFound)
		fails(t, "a second deletion", r.DeleteMessage(r.ctx, conversation, made[1]), store.ErrNotFound)
		c := r.summary(t, conversation)
		equal(t, "MessageCount", c.MessageCount, 2)
		equal(t, "Head", c.Head, 3)
		page := r.thread(t, store.ThreadQuery{ConversationID: conversation, Tombstones: true})
		same(t, "with its place", ids(page.Messages), made)
		tomb := page.Messages[1]
		equal(t, "its status", tomb.Status, store.MessageDeleted)
		equal(t, "its text", tomb.Content, "")
		if tomb.Item != nil {
			t.Errorf("its item is %s", tomb.Item)
		}
		_, head := r.append(t, store.Append{ConversationID: conversation, Messages: user("four")})
		equal(t, "the head after another", head, 4)
		r.drain(t)
		r.gone(t, r.places(t), "after indexing", mark)
		r.whole(t, conversation, 0)
	}
}

func messageOfAReply(t *testing.T, r *record) {
	conversation, f, mark := r.create(t), r.join(t), word()
	first := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q1")}, "a1", mark+"a1b")
	second := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q2")}, "a2")
	third := r.turn(t, store.NewResponse{Fence: f, PreviousID: first.ID, Input: user("q3")}, "a3")
	_, was := r.readLog(t, first, 0)
	messages := r.get(t, conversation).Messages
	if err := r.DeleteMessage(r.ctx, conversation, messages[2].ID); err != nil { // where the branch leaves
		t.Fatal(err)
	}
	if err := r.DeleteMessage(r.ctx, conversation, messages[3].ID); err != nil { // where it begins
		t.Fatal(err)
	}
	same(t, "the branch", r.line(t, conversation, r.place(t, third)), []string{"q1", "a1", "a3"})
	same(t, "the other", r.line(t, conversation, r.place(t, second)), []string{"q1", "a1", "q2", "a2"})
	r.gone(t, r.places(t), "after the deletion", mark)

	// Its log still reads: as many rows, the text erased.
	for n := range was {
		if was[n].Item == 1 && was[n].Kind == store.DeltaText {
			was[n].Text = ""
		}
	}
	_, is := r.readLog(t, first, 0)
	same(t, "the log", deltaTexts(is), deltaTexts(was))

	// And the conversation goes on from it.
	r.turn(t, store.NewResponse{Fence: f, PreviousID: first.ID, Input: user("q4")}, "a4")
	same(t, "the next branch", r.line(t, conversation, nil), []string{"q1", "a1", "q4", "a4"})
	r.whole(t, conversation, 0)
}

func concurrentMessageDeletions(t *testing.T, r *record) {
	for range times(10) {
		conversation := r.create(t)
		made, _ := r.append(t, store.Append{ConversationID: conversation, Messages: slices.Repeat(user("x"), 3)})
		var mu sync.Mutex
		won := 0
		together(6, func(i int) {
			err := r.DeleteMessage(r.ctx, conversation, made[i%2])
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("DeleteMessage: %v", err)
			}
		})
		equal(t, "deletions that succeed", won, 2)
		r.whole(t, conversation, 0)
	}
}

func deletionDuringIndexing(t *testing.T, r *record) {
	stop := meanwhile(func() {
		if _, err := r.IndexPending(r.ctx, 2); err != nil {
			t.Errorf("IndexPending: %v", err)
		}
	})
	defer stop()
	shared := word() // all texts begin with it
	var last [4][]string
	together(4, func(i int) {
		for range times(10) {
			mark := shared + word()
			id, err := r.CreateConversation(r.ctx, "")
			if err != nil {
				t.Errorf("CreateConversation: %v", err)
				return
			}
			message, err := r.AddMessage(r.ctx, id, "user", mark)
			if err == nil && i%2 == 0 {
				err = r.DeleteMessage(r.ctx, id, message)
			}
			if page, err := r.Search(r.ctx, store.SearchQuery{Text: mark}); err != nil || len(page.Hits) != i%2 {
				t.Errorf("%d hits, %v", len(page.Hits), err)
			}
			if err == nil {
				err = r.DeleteConversation(r.ctx, id)
			}
			if err != nil {
				t.Errorf("delete: %v", err)
			}
			last[i] = []string{id, message}
		}
	})
	stop()
	r.drain(t)
	r.gone(t, r.places(t), "afterwards", append(slices.Concat(last[:]...), shared)...)
}

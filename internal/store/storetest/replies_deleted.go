package storetest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
)

var deletedReplyTests = []test{
	{"InAListedConversationTheMessagesStay", deletedMessagesStay},
	{"InAnUnlistedConversationTheMessagesGo", deletedMessagesGo},
	{"WhileItRuns", deletedWhileItRuns},
	{"WhileItIsWritten", deletedWhileWritten},
	{"OfConcurrentDeletionsOneSucceeds", deletedOnce},
	{"AMessageOfARunningReplyIsNotDeleted", messageOfRunning},
	{"AMessageIsThereWhileItsReplyEnds", messageOfEnding},
}

// deleteReply deletes a reply.
func (r *record) deleteReply(t tb, reply store.Response) store.Response {
	t.Helper()
	was, err := r.DeleteResponse(r.ctx, reply.ID)
	if err != nil {
		t.Fatalf("DeleteResponse: %v", err)
	}
	return was
}

// forgotten fails when a reply is still there for anybody.
func (r *record) forgotten(t *testing.T, f store.Fence, reply store.Response) {
	t.Helper()
	_, err := r.DeleteResponse(r.ctx, reply.ID)
	fails(t, "DeleteResponse", err, store.ErrNotFound)
	_, _, err = r.ReadLog(r.ctx, reply.ID, 0)
	fails(t, "ReadLog", err, store.ErrNotFound)
	fails(t, "RequestCancel", r.RequestCancel(r.ctx, reply.ID), store.ErrNotFound)
	_, err = r.StartResponse(r.ctx, store.NewResponse{Fence: f, PreviousID: reply.ID, Input: user("q")})
	fails(t, "a turn after it", err, store.ErrNotFound)
	_, _, err = r.FinishResponse(r.ctx, end(f, reply, store.ResponseCompleted))
	fails(t, "FinishResponse", err, store.ErrNotFound)
}

func deletedMessagesStay(t *testing.T, r *record) {
	conversation, f, mark := r.create(t), r.join(t), word()
	first := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q1"), Request: itemOf(t, mark)}, "a1", "more")
	second := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q2")}, "a2")
	third := r.turn(t, store.NewResponse{Fence: f, PreviousID: first.ID, Input: user("q3")}, "a3")
	equal(t, "Inputs", first.Inputs, 1)
	was := r.thread(t, store.ThreadQuery{ConversationID: conversation}).Messages

	got := r.deleteReply(t, first)
	equal(t, "the deleted one", got.ID, first.ID)
	equal(t, "its conversation", got.ConversationID, conversation)
	r.forgotten(t, f, first)
	r.gone(t, r.places(t), "after the deletion", mark)
	is := r.thread(t, store.ThreadQuery{ConversationID: conversation}).Messages
	same(t, "the messages", texts(is), []string{"q1", "a1", "more", "q3", "a3"})
	same(t, "their ids", ids(is), ids(was))
	equal(t, "ResponseID", is[1].ResponseID, "")
	equal(t, "ResponseID of another", is[4].ResponseID, third.ID)
	same(t, "found", hitIDs(r.search(t, "more")), []string{is[2].ID})
	same(t, "the other branch", r.line(t, conversation, r.place(t, second)), []string{"q1", "a1", "more", "q2", "a2"})
	same(t, "History of what went on from it", texts(r.history(t, third)), []string{"q1", "a1", "more", "q3"})

	r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q4")}, "a4")
	same(t, "and on it goes", r.line(t, conversation, nil), []string{"q1", "a1", "more", "q3", "a3", "q4", "a4"})
	r.whole(t, conversation, 0)
}

func deletedMessagesGo(t *testing.T, r *record) {
	for _, drained := range []bool{false, true} {
		f := r.join(t)
		marks := []string{word(), word(), word()}
		var replies []store.Response
		for i, mark := range marks {
			n := store.NewResponse{Fence: f, Input: []store.NewMessage{{Role: "user", Content: mark, Item: itemOf(t, mark)}, {Role: "user", Content: mark}}}
			if i > 0 {
				n.PreviousID = replies[i-1].ID
			}
			replies = append(replies, r.turn(t, n, mark, "and "+mark))
		}
		if drained {
			r.drain(t)
		}
		conversation := replies[0].ConversationID
		r.deleteReply(t, replies[1])
		r.forgotten(t, f, replies[1])
		r.gone(t, r.places(t), "after the deletion", marks[1])
		same(t, "what is found of it", hitIDs(r.search(t, marks[1])), nil)
		same(t, "what is left", r.line(t, conversation, nil), []string{marks[0], marks[0], marks[0], "and " + marks[0], marks[2], marks[2], marks[2], "and " + marks[2]})
		equal(t, "its place", len(r.thread(t, store.ThreadQuery{ConversationID: conversation, Tombstones: true}).Messages), 12)
		r.whole(t, conversation, 0)

		r.deleteReply(t, replies[2])
		next := r.turn(t, store.NewResponse{Fence: f, PreviousID: replies[0].ID, Input: user("next")}, "answer")
		same(t, "gone on from the first", r.line(t, conversation, nil), []string{marks[0], marks[0], marks[0], "and " + marks[0], "next", "answer"})
		r.deleteReply(t, replies[0])
		r.whole(t, conversation, 0)
		r.deleteReply(t, next)
		_, err := r.Summary(r.ctx, conversation)
		fails(t, "the conversation without replies", err, store.ErrNotFound)
		r.drain(t)
		r.gone(t, r.places(t), "in the end", append(marks, conversation)...)

		// What somebody else put there stays.
		kept := r.turn(t, store.NewResponse{Fence: f, Input: user("q")}, "a")
		r.add(t, kept.ConversationID, "user", "mine")
		r.deleteReply(t, kept)
		same(t, "what was added", r.line(t, kept.ConversationID, nil), []string{"mine"})
		r.whole(t, kept.ConversationID, 0)
	}
}

func deletedWhileItRuns(t *testing.T, r *record) {
	for _, listed := range []bool{true, false} {
		f, mark := r.join(t), word()
		n := store.NewResponse{Fence: f, Input: user(mark + " q")}
		if listed {
			n.ConversationID = r.create(t)
		}
		reply := r.start(t, n)
		rows := says(reply, mark+" one", mark+" two")
		r.log(t, f, rows[:8])
		r.deleteReply(t, reply)
		if list, err := r.Running(r.ctx, f.ServerID); err != nil || len(list) != 0 {
			t.Errorf("Running: %v, %v", list, err)
		}
		_, gone, err := r.Unwanted(r.ctx, []string{reply.ID})
		if err != nil || !slices.Equal(gone, []string{reply.ID}) {
			t.Errorf("Unwanted: gone are %v, %v", gone, err)
		}
		found, err := r.ReadTails(r.ctx, []store.Tail{{ResponseID: reply.ID, From: 8}})
		if err != nil || !found[0].Over || len(found[0].Deltas) != 0 {
			t.Errorf("ReadTails: %+v, %v", found, err)
		}
		// Its owner does not know yet.
		r.log(t, f, rows[8:])
		for range 2 {
			r.forgotten(t, f, reply)
		}
		r.gone(t, r.places(t), "after the end", reply.ID)
		if !listed {
			r.gone(t, r.places(t), "after the end", mark, reply.ConversationID)
			continue
		}
		messages := r.get(t, reply.ConversationID).Messages
		same(t, "what was committed", texts(messages), []string{mark + " q", mark + " one", mark + " two"})
		equal(t, "status of what was whole", messages[1].Status, store.MessageCompleted)
		equal(t, "status of what was not", messages[2].Status, store.MessageIncomplete)
		equal(t, "found", len(r.search(t, mark)), 3)
		equal(t, "RunningID", r.summary(t, reply.ConversationID).RunningID, "")
		r.turn(t, store.NewResponse{Fence: f, ConversationID: reply.ConversationID, Input: user("on")}, "it goes")
		r.whole(t, reply.ConversationID, 0)
	}
}

// What a reader could see of a reply in a listed conversation is kept, at whatever moment it is deleted.
func deletedWhileWritten(t *testing.T, r *record) {
	for range times(10) {
		f, conversation := r.join(t), r.create(t)
		reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
		rows := logOf(reply)
		rows.open("message")
		rows.row(store.DeltaPart, 0, "", "output_text")
		for range 30 {
			rows.row(store.DeltaText, 0, "", "x")
		}
		r.log(t, f, rows.rows[:2])
		shown := 0
		together(3, func(i int) {
			switch i {
			case 0:
				for _, row := range rows.rows[2:] {
					if err := r.AppendDeltas(r.ctx, f, []store.Delta{row}); err != nil {
						t.Errorf("AppendDeltas: %v", err)
					}
				}
			case 1:
				for {
					found, err := r.ReadTails(r.ctx, []store.Tail{{ResponseID: reply.ID, From: 2}})
					if err != nil {
						t.Errorf("ReadTails: %v", err)
						return
					}
					if found[0].Over {
						return
					}
					shown = len(found[0].Deltas)
				}
			case 2:
				for { // somewhere in the middle
					found, err := r.ReadTails(r.ctx, []store.Tail{{ResponseID: reply.ID, From: 12}})
					if err != nil || len(found[0].Deltas) > 0 {
						break
					}
				}
				r.deleteReply(t, reply)
			}
		})
		kept := r.get(t, conversation).Messages
		if len(kept) != 2 || len(kept[1].Content) < shown {
			t.Errorf("%d pieces were shown, kept is %q", shown, texts(kept))
		}
		r.forgotten(t, f, reply)
		r.whole(t, conversation, 0)
	}
}

func deletedOnce(t *testing.T, r *record) {
	for range times(10) {
		f := r.join(t)
		var replies []store.Response
		for _, conversation := range []string{r.create(t), ""} {
			replies = append(replies, r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")}),
				r.turn(t, store.NewResponse{Fence: f, Input: user("q")}, "a"))
		}
		var mu sync.Mutex
		won := 0
		together(8, func(i int) {
			var err error
			if i < 2 { // and its owner ends one
				_, _, err = r.FinishResponse(r.ctx, end(f, replies[2*i], store.ResponseCompleted))
			} else {
				_, err = r.DeleteResponse(r.ctx, replies[i%4].ID)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil && i >= 2 {
				won++
			} else if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("call %d: %v", i, err)
			}
		})
		equal(t, "deletions that succeed", won, 4)
		for _, reply := range replies {
			r.forgotten(t, f, reply)
		}
		r.whole(t, replies[0].ConversationID, 0) // a reply that said nothing leaves its place
	}
}

func messageOfRunning(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	rows := says(reply, "one", "two")
	r.log(t, f, rows[:7])
	for _, row := range []store.Delta{rows[0], rows[5]} {
		fails(t, "DeleteMessage", r.DeleteMessage(r.ctx, conversation, row.ItemID), store.ErrReplyRunning)
		fails(t, "DeleteMessage elsewhere", r.DeleteMessage(r.ctx, r.create(t), row.ItemID), store.ErrNotFound)
	}
	question := r.get(t, conversation).Messages[0].ID
	if err := r.DeleteMessage(r.ctx, conversation, question); err != nil {
		t.Errorf("the question of a running reply: %v", err)
	}
	r.log(t, f, rows[7:])
	r.finish(t, f, reply, store.ResponseCompleted)
	if err := r.DeleteMessage(r.ctx, conversation, rows[0].ItemID); err != nil {
		t.Errorf("once it has ended: %v", err)
	}
	same(t, "what is left", r.line(t, conversation, nil), []string{"two"})
	r.whole(t, conversation, 0)
}

// messageOfEnding has a reply end while its item is deleted: that is refused, or done, but the item is not unknown.
func messageOfEnding(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	for range times(20) {
		reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
		rows := says(reply, "one")
		r.log(t, f, rows)
		together(2, func(i int) {
			if i == 0 {
				if _, _, err := r.FinishResponse(r.ctx, end(f, reply, store.ResponseCompleted)); err != nil {
					t.Errorf("FinishResponse: %v", err)
				}
			} else if err := r.DeleteMessage(r.ctx, conversation, rows[0].ItemID); err != nil && !errors.Is(err, store.ErrReplyRunning) {
				t.Errorf("DeleteMessage: %v", err)
			}
		})
	}
	r.whole(t, conversation, 0)
}

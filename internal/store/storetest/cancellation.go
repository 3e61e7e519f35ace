package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

var cancellationTests = []test{
	{"ACancelledContextWritesNothing", cancelledBefore},
	{"AppendsCancelledOnTheWay", cancelledAppends},
	{"TurnsCancelledOnTheWay", cancelledTurns},
	{"OneCancelledWriterStopsNoOther", cancelledBesideOthers},
}

func cancelledBefore(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	message := r.add(t, conversation, "user", "here")
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	r.sameState(t, conversation, func() {
		late := &record{Store: r.Store, engine: r.engine, ctx: ctx}
		calls := byID(late, f, conversation, message)
		for name, id := range map[string]string{
			"AddMessage": conversation, "AppendMessages": conversation, "AppendMessages with Expect": conversation, "GetConversation": conversation, "Summary": conversation,
			"Thread": conversation, "Message": message, "Place": message, "UpdateConversation": conversation, "DeleteResponse": reply.ID, "DeleteConversation": conversation,
			"DeleteMessage": message, "StartResponse in a conversation": conversation, "StartResponse after a response": reply.ID, "FinishResponse": reply.ID, "ReadLog": reply.ID,
		} {
			if err := calls[name](id); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want context.Canceled", name, err)
			}
		}
		if err := r.AppendDeltas(ctx, f, says(reply, "a")); !errors.Is(err, context.Canceled) {
			t.Errorf("AppendDeltas: %v", err)
		}
	})
	r.answer(t, f, reply, "a")
}

// cancelled calls f with a context that ends at some moment around the call.
func cancelled(r *record, f func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(r.ctx, 100*time.Microsecond<<rand.IntN(10)) // calls take as long on some machine
	defer cancel()
	f(ctx)
}

func cancelledAppends(t *testing.T, r *record) {
	conversation, n := r.create(t), times(60)
	var mu sync.Mutex
	sure, unsure := map[string]bool{}, map[string]bool{}
	together(8, func(writer int) {
		for i := range n {
			text := fmt.Sprintf("%d:%d", writer, i)
			a := store.Append{ConversationID: conversation, Messages: append(user(text), user(text+"b")...)}
			cancelled(r, func(ctx context.Context) {
				_, _, err := r.AppendMessages(ctx, a)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					sure[text] = true
				case ctx.Err() != nil:
					unsure[text] = true
				default:
					t.Errorf("AppendMessages: %v", err)
				}
			})
		}
	})
	list := r.settled(t, conversation)
	for i := 0; i < len(list); i += 2 {
		text := list[i].Content
		if i+1 == len(list) || list[i+1].Content != text+"b" {
			t.Fatalf("an append was kept in part: %q", text)
		}
		if !sure[text] && !unsure[text] {
			t.Errorf("%q is there twice, or from nowhere", text)
		}
		delete(sure, text)
		delete(unsure, text)
	}
	for text := range sure {
		t.Errorf("%q was acknowledged and is not there", text)
	}
	t.Logf("%d kept, %d cancelled in time", len(list)/2, len(unsure))
	r.whole(t, conversation, 0)
}

// settled reads a conversation when nothing of what was cancelled is on its way any more: a last append gets its lock.
func (r *record) settled(t tb, conversation string) []store.Message {
	t.Helper()
	r.append(t, store.Append{ConversationID: conversation, Messages: append(user("last"), user("lastb")...)})
	list := r.get(t, conversation).Messages
	return list[:len(list)-2]
}

func cancelledTurns(t *testing.T, r *record) {
	f := r.join(t)
	var conversations []string
	for range 4 {
		conversations = append(conversations, r.create(t))
	}
	n := times(25)
	var mu sync.Mutex
	ended, lost := 0, 0
	together(len(conversations), func(i int) {
		conversation := conversations[i]
		// A cancelled call may still be on its way; a change of the conversation waits for it.
		settle := func() {
			if err := r.rename(conversation, ""); err != nil {
				t.Errorf("UpdateConversation: %v", err)
			}
		}
		for range n {
			before := r.summary(t, conversation)
			var reply store.Response
			cancelled(r, func(ctx context.Context) {
				var err error
				reply, err = r.StartResponse(ctx, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
				if err != nil && ctx.Err() == nil {
					t.Errorf("StartResponse: %v", err)
				}
			})
			settle()
			after := r.summary(t, conversation)
			running := after.RunningID
			if running == "" {
				equal(t, "Head after a turn that did not start", after.Head, before.Head)
				equal(t, "MessageCount after it", after.MessageCount, before.MessageCount)
				mu.Lock()
				lost++
				mu.Unlock()
				continue
			}
			if reply.ID != "" {
				equal(t, "the running reply", running, reply.ID)
			}
			equal(t, "Head after a turn that started", after.Head, before.Head+2)
			var err error
			if reply, _, err = r.ReadLog(r.ctx, running, 0); err != nil {
				t.Errorf("ReadLog: %v", err)
				return
			}
			rows := says(reply, "a", "b")
			written := 0
			cancelled(r, func(ctx context.Context) {
				if err := r.AppendDeltas(ctx, f, rows); err != nil && ctx.Err() == nil {
					t.Errorf("AppendDeltas: %v", err)
				}
			})
			// What was cancelled may be there, wholly; the same again settles it.
			if _, deltas, err := r.ReadLog(r.ctx, reply.ID, 0); err == nil {
				written = len(deltas)
			}
			if written != 0 && written != len(rows) {
				t.Errorf("%d of %d rows are there", written, len(rows))
			}
			if err := r.AppendDeltas(r.ctx, f, rows); err != nil {
				t.Errorf("AppendDeltas: %v", err)
			}
			cancelled(r, func(ctx context.Context) {
				if _, _, err := r.FinishResponse(ctx, end(f, reply, store.ResponseCompleted)); err != nil && ctx.Err() == nil {
					t.Errorf("FinishResponse: %v", err)
				}
			})
			settle()
			now, deltas, err := r.ReadLog(r.ctx, reply.ID, 0)
			if err != nil {
				t.Errorf("ReadLog: %v", err)
			}
			same(t, "the log", deltaTexts(deltas), deltaTexts(rows))
			count := r.summary(t, conversation).MessageCount - after.MessageCount
			if now.Ended() && count != 2 || !now.Ended() && count != 0 {
				t.Errorf("the reply ended: %v, and has %d messages", now.Ended(), count)
			}
			again, _, err := r.FinishResponse(r.ctx, end(f, reply, store.ResponseIncomplete))
			if err != nil {
				t.Errorf("FinishResponse: %v", err)
			}
			if now.Ended() && again.Status != store.ResponseCompleted {
				t.Errorf("a reply that had ended as %s ended as %s", now.Status, again.Status)
			}
			mu.Lock()
			ended++
			mu.Unlock()
		}
	})
	for _, id := range conversations {
		r.whole(t, id, 0)
	}
	t.Logf("%d turns, %d cancelled in time", ended, lost)
}

func cancelledBesideOthers(t *testing.T, r *record) {
	conversation, n := r.create(t), times(40)
	together(8, func(writer int) {
		for i := range n {
			if writer%2 == 0 {
				if _, err := r.AddMessage(r.ctx, conversation, "user", fmt.Sprintf("%d:%d", writer, i)); err != nil {
					t.Errorf("a writer beside a cancelled one: %v", err)
				}
				continue
			}
			cancelled(r, func(ctx context.Context) {
				_, err := r.AddMessage(ctx, conversation, "user", "perhaps")
				if err != nil && ctx.Err() == nil {
					t.Errorf("AddMessage: %v", err)
				}
			})
		}
	})
	kept := 0
	for _, m := range r.get(t, conversation).Messages {
		if m.Content != "perhaps" {
			kept++
		}
	}
	equal(t, "messages of those that were not cancelled", kept, 4*n)
	r.settled(t, conversation)
	r.whole(t, conversation, 0)
}

package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
)

var ownershipTests = []test{
	{"EpochsGoUp", epochsGoUp},
	{"AFencedServerWritesNothing", fencedWritesNothing},
	{"ATakenOverReplyKeepsWhatWasShown", takenOver},
	{"ATakeOverDuringFlushes", takeOverDuringFlushes},
	{"RunningIsTheServersOwn", runningOwn},
	{"JoiningRemovesRowsOfDeletedReplies", joiningSweeps},
}

func epochsGoUp(t *testing.T, r *record) {
	a, b := r.join(t), r.join(t)
	again := r.joinAs(t, a.ServerID)
	if again.Epoch <= a.Epoch {
		t.Errorf("the epoch went from %d to %d", a.Epoch, again.Epoch)
	}
	equal(t, "ServerID", again.ServerID, a.ServerID)
	r.start(t, store.NewResponse{Fence: b, Input: user("the other server is not concerned")})
	var epochs = make([]int64, 8)
	together(8, func(i int) {
		f, err := r.JoinServer(r.ctx, a.ServerID)
		if err != nil {
			t.Errorf("JoinServer: %v", err)
		}
		epochs[i] = f.Epoch
	})
	slices.Sort(epochs)
	if len(slices.Compact(epochs)) != 8 || epochs[0] <= again.Epoch {
		t.Errorf("epochs of 8 concurrent joins after %d: %v", again.Epoch, epochs)
	}
}

func fencedWritesNothing(t *testing.T, r *record) {
	conversation, old := r.create(t), r.join(t)
	done := r.turn(t, store.NewResponse{Fence: old, ConversationID: conversation, Input: user("q")}, "a")
	reply := r.start(t, store.NewResponse{Fence: old, ConversationID: conversation, Input: user("q")})
	rows := says(reply, "shown", "not shown")
	r.log(t, old, rows[:5])
	f := r.joinAs(t, old.ServerID)
	late := word()
	for _, fence := range []store.Fence{old, {ServerID: old.ServerID}, {ServerID: old.ServerID, Epoch: f.Epoch + 1}, {ServerID: store.NewID(), Epoch: 1}} {
		r.sameState(t, conversation, func() {
			rows[7].Text = late
			fails(t, "AppendDeltas", r.AppendDeltas(r.ctx, fence, rows[5:]), store.ErrFenced)
			_, _, err := r.FinishResponse(r.ctx, end(fence, reply, store.ResponseCompleted))
			fails(t, "FinishResponse", err, store.ErrFenced)
			for _, n := range []store.NewResponse{{ConversationID: conversation}, {PreviousID: done.ID}, {}} {
				n.Fence, n.Input, n.Title = fence, user(late), late
				_, err = r.StartResponse(r.ctx, n)
				fails(t, "StartResponse", err, store.ErrFenced)
			}
		})
		now, deltas := r.readLog(t, reply, 0)
		equal(t, "the status", now.Status, store.ResponseInProgress)
		same(t, "the log", deltaTexts(deltas), deltaTexts(rows[:5]))
		same(t, "written by the fenced server", r.engine.Leftovers(t, r.Store, late), nil)
	}
	r.finish(t, f, reply, store.ResponseIncomplete)
}

func takenOver(t *testing.T, r *record) {
	conversation, dead := r.create(t), r.join(t)
	reply := r.start(t, store.NewResponse{Fence: dead, ConversationID: conversation, Input: user("q")})
	rows := says(reply, "what was shown")
	r.log(t, dead, rows[:3])
	f := r.joinAs(t, dead.ServerID)
	list, err := r.Running(r.ctx, f.ServerID)
	if err != nil || len(list) != 1 || list[0].ID != reply.ID {
		t.Fatalf("Running: %+v, %v", list, err)
	}
	e := end(f, list[0], store.ResponseIncomplete)
	e.IncompleteReason = "interrupted"
	if _, _, err := r.FinishResponse(r.ctx, e); err != nil {
		t.Fatal(err)
	}
	same(t, "the conversation", texts(r.get(t, conversation).Messages), []string{"q", "what was shown"})
	_, _, err = r.FinishResponse(r.ctx, end(dead, reply, store.ResponseCompleted))
	fails(t, "the dead server's end", err, store.ErrFenced)
	now, deltas := r.readLog(t, reply, 0)
	equal(t, "the status", now.Status, store.ResponseIncomplete)
	same(t, "the log", deltaTexts(deltas), deltaTexts(rows[:3]))
}

// What a flush reported as committed is in the reply, however the take-over falls; what it did not, need not be.
func takeOverDuringFlushes(t *testing.T, r *record) {
	for range times(5) {
		conversation, old := r.create(t), r.join(t)
		reply := r.start(t, store.NewResponse{Fence: old, ConversationID: conversation, Input: user("q")})
		l := logOf(reply)
		var pieces []string
		for i := range 200 {
			pieces = append(pieces, fmt.Sprint(i, " "))
		}
		l.item("message", "output_text", pieces...)
		r.log(t, old, l.rows[:2])
		shown := make(chan int, len(l.rows))
		together(2, func(i int) {
			if i == 0 {
				defer close(shown)
				for n := 2; n < len(l.rows); n++ {
					if err := r.AppendDeltas(r.ctx, old, l.rows[n:n+1]); err != nil {
						fails(t, "the flush that found the fence", err, store.ErrFenced)
						return
					}
					shown <- n
				}
				return
			}
			for n := range shown {
				if n > 10 {
					break
				}
			}
			f, err := r.JoinServer(r.ctx, old.ServerID)
			if err != nil {
				t.Errorf("JoinServer: %v", err)
				return
			}
			if _, _, err := r.FinishResponse(r.ctx, end(f, reply, store.ResponseIncomplete)); err != nil {
				t.Errorf("FinishResponse: %v", err)
			}
		})
		last := 10
		for n := range shown {
			last = n
		}
		_, deltas := r.readLog(t, reply, 0)
		if len(deltas) < last+1 {
			t.Errorf("%d rows were shown, %d are kept", last+1, len(deltas))
		}
		same(t, "what is kept", deltaTexts(deltas), deltaTexts(l.rows[:len(deltas)]))
		same(t, "rows left of the log", slices.DeleteFunc(r.engine.Leftovers(t, r.Store, reply.ID), func(place string) bool {
			return !strings.HasPrefix(place, "response_deltas")
		}), nil)
	}
}

func runningOwn(t *testing.T, r *record) {
	a, b := r.join(t), r.join(t)
	running := func(f store.Fence, want ...string) {
		t.Helper()
		list, err := r.Running(r.ctx, f.ServerID)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, reply := range list {
			got = append(got, reply.ID)
			equal(t, "the status of a running reply", reply.Status, store.ResponseInProgress)
		}
		same(t, "Running", got, want)
	}
	running(a)
	first := r.start(t, store.NewResponse{Fence: a, Input: user("q"), Request: []byte(`{"a":1}`), Model: "m"})
	second := r.start(t, store.NewResponse{Fence: a, Input: user("q")})
	other := r.start(t, store.NewResponse{Fence: b, Input: user("q")})
	running(a, first.ID, second.ID)
	running(b, other.ID)
	list, err := r.Running(r.ctx, a.ServerID)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "a running reply", fmt.Sprintf("%+v", list[0]), fmt.Sprintf("%+v", first))
	r.answer(t, a, first, "a")
	running(a, second.ID)
	a = r.joinAs(t, a.ServerID)
	running(a, second.ID)
	r.finish(t, a, second, store.ResponseFailed)
	running(a)
	running(b, other.ID)
	running(store.Fence{ServerID: store.NewID()})
}

func joiningSweeps(t *testing.T, r *record) {
	f := r.join(t)
	gone := r.start(t, store.NewResponse{Fence: f, Input: user("q")})
	stays := r.start(t, store.NewResponse{Fence: f, Input: user("q")})
	late := word()
	if err := r.DeleteConversation(r.ctx, gone.ConversationID); err != nil {
		t.Fatal(err)
	}
	// A flush on its way: it may come through, or be refused.
	if err := r.AppendDeltas(r.ctx, f, says(gone, late)); err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a flush of a deleted reply: %v", err)
	}
	rows := says(stays, "stays")
	r.log(t, f, rows)
	r.joinAs(t, f.ServerID)
	same(t, "left of the deleted reply's log", r.engine.Leftovers(t, r.Store, late), nil)
	_, deltas := r.readLog(t, stays, 0)
	same(t, "the log of the other", deltaTexts(deltas), deltaTexts(rows))
}

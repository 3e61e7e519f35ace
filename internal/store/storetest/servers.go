package storetest

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

var serverTests = []test{
	{"AHeartbeatIsSeenByOthers", heartbeatSeen},
	{"AServerThatShowsThatItLivesIsNotFencedOff", livingNotFenced},
	{"AServerThatIsFencedOffWritesNothingMore", fencedOff},
	{"ACancellationIsSeenByTheOwner", cancellationSeen},
	{"ADeletionIsSeenByTheOwner", deletionSeen},
	{"ManyTailsAreReadAtOnce", tailsRead},
}

// busy returns the server's row, as others see it, or false when it has no reply that runs.
func (r *record) busy(t tb, id string) (store.Server, bool) {
	t.Helper()
	list, err := r.BusyServers(r.ctx)
	if err != nil {
		t.Fatalf("BusyServers: %v", err)
	}
	i := slices.IndexFunc(list, func(s store.Server) bool { return s.ID == id })
	if i < 0 {
		return store.Server{}, false
	}
	return list[i], true
}

func heartbeatSeen(t *testing.T, r *record) {
	f := r.join(t)
	if _, busy := r.busy(t, f.ServerID); busy {
		t.Error("a server without a reply is busy")
	}
	reply := r.start(t, store.NewResponse{Fence: f, Input: user("q")})
	before, busy := r.busy(t, f.ServerID)
	if !busy {
		t.Fatal("a server with a reply is not busy")
	}
	equal(t, "the epoch", before.Epoch, f.Epoch)
	if err := r.Heartbeat(r.ctx, f); err != nil {
		t.Fatal(err)
	}
	after, _ := r.busy(t, f.ServerID)
	if after.Counter <= before.Counter {
		t.Errorf("a heartbeat took the counter from %d to %d", before.Counter, after.Counter)
	}
	r.finish(t, f, reply, store.ResponseFailed)
	if _, busy := r.busy(t, f.ServerID); busy {
		t.Error("a server whose replies have ended is busy")
	}
	for _, wrong := range []store.Fence{{ServerID: f.ServerID, Epoch: f.Epoch + 1}, {ServerID: store.NewID(), Epoch: 1}} {
		fails(t, "Heartbeat", r.Heartbeat(r.ctx, wrong), store.ErrFenced)
	}
}

func livingNotFenced(t *testing.T, r *record) {
	f := r.join(t)
	r.start(t, store.NewResponse{Fence: f, Input: user("q")})
	seen, _ := r.busy(t, f.ServerID)
	if err := r.Heartbeat(r.ctx, f); err != nil {
		t.Fatal(err)
	}
	if done, err := r.FenceOff(r.ctx, seen); done || err != nil {
		t.Errorf("FenceOff of a server that has shown that it lives: %v, %v", done, err)
	}
	if err := r.Heartbeat(r.ctx, f); err != nil {
		t.Errorf("it cannot go on: %v", err)
	}
	if done, err := r.FenceOff(r.ctx, store.Server{ID: store.NewID()}); done || err != nil {
		t.Errorf("FenceOff of nobody: %v, %v", done, err)
	}
}

func fencedOff(t *testing.T, r *record) {
	dead, living := r.join(t), r.join(t)
	reply := r.start(t, store.NewResponse{Fence: dead, Input: user("q")})
	rows := says(reply, "shown", "late")
	r.log(t, dead, rows[:3])
	seen, _ := r.busy(t, dead.ServerID)
	var done atomic.Int32
	together(4, func(int) {
		fenced, err := r.FenceOff(r.ctx, seen)
		if err != nil {
			t.Errorf("FenceOff: %v", err)
		}
		if fenced {
			done.Add(1)
		}
	})
	equal(t, "how many of four fenced it off", done.Load(), 1)
	fails(t, "AppendDeltas", r.AppendDeltas(r.ctx, dead, rows[3:]), store.ErrFenced)
	fails(t, "Heartbeat", r.Heartbeat(r.ctx, dead), store.ErrFenced)
	_, _, err := r.FinishResponse(r.ctx, end(dead, reply, store.ResponseCompleted))
	fails(t, "FinishResponse", err, store.ErrFenced)
	ended := r.finish(t, living, reply, store.ResponseIncomplete)
	equal(t, "the status", ended.Status, store.ResponseIncomplete)
	same(t, "what is kept", r.line(t, reply.ConversationID, nil), []string{"q", "shown"})
}

func cancellationSeen(t *testing.T, r *record) {
	f := r.join(t)
	one := r.start(t, store.NewResponse{Fence: f, Input: user("q")})
	two := r.start(t, store.NewResponse{Fence: f, Input: user("q")})
	unwanted := func(name string, want ...string) {
		t.Helper()
		cancelled, gone, err := r.Unwanted(r.ctx, []string{one.ID, two.ID})
		if err != nil || len(gone) > 0 {
			t.Fatalf("Unwanted: %v, %v", gone, err)
		}
		same(t, name, cancelled, want)
	}
	unwanted("unwanted at first")
	for range 2 {
		if err := r.RequestCancel(r.ctx, two.ID); err != nil {
			t.Fatal(err)
		}
	}
	unwanted("unwanted after a cancellation", two.ID)
	now, _ := r.readLog(t, two, 0)
	equal(t, "the status before the owner has looked", now.Status, store.ResponseInProgress)
	r.finish(t, f, two, store.ResponseCancelled)
	if err := r.RequestCancel(r.ctx, two.ID); err != nil {
		t.Errorf("a cancellation after the end: %v", err)
	}
	now, _ = r.readLog(t, two, 0)
	equal(t, "the status", now.Status, store.ResponseCancelled)
	for _, id := range []string{store.NewID(), "x", ""} {
		fails(t, "RequestCancel", r.RequestCancel(r.ctx, id), store.ErrNotFound)
	}
}

func deletionSeen(t *testing.T, r *record) {
	f := r.join(t)
	reply := r.start(t, store.NewResponse{Fence: f, Input: user("q")})
	if err := r.DeleteConversation(r.ctx, reply.ConversationID); err != nil {
		t.Fatal(err)
	}
	cancelled, gone, err := r.Unwanted(r.ctx, []string{reply.ID})
	if err != nil || len(cancelled) > 0 || !slices.Equal(gone, []string{reply.ID}) {
		t.Errorf("Unwanted: %v, %v, %v", cancelled, gone, err)
	}
	// Who looks only after the deletion was undone finds a reply that has ended and was not ended here.
	reply = r.start(t, store.NewResponse{Fence: f, Input: user("q")})
	if _, err := r.HoldConversation(r.ctx, reply.ConversationID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := r.UndoDeletion(r.ctx, reply.ConversationID); err != nil {
		t.Fatal(err)
	}
	cancelled, gone, err = r.Unwanted(r.ctx, []string{reply.ID})
	if err != nil || len(gone) > 0 || !slices.Equal(cancelled, []string{reply.ID}) {
		t.Errorf("Unwanted after the deletion was undone: %v, %v, %v", cancelled, gone, err)
	}
	if cancelled, gone, err := r.Unwanted(r.ctx, nil); err != nil || len(cancelled)+len(gone) > 0 {
		t.Errorf("Unwanted of none: %v, %v, %v", cancelled, gone, err)
	}
}

var idempotencyTests = []test{
	{"ARetryGetsTheFirstResponse", retryFirst},
	{"RetriesAtTheSameMomentGetOneResponse", retriesTogether},
	{"AConversationIsMadeOnceForAKey", conversationOnce},
	{"ARefusedRequestLeavesItsKeyFree", refusedFree},
	{"OldKeysAreForgotten", keysForgotten},
	{"AnIDIsKeptOnce", idOnce},
}

func retryFirst(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	n := store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q"), Key: store.NewID(), Fingerprint: "one"}
	keyed := func(when, fingerprint, want string, wantErr error) {
		t.Helper()
		if id, err := r.KeyedResponse(r.ctx, n.Key, fingerprint); id != want || !errors.Is(err, wantErr) {
			t.Errorf("%s the key is of response %q, %v", when, id, err)
		}
	}
	keyed("before the first request", "one", "", nil)
	first := r.start(t, n)
	repeated := func(when string) {
		t.Helper()
		keyed(when, "one", first.ID, nil)
		keyed(when+", for another request,", "two", "", store.ErrKeyReused)
		r.sameState(t, conversation, func() {
			_, err := r.StartResponse(r.ctx, n)
			var again *store.RepeatedError
			if !errors.As(err, &again) || again.ResponseID != first.ID {
				t.Errorf("a retry %s: %v, want response %s", when, err, first.ID)
			}
			other := n
			other.Fingerprint = "two"
			_, err = r.StartResponse(r.ctx, other)
			fails(t, "another request with the key", err, store.ErrKeyReused)
		})
	}
	repeated("while it runs")
	r.answer(t, f, first, "a")
	repeated("after its end")
	n.Key = store.NewID()
	if second := r.start(t, n); second.ID == first.ID {
		t.Error("another key got the same response")
	}
}

func retriesTogether(t *testing.T, r *record) {
	for range times(10) {
		conversation, f := r.create(t), r.join(t)
		n := store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q"), Key: store.NewID(), Fingerprint: "one"}
		var mu sync.Mutex
		started := map[string]int{}
		repeats := map[string]int{}
		together(6, func(int) {
			reply, err := r.StartResponse(r.ctx, n)
			mu.Lock()
			defer mu.Unlock()
			var again *store.RepeatedError
			switch {
			case err == nil:
				started[reply.ID]++
			case errors.As(err, &again):
				repeats[again.ResponseID]++
			default:
				t.Errorf("StartResponse: %v", err)
			}
		})
		if len(started) != 1 || len(repeats) != 1 {
			t.Fatalf("six at once started %v and repeated %v", started, repeats)
		}
		for id := range started {
			equal(t, "repeats of "+id, repeats[id], 5)
		}
		equal(t, "messages", r.summary(t, conversation).MessageCount, 1)
	}
}

func conversationOnce(t *testing.T, r *record) {
	for range times(10) {
		c := store.NewConversation{Title: "once", Messages: user("q"), Key: store.NewID(), Fingerprint: "one"}
		var ids sync.Map
		together(6, func(int) {
			id, err := r.CreateConversationWith(r.ctx, c)
			if err != nil {
				t.Errorf("CreateConversationWith: %v", err)
			}
			ids.Store(id, true)
		})
		first := ""
		ids.Range(func(id, _ any) bool {
			if first != "" {
				t.Errorf("six at once made %v and %v", first, id)
			}
			first = id.(string)
			return true
		})
		r.remove(t, first)
		equal(t, "messages", r.summary(t, first).MessageCount, 1)
		r.sameState(t, first, func() {
			if id, err := r.CreateConversationWith(r.ctx, c); err != nil || id != first {
				t.Errorf("a retry: %s, %v, want %s", id, err, first)
			}
			other := c
			other.Fingerprint = "two"
			_, err := r.CreateConversationWith(r.ctx, other)
			fails(t, "another request with the key", err, store.ErrKeyReused)
		})
		// The keys of responses are others.
		reply := r.start(t, store.NewResponse{Fence: r.join(t), ConversationID: first, Key: c.Key, Fingerprint: "two"})
		equal(t, "conversation", reply.ConversationID, first)
		if err := r.DeleteConversation(r.ctx, first); err != nil {
			t.Fatal(err)
		}
		if id, err := r.CreateConversationWith(r.ctx, c); err != nil || id != first {
			t.Errorf("a retry after it was deleted: %s, %v, want %s", id, err, first)
		}
		_, err := r.Summary(r.ctx, first)
		fails(t, "what a retry finds of it", err, store.ErrNotFound)
		bad := store.NewConversation{Messages: []store.NewMessage{{Role: "nobody", Content: "q"}}, Key: store.NewID(), Fingerprint: "one"}
		if _, err := r.CreateConversationWith(r.ctx, bad); err == nil {
			t.Error("a bad role is kept")
		}
		bad.Messages = user("q")
		id, err := r.CreateConversationWith(r.ctx, bad)
		if err != nil {
			t.Fatal(err)
		}
		r.remove(t, id)
		equal(t, "messages of one that was refused before", r.summary(t, id).MessageCount, 1)
	}
}

func refusedFree(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	n := store.NewResponse{Fence: f, ConversationID: store.NewID(), Input: user("q"), Key: store.NewID(), Fingerprint: "one"}
	_, err := r.StartResponse(r.ctx, n)
	fails(t, "StartResponse", err, store.ErrNotFound)
	n.ConversationID = conversation
	r.start(t, n)
}

func idOnce(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	previous := r.turn(t, store.NewResponse{Fence: f, Input: user("q")}, "a")
	head := int64(0)
	for name, n := range map[string]store.NewResponse{
		"in a conversation":       {ConversationID: conversation, Expect: &head},
		"after a response":        {PreviousID: previous.ID},
		"in a new conversation":   {},
		"with an idempotency key": {Key: store.NewID(), Fingerprint: "one"},
	} {
		n.ID, n.Fence, n.Input = store.NewID(), f, user("q")
		var kept sync.Map
		together(4, func(int) {
			reply, err := r.StartResponse(r.ctx, n)
			var again *store.RepeatedError
			if err == nil {
				kept.Store(reply.ID, reply.ConversationID)
			} else if !errors.As(err, &again) || again.ResponseID != n.ID {
				t.Errorf("%s: StartResponse: %v", name, err)
			}
		})
		in, ok := kept.Load(n.ID)
		if !ok {
			t.Fatalf("%s: response %s is not kept", name, n.ID)
		}
		r.remove(t, in.(string))
		r.sameState(t, in.(string), func() {
			_, err := r.StartResponse(r.ctx, n)
			var again *store.RepeatedError
			if !errors.As(err, &again) || again.ResponseID != n.ID {
				t.Errorf("%s: once more: %v", name, err)
			}
		})
	}
}

func keysForgotten(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	n := store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q"), Key: store.NewID(), Fingerprint: "one"}
	first := r.turn(t, n, "a")
	long := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) // before anybody else's
	if _, err := r.ForgetKeys(r.ctx, long); err != nil {
		t.Fatal(err)
	}
	var again *store.RepeatedError
	if _, err := r.StartResponse(r.ctx, n); !errors.As(err, &again) {
		t.Errorf("a young key is forgotten: %v", err)
	}
	r.engine.SetTimes(t, r.Store, conversation, long.Add(-time.Second))
	if forgotten, err := r.ForgetKeys(r.ctx, long); err != nil || forgotten != 1 {
		t.Errorf("ForgetKeys: %d, %v", forgotten, err)
	}
	if second := r.start(t, n); second.ID == first.ID {
		t.Error("a forgotten key gives the old response")
	}
}

func tailsRead(t *testing.T, r *record) {
	f := r.join(t)
	running := r.start(t, store.NewResponse{Fence: f, Input: user("q")})
	r.log(t, f, says(running, "one", "two"))
	silent := r.start(t, store.NewResponse{Fence: f, Input: user("q")})
	ended := r.turn(t, store.NewResponse{Fence: f, Input: user("q")}, "a")
	_, rows := r.readLog(t, running, 0)
	var tails []store.Tail
	for from := range len(rows) + 2 {
		tails = append(tails, store.Tail{ResponseID: running.ID, From: from})
	}
	tails = append(tails, store.Tail{ResponseID: silent.ID}, store.Tail{ResponseID: ended.ID}, store.Tail{ResponseID: store.NewID()})
	found, err := r.ReadTails(r.ctx, tails)
	if err != nil || len(found) != len(tails) {
		t.Fatalf("ReadTails of %d: %d, %v", len(tails), len(found), err)
	}
	for from := range len(rows) + 2 {
		want := rows[min(from, len(rows)):]
		if found[from].Over {
			t.Errorf("from %d the reply is over", from)
		}
		same(t, "the rows", deltaTexts(found[from].Deltas), deltaTexts(want))
		for i, d := range found[from].Deltas {
			w := want[i]
			w.ConversationID, d.ConversationID = "", ""
			equal(t, "a row", d, w)
		}
	}
	rest := found[len(rows)+2:]
	for i, want := range []bool{false, true, true} {
		if rest[i].Over != want || len(rest[i].Deltas) > 0 {
			t.Errorf("tail %d of a silent, an ended and an unknown reply: %+v", i, rest[i])
		}
	}
	if found, err := r.ReadTails(r.ctx, nil); err != nil || len(found) != 0 {
		t.Errorf("ReadTails of none: %v, %v", found, err)
	}
}

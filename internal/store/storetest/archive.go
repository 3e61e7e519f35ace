package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

var archiveTests = []test{
	{"ComesBackAsItWas", archiveRestored},
	{"LeavesWhatIsThere", archiveThere},
	{"Abandoned", archiveAbandoned},
	{"ManyRows", archiveManyRows},
	{"AReplyThatRuns", archiveRunning},
	{"Ids", archiveIDs},
	{"AnIDThatIsTaken", archiveTaken},
}

// Grow makes a listed or unlisted conversation of drawn turns, branches, replies of every end, deletions and titles. It is removed when
// the example ends.
func Grow(rt *rapid.T, t *testing.T, s Store) (conversation string) {
	r := &record{Store: s, ctx: t.Context()}
	f := r.join(rt)
	id, err := s.CreateConversationWith(r.ctx, store.NewConversation{Model: "m", Title: keepable.Draw(rt, "title"), Unlisted: rapid.Bool().Draw(rt, "unlisted"),
		Metadata: map[string]string{"a": keepable.Draw(rt, "metadata"), "<b>": "&"}})
	if err != nil {
		rt.Fatalf("CreateConversationWith: %v", err)
	}
	r.remove(rt, id) // rapid may give an example up half-way
	var replies []store.Response
	for range rapid.IntRange(0, 6).Draw(rt, "turns") {
		n := store.NewResponse{Fence: f, ConversationID: id, Model: "m", Request: []byte(`{"a": [1, 2.50, "<&>"]}`),
			Input: []store.NewMessage{{Role: "user", Content: keepable.Draw(rt, "question")}, {Role: "system", Content: "s", Item: []byte(`{"type":"message","role":"developer"}`)}}}
		if len(replies) > 0 && rapid.Bool().Draw(rt, "after an earlier one") {
			n.ConversationID, n.PreviousID = "", rapid.SampledFrom(replies).Draw(rt, "earlier").ID
		}
		reply := r.start(rt, n)
		r.log(rt, f, drawLog(rt, reply))
		e := end(f, reply, rapid.SampledFrom([]store.ResponseStatus{store.ResponseCompleted, store.ResponseIncomplete, store.ResponseFailed, store.ResponseCancelled}).Draw(rt, "end"))
		switch e.Status {
		case store.ResponseCompleted:
			e.Usage, e.DroppedTurns = &store.Usage{InputTokens: 3, OutputTokens: 1 << 40}, 2
		case store.ResponseFailed:
			e.Error = &store.ResponseError{Code: "server_error", Message: "no <model>"}
		case store.ResponseIncomplete:
			e.IncompleteReason = "max_output_tokens"
		}
		if _, _, err := s.FinishResponse(r.ctx, e); err != nil {
			rt.Fatalf("FinishResponse: %v", err)
		}
		replies = append(replies, reply)
	}
	if all := r.all(rt, id); len(all) > 0 && rapid.Bool().Draw(rt, "delete one") {
		if err := s.DeleteMessage(r.ctx, id, rapid.SampledFrom(all).Draw(rt, "deleted").ID); err != nil {
			rt.Fatalf("DeleteMessage: %v", err)
		}
	}
	pinned, archived := rapid.Bool().Draw(rt, "pinned"), rapid.Bool().Draw(rt, "archived")
	if _, err := s.UpdateConversation(r.ctx, id, store.ConversationChange{Pinned: &pinned, Archived: &archived}); err != nil {
		rt.Fatalf("UpdateConversation: %v", err)
	}
	return id
}

// Check checks a property with n examples, see check.
func Check(t *testing.T, n int, property func(t *rapid.T)) {
	t.Helper()
	check(t, n, property)
}

// archived are the rows of a conversation. Each must be one that Restore takes.
func (r *record) archived(t tb, conversation string) (rows []store.ArchiveRow) {
	t.Helper()
	err := r.ArchiveConversation(r.ctx, conversation, func(row store.ArchiveRow) error {
		rows = append(rows, row)
		return row.Check()
	})
	if err != nil {
		t.Fatalf("ArchiveConversation: %v", err)
	}
	return rows
}

func (r *record) restore(t tb, rows []store.ArchiveRow) (there []string) {
	t.Helper()
	done, err := r.Restore(r.ctx, slices.Values(rows))
	if err != nil || len(done.Clashes) > 0 {
		t.Fatalf("Restore: %+v, %v", done, err)
	}
	return done.There
}

func archiveRestored(t *testing.T, r *record) {
	check(t, 40, func(rt *rapid.T) {
		id := Grow(rt, t, r)
		rows, state := r.archived(rt, id), r.state(rt, id)
		if err := r.DeleteConversation(r.ctx, id); err != nil {
			rt.Fatalf("DeleteConversation: %v", err)
		}
		same(rt, "what was there", r.restore(rt, rows), nil)
		if got := r.archived(rt, id); !reflect.DeepEqual(got, rows) {
			rt.Fatalf("the rows:\n got  %s\n want %s", spell(got), spell(rows))
		}
		if got := r.state(rt, id); fmt.Sprint(got) != fmt.Sprint(state) {
			rt.Fatalf("the conversation:\n got  %+v\n want %+v", got, state)
		}
		for _, row := range rows {
			if row.Response != nil {
				r.readLog(rt, store.Response{ID: row.Response.ID}, 0)
			}
		}
		if err := r.DeleteConversation(r.ctx, id); err != nil {
			rt.Fatalf("DeleteConversation: %v", err)
		}
	})
}

func spell(rows []store.ArchiveRow) (text string) {
	for _, row := range rows {
		switch {
		case row.Conversation != nil:
			text += fmt.Sprintf("\n%+v", *row.Conversation)
		case row.Message != nil:
			text += fmt.Sprintf("\n%+v", *row.Message)
		case row.Response != nil:
			text += fmt.Sprintf("\n%+v", *row.Response)
		}
	}
	return text
}

func archiveThere(t *testing.T, r *record) {
	conversation := r.create(t)
	mark := word()
	r.add(t, conversation, "user", mark)
	rows := r.archived(t, conversation)
	r.add(t, conversation, "user", "more")
	r.sameState(t, conversation, func() { same(t, "what was there", r.restore(t, rows), []string{conversation}) })

	if err := r.DeleteConversation(r.ctx, conversation); err != nil {
		t.Fatal(err)
	}
	same(t, "twice in one call", r.restore(t, append(rows, rows...)), []string{conversation})
	equal(t, "messages", len(r.all(t, conversation)), 1)
	equal(t, "found before it is indexed", len(r.search(t, mark)), 1)
	r.drain(t)
	equal(t, "found afterwards", len(r.search(t, mark)), 1)
}

func archiveAbandoned(t *testing.T, r *record) {
	kept, broken, mark := r.create(t), r.create(t), word()
	r.add(t, kept, "user", "kept")
	r.fill(t, broken, 50)
	r.add(t, broken, "user", mark)
	rows := append(r.archived(t, broken), store.ArchiveRow{Abandon: true})
	rows = append(rows, r.archived(t, kept)...)
	for _, id := range []string{kept, broken} {
		if err := r.DeleteConversation(r.ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	r.restore(t, rows)
	equal(t, "the whole one", len(r.all(t, kept)), 1)
	_, err := r.Summary(r.ctx, broken)
	fails(t, "the broken one", err, store.ErrNotFound)
	equal(t, "found of it", len(r.search(t, mark)), 0)
	r.gone(t, r.places(t), "after it was abandoned", mark)
}

func archiveManyRows(t *testing.T, r *record) {
	conversation := r.create(t)
	for range 5 {
		r.fill(t, conversation, 2000)
	}
	rows := r.archived(t, conversation)
	equal(t, "rows", len(rows), 10001)
	if err := r.DeleteConversation(r.ctx, conversation); err != nil {
		t.Fatal(err)
	}
	r.restore(t, rows)
	if !reflect.DeepEqual(r.archived(t, conversation), rows) {
		t.Error("the rows differ")
	}
	r.whole(t, conversation, 0)
	same(t, "what is there the second time", r.restore(t, rows), []string{conversation})
	r.add(t, conversation, "user", "and on")
	r.whole(t, conversation, 0)
}

func archiveRunning(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	r.log(t, f, says(reply, "so far")[:3])
	rows := r.archived(t, conversation)
	equal(t, "rows", len(rows), 4)
	equal(t, "MessageCount", rows[0].Conversation.MessageCount, 2)
	equal(t, "the text", rows[2].Message.Content, "so far")
	equal(t, "its status", rows[2].Message.Status, store.MessageIncomplete)
	equal(t, "its reply", rows[2].Message.ResponseID, reply.ID)
	equal(t, "the reply", rows[3].Response.Status, store.ResponseIncomplete)
	equal(t, "the reason", rows[3].Response.IncompleteReason, "interrupted")
	if err := r.DeleteConversation(r.ctx, conversation); err != nil {
		t.Fatal(err)
	}
	r.restore(t, rows)
	got, deltas := r.readLog(t, reply, 0)
	equal(t, "Ended", got.Ended(), true)
	equal(t, "its log", len(deltas), 3)
}

func archiveIDs(t *testing.T, r *record) {
	conversations, messages, err := r.ArchiveSize(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{r.create(t), r.createWith(t, store.NewConversation{Unlisted: true}), r.create(t)}
	slices.Sort(want)
	r.fill(t, want[0], 3)
	if c, m, err := r.ArchiveSize(r.ctx); err != nil || c != conversations+3 || m != messages+3 {
		t.Errorf("three more conversations with three messages: %d and %d, then %d and %d, %v", conversations, messages, c, m, err)
	}
	var got []string
	for after := ""; ; {
		page, err := r.ConversationIDs(r.ctx, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1]
		got = append(got, page...)
	}
	equal(t, "in order", slices.IsSorted(got), true)
	same(t, "the ids", slices.DeleteFunc(got, func(id string) bool { return !slices.Contains(want, id) }), want)
	fails(t, "an unknown one", r.ArchiveConversation(r.ctx, store.NewID(), nil), store.ErrNotFound)
	fails(t, "no id", r.ArchiveConversation(r.ctx, "x", nil), store.ErrNotFound)
	stop := errors.New("stop")
	fails(t, "the reader's own error", r.ArchiveConversation(r.ctx, want[0], func(store.ArchiveRow) error { return stop }), stop)
}

// A conversation with an id of another's, or twice the same, is left out and named, and the rest is taken.
func archiveTaken(t *testing.T, r *record) {
	f := r.join(t)
	make := func(n int) (string, []store.ArchiveRow) {
		conversation := r.create(t)
		r.fill(t, conversation, n)
		r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")}, "a")
		rows := r.archived(t, conversation)
		if err := r.DeleteConversation(r.ctx, conversation); err != nil {
			t.Fatal(err)
		}
		return conversation, rows
	}
	there, thereRows := make(1)
	same(t, "what was there", r.restore(t, thereRows), nil)
	theirs := thereRows[1].Message.ID
	first, firstRows := make(3)
	mark := word()
	firstRows[1].Message.Content = mark

	var rows []store.ArchiveRow
	want := map[string]store.Clash{}
	bad := func(n int, spoil func(rows []store.ArchiveRow) store.Clash) {
		id, list := make(n)
		if c := spoil(list); c != (store.Clash{}) {
			list[1].Message.Content = mark
			want[id] = c
		}
		rows = append(rows, list...)
	}
	reply := func(rows []store.ArchiveRow) *store.ArchivedResponse { return rows[len(rows)-1].Response }
	bad(2, func(rows []store.ArchiveRow) store.Clash { // of what the record has
		rows[2].Message.ID = theirs
		return store.Clash{ID: theirs, Of: there}
	})
	rows = append(rows, firstRows...)
	bad(2, func(rows []store.ArchiveRow) store.Clash { // of another in the same batch
		rows[2].Message.ID = firstRows[2].Message.ID
		return store.Clash{ID: rows[2].Message.ID, Of: first}
	})
	bad(2, func([]store.ArchiveRow) store.Clash { return store.Clash{} }) // and a good one between
	good := rows[len(rows)-1].Response.ID
	bad(5000, func(rows []store.ArchiveRow) store.Clash { // twice, far apart
		rows[4900].Message.ID = rows[3].Message.ID
		return store.Clash{ID: rows[3].Message.ID, Of: rows[0].Conversation.ID}
	})
	bad(2, func(rows []store.ArchiveRow) store.Clash { // of a reply
		reply(rows).ID = reply(thereRows).ID
		return store.Clash{ID: reply(rows).ID, Of: there}
	})
	bad(2, func(rows []store.ArchiveRow) store.Clash { // of a reply in the same batch
		reply(rows).ID = good
		return store.Clash{ID: good}
	})

	r.sameState(t, there, func() {
		done, err := r.Restore(r.ctx, slices.Values(rows))
		if err != nil || len(done.There) > 0 || len(done.Clashes) != len(want) {
			t.Fatalf("Restore: %+v, %v", done, err)
		}
		for id, c := range want {
			got := done.Clashes[id]
			if got.ID != c.ID || c.Of != "" && got.Of != c.Of {
				t.Errorf("the clash of %s is %+v, not %+v", id, got, c)
			}
			_, err := r.Summary(r.ctx, id)
			fails(t, "one with a clash", err, store.ErrNotFound)
		}
	})
	if got := r.archived(t, first); !reflect.DeepEqual(got, firstRows) {
		t.Errorf("the good one:\n got  %s\n want %s", spell(got), spell(firstRows))
	}
	equal(t, "found of all", len(r.search(t, mark)), 1)
	r.drain(t)
	equal(t, "found when it is indexed", len(r.search(t, mark)), 1)
	got, _ := r.readLog(t, store.Response{ID: good}, 0)
	r.whole(t, got.ConversationID, 0)
	same(t, "once more", r.restore(t, firstRows), []string{first})
	for _, id := range []string{first, there, got.ConversationID} {
		r.remove(t, id)
	}
}

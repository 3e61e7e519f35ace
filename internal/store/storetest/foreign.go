package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
)

// A foreign program knows only the two plain tables.
var foreignTests = []test{
	{"IsNumberedAndCounted", foreignNumbered},
	{"BesideOurWriters", foreignBeside},
	{"IsRefusedWhatIsWrong", foreignRefused},
}

func (r *record) foreign(t tb, conversation, role, content string) {
	t.Helper()
	if err := r.engine.Foreign(r.ctx, r.Store, conversation, role, content); err != nil {
		t.Fatalf("a foreign insert: %v", err)
	}
}

func foreignNumbered(t *testing.T, r *record) {
	conversation, mark := r.create(t), word()
	r.foreign(t, conversation, "user", "first")
	r.add(t, conversation, "assistant", "second")
	r.foreign(t, conversation, "system", mark)
	r.add(t, conversation, "user", "fourth")
	c := r.get(t, conversation)
	same(t, "the conversation", texts(c.Messages), []string{"first", "second", mark, "fourth"})
	for i, m := range c.Messages {
		equal(t, "a position", m.Position, store.Position{Seq: int64(i + 1)})
		equal(t, "a status", m.Status, store.MessageCompleted)
		if !store.IsID(m.ID) || m.CreatedAt.IsZero() {
			t.Errorf("message %d: %+v", i, m)
		}
		equal(t, "the message by its id", r.message(t, conversation, m.ID).Content, m.Content)
	}
	r.whole(t, conversation, 0)
	r.indexed(t, func(state string) {
		same(t, "found, "+state, hitIDs(r.search(t, mark)), []string{c.Messages[2].ID})
	})
	if err := r.DeleteMessage(r.ctx, conversation, c.Messages[2].ID); err != nil {
		t.Fatal(err)
	}
	r.whole(t, conversation, 0)
	expect := int64(3)
	if _, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: conversation, Messages: user("x"), Expect: &expect}); err == nil {
		t.Error("an append that did not see the foreign message succeeds")
	}
}

func foreignBeside(t *testing.T, r *record) {
	conversation, n := r.create(t), times(15)
	together(12, func(writer int) {
		for i := range n {
			text := fmt.Sprintf("%d:%d", writer, i)
			var err error
			if writer >= 8 {
				err = r.engine.Foreign(r.ctx, r.Store, conversation, "user", text)
			} else {
				_, err = r.AddMessage(r.ctx, conversation, "user", text)
			}
			if err != nil {
				t.Errorf("writer %d: %v", writer, err)
			}
		}
	})
	next := map[string]int{}
	for i, m := range r.get(t, conversation).Messages {
		equal(t, "a position", m.Position, store.Position{Seq: int64(i + 1)})
		writer, step, _ := strings.Cut(m.Content, ":")
		equal(t, "the next of writer "+writer, step, fmt.Sprint(next[writer]))
		next[writer]++
	}
	equal(t, "messages", r.summary(t, conversation).MessageCount, 12*n)
	r.whole(t, conversation, 0)
}

func foreignRefused(t *testing.T, r *record) {
	conversation := r.create(t)
	r.sameState(t, conversation, func() {
		if err := r.engine.Foreign(r.ctx, r.Store, conversation, "robot", "x"); err == nil {
			t.Error("a foreign insert with a bad role is kept")
		}
	})
	unknown, mark := store.NewID(), word()
	if err := r.engine.Foreign(r.ctx, r.Store, unknown, "user", mark); err == nil {
		t.Error("a foreign insert in an unknown conversation is kept")
	}
	r.gone(t, r.places(t), "after the refusal", unknown, mark)

	// One refused leaves the others as they are.
	var mu sync.Mutex
	var want []string
	together(8, func(i int) {
		text, role := fmt.Sprint("text ", i), "user"
		if i%2 == 1 {
			role = "robot"
		}
		err := r.engine.Foreign(r.ctx, r.Store, conversation, role, text)
		equal(t, "refused", err != nil, i%2 == 1)
		if err == nil {
			mu.Lock()
			want = append(want, text)
			mu.Unlock()
		}
	})
	got := r.line(t, conversation, nil)
	slices.Sort(got)
	slices.Sort(want)
	same(t, "kept", got, want)
	r.whole(t, conversation, 0)
}

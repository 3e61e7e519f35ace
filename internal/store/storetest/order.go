package storetest

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
)

var orderTests = []test{
	{"TimeDoesNotDecide", timeDoesNotDecide},
	{"SixteenWritersInOneConversation", writersInOne},
	{"SixteenWritersInSixteenConversations", writersInMany},
	{"MixedGoodAndBadAppendsAtOnce", mixedAppends},
	{"OfAppendsThatExpectTheSameOneWins", expectedAppends},
	{"OfTurnsThatExpectTheSameOneWins", expectedTurns},
	{"AppendsWhileConversationsAreDeleted", appendsAndDeletions},
}

// chunks yields list in pieces of size.
func chunks[T any](list []T, size int) iter.Seq[[]T] { return slices.Chunk(list, size) }

func timeDoesNotDecide(t *testing.T, r *record) {
	conversation := r.create(t)
	want := r.fill(t, conversation, 50)
	r.engine.SetTimes(t, r.Store, conversation, soon(0))
	want = append(want, "later")
	r.add(t, conversation, "user", "later")
	same(t, "order", texts(r.get(t, conversation).Messages), want)
}

// writers has n goroutines append in their conversation, each times texts of its own: single messages, several at once, and
// with an expectation that is renewed until it holds.
func writers(t tb, r *record, n, times int, conversation func(writer int) string) {
	together(n, func(writer int) {
		for i := range times {
			text := func(part int) store.NewMessage {
				return store.NewMessage{Role: "user", Content: fmt.Sprintf("%d:%d.%d", writer, i, part)}
			}
			a := store.Append{ConversationID: conversation(writer), Messages: []store.NewMessage{text(0)}}
			var made []string
			var head int64
			var err error
			switch (writer + i) % 3 {
			case 0:
				var id string
				id, err = r.AddMessage(r.ctx, a.ConversationID, "user", a.Messages[0].Content)
				made = []string{id}
			case 1:
				a.Messages = append(a.Messages, text(1), text(2))
				made, head, err = r.AppendMessages(r.ctx, a)
			case 2:
				if i%2 == 0 {
					a.Messages = append(a.Messages, text(1))
				}
				var seen int64
				for {
					a.Expect = &seen
					made, head, err = r.AppendMessages(r.ctx, a)
					var conflict *store.ConflictError
					if !errors.As(err, &conflict) {
						break
					}
					seen = conflict.Head
				}
			}
			if err != nil {
				t.Errorf("writer %d: %v", writer, err)
				return
			}
			// Its own messages are there at once, where the append said.
			last, err := r.Message(r.ctx, a.ConversationID, made[len(made)-1])
			if err != nil || head != 0 && last.Seq != head || last.Content != a.Messages[len(made)-1].Content {
				t.Errorf("writer %d: after an append to %d its last message is %+v, %v", writer, head, last, err)
			}
		}
	})
}

// inOrder fails unless messages are numbered from 1 without a gap and hold those of each writer in its own order, those of
// one append side by side.
func inOrder(t tb, messages []store.Message, writers []int, times int) {
	t.Helper()
	next := map[string]int{}
	for i, m := range messages {
		equal(t, "a position", m.Position, store.Position{Seq: int64(i + 1)})
		writer, rest, _ := strings.Cut(m.Content, ":")
		var step, part int
		if _, err := fmt.Sscanf(rest, "%d.%d", &step, &part); err != nil {
			t.Fatalf("message %q: %v", m.Content, err)
		}
		if part == 0 {
			equal(t, "the next of writer "+writer, step, next[writer])
			next[writer]++
		} else if i == 0 || messages[i-1].Content != fmt.Sprintf("%s:%d.%d", writer, step, part-1) {
			t.Errorf("%s does not follow the message before it in its append", m.Content)
		}
	}
	for _, w := range writers {
		equal(t, fmt.Sprint("appends of writer ", w), next[fmt.Sprint(w)], times)
	}
}

func times(n int) int {
	if testing.Short() {
		return max(1, n/5)
	}
	return n
}

func upTo(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

func writersInOne(t *testing.T, r *record) {
	conversation, n := r.create(t), times(15)
	stop := meanwhile(func() { // a reader sees a beginning of the order, whenever it looks
		for i, m := range r.get(t, conversation).Messages {
			equal(t, "a position seen meanwhile", m.Position, store.Position{Seq: int64(i + 1)})
		}
	})
	writers(t, r, 16, n, func(int) string { return conversation })
	stop()
	c := r.get(t, conversation)
	inOrder(t, c.Messages, upTo(16), n)
	equal(t, "Head", c.Head, int64(len(c.Messages)))
	equal(t, "MessageCount", c.MessageCount, len(c.Messages))
	var mu sync.Mutex
	together(8, func(int) {
		again := r.get(t, conversation)
		mu.Lock()
		defer mu.Unlock()
		same(t, "what another reader sees", ids(again.Messages), ids(c.Messages))
	})
}

func writersInMany(t *testing.T, r *record) {
	n := times(15)
	var conversations []string
	for range 16 {
		conversations = append(conversations, r.create(t))
	}
	writers(t, r, 16, n, func(i int) string { return conversations[i] })
	for i, id := range conversations {
		inOrder(t, r.get(t, id).Messages, []int{i}, n)
		r.whole(t, id, 0)
	}
}

func mixedAppends(t *testing.T, r *record) {
	var conversations []string
	for range 4 {
		conversations = append(conversations, r.create(t))
	}
	n := times(30)
	var mu sync.Mutex
	kept := map[string][]string{}
	together(16, func(writer int) {
		for i := range n {
			conversation := conversations[(writer+i)%4]
			text := fmt.Sprintf("%d:%d", writer, i)
			switch (writer*7 + i) % 5 {
			case 0:
				_, err := r.AddMessage(r.ctx, conversation, "robot", text)
				var invalid *store.InvalidRoleError
				if !errors.As(err, &invalid) || invalid.Role != "robot" {
					t.Errorf("a bad role among good ones: %v", err)
				}
			case 1:
				_, err := r.AddMessage(r.ctx, store.NewID(), "user", text)
				fails(t, "an unknown conversation among known ones", err, store.ErrNotFound)
			case 2:
				_, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: conversation, Messages: []store.NewMessage{
					{Role: "user", Content: text}, {Role: "user", Content: text, Item: []byte("{")}}})
				if err == nil {
					t.Error("an item that is not JSON was kept")
				}
			default:
				id, err := r.AddMessage(r.ctx, conversation, "user", text)
				if err != nil {
					t.Errorf("a good one among bad ones: %v", err)
				}
				mu.Lock()
				kept[conversation] = append(kept[conversation], id)
				mu.Unlock()
			}
		}
	})
	for _, id := range conversations {
		got := ids(r.get(t, id).Messages)
		slices.Sort(got)
		slices.Sort(kept[id])
		same(t, "what was kept", got, kept[id])
		r.whole(t, id, 0)
	}
}

func expectedAppends(t *testing.T, r *record) {
	conversation := r.create(t)
	for round := range times(20) {
		expect := r.summary(t, conversation).Head
		var mu sync.Mutex
		var won []int64
		together(8, func(writer int) {
			_, head, err := r.AppendMessages(r.ctx, store.Append{ConversationID: conversation, Expect: &expect,
				Messages: append(user(fmt.Sprint(round)), user(fmt.Sprint(writer))...)})
			var conflict *store.ConflictError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, head)
			case !errors.As(err, &conflict):
				t.Errorf("the error is %v, want a ConflictError", err)
			case conflict.Head != expect+2:
				t.Errorf("the conflict is at %d, want %d", conflict.Head, expect+2)
			}
		})
		if len(won) != 1 || won[0] != expect+2 {
			t.Fatalf("%d of 8 appends that expect %d succeed: %v", len(won), expect, won)
		}
	}
	for _, wrong := range []int64{-1, 0, 1 << 62} {
		_, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: conversation, Expect: &wrong, Messages: user("x")})
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) || conflict.Head != r.summary(t, conversation).Head {
			t.Errorf("with %d expected: %v", wrong, err)
		}
	}
	r.whole(t, conversation, 0)
}

func expectedTurns(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	for range times(10) {
		expect := r.summary(t, conversation).Head
		var mu sync.Mutex
		var won []store.Response
		together(8, func(int) {
			reply, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, ConversationID: conversation, Expect: &expect, Input: user("q")})
			var conflict *store.ConflictError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, reply)
			case !errors.As(err, &conflict) && !errors.Is(err, store.ErrReplyRunning):
				t.Errorf("the error is %v, want a ConflictError", err)
			case conflict != nil && conflict.Head != expect+2:
				t.Errorf("the conflict is at %d, want %d", conflict.Head, expect+2)
			}
		})
		if len(won) != 1 {
			t.Fatalf("%d of 8 turns that expect %d start", len(won), expect)
		}
		r.answer(t, f, won[0], "a")
	}
	r.whole(t, conversation, 0)
}

func appendsAndDeletions(t *testing.T, r *record) {
	for range times(5) {
		conversations := []string{r.create(t), r.create(t), r.create(t)}
		var stays = conversations[2]
		together(9, func(i int) {
			if i < 2 {
				if err := r.DeleteConversation(r.ctx, conversations[i]); err != nil {
					t.Errorf("DeleteConversation: %v", err)
				}
				return
			}
			for range 5 {
				_, err := r.AddMessage(r.ctx, conversations[i%3], "user", "x")
				if err != nil && !errors.Is(err, store.ErrNotFound) || conversations[i%3] == stays && err != nil {
					t.Errorf("AddMessage: %v", err)
				}
			}
		})
		for _, id := range conversations[:2] {
			same(t, "left of a deleted conversation", r.engine.Leftovers(t, r.Store, id), nil)
		}
		r.whole(t, stays, 0)
	}
}

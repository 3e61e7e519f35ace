package storetest

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

var branchTests = []test{
	{"ATurnAfterAnEarlierReplyLeavesTheLine", leavesTheLine},
	{"NestedBranches", nestedBranches},
	{"Regenerate", regenerate},
	{"FanOut", fanOut},
	{"AReplyWithoutOutput", withoutOutput},
	{"ARegenerateWithoutOutput", regenerateWithoutOutput},
	{"AnAppendGoesOnWithTheActiveBranch", appendOnActive},
	{"AReaderNeverSeesASibling", neverSeesSibling},
	{"LikeTheReferenceModel", likeTheModel},
}

// line is the texts of the branch that ends in tip, or of the active branch.
func (r *record) line(t tb, conversation string, tip *store.Position) []string {
	t.Helper()
	return texts(r.thread(t, store.ThreadQuery{ConversationID: conversation, Tip: tip}).Messages)
}

// place is where the last output of a reply that has ended is.
func (r *record) place(t tb, reply store.Response) *store.Position {
	t.Helper()
	rows := r.all(t, reply.ConversationID)
	for _, m := range slices.Backward(rows) {
		if m.ResponseID == reply.ID {
			return &m.Position
		}
	}
	t.Fatalf("the reply has no output")
	return nil
}

func leavesTheLine(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	first := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q1")}, "a1")
	second := r.turn(t, store.NewResponse{Fence: f, PreviousID: first.ID, Input: user("q2")}, "a2")
	same(t, "before the branch", r.line(t, conversation, nil), []string{"q1", "a1", "q2", "a2"})

	third := r.start(t, store.NewResponse{Fence: f, PreviousID: first.ID, Input: append(user("q3"), user("q3b")...)})
	same(t, "History on the branch", texts(r.history(t, third)), []string{"q1", "a1", "q3", "q3b"})
	r.answer(t, f, third, "a3", "a3b")
	same(t, "the active branch", r.line(t, conversation, nil), []string{"q1", "a1", "q3", "q3b", "a3", "a3b"})
	same(t, "GetConversation", texts(r.get(t, conversation).Messages), []string{"q1", "a1", "q3", "q3b", "a3", "a3b"})
	same(t, "the other branch", r.line(t, conversation, r.place(t, second)), []string{"q1", "a1", "q2", "a2"})
	same(t, "up to the fork", r.line(t, conversation, r.place(t, first)), []string{"q1", "a1"})

	messages := r.get(t, conversation).Messages
	equal(t, "ParentID where it leaves", messages[2].ParentID, messages[1].ID)
	for i, m := range messages {
		if i != 2 {
			equal(t, "ParentID elsewhere", m.ParentID, "")
		}
	}
	equal(t, "MessageCount", r.summary(t, conversation).MessageCount, 8)

	// Going back to the other branch makes it the active one.
	r.turn(t, store.NewResponse{Fence: f, PreviousID: second.ID, Input: user("q4")}, "a4")
	same(t, "back on the other", r.line(t, conversation, nil), []string{"q1", "a1", "q2", "a2", "q4", "a4"})
	r.whole(t, conversation, 0)
}

func nestedBranches(t *testing.T, r *record) {
	f := r.join(t)
	root := r.turn(t, store.NewResponse{Fence: f, Input: user("q")}, "a")
	conversation := root.ConversationID
	ends := map[string]store.Response{"": root}
	// A full binary tree, three turns deep; the deepest branches come last.
	level := []string{""}
	for range 3 {
		var next []string
		for _, path := range level {
			for _, side := range []string{"l", "r"} {
				name := path + side
				ends[name] = r.turn(t, store.NewResponse{Fence: f, PreviousID: ends[path].ID, Input: user("q" + name)}, "a"+name)
				next = append(next, name)
			}
		}
		level = next
	}
	for name, reply := range ends {
		want := []string{"q", "a"}
		for i := range name {
			want = append(want, "q"+name[:i+1], "a"+name[:i+1])
		}
		same(t, "the branch "+name, r.line(t, conversation, r.place(t, reply)), want)
		same(t, "the history of "+name, texts(r.history(t, reply)), want[:len(want)-1])
	}
	same(t, "the active branch", r.line(t, conversation, nil), []string{"q", "a", "qr", "ar", "qrr", "arr", "qrrr", "arrr"})
	r.whole(t, conversation, 0)
}

func regenerate(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	first := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q1")}, "a1")
	r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q2")}, "a2")
	again := r.start(t, store.NewResponse{Fence: f, PreviousID: first.ID})
	parent := r.get(t, conversation).Messages[1].ID
	equal(t, "ParentID of the reply", again.ParentID, parent)
	same(t, "History", texts(r.history(t, again)), []string{"q1", "a1"})
	same(t, "while it runs", r.line(t, conversation, nil), []string{"q1", "a1", "q2", "a2"})
	r.answer(t, f, again, "b1", "b2")
	messages := r.get(t, conversation).Messages
	same(t, "afterwards", texts(messages), []string{"q1", "a1", "b1", "b2"})
	equal(t, "ParentID of the first output", messages[2].ParentID, parent)
	equal(t, "ParentID of the second", messages[3].ParentID, "")
	read, _ := r.readLog(t, again, 0)
	equal(t, "ParentID as read", read.ParentID, parent)
	equal(t, "PreviousID as read", read.PreviousID, first.ID)
	same(t, "History afterwards", texts(r.history(t, read)), []string{"q1", "a1"})
}

func fanOut(t *testing.T, r *record) {
	for _, input := range []bool{true, false} {
		f := r.join(t)
		root := r.turn(t, store.NewResponse{Fence: f, Input: user("q")}, "a")
		replies := make([]store.Response, 8)
		together(len(replies), func(i int) {
			n := store.NewResponse{Fence: f, PreviousID: root.ID}
			if input {
				n.Input = user(fmt.Sprint("q", i))
			}
			var err error
			if replies[i], err = r.StartResponse(r.ctx, n); err != nil {
				t.Errorf("StartResponse: %v", err)
			}
		})
		want := func(i int) []string {
			if input {
				return []string{"q", "a", fmt.Sprint("q", i)}
			}
			return []string{"q", "a"}
		}
		for i, reply := range replies {
			same(t, "History while all run", texts(r.history(t, reply)), want(i))
		}
		together(len(replies), func(i int) {
			rows := says(replies[i], fmt.Sprint("a", i), "and more")
			for flush := range chunks(rows, 3) {
				if err := r.AppendDeltas(r.ctx, f, flush); err != nil {
					t.Errorf("AppendDeltas: %v", err)
				}
			}
			if _, err := r.FinishResponse(r.ctx, end(f, replies[i], store.ResponseCompleted)); err != nil {
				t.Errorf("FinishResponse: %v", err)
			}
		})
		last := 0
		for i, reply := range replies {
			same(t, "a branch", r.line(t, root.ConversationID, r.place(t, reply)), append(want(i), fmt.Sprint("a", i), "and more"))
			same(t, "a history", texts(r.history(t, reply)), want(i))
			if reply.Seq > replies[last].Seq {
				last = i
			}
		}
		same(t, "the active branch", r.line(t, root.ConversationID, nil), append(want(last), fmt.Sprint("a", last), "and more"))
		r.whole(t, root.ConversationID, 0)
	}
}

func withoutOutput(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	failed := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q1")})
	r.finish(t, f, failed, store.ResponseFailed)
	_, deltas := r.readLog(t, failed, 0)
	equal(t, "rows of its log", len(deltas), 0)
	same(t, "after it", r.line(t, conversation, nil), []string{"q1"})

	// On after it: the question stands, whether or not others went on already.
	first := r.turn(t, store.NewResponse{Fence: f, PreviousID: failed.ID, Input: user("q2")}, "a2")
	same(t, "the next turn", r.line(t, conversation, nil), []string{"q1", "q2", "a2"})
	second := r.turn(t, store.NewResponse{Fence: f, PreviousID: failed.ID, Input: user("q3")}, "a3")
	same(t, "a second turn after it", r.line(t, conversation, nil), []string{"q1", "q3", "a3"})
	same(t, "the first", r.line(t, conversation, r.place(t, first)), []string{"q1", "q2", "a2"})
	same(t, "History", texts(r.history(t, second)), []string{"q1", "q3"})
	r.whole(t, conversation, 1)
}

// A regenerate that gave nothing is no place: what continues it continues what it continued.
func regenerateWithoutOutput(t *testing.T, r *record) {
	for _, between := range []bool{false, true} {
		conversation, f := r.create(t), r.join(t)
		first := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q1")}, "a1")
		r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q2")}, "a2")
		failed := r.start(t, store.NewResponse{Fence: f, PreviousID: first.ID})
		r.finish(t, f, failed, store.ResponseFailed)
		if between {
			r.add(t, conversation, "user", "between")
		}
		again := r.start(t, store.NewResponse{Fence: f, PreviousID: failed.ID}) // the same again, and it fails again
		same(t, "History of a regenerate after it", texts(r.history(t, again)), []string{"q1", "a1"})
		r.finish(t, f, again, store.ResponseFailed)
		next := r.start(t, store.NewResponse{Fence: f, PreviousID: again.ID, Input: user("q3")})
		same(t, "History of a turn after it", texts(r.history(t, next)), []string{"q1", "a1", "q3"})
		r.answer(t, f, next, "a3")
		same(t, "the active branch", r.line(t, conversation, nil), []string{"q1", "a1", "q3", "a3"})
	}
}

func appendOnActive(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	first := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q1")}, "a1")
	r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q2")}, "a2")
	r.turn(t, store.NewResponse{Fence: f, PreviousID: first.ID, Input: user("q3")}, "a3")
	r.add(t, conversation, "user", "added")
	if err := r.engine.Foreign(r.ctx, r.Store, conversation, "user", "foreign"); err != nil {
		t.Fatal(err)
	}
	want := []string{"q1", "a1", "q3", "a3", "added", "foreign"}
	same(t, "the active branch", r.line(t, conversation, nil), want)
	r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q4")}, "a4")
	same(t, "the active branch", r.line(t, conversation, nil), append(want, "q4", "a4"))
	r.whole(t, conversation, 0)
}

// A read takes several looks at the record; a branch that leaves meanwhile must not show on the line it left.
func neverSeesSibling(t *testing.T, r *record) {
	for range times(2) {
		f := r.join(t)
		root := r.turn(t, store.NewResponse{Fence: f, Input: user("q")}, "a")
		conversation := root.ConversationID
		reads := 0
		stop := meanwhile(func() {
			reads++
			for _, page := range [][]store.Message{
				r.get(t, conversation).Messages,
				r.thread(t, store.ThreadQuery{ConversationID: conversation, Limit: 50, Newest: true}).Messages,
			} {
				for i, m := range page {
					if m.ParentID != "" && (i == 0 || page[i-1].ID != m.ParentID) {
						t.Errorf("%q does not follow the message that it continues: %q", m.Content, texts(page))
						return
					}
				}
			}
		})
		together(4, func(writer int) {
			for i := range 25 {
				n := store.NewResponse{Fence: f, PreviousID: root.ID}
				if i%2 == 0 {
					n.Input = user(fmt.Sprint("q", writer, i))
				}
				reply, err := r.StartResponse(r.ctx, n)
				if err != nil {
					t.Errorf("StartResponse: %v", err)
					return
				}
				if err := r.AppendDeltas(r.ctx, f, says(reply, fmt.Sprint("a", writer, i))); err != nil {
					t.Errorf("AppendDeltas: %v", err)
				}
				if _, err := r.FinishResponse(r.ctx, end(f, reply, store.ResponseCompleted)); err != nil {
					t.Errorf("FinishResponse: %v", err)
				}
			}
		})
		stop()
		if reads == 0 {
			t.Error("nobody read")
		}
	}
}

// model is the conversation as a naive program would keep it: each row knows the row it continues.
type model struct {
	rows    map[store.Position]*modelRow
	replies []*modelReply
	head    int64
}

type modelRow struct {
	text      string
	continues *store.Position // nil: the row before it, whichever that is
	root      bool            // it continues nothing
	deleted   bool
}

type modelReply struct {
	store.Response
	input     []store.Position
	continues *store.Position // what its first row continues; nil: nothing
	items     int
	ended     bool
}

// order is the places that have rows, in order.
func (m *model) order() []store.Position {
	var list []store.Position
	for p := range m.rows {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b store.Position) int {
		if a.Before(b) {
			return -1
		}
		return 1
	})
	return list
}

func (m *model) last() *store.Position {
	if order := m.order(); len(order) > 0 {
		return &order[len(order)-1]
	}
	return nil
}

// branch is the texts that lie before and at tip.
func (m *model) branch(tip *store.Position) []string {
	var list []string
	order := m.order()
	for tip != nil {
		row := m.rows[*tip]
		if !row.deleted {
			list = append(list, row.text)
		}
		switch i := slices.Index(order, *tip); {
		case row.continues != nil:
			tip = row.continues
		case row.root || i == 0:
			tip = nil
		default:
			tip = &order[i-1]
		}
	}
	slices.Reverse(list)
	return list
}

// end is where a reply that has ended leaves off: its last output, else its last input, else what it continued.
func (reply *modelReply) end() *store.Position {
	switch {
	case reply.items > 0:
		return &store.Position{Seq: reply.Seq, Idx: reply.items - 1}
	case len(reply.input) > 0:
		return &reply.input[len(reply.input)-1]
	}
	return reply.continues
}

func likeTheModel(t *testing.T, r *record) {
	f := r.join(t)
	check(t, 30, func(rt *rapid.T) {
		m := &model{rows: map[store.Position]*modelRow{}}
		conversation := r.create(rt)
		serial := 0
		text := func() string { serial++; return fmt.Sprint("t", serial) }
		put := func(p store.Position, text string, continues *store.Position) {
			m.rows[p] = &modelRow{text: text, continues: continues}
		}
		running := func() (list []*modelReply) {
			for _, reply := range m.replies {
				if !reply.ended {
					list = append(list, reply)
				}
			}
			return list
		}
		start := func(n store.NewResponse, continues *store.Position) {
			n.Fence = f
			for range rapid.IntRange(0, 2).Draw(rt, "input") {
				n.Input = append(n.Input, store.NewMessage{Role: "user", Content: text()})
			}
			reply := &modelReply{Response: r.start(rt, n), continues: continues}
			for i, in := range n.Input {
				p := store.Position{Seq: m.head + 1 + int64(i)}
				put(p, in.Content, nil)
				if i == 0 {
					m.rows[p].continues = continues
				}
				reply.input = append(reply.input, p)
			}
			m.head += int64(len(n.Input)) + 1
			equal(rt, "Seq", reply.Seq, m.head)
			m.replies = append(m.replies, reply)
			want := m.branch(continues)
			for _, in := range n.Input {
				want = append(want, in.Content)
			}
			same(rt, "History", texts(r.history(rt, reply.Response)), want)
		}
		first := text()
		r.add(rt, conversation, "user", first)
		m.head++
		put(store.Position{Seq: 1}, first, nil)

		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				var list []store.NewMessage
				for range rapid.IntRange(1, 2).Draw(rt, "messages") {
					list = append(list, store.NewMessage{Role: "user", Content: text()})
				}
				_, head := r.append(rt, store.Append{ConversationID: conversation, Messages: list})
				for _, n := range list {
					m.head++
					put(store.Position{Seq: m.head}, n.Content, nil)
				}
				equal(rt, "head", head, m.head)
			},
			"turn": func(rt *rapid.T) {
				if len(running()) > 0 {
					_, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("no")})
					fails(rt, "a turn while a reply runs", err, store.ErrReplyRunning)
					return
				}
				start(store.NewResponse{ConversationID: conversation}, m.last())
			},
			"branch": func(rt *rapid.T) {
				if len(m.replies) == 0 {
					return
				}
				previous := rapid.SampledFrom(m.replies).Draw(rt, "previous")
				if !previous.ended {
					_, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, PreviousID: previous.ID})
					fails(rt, "a turn after a running reply", err, store.ErrReplyRunning)
					return
				}
				start(store.NewResponse{PreviousID: previous.ID}, previous.end())
			},
			"finish": func(rt *rapid.T) {
				list := running()
				if len(list) == 0 {
					return
				}
				reply := rapid.SampledFrom(list).Draw(rt, "reply")
				var answers []string
				for range rapid.IntRange(0, 2).Draw(rt, "items") {
					answers = append(answers, text())
				}
				r.answer(rt, f, reply.Response, answers...)
				for i, answer := range answers {
					put(store.Position{Seq: reply.Seq, Idx: i}, answer, nil)
				}
				if len(answers) > 0 && len(reply.input) == 0 {
					m.rows[store.Position{Seq: reply.Seq}].continues = reply.continues
				}
				reply.items, reply.ended = len(answers), true
			},
			"delete": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "rarely") > 0 {
					return
				}
				row := rapid.SampledFrom(r.all(rt, conversation)).Draw(rt, "message")
				err := r.DeleteMessage(r.ctx, conversation, row.ID)
				if m.rows[row.Position].deleted {
					fails(rt, "a second deletion", err, store.ErrNotFound)
				} else if err != nil {
					rt.Fatalf("DeleteMessage: %v", err)
				}
				m.rows[row.Position].deleted = true
			},
			"": func(rt *rapid.T) {
				same(rt, "the active branch", r.line(rt, conversation, nil), m.branch(m.last()))
			},
		})
		live := 0
		for _, p := range m.order() {
			same(rt, fmt.Sprintf("the branch that ends in %v", p), r.line(rt, conversation, &p), m.branch(&p))
			if !m.rows[p].deleted {
				live++
			}
		}
		for _, reply := range m.replies {
			want := m.branch(reply.continues)
			for _, p := range reply.input {
				if row := m.rows[p]; !row.deleted {
					want = append(want, row.text)
				}
			}
			same(rt, "History", texts(r.history(rt, reply.Response)), want)
		}
		c := r.summary(rt, conversation)
		equal(rt, "Head", c.Head, m.head)
		equal(rt, "MessageCount", c.MessageCount, live)
		equal(rt, "rows", len(r.all(rt, conversation)), len(m.rows))
	})
}

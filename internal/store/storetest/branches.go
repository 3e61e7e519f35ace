package storetest

import (
	"fmt"
	"slices"
	"strings"
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
	{"FromTheVeryBeginning", fromTheBeginning},
	{"AfterAMessage", afterMessage},
	{"WalkingTheBranches", walkingBranches},
	{"SiblingsOfDeletedMessages", siblingsOfDeleted},
	{"TheTypesOfSiblings", typesOfSiblings},
	{"TheModelThatWroteAMessage", modelOfMessage},
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
			if _, _, err := r.FinishResponse(r.ctx, end(f, replies[i], store.ResponseCompleted)); err != nil {
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

// What continues a reply that has nothing before it and gave nothing begins the conversation anew.
func fromTheBeginning(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	empty := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation})
	r.finish(t, f, empty, store.ResponseFailed)
	first := r.turn(t, store.NewResponse{Fence: f, PreviousID: empty.ID, Input: user("q1")}, "a1")
	r.turn(t, store.NewResponse{Fence: f, PreviousID: first.ID, Input: user("q1b")}, "a1b")
	second := r.start(t, store.NewResponse{Fence: f, PreviousID: empty.ID, Input: user("q2")})
	same(t, "History", texts(r.history(t, second)), []string{"q2"})
	r.answer(t, f, second, "a2")
	same(t, "the active branch", r.line(t, conversation, nil), []string{"q2", "a2"})
	same(t, "the other", r.line(t, conversation, r.place(t, first)), []string{"q1", "a1"})

	third := r.start(t, store.NewResponse{Fence: f, PreviousID: empty.ID}) // without input, too
	same(t, "History of one without input", texts(r.history(t, third)), nil)
	same(t, "through it while it runs", texts(r.thread(t, store.ThreadQuery{ConversationID: conversation, Through: third.ID}).Messages), nil)
	r.finish(t, f, third, store.ResponseFailed)
	fourth := r.start(t, store.NewResponse{Fence: f, PreviousID: third.ID})
	same(t, "History after that", texts(r.history(t, fourth)), nil)
	r.answer(t, f, fourth, "a4")
	same(t, "the active branch", r.line(t, conversation, nil), []string{"a4"})
	same(t, "through the first", r.choices(t, store.ThreadQuery{ConversationID: conversation, Through: first.ID}),
		[]string{"q1 1/3", "a1", "q1b", "a1b"})
	same(t, "through the second", r.choices(t, store.ThreadQuery{ConversationID: conversation, Through: second.ID}), []string{"q2 2/3", "a2"})
	same(t, "through the last", r.choices(t, store.ThreadQuery{ConversationID: conversation, Through: fourth.ID}), []string{"a4 3/3"})
}

func afterMessage(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	beginning := ""
	turn := func(after *string, input []store.NewMessage, answers ...string) store.Response {
		return r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, After: after, Input: input}, answers...)
	}
	turn(&beginning, user("q1"), "a1") // of a conversation without messages, too
	turn(nil, user("q2"), "a2")
	messages := r.get(t, conversation).Messages
	walk := func(want ...string) {
		t.Helper()
		same(t, "the active branch", r.choices(t, store.ThreadQuery{ConversationID: conversation}), want)
	}
	walk("q1", "a1", "q2", "a2")
	turn(&beginning, user("q1 edited"), "b1")
	walk("q1 edited 2/2", "b1")
	again := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, After: &messages[0].ID})
	same(t, "History", texts(r.history(t, again)), []string{"q1"})
	r.answer(t, f, again, "c1")
	walk("q1 1/2", "c1 2/2")
	turn(&messages[1].ID, user("q2 edited"), "b2")
	walk("q1 1/2", "a1 1/2", "q2 edited 2/2", "b2")
	last := r.get(t, conversation).Messages[3].ID
	turn(&last, user("q3"), "b3") // what it would continue anyway
	walk("q1 1/2", "a1 1/2", "q2 edited 2/2", "b2", "q3", "b3")
	r.add(t, conversation, "user", "added")
	imported := r.create(t) // one without replies
	made, _ := r.append(t, store.Append{ConversationID: imported, Messages: append(user("i1"), user("i2")...)})
	r.turn(t, store.NewResponse{Fence: f, ConversationID: imported, After: &made[0], Input: user("i2 edited")}, "answer")
	same(t, "of the imported one", r.choices(t, store.ThreadQuery{ConversationID: imported}), []string{"i1", "i2 edited 2/2", "answer"})

	r.sameState(t, conversation, func() {
		unknown := store.NewID()
		for _, after := range []*string{&made[0], &unknown, &conversation} {
			_, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, ConversationID: conversation, After: after, Input: user("no")})
			fails(t, "after what is not there", err, store.ErrNotFound)
		}
	})
	if err := r.DeleteMessage(r.ctx, conversation, messages[1].ID); err != nil {
		t.Fatal(err)
	}
	turn(&messages[1].ID, user("after a deleted one"), "a")
	walk("q1 1/2", "after a deleted one 3/3", "a")
	r.whole(t, conversation, 0)
}

// choices are the texts of a thread, each with the number that it has among its siblings.
func (r *record) choices(t tb, q store.ThreadQuery) []string {
	t.Helper()
	q.Details = true
	var list []string
	for _, m := range r.thread(t, q).Messages {
		text := m.Content
		for i, s := range m.Siblings {
			if s.ID == m.ID {
				text += fmt.Sprintf(" %d/%d", i+1, len(m.Siblings))
			}
		}
		if m.Siblings != nil && text == m.Content {
			t.Errorf("%q is not among its siblings %v", m.Content, m.Siblings)
		}
		list = append(list, text)
	}
	return list
}

func walkingBranches(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	ask := func(previous store.Response, question string, answers ...string) store.Response {
		n := store.NewResponse{Fence: f, ConversationID: conversation}
		if previous.ID != "" {
			n.ConversationID, n.PreviousID = "", previous.ID
		}
		if question != "" {
			n.Input = user(question)
		}
		return r.turn(t, n, answers...)
	}
	var none store.Response
	one := ask(none, "q1", "a1")
	two := ask(one, "q2", "a2")
	ask(two, "q3", "a3")
	twoB := ask(one, "q2b", "a2b", "and more") // an edit
	ask(twoB, "q4", "a4")
	ask(one, "", "again") // without input
	ask(two, "q3b", "a3b")
	r.add(t, conversation, "user", "added")

	walk := func(through string) []string {
		return r.choices(t, store.ThreadQuery{ConversationID: conversation, Through: through})
	}
	branchA := []string{"q1", "a1", "q2 1/3", "a2", "q3b 2/2", "a3b", "added"}
	branchB := []string{"q1", "a1", "q2b 2/3", "a2b", "and more", "q4", "a4"}
	branchC := []string{"q1", "a1", "again 3/3"}
	same(t, "the active branch", walk(""), branchA)
	same(t, "through a reply", walk(twoB.ID), branchB)
	same(t, "through the reply that all continue", walk(one.ID), branchA)

	// From any message to its siblings and back.
	seen := 0
	for _, m := range r.thread(t, store.ThreadQuery{ConversationID: conversation, Details: true}).Messages {
		same(t, "through a message of the active branch", walk(m.ID), branchA)
		for _, s := range m.Siblings {
			seen++
			line := r.thread(t, store.ThreadQuery{ConversationID: conversation, Through: s.ID, Details: true}).Messages
			i := slices.IndexFunc(line, func(o store.Message) bool { return o.ID == s.ID })
			if i < 0 {
				t.Fatalf("the branch through %s does not go through it", s.ID)
			}
			if !slices.Equal(line[i].Siblings, m.Siblings) {
				t.Errorf("siblings of %q are %v, of %q %v", m.Content, m.Siblings, line[i].Content, line[i].Siblings)
			}
		}
	}
	equal(t, "siblings", seen, 5)
	messages := r.thread(t, store.ThreadQuery{ConversationID: conversation, Details: true}).Messages
	same(t, "the second of three", walk(messages[2].Siblings[1].ID), branchB)
	same(t, "the third of three", walk(messages[2].Siblings[2].ID), branchC)
	same(t, "the first of two", walk(messages[4].Siblings[0].ID), []string{"q1", "a1", "q2 1/3", "a2", "q3 1/2", "a3"})

	// In pages, too.
	q := store.ThreadQuery{ConversationID: conversation, Through: twoB.ID, Limit: 3, Newest: true}
	same(t, "the last page", r.choices(t, q), branchB[4:])
	at, err := r.Place(r.ctx, conversation, r.thread(t, store.ThreadQuery{ConversationID: conversation, Through: twoB.ID}).Messages[4].ID)
	if err != nil {
		t.Fatal(err)
	}
	q.Before = &at
	same(t, "the page before", r.choices(t, q), branchB[1:4])

	// The one that is written to is the active one.
	next := r.turn(t, store.NewResponse{Fence: f, PreviousID: twoB.ID, Input: user("q5")}, "a5")
	want := []string{"q1", "a1", "q2b 2/3", "a2b", "and more", "q5 2/2", "a5"}
	same(t, "the active branch afterwards", walk(""), want)
	same(t, "through what was active", walk(two.ID), branchA)

	// A reply that runs, and one without output, are where they left the line.
	running := r.start(t, store.NewResponse{Fence: f, PreviousID: one.ID})
	same(t, "through a running reply", walk(running.ID), []string{"q1", "a1"})
	asked := r.start(t, store.NewResponse{Fence: f, PreviousID: two.ID, Input: user("q6")})
	same(t, "through a running reply with a question", walk(asked.ID), []string{"q1", "a1", "q2 1/3", "a2", "q6 3/3"})
	r.answer(t, f, running, "late")
	same(t, "afterwards", walk(running.ID), []string{"q1", "a1", "late 4/4"})
	r.finish(t, f, asked, store.ResponseFailed)
	same(t, "through a failed one", walk(asked.ID), []string{"q1", "a1", "q2 1/4", "a2", "q6 3/3"})

	other := r.create(t)
	for _, id := range []string{next.ID, messages[0].ID} {
		_, err := r.Thread(r.ctx, store.ThreadQuery{ConversationID: other, Through: id})
		fails(t, "through what is elsewhere", err, store.ErrNotFound)
	}
	if m := r.get(t, conversation).Messages[2]; m.Siblings != nil || m.Model != "" {
		t.Errorf("without Details: %+v", m)
	}
}

// A branch whose beginning was deleted begins with what is left of it; one of which nothing is left is no choice.
func siblingsOfDeleted(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	one := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q1")}, "a1")
	first := r.turn(t, store.NewResponse{Fence: f, PreviousID: one.ID, Input: user("q2")}, "a2")
	second := r.turn(t, store.NewResponse{Fence: f, PreviousID: one.ID, Input: user("q3")}, "a3")
	r.turn(t, store.NewResponse{Fence: f, PreviousID: one.ID, Input: user("q4")}, "a4")
	remove := func(text string) {
		t.Helper()
		for _, m := range r.all(t, conversation) {
			if m.Content == text {
				if err := r.DeleteMessage(r.ctx, conversation, m.ID); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		t.Fatalf("there is no %q", text)
	}
	walk := func(reply store.Response) []string {
		return r.choices(t, store.ThreadQuery{ConversationID: conversation, Through: reply.ID})
	}
	remove("q2")
	remove("q3")
	remove("a1") // which all continue
	same(t, "the first", walk(first), []string{"q1", "a2 1/3"})
	same(t, "the second", walk(second), []string{"q1", "a3 2/3"})
	remove("a3")
	same(t, "the first of two", walk(first), []string{"q1", "a2 1/2"})
	same(t, "the one that is gone", walk(second), []string{"q1"})
	same(t, "the last", r.choices(t, store.ThreadQuery{ConversationID: conversation}), []string{"q1", "q4 2/2", "a4"})
	remove("a2")
	same(t, "alone", r.choices(t, store.ThreadQuery{ConversationID: conversation}), []string{"q1", "q4", "a4"})

	rows := r.all(t, conversation)
	for _, m := range rows {
		if at, err := r.Place(r.ctx, conversation, m.ID); err != nil || at != m.Position {
			t.Errorf("Place of %q: %v, %v; it is at %v", m.Content, at, err, m.Position)
		}
	}
}

func typesOfSiblings(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	beginning := ""
	items := []string{"", `{"type":"function_call","call_id":"a\u0000b"}`, ` { "type" : "reasoning" , "summary":[{"type":"summary_text"}]}`, `{"type":"message"}`,
		`{"type":"function_call_output","output":"` + strings.Repeat("x", 100_000) + `"}`}
	for _, item := range items {
		m := store.NewMessage{Role: "user", Content: "x"}
		if item != "" {
			m.Item = []byte(item)
		}
		r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, After: &beginning, Input: []store.NewMessage{m}}, "a")
	}
	var types []string
	for _, s := range r.thread(t, store.ThreadQuery{ConversationID: conversation, Details: true}).Messages[0].Siblings {
		types = append(types, s.Type)
	}
	same(t, "the types", types, []string{"", "function_call", "reasoning", "message", "function_call_output"})
}

func modelOfMessage(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q1"), Model: "small"}, "a1", "more")
	r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q2"), Model: "large"}, "a2")
	var got []string
	for _, m := range r.thread(t, store.ThreadQuery{ConversationID: conversation, Details: true}).Messages {
		got = append(got, m.Model)
	}
	same(t, "the models", got, []string{"", "small", "small", "", "large"})
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
				if _, _, err := r.FinishResponse(r.ctx, end(f, reply, store.ResponseCompleted)); err != nil {
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
	for ; tip != nil; tip = m.before(*tip) {
		if row := m.rows[*tip]; !row.deleted {
			list = append(list, row.text)
		}
	}
	slices.Reverse(list)
	return list
}

// before is the place that the row at a place continues, or nil.
func (m *model) before(at store.Position) *store.Position {
	row, order := m.rows[at], m.order()
	switch i := slices.Index(order, at); {
	case row.continues != nil:
		return row.continues
	case row.root || i == 0:
		return nil
	default:
		return &order[i-1]
	}
}

// lastThrough is the last place of all whose branch goes through a place.
func (m *model) lastThrough(at store.Position) *store.Position {
	for _, last := range slices.Backward(m.order()) {
		for tip := &last; tip != nil; tip = m.before(*tip) {
			if *tip == at {
				return &last
			}
		}
	}
	return nil
}

// siblings is how many rows continue what the row at a place continues.
func (m *model) siblings(at store.Position) (n int) {
	continues := m.before(at)
	for _, p := range m.order() {
		if other := m.before(p); other == nil && continues == nil || other != nil && continues != nil && *other == *continues {
			n++
		}
	}
	return n
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
					m.rows[p].continues, m.rows[p].root = continues, continues == nil
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
		deleted := false
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
			"after": func(rt *rapid.T) {
				if len(running()) > 0 {
					return
				}
				n, after, continues := store.NewResponse{ConversationID: conversation}, "", (*store.Position)(nil)
				if rows := r.all(rt, conversation); len(rows) > 0 && rapid.IntRange(0, 4).Draw(rt, "not the beginning") > 0 {
					row := rapid.SampledFrom(rows).Draw(rt, "after")
					after, continues = row.ID, &row.Position
				}
				n.After = &after
				start(n, continues)
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
					row := m.rows[store.Position{Seq: reply.Seq}]
					row.continues, row.root = reply.continues, reply.continues == nil
				}
				reply.items, reply.ended = len(answers), true
			},
			"delete": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "rarely") > 0 {
					return
				}
				rows := r.all(rt, conversation)
				if len(rows) == 0 {
					return
				}
				deleted = true
				row := rapid.SampledFrom(rows).Draw(rt, "message")
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
		for _, row := range r.all(rt, conversation) {
			q := store.ThreadQuery{ConversationID: conversation, Through: row.ID, Details: true}
			line := r.thread(rt, q).Messages
			same(rt, fmt.Sprintf("the branch through %v", row.Position), texts(line), m.branch(m.lastThrough(row.Position)))
			if i := slices.IndexFunc(line, func(o store.Message) bool { return o.ID == row.ID }); !deleted && i >= 0 {
				equal(rt, fmt.Sprintf("siblings of %v", row.Position), max(len(line[i].Siblings), 1), m.siblings(row.Position))
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

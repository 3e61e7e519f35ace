package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

var replyTests = []test{
	{"ATurnFromQuestionToAnswer", turnFromQuestionToAnswer},
	{"TheLogReadsTheSameAtAnyTime", logReadsTheSame},
	{"FoldingIsUndone", foldUnfold},
	{"ABrokenLogIsRefused", brokenLog},
	{"RepeatedRowsDoubleNothing", repeatedRows},
	{"ManyRepliesInOneFlush", manyInOneFlush},
	{"AReaderTailsTheLog", readerTails},
	{"ItemsOfAReplyStandTogether", itemsTogether},
	{"AnUnfinishedItemIsIncomplete", unfinishedItem},
	{"TheEndBringsTheRestOfTheLog", endBringsRest},
	{"AReplyEndsThoughRowsOfItsLogWereLost", lostRows},
	{"AReplyEndsOnce", endsOnce},
	{"ConcurrentEndsAgree", concurrentEnds},
	{"EveryEndIsKept", everyEnd},
	{"AQuestionNamesTheReplyThatSaidNothing", silentReply},
	{"RowsAfterTheEndChangeNothing", rowsAfterTheEnd},
	{"OneTurnAtATime", oneTurnAtATime},
	{"OfConcurrentTurnsOneStarts", concurrentTurns},
	{"AResponseOfItsOwn", responseOfItsOwn},
}

func turnFromQuestionToAnswer(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	r.add(t, conversation, "system", "You know this lab.")
	n := store.NewResponse{Fence: f, ConversationID: conversation, Input: append(user("one"), user("two")...), Model: "qwen3:8b",
		Request: []byte(`{"temperature": 0.5}`)}
	reply := r.start(t, n)
	equal(t, "Seq", reply.Seq, 4)
	equal(t, "Status", reply.Status, store.ResponseInProgress)
	equal(t, "ConversationID", reply.ConversationID, conversation)
	equal(t, "Listed", reply.Listed, true)
	equal(t, "Model", reply.Model, "qwen3:8b")
	equal(t, "PreviousID", reply.PreviousID, "")
	equal(t, "ParentID", reply.ParentID, "")
	equal(t, "Ended", reply.Ended(), false)
	if !store.IsID(reply.ID) || reply.CreatedAt.IsZero() {
		t.Errorf("the reply: %+v", reply)
	}
	// The question is in the record before there is an answer.
	same(t, "before the answer", texts(r.get(t, conversation).Messages), []string{"You know this lab.", "one", "two"})
	equal(t, "Head", r.summary(t, conversation).Head, 4)
	same(t, "History", texts(r.history(t, reply)), []string{"You know this lab.", "one", "two"})

	rows := says(reply, "the answer")
	r.log(t, f, rows[:2])
	r.log(t, f, rows[2:])
	// Nothing of it is a message before it ended.
	equal(t, "messages while it runs", r.get(t, conversation).MessageCount, 3)
	read, deltas := r.readLog(t, reply, 0)
	equal(t, "the reply as read", fmt.Sprintf("%+v", read), fmt.Sprintf("%+v", reply))
	same(t, "the log", deltaTexts(deltas), deltaTexts(rows))

	e := end(f, reply, store.ResponseCompleted)
	e.Usage = &store.Usage{InputTokens: 1 << 40, CachedTokens: 2, OutputTokens: 3, ReasoningTokens: 4}
	ended, _, err := r.FinishResponse(r.ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the status at the end", ended.Status, store.ResponseCompleted)
	equal(t, "Ended", ended.Ended(), true)
	if ended.Usage == nil || *ended.Usage != *e.Usage || ended.Error != nil {
		t.Errorf("the end: %+v", ended)
	}
	read, deltas = r.readLog(t, reply, 0)
	if read.Usage == nil || *read.Usage != *e.Usage || !read.EndedAt.Equal(ended.EndedAt) || !read.CreatedAt.Equal(reply.CreatedAt) {
		t.Errorf("the reply as read:\n got  %+v\n want %+v", read, ended)
	}
	same(t, "the log afterwards", deltaTexts(deltas), deltaTexts(rows))
	c := r.get(t, conversation)
	same(t, "the conversation", texts(c.Messages), []string{"You know this lab.", "one", "two", "the answer"})
	m := c.Messages[3]
	equal(t, "the answer's id", m.ID, rows[0].ItemID)
	equal(t, "the answer's role", m.Role, "assistant")
	equal(t, "the answer's position", m.Position, store.Position{Seq: 4})
	equal(t, "the answer's response", m.ResponseID, reply.ID)
	equal(t, "the answer's status", m.Status, store.MessageCompleted)
	if m.Item != nil {
		t.Errorf("plain text has the item %s", m.Item)
	}
	equal(t, "the question's response", c.Messages[2].ResponseID, "")
	equal(t, "MessageCount", c.MessageCount, 4)
	equal(t, "Head", c.Head, 4)
	same(t, "History afterwards", texts(r.history(t, reply)), []string{"You know this lab.", "one", "two"})
}

// drawLog writes a log at random: items of several kinds and parts, whole or cut off, texts cut anywhere. It is what a reply
// may leave in the record.
func drawLog(rt *rapid.T, reply store.Response) []store.Delta {
	l := logOf(reply)
	text := rapid.OneOf(rapid.SampledFrom([]string{"", "a", "héllo wörld", "\u0301", "日本", "👨‍👩‍👧", "\n\n", "\"\\", "\ufffd", "\U0010ffff"}), keepable)
	items := rapid.IntRange(0, 4).Draw(rt, "items")
	for range items {
		kind := rapid.SampledFrom([]string{"message", "message", "reasoning", "function_call"}).Draw(rt, "kind")
		l.open(kind)
		part := 0
		for i := range rapid.IntRange(0, 3).Draw(rt, "parts") {
			part = i
			l.row(store.DeltaPart, i, "", rapid.SampledFrom([]string{"output_text", "output_text", "refusal", "summary_text", "arguments"}).Draw(rt, "part"))
			for range rapid.IntRange(0, 4).Draw(rt, "texts") {
				l.row(store.DeltaText, i, "", text.Draw(rt, "text"))
			}
			l.row(store.DeltaPartDone, i, "", "")
		}
		l.row(store.DeltaItemDone, part, "", "")
	}
	keep := len(l.rows) - rapid.IntRange(0, 3).Draw(rt, "cut off")
	return l.rows[:max(0, keep)]
}

func logReadsTheSame(t *testing.T, r *record) {
	f := r.join(t)
	check(t, 25, func(rt *rapid.T) {
		conversation := r.create(rt)
		reply := r.start(rt, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
		rows := drawLog(rt, reply)
		want := deltaTexts(rows)
		read := func(written int) {
			from := rapid.IntRange(-1, len(rows)+2).Draw(rt, "from")
			_, deltas := r.readLog(rt, reply, from)
			same(rt, fmt.Sprintf("rows from %d of %d", from, written), deltaTexts(deltas), want[min(max(from, 0), written):written])
			for _, d := range deltas {
				equal(rt, "ResponseID", d.ResponseID, reply.ID)
				equal(rt, "ConversationID", d.ConversationID, conversation)
			}
		}
		for written := 0; written < len(rows); {
			n := rapid.IntRange(1, len(rows)-written).Draw(rt, "flush")
			r.log(rt, f, rows[written:written+n])
			written += n
			read(written)
		}
		r.finish(rt, f, reply, store.ResponseIncomplete)
		for range 3 {
			read(len(rows))
		}
	})
}

func foldUnfold(t *testing.T, _ *record) {
	check(t, 300, func(rt *rapid.T) {
		reply := store.Response{ID: store.NewID(), ConversationID: store.NewID()}
		rows := drawLog(rt, reply)
		messages, log, err := store.Fold(rows)
		if err != nil {
			rt.Fatalf("Fold(%q): %v", deltaTexts(rows), err)
		}
		back, err := store.Unfold(reply.ID, messages, log)
		if err != nil {
			rt.Fatalf("Unfold(%q): %v", log, err)
		}
		if !slices.Equal(back, rows) {
			rt.Errorf("folded to %q and unfolded:\n got  %+v\n want %+v", log, back, rows)
		}
		// What became of the text later does not break the rows that have none.
		for i := range messages {
			messages[i].Content, messages[i].Item, messages[i].Status = "", nil, store.MessageDeleted
		}
		if back, err = store.Unfold(reply.ID, messages, log); err != nil || len(back) != len(rows) {
			rt.Errorf("with the text erased: %d rows of %d, %v", len(back), len(rows), err)
		}
	})
}

func brokenLog(t *testing.T, _ *record) {
	reply := store.Response{ID: store.NewID(), ConversationID: store.NewID()}
	good := func() []store.Delta {
		l := logOf(reply)
		l.open("reasoning")
		l.row(store.DeltaPart, 0, "", "summary_text")
		l.row(store.DeltaText, 0, "", "one")
		l.row(store.DeltaPartDone, 0, "", "")
		l.row(store.DeltaPart, 1, "", "summary_text")
		l.row(store.DeltaText, 1, "", "two")
		l.row(store.DeltaPartDone, 1, "", "")
		l.row(store.DeltaItemDone, 1, "", "")
		return l.rows
	}
	if _, _, err := store.Fold(good()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(rows []store.Delta) []store.Delta{
		"a gap":                       func(rows []store.Delta) []store.Delta { return slices.Delete(rows, 2, 3) },
		"a row twice":                 func(rows []store.Delta) []store.Delta { return slices.Insert(rows, 2, rows[2]) },
		"no beginning":                func(rows []store.Delta) []store.Delta { return rows[1:] },
		"an unknown kind":             func(rows []store.Delta) []store.Delta { rows[2].Kind = "sound"; return rows },
		"text of another part":        func(rows []store.Delta) []store.Delta { rows[5].Part = 0; return rows },
		"text of another item":        func(rows []store.Delta) []store.Delta { rows[5].Item = 1; return rows },
		"a part out of its place":     func(rows []store.Delta) []store.Delta { rows[4].Part = 2; return rows },
		"an item out of its place":    func(rows []store.Delta) []store.Delta { rows[0].Item = 1; return rows },
		"an item of a negative place": func(rows []store.Delta) []store.Delta { rows[0].Kind, rows[0].Item = store.DeltaText, -1; return rows },
		"text before any part":        func(rows []store.Delta) []store.Delta { rows[1].Kind = store.DeltaText; return rows },
		"an end of another part":      func(rows []store.Delta) []store.Delta { rows[7].Part = 0; return rows },
	} {
		if messages, log, err := store.Fold(spoil(good())); err == nil {
			t.Errorf("a log with %s folds into %+v, %q", name, messages, log)
		}
	}
	for _, log := range []string{"x", "i i", "i p 99 q", "i p -"} {
		if rows, err := store.Unfold(reply.ID, []store.Message{{ID: store.NewID()}}, log); err == nil {
			t.Errorf("%q unfolds into %+v", log, rows)
		}
	}
}

// A database that was brought back from a copy may not have the last it had committed, and then get more.
func lostRows(t *testing.T, r *record) {
	f := r.join(t)
	for name, c := range map[string]struct {
		kept, brought []int // of the rows 0 to 6: item, part, one, two, three, part done, item done
		status, want  store.ResponseStatus
		shown         []string
	}{
		"a text":                         {[]int{0, 1, 2, 4}, []int{5, 6}, store.ResponseCompleted, store.ResponseIncomplete, []string{"q", "one three"}},
		"the beginning":                  {[]int{1, 2, 3}, []int{4, 5, 6}, store.ResponseCompleted, store.ResponseIncomplete, []string{"q"}},
		"a text of one that was stopped": {[]int{0, 1, 2, 4}, nil, store.ResponseCancelled, store.ResponseCancelled, []string{"q", "one three"}},
		"nothing":                        {[]int{0, 1, 2, 3}, []int{3, 4, 5, 6}, store.ResponseCompleted, store.ResponseCompleted, []string{"q", "one two three"}},
	} {
		t.Run(name, func(t *testing.T) {
			reply := r.start(t, store.NewResponse{Fence: f, Input: user("q")})
			l := logOf(reply)
			l.item("message", "output_text", "one ", "two ", "three")
			pick := func(numbers []int) (rows []store.Delta) {
				for _, n := range numbers {
					rows = append(rows, l.rows[n])
				}
				return rows
			}
			r.log(t, f, pick(c.kept))
			finish := end(f, reply, c.status)
			finish.Deltas = pick(c.brought)
			ended, log, err := r.FinishResponse(r.ctx, finish)
			if err != nil {
				t.Fatal(err)
			}
			kept, rows, err := r.ReadLog(r.ctx, reply.ID, 0)
			if err != nil || !reflect.DeepEqual(ended, kept) || !slices.Equal(log, rows) {
				t.Errorf("FinishResponse returned %+v with the log %+v, ReadLog %+v with %+v, %v", ended, log, kept, rows, err)
			}
			equal(t, "the status", ended.Status, c.want)
			same(t, "the conversation", r.line(t, reply.ConversationID, nil), c.shown)
		})
	}
}

func repeatedRows(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	rows := says(reply, "one", "two")
	for i := range rows { // each batch again, and with what came before it
		r.log(t, f, rows[:i+1])
		r.log(t, f, rows[i:i+1])
	}
	// A row that is there is left as it is.
	other := slices.Clone(rows)
	for i := range other {
		other[i].Text += "changed"
	}
	r.log(t, f, other)
	r.log(t, f, nil)
	together(8, func(int) {
		if err := r.AppendDeltas(r.ctx, f, rows); err != nil {
			t.Errorf("AppendDeltas: %v", err)
		}
	})
	_, deltas := r.readLog(t, reply, 0)
	same(t, "the log", deltaTexts(deltas), deltaTexts(rows))
	r.finish(t, f, reply, store.ResponseCompleted)
	same(t, "the conversation", texts(r.get(t, conversation).Messages), []string{"q", "one", "two"})
}

func manyInOneFlush(t *testing.T, r *record) {
	f := r.join(t)
	var replies []store.Response
	var rows []store.Delta
	for i := range 20 {
		reply := r.start(t, store.NewResponse{Fence: f, Input: user("q")})
		replies = append(replies, reply)
		rows = append(rows, says(reply, fmt.Sprint("answer ", i))...)
	}
	r.log(t, f, rows)
	for i, reply := range replies {
		_, deltas := r.readLog(t, reply, 0)
		same(t, "the log", deltaTexts(deltas), deltaTexts(rows[i*5:i*5+5]))
		r.finish(t, f, reply, store.ResponseCompleted)
		same(t, "the conversation", texts(r.get(t, reply.ConversationID).Messages), []string{"q", fmt.Sprint("answer ", i)})
	}
}

func readerTails(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	for range times(5) {
		reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
		l := logOf(reply)
		var pieces []string
		for i := range 40 {
			pieces = append(pieces, fmt.Sprintf("ö%d ", i))
		}
		l.item("message", "output_text", pieces...)
		together(4, func(i int) {
			if i == 0 {
				for rows := range chunks(l.rows, 3) {
					if err := r.AppendDeltas(r.ctx, f, rows); err != nil {
						t.Errorf("AppendDeltas: %v", err)
					}
				}
				if _, _, err := r.FinishResponse(r.ctx, end(f, reply, store.ResponseCompleted)); err != nil {
					t.Errorf("FinishResponse: %v", err)
				}
				return
			}
			var seen []store.Delta
			for { // until the end: nothing is missed when the log folds
				now, deltas, err := r.ReadLog(r.ctx, reply.ID, len(seen))
				if err != nil {
					t.Errorf("ReadLog: %v", err)
					return
				}
				seen = append(seen, deltas...)
				if now.Ended() {
					break
				}
			}
			same(t, "what a reader saw", deltaTexts(seen), deltaTexts(l.rows))
		})
	}
}

func itemsTogether(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	r.add(t, conversation, "user", "between")
	if err := r.engine.Foreign(r.ctx, r.Store, conversation, "user", "foreign between"); err != nil {
		t.Fatal(err)
	}
	r.log(t, f, says(reply, "a", "b", "c"))
	r.add(t, conversation, "user", "after")
	r.finish(t, f, reply, store.ResponseCompleted)
	c := r.get(t, conversation)
	same(t, "the conversation", texts(c.Messages), []string{"q", "a", "b", "c", "between", "foreign between", "after"})
	for i, want := range []store.Position{{Seq: 1}, {Seq: 2}, {Seq: 2, Idx: 1}, {Seq: 2, Idx: 2}, {Seq: 3}, {Seq: 4}, {Seq: 5}} {
		equal(t, "a position", c.Messages[i].Position, want)
	}
	equal(t, "MessageCount", c.MessageCount, 7)
	equal(t, "Head", c.Head, 5)
}

func unfinishedItem(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	rows := says(reply, "whole", "cut o")
	rows = rows[:len(rows)-2]
	r.log(t, f, rows)
	e := end(f, reply, store.ResponseIncomplete)
	e.IncompleteReason = "max_output_tokens"
	if _, _, err := r.FinishResponse(r.ctx, e); err != nil {
		t.Fatal(err)
	}
	c := r.get(t, conversation)
	same(t, "the conversation", texts(c.Messages), []string{"q", "whole", "cut o"})
	equal(t, "the whole one's status", c.Messages[1].Status, store.MessageCompleted)
	equal(t, "the other's status", c.Messages[2].Status, store.MessageIncomplete)
	now, deltas := r.readLog(t, reply, 0)
	equal(t, "IncompleteReason", now.IncompleteReason, "max_output_tokens")
	same(t, "the log", deltaTexts(deltas), deltaTexts(rows))
}

// What was appended to the log stands; the end adds what follows it, all or nothing, also when it is sent again.
func endBringsRest(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	for appended := range 6 { // of five rows
		reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
		rows := says(reply, "an answer")
		r.log(t, f, rows[:min(appended, len(rows))])
		e := end(f, reply, store.ResponseCompleted)
		e.Deltas = slices.Clone(rows[max(appended-1, 0):]) // one of them is there
		if appended > 0 {
			e.Deltas[0].Text = "not what is there"
		}
		wrong := e
		wrong.Deltas = append(slices.Clone(e.Deltas), store.Delta{ResponseID: reply.ID, ConversationID: conversation, N: len(rows), Kind: store.DeltaText, Text: "a\x00b"})
		var invalid *store.InvalidTextError
		if _, _, err := r.FinishResponse(r.ctx, wrong); !errors.As(err, &invalid) {
			t.Errorf("with text that cannot be kept it ends: %v", err)
		}
		wrong = e
		wrong.Deltas = []store.Delta{{ResponseID: reply.ID, ConversationID: conversation, N: len(rows) + 1, Kind: store.DeltaText, Text: "later"}}
		if _, _, err := r.FinishResponse(r.ctx, wrong); err == nil {
			t.Error("with a row missing it ends")
		} else if !store.Permanent(err) {
			t.Errorf("with a row missing it may end later: %v", err)
		}
		wrong = e
		wrong.Fence.Epoch--
		if _, _, err := r.FinishResponse(r.ctx, wrong); !errors.Is(err, store.ErrFenced) {
			t.Errorf("from a server that was taken over it ends: %v", err)
		}
		now, deltas := r.readLog(t, reply, 0)
		equal(t, "the status before", now.Status, store.ResponseInProgress)
		same(t, "the log before", deltaTexts(deltas), deltaTexts(rows[:min(appended, len(rows))]))
		for range 2 {
			if ended, _, err := r.FinishResponse(r.ctx, e); err != nil || ended.Status != store.ResponseCompleted {
				t.Fatalf("FinishResponse: %+v, %v", ended, err)
			}
			_, deltas = r.readLog(t, reply, 0)
			same(t, "the log", deltaTexts(deltas), deltaTexts(rows))
		}
		messages := r.get(t, conversation).Messages
		equal(t, "the answer", messages[len(messages)-1].Content, "an answer")
	}
	r.whole(t, conversation, 0)
}

func endsOnce(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	first := r.answer(t, f, reply, "a")
	r.sameState(t, conversation, func() {
		for _, status := range []store.ResponseStatus{store.ResponseFailed, store.ResponseCancelled, store.ResponseCompleted} {
			e := end(f, reply, status)
			e.Error, e.Usage = &store.ResponseError{Code: "late"}, &store.Usage{InputTokens: 1}
			again, _, err := r.FinishResponse(r.ctx, e)
			if err != nil {
				t.Fatal(err)
			}
			if again.Status != store.ResponseCompleted || !again.EndedAt.Equal(first.EndedAt) || again.Error != nil || again.Usage != nil {
				t.Errorf("ended again as %s: %+v", status, again)
			}
		}
	})
}

var ends = []store.ResponseStatus{store.ResponseCompleted, store.ResponseIncomplete, store.ResponseFailed, store.ResponseCancelled}

func concurrentEnds(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	for range times(10) {
		reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
		r.log(t, f, says(reply, "a", "b"))
		var mu sync.Mutex
		outcomes := map[string]int{}
		together(8, func(i int) {
			e := end(f, reply, ends[i%4])
			e.IncompleteReason = fmt.Sprint(i)
			ended, _, err := r.FinishResponse(r.ctx, e)
			if err != nil {
				t.Errorf("FinishResponse: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			outcomes[fmt.Sprint(ended.Status, ended.IncompleteReason, ended.EndedAt.UTC())]++
		})
		now, _ := r.readLog(t, reply, 0)
		if n := outcomes[fmt.Sprint(now.Status, now.IncompleteReason, now.EndedAt.UTC())]; n != 8 {
			t.Errorf("the reply ended as %s; %d of 8 saw that: %v", now.Status, n, outcomes)
		}
	}
	r.whole(t, conversation, 0)
}

func everyEnd(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	for _, status := range ends {
		reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
		r.log(t, f, says(reply, "a"))
		e := end(f, reply, status)
		e.Error = &store.ResponseError{Code: "model_error", Message: "it said \"no\""}
		ended, _, err := r.FinishResponse(r.ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		now, _ := r.readLog(t, reply, 0)
		equal(t, "Status", ended.Status, status)
		equal(t, "Status as read", now.Status, status)
		if now.Error == nil || *now.Error != *e.Error {
			t.Errorf("Error is %+v", now.Error)
		}
	}
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation})
	for _, status := range []store.ResponseStatus{"", "done"} {
		if _, _, err := r.FinishResponse(r.ctx, end(f, reply, status)); err == nil {
			t.Errorf("a reply ended as %q", status)
		}
	}
	now, _ := r.readLog(t, reply, 0)
	equal(t, "the status after them", now.Status, store.ResponseInProgress)
	r.finish(t, f, reply, store.ResponseCompleted)
	r.whole(t, conversation, 1)
}

// Of a reply that ended before its first word there is no message: its question names it, so that who reads the thread learns of it.
func silentReply(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	silent := func() (ids []string) {
		for _, m := range r.thread(t, store.ThreadQuery{ConversationID: conversation, Details: true}).Messages {
			ids = append(ids, m.Content+" "+m.SilentID)
		}
		return ids
	}
	ask := func(text string) store.Response {
		return r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user(text)})
	}
	failed := ask("one")
	same(t, "while it runs", silent(), []string{"one "})
	r.finish(t, f, failed, store.ResponseFailed)
	want := []string{"one " + failed.ID}
	same(t, "after its end", silent(), want)

	stopped := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: append(user("two"), user("three")...)})
	r.finish(t, f, stopped, store.ResponseCancelled)
	want = append(want, "two ", "three "+stopped.ID)
	same(t, "with a second", silent(), want)

	said := ask("four")
	r.answer(t, f, said, "a")
	want = append(want, "four ", "a ")
	same(t, "with an answer", silent(), want)
	for _, m := range r.thread(t, store.ThreadQuery{ConversationID: conversation}).Messages {
		if m.SilentID != "" {
			t.Errorf("without details %q names %s", m.Content, m.SilentID)
		}
	}

	// What an answer said and was deleted was no silence.
	messages := r.get(t, conversation).Messages
	if err := r.DeleteMessage(r.ctx, conversation, messages[len(messages)-1].ID); err != nil {
		t.Fatal(err)
	}
	same(t, "after a deletion", silent(), want[:len(want)-1])
}

func rowsAfterTheEnd(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	late := word()
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	r.answer(t, f, reply, "a")
	rows := says(reply, "a", late)
	r.sameState(t, conversation, func() {
		// A flush whose outcome was unknown may land late.
		if err := r.AppendDeltas(r.ctx, f, rows[5:]); err != nil {
			t.Logf("a late flush: %v", err)
		}
		_, deltas := r.readLog(t, reply, 0)
		equal(t, "rows of the log", len(deltas), 5)
		r.finish(t, f, reply, store.ResponseFailed)
	})
	if err := r.DeleteConversation(r.ctx, conversation); err != nil {
		t.Fatal(err)
	}
	same(t, "left of the conversation", r.engine.Leftovers(t, r.Store, conversation), nil)
	same(t, "left of the late text", r.engine.Leftovers(t, r.Store, late), nil)
}

func oneTurnAtATime(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	first := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q1")})
	running := func(want string) {
		t.Helper()
		equal(t, "RunningID", r.summary(t, conversation).RunningID, want)
	}
	running(first.ID)
	r.sameState(t, conversation, func() {
		_, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("too soon")})
		fails(t, "a second turn", err, store.ErrReplyRunning)
		_, err = r.StartResponse(r.ctx, store.NewResponse{Fence: f, PreviousID: first.ID, Input: user("too soon")})
		fails(t, "a turn after a running one", err, store.ErrReplyRunning)
	})
	_, head := r.append(t, store.Append{ConversationID: conversation, Messages: user("meanwhile")})
	equal(t, "the head after an append meanwhile", head, 3)
	r.answer(t, f, first, "a1")
	running("")
	second := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q2")})
	running(second.ID)
	r.answer(t, f, second, "a2")
	running("")
	same(t, "the conversation", texts(r.get(t, conversation).Messages), []string{"q1", "a1", "meanwhile", "q2", "a2"})
	r.whole(t, conversation, 0)
}

func concurrentTurns(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	var mu sync.Mutex
	var started []store.Response
	together(8, func(int) {
		reply, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			started = append(started, reply)
		} else if !errors.Is(err, store.ErrReplyRunning) {
			t.Errorf("StartResponse: %v", err)
		}
	})
	if len(started) != 1 {
		t.Fatalf("%d of 8 turns started", len(started))
	}
	r.answer(t, f, started[0], "a")
	same(t, "the conversation", texts(r.get(t, conversation).Messages), []string{"q", "a"})
	r.whole(t, conversation, 0)
}

func responseOfItsOwn(t *testing.T, r *record) {
	f := r.join(t)
	first := r.turn(t, store.NewResponse{Fence: f, Input: user("q1"), Model: "m", Title: "T"}, "a1")
	c := r.get(t, first.ConversationID)
	equal(t, "Listed", c.Listed, false)
	equal(t, "Model", c.Model, "m")
	second := r.turn(t, store.NewResponse{Fence: f, PreviousID: first.ID, Input: user("q2")}, "a2")
	equal(t, "the conversation of the next", second.ConversationID, first.ConversationID)
	equal(t, "PreviousID", second.PreviousID, first.ID)
	same(t, "the conversation", texts(r.get(t, first.ConversationID).Messages), []string{"q1", "a1", "q2", "a2"})
	for _, m := range r.get(t, first.ConversationID).Messages {
		equal(t, "ParentID on a plain line", m.ParentID, "")
	}
}

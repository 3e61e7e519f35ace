package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

// pages reads all pages of a query and returns their hits.
func (r *record) pages(t tb, q store.SearchQuery) []store.Hit {
	t.Helper()
	var hits []store.Hit
	for n := 0; ; n++ {
		page := r.find(t, q)
		hits = append(hits, page.Hits...)
		if len(page.Hits) > q.Size() {
			t.Errorf("a page of %d has %d hits", q.Size(), len(page.Hits))
		}
		if page.Next == "" {
			return hits
		}
		if q.Cursor = page.Next; n > 1000 {
			t.Fatalf("there is no end of pages")
		}
	}
}

// hitKeys are the ids of messages, and of conversations found by their titles.
func hitKeys(hits []store.Hit) []string {
	list := make([]string, len(hits))
	for i, h := range hits {
		if list[i] = h.ID; h.ID == "" {
			list[i] = "title of " + h.ConversationID
		}
	}
	return list
}

func pagesOfASearch(t *testing.T, r *record) {
	mark := word()
	conversations := []string{r.createWith(t, store.NewConversation{Title: "About " + mark}), r.create(t), r.create(t)}
	for i := range 24 {
		r.add(t, conversations[i%3], "user", fmt.Sprint("x"+mark+"x ", i))
		r.add(t, conversations[i%3], "user", "nothing to find")
		if i == 12 {
			r.drain(t)
		}
	}
	for i, conversation := range conversations[:2] { // of many the time is the same
		r.engine.SetTimes(t, r.Store, conversation, time.Date(2020, 1, 1, 0, 0, i, 0, time.UTC))
	}
	for _, best := range []bool{false, true} {
		r.indexed(t, func(state string) {
			all := r.find(t, store.SearchQuery{Text: mark, Best: best, Limit: 100})
			equal(t, "hits, "+state, len(all.Hits), 25)
			if all.Next != "" || !all.Back.IsZero() {
				t.Errorf("the only page says %q and %v, %s", all.Next, all.Back, state)
			}
			for limit := 1; limit <= 26; limit++ {
				hits := r.pages(t, store.SearchQuery{Text: mark, Best: best, Limit: limit})
				same(t, fmt.Sprintf("by pages of %d, best %v, %s", limit, best, state), hitKeys(hits), hitKeys(all.Hits))
			}
		})
	}
}

// What is written while somebody turns pages is on none of them; what is deleted is missing; the rest is there once.
func pagesWhileOthersWrite(t *testing.T, r *record) {
	mark := word()
	conversation := r.create(t)
	for _, best := range []bool{false, true} {
		var want []string
		for i := range 20 {
			id := r.add(t, conversation, "user", fmt.Sprint(mark, " ", i, " ", best))
			if i != 5 {
				want = append(want, id)
			} else {
				defer func() { _ = r.DeleteMessage(r.ctx, conversation, id) }()
			}
			if i == 10 {
				r.drain(t)
			}
		}
		text := fmt.Sprint(mark, " ", best)
		gone := r.find(t, store.SearchQuery{Text: fmt.Sprint(`"`, mark, " 5 ", best, `"`)}).Hits[0].ID
		q, got := store.SearchQuery{Text: text, Best: best, Limit: 3}, []string(nil)
		for n := 0; ; n++ {
			page := r.find(t, q)
			got = append(got, hitIDs(page.Hits)...)
			if page.Next == "" {
				break
			}
			q.Cursor = page.Next
			if n == 1 {
				if err := r.DeleteMessage(r.ctx, conversation, gone); err != nil {
					t.Fatal(err)
				}
			}
			r.add(t, conversation, "user", text)
			r.drain(t)
		}
		slices.Sort(got)
		slices.Sort(want)
		same(t, fmt.Sprintf("found while others write, best %v", best), got, want)
	}
}

func cursorsOfASearch(t *testing.T, r *record) {
	id := store.NewID()
	for _, cursor := range []string{"x", "_", "1", id, "1_x", "_" + id, "1_" + id + "_", "1_" + id + "_1", "99999999999999999999_" + id, "9223372036854775807_" + id,
		"-9223372036854775808_" + id, "1_" + strings.ToUpper(id), "1_" + id + "_1_1_" + id + "_", "1_" + id + "_x_1_" + id, "1_" + id + "_1_x_" + id, "1_" + id + "_1_1_x", "\x00", "\xff", " ", "1_" + id + " "} {
		for _, best := range []bool{false, true} {
			if page, err := r.Search(r.ctx, store.SearchQuery{Text: "x", Cursor: cursor, Best: best}); !errors.Is(err, store.ErrCursor) {
				t.Errorf("the cursor %q: %+v, %v", cursor, page, err)
			}
		}
	}
	for cursor, best := range map[string]bool{"1_" + id: true, "1_" + id + "_1_1_" + id: false} { // of the other order
		if _, err := r.Search(r.ctx, store.SearchQuery{Text: "x", Cursor: cursor, Best: best}); !errors.Is(err, store.ErrCursor) {
			t.Errorf("the cursor %q: %v", cursor, err)
		}
	}
	check(t, 100, func(rt *rapid.T) {
		cursor := rapid.OneOf(rapid.String(), rapid.StringMatching(`-?[0-9]{1,20}_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)).Draw(rt, "cursor")
		if _, err := r.Search(r.ctx, store.SearchQuery{Text: "x", Cursor: cursor}); err != nil && !errors.Is(err, store.ErrCursor) {
			rt.Errorf("the cursor %q: %v", cursor, err)
		}
	})
}

func titlesAreFound(t *testing.T, r *record) {
	mark := word()
	r.createWith(t, store.NewConversation{Title: mark, Unlisted: true})
	id := r.createWith(t, store.NewConversation{Title: "Über " + mark + "nas"})
	r.add(t, id, "user", "not here")
	find := func(what, text string, want bool) {
		t.Helper()
		var list []string
		if want {
			list = []string{"title of " + id}
		}
		same(t, fmt.Sprintf("found by %q, %s", text, what), hitKeys(r.search(t, text)), list)
	}
	r.indexed(t, func(state string) {
		find(state, mark, true)
		find(state, "uber "+mark[1:], true)
		find(state, `"Über `+mark+`"`, true)
		find(state, mark+" here", false)
		hit := r.search(t, mark[2:])[0]
		equal(t, "title", hit.Title, "Über "+mark+"nas")
		equal(t, "marks", fmt.Sprint(hit.Marks), fmt.Sprintf("[{%d %d}]", len("Über ")+2, len("Über ")+len(mark)))
		equal(t, "time", hit.CreatedAt.UTC(), r.summary(t, id).StartedAt.UTC())
		equal(t, "excerpt, role and model", hit.Excerpt+hit.Role+hit.Model, "")
	})
	for _, queued := range []bool{true, false} {
		other := word()
		if err := r.rename(id, other); err != nil {
			t.Fatal(err)
		}
		if !queued {
			r.drain(t)
		}
		find("renamed", mark, false)
		find("renamed", other[1:], true)
		mark = other
	}
	if left := r.engine.Leftovers(t, r.Store, mark[3:]); len(left) == 0 {
		t.Error("the title is nowhere; does this test still know where to look?")
	}
	if err := r.rename(id, ""); err != nil {
		t.Fatal(err)
	}
	find("without a title", mark, false)
	r.drain(t)
	same(t, "what is left of a title", r.engine.Leftovers(t, r.Store, mark), nil)
	if err := r.rename(id, mark+" again"); err != nil {
		t.Fatal(err)
	}
	r.drain(t)
	if err := r.DeleteConversation(r.ctx, id); err != nil {
		t.Fatal(err)
	}
	find("deleted", mark, false)
	r.drain(t)
	same(t, "what is left of a deleted title", r.engine.Leftovers(t, r.Store, mark), nil)
}

// Each server indexes whatever waits, and several may take the same title.
func titlesIndexedTogether(t *testing.T, r *record) {
	for range 20 {
		mark := word()
		id := r.createWith(t, store.NewConversation{Title: mark})
		together(8, func(int) {
			if _, err := r.IndexPending(r.ctx, 500); err != nil {
				t.Errorf("IndexPending: %v", err)
			}
		})
		r.drain(t)
		same(t, "found", hitKeys(r.search(t, mark)), []string{"title of " + id})
	}
}

func filters(t *testing.T, r *record) {
	mark, f := word(), r.join(t)
	conversation, archived := r.createWith(t, store.NewConversation{Title: mark}), r.create(t)
	question := r.add(t, conversation, "user", mark)
	r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q"), Model: "qwen3:8b"}, mark)
	messages := r.get(t, conversation).Messages
	answer := messages[len(messages)-1].ID
	shelved := r.add(t, archived, "system", mark)
	yes, no := true, false
	if _, err := r.UpdateConversation(r.ctx, archived, store.ConversationChange{Archived: &yes}); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2021, 5, 6, 7, 8, 9, 1000, time.UTC)
	r.engine.SetTimes(t, r.Store, archived, at)
	title := "title of " + conversation
	r.indexed(t, func(state string) {
		for _, c := range []struct {
			what string
			q    store.SearchQuery
			want []string
		}{
			{"nothing", store.SearchQuery{}, []string{answer, question, title, shelved}},
			{"user", store.SearchQuery{Role: "user"}, []string{question}},
			{"assistant", store.SearchQuery{Role: "assistant"}, []string{answer}},
			{"no such role", store.SearchQuery{Role: "robot"}, nil},
			{"a role nothing can have", store.SearchQuery{Role: "a\x00\xff"}, nil},
			{"model", store.SearchQuery{Model: "qwen3:8b"}, []string{answer}},
			{"no such model", store.SearchQuery{Model: "qwen3"}, nil},
			{"model and role", store.SearchQuery{Model: "qwen3:8b", Role: "user"}, nil},
			{"not archived", store.SearchQuery{Archived: &no}, []string{answer, question, title}},
			{"archived", store.SearchQuery{Archived: &yes}, []string{shelved}},
			{"after", store.SearchQuery{After: at.Add(time.Microsecond)}, []string{answer, question, title}},
			{"from", store.SearchQuery{After: at}, []string{answer, question, title, shelved}},
			{"before", store.SearchQuery{Before: at}, nil},
			{"until", store.SearchQuery{Before: at.Add(time.Microsecond)}, []string{shelved}},
			{"between", store.SearchQuery{After: at, Before: at.Add(time.Hour)}, []string{shelved}},
			{"the wrong way round", store.SearchQuery{After: at.Add(time.Hour), Before: at}, nil},
		} {
			c.q.Text, c.q.Limit = mark, 1
			same(t, fmt.Sprintf("found with %s, %s", c.what, state), hitKeys(r.pages(t, c.q)), c.want)
			c.q.Best, c.q.Limit = true, 100
			got := hitKeys(r.pages(t, c.q))
			slices.Sort(got)
			slices.Sort(c.want)
			same(t, fmt.Sprintf("the best of those with %s, %s", c.what, state), got, c.want)
		}
	})
}

func bestFirst(t *testing.T, r *record) {
	mark := word()
	conversation := r.create(t)
	whole := r.add(t, conversation, "user", "all of "+mark)
	begins := r.add(t, conversation, "user", "begins "+mark+"x")
	inner := r.add(t, conversation, "user", "inner x"+mark+"x")
	r.indexed(t, func(state string) {
		same(t, "the best first, "+state, hitIDs(r.find(t, store.SearchQuery{Text: mark, Best: true}).Hits), []string{whole, begins, inner})
		same(t, "the newest first, "+state, hitIDs(r.find(t, store.SearchQuery{Text: mark}).Hits), []string{inner, begins, whole})
	})
	var list []store.NewMessage
	for range 2001 {
		list = append(list, store.NewMessage{Role: "user", Content: "y" + mark + "y"})
	}
	better := r.add(t, conversation, "user", mark)
	r.append(t, store.Append{ConversationID: conversation, Messages: list[:1999]})
	page := r.find(t, store.SearchQuery{Text: mark, Best: true, Limit: 1})
	same(t, "the best of 2,000", hitIDs(page.Hits), []string{better})
	if page.Back.IsZero() {
		t.Error("it is not said that there are older ones")
	}
	r.append(t, store.Append{ConversationID: conversation, Messages: list[:2]})
	page = r.find(t, store.SearchQuery{Text: mark, Best: true, Limit: 1})
	if len(page.Hits) != 1 || page.Hits[0].ID == better || page.Hits[0].ID == whole {
		t.Errorf("of the newest 2,000: %+v", page)
	}
	equal(t, "hits by pages", len(r.pages(t, store.SearchQuery{Text: mark, Best: true, Limit: 100})), 2000)
	equal(t, "hits, the newest first", len(r.pages(t, store.SearchQuery{Text: mark, Limit: 100})), 2005)
}

// What the index cannot say is looked for in a bounded number of texts, and the cursor goes on from there.
func boundedWork(t *testing.T, r *record) {
	mark := word()
	conversation := r.create(t)
	old := r.add(t, conversation, "user", mark+" ~~~#~~~")
	var list []store.NewMessage
	for range 5500 {
		list = append(list, store.NewMessage{Role: "user", Content: "-"})
	}
	r.append(t, store.Append{ConversationID: conversation, Messages: list})
	r.drain(t)
	q := store.SearchQuery{Text: "~~~#~~~"}
	page := r.find(t, q)
	if len(page.Hits) != 0 || page.Next == "" || page.Back.IsZero() || page.Back.Before(r.message(t, conversation, old).CreatedAt) {
		t.Errorf("the first page: %+v", page)
	}
	same(t, "found further back", hitIDs(r.pages(t, q)), []string{old})
	q.Text += " " + mark[3:] // that the index can say
	same(t, "found at once", hitIDs(r.find(t, q).Hits), []string{old})
}

// Wherever in time texts stand, a search that leaves out what is between them has them in order and each once.
func textsOfAllTimes(t *testing.T, r *record) {
	day := 24 * time.Hour
	check(t, 4, func(rt *rapid.T) {
		mark := word()
		type place struct {
			at time.Time
			id string
		}
		var want []place
		at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
		for range 10 {
			at = at.Add(-rapid.SampledFrom([]time.Duration{time.Microsecond, time.Hour, day, 5 * day, 8 * day, 60 * day, 600 * day, 20_000 * day}).Draw(rt, "earlier"))
			conversation := r.create(rt)
			var list []store.NewMessage
			for i := range 75 {
				list = append(list, store.NewMessage{Role: "user", Content: "-"})
				if i%20 == 0 && rapid.Bool().Draw(rt, "mark") {
					list[i].Content = mark
				}
			}
			ids, _ := r.append(rt, store.Append{ConversationID: conversation, Messages: list})
			for i, m := range slices.Backward(list) {
				if m.Content == mark {
					want = append(want, place{at, ids[i]})
				}
			}
			r.drain(rt)
			r.engine.SetTimes(t, r.Store, conversation, at)
		}
		var ids []string
		for _, p := range want {
			ids = append(ids, p.id)
		}
		for _, limit := range []int{1, 3, 100} {
			same(rt, fmt.Sprintf("found by pages of %d", limit), hitIDs(r.pages(rt, store.SearchQuery{Text: mark, Limit: limit})), ids)
		}
		for _, p := range want {
			same(rt, "found from its time on", hitIDs(r.find(rt, store.SearchQuery{Text: mark, After: p.at, Before: p.at.Add(time.Microsecond), Limit: 100}).Hits),
				slices.Collect(func(yield func(string) bool) {
					for _, other := range want {
						if other.at.Equal(p.at) && !yield(other.id) {
							return
						}
					}
				}))
		}
	})
}

// The index finds thousands in a few days that the texts do not hold as they are asked for; what they crowd is found, page by page.
func manyFindsOfOneTime(t *testing.T, r *record) {
	mark := word()
	at := time.Date(2019, 3, 10, 23, 59, 59, 0, time.UTC)
	var want []string
	for _, ago := range []time.Duration{0, 24 * time.Hour, 25 * time.Hour, 3 * 24 * time.Hour} {
		conversation := r.create(t)
		var list []store.NewMessage
		for range 1700 {
			list = append(list, store.NewMessage{Role: "user", Content: "then " + mark})
		}
		list[900].Content = mark + " then"
		ids, _ := r.append(t, store.Append{ConversationID: conversation, Messages: list})
		r.drain(t)
		r.engine.SetTimes(t, r.Store, conversation, at.Add(-ago))
		want = append(want, ids[900])
	}
	same(t, "found among many", hitIDs(r.pages(t, store.SearchQuery{Text: `"` + mark + ` then"`})), want)
	page := r.find(t, store.SearchQuery{Text: mark[2:] + " then", Limit: 100})
	equal(t, "hits of a page", len(page.Hits), 100)
}

// What the index is asked for is found behind more texts than are looked at by their times alone: words that a short term begins, and
// those around an apostrophe or another character that joins two.
func beginningsAmongMany(t *testing.T, r *record) {
	conversation := r.create(t)
	r.append(t, store.Append{ConversationID: conversation, Messages: []store.NewMessage{{Role: "user", Content: `disk zq of port 5 is error 7x; don't go to C:\dir\sub'x a:b`}}})
	var others []store.NewMessage
	for range 1000 {
		others = append(others, store.NewMessage{Role: "user", Content: "-"})
	}
	for range 3 {
		r.append(t, store.Append{ConversationID: conversation, Messages: others})
	}
	r.drain(t)
	for _, text := range []string{`zq`, `disk zq`, `"error 7"`, `port 5`, `"port 5 is"`, `"don't go"`, `on't`, `c:\dir`, `r\sub'x`, `x a:b`, `disk`} {
		found := 0
		for _, h := range r.pages(t, store.SearchQuery{Text: text}) {
			if h.ConversationID == conversation {
				found++
			}
		}
		equal(t, text+" is found", found, 1)
	}
}

// Deleted and brought back before they were indexed, texts wait twice, and are found once each.
func queuedTwice(t *testing.T, r *record) {
	conversation, mark := r.create(t), word()
	var list []store.NewMessage
	for range 200 {
		list = append(list, store.NewMessage{Role: "user", Content: mark})
	}
	ids, _ := r.append(t, store.Append{ConversationID: conversation, Messages: list})
	r.hold(t, conversation, time.Minute)
	if _, err := r.UndoDeletion(r.ctx, conversation); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(ids)
	same(t, "found", hitIDs(r.pages(t, store.SearchQuery{Text: mark, Limit: 100})), ids)
}

// comesBack erases a conversation and restores it with its messages changed.
func (r *record) comesBack(t *testing.T, conversation string, change func(*store.ArchivedMessage)) {
	t.Helper()
	rows := r.archived(t, conversation)
	for _, row := range rows {
		if row.Message != nil {
			change(row.Message)
		}
	}
	if err := r.DeleteConversation(r.ctx, conversation); err != nil {
		t.Fatal(err)
	}
	r.restore(t, rows)
}

// A message of an import is found by what it says now, whatever one of the same id said before.
func comesBackChanged(t *testing.T, r *record) {
	conversation, before, after := r.create(t), word(), word()
	id := r.add(t, conversation, "user", before)
	same(t, "found before", hitIDs(r.search(t, before)), []string{id})
	r.comesBack(t, conversation, func(m *store.ArchivedMessage) { m.Content = after })
	same(t, "found after", hitIDs(r.search(t, after)), []string{id})
	equal(t, "found by what it said", len(r.search(t, before)), 0)
}

// Any id is one, also that of zeros alone.
func anIDOfNothing(t *testing.T, r *record) {
	conversation, mark := r.create(t), word()
	r.add(t, conversation, "user", mark)
	const zero = "00000000-0000-0000-0000-000000000000"
	r.comesBack(t, conversation, func(m *store.ArchivedMessage) { m.ID = zero })
	r.drain(t)
	r.append(t, store.Append{ConversationID: conversation, Messages: slices.Repeat([]store.NewMessage{{Role: "user", Content: "-"}}, 1000)})
	r.drain(t)
	same(t, "found", hitIDs(r.pages(t, store.SearchQuery{Text: mark})), []string{zero})
}

// With a message its words are gone, wherever they were kept, but not those that another has.
func wordsGoWithTheirTexts(t *testing.T, r *record) {
	for name, remove := range map[string]func(conversation, message string) error{
		"DeleteMessage":      func(conversation, message string) error { return r.DeleteMessage(r.ctx, conversation, message) },
		"DeleteConversation": func(conversation, _ string) error { return r.DeleteConversation(r.ctx, conversation) },
		"HoldConversation": func(conversation, _ string) error {
			if _, err := r.HoldConversation(r.ctx, conversation, 0); err != nil {
				return err
			}
			_, err := r.EraseHeld(r.ctx)
			return err
		},
	} {
		secret, shared := word(), word()
		conversation, other := r.create(t), r.create(t)
		message := r.add(t, conversation, "user", "hidden"+secret+" "+shared+"s "+strings.Repeat("y", 300)+secret)
		kept := r.add(t, other, "user", shared+"s")
		r.drain(t)
		same(t, "found before "+name, hitIDs(r.search(t, secret[2:])), []string{message})
		if err := remove(conversation, message); err != nil {
			t.Fatal(err)
		}
		same(t, "found after "+name, hitIDs(r.search(t, secret[2:])), nil)
		same(t, "where parts of it are after "+name, r.engine.Leftovers(t, r.Store, secret), nil)
		same(t, "found of what stays after "+name, hitIDs(r.search(t, shared[2:])), []string{kept})
		again := r.add(t, other, "user", "hidden"+secret)
		r.drain(t)
		same(t, "found when it is written again after "+name, hitIDs(r.search(t, secret[2:])), []string{again})
	}
}

// A search finds what a look at every text finds, written as simply as can be.
func likeANaiveSearch(t *testing.T, r *record) {
	plain := map[rune]rune{'A': 'a', 'B': 'b', 'é': 'e', 'É': 'e', 'Ｋ': 'k', 'ｋ': 'k', 'が': 'か', '\n': ' ', '\t': ' '}
	fold := func(text string) string {
		return strings.Join(strings.FieldsFunc(strings.Map(func(r rune) rune {
			if to, ok := plain[r]; ok {
				return to
			}
			return r
		}, text), func(r rune) bool { return r == ' ' }), " ")
	}
	isWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	isAlone := func(r rune) bool { return r == '日' || r == 'か' }
	holds := func(text, term string) bool {
		t, q := []rune(fold(text)), []rune(fold(term))
		for i := 0; i+len(q) <= len(t); i++ {
			if string(t[i:i+len(q)]) == string(q) && (len(q) > 2 || i == 0 || !isWord(q[0]) || isAlone(q[0]) || !isWord(t[i-1]) || isAlone(t[i-1])) {
				return true
			}
		}
		return false
	}
	letters := rapid.SampledFrom([]rune("aaabbABéÉｋＫ日がか11..-/'\\ \n"))
	text := rapid.Map(rapid.SliceOfN(letters, 0, 14), func(list []rune) string { return strings.TrimSpace(string(list)) })
	check(t, 25, func(rt *rapid.T) {
		conversation := r.create(rt)
		made := map[string]string{}
		for range rapid.IntRange(0, 8).Draw(rt, "messages") {
			content := text.Draw(rt, "text")
			made[r.add(rt, conversation, "user", content)] = content
			if rapid.Bool().Draw(rt, "index") {
				r.drain(rt)
			}
		}
		title := text.Draw(rt, "title")
		if err := r.rename(conversation, title); err != nil {
			rt.Fatal(err)
		}
		made["title of "+conversation] = title
		for range 8 {
			var terms []string
			query := ""
			for range rapid.IntRange(1, 3).Draw(rt, "terms") {
				term := fold(text.Draw(rt, "term"))
				if from := rapid.SampledFrom(append([]string{""}, slicesOf(made)...)).Draw(rt, "of"); from != "" { // mostly of what is there
					runes := []rune(fold(from))
					i := rapid.IntRange(0, len(runes)).Draw(rt, "i")
					term = strings.TrimSpace(string(runes[i:min(len(runes), i+rapid.IntRange(1, 6).Draw(rt, "n"))]))
				}
				if query += ` "` + term + `"`; strings.ContainsFunc(term, isWord) || len([]rune(term)) > 2 {
					terms = append(terms, term)
				}
			}
			var got, want []string
			for _, h := range r.pages(rt, store.SearchQuery{Text: query, Limit: rapid.IntRange(1, 50).Draw(rt, "limit")}) {
				if h.ConversationID == conversation {
					got = append(got, hitKeys([]store.Hit{h})...)
				}
			}
			for id, content := range made {
				if len(terms) > 0 && !slices.ContainsFunc(terms, func(term string) bool { return !holds(content, term) }) {
					want = append(want, id)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			same(rt, fmt.Sprintf("%q finds in %q", query, made), got, want)
		}
	})
}

func slicesOf(made map[string]string) (list []string) {
	for _, text := range made {
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

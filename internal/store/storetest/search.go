package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

var searchTests = []test{
	{"FoundAsSoonAsTheAppendReturns", foundAtOnce},
	{"NeverMissedNeverDoubledWhileIndexing", neverMissed},
	{"WordsAndTheirBeginnings", wordsAndBeginnings},
	{"WhatAQueryFinds", whatAQueryFinds},
	{"NoWordsFindNothing", noWords},
	{"AnyQueryIsAllowed", anyQuery},
	{"LikeTheMatcher", likeTheMatcher},
	{"UnlistedAreNotFound", unlistedNotFound},
	{"UnlistedOnesCrowdNothingOut", unlistedCrowdNothingOut},
	{"LongTextsCrowdNothingOut", longTextsCrowdNothingOut},
	{"NewestFirstAndALimit", newestFirst},
	{"AHitSaysWhereItIs", hitSaysWhere},
	{"IndexingIsShared", indexingShared},
	{"AReplyIsFound", replyIsFound},
	{"Pages", pagesOfASearch},
	{"PagesWhileOthersWrite", pagesWhileOthersWrite},
	{"Cursors", cursorsOfASearch},
	{"TitlesAreFound", titlesAreFound},
	{"TitlesThatSeveralIndexAtOnceAreFound", titlesIndexedTogether},
	{"Filters", filters},
	{"BestFirst", bestFirst},
	{"BoundedWork", boundedWork},
	{"TextsOfAllTimes", textsOfAllTimes},
	{"ManyFindsOfOneTime", manyFindsOfOneTime},
	{"BeginningsOfWordsAmongMany", beginningsAmongMany},
	{"QueuedTwice", queuedTwice},
	{"ATextThatComesBackChanged", comesBackChanged},
	{"AnIDOfNothing", anIDOfNothing},
	{"WordsGoWithTheirTexts", wordsGoWithTheirTexts},
	{"LikeANaiveSearch", likeANaiveSearch},
}

// indexed runs f before and after the messages are indexed.
func (r *record) indexed(t *testing.T, f func(state string)) {
	t.Helper()
	f("not indexed yet")
	r.drain(t)
	f("indexed")
}

func foundAtOnce(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	mark := word()
	var want []string
	found := func(how, id string) {
		t.Helper()
		want = append(want, id)
		got := hitIDs(r.search(t, mark))
		slices.Sort(got)
		same(t, "found after "+how, got, slices.Sorted(slices.Values(want)))
	}
	found("AddMessage", r.add(t, conversation, "user", mark))
	made, head := r.append(t, store.Append{ConversationID: conversation, Messages: append(user(mark+" one"), user("other")...)})
	found("AppendMessages", made[0])
	made, _ = r.append(t, store.Append{ConversationID: conversation, Messages: user("two " + mark), Expect: &head})
	found("AppendMessages with Expect", made[0])
	r.drain(t)
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("asked: " + mark)})
	messages := r.get(t, conversation).Messages
	found("StartResponse", messages[len(messages)-1].ID)
	rows := says(reply, "answered: "+mark)
	r.log(t, f, rows)
	r.finish(t, f, reply, store.ResponseCompleted)
	found("FinishResponse", rows[0].ItemID)
	if err := r.engine.Foreign(r.ctx, r.Store, conversation, "user", mark); err != nil {
		t.Fatal(err)
	}
	messages = r.get(t, conversation).Messages
	found("a foreign insert", messages[len(messages)-1].ID)
	waiting := func() int {
		t.Helper()
		n, err := r.Waiting(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if waiting() == 0 {
		t.Error("a foreign insert does not wait to be indexed")
	}
	r.drain(t)
	equal(t, "what waits when all is indexed", waiting(), 0)
	equal(t, "found when all is indexed", len(r.search(t, mark)), len(want))
}

func neverMissed(t *testing.T, r *record) {
	n := times(25)
	conversation := r.create(t)
	stop := meanwhile(func() {
		if _, err := r.IndexPending(r.ctx, 3); err != nil {
			t.Errorf("IndexPending: %v", err)
		}
	})
	together(4, func(int) {
		mark := word()
		for i := range n {
			if _, err := r.AddMessage(r.ctx, conversation, "user", fmt.Sprint(mark, " ", i)); err != nil {
				t.Errorf("AddMessage: %v", err)
			}
			for range 3 {
				page, err := r.Search(r.ctx, store.SearchQuery{Text: mark, Limit: 100})
				hits := page.Hits
				if err != nil {
					t.Errorf("Search: %v", err)
				}
				if len(hits) != i+1 {
					t.Errorf("%d of %d are found", len(hits), i+1)
				}
			}
		}
	})
	stop()
}

func wordsAndBeginnings(t *testing.T, r *record) {
	conversation := r.create(t)
	mark := word()
	id := r.add(t, conversation, "user", "The "+mark+" NAS runs Débian; its disks are /dev/sda1 and tank/backup, at 10.5.0.109:8006 (VLAN-20, host nas.home.arpa).")
	r.add(t, conversation, "user", "The other one does not, "+mark+".")
	r.indexed(t, func(state string) {
		for _, q := range []string{
			"debian", "Debian", "DÉBIAN", "De\u0301bian", "deb", "d\u00e9b", "ebian", "bia", "NAS", "nas", "/dev/sda1", "dev/sda1", "sda1", "sda", "da1", "10.5.0.109", "10.5.0.109:8006", "8006",
			"0.5.0.10", ".5.0.", "5.0.109:80", "109:8006 (vlan", "vlan-20", "VLAN 20", "-20,", "tank/backup", "backup tank", "k/b", "nas.home.arpa", "home", "as.ho", "rpa)", "arpa).", "disks runs nas the",
			`"debian"`, "  debian\n", "debian debian DEBIAN", "debian & nas", "débian | nas", `"nas runs"`, "\"NAS \n  runs débian; its\"", `"runs`, `"s are /d"`, `runs "are /dev" nas`, "“nas runs”",
			"& | ! ( ) debian", "at 10", "it", "a", "r", "/d",
		} {
			same(t, fmt.Sprintf("found by %q, %s", q, state), hitIDs(r.search(t, mark+" "+q)), []string{id})
		}
		for _, q := range []string{
			"debiann", "10.5.0.110", "10.5.0.1090", "110.5.0.109", "\"10 5.0.109\"", "sda2", "nas windows", "20 2000", "debian!?", "(debian)", "'debian':*", "!debian", "-debian", "*debian*", "debian%", "debian_",
			`"runs nas"`, `"nas  rund"`, `"debian nas"`, "as", "da", "s/", `"ru ns"`,
		} {
			same(t, fmt.Sprintf("found by %q, %s", q, state), hitIDs(r.search(t, mark+" "+q)), nil)
		}
	})
}

func whatAQueryFinds(t *testing.T, r *record) {
	conversation := r.create(t)
	mark := word()
	for _, c := range []struct{ text, query string }{
		{"机架服务器的温度", "温度"}, {"机架服务器的温度", "服务器"}, {"サーバーの温度", "サーバー"}, {"서버 온도가 높다", "온도"},
		{"ТЕМПЕРАТУРА сервера", "температура"}, {"ΘΕΡΜΟΚΡΑΣΊΑ", "θερμοκρασία"}, {"Straße", "STRAßE"}, {"İstanbul", "istanbul"}, {"ﬁle ﬀ", "file"}, {"ｆｕｌｌ", "full"},
		{"机架服务器的温度", "度 器"}, {"服务器nginx的温度", "nginx"}, {"服务器nginx的温度", "器ngi"}, {"服务器nginx的温度", "inx的"}, {"x² and ½", "x2"}, {"naïve café", "naive cafe"}, {"don't", "don't"}, {"C++ and C#", "c++"}, {"עברית", "עברית"}, {"हिन्दी", "हिन्दी"}, {"ไทย", "ไทย"},
		{"a_b_c", "b"}, {"snake_case_name", "case"}, {"emoji 🏳️‍🌈 flag", "flag emoji"}, {strings.Repeat("long", 1000), "longlong"}, {strings.Repeat("y", 300), strings.Repeat("y", 280)},
		{strings.Repeat("y", 300) + "middle" + strings.Repeat("z", 300), "ymiddlez"}, {strings.Repeat("y", 300) + "end-x", "end-x"}, {"x." + strings.Repeat("y", 300), "x." + strings.Repeat("y", 299)},
		{"mysda12", "sda1"}, {"(E1234)", "e1234"}, {"errE1234x", "E1234"}, {"a---b", "---"}, {"→→→", "→→→"}, {"x == y", "\"== y\""}, {"func(a,b){", "c(a,b"}, {"ΛΌΓΟΣ", "λογος"},
		{"one\x01two", "two"}, {"tab\tnewline\nend", "end newline"}, {"zero\u200bwidth", "width"},
	} {
		id := r.add(t, conversation, "user", mark+" "+c.text)
		r.indexed(t, func(state string) {
			if got := hitIDs(r.search(t, mark+" "+c.query)); !slices.Contains(got, id) {
				t.Errorf("%.40q does not find %.40q, %s", c.query, c.text, state)
			}
		})
	}
}

func noWords(t *testing.T, r *record) {
	conversation := r.create(t)
	r.add(t, conversation, "user", ".. !? a b")
	for _, q := range []string{"", " ", "..", "!?", "'", "\"", "\"\"", "\\", "&", "|", "!", ":*", "()", "( & )", "%", "_", "🏳", "\x00", "\u0301", "\u200b", "*", "--", "';"} {
		page, err := r.Search(r.ctx, store.SearchQuery{Text: q})
		if err != nil || page.Hits == nil || len(page.Hits) != 0 || page.Next != "" || !page.Back.IsZero() {
			t.Errorf("Search(%q) = %+v, %v", q, page, err)
		}
	}
	if page, err := r.Search(r.ctx, store.SearchQuery{Text: word()}); err != nil || page.Hits == nil || len(page.Hits) != 0 {
		t.Errorf("a search that finds nothing: %#v, %v", page, err)
	}
}

func anyQuery(t *testing.T, r *record) {
	conversation := r.create(t)
	for _, text := range hostile {
		r.add(t, conversation, "user", text)
	}
	r.drain(t)
	query := rapid.OneOf(rapid.String(), rapid.SampledFrom(hostile), rapid.StringOf(rapid.RuneFrom([]rune("ab:*&|!()<->'\"\\ \x00{},é日"))),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	check(t, 150, func(rt *rapid.T) {
		q := store.SearchQuery{Text: query.Draw(rt, "query"), Limit: rapid.IntRange(-1, 200).Draw(rt, "limit")}
		page, err := r.Search(r.ctx, q)
		hits := page.Hits
		if err != nil {
			rt.Fatalf("Search(%q): %v", q.Text, err)
		}
		if len(hits) > 100 {
			rt.Errorf("%d hits", len(hits))
		}
		for _, h := range hits {
			if text := cmp.Or(h.Content, h.Title); !store.NewMatcher(q.Text).Match(text) {
				rt.Errorf("%q finds %q", q.Text, text)
			}
		}
	})
}

// The index finds what the matcher, which looks at texts one by one, finds in them.
func likeTheMatcher(t *testing.T, r *record) {
	word := rapid.StringOfN(rapid.RuneFrom([]rune("abÀé日かк1.")), 1, 3, -1)
	words := rapid.Map(rapid.SliceOfN(word, 0, 4), func(list []string) string { return strings.Join(list, " ") })
	check(t, 25, func(rt *rapid.T) {
		conversation := r.create(rt)
		made := map[string]string{}
		for range rapid.IntRange(0, 6).Draw(rt, "messages") {
			text := words.Draw(rt, "text")
			made[r.add(rt, conversation, "user", text)] = text
			if rapid.Bool().Draw(rt, "index") {
				r.drain(rt)
			}
		}
		for range 5 {
			q := words.Draw(rt, "query")
			match := store.NewMatcher(q)
			var got, want []string
			for _, h := range r.search(rt, q) {
				if h.ConversationID == conversation {
					got = append(got, h.ID)
				}
			}
			for id, text := range made {
				if match.Match(text) {
					want = append(want, id)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if len(r.search(rt, q)) < 100 { // else others may have crowded ours out
				same(rt, fmt.Sprintf("%q finds in %q", q, made), got, want)
			}
		}
	})
}

func unlistedNotFound(t *testing.T, r *record) {
	mark := word()
	unlisted, listed, f := r.createWith(t, store.NewConversation{Unlisted: true}), r.create(t), r.join(t)
	r.add(t, unlisted, "user", mark)
	r.turn(t, store.NewResponse{Fence: f, Input: user(mark)}, mark)
	id := r.add(t, listed, "user", mark)
	r.indexed(t, func(state string) {
		same(t, "found, "+state, hitIDs(r.search(t, mark)), []string{id})
	})
}

func unlistedCrowdNothingOut(t *testing.T, r *record) {
	mark := word()
	listed, unlisted := r.create(t), r.createWith(t, store.NewConversation{Unlisted: true})
	id := r.add(t, listed, "user", mark)
	for range 30 {
		r.add(t, unlisted, "user", mark)
	}
	r.indexed(t, func(state string) {
		page, err := r.Search(r.ctx, store.SearchQuery{Text: mark, Limit: 20})
		hits := page.Hits
		if err != nil {
			t.Fatal(err)
		}
		same(t, "found behind unlisted ones, "+state, hitIDs(hits), []string{id})
	})
}

func longTextsCrowdNothingOut(t *testing.T, r *record) {
	conversation := r.create(t)
	mark := word()
	var want []string
	for range 3 {
		want = append(want, r.add(t, conversation, "user", "short "+mark))
	}
	var b strings.Builder
	for i := 0; b.Len() < 2<<20; i++ {
		fmt.Fprintf(&b, "%s%d ", mark, i)
	}
	want = append(want, r.add(t, conversation, "user", b.String()))
	slices.Reverse(want)
	r.indexed(t, func(state string) {
		page, err := r.Search(r.ctx, store.SearchQuery{Text: mark, Limit: 4})
		hits := page.Hits
		if err != nil {
			t.Fatal(err)
		}
		same(t, "found beside a long text, "+state, hitIDs(hits), want)
	})
}

func newestFirst(t *testing.T, r *record) {
	mark := word()
	conversations := []string{r.create(t), r.create(t)}
	var want []string
	for i := range 30 {
		want = append(want, r.add(t, conversations[i%2], "user", fmt.Sprint(mark, " ", i)))
		if i == 15 {
			r.drain(t) // the older half is in the index
		}
	}
	slices.Reverse(want)
	r.indexed(t, func(state string) {
		for limit, n := range map[int]int{0: 20, 1: 1, 7: 7, 25: 25, 100: 30, 1000: 30, -5: 20} {
			page, err := r.Search(r.ctx, store.SearchQuery{Text: mark, Limit: limit})
			hits := page.Hits
			if err != nil {
				t.Fatal(err)
			}
			same(t, fmt.Sprintf("with limit %d, %s", limit, state), hitIDs(hits), want[:n])
		}
	})
}

func hitSaysWhere(t *testing.T, r *record) {
	mark := word()
	conversation, f := r.createWith(t, store.NewConversation{Title: "A Title"}), r.join(t)
	long := strings.Repeat("filler ", 500)
	reply := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("ask " + mark), Model: "qwen3:8b"}, long+mark+" "+long)
	r.indexed(t, func(state string) {
		hits := r.search(t, mark)
		if len(hits) != 2 {
			t.Fatalf("%d hits, %s", len(hits), state)
		}
		answer, question := hits[0], hits[1]
		equal(t, "Title", answer.Title, "A Title")
		equal(t, "Model", answer.Model, "qwen3:8b")
		equal(t, "Model of the question", question.Model, "")
		equal(t, "ResponseID", answer.ResponseID, reply.ID)
		equal(t, "ConversationID", answer.ConversationID, conversation)
		equal(t, "Content", answer.Content, long+mark+" "+long)
		equal(t, "Excerpt of the question", question.Excerpt, "ask "+mark)
		equal(t, "the whole message", fmt.Sprintf("%+v", question.Message), fmt.Sprintf("%+v", r.message(t, conversation, question.ID)))
		if len(answer.Excerpt) > 400 || !strings.Contains(answer.Excerpt, mark) || !strings.HasPrefix(answer.Excerpt, "… ") || !strings.HasSuffix(answer.Excerpt, " …") {
			t.Errorf("the excerpt is %q", answer.Excerpt)
		}
	})
}

func indexingShared(t *testing.T, r *record) {
	mark := word()
	conversation := r.create(t)
	for range 100 {
		r.add(t, conversation, "user", mark)
	}
	var mu sync.Mutex
	sum := 0
	together(6, func(int) {
		for {
			n, err := r.IndexPending(r.ctx, 7)
			if err != nil {
				t.Errorf("IndexPending: %v", err)
			}
			if n == 0 {
				return
			}
			mu.Lock()
			sum += n
			mu.Unlock()
			if n > 7 {
				t.Errorf("took %d of at most 7", n)
			}
		}
	})
	r.drain(t)
	equal(t, "found", len(r.search(t, mark)), 100)
	n, err := r.IndexPending(r.ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d places of the queue taken, %d afterwards", sum, n)
}

func replyIsFound(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	mark, never := word(), word()
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	l := logOf(reply)
	l.item("reasoning", "summary_text", "I think of ", mark, "thought")
	l.item("message", "output_text", "It is ", mark[:5], mark[5:], ".")
	l.open("message")
	l.row(store.DeltaPart, 0, "", "output_text")
	l.row(store.DeltaText, 0, "", "cut off at "+mark)
	r.log(t, f, l.rows)
	same(t, "found while it runs", hitIDs(r.search(t, mark)), nil)
	r.finish(t, f, reply, store.ResponseIncomplete)
	r.indexed(t, func(state string) {
		equal(t, "found, "+state, len(r.search(t, mark)), 2) // what was said, not what was thought
		same(t, "found by a word of nobody, "+state, hitIDs(r.search(t, never)), nil)
	})
}

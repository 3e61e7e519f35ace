package storetest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

var pagingTests = []test{
	{"TheListInPagesIsTheWholeList", listInPages},
	{"AThreadInPagesIsTheWholeThread", threadInPages},
	{"AnyRangeOfAThread", threadRanges},
	{"ARangeWithNothingIn", emptyRanges},
}

func listInPages(t *testing.T, r *record) {
	check(t, 25, func(rt *rapid.T) {
		// A time of its own, so that nobody else's conversations lie between ours.
		from := time.Date(2300, 1, 1, 0, 0, rapid.IntRange(0, 1e6).Draw(rt, "second"), 0, time.UTC)
		unlisted := rapid.Bool().Draw(rt, "unlisted")
		at := map[string]time.Time{}
		for _, offset := range rapid.SliceOfN(rapid.IntRange(0, 3), 0, 12).Draw(rt, "microseconds") {
			id := r.createWith(rt, store.NewConversation{Unlisted: unlisted})
			at[id] = from.Add(time.Duration(offset) * time.Microsecond)
			r.engine.SetTimes(t, r.Store, id, at[id])
		}
		var want []string // latest first, then by id, the highest first
		for id := range at {
			want = append(want, id)
		}
		slices.SortFunc(want, func(a, b string) int {
			if c := at[b].Compare(at[a]); c != 0 {
				return c
			}
			return strings.Compare(b, a)
		})
		size := rapid.IntRange(1, 6).Draw(rt, "size")
		list := func(q store.ListQuery) store.ListPage {
			q.Limit, q.Unlisted = size, unlisted
			page, err := r.List(r.ctx, q)
			if err != nil {
				rt.Fatalf("List: %v", err)
			}
			if len(page.Conversations) > size || page.More && len(page.Conversations) != size {
				rt.Fatalf("a page of %d with %d conversations, More %v", size, len(page.Conversations), page.More)
			}
			for _, c := range page.Conversations {
				equal(rt, "Listed", c.Listed, !unlisted)
			}
			return page
		}
		ours := func(c store.ConversationSummary) bool { _, ok := at[c.ID]; return ok }

		after := &store.ListCursor{UpdatedAt: from.Add(time.Second), ID: "ffffffff-ffff-ffff-ffff-ffffffffffff"}
		var got []string
		for done := false; !done; {
			page := list(store.ListQuery{After: after})
			for _, c := range page.Conversations {
				cursor := c.Cursor()
				after = &cursor
				if done = !ours(c); done {
					break // somebody else's, older ones
				}
				got = append(got, c.ID)
			}
			done = done || !page.More
		}
		same(rt, "forward", got, want)

		before := &store.ListCursor{UpdatedAt: from.Add(-time.Second), ID: "00000000-0000-0000-0000-000000000000"}
		got = nil
		for done := false; !done; {
			page := list(store.ListQuery{Before: before})
			done = !page.More
			for _, c := range slices.Backward(page.Conversations) {
				cursor := c.Cursor()
				before = &cursor
				if done = done || !ours(c); !ours(c) {
					break
				}
				got = append(got, c.ID)
			}
		}
		slices.Reverse(got)
		same(rt, "backward", got, want)
	})
}

func threadInPages(t *testing.T, r *record) {
	f := r.join(t)
	check(t, 25, func(rt *rapid.T) {
		conversation := r.create(rt)
		messages := r.grow(rt, f, conversation, rapid.IntRange(0, 6).Draw(rt, "turns"))
		r.engine.SetTimes(t, r.Store, conversation, soon(0))
		if len(messages) == 0 {
			return
		}
		tip := messages[rapid.IntRange(0, len(messages)-1).Draw(rt, "tip")].Position
		q := store.ThreadQuery{ConversationID: conversation, Tip: &tip, Tombstones: rapid.Bool().Draw(rt, "tombstones")}
		want := r.thread(rt, q).Messages
		q.Limit = rapid.IntRange(1, 5).Draw(rt, "size")

		for _, newest := range []bool{false, true} {
			q.Newest, q.After, q.Before = newest, nil, nil
			var got []store.Message
			for {
				page := r.thread(rt, q)
				if len(page.Messages) > q.Limit || page.More && len(page.Messages) != q.Limit {
					rt.Fatalf("a page of %d with %d messages, More %v", q.Limit, len(page.Messages), page.More)
				}
				if newest {
					got = append(slices.Clone(page.Messages), got...)
				} else {
					got = append(got, page.Messages...)
				}
				if !page.More {
					break
				}
				if newest {
					q.Before = &page.Messages[0].Position
				} else {
					q.After = &page.Messages[len(page.Messages)-1].Position
				}
				// Meanwhile the conversation goes on, on this branch and others.
				r.grow(rt, f, conversation, rapid.IntRange(0, 1).Draw(rt, "turns meanwhile"))
			}
			same(rt, fmt.Sprintf("in pages, newest %v", newest), ids(got), ids(want))
		}
	})
}

// grow adds turns, appends and branches at random, and deletes a message now and then; it returns all rows.
func (r *record) grow(rt *rapid.T, f store.Fence, conversation string, turns int) []store.Message {
	var replies []string
	for range turns {
		n := store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")}
		if len(replies) > 0 && rapid.Bool().Draw(rt, "branch") {
			n.ConversationID, n.PreviousID = "", rapid.SampledFrom(replies).Draw(rt, "previous")
		}
		reply := r.start(rt, n)
		r.answer(rt, f, reply, make([]string, rapid.IntRange(0, 3).Draw(rt, "items"))...)
		replies = append(replies, reply.ID)
		if rapid.Bool().Draw(rt, "append") {
			r.fill(rt, conversation, 2)
		}
	}
	rows := r.all(rt, conversation)
	if len(rows) > 0 && turns > 1 && rapid.Bool().Draw(rt, "delete") {
		m := rapid.SampledFrom(rows).Draw(rt, "deleted")
		if m.Status != store.MessageDeleted {
			if err := r.DeleteMessage(r.ctx, conversation, m.ID); err != nil {
				rt.Fatalf("DeleteMessage: %v", err)
			}
		}
	}
	return rows
}

func threadRanges(t *testing.T, r *record) {
	f := r.join(t)
	check(t, 10, func(rt *rapid.T) {
		conversation := r.create(rt)
		rows := r.grow(rt, f, conversation, rapid.IntRange(1, 6).Draw(rt, "turns"))
		place := rapid.Custom(func(rt *rapid.T) store.Position {
			p := rapid.SampledFrom(rows).Draw(rt, "row").Position
			p.Seq += int64(rapid.IntRange(-1, 1).Draw(rt, "seq"))
			p.Idx = max(0, p.Idx+rapid.IntRange(-1, 1).Draw(rt, "idx"))
			return p
		})
		for range 10 {
			tip := rapid.SampledFrom(rows).Draw(rt, "tip").Position
			q := store.ThreadQuery{ConversationID: conversation, Tip: &tip, Tombstones: rapid.Bool().Draw(rt, "tombstones")}
			var want []store.Message
			all := r.thread(rt, q).Messages
			q.After = rapid.Ptr(place, true).Draw(rt, "after")
			q.Before = rapid.Ptr(place, true).Draw(rt, "before")
			q.Limit = rapid.IntRange(0, 4).Draw(rt, "limit")
			q.Newest = rapid.Bool().Draw(rt, "newest")
			for _, m := range all {
				if (q.After == nil || q.After.Before(m.Position)) && (q.Before == nil || m.Position.Before(*q.Before)) {
					want = append(want, m)
				}
			}
			more := q.Limit > 0 && len(want) > q.Limit
			if more && q.Newest {
				want = want[len(want)-q.Limit:]
			} else if more {
				want = want[:q.Limit]
			}
			page := r.thread(rt, q)
			same(rt, fmt.Sprintf("the range %+v", q), ids(page.Messages), ids(want))
			equal(rt, "More", page.More, more)
		}
	})
}

func emptyRanges(t *testing.T, r *record) {
	conversation := r.create(t)
	r.fill(t, conversation, 5)
	at := func(seq int64) *store.Position { return &store.Position{Seq: seq} }
	for name, q := range map[string]store.ThreadQuery{
		"after the last":    {After: at(5)},
		"before the first":  {Before: at(1)},
		"between two":       {After: at(2), Before: at(3)},
		"turned round":      {After: at(4), Before: at(2)},
		"up to nothing":     {Tip: at(0)},
		"far after":         {After: at(1 << 62), Newest: true},
		"after a whole seq": {After: &store.Position{Seq: 5, Idx: math.MaxInt32}},
	} {
		for _, limit := range []int{0, 1, 100} {
			q.ConversationID, q.Limit = conversation, limit
			if page := r.thread(t, q); len(page.Messages) != 0 || page.More {
				t.Errorf("%s: %+v", name, page)
			}
		}
	}
}

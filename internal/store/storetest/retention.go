package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

var retentionTests = []test{
	{"TheOldestComesFirst", expiredInOrder},
	{"WhatIsPinnedWrittenOrNewStays", expiredNot},
	{"ItIsErased", expiredErased},
	{"OfManyServersOneErases", expiredOnce},
}

// longAgo is before everything that other tests write.
var longAgo = time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)

// old makes a conversation in which nothing was said since days after longAgo.
func (r *record) old(t *testing.T, days int, c store.NewConversation) string {
	t.Helper()
	id := r.createWith(t, c)
	r.add(t, id, "user", "old")
	r.engine.SetTimes(t, r.Store, id, longAgo.AddDate(0, 0, days))
	return id
}

// expired are those of ids that have expired by days after longAgo, in the order in which they are given.
func (r *record) expired(t *testing.T, days, limit int, ids ...string) (list []string) {
	t.Helper()
	found, err := r.Expired(r.ctx, longAgo.AddDate(0, 0, days), limit)
	if err != nil {
		t.Fatalf("Expired: %v", err)
	}
	for _, c := range found {
		for _, id := range ids {
			if c.ID == id {
				list = append(list, id)
			}
		}
	}
	return list
}

func expiredInOrder(t *testing.T, r *record) {
	archived := true
	third, first := r.old(t, 3, store.NewConversation{}), r.old(t, 1, store.NewConversation{Unlisted: true})
	fourth, second := r.old(t, 4, store.NewConversation{Unlisted: true}), r.old(t, 2, store.NewConversation{Title: "T"})
	for _, id := range []string{second, fourth} {
		if _, err := r.UpdateConversation(r.ctx, id, store.ConversationChange{Archived: &archived}); err != nil {
			t.Fatal(err)
		}
	}
	all := []string{first, second, third, fourth}
	same(t, "expired", r.expired(t, 10, 100, all...), all)
	same(t, "of them before the fourth day", r.expired(t, 4, 100, all...), all[:3])
	same(t, "the first two", r.expired(t, 10, 2, all...), all[:2])
	same(t, "on the first day", r.expired(t, 1, 100, all...), nil)
	found, err := r.Expired(r.ctx, longAgo.AddDate(0, 0, 10), 100)
	if err != nil || found[1].Title != "T" || found[1].MessageCount != 1 || !found[1].Archived {
		t.Errorf("%+v, %v", found, err)
	}
}

func expiredNot(t *testing.T, r *record) {
	f, pinned := r.join(t), true
	pin, written, woken, fresh := r.old(t, 1, store.NewConversation{}), r.old(t, 1, store.NewConversation{}), r.old(t, 1, store.NewConversation{}), r.create(t)
	all := []string{pin, written, woken, fresh}
	equal(t, "expired", len(r.expired(t, 10, 100, all...)), 3)
	if _, err := r.UpdateConversation(r.ctx, pin, store.ConversationChange{Pinned: &pinned}); err != nil {
		t.Fatal(err)
	}
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: written, Input: user("q")})
	r.engine.SetTimes(t, r.Store, written, longAgo)
	r.add(t, woken, "user", "new")
	same(t, "expired", r.expired(t, 10, 100, all...), nil)
	for _, id := range append(all, store.NewID(), "x") {
		fails(t, "DeleteExpired", r.DeleteExpired(r.ctx, id, longAgo.AddDate(0, 0, 10)), store.ErrNotFound)
	}
	for _, id := range all {
		r.summary(t, id)
	}
	r.finish(t, f, reply, store.ResponseFailed)
	r.engine.SetTimes(t, r.Store, written, longAgo)
	same(t, "once it is written", r.expired(t, 10, 100, all...), []string{written})
	r.whole(t, woken, 0)
}

func expiredErased(t *testing.T, r *record) {
	for _, drained := range []bool{false, true} {
		mark, f := word(), r.join(t)
		conversation, message, reply := r.talk(t, f, mark)
		r.engine.SetTimes(t, r.Store, conversation, longAgo)
		if drained {
			r.drain(t)
		}
		if err := r.DeleteExpired(r.ctx, conversation, longAgo.AddDate(0, 0, 10)); err != nil {
			t.Fatal(err)
		}
		r.drain(t)
		r.gone(t, r.places(t), "in the end", mark, conversation, message, reply.ID)
	}
}

func expiredOnce(t *testing.T, r *record) {
	for range times(5) {
		id := r.old(t, 1, store.NewConversation{})
		var mu sync.Mutex
		won, woken := 0, false
		together(6, func(i int) {
			var err error
			if i == 0 {
				_, err = r.AddMessage(r.ctx, id, "user", "awake")
			} else {
				err = r.DeleteExpired(r.ctx, id, longAgo.AddDate(0, 0, 10))
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && i == 0:
				woken = true
			case err == nil:
				won++
			case !errors.Is(err, store.ErrNotFound):
				t.Errorf("call %d: %v", i, err)
			}
		})
		if woken == (won > 0) || won > 1 {
			t.Errorf("%d erased it, and it woke: %v", won, woken)
		}
		if woken {
			equal(t, "messages", r.summary(t, id).MessageCount, 2)
		}
	}
}

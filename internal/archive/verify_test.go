package archive_test

import (
	"context"
	"testing"

	"git.georgsen.dk/hwlab/internal/archive"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// What a record holds that was only used is whole: replies that said nothing, there and deleted, messages deleted, branches.
func TestWhatWasOnlyUsedIsWhole(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, r testrecord.Record) {
		ctx := t.Context()
		f, err := r.JoinServer(ctx, store.NewID())
		if err != nil {
			t.Fatal(err)
		}
		reply := func(n store.NewResponse, deltas ...store.Delta) store.Response {
			t.Helper()
			n.Fence, n.Model = f, "m"
			p, err := r.StartResponse(ctx, n)
			if err != nil {
				t.Fatal(err)
			}
			for i := range deltas {
				deltas[i].ResponseID, deltas[i].ConversationID, deltas[i].N = p.ID, p.ConversationID, i
			}
			if err := r.AppendDeltas(ctx, f, deltas); err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.FinishResponse(ctx, store.Finish{Fence: f, ConversationID: p.ConversationID, ResponseID: p.ID, Status: store.ResponseFailed}); err != nil {
				t.Fatal(err)
			}
			return p
		}
		words := func() []store.Delta {
			return []store.Delta{{Kind: store.DeltaItem, ItemID: store.NewID(), Text: "message"}, {Kind: store.DeltaPart, Text: "output_text"}, {Kind: store.DeltaText, Text: "words"}}
		}
		remove := func(p store.Response) {
			t.Helper()
			if _, err := r.DeleteResponse(ctx, p.ID); err != nil {
				t.Fatal(err)
			}
		}
		id, err := r.CreateConversation(ctx, "m")
		if err != nil {
			t.Fatal(err)
		}
		in := []store.NewMessage{{Role: "user", Content: "question"}}
		first := reply(store.NewResponse{ConversationID: id, Input: in})
		remove(reply(store.NewResponse{ConversationID: id, Input: in})) // said nothing
		said := reply(store.NewResponse{ConversationID: id, Input: in}, words()...)
		again := reply(store.NewResponse{PreviousID: said.ID}, words()...) // a branch
		remove(reply(store.NewResponse{PreviousID: said.ID}))
		remove(said)
		reply(store.NewResponse{PreviousID: first.ID, Input: in}, words()...)
		reply(store.NewResponse{PreviousID: again.ID, Input: in})
		remove(reply(store.NewResponse{ConversationID: id, Input: in})) // at the end
		messages, err := r.Thread(ctx, store.ThreadQuery{ConversationID: id})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.DeleteMessage(ctx, id, messages.Messages[1].ID); err != nil {
			t.Fatal(err)
		}
		unlisted := reply(store.NewResponse{Input: in}, words()...)
		remove(reply(store.NewResponse{PreviousID: unlisted.ID, Input: in}))
		remove(reply(store.NewResponse{PreviousID: unlisted.ID, Input: in}, words()...))

		n, err := archive.Verify(context.WithoutCancel(ctx), r.(archive.Verifiable), func() (bool, error) { return false, nil },
			func(text string) { t.Error(text) }, func(archive.Counts) {})
		if err != nil || n.Conversations != 2 {
			t.Errorf("%+v, %v", n, err)
		}
	})
}

//go:build integration

package store_test

import (
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
)

// BenchmarkLongReply writes a reply of 4,000 words, each committed by itself: the write-ahead log that a word takes among the
// last 500, over that of the first 500.
func BenchmarkLongReply(b *testing.B) {
	p := newPair(b)
	ctx := b.Context()
	fence, err := p.record.JoinServer(ctx, store.NewID())
	if err != nil {
		b.Fatal(err)
	}
	written := func() (bytes int64) {
		if err := p.record.Pool().QueryRow(ctx, `SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn`).Scan(&bytes); err != nil {
			b.Fatal(err)
		}
		return bytes
	}
	for b.Loop() {
		r, err := p.record.StartResponse(ctx, store.NewResponse{ID: store.NewID(), Fence: fence, Model: "m",
			Input: []store.NewMessage{{Role: "user", Content: "go on"}}})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		add := func(d store.Delta) {
			d.ResponseID, d.ConversationID, d.N = r.ID, r.ConversationID, n
			n++
			if err := p.record.AppendDeltas(ctx, fence, []store.Delta{d}); err != nil {
				b.Fatal(err)
			}
		}
		// A page that changes for the first time after a checkpoint is logged whole, which says nothing about the reply.
		if _, err := p.record.Pool().Exec(ctx, `CHECKPOINT`); err != nil {
			b.Fatal(err)
		}
		add(store.Delta{Kind: store.DeltaItem, ItemID: store.NewID(), Text: "message"})
		add(store.Delta{Kind: store.DeltaPart, Text: "output_text"})
		const words, some = 4000, 500
		at := []int64{written()}
		for i := range words {
			add(store.Delta{Kind: store.DeltaText, Text: text(5)})
			if (i+1)%some == 0 {
				at = append(at, written())
			}
		}
		first, last := at[1]-at[0], at[len(at)-1]-at[len(at)-2]
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(first)/some, "B/word-first")
		b.ReportMetric(float64(last)/some, "B/word-last")
		b.ReportMetric(float64(last)/float64(first), "last/first")
		if _, err := p.record.FinishResponse(ctx, store.Finish{Fence: fence, ConversationID: r.ConversationID, ResponseID: r.ID,
			Status: store.ResponseCompleted}); err != nil {
			b.Fatal(err)
		}
	}
}

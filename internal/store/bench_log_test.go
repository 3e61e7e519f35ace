//go:build integration

package store_test

import (
	"syscall"
	"testing"
	"time"

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
		if _, _, err := p.record.FinishResponse(ctx, store.Finish{Fence: fence, ConversationID: r.ConversationID, ResponseID: r.ID,
			Status: store.ResponseCompleted}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCrowd writes a row of each of a thousand running replies and reads them for a reader each, a hundred times.
func BenchmarkCrowd(b *testing.B) {
	const replies, flushes = 1000, 100
	p := newPair(b)
	ctx := b.Context()
	fence, err := p.record.JoinServer(ctx, store.NewID())
	if err != nil {
		b.Fatal(err)
	}
	var running []store.Response
	for range replies {
		r, err := p.record.StartResponse(ctx, store.NewResponse{ID: store.NewID(), Fence: fence, Model: "m",
			Input: []store.NewMessage{{Role: "user", Content: "go on"}}})
		if err != nil {
			b.Fatal(err)
		}
		running = append(running, r)
	}
	n := 0
	var appends, reads, ours time.Duration
	for b.Loop() {
		for range flushes {
			rows, tails := make([]store.Delta, replies), make([]store.Tail, replies)
			for i, r := range running {
				rows[i] = store.Delta{ResponseID: r.ID, ConversationID: r.ConversationID, N: n, Kind: store.DeltaText, Text: text(10)}
				tails[i] = store.Tail{ResponseID: r.ID, From: n}
			}
			n++
			used, begun := processorTime(), time.Now()
			if err := p.record.AppendDeltas(ctx, fence, rows); err != nil {
				b.Fatal(err)
			}
			appended := time.Now()
			found, err := p.record.ReadTails(ctx, tails)
			if err != nil {
				b.Fatal(err)
			}
			appends, reads, ours = appends+appended.Sub(begun), reads+time.Since(appended), ours+processorTime()-used
			for _, f := range found {
				if len(f.Deltas) != 1 {
					b.Fatalf("%d rows", len(f.Deltas))
				}
			}
		}
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n*replies) }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(each(appends), "µs/row-append")
	b.ReportMetric(each(reads), "µs/row-read")
	b.ReportMetric(each(ours), "µs/row-processor")
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

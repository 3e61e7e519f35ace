package chaos

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// Flushes, the model's end, a cancellation, a takeover by another server and the owner's own restart race for one reply, while
// readers follow it.
func TestEndsRace(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		testEndsRace(t, testrecord.SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		testEndsRace(t, testrecord.PostgresAt(t, sharedURL(t)))
	})
}

// race is one reply and what happens to it.
type race struct {
	*rapid.T
	testrecord.Record
	mine, theirs store.Fence // the owner's and the other server's
	reply        store.Response
	ends         sync.Map // *store.Response each, as those who ended it were told
}

func testEndsRace(t *testing.T, record testrecord.Record) {
	theirs, err := record.JoinServer(t.Context(), store.NewID())
	must(t, err)
	rapid.Check(t, func(rt *rapid.T) {
		mine, err := record.JoinServer(t.Context(), store.NewID())
		if err != nil {
			rt.Fatal(err)
		}
		r := &race{T: rt, Record: record, mine: mine, theirs: theirs}
		r.reply, err = record.StartResponse(t.Context(), store.NewResponse{Fence: mine, Model: "m", Input: []store.NewMessage{{Role: "user", Content: "q"}}})
		if err != nil {
			rt.Fatal(err)
		}
		r.run(t)
	})
}

func (r *race) run(t *testing.T) {
	moment := func(name string) time.Duration {
		return time.Duration(rapid.IntRange(0, 8000).Draw(r.T, name)) * time.Microsecond
	}
	var work sync.WaitGroup
	after := func(name string, do func()) {
		pause := time.NewTimer(moment(name))
		work.Go(func() {
			<-pause.C
			do()
		})
	}
	batches := rapid.SliceOfN(rapid.IntRange(1, 4), 1, 8).Draw(r.T, "batches")
	twice := rapid.IntRange(0, len(batches)).Draw(r.T, "sent twice")
	gap := moment("gap") / 8

	var readers [3]string
	var seen [3]store.Response
	for i := range readers {
		work.Go(func() {
			for from := 0; ; {
				reply, deltas, err := r.ReadLog(t.Context(), r.reply.ID, from)
				if err != nil {
					r.Errorf("ReadLog: %v", err)
					return
				}
				readers[i], from = readers[i]+text(deltas), from+len(deltas)
				if reply.Ended() {
					seen[i] = reply
					return
				}
			}
		})
	}
	cancelled := make(chan struct{})
	if rapid.Bool().Draw(r.T, "somebody cancels") {
		after("the cancellation", func() {
			if err := r.RequestCancel(t.Context(), r.reply.ID); err != nil {
				r.Errorf("RequestCancel: %v", err)
			}
			close(cancelled)
		})
	}
	if rapid.Bool().Draw(r.T, "another server takes over") {
		after("the takeover", func() {
			done, err := r.FenceOff(t.Context(), store.Server{ID: r.mine.ServerID, Epoch: r.mine.Epoch})
			if err != nil {
				r.Errorf("FenceOff: %v", err)
			}
			if done { // else the owner has started again
				r.end(t, r.theirs, store.ResponseIncomplete)
			}
		})
	}
	if rapid.Bool().Draw(r.T, "the owner starts again") {
		after("the start", func() {
			again, err := r.JoinServer(t.Context(), r.mine.ServerID)
			if err != nil {
				r.Errorf("JoinServer: %v", err)
				return
			}
			r.end(t, again, store.ResponseIncomplete)
		})
	}
	work.Go(func() { // the owner
		n := 0
		var last sync.WaitGroup
		defer last.Wait()
		status := store.ResponseCompleted
		for i, size := range batches {
			rows := r.rows(&n, size)
			flush := func() error { return r.AppendDeltas(t.Context(), r.mine, rows) }
			if i == twice { // as after an outcome that is not known
				last.Go(func() {
					if err := flush(); err != nil && !errors.Is(err, store.ErrFenced) {
						r.Errorf("AppendDeltas: %v", err)
					}
				})
			}
			if err := flush(); errors.Is(err, store.ErrFenced) {
				return
			} else if err != nil {
				r.Errorf("AppendDeltas: %v", err)
				return
			}
			pause := time.NewTimer(gap)
			select {
			case <-cancelled:
				status = store.ResponseCancelled
			case <-pause.C:
			}
			if status == store.ResponseCancelled {
				break
			}
		}
		r.end(t, r.mine, status)
	})
	work.Wait()
	if r.Failed() {
		return
	}

	// Had the owner been fenced off before its end and nobody settled it, the readers would still be here.
	kept, deltas, err := r.ReadLog(t.Context(), r.reply.ID, 0)
	if err != nil || !kept.Ended() {
		r.Fatalf("it is %+v, %v", kept, err)
	}
	for i := range readers {
		if readers[i] != text(deltas) {
			r.Fatalf("a reader was shown %q, kept is %q", readers[i], text(deltas))
		}
		if seen[i].Status != kept.Status || !seen[i].EndedAt.Equal(kept.EndedAt) {
			r.Fatalf("a reader saw the end %+v, kept is %+v", seen[i], kept)
		}
	}
	r.ends.Range(func(_, value any) bool {
		if told := value.(store.Response); told.Status != kept.Status || !told.EndedAt.Equal(kept.EndedAt) {
			r.Fatalf("who ended it was told %+v, kept is %+v", told, kept)
		}
		return true
	})
	c, err := r.GetConversation(t.Context(), kept.ConversationID)
	if err != nil {
		r.Fatal(err)
	}
	written := ""
	for _, m := range c.Messages[1:] {
		written += m.Content
	}
	if written != text(deltas) {
		r.Fatalf("the conversation has %q, the log %q", written, text(deltas))
	}
}

// end ends the reply, unless the fence has fallen.
func (r *race) end(t *testing.T, f store.Fence, status store.ResponseStatus) {
	reply, _, err := r.FinishResponse(t.Context(), store.Finish{Fence: f, ConversationID: r.reply.ConversationID, ResponseID: r.reply.ID, Status: status})
	switch {
	case err == nil:
		r.ends.Store(new(int), reply)
	case !errors.Is(err, store.ErrFenced):
		r.Errorf("FinishResponse: %v", err)
	}
}

// rows are the next rows of the log. The first open the message.
func (r *race) rows(n *int, size int) []store.Delta {
	var rows []store.Delta
	add := func(d store.Delta) {
		d.ResponseID, d.ConversationID, d.N = r.reply.ID, r.reply.ConversationID, *n
		rows = append(rows, d)
		*n++
	}
	if *n == 0 {
		add(store.Delta{Kind: store.DeltaItem, ItemID: store.NewID(), Text: "message"})
		add(store.Delta{Kind: store.DeltaPart, Text: "output_text"})
	}
	for range size {
		add(store.Delta{Kind: store.DeltaText, Text: fmt.Sprintf("%d→ ", *n)})
	}
	return rows
}

// text is the text in rows of a log.
func text(deltas []store.Delta) string {
	var all strings.Builder
	for _, d := range deltas {
		if d.Kind == store.DeltaText {
			all.WriteString(d.Text)
		}
	}
	return all.String()
}

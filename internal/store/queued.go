package store

import (
	"context"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
)

// queuedTexts are the texts that waited to be indexed when last a search was made here, folded: who types searches again and again.
// They only say which texts a search need not read, so what was erased since or is not listed is not found by them. A text never
// changes, and one that is erased and comes back, by an import, is queued again: they go by their numbers in the queue.
type queuedTexts struct {
	mu    sync.Mutex
	texts map[int64]queuedText
}

type queuedText struct {
	Place
	folded string
}

// maxQueuedTexts is how many bytes of them are kept. Other texts are read by each search.
const maxQueuedTexts = 16 << 20

// after returns those of the queue that hold match's terms and come after a place, newest first.
func (q *queuedTexts) after(ctx context.Context, tx pgx.Tx, match Matcher, place Place) ([]Text, error) {
	rows, err := tx.Query(ctx, `SELECT id FROM search_queue ORDER BY id DESC LIMIT $1::int`, searchQueued)
	if err != nil {
		return nil, err
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	known := q.texts
	q.mu.Unlock()
	var list []Text
	look := func(t queuedText) {
		if place.Before(t.Place) && match.in(t.folded) {
			list = append(list, Text{Place: t.Place})
		}
	}
	seen, size := 0, 0
	var unknown []int64
	for _, n := range numbers {
		if t, ok := known[n]; ok {
			seen, size = seen+1, size+len(t.folded)
			look(t)
		} else {
			unknown = append(unknown, n)
		}
	}
	if len(unknown) > 0 || seen < len(known) {
		kept := make(map[int64]queuedText, len(numbers)) // what is in the queue no more goes
		for _, n := range numbers {
			if t, ok := known[n]; ok {
				kept[n] = t
			}
		}
		rows, err := tx.Query(ctx, `SELECT q.id, m.id, m.created_at, m.content FROM unnest($1::bigint[]) u(id) JOIN search_queue q USING (id)
			JOIN messages m ON m.id = q.message_id WHERE m.status <> 'deleted'`, unknown)
		if err != nil {
			return nil, err
		}
		var number int64
		var t queuedText
		var content string
		if _, err := pgx.ForEachRow(rows, []any{&number, (*uuidText)(&t.ID), &t.At, &content}, func() error {
			t.folded = fold(content)
			if size+len(t.folded) <= maxQueuedTexts {
				kept[number], size = t, size+len(t.folded)
			}
			look(t)
			return nil
		}); err != nil {
			return nil, err
		}
		q.mu.Lock()
		q.texts = kept
		q.mu.Unlock()
	}
	slices.SortFunc(list, newestFirst)
	return slices.CompactFunc(list, func(a, b Text) bool { return a.ID == b.ID }), nil // one may be queued twice
}

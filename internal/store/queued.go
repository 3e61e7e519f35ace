package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// queuedTexts are the texts that waited to be indexed when last a search was made here, folded: who types searches again and again.
// They only say which texts a search need not read. A text never changes, so nothing can be missed by them, and what was erased since
// or is not listed is not found by them.
type queuedTexts struct {
	mu    sync.Mutex
	texts map[uuid.UUID]queuedText
}

type queuedText struct {
	at     time.Time
	folded string
}

// maxQueuedTexts is how many bytes of them are kept. Other texts are read by each search.
const maxQueuedTexts = 16 << 20

// after returns those of the queue that hold match's terms and come after a place, newest first.
func (q *queuedTexts) after(ctx context.Context, tx pgx.Tx, match Matcher, place Place) ([]Text, error) {
	rows, err := tx.Query(ctx, `SELECT message_id FROM search_queue ORDER BY id DESC LIMIT $1::int`, searchQueued)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	known := q.texts
	q.mu.Unlock()
	var list []Text
	look := func(id uuid.UUID, t queuedText) {
		if match.in(t.folded) {
			list = append(list, Text{Place: Place{t.at, id.String()}})
		}
	}
	size := 0
	var unknown []uuid.UUID
	for _, id := range ids {
		if t, ok := known[id]; ok {
			size += len(t.folded)
			look(id, t)
		} else {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		kept := make(map[uuid.UUID]queuedText, len(ids)) // what is in the queue no more goes
		for _, id := range ids {
			if t, ok := known[id]; ok {
				kept[id] = t
			}
		}
		rows, err := tx.Query(ctx, `SELECT id, created_at, content FROM unnest($1::uuid[]) u(id) JOIN messages USING (id) WHERE status <> 'deleted'`, unknown)
		if err != nil {
			return nil, err
		}
		var id uuid.UUID
		var at time.Time
		var content string
		if _, err := pgx.ForEachRow(rows, []any{&id, &at, &content}, func() error {
			t := queuedText{at, fold(content)}
			if size+len(t.folded) <= maxQueuedTexts {
				kept[id], size = t, size+len(t.folded)
			}
			look(id, t)
			return nil
		}); err != nil {
			return nil, err
		}
		q.mu.Lock()
		q.texts = kept
		q.mu.Unlock()
	}
	list = slices.DeleteFunc(list, func(t Text) bool { return !place.Before(t.Place) })
	slices.SortFunc(list, newestFirst)
	return list, nil
}

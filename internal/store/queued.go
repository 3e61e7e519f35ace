package store

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
)

// queuedTexts are the texts that waited to be indexed when last a search was made here, folded: who types searches again and again.
// They only say which texts a search need not read, so what was erased since is not found by them. A text never
// changes, and one that is erased and comes back, by an import, is queued again: they go by their numbers in the queue.
type queuedTexts struct {
	mu    sync.Mutex
	of    queueState
	all   bool // these are all of that state
	texts []queuedText
}

type queuedText struct {
	number int64
	Place
	folded string
}

// queueState tells one state of the queue from another: how many numbers it has, and sums of them.
type queueState struct{ count, sum, hash int64 }

// maxQueuedTexts is how many bytes of them are kept. Other texts are read by each search.
const maxQueuedTexts = 16 << 20

// after yields those of the queue that hold match's terms and come after a place, newest first.
func (q *queuedTexts) after(ctx context.Context, tx pgx.Tx, match Matcher, place Place) (iter.Seq[Text], error) {
	var now queueState
	if err := tx.QueryRow(ctx, `SELECT count(*), coalesce(sum(id), 0)::bigint, coalesce(sum(hashint8(id)), 0)::bigint
		FROM (SELECT id FROM search_queue ORDER BY id DESC LIMIT $1::int) q`, searchQueued).Scan(&now.count, &now.sum, &now.hash); err != nil {
		return nil, err
	}
	q.mu.Lock()
	known, all := q.texts, q.all && q.of == now
	q.mu.Unlock()
	if !all {
		var err error
		if known, err = q.read(ctx, tx, known, now); err != nil {
			return nil, err
		}
	}
	return func(yield func(Text) bool) {
		last := "" // what is queued twice comes twice
		for _, t := range known {
			if t.ID == last || !place.Before(t.Place) || !match.in(t.folded) {
				continue
			}
			if last = t.ID; !yield(Text{Place: t.Place}) {
				return
			}
		}
	}, nil
}

// read returns the texts of the queue, newest first, of which some are known, and keeps them.
func (q *queuedTexts) read(ctx context.Context, tx pgx.Tx, known []queuedText, now queueState) ([]queuedText, error) {
	rows, err := tx.Query(ctx, `SELECT id FROM search_queue ORDER BY id DESC LIMIT $1::int`, searchQueued)
	if err != nil {
		return nil, err
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	unknown := make(map[int64]struct{}, len(numbers))
	for _, n := range numbers {
		unknown[n] = struct{}{}
	}
	var texts []queuedText
	for _, t := range known {
		if _, ok := unknown[t.number]; ok {
			texts = append(texts, t)
			delete(unknown, t.number)
		}
	}
	rows, err = tx.Query(ctx, `SELECT q.id, m.id, m.created_at, m.content FROM unnest($1::bigint[]) u(id) JOIN search_queue q USING (id)
		JOIN messages m ON m.id = q.message_id JOIN conversations c ON c.id = m.conversation_id AND c.listed WHERE m.status <> 'deleted'`, slices.Collect(maps.Keys(unknown)))
	if err != nil {
		return nil, err
	}
	var t queuedText
	var content string
	if _, err := pgx.ForEachRow(rows, []any{&t.number, (*uuidText)(&t.ID), &t.At, &content}, func() error {
		t.folded = strings.Clone(fold(content)) // without the room that it did not need
		texts = append(texts, t)
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(texts, func(a, b queuedText) int { return newestFirst(Text{Place: a.Place}, Text{Place: b.Place}) })
	kept, size := 0, 0
	for ; kept < len(texts) && size+len(texts[kept].folded) <= maxQueuedTexts; kept++ {
		size += len(texts[kept].folded)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.of, q.all, q.texts = now, kept == len(texts), slices.Clone(texts[:kept])
	return texts, nil
}

package store

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Unindexed returns up to limit messages that a search cannot find by their words: they are not in the queue, and neither in the index
// as they are nor are all their words in the list of words. A title is a message without an id.
func (s *Store) Unindexed(ctx context.Context, limit int) ([]Message, error) {
	var list []Message
	// A message moves from the queue to the index in one step.
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT coalesce(array_agg(word), '{}') FROM (SELECT word FROM ts_stat('SELECT words FROM search_index WHERE version > 0')
			WHERE word COLLATE "C" !~ '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]' -- pairs are not in the list
			EXCEPT SELECT word FROM search_words) w`)
		if err != nil {
			return err
		}
		missing, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]string])
		if err != nil {
			return err
		}
		lost := map[string]bool{}
		for _, word := range missing {
			lost[word] = true
		}
		unfound := func(text string, indexed, version *int64) bool {
			words := IndexWords(text)
			if len(words) == 0 {
				return false
			}
			want := len(words)
			if indexed != nil && *version > 1 {
				want += len(IndexPairs(text))
			}
			if indexed == nil || *version > 0 && *indexed != int64(want) { // an older server has other words
				return true
			}
			return slices.ContainsFunc(words, func(word string) bool { return lost[word] })
		}
		rows, err = tx.Query(ctx, `SELECT `+messageColumns+`, i.words, i.version FROM messages m
			LEFT JOIN (SELECT message_id, sum(length(words)) AS words, min(version)::bigint AS version FROM search_index GROUP BY message_id) i ON i.message_id = m.id
			WHERE status <> 'deleted' AND content <> ''
			AND EXISTS (SELECT FROM conversations c WHERE c.id = m.conversation_id AND c.listed) -- no others are searched
			AND NOT EXISTS (SELECT FROM search_queue q WHERE q.message_id = m.id)`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() && len(list) < limit {
			var indexed, version *int64
			m, err := scanMessageAnd(rows, &indexed, &version)
			if err != nil {
				return err
			}
			if unfound(m.Content, indexed, version) {
				list = append(list, m)
			}
		}
		rows.Close()
		if rows.Err() != nil {
			return rows.Err()
		}
		rows, err = tx.Query(ctx, `SELECT c.id::text, c.title, i.words, i.version FROM conversations c
			CROSS JOIN LATERAL (SELECT sum(length(words)) AS words, min(version)::bigint AS version FROM search_index WHERE conversation_id = c.id AND message_id = c.id) i
			WHERE c.listed AND c.title <> '' AND NOT EXISTS (SELECT FROM search_titles q WHERE q.conversation_id = c.id)`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() && len(list) < limit {
			var indexed, version *int64
			var m Message
			if err := rows.Scan(&m.ConversationID, &m.Content, &indexed, &version); err != nil {
				return err
			}
			if unfound(m.Content, indexed, version) {
				list = append(list, m)
			}
		}
		rows.Close()
		return rows.Err()
	})
	if err != nil {
		return nil, Wrap("verify the index", err)
	}
	return list, nil
}

// Leftovers returns up to limit of what is there and belongs to nothing, in words: what a deletion or the end of a reply should have taken
// along. A server removes what it wrote of a reply that was deleted meanwhile, shortly after.
func (s *Store) Leftovers(ctx context.Context, limit int) ([]string, error) {
	rows, err := s.pool.Query(ctx, `(SELECT 'message ' || id || ' is of conversation ' || conversation_id || ', which is not there' FROM messages m
			WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.id = m.conversation_id) LIMIT $1::int)
		UNION ALL (SELECT 'reply ' || id || ' is of conversation ' || conversation_id || ', which is not there' FROM responses r
			WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.id = r.conversation_id) LIMIT $1::int)
		UNION ALL (SELECT DISTINCT 'reply ' || response_id || ', which is not being written, has text in the log of those that are' FROM response_deltas d
			WHERE NOT EXISTS (SELECT FROM responses r WHERE r.id = d.response_id AND r.ended_at IS NULL) LIMIT $1::int) LIMIT $1::int`, limit)
	if err != nil {
		return nil, Wrap("verify", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, Wrap("verify", err)
	}
	return list, nil
}

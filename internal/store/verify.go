package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Unindexed returns up to limit messages that a search cannot find by their words: they are neither in the index nor in the queue.
func (s *Store) Unindexed(ctx context.Context, limit int) ([]Message, error) {
	var list []Message
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Of one statement, as a message moves from the queue to the index in one.
		rows, err := tx.Query(ctx, `SELECT `+messageColumns+` FROM messages m WHERE status <> 'deleted' AND content <> ''
			AND EXISTS (SELECT FROM conversations c WHERE c.id = m.conversation_id AND c.listed) -- no others are searched
			AND NOT EXISTS (SELECT FROM search_index i WHERE i.conversation_id = m.conversation_id AND i.message_id = m.id)
			AND NOT EXISTS (SELECT FROM search_queue q WHERE q.message_id = m.id)`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() && len(list) < limit {
			m, err := scanMessage(rows)
			if err != nil {
				return err
			}
			if len(IndexWords(m.Content)) > 0 {
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

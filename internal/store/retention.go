package store

import (
	"context"
	"time"
)

// Expired returns up to limit conversations, listed or not, in which nothing was said since before, the oldest activity first;
// none is an empty list. Pinned ones and those in which a reply is being written do not expire.
func (s *Store) Expired(ctx context.Context, before time.Time, limit int) ([]ConversationSummary, error) {
	// The index of the list has four parts, each in the order that is wanted.
	rows, err := s.pool.Query(ctx, `SELECT c.*, NULL::uuid FROM (VALUES (true, false), (true, true), (false, false), (false, true)) part(listed, archived),
		LATERAL (SELECT `+summaryColumns+` FROM conversations WHERE listed = part.listed AND archived = part.archived AND updated_at < $1::timestamptz AND `+expires+`
		          ORDER BY updated_at, id LIMIT $2::int) c
		ORDER BY c.updated_at, c.id LIMIT $2::int`, before, limit)
	if err != nil {
		return nil, Wrap("expired", err)
	}
	list, err := collectSummaries(rows, 0)
	if err != nil {
		return nil, Wrap("expired", err)
	}
	return list, nil
}

// expires is the condition for conversations that may expire.
const expires = `NOT pinned AND NOT EXISTS (SELECT FROM responses r WHERE r.conversation_id = conversations.id AND r.ended_at IS NULL)`

// DeleteExpired is a DeleteConversation of one that Expired has returned; it returns ErrNotFound when it has come to life since,
// or was deleted.
func (s *Store) DeleteExpired(ctx context.Context, id string, before time.Time) error {
	return s.deleteConversation(ctx, id, &before)
}

package sqlite

import (
	"context"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// Expired returns up to limit conversations, listed or not, in which nothing was said since before, the oldest activity first;
// none is an empty list. Pinned ones and those in which a reply is being written do not expire.
func (s *Store) Expired(ctx context.Context, before time.Time, limit int) (list []store.ConversationSummary, err error) {
	// The index of the list has four parts, each in the order that is wanted.
	const part = `SELECT * FROM (SELECT ` + summaryColumns + `, '' FROM conversations
		WHERE listed = `
	const rest = ` AND updated_at < ?1 AND ` + expires + ` ORDER BY updated_at, id LIMIT ?2)`
	err = s.read(ctx, func(t tx) (err error) {
		list, err = collect(t, scanSummary, part+`0 AND archived = 0`+rest+` UNION ALL `+part+`0 AND archived = 1`+rest+` UNION ALL `+
			part+`1 AND archived = 0`+rest+` UNION ALL `+part+`1 AND archived = 1`+rest+` ORDER BY updated_at, id LIMIT ?2`, before.UnixMicro(), limit)
		return err
	})
	return list, wrap("expired", err)
}

// expires is the condition for conversations that may expire.
const expires = `pinned = 0 AND NOT EXISTS (SELECT 1 FROM responses r INDEXED BY responses_running WHERE r.conversation_id = conversations.id AND r.ended_at IS NULL)`

// DeleteExpired is a DeleteConversation of one that Expired has returned; it returns [store.ErrNotFound] when it has come to life
// since, or was deleted.
func (s *Store) DeleteExpired(ctx context.Context, id string, before time.Time) error {
	return s.deleteConversation(ctx, id, before.UnixMicro())
}

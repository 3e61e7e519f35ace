package sqlite

import (
	"context"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// HoldConversation deletes a conversation so that [Store.UndoDeletion] can bring it back until the returned time; its part of
// the search index goes at once. A reply that is being written in it is ended as cancelled, and its readers and its owner
// find it gone. It returns [store.ErrNotFound] when there is none, so of two concurrent deletions one succeeds.
func (s *Store) HoldConversation(ctx context.Context, id string, hold time.Duration) (until time.Time, err error) {
	if !store.IsID(id) {
		return until, store.ErrNotFound
	}
	defer s.beginDeletion()()
	words, err := s.takeFromIndex(ctx, id)
	if err != nil {
		return until, wrap("delete conversation", err)
	}
	err = s.write(ctx, func(t tx) error {
		running, err := collect(t, scanResponse, `SELECT `+responseColumns+` FROM responses r INDEXED BY responses_running
			JOIN conversations c ON c.id = r.conversation_id WHERE r.conversation_id = ? AND r.ended_at IS NULL ORDER BY r.seq, r.id`, id)
		if err != nil {
			return err
		}
		for i := range running {
			if _, err := t.finish(store.Finish{Status: store.ResponseCancelled}, &running[i]); err != nil {
				return err
			}
		}
		if err := t.unindexConversation(id, words); err != nil {
			return err
		}
		until = instant(time.Now().Add(hold).UnixMicro())
		if _, err := t.exec(`DELETE FROM deletions WHERE conversation_id = ?`, id); err != nil { // an import brought it back since
			return err
		}
		if _, err := t.exec(`INSERT INTO deletions (conversation_id, erase_at) VALUES (?, ?)`, id, until.UnixMicro()); err != nil {
			return err
		}
		if err := t.one(`INSERT INTO deleted_conversations SELECT * FROM conversations WHERE id = ?`, id); err != nil {
			return err
		}
		for _, move := range []string{
			`INSERT INTO deleted_messages SELECT * FROM messages WHERE conversation_id = ?`,
			`INSERT INTO deleted_responses SELECT * FROM responses WHERE conversation_id = ?`,
			`DELETE FROM conversations WHERE id = ?`,
		} {
			if _, err := t.exec(move, id); err != nil {
				return err
			}
		}
		return nil
	})
	return until, wrap("delete conversation", err)
}

// UndoDeletion brings back what HoldConversation took away, all of it, or returns [store.ErrNotFound] when it is too late.
// Repeated it finds the conversation there, which is no error.
func (s *Store) UndoDeletion(ctx context.Context, id string) (c store.ConversationSummary, err error) {
	if !store.IsID(id) {
		return c, store.ErrNotFound
	}
	err = s.write(ctx, func(t tx) error {
		back, err := t.changed(`INSERT INTO conversations SELECT * FROM deleted_conversations
			WHERE id = ?1 AND EXISTS (SELECT 1 FROM deletions WHERE conversation_id = ?1 AND erase_at > ?2) ON CONFLICT DO NOTHING`, id, now())
		if err != nil {
			return err
		}
		if back > 0 { // else it is too late, or it is there: an import was first
			for _, move := range []string{
				`INSERT INTO messages SELECT * FROM deleted_messages WHERE conversation_id = ?`,
				`INSERT INTO responses SELECT * FROM deleted_responses WHERE conversation_id = ?`,
				`INSERT INTO search_queue (n) SELECT n FROM deleted_messages WHERE conversation_id = ? AND status <> 'deleted' AND content <> ''`,
				`DELETE FROM deletions WHERE conversation_id = ?`, // the rest cascades
			} {
				if _, err := t.exec(move, id); err != nil {
					return err
				}
			}
		}
		c, err = t.summary(id)
		return err
	})
	return c, wrap("undo a deletion", err)
}

// EraseHeld erases the conversations that nothing can bring back any more and returns how many they were.
func (s *Store) EraseHeld(ctx context.Context) (n int, err error) {
	var due bool
	err = s.read(ctx, func(t tx) error {
		return t.get(`SELECT EXISTS (SELECT 1 FROM deletions WHERE erase_at <= ?)`, []any{now()}, &due)
	})
	if err != nil || !due {
		return 0, wrap("erase", err)
	}
	err = s.erase(ctx, func(t tx) error {
		erased, err := t.changed(`DELETE FROM deletions WHERE erase_at <= ?`, now()) // the rest cascades
		n = int(erased)
		return err
	})
	return n, wrap("erase", err)
}

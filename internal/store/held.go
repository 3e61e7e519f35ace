package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// A deletion with an undo moves the rows of a conversation to tables in which nothing but the undo looks, so it is not there
// for anybody, as after any other deletion. When its time has come whoever asks first erases it, on any server.

// HoldConversation deletes a conversation so that [Store.UndoDeletion] can bring it back until the returned time; its part of
// the search index goes at once. A reply that is being written in it is ended as cancelled, and its readers and its owner
// find it gone. It returns ErrNotFound when there is none, so of two concurrent deletions one succeeds.
func (s *Store) HoldConversation(ctx context.Context, id string, hold time.Duration) (until time.Time, err error) {
	if !IsID(id) {
		return until, ErrNotFound
	}
	for {
		until, err = s.hold(ctx, id, hold)
		if !errors.Is(err, errBegun) {
			break
		}
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		err = Wrap("delete conversation", err)
	}
	return until, err
}

// errBegun says that a reply was begun while a deletion waited for the conversation.
var errBegun = errors.New("store: a reply was begun meanwhile")

// hold is one try of HoldConversation. It returns errBegun, having done nothing, when it did not wait for the owner of a reply. It
// cannot do that once it has the conversation: who begins or ends a reply holds the owner and waits for the conversation.
func (s *Store) hold(ctx context.Context, id string, hold time.Duration) (until time.Time, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if err := holdIndex(ctx, tx); err != nil { // first, since it may take long
			return err
		}
		// What owners of replies are committing to the log has been shown a moment later, and must be read below: wait for it.
		rows, err := tx.Query(ctx, `SELECT DISTINCT server_id FROM responses WHERE conversation_id = $1::uuid AND ended_at IS NULL ORDER BY server_id`, id)
		if err != nil {
			return err
		}
		owners, err := pgx.CollectRows(rows, pgx.RowTo[pgtype.UUID])
		if err != nil {
			return err
		}
		for _, owner := range owners {
			if err := closeGate(ctx, tx, owner.String()); err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, `SELECT FROM conversations WHERE id = $1::uuid FOR UPDATE`, id)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		var begun bool
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM responses
			WHERE conversation_id = $1::uuid AND ended_at IS NULL AND server_id <> ALL ($2::uuid[]))`, id, uuids(owners)).Scan(&begun)
		if err != nil {
			return err
		}
		if begun {
			return errBegun
		}
		rows, err = tx.Query(ctx, `SELECT `+responseColumns+` FROM responses r JOIN conversations c ON c.id = r.conversation_id
			WHERE r.conversation_id = $1::uuid AND r.ended_at IS NULL ORDER BY r.seq, r.id FOR UPDATE OF r`, id)
		if err != nil {
			return err
		}
		running, err := pgx.CollectRows(rows, scanResponse)
		if err != nil {
			return err
		}
		for i := range running {
			if _, err := finish(ctx, tx, Finish{Status: ResponseCancelled}, &running[i]); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM deletions WHERE conversation_id = $1::uuid`, id); err != nil { // an import brought it back since
			return err
		}
		err = tx.QueryRow(ctx, `INSERT INTO deletions (conversation_id, erase_at)
			VALUES ($1::uuid, clock_timestamp() + $2::bigint * interval '1 microsecond') RETURNING erase_at`, id, hold.Microseconds()).Scan(&until)
		if err != nil {
			return err
		}
		if err := unindex(ctx, tx, id, nil); err != nil {
			return err
		}
		for _, move := range []string{
			`DELETE FROM response_deltas WHERE response_id IN (SELECT id FROM responses WHERE conversation_id = $1::uuid)`,
			`WITH gone AS (DELETE FROM messages WHERE conversation_id = $1::uuid RETURNING *) INSERT INTO deleted_messages SELECT * FROM gone`,
			`WITH gone AS (DELETE FROM responses WHERE conversation_id = $1::uuid RETURNING *) INSERT INTO deleted_responses SELECT * FROM gone`,
			`WITH gone AS (DELETE FROM conversations WHERE id = $1::uuid RETURNING *) INSERT INTO deleted_conversations SELECT * FROM gone`,
		} {
			if _, err := tx.Exec(ctx, move, id); err != nil {
				return err
			}
		}
		return nil
	})
	return until, err
}

// UndoDeletion brings back what HoldConversation took away, all of it, or returns ErrNotFound when it is too late. Repeated it
// finds the conversation there, which is no error.
func (s *Store) UndoDeletion(ctx context.Context, id string) (ConversationSummary, error) {
	if !IsID(id) {
		return ConversationSummary{}, ErrNotFound
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var inTime bool // asked of the row when it is locked: an undo that comes late waits for one under way
		err := tx.QueryRow(ctx, `SELECT erase_at > clock_timestamp() FROM deletions WHERE conversation_id = $1::uuid FOR UPDATE`, id).Scan(&inTime)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil || !inTime {
			return err
		}
		tag, err := tx.Exec(ctx, `INSERT INTO conversations SELECT * FROM deleted_conversations WHERE id = $1::uuid ON CONFLICT DO NOTHING`, id)
		if err != nil || tag.RowsAffected() == 0 { // an import was first
			return err
		}
		for _, move := range []string{
			`INSERT INTO messages SELECT * FROM deleted_messages WHERE conversation_id = $1::uuid`,
			`INSERT INTO responses SELECT * FROM deleted_responses WHERE conversation_id = $1::uuid`,
			`INSERT INTO search_queue (message_id) SELECT id FROM deleted_messages
			  WHERE conversation_id = $1::uuid AND status <> 'deleted' AND content <> '' ORDER BY seq, idx`,
			`DELETE FROM deletions WHERE conversation_id = $1::uuid`,
		} {
			if _, err := tx.Exec(ctx, move, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return ConversationSummary{}, Wrap("undo a deletion", err)
	}
	return s.Summary(ctx, id)
}

// EraseHeld erases the conversations that nothing can bring back any more and returns how many they were.
func (s *Store) EraseHeld(ctx context.Context) (int, error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM deletions WHERE erase_at <= clock_timestamp()`) // the rest cascades
	if err != nil {
		return 0, Wrap("erase", err)
	}
	return int(tag.RowsAffected()), nil
}

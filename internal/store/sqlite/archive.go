package sqlite

import (
	"context"
	"errors"
	"iter"
	"time"

	codes "modernc.org/sqlite/lib"

	"git.georgsen.dk/hwlab/internal/store"
)

// ConversationIDs returns the next ids after one, "" for the first, of all conversations, listed or not, in the order of the ids.
func (s *Store) ConversationIDs(ctx context.Context, after string, limit int) (ids []string, err error) {
	err = s.read(ctx, func(t tx) (err error) {
		ids, err = collect(t, scanText, `SELECT id FROM conversations WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
		return err
	})
	return ids, wrap("conversation ids", err)
}

// ArchiveSize returns how much all of ConversationIDs are. Nothing is to depend on it but what is told of progress.
func (s *Store) ArchiveSize(ctx context.Context) (conversations, messages int, err error) {
	err = s.read(ctx, func(t tx) error {
		return t.get(`SELECT count(*), coalesce(sum(message_count), 0) FROM conversations`, nil, &conversations, &messages)
	})
	return conversations, messages, wrap("size", err)
}

// ArchiveConversation calls f with all rows of a conversation as of one moment, or returns [store.ErrNotFound]. It keeps no more
// than a row in memory.
func (s *Store) ArchiveConversation(ctx context.Context, id string, f func(store.ArchiveRow) error) error {
	if !store.IsID(id) {
		return store.ErrNotFound
	}
	var failed error // f's own
	give := func(row store.ArchiveRow) error {
		failed = f(row)
		return failed
	}
	err := s.read(ctx, func(t tx) error {
		var c store.ArchivedConversation
		err := t.get(`SELECT id, model, title, started_at, updated_at, head, message_count, metadata, pinned, archived, listed FROM conversations WHERE id = ?`,
			[]any{id}, &c.ID, &c.Model, &c.Title, (*micros)(&c.StartedAt), (*micros)(&c.UpdatedAt), &c.Head, &c.MessageCount, (*[]byte)(&c.Metadata),
			&c.Pinned, &c.Archived, &c.Listed)
		if err != nil {
			return found(err)
		}
		var running []store.Unsettled
		err = t.each(func(row scanner) error {
			var u store.Unsettled
			var d store.Delta
			err := row.Scan(&u.Seq, &u.ParentID, (*micros)(&u.CreatedAt), &d.ResponseID, &d.ConversationID, &d.N, &d.Kind, &d.Item, &d.Part, &d.ItemID, &d.Text)
			running = store.AddUnsettled(running, u, d)
			return err
		}, `SELECT r.seq, coalesce(r.parent_id, ''), r.created_at, d.response_id, d.conversation_id, d.n, d.kind, d.item, d.part, coalesce(d.item_id, ''), d.text
			FROM responses r INDEXED BY responses_running CROSS JOIN response_deltas d ON d.response_id = r.id
			WHERE r.conversation_id = ? AND r.ended_at IS NULL ORDER BY r.seq, r.id, d.n`, id)
		if err != nil {
			return err
		}
		a, err := store.NewArchiver(c, running, give)
		if err != nil {
			return err
		}
		err = t.each(func(row scanner) error {
			m, err := scanMessage(row)
			if err != nil {
				return err
			}
			return a.Message(store.ArchivedMessage{ID: m.ID, Seq: m.Seq, Idx: m.Idx, ParentID: m.ParentID, Role: m.Role, Status: m.Status,
				ResponseID: m.ResponseID, CreatedAt: m.CreatedAt, Content: m.Content, Item: m.Item})
		}, `SELECT `+messageColumns+` FROM messages m WHERE conversation_id = ? ORDER BY seq, idx`, id)
		if err != nil {
			return err
		}
		if err := a.Done(); err != nil {
			return err
		}
		return t.each(func(row scanner) error {
			var r store.ArchivedResponse
			var ended micros
			err := row.Scan(&r.ID, &r.PreviousID, &r.Seq, &r.Inputs, &r.ParentID, &r.Status, &r.Model, (*[]byte)(&r.Request), (*[]byte)(&r.Usage),
				(*[]byte)(&r.Error), &r.IncompleteReason, (*micros)(&r.CreatedAt), &ended, &r.Log)
			if err != nil {
				return err
			}
			if at := time.Time(ended); !at.IsZero() {
				return a.Response(r, &at)
			}
			return a.Response(r, nil)
		}, `SELECT id, coalesce(previous_response_id, ''), seq, inputs, coalesce(parent_id, ''), status, model, request, usage, error, incomplete_reason,
			created_at, ended_at, log FROM responses WHERE conversation_id = ? ORDER BY seq, id`, id)
	})
	if failed != nil {
		return failed
	}
	return wrap("read conversation", err)
}

// Restore adds conversations as they were archived, all of rows in one transaction. A conversation whose id the record has is left
// as it is, and one with a message or reply whose id is taken is left out: what is returned names them. Each row must have passed
// [store.ArchiveRow.Check]. Nothing else is written meanwhile.
func (s *Store) Restore(ctx context.Context, rows iter.Seq[store.ArchiveRow]) (store.Restored, error) {
	done := store.Restored{Clashes: map[string]store.Clash{}}
	err := s.write(ctx, func(t tx) error {
		id, skipped := "", true
		abandon := func() error {
			skipped = true
			if err := t.unindexConversation(id, nil); err != nil {
				return err
			}
			_, err := t.exec(`DELETE FROM conversations WHERE id = ?`, id)
			return err
		}
		clash := func(taken, of string, err error) error {
			if of == "" {
				return err // it was something else
			}
			done.Clashes[id] = store.Clash{ID: taken, Of: of}
			return abandon()
		}
		for row := range rows {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			switch {
			case row.Abandon:
				if !skipped {
					err = abandon()
				}
			case row.Conversation != nil:
				id = row.Conversation.ID
				if _, skipped = done.Clashes[id]; skipped {
					break
				}
				if skipped, err = t.restoreConversation(*row.Conversation); skipped {
					done.There = append(done.There, id)
				}
			case skipped:
			case row.Message != nil:
				if err = t.restoreMessage(id, *row.Message); constraint(err) {
					err = clash(row.Message.ID, t.owner(`SELECT conversation_id FROM messages WHERE id = ?`, row.Message.ID), err)
				}
			case row.Response != nil:
				if err = t.restoreResponse(id, *row.Response); constraint(err) {
					err = clash(row.Response.ID, t.owner(`SELECT conversation_id FROM responses WHERE id = ?`, row.Response.ID), err)
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return store.Restored{}, wrap("restore", err)
	}
	return done, nil
}

// constraint reports whether SQLite refused a row for what else there is.
func constraint(err error) bool {
	var e *engineError
	return errors.As(err, &e) && e.primary() == codes.SQLITE_CONSTRAINT
}

// owner is the conversation that the query finds for an id, or "".
func (t tx) owner(query, id string) (conversation string) {
	t.get(query, []any{id}, &conversation) // the row's own error says what is wrong where this one fails
	return conversation
}

// restoreConversation says whether the conversation was there.
func (t tx) restoreConversation(c store.ArchivedConversation) (there bool, err error) {
	result, err := t.exec(`INSERT INTO conversations (id, started_at, model, head, message_count, updated_at, title, metadata, pinned, archived, listed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`, c.ID, c.StartedAt.UnixMicro(), c.Model, c.Head, c.MessageCount,
		c.UpdatedAt.UnixMicro(), c.Title, string(c.Metadata), c.Pinned, c.Archived, c.Listed)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 0, err
}

func (t tx) restoreMessage(conversation string, m store.ArchivedMessage) error {
	r := row{Message: store.Message{ID: m.ID, ConversationID: conversation, Role: m.Role, Content: m.Content, Position: store.Position{Seq: m.Seq, Idx: m.Idx},
		ParentID: m.ParentID, Status: m.Status, ResponseID: m.ResponseID, Item: m.Item}}
	if m.Status != store.MessageDeleted {
		r.words = words(m.Content)
	}
	return t.insert(r, m.CreatedAt.UnixMicro())
}

func (t tx) restoreResponse(conversation string, r store.ArchivedResponse) error {
	_, err := t.exec(`INSERT INTO responses (id, conversation_id, previous_response_id, seq, inputs, parent_id, status, model, server_id, created_at, ended_at,
		incomplete_reason, usage, error, request, log) VALUES (?, ?, nullif(?, ''), ?, ?, nullif(?, ''), ?, ?, '00000000-0000-0000-0000-000000000000', ?, ?, ?, ?, ?, ?, ?)`,
		r.ID, conversation, r.PreviousID, r.Seq, r.Inputs, r.ParentID, string(r.Status), r.Model, r.CreatedAt.UnixMicro(), r.EndedAt.UnixMicro(),
		r.IncompleteReason, text(r.Usage), text(r.Error), string(r.Request), r.Log)
	return err
}

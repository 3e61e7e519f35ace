package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"slices"

	"git.georgsen.dk/hwlab/internal/store"
)

// CreateConversation adds an empty conversation and returns its id.
func (s *Store) CreateConversation(ctx context.Context, model string) (id string, err error) {
	return s.CreateConversationWith(ctx, store.NewConversation{Model: model})
}

// CreateConversationWith adds a conversation, with its messages in the same step, and returns its id, or what AppendMessages
// refuses. With a key that was used before nothing is kept: it returns the id of the first time for the same request, also when
// the two come at the same moment, and [store.ErrKeyReused] for another.
func (s *Store) CreateConversationWith(ctx context.Context, c store.NewConversation) (id string, err error) {
	metadata, err := c.Check()
	if err != nil {
		return "", err
	}
	wanted := store.NewID()
	id = wanted
	in := input(c.Messages)
	err = s.write(ctx, func(t tx) error {
		at := now()
		if c.Key != "" {
			if id, err = t.claimKey("conversations", c.Key, c.Fingerprint, wanted); err != nil || id != wanted {
				return err
			}
		}
		if _, err := t.exec(`INSERT INTO conversations (id, model, title, metadata, listed, started_at, updated_at, head, message_count)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?7)`, id, c.Model, c.Title, metadata, !c.Unlisted, at, len(in)); err != nil {
			return err
		}
		return t.insertInput(in, id, 0, at, "")
	})
	if err != nil {
		return "", wrap("create conversation", err)
	}
	return id, nil
}

// AddMessage appends a message and returns its id. It returns [store.ErrNotFound] for an unknown conversation, a
// [store.InvalidRoleError] for a role other than user, assistant and system, and a [store.InvalidTextError] for text that
// cannot be kept byte for byte. Two concurrent calls are ordered by who writes first.
func (s *Store) AddMessage(ctx context.Context, conversationID, role, content string) (id string, err error) {
	ids, _, err := s.AppendMessages(ctx, store.Append{ConversationID: conversationID,
		Messages: []store.NewMessage{{Role: role, Content: content}}})
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// AppendMessages appends messages in one step and returns their ids and the conversation's new head. Either all are kept
// or none. Besides AddMessage's errors it returns a [store.ConflictError] when the conversation is not at a.Expect.
func (s *Store) AppendMessages(ctx context.Context, a store.Append) (ids []string, head int64, err error) {
	if !store.IsID(a.ConversationID) {
		return nil, 0, store.ErrNotFound
	}
	if err := store.CheckMessages(a.Messages); err != nil {
		return nil, 0, err
	}
	if len(a.Messages) == 0 {
		c, err := s.Summary(ctx, a.ConversationID)
		if err == nil && a.Expect != nil && *a.Expect != c.Head {
			err = &store.ConflictError{Head: c.Head}
		}
		return nil, c.Head, err
	}
	in := input(a.Messages)
	err = s.write(ctx, func(t tx) error {
		at := now()
		err := t.get(`UPDATE conversations SET head = head + ?2, message_count = message_count + ?2, updated_at = ?3
			WHERE id = ?1 AND (?4 IS NULL OR head = ?4) RETURNING head`, []any{a.ConversationID, len(in), at, a.Expect}, &head)
		if errors.Is(err, sql.ErrNoRows) {
			return t.conflict(a.ConversationID)
		}
		if err != nil {
			return err
		}
		return t.insertInput(in, a.ConversationID, head-int64(len(in)), at, "")
	})
	if err != nil {
		return nil, 0, wrap("append", err)
	}
	for _, m := range in {
		ids = append(ids, m.ID)
	}
	return ids, head, nil
}

// conflict is the error for a conversation that was not where a writer expected it, if it is there at all.
func (t tx) conflict(conversation string) error {
	var head int64
	err := t.get(`SELECT head FROM conversations WHERE id = ?`, []any{conversation}, &head)
	if err != nil {
		return found(err)
	}
	return &store.ConflictError{Head: head}
}

// row is a message to insert, with the words that the index gets of it.
type row struct {
	store.Message
	words string
}

// input gives messages their ids and words. It is called before the transaction: a long text takes a while.
func input(messages []store.NewMessage) []row {
	list := make([]row, len(messages))
	for i, m := range messages {
		list[i] = row{store.Message{ID: store.NewID(), Role: m.Role, Content: m.Content, Item: m.Item, Status: store.MessageCompleted}, words(m.Content)}
	}
	return list
}

// insertInput inserts messages after head, the first of them as a child of parent unless that is "".
func (t tx) insertInput(messages []row, conversation string, head, at int64, parent string) error {
	for i, m := range messages {
		m.ConversationID, m.Seq, m.ParentID = conversation, head+1+int64(i), parent
		if err := t.insert(m, at); err != nil {
			return err
		}
		parent = ""
	}
	return nil
}

// insert inserts a message and indexes it.
func (t tx) insert(m row, at int64) error {
	result, err := t.exec(`INSERT INTO messages (id, conversation_id, seq, idx, created_at, role, status, parent_id, response_id, content, item)
		VALUES (?, ?, ?, ?, ?, ?, ?, nullif(?, ''), nullif(?, ''), ?, ?)`,
		m.ID, m.ConversationID, m.Seq, m.Idx, at, m.Role, string(m.Status), m.ParentID, m.ResponseID, m.Content, text(m.Item))
	if err != nil {
		return roleError(err, m.Role)
	}
	n, err := result.LastInsertId()
	if err != nil {
		return err
	}
	return t.index(n, m.words)
}

// GetConversation returns a conversation with the messages of its active branch in order, or nil and [store.ErrNotFound].
// One without messages is found.
func (s *Store) GetConversation(ctx context.Context, id string) (*store.Conversation, error) {
	var c store.ConversationSummary
	var page store.ThreadPage
	err := s.read(ctx, func(t tx) (err error) {
		if c, err = t.summary(id); err == nil {
			page, err = t.thread(store.ThreadQuery{ConversationID: id})
		}
		return err
	})
	if err != nil {
		return nil, wrap("conversation", err)
	}
	return &store.Conversation{
		ID: c.ID, Model: c.Model, StartedAt: c.StartedAt, Messages: page.Messages, Title: c.Title, UpdatedAt: c.UpdatedAt,
		MessageCount: c.MessageCount, Head: c.Head, Metadata: c.Metadata, Pinned: c.Pinned, Archived: c.Archived, Listed: c.Listed,
	}, nil
}

// Summary returns a conversation without its messages, or [store.ErrNotFound].
func (s *Store) Summary(ctx context.Context, id string) (c store.ConversationSummary, err error) {
	err = s.read(ctx, func(t tx) (err error) {
		c, err = t.summary(id)
		return err
	})
	return c, wrap("conversation", err)
}

func (t tx) summary(id string) (c store.ConversationSummary, err error) {
	if !store.IsID(id) {
		return c, store.ErrNotFound
	}
	list, err := collect(t, scanSummary, `SELECT `+summaryColumns+`, `+runningColumn+` FROM conversations WHERE id = ?`, id)
	return one(list, err)
}

// ListConversations returns the listed conversations, newest started_at first, at most 100. It returns an empty list when
// there are none. [Store.List] is the one with pages.
func (s *Store) ListConversations(ctx context.Context) (list []store.ConversationSummary, err error) {
	err = s.read(ctx, func(t tx) (err error) {
		list, err = collect(t, scanSummary, `SELECT `+summaryColumns+`, '' FROM conversations WHERE listed = 1
			ORDER BY started_at DESC, id DESC LIMIT ?`, store.ListLimit)
		return err
	})
	return list, wrap("list", err)
}

// List returns a page of the conversations, latest activity first; an empty page where there are none. A conversation
// that is written to between two pages moves to the top of the list, past which the reader may already be.
func (s *Store) List(ctx context.Context, q store.ListQuery) (store.ListPage, error) {
	where, order, args := `listed = ?1 AND archived = ?3`, `DESC`, []any{!q.Unlisted, q.Size() + 1, q.Archived}
	if q.Pinned {
		where += ` AND pinned`
	}
	switch {
	case q.After != nil:
		where += ` AND (updated_at, id) < (?4, ?5)`
		args = append(args, q.After.UpdatedAt.UnixMicro(), q.After.ID)
	case q.Before != nil:
		where += ` AND (updated_at, id) > (?4, ?5)`
		order = `ASC`
		args = append(args, q.Before.UpdatedAt.UnixMicro(), q.Before.ID)
	}
	var list []store.ConversationSummary
	err := s.read(ctx, func(t tx) (err error) {
		list, err = collect(t, scanSummary, `SELECT `+summaryColumns+`, `+runningColumn+` FROM conversations WHERE `+where+
			` ORDER BY updated_at `+order+`, id `+order+` LIMIT ?2`, args...)
		return err
	})
	if err != nil {
		return store.ListPage{}, wrap("list", err)
	}
	return q.Cut(list), nil
}

// Thread returns messages of one branch of a conversation, in order, or [store.ErrNotFound] for an unknown conversation.
// Where the range is empty it returns an empty page.
func (s *Store) Thread(ctx context.Context, q store.ThreadQuery) (page store.ThreadPage, err error) {
	err = s.read(ctx, func(t tx) (err error) {
		page, err = t.thread(q)
		return err
	})
	return page, wrap("thread", err)
}

// thread finds where the branches of the conversation leave the line, and reads the messages of q's.
func (t tx) thread(q store.ThreadQuery) (store.ThreadPage, error) {
	var there int
	if err := t.get(`SELECT 1 FROM conversations WHERE id = ?`, []any{q.ConversationID}, &there); err != nil {
		return store.ThreadPage{}, found(err)
	}
	query := forksSQL
	if q.Details {
		query = siblingsSQL
	}
	forks, err := collect(t, scanFork, query, q.ConversationID)
	if err != nil {
		return store.ThreadPage{}, err
	}
	var written []store.Message
	if q.Details {
		if written, forks, err = t.written(q.ConversationID, forks); err != nil {
			return store.ThreadPage{}, err
		}
	}
	through, beingWritten := q.ThroughWritten(written)
	if q.Through != "" && !beingWritten {
		if err := t.get(throughSQL, []any{q.ConversationID, q.Through}, &through.Seq, &through.Idx, &through.End); err != nil {
			return store.ThreadPage{}, found(err)
		}
	}
	page, err := t.line(q, q.Line(forks, through), written)
	if q.Details {
		page.AddSiblings(forks)
	}
	return page, err
}

// written reads what replies being written have so far, and puts it among the forks.
func (t tx) written(conversation string, forks []store.Fork) ([]store.Message, []store.Fork, error) {
	running, err := collect(t, func(row scanner) (u store.Unsettled, err error) {
		err = row.Scan(&u.ID, &u.Model, &u.Seq, &u.ParentID, (*micros)(&u.CreatedAt))
		return u, err
	}, `SELECT id, model, seq, coalesce(parent_id, ''), created_at FROM responses INDEXED BY responses_running
		WHERE conversation_id = ? AND ended_at IS NULL ORDER BY seq`, conversation)
	if err != nil || len(running) == 0 {
		return nil, forks, err
	}
	for i, u := range running {
		if running[i].Deltas, err = collect(t, scanDelta, `SELECT `+deltaColumns+` FROM response_deltas WHERE response_id = ? ORDER BY n`, u.ID); err != nil {
			return nil, nil, err
		}
	}
	written, err := store.Written(running)
	if err != nil {
		return nil, nil, err
	}
	more, err := collect(t, scanFork, writtenForksSQL, conversation)
	if err != nil {
		return nil, nil, err
	}
	forks = append(forks, more...)
	slices.SortFunc(forks, func(a, b store.Fork) int {
		return cmp.Or(cmp.Compare(a.At.Seq, b.At.Seq), cmp.Compare(a.At.Idx, b.At.Idx))
	})
	return written, forks, store.Beginnings(forks, written)
}

// forksSQL reads where branches leave the line; what begins anew has no parent among the messages.
const forksSQL = `SELECT m.seq, m.idx, coalesce(p.seq, 0), coalesce(p.idx, 0), '', '', 0, 0, '', '', 0, 0
	  FROM messages m INDEXED BY messages_forks LEFT JOIN messages p ON p.id = m.parent_id
	 WHERE m.conversation_id = ? AND m.parent_id IS NOT NULL ORDER BY m.seq, m.idx`

// siblingsSQL also finds the first messages, not deleted, from there and after the parent.
const siblingsSQL = `SELECT m.seq, m.idx, coalesce(p.seq, 0), coalesce(p.idx, 0),
	       coalesce(f.id, ''), coalesce(f.item->>'type', ''), coalesce(f.seq, 0), coalesce(f.idx, 0),
	       coalesce(a.id, ''), coalesce(a.item->>'type', ''), coalesce(a.seq, 0), coalesce(a.idx, 0)
	  FROM messages m INDEXED BY messages_forks LEFT JOIN messages p ON p.id = m.parent_id
	  LEFT JOIN messages f ON f.n = (SELECT n FROM messages WHERE conversation_id = m.conversation_id AND (seq, idx) >= (m.seq, m.idx)
	       AND status <> 'deleted' ORDER BY seq, idx LIMIT 1)
	  LEFT JOIN messages a ON a.n = (SELECT n FROM messages WHERE conversation_id = m.conversation_id
	       AND (seq, idx) > (coalesce(p.seq, 0), coalesce(p.idx, 0)) AND status <> 'deleted' ORDER BY seq, idx LIMIT 1)
	 WHERE m.conversation_id = ? AND m.parent_id IS NOT NULL ORDER BY m.seq, m.idx`

// writtenForksSQL reads the forks of what is being written.
const writtenForksSQL = `SELECT r.seq, 0, coalesce(p.seq, 0), coalesce(p.idx, 0), '', '', 0, 0,
	       coalesce(a.id, ''), coalesce(a.item->>'type', ''), coalesce(a.seq, 0), coalesce(a.idx, 0)
	  FROM responses r INDEXED BY responses_running LEFT JOIN messages p ON p.id = r.parent_id
	  LEFT JOIN messages a ON a.n = (SELECT n FROM messages WHERE conversation_id = r.conversation_id
	       AND (seq, idx) > (coalesce(p.seq, 0), coalesce(p.idx, 0)) AND status <> 'deleted' ORDER BY seq, idx LIMIT 1)
	 WHERE r.conversation_id = ? AND r.ended_at IS NULL AND r.parent_id IS NOT NULL
	   AND EXISTS (SELECT 1 FROM response_deltas d WHERE d.response_id = r.id
	                AND (d.kind = 'item' AND d.text <> 'function_call' OR d.kind = 'part' AND d.text = 'arguments'))
	 ORDER BY r.seq`

func scanFork(row scanner) (f store.Fork, err error) {
	err = row.Scan(&f.At.Seq, &f.At.Idx, &f.Parent.Seq, &f.Parent.Idx, &f.First.ID, &f.First.Type, &f.First.Seq, &f.First.Idx,
		&f.Next.ID, &f.Next.Type, &f.Next.Seq, &f.Next.Idx)
	return f, err
}

// throughSQL finds the place of a message or reply. A reply that left the line and has no output is where it left.
const throughSQL = `SELECT seq, idx, 0 FROM messages WHERE id = ?2 AND conversation_id = ?1
	UNION ALL
	SELECT CASE WHEN r.here THEN r.seq ELSE coalesce(p.seq, 0) END, CASE WHEN r.here THEN coalesce(r.last, 2147483647) ELSE coalesce(p.idx, 0) END, NOT r.here
	  FROM (SELECT seq, parent_id, last, parent_id IS NULL OR last IS NOT NULL AS here
	          FROM (SELECT *, (SELECT max(idx) FROM messages o WHERE o.conversation_id = ?1 AND o.seq = responses.seq) AS last
	                  FROM responses WHERE id = ?2 AND conversation_id = ?1) q) r
	  LEFT JOIN messages p ON p.id = r.parent_id`

// line reads the messages of q that lie on line, a range scan of the order's index for each of its stretches, and those of
// written that do.
func (t tx) line(q store.ThreadQuery, line []store.Stretch, written []store.Message) (store.ThreadPage, error) {
	order, left, details := `ASC`, -1, `'', ''`
	if q.Newest {
		order = `DESC`
	}
	if q.Details {
		// A reply stands right behind the last message that asks for it.
		details = `coalesce((SELECT model FROM responses WHERE id = m.response_id), ''),
			coalesce((SELECT id FROM responses r WHERE m.response_id IS NULL AND r.conversation_id = m.conversation_id AND r.seq = m.seq + 1 AND r.ended_at IS NOT NULL
			    AND NOT EXISTS (SELECT 1 FROM messages said WHERE said.conversation_id = r.conversation_id AND said.seq = r.seq)), '')`
	}
	messages := []store.Message{}
	for _, r := range q.Ranges(line) {
		if q.Limit > 0 {
			if left = q.Limit + 1 - len(messages); left == 0 {
				break
			}
		}
		more, err := collect(t, scanThreadMessage, `SELECT `+messageColumns+`, `+details+` FROM messages m
			WHERE conversation_id = ? AND (seq, idx) >= (?, ?) AND (seq, idx) <= (?, ?) AND (status <> 'deleted' OR ?)
			ORDER BY seq `+order+`, idx `+order+` LIMIT ?`,
			q.ConversationID, r.From.Seq, r.From.Idx, r.To.Seq, r.To.Idx, q.Tombstones, left)
		if err != nil {
			return store.ThreadPage{}, err
		}
		messages = append(messages, more...)
	}
	return q.Cut(q.Join(messages, written, line)), nil
}

func scanThreadMessage(row scanner) (store.Message, error) {
	var model, silent string
	m, err := scanMessageAnd(row, &model, &silent)
	m.Model, m.SilentID = model, silent
	return m, err
}

// Place returns where a message is or, if it was deleted, was in the order, or [store.ErrNotFound]. What is being written has
// its place.
func (s *Store) Place(ctx context.Context, conversationID, messageID string) (p store.Position, err error) {
	if !store.IsID(conversationID) || !store.IsID(messageID) {
		return p, store.ErrNotFound
	}
	err = s.read(ctx, func(t tx) error {
		return found(t.get(`SELECT seq, idx FROM messages WHERE id = ?1 AND conversation_id = ?2
			UNION ALL
			SELECT r.seq, d.item FROM responses r INDEXED BY responses_running JOIN response_deltas d ON d.response_id = r.id
			 WHERE r.conversation_id = ?2 AND r.ended_at IS NULL AND d.kind = 'item' AND d.item_id = ?1`,
			[]any{messageID, conversationID}, &p.Seq, &p.Idx))
	})
	return p, wrap("message", err)
}

// Message returns one message, or [store.ErrNotFound] when the conversation has no such message or it was deleted.
func (s *Store) Message(ctx context.Context, conversationID, id string) (m store.Message, err error) {
	if !store.IsID(conversationID) || !store.IsID(id) {
		return m, store.ErrNotFound
	}
	err = s.read(ctx, func(t tx) error {
		list, err := collect(t, scanMessage, `SELECT `+messageColumns+` FROM messages m
			WHERE id = ? AND conversation_id = ? AND status <> 'deleted'`, id, conversationID)
		m, err = one(list, err)
		return err
	})
	return m, wrap("message", err)
}

// UpdateConversation sets what change says of a conversation and returns it, or [store.ErrNotFound], also for one with another
// title than change.TitleWas, or a [store.InvalidTextError]. It is no activity: the conversation keeps its place in the list.
func (s *Store) UpdateConversation(ctx context.Context, id string, change store.ConversationChange) (c store.ConversationSummary, err error) {
	metadata, err := change.Check()
	if err != nil {
		return c, err
	}
	if !store.IsID(id) {
		return c, store.ErrNotFound
	}
	err = s.write(ctx, func(t tx) error {
		if err := t.one(`UPDATE conversations SET title = coalesce(?, title), metadata = coalesce(?, metadata),
			pinned = coalesce(?, pinned), archived = coalesce(?, archived) WHERE id = ? AND title = coalesce(?, title)`,
			change.Title, metadata, change.Pinned, change.Archived, id, change.TitleWas); err != nil {
			return err
		}
		c, err = t.summary(id)
		return err
	})
	return c, wrap("update conversation", err)
}

// DeleteConversation erases a conversation: its messages, replies, their logs and its part of the search index. It
// returns [store.ErrNotFound] when there is none, so of two concurrent calls one succeeds.
func (s *Store) DeleteConversation(ctx context.Context, id string) error {
	return s.deleteConversation(ctx, id, math.MaxInt64)
}

// deleteConversation erases a conversation; with before only one that expires, see Expired.
func (s *Store) deleteConversation(ctx context.Context, id string, before int64) error {
	if !store.IsID(id) {
		return store.ErrNotFound
	}
	const may = `SELECT id FROM conversations WHERE id = ?1 AND (?2 = 9223372036854775807 OR updated_at < ?2 AND ` + expires + `)`
	if err := s.read(ctx, func(t tx) error { return found(t.get(may, []any{id, before}, &id)) }); err != nil {
		return wrap("delete conversation", err)
	}
	defer s.beginDeletion()()
	words, err := s.takeFromIndex(ctx, id)
	if err != nil {
		return wrap("delete conversation", err)
	}
	return wrap("delete conversation", s.erase(ctx, func(t tx) error {
		if err := t.get(may, []any{id, before}, &id); err != nil {
			return found(err)
		}
		if err := t.unindexConversation(id, words); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM response_deltas WHERE response_id IN
			(SELECT id FROM responses WHERE conversation_id = ? AND ended_at IS NULL)`, id); err != nil {
			return err
		}
		return t.one(`DELETE FROM conversations WHERE id = ?`, id) // its messages and all that refers to them cascade
	}))
}

// beginDeletion keeps the indexer from what is on its way out, until the returned function is called.
func (s *Store) beginDeletion() (end func()) {
	s.deleting.Add(1)
	return func() { s.deleting.Add(-1) }
}

// DeleteMessage erases one message. Its row keeps its place, empty, so that branches hold. It returns [store.ErrNotFound]
// when the conversation has no such message, or no longer, and [store.ErrReplyRunning] when it is part of a reply being written.
func (s *Store) DeleteMessage(ctx context.Context, conversationID, id string) error {
	if !store.IsID(conversationID) || !store.IsID(id) {
		return store.ErrNotFound
	}
	return wrap("delete message", s.erase(ctx, func(t tx) error {
		if err := t.unindex(`id = ?`, id); err != nil {
			return err
		}
		err := t.one(`UPDATE messages SET content = '', item = NULL, status = 'deleted'
			WHERE id = ? AND conversation_id = ? AND status <> 'deleted'`, id, conversationID)
		if errors.Is(err, store.ErrNotFound) {
			var running bool
			if err := t.get(`SELECT EXISTS (SELECT 1 FROM responses r INDEXED BY responses_running JOIN response_deltas d ON d.response_id = r.id
				WHERE r.conversation_id = ? AND r.ended_at IS NULL AND d.kind = 'item' AND d.item_id = ?)`, []any{conversationID, id}, &running); err != nil {
				return err
			}
			if running {
				return store.ErrReplyRunning
			}
		}
		if err != nil {
			return err
		}
		return t.one(`UPDATE conversations SET message_count = message_count - 1 WHERE id = ?`, conversationID)
	}))
}

const summaryColumns = `id, model, started_at, message_count, title, updated_at, head, metadata, pinned, archived, listed`

// runningColumn comes after summaryColumns.
const runningColumn = `coalesce((SELECT r.id FROM responses r INDEXED BY responses_running
	WHERE r.conversation_id = conversations.id AND r.ended_at IS NULL ORDER BY r.seq DESC LIMIT 1), '')`

func scanSummary(row scanner) (c store.ConversationSummary, err error) {
	var metadata string
	if err := row.Scan(&c.ID, &c.Model, (*micros)(&c.StartedAt), &c.MessageCount, &c.Title, (*micros)(&c.UpdatedAt), &c.Head, &metadata,
		&c.Pinned, &c.Archived, &c.Listed, &c.RunningID); err != nil {
		return c, err
	}
	return c, json.Unmarshal([]byte(metadata), &c.Metadata)
}

// messageColumns are of messages m.
const messageColumns = `m.id, m.conversation_id, m.role, m.content, m.created_at, m.seq, m.idx, coalesce(m.parent_id, ''), m.status,
	coalesce(m.response_id, ''), m.item`

func scanMessage(row scanner) (store.Message, error) { return scanMessageAnd(row) }

// scanMessageAnd scans messageColumns and what the statement has after them.
func scanMessageAnd(row scanner, more ...any) (m store.Message, err error) {
	err = row.Scan(append([]any{&m.ID, &m.ConversationID, &m.Role, &m.Content, (*micros)(&m.CreatedAt), &m.Seq, &m.Idx, &m.ParentID, &m.Status,
		&m.ResponseID, (*[]byte)(&m.Item)}, more...)...)
	return m, err
}

// one changes a row, or returns [store.ErrNotFound] when the statement found none.
func (t tx) one(statement string, args ...any) error {
	result, err := t.exec(statement, args...)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, store.ErrNotFound)
	}
	return nil
}

// one returns the first of list, or [store.ErrNotFound].
func one[T any](list []T, err error) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	if len(list) == 0 {
		return none, store.ErrNotFound
	}
	return list[0], nil
}

// found makes an error for no row [store.ErrNotFound].
func found(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return err
}

// text passes JSON as text, nil as NULL.
func text(value json.RawMessage) any {
	if value == nil {
		return nil
	}
	return string(value)
}

package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// ErrNotFound is returned for a conversation, message or response that is not in the record: never written, deleted, or
// named by something that is not an id at all.
var ErrNotFound = errors.New("store: not found")

// Position is a message's place in the order of its conversation.
type Position struct {
	Seq int64
	Idx int
}

// Before reports whether p comes before q.
func (p Position) Before(q Position) bool { return p.Seq < q.Seq || p.Seq == q.Seq && p.Idx < q.Idx }

// MessageStatus says how far a message got. A message is only written once it has ended, so none is kept in progress.
type MessageStatus string

// The states of a message.
const (
	MessageCompleted  MessageStatus = "completed"
	MessageIncomplete MessageStatus = "incomplete"  // the reply ended before it was whole
	MessageDeleted    MessageStatus = "deleted"     // erased; the row keeps its place so that branches hold
	MessageInProgress MessageStatus = "in_progress" // what the log has of it, see [ThreadQuery.Details]
)

// Message is one item of a conversation.
type Message struct {
	ID             string
	ConversationID string
	Role           string // user, assistant or system
	Content        string // its text: all of it, or the searchable part of Item
	CreatedAt      time.Time

	Position
	ParentID   string // set where a branch leaves the line; "" continues the message before it
	Status     MessageStatus
	ResponseID string          // the reply it is an output of, or ""
	Item       json.RawMessage // the typed item where it is more than Content, else nil

	// With [ThreadQuery.Details]:
	Model    string    // that wrote it, or ""
	Siblings []Sibling // the messages that continue the same one as it does, itself among them, in order; nil: it alone
	SilentID string    // the reply that it asked for, where that ended without a word, or ""
}

// Sibling is one of several messages that continue the same one, each the beginning of a branch.
type Sibling struct {
	ID   string
	Type string // of its item
}

// Conversation is a conversation with the messages of its active branch, in order.
type Conversation struct {
	ID        string
	Model     string
	StartedAt time.Time
	Messages  []Message

	Title        string
	UpdatedAt    time.Time
	MessageCount int               // of all branches
	Head         int64             // the last sequence number given out; what an append may expect
	Metadata     map[string]string // never nil
	Pinned       bool
	Archived     bool
	Listed       bool // false: made by a response that named no conversation
}

// ConversationSummary is a conversation without its messages.
type ConversationSummary struct {
	ID           string
	Model        string
	StartedAt    time.Time
	MessageCount int // of all branches

	Title     string
	UpdatedAt time.Time
	Head      int64
	Metadata  map[string]string
	Pinned    bool
	Archived  bool
	Listed    bool
	RunningID string // the reply being written, the latest if there are several, or ""; ListConversations leaves it out
}

// ConversationChange is what to set of a conversation; what is nil stays as it is.
type ConversationChange struct {
	Title    *string
	TitleWas *string           // only if that is its title at this moment
	Metadata map[string]string // all of it
	Pinned   *bool
	Archived *bool
}

// NewConversation is what a conversation starts with; the zero value is a plain listed one.
type NewConversation struct {
	Model    string
	Title    string
	Metadata map[string]string
	Unlisted bool
	Messages []NewMessage

	Key         string // an Idempotency-Key, or ""
	Fingerprint string // of the request that came with it
}

// NewMessage is a message to append. Role and Content as in [Message].
type NewMessage struct {
	Role    string
	Content string
	Item    json.RawMessage // nil where Content is all there is
}

// Append is a set of messages to add to a conversation in one step.
type Append struct {
	ConversationID string
	Messages       []NewMessage
	Expect         *int64 // the Head the writer saw; nil: append whatever it is
}

// ListCursor is a conversation's place in the list: between pages, give the one of the last row of a page.
type ListCursor struct {
	UpdatedAt time.Time
	ID        string
}

// Cursor is the place of c in the list.
func (c ConversationSummary) Cursor() ListCursor { return ListCursor{c.UpdatedAt, c.ID} }

// ListQuery asks for a page of the list of conversations, latest activity first.
type ListQuery struct {
	After    *ListCursor // only what comes after (is older than) this place
	Before   *ListCursor // only what comes before (is newer than) this place: the page next to it
	Limit    int         // 1 to 100; 0 is 100
	Unlisted bool        // the unlisted ones instead of the listed
	Archived bool        // the archived ones instead of the others
	Pinned   bool        // only pinned ones
}

// ListPage is a page of the list, latest activity first.
type ListPage struct {
	Conversations []ConversationSummary
	More          bool // there are more in the direction of the page
}

// ThreadQuery asks for messages of one branch of a conversation.
type ThreadQuery struct {
	ConversationID string
	Tip            *Position // the message the branch ends in; nil: see Through
	Through        string    // the message or reply that the branch goes through, to where it was last added to; "": the active branch
	After          *Position // only what comes after this place
	Before         *Position // only what comes before this place
	Limit          int       // 0: all
	Newest         bool      // with Limit: the last ones of the range instead of the first
	Tombstones     bool      // with the places of deleted messages
	Details        bool      // with all fields of [Message], and with what replies being written have so far
}

// ThreadPage is a page of a thread, in the order of the conversation.
type ThreadPage struct {
	Messages []Message
	More     bool // the range holds more than Limit
}

// ListLimit is the most conversations that any list returns at once.
const ListLimit = 100

// CreateConversation adds an empty conversation and returns its id.
func (s *Store) CreateConversation(ctx context.Context, model string) (id string, err error) {
	return s.CreateConversationWith(ctx, NewConversation{Model: model})
}

// CreateConversationWith adds a conversation, with its messages in the same step, and returns its id, or what AppendMessages
// refuses. With a key that was used before nothing is kept: it returns the id of the first time for the same request, also when
// the two come at the same moment, and ErrKeyReused for another.
func (s *Store) CreateConversationWith(ctx context.Context, c NewConversation) (id string, err error) {
	metadata, err := c.Check()
	if err != nil {
		return "", err
	}
	id = NewID()
	if c.Key == "" {
		err = createConversation(ctx, s.pool, id, c, metadata)
	} else {
		wanted := id
		err = s.inTx(ctx, func(tx pgx.Tx) error {
			if id, err = claimKey(ctx, tx, "conversations", c.Key, c.Fingerprint, wanted); err != nil || id != wanted {
				return err
			}
			return createConversation(ctx, tx, id, c, metadata)
		})
		if err == nil && id != wanted { // as in StartResponse
			_, err = s.pool.Exec(ctx, `SELECT FROM conversations WHERE id = $1::uuid FOR KEY SHARE`, id)
		}
	}
	if err != nil {
		return "", Wrap("create conversation", rowError(err, roles(c.Messages)...))
	}
	return id, nil
}

func createConversation(ctx context.Context, db interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}, id string, c NewConversation, metadata string) (err error) {
	if len(c.Messages) == 0 {
		_, err = db.Exec(ctx, `INSERT INTO conversations (id, model, title, metadata, listed)
			VALUES ($1::uuid, $2::text, $3::text, $4::json, $5::bool)`, id, c.Model, c.Title, metadata, !c.Unlisted)
	} else {
		in := newAppendCall(Append{ConversationID: id, Messages: c.Messages})
		_, err = db.Exec(ctx, `WITH c AS (
				INSERT INTO conversations (id, model, title, metadata, listed, head, message_count)
				VALUES ($1::uuid, $2::text, $3::text, $4::json, $5::bool, cardinality($6::uuid[]), cardinality($6::uuid[]))
			), q AS (
				INSERT INTO search_queue (message_id) SELECT u FROM unnest($6::uuid[]) u
			)
			INSERT INTO messages (id, conversation_id, seq, role, content, item)
			SELECT u.id, $1::uuid, u.n, u.role, u.content, u.item::json
			  FROM unnest($6::uuid[], $7::text[], $8::text[], $9::text[]) WITH ORDINALITY u(id, role, content, item, n)`,
			id, c.Model, c.Title, metadata, !c.Unlisted, newUUIDs(in.ids), in.roles, in.contents, in.items)
	}
	return err
}

// AddMessage appends a message and returns its id. It returns ErrNotFound for an unknown conversation, an
// [InvalidRoleError] for a role other than user, assistant and system, and an [InvalidTextError] for text that cannot be
// kept byte for byte. Two concurrent calls are ordered by who gets the conversation's row first.
func (s *Store) AddMessage(ctx context.Context, conversationID, role, content string) (id string, err error) {
	ids, _, err := s.AppendMessages(ctx, Append{ConversationID: conversationID, Messages: []NewMessage{{Role: role, Content: content}}})
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// AppendMessages appends messages in one step and returns their ids and the conversation's new head. Either all are kept
// or none. Besides AddMessage's errors it returns a [ConflictError] when the conversation is not at a.Expect. When ctx
// ends first the messages may or may not have been kept.
func (s *Store) AppendMessages(ctx context.Context, a Append) (ids []string, head int64, err error) {
	if !IsID(a.ConversationID) {
		return nil, 0, ErrNotFound
	}
	if err := CheckMessages(a.Messages); err != nil {
		return nil, 0, err
	}
	if len(a.Messages) == 0 {
		c, err := s.Summary(ctx, a.ConversationID)
		if err == nil && a.Expect != nil && *a.Expect != c.Head {
			err = &ConflictError{Head: c.Head}
		}
		return nil, c.Head, err
	}
	call := newAppendCall(a)
	if a.Expect == nil {
		err = s.appends.do(ctx, call)
	} else { // it goes by itself, since others of the same batch would move the head
		s.writeAppends(ctx, []*appendCall{call})
		err = call.err
	}
	if err != nil {
		return nil, 0, err
	}
	return call.ids, call.head, nil
}

// conflict is the error for a conversation that was not where a writer expected it.
func (s *Store) conflict(ctx context.Context, conversationID string) error {
	c, err := s.Summary(ctx, conversationID)
	if err != nil {
		return err
	}
	return &ConflictError{Head: c.Head}
}

// GetConversation returns a conversation with the messages of its active branch in order, or nil and ErrNotFound. One
// without messages is found.
func (s *Store) GetConversation(ctx context.Context, id string) (*Conversation, error) {
	summary, page, err := s.thread(ctx, ThreadQuery{ConversationID: id})
	if err != nil {
		return nil, err
	}
	return &Conversation{
		ID: summary.ID, Model: summary.Model, StartedAt: summary.StartedAt, Messages: page.Messages,
		Title: summary.Title, UpdatedAt: summary.UpdatedAt, MessageCount: summary.MessageCount, Head: summary.Head,
		Metadata: summary.Metadata, Pinned: summary.Pinned, Archived: summary.Archived, Listed: summary.Listed,
	}, nil
}

// Summary returns a conversation without its messages, or ErrNotFound.
func (s *Store) Summary(ctx context.Context, id string) (ConversationSummary, error) {
	if !IsID(id) {
		return ConversationSummary{}, ErrNotFound
	}
	rows, err := s.pool.Query(ctx, `SELECT `+summaryColumns+`, `+runningColumn+` FROM conversations WHERE id = $1::uuid`, id)
	if err != nil {
		return ConversationSummary{}, Wrap("conversation", err)
	}
	c, err := oneSummary(rows)
	if err != nil {
		err = Wrap("conversation", err)
	}
	return c, err
}

// ListConversations returns the listed conversations, newest started_at first, at most 100. It returns an empty list when
// there are none. [Store.List] is the one with pages.
func (s *Store) ListConversations(ctx context.Context) ([]ConversationSummary, error) {
	// A limit that is a parameter would have the server plan every call anew: it takes a limit it does not know for many rows.
	rows, err := s.pool.Query(ctx, `SELECT `+summaryColumns+`, NULL::uuid FROM conversations WHERE listed
		ORDER BY started_at DESC, id DESC LIMIT 100`)
	if err != nil {
		return nil, Wrap("list", err)
	}
	list, err := collectSummaries(rows, ListLimit)
	if err != nil {
		return nil, Wrap("list", err)
	}
	return list, nil
}

// List returns a page of the conversations, latest activity first; an empty page where there are none. A conversation
// that is written to between two pages moves to the top of the list, past which the reader may already be.
func (s *Store) List(ctx context.Context, q ListQuery) (ListPage, error) {
	where, order, args := `listed = $1::bool AND archived = $2::bool`, `DESC`, []any{!q.Unlisted, q.Archived}
	if q.Pinned {
		where += ` AND pinned`
	}
	switch {
	case q.After != nil:
		where += ` AND (updated_at, id) < ($3::timestamptz, $4::uuid)`
		args = append(args, q.After.UpdatedAt, q.After.ID)
	case q.Before != nil:
		where += ` AND (updated_at, id) > ($3::timestamptz, $4::uuid)`
		order = `ASC`
		args = append(args, q.Before.UpdatedAt, q.Before.ID)
	}
	// Always a full page and one more: see ListConversations. Cut leaves what q asks for.
	rows, err := s.pool.Query(ctx, `SELECT `+summaryColumns+`, `+runningColumn+` FROM conversations WHERE `+where+
		` ORDER BY updated_at `+order+`, id `+order+` LIMIT 101`, args...)
	if err != nil {
		return ListPage{}, Wrap("list", err)
	}
	list, err := collectSummaries(rows, ListLimit+1)
	if err != nil {
		return ListPage{}, Wrap("list", err)
	}
	return q.Cut(list), nil
}

// Thread returns messages of one branch of a conversation, in order, or ErrNotFound for an unknown conversation. Where
// the range is empty it returns an empty page.
func (s *Store) Thread(ctx context.Context, q ThreadQuery) (ThreadPage, error) {
	_, page, err := s.thread(ctx, q)
	return page, err
}

// thread reads a conversation and the messages that q asks for, as they were at one moment: of a branch that leaves while it
// is being read nothing may show on the line it left.
func (s *Store) thread(ctx context.Context, q ThreadQuery) (c ConversationSummary, page ThreadPage, err error) {
	if !IsID(q.ConversationID) || q.Through != "" && !IsID(q.Through) {
		return c, page, ErrNotFound
	}
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var forks []Fork
		var through Through
		var running []Unsettled
		missing := false // q.Through, among what is kept
		batch := &pgx.Batch{}
		batch.Queue(`SELECT `+summaryColumns+`, `+runningColumn+` FROM conversations WHERE id = $1::uuid`, q.ConversationID).Query(func(rows pgx.Rows) (err error) {
			c, err = oneSummary(rows)
			return err
		})
		query := forksSQL
		if q.Details {
			query = siblingsSQL
		}
		batch.Queue(query, q.ConversationID).Query(func(rows pgx.Rows) (err error) {
			forks, err = pgx.CollectRows(rows, scanFork)
			return err
		})
		if q.Through != "" {
			batch.Queue(throughSQL, q.ConversationID, q.Through).QueryRow(func(row pgx.Row) error {
				err := row.Scan(&through.Seq, &through.Idx, &through.End)
				if missing = errors.Is(err, pgx.ErrNoRows); missing {
					return nil
				}
				return err
			})
		}
		if q.Details {
			batch.Queue(writtenSQL, q.ConversationID).Query(func(rows pgx.Rows) error {
				var u Unsettled
				var d Delta
				_, err := pgx.ForEachRow(rows, []any{&u.Model, &u.Seq, (*uuidText)(&u.ParentID), &u.CreatedAt, (*uuidText)(&d.ResponseID),
					(*uuidText)(&d.ConversationID), &d.N, &d.Kind, &d.Item, &d.Part, (*uuidText)(&d.ItemID), &d.Text}, func() error {
					running = AddUnsettled(running, u, d)
					return nil
				})
				return err
			})
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		written, err := Written(running)
		if err != nil {
			return err
		}
		if at, found := q.ThroughWritten(written); found {
			through = at
		} else if missing {
			return ErrNotFound
		}
		if err := Beginnings(forks, written); err != nil {
			return err
		}
		page, err = readLine(ctx, tx, q, q.Line(forks, through), written)
		if q.Details {
			page.AddSiblings(forks)
		}
		return err
	})
	if err != nil {
		err = Wrap("conversation", err)
	}
	return c, page, err
}

// forksSQL reads where branches leave the line; what begins anew has no parent among the messages.
const forksSQL = `SELECT m.seq, m.idx, coalesce(p.seq, 0), coalesce(p.idx, 0), NULL::uuid, '', 0::bigint, 0, NULL::uuid, '', 0::bigint, 0
	  FROM messages m LEFT JOIN messages p ON p.id = m.parent_id
	 WHERE m.conversation_id = $1::uuid AND m.parent_id IS NOT NULL ORDER BY m.seq, m.idx`

// writtenSQL reads the logs of the replies that are being written.
const writtenSQL = `SELECT r.model, r.seq, r.parent_id, r.created_at, ` + joinedDeltaColumns + ` FROM responses r JOIN response_deltas d ON d.response_id = r.id
	 WHERE r.conversation_id = $1::uuid AND r.ended_at IS NULL ORDER BY r.seq, r.id, d.n`

// siblingsSQL has the forks of what is being written, too, once its first item shows, see unnamed. It also finds the first messages, not deleted, from there and after the parent. The type is what an item begins
// with; it is not asked of the JSON, which PostgreSQL refuses to read where it has an escaped NUL.
const siblingsSQL = `SELECT m.seq, m.idx, coalesce(p.seq, 0), coalesce(p.idx, 0),
	       f.id, coalesce(substring(left(f.item::text, 100) from '"type"\s*:\s*"([a-z_]+)"'), ''), coalesce(f.seq, 0), coalesce(f.idx, 0),
	       n.id, coalesce(substring(left(n.item::text, 100) from '"type"\s*:\s*"([a-z_]+)"'), ''), coalesce(n.seq, 0), coalesce(n.idx, 0)
	  FROM (SELECT seq, idx, parent_id FROM messages WHERE conversation_id = $1::uuid AND parent_id IS NOT NULL
	        UNION ALL
	        SELECT seq, 0, parent_id FROM responses WHERE conversation_id = $1::uuid AND ended_at IS NULL AND parent_id IS NOT NULL
	           AND EXISTS (SELECT FROM response_deltas d WHERE d.response_id = responses.id
	                        AND (d.kind = 'item' AND d.text <> 'function_call' OR d.kind = 'part' AND d.text = 'arguments'))) m
	  LEFT JOIN messages p ON p.id = m.parent_id
	  LEFT JOIN LATERAL (SELECT id, seq, idx, item FROM messages WHERE conversation_id = $1::uuid AND (seq, idx) >= (m.seq, m.idx)
	       AND status <> 'deleted' ORDER BY seq, idx LIMIT 1) f ON true
	  LEFT JOIN LATERAL (SELECT id, seq, idx, item FROM messages WHERE conversation_id = $1::uuid AND (seq, idx) > (coalesce(p.seq, 0), coalesce(p.idx, 0))
	       AND status <> 'deleted' ORDER BY seq, idx LIMIT 1) n ON true
	 ORDER BY m.seq, m.idx`

func scanFork(row pgx.CollectableRow) (f Fork, err error) {
	err = row.Scan(&f.At.Seq, &f.At.Idx, &f.Parent.Seq, &f.Parent.Idx, (*uuidText)(&f.First.ID), &f.First.Type, &f.First.Seq, &f.First.Idx,
		(*uuidText)(&f.Next.ID), &f.Next.Type, &f.Next.Seq, &f.Next.Idx)
	return f, err
}

// throughSQL finds the place of a message or reply. A reply that left the line and has no output is where it left.
const throughSQL = `SELECT seq, idx, false FROM messages WHERE id = $2::uuid AND conversation_id = $1::uuid
	UNION ALL
	SELECT CASE WHEN r.here THEN r.seq ELSE coalesce(p.seq, 0) END, CASE WHEN r.here THEN coalesce(r.last, 2147483647) ELSE coalesce(p.idx, 0) END, NOT r.here
	  FROM (SELECT seq, parent_id, last, parent_id IS NULL OR last IS NOT NULL AS here
	          FROM (SELECT *, (SELECT max(idx) FROM messages o WHERE o.conversation_id = $1::uuid AND o.seq = responses.seq) AS last
	                  FROM responses WHERE id = $2::uuid AND conversation_id = $1::uuid) q) r
	  LEFT JOIN messages p ON p.id = r.parent_id`

// readLine reads the messages of q that lie on line, a range scan of the order's index for each of its stretches, and those
// of written that do.
func readLine(ctx context.Context, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, q ThreadQuery, line []Stretch, written []Message) (ThreadPage, error) {
	var messages []Message
	details := `'', NULL::uuid`
	if q.Details {
		// A reply stands right behind the last message that asks for it.
		details = `coalesce((SELECT model FROM responses WHERE id = messages.response_id), ''),
			(SELECT id FROM responses r WHERE messages.response_id IS NULL AND r.conversation_id = $1::uuid AND r.seq = messages.seq + 1 AND r.ended_at IS NOT NULL
			    AND NOT EXISTS (SELECT 1 FROM messages said WHERE said.conversation_id = $1::uuid AND said.seq = r.seq) LIMIT 1)`
	}
	for _, r := range q.Ranges(line) {
		order, left := `ASC`, noLimit
		if q.Newest {
			order = `DESC`
		}
		if q.Limit > 0 {
			left = int64(q.Limit + 1 - len(messages))
		}
		rows, err := db.Query(ctx, `SELECT `+messageColumns+`, `+details+` FROM messages
			WHERE conversation_id = $1::uuid AND (seq, idx) >= ($2::bigint, $3::int) AND (seq, idx) <= ($4::bigint, $5::int)
			  AND (status <> 'deleted' OR $6::bool)
			ORDER BY seq `+order+`, idx `+order+` LIMIT $7::bigint`,
			q.ConversationID, r.From.Seq, r.From.Idx, r.To.Seq, r.To.Idx, q.Tombstones, left)
		if err != nil {
			return ThreadPage{}, err
		}
		if messages, err = pgx.AppendRows(messages, rows, scanThreadMessage); err != nil {
			return ThreadPage{}, err
		}
		if q.Limit > 0 && len(messages) > q.Limit {
			break
		}
	}
	return q.Cut(q.Join(messages, written, line)), nil
}

func scanThreadMessage(row pgx.CollectableRow) (Message, error) {
	var model, silent string
	m, err := scanMessageAnd(row, &model, (*uuidText)(&silent))
	m.Model, m.SilentID = model, silent
	return m, err
}

// Place returns where a message is or, if it was deleted, was in the order, or ErrNotFound. What is being written has its place.
func (s *Store) Place(ctx context.Context, conversationID, messageID string) (p Position, err error) {
	if !IsID(conversationID) || !IsID(messageID) {
		return p, ErrNotFound
	}
	err = s.pool.QueryRow(ctx, `SELECT seq, idx FROM messages WHERE id = $1::uuid AND conversation_id = $2::uuid
		UNION ALL
		SELECT r.seq, d.item FROM responses r JOIN response_deltas d ON d.response_id = r.id
		 WHERE r.conversation_id = $2::uuid AND r.ended_at IS NULL AND d.kind = 'item' AND d.item_id = $1::uuid`, messageID, conversationID).
		Scan(&p.Seq, &p.Idx)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		err = Wrap("message", err)
	}
	return p, err
}

// Message returns one message, or ErrNotFound when the conversation has no such message or it was deleted.
func (s *Store) Message(ctx context.Context, conversationID, id string) (Message, error) {
	if !IsID(conversationID) || !IsID(id) {
		return Message{}, ErrNotFound
	}
	rows, err := s.pool.Query(ctx, `SELECT `+messageColumns+` FROM messages
		WHERE id = $1::uuid AND conversation_id = $2::uuid AND status <> 'deleted'`, id, conversationID)
	if err != nil {
		return Message{}, Wrap("message", err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, scanMessage)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, ErrNotFound
	}
	if err != nil {
		return m, Wrap("message", err)
	}
	return m, nil
}

// UpdateConversation sets what change says of a conversation and returns it, or ErrNotFound, also for one with another title than
// change.TitleWas, or an [InvalidTextError]. It is no activity: the conversation keeps its place in the list.
func (s *Store) UpdateConversation(ctx context.Context, id string, change ConversationChange) (ConversationSummary, error) {
	metadata, err := change.Check()
	if err != nil {
		return ConversationSummary{}, err
	}
	if !IsID(id) {
		return ConversationSummary{}, ErrNotFound
	}
	rows, err := s.pool.Query(ctx, `UPDATE conversations SET title = coalesce($2::text, title), metadata = coalesce($3::json, metadata),
			pinned = coalesce($4::bool, pinned), archived = coalesce($5::bool, archived)
		WHERE id = $1::uuid AND ($6::text IS NULL OR title = $6::text) RETURNING `+summaryColumns+`, `+runningColumn,
		id, change.Title, metadata, change.Pinned, change.Archived, change.TitleWas)
	if err != nil {
		return ConversationSummary{}, Wrap("update conversation", err)
	}
	c, err := oneSummary(rows)
	if err != nil {
		err = Wrap("update conversation", err)
	}
	return c, err
}

// DeleteConversation erases a conversation: its messages, replies, their logs and its part of the search index. It
// returns ErrNotFound when there is none, so of two concurrent calls one succeeds.
func (s *Store) DeleteConversation(ctx context.Context, id string) error {
	return s.deleteConversation(ctx, id, nil)
}

// deleteConversation erases a conversation; with before only one that expires, see Expired.
func (s *Store) deleteConversation(ctx context.Context, id string, before *time.Time) error {
	if !IsID(id) {
		return ErrNotFound
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := holdIndex(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `SELECT FROM conversations WHERE id = $1::uuid AND ($2::timestamptz IS NULL OR updated_at < $2::timestamptz AND `+expires+`)
			FOR UPDATE`, id, before)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		if err := unindex(ctx, tx, id, nil); err != nil {
			return err
		}
		// Also of replies that have ended: a flush that overlapped with the end may have left rows.
		if _, err := tx.Exec(ctx, `DELETE FROM response_deltas WHERE response_id IN
			(SELECT id FROM responses WHERE conversation_id = $1::uuid)`, id); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM conversations WHERE id = $1::uuid`, id) // messages and responses cascade
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Wrap("delete conversation", err)
	}
	return err
}

// DeleteMessage erases one message. Its row keeps its place, empty, so that branches hold. It returns ErrNotFound when the
// conversation has no such message, or no longer, and ErrReplyRunning when it is part of a reply being written.
func (s *Store) DeleteMessage(ctx context.Context, conversationID, id string) error {
	if !IsID(conversationID) || !IsID(id) {
		return ErrNotFound
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := holdIndex(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE conversations SET message_count = message_count - 1
			WHERE id = $1::uuid AND EXISTS (SELECT FROM messages WHERE id = $2::uuid AND conversation_id = $1::uuid AND status <> 'deleted')`,
			conversationID, id)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			var running bool // or it was, until a moment ago
			err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM responses r JOIN response_deltas d ON d.response_id = r.id
				WHERE r.conversation_id = $1::uuid AND r.ended_at IS NULL AND d.kind = 'item' AND d.item_id = $2::uuid)
				OR EXISTS (SELECT FROM messages WHERE id = $2::uuid AND conversation_id = $1::uuid AND status <> 'deleted')`, conversationID, id).Scan(&running)
			if err != nil {
				return err
			}
			if running {
				return ErrReplyRunning
			}
			return ErrNotFound
		}
		tag, err = tx.Exec(ctx, `UPDATE messages SET content = '', item = NULL, status = 'deleted'
			WHERE id = $1::uuid AND status <> 'deleted'`, id)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound // another call was first; its count stands
		}
		return unindex(ctx, tx, conversationID, []string{id})
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Wrap("delete message", err)
	}
	return err
}

const summaryColumns = `id, model, started_at, message_count, title, updated_at, head, metadata, pinned, archived, listed`

// runningColumn comes after summaryColumns.
const runningColumn = `(SELECT r.id FROM responses r WHERE r.conversation_id = conversations.id AND r.ended_at IS NULL ORDER BY r.seq DESC LIMIT 1) AS running`

// collectSummaries reads rows of summaryColumns and runningColumn, about n of them. It allocates nothing for a row but the row.
func collectSummaries(rows pgx.Rows, n int) ([]ConversationSummary, error) {
	list := make([]ConversationSummary, 0, n)
	var c ConversationSummary
	var metadata pgtype.DriverBytes
	_, err := pgx.ForEachRow(rows, []any{(*uuidText)(&c.ID), &c.Model, &c.StartedAt, &c.MessageCount, &c.Title, &c.UpdatedAt, &c.Head, &metadata,
		&c.Pinned, &c.Archived, &c.Listed, (*uuidText)(&c.RunningID)}, func() error {
		c.Metadata = map[string]string{}
		list = append(list, c)
		if string(metadata) == "{}" { // nearly always
			return nil
		}
		return json.Unmarshal(metadata, &c.Metadata)
	})
	return list, err
}

// oneSummary reads the row of summaryColumns and runningColumn, or returns ErrNotFound.
func oneSummary(rows pgx.Rows) (ConversationSummary, error) {
	list, err := collectSummaries(rows, 1)
	if err != nil {
		return ConversationSummary{}, err
	}
	if len(list) == 0 {
		return ConversationSummary{}, ErrNotFound
	}
	return list[0], nil
}

const messageColumns = `id, conversation_id, role, content, created_at, seq, idx, parent_id, status, response_id, item`

func scanMessage(row pgx.CollectableRow) (Message, error) { return scanMessageAnd(row) }

// scanMessageAnd scans messageColumns and what the statement has after them.
func scanMessageAnd(row pgx.CollectableRow, more ...any) (m Message, err error) {
	err = row.Scan(append([]any{(*uuidText)(&m.ID), (*uuidText)(&m.ConversationID), &m.Role, &m.Content, &m.CreatedAt, &m.Seq, &m.Idx,
		(*uuidText)(&m.ParentID), &m.Status, (*uuidText)(&m.ResponseID), (*[]byte)(&m.Item)}, more...)...)
	return m, err
}

// uuidText scans a uuid as its text, NULL as "".
type uuidText string

// ScanUUID implements [pgtype.UUIDScanner].
func (t *uuidText) ScanUUID(v pgtype.UUID) error {
	*t = ""
	if v.Valid {
		*t = uuidText(uuid.UUID(v.Bytes).String())
	}
	return nil
}

// uuids are passed as a uuid[]. A []string pgx would send as text, three times as long, after it has found each time that it has no
// other form for it, by making an error that holds all of it.
type uuids = pgtype.FlatArray[pgtype.UUID]

// newUUID is id as an argument. What is none, such as "", is NULL.
func newUUID(id string) pgtype.UUID {
	u, err := uuid.Parse(id)
	return pgtype.UUID{Bytes: u, Valid: err == nil}
}

// newUUIDs are ids as an argument; nil is NULL.
func newUUIDs(ids []string) uuids {
	if ids == nil {
		return nil
	}
	list := make(uuids, len(ids))
	for i, id := range ids {
		list[i] = newUUID(id)
	}
	return list
}

// NewID returns a new id: a UUIDv7, which sorts by the time it was made.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// IsID reports whether id is a UUID as [NewID] writes it; another spelling of it names nothing.
func IsID(id string) bool {
	u, err := uuid.Parse(id)
	return err == nil && u.String() == id
}

// CheckMessages returns an [InvalidTextError] for the first text of messages that cannot be kept. It is for both engines.
func CheckMessages(messages []NewMessage) error {
	for _, m := range messages {
		if err := errors.Join(CheckText("role", m.Role), CheckText("content", m.Content), CheckText("item", string(m.Item))); err != nil {
			return err
		}
	}
	return nil
}

// Check returns the metadata as JSON, or an [InvalidTextError]. It is for both engines.
func (c NewConversation) Check() (metadata string, err error) {
	if err := errors.Join(CheckText("model", c.Model), CheckText("title", c.Title), CheckText("key", c.Key), CheckMessages(c.Messages)); err != nil {
		return "", err
	}
	return MetadataJSON(c.Metadata)
}

// Check returns the metadata as JSON, nil where it is to stay, or an [InvalidTextError]. It is for both engines.
func (c ConversationChange) Check() (metadata *string, err error) {
	for _, title := range []*string{c.Title, c.TitleWas} {
		if title == nil {
			continue
		}
		if err := CheckText("title", *title); err != nil {
			return nil, err
		}
	}
	if c.Metadata == nil {
		return nil, nil
	}
	text, err := MetadataJSON(c.Metadata)
	return &text, err
}

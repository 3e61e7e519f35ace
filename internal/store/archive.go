package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// The record as rows that another record takes: ids, order, times, branches, replies and their logs, nothing left out. A reply
// that is being written goes as one that ended there, interrupted.

// ArchiveRow is a row of a record that is read or restored: exactly one of the first three is set. A conversation comes first,
// then its messages in order, then its replies in order.
type ArchiveRow struct {
	Conversation *ArchivedConversation `json:"conversation,omitempty"`
	Message      *ArchivedMessage      `json:"message,omitempty"`
	Response     *ArchivedResponse     `json:"response,omitempty"`

	Abandon bool `json:"-"` // for Restore: what was given of the last conversation is not to be kept
}

// ArchivedConversation is a row of conversations.
type ArchivedConversation struct {
	ID           string          `json:"id"`
	Model        string          `json:"model"`
	Title        string          `json:"title"`
	StartedAt    time.Time       `json:"started_at"`
	UpdatedAt    time.Time       `json:"updated_at"`
	Head         int64           `json:"head"`
	MessageCount int             `json:"message_count"`
	Metadata     json.RawMessage `json:"metadata"`
	Pinned       bool            `json:"pinned"`
	Archived     bool            `json:"archived"`
	Listed       bool            `json:"listed"`
}

// ArchivedMessage is a row of messages. A deleted one has its place and no text.
type ArchivedMessage struct {
	ID         string          `json:"id"`
	Seq        int64           `json:"seq"`
	Idx        int             `json:"idx"`
	ParentID   string          `json:"parent_id,omitempty"`
	Role       string          `json:"role"`
	Status     MessageStatus   `json:"status"`
	ResponseID string          `json:"response_id,omitempty"`
	CreatedAt  time.Time       `json:"created_at"`
	Content    string          `json:"content"`
	Item       json.RawMessage `json:"item,omitempty"`
}

// ArchivedResponse is a row of responses, always of one that has ended.
type ArchivedResponse struct {
	ID               string          `json:"id"`
	PreviousID       string          `json:"previous_response_id,omitempty"`
	Seq              int64           `json:"seq"`
	Inputs           int             `json:"inputs"`
	ParentID         string          `json:"parent_id,omitempty"`
	Status           ResponseStatus  `json:"status"`
	Model            string          `json:"model"`
	Request          json.RawMessage `json:"request"`
	Usage            json.RawMessage `json:"usage,omitempty"`
	Error            json.RawMessage `json:"error,omitempty"`
	IncompleteReason string          `json:"incomplete_reason,omitempty"`
	CreatedAt        time.Time       `json:"created_at"`
	EndedAt          time.Time       `json:"ended_at"`
	Log              string          `json:"log"`
}

// Check returns an error for a row that no record takes.
func (r ArchiveRow) Check() error {
	switch {
	case r.Conversation != nil:
		c := r.Conversation
		return errors.Join(checkIDs("id", c.ID), CheckText("model", c.Model), CheckText("title", c.Title), checkTimes(c.StartedAt, c.UpdatedAt),
			checkJSON("metadata", c.Metadata, &map[string]string{}))
	case r.Message != nil:
		m := r.Message
		err := errors.Join(checkIDs("id", m.ID), checkIDs("parent_id", m.ParentID), checkIDs("response_id", m.ResponseID),
			CheckText("content", m.Content), checkTimes(m.CreatedAt))
		if m.ID == "" || m.Seq < 1 || m.Idx < 0 {
			err = errors.Join(err, errors.New("a message needs an id, a seq from 1 and an idx from 0"))
		}
		if BadRole(m.Role) != "" || m.Role == "" {
			err = errors.Join(err, fmt.Errorf("role %q is not one of user, assistant, system", m.Role))
		}
		if !slices.Contains([]MessageStatus{MessageCompleted, MessageIncomplete, MessageDeleted}, m.Status) {
			err = errors.Join(err, fmt.Errorf("status %q is none of a message's", m.Status))
		}
		if m.Item != nil {
			err = errors.Join(err, checkJSON("item", m.Item, &Item{}))
		}
		return err
	case r.Response != nil:
		p := r.Response
		err := errors.Join(checkIDs("id", p.ID), checkIDs("previous_response_id", p.PreviousID), checkIDs("parent_id", p.ParentID),
			CheckText("model", p.Model), CheckText("incomplete_reason", p.IncompleteReason), CheckText("log", p.Log), checkTimes(p.CreatedAt, p.EndedAt),
			checkJSON("request", p.Request, new(any)))
		if p.ID == "" || p.Seq < 1 || p.Inputs < 0 {
			err = errors.Join(err, errors.New("a response needs an id, a seq from 1 and inputs from 0"))
		}
		if !slices.Contains([]ResponseStatus{ResponseCompleted, ResponseIncomplete, ResponseFailed, ResponseCancelled}, p.Status) {
			err = errors.Join(err, fmt.Errorf("status %q is none of a response that has ended", p.Status))
		}
		return errors.Join(err, new(Response).Decode(p.Usage, p.Error))
	}
	return errors.New("neither a conversation, nor a message, nor a response")
}

func checkIDs(field, id string) error {
	if id != "" && !IsID(id) {
		return fmt.Errorf("%s: %q is not a UUID in lower case", field, id)
	}
	return nil
}

func checkTimes(times ...time.Time) error {
	for _, t := range times {
		if t.Year() < 1 || t.Year() > 9999 || t.Nanosecond()%1000 != 0 {
			return fmt.Errorf("the time %s cannot be kept to the microsecond", t)
		}
	}
	return nil
}

func checkJSON(field string, text json.RawMessage, as any) error {
	if err := CheckText(field, string(text)); err != nil {
		return err
	}
	if err := json.Unmarshal(text, as); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

// Unsettled is a reply that is being written, as [Store.ArchiveConversation] and [Store.Thread] meet it.
type Unsettled struct {
	ID        string
	Seq       int64
	ParentID  string
	CreatedAt time.Time
	Model     string // where [Store.Thread] meets it
	Deltas    []Delta
}

// Archiver gives the rows of one conversation to f, those of replies being written as if they had ended. It is for both engines.
type Archiver struct {
	give    func(ArchiveRow) error
	waiting []ArchivedMessage // of replies being written, in order
	logs    map[string]string
}

// NewArchiver begins with the conversation itself and the replies that are being written in it.
func NewArchiver(c ArchivedConversation, running []Unsettled, f func(ArchiveRow) error) (*Archiver, error) {
	a := &Archiver{give: f, logs: map[string]string{}}
	for _, r := range running {
		messages, log, err := Fold(r.Deltas)
		if err != nil {
			return nil, err
		}
		a.logs[r.ID] = log
		for i, m := range messages {
			kept := ArchivedMessage{ID: m.ID, Seq: r.Seq, Idx: m.Idx, Role: m.Role, Status: m.Status, ResponseID: r.ID, CreatedAt: r.CreatedAt,
				Content: m.Content, Item: m.Item}
			if i == 0 {
				kept.ParentID = r.ParentID
			}
			a.waiting = append(a.waiting, kept)
		}
	}
	slices.SortStableFunc(a.waiting, func(a, b ArchivedMessage) int { return int(a.Seq - b.Seq) })
	c.MessageCount += len(a.waiting)
	c.StartedAt, c.UpdatedAt, c.Metadata = c.StartedAt.UTC(), c.UpdatedAt.UTC(), compact(c.Metadata)
	return a, a.give(ArchiveRow{Conversation: &c})
}

// Message gives the next message.
func (a *Archiver) Message(m ArchivedMessage) error {
	if err := a.pending(m.Seq); err != nil {
		return err
	}
	m.CreatedAt, m.Item = m.CreatedAt.UTC(), compact(m.Item)
	return a.give(ArchiveRow{Message: &m})
}

// pending gives the messages that come before seq.
func (a *Archiver) pending(seq int64) error {
	for len(a.waiting) > 0 && a.waiting[0].Seq < seq {
		m := a.waiting[0]
		a.waiting = a.waiting[1:]
		if err := a.Message(m); err != nil {
			return err
		}
	}
	return nil
}

// Done says that there are no more messages.
func (a *Archiver) Done() error { return a.pending(int64(1)<<62 - 1) }

// Response gives the next reply.
func (a *Archiver) Response(r ArchivedResponse, ended *time.Time) error {
	r.CreatedAt, r.EndedAt = r.CreatedAt.UTC(), r.CreatedAt.UTC()
	if ended != nil {
		r.EndedAt = ended.UTC()
	} else {
		r.Status, r.IncompleteReason, r.Log = ResponseIncomplete, "interrupted", a.logs[r.ID]
	}
	r.Request, r.Usage, r.Error = compact(r.Request), compact(r.Usage), compact(r.Error)
	return a.give(ArchiveRow{Response: &r})
}

// compact takes the spaces between the tokens out of JSON: an archive has a row a line.
func compact(text json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	if text == nil || json.Compact(&out, text) != nil {
		return text
	}
	return out.Bytes()
}

// ConversationIDs returns the next ids after one, "" for the first, of all conversations, listed or not, in the order of the ids.
func (s *Store) ConversationIDs(ctx context.Context, after string, limit int) ([]string, error) {
	if after == "" {
		after = noID
	}
	rows, err := s.pool.Query(ctx, `SELECT id::text FROM conversations WHERE id > $1::uuid ORDER BY id LIMIT $2::int`, after, limit)
	if err != nil {
		return nil, Wrap("conversation ids", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, Wrap("conversation ids", err)
	}
	return ids, nil
}

// ArchiveSize returns how much all of ConversationIDs are. Nothing is to depend on it but what is told of progress.
func (s *Store) ArchiveSize(ctx context.Context) (conversations, messages int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*), coalesce(sum(message_count), 0)::bigint FROM conversations`).Scan(&conversations, &messages)
	if err != nil {
		err = Wrap("size", err)
	}
	return conversations, messages, err
}

// noID is the owner of replies that came from another record, and comes before every id.
const noID = "00000000-0000-0000-0000-000000000000"

// ArchiveConversation calls f with all rows of a conversation as of one moment, or returns ErrNotFound. It keeps no more than a
// row in memory. f must not wait for the database that it reads.
func (s *Store) ArchiveConversation(ctx context.Context, id string, f func(ArchiveRow) error) error {
	if !IsID(id) {
		return ErrNotFound
	}
	var failed error // f's own
	give := func(row ArchiveRow) error {
		failed = f(row)
		return failed
	}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`SELECT id, model, title, started_at, updated_at, head, message_count, metadata::text, pinned, archived, listed
			FROM conversations WHERE id = $1::uuid`, id)
		batch.Queue(`SELECT r.seq, r.parent_id, r.created_at, `+joinedDeltaColumns+` FROM responses r JOIN response_deltas d ON d.response_id = r.id
			WHERE r.conversation_id = $1::uuid AND r.ended_at IS NULL ORDER BY r.seq, r.id, d.n`, id)
		batch.Queue(`SELECT `+messageColumns+` FROM messages WHERE conversation_id = $1::uuid ORDER BY seq, idx`, id)
		batch.Queue(`SELECT id, previous_response_id, seq, inputs, parent_id, status, model, request::text, usage::text, error::text, incomplete_reason,
			created_at, ended_at, log FROM responses WHERE conversation_id = $1::uuid ORDER BY seq, id`, id)
		results := tx.SendBatch(ctx, batch)
		defer results.Close()

		var c ArchivedConversation
		err := results.QueryRow().Scan((*uuidText)(&c.ID), &c.Model, &c.Title, &c.StartedAt, &c.UpdatedAt, &c.Head, &c.MessageCount,
			(*[]byte)(&c.Metadata), &c.Pinned, &c.Archived, &c.Listed)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		var running []Unsettled
		rows, _ := results.Query()
		var u Unsettled
		var d Delta
		if _, err = pgx.ForEachRow(rows, []any{&u.Seq, (*uuidText)(&u.ParentID), &u.CreatedAt, (*uuidText)(&d.ResponseID), (*uuidText)(&d.ConversationID),
			&d.N, &d.Kind, &d.Item, &d.Part, (*uuidText)(&d.ItemID), &d.Text}, func() error {
			running = AddUnsettled(running, u, d)
			return nil
		}); err != nil {
			return err
		}
		a, err := NewArchiver(c, running, give)
		if err != nil {
			return err
		}
		rows, _ = results.Query()
		var m Message
		if _, err = pgx.ForEachRow(rows, []any{(*uuidText)(&m.ID), (*uuidText)(&m.ConversationID), &m.Role, &m.Content, &m.CreatedAt, &m.Seq, &m.Idx,
			(*uuidText)(&m.ParentID), &m.Status, (*uuidText)(&m.ResponseID), (*[]byte)(&m.Item)}, func() error {
			return a.Message(ArchivedMessage{m.ID, m.Seq, m.Idx, m.ParentID, m.Role, m.Status, m.ResponseID, m.CreatedAt, m.Content, m.Item})
		}); err != nil {
			return err
		}
		if err := a.Done(); err != nil {
			return err
		}
		rows, _ = results.Query()
		var r ArchivedResponse
		var ended *time.Time
		_, err = pgx.ForEachRow(rows, []any{(*uuidText)(&r.ID), (*uuidText)(&r.PreviousID), &r.Seq, &r.Inputs, (*uuidText)(&r.ParentID), &r.Status, &r.Model,
			(*[]byte)(&r.Request), (*[]byte)(&r.Usage), (*[]byte)(&r.Error), &r.IncompleteReason, &r.CreatedAt, &ended, &r.Log}, func() error {
			return a.Response(r, ended)
		})
		return err
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		err = Wrap("read conversation", err)
	}
	return err
}

// AddUnsettled adds the next row of a log to the reply it is of. It is for both engines.
func AddUnsettled(list []Unsettled, u Unsettled, d Delta) []Unsettled {
	if u.ID, u.Deltas = d.ResponseID, nil; len(list) == 0 || list[len(list)-1].ID != u.ID {
		list = append(list, u)
	}
	last := &list[len(list)-1]
	last.Deltas = append(last.Deltas, d)
	return list
}

// Restored says what was not added by a restoration.
type Restored struct {
	There   []string         // conversations that were there; an id is here once for each time it was given
	Clashes map[string]Clash // by conversation, those with an id that is taken
}

// Clash is an id that cannot be given again.
type Clash struct {
	ID string // of a message or reply
	Of string // the conversation that has it; the one that was to be added, where it is in it twice
}

// Restore adds conversations as they were archived, all of rows in one transaction, and queues their messages to be indexed. A
// conversation whose id the record has is left as it is, and one with a message or reply whose id is taken is left out: what is
// returned names them. Each row must have passed [ArchiveRow.Check]. It holds no more than a few thousand rows in memory.
func (s *Store) Restore(ctx context.Context, rows iter.Seq[ArchiveRow]) (Restored, error) {
	w := &restorer{Restored: Restored{Clashes: map[string]Clash{}}}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		for row := range rows {
			if err := w.add(ctx, tx, row); err != nil {
				return err
			}
		}
		return w.flush(ctx, tx)
	})
	if err != nil {
		return Restored{}, Wrap("restore", err)
	}
	return w.Restored, nil
}

// restorer gathers rows of a restoration.
type restorer struct {
	Restored
	id      string // of the conversation that rows are of
	skipped bool   // it was there or has a clash, as a flush has found

	conversations, messages, responses []restored
	size                               int
}

// restored is a row to insert.
type restored struct {
	conversation string
	ArchiveRow
}

// So much is written at once: little, as more rows are read meanwhile.
const (
	restoreRows  = 2000
	restoreBytes = 2 << 20
)

// restoredColumns are the columns that a restoration writes to each table.
var restoredColumns = map[string][]string{
	"conversations": strings.Fields("id started_at model head message_count updated_at title metadata pinned archived listed"),
	"messages":      strings.Fields("id conversation_id role content created_at seq idx parent_id status response_id item"),
	"responses": strings.Fields("id conversation_id previous_response_id seq parent_id status model request usage error incomplete_reason log server_id " +
		"created_at ended_at inputs"),
	"search_queue": {"message_id"},
}

func (r restored) id() string {
	switch {
	case r.Conversation != nil:
		return r.Conversation.ID
	case r.Message != nil:
		return r.Message.ID
	}
	return r.Response.ID
}

// columns are the row's.
func (r restored) columns() []any {
	switch {
	case r.Conversation != nil:
		c := r.Conversation
		return []any{uuidText(c.ID), c.StartedAt, c.Model, c.Head, c.MessageCount, c.UpdatedAt, c.Title, string(c.Metadata), c.Pinned, c.Archived, c.Listed}
	case r.Message != nil:
		m := r.Message
		return []any{uuidText(m.ID), uuidText(r.conversation), m.Role, m.Content, m.CreatedAt, m.Seq, m.Idx, uuidText(m.ParentID), string(m.Status),
			uuidText(m.ResponseID), jsonArg(m.Item)}
	}
	p := r.Response
	return []any{uuidText(p.ID), uuidText(r.conversation), uuidText(p.PreviousID), p.Seq, uuidText(p.ParentID), string(p.Status), p.Model, string(p.Request),
		jsonArg(p.Usage), jsonArg(p.Error), p.IncompleteReason, p.Log, uuidText(noID), p.CreatedAt, p.EndedAt, p.Inputs}
}

// UUIDValue passes "" as NULL. COPY takes no text for a uuid.
func (t uuidText) UUIDValue() (v pgtype.UUID, err error) {
	if t == "" {
		return v, nil
	}
	v.Bytes, err = uuid.Parse(string(t))
	v.Valid = err == nil
	return v, err
}

func (w *restorer) add(ctx context.Context, tx pgx.Tx, row ArchiveRow) error {
	switch {
	case row.Abandon:
		return w.abandon(ctx, tx)
	case row.Conversation != nil:
		c := row.Conversation
		if slices.ContainsFunc(w.conversations, func(r restored) bool { return r.conversation == c.ID }) {
			if err := w.flush(ctx, tx); err != nil {
				return err
			}
		}
		w.id = c.ID
		if _, w.skipped = w.Clashes[c.ID]; w.skipped {
			return nil
		}
		w.conversations = append(w.conversations, restored{c.ID, row})
		w.size += len(c.Metadata)
	case w.skipped:
	case row.Message != nil:
		w.messages = append(w.messages, restored{w.id, row})
		w.size += len(row.Message.Content) + len(row.Message.Item)
	case row.Response != nil:
		w.responses = append(w.responses, restored{w.id, row})
		w.size += len(row.Response.Request) + len(row.Response.Log)
	}
	if len(w.conversations)+len(w.messages)+len(w.responses) < restoreRows && w.size < restoreBytes {
		return nil
	}
	return w.flush(ctx, tx)
}

// abandon takes the last conversation back.
func (w *restorer) abandon(ctx context.Context, tx pgx.Tx) error {
	if err := w.flush(ctx, tx); err != nil || w.skipped || w.id == "" {
		return err
	}
	w.skipped = true
	return w.remove(ctx, tx, []string{w.id})
}

// remove takes back what was written of conversations.
func (w *restorer) remove(ctx context.Context, tx pgx.Tx, ids []string) error {
	_, err := tx.Exec(ctx, `DELETE FROM search_queue WHERE message_id IN (SELECT id FROM messages WHERE conversation_id = ANY($1::uuid[]))`, newUUIDs(ids))
	if err == nil {
		_, err = tx.Exec(ctx, `DELETE FROM conversations WHERE id = ANY($1::uuid[])`, newUUIDs(ids))
	}
	return err
}

// drop forgets the rows of conversations.
func (w *restorer) drop(dropped func(conversation string) bool) {
	of := func(r restored) bool { return dropped(r.conversation) }
	w.conversations, w.messages, w.responses = slices.DeleteFunc(w.conversations, of), slices.DeleteFunc(w.messages, of), slices.DeleteFunc(w.responses, of)
}

func (w *restorer) flush(ctx context.Context, tx pgx.Tx) error {
	for {
		if err := w.leaveThere(ctx, tx); err != nil {
			return err
		}
		// The savepoint is for the case that an id is taken, which is not looked for before.
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return w.insert(ctx, tx) })
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == codeUniqueViolation {
			if found, findErr := w.findClashes(ctx, tx); findErr != nil {
				return findErr
			} else if found || pg.ConstraintName == "conversations_pkey" { // somebody else has just added it
				continue
			}
		}
		w.conversations, w.messages, w.responses, w.size = nil, nil, nil, 0
		return err
	}
}

// findClashes leaves out the conversations with ids that are taken and reports whether there are any.
func (w *restorer) findClashes(ctx context.Context, tx pgx.Tx) (bool, error) {
	clashes := map[string]Clash{}
	if err := find(ctx, tx, clashes, w.messages, `SELECT id::text, conversation_id::text FROM messages WHERE id = ANY($1::uuid[])`); err != nil {
		return false, err
	}
	if err := find(ctx, tx, clashes, w.responses, `SELECT id::text, conversation_id::text FROM responses WHERE id = ANY($1::uuid[])`); err != nil {
		return false, err
	}
	maps.Copy(w.Clashes, clashes)
	w.drop(func(id string) bool { _, out := clashes[id]; return out })
	if _, out := clashes[w.id]; out {
		w.skipped = true
	}
	return len(clashes) > 0, w.remove(ctx, tx, slices.Collect(maps.Keys(clashes)))
}

// find adds to clashes what of rows has an id that is taken, as the query says, or that an earlier one has.
func find(ctx context.Context, tx pgx.Tx, clashes map[string]Clash, rows []restored, query string) error {
	ids, taken := make([]string, len(rows)), map[string]string{}
	for i, r := range rows {
		ids[i] = r.id()
	}
	found, err := tx.Query(ctx, query, newUUIDs(ids))
	if err != nil {
		return err
	}
	var id, of string
	if _, err := pgx.ForEachRow(found, []any{&id, &of}, func() error {
		taken[id] = of
		return nil
	}); err != nil {
		return err
	}
	for i, r := range rows {
		if _, out := clashes[r.conversation]; out {
			continue
		}
		if of, is := taken[ids[i]]; is {
			clashes[r.conversation] = Clash{ids[i], of}
		} else {
			taken[ids[i]] = r.conversation
		}
	}
	return nil
}

// leaveThere leaves the conversations alone that the record has.
func (w *restorer) leaveThere(ctx context.Context, tx pgx.Tx) error {
	if len(w.conversations) > 0 {
		ids := make([]string, len(w.conversations))
		for i, c := range w.conversations {
			ids[i] = c.conversation
		}
		rows, _ := tx.Query(ctx, `SELECT id::text FROM conversations WHERE id = ANY($1::uuid[])`, newUUIDs(ids))
		there, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(there) > 0 {
			set := map[string]bool{}
			for _, id := range there {
				set[id] = true
			}
			w.drop(func(id string) bool { return set[id] })
			w.There, w.skipped = append(w.There, there...), set[w.id]
		}
	}
	return nil
}

func (w *restorer) insert(ctx context.Context, tx pgx.Tx) error {
	write := func(table string, n int, row func(i int) []any) error {
		if n == 0 {
			return nil
		}
		source := pgx.CopyFromSlice(n, func(i int) ([]any, error) { return row(i), nil })
		_, err := tx.CopyFrom(ctx, pgx.Identifier{table}, restoredColumns[table], source)
		return err
	}
	var found []string // by a search
	for _, r := range w.messages {
		if m := r.Message; m.Status != MessageDeleted && m.Content != "" {
			found = append(found, m.ID)
		}
	}
	for _, t := range []struct {
		table string
		rows  []restored
	}{{"conversations", w.conversations}, {"messages", w.messages}, {"responses", w.responses}} {
		if err := write(t.table, len(t.rows), func(i int) []any { return t.rows[i].columns() }); err != nil {
			return err
		}
	}
	return write("search_queue", len(found), func(i int) []any { return []any{uuidText(found[i])} })
}

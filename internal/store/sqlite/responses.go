package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"

	"git.georgsen.dk/hwlab/internal/store"
)

// StartResponse keeps the input and reserves the reply's place, in one transaction: afterwards the question is in the
// record whatever happens to the answer. It returns [store.ErrNotFound] for an unknown conversation, previous response or message,
// [store.ErrReplyRunning] when the conversation, or the previous response, has not finished answering, a
// [store.ConflictError] when the conversation is not at n.Expect, [store.ErrFenced], and what AppendMessages refuses. With a
// key that was used before nothing is kept: it returns a [store.RepeatedError] for the same request, also when the two come
// at the same moment, and [store.ErrKeyReused] for another. With the ID of a response that was kept it returns a
// RepeatedError, too.
func (s *Store) StartResponse(ctx context.Context, n store.NewResponse) (store.Response, error) {
	if err := errors.Join(store.CheckMessages(n.Input), store.CheckText("model", n.Model), store.CheckText("title", n.Title),
		store.CheckText("request", string(n.Request)), store.CheckText("key", n.Key)); err != nil {
		return store.Response{}, err
	}
	if n.ConversationID != "" && !store.IsID(n.ConversationID) || n.PreviousID != "" && !store.IsID(n.PreviousID) ||
		n.After != nil && *n.After != "" && !store.IsID(*n.After) {
		return store.Response{}, store.ErrNotFound
	}
	r := store.Response{ID: cmp.Or(n.ID, store.NewID()), ConversationID: n.ConversationID, PreviousID: n.PreviousID, Model: n.Model, Request: n.Request,
		Status: store.ResponseInProgress}
	if r.Request == nil {
		r.Request = json.RawMessage("{}")
	}
	in := input(n.Input)
	if err := s.write(ctx, func(t tx) error { return t.start(n, in, &r) }); err != nil {
		return store.Response{}, wrap("start response", err)
	}
	return r, nil
}

func (t tx) start(n store.NewResponse, in []row, r *store.Response) error {
	if n.Key != "" {
		first, err := t.claimKey("responses", n.Key, n.Fingerprint, r.ID)
		if err != nil {
			return err
		}
		if first != r.ID {
			return &store.RepeatedError{ResponseID: first}
		}
	}
	if err := t.fence(n.Fence); err != nil {
		return err
	}
	var kept int
	if err := t.get(`SELECT 1 FROM responses WHERE id = ?`, []any{r.ID}, &kept); err == nil {
		return &store.RepeatedError{ResponseID: r.ID}
	} else if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	at := now()
	var previousSeq int64
	var previousParent string
	if n.PreviousID != "" {
		var ended bool
		err := t.get(`SELECT conversation_id, seq, coalesce(parent_id, ''), ended_at IS NOT NULL FROM responses WHERE id = ?`,
			[]any{n.PreviousID}, &r.ConversationID, &previousSeq, &previousParent, &ended)
		if err != nil {
			return found(err)
		}
		if !ended {
			return store.ErrReplyRunning
		}
	}

	var head int64 // before this turn
	if n.ConversationID == "" && n.PreviousID == "" {
		r.ConversationID, r.Titled = store.NewID(), n.Title != ""
		if _, err := t.exec(`INSERT INTO conversations (id, model, listed, started_at, updated_at, title, head, message_count)
			VALUES (?1, ?2, 0, ?3, ?3, ?4, ?5 + 1, ?5)`, r.ConversationID, n.Model, at, n.Title, len(in)); err != nil {
			return err
		}
	} else {
		if n.Title != "" {
			if err := t.get(`SELECT title = '' FROM conversations WHERE id = ?`, []any{r.ConversationID}, &r.Titled); err != nil {
				return found(err)
			}
		}
		err := t.get(`UPDATE conversations
			   SET head = head + ?2 + 1, message_count = message_count + ?2, updated_at = ?3,
			       title = CASE WHEN title = '' THEN ?4 ELSE title END, model = CASE WHEN model = '' THEN ?5 ELSE model END
			 WHERE id = ?1 RETURNING head - ?2 - 1, listed`,
			[]any{r.ConversationID, len(in), at, n.Title, n.Model}, &head, &r.Listed)
		if err != nil {
			return found(err)
		}
	}
	if n.ConversationID != "" {
		if n.Expect != nil && *n.Expect != head {
			return &store.ConflictError{Head: head}
		}
		if running, err := t.runningIn(r.ConversationID); err != nil {
			return err
		} else if running != "" {
			return store.ErrReplyRunning
		}
	}

	// A turn after an earlier response than the last leaves the line there; so does one after a response that left the line
	// itself and had no output to be continued.
	parent := ""
	if n.PreviousID != "" && (head != previousSeq || previousParent != "") {
		err := t.get(`SELECT id FROM messages WHERE conversation_id = ? AND seq = ? ORDER BY idx DESC LIMIT 1`,
			[]any{r.ConversationID, previousSeq}, &parent)
		output := err == nil
		if errors.Is(err, sql.ErrNoRows) {
			if parent, err = previousParent, nil; parent == "" {
				err = t.get(`SELECT id FROM messages WHERE conversation_id = ? AND seq < ? ORDER BY seq DESC, idx DESC LIMIT 1`,
					[]any{r.ConversationID, previousSeq}, &parent)
			}
			if errors.Is(err, sql.ErrNoRows) { // nothing to continue: it begins anew, which the conversation's id says
				parent, err = r.ConversationID, nil
			}
		}
		if err != nil {
			return err
		}
		if output && head == previousSeq {
			parent = "" // it follows by itself
		}
	}

	if n.ConversationID != "" && n.After != nil {
		if parent = r.ConversationID; *n.After != "" {
			if err := t.get(`SELECT id FROM messages WHERE id = ? AND conversation_id = ?`, []any{*n.After, r.ConversationID}, &parent); err != nil {
				return found(err)
			}
		}
	}

	if len(in) > 0 {
		if err := t.insertInput(in, r.ConversationID, head, at, parent); err != nil {
			return err
		}
		parent = ""
	}
	r.Seq, r.Inputs, r.ParentID, r.CreatedAt = head+int64(len(in))+1, len(in), parent, instant(at)
	_, err := t.exec(`INSERT INTO responses (id, conversation_id, previous_response_id, seq, parent_id, status, model, request, server_id, created_at, inputs)
		VALUES (?, ?, nullif(?, ''), ?, nullif(?, ''), ?, ?, ?, ?, ?, ?)`,
		r.ID, r.ConversationID, r.PreviousID, r.Seq, r.ParentID, string(r.Status), r.Model, string(r.Request), n.Fence.ServerID, at, r.Inputs)
	return err
}

// fence refuses a server whose row is no longer as it was when it joined. It stays so until the transaction ends.
func (t tx) fence(f store.Fence) error {
	var held int
	err := t.get(`SELECT 1 FROM servers WHERE id = ? AND epoch = ?`, []any{f.ServerID, f.Epoch}, &held)
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrFenced
	}
	return err
}

// AppendDeltas commits log rows of any number of running replies in one transaction. It is safe to repeat: a row that is
// there already is left as it is. It returns [store.ErrFenced], having written nothing, when the server's replies were
// taken over, and a [store.InvalidTextError] for text that has not gone through [store.CleanText].
func (s *Store) AppendDeltas(ctx context.Context, f store.Fence, deltas []store.Delta) error {
	if len(deltas) == 0 {
		return nil
	}
	if err := store.CheckDeltas(deltas); err != nil {
		return err
	}
	return wrap("append to log", s.write(ctx, func(t tx) error {
		if err := t.fence(f); err != nil {
			return err
		}
		for _, d := range deltas {
			if _, err := t.exec(`INSERT INTO response_deltas (response_id, conversation_id, n, kind, item, part, item_id, text)
				SELECT ?1, ?2, ?3, ?4, ?5, ?6, nullif(?7, ''), ?8 WHERE EXISTS (SELECT 1 FROM responses WHERE id = ?1 AND ended_at IS NULL)
				ON CONFLICT DO NOTHING`,
				d.ResponseID, d.ConversationID, d.N, string(d.Kind), d.Item, d.Part, d.ItemID, d.Text); err != nil {
				return err
			}
		}
		return nil
	}))
}

// FinishResponse ends a reply: its log becomes its messages, in one transaction, and the log's rows go. What was committed
// to the log, and then f.Deltas, is what is kept; there is no other source. It returns the reply and its log as ReadLog does from now
// on; one that has ended already as it ended. It returns [store.ErrNotFound] when the reply or its conversation was deleted, and then
// removes what is left of its log; and [store.ErrFenced].
func (s *Store) FinishResponse(ctx context.Context, f store.Finish) (r store.Response, log []store.Delta, err error) {
	if !store.IsID(f.ConversationID) || !store.IsID(f.ResponseID) {
		return r, nil, store.ErrNotFound
	}
	if err := errors.Join(store.CheckText("incomplete_reason", f.IncompleteReason), store.CheckDeltas(f.Deltas)); err != nil {
		return r, nil, err
	}
	missing, over := false, false
	err = s.write(ctx, func(t tx) error {
		if err := t.fence(f.Fence); err != nil {
			return err
		}
		list, err := collect(t, scanResponse, `SELECT `+responseColumns+` FROM responses r JOIN conversations c ON c.id = r.conversation_id
			WHERE r.id = ? AND r.conversation_id = ?`, f.ResponseID, f.ConversationID)
		r, err = one(list, err)
		if missing = errors.Is(err, store.ErrNotFound); missing {
			_, err = t.exec(`DELETE FROM response_deltas WHERE response_id = ?`, f.ResponseID)
		}
		if over = r.Ended(); err != nil || missing || over {
			return err
		}
		log, err = t.finish(f, &r)
		return err
	})
	switch {
	case err != nil:
		return store.Response{}, nil, wrap("finish response", err)
	case missing:
		s.emptyLog(ctx)
		return store.Response{}, nil, store.ErrNotFound
	case over:
		return s.ReadLog(ctx, f.ResponseID, 0)
	}
	return r, log, nil
}

// finish ends a reply and returns its log.
func (t tx) finish(f store.Finish, r *store.Response) ([]store.Delta, error) {
	deltas, err := collect(t, scanDelta, `SELECT `+deltaColumns+` FROM response_deltas WHERE response_id = ? ORDER BY n`, r.ID)
	if err != nil {
		return nil, err
	}
	if deltas, err = f.Log(deltas); err != nil {
		return nil, err
	}
	messages, log, err := store.Fold(deltas)
	if err != nil {
		return nil, err
	}
	usage, failure, err := f.Encode()
	if err != nil {
		return nil, err
	}
	at := now()
	for i, m := range messages {
		m.ConversationID, m.ResponseID, m.Seq = r.ConversationID, r.ID, r.Seq
		if i == 0 {
			m.ParentID = r.ParentID
		}
		if err := t.insert(row{m, words(m.Content)}, at); err != nil {
			return nil, err
		}
	}
	if _, err := t.exec(`UPDATE conversations SET message_count = message_count + ?, updated_at = ? WHERE id = ?`,
		len(messages), at, r.ConversationID); err != nil {
		return nil, err
	}
	if _, err := t.exec(`DELETE FROM response_deltas WHERE response_id = ?`, r.ID); err != nil {
		return nil, err
	}
	r.Status, r.IncompleteReason, r.EndedAt = f.Status, f.IncompleteReason, instant(at)
	if err := r.Decode(usage, failure); err != nil { // as it is kept
		return nil, err
	}
	_, err = t.exec(`UPDATE responses SET status = ?, usage = ?, error = ?, incomplete_reason = ?, log = ?, ended_at = ?,
			cancel_requested = cancel_requested OR ? = 'cancelled' WHERE id = ?`,
		string(f.Status), text(usage), text(failure), f.IncompleteReason, log, at, string(f.Status), r.ID)
	return deltas, err
}

// DeleteResponse removes a reply and returns it as it was. In a listed conversation its messages stay, and one that runs is
// ended first, as cancelled; in another its messages are erased, input and output, and the conversation goes with the last of
// its replies when it holds nothing else. One that said nothing leaves its place, like a deleted message. Its owner can write
// nothing more of it. It returns [store.ErrNotFound] when there is none, so of two concurrent calls one succeeds.
func (s *Store) DeleteResponse(ctx context.Context, id string) (r store.Response, err error) {
	if !store.IsID(id) {
		return r, store.ErrNotFound
	}
	err = s.erase(ctx, func(t tx) error {
		list, err := collect(t, scanResponse, `SELECT `+responseColumns+` FROM responses r JOIN conversations c ON c.id = r.conversation_id
			WHERE r.id = ?`, id)
		if r, err = one(list, err); err != nil {
			return err
		}
		if r.Listed {
			err = t.leaveMessages(r)
		} else {
			err = t.eraseMessages(r)
		}
		if err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM response_deltas WHERE response_id = ?`, id); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM responses WHERE id = ?`, id); err != nil {
			return err
		}
		// Nothing of the order may be without a row: that would be a loss.
		if _, err := t.exec(`INSERT INTO messages (id, conversation_id, seq, created_at, role, status, content) SELECT ?1, ?2, ?3, ?4, 'assistant', 'deleted', ''
			WHERE NOT EXISTS (SELECT 1 FROM messages WHERE conversation_id = ?2 AND seq = ?3)`, store.NewID(), r.ConversationID, r.Seq, now()); err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM conversations WHERE id = ?1 AND listed = 0 AND message_count = 0
			AND NOT EXISTS (SELECT 1 FROM responses WHERE conversation_id = ?1)`, r.ConversationID)
		return err
	})
	return r, wrap("delete response", err)
}

// leaveMessages makes the messages of a reply that is about to go the conversation's alone.
func (t tx) leaveMessages(r store.Response) error {
	if !r.Ended() {
		if _, err := t.finish(store.Finish{Status: store.ResponseCancelled}, &r); err != nil {
			return err
		}
	}
	_, err := t.exec(`UPDATE messages SET response_id = NULL WHERE conversation_id = ? AND seq = ?`, r.ConversationID, r.Seq)
	return err
}

// eraseMessages erases the input and output of a reply; their places stay.
func (t tx) eraseMessages(r store.Response) error {
	from := r.Seq - int64(r.Inputs)
	if err := t.unindex(`conversation_id = ? AND seq BETWEEN ? AND ?`, r.ConversationID, from, r.Seq); err != nil {
		return err
	}
	erased, err := t.changed(`UPDATE messages SET content = '', item = NULL, status = 'deleted', response_id = NULL
		WHERE conversation_id = ? AND seq BETWEEN ? AND ? AND status <> 'deleted'`, r.ConversationID, from, r.Seq)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE conversations SET message_count = message_count - ? WHERE id = ?`, erased, r.ConversationID)
	return err
}

// ReadLog returns a reply and the rows of its log from row from on, in order. The rows and the reply's status are of one
// moment: when the reply has ended they are all there will ever be, and they are the rows that stood there while it ran.
// It returns [store.ErrNotFound] for an unknown or deleted reply.
func (s *Store) ReadLog(ctx context.Context, responseID string, from int) (r store.Response, deltas []store.Delta, err error) {
	if !store.IsID(responseID) {
		return r, nil, store.ErrNotFound
	}
	err = s.read(ctx, func(t tx) (err error) {
		r, deltas, err = t.readLog(responseID, from)
		return err
	})
	if err != nil {
		return store.Response{}, nil, wrap("read log", err)
	}
	return r, deltas, nil
}

func (t tx) readLog(id string, from int) (r store.Response, deltas []store.Delta, err error) {
	var log string
	list, err := collect(t, func(row scanner) (store.Response, error) { return scanResponseAnd(row, &log) },
		`SELECT `+responseColumns+`, r.log FROM responses r JOIN conversations c ON c.id = r.conversation_id WHERE r.id = ?`, id)
	if r, err = one(list, err); err != nil {
		return r, nil, err
	}
	if !r.Ended() {
		deltas, err = collect(t, scanDelta, `SELECT `+deltaColumns+` FROM response_deltas WHERE response_id = ? AND n >= ? ORDER BY n`, id, from)
		return r, deltas, err
	}
	outputs, err := t.line(store.ThreadQuery{ConversationID: r.ConversationID, Tombstones: true},
		[]store.Stretch{{From: store.Position{Seq: r.Seq}, To: store.Position{Seq: r.Seq, Idx: math.MaxInt32}}}, nil)
	if err != nil {
		return r, nil, err
	}
	if deltas, err = store.Unfold(r.ID, outputs.Messages, log); err != nil {
		return r, nil, err
	}
	return r, deltas[min(max(from, 0), len(deltas)):], nil
}

// History returns what a reply answers: the messages of its branch up to its place, in order, without deleted ones.
func (s *Store) History(ctx context.Context, r store.Response) (messages []store.Message, err error) {
	err = s.read(ctx, func(t tx) error {
		tip := store.Position{Seq: r.Seq - 1, Idx: math.MaxInt32}
		if r.ParentID == r.ConversationID {
			tip = store.Position{}
		} else if r.ParentID != "" {
			err := t.get(`SELECT seq, idx FROM messages WHERE id = ? AND conversation_id = ?`, []any{r.ParentID, r.ConversationID}, &tip.Seq, &tip.Idx)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		page, err := t.thread(store.ThreadQuery{ConversationID: r.ConversationID, Tip: &tip})
		messages = page.Messages
		return err
	})
	return messages, wrap("history", err)
}

// responseColumns are of responses r joined with conversations c.
const responseColumns = `r.id, r.conversation_id, c.listed, coalesce(r.previous_response_id, ''), r.seq, coalesce(r.parent_id, ''), r.status, r.model,
	r.request, r.usage, r.error, r.incomplete_reason, r.created_at, r.ended_at, r.inputs`

func scanResponse(row scanner) (store.Response, error) { return scanResponseAnd(row) }

// scanResponseAnd scans responseColumns and what the statement has after them.
func scanResponseAnd(row scanner, more ...any) (r store.Response, err error) {
	var usage, failure []byte
	if err := row.Scan(append([]any{&r.ID, &r.ConversationID, &r.Listed, &r.PreviousID, &r.Seq, &r.ParentID, &r.Status, &r.Model,
		(*[]byte)(&r.Request), &usage, &failure, &r.IncompleteReason, (*micros)(&r.CreatedAt), (*micros)(&r.EndedAt), &r.Inputs}, more...)...); err != nil {
		return r, err
	}
	return r, r.Decode(usage, failure)
}

const deltaColumns = `response_id, conversation_id, n, kind, item, part, coalesce(item_id, ''), text`

func scanDelta(row scanner) (d store.Delta, err error) {
	err = row.Scan(&d.ResponseID, &d.ConversationID, &d.N, &d.Kind, &d.Item, &d.Part, &d.ItemID, &d.Text)
	return d, err
}

// ReadTails reads on at many places at once, as of one moment: for each tail, what [Store.ReadLog] would give of a reply that
// runs.
func (s *Store) ReadTails(ctx context.Context, tails []store.Tail) ([]store.TailRows, error) {
	found := make([]store.TailRows, len(tails))
	err := s.read(ctx, func(t tx) error {
		for i, tail := range tails {
			var running bool
			err := t.get(`SELECT EXISTS (SELECT 1 FROM responses WHERE id = ? AND ended_at IS NULL)`, []any{tail.ResponseID}, &running)
			if err != nil {
				return err
			}
			if found[i].Over = !running; !running {
				continue
			}
			found[i].Deltas, err = collect(t, scanDelta, `SELECT `+deltaColumns+` FROM response_deltas WHERE response_id = ? AND n >= ? ORDER BY n`,
				tail.ResponseID, tail.From)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return found, wrap("read tails", err)
}

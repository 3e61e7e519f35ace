package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ResponseStatus is the state of a reply.
type ResponseStatus string

// The states of a reply. It starts in progress and ends once, in one of the other four.
const (
	ResponseInProgress ResponseStatus = "in_progress"
	ResponseCompleted  ResponseStatus = "completed"
	ResponseIncomplete ResponseStatus = "incomplete" // interrupted, or at a limit: IncompleteReason says which
	ResponseFailed     ResponseStatus = "failed"     // by the model: Error says why
	ResponseCancelled  ResponseStatus = "cancelled"
)

// ReasonInterrupted is why a reply is incomplete that its server could not finish, or of which the database has lost something.
const ReasonInterrupted = "interrupted"

// Usage counts the tokens of a reply.
type Usage struct {
	InputTokens     int64 `json:"input_tokens"`
	CachedTokens    int64 `json:"cached_tokens"`
	OutputTokens    int64 `json:"output_tokens"`
	ReasoningTokens int64 `json:"reasoning_tokens"`
}

// ResponseError is what a failed reply failed of, in words for the person who asked.
type ResponseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Response is one turn of the assistant.
type Response struct {
	ID               string
	ConversationID   string
	Listed           bool   // the conversation is a listed one
	Titled           bool   // its question gave the conversation the title; only StartResponse says so
	PreviousID       string // the response it was asked to continue, or ""
	Seq              int64  // of its output
	Inputs           int    // how many messages right before Seq were its input
	ParentID         string // as in [Message]; ConversationID where it begins anew
	Status           ResponseStatus
	Model            string
	Request          json.RawMessage // the request as its owner described it; opaque to the store
	Usage            *Usage          // nil until known
	Error            *ResponseError  // nil unless failed
	IncompleteReason string
	DroppedTurns     int // of the conversation's beginning, that did not fit the model's context
	CreatedAt        time.Time
	EndedAt          time.Time // zero while it runs
}

// Ended reports whether the reply has reached its one end.
func (r Response) Ended() bool { return !r.EndedAt.IsZero() }

// NewResponse starts a reply.
type NewResponse struct {
	ID    string // its id, so that a call whose outcome is not known can be repeated; "" is a new one
	Fence Fence

	// Where it goes: a conversation, or the end of an earlier response, or, with neither, a new unlisted conversation.
	ConversationID string
	PreviousID     string
	Expect         *int64  // with ConversationID: the Head the writer saw; nil: whatever it is
	After          *string // with ConversationID: the message to go on from, "" for a new beginning; nil: the active branch's last

	Input   []NewMessage
	Model   string
	Request json.RawMessage // a JSON value; nil is {}
	Title   string          // for a conversation that has none yet

	Key         string // an Idempotency-Key, or ""
	Fingerprint string // of the request that came with it
}

// Finish ends a reply.
type Finish struct {
	Fence            Fence
	ConversationID   string
	ResponseID       string
	Status           ResponseStatus // any but in progress
	Usage            *Usage
	Error            *ResponseError
	IncompleteReason string
	DroppedTurns     int
	Deltas           []Delta // the last rows of its log, where they were not appended; those that were are left as they are
}

// Log returns the whole log of a reply that ends, of which rows are in the record. A database that was brought back from a copy may have
// lost some of them: then the reply is not completed any more, and what is left is kept, all of it unless it makes no sense without
// what was lost. Where the rows that the end brings do not go on from there it returns a permanent error. It is for both engines.
func (f *Finish) Log(rows []Delta) ([]Delta, error) {
	next, gap := 0, -1
	for i := range rows {
		if rows[i].N > next && gap < 0 {
			gap = i
		}
		next, rows[i].N = rows[i].N+1, i
	}
	for _, d := range f.Deltas {
		if d.N > next {
			return nil, missingRow(next)
		}
		if d.N == next {
			next, d.N = next+1, len(rows)
			rows = append(rows, d)
		}
	}
	if gap < 0 {
		return rows, nil
	}
	if f.Status == ResponseCompleted {
		f.Status, f.IncompleteReason = ResponseIncomplete, ReasonInterrupted
	}
	if _, _, err := Fold(rows); err != nil {
		rows = rows[:gap]
	}
	return rows, nil
}

// missingRow is the number of a row that a reply's log should have.
type missingRow int

func (n missingRow) Error() string {
	return fmt.Sprintf("row %d of the reply's log is missing", int(n))
}

// Permanent makes the error one that is the same however often the call is repeated.
func (n missingRow) Permanent() bool { return true }

// keptUsage is Usage as it is kept, with what else is counted of a reply.
type keptUsage struct {
	*Usage
	DroppedTurns int `json:"dropped_turns,omitempty"`
}

// StartResponse keeps the input and reserves the reply's place, in one transaction: afterwards the question is in the
// record whatever happens to the answer. It returns ErrNotFound for an unknown conversation, previous response or message,
// ErrReplyRunning when the conversation, or the previous response, has not finished answering, a [ConflictError] when the
// conversation is not at n.Expect, ErrFenced, and what AppendMessages refuses. With a key that was used before nothing is
// kept: it returns a [RepeatedError] for the same request, also when the two come at the same moment, and ErrKeyReused for
// another. With the ID of a response that was kept it returns a RepeatedError, too.
func (s *Store) StartResponse(ctx context.Context, n NewResponse) (Response, error) {
	if err := errors.Join(CheckMessages(n.Input), CheckText("model", n.Model), CheckText("title", n.Title), CheckText("request", string(n.Request)),
		CheckText("key", n.Key)); err != nil {
		return Response{}, err
	}
	if n.ConversationID != "" && !IsID(n.ConversationID) || n.PreviousID != "" && !IsID(n.PreviousID) || n.After != nil && *n.After != "" && !IsID(*n.After) {
		return Response{}, ErrNotFound
	}
	r := Response{ID: cmp.Or(n.ID, NewID()), ConversationID: n.ConversationID, PreviousID: n.PreviousID, Model: n.Model, Request: n.Request,
		Status: ResponseInProgress}
	if r.Request == nil {
		r.Request = json.RawMessage("{}")
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error { return start(ctx, tx, n, &r) })
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == codeUniqueViolation && pg.ConstraintName == "responses_pkey" {
		err = &RepeatedError{ResponseID: r.ID}
	}
	var repeated *RepeatedError
	if errors.As(err, &repeated) {
		// The first call may have given up its wait for a synchronous standby. The lock is a commit of its own, which waits for
		// the standby to have all before it.
		if _, lock := s.pool.Exec(ctx, `SELECT FROM responses WHERE id = $1::uuid FOR KEY SHARE`, repeated.ResponseID); lock != nil {
			err = lock
		}
	}
	if err != nil {
		return Response{}, Wrap("start response", rowError(err, roles(n.Input)...))
	}
	return r, nil
}

func start(ctx context.Context, tx pgx.Tx, n NewResponse, r *Response) error {
	if n.Key != "" {
		first, err := claimKey(ctx, tx, "responses", n.Key, n.Fingerprint, r.ID)
		if err != nil {
			return err
		}
		if first != r.ID {
			return &RepeatedError{ResponseID: first}
		}
	}
	if err := holdFence(ctx, tx, n.Fence); err != nil {
		return err
	}
	var previousSeq int64
	var previousParent string
	if n.PreviousID != "" {
		var ended bool
		err := tx.QueryRow(ctx, `SELECT conversation_id::text, seq, coalesce(parent_id::text, ''), ended_at IS NOT NULL FROM responses
			WHERE id = $1::uuid`, n.PreviousID).Scan(&r.ConversationID, &previousSeq, &previousParent, &ended)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		if !ended {
			return ErrReplyRunning
		}
	} else if n.ConversationID == "" {
		r.ConversationID = NewID()
		if _, err := tx.Exec(ctx, `INSERT INTO conversations (id, model, listed) VALUES ($1::uuid, $2::text, false)`, r.ConversationID, n.Model); err != nil {
			return err
		}
	}

	var head int64 // before this turn
	err := tx.QueryRow(ctx, `UPDATE conversations
		   SET head = head + $2::bigint + 1, message_count = message_count + $2::bigint, updated_at = clock_timestamp(),
		       title = CASE WHEN title = '' THEN $3::text ELSE title END, model = CASE WHEN model = '' THEN $4::text ELSE model END
		 WHERE id = $1::uuid RETURNING head - $2::bigint - 1, listed, $3::text <> '' AND (SELECT o.title = '' FROM conversations o WHERE o.id = $1::uuid)`,
		r.ConversationID, len(n.Input), n.Title, n.Model).Scan(&head, &r.Listed, &r.Titled)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if n.ConversationID != "" {
		var running, repeated bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM responses WHERE conversation_id = $1::uuid AND ended_at IS NULL),
			EXISTS (SELECT FROM responses WHERE id = $2::uuid)`, r.ConversationID, r.ID).Scan(&running, &repeated)
		if err != nil {
			return err
		}
		if repeated {
			return &RepeatedError{ResponseID: r.ID}
		}
		if n.Expect != nil && *n.Expect != head {
			return &ConflictError{Head: head}
		}
		if running {
			return ErrReplyRunning
		}
	}

	// A turn after an earlier response than the last leaves the line there; so does one after a response that left the line
	// itself and had no output to be continued.
	parent := ""
	if n.PreviousID != "" && (head != previousSeq || previousParent != "") {
		err := tx.QueryRow(ctx, `SELECT id FROM messages WHERE conversation_id = $1::uuid AND seq = $2::bigint ORDER BY idx DESC LIMIT 1`,
			r.ConversationID, previousSeq).Scan((*uuidText)(&parent))
		output := err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			if parent, err = previousParent, nil; parent == "" {
				err = tx.QueryRow(ctx, `SELECT id FROM messages WHERE conversation_id = $1::uuid AND seq < $2::bigint
					ORDER BY seq DESC, idx DESC LIMIT 1`, r.ConversationID, previousSeq).Scan((*uuidText)(&parent))
			}
			if errors.Is(err, pgx.ErrNoRows) { // nothing to continue: it begins anew, which the conversation's id says
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
			err := tx.QueryRow(ctx, `SELECT id FROM messages WHERE id = $1::uuid AND conversation_id = $2::uuid`, *n.After, r.ConversationID).
				Scan((*uuidText)(&parent))
			if errors.Is(err, pgx.ErrNoRows) {
				return ErrNotFound
			}
			if err != nil {
				return err
			}
		}
	}

	if len(n.Input) > 0 {
		in := newAppendCall(Append{Messages: n.Input})
		_, err := tx.Exec(ctx, `WITH q AS (INSERT INTO search_queue (message_id) SELECT u FROM unnest($3::uuid[]) u)
			INSERT INTO messages (id, conversation_id, seq, role, content, item, parent_id)
			SELECT u.id, $1::uuid, $2::bigint + u.n, u.role, u.content, u.item::json, CASE WHEN u.n = 1 THEN nullif($7::text, '')::uuid END
			  FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY u(id, role, content, item, n)`,
			r.ConversationID, head, newUUIDs(in.ids), in.roles, in.contents, in.items, parent)
		if err != nil {
			return err
		}
		parent = ""
	}
	r.Seq, r.Inputs, r.ParentID = head+int64(len(n.Input))+1, len(n.Input), parent
	return tx.QueryRow(ctx, `INSERT INTO responses (id, conversation_id, previous_response_id, seq, parent_id, status, model, request, server_id, inputs)
		VALUES ($1::uuid, $2::uuid, nullif($3::text, '')::uuid, $4::bigint, nullif($5::text, '')::uuid, $6::text, $7::text, $8::json, $9::uuid, $10::int)
		RETURNING created_at`, r.ID, r.ConversationID, r.PreviousID, r.Seq, r.ParentID, string(r.Status), r.Model, string(r.Request), n.Fence.ServerID, r.Inputs).
		Scan(&r.CreatedAt)
}

// claimKey keeps a request's key for what it makes and returns that, or what the first request with the key made. One that is
// being kept at this moment is waited for.
func claimKey(ctx context.Context, tx pgx.Tx, scope, key, fingerprint, id string) (first string, err error) {
	tag, err := tx.Exec(ctx, `INSERT INTO idempotency (scope, key, fingerprint, response_id) VALUES ($1::text, $2::text, $3::text, $4::uuid)
		ON CONFLICT DO NOTHING`, scope, key, fingerprint, id)
	if err != nil || tag.RowsAffected() > 0 {
		return id, err
	}
	return keyed(ctx, tx, scope, key, fingerprint)
}

// keyed returns what the first request with a key made, or pgx.ErrNoRows.
func keyed(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, scope, key, fingerprint string) (first string, err error) {
	var known string
	err = q.QueryRow(ctx, `SELECT response_id, fingerprint FROM idempotency WHERE scope = $1::text AND key = $2::text`, scope, key).
		Scan((*uuidText)(&first), &known)
	if err == nil && known != fingerprint {
		err = ErrKeyReused
	}
	return first, err
}

// KeyedResponse returns which response the first request with an idempotency key started, though it may have been deleted since; "" when no
// request came with it, and ErrKeyReused when that was another request.
func (s *Store) KeyedResponse(ctx context.Context, key, fingerprint string) (responseID string, err error) {
	if CheckText("key", key) != nil {
		return "", nil
	}
	responseID, err = keyed(ctx, s.pool, "responses", key, fingerprint)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", Wrap("a request's key", err)
	}
	return responseID, nil
}

// ForgetKeys forgets the idempotency keys of before a time and returns how many they were.
func (s *Store) ForgetKeys(ctx context.Context, before time.Time) (int, error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM idempotency WHERE created_at < $1::timestamptz`, before)
	if err != nil {
		return 0, Wrap("forget keys", err)
	}
	return int(tag.RowsAffected()), nil
}

// AppendDeltas commits log rows of any number of running replies in one statement. It is safe to repeat: a row that is
// there already is left as it is, and rows of a reply that has ended or was deleted are not written. It returns ErrFenced,
// having written nothing, when the server's replies were taken over, and an [InvalidTextError] for text that has not gone
// through [CleanText].
func (s *Store) AppendDeltas(ctx context.Context, f Fence, deltas []Delta) error {
	if len(deltas) == 0 {
		return nil
	}
	if err := CheckDeltas(deltas); err != nil {
		return err
	}
	n := len(deltas)
	responses, conversations, itemIDs, kinds, texts := make(uuids, n), make(uuids, n), make(uuids, n), make([]string, n), make([]string, n)
	ns, items, parts := make([]int32, n), make([]int32, n), make([]int32, n)
	for i, d := range deltas {
		responses[i], conversations[i], itemIDs[i] = newUUID(d.ResponseID), newUUID(d.ConversationID), newUUID(d.ItemID)
		kinds[i], texts[i], ns[i], items[i], parts[i] = string(d.Kind), d.Text, int32(d.N), int32(d.Item), int32(d.Part)
	}
	var held int
	err := s.pool.QueryRow(ctx, `WITH fence AS MATERIALIZED (`+lockFence+`), rows AS (
			INSERT INTO response_deltas (response_id, conversation_id, n, kind, item, part, item_id, text)
			SELECT u.* FROM fence, unnest($3::uuid[], $4::uuid[], $5::int[], $6::text[], $7::int[], $8::int[], $9::uuid[], $10::text[]) u(response_id)
			 WHERE EXISTS (SELECT FROM responses r WHERE r.id = u.response_id AND r.ended_at IS NULL)
			ON CONFLICT DO NOTHING
		) SELECT count(*) FROM fence`,
		f.ServerID, f.Epoch, responses, conversations, ns, kinds, items, parts, itemIDs, texts).Scan(&held)
	if err != nil {
		return Wrap("append to log", err)
	}
	if held == 0 {
		return ErrFenced
	}
	return nil
}

// CheckDeltas returns an [InvalidTextError] for the first text of deltas that cannot be kept. It is for both engines.
func CheckDeltas(deltas []Delta) error {
	for _, d := range deltas {
		if err := CheckText("text", d.Text); err != nil {
			return err
		}
	}
	return nil
}

// FinishResponse ends a reply: its log becomes its messages, in one transaction, and the log's rows go. What was committed
// to the log, and then f.Deltas, is what is kept; there is no other source. It returns the reply and its log as ReadLog does from now
// on; one that has ended already as it ended. It returns ErrNotFound when the reply or its conversation was deleted, and then removes
// what is left of its log; and ErrFenced.
func (s *Store) FinishResponse(ctx context.Context, f Finish) (r Response, log []Delta, err error) {
	if !IsID(f.ConversationID) || !IsID(f.ResponseID) {
		return r, nil, ErrNotFound
	}
	if err := errors.Join(CheckText("incomplete_reason", f.IncompleteReason), CheckDeltas(f.Deltas)); err != nil {
		return r, nil, err
	}
	missing, over := false, false
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if err := holdFence(ctx, tx, f.Fence); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT FROM conversations WHERE id = $1::uuid FOR NO KEY UPDATE`, f.ConversationID); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+responseColumns+` FROM responses r JOIN conversations c ON c.id = r.conversation_id
			WHERE r.id = $1::uuid AND r.conversation_id = $2::uuid FOR UPDATE OF r`, f.ResponseID, f.ConversationID)
		if err != nil {
			return err
		}
		r, err = pgx.CollectExactlyOneRow(rows, scanResponse)
		if missing = errors.Is(err, pgx.ErrNoRows); missing {
			_, err = tx.Exec(ctx, `DELETE FROM response_deltas WHERE response_id = $1::uuid`, f.ResponseID)
			return err
		}
		if err != nil {
			return err
		}
		if over = r.Ended(); over { // by a deletion: a row that its owner was committing meanwhile is in no log
			_, err = tx.Exec(ctx, `DELETE FROM response_deltas WHERE response_id = $1::uuid`, f.ResponseID)
			return err
		}
		log, err = finish(ctx, tx, f, &r)
		return err
	})
	switch {
	case err != nil:
		return Response{}, nil, Wrap("finish response", err)
	case missing:
		return Response{}, nil, ErrNotFound
	case over:
		return s.ReadLog(ctx, f.ResponseID, 0)
	}
	return r, log, nil
}

// finish ends a reply and returns its log.
func finish(ctx context.Context, tx pgx.Tx, f Finish, r *Response) ([]Delta, error) {
	rows, err := tx.Query(ctx, `SELECT `+deltaColumns+` FROM response_deltas WHERE response_id = $1::uuid ORDER BY n`, r.ID)
	if err != nil {
		return nil, err
	}
	deltas, err := pgx.CollectRows(rows, scanDelta)
	if err != nil {
		return nil, err
	}
	if deltas, err = f.Log(deltas); err != nil {
		return nil, err
	}
	messages, log, err := Fold(deltas)
	if err != nil {
		return nil, err
	}
	for i, m := range messages {
		parent := ""
		if i == 0 {
			parent = r.ParentID
		}
		_, err := tx.Exec(ctx, `WITH q AS (INSERT INTO search_queue (message_id) VALUES ($1::uuid))
			INSERT INTO messages (id, conversation_id, seq, idx, role, content, status, response_id, item, parent_id)
			VALUES ($1::uuid, $2::uuid, $3::bigint, $4::int, $5::text, $6::text, $7::text, $8::uuid, $9::json, nullif($10::text, '')::uuid)`,
			m.ID, r.ConversationID, r.Seq, m.Idx, m.Role, m.Content, string(m.Status), r.ID, jsonArg(m.Item), parent)
		if err != nil {
			return nil, err
		}
	}
	if _, err := tx.Exec(ctx, `UPDATE conversations SET message_count = message_count + $2::bigint, updated_at = clock_timestamp()
		WHERE id = $1::uuid`, r.ConversationID, len(messages)); err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM response_deltas WHERE response_id = $1::uuid`, r.ID); err != nil {
		return nil, err
	}
	usage, failure, err := f.Encode()
	if err != nil {
		return nil, err
	}
	r.Status, r.IncompleteReason = f.Status, f.IncompleteReason
	if err := r.Decode(usage, failure); err != nil {
		return nil, err
	}
	err = tx.QueryRow(ctx, `UPDATE responses SET status = $2::text, usage = $3::json, error = $4::json, incomplete_reason = $5::text,
		log = $6::text, ended_at = clock_timestamp(), cancel_requested = cancel_requested OR $2::text = 'cancelled' WHERE id = $1::uuid RETURNING ended_at`,
		r.ID, string(f.Status), jsonArg(usage), jsonArg(failure), f.IncompleteReason, log).Scan(&r.EndedAt)
	return deltas, err
}

// DeleteResponse removes a reply and returns it as it was. In a listed conversation its messages stay, and one that runs is
// ended first, as cancelled; in another its messages are erased, input and output, and the conversation goes with the last of
// its replies when it holds nothing else. One that said nothing leaves its place, like a deleted message. Its owner can write
// nothing more of it. It returns ErrNotFound when there is none, so of two concurrent calls one succeeds.
func (s *Store) DeleteResponse(ctx context.Context, id string) (Response, error) {
	if !IsID(id) {
		return Response{}, ErrNotFound
	}
	var r Response
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := holdIndex(ctx, tx); err != nil { // first, since it may take long
			return err
		}
		// What its owner is committing to the log has been shown a moment later, and must be read below: wait for it.
		var owner string
		err := tx.QueryRow(ctx, `SELECT server_id FROM responses WHERE id = $1::uuid AND ended_at IS NULL`, id).Scan((*uuidText)(&owner))
		if err == nil {
			err = closeGate(ctx, tx, owner)
		}
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT FROM conversations WHERE id = (SELECT conversation_id FROM responses WHERE id = $1::uuid)
			FOR UPDATE`, id); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+responseColumns+` FROM responses r JOIN conversations c ON c.id = r.conversation_id
			WHERE r.id = $1::uuid FOR UPDATE OF r`, id)
		if err != nil {
			return err
		}
		r, err = pgx.CollectExactlyOneRow(rows, scanResponse)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		if r.Listed {
			err = leaveMessages(ctx, tx, r)
		} else {
			err = eraseMessages(ctx, tx, r)
		}
		if err != nil {
			return err
		}
		// Also of one that has ended: a flush that overlapped with the end may have left rows.
		if _, err := tx.Exec(ctx, `DELETE FROM response_deltas WHERE response_id = $1::uuid`, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM responses WHERE id = $1::uuid`, id); err != nil {
			return err
		}
		// Nothing of the order may be without a row: that would be a loss.
		if _, err := tx.Exec(ctx, `INSERT INTO messages (id, conversation_id, seq, role, status, content) SELECT $1::uuid, $2::uuid, $3::bigint, 'assistant', 'deleted', ''
			WHERE NOT EXISTS (SELECT FROM messages WHERE conversation_id = $2::uuid AND seq = $3::bigint)`, NewID(), r.ConversationID, r.Seq); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM conversations WHERE id = $1::uuid AND NOT listed AND message_count = 0
			AND NOT EXISTS (SELECT FROM responses WHERE conversation_id = $1::uuid)`, r.ConversationID)
		return err
	})
	if err != nil {
		return Response{}, Wrap("delete response", err)
	}
	return r, nil
}

// leaveMessages makes the messages of a reply that is about to go the conversation's alone.
func leaveMessages(ctx context.Context, tx pgx.Tx, r Response) error {
	if !r.Ended() {
		if _, err := finish(ctx, tx, Finish{Status: ResponseCancelled}, &r); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `UPDATE messages SET response_id = NULL WHERE conversation_id = $1::uuid AND seq = $2::bigint`, r.ConversationID, r.Seq)
	return err
}

// eraseMessages erases the input and output of a reply; their places stay.
func eraseMessages(ctx context.Context, tx pgx.Tx, r Response) error {
	rows, err := tx.Query(ctx, `UPDATE messages SET content = '', item = NULL, status = 'deleted', response_id = NULL
		WHERE conversation_id = $1::uuid AND seq BETWEEN $2::bigint AND $3::bigint AND status <> 'deleted' RETURNING id::text`,
		r.ConversationID, r.Seq-int64(r.Inputs), r.Seq)
	if err != nil {
		return err
	}
	erased, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if err := unindex(ctx, tx, r.ConversationID, erased); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE conversations SET message_count = message_count - $2::bigint WHERE id = $1::uuid`, r.ConversationID, len(erased))
	return err
}

// ReadLog returns a reply and the rows of its log from row from on, in order. The rows and the reply's status are of one
// moment: when the reply has ended they are all there will ever be, and they are the rows that stood there while it ran.
// It returns ErrNotFound for an unknown or deleted reply.
func (s *Store) ReadLog(ctx context.Context, responseID string, from int) (Response, []Delta, error) {
	if !IsID(responseID) {
		return Response{}, nil, ErrNotFound
	}
	// One statement: between two, the reply could end and its rows be folded away unseen.
	rows, err := s.pool.Query(ctx, `SELECT `+responseColumns+`, r.log, d.* FROM responses r JOIN conversations c ON c.id = r.conversation_id,
		LATERAL (SELECT array_agg(n ORDER BY n), array_agg(kind ORDER BY n), array_agg(item ORDER BY n), array_agg(part ORDER BY n),
		                array_agg(coalesce(item_id::text, '') ORDER BY n), array_agg(text ORDER BY n)
		           FROM response_deltas WHERE response_id = r.id AND n >= $2::int) d
		WHERE r.id = $1::uuid`, responseID, from)
	if err != nil {
		return Response{}, nil, Wrap("read log", err)
	}
	var log string
	var ns, items, parts []int
	var kinds, itemIDs, texts []string
	r, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (Response, error) {
		return scanResponseAnd(row, &log, &ns, &kinds, &items, &parts, &itemIDs, &texts)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return Response{}, nil, ErrNotFound
	}
	if err != nil {
		return Response{}, nil, Wrap("read log", err)
	}
	deltas := make([]Delta, len(ns))
	for i := range deltas {
		deltas[i] = Delta{ResponseID: r.ID, ConversationID: r.ConversationID, N: ns[i], Kind: DeltaKind(kinds[i]), Item: items[i],
			Part: parts[i], ItemID: itemIDs[i], Text: texts[i]}
	}
	if !r.Ended() {
		return r, deltas, nil
	}
	// It had ended, so its messages were there already, and no row of its log will come any more.
	messages, err := s.outputs(ctx, r)
	if err != nil {
		return Response{}, nil, err
	}
	if deltas, err = Unfold(r.ID, messages, log); err != nil {
		return Response{}, nil, err
	}
	return r, deltas[min(max(from, 0), len(deltas)):], nil
}

// History returns what a reply answers: the messages of its branch up to its place, in order, without deleted ones.
func (s *Store) History(ctx context.Context, r Response) ([]Message, error) {
	tip := Position{r.Seq - 1, lastPosition.Idx}
	if r.ParentID == r.ConversationID {
		tip = firstPosition
	} else if r.ParentID != "" {
		err := s.pool.QueryRow(ctx, `SELECT seq, idx FROM messages WHERE id = $1::uuid AND conversation_id = $2::uuid`,
			r.ParentID, r.ConversationID).Scan(&tip.Seq, &tip.Idx)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, Wrap("history", err)
		}
	}
	page, err := s.Thread(ctx, ThreadQuery{ConversationID: r.ConversationID, Tip: &tip})
	return page.Messages, err
}

// outputs are the messages of a reply that has ended, tombstones among them.
func (s *Store) outputs(ctx context.Context, r Response) ([]Message, error) {
	page, err := readLine(ctx, s.pool, ThreadQuery{ConversationID: r.ConversationID, Tombstones: true},
		[]Stretch{{Position{r.Seq, 0}, Position{r.Seq, lastPosition.Idx}}}, nil)
	if err != nil {
		return nil, Wrap("read log", err)
	}
	return page.Messages, nil
}

// responseColumns are of responses r joined with conversations c.
const responseColumns = `r.id, r.conversation_id, c.listed, r.previous_response_id, r.seq, r.parent_id, r.status, r.model, r.request, r.usage, r.error, r.incomplete_reason, r.created_at, r.ended_at, r.inputs`

func scanResponse(row pgx.CollectableRow) (Response, error) { return scanResponseAnd(row) }

func scanResponseAnd(row pgx.CollectableRow, more ...any) (r Response, err error) {
	var usage, failure []byte
	var ended *time.Time
	if err := row.Scan(append([]any{(*uuidText)(&r.ID), (*uuidText)(&r.ConversationID), &r.Listed, (*uuidText)(&r.PreviousID), &r.Seq,
		(*uuidText)(&r.ParentID), &r.Status, &r.Model,
		(*[]byte)(&r.Request), &usage, &failure, &r.IncompleteReason, &r.CreatedAt, &ended, &r.Inputs}, more...)...); err != nil {
		return r, err
	}
	if ended != nil {
		r.EndedAt = *ended
	}
	return r, r.Decode(usage, failure)
}

// Decode sets Usage, DroppedTurns and Error from their JSON; nil or empty leaves them nil. It is for both engines.
func (r *Response) Decode(usage, failure []byte) error {
	if len(usage) > 0 {
		var kept keptUsage
		if err := json.Unmarshal(usage, &kept); err != nil {
			return err
		}
		r.Usage, r.DroppedTurns = kept.Usage, kept.DroppedTurns
	}
	if len(failure) > 0 {
		return json.Unmarshal(failure, &r.Error)
	}
	return nil
}

// Encode is the inverse of [Response.Decode]; what is nil stays nil. It is for both engines.
func (f Finish) Encode() (usage, failure json.RawMessage, err error) {
	if f.Usage != nil || f.DroppedTurns > 0 {
		if usage, err = json.Marshal(keptUsage{f.Usage, f.DroppedTurns}); err != nil {
			return nil, nil, err
		}
	}
	if f.Error != nil {
		clean := ResponseError{Code: CleanText(f.Error.Code), Message: CleanText(f.Error.Message)}
		if failure, err = json.Marshal(clean); err != nil {
			return nil, nil, err
		}
	}
	return usage, failure, nil
}

const deltaColumns = `response_id, conversation_id, n, kind, item, part, item_id, text`

// joinedDeltaColumns are deltaColumns of response_deltas d.
const joinedDeltaColumns = `d.response_id, d.conversation_id, d.n, d.kind, d.item, d.part, d.item_id, d.text`

func scanDelta(row pgx.CollectableRow) (d Delta, err error) {
	err = row.Scan((*uuidText)(&d.ResponseID), (*uuidText)(&d.ConversationID), &d.N, &d.Kind, &d.Item, &d.Part, (*uuidText)(&d.ItemID), &d.Text)
	return d, err
}

// jsonArg passes JSON as text, nil as NULL.
func jsonArg(text json.RawMessage) *string {
	if text == nil {
		return nil
	}
	s := string(text)
	return &s
}

// Tail is a place in the log of a reply from which somebody reads on.
type Tail struct {
	ResponseID string
	From       int // the row to read next
}

// TailRows is what was found at a Tail.
type TailRows struct {
	Deltas []Delta // in order; their ConversationID is not set
	Over   bool    // the reply has ended or is gone: ReadLog says how, and has the rows
}

// ReadTails reads on at many places at once, in one statement and as of one moment: for each tail, what [Store.ReadLog] would
// give of a reply that runs.
func (s *Store) ReadTails(ctx context.Context, tails []Tail) ([]TailRows, error) {
	ids, froms := make(uuids, len(tails)), make([]int32, len(tails))
	for i, t := range tails {
		ids[i], froms[i] = newUUID(t.ResponseID), int32(t.From)
	}
	found := make([]TailRows, len(tails))
	rows, err := s.pool.Query(ctx, `SELECT u.i::int, r.id IS NULL OR r.ended_at IS NOT NULL, coalesce(d.n, -1), coalesce(d.kind, ''),
			coalesce(d.item, 0), coalesce(d.part, 0), d.item_id, coalesce(d.text, '')
		  FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY u(id, n, i)
		  LEFT JOIN responses r ON r.id = u.id
		  LEFT JOIN LATERAL (SELECT * FROM response_deltas WHERE response_id = u.id AND n >= u.n ORDER BY n LIMIT 10000) d ON true
		 ORDER BY u.i, d.n`, ids, froms)
	if err != nil {
		return nil, Wrap("read tails", err)
	}
	var i int
	var over bool
	var d Delta
	_, err = pgx.ForEachRow(rows, []any{&i, &over, &d.N, &d.Kind, &d.Item, &d.Part, (*uuidText)(&d.ItemID), &d.Text}, func() error {
		t := &found[i-1]
		t.Over = over
		if d.N >= 0 && !over {
			d.ResponseID = tails[i-1].ResponseID
			t.Deltas = append(t.Deltas, d)
		}
		return nil
	})
	if err != nil {
		return nil, Wrap("read tails", err)
	}
	return found, nil
}

package store

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Appends that come at the same time are committed together: the first is written at once, by its caller, and those that
// come meanwhile are the next batch. A lone writer waits for nothing but its own commit, and many share one.

// appendCall is one call of AppendMessages: its messages as columns, and what came of it.
type appendCall struct {
	conversationID       string
	expect               *int64
	ids, roles, contents []string
	items                []*string
	head                 int64 // after it
	err                  error
	done                 chan struct{}
	bytes                int
}

func newAppendCall(a Append) *appendCall {
	c := &appendCall{conversationID: a.ConversationID, expect: a.Expect, done: make(chan struct{})}
	for _, m := range a.Messages {
		c.ids, c.roles, c.contents = append(c.ids, NewID()), append(c.roles, m.Role), append(c.contents, m.Content)
		c.items = append(c.items, jsonArg(m.Item))
		c.bytes += len(m.Content) + len(m.Item)
	}
	return c
}

// appender gathers calls into batches.
type appender struct {
	write func(ctx context.Context, batch []*appendCall)

	mu      sync.Mutex
	waiting []*appendCall
	writing bool
	callers int                // that wait for the batch being written
	cancel  context.CancelFunc // of that batch, for when none does any more
	batch   []*appendCall
}

// A batch is at most this large, so that one does not keep the others waiting for long.
const (
	maxBatchCalls = 256
	maxBatchBytes = 4 << 20
)

// do has call written and returns what came of it, or ctx's error if that comes first.
func (a *appender) do(ctx context.Context, call *appendCall) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	if !a.writing { // nobody to wait for, and nobody who waits
		a.writing = true
		a.mu.Unlock()
		a.write(ctx, []*appendCall{call})
		a.mu.Lock()
		if a.writing = len(a.waiting) > 0; a.writing {
			go a.run()
		}
		a.mu.Unlock()
		return call.err
	}
	a.waiting = append(a.waiting, call)
	a.mu.Unlock()
	select {
	case <-call.done:
		return call.err
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.waiting, call); i >= 0 {
		a.waiting = slices.Delete(a.waiting, i, i+1)
	} else if slices.Contains(a.batch, call) {
		if a.callers--; a.callers == 0 {
			a.cancel()
		}
	}
	return ctx.Err()
}

// run writes batches until no call waits.
func (a *appender) run() {
	for {
		a.mu.Lock()
		n, bytes := 0, 0
		for n < len(a.waiting) && n < maxBatchCalls && (n == 0 || bytes+a.waiting[n].bytes <= maxBatchBytes) {
			bytes += a.waiting[n].bytes
			n++
		}
		if n == 0 {
			a.writing, a.batch = false, nil
			a.mu.Unlock()
			return
		}
		batch := slices.Clone(a.waiting[:n])
		a.waiting = slices.Delete(a.waiting, 0, n)
		ctx, cancel := context.WithCancel(context.Background())
		a.batch, a.callers, a.cancel = batch, n, cancel
		a.mu.Unlock()

		a.write(ctx, batch)
		cancel()
		for _, call := range batch {
			close(call.done)
		}
	}
}

// writeAppends writes a batch and sets what came of each call.
func (s *Store) writeAppends(ctx context.Context, batch []*appendCall) {
	var err error
	if len(batch) == 1 && len(batch[0].ids) == 1 {
		err = s.appendOne(ctx, batch[0])
	} else {
		err = s.appendMany(ctx, batch)
	}
	if Permanent(err) && len(batch) > 1 { // one of them is refused; it must not take the others with it
		for _, call := range batch {
			s.writeAppends(ctx, []*appendCall{call})
		}
		return
	}
	for _, call := range batch {
		if err != nil {
			call.err = err
		}
	}
}

// appendOneSQL takes the conversation's row lock, numbers a message and queues it for the indexer, in one statement: one round
// trip, and the lock is held for no longer than that. It returns no row if the conversation is not there or not where it was
// expected. It does what appendManySQL does, a tenth faster.
const appendOneSQL = `
WITH c AS (
	UPDATE conversations SET head = head + 1, message_count = message_count + 1, updated_at = clock_timestamp()
	 WHERE id = $1::uuid AND ($6::bigint IS NULL OR head = $6::bigint)
	RETURNING head
), m AS (
	INSERT INTO messages (id, conversation_id, seq, role, content, item)
	SELECT $2::uuid, $1::uuid, head, $3::text, $4::text, $5::json FROM c
), q AS (
	INSERT INTO search_queue (message_id) SELECT $2::uuid FROM c
)
SELECT head FROM c`

// appendOne appends the one message of a call.
func (s *Store) appendOne(ctx context.Context, c *appendCall) error {
	err := s.pool.QueryRow(ctx, appendOneSQL, c.conversationID, c.ids[0], c.roles[0], c.contents[0], c.items[0], c.expect).Scan(&c.head)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return s.refused(ctx, c)
	case err != nil:
		return Wrap("append", rowError(err, c.roles...))
	}
	return nil
}

// refused is the error for a call whose conversation was not there or not where it was expected.
func (s *Store) refused(ctx context.Context, c *appendCall) error {
	if c.expect == nil {
		return ErrNotFound
	}
	return s.conflict(ctx, c.conversationID)
}

// appendManySQL does the same for any number of messages in any number of conversations. They are locked in the order of their
// ids, so that no two servers wait for each other. It returns a row for each that is there and where it was expected.
const appendManySQL = `
WITH locked AS MATERIALIZED (
	SELECT id FROM conversations WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
), c AS (
	UPDATE conversations
	   SET head = head + u.n, message_count = message_count + u.n, updated_at = clock_timestamp()
	  FROM unnest($1::uuid[], $2::bigint[], $9::bigint[]) u(id, n, expect), locked
	 WHERE conversations.id = u.id AND locked.id = u.id AND (u.expect IS NULL OR conversations.head = u.expect)
	RETURNING conversations.id, head - u.n AS base
), m AS (
	INSERT INTO messages (id, conversation_id, seq, role, content, item)
	SELECT u.id, c.id, c.base + u.n, u.role, u.content, u.item::json
	  FROM unnest($3::uuid[], $4::uuid[], $5::bigint[], $6::text[], $7::text[], $8::text[]) u(id, conversation_id, n, role, content, item)
	  JOIN c ON c.id = u.conversation_id
), q AS (
	INSERT INTO search_queue (message_id)
	SELECT u.id FROM unnest($3::uuid[], $4::uuid[]) u(id, conversation_id) JOIN c ON c.id = u.conversation_id
)
SELECT id, base FROM c`

// appendMany appends the messages of calls, those of one conversation in their order. A call that is refused gets its error;
// the error returned is that of all. A call that expects something is alone in its conversation.
func (s *Store) appendMany(ctx context.Context, calls []*appendCall) error {
	var conversations, ids, of, roles, contents []string
	var counts, places []int64
	var expects []*int64
	var items []*string
	at := map[string]int{} // of a conversation in conversations
	for _, c := range calls {
		i, seen := at[c.conversationID]
		if !seen {
			i = len(conversations)
			at[c.conversationID] = i
			conversations, counts, expects = append(conversations, c.conversationID), append(counts, 0), append(expects, c.expect)
		}
		for range c.ids {
			counts[i]++
			of, places = append(of, c.conversationID), append(places, counts[i])
		}
		c.head = counts[i] // from the base, which is not known yet
		ids, roles = append(ids, c.ids...), append(roles, c.roles...)
		contents, items = append(contents, c.contents...), append(items, c.items...)
	}
	rows, err := s.pool.Query(ctx, appendManySQL, newUUIDs(conversations), counts, newUUIDs(ids), newUUIDs(of), places, roles, contents, items, expects)
	if err != nil {
		return Wrap("append", err)
	}
	bases := map[string]int64{}
	var id uuidText
	var base int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &base}, func() error {
		bases[string(id)] = base
		return nil
	}); err != nil {
		return Wrap("append", rowError(err, roles...))
	}
	for _, c := range calls {
		base, found := bases[c.conversationID]
		if c.head += base; !found {
			c.err = s.refused(ctx, c)
		}
	}
	return nil
}

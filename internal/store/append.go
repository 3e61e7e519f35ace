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
	ids, roles, contents []string
	items                []*string
	head                 int64 // after it
	err                  error
	done                 chan struct{}
	bytes                int
}

func newAppendCall(a Append) *appendCall {
	c := &appendCall{conversationID: a.ConversationID, done: make(chan struct{})}
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
	conversations := map[string][]*appendCall{}
	for _, call := range batch {
		conversations[call.conversationID] = append(conversations[call.conversationID], call)
	}
	var err error
	if len(conversations) == 1 {
		err = s.appendOne(ctx, batch[0].conversationID, nil, batch)
	} else {
		err = s.appendMany(ctx, conversations)
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

// appendOneSQL takes the conversation's row lock, numbers the messages and queues them for the indexer, in one statement: one
// round trip, and the lock is held for no longer than that. It returns no row if the conversation is not there or not
// where it was expected.
const appendOneSQL = `
WITH c AS (
	UPDATE conversations
	   SET head = head + cardinality($2::uuid[]), message_count = message_count + cardinality($2::uuid[]), updated_at = clock_timestamp()
	 WHERE id = $1::uuid AND ($6::bigint IS NULL OR head = $6::bigint)
	RETURNING head
), m AS (
	INSERT INTO messages (id, conversation_id, seq, role, content, item)
	SELECT u.id, $1::uuid, c.head - cardinality($2::uuid[]) + u.n, u.role, u.content, u.item::json
	  FROM c, unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY u(id, role, content, item, n)
), q AS (
	INSERT INTO search_queue (message_id) SELECT u FROM c, unnest($2::uuid[]) u
)
SELECT head FROM c`

// appendOne appends the messages of calls, all of one conversation, in their order. Its error is that of all calls.
func (s *Store) appendOne(ctx context.Context, conversationID string, expect *int64, calls []*appendCall) error {
	all := *calls[0]
	for _, c := range calls[1:] {
		all.ids, all.roles = append(all.ids, c.ids...), append(all.roles, c.roles...)
		all.contents, all.items = append(all.contents, c.contents...), append(all.items, c.items...)
	}
	var head int64
	err := s.pool.QueryRow(ctx, appendOneSQL, conversationID, all.ids, all.roles, all.contents, all.items, expect).Scan(&head)
	switch {
	case errors.Is(err, pgx.ErrNoRows) && expect != nil:
		return s.conflict(ctx, conversationID)
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return Wrap("append", rowError(err, all.roles...))
	}
	head -= int64(len(all.ids))
	for _, c := range calls {
		head += int64(len(c.ids))
		c.head = head
	}
	return nil
}

// appendManySQL does the same for several conversations. They are locked in the order of their ids, so that no two servers
// wait for each other. It returns a row for each that is there.
const appendManySQL = `
WITH locked AS MATERIALIZED (
	SELECT id FROM conversations WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
), c AS (
	UPDATE conversations
	   SET head = head + u.n, message_count = message_count + u.n, updated_at = clock_timestamp()
	  FROM unnest($1::uuid[], $2::bigint[]) u(id, n), locked
	 WHERE conversations.id = u.id AND locked.id = u.id
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

// appendMany appends the messages of calls to their conversations. A call whose conversation is not there gets its error;
// the error returned is that of all.
func (s *Store) appendMany(ctx context.Context, calls map[string][]*appendCall) error {
	var conversations, ids, of, roles, contents []string
	var counts, places []int64
	var items []*string
	for id, list := range calls {
		n := int64(0)
		for _, c := range list {
			for range c.ids {
				n++
				of, places = append(of, id), append(places, n)
			}
			c.head = n // from the base, which is not known yet
			ids, roles = append(ids, c.ids...), append(roles, c.roles...)
			contents, items = append(contents, c.contents...), append(items, c.items...)
		}
		conversations, counts = append(conversations, id), append(counts, n)
	}
	rows, err := s.pool.Query(ctx, appendManySQL, conversations, counts, ids, of, places, roles, contents, items)
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
		return Wrap("append", err)
	}
	for id, list := range calls {
		base, found := bases[id]
		for _, c := range list {
			if c.head += base; !found {
				c.err = ErrNotFound
			}
		}
	}
	return nil
}

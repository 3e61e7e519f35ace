package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// SearchQuery asks for messages, and titles of conversations, by what stands in them.
//
// Text is a list of terms, each of which must stand in what is found, case, accents and the kind of white space aside:
// "between quotes" a term holds spaces. A term of one or two characters must begin a word.
type SearchQuery struct {
	Text          string
	Role          string    // of the message; "": any. A title has none.
	Model         string    // that wrote the message; "": any. A title has none.
	After, Before time.Time // from After on, and before Before; zero: unbounded. A title is as old as its conversation.
	Archived      *bool     // only archived conversations, or only others; nil: both
	Best          bool      // the best first, among the newest 2,000; else the newest first
	Cursor        string    // [Hits.Next] of the page before; "": the first page
	Limit         int       // 1 to 100; 0 is 20
}

// Hits is a page of what a search found.
type Hits struct {
	Hits []Hit  // never nil
	Next string // the cursor of the next page; "": this is the last. A page with a next one may be short, even empty.

	// Back is set where the search stopped before it had looked at everything: nothing older was looked at. Where there is a
	// Next, that goes on from there; with [SearchQuery.Best] only the newest 2,000 hits, those since Back, are put in order.
	Back time.Time
}

// Hit is a message that a search found or, where ID is "", a conversation, by its title.
type Hit struct {
	Message        // of a title only ConversationID and CreatedAt, when the conversation was begun
	Title   string // of its conversation
	Model   string // that wrote it; "" for what no reply wrote
	Excerpt string // some of its text around the first of the terms; "" of a title
	Marks   []Mark // where the terms are in Excerpt, or of a title in Title; in order, apart from each other
}

// Mark is a run of bytes, of whole characters.
type Mark struct{ From, To int }

// ErrCursor is returned for a cursor that no search gave.
var ErrCursor = errors.New("store: not a cursor that a search gave")

const (
	searchQueued = 5000       // how much of the queue, latest first, a search reads
	maxChunk     = 512 * 1024 // bytes of words in one row of the index; PostgreSQL's limit is 1 MB
	excerptSize  = 300        // bytes
)

// Search returns the messages of listed conversations that hold all words of q, newest first; none is an empty list, also
// when q holds no word. Any characters are allowed in q. A message is found as soon as the append that wrote it has
// returned; only of a queue longer than 5,000, as after the adoption of a database, the older part must be indexed first.
func (s *Store) Search(ctx context.Context, q SearchQuery) (Hits, error) {
	match := NewMatcher(q.Text)
	if len(match.Words) == 0 {
		return Hits{Hits: []Hit{}}, nil
	}
	// The index and the queue are read in one statement: between two, a message could move from one to the other unseen.
	// The order is an expression so that the planner does not walk all messages by time in search of a rare word. The words
	// of a very long text stand in several rows; such texts are looked through one by one.
	rows, err := s.pool.Query(ctx, `WITH found AS (
			(SELECT i.message_id, i.created_at + interval '0' AS at
			   FROM search_index i JOIN conversations c ON c.id = i.conversation_id AND c.listed
			  WHERE i.words @@ $1::tsquery AND i.chunk = 0
			  ORDER BY at DESC, i.message_id DESC LIMIT $3::int)
			UNION
			SELECT message_id, created_at FROM search_index i
			 WHERE message_id IN (SELECT message_id FROM search_index WHERE chunk > 0)
			 GROUP BY message_id, created_at
			HAVING (SELECT bool_and(EXISTS (SELECT FROM search_index j WHERE j.message_id = i.message_id AND j.words @@ w::tsquery))
			          FROM unnest($2::text[]) w)
		), hits AS (
			SELECT message_id, false AS queued FROM found
			UNION ALL
			(SELECT message_id, true FROM search_queue ORDER BY id DESC LIMIT $4::int)
		)
		SELECT m.*, c.title, coalesce(r.model, ''), h.queued FROM hits h
		  JOIN LATERAL (SELECT `+messageColumns+` FROM messages WHERE id = h.message_id AND status <> 'deleted') m ON true
		  JOIN conversations c ON c.id = m.conversation_id AND c.listed
		  LEFT JOIN responses r ON r.id = m.response_id`,
		pgx.QueryExecModeExec, // a plan for all queries is a bad one for each
		match.tsquery(), match.tsqueries(), q.Size(), searchQueued)
	if err != nil {
		return Hits{}, Wrap("search", err)
	}
	hits, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h Hit, err error) {
		var queued bool
		h.Message, err = scanMessageAnd(row, &h.Title, &h.Model, &queued)
		if queued && !match.Match(h.Content) {
			h.ID = ""
		}
		return h, err
	})
	if err != nil {
		return Hits{}, Wrap("search", err)
	}
	return Hits{Hits: q.Newest(hits)}, nil
}

// Newest orders hits newest first, leaves out those without an id and those that are there twice, cuts the list to the
// query's limit and sets the excerpts. It is for both engines.
func (q SearchQuery) Newest(hits []Hit) []Hit {
	hits = slices.DeleteFunc(hits, func(h Hit) bool {
		return h.ID == "" || q.Role != "" && h.Role != q.Role || q.Model != "" && h.Model != q.Model || h.CreatedAt.Before(q.After) ||
			!q.Before.IsZero() && !h.CreatedAt.Before(q.Before)
	})
	slices.SortFunc(hits, func(a, b Hit) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	hits = slices.CompactFunc(hits, func(a, b Hit) bool { return a.ID == b.ID })
	hits = hits[:min(len(hits), q.Size())]
	match := NewMatcher(q.Text)
	for i := range hits {
		hits[i].Excerpt = match.Excerpt(hits[i].Content, excerptSize)
	}
	return hits
}

// Size is how many hits q gives at most.
func (q SearchQuery) Size() int {
	if q.Limit <= 0 {
		return 20
	}
	return min(q.Limit, 100)
}

// tsqueries are the words as tsquery text, each for itself. Words hold only letters and digits.
func (m Matcher) tsqueries() []string {
	list := make([]string, len(m.Words))
	for i, word := range m.Words {
		list[i] = "'" + word + "':*"
	}
	return list
}

func (m Matcher) tsquery() string { return strings.Join(m.tsqueries(), " & ") }

// indexLock keeps the indexer and a deletion apart, so that no words of an erased message are indexed after its erasure.
const indexLock = migrationLock + 1

// holdIndex keeps indexers out until the transaction ends. A deletion calls it first.
func holdIndex(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::bigint)`, int64(indexLock))
	return err
}

// IndexPending moves up to limit messages, the latest first, from the queue to the search index and returns how many it
// took from the queue: 0 when it is empty. Any number of processes may call it at once. It holds no lock that an append
// would wait for.
func (s *Store) IndexPending(ctx context.Context, limit int) (int, error) {
	taken := 0
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared($1::bigint)`, int64(indexLock)); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `WITH next AS (
				SELECT id FROM search_queue ORDER BY id DESC LIMIT $1::int FOR UPDATE SKIP LOCKED
			), taken AS (
				DELETE FROM search_queue q USING next WHERE q.id = next.id RETURNING q.message_id
			)
			SELECT coalesce(m.conversation_id::text, ''), t.message_id::text, m.created_at, coalesce(m.content, '')
			  FROM taken t LEFT JOIN messages m ON m.id = t.message_id AND m.status <> 'deleted'`, limit)
		if err != nil {
			return err
		}
		var conversations, messages, wordLists []string
		var times []time.Time
		var chunks []int32
		var conversation, message, content string
		var at *time.Time
		tag, err := pgx.ForEachRow(rows, []any{&conversation, &message, &at, &content}, func() error {
			if at == nil {
				return nil // erased since it was queued
			}
			for i, list := range chunked(IndexWords(content), maxChunk) {
				conversations, messages, wordLists = append(conversations, conversation), append(messages, message), append(wordLists, list)
				times, chunks = append(times, *at), append(chunks, int32(i))
			}
			return nil
		})
		if err != nil {
			return err
		}
		taken = int(tag.RowsAffected())
		_, err = tx.Exec(ctx, `INSERT INTO search_index (conversation_id, message_id, chunk, created_at, words)
			SELECT u.conversation_id, u.message_id, u.chunk, u.at, array_to_tsvector(string_to_array(u.words, ' '))
			  FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::timestamptz[], $5::text[]) u(conversation_id, message_id, chunk, at, words)
			ON CONFLICT DO NOTHING`, conversations, messages, chunks, times, wordLists)
		return err
	})
	if err != nil {
		return 0, Wrap("index", err)
	}
	return taken, nil
}

// chunked joins words with spaces into as many texts as it takes for none to be longer than size.
func chunked(words []string, size int) []string {
	var list []string
	for len(words) > 0 {
		n, length := 0, 0
		for n < len(words) && (n == 0 || length+1+len(words[n]) <= size) {
			length += 1 + len(words[n])
			n++
		}
		list = append(list, strings.Join(words[:n], " "))
		words = words[n:]
	}
	return list
}

package sqlite

import (
	"context"
	"slices"
	"strings"

	"git.georgsen.dk/hwlab/internal/store"
)

const (
	searchFound  = 10000 // how many finds of the index, those written last, are put in the order of their times
	searchQueued = 5000  // how much of the queue, latest first, a search reads
	searchLong   = 500   // how many of the very long texts, latest first, a search looks through
	longWords    = 65536 // bytes of words that make a text a very long one
)

// Search returns the messages of listed conversations that hold all words of q, newest first; none is an empty list, also
// when q holds no word. Any characters are allowed in q. A message is found as soon as the append that wrote it has
// returned. Of more than 10,000 finds it takes those that were written last, and it looks through the latest 500 very long
// texts and the latest 5,000 that a foreign program inserted and that were not indexed yet.
func (s *Store) Search(ctx context.Context, q store.SearchQuery) (store.Hits, error) {
	match := store.NewMatcher(q.Text)
	if len(match.Words) == 0 {
		return store.Hits{Hits: []store.Hit{}}, nil
	}
	var hits []store.Hit
	err := s.read(ctx, func(t tx) (err error) {
		// The index is asked first and alone, the texts are read of the page only; CROSS JOIN is SQLite's way to say so.
		if hits, err = collect(t, scanHit, `SELECT `+hitColumns+` FROM (
			SELECT m.n FROM (SELECT rowid AS n FROM search_index WHERE search_index MATCH ? ORDER BY rowid DESC LIMIT ?) found `+hitsJoin+`
			 ORDER BY m.created_at DESC, m.id DESC LIMIT ?) found `+hitsJoin, `"`+strings.Join(match.Words, `"* AND "`)+`"*`, searchFound, q.Size()); err != nil {
			return err
		}
		err = t.each(func(row scanner) error {
			var n int64
			var words string
			err := row.Scan(&n, &words)
			if err != nil || slices.ContainsFunc(match.Words, func(w string) bool { return !strings.Contains(words, " "+w) }) {
				return err
			}
			found, err := collect(t, scanHit, `SELECT `+hitColumns+` FROM (SELECT ? AS n) found `+hitsJoin, n)
			hits = append(hits, found...)
			return err
		}, `SELECT n, words FROM search_long ORDER BY n DESC LIMIT ?`, searchLong)
		if err != nil {
			return err
		}
		return t.each(func(row scanner) error {
			h, err := scanHit(row)
			if err == nil && match.Match(h.Content) {
				hits = append(hits, h)
			}
			return err
		}, `SELECT `+hitColumns+` FROM (SELECT n FROM search_queue ORDER BY n DESC LIMIT ?) found `+hitsJoin, searchQueued)
	})
	if err != nil {
		return store.Hits{}, wrap("search", err)
	}
	return store.Hits{Hits: q.Newest(hits)}, nil
}

// hitColumns are of the tables that hitsJoin joins to numbers n of messages, named found.
const (
	hitColumns = messageColumns + `, c.title, coalesce(r.model, '')`
	hitsJoin   = `CROSS JOIN messages m ON m.n = found.n AND m.status <> 'deleted'
		CROSS JOIN conversations c ON c.id = m.conversation_id AND c.listed
		LEFT JOIN responses r ON r.id = m.response_id`
)

func scanHit(row scanner) (h store.Hit, err error) {
	h.Message, err = scanMessageAnd(row, &h.Title, &h.Model)
	return h, err
}

// IndexPending moves up to limit messages that a foreign program inserted, the latest first, from the queue to the search
// index and returns how many it took from the queue: 0 when it is empty. Our own are indexed as they are appended.
func (s *Store) IndexPending(ctx context.Context, limit int) (int, error) {
	if s.deleting.Load() > 0 { // the next call comes
		return 0, nil
	}
	if s.unerased.Load() {
		s.emptyLog(ctx)
	}
	var list []queued
	err := s.read(ctx, func(t tx) (err error) { // first, so that nothing is folded while others wait to write
		list, err = collect(t, scanQueued, `SELECT q.n, m.content FROM search_queue q CROSS JOIN messages m ON m.n = q.n ORDER BY q.n DESC LIMIT ?`, limit)
		return err
	})
	if err != nil || len(list) == 0 {
		return 0, wrap("index", err)
	}
	taken := 0
	err = s.write(ctx, func(t tx) error {
		for _, m := range list {
			result, err := t.exec(`DELETE FROM search_queue WHERE n = ?`, m.n)
			if err != nil {
				return err
			}
			if left, err := result.RowsAffected(); err != nil || left == 0 { // taken or erased meanwhile
				if err != nil {
					return err
				}
				continue
			}
			if err := t.index(m.n, m.words); err != nil {
				return err
			}
			taken++
		}
		return nil
	})
	if err != nil {
		return 0, wrap("index", err)
	}
	return taken, nil
}

// queued is a message of the queue.
type queued struct {
	n     int64
	words string
}

func scanQueued(row scanner) (q queued, err error) {
	var content string
	err = row.Scan(&q.n, &content)
	q.words = words(content)
	return q, err
}

// words are what the index gets of a text; no words are not indexed.
func words(content string) string { return strings.Join(store.IndexWords(content), " ") }

func (t tx) index(n int64, words string) error {
	if words == "" {
		return nil
	}
	insert := `INSERT INTO search_index (rowid, words) VALUES (?, ?)`
	if len(words) > longWords {
		insert, words = `INSERT INTO search_long (n, words) VALUES (?, ?)`, " "+words
	}
	_, err := t.exec(insert, n, words)
	return err
}

// unindexed takes a message out of the index. FTS5 has to be told the words again.
func (t tx) unindexed(m queued) (err error) {
	switch {
	case len(m.words) > longWords:
		_, err = t.exec(`DELETE FROM search_long WHERE n = ?`, m.n)
	case m.words != "":
		_, err = t.exec(`INSERT INTO search_index (search_index, rowid, words) VALUES ('delete', ?, ?)`, m.n, m.words)
	}
	return err
}

// indexed selects the messages that are in the index; a condition follows.
const indexed = `SELECT n, content FROM messages m WHERE status <> 'deleted' AND NOT EXISTS (SELECT 1 FROM search_queue WHERE n = m.n) AND `

// unindex takes the messages of the condition out of the index and the queue.
func (t tx) unindex(where string, args ...any) error {
	err := t.each(func(row scanner) error {
		m, err := scanQueued(row)
		if err != nil {
			return err
		}
		return t.unindexed(m)
	}, indexed+where, args...)
	if err != nil {
		return err
	}
	_, err = t.exec(`DELETE FROM search_queue WHERE n IN (SELECT n FROM messages WHERE `+where+`)`, args...)
	return err
}

// requeue moves some messages of a conversation from the index back to the queue, those after the place after first. It
// returns the place it got to, and whether there may be more.
func (t tx) requeue(conversation string, after int64) (int64, bool, error) {
	const step = 20
	list, err := collect(t, scanQueued, indexed+`conversation_id = ? AND seq > ? ORDER BY seq LIMIT ?`, conversation, after, step)
	for _, m := range list {
		if err == nil {
			err = t.unindexed(m)
		}
		if err == nil {
			_, err = t.exec(`INSERT INTO search_queue (n) VALUES (?)`, m.n)
		}
	}
	if err == nil && len(list) == step {
		err = t.get(`SELECT seq FROM messages WHERE n = ?`, []any{list[step-1].n}, &after)
	}
	return after, len(list) == step, err
}

package sqlite

import (
	"context"
	"strings"

	"git.georgsen.dk/hwlab/internal/store"
)

const (
	searchFound  = 10000 // how many finds of the index, those written last, are put in the order of their times
	searchQueued = 5000  // how much of the queue, latest first, a search reads
)

// Search returns the messages of listed conversations that hold all words of q, newest first; none is an empty list, also
// when q holds no word. Any characters are allowed in q. A message is found as soon as the append that wrote it has
// returned. Of more than 10,000 finds it takes those that were written last, and of more than 5,000 that a foreign program
// inserted and that were not indexed yet, the latest.
func (s *Store) Search(ctx context.Context, q store.SearchQuery) ([]store.Hit, error) {
	match := store.NewMatcher(q.Text)
	if len(match.Words) == 0 {
		return []store.Hit{}, nil
	}
	var hits []store.Hit
	err := s.read(ctx, func(t tx) (err error) {
		// The index is asked first and alone, the texts are read of the page only; CROSS JOIN is SQLite's way to say so.
		if hits, err = collect(t, scanHit, `SELECT `+hitColumns+` FROM (
				SELECT m.n FROM (SELECT rowid AS n FROM search_index WHERE search_index MATCH ? ORDER BY rowid DESC LIMIT ?) found
				CROSS JOIN messages m ON m.n = found.n
				CROSS JOIN conversations c ON c.id = m.conversation_id
				WHERE m.status <> 'deleted' AND c.listed ORDER BY m.created_at DESC, m.id DESC LIMIT ?) top
			CROSS JOIN messages m ON m.n = top.n
			CROSS JOIN conversations c ON c.id = m.conversation_id
			LEFT JOIN responses r ON r.id = m.response_id`, `"`+strings.Join(match.Words, `"* AND "`)+`"*`, searchFound, q.Size()); err != nil {
			return err
		}
		return t.each(func(row scanner) error {
			h, err := scanHit(row)
			if err == nil && match.Match(h.Content) {
				hits = append(hits, h)
			}
			return err
		}, `SELECT `+hitColumns+` FROM (SELECT n FROM search_queue ORDER BY n DESC LIMIT ?) q
			CROSS JOIN messages m ON m.n = q.n
			CROSS JOIN conversations c ON c.id = m.conversation_id
			LEFT JOIN responses r ON r.id = m.response_id
			WHERE m.status <> 'deleted' AND c.listed`, searchQueued)
	})
	if err != nil {
		return nil, wrap("search", err)
	}
	return q.Newest(hits), nil
}

// hitColumns are of messages m, conversations c and responses r.
const hitColumns = messageColumns + `, c.title, coalesce(r.model, '')`

func scanHit(row scanner) (h store.Hit, err error) {
	h.Message, err = scanMessageAnd(row, &h.Title, &h.Model)
	return h, err
}

// IndexPending moves up to limit messages that a foreign program inserted, the latest first, from the queue to the search
// index and returns how many it took from the queue: 0 when it is empty. Our own are indexed as they are appended.
func (s *Store) IndexPending(ctx context.Context, limit int) (int, error) {
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
	_, err := t.exec(`INSERT INTO search_index (rowid, words) VALUES (?, ?)`, n, words)
	return err
}

// unindex takes the messages of the condition out of the index and the queue.
func (t tx) unindex(where, id string) error {
	err := t.each(func(row scanner) error {
		m, err := scanQueued(row)
		if err != nil || m.words == "" {
			return err
		}
		_, err = t.exec(`INSERT INTO search_index (search_index, rowid, words) VALUES ('delete', ?, ?)`, m.n, m.words)
		return err
	}, `SELECT n, content FROM messages m WHERE `+where+` AND status <> 'deleted' AND NOT EXISTS (SELECT 1 FROM search_queue WHERE n = m.n)`, id)
	if err != nil {
		return err
	}
	_, err = t.exec(`DELETE FROM search_queue WHERE n IN (SELECT n FROM messages WHERE `+where+`)`, id)
	return err
}

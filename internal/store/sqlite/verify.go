package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"git.georgsen.dk/hwlab/internal/store"
)

// Unindexed returns up to limit messages that a search cannot find by their words: they are not in the queue, and neither in the index
// as they are nor are all their words in the list of words. A title is a message without an id.
func (s *Store) Unindexed(ctx context.Context, limit int) (list []store.Message, err error) {
	err = s.read(ctx, func(t tx) error {
		known := map[string]bool{}
		err := t.each(func(row scanner) error {
			var block string
			err := row.Scan(&block)
			for word := range strings.FieldsSeq(block) {
				known[word] = true
			}
			return err
		}, `SELECT words FROM search_words`)
		if err != nil {
			return err
		}
		look := func(m store.Message, n int64) error {
			words := store.IndexWords(m.Content)
			if len(words) == 0 {
				return nil
			}
			var indexed, long bool
			err := t.get(`SELECT EXISTS (SELECT 1 FROM search_index WHERE search_index MATCH ?2 AND rowid = ?1), EXISTS (SELECT 1 FROM search_long WHERE n = ?1)`,
				[]any{n, `"` + words[0] + `" AND "` + words[len(words)-1] + `"`}, &indexed, &long)
			if !long && (!indexed || slices.ContainsFunc(words, func(word string) bool { return !known[word] })) { // a long text is read itself
				list = append(list, m)
			}
			return err
		}
		err = t.each(func(row scanner) error {
			var n int64
			m, err := scanMessageAnd(row, &n)
			if err != nil || len(list) >= limit {
				return err
			}
			return look(m, n)
		}, `SELECT `+messageColumns+`, n FROM messages m WHERE status <> 'deleted' AND content <> '' AND NOT EXISTS (SELECT 1 FROM search_queue q WHERE q.n = m.n)`)
		if err != nil {
			return err
		}
		return t.each(func(row scanner) error {
			var n int64
			var m store.Message
			if err := row.Scan(&m.ConversationID, &m.Content, &n); err != nil || len(list) >= limit {
				return err
			}
			return look(m, -n)
		}, `SELECT c.id, c.title, coalesce(s.n, 0) FROM conversations c LEFT JOIN search_titles s ON s.conversation_id = c.id
			WHERE c.listed AND c.title <> '' AND coalesce(s.queued, 0) = 0`)
	})
	return list, wrap("verify the index", err)
}

// Leftovers returns up to limit of what is there and belongs to nothing, in words: what a deletion or the end of a reply should have taken
// along. A server removes what it wrote of a reply that was deleted meanwhile, shortly after.
func (s *Store) Leftovers(ctx context.Context, limit int) (list []string, err error) {
	err = s.read(ctx, func(t tx) (err error) {
		list, err = collect(t, scanText, `SELECT 'message ' || id || ' is of conversation ' || conversation_id || ', which is not there' FROM messages m
				WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = m.conversation_id)
			UNION ALL SELECT 'reply ' || id || ' is of conversation ' || conversation_id || ', which is not there' FROM responses r
				WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = r.conversation_id)
			UNION ALL SELECT DISTINCT 'reply ' || response_id || ', which is not being written, has text in the log of those that are' FROM response_deltas d
				WHERE NOT EXISTS (SELECT 1 FROM responses r WHERE r.id = d.response_id AND r.ended_at IS NULL)
			LIMIT ?`, limit)
		return err
	})
	return list, wrap("verify", err)
}

// CheckFile has SQLite look through the whole file and returns what is wrong with it.
func (s *Store) CheckFile(ctx context.Context) (problems []string, err error) {
	err = s.read(ctx, func(t tx) (err error) {
		problems, err = collect(t, scanText, `PRAGMA integrity_check`)
		return err
	})
	if len(problems) == 1 && problems[0] == "ok" {
		problems = nil
	}
	return problems, wrap("check the file", err)
}

// Backup writes the record as of one moment to a new file, whole and on disk when it returns. Others may read and write the record
// meanwhile.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("store: %s is there already", path)
	}
	part := path + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := create(part); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(part)
		}
	}()
	// A connection for reading only may not write the other file either.
	p := newPool(s.path, 1, url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(10000)"}})
	defer p.close()
	err = p.with(ctx, func(c *conn) error {
		_, err := c.ExecContext(ctx, `VACUUM INTO ?`, part)
		return c.plain(err)
	})
	if err != nil {
		return wrap("backup", err)
	}
	// Nobody has the new file open, so that its locks are nobody's.
	for _, name := range []string{part, filepath.Dir(part)} {
		if err := syncFile(name); err != nil {
			return err
		}
		if name == part {
			if err := os.Rename(part, path); err != nil {
				return err
			}
		}
	}
	return nil
}

func syncFile(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

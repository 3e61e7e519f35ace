package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"git.georgsen.dk/hwlab/internal/store"
)

// Unindexed returns up to limit messages that a search cannot find by their words: they are neither in the index nor in the queue.
func (s *Store) Unindexed(ctx context.Context, limit int) (list []store.Message, err error) {
	err = s.read(ctx, func(t tx) error {
		err := t.each(func(row scanner) error {
			var n int64
			m, err := scanMessageAnd(row, &n)
			if err != nil || len(list) >= limit {
				return err
			}
			words := store.IndexWords(m.Content)
			if len(words) == 0 {
				return nil
			}
			var is bool
			err = t.get(`SELECT EXISTS (SELECT 1 FROM search_index WHERE search_index MATCH ?2 AND rowid = ?1)
				OR EXISTS (SELECT 1 FROM search_long WHERE n = ?1) OR EXISTS (SELECT 1 FROM search_queue WHERE n = ?1)`, []any{n, `"` + words[0] + `"`}, &is)
			if err == nil && !is {
				list = append(list, m)
			}
			return err
		}, `SELECT `+messageColumns+`, n FROM messages m WHERE status <> 'deleted' AND content <> ''`)
		return err
	})
	return list, wrap("verify the index", err)
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

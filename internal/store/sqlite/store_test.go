package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Engine{Open: openForSuite, Alone: true, Foreign: foreignInsert, Leftovers: leftovers, SetTimes: setTimes})
}

// suiteStore is a store with a connection beside it, as another program has one.
type suiteStore struct {
	*Store
	foreign *sql.DB
}

func openForSuite(t *testing.T) storetest.Store {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "hwlab.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &suiteStore{s, foreign(t, s.path)}
}

// foreign opens the database as another program would, on one connection.
func foreign(t *testing.T, path string) *sql.DB {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`PRAGMA busy_timeout = 10000`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func foreignInsert(ctx context.Context, s storetest.Store, conversationID, role, content string) error {
	_, err := s.(*suiteStore).foreign.ExecContext(ctx, `INSERT INTO messages (conversation_id, role, content) VALUES (?, ?, ?)`, conversationID, role, content)
	return err
}

// leftovers looks through every column of every table, and through the words of the index, which holds them compressed.
func leftovers(t *testing.T, s storetest.Store, text string) []string {
	db := s.(*suiteStore).foreign
	if _, err := db.Exec(`CREATE VIRTUAL TABLE IF NOT EXISTS temp.index_words USING fts5vocab(main, search_index, row)`); err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"search_index.words": `SELECT count(*) FROM temp.index_words WHERE term = ?`}
	rows, err := db.Query(`SELECT t.name, c.name FROM pragma_table_list t, pragma_table_info(t.name) c WHERE t.schema = 'main' AND t.type IN ('table', 'shadow')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		places[table+"."+column] = fmt.Sprintf(`SELECT count(*) FROM %q WHERE instr(lower(CAST(%q AS TEXT)), lower(?)) > 0`, table, column)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	var found []string
	for place, query := range places {
		for _, word := range append(store.IndexWords(text), text) {
			var n int
			if place != "search_index.words" {
				word = text
			}
			if err := db.QueryRow(query, word).Scan(&n); err != nil {
				t.Fatalf("%s: %v", place, err)
			}
			if n > 0 {
				found = append(found, place)
				break
			}
		}
	}
	return found
}

func setTimes(t *testing.T, s storetest.Store, conversationID string, at time.Time) {
	for _, query := range []string{
		`UPDATE conversations SET started_at = ?2, updated_at = ?2 WHERE id = ?1`,
		`UPDATE messages SET created_at = ?2 WHERE conversation_id = ?1`,
		`UPDATE responses SET created_at = ?2 WHERE conversation_id = ?1`,
		`UPDATE idempotency SET created_at = ?2 WHERE response_id IN (SELECT id FROM responses WHERE conversation_id = ?1)`,
	} {
		if _, err := s.(*suiteStore).foreign.Exec(query, conversationID, at.UnixMicro()); err != nil {
			t.Fatal(err)
		}
	}
}

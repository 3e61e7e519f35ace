//go:build integration

package store_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/storetest"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// Without HWLAB_DATABASE_URL every test has a schema of its own. With it the suite runs in the very tables that hwlab uses
// there, beside whatever is in them.

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Engine{Open: openForSuite, Foreign: foreignInsert, Leftovers: leftovers, SetTimes: setTimes})
}

// suiteStore remembers what only a test would want to remove.
type suiteStore struct {
	*store.Store
	dsn     string
	mu      sync.Mutex
	servers []string
}

func (s *suiteStore) JoinServer(ctx context.Context, serverID string) (store.Fence, error) {
	s.mu.Lock()
	s.servers = append(s.servers, serverID)
	s.mu.Unlock()
	return s.Store.JoinServer(ctx, serverID)
}

func openForSuite(t *testing.T) storetest.Store {
	if url := os.Getenv("HWLAB_DATABASE_URL"); url != "" {
		s := &suiteStore{Store: openStore(t, url), dsn: url}
		t.Cleanup(func() { s.removeTraces(t) })
		return s
	}
	dsn := testpg.Schema(t, testpg.URL(t))
	return &suiteStore{Store: openStore(t, dsn), dsn: dsn}
}

// openStore opens a store on dsn with the schema of the program.
func openStore(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s, err := store.NewStore(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := store.RunMigrations(t.Context(), s.Pool()); err != nil {
		t.Fatal(err)
	}
	return s
}

// removeTraces removes what stays of a test that removed its conversations: its servers, and places in the queue.
func (s *suiteStore) removeTraces(t *testing.T) {
	conn := connect(t, s.dsn)
	var valid []string
	for _, id := range s.servers {
		if len(id) == 36 {
			valid = append(valid, id)
		}
	}
	for _, sql := range []string{
		`DELETE FROM servers WHERE id::text = ANY($1)`,
		`DELETE FROM search_queue q WHERE cardinality($1::text[]) >= 0 AND NOT EXISTS (SELECT FROM messages WHERE id = q.message_id)`,
	} {
		if _, err := conn.Exec(context.Background(), sql, append([]string{}, valid...)); err != nil {
			t.Error(err)
		}
	}
}

// connect opens a connection beside the store's.
func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func poolOf(s storetest.Store) *pgxpool.Pool { return s.(interface{ Pool() *pgxpool.Pool }).Pool() }

func foreignInsert(ctx context.Context, s storetest.Store, conversationID, role, content string) error {
	_, err := poolOf(s).Exec(ctx, `INSERT INTO messages (conversation_id, role, content) VALUES ($1, $2, $3)`, conversationID, role, content)
	return err
}

// leftovers looks through every column of every table.
func leftovers(t *testing.T, s storetest.Store, text string) []string {
	ctx := context.Background()
	rows, err := poolOf(s).Query(ctx, `SELECT table_name FROM information_schema.tables
		WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, table := range tables {
		var n int
		name := pgx.Identifier{table}.Sanitize()
		if err := poolOf(s).QueryRow(ctx, `SELECT count(*) FROM `+name+` t WHERE position(lower($1) IN lower(t::text)) > 0`, text).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			found = append(found, table)
		}
	}
	return found
}

func setTimes(t *testing.T, s storetest.Store, conversationID string, at time.Time) {
	for _, sql := range []string{
		`UPDATE conversations SET started_at = $2, updated_at = $2 WHERE id = $1`,
		`UPDATE messages SET created_at = $2 WHERE conversation_id = $1`,
		`UPDATE responses SET created_at = $2 WHERE conversation_id = $1`,
		`UPDATE search_index SET created_at = $2 WHERE conversation_id = $1`,
	} {
		if _, err := poolOf(s).Exec(context.Background(), sql, conversationID, at); err != nil {
			t.Fatal(err)
		}
	}
}

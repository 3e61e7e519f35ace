//go:build integration

package store_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/storetest"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// Without HWLAB_DATABASE_URL every test has a schema of its own. With it the suite runs in the very tables that hwlab uses
// there, beside whatever is in them.

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Engine{Open: openForSuite, Alone: os.Getenv("HWLAB_DATABASE_URL") == "", Foreign: foreignInsert, Leftovers: leftovers, SetTimes: setTimes})
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

// removeTraces removes what stays of a test that removed its conversations: its servers, places in the queue, and keys.
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
		`DELETE FROM idempotency k WHERE cardinality($1::text[]) >= 0 AND NOT EXISTS (SELECT FROM responses WHERE id = k.response_id)`,
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
		`UPDATE idempotency SET created_at = $2 WHERE response_id IN (SELECT id FROM responses WHERE conversation_id = $1)`,
		`UPDATE search_index SET created_at = $2 WHERE conversation_id = $1`,
	} {
		if _, err := poolOf(s).Exec(context.Background(), sql, conversationID, at); err != nil {
			t.Fatal(err)
		}
	}
}

// withParam adds a parameter to a connection string of either form.
func withParam(dsn, key, value string) string {
	switch {
	case !strings.Contains(dsn, "://"):
		return dsn + " " + key + "=" + value
	case strings.Contains(dsn, "?"):
		return dsn + "&" + key + "=" + value
	}
	return dsn + "?" + key + "=" + value
}

// schemaOf is all that the catalog says of the tables of a schema, to tell whether anything changed.
func schemaOf(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	var text string
	err := conn.QueryRow(context.Background(), `SELECT coalesce(string_agg(line, E'\n' ORDER BY line), '') FROM (
		SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || coalesce(column_default, '') || ' ' || is_nullable FROM information_schema.columns WHERE table_schema = current_schema()
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()
		UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
		UNION ALL SELECT proname || prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace) x(line)`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRunMigrationsFromManyProcesses(t *testing.T) {
	dsn := testpg.Schema(t, testpg.URL(t))
	type process struct {
		cmd    *exec.Cmd
		stdin  io.WriteCloser
		stdout *bufio.Reader
		stderr bytes.Buffer
	}
	var processes []*process
	for range 8 {
		p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0])}
		p.cmd.Env = append(os.Environ(), migrateEnv+"="+withParam(dsn, "pool_max_conns", "2"))
		p.cmd.Stderr = &p.stderr
		var err error
		if p.stdin, err = p.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		p.stdout = bufio.NewReader(out)
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		processes = append(processes, p)
	}
	for _, p := range processes { // all are connected
		if line, err := p.stdout.ReadString('\n'); line != "ready\n" {
			t.Errorf("a process says %q, %v", line, err)
		}
	}
	for _, p := range processes {
		if err := p.stdin.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range processes {
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("process %d: %v: %s", i, err, &p.stderr)
		}
	}
	var applied int
	if err := connect(t, dsn).QueryRow(t.Context(), `SELECT count(*) FROM schema_migrations`).Scan(&applied); err != nil || applied == 0 {
		t.Errorf("%d migrations are noted, %v", applied, err)
	}
	s := openStore(t, dsn)
	if _, err := s.CreateConversation(t.Context(), "m"); err != nil {
		t.Error(err)
	}
}

func TestRunMigrationsAgainChangesNothing(t *testing.T) {
	dsn := testpg.Schema(t, testpg.URL(t))
	s, conn := openStore(t, dsn), connect(t, dsn)
	id, err := s.CreateConversation(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	before := schemaOf(t, conn)
	for range 3 {
		if err := store.RunMigrations(t.Context(), s.Pool()); err != nil {
			t.Fatal(err)
		}
	}
	if after := schemaOf(t, conn); after != before {
		t.Errorf("the schema changed:\n%s\nbefore:\n%s", after, before)
	}
	if c, err := s.Summary(t.Context(), id); err != nil || c.Model != "m" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestRunMigrationsRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, spoil := range map[string]string{
		"a newer schema":      `INSERT INTO schema_migrations (version, name, checksum) VALUES (999, '0999_future.sql', 'x')`,
		"a changed migration": `UPDATE schema_migrations SET checksum = 'x' WHERE version = 1`,
	} {
		t.Run(name, func(t *testing.T) {
			dsn := testpg.Schema(t, testpg.URL(t))
			s, conn := openStore(t, dsn), connect(t, dsn)
			if _, err := conn.Exec(t.Context(), spoil); err != nil {
				t.Fatal(err)
			}
			before := schemaOf(t, conn)
			err := store.RunMigrations(t.Context(), s.Pool())
			var schema *store.SchemaError
			if !errors.As(err, &schema) {
				t.Errorf("the error is %v, want a SchemaError", err)
			}
			if after := schemaOf(t, conn); after != before {
				t.Errorf("the schema changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// A migration that fails in the middle leaves nothing behind.
func TestRunMigrationsIsAllOrNothing(t *testing.T) {
	dsn := testpg.Schema(t, testpg.URL(t))
	conn := connect(t, dsn)
	// In the way of a table that comes late in the file.
	if _, err := conn.Exec(t.Context(), `CREATE VIEW search_index AS SELECT 1`); err != nil {
		t.Fatal(err)
	}
	before := schemaOf(t, conn)
	s, err := store.NewStore(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := store.RunMigrations(t.Context(), s.Pool()); err == nil {
		t.Fatal("it succeeds")
	}
	if after := schemaOf(t, conn); after != before {
		t.Errorf("left behind:\n%s", after)
	}
	if _, err := conn.Exec(t.Context(), `DROP VIEW search_index`); err != nil {
		t.Fatal(err)
	}
	if err := store.RunMigrations(t.Context(), s.Pool()); err != nil {
		t.Errorf("once the way is free: %v", err)
	}
}

// plainTables is what a program has made that knows only the contract.
const plainTables = `
CREATE TABLE conversations (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), started_at TIMESTAMPTZ NOT NULL DEFAULT now(), model TEXT NOT NULL DEFAULT '');
CREATE TABLE messages (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), conversation_id UUID NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
	role TEXT NOT NULL CHECK (role IN ('user','assistant','system')), content TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL DEFAULT now());`

func TestAdoption(t *testing.T) {
	ctx := t.Context()
	dsn := testpg.Schema(t, testpg.URL(t))
	conn := connect(t, dsn)
	if _, err := conn.Exec(ctx, plainTables); err != nil {
		t.Fatal(err)
	}
	start := time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)
	insert := func(conversation, content string, at time.Time) {
		t.Helper()
		if _, err := conn.Exec(ctx, `INSERT INTO messages (conversation_id, role, content, created_at) VALUES ($1, 'user', $2, $3)`, conversation, content, at); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string][]string{}
	var conversations []string
	for i := range 5 {
		var id string
		if err := conn.QueryRow(ctx, `INSERT INTO conversations (started_at, model) VALUES ($1, $2) RETURNING id::text`, start.Add(time.Duration(i)*time.Hour), fmt.Sprint("model ", i)).Scan(&id); err != nil {
			t.Fatal(err)
		}
		conversations = append(conversations, id)
		want[id] = nil
	}
	// Interleaved; conversation 0 stays empty, in the others many have the same time, and the last is older than the rest.
	for n := range 40 {
		for i, id := range conversations[1:] {
			text := fmt.Sprintf("adopted%d message%d", i, n)
			insert(id, text, start.Add(time.Duration(n/(10*i+1))*time.Second))
			want[id] = append(want[id], text)
		}
	}
	for i, id := range conversations[1:] {
		insert(id, fmt.Sprint("oldest ", i), start.Add(-time.Hour))
		want[id] = append([]string{fmt.Sprint("oldest ", i)}, want[id]...)
	}

	s := openStore(t, dsn)
	for i, id := range conversations {
		c, err := s.GetConversation(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for n, m := range c.Messages {
			got = append(got, m.Content)
			if m.Position != (store.Position{Seq: int64(n + 1)}) || m.Status != store.MessageCompleted {
				t.Errorf("message %d: %+v", n, m)
			}
		}
		if !slices.Equal(got, want[id]) {
			t.Errorf("conversation %d reads %q", i, got)
		}
		if int(c.Head) != len(want[id]) || c.MessageCount != len(want[id]) || c.Model != fmt.Sprint("model ", i) || !c.Listed || c.Title != "" || len(c.Metadata) != 0 ||
			!c.StartedAt.Equal(start.Add(time.Duration(i)*time.Hour)) || c.UpdatedAt.Before(c.StartedAt) || c.UpdatedAt.After(c.StartedAt.Add(time.Hour)) {
			t.Errorf("conversation %d: head %d, count %d of %d, started %v, updated %v, %+v", i, c.Head, c.MessageCount, len(want[id]), c.StartedAt, c.UpdatedAt, c.Metadata)
		}
	}
	search := func(text string, n int) {
		t.Helper()
		page, err := s.Search(ctx, store.SearchQuery{Text: text, Limit: 100})
		hits := page.Hits
		if err != nil || len(hits) != n {
			t.Errorf("%q finds %d messages, want %d, %v", text, len(hits), n, err)
		}
	}
	list, err := s.ListConversations(ctx)
	if err != nil || len(list) != 5 || list[0].ID != conversations[4] {
		t.Errorf("the list: %+v, %v", list, err)
	}
	one := conversations[1]
	insert(one, "foreignafterwards", start.Add(-24*time.Hour)) // whatever its time
	if _, err := s.AddMessage(ctx, one, "user", "ours"); err != nil {
		t.Fatal(err)
	}
	c, err := s.GetConversation(ctx, one)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Messages); n != 43 || c.Messages[41].Content != "foreignafterwards" || c.Messages[41].Seq != 42 || c.Messages[42].Content != "ours" || c.Head != 43 || c.MessageCount != 43 {
		t.Errorf("after a foreign insert and ours: %d messages, head %d, count %d", n, c.Head, c.MessageCount)
	}
	for range 2 { // before and after they are indexed
		search("adopted2 message7", 1)
		search("adopted1", 40)
		search("foreignafterwards", 1)
		for n := 1; n > 0; {
			if n, err = s.IndexPending(ctx, 50); err != nil {
				t.Fatal(err)
			}
		}
	}
	var role *store.InvalidRoleError
	if _, err := s.AddMessage(ctx, one, "robot", "x"); !errors.As(err, &role) {
		t.Errorf("a bad role: %v", err)
	}
}

func TestTheTablesKeepTheContract(t *testing.T) {
	ctx := t.Context()
	dsn := testpg.Schema(t, testpg.URL(t))
	s, conn := openStore(t, dsn), connect(t, dsn)
	id, err := s.CreateConversation(ctx, "m")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.AddMessage(ctx, id, "robot", "x")
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "23514" {
		t.Errorf("a bad role is %v, want the database's CHECK violation", err)
	}
	if _, err := s.AddMessage(ctx, id, "user", "x"); err != nil {
		t.Fatal(err)
	}
	// With nothing but the plain columns: a conversation made, read and deleted by somebody else.
	var foreign string
	if err := conn.QueryRow(ctx, `INSERT INTO conversations (model) VALUES ('theirs') RETURNING id::text`).Scan(&foreign); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"user", "assistant", "system"} {
		if _, err := conn.Exec(ctx, `INSERT INTO messages (conversation_id, role, content) VALUES ($1, $2, 'x')`, foreign, role); err != nil {
			t.Error(err)
		}
	}
	if c, err := s.GetConversation(ctx, foreign); err != nil || len(c.Messages) != 3 || c.MessageCount != 3 || !c.Listed {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := conn.Exec(ctx, `DELETE FROM conversations WHERE id IN ($1, $2)`, foreign, id); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := conn.QueryRow(ctx, `SELECT count(*) FROM messages`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d messages are left of deleted conversations, %v", left, err)
	}
	if _, err := s.IndexPending(ctx, 100); err != nil {
		t.Errorf("indexing what a foreign program deleted: %v", err)
	}
}

// One statement of a foreign program may insert many rows, of several conversations.
func TestForeignInsertsOfManyRows(t *testing.T) {
	ctx := t.Context()
	dsn := testpg.Schema(t, testpg.URL(t))
	s, conn := openStore(t, dsn), connect(t, dsn)
	var conversations []string
	for range 3 {
		id, err := s.CreateConversation(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		conversations = append(conversations, id)
	}
	if _, err := conn.Exec(ctx, `INSERT INTO messages (conversation_id, role, content)
		SELECT c::uuid, 'user', n::text FROM generate_series(1, 20) n, unnest($1::text[]) c`, conversations); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"messages"}, []string{"conversation_id", "role", "content"},
		pgx.CopyFromRows([][]any{{conversations[0], "user", "copied"}, {conversations[0], "user", "copied too"}})); err != nil {
		t.Fatal(err)
	}
	for i, id := range conversations {
		want := 20
		if i == 0 {
			want = 22
		}
		c, err := s.GetConversation(ctx, id)
		if err != nil || len(c.Messages) != want || c.MessageCount != want || int(c.Head) != want {
			t.Fatalf("%d messages, count %d, head %d, %v", len(c.Messages), c.MessageCount, c.Head, err)
		}
		for n, m := range c.Messages {
			if m.Seq != int64(n+1) || n < 20 && m.Content != fmt.Sprint(n+1) {
				t.Errorf("message %d is number %d, %q", n, m.Seq, m.Content)
			}
		}
	}
}

func TestOurOwnWritesDoNotFireTheTrigger(t *testing.T) {
	ctx := t.Context()
	dsn := testpg.Schema(t, testpg.URL(t))
	s, conn := openStore(t, dsn), connect(t, dsn)
	if _, err := conn.Exec(ctx, `CREATE OR REPLACE FUNCTION hwlab_number_foreign_message() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE 'the trigger fires'; END $$`); err != nil {
		t.Fatal(err)
	}
	id, err := s.CreateConversation(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, `INSERT INTO messages (conversation_id, role, content) VALUES ($1, 'user', 'x')`, id); err == nil {
		t.Fatal("the trigger does not fire for a foreign insert")
	}
	if _, err := s.AddMessage(ctx, id, "user", "x"); err != nil {
		t.Error(err)
	}
	f, err := s.JoinServer(ctx, store.NewID())
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.StartResponse(ctx, store.NewResponse{Fence: f, ConversationID: id, Input: []store.NewMessage{{Role: "user", Content: "q"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AppendDeltas(ctx, f, []store.Delta{{ResponseID: r.ID, ConversationID: id, Kind: store.DeltaItem, ItemID: store.NewID(), Text: "message"}}); err != nil {
		t.Error(err)
	}
	if _, _, err := s.FinishResponse(ctx, store.Finish{Fence: f, ConversationID: id, ResponseID: r.ID, Status: store.ResponseCompleted}); err != nil {
		t.Error(err)
	}
}

// What a caller gives is never a part of a statement.
func TestNothingIsInjected(t *testing.T) {
	ctx := t.Context()
	dsn := testpg.Schema(t, testpg.URL(t))
	s, conn := openStore(t, dsn), connect(t, dsn)
	canary, err := s.CreateConversationWith(ctx, store.NewConversation{Title: "canary", Metadata: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	message, err := s.AddMessage(ctx, canary, "user", "canary")
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.JoinServer(ctx, store.NewID())
	if err != nil {
		t.Fatal(err)
	}
	before := schemaOf(t, conn)
	whole, err := s.GetConversation(ctx, canary)
	if err != nil {
		t.Fatal(err)
	}
	for _, evil := range []string{
		"'; DROP TABLE messages CASCADE; --", "' OR 1=1 --", "$$; DROP TABLE conversations CASCADE; $$", `\'; TRUNCATE conversations CASCADE; --`, "'; UPDATE conversations SET title = 'owned'; --",
		"x', title = 'owned', model = '", "') RETURNING (SELECT 1) --", "1; SELECT pg_sleep(60)", "%' OR '%'='", "a:* | b & !c <-> 'd", "$1", "NULL", "E'\\x27'",
	} {
		id, err := s.CreateConversationWith(ctx, store.NewConversation{Model: evil, Title: evil, Metadata: map[string]string{evil: evil}})
		if err != nil {
			t.Errorf("create %q: %v", evil, err)
		}
		if _, err := s.AddMessage(ctx, id, "user", evil); err != nil {
			t.Errorf("add %q: %v", evil, err)
		}
		if _, err := s.UpdateConversation(ctx, id, store.ConversationChange{Title: &evil, Metadata: map[string]string{evil: evil}}); err != nil {
			t.Errorf("change to %q: %v", evil, err)
		}
		if _, err := s.Search(ctx, store.SearchQuery{Text: evil, Role: evil, Model: evil}); err != nil {
			t.Errorf("search %q: %v", evil, err)
		}
		r, err := s.StartResponse(ctx, store.NewResponse{Fence: f, ConversationID: id, Input: []store.NewMessage{{Role: "user", Content: evil}}, Model: evil, Title: evil})
		if err != nil {
			t.Errorf("start with %q: %v", evil, err)
		}
		if _, _, err := s.FinishResponse(ctx, store.Finish{Fence: f, ConversationID: id, ResponseID: r.ID, Status: store.ResponseFailed,
			Error: &store.ResponseError{Code: evil, Message: evil}, IncompleteReason: evil}); err != nil {
			t.Errorf("finish with %q: %v", evil, err)
		}
		// These name nothing, or are refused.
		_, _ = s.AddMessage(ctx, evil, "user", "x")
		_, _ = s.AddMessage(ctx, id, evil, "x")
		_, _ = s.Message(ctx, canary, evil)
		_, _, _ = s.ReadLog(ctx, evil, 0)
		_, _ = s.JoinServer(ctx, evil)
		_, _ = s.Running(ctx, evil)
		_, _ = s.List(ctx, store.ListQuery{After: &store.ListCursor{ID: evil, UpdatedAt: time.Now()}})
		_, _, _ = s.FinishResponse(ctx, store.Finish{Fence: store.Fence{ServerID: evil}, ConversationID: id, ResponseID: r.ID, Status: store.ResponseStatus(evil)})
		_ = s.AppendDeltas(ctx, f, []store.Delta{{ResponseID: r.ID, ConversationID: evil, Kind: store.DeltaKind(evil), ItemID: evil, Text: evil}})
		_ = s.DeleteMessage(ctx, canary, evil)
		_ = s.DeleteConversation(ctx, evil)
		if err := s.DeleteConversation(ctx, id); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if after := schemaOf(t, conn); after != before {
		t.Errorf("the schema changed:\n%s", after)
	}
	if is, err := s.GetConversation(ctx, canary); err != nil || !reflect.DeepEqual(is, whole) {
		t.Errorf("the canary is %+v, %v", is, err)
	}
	if page, err := s.Search(ctx, store.SearchQuery{Text: "canary"}); err != nil || len(page.Hits) != 2 || page.Hits[0].ID != message || page.Hits[1].ConversationID != canary {
		t.Errorf("the canary's message: %+v, %v", page.Hits, err)
	}
}

func TestAPoolOfTwoCarriesSixteenWriters(t *testing.T) {
	ctx := t.Context()
	s := openStore(t, withParam(testpg.Schema(t, testpg.URL(t)), "pool_max_conns", "2"))
	if n := s.Pool().Config().MaxConns; n != 2 {
		t.Fatalf("the pool has %d connections", n)
	}
	f, err := s.JoinServer(ctx, store.NewID())
	if err != nil {
		t.Fatal(err)
	}
	shared, err := s.CreateConversation(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for range 16 {
		writers.Go(func() {
			id, err := s.CreateConversation(ctx, "")
			if err != nil {
				t.Error(err)
				return
			}
			for range 5 {
				r, err := s.StartResponse(ctx, store.NewResponse{Fence: f, ConversationID: id, Input: []store.NewMessage{{Role: "user", Content: "q"}}})
				if err != nil {
					t.Error(err)
					return
				}
				rows := []store.Delta{{ResponseID: r.ID, ConversationID: id, Kind: store.DeltaItem, ItemID: store.NewID(), Text: "message"}}
				_, shares := s.AddMessage(ctx, shared, "user", "x")
				_, _, ends := s.FinishResponse(ctx, store.Finish{Fence: f, ConversationID: id, ResponseID: r.ID, Status: store.ResponseCompleted})
				_, reads := s.GetConversation(ctx, id)
				if err := errors.Join(s.AppendDeltas(ctx, f, rows), shares, ends, reads); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if c, err := s.Summary(ctx, shared); err != nil || c.MessageCount != 80 || c.Head != 80 {
		t.Errorf("%+v, %v", c, err)
	}
}

// What an append, a turn or a page costs grows neither with the thread nor with the list. The cost is how many blocks of tables and
// indexes the server looked at, which is the same on every machine.
func TestCostIsFlat(t *testing.T) {
	ctx := t.Context()
	dsn := testpg.Schema(t, testpg.URL(t))
	s, conn := openStore(t, withParam(dsn, "pool_max_conns", "1")), connect(t, dsn) // one connection, which reports what it did when told to
	thread, err := s.CreateConversation(ctx, "m")
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.JoinServer(ctx, store.NewID())
	if err != nil {
		t.Fatal(err)
	}
	// What else looks at the tables: the server by itself, never, and conn, reported before anything is measured.
	if _, err := conn.Exec(ctx, `DO $$ DECLARE t record; BEGIN
		FOR t IN SELECT relname FROM pg_stat_user_tables WHERE schemaname = current_schema() LOOP
			EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', t.relname);
		END LOOP; END $$`); err != nil {
		t.Fatal(err)
	}
	grown := 0
	grow := func(messages, conversations int) {
		t.Helper()
		grown += conversations
		for _, sql := range []string{
			fmt.Sprintf(`WITH c AS (UPDATE conversations SET head = head + %d, message_count = message_count + %[1]d WHERE id = '%s' RETURNING id, head - %[1]d AS was)
				INSERT INTO messages (conversation_id, role, content, seq) SELECT id, 'user', 'message ' || n, was + n FROM c, generate_series(1, %[1]d) n`, messages, thread),
			fmt.Sprintf(`WITH c AS (INSERT INTO conversations (started_at, updated_at)
					SELECT at, at FROM generate_series(1, %d) n, LATERAL (SELECT now() - (%d - n) * interval '1 second' AS at) x RETURNING id),
				m AS (INSERT INTO messages (conversation_id, role, content, seq) SELECT id, 'user', 'message ' || n, n FROM c, generate_series(1, 2) n)
				INSERT INTO responses (id, conversation_id, seq, status, model, server_id, ended_at)
					SELECT gen_random_uuid(), id, 1, 'completed', 'm', gen_random_uuid(), now() FROM c`, conversations, grown),
			`VACUUM ANALYZE`,
			`SELECT pg_stat_force_next_flush()`,
		} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	blocks := func() (n int) {
		t.Helper()
		if _, err := s.Pool().Exec(ctx, `SELECT pg_stat_force_next_flush()`); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(ctx, `SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0) + coalesce(toast_blks_read + toast_blks_hit, 0))::bigint
			FROM pg_statio_user_tables WHERE schemaname = current_schema()`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	calls := []struct {
		name string
		call func() error
	}{
		{"an append", func() error { _, err := s.AddMessage(ctx, thread, "user", "one more"); return err }},
		{"a turn", func() error {
			r, err := s.StartResponse(ctx, store.NewResponse{Fence: f, ConversationID: thread, Input: []store.NewMessage{{Role: "user", Content: "q"}}})
			if err != nil {
				return err
			}
			rows := []store.Delta{{ResponseID: r.ID, ConversationID: thread, Kind: store.DeltaItem, ItemID: store.NewID(), Text: "message"}}
			if err := s.AppendDeltas(ctx, f, rows); err != nil {
				return err
			}
			_, _, err = s.FinishResponse(ctx, store.Finish{Fence: f, ConversationID: thread, ResponseID: r.ID, Status: store.ResponseCompleted})
			return err
		}},
		{"the newest of the thread", func() error {
			_, err := s.Thread(ctx, store.ThreadQuery{ConversationID: thread, Newest: true, Limit: 30, Details: true})
			return err
		}},
		{"the list", func() error { _, err := s.ListConversations(ctx); return err }},
		{"two pages of the list", func() error {
			page, err := s.List(ctx, store.ListQuery{Limit: 50})
			if err != nil {
				return err
			}
			after := page.Conversations[49].Cursor()
			_, err = s.List(ctx, store.ListQuery{Limit: 50, After: &after})
			return err
		}},
	}
	measure := func() (costs []int) {
		t.Helper()
		const times = 20
		for _, c := range calls {
			before := 0
			for i := range times + 10 {
				if i == 10 { // by now the plans are those that stay
					before = blocks()
				}
				if err := c.call(); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
			}
			costs = append(costs, (blocks()-before)/times)
		}
		return costs
	}
	grow(500, 2_000)
	small := measure()
	grow(10_000, 40_000)
	for i, large := range measure() {
		t.Logf("%s: %d blocks, %d when all is large", calls[i].name, small[i], large)
		if small[i] == 0 || large > small[i]*3/2+5 { // trees are a level higher
			t.Errorf("%s looks at %d blocks, and at %d when thread and list are twenty times as long", calls[i].name, small[i], large)
		}
	}
}

// After a failover a connection may be on what is now the standby: it answers 25006 and must not come back to the pool.
func TestAReadOnlyConnectionIsDropped(t *testing.T) {
	ctx := t.Context()
	s := openStore(t, withParam(testpg.Schema(t, testpg.URL(t)), "pool_max_conns", "1"))
	id, err := s.CreateConversation(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pool().Exec(ctx, `SET default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	_, err = s.AddMessage(ctx, id, "user", "on the old primary")
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "25006" {
		t.Fatalf("the write on a read-only connection: %v", err)
	}
	if store.Permanent(err) {
		t.Error("that is not for ever")
	}
	if _, err := s.AddMessage(ctx, id, "user", "on the new one"); err != nil {
		t.Errorf("the next write: %v", err)
	}
}

// A flush that began before the end of its reply and committed after it leaves rows that no reader sees. They go with the
// conversation, when a server joins, and when the owner would end it, which it does where a deletion ended it that was undone.
func TestRowsOfAnOverlappingFlushAreErased(t *testing.T) {
	ctx := t.Context()
	s := openStore(t, testpg.Schema(t, testpg.URL(t)))
	f, err := s.JoinServer(ctx, store.NewID())
	if err != nil {
		t.Fatal(err)
	}
	ended := func(r store.Response) store.Finish {
		return store.Finish{Fence: f, ConversationID: r.ConversationID, ResponseID: r.ID, Status: store.ResponseFailed}
	}
	for name, erase := range map[string]func(r store.Response) error{
		"by the deletion":           func(r store.Response) error { return s.DeleteConversation(ctx, r.ConversationID) },
		"by a join":                 func(store.Response) error { _, err := s.JoinServer(ctx, store.NewID()); return err },
		"by its owner, who is late": func(r store.Response) error { _, _, err := s.FinishResponse(ctx, ended(r)); return err },
	} {
		r, err := s.StartResponse(ctx, store.NewResponse{Fence: f, Input: []store.NewMessage{{Role: "user", Content: "q"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.FinishResponse(ctx, ended(r)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Pool().Exec(ctx, `INSERT INTO response_deltas (response_id, n, conversation_id, kind, item, part, text)
			VALUES ($1, 0, $2, 'text', 0, 0, 'late')`, r.ID, r.ConversationID); err != nil {
			t.Fatal(err)
		}
		if _, rows, err := s.ReadLog(ctx, r.ID, 0); err != nil || len(rows) != 0 {
			t.Errorf("a reader sees %+v, %v", rows, err)
		}
		if err := erase(r); err != nil {
			t.Fatal(err)
		}
		var left int
		if err := s.Pool().QueryRow(ctx, `SELECT count(*) FROM response_deltas`).Scan(&left); err != nil || left != 0 {
			t.Errorf("%s: %d rows are left, %v", name, left, err)
		}
	}
}

// A write of a reply that takes long, here for its conversation, keeps its server from being taken over and its replies from being
// deleted, and not from showing that it lives. A deletion that waits for it goes before what is written later, or it might wait for good; but it lets that
// pass in between.
func TestAHeartbeatDoesNotWaitForAReply(t *testing.T) {
	ctx := t.Context()
	s := openStore(t, testpg.Schema(t, testpg.URL(t)))
	begin := func(f func() error) <-chan error {
		done := make(chan error, 1)
		go func() { defer close(done); done <- f() }()
		return done
	}
	// waiting returns which session waits for what another holds, 0 when what done is told of has ended instead.
	waiting := func(holder uint32, done <-chan error) (waiter uint32) {
		t.Helper()
		for {
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				return 0
			default:
			}
			err := s.Pool().QueryRow(ctx, `SELECT coalesce(min(pid), 0) FROM pg_stat_activity WHERE $1::int = ANY (pg_blocking_pids(pid))`, holder).Scan(&waiter)
			if err != nil {
				t.Fatal(err)
			}
			if waiter != 0 {
				return waiter
			}
		}
	}
	type call func(f store.Fence, running store.Response) error
	deletions := map[string]call{
		"a deletion": func(_ store.Fence, r store.Response) error { _, err := s.DeleteResponse(ctx, r.ID); return err },
		"a conversation's deletion": func(_ store.Fence, r store.Response) error {
			_, err := s.HoldConversation(ctx, r.ConversationID, time.Minute)
			return err
		},
	}
	all := map[string]call{
		"a take-over": func(f store.Fence, _ store.Response) error {
			list, err := s.BusyServers(ctx)
			i := slices.IndexFunc(list, func(v store.Server) bool { return v.ID == f.ServerID })
			if err != nil || i < 0 {
				return fmt.Errorf("the server is not among %v: %w", list, err)
			}
			if done, err := s.FenceOff(ctx, list[i]); !done || err != nil {
				return fmt.Errorf("it is not fenced off: %w", err)
			}
			return nil
		},
		"a start": func(f store.Fence, _ store.Response) error { _, err := s.JoinServer(ctx, f.ServerID); return err },
	}
	maps.Copy(all, deletions)
	for name, wait := range all {
		t.Run(name, func(t *testing.T) {
			f, err := s.JoinServer(ctx, store.NewID())
			if err != nil {
				t.Fatal(err)
			}
			question := store.NewResponse{Fence: f, Input: []store.NewMessage{{Role: "user", Content: "q"}}}
			running, err := s.StartResponse(ctx, question)
			if err != nil {
				t.Fatal(err)
			}
			if question.ConversationID, err = s.CreateConversation(ctx, "m"); err != nil {
				t.Fatal(err)
			}
			tx, err := s.Pool().Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(ctx)
			if _, err := tx.Exec(ctx, `SELECT FROM conversations WHERE id = $1::uuid FOR UPDATE`, question.ConversationID); err != nil {
				t.Fatal(err)
			}
			started := begin(func() error { _, err := s.StartResponse(ctx, question); return err })
			writer := waiting(tx.Conn().PgConn().PID(), started)
			if beat := begin(func() error { return s.Heartbeat(ctx, f) }); writer == 0 || waiting(writer, beat) != 0 {
				t.Error("a heartbeat waits for the reply")
			}
			done := begin(func() error { return wait(f, running) })
			waiter := waiting(writer, done)
			if waiter == 0 {
				t.Error("it does not wait for the reply")
			}
			later := started
			if deletions[name] != nil {
				later = begin(func() error {
					_, err := s.StartResponse(ctx, store.NewResponse{Fence: f, Input: question.Input})
					return err
				})
				if waiting(waiter, later) == 0 {
					t.Error("a later reply does not wait for it")
				}
				if err := <-later; err != nil { // which it does not for as long as the first takes
					t.Error(err)
				}
			}
			if err := tx.Rollback(ctx); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(<-started, <-done); err != nil {
				t.Error(err)
			}
		})
	}
}

// Of long texts few are indexed at once, so that no transaction takes as long as all of them do; each is found all along.
func TestLongTextsAreIndexedApart(t *testing.T) {
	ctx := t.Context()
	s := openStore(t, testpg.Schema(t, testpg.URL(t)))
	id, err := s.CreateConversation(ctx, "m")
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := s.AddMessage(ctx, id, "user", strings.Repeat("lorem ipsum ", 200_000)+"needle"); err != nil {
			t.Fatal(err)
		}
	}
	var taken []int
	for n := 1; n > 0; taken = append(taken, n) {
		if page, err := s.Search(ctx, store.SearchQuery{Text: "needle"}); err != nil || len(page.Hits) != 4 {
			t.Fatalf("found %d of 4, %v", len(page.Hits), err)
		}
		if n, err = s.IndexPending(ctx, 100); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{2, 2, 0}; !slices.Equal(taken, want) {
		t.Errorf("taken %d at once, want %d", taken, want)
	}
}

// What an older version of the program indexed, or goes on indexing beside this one, is found by parts of words once it was
// indexed anew, and by words all along.
func TestWhatAnOlderVersionIndexed(t *testing.T) {
	ctx := t.Context()
	dsn := testpg.Schema(t, testpg.URL(t))
	conn := connect(t, dsn)
	migrations, err := store.ReadMigrations(os.DirFS("."), "migrations")
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())`)
	for _, m := range migrations[:3] {
		if _, err := conn.Exec(ctx, m.SQL, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		exec(`INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)`, m.Version, m.Name, m.Checksum)
	}
	id, unlisted := store.NewID(), store.NewID()
	exec(`INSERT INTO conversations (id, title, head, message_count, listed) VALUES ($1, 'The oldtitle', 4, 4, true), ($2, '', 1, 1, false)`, id, unlisted)
	old := func(conversation, content string, seq int) {
		t.Helper()
		exec(`WITH m AS (INSERT INTO messages (conversation_id, role, content, seq) VALUES ($1, 'user', $2, $3) RETURNING *)
			INSERT INTO search_index (conversation_id, message_id, chunk, created_at, words)
			SELECT conversation_id, id, n, created_at, array_to_tsvector(CASE n WHEN 0 THEN $4 ELSE ARRAY['second'] END) FROM m, generate_series(0, 1) n`,
			conversation, content, seq, store.IndexWords(content))
	}
	old(id, "mounted nvsda12 (ok)", 1)
	exec(`WITH m AS (INSERT INTO messages (conversation_id, role, content, seq) VALUES ($1, 'user', 'waits for xsda1', 2) RETURNING id)
		INSERT INTO search_queue (message_id) SELECT id FROM m`, id)
	old(unlisted, "unlisted nvsda12", 1)

	s := openStore(t, dsn)
	found := func(when, text string, n int) {
		t.Helper()
		if page, err := s.Search(ctx, store.SearchQuery{Text: text}); err != nil || len(page.Hits) != n {
			t.Errorf("%s %q finds %d, want %d, %v", when, text, len(page.Hits), n, err)
		}
	}
	drain := func() {
		t.Helper()
		for n := 1; n > 0; {
			if n, err = s.IndexPending(ctx, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	found("after the upgrade", "mounted", 1)
	found("after the upgrade", "waits xsda", 1)
	found("after the upgrade", "ldtitl", 1)
	drain()
	found("indexed anew", "sda1", 2)
	found("indexed anew", "ldtitl", 1)
	old(id, "beside this one: ysda1", 3)
	drain()
	found("with an older server beside it", "sda1", 3)
	old(id, "at http://110.5.0.1090/", 4)
	exec(`UPDATE search_index SET version = 1`)
	found("without pairs", "10.5.0.109", 1)
	drain()
	found("with pairs", "10.5.0.109", 1)
	found("with pairs", "ldtitl", 1)
	var left, words int
	if err := conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM search_index WHERE version < 2 AND chunk = 0), (SELECT count(*) FROM search_words WHERE word LIKE '%sda1%')`).Scan(&left, &words); err != nil || left != 0 || words != 3 {
		t.Errorf("%d rows are old, %d words, %v", left, words, err)
	}
	if list, err := s.Unindexed(ctx, 10); err != nil || len(list) != 0 {
		t.Errorf("not in the index: %+v, %v", list, err)
	}
}

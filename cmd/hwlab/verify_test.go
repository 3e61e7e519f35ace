package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"git.georgsen.dk/hwlab/internal/testpg"
)

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	all := run(t, dir, nil, "", "export")
	serveIn(t, dir, "HWLAB_DATA_DIR="+filepath.Join(dir, "data"))
	if err := os.Mkdir(filepath.Join(dir, "copy"), 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, dir, nil, "", "backup", "copy/hwlab.db").ended(t, 0, `^$`)
	if info, err := os.Stat(filepath.Join(dir, "copy", "hwlab.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	copied := []string{"HWLAB_DATA_DIR=copy"}
	if got := run(t, dir, copied, "", "export"); got.out != all.out {
		t.Errorf("the backup holds:\n%s%s", got.out, got.err)
	}
	run(t, dir, copied, "", "verify").ended(t, 0, `^verified 3 conversations with 6 messages\n$`)
	run(t, dir, nil, "", "backup", "copy/hwlab.db").ended(t, 1, `is there already`)
	run(t, dir, nil, "", "backup", "nowhere/hwlab.db").ended(t, 1, `.`)
	run(t, dir, []string{"HWLAB_DATABASE_URL=postgres://h/d"}, "", "backup", "x.db").ended(t, 1, `pg_dump`)
}

// harm is SQL that breaks a record, in both engines, and what verify says of it.
var harm = []struct{ name, sql, said string }{
	{"a message gone", `DELETE FROM messages WHERE seq = 2`, `it has 1 messages and says 2`},
	{"the last place empty", `DELETE FROM messages WHERE seq = 2`, `nothing stands at 2`},
	{"the first place empty", `DELETE FROM messages WHERE seq = 1`, `nothing stands at 1`},
	{"places empty that nothing counts", `UPDATE conversations SET head = head + 3`, `nothing stands from 3 to 5`},
	{"a reply gone", `UPDATE messages SET response_id = '00000000-0000-7000-8000-000000000002' WHERE seq = 2`,
		`is of reply 00000000-0000-7000-8000-000000000002, which is not there`},
	{"a place skipped", `UPDATE messages SET idx = 1 WHERE seq = 2`, `one is missing`},
	{"an order beyond the end", `UPDATE conversations SET head = 1`, `after the end at 1`},
	{"a branch from nowhere", `UPDATE messages SET parent_id = '00000000-0000-7000-8000-000000000001' WHERE seq = 2`, `which is not before it`},
	{"a reply of nobody", `INSERT INTO responses (id, conversation_id, seq, status, model, request, server_id, created_at)
		SELECT '00000000-0000-7000-8000-000000000002', id, 2, 'in_progress', 'm', '{}', '00000000-0000-7000-8000-000000000003', started_at FROM conversations LIMIT 1`,
		`reply 00000000-0000-7000-8000-000000000002 is not settled`},
	{"a log that does not fit", `INSERT INTO responses (id, conversation_id, seq, status, model, request, server_id, created_at, ended_at, log)
		SELECT '00000000-0000-7000-8000-000000000002', id, 2, 'completed', 'm', '{}', '00000000-0000-7000-8000-000000000003', started_at, started_at, 'i p 9 P I' FROM conversations LIMIT 1`,
		`does not fit its text`},
}

func TestVerify(t *testing.T) {
	base := t.TempDir()
	fill(t, base, 1)
	all := run(t, base, nil, "", "export")
	for _, h := range append(harm, struct{ name, sql, said string }{"words not indexed", "", `cannot be found by its words`}) {
		t.Run(h.name, func(t *testing.T) {
			dir := t.TempDir()
			dsn := testpg.Schema(t, testpg.URL(t))
			engines := map[string][]string{"sqlite": nil, "postgres": {"HWLAB_DATABASE_URL=" + dsn}}
			for engine, settings := range engines {
				run(t, dir, settings, all.out, "import", "-").ended(t, 0, `imported 1`)
				run(t, dir, settings, "", "verify").ended(t, 0, `verified 1 conversation with 2 messages`)
				if engine == "sqlite" {
					query := h.sql
					if query == "" {
						query = `INSERT INTO search_index (search_index) VALUES ('delete-all')`
					}
					db, err := sql.Open("sqlite", filepath.Join(dir, "data", "hwlab.db"))
					if err != nil {
						t.Fatal(err)
					}
					_, err = db.ExecContext(t.Context(), query)
					if err != nil {
						t.Fatal(err)
					}
					db.Close()
				} else {
					query := h.sql
					if query == "" {
						query = `DELETE FROM search_index`
					}
					conn, err := pgx.Connect(t.Context(), dsn)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := conn.Exec(t.Context(), query); err != nil {
						t.Fatal(err)
					}
					conn.Close(t.Context())
				}
				r := run(t, dir, settings, "", "verify").ended(t, 1, `problem`)
				(ran{err: r.out, code: r.code}).ended(t, 1, h.said)
			}
		})
	}
}

// A record from before the places of replies that said nothing were kept has gaps that were no losses.
func TestTheGapsOfAnOlderRecordAreNoLosses(t *testing.T) {
	base := t.TempDir()
	fill(t, base, 1)
	all := run(t, base, nil, "", "export")
	eachEngine(t, func(t *testing.T, settings ...string) {
		dir := t.TempDir()
		run(t, dir, settings, all.out, "import", "-").ended(t, 0, `imported 1`)
		db, _ := recordOf(t, dir, settings)
		for _, statement := range []string{
			`DELETE FROM messages WHERE seq = 1`,
			`UPDATE conversations SET message_count = 1, head = 4`,
			`DROP TABLE deleted_conversations`, `DROP TABLE deleted_messages`, `DROP TABLE deleted_responses`, `DROP TABLE deletions`,
		} {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		run(t, dir, settings, "", "verify").ended(t, 1, `2 problems`)
		if _, err := db.ExecContext(t.Context(), `DELETE FROM schema_migrations WHERE name = '0003_deletions.sql'`); err != nil {
			t.Fatal(err)
		}
		db.Close()
		run(t, dir, settings, all.out, "import", "-").ended(t, 1, `is there already and differs`) // brings the schema up to date
		run(t, dir, settings, "", "verify").ended(t, 0, `verified 1 conversation with 4 messages`)
	})
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

// harm is SQL that breaks a record, and what verify says of it. Where PostgreSQL needs other SQL, it follows "--" on a line.
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
	{"a text that is not what its log says", `UPDATE messages SET content = 'the other' WHERE seq = 2;` + withReply("i p 5 P I"), `message \S+ says something else`},
	{"a log that is lost", withReply(""), `it has 0 items of 1`},
	{"another text", `UPDATE messages SET content = 'it was another text altogether' WHERE seq = 2`, `cannot be found by its words`},
	{"a word not listed", `DELETE FROM search_words`, `message \S+ cannot be found by its words\n(.*\n)*.*its title cannot be found by its words`},
	{"text of no reply", `INSERT INTO response_deltas (response_id, conversation_id, n, kind, item, part, text)
		SELECT '00000000-0000-7000-8000-000000000002', id, 0, 'text', 0, 0, 'x' FROM conversations LIMIT 1`,
		`^reply 00000000-0000-7000-8000-000000000002, which is not being written, has text`},
	{"words not indexed", "INSERT INTO search_index (search_index) VALUES ('delete-all')\n--\nDELETE FROM search_index", `cannot be found by its words`},
	{"a title not indexed", "DELETE FROM search_titles\n--\nDELETE FROM search_index WHERE message_id = conversation_id", `: its title cannot be found by its words\n$`},
	{"a conversation gone", "DELETE FROM conversations\n--\nSET session_replication_role = replica; DELETE FROM conversations",
		`^message \S+ is of conversation \S+, which is not there\nmessage \S+ is of conversation \S+, which is not there\n$`},
}

// withReply makes the second message what a reply with a log has said.
func withReply(log string) string {
	return `INSERT INTO responses (id, conversation_id, seq, status, model, request, server_id, created_at, ended_at, log)
		SELECT '00000000-0000-7000-8000-000000000002', id, 2, 'completed', 'm', '{}', '00000000-0000-7000-8000-000000000003', started_at, started_at, '` + log + `' FROM conversations;
		UPDATE messages SET response_id = '00000000-0000-7000-8000-000000000002' WHERE seq = 2`
}

func TestVerify(t *testing.T) {
	base := t.TempDir()
	fill(t, base, 1)
	all := run(t, base, nil, "", "export")
	for _, h := range harm {
		t.Run(h.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, settings ...string) {
				dir := t.TempDir()
				run(t, dir, settings, all.out, "import", "-").ended(t, 0, `imported 1`)
				run(t, dir, settings, "", "verify").ended(t, 0, `verified 1 conversation with 2 messages`)
				query, postgres, other := strings.Cut(h.sql, "\n--\n")
				if other && len(settings) > 0 {
					query = postgres
				}
				db, _ := recordOf(t, dir, settings)
				conn, err := db.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for statement := range strings.SplitSeq(query, ";") {
					if _, err := conn.ExecContext(t.Context(), statement); err != nil {
						t.Fatal(err)
					}
				}
				conn.Close()
				db.Close()
				r := run(t, dir, settings, "", "verify").ended(t, 1, `problem`)
				(ran{err: r.out, code: r.code}).ended(t, 1, h.said)
				if h.sql != harm[0].sql {
					return
				}
				var problem struct{ Problem string }
				line, _, _ := strings.Cut(run(t, dir, settings, "", "verify", "--json").ended(t, 1, `problem`).out, "\n")
				if err := json.Unmarshal([]byte(line), &problem); err != nil || !strings.Contains(r.out, problem.Problem+"\n") || problem.Problem == "" {
					t.Errorf("as JSON it says %s, %v", line, err)
				}
			})
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

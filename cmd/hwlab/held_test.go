package main

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
)

// eventually waits until what says nothing, and fails with the last that it said.
func eventually(t *testing.T, what func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		said := what()
		if said == "" {
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatal(said)
		}
	}
}

// recordOf opens the tables of a record as any program can, and says what of a file is on disk; "" on PostgreSQL.
func recordOf(t *testing.T, dir string, settings []string) (db *sql.DB, onDisk func() string) {
	t.Helper()
	driver, dsn := "sqlite", filepath.Join(dir, "data", "hwlab.db")
	for _, s := range settings {
		if url, ok := strings.CutPrefix(s, "HWLAB_DATABASE_URL="); ok {
			driver, dsn = "pgx", url
		}
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, func() string {
		var all bytes.Buffer
		for _, end := range []string{"", "-wal"} {
			text, err := os.ReadFile(dsn + end)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			all.Write(text)
		}
		return all.String()
	}
}

// A deletion with an undo is the server's: it ends in an erasure although the server was killed and the client has gone. On
// PostgreSQL it is another server that ends it.
func TestADeletionEndsAfterTheServerWasKilled(t *testing.T) {
	eachEngine(t, func(t *testing.T, settings ...string) {
		dir, other := t.TempDir(), t.TempDir()
		const secret, stays = "quetzalcoatlus", "archaeopteryx"
		settings = append(settings, "HWLAB_DATA_DIR="+filepath.Join(dir, "data"))
		p := serveIn(t, dir, settings...)
		var gone, kept struct{ ID string }
		p.get("POST", "/v1/conversations", `{"title":"`+secret+`","items":[{"role":"user","content":"`+secret+`"}]}`, &gone)
		p.get("POST", "/v1/conversations", `{"items":[{"role":"user","content":"`+stays+`"}]}`, &kept)
		p.get("DELETE", "/v1/conversations/"+gone.ID+"?undo=1", "", new(any))
		p.kill()
		db, onDisk := recordOf(t, dir, settings)
		left := func() (n int) {
			if err := db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM deletions) + (SELECT count(*) FROM deleted_conversations) +
				(SELECT count(*) FROM deleted_messages) + (SELECT count(*) FROM deleted_responses)`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := left(); n != 3 {
			t.Errorf("%d rows of what can be brought back", n)
		}
		db.Close()
		if strings.HasPrefix(settings[0], "HWLAB_DATABASE_URL=") {
			settings = append(settings, "HWLAB_DATA_DIR="+filepath.Join(other, "data"))
		}
		p = serveIn(t, dir, settings...)
		db, _ = recordOf(t, dir, settings)
		eventually(t, func() string {
			if left() > 0 {
				return "rows of what was deleted are left"
			}
			if strings.Contains(onDisk(), secret) {
				return "what was deleted is on the disk"
			}
			return ""
		})
		var list items
		if p.get("GET", "/v1/conversations/"+kept.ID+"/items", "", &list); !strings.Contains(list.String(), stays) {
			t.Errorf("of what was not deleted is left: %s", list)
		}
		if answer := p.request("POST", "/v1/conversations/"+gone.ID+"/restore", ""); answer.StatusCode != 404 {
			t.Errorf("an undo that is too late: %s", answer.Status)
		}
	})
}

package sqlite

import (
	"embed"
	"fmt"
	"strings"

	"git.georgsen.dk/hwlab/internal/store"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// pending returns the migrations that the file does not have yet. It returns a [store.SchemaError] for a schema newer than
// the program knows, for a migration that was applied with another text, and for a file that some other program made.
func (t tx) pending() ([]store.Migration, error) {
	known, err := store.ReadMigrations(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	tables, err := collect(t, scanText, `SELECT name FROM sqlite_schema WHERE type = 'table'`)
	if err != nil {
		return nil, err
	}
	if len(tables) == 0 {
		return known, nil
	}
	if !strings.Contains(" "+strings.Join(tables, " ")+" ", " schema_migrations ") {
		return nil, &store.SchemaError{Reason: "is not one of hwlab's: the file holds another program's tables"}
	}
	applied := map[int]string{}
	err = t.each(func(row scanner) error {
		var version int
		var checksum string
		err := row.Scan(&version, &checksum)
		applied[version] = checksum
		return err
	}, `SELECT version, checksum FROM schema_migrations`)
	if err != nil {
		return nil, err
	}
	return store.PendingMigrations(known, applied)
}

// migrate brings the file to the schema of this program. All of it happens in the one transaction t.
func (t tx) migrate() error {
	pending, err := t.pending()
	if err != nil {
		return err
	}
	if _, err := t.exec(`CREATE TABLE IF NOT EXISTS schema_migrations (
		version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT`); err != nil {
		return err
	}
	for _, m := range pending {
		if _, err := t.conn.ExecContext(t.ctx, m.SQL); err != nil { // unprepared: it is many statements
			return fmt.Errorf("%s: %w", m.Name, t.plain(err))
		}
		if _, err := t.exec(`INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)`,
			m.Version, m.Name, m.Checksum, now()); err != nil {
			return err
		}
	}
	return nil
}

// known refuses a file whose schema is not exactly this program's; a reader cannot change it.
func (t tx) known() error {
	pending, err := t.pending()
	if err == nil && len(pending) > 0 {
		err = &store.SchemaError{Version: pending[0].Version - 1, Reason: "is older than this program's; start hwlab serve once, which brings it up to date"}
	}
	return err
}

package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationLock is the advisory lock that start-ups queue for. Any number will do, as long as it stays the same.
const migrationLock = 0x68776c6162 // "hwlab"

// Migration is one numbered file of schema.
type Migration struct {
	Version  int    // from 1, without a gap
	Name     string // the file's name
	SQL      string
	Checksum string // SHA-256 of SQL, in hex
}

// SchemaError refuses a database whose schema this program does not know.
type SchemaError struct {
	Version int
	Reason  string
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("store: schema version %d of the database %s", e.Version, e.Reason)
}

// ReadMigrations reads the files of dir named NNNN_name.sql, in order. It is for both engines.
func ReadMigrations(files fs.FS, dir string) ([]Migration, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, fmt.Errorf("store: migrations: %w", err)
	}
	var list []Migration
	for i, entry := range entries {
		text, err := fs.ReadFile(files, dir+"/"+entry.Name())
		if err != nil {
			return nil, fmt.Errorf("store: migrations: %w", err)
		}
		number, _, _ := strings.Cut(entry.Name(), "_")
		if version, err := strconv.Atoi(number); err != nil || version != i+1 {
			return nil, fmt.Errorf("store: migration %s should be number %d", entry.Name(), i+1)
		}
		sum := sha256.Sum256(text)
		list = append(list, Migration{Version: i + 1, Name: entry.Name(), SQL: string(text), Checksum: hex.EncodeToString(sum[:])})
	}
	return list, nil
}

// PendingMigrations returns those of known that applied (version to checksum) does not have, or a [SchemaError] when
// applied has one that known does not, or with another checksum.
func PendingMigrations(known []Migration, applied map[int]string) ([]Migration, error) {
	for version := range applied {
		if version > len(known) {
			return nil, &SchemaError{Version: version, Reason: fmt.Sprintf(
				"is newer than this program knows (%d); run a newer hwlab, or restore the backup from before the upgrade", len(known))}
		}
	}
	var pending []Migration
	for _, m := range known {
		switch sum, ok := applied[m.Version]; {
		case !ok:
			pending = append(pending, m)
		case sum != m.Checksum:
			return nil, &SchemaError{Version: m.Version, Reason: fmt.Sprintf(
				"was made by another text of %s than this program has; it was changed after it was released", m.Name)}
		}
	}
	return pending, nil
}

// RunMigrations brings the database behind pool to the schema of this program, in one transaction under an advisory
// lock: it is safe to run again, and from many processes at once. It adopts a database that holds only the two plain
// tables. It returns a [SchemaError], having changed nothing, for a schema newer than the program knows and for a
// migration that was applied with another text.
func RunMigrations(ctx context.Context, pool *pgxpool.Pool) error {
	known, err := ReadMigrations(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	return migrate(ctx, pool, known)
}

func migrate(ctx context.Context, pool *pgxpool.Pool, known []Migration) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// A transaction's lock, not a session's: those do not survive PgBouncer.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::bigint)`, int64(migrationLock)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (
			version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT version, checksum FROM schema_migrations`)
		if err != nil {
			return err
		}
		applied := map[int]string{}
		var version int
		var checksum string
		if _, err := pgx.ForEachRow(rows, []any{&version, &checksum}, func() error {
			applied[version] = checksum
			return nil
		}); err != nil {
			return err
		}
		pending, err := PendingMigrations(known, applied)
		if err != nil {
			return err
		}
		for _, m := range pending {
			// Without arguments, so that one Exec may hold many statements.
			if _, err := tx.Exec(ctx, m.SQL, pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("store: migration %s: %w", m.Name, err)
			}
			if _, err := tx.Exec(ctx, `INSERT INTO schema_migrations (version, name, checksum) VALUES ($1::int, $2::text, $3::text)`,
				m.Version, m.Name, m.Checksum); err != nil {
				return err
			}
		}
		return nil
	})
	var pg *pgconn.PgError
	var schema *SchemaError
	switch {
	case err == nil, errors.As(err, &schema):
		return err
	case errors.As(err, &pg) && connectReasons[pg.Code] != "":
		return connectError(err)
	case pg == nil:
		return connectError(err)
	}
	return fmt.Errorf("store: migrations: %w", err)
}

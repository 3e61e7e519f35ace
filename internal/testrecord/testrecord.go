// Package testrecord opens records for tests. Only tests import it.
package testrecord

import (
	"path/filepath"
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/sqlite"
	"git.georgsen.dk/hwlab/internal/store/storetest"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// Record is what both engines have.
type Record = storetest.Store

// Each runs test on an empty record of each engine. A record is closed when its test ends.
func Each(t *testing.T, test func(t *testing.T, r Record)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// SQLite opens a new file.
func SQLite(t testing.TB) Record {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "hwlab.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Postgres opens a new schema.
func Postgres(t testing.TB) Record { return PostgresAt(t, testpg.Schema(t, testpg.URL(t))) }

// PostgresAt opens the record that dsn names, which may be open already.
func PostgresAt(t testing.TB, dsn string) Record {
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

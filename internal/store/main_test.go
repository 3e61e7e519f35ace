package store_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// migrateEnv makes this binary a process that migrates the database it names, when its standard input ends.
const migrateEnv = "HWLAB_TEST_MIGRATE"

func TestMain(m *testing.M) {
	if dsn := os.Getenv(migrateEnv); dsn != "" {
		if err := migrateProcess(dsn); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testpg.Main(m)
}

func migrateProcess(dsn string) error {
	ctx := context.Background()
	s, err := store.NewStore(ctx, dsn)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return store.RunMigrations(ctx, s.Pool())
}

package testpg

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Runner is a *testing.M.
type Runner interface{ Run() int }

// Main runs the tests of a package, ends what they started and exits. It is the body of TestMain.
func Main(m Runner) { Exit(m.Run()) }

// Exit ends every cluster and then the process. It is for a TestMain that runs the tests in its own way:
//
//	goleak.VerifyTestMain(m, goleak.Cleanup(testpg.Exit))
func Exit(code int) {
	if err := closeAll(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// shared starts the cluster that all tests of a binary use.
var shared = sync.OnceValues(func() (*Cluster, error) { return Start(Options{}) })

// URL is the connection string of a server for tests: HWLAB_DATABASE_URL, else this binary's own cluster, which the
// first call starts. Its tests share it; see Schema and Database.
func URL(t testing.TB) string {
	t.Helper()
	if url := os.Getenv("HWLAB_DATABASE_URL"); url != "" {
		return url
	}
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c.URL()
}

// Schema makes a fresh schema on the server and returns a connection string whose search_path is that schema alone. It
// is dropped with all that is in it when the test ends.
//
// What belongs to the whole database is shared between schemas: extensions and advisory locks. A test that makes
// extensions wants a Database.
func Schema(t testing.TB, baseURL string) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	do(t, baseURL, "create a schema", `CREATE SCHEMA `+name)
	t.Cleanup(func() { do(t, baseURL, "drop the schema", `DROP SCHEMA `+name+` CASCADE`) })
	return with(baseURL, "search_path", name)
}

// Database makes a fresh database on the server and returns its connection string. It is dropped, sessions and all,
// when the test ends. It takes longer than a Schema and shares nothing.
func Database(t testing.TB, baseURL string) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	do(t, baseURL, "create a database", `CREATE DATABASE `+name)
	t.Cleanup(func() { do(t, baseURL, "drop the database", `DROP DATABASE `+name+` WITH (FORCE)`) })
	return with(baseURL, "dbname", name)
}

// do runs one statement on a connection of its own. The connection string stays out of messages: it may hold a
// password.
func do(t testing.TB, dsn, what, sql string) {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatalf("testpg: %s: the connection string is malformed", what)
	}
	// A session that a test left behind makes the drop fail instead of hang.
	config.RuntimeParams["lock_timeout"] = "20s"
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatalf("testpg: %s: %v", what, err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("testpg: %s: %v", what, err)
	}
}

// with returns the connection string, a URL or keyword/value pairs, with one parameter added. In both forms the last
// of two counts. The value needs no quotes.
func with(dsn, key, value string) string {
	rest, isURL := strings.CutPrefix(dsn, "postgres://")
	if !isURL {
		rest, isURL = strings.CutPrefix(dsn, "postgresql://")
	}
	if !isURL {
		return strings.TrimSpace(dsn + " " + key + "=" + value)
	}
	if at := strings.IndexAny(rest, "@/"); at >= 0 && rest[at] == '@' {
		rest = rest[at:] // a password may hold a question mark
	}
	if strings.Contains(rest, "?") {
		return dsn + "&" + key + "=" + value
	}
	return dsn + "?" + key + "=" + value
}

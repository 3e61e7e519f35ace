// Package testpg gives tests a PostgreSQL server. Only tests import it.
//
// A package that needs a database writes
//
//	func TestMain(m *testing.M) { testpg.Main(m) }
//
// and in its tests
//
//	dsn := testpg.Schema(t, testpg.URL(t))
//
// URL is the server named by HWLAB_DATABASE_URL or else a temporary cluster, started once for each test binary. Schema
// is a fresh schema on it, dropped when the test ends. A test that stops and crashes its server starts its own with
// Start.
//
// A cluster is not the child of the test binary but of a keeper: the same binary, run once more, which does nothing
// but hold the server and the temporary folder. It ends both when the test binary is done or gone, however that came
// about: a panic, a timeout and a SIGKILL all close the pipe the keeper reads. Should the keeper itself be killed, the
// kernel ends the server (Linux) and the next keeper removes the folder. The test binary runs no goroutine for any of
// this, so leak checks need no exceptions.
package testpg

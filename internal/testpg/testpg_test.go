package testpg

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// childEnv makes the test binary a program that has a cluster and then ends in the way the variable says.
const childEnv = "HWLAB_TESTPG_CHILD"

func TestMain(m *testing.M) {
	if how := os.Getenv(childEnv); how != "" {
		child(how)
		return
	}
	Main(m)
}

func TestURLAnswers(t *testing.T) {
	url := URL(t)
	if again := URL(t); again != url {
		t.Errorf("a second call names another server: %q, then %q", url, again)
	}
	if v := query[int](t, url, `SELECT current_setting('server_version_num')::int / 10000`); v < minVersion {
		t.Errorf("PostgreSQL %d, want %d or newer", v, minVersion)
	}
	if e := query[string](t, url, `SHOW server_encoding`); e != "UTF8" {
		t.Errorf("encoding %s, want UTF8", e)
	}
}

func TestURLIsTheNamedServer(t *testing.T) {
	t.Setenv("HWLAB_DATABASE_URL", "postgres://somebody@127.0.0.1:1/elsewhere")
	if got := URL(t); got != "postgres://somebody@127.0.0.1:1/elsewhere" {
		t.Errorf("URL is %q, want what HWLAB_DATABASE_URL says", got)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	c := start(t, Options{})
	keeper, server, dir := c.keeper.Process.Pid, c.PID(), c.dir
	if !processLives(server) {
		t.Fatalf("process %d of a cluster that answers does not exist", server)
	}
	if err := goleak.Find(); err != nil {
		t.Errorf("an open cluster has goroutines: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if processLives(server) {
		t.Errorf("the server (process %d) is left", server)
	}
	if processLives(keeper) {
		t.Errorf("the keeper (process %d) is left", keeper)
	}
	wantGone(t, dir)
	if err := c.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if c.Stop() == nil || c.Kill() == nil || c.Restart() == nil {
		t.Error("a closed cluster accepts orders")
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name    string
		options Options
		want    map[string]string
	}{
		{"fast", Options{}, map[string]string{
			"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "listen_addresses": "127.0.0.1",
		}},
		{"durable", Options{Durable: true}, map[string]string{
			"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
		}},
		{"own", Options{Settings: map[string]string{"max_connections": "17", "fsync": "on"}}, map[string]string{
			"max_connections": "17", "fsync": "on",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := start(t, tt.options)
			for name, want := range tt.want {
				if got := query[string](t, c.URL(), `SELECT current_setting($1)`, name); got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
		})
	}
}

func TestABadSettingFailsWithTheServersWords(t *testing.T) {
	c, err := Start(Options{Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil {
		t.Fatal("started", c.Close())
	}
	if !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("the error does not say what the server said: %v", err)
	}
}

func TestRestart(t *testing.T) {
	c := start(t, Options{})
	url := c.URL()
	exec1(t, url, `CREATE TABLE kept (n int)`)
	for n, end := range map[int]func() error{1: c.Stop, 2: c.Kill} {
		exec1(t, url, `INSERT INTO kept VALUES ($1)`, n)
		before := c.PID()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if processLives(before) || c.PID() != 0 {
			t.Error("the server is not gone")
		}
		if ping(url) == nil {
			t.Error("a server that is gone answers")
		}
		if err := end(); err != nil {
			t.Errorf("ending it twice: %v", err)
		}
		if err := c.Restart(); err != nil {
			t.Fatal(err)
		}
		if c.URL() != url {
			t.Errorf("URL changed from %q to %q", url, c.URL())
		}
	}
	before := c.PID()
	if err := c.Restart(); err != nil { // while it runs
		t.Fatal(err)
	}
	if c.PID() == before {
		t.Error("Restart left a running server as it was")
	}
	if n := query[int](t, url, `SELECT count(*) FROM kept`); n != 2 {
		t.Errorf("%d rows are kept, want 2", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			c, err := Start(Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestSchema(t *testing.T) {
	base := URL(t)
	config, err := pgx.ParseConfig(base)
	if err != nil {
		t.Fatal("HWLAB_DATABASE_URL is malformed")
	}
	pairs := fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s",
		config.Host, config.Port, config.User, config.Password, config.Database)
	var names []string
	t.Run("in use", func(t *testing.T) {
		for _, dsn := range []string{base, base, pairs} {
			dsn = Schema(t, dsn)
			exec1(t, dsn, `CREATE TABLE conversations (id int)`) // would be refused if they shared a schema
			name := query[string](t, dsn, `SELECT current_schema()`)
			if path := query[string](t, dsn, `SHOW search_path`); path != name {
				t.Errorf("search_path is %q, want only %q", path, name)
			}
			names = append(names, name)
		}
	})
	n := query[int](t, base, `SELECT count(*) FROM information_schema.schemata WHERE schema_name = ANY($1)`, names)
	if n != 0 {
		t.Errorf("%d of the schemas %v are left", n, names)
	}
}

func TestDatabase(t *testing.T) {
	base := start(t, Options{}).URL()
	var name string
	t.Run("in use", func(t *testing.T) {
		dsn := Database(t, base)
		name = query[string](t, dsn, `SELECT current_database()`)
		// A session that stays open does not hinder the end.
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		exec1(t, dsn, `CREATE TABLE conversations (id int)`)
	})
	if query[bool](t, base, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name) {
		t.Errorf("the database %s is left", name)
	}
}

func TestWith(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:p@127.0.0.1:5/db",
		"postgresql://u:p@127.0.0.1:5/db",
		"postgres://u:p@127.0.0.1:5/db?sslmode=disable",
		"postgres://u:p@127.0.0.1:5/db?search_path=other&dbname=other",
		"postgres://u:p%40%3F@127.0.0.1:5,127.0.0.2:6/db?target_session_attrs=read-write",
		"postgres://u:p?q@127.0.0.1:5/db",
		"postgres://u:p@127.0.0.1:5",
		"host=127.0.0.1 port=5 user=u password='p q' dbname=db",
		"host=127.0.0.1,127.0.0.2 port=5,6 user=u password=p dbname=db search_path=other",
		"host=127.0.0.1 port=5 user=u password=p database=db ",
	} {
		before, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatalf("%s: %v", dsn, err)
		}
		after, err := pgx.ParseConfig(with(with(dsn, "search_path", "mine"), "dbname", "yours"))
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if got := after.RuntimeParams["search_path"]; got != "mine" {
			t.Errorf("%s: search_path is %q", dsn, got)
		}
		if after.Database != "yours" {
			t.Errorf("%s: the database is %q", dsn, after.Database)
		}
		if after.Host != before.Host || after.Port != before.Port || after.User != before.User ||
			after.Password != before.Password || len(after.Fallbacks) != len(before.Fallbacks) {
			t.Errorf("%s: something else changed too", dsn)
		}
	}
}

func TestFindBinSaysWhatIsWrong(t *testing.T) {
	t.Setenv("HWLAB_TEST_PG_BIN", t.TempDir())
	if _, err := findBin(); err == nil || !strings.Contains(err.Error(), "HWLAB_TEST_PG_BIN") {
		t.Errorf("an empty folder: %v", err)
	}
	old := t.TempDir()
	for name, text := range map[string]string{
		"initdb":   "#!/bin/sh\n",
		"postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.24'\n",
	} {
		if err := os.WriteFile(filepath.Join(old, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HWLAB_TEST_PG_BIN", old)
	if _, err := findBin(); err == nil || !strings.Contains(err.Error(), "15") {
		t.Errorf("an old version: %v", err)
	}
}

func TestSweep(t *testing.T) {
	temp := t.TempDir()
	folder := func(name string, age time.Duration, pid int) string {
		dir := filepath.Join(temp, name)
		if err := os.MkdirAll(filepath.Join(dir, dataName), 0o700); err != nil {
			t.Fatal(err)
		}
		if pid != 0 {
			text := fmt.Appendf(nil, "%d\n%s\n", pid, dir)
			if err := os.WriteFile(filepath.Join(dir, dataName, "postmaster.pid"), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(dir, then, then); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	stale := folder(folderPrefix+"stale", time.Hour, 0)
	crashed := folder(folderPrefix+"crashed", time.Hour, goneProcess(t))
	kept := []string{
		folder(folderPrefix+"fresh", 0, 0),
		folder(folderPrefix+"serving", time.Hour, os.Getpid()),
		folder(folderPrefix+"own", time.Hour, 0),
		folder("somebody-elses", time.Hour, 0),
	}
	held := folder(folderPrefix+"held", time.Hour, 0)
	lock, err := os.Open(held)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}

	sweep(temp, filepath.Join(temp, folderPrefix+"own"))

	wantGone(t, stale)
	wantGone(t, crashed)
	for _, dir := range append(kept, held) {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("%s was removed", filepath.Base(dir))
		}
	}
}

// TestNothingOutlivesTheTests ends test binaries that have a cluster in every way there is.
func TestNothingOutlivesTheTests(t *testing.T) {
	tests := []struct {
		name   string
		how    string
		signal syscall.Signal // sent to the test binary and its process group
	}{
		{"Main", "main", 0},
		{"exit without Main", "exit", 0},
		{"panic", "panic", 0},
		{"exit during initdb", "exit during initdb", 0},
		{"exit while the server starts", "exit while the server starts", 0},
		{"SIGKILL", "wait", syscall.SIGKILL},
		{"SIGTERM", "wait", syscall.SIGTERM},
		{"SIGINT", "wait", syscall.SIGINT},
		{"SIGQUIT", "wait", syscall.SIGQUIT},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd, said := startChild(t, tt.how)
			gone := keeperGone(t, said.Dir)
			if err := json.NewEncoder(cmd.in).Encode("go on"); err != nil {
				t.Fatal(err)
			}
			if tt.signal != 0 {
				if err := syscall.Kill(-cmd.Process.Pid, tt.signal); err != nil {
					t.Fatal(err)
				}
			}
			_ = cmd.Wait() // how it ended is up to the test
			if tt.how != "main" {
				gone() // Main itself has waited for that
			}
			wantGone(t, said.Dir)
			if said.Server != 0 && processLives(said.Server) {
				t.Errorf("the server (process %d) is left", said.Server)
			}
		})
	}
}

func TestTheServerDoesNotOutliveItsKeeper(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // nothing there tells a process that its parent is gone
	}
	c := start(t, Options{})
	server := c.PID()
	if err := c.keeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The server removes this file last.
	eventually(t, "the server ends", func() bool {
		_, err := os.Stat(filepath.Join(c.dir, dataName, "postmaster.pid"))
		return errors.Is(err, fs.ErrNotExist)
	})
	eventually(t, "the server's process ends", func() bool { return !processRuns(server) })
	if err := c.Restart(); err == nil {
		t.Error("a cluster without a keeper accepts orders")
	}
	if err := c.Close(); err == nil {
		t.Error("Close does not tell that the folder was left")
	}
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(c.dir, then, then); err != nil {
		t.Fatal(err)
	}
	sweep(filepath.Dir(c.dir), "")
	wantGone(t, c.dir)
}

// said is what a child tells of its cluster.
type said struct {
	Dir    string
	Server int
}

// child is the test binary as TestNothingOutlivesTheTests runs it.
func child(how string) {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
	// tell says where the cluster is and returns when the parent has taken notice.
	tell := func(c *Cluster) {
		check(json.NewEncoder(os.Stdout).Encode(said{c.dir, c.pid}))
		_, err := bufio.NewReader(os.Stdin).ReadString('\n')
		check(err)
	}
	switch how {
	case "main":
		Main(runner(func() int {
			c, err := shared()
			check(err)
			tell(c)
			return 0
		}))
	case "exit during initdb":
		bin, err := findBin()
		check(err)
		c := &Cluster{bin: bin}
		check(c.startKeeper())
		tell(c)
		check(c.send(request{Run: []string{
			filepath.Join(bin, "initdb"), "--pgdata", filepath.Join(c.dir, dataName), "--auth", "trust", "--no-sync",
		}}))
		_, err = c.await(time.Now().Add(startLimit))
		check(err)
	case "exit while the server starts":
		c, err := Start(Options{})
		check(err)
		check(c.Kill())
		tell(c)
		argv := []string{filepath.Join(c.bin, "postgres"), "-D", filepath.Join(c.dir, dataName), "-p", fmt.Sprint(c.port)}
		check(c.send(request{Run: append(argv, c.args...)}))
		_, err = c.await(time.Now().Add(startLimit))
		check(err)
	default:
		c, err := Start(Options{})
		check(err)
		tell(c)
		switch how {
		case "panic":
			panic("a test panics")
		case "wait":
			_, err := io.Copy(io.Discard, os.Stdin) // the parent never closes it
			check(err)
		}
	}
	os.Exit(0)
}

type runner func() int

func (r runner) Run() int { return r() }

type childCmd struct {
	*exec.Cmd
	in io.WriteCloser
}

// startChild runs the test binary as a child and returns when that has told of its cluster.
func startChild(t *testing.T, how string) (childCmd, said) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+how, "HWLAB_DATABASE_URL=", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var s said
	if err := json.NewDecoder(out).Decode(&s); err != nil {
		t.Fatalf("the child said nothing: %v", err)
	}
	return childCmd{cmd, in}, s
}

// keeperGone returns a function that returns when the keeper of the folder is done. The keeper holds a lock on the
// folder for its life.
func keeperGone(t *testing.T, dir string) func() {
	t.Helper()
	lock, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	return func() {
		t.Helper()
		got := make(chan error, 1)
		go func() { got <- syscall.Flock(int(lock.Fd()), syscall.LOCK_EX) }()
		select {
		case err := <-got:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the keeper is still there")
		}
	}
}

func start(t *testing.T, o Options) *Cluster {
	t.Helper()
	c, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func query[T any](t *testing.T, dsn, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func exec1(t *testing.T, dsn, sql string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func wantGone(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left (%v)", dir, err)
	}
}

// eventually is for what another process does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// processRuns reports whether a process exists and is not merely waiting to be collected by its new parent.
func processRuns(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// goneProcess is the id of a process that has ended.
func goneProcess(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

package testpg

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	minVersion = 15
	startLimit = 2 * time.Minute  // initdb, or the start of a server with its recovery
	stopLimit  = 60 * time.Second // a stop; a fast one writes a checkpoint
)

// Options choose what kind of cluster Start makes. The zero value is a fast one.
type Options struct {
	// Durable keeps fsync and full_page_writes on, as in production. The default leaves them off, which only a crash
	// of the machine could tell from on: a killed server loses nothing either way.
	Durable bool
	// Settings are added to the server's configuration (and win over the package's own), for example
	// {"max_connections": "20"}.
	Settings map[string]string
}

// Cluster is a temporary PostgreSQL server on 127.0.0.1. Its methods may be called from several goroutines.
type Cluster struct {
	url  string
	port int
	bin  string
	args []string // the server's, without the port

	mu      sync.Mutex
	keeper  *exec.Cmd
	to      *os.File // requests to the keeper; closing it ends the cluster
	from    *os.File // its events
	unread  []byte
	dir     string
	pid     int // 0: the server does not run
	closed  bool
	closing error
}

var clusters struct {
	sync.Mutex
	open []*Cluster
}

// Start makes a cluster and returns when it answers. Close ends it; Main and the end of the process do so too.
func Start(o Options) (*Cluster, error) {
	bin, err := findBin()
	if err != nil {
		return nil, err
	}
	return startWith(bin, serverArgs(o), func(data string) []string {
		return []string{filepath.Join(bin, "initdb"), "--pgdata", data, "--username", "postgres",
			"--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"}
	})
}

// Standby makes a cluster with a copy of c that follows c by streaming replication, as name in synchronous_standby_names, until
// it is promoted (SELECT pg_promote()). It returns when both answer: c is stopped to be copied, since pg_basebackup, which could do
// without, does not come with every set of server programs.
func (c *Cluster) Standby(name string) (*Cluster, error) {
	if err := c.Stop(); err != nil {
		return nil, err
	}
	from := fmt.Sprintf("primary_conninfo = 'host=127.0.0.1 port=%d user=postgres sslmode=disable application_name=%s'", c.port, name)
	standby, err := startWith(c.bin, c.args, func(data string) []string {
		return []string{"sh", "-ec", `cp -a "$1" "$2"
			touch "$2"/standby.signal
			printf '%s\n' "$3" "wal_retrieve_retry_interval = '50ms'" >> "$2"/postgresql.auto.conf`, "sh", filepath.Join(c.dir, dataName), data, from}
	})
	if err != nil {
		return nil, err
	}
	if err := c.Restart(); err != nil {
		return nil, errors.Join(err, standby.Close())
	}
	return standby, nil
}

// startWith makes a cluster whose data directory is made by a command.
func startWith(bin string, args []string, makeData func(data string) []string) (*Cluster, error) {
	c := &Cluster{bin: bin, args: args}
	if err := c.startKeeper(); err != nil {
		return nil, err
	}
	if err := c.create(makeData(filepath.Join(c.dir, dataName))); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	clusters.Lock()
	clusters.open = append(clusters.open, c)
	clusters.Unlock()
	return c, nil
}

// URL is the cluster's connection string, for its superuser and the database postgres. It stays the same for the
// cluster's life.
func (c *Cluster) URL() string { return c.url }

// PID is the server's process id, 0 when it does not run.
func (c *Cluster) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// Stop shuts the server down in order (PostgreSQL's "fast": sessions are ended, a checkpoint is written) and returns
// when it is gone. The data stays; Restart brings the server back. A server that does not run is left alone.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end(syscall.SIGINT)
}

// Kill crashes the server (PostgreSQL's "immediate": no checkpoint, every session is cut) and returns when it is gone.
// The data stays; Restart brings the server back through crash recovery.
func (c *Cluster) Kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end(syscall.SIGQUIT)
}

// Restart starts the server again at the same URL and returns when it answers. A server that runs is stopped in order
// first.
func (c *Cluster) Restart() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.end(syscall.SIGINT); err != nil {
		return err
	}
	return c.launch()
}

// Close ends the server at once and removes everything the cluster left on disk. It may be called again.
func (c *Cluster) Close() error {
	clusters.Lock()
	clusters.open = slices.DeleteFunc(clusters.open, func(other *Cluster) bool { return other == c })
	clusters.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.closing
	}
	c.closed, c.pid = true, 0
	errs := []error{c.to.Close()}
	if err := c.keeper.Wait(); err != nil {
		errs = append(errs, fmt.Errorf("testpg: the keeper could not clean up %s: %w", c.dir, err))
	}
	c.closing = errors.Join(append(errs, c.from.Close())...)
	return c.closing
}

// closeAll closes every cluster that is still open.
func closeAll() error {
	clusters.Lock()
	open := slices.Clone(clusters.open)
	clusters.Unlock()
	var errs []error
	for _, c := range open {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// serverArgs is the server's command line without the port.
func serverArgs(o Options) []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"max_connections":         "200",
		"shared_buffers":          "64MB",
		"fsync":                   "off",
		"full_page_writes":        "off",
	}
	if o.Durable {
		settings["fsync"], settings["full_page_writes"] = "on", "on"
	}
	maps.Copy(settings, o.Settings)
	var args []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// startKeeper runs this test binary once more, as the cluster's keeper; see keeper.go.
func (c *Cluster) startKeeper() error {
	as, err := serverAccount()
	if err != nil {
		return err
	}
	told, err := json.Marshal(job{TempDir: tempDir(as), Account: as})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err := os.Stat(self); err != nil {
		self = "/proc/self/exe" // the file is deleted, the program still runs
	}
	in, to, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	from, out, err := os.Pipe()
	if err != nil {
		return errors.Join(err, to.Close())
	}
	defer out.Close()

	c.keeper = exec.Command(self)
	// The race detector would hold up the keeper's exit for a second.
	c.keeper.Env = append(os.Environ(), keeperEnv+"="+string(told), "GORACE=atexit_sleep_ms=0")
	c.keeper.Dir = os.TempDir()
	// Files, so that exec needs no goroutine. Standard error is not inherited: `go test` would wait for it.
	c.keeper.Stdin, c.keeper.Stdout = in, out
	// A session of its own: Ctrl-C at a terminal ends the tests, and then the keeper cleans up.
	c.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.keeper.Start(); err != nil {
		return errors.Join(fmt.Errorf("testpg: start the keeper: %w", err), to.Close(), from.Close())
	}
	c.to, c.from = to, from

	e, err := c.await(time.Now().Add(startLimit))
	if err != nil {
		return errors.Join(err, c.Close())
	}
	c.dir = e.Dir
	return nil
}

// create makes the data directory with a command and starts the server on a free port.
func (c *Cluster) create(makeData []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	deadline := time.Now().Add(startLimit)
	err := c.send(request{Run: makeData})
	if err != nil {
		return err
	}
	if _, err := c.await(deadline); err != nil { // it was started
		return err
	}
	e, err := c.await(deadline) // it ended
	if err != nil {
		return err
	}
	if e.Status != "" {
		return fmt.Errorf("testpg: %s: %s\n%s", filepath.Base(makeData[0]), e.Status, c.log())
	}

	for range 20 {
		if c.port, err = freePort(); err != nil {
			return err
		}
		c.url = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", c.port)
		if err = c.launch(); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

var errPortTaken = errors.New("the port is taken")

// launch starts the server and returns when it answers.
func (c *Cluster) launch() error {
	if c.closed {
		return errors.New("testpg: the cluster is closed")
	}
	// The log starts afresh, so that what it says is about this start.
	if err := os.Truncate(filepath.Join(c.dir, logName), 0); err != nil {
		return fmt.Errorf("testpg: %w", err)
	}
	argv := []string{filepath.Join(c.bin, "postgres"), "-D", filepath.Join(c.dir, dataName), "-p", strconv.Itoa(c.port)}
	if err := c.send(request{Run: append(argv, c.args...)}); err != nil {
		return err
	}
	deadline := time.Now().Add(startLimit)
	e, err := c.await(deadline)
	if err != nil {
		return err
	}
	c.pid = e.PID
	for {
		if err := ping(c.url); err == nil {
			return nil
		} else if time.Now().After(deadline) {
			return fmt.Errorf("testpg: the server does not answer: %w\n%s", err, c.log())
		}
		e, err := c.next(time.Now().Add(10 * time.Millisecond)) // the pause between two attempts
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil:
			return err
		case e.Exited:
			c.pid = 0
			log := c.log()
			err := fmt.Errorf("testpg: the server ended while starting: %s\n%s", e.Status, log)
			if strings.Contains(log, "Address already in use") {
				err = fmt.Errorf("%w: %w", errPortTaken, err)
			}
			return err
		}
	}
}

// end sends the server a signal and returns when it has ended.
func (c *Cluster) end(sig syscall.Signal) error {
	if c.closed {
		return errors.New("testpg: the cluster is closed")
	}
	if c.pid == 0 {
		return nil
	}
	if err := c.send(request{Signal: sig}); err != nil {
		return err
	}
	e, err := c.await(time.Now().Add(stopLimit))
	if err != nil {
		return err
	}
	if !e.Exited {
		return fmt.Errorf("testpg: the keeper answered out of turn")
	}
	c.pid = 0
	return nil
}

func (c *Cluster) send(r request) error {
	if err := json.NewEncoder(c.to).Encode(r); err != nil {
		return fmt.Errorf("testpg: the keeper is gone: %w", err)
	}
	return nil
}

// await returns the keeper's next event; one that tells of an error is returned as that error.
func (c *Cluster) await(deadline time.Time) (event, error) {
	e, err := c.next(deadline)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("testpg: no answer in time: %w\n%s", err, c.log())
	}
	return e, err
}

func (c *Cluster) next(deadline time.Time) (event, error) {
	if err := c.from.SetReadDeadline(deadline); err != nil {
		return event{}, err
	}
	for {
		if line, rest, found := bytes.Cut(c.unread, []byte("\n")); found {
			c.unread = rest
			var e event
			if err := json.Unmarshal(line, &e); err != nil {
				return event{}, fmt.Errorf("testpg: keeper: %w", err)
			}
			if e.Error != "" {
				return event{}, fmt.Errorf("testpg: keeper: %s", e.Error)
			}
			return e, nil
		}
		some := make([]byte, 4096)
		n, err := c.from.Read(some)
		c.unread = append(c.unread, some[:n]...)
		if n == 0 && errors.Is(err, io.EOF) {
			return event{}, errors.New("testpg: the keeper is gone")
		}
		if n == 0 && err != nil {
			return event{}, err
		}
	}
}

// log is the end of what the last program wrote.
func (c *Cluster) log() string {
	text, err := os.ReadFile(filepath.Join(c.dir, logName))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return string(text[max(0, len(text)-4096):])
}

func ping(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// freePort finds a port that nobody listens on. It lies below the range from which the kernel gives out ports (32768
// and up, unless somebody changed it), so that it is still free when a stopped server comes back, and a client that
// keeps dialling meanwhile cannot be connected to itself.
func freePort() (int, error) {
	var last error
	for range 100 {
		port := 15000 + rand.IntN(17000)
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("testpg: no free port: %w", last)
}

// findBin is the folder of PostgreSQL's server programs: HWLAB_TEST_PG_BIN, else what PATH finds, else Debian's
// newest.
func findBin() (string, error) {
	if bin := os.Getenv("HWLAB_TEST_PG_BIN"); bin != "" {
		if v, err := binVersion(bin); err != nil {
			return "", fmt.Errorf("testpg: HWLAB_TEST_PG_BIN: %w", err)
		} else if v < minVersion {
			return "", fmt.Errorf("testpg: HWLAB_TEST_PG_BIN holds PostgreSQL %d; %d is the oldest supported", v, minVersion)
		}
		return filepath.Abs(bin)
	}
	var found []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.Abs(path); err == nil {
			found = append(found, filepath.Dir(path))
		}
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(debian, func(a, b string) int { return debianVersion(b) - debianVersion(a) })
	for _, bin := range append(found, debian...) {
		if v, err := binVersion(bin); err == nil && v >= minVersion {
			return bin, nil
		}
	}
	return "", fmt.Errorf("testpg: PostgreSQL's server programs (initdb and postgres, %d or newer) are not installed: "+
		"run `make test-deps`, or name their folder in HWLAB_TEST_PG_BIN", minVersion)
}

// debianVersion is 15 for /usr/lib/postgresql/15/bin.
func debianVersion(bin string) int {
	v, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return v
}

// binVersion is the major version of the server programs in a folder.
func binVersion(bin string) (int, error) {
	if _, err := exec.LookPath(filepath.Join(bin, "initdb")); err != nil {
		return 0, err
	}
	out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("postgres --version: %w", err)
	}
	// "postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)", "postgres (PostgreSQL) 18beta1"
	_, version, _ := strings.Cut(string(out), "(PostgreSQL) ")
	digits := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	v, err := strconv.Atoi(version[:max(0, digits)])
	if err != nil {
		return 0, fmt.Errorf("postgres --version says %q", out)
	}
	return v, nil
}

// serverAccount is whom the server runs as: PostgreSQL refuses to run as root.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &account{UID: uint32(uid), GID: uint32(gid)}, nil
		}
	}
	return nil, errors.New("testpg: PostgreSQL does not run as root and there is no account postgres or nobody")
}

// tempDir is where folders are made: the usual place, unless the server's account cannot get there.
func tempDir(as *account) string {
	usual := os.TempDir()
	if as == nil {
		return usual
	}
	for dir := filepath.Clean(usual); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return "/tmp"
		}
		if dir == filepath.Dir(dir) {
			return usual
		}
	}
}

package chaos

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// pooler starts PgBouncer in transaction mode with two connections to the server, and returns the URL that leads through it.
func pooler(t *testing.T, databaseURL string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // not in everybody's PATH
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatal("PgBouncer is not installed: run `make test-deps`, or install Debian's package pgbouncer")
	}
	u, err := url.Parse(databaseURL)
	must(t, err)
	dir, err := os.MkdirTemp("", "hwlab-chaos-pgbouncer-") // t.TempDir is not for other accounts
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().(*net.TCPAddr)
	must(t, listener.Close())
	config := fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\n"+
		"auth_type = trust\nauth_file = %s/users\npool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 300\n",
		u.Hostname(), u.Port(), address.Port, dir)
	must(t, os.WriteFile(filepath.Join(dir, "ini"), []byte(config), 0o644), os.WriteFile(filepath.Join(dir, "users"), []byte("\"postgres\" \"\"\n"), 0o644),
		os.Chmod(dir, 0o755))

	var printed bytes.Buffer
	cmd := exec.Command(program, filepath.Join(dir, "ini"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &printed, &printed
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // as which it refuses to run
		cmd.SysProcAttr.Credential = account(t)
	}
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("PgBouncer printed:\n%s", tail(printed.String()))
		}
	})
	u.Host = address.String()
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("tcp4", u.Host)
		if err == nil {
			conn.Close()
			return u.String()
		}
		select {
		case <-ended:
			t.Fatalf("PgBouncer ended:\n%s", printed.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// account is one that is not root.
func account(t *testing.T) *syscall.Credential {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		must(t, err)
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		must(t, err)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("there is no account postgres or nobody")
	return nil
}

func TestAHundredRepliesThroughPgBouncer(t *testing.T) {
	t.Parallel()
	random := dice(t)
	p := serve(t, t.TempDir(), append(model(t), "HWLAB_DATABASE_URL="+pooler(t, sharedURL(t)))...)
	for round := range times(1, 5) {
		var replies []*reply
		for i := range 100 {
			replies = append(replies, ask(p, speech{Tag: fmt.Sprintf("%d.%d", round, i), Words: 100, Pace: 20 * time.Millisecond}))
		}
		for _, r := range replies {
			r.completes(t, 60*time.Second)
		}
		for _, r := range replies[:10] {
			r.kept(t, p, random)
			r.goesOn(t, p)
		}
	}
	if contains(p, "level=ERROR") || contains(p, "level=WARN") {
		t.Errorf("it complained:\n%s", p.output())
	}
	p.stop()
}

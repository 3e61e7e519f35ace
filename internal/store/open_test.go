package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// What must not be seen of a connection string. No four characters of it occur in any message of ours.
const (
	secretPassword = "Zq7Xw9Kv3Jp"
	secretUser     = "yhb5grvk8cw"
	secretHost     = "kxq4vbz6nd9"
	secretDatabase = "mwj2ptqdb7x"
)

// logged collects all that is logged while a test runs.
func logged(t *testing.T) *bytes.Buffer {
	var b bytes.Buffer
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug - 10})))
	log.SetOutput(io.MultiWriter(&b, os.Stderr))
	t.Cleanup(func() {
		slog.SetDefault(was)
		log.SetOutput(os.Stderr)
	})
	return &b
}

// discreet fails when text shows any four characters of a secret, as it is or escaped.
func discreet(t *testing.T, what, text string, secrets ...string) {
	t.Helper()
	lower := strings.ToLower(text)
	for _, secret := range secrets {
		for _, form := range []string{strings.ToLower(secret), strings.ToLower(url.QueryEscape(secret)), strings.ToLower(url.PathEscape(secret))} {
			for i := 0; i+4 <= len(form); i++ {
				if strings.Contains(lower, form[i:i+4]) {
					t.Errorf("%s shows %q of the connection string: %s", what, form[i:i+4], text)
					return
				}
			}
		}
	}
}

func TestNewStoreRefusesMalformedStringsDiscreetly(t *testing.T) {
	out := logged(t)
	secrets := []string{secretPassword, secretUser, secretHost, secretDatabase}
	dsn := func(format string) string {
		return strings.NewReplacer("USER", secretUser, "PASS", secretPassword, "HOST", secretHost, "DB", secretDatabase).Replace(format)
	}
	for _, format := range []string{
		// A password whose special characters are not escaped: its tail looks like a host, a port, a database or an option.
		"postgres://USER:@PASS@HOST.invalid:5432/DB", "postgres://USER:PASS@PASS@HOST.invalid/DB", "postgres://USER:PASS/PASS@HOST.invalid/DB",
		"postgres://USER:PASS:PASS@HOST.invalid/DB", "postgres://USER:PASS#PASS@HOST.invalid/DB", "postgres://USER:PASS?PASS@HOST.invalid/DB",
		"postgres://USER:PASS%PASS@HOST.invalid/DB", "postgres://USER:PASS%zz@HOST.invalid/DB", "postgres://USER:PASS PASS@HOST.invalid/DB",
		"postgres://USER:[PASS@HOST.invalid/DB", "postgres://USER:PASS]@HOST.invalid/DB", "postgres://USER:PASS\x7f@HOST.invalid/DB", "postgres://USER:PASS\n@HOST.invalid/DB",
		"postgres://USER:PASS\\@HOST.invalid/DB", "postgres://USER@PASS:HOST.invalid/DB",
		// Ports, options and addresses that are none.
		"postgres://USER:PASS@HOST.invalid:PASS/DB", "postgres://USER:PASS@HOST.invalid:99999/DB", "postgres://USER:PASS@HOST.invalid:-1/DB",
		"postgres://USER:PASS@HOST.invalid/DB?sslmode=PASS", "postgres://USER:PASS@HOST.invalid/DB?sslmode=verify-full&sslrootcert=/PASS/HOST.pem",
		"postgres://USER:PASS@HOST.invalid/DB?connect_timeout=PASS", "postgres://USER:PASS@HOST.invalid/DB?pool_max_conns=PASS", "postgres://USER:PASS@HOST.invalid/DB?target_session_attrs=PASS",
		"postgres://USER:PASS@HOST.invalid/DB?pool_max_conn_lifetime=PASS", "postgres://USER:PASS@HOST.invalid/DB?service=PASS", "postgres://USER:PASS@HOST.invalid/DB?passfile=/PASS",
		"postgres://USER:PASS@HOST.invalid/DB?sslcert=PASS&sslkey=PASS", "postgres://USER:PASS@HOST.invalid/DB?default_query_exec_mode=PASS", "postgres://USER:PASS@HOST.invalid/DB?min_protocol_version=PASS",
		"postgres://USER:PASS@[HOST/DB", "postgres://USER:PASS@[::1/DB", "postgres://USER:PASS@HOST.invalid,:PASS/DB",
		// The form of keywords and values.
		"host=HOST.invalid user=USER password=PASS dbname=DB port=PASS", "host=HOST.invalid user=USER password='PASS dbname=DB", "host=HOST.invalid user=USER password=PASS PASS dbname=DB",
		"host=HOST.invalid user=USER password=PASS\\ dbname=DB sslmode=PASS", "host= HOST.invalid user = USER password = PASS = dbname DB", "password=PASS host", "=PASS", "user=USER password=PASS host=HOST.invalid dbname=DB connect_timeout=x",
		"host=/HOST user=USER password=PASS dbname=DB", "host=HOST.invalid user=USER password=PASS dbname=DB",
		// Something else altogether.
		"PASS", "mysql://USER:PASS@HOST.invalid/DB", "https://USER:PASS@HOST.invalid/DB", "jdbc:postgresql://HOST.invalid/DB?user=USER&password=PASS", "postgres:/USER:PASS@HOST.invalid/DB",
		"postgres:USER:PASS@HOST.invalid/DB", "POSTGRES://USER:PASS@HOST.invalid/DB", " postgres://USER:PASS@HOST.invalid/DB", "\"postgres://USER:PASS@HOST.invalid/DB\"", "HWLAB_DATABASE_URL=postgres://USER:PASS@HOST.invalid/DB",
		"\x00PASS", "postgres://USER:PASS\xff@HOST.invalid/DB", "postgres://" + strings.Repeat("PASS@", 1000) + "HOST.invalid/DB", "postgres://%%%PASS",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		s, err := store.NewStore(ctx, dsn(format))
		cancel()
		if err == nil {
			s.Close()
			t.Errorf("%q opens", format)
			continue
		}
		var e *store.ConnectError
		if !errors.As(err, &e) {
			t.Errorf("%q: the error is a %T", format, err)
		}
		for what, text := range map[string]string{"the error": err.Error(), "its Go form": fmt.Sprintf("%+v %#v", err, err)} {
			discreet(t, format+": "+what, text, secrets...)
		}
		for inner := err; inner != nil; inner = errors.Unwrap(inner) {
			discreet(t, format+": an inner error", inner.Error(), secrets...)
		}
		if !strings.Contains(err.Error(), "HWLAB_DATABASE_URL") {
			t.Errorf("%q: the error does not say where to look: %v", format, err)
		}
	}
	discreet(t, "the log", out.String(), secrets...)
}

func TestNewStoreWithoutAnAnswer(t *testing.T) {
	out := logged(t)
	secrets := []string{secretPassword, secretUser, secretDatabase, "127.0.0.1"}
	open := func(ctx context.Context, address string) error {
		s, err := store.NewStore(ctx, "postgres://"+secretUser+":"+secretPassword+"@"+address+"/"+secretDatabase+"?sslmode=disable")
		if err == nil {
			s.Close()
			t.Fatalf("%s answers", address)
		}
		discreet(t, "the error", fmt.Sprintf("%v %+v %#v", err, err, err), secrets...)
		return err
	}
	listen := func(serve func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go serve(c)
			}
		}()
		return l.Addr().String()
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := l.Addr().String()
	l.Close()
	if err := open(t.Context(), refused); !strings.Contains(err.Error(), "nothing listens") {
		t.Errorf("refused: %v", err)
	}
	open(t.Context(), listen(func(c net.Conn) { c.Close() }))
	open(t.Context(), listen(func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); c.Close() }))

	silent := listen(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := open(ctx, silent); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer in time: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := open(ctx, silent); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	discreet(t, "the log", out.String(), secrets...)
}

// passwordServer is a server that asks its one user for a password.
func passwordServer(t *testing.T) (*testpg.Cluster, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hwlab-open-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	rules := filepath.Join(dir, "pg_hba.conf")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(rules, []byte("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	cluster, err := testpg.Start(testpg.Options{Settings: map[string]string{"hba_file": rules}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	admin, err := pgx.Connect(t.Context(), cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(context.Background()) }()
	for _, sql := range []string{
		`CREATE ROLE ` + secretUser + ` LOGIN PASSWORD '` + secretPassword + `'`, `CREATE DATABASE ` + secretDatabase + ` OWNER ` + secretUser,
		`CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' OWNER ` + secretUser,
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword(secretUser, secretPassword), "/"+secretDatabase
	return cluster, u.String()
}

func TestNewStoreAndAServerThatRefuses(t *testing.T) {
	out := logged(t)
	cluster, dsn := passwordServer(t)
	good, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	wrong := "Wv6Yk1Qz8Hd"
	for _, c := range []struct {
		what string
		dsn  func(u *url.URL)
		say  string
	}{
		{"a wrong password", func(u *url.URL) { u.User = url.UserPassword(secretUser, wrong) }, "refused the password"},
		{"no password", func(u *url.URL) { u.User = url.User(secretUser) }, "password"},
		{"an unknown user", func(u *url.URL) { u.User = url.UserPassword("fjd3kw9nxbz", wrong) }, "refused the password"},
		{"an unknown database", func(u *url.URL) { u.Path = "/qhv8zndb4" }, "no such database"},
		{"another encoding", func(u *url.URL) { u.Path = "/latin" }, "UTF8"},
		{"TLS that it does not speak", func(u *url.URL) {
			q := u.Query()
			q.Set("sslmode", "require")
			u.RawQuery = q.Encode()
		}, ""},
	} {
		u := *good
		c.dsn(&u)
		s, err := store.NewStore(t.Context(), u.String())
		if err == nil {
			s.Close()
			t.Errorf("%s: it opens", c.what)
			continue
		}
		discreet(t, c.what, fmt.Sprintf("%v %+v %#v", err, err, err), wrong, secretPassword, secretUser, secretDatabase, "fjd3kw9nxbz", "qhv8zndb4", "127.0.0.1")
		if !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", c.what, err)
		}
	}

	// The server goes away under an open store: now every call fails, as discreetly.
	s, err := store.NewStore(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := store.RunMigrations(t.Context(), s.Pool()); err != nil {
		t.Fatal(err)
	}
	id, err := s.CreateConversation(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.JoinServer(t.Context(), store.NewID())
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]func() error{
		"CreateConversation": func() error { _, err := s.CreateConversation(t.Context(), "m"); return err },
		"AddMessage":         func() error { _, err := s.AddMessage(t.Context(), id, "user", "x"); return err },
		"AppendMessages": func() error {
			_, _, err := s.AppendMessages(t.Context(), store.Append{ConversationID: id, Messages: []store.NewMessage{{Role: "user"}}, Expect: new(int64)})
			return err
		},
		"GetConversation":   func() error { _, err := s.GetConversation(t.Context(), id); return err },
		"Summary":           func() error { _, err := s.Summary(t.Context(), id); return err },
		"ListConversations": func() error { _, err := s.ListConversations(t.Context()); return err },
		"List":              func() error { _, err := s.List(t.Context(), store.ListQuery{}); return err },
		"Thread":            func() error { _, err := s.Thread(t.Context(), store.ThreadQuery{ConversationID: id}); return err },
		"Message":           func() error { _, err := s.Message(t.Context(), id, id); return err },
		"Place":             func() error { _, err := s.Place(t.Context(), id, id); return err },
		"Update":            func() error { _, err := s.UpdateConversation(t.Context(), id, store.ConversationChange{}); return err },
		"DeleteResponse":    func() error { _, err := s.DeleteResponse(t.Context(), id); return err },
		"DeleteMessage":     func() error { return s.DeleteMessage(t.Context(), id, id) },
		"Delete":            func() error { return s.DeleteConversation(t.Context(), id) },
		"JoinServer":        func() error { _, err := s.JoinServer(t.Context(), f.ServerID); return err },
		"Heartbeat":         func() error { return s.Heartbeat(t.Context(), f) },
		"BusyServers":       func() error { _, err := s.BusyServers(t.Context()); return err },
		"FenceOff":          func() error { _, err := s.FenceOff(t.Context(), store.Server{ID: f.ServerID}); return err },
		"Running":           func() error { _, err := s.Running(t.Context(), f.ServerID); return err },
		"StartResponse":     func() error { _, err := s.StartResponse(t.Context(), store.NewResponse{Fence: f}); return err },
		"AppendDeltas": func() error {
			return s.AppendDeltas(t.Context(), f, []store.Delta{{ResponseID: id, ConversationID: id}})
		},
		"FinishResponse": func() error {
			_, _, err := s.FinishResponse(t.Context(), store.Finish{Fence: f, ConversationID: id, ResponseID: id})
			return err
		},
		"ReadLog":       func() error { _, _, err := s.ReadLog(t.Context(), id, 0); return err },
		"History":       func() error { _, err := s.History(t.Context(), store.Response{ConversationID: id}); return err },
		"RequestCancel": func() error { return s.RequestCancel(t.Context(), id) },
		"Unwanted":      func() error { _, _, err := s.Unwanted(t.Context(), []string{id}); return err },
		"ForgetKeys":    func() error { _, err := s.ForgetKeys(t.Context(), time.Now()); return err },
		"Search":        func() error { _, err := s.Search(t.Context(), store.SearchQuery{Text: "x"}); return err },
		"IndexPending":  func() error { _, err := s.IndexPending(t.Context(), 1); return err },
		"RunMigrations": func() error { return store.RunMigrations(t.Context(), s.Pool()) },
	}
	fails := func() {
		t.Helper()
		for name, call := range calls {
			err := call()
			if err == nil {
				t.Errorf("%s succeeds without a server", name)
				continue
			}
			for inner := err; inner != nil; inner = errors.Unwrap(inner) {
				discreet(t, name, inner.Error(), secretPassword, secretUser, secretDatabase, "127.0.0.1")
			}
			if store.Permanent(err) || errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v is not how things are, but how they are now", name, err)
			}
		}
	}
	if err := cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	fails() // on connections that were cut
	fails() // and without any
	discreet(t, "the log", out.String(), secretPassword, secretUser, secretDatabase)

	// It comes back, and so does the store.
	if err := cluster.Restart(); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Summary(t.Context(), id); err != nil || c.Model != "m" {
		t.Errorf("after the restart: %+v, %v", c, err)
	}
}

func TestNewStoreOpensPingsAndClosesTwice(t *testing.T) {
	s, err := store.NewStore(t.Context(), testpg.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	if s.Pool() == nil {
		t.Fatal("there is no pool")
	}
	if err := s.Pool().Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if info := s.Info(); !strings.HasPrefix(info.Engine, "PostgreSQL ") || !strings.Contains(info.Detail, "connections") {
		t.Errorf("%+v", info)
	}
	if n := s.Pool().Config().MaxConns; n < 16 && !strings.Contains(testpg.URL(t), "pool_max_conns") {
		t.Errorf("the pool has %d connections", n)
	}
	s.Close()
	s.Close()
	if err := s.Pool().Ping(t.Context()); err == nil {
		t.Error("a closed store answers")
	}
}

func TestNewStoreWarnsWhenACommitIsNotDurable(t *testing.T) {
	cluster, err := testpg.Start(testpg.Options{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, commit := range []string{"on", "off", "local"} {
		u, err := url.Parse(cluster.URL())
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("synchronous_commit", commit)
		u.RawQuery = q.Encode()
		s, err := store.NewStore(t.Context(), u.String())
		if err != nil {
			t.Fatal(err)
		}
		if warnings := s.Info().Warnings; (len(warnings) > 0) != (commit == "off") {
			t.Errorf("with synchronous_commit %s it warns of %q", commit, warnings)
		}
		s.Close()
	}
}

// Package sqlite is the record in one SQLite file: the embedded twin of package store, with the same methods and types, for
// a machine without a database server.
//
// What is always true in it, besides what package store says:
//
//   - One process writes. It holds an exclusive lock on a file beside the database for as long as the Store is open, and
//     the kernel releases it however the process ends.
//   - A write is one transaction on the one writing connection. A caller may give up while it waits for its turn; what has
//     begun is carried through, so nothing is ever half-written and every outcome is known.
//   - A read sees one moment, and waits for no writer.
//   - A commit is on disk when it returns (WAL with synchronous=FULL), in the file that path names.
//   - What is deleted is erased: overwritten in the file, taken out of the index, and cut from the write-ahead log.
//
// It never opens the database file except through SQLite: closing such a descriptor would drop the locks that SQLite holds
// on the file in this process. It keeps no file on a network, where those locks do not work. The schema stands in
// migrations; package storetest is the contract of both engines as tests.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver

	"git.georgsen.dk/hwlab/internal/store"
)

// Store is the record in a SQLite file. All methods are safe for concurrent use.
type Store struct {
	path string
	file fs.FileInfo // what path was when it was opened
	lock *lock       // nil in a store for reading only
	info store.Info

	writer, readers *pool // writer is nil in a store for reading only
	close           func()

	unerased  atomic.Bool  // the write-ahead log still holds what was deleted
	rewriting sync.Mutex   // held while what is deleted is only marked in the index
	deleting  atomic.Int32 // deletions that have messages in the queue on their way out
}

// Open opens the record in the file path for reading and writing, makes it and its directory if they are not there, and
// brings its schema up to date. It returns a [LockedError] when another Store, of this process or another, has the file
// open for writing, and a [store.SchemaError], having changed nothing, for a schema it does not know.
func Open(ctx context.Context, path string) (*Store, error) {
	s, err := open(ctx, path, true)
	if err != nil {
		return nil, wrap("open", err)
	}
	return s, nil
}

// OpenReadOnly opens the record in the file path for reading, beside the process that writes it, if any. Its writing methods
// return an error. It returns a [store.SchemaError] unless the file has exactly this program's schema, and an error that is
// [fs.ErrNotExist] when there is no file.
func OpenReadOnly(ctx context.Context, path string) (*Store, error) {
	s, err := open(ctx, path, false)
	if err != nil {
		return nil, wrap("open", err)
	}
	return s, nil
}

func open(ctx context.Context, path string, write bool) (_ *Store, err error) {
	path, err = resolve(path, write)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path}
	closers := []func(){} // in the order in which they were opened
	s.close = sync.OnceFunc(func() {
		for i := range closers {
			closers[len(closers)-1-i]()
		}
	})
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if write {
		if s.lock, err = acquire(path); err != nil {
			return nil, err
		}
		closers = append(closers, s.lock.release)
		if err := create(path); err != nil {
			return nil, err
		}
		if s.file, err = os.Stat(path); err != nil {
			return nil, err
		}
		s.writer = newPool(path, 1, url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)",
			"fullfsync(1)", "foreign_keys(1)", "secure_delete(1)", "journal_size_limit(67108864)"}})
		closers = append(closers, s.writer.close) // the last connection: closing it empties the write-ahead log
		err := s.write(ctx, func(t tx) error {
			var journal string
			if err := t.get(`PRAGMA journal_mode`, nil, &journal); err != nil {
				return err
			}
			if journal != "wal" {
				return fmt.Errorf("SQLite can keep no write-ahead log in %s; choose a directory on a local disk", s.writer.dir)
			}
			return t.migrate()
		})
		if err != nil {
			return nil, err
		}
	}
	s.readers = newPool(path, max(4, 2*runtime.NumCPU()), url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)", "query_only(1)"}})
	closers = append(closers, s.readers.close)
	var version string
	err = s.read(ctx, func(t tx) error {
		return errors.Join(t.known(), t.get(`SELECT sqlite_version()`, nil, &version))
	})
	if err == nil && write {
		err = s.finishRewriting(ctx)
	}
	s.info = store.Info{Engine: "SQLite " + version, Detail: path}
	return s, err
}

// resolve returns the path that names the database for everybody, without symbolic links, and refuses one on a network.
func resolve(path string, create bool) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if create {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", err
		}
	}
	real, err := filepath.EvalSymlinks(path)
	if create && errors.Is(err, fs.ErrNotExist) {
		real, err = filepath.EvalSymlinks(filepath.Dir(path))
		real = filepath.Join(real, filepath.Base(path))
	}
	if err != nil {
		return "", err
	}
	if kind := networkFilesystem(filepath.Dir(real)); kind != "" {
		return "", fmt.Errorf("%s is on a network file system (%s), where SQLite cannot keep a database safe; "+
			"set HWLAB_DATA_DIR to a directory on a local disk, or use PostgreSQL with HWLAB_DATABASE_URL", path, kind)
	}
	return real, nil
}

// create makes the database's file, for its owner only. One that is there is not touched.
func create(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// Close waits for what is under way, closes the database and releases the lock. A second Close does nothing.
func (s *Store) Close() { s.close() }

// Info says what the record is kept in.
func (s *Store) Info() store.Info { return s.info }

// SetURL writes where the server that holds the database answers to the lock file, for the message of a [LockedError].
func (s *Store) SetURL(url string) error {
	if s.lock == nil {
		return errReadOnly
	}
	return wrap("lock", s.lock.write(url))
}

// pool is a number of connections with the same settings, opened when they are first needed. Every statement is prepared
// once a connection.
type pool struct {
	db     *sql.DB
	dir    string
	idle   chan *conn
	closed chan struct{}
}

// conn is a connection, used by one at a time.
type conn struct {
	*sql.Conn // nil until it is needed
	stmts     map[string]*sql.Stmt
	words     *wordList // of the connection that writes
	dir       string    // of the database, for errors
}

func newPool(path string, size int, settings url.Values) *pool {
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: settings.Encode()}
	db, _ := sql.Open("sqlite", dsn.String()) // fails only for an unknown driver
	db.SetMaxOpenConns(size)
	p := &pool{db: db, dir: filepath.Dir(path), idle: make(chan *conn, size), closed: make(chan struct{})}
	for range size {
		p.idle <- &conn{stmts: map[string]*sql.Stmt{}, dir: p.dir}
	}
	return p
}

var (
	errClosed   = errors.New("store: closed")
	errReadOnly = errors.New("store: open for reading only")
)

// with waits for a connection and calls f with it.
func (p *pool) with(ctx context.Context, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *conn
	select {
	case c = <-p.idle:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.closed:
		return errClosed
	}
	defer func() { p.idle <- c }()
	if c.Conn == nil {
		var err error
		if c.Conn, err = p.db.Conn(context.WithoutCancel(ctx)); err != nil {
			return c.plain(err)
		}
	}
	return f(c)
}

// close waits for the connections in use and closes them all.
func (p *pool) close() {
	close(p.closed)
	for range cap(p.idle) {
		if c := <-p.idle; c.Conn != nil {
			for _, stmt := range c.stmts {
				stmt.Close()
			}
			c.Conn.Close()
		}
	}
	p.db.Close()
}

// write calls f in a transaction that may write. Others wait for it, so f does nothing slow. ctx ends the wait for a turn,
// not f.
func (s *Store) write(ctx context.Context, f func(tx) error) error {
	if s.writer == nil {
		return errReadOnly
	}
	return s.writer.with(ctx, func(c *conn) error {
		// SQLite goes on with a file that has no name any more, and all of it would be gone with the process.
		if now, err := os.Stat(s.path); err != nil || !os.SameFile(now, s.file) {
			return &movedError{s.path}
		}
		return tx{c, context.WithoutCancel(ctx)}.do(`BEGIN IMMEDIATE`, f)
	})
}

// read calls f in a transaction that sees one moment.
func (s *Store) read(ctx context.Context, f func(tx) error) error {
	return s.readers.with(ctx, func(c *conn) error { return tx{c, ctx}.do(`BEGIN`, f) })
}

// erase is a write that deletes. Afterwards it empties the write-ahead log, in which the deleted text still stands. A reader
// can hold that up; then IndexPending does it, or the next deletion, or Close.
func (s *Store) erase(ctx context.Context, f func(tx) error) error {
	if err := s.write(ctx, f); err != nil {
		return err
	}
	s.emptyLog(ctx)
	return nil
}

// emptyLog moves the write-ahead log into the database and cuts it to nothing, unless a reader holds that up for long.
func (s *Store) emptyLog(ctx context.Context) {
	s.unerased.Store(true)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 250*time.Millisecond)
	defer cancel()
	var busy, frames, moved int
	err := s.writer.with(ctx, func(c *conn) error {
		return tx{c, ctx}.get(`PRAGMA wal_checkpoint(TRUNCATE)`, nil, &busy, &frames, &moved)
	})
	if err == nil && busy == 0 {
		s.unerased.Store(false)
	}
}

// tx is a transaction on a connection.
type tx struct {
	*conn
	ctx context.Context
}

// do calls f between begin and a commit, or a rollback when f or the commit fails.
func (t tx) do(begin string, f func(tx) error) (err error) {
	if _, err := t.exec(begin); err != nil {
		return err
	}
	committed := false
	defer func() {
		if !committed {
			t.words = nil
			t.ctx = context.WithoutCancel(t.ctx)
			t.exec(`ROLLBACK`) // fails if SQLite has done it already
		}
	}()
	if err := f(t); err != nil {
		return err
	}
	_, err = t.exec(`COMMIT`)
	committed = err == nil
	return err
}

func (t tx) stmt(query string) (*sql.Stmt, error) {
	if stmt, ok := t.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := t.conn.PrepareContext(t.ctx, query)
	if err != nil {
		return nil, t.plain(err)
	}
	t.stmts[query] = stmt
	return stmt, nil
}

// exec runs a statement that returns no rows.
func (t tx) exec(query string, args ...any) (sql.Result, error) {
	stmt, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	result, err := stmt.ExecContext(t.ctx, args...)
	return result, t.plain(err)
}

// get scans the one row of a statement into dest, or returns sql.ErrNoRows.
func (t tx) get(query string, args []any, dest ...any) error {
	stmt, err := t.stmt(query)
	if err != nil {
		return err
	}
	return t.plain(stmt.QueryRowContext(t.ctx, args...).Scan(dest...))
}

// scanner is a row of a result.
type scanner interface{ Scan(dest ...any) error }

// each calls f with every row of a statement.
func (t tx) each(f func(scanner) error, query string, args ...any) error {
	stmt, err := t.stmt(query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(t.ctx, args...)
	if err != nil {
		return t.plain(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return t.plain(rows.Err())
}

// collect returns what scan makes of the rows of a statement; none is an empty list.
func collect[T any](t tx, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	list := []T{}
	err := t.each(func(row scanner) error {
		v, err := scan(row)
		list = append(list, v)
		return err
	}, query, args...)
	return list, err
}

func scanText(row scanner) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}

// now is the time as the tables keep it.
func now() int64 { return time.Now().UnixMicro() }

// micros scans a time as the tables keep it, NULL as the zero time.
type micros time.Time

// Scan implements [sql.Scanner].
func (m *micros) Scan(v any) error {
	*m = micros{}
	if n, ok := v.(int64); ok {
		*m = micros(instant(n))
	}
	return nil
}

func instant(n int64) time.Time { return time.UnixMicro(n).UTC() }

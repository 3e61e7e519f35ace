// Package store is the record: conversations, their messages, the replies and the log a reply is written to while it
// runs, kept in PostgreSQL.
//
// What is always true in it:
//
//   - A conversation has one order, (seq, idx), handed out under its row lock. Timestamps never decide it.
//   - Rows are only added. A reply's settling and a deletion are the two exceptions, and a deletion erases.
//   - Text is kept byte for byte or refused with an [InvalidTextError] that names the field.
//   - A message is found by [Store.Search] from the moment its append returns.
//   - No error and no log line carries the connection string or a part of it.
//
// The schema stands in migrations, most of it in 0001_record.sql. Package sqlite is the embedded twin with the same methods;
// package storetest is the contract of both as tests. The package imports no other of hwlab's packages.
package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// minServerVersion is the oldest PostgreSQL that is tested: 15.
const minServerVersion = 150000

// Store is the record on PostgreSQL. All methods are safe for concurrent use, by any number of processes on one database.
type Store struct {
	pool    *pgxpool.Pool
	info    Info
	appends *appender
	queued  queuedTexts
}

// Info says what a store is kept in, for the person who starts the program.
type Info struct {
	Engine   string   // "PostgreSQL 15.18" or "SQLite 3.53.0"
	Detail   string   // where or how: a file, the pool's size; never a part of a connection string
	Warnings []string // settings under which a commit is not durable
}

// NewStore opens a pool on the PostgreSQL server that dsn names, asks it for its version, encoding and durability, and
// returns an error when it does not answer, is older than 15 or does not keep UTF-8. The schema is [RunMigrations]'s.
//
// The pool holds at least 16 connections unless dsn sets pool_max_conns. It works through PgBouncer in transaction mode: it
// notices a pooler and then prepares no statements, unless dsn sets default_query_exec_mode. A connection that turns out to
// be on a read-only server is dropped, so that a dsn with several hosts and target_session_attrs=read-write follows a
// failover.
func NewStore(ctx context.Context, dsn string) (*Store, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, &ConnectError{Reason: "it is not a PostgreSQL connection string; it looks like " +
			"postgres://user:password@host:5432/database, with @ : / ? # in the password written as %40 %3A %2F %3F %23"}
	}
	keep := config.ConnConfig.OnPgError
	config.ConnConfig.OnPgError = func(c *pgconn.PgConn, e *pgconn.PgError) bool {
		return e.Code != codeReadOnlyTransaction && keep(c, e)
	}
	if !strings.Contains(dsn, "pool_max_conns") {
		config.MaxConns = int32(max(16, 4*runtime.NumCPU()))
	}
	server, err := inspect(ctx, config.ConnConfig)
	if err != nil {
		return nil, err
	}
	if server.pooled && !strings.Contains(dsn, "default_query_exec_mode") {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, connectError(err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, connectError(err)
	}
	s := &Store{pool: pool, info: Info{Engine: "PostgreSQL " + server.version, Warnings: server.warnings}}
	s.info.Detail = fmt.Sprintf("pool of %d connections", config.MaxConns)
	if server.pooled {
		s.info.Detail += " through a pooler"
	}
	s.appends = &appender{write: s.writeAppends}
	return s, nil
}

// serverFacts are what the record depends on in its server.
type serverFacts struct {
	version  string
	pooled   bool // there is a pooler such as PgBouncer between
	warnings []string
}

// inspect asks the server over a connection of its own.
func inspect(ctx context.Context, config *pgx.ConnConfig) (serverFacts, error) {
	var f serverFacts
	config = config.Copy()
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // whatever is between
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return f, connectError(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var number, encoding, fsync, commit string
	var pid int64
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num'),
		current_setting('server_encoding'), current_setting('fsync'), current_setting('synchronous_commit'), pg_backend_pid()`).
		Scan(&f.version, &number, &encoding, &fsync, &commit, &pid)
	if err != nil {
		return f, connectError(err)
	}
	// A pooler hands out process ids of its own, since it may give every transaction another server process.
	f.pooled = uint32(pid) != conn.PgConn().PID()
	f.version, _, _ = strings.Cut(f.version, " ")
	if n, err := strconv.Atoi(number); err != nil || n < minServerVersion {
		return f, &ConnectError{Reason: fmt.Sprintf("the server is PostgreSQL %s; hwlab needs 15 or later", f.version)}
	}
	if encoding != "UTF8" {
		return f, &ConnectError{Reason: fmt.Sprintf("the database's encoding is %s; hwlab needs one created with ENCODING 'UTF8'", encoding)}
	}
	for _, setting := range []struct{ name, value string }{{"fsync", fsync}, {"synchronous_commit", commit}} {
		if setting.value == "off" {
			f.warnings = append(f.warnings, setting.name+" is off on the PostgreSQL server: what is shown may be lost in a crash")
		}
	}
	return f, nil
}

// Close closes the pool and waits for connections in use to be returned. A second Close does nothing.
func (s *Store) Close() { s.pool.Close() }

// Pool returns the pool the store works on. It is never nil and belongs to the store.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// Info says what the record is kept in, as read when the store was opened.
func (s *Store) Info() Info { return s.info }

// begin also bounds how long the server holds the locks of a transaction whose client has gone without a word.
const begin = `BEGIN; SET LOCAL idle_in_transaction_session_timeout = '15s'`

// inTx runs f in a transaction, again if the server chose it as the victim of a deadlock or a serialization conflict, or if it waits
// for others who wait for it (nothing of it was kept then).
func (s *Store) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	for {
		err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: begin}, f)
		var pg *pgconn.PgError
		again := errors.Is(err, errGate) || errors.As(err, &pg) && (pg.Code == codeDeadlock || pg.Code == codeSerializationFailure)
		if !again {
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
}

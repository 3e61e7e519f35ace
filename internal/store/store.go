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
// The schema stands in one file, migrations/0001_record.sql. Package sqlite is the embedded twin with the same methods;
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
	pool *pgxpool.Pool
	info Info
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
// The pool holds at least 16 connections unless dsn sets pool_max_conns. Statements are sent unprepared, so it works
// through PgBouncer in transaction mode. A connection that turns out to be on a read-only server is dropped, so that a
// dsn with several hosts and target_session_attrs=read-write follows a failover.
func NewStore(ctx context.Context, dsn string) (*Store, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, &ConnectError{Reason: "it is not a PostgreSQL connection string; it looks like " +
			"postgres://user:password@host:5432/database, with @ : / ? # in the password written as %40 %3A %2F %3F %23"}
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	keep := config.ConnConfig.OnPgError
	config.ConnConfig.OnPgError = func(c *pgconn.PgConn, e *pgconn.PgError) bool {
		return e.Code != codeReadOnlyTransaction && keep(c, e)
	}
	if !strings.Contains(dsn, "pool_max_conns") {
		config.MaxConns = int32(max(16, 4*runtime.NumCPU()))
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, connectError(err)
	}
	s := &Store{pool: pool}
	if err := s.verify(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

// verify pings the server and reads what the record depends on.
func (s *Store) verify(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return connectError(err)
	}
	var version, versionNum, encoding, fsync, commit string
	err := s.pool.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num'),
		current_setting('server_encoding'), current_setting('fsync'), current_setting('synchronous_commit')`).
		Scan(&version, &versionNum, &encoding, &fsync, &commit)
	if err != nil {
		return connectError(err)
	}
	version, _, _ = strings.Cut(version, " ")
	if n, err := strconv.Atoi(versionNum); err != nil || n < minServerVersion {
		return &ConnectError{Reason: fmt.Sprintf("the server is PostgreSQL %s; hwlab needs 15 or later", version)}
	}
	if encoding != "UTF8" {
		return &ConnectError{Reason: fmt.Sprintf("the database's encoding is %s; hwlab needs one created with ENCODING 'UTF8'", encoding)}
	}
	s.info = Info{Engine: "PostgreSQL " + version, Detail: fmt.Sprintf("pool of %d connections", s.pool.Config().MaxConns)}
	for name, value := range map[string]string{"fsync": fsync, "synchronous_commit": commit} {
		if value == "off" {
			s.info.Warnings = append(s.info.Warnings, name+" is off on the PostgreSQL server: what is shown may be lost in a crash")
		}
	}
	return nil
}

// Close closes the pool and waits for connections in use to be returned. A second Close does nothing.
func (s *Store) Close() { s.pool.Close() }

// Pool returns the pool the store works on. It is never nil and belongs to the store.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// Info says what the record is kept in, as read when the store was opened.
func (s *Store) Info() Info { return s.info }

// inTx runs f in a transaction, again if the server chose it as the victim of a deadlock or a serialization conflict
// (nothing of it was kept then).
func (s *Store) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	for {
		err := pgx.BeginFunc(ctx, s.pool, f)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && (pg.Code == codeDeadlock || pg.Code == codeSerializationFailure) && ctx.Err() == nil {
			continue
		}
		return err
	}
}

package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Ownership. A server that answers has a row; the replies it writes carry its id. Its row is the fence: every write of a
// reply holds its key, which is id and epoch, so whoever raises the epoch has waited for the writes under way and ended all later
// ones. That a server is dead is seen by its counter, which it raises while it lives; that is no part of the key and waits for no write.

// Fence is what a server shows to write to its replies: its own row as it was when it joined.
type Fence struct {
	ServerID string
	Epoch    int64
}

// Server is a server's row.
type Server struct {
	ID      string
	Epoch   int64
	Counter int64 // raised while it lives
}

// lockFence selects the server that $1 and $2 are the fence of, if it is still its own. Until the transaction ends nobody can take its replies
// over, for which the key of its row is locked, and nobody can close its gate.
const lockFence = `SELECT pg_advisory_xact_lock_shared(` + gate + `) FROM servers WHERE id = $1::uuid AND epoch = $2::bigint FOR KEY SHARE`

// gate is the advisory lock between those who write the replies of a server, at the same time, and those who delete some of them, which
// must be alone. Unlike for a row they queue for it: who waits for a row that others share may see them come and go for good.
const gate = `hashtextextended(id::text, 0)`

// closeGate waits for what is being written of a server's replies, and keeps more from being written until the transaction ends. It returns
// [errGate] when that takes long, so that what has queued behind it can go on before the next try.
func closeGate(ctx context.Context, tx pgx.Tx, serverID string) error {
	if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '1s'`); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(`+gate+`) FROM servers WHERE id = $1::uuid`, serverID)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == codeLockNotAvailable {
		return errGate
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `SET LOCAL lock_timeout TO DEFAULT`)
	return err
}

// errGate makes inTx try again.
var errGate = errors.New("store: a reply is being written")

// holdFence holds the server's own row until the transaction ends.
func holdFence(ctx context.Context, tx pgx.Tx, f Fence) error {
	tag, err := tx.Exec(ctx, lockFence, f.ServerID, f.Epoch)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return ErrFenced
	}
	return nil
}

// JoinServer makes the caller the one owner of serverID's replies and returns its fence. Whoever held that id before is
// fenced off: a flush of theirs that is under way is waited for, later ones fail with ErrFenced. It also removes log rows
// that a dead server wrote for replies deleted or ended meanwhile.
func (s *Store) JoinServer(ctx context.Context, serverID string) (Fence, error) {
	f := Fence{ServerID: serverID}
	if !IsID(serverID) {
		return f, errors.New("store: join server: its id is not a UUID")
	}
	err := s.pool.QueryRow(ctx, `INSERT INTO servers (id, epoch) VALUES ($1::uuid, 1)
		ON CONFLICT (id) DO UPDATE SET epoch = servers.epoch + 1, started_at = now() RETURNING epoch`, serverID).Scan(&f.Epoch)
	if err != nil {
		return f, Wrap("join server", err)
	}
	_, err = s.pool.Exec(ctx, `DELETE FROM response_deltas d WHERE NOT EXISTS (SELECT FROM responses WHERE id = d.response_id AND ended_at IS NULL)`)
	if err != nil {
		return f, Wrap("join server", err)
	}
	return f, nil
}

// Heartbeat shows that the server of f lives, or returns ErrFenced when another has taken over.
func (s *Store) Heartbeat(ctx context.Context, f Fence) error {
	tag, err := s.pool.Exec(ctx, `UPDATE servers SET counter = counter + 1 WHERE id = $1::uuid AND epoch = $2::bigint`, f.ServerID, f.Epoch)
	if err != nil {
		return Wrap("heartbeat", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrFenced
	}
	return nil
}

// BusyServers returns the servers that own replies which have not ended; none is an empty list.
func (s *Store) BusyServers(ctx context.Context) ([]Server, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, epoch, counter FROM servers
		WHERE id IN (SELECT server_id FROM responses WHERE ended_at IS NULL)`)
	if err != nil {
		return nil, Wrap("servers", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v Server, err error) {
		err = row.Scan((*uuidText)(&v.ID), &v.Epoch, &v.Counter)
		return v, err
	})
	if err != nil {
		return nil, Wrap("servers", err)
	}
	return list, nil
}

// FenceOff raises the epoch of a server that is as it was seen, so that it can write no more, and reports whether it was.
// What it had written is all there afterwards; its replies can be finished.
func (s *Store) FenceOff(ctx context.Context, seen Server) (bool, error) {
	tag, err := s.pool.Exec(ctx, `UPDATE servers SET epoch = epoch + 1 WHERE id = $1::uuid AND epoch = $2::bigint AND counter = $3::bigint`,
		seen.ID, seen.Epoch, seen.Counter)
	if err != nil {
		return false, Wrap("fence off", err)
	}
	return tag.RowsAffected() > 0, nil
}

// Running returns the replies that serverID owns and that have not ended, oldest first; none is an empty list.
func (s *Store) Running(ctx context.Context, serverID string) ([]Response, error) {
	if !IsID(serverID) {
		return []Response{}, nil
	}
	rows, err := s.pool.Query(ctx, `SELECT `+responseColumns+` FROM responses r JOIN conversations c ON c.id = r.conversation_id
		WHERE r.server_id = $1::uuid AND r.ended_at IS NULL ORDER BY r.created_at, r.id`, serverID)
	if err != nil {
		return nil, Wrap("running replies", err)
	}
	list, err := pgx.CollectRows(rows, scanResponse)
	if err != nil {
		return nil, Wrap("running replies", err)
	}
	return list, nil
}

// RequestCancel asks the owner of a reply to stop it. One that has ended stays as it is. It returns ErrNotFound when there is
// no such reply.
func (s *Store) RequestCancel(ctx context.Context, responseID string) error {
	if !IsID(responseID) {
		return ErrNotFound
	}
	tag, err := s.pool.Exec(ctx, `UPDATE responses SET cancel_requested = true WHERE id = $1::uuid`, responseID)
	if err != nil {
		return Wrap("cancel", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	return nil
}

// Unwanted returns which of the replies are to be stopped: cancelled are those that somebody asked to or that a deletion
// ended which was undone since, gone are those that were deleted.
func (s *Store) Unwanted(ctx context.Context, responseIDs []string) (cancelled, gone []string, err error) {
	rows, err := s.pool.Query(ctx, `SELECT u.id, r.id IS NULL FROM unnest($1::uuid[]) u(id) LEFT JOIN responses r ON r.id = u.id
		WHERE r.id IS NULL OR r.cancel_requested`, newUUIDs(responseIDs))
	if err != nil {
		return nil, nil, Wrap("unwanted", err)
	}
	var id uuidText
	var deleted bool
	if _, err := pgx.ForEachRow(rows, []any{&id, &deleted}, func() error {
		if deleted {
			gone = append(gone, string(id))
		} else {
			cancelled = append(cancelled, string(id))
		}
		return nil
	}); err != nil {
		return nil, nil, Wrap("unwanted", err)
	}
	return cancelled, gone, nil
}

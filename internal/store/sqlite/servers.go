package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// One process writes to a file, so there is never another server to take over from or to be taken over by; the rules are
// kept all the same, and the tests of both engines are the same.

// JoinServer makes the caller the one owner of serverID's replies and returns its fence. Whoever held that id before is
// fenced off: later writes of theirs fail with [store.ErrFenced]. It also removes log rows that a dead server wrote for
// replies deleted or ended meanwhile.
func (s *Store) JoinServer(ctx context.Context, serverID string) (store.Fence, error) {
	f := store.Fence{ServerID: serverID}
	if !store.IsID(serverID) {
		return f, errors.New("store: join server: its id is not a UUID")
	}
	var removed int64
	err := s.write(ctx, func(t tx) error {
		if err := t.get(`INSERT INTO servers (id, epoch, started_at) VALUES (?1, 1, ?2)
			ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1, started_at = ?2 RETURNING epoch`, []any{serverID, now()}, &f.Epoch); err != nil {
			return err
		}
		result, err := t.exec(`DELETE FROM response_deltas WHERE response_id NOT IN (SELECT id FROM responses WHERE ended_at IS NULL)`)
		if err != nil {
			return err
		}
		removed, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return f, wrap("join server", err)
	}
	if removed > 0 {
		s.emptyLog(ctx)
	}
	return f, nil
}

// Heartbeat shows that the server of f lives, or returns [store.ErrFenced] when another has taken over.
func (s *Store) Heartbeat(ctx context.Context, f store.Fence) error {
	return wrap("heartbeat", s.write(ctx, func(t tx) error {
		changed, err := t.changed(`UPDATE servers SET counter = counter + 1 WHERE id = ? AND epoch = ?`, f.ServerID, f.Epoch)
		if err == nil && changed == 0 {
			err = store.ErrFenced
		}
		return err
	}))
}

// BusyServers returns the servers that own replies which have not ended; none is an empty list.
func (s *Store) BusyServers(ctx context.Context) (list []store.Server, err error) {
	err = s.read(ctx, func(t tx) (err error) {
		list, err = collect(t, func(row scanner) (v store.Server, err error) {
			err = row.Scan(&v.ID, &v.Epoch, &v.Counter)
			return v, err
		}, `SELECT id, epoch, counter FROM servers WHERE id IN (SELECT server_id FROM responses WHERE ended_at IS NULL)`)
		return err
	})
	return list, wrap("servers", err)
}

// FenceOff raises the epoch of a server that is as it was seen, so that it can write no more, and reports whether it was.
// What it had written is all there afterwards; its replies can be finished.
func (s *Store) FenceOff(ctx context.Context, seen store.Server) (done bool, err error) {
	err = s.write(ctx, func(t tx) error {
		changed, err := t.changed(`UPDATE servers SET epoch = epoch + 1 WHERE id = ? AND epoch = ? AND counter = ?`, seen.ID, seen.Epoch, seen.Counter)
		done = changed > 0
		return err
	})
	return done, wrap("fence off", err)
}

// Running returns the replies that serverID owns and that have not ended, oldest first; none is an empty list.
func (s *Store) Running(ctx context.Context, serverID string) (list []store.Response, err error) {
	err = s.read(ctx, func(t tx) (err error) {
		list, err = collect(t, scanResponse, `SELECT `+responseColumns+` FROM responses r JOIN conversations c ON c.id = r.conversation_id
			WHERE r.server_id = ? AND r.ended_at IS NULL ORDER BY r.created_at, r.id`, serverID)
		return err
	})
	return list, wrap("running replies", err)
}

// runningIn is the id of the reply being written in a conversation, the latest if there are several, or "".
func (t tx) runningIn(conversation string) (id string, err error) {
	err = t.get(`SELECT id FROM responses INDEXED BY responses_running WHERE conversation_id = ? AND ended_at IS NULL
		ORDER BY seq DESC LIMIT 1`, []any{conversation}, &id)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return id, err
}

// RequestCancel asks the owner of a reply to stop it. One that has ended stays as it is. It returns [store.ErrNotFound] when
// there is no such reply.
func (s *Store) RequestCancel(ctx context.Context, responseID string) error {
	if !store.IsID(responseID) {
		return store.ErrNotFound
	}
	return wrap("cancel", s.write(ctx, func(t tx) error {
		changed, err := t.changed(`UPDATE responses SET cancel_requested = 1 WHERE id = ?`, responseID)
		if err == nil && changed == 0 {
			err = store.ErrNotFound
		}
		return err
	}))
}

// Unwanted returns which of the replies are to be stopped: cancelled are those that somebody asked to or that a deletion
// ended which was undone since, gone are those that were deleted.
func (s *Store) Unwanted(ctx context.Context, responseIDs []string) (cancelled, gone []string, err error) {
	ids, err := json.Marshal(append([]string{}, responseIDs...)) // nil would be a list of null
	if err != nil {
		return nil, nil, err
	}
	err = s.read(ctx, func(t tx) error {
		return t.each(func(row scanner) error {
			var id string
			var deleted bool
			err := row.Scan(&id, &deleted)
			if deleted {
				gone = append(gone, id)
			} else {
				cancelled = append(cancelled, id)
			}
			return err
		}, `SELECT u.value, r.id IS NULL FROM json_each(?) u LEFT JOIN responses r ON r.id = u.value WHERE r.id IS NULL OR r.cancel_requested`, string(ids))
	})
	return cancelled, gone, wrap("unwanted", err)
}

// claimKey keeps a request's key for what it makes and returns that, or what the first request with the key made.
func (t tx) claimKey(scope, key, fingerprint, id string) (first string, err error) {
	changed, err := t.changed(`INSERT INTO idempotency (scope, key, fingerprint, response_id, created_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, scope, key, fingerprint, id, now())
	if err != nil || changed > 0 {
		return id, err
	}
	return t.keyed(scope, key, fingerprint)
}

// keyed returns what the first request with a key made, or sql.ErrNoRows.
func (t tx) keyed(scope, key, fingerprint string) (first string, err error) {
	var known string
	err = t.get(`SELECT response_id, fingerprint FROM idempotency WHERE scope = ? AND key = ?`, []any{scope, key}, &first, &known)
	if err == nil && known != fingerprint {
		err = store.ErrKeyReused
	}
	return first, err
}

// KeyedResponse returns which response the first request with an idempotency key started, though it may have been deleted since; "" when no
// request came with it, and [store.ErrKeyReused] when that was another request.
func (s *Store) KeyedResponse(ctx context.Context, key, fingerprint string) (responseID string, err error) {
	err = s.read(ctx, func(t tx) error {
		responseID, err = t.keyed("responses", key, fingerprint)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", wrap("a request's key", err)
	}
	return responseID, nil
}

// ForgetKeys forgets the idempotency keys of before a time and returns how many they were.
func (s *Store) ForgetKeys(ctx context.Context, before time.Time) (n int, err error) {
	err = s.write(ctx, func(t tx) error {
		changed, err := t.changed(`DELETE FROM idempotency WHERE created_at < ?`, before.UnixMicro())
		n = int(changed)
		return err
	})
	return n, wrap("forget keys", err)
}

// changed runs a statement and returns how many rows it changed.
func (t tx) changed(query string, args ...any) (int64, error) {
	result, err := t.exec(query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

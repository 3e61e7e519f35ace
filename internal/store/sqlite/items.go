package sqlite

import (
	"context"

	"git.georgsen.dk/hwlab/internal/store"
)

// FindMessage returns a message by its id alone, whatever its conversation. It returns [store.ErrNotFound] for an unknown or
// deleted one.
func (s *Store) FindMessage(ctx context.Context, id string) (m store.Message, err error) {
	if !store.IsID(id) {
		return m, store.ErrNotFound
	}
	err = s.read(ctx, func(t tx) error {
		list, err := collect(t, scanMessage, `SELECT `+messageColumns+` FROM messages m WHERE id = ? AND status <> 'deleted'`, id)
		m, err = one(list, err)
		return err
	})
	return m, wrap("find message", err)
}

package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"git.georgsen.dk/hwlab/internal/store"
)

// Copy adds the conversations of one record to another, as [Import] does those of a file. With replace it also takes those of
// from that are in both and differ.
func Copy(ctx context.Context, to Record, from Source, replace bool, o Options) (Result, error) {
	if !replace {
		return take(ctx, to, newRecordOrigin(ctx, from, ids(ctx, from)), o)
	}
	var differing []string
	first := o
	first.differs = func(id string) { differing = append(differing, id) }
	result, err := take(ctx, to, newRecordOrigin(ctx, from, ids(ctx, from)), first)
	if err != nil && !errors.Is(err, ErrNotWhole) {
		return result, err
	}
	for _, id := range differing {
		if err := to.DeleteConversation(ctx, id); err != nil && !errors.Is(err, store.ErrNotFound) {
			return result, err
		}
		one := func(yield func(string, error) bool) { yield(id, nil) }
		more, err := take(ctx, to, newRecordOrigin(ctx, from, one), o)
		result.Added, result.Messages, result.Seen, result.Failed = result.Added+more.Added, result.Messages+more.Messages, result.Seen+more.Seen, result.Failed+more.Failed
		if err != nil && !errors.Is(err, ErrNotWhole) {
			return result, err
		}
	}
	if result.Failed > 0 {
		return result, ErrNotWhole
	}
	return result, nil
}

// recordOrigin gives the conversations of a record.
type recordOrigin struct {
	ctx  context.Context
	from Source
	step func() (string, error, bool)
	stop func()
}

func newRecordOrigin(ctx context.Context, from Source, list iter.Seq2[string, error]) *recordOrigin {
	o := &recordOrigin{ctx: ctx, from: from}
	o.step, o.stop = iter.Pull2(list)
	return o
}

func (o *recordOrigin) next(_ *encoder, f func(store.ArchiveRow) error) (string, error) {
	id, err, ok := o.step()
	if !ok || err != nil {
		o.stop()
		if err == nil {
			err = io.EOF
		}
		return "", err
	}
	err = o.from.ArchiveConversation(o.ctx, id, f)
	if errors.Is(err, store.ErrNotFound) { // it was deleted meanwhile
		err = nil
	}
	return "conversation " + id, err
}

// Compare compares every conversation of one record with that of another by a checksum of content and order. It tells o of
// each that differs, and returns what is equal and how many are not.
func Compare(ctx context.Context, from, to Source, o Options) (equal Counts, unequal int, err error) {
	seen := 0
	for id, err := range ids(ctx, from) {
		if err != nil {
			return equal, unequal, err
		}
		want, err := digest(ctx, from, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return equal, unequal, err
		}
		got, err := digest(ctx, to, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			unequal++
			o.Problem("conversation "+id, "is not in the copy")
		case err != nil:
			return equal, unequal, err
		case got != want:
			unequal++
			o.Problem("conversation "+id, fmt.Sprintf("differs: %d messages and %d replies, in the copy %d and %d",
				want.Messages, want.Responses, got.Messages, got.Responses))
		default:
			equal.Conversations++
			equal.Messages += want.Messages
		}
		seen += want.Messages
		o.Progress(Result{Same: equal.Conversations, Seen: seen})
	}
	return equal, unequal, nil
}

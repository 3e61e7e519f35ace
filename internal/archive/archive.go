// Package archive moves conversations: out of a record into a file and back, from one record to another, and in from what other
// programs export. Nothing in it holds more than a few thousand messages in memory, unless a foreign file has them in one
// conversation.
//
// An archive is lines of JSON. The first says what the file is; then come conversations, each as its own row, its messages in
// order, its replies in order and a line that ends it with counts and a checksum; the last line counts the conversations. Ids,
// times to the microsecond, branches, typed items, usage and the logs of replies are in it, so a record that imports an archive
// is the one that was exported.
package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"iter"

	"git.georgsen.dk/hwlab/internal/store"
)

// Record is what a record needs to be read and written.
type Record interface {
	Source
	Restore(ctx context.Context, rows iter.Seq[store.ArchiveRow]) (store.Restored, error)
	IndexPending(ctx context.Context, limit int) (int, error)
	DeleteConversation(ctx context.Context, id string) error
}

// Source is what a record needs to be read.
type Source interface {
	ConversationIDs(ctx context.Context, after string, limit int) ([]string, error)
	ArchiveConversation(ctx context.Context, id string, f func(store.ArchiveRow) error) error
}

// Version is that of the format.
const Version = 1

// header is the first line of an archive.
type header struct {
	Archive string `json:"archive"` // "hwlab"
	Version int    `json:"version"`
}

// ending is the line that ends a conversation.
type ending struct {
	ID        string `json:"id"`
	Messages  int    `json:"messages"`
	Responses int    `json:"responses"`
	SHA256    string `json:"sha256"` // of its lines up to here, each with its newline
}

// line is any line but the first.
type line struct {
	store.ArchiveRow
	End   *ending `json:"end,omitempty"`
	Total *total  `json:"total,omitempty"`
}

type total struct {
	Conversations int `json:"conversations"`
	Messages      int `json:"messages"`
}

// Counts says what was moved.
type Counts struct {
	Conversations int
	Messages      int
}

// encoder writes rows as lines and sums them.
type encoder struct {
	buffer bytes.Buffer
	json   *json.Encoder
	sum    hash.Hash
	end    ending
}

func newEncoder() *encoder {
	e := &encoder{sum: sha256.New()}
	e.json = json.NewEncoder(&e.buffer)
	e.json.SetEscapeHTML(false)
	return e
}

// line returns v as a line. It is overwritten by the next.
func (e *encoder) line(v any) ([]byte, error) {
	e.buffer.Reset()
	err := e.json.Encode(v)
	return e.buffer.Bytes(), err
}

// row returns a row as a line and counts it in.
func (e *encoder) row(r store.ArchiveRow) ([]byte, error) {
	text, err := e.line(r)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Conversation != nil:
		e.sum.Reset()
		e.end = ending{ID: r.Conversation.ID}
	case r.Message != nil:
		e.end.Messages++
	case r.Response != nil:
		e.end.Responses++
	}
	e.sum.Write(text)
	return text, nil
}

// ending returns the end of the conversation whose rows were given since it began.
func (e *encoder) ending() ending {
	end := e.end
	end.SHA256 = hex.EncodeToString(e.sum.Sum(nil))
	return end
}

// digest returns how a conversation of a record would end in an archive, or [store.ErrNotFound].
func digest(ctx context.Context, from Source, id string) (ending, error) {
	e := newEncoder()
	err := from.ArchiveConversation(ctx, id, func(r store.ArchiveRow) error {
		_, err := e.row(r)
		return err
	})
	return e.ending(), err
}

// ids are the ids of all conversations, in order. It stops after an error.
func ids(ctx context.Context, from Source) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for after := ""; ; {
			page, err := from.ConversationIDs(ctx, after, 500)
			if err != nil {
				yield("", err)
				return
			}
			for _, id := range page {
				if !yield(id, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			after = page[len(page)-1]
		}
	}
}

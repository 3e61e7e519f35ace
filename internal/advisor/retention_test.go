package advisor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// logged is what servers log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// Two servers erase what has expired, each conversation once, and leave alone what is pinned or new.
func TestRetentionErases(t *testing.T) {
	testrecord.Each(t, func(t *testing.T, record testrecord.Record) {
		var old, stays []string
		for i := range 14 {
			id := store.NewID()
			at := time.Now().Add(-48 * time.Hour).Round(time.Microsecond)
			if i >= 12 {
				at = time.Now().Round(time.Microsecond)
			}
			pinned := i == 0
			rows := []store.ArchiveRow{{Conversation: &store.ArchivedConversation{ID: id, StartedAt: at, UpdatedAt: at, Head: 1, MessageCount: 1,
				Metadata: json.RawMessage(`{}`), Pinned: pinned, Archived: i%3 == 0, Listed: i%2 == 0}},
				{Message: &store.ArchivedMessage{ID: store.NewID(), Seq: 1, Role: "user", Status: store.MessageCompleted, CreatedAt: at, Content: "words"}}}
			if _, err := record.Restore(t.Context(), slices.Values(rows)); err != nil {
				t.Fatal(err)
			}
			if pinned || i >= 12 {
				stays = append(stays, id)
			} else {
				old = append(old, id)
			}
		}
		var said logged
		for range 2 {
			a, err := advisor.Start(t.Context(), advisor.Config{Record: record, Models: models{llmtest.New("m")}, Notes: lab.New("", 0), ServerID: store.NewID(),
				Log: slog.New(slog.NewTextHandler(&said, nil)), Retention: 24 * time.Hour, RetentionGrace: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := a.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		deadline := time.Now().Add(20 * time.Second)
		for _, id := range old {
			for {
				if _, err := record.Summary(t.Context(), id); errors.Is(err, store.ErrNotFound) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s is not erased; it is said:\n%s", id, said.text.String())
				}
			}
		}
		for _, id := range stays {
			if _, err := record.Summary(t.Context(), id); err != nil {
				t.Errorf("one that stays: %v", err)
			}
		}
		for said.count("was erased") < len(old) && time.Now().Before(deadline) { // the last is logged a moment later
			runtime.Gosched()
		}
		if n := said.count("was erased"); n != len(old) {
			t.Errorf("%d erasures are logged, not %d", n, len(old))
		}
		if said.count("hwlab retention lists them") != 2 {
			t.Errorf("it is not announced:\n%s", said.text.String())
		}
	})
}

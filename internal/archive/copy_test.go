//go:build integration

package archive_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/archive"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/storetest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

func copied(from, to archive.Record, replace bool) (archive.Result, problems, error) {
	var p problems
	r, err := archive.Copy(context.Background(), to, from, replace, p.options())
	return r, p, err
}

func compare(t fataler, from, to archive.Record) (archive.Counts, int) {
	t.Helper()
	var p problems
	equal, unequal, err := archive.Compare(context.Background(), from, to, p.options())
	if err != nil || len(p) != unequal {
		t.Fatalf("Compare: %v, %d, %q", err, unequal, p)
	}
	return equal, unequal
}

func TestACopyThereAndBack(t *testing.T) {
	pairs(t, func(t *testing.T, from, to testrecord.Record) {
		checks(t, func(rt *rapid.T) {
			clear(rt, from)
			clear(rt, to)
			n := rapid.IntRange(0, 3).Draw(rt, "conversations")
			for range n {
				storetest.Grow(rt, t, from)
			}
			was := export(rt, from)
			if r, p, err := copied(from, to, false); err != nil || r.Added != n {
				rt.Fatalf("there: %+v, %v, %q", r, err, p)
			}
			if equal, unequal := compare(rt, from, to); equal.Conversations != n || unequal != 0 {
				rt.Fatalf("%d are equal, %d not", equal.Conversations, unequal)
			}
			clear(rt, from)
			if r, p, err := copied(to, from, false); err != nil || r.Added != n {
				rt.Fatalf("back: %+v, %v, %q", r, err, p)
			}
			if is := export(rt, from); is != was {
				rt.Fatalf("there and back:\n got  %s\n want %s", is, was)
			}
		})
	})
}

func TestACopyIsContinued(t *testing.T) {
	pairs(t, func(t *testing.T, from, to testrecord.Record) {
		ids := fillRecord(t, from, 22, 1000)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := archive.Options{Progress: func(archive.Result) { cancel() }, Problem: func(string, string) {}}
		if r, err := archive.Copy(ctx, to, from, false, o); !errors.Is(err, context.Canceled) || r.Added == 0 || r.Added == len(ids) {
			t.Fatalf("the interrupted one: %+v, %v", r, err)
		}
		if _, unequal := compare(t, from, to); unequal == 0 {
			t.Fatal("the comparison misses nothing")
		}
		if r, p, err := copied(from, to, false); err != nil || r.Same == 0 || r.Added == 0 || r.Same+r.Added != len(ids) {
			t.Fatalf("the second: %+v, %v, %q", r, err, p)
		}
		if export(t, to) != export(t, from) {
			t.Error("the records differ")
		}

		// What goes on in the source is taken when that is asked for; what was only added to the copy is then lost.
		if _, err := from.AddMessage(t.Context(), ids[3], "user", "more"); err != nil {
			t.Fatal(err)
		}
		if r, p, err := copied(from, to, false); !errors.Is(err, archive.ErrNotWhole) || r.Differs != 1 || len(p) != 1 || !strings.Contains(p[0], ids[3]) {
			t.Fatalf("what differs: %+v, %v, %q", r, err, p)
		}
		if r, p, err := copied(from, to, true); err != nil || r.Added != 1 || len(p) != 0 {
			t.Fatalf("replaced: %+v, %v, %q", r, err, p)
		}
		if equal, unequal := compare(t, from, to); unequal != 0 || equal.Messages != 22001 {
			t.Errorf("%d messages are equal, %d conversations not", equal.Messages, unequal)
		}
	})
}

// fillRecord makes conversations with some messages each.
func fillRecord(t *testing.T, r testrecord.Record, conversations, messages int) (ids []string) {
	for i := range conversations {
		id, err := r.CreateConversation(t.Context(), "m")
		if err != nil {
			t.Fatal(err)
		}
		var list []store.NewMessage
		for j := range messages {
			list = append(list, store.NewMessage{Role: "user", Content: fmt.Sprintf("message %d of conversation %d", j, i)})
		}
		if _, _, err := r.AppendMessages(t.Context(), store.Append{ConversationID: id, Messages: list}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

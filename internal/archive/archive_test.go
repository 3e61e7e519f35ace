//go:build integration

package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/archive"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/storetest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// problems are what an import named.
type problems []string

func (p *problems) options() archive.Options {
	return archive.Options{Progress: func(archive.Result) {}, Problem: func(place, what string) { *p = append(*p, place+": "+what) }}
}

func export(t fataler, from archive.Source, only ...string) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := archive.Export(context.Background(), from, &out, only, func(archive.Counts) {}); err != nil {
		t.Fatalf("Export: %v", err)
	}
	return out.String()
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

func importText(to archive.Record, text string) (archive.Result, problems, error) {
	var p problems
	r, err := archive.Import(context.Background(), to, strings.NewReader(text), p.options())
	return r, p, err
}

// clear deletes all conversations.
func clear(t fataler, r archive.Record) {
	t.Helper()
	for {
		ids, err := r.ConversationIDs(context.Background(), "", 100)
		if err != nil {
			t.Fatalf("ConversationIDs: %v", err)
		}
		if len(ids) == 0 {
			return
		}
		for _, id := range ids {
			if err := r.DeleteConversation(context.Background(), id); err != nil {
				t.Fatalf("DeleteConversation: %v", err)
			}
		}
	}
}

// pairs runs test with the engines as source and destination, both ways.
func pairs(t *testing.T, test func(t *testing.T, from, to testrecord.Record)) {
	t.Run("to postgres", func(t *testing.T) { test(t, testrecord.SQLite(t), testrecord.Postgres(t)) })
	t.Run("to sqlite", func(t *testing.T) { test(t, testrecord.Postgres(t), testrecord.SQLite(t)) })
}

// checks is how many examples a property gets.
func checks(t *testing.T, property func(rt *rapid.T)) { storetest.Check(t, 25, property) }

func TestAnyHistoryIsTheSameInTheOtherEngine(t *testing.T) {
	pairs(t, func(t *testing.T, from, to testrecord.Record) {
		checks(t, func(rt *rapid.T) {
			clear(rt, from)
			clear(rt, to)
			n := rapid.IntRange(0, 3).Draw(rt, "conversations")
			for range n {
				storetest.Grow(rt, t, from)
			}
			file := export(rt, from)
			got, problems, err := importText(to, file)
			if err != nil || got.Added != n || len(problems) > 0 {
				rt.Fatalf("the import: %+v, %v, %q", got, err, problems)
			}
			if back := export(rt, to); back != file {
				rt.Fatalf("exported again:\n got  %s\n want %s", back, file)
			}
			got, _, err = importText(to, file)
			if err != nil || got.Same != n || got.Added != 0 {
				rt.Fatalf("the second import: %+v, %v", got, err)
			}
			if back := export(rt, to); back != file {
				rt.Fatalf("the second import changed something")
			}
		})
	})
}

// three is an archive of three conversations and what its lines begin with.
func three(t *testing.T) (from testrecord.Record, file string, lines []string) {
	from = testrecord.SQLite(t)
	for i := range 3 {
		id, err := from.CreateConversation(t.Context(), "m")
		if err != nil {
			t.Fatal(err)
		}
		for j := range 3 {
			if _, err := from.AddMessage(t.Context(), id, "user", fmt.Sprintf("<message %d of %d>\n\u2028", j, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	file = export(t, from)
	return from, file, strings.SplitAfter(strings.TrimSuffix(file, "\n"), "\n")
}

func TestADamagedArchive(t *testing.T) {
	_, file, lines := three(t) // a header, three times five lines, a total
	if len(lines) != 17 {
		t.Fatalf("%d lines: %s", len(lines), file)
	}
	replaced := func(i int, text string) string {
		return strings.Join(slices.Concat(lines[:i], []string{text}, lines[i+1:]), "")
	}
	for name, c := range map[string]struct {
		text     string
		added    int
		problems []string
	}{
		"cut in the second conversation": {strings.Join(lines[:8], "") + lines[8][:20], 1, []string{"line 7: line 9 is damaged", "the file ends here"}},
		"cut between two lines":          {strings.Join(lines[:9], ""), 1, []string{"line 7: the file ends here"}},
		"cut before the total":           {strings.Join(lines[:16], ""), 3, []string{"line 17: the file ends here"}},
		"a conversation cut out":         {strings.Join(slices.Concat(lines[:6], lines[11:]), ""), 2, []string{"made of 3 conversations"}},
		"a line that is not JSON":        {replaced(8, "what\n"), 2, []string{"line 7: line 9 is damaged", "made of 3"}},
		"an empty line":                  {replaced(8, "\n"), 2, []string{"line 7: line 9 is damaged", "made of 3"}},
		"a message gone":                 {replaced(8, ""), 2, []string{"line 7: the conversation's checksum", "made of 3"}},
		"a text changed":                 {replaced(8, strings.Replace(lines[8], "<message", "<massage", 1)), 2, []string{"line 7: the conversation's checksum", "made of 3"}},
		"a role that is none":            {replaced(8, strings.Replace(lines[8], `"user"`, `"root"`, 1)), 2, []string{`line 7: line 9: role "root"`, "made of 3"}},
		"an end gone":                    {replaced(10, ""), 2, []string{"line 7: the conversation has no end before line 11", "made of 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, to := range []testrecord.Record{testrecord.SQLite(t), testrecord.Postgres(t)} {
				got, problems, err := importText(to, c.text)
				if !errors.Is(err, archive.ErrNotWhole) || got.Added != c.added || len(problems) != len(c.problems) {
					t.Fatalf("%+v, %v, %q", got, err, problems)
				}
				for i, p := range problems {
					if !strings.Contains(p, c.problems[i]) {
						t.Errorf("problem %q, want %q", p, c.problems[i])
					}
				}
				if ids, _ := to.ConversationIDs(t.Context(), "", 10); len(ids) != c.added {
					t.Errorf("%d conversations are there", len(ids))
				}
				if _, problems, err := importText(to, file); err != nil { // and the whole file adds the rest
					t.Errorf("the whole file: %v, %q", err, problems)
				}
				if export(t, to) != file {
					t.Error("the record is not the one that was exported")
				}
			}
		})
	}
}

func TestAConversationThatDiffersIsLeft(t *testing.T) {
	from, file, _ := three(t)
	ids, err := from.ConversationIDs(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := from.AddMessage(t.Context(), ids[0], "user", "more"); err != nil {
		t.Fatal(err)
	}
	was := export(t, from)
	got, problems, err := importText(from, file)
	if !errors.Is(err, archive.ErrNotWhole) || got.Same != 2 || got.Differs != 1 || len(problems) != 1 || !strings.Contains(problems[0], ids[0]) {
		t.Fatalf("%+v, %v, %q", got, err, problems)
	}
	if export(t, from) != was {
		t.Error("the record changed")
	}
}

func TestWhatIsNoArchive(t *testing.T) {
	to := testrecord.SQLite(t)
	for _, text := range []string{"", "x", `{"archive":"other","version":1}`, `{"archive":"hwlab","version":2}` + "\n"} {
		if _, _, err := importText(to, text); err == nil || errors.Is(err, archive.ErrNotWhole) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestImportedIsFound(t *testing.T) {
	_, file, _ := three(t)
	for _, to := range []testrecord.Record{testrecord.SQLite(t), testrecord.Postgres(t)} {
		if _, _, err := importText(to, file); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if page, err := to.Search(t.Context(), store.SearchQuery{Text: "message"}); err != nil || len(page.Hits) != 9 {
				t.Errorf("%d hits, %v", len(page.Hits), err)
			}
			if err := archive.Index(t.Context(), to, func(int) {}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestMarkdown(t *testing.T) {
	r := testrecord.SQLite(t)
	id, err := r.CreateConversationWith(t.Context(), store.NewConversation{Model: "m", Title: "Two\nlines"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.AppendMessages(t.Context(), store.Append{ConversationID: id, Messages: []store.NewMessage{
		{Role: "user", Content: "How?"},
		{Role: "assistant", Content: "{}", Item: []byte(`{"type":"function_call","call_id":"c","name":"look","arguments":"{\"a\":\"` + "```" + `\"}"}`)},
		{Role: "assistant", Content: "So."},
	}}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := archive.Markdown(t.Context(), r, &out, id); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Two lines\n", "\n## Question\n\nHow?\n", "\n## Call of look\n\n````json\n{\"a\":\"```\"}\n````\n", "\n## Answer\n\nSo.\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

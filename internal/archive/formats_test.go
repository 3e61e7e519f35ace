//go:build integration

package archive_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/archive"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// sample reads a file of testdata.
func sample(t *testing.T, name string) string {
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// told is a record in words: a line a conversation and a line a message, with the number that it follows.
func told(t *testing.T, r testrecord.Record) (lines []string) {
	ids, err := r.ConversationIDs(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		numbers, responses := map[string]string{id: "the beginning"}, map[string]*store.ArchivedResponse{}
		var messages []*store.ArchivedMessage
		if err := r.ArchiveConversation(t.Context(), id, func(row store.ArchiveRow) error {
			switch {
			case row.Conversation != nil:
				c := row.Conversation
				lines = append(lines, fmt.Sprintf("%s, %s, %s to %s, pinned %v, archived %v, %s", c.Title, c.Model, c.StartedAt.Format(time.RFC3339Nano),
					c.UpdatedAt.Format(time.RFC3339Nano), c.Pinned, c.Archived, c.Metadata))
			case row.Message != nil:
				messages = append(messages, row.Message)
				numbers[row.Message.ID] = fmt.Sprint(len(messages))
			case row.Response != nil:
				responses[row.Response.ID] = row.Response
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			line := fmt.Sprintf("  %s %s: %q", m.CreatedAt.Format("15:04:05.999999"), m.Role, m.Content)
			if m.ParentID != "" {
				line += " after " + numbers[m.ParentID]
			}
			if r := responses[m.ResponseID]; r != nil {
				line += fmt.Sprintf(" by %s%s", r.Model, r.Usage)
			}
			lines = append(lines, line+string(m.Item))
		}
	}
	return lines
}

var formats = []struct {
	name string
	want []string
}{
	{"chatgpt.json", []string{
		`Which switch port, gpt-4o, 2025-01-07T00:23:20.125Z to 2025-01-07T00:30:00.5Z, pinned false, archived true, {"source":"chatgpt","source_id":"8f3a2b1c-0000-4000-8000-000000000001"}`,
		`  00:23:20.125 user: "the question"`,
		`  00:23:21 assistant: "" by o3{"type":"reasoning","parts":[{"type":"summary_text","text":"Ports\nIt is a switch."}]}`,
		`  00:23:22 assistant: "the first answer" by gpt-4o`,
		`  00:25:00 user: "the question, edited" after the beginning{"type":"message","role":"user","content":[{"type":"input_text","text":"the question, edited"},{"type":"input_text","text":"[image: sediment://file_01]"}]}`,
		`  00:25:01.25 assistant: "the second answer" by o3`,
	}},
	{"open-webui.json", []string{
		`Disks, llama3.2:3b, 2024-10-27T03:33:20Z to 2024-10-27T03:38:20Z, pinned true, archived false, {"source":"open-webui","source_id":"c1"}`,
		`  03:33:21 user: "which disk?"{"type":"message","role":"user","content":[{"type":"input_text","text":"which disk?"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"}]}`,
		`  03:33:22 assistant: "sda" by llama3.2:3b{"input_tokens":11,"cached_tokens":0,"output_tokens":3,"reasoning_tokens":0}`,
		`  03:33:23 assistant: "sdb" after 1 by qwen3:8b`,
	}},
	{"llama.cpp.json", []string{
		`Fans, , 2025-06-04T01:20:01Z to 2025-06-04T01:20:09Z, pinned false, archived false, {"source":"llama.cpp","source_id":"conv-1749000000000"}`,
		`  01:20:01 user: "why so loud?"{"type":"message","role":"user","content":[{"type":"input_text","text":"why so loud?"},{"type":"input_text","text":"fan.log:\n` + "```\\nrpm 9000\\n```" + `"}]}`,
		`  01:20:02 assistant: "" by gemma{"input_tokens":20,"cached_tokens":0,"output_tokens":2,"reasoning_tokens":0}{"type":"reasoning","parts":[{"type":"summary_text","text":"hm"}]}`,
		`  01:20:02 assistant: "dust" by gemma{"input_tokens":20,"cached_tokens":0,"output_tokens":2,"reasoning_tokens":0}`,
		`  01:20:03 assistant: "a bearing" after 1 by `,
	}},
	{"claude.json", []string{
		`Backups, , 2025-01-02T03:04:05.123456Z to 2025-01-02T03:05:00Z, pinned false, archived false, {"source":"claude","source_id":"0b0b0b0b-0000-4000-8000-000000000001"}`,
		`  03:04:05.123456 user: "how often?"{"type":"message","role":"user","content":[{"type":"input_text","text":"how often?"},{"type":"input_text","text":"cron.txt:\n` + "```\\n0 3 * * *\\n```" + `"},{"type":"input_text","text":"[file: disk.png]"}]}`,
		`  03:04:09.000001 assistant: "" by {"type":"reasoning","parts":[{"type":"summary_text","text":"cron says three"}]}`,
		`  03:04:09.000001 assistant: "daily" by `,
	}},
}

func TestForeignExports(t *testing.T) {
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			var files []string
			for _, to := range []testrecord.Record{testrecord.SQLite(t), testrecord.Postgres(t)} {
				if r, p, err := importText(to, sample(t, f.name)); err != nil || r.Added != 1 {
					t.Fatalf("%+v, %q, %v", r, p, err)
				}
				if got := told(t, to); !slices.Equal(got, f.want) {
					t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(f.want, "\n"))
				}
				if r, p, err := importText(to, sample(t, f.name)); err != nil || r.Same != 1 {
					t.Errorf("the second time: %+v, %q, %v", r, p, err)
				}
				if n, err := archive.Verify(t.Context(), to.(archive.Verifiable), nil, func(p string) { t.Error(p) }, func(archive.Counts) {}); err != nil || n.Conversations != 1 {
					t.Errorf("Verify: %+v, %v", n, err)
				}
				files = append(files, export(t, to))
			}
			if files[0] != files[1] {
				t.Error("the engines hold something else")
			}
			one := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(sample(t, f.name)), "["), "]")
			if r, _, err := importText(testrecord.SQLite(t), one); err != nil || r.Added != 1 {
				t.Errorf("without the list: %+v, %v", r, err)
			}
		})
	}
}

func TestADamagedForeignExport(t *testing.T) {
	whole := strings.TrimSpace(sample(t, "claude.json"))
	element := strings.TrimSuffix(strings.TrimPrefix(whole, "["), "]")
	other := strings.ReplaceAll(element, "0b0b0b0b-", "0c0c0c0c-")
	for name, c := range map[string]struct {
		text  string
		added int
		said  string
	}{
		"cut":                      {"[" + element + "," + other[:len(other)/2], 1, "conversation 2: the file is damaged from here on, after byte"},
		"without its end":          {"[" + element, 1, "conversation 2: the file ends here"},
		"one of no known kind":     {"[" + element + `,{"x":1},` + other + "]", 2, "conversation 2: this is no export"},
		"one with a wrong type":    {"[" + strings.Replace(element, `"Backups"`, `{}`, 1) + "," + other + "]", 1, "conversation 1: "},
		"two messages of one id":   {"[" + strings.Replace(element, `"uuid": "a1"`, `"uuid": "h1"`, 1) + "," + other + "]", 1, "conversation 1: two messages"},
		"messages in a circle":     {"[" + strings.Replace(element, `"uuid": "h1"`, `"uuid": "h1", "parent_message_uuid": "a1"`, 1) + "," + other + "]", 1, "conversation 1: 2 messages follow"},
		"a conversation of no id":  {"[" + strings.Replace(element, `"uuid": "0b`, `"guid": "0b`, 1) + "," + other + "]", 1, "conversation 1: it has no id"},
		"what is there, otherwise": {"[" + element + "," + strings.Replace(element, "daily", "weekly", 2) + "]", 1, "conversation 2: conversation"},
	} {
		t.Run(name, func(t *testing.T) {
			to := testrecord.SQLite(t)
			r, p, err := importText(to, c.text)
			if !errors.Is(err, archive.ErrNotWhole) || r.Added != c.added || len(p) != 1 || !strings.HasPrefix(p[0], c.said) {
				t.Errorf("%+v, %v, %q", r, err, p)
			}
		})
	}
}

func TestLLMLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), sample(t, "llm.sql")); err != nil {
		t.Fatal(err)
	}
	db.Close()
	to := testrecord.SQLite(t)
	var p problems
	r, err := archive.ImportLLM(t.Context(), to, path, p.options())
	if err != nil || r.Added != 2 {
		t.Fatalf("%+v, %v, %q", r, err, p)
	}
	want := []string{
		`names for a server, gpt-4o-mini, 2025-05-14T16:25:01.123456Z to 2025-05-14T16:26:01Z, pinned false, archived false, {"source":"llm","source_id":"01h0"}`,
		`  16:25:01.123456 system: "be short"`,
		`  16:25:01.123456 user: "a name?"`,
		`  16:25:01.123456 assistant: "otter" by gpt-4o-mini{"input_tokens":9,"cached_tokens":0,"output_tokens":2,"reasoning_tokens":0}`,
		`  16:26:01 user: "another?"`,
		`  16:26:01 assistant: "heron" by gpt-4o`,
		`, gpt-4o, 2025-05-15T00:00:00Z to 2025-05-15T00:00:00Z, pinned false, archived false, {"source":"llm","source_id":"01h3"}`,
		`  00:00:00 user: "alone"`,
		`  00:00:00 assistant: "yes" by gpt-4o`,
	}
	got := told(t, to)
	slices.Sort(got)
	slices.Sort(want) // the conversations' ids have no order that means anything
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r, err := archive.ImportLLM(t.Context(), to, path, p.options()); err != nil || r.Same != 2 {
		t.Errorf("the second time: %+v, %v", r, err)
	}
	if _, err := archive.ImportLLM(t.Context(), to, to.Info().Detail, p.options()); err == nil {
		t.Error("another program's file was read")
	}
}

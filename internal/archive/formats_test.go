//go:build integration

package archive_test

import (
	"archive/zip"
	"bytes"
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
		`  00:25:00 user: "the question, edited\n[image: sediment://file_01]\n[file: ports.csv]" after the beginning{"type":"message","role":"user","content":[{"type":"input_text","text":"the question, edited"},{"type":"input_text","text":"[image: sediment://file_01]"},{"type":"input_text","text":"[file: ports.csv]"}]}`,
		`  00:25:01.25 assistant: "the second answer" by o3`,
	}},
	{"open-webui.json", []string{
		`Disks, llama3.2:3b, 2024-10-27T03:33:20Z to 2024-10-27T03:38:20Z, pinned true, archived false, {"source":"open-webui","source_id":"c1"}`,
		`  03:33:21 user: "which disk?\nsmart.txt:\n` + "```\\nsdb: old\\n```" + `"{"type":"message","role":"user","content":[{"type":"input_text","text":"which disk?"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"input_text","text":"smart.txt:\n` + "```\\nsdb: old\\n```" + `"}]}`,
		`  03:33:22 assistant: "sda" by llama3.2:3b{"input_tokens":11,"cached_tokens":0,"output_tokens":3,"reasoning_tokens":0}`,
		`  03:33:23 assistant: "" after 1 by qwen3:8b{"type":"reasoning","parts":[{"type":"summary_text","text":"sda \u003c sdb\nby age"}]}`,
		`  03:33:23 assistant: "sdb" by qwen3:8b`,
	}},
	{"llama.cpp.json", []string{
		`Fans, , 2025-06-04T01:20:01Z to 2025-06-04T01:20:09Z, pinned false, archived false, {"source":"llama.cpp","source_id":"conv-1749000000000"}`,
		`  01:20:01 user: "why so loud?\nfan.log:\n` + "```\\nrpm 9000\\n```" + `"{"type":"message","role":"user","content":[{"type":"input_text","text":"why so loud?"},{"type":"input_text","text":"fan.log:\n` + "```\\nrpm 9000\\n```" + `"}]}`,
		`  01:20:02 assistant: "" by gemma{"input_tokens":20,"cached_tokens":0,"output_tokens":2,"reasoning_tokens":0}{"type":"reasoning","parts":[{"type":"summary_text","text":"hm"}]}`,
		`  01:20:02 assistant: "dust" by gemma{"input_tokens":20,"cached_tokens":0,"output_tokens":2,"reasoning_tokens":0}`,
		`  01:20:03 assistant: "a bearing" after 1 by `,
	}},
	{"llama.cpp.jsonl", []string{
		`Fans again, , 2026-01-21T12:53:21Z to 2026-01-21T12:53:29Z, pinned false, archived false, {"source":"llama.cpp","source_id":"5b0c0001-0000-4000-8000-000000000001"}`,
		`  12:53:21 user: "how fast is it?\nfan.pdf:\n` + "```\\nmax 9000\\n```" + `"{"type":"message","role":"user","content":[{"type":"input_text","text":"how fast is it?"},{"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"input_text","text":"fan.pdf:\n` + "```\\nmax 9000\\n```" + `"}]}`,
		`  12:53:22 assistant: "" by qwen3{"type":"reasoning","parts":[{"type":"summary_text","text":"ask the sensor"}]}`,
		`  12:53:22 assistant: "[tool: sensors]\n` + "```json\\n{\\\"chip\\\":\\\"nct\\\"}\\n```" + `" by qwen3`,
		`  12:53:23 assistant: "` + "```\\nfan1: 8900 RPM\\n```" + `" by `,
		`  12:53:24 assistant: "8900" by qwen3{"input_tokens":40,"cached_tokens":0,"output_tokens":4,"reasoning_tokens":0}`,
	}},
	{"claude.json", []string{
		`Backups, , 2025-01-02T03:04:05.123456Z to 2025-01-02T03:05:00Z, pinned false, archived false, {"source":"claude","source_id":"0b0b0b0b-0000-4000-8000-000000000001"}`,
		`  03:04:05.123456 user: "how often?\ncron.txt:\n` + "```\\n0 3 * * *\\n```" + `\n[file: disk.png]"{"type":"message","role":"user","content":[{"type":"input_text","text":"how often?"},{"type":"input_text","text":"cron.txt:\n` + "```\\n0 3 * * *\\n```" + `"},{"type":"input_text","text":"[file: disk.png]"}]}`,
		`  03:04:09.000001 assistant: "" by {"type":"reasoning","parts":[{"type":"summary_text","text":"cron says three"}]}`,
		`  03:04:09.000001 assistant: "[tool: web_search]\n` + "```json\\n{\\\"query\\\": \\\"cron\\\"}\\n```\\n\\n```\\ncrontab(5)\\n```\\n\\n" + `daily" by `,
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
	other, third := strings.ReplaceAll(element, "0b0b0b0b-", "0c0c0c0c-"), strings.ReplaceAll(element, "0b0b0b0b-", "0d0d0d0d-")
	for name, c := range map[string]struct {
		text  string
		added int
		said  string
	}{
		"in the middle":            {"[" + strings.Replace(element, `"text": "`, `"text" "`, 1) + "," + other + "]", 1, "conversation 1: the file is damaged after byte"},
		"a quotation mark gone":    {"[" + strings.Replace(element, `"name": "Backups"`, `"name": "Backups`, 1) + "," + other + "]", 1, "conversation 1: the file is damaged after byte"},
		"a comma gone":             {"[" + element + other + "," + third + "]", 3, "conversation 2: the file is damaged after byte"},
		"a brace gone":             {"[" + strings.TrimSuffix(strings.TrimSpace(element), "}") + ",\n" + other + "]", 1, "conversation 1: the file is damaged after byte"},
		"a byte that is no text":   {"[" + strings.Replace(element, "Backups", "Back\xffups", 1) + "," + other + "]", 1, "conversation 1: it has a byte"},
		"a number among them":      {"[" + element + ",7," + other + "]", 2, "conversation 2: this is no export"},
		"damaged, without a list":  {strings.Replace(element, `"name": "Backups"`, `"name": "Backups`, 1) + "\n" + other, 1, "conversation 1: the file is damaged after byte"},
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

// llmLog makes a log of llm of a sample.
func llmLog(t *testing.T, name string) (path string) {
	path = filepath.Join(t.TempDir(), "logs.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), sample(t, name)); err != nil {
		t.Fatal(err)
	}
	return path
}

func importLLM(t *testing.T, to archive.Record, path string) (archive.Result, problems, error) {
	var p problems
	r, err := archive.ImportLLM(t.Context(), to, path, func(read, all int64) {
		if read < 1 || read > all {
			t.Errorf("%d of %d are read", read, all)
		}
	}, p.options())
	return r, p, err
}

func TestLLMLog(t *testing.T) {
	for name, want := range map[string][]string{
		"llm.sql": {
			`names for a server, gpt-4o-mini, 2025-05-14T16:25:01.123456Z to 2025-05-14T16:26:01Z, pinned false, archived false, {"source":"llm","source_id":"01h0"}`,
			`  16:25:01.123456 system: "be short"`,
			`  16:25:01.123456 user: "a name?"`,
			`  16:25:01.123456 assistant: "otter" by gpt-4o-mini{"input_tokens":9,"cached_tokens":0,"output_tokens":2,"reasoning_tokens":0}`,
			`  16:26:01 user: "another?"`,
			`  16:26:01 assistant: "heron" by gpt-4o`,
			`, gpt-4o, 2025-05-15T00:00:00Z to 2025-05-16T00:00:05Z, pinned false, archived false, {"source":"llm","source_id":"01h3"}`,
			`  00:00:00 user: "alone"`,
			`  00:00:00 assistant: "yes" by gpt-4o`,
			`  00:00:00 system: "be kind"`,
			`  00:00:00 user: "temp 90\nwhat is wrong?\n[file: /tmp/noise.wav]"{"type":"message","role":"user","content":[{"type":"input_text","text":"temp 90\nwhat is wrong?"},{"type":"input_image","image_url":"data:image/png;base64,iVBORw=="},{"type":"input_text","text":"[file: /tmp/noise.wav]"}]}`,
			`  00:00:00 assistant: "[tool: sensors]\n` + "```json\\n{\\\"chip\\\": \\\"nct\\\"}\\n```" + `" by gpt-4o`,
			`  00:00:05 assistant: "` + "```\\n0 RPM\\n```" + `" by gpt-4o`,
			`  00:00:05 assistant: "" by gpt-4o{"type":"reasoning","parts":[{"type":"summary_text","text":"it is hot"}]}`,
			`  00:00:05 assistant: "the fan" by gpt-4o`,
		},
		"llm-0.32.sql": {
			`a bird, gpt-4o, 2026-07-01T10:00:00Z to 2026-08-01T10:00:00Z, pinned false, archived false, {"source":"llm","source_id":"01k0"}`,
			`  10:00:00 user: "a bird?"`,
			`  10:00:00 assistant: "a heron" by gpt-4o{"input_tokens":5,"cached_tokens":0,"output_tokens":2,"reasoning_tokens":0}`,
			`  10:00:00 user: "and another?"`,
			`  10:00:00 assistant: "a grebe" by gpt-5{"input_tokens":9,"cached_tokens":0,"output_tokens":3,"reasoning_tokens":0}`,
			`a bird, too, gpt-5, 2026-08-02T10:00:00Z to 2026-08-02T10:00:09Z, pinned false, archived false, {"source":"llm","source_id":"01k5"}`,
			`  10:00:00 user: "a bird?"`,
			`  10:00:00 assistant: "a heron" by gpt-5`,
			`  10:00:00 system: "be short"`,
			`  10:00:00 user: "herons eat fish\nhow many?"{"type":"message","role":"user","content":[{"type":"input_text","text":"herons eat fish\nhow many?"},{"type":"input_image","image_url":"https://lab.test/heron.jpg"}]}`,
			`  10:00:00 assistant: "" by gpt-5{"input_tokens":20,"cached_tokens":0,"output_tokens":4,"reasoning_tokens":0}{"type":"reasoning","parts":[{"type":"summary_text","text":"count them"}]}`,
			`  10:00:00 assistant: "[tool: count]\n` + "```json\\n{\\\"what\\\": \\\"fish\\\"}\\n```" + `" by gpt-5{"input_tokens":20,"cached_tokens":0,"output_tokens":4,"reasoning_tokens":0}`,
			`  10:00:09 assistant: "` + "```\\n3\\n```" + `" by gpt-5`,
			`  10:00:09 assistant: "three" by gpt-5`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, to := llmLog(t, name), testrecord.SQLite(t)
			if r, p, err := importLLM(t, to, path); err != nil || r.Added != 2 {
				t.Fatalf("%+v, %v, %q", r, err, p)
			}
			got := told(t, to)
			// The conversations' ids have no order that means anything.
			if second := slices.IndexFunc(got[1:], func(line string) bool { return !strings.HasPrefix(line, " ") }) + 1; got[0] != want[0] {
				got = slices.Concat(got[second:], got[:second])
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if r, _, err := importLLM(t, to, path); err != nil || r.Same != 2 {
				t.Errorf("the second time: %+v, %v", r, err)
			}
			if _, err := archive.Verify(t.Context(), to.(archive.Verifiable), nil, func(p string) { t.Error(p) }, func(archive.Counts) {}); err != nil {
				t.Error(err)
			}
		})
	}
	to := testrecord.SQLite(t)
	if _, _, err := importLLM(t, to, to.Info().Detail); err == nil {
		t.Error("another program's file was read")
	}
}

// An answer whose pages are damaged is named; all others are taken.
func TestADamagedLLMLog(t *testing.T) {
	path := llmLog(t, "llm.sql")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{`UPDATE responses SET response = '~~~mark~~~' || hex(zeroblob(20000)) WHERE id = '01h1'`, `PRAGMA wal_checkpoint(TRUNCATE)`} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// What a row holds of a long text ends with the number of the page where it goes on.
	at := bytes.Index(file, []byte("~~~mark~~~"))
	for strings.IndexByte("~mark0", file[at]) >= 0 {
		at++
	}
	copy(file[at:], "\x7f\xff\xff\xff")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	to := testrecord.SQLite(t)
	r, p, err := importLLM(t, to, path)
	if !errors.Is(err, archive.ErrNotWhole) || r.Added != 2 || len(p) != 1 || !strings.HasPrefix(p[0], "the log: answer 01h1: ") {
		t.Errorf("%+v, %v, %q", r, err, p)
	}
}

// A download of llama.cpp's page that is damaged: a conversation is taken whole or named by its line.
func TestDamagedSessions(t *testing.T) {
	one := strings.TrimSpace(sample(t, "llama.cpp.jsonl")) + "\n"
	other := strings.ReplaceAll(one, "5b0c0001-", "5b0c0002-")
	lines := strings.SplitAfter(one, "\n")
	for name, c := range map[string]struct {
		text  string
		added int
		said  string
	}{
		"cut in the second":       {one + other[:len(other)/2], 1, "line 7: line 10 is damaged"},
		"a line that is not JSON": {strings.Replace(one, `"role":"tool"`, `"role":tool"`, 1) + other, 1, "line 1: line 5 is damaged"},
		"a message of no role":    {strings.Replace(one, `"content":"8900"`, `"content":{}`, 1) + other, 1, "line 1: "},
		"no conversation at all":  {lines[0] + other + `{"type":"session"}`, 1, "line 8: it has no id"},
	} {
		t.Run(name, func(t *testing.T) {
			to := testrecord.SQLite(t)
			r, p, err := importText(to, c.text)
			if !errors.Is(err, archive.ErrNotWhole) || r.Added < c.added || len(p) != 1 || !strings.HasPrefix(p[0], c.said) {
				t.Errorf("%+v, %v, %q", r, err, p)
			}
		})
	}
}

// zipped is a ZIP file of files, each its name and what it holds.
func zipped(t *testing.T, files ...[2]string) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		entry, err := w.CreateHeader(&zip.FileHeader{Name: f[0]}) // not compressed, so that a test can find what to damage
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func importZIP(t *testing.T, to archive.Record, file []byte) (archive.Result, problems, error) {
	var p problems
	z, err := archive.OpenZIP(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return archive.Result{}, p, err
	}
	var read int64
	r, err := archive.ImportZIP(t.Context(), to, z, func(n int) { read += int64(n) }, p.options())
	if len(p) == 0 && read != z.Size() {
		t.Errorf("%d bytes of %d were read", read, z.Size())
	}
	return r, p, err
}

func TestZIPFiles(t *testing.T) {
	jsonl := sample(t, "llama.cpp.jsonl")
	whole := zipped(t, [2]string{"user.json", "{}"}, [2]string{"x/conversations.json", sample(t, "claude.json")}, [2]string{"conversations-000.json", sample(t, "chatgpt.json")},
		[2]string{"2026_conv_5b0c0001_fans.jsonl", jsonl}, [2]string{"2026_conv_5b0c0002_fans.jsonl", strings.ReplaceAll(jsonl, "5b0c0001-", "5b0c0002-")})
	to := testrecord.SQLite(t)
	if r, p, err := importZIP(t, to, whole); err != nil || r.Added != 4 {
		t.Errorf("%+v, %v, %q", r, err, p)
	}
	if r, p, err := importZIP(t, to, whole); err != nil || r.Same != 4 || r.Added != 0 {
		t.Errorf("the second time: %+v, %v, %q", r, err, p)
	}
	damaged := bytes.Replace(whole, []byte(`"the first answer"`), []byte(`"the worst answer"`), 1)
	r, p, err := importZIP(t, testrecord.SQLite(t), damaged)
	if !errors.Is(err, archive.ErrNotWhole) || r.Added < 3 || len(p) != 1 || !strings.HasPrefix(p[0], "conversations-000.json: ") || !strings.Contains(p[0], "checksum") {
		t.Errorf("damaged: %+v, %v, %q", r, err, p)
	}
	if _, _, err := importZIP(t, to, whole[:len(whole)/2]); err == nil || !strings.Contains(err.Error(), "no end") {
		t.Errorf("half of it: %v", err)
	}
	if _, _, err := importZIP(t, to, zipped(t, [2]string{"holiday.jpg", "x"})); err == nil || !strings.Contains(err.Error(), "no export") {
		t.Errorf("another: %v", err)
	}
	if _, _, err := importText(to, string(whole)); err == nil || !strings.Contains(err.Error(), "give its name") {
		t.Errorf("as a stream: %v", err)
	}
}

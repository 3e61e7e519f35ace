package main

import (
	"archive/zip"
	"bytes"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/sqlite"
	"git.georgsen.dk/hwlab/internal/testpg"
)

// ran is what a command that has ended printed.
type ran struct {
	out, err string
	code     int
}

// run runs hwlab to its end, with the data directory dir/data.
func run(t testing.TB, dir string, settings []string, stdin string, args ...string) ran {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), built(t), args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = environment(dir, settings)
	var out, errors_ bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors_
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{out.String(), errors_.String(), cmd.ProcessState.ExitCode()}
}

// environment is that of a command in dir, with the data directory dir/data and nothing of this process's own settings.
func environment(dir string, settings []string) []string {
	return append([]string{"HWLAB_TEST_MAIN=1", noSleep, "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "HWLAB_DATA_DIR=" + filepath.Join(dir, "data"),
		"OLLAMA_HOST=127.0.0.1:1"}, settings...)
}

// ended fails unless the command ended with code and printed what matches said to standard error.
func (r ran) ended(t testing.TB, code int, said string) ran {
	t.Helper()
	if r.code != code || !regexp.MustCompile(said).MatchString(r.err) {
		t.Fatalf("exit %d, want %d and %q; it printed:\n%s%s", r.code, code, said, r.out, r.err)
	}
	return r
}

// fill makes a record in dir/data with conversations of two messages and returns their ids.
func fill(t testing.TB, dir string, n int) (ids []string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(dir, "data", "hwlab.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range n {
		id, err := s.CreateConversationWith(t.Context(), store.NewConversation{Model: "m", Title: "about disks"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.AppendMessages(t.Context(), store.Append{ConversationID: id, Messages: []store.NewMessage{
			{Role: "user", Content: "which disk is sda1?"}, {Role: "assistant", Content: "the first"}}}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func TestExportAndImport(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	ids := fill(t, dir, 3)
	p := serveIn(t, dir, "HWLAB_DATA_DIR="+filepath.Join(dir, "data")) // an export needs no server, and minds none
	all := run(t, dir, nil, "", "export").ended(t, 0, `^exported 3 conversations with 6 messages\n$`)
	run(t, dir, nil, "", "export", "-o", "all.jsonl").ended(t, 0, `exported`)
	run(t, dir, nil, "", "export", "-o", "all.jsonl").ended(t, 1, `all.jsonl is there already`)
	if text, err := os.ReadFile(filepath.Join(dir, "all.jsonl")); err != nil || string(text) != all.out {
		t.Errorf("the file: %v, %d bytes of %d", err, len(text), len(all.out))
	}
	run(t, dir, nil, all.out, "import", "-").ended(t, 1, `in use by the hwlab at http`)
	p.cmd.Process.Kill()
	<-p.done

	run(t, other, nil, all.out, "import", "-").ended(t, 0, `^imported 3 conversations with 6 messages\n$`)
	run(t, other, nil, all.out, "import", "-").ended(t, 0, `^imported 0 conversations with 0 messages; 3 were there already\n$`)
	run(t, other, nil, all.out, "import", "--json", "-").ended(t, 0, `^imported 0`).is(t, `{"added":0,"messages":0,"same":3,"differs":0,"failed":0}`+"\n")
	if again := run(t, other, nil, "", "export"); again.out != all.out {
		t.Error("what was imported is exported otherwise")
	}
	cut := all.out[:len(all.out)*2/3]
	run(t, t.TempDir(), nil, cut, "import", "-").ended(t, 1, `-: line \d+: line \d+ is damaged(.*\n)*imported 2 conversations with 4 messages; 2 problems named above\nhwlab: not everything`)
	run(t, other, nil, "no", "import", "-").ended(t, 1, `^hwlab: this is no export`)
	run(t, other, nil, "", "import").ended(t, 2, `accepts 1 arg`)

	one := run(t, dir, nil, "", "export", "--markdown", ids[1]).ended(t, 0, `^$`)
	if !strings.HasPrefix(one.out, "# about disks\n") || !strings.Contains(one.out, "\n## Question\n\nwhich disk is sda1?\n\n## Answer\n\nthe first\n") {
		t.Errorf("Markdown:\n%s", one.out)
	}
	if again := run(t, dir, nil, "", "export", "--markdown", "conv_"+ids[1][:35]).ended(t, 0, `^$`); again.out != one.out {
		t.Error("by the beginning of its id it is another one")
	}
	run(t, dir, nil, "", "export", "--markdown", ids[1][:4]).ended(t, 2, `several conversations begin with`)
	run(t, dir, nil, "", "export", "--markdown").ended(t, 2, `name it`)
	run(t, dir, nil, "", "export", store.NewID()).ended(t, 3, `no conversation`)
	run(t, dir, nil, "", "export", "--no-such").ended(t, 2, `unknown flag`)
	run(t, t.TempDir(), nil, "", "export").ended(t, 1, `there is no record at`)
}

// An interrupt ends an import that waits for its file, and what was taken over by then stays.
func TestAnImportIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 2)
	all := run(t, dir, nil, "", "export")
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	cmd := exec.CommandContext(t.Context(), self, "import", "-")
	cmd.Dir, cmd.Env, cmd.Stdin = other, environment(other, nil), in
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if _, err := out.WriteString(all.out[:len(all.out)*2/3]); err != nil { // and no more comes
		t.Fatal(err)
	}
	eventually(t, func() string { // it has the file open when it handles signals
		if _, err := os.Stat(filepath.Join(other, "data", "hwlab.db")); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	(ran{err: said.String(), code: cmd.ProcessState.ExitCode()}).ended(t, 130, `^(imported .*\n)?hwlab: interrupted; what was taken over stays, and the same command goes on with the rest\n$`)
	run(t, other, nil, all.out, "import", "-").ended(t, 0, `imported`)
	if again := run(t, other, nil, "", "export"); again.out != all.out {
		t.Error("after the second import it is exported otherwise")
	}
}

// What is told of progress fits a line of a terminal, and is lines of their own anywhere else.
func TestProgress(t *testing.T) {
	for _, c := range []struct {
		terminal   bool
		done, size int64
		want       string
	}{
		{true, 50, 100, `^\r\x1b\[K\[#{10}\.{10}\] 50 %, \S+s left, imported 3000 conversations w.{1,40}$`},
		{true, 50, 0, `^\r\x1b\[Kimported 3000 conversations with 700000 messages, \d+ messages/s$`},
		{false, 50, 100, `^imported 3000 conversations with 700000 messages, \d+ messages/s, 50 %, \S+s left\n$`},
		{false, 50, 0, `^imported 3000 conversations with 700000 messages, \d+ messages/s\n$`},
	} {
		var out strings.Builder
		p := &progress{out: &out, what: "imported", terminal: c.terminal, began: time.Now().Add(-100 * time.Second)}
		p.show(700000, c.done, c.size, counted(3000, 700000))
		if !regexp.MustCompile(c.want).MatchString(out.String()) || c.terminal && len(out.String()) > len("\r\x1b[K")+79 {
			t.Errorf("%q, want %s", out.String(), c.want)
		}
	}
}

func TestImportOfOthers(t *testing.T) {
	dir := t.TempDir()
	samples := filepath.Join("..", "..", "internal", "archive", "testdata")
	for _, name := range []string{"chatgpt.json", "open-webui.json", "llama.cpp.json", "llama.cpp.jsonl", "claude.json"} {
		path, err := filepath.Abs(filepath.Join(samples, name))
		if err != nil {
			t.Fatal(err)
		}
		run(t, dir, nil, "", "import", path).ended(t, 0, `imported 1 conversation`)
		run(t, dir, nil, "", "import", path).ended(t, 0, `imported 0 .*1 were there already`)
	}
	script, err := os.ReadFile(filepath.Join(samples, "llm.sql"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "logs.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), string(script)); err != nil {
		t.Fatal(err)
	}
	db.Close()
	run(t, dir, nil, "", "import", "logs.db").ended(t, 0, `imported 2 conversations`)
	run(t, dir, nil, "", "import", "data/hwlab.db").ended(t, 1, `no export`)

	// As ChatGPT and Claude hand it out.
	text, err := os.ReadFile(filepath.Join(samples, "claude.json"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(dir, "data.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := zip.NewWriter(file)
	for name, text := range map[string]string{"users.json": "[]", "conversations.json": strings.ReplaceAll(string(text), "0b0b0b0b-", "0c0c0c0c-")} {
		if entry, err := w.Create(name); err != nil {
			t.Fatal(err)
		} else if _, err := entry.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, dir, nil, "", "import", "data.zip").ended(t, 0, `imported 1 conversation`)
	run(t, dir, nil, "", "import", "data.zip").ended(t, 0, `imported 0 .*1 were there already`)
	run(t, dir, nil, "PK\x03\x04", "import", "-").ended(t, 1, `give its name`)
	run(t, dir, nil, "", "verify").ended(t, 0, `verified 8 conversations`)
}

// Of a file that is damaged half-way what is whole is taken, whatever wrote it, and the rest is named by its place.
func TestImportOfHalfAFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"chatgpt.json", "open-webui.json", "llama.cpp.json", "claude.json"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "internal", "archive", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		one := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(text)), "["), "]")
		half := "[" + one + "," + one[:len(one)/2]
		run(t, dir, nil, half, "import", "-").ended(t, 1, `^-: conversation 2: the file is damaged from here on, after byte \d+.*\nimported 1 conversation`)
		run(t, dir, nil, half, "import", "-").ended(t, 1, `^-: conversation 2: (.*\n)*imported 0 .*1 were there already`)
		run(t, dir, nil, string(text), "import", "-").ended(t, 0, `imported 0 .*1 were there already`)
	}
	run(t, dir, nil, "", "verify").ended(t, 0, `verified 4 conversations`)
}

// A conversation with an id that another one has is named by its place and left out; the rest goes on.
func TestImportOfAnIDThatIsTaken(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	has := fill(t, here, 1)[0]
	all := run(t, here, nil, "", "export")
	taken := regexp.MustCompile(`"message":\{"id":"([0-9a-f-]+)"`).FindStringSubmatch(all.out)[1]
	wants := slices.Sorted(slices.Values(fill(t, there, 3)))[1]
	db, _ := recordOf(t, there, nil)
	if _, err := db.ExecContext(t.Context(), `UPDATE messages SET id = ?1 WHERE conversation_id = ?2 AND seq = 2`, taken, wants); err != nil {
		t.Fatal(err)
	}
	db.Close()
	other := run(t, there, nil, "", "export")
	eachEngine(t, func(t *testing.T, settings ...string) {
		dir := t.TempDir()
		run(t, dir, settings, all.out, "import", "-").ended(t, 0, `imported 1`)
		for _, added := range []string{`imported 2 conversations with 4 messages`, `imported 0 .*2 were there already`} {
			run(t, dir, settings, other.out, "import", "-").ended(t, 1, `^-: line 6: conversation `+wants+` was not taken: its message or reply `+taken+
				` is one of conversation `+has+` already\n`+added)
		}
		run(t, dir, settings, "", "verify").ended(t, 0, `verified 3 conversations with 6 messages`)
	})
}

func TestCopyBetweenEngines(t *testing.T) {
	dir, back := t.TempDir(), t.TempDir()
	fill(t, dir, 3)
	all := run(t, dir, nil, "", "export")
	dsn := []string{"PG=" + testpg.Schema(t, testpg.URL(t))}
	serveIn(t, dir, "HWLAB_DATA_DIR="+filepath.Join(dir, "data")) // reads the source meanwhile
	run(t, dir, dsn, "", "copy", "--from", "data", "--to", "env:PG").ended(t, 0, `copied 3 conversations with 6 messages\nverified 3 conversations with 6 messages equal by checksum`)
	run(t, dir, dsn, "", "copy", "--from", "data/hwlab.db", "--to", "env:PG").ended(t, 0, `copied 0 .*3 were there already\nverified 3`)
	run(t, back, dsn, "", "copy", "--from", "env:PG", "--to", "data/hwlab.db", "--json").ended(t, 0, `copied 3 .*\nverified 3`).
		is(t, `{"added":3,"messages":6,"same":0,"differs":0,"failed":0,"equal":3,"unequal":0}`+"\n")
	if again := run(t, back, nil, "", "export"); again.out != all.out {
		t.Error("what was copied there and back is exported otherwise")
	}
	run(t, dir, nil, "", "copy", "--from", "data", "--to", "postgres://u:sesame@h/d").ended(t, 2, `can be read by others`)
	if r := run(t, dir, nil, "", "copy", "--from", "data", "--to", "postgres://u:sesame@h:x/d"); r.code != 2 || strings.Contains(r.err, "sesame") {
		t.Errorf("%+v", r)
	}
	run(t, dir, nil, "", "copy", "--from", "data", "--to", "env:NONE").ended(t, 2, `no NONE`)
	run(t, dir, nil, "", "copy", "--from", "data").ended(t, 2, `--to: no record named`)
	run(t, dir, nil, "", "copy", "--from", "nowhere", "--to", "x.db").ended(t, 1, `--from`)
}

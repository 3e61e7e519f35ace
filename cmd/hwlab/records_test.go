package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/sqlite"
)

func TestSearchCommand(t *testing.T) {
	for _, name := range []string{"without a server", "through HWLAB_URL"} {
		t.Run(name, func(t *testing.T) { searchCommand(t, name == "through HWLAB_URL") })
	}
}

func searchCommand(t *testing.T, served bool) {
	dir := t.TempDir()
	s, err := sqlite.Open(t.Context(), filepath.Join(dir, "data", "hwlab.db"))
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]string{}
	for title, texts := range map[string][]string{"The switch": {"Where is 10.5.0.109?", "It is the Café's\x1b[31m switch, \U0001F50C 10.5.0.109."}, "Old racks": {"Which switch was at 10.5.0.10?"}} {
		id, err := s.CreateConversationWith(t.Context(), store.NewConversation{Title: title})
		if err != nil {
			t.Fatal(err)
		}
		var messages []store.NewMessage
		for i, text := range texts {
			messages = append(messages, store.NewMessage{Role: []string{"user", "assistant"}[i], Content: text})
		}
		if _, _, err := s.AppendMessages(t.Context(), store.Append{ConversationID: id, Messages: messages}); err != nil {
			t.Fatal(err)
		}
		made[title] = id
	}
	yes := true
	if _, err := s.UpdateConversation(t.Context(), made["Old racks"], store.ConversationChange{Archived: &yes}); err != nil {
		t.Fatal(err)
	}
	var many []store.NewMessage
	for i := range 130 {
		many = append(many, store.NewMessage{Role: "user", Content: fmt.Sprint("ledger ", i)})
	}
	if _, _, err := s.AppendMessages(t.Context(), store.Append{ConversationID: made["Old racks"], Messages: many}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	settings := []string{"HWLAB_PASSWORD=sesame"}
	if served {
		p := serveIn(t, dir, "HWLAB_DATA_DIR="+filepath.Join(dir, "data"), settings[0])
		settings = append(settings, "HWLAB_URL="+p.url)
		dir = t.TempDir()
	}
	settings = append(settings, "HOME="+dir, "HWLAB_DATA_DIR="+filepath.Join(dir, "data"))
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	run := func(args ...string) (r ran) {
		t.Helper()
		var out, said bytes.Buffer
		cmd := newCommand()
		cmd.SetOut(&out)
		cmd.SetErr(&said)
		cmd.SetArgs(append([]string{"search"}, args...))
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			r.code = exitCode(err)
		}
		r.out, r.err = out.String(), said.String()
		return r
	}

	for query, hits := range map[string]int{"5.0.109": 2, "5.0.10": 3, "--role user 5.0.10": 2, "--role user --archived false 5.0.10": 1, "--archived true 5.0.10": 1,
		"SWITCH": 3, "--best switch": 3, "--model gpt switch": 0, "--after 2020-01-01 --before 2099-01-01T00:00:00Z 5.0.109": 2, "--before 2020-01-01 switch": 0,
		`"the cafe's"`: 1, "-l 1 switch": 1, "-l 125 ledger": 125, "-l 500 ledger": 130} {
		r := run(strings.Fields(query)...)
		if got := strings.Count(r.out, "\n"); got != hits || r.code != map[bool]int{true: 1, false: 0}[hits == 0] || r.err != "" {
			t.Errorf("%s: %d hits, exit %d:\n%s%s", query, got, r.code, r.out, r.err)
		}
	}
	if out := run("old").out; out != fmt.Sprintf("%s  %s  Old racks: (title)\n", made["Old racks"], out[38:54]) {
		t.Errorf("a title: %q", out)
	}
	var h hit
	if err := json.Unmarshal([]byte(run("--json", "cafe's", "10.5.0.109").out), &h); err != nil || h.ConversationID != "conv_"+made["The switch"] || h.Role != "assistant" ||
		!strings.HasPrefix(h.ItemID, "msg_") || len(h.Marks) != 2 || string([]rune(h.Snippet)[h.Marks[0].Start:h.Marks[0].End]) != "Café's" ||
		string([]rune(h.Snippet)[h.Marks[1].Start:h.Marks[1].End]) != "10.5.0.109" {
		t.Errorf("--json: %v %+v", err, h)
	}
	for _, wrong := range [][]string{{"--role", "robot", "x"}, {"--after", "yesterday", "x"}, {"--before", "1", "x"}, {"--archived", "maybe", "x"}, {"-l", "0", "x"}, {}} {
		run(wrong...).ended(t, 2, ``)
	}

	// Marks are shown on a terminal, which script is, unless NO_COLOR is set; what a model wrote is never obeyed.
	terminal := func(more ...string) string {
		cmd := exec.CommandContext(t.Context(), "script", "-qec", built(t)+" search cafe", "/dev/null")
		cmd.Dir = dir
		cmd.Env = slices.Concat([]string{"PATH=" + os.Getenv("PATH")}, settings, more)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := terminal(); !strings.Contains(out, "the \x1b[1;33mCafé\x1b[0m's [31m switch") {
		t.Errorf("on a terminal: %q", out)
	}
	for _, out := range []string{terminal("NO_COLOR=1"), run("cafe").out} {
		if strings.Contains(out, "\x1b") || !strings.Contains(out, "the Café's [31m switch") {
			t.Errorf("without colour: %q", out)
		}
	}
}

func TestRecordCommands(t *testing.T) {
	for _, name := range []string{"without a server", "beside a server", "through HWLAB_URL"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ids := fill(t, dir, 3)
			settings := []string{"HWLAB_PASSWORD=sesame"}
			if name != "without a server" {
				p := serveIn(t, dir, "HWLAB_DATA_DIR="+filepath.Join(dir, "data"), settings[0])
				if name == "through HWLAB_URL" {
					settings = append(settings, "HWLAB_URL="+p.url+"/")
					dir = t.TempDir()
				}
			}
			run := func(args ...string) ran { t.Helper(); return run(t, dir, settings, "", args...) }

			run("rename", ids[1], "the\x1b[31m\nrack").ended(t, 0, `^$`)
			list := run("list").ended(t, 0, `^$`)
			if lines := strings.Split(strings.TrimSpace(list.out), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], ids[2]) ||
				!strings.HasSuffix(lines[1], "     2  the [31m rack") {
				t.Errorf("list:\n%s", list.out)
			}
			var c listed
			if err := json.Unmarshal([]byte(run("list", "--json", "--limit", "1").ended(t, 0, `^$`).out), &c); err != nil || c.ID != "conv_"+ids[2] ||
				c.Title != "about disks" || c.Messages != 2 {
				t.Errorf("list --json: %v, %+v", err, c)
			}
			if out := run("list", "--archived").ended(t, 0, `^$`).out; out != "" {
				t.Errorf("list --archived: %s", out)
			}
			if out := run("show", c.ID).ended(t, 0, `^$`).out; !strings.Contains(out, "\n## Answer\n\nthe first\n") {
				t.Errorf("show:\n%s", out)
			}
			var m shown
			first, _, _ := strings.Cut(run("show", "--json", ids[0]).ended(t, 0, `^$`).out, "\n")
			if err := json.Unmarshal([]byte(first), &m); err != nil || m.Role != "user" || m.Content != "which disk is sda1?" {
				t.Errorf("show --json: %v, %+v", err, m)
			}
			if out := run("search", "disk", "which").ended(t, 0, `^$`).out; strings.Count(out, "which disk is sda1?") != 3 {
				t.Errorf("search:\n%s", out)
			}
			var h hit
			if err := json.Unmarshal([]byte(run("search", "--json", "-l", "1", "sda1").ended(t, 0, `^$`).out), &h); err != nil || h.ConversationID != c.ID {
				t.Errorf("search --json: %v, %+v", err, h)
			}
			if out := run("search", "nowhere").ended(t, 1, `^$`).out; out != "" {
				t.Errorf("search without a hit: %s", out)
			}
			var renamed listed
			if err := json.Unmarshal([]byte(run("rename", "--json", ids[2], "disks, again").ended(t, 0, `^$`).out), &renamed); err != nil ||
				renamed.ID != c.ID || renamed.Title != "disks, again" || renamed.Messages != 2 || renamed.UpdatedAt.Unix() != c.UpdatedAt.Unix() {
				t.Errorf("rename --json: %v, %+v", err, renamed)
			}
			run("delete", "--json", ids[0]).ended(t, 0, `^$`).is(t, `{"deleted":true,"id":"conv_`+ids[0]+"\"}\n")
			run("delete", ids[0]).ended(t, 3, `no conversation`)
			run("rename", store.NewID(), "x").ended(t, 3, `no conversation`)
			run("show", "what").ended(t, 3, `no conversation`)
			run("show").ended(t, 2, `arg`)
			run("list", "--limit", "0").ended(t, 2, `--limit`)
			run("rename", ids[0], "bad\xff").ended(t, 2, `not UTF-8`)
			run("search", "--before", "0001-01-01", "disk").ended(t, 2, `--before`)
			run("completion", "tcsh").ended(t, 2, `tcsh`)
			if out := run("list").out; strings.Contains(out, ids[0]) || strings.Count(out, "\n") != 2 {
				t.Errorf("after the deletion:\n%s", out)
			}
			if out := run("__complete", "search", "--role", "").out; out != "user\nassistant\nsystem\n:4\n" {
				t.Errorf("roles complete to %s", out)
			}
			for _, shell := range []string{"bash", "zsh", "fish"} {
				if out := run("completion", shell).ended(t, 0, `^$`).out; !strings.Contains(out, "hwlab") {
					t.Errorf("completion %s: %s", shell, out)
				}
			}
		})
	}
}

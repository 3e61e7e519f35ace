package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/store"
)

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
			run("delete", ids[0]).ended(t, 0, `^$`)
			run("delete", ids[0]).ended(t, 3, `no conversation`)
			run("rename", store.NewID(), "x").ended(t, 3, `no conversation`)
			run("show", "what").ended(t, 3, `no conversation`)
			run("show").ended(t, 2, `arg`)
			run("list", "--limit", "0").ended(t, 2, `--limit`)
			if out := run("list").out; strings.Contains(out, ids[0]) || strings.Count(out, "\n") != 2 {
				t.Errorf("after the deletion:\n%s", out)
			}
			for _, shell := range []string{"bash", "zsh", "fish"} {
				if out := run("completion", shell).ended(t, 0, `^$`).out; !strings.Contains(out, "hwlab") {
					t.Errorf("completion %s: %s", shell, out)
				}
			}
		})
	}
}

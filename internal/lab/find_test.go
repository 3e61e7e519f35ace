package lab

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// notesOf makes Notes of names and texts, in turn.
func notesOf(pairs ...string) *Notes {
	files := make(map[string]file)
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = file{text: pairs[i+1]}
	}
	return choose(files, DefaultBudget)
}

func TestFindRanksPassages(t *testing.T) {
	n := notesOf(
		"network.md", "# Network\nThe router is 10.5.0.1.\n\n## DNS\nUnbound on 10.5.0.109, port 53.\n\n## Réseau invité\nVLAN 30.\n",
		"storage.md", "# Storage\n## Pool\nA mirror of /dev/sda1 and /dev/sdb1 on nas01.lan.\n## Backups\nRestic to 10.5.0.10, web at https://pbs.lan:8007/.\n",
		"vm.md", "# Proxmox-Backup\nThe server of VM 109 runs Debian.\n",
	)
	tests := []struct{ question, want string }{
		{"What runs on 10.5.0.109?", "network.md|Network › DNS"},
		{"10.5.0.10", "storage.md|Storage › Backups"},
		{"10.5.0", ""},
		{"is http://10.5.0.109:8080/admin up?", "network.md|Network › DNS"},
		{"What is on sda1?", "storage.md|Storage › Pool"},
		{"smartctl /dev/sdb1", "storage.md|Storage › Pool"},
		{"sdb", ""},
		{"nas01", "storage.md|Storage › Pool"},
		{"Is pbs.lan:8007 the backup server?", "storage.md|Storage › Backups"},
		{"reseau INVITE", "network.md|Network › Réseau invité"},
		{"backup", "storage.md|Storage › Backups"}, // before vm.md in the order; both have it above
		{"proxmox backups", "vm.md|Proxmox-Backup"},
		{"what is the", ""},
		{"kubernetes", ""},
		{"", ""},
	}
	for _, test := range tests {
		got := ""
		if found := n.Find(test.question, 1); len(found) > 0 {
			got = found[0].Note + "|" + found[0].Heading
		}
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test.question, got, test.want)
		}
	}
	if found := n.Find("backup", 5); len(found) != 2 || found[1].Note != "vm.md" {
		t.Errorf("got %v", found)
	}
	if found := n.Find("backup", 0); found != nil {
		t.Errorf("limit 0: got %v", found)
	}
}

func TestSectionsFollowHeadingsOutsideFences(t *testing.T) {
	text := "intro\n# A\r\nalpha\r\n```sh\n# not a heading\n\n~~~\n```\n### C ###\ncharlie\n## B\n#hashtag\n####### seven\n    # code\n" +
		"~~~~\n~~~\n# still code\n~~~~ \n# D\n# E #1\necho\n"
	var got []string
	for _, s := range sections(Note{Name: "n.md", Text: text}) {
		got = append(got, fmt.Sprintf("%s|%s", s.Heading, s.Text))
	}
	want := []string{
		"|intro",
		"A|alpha\n```sh\n# not a heading\n\n~~~\n```",
		"A › C|charlie",
		"A › B|#hashtag\n####### seven\n    # code\n~~~~\n~~~\n# still code\n~~~~ ",
		"E #1|echo",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestLongSectionsAreCutAtBlankLines(t *testing.T) {
	paragraph := strings.Repeat("word ", 100)
	text := "# A\n" + strings.Repeat(paragraph+"\n\n", 5) + "```\n" + strings.Repeat(paragraph+"\n\n", 5) + "```\n"
	all := sections(Note{Name: "n.md", Text: text})
	if len(all) != 2 {
		t.Fatalf("got %d sections", len(all))
	}
	for _, s := range all {
		if s.Heading != "A" || strings.Count(s.Text, "```")%2 != 0 {
			t.Errorf("cut inside a fence: %q", s.Text)
		}
	}
}

// Every line of a note that is not a heading or blank is in exactly one section, in order.
func TestSectionsLoseNothing(t *testing.T) {
	line := rapid.SampledFrom([]string{"", "text", "# H", "### H", "```", "~~~", "````sh", "    # code", "- item", strings.Repeat("long ", 300)})
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(line, 0, 30).Draw(t, "lines")
		text := strings.Join(lines, "\n")
		all := ""
		for _, s := range sections(Note{Name: "n", Text: text}) {
			all += s.Text + "\n"
		}
		kept := func(s string) string {
			var b strings.Builder
			for l := range strings.Lines(s) {
				if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
					b.WriteString(l + "\n")
				}
			}
			return b.String()
		}
		if kept(all) != kept(text) {
			t.Fatalf("got\n%s\nof\n%s", all, text)
		}
	})
}

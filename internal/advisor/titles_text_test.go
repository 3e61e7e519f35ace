package advisor

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

func TestATitleIsALineOfPlainText(t *testing.T) {
	long := strings.Repeat("degraded ", 20)
	for said, want := range map[string]string{
		"The failing disk":                         "The failing disk",
		"  The failing disk.  \n":                  "The failing disk",
		`"The failing disk"`:                       "The failing disk",
		`“The failing disk.”`:                      "The failing disk",
		"„Die Platte“":                             "Die Platte",
		"« Le disque »":                            "Le disque",
		"「壊れたディスク」":                                "壊れたディスク",
		"# The failing disk":                       "The failing disk",
		"**Title:** The failing disk":              "The failing disk",
		"Title: \"The *failing* disk\"":            "The *failing* disk",
		"- `sdb` is failing":                       "sdb is failing",
		"_The failing disk_":                       "The failing disk",
		"\n\nHere is a title:\n\n\"The disk\"\n":   "The disk",
		"```\nThe disk\n```":                       "The disk",
		"[The disk](https://example.org)":          "The disk",
		"<think>Hm.\n\nA title</think>\nThe disk":  "The disk",
		"<think>Hm, and then nothing":              "",
		"Why\tdoes\x00 it\u202e fail?\r\nBecause.": "Why does it fail?",
		`"ZFS" and "LVM"`:                          `"ZFS" and "LVM"`,
		"'Tis the hosts":                           "'Tis the hosts",
		"Where is __init__.py":                     "Where is __init__.py",
		"0 3 * * * in cron":                        "0 3 * * * in cron",
		"And then...":                              "And then...",
		"1. The disk":                              "The disk",
		"🔥":                                        "🔥",
		"":                                         "",
		"\n \n":                                    "",
		`""`:                                       "",
		"---":                                      "",
		"Title:":                                   "",
		long:                                       strings.TrimSpace(strings.Repeat("degraded ", 8)) + "…",
		strings.Repeat("x", 100):                   strings.Repeat("x", 79) + "…",
		strings.Repeat("ø", 80):                    strings.Repeat("ø", 80),
	} {
		if got := cleanTitle(said); got != want {
			t.Errorf("of %q: %q, want %q", said, got, want)
		}
	}
}

func TestATitleIsShortAndOnOneLineWhateverIsSaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		said := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("\"'`*_#-:.[]()\n x“”é\x00\u202e")))).Draw(t, "said")
		got := cleanTitle(said)
		if utf8.RuneCountInString(got) > longestTitle || strings.ContainsAny(got, "\n\r\x00\u202e") || !utf8.ValidString(got) || strings.TrimSpace(got) != got {
			t.Fatalf("%q", got)
		}
	})
}

// Conversations that a model has failed to answer wait for a title, and do not keep a later one from getting it.
func TestTheLatestConversationWaitsForATitle(t *testing.T) {
	waiting := titles{first: map[string]string{}, writing: 1}
	for range 3 * mostUntitled {
		id := store.NewID()
		waiting.untitled(id, "a line")
		waiting.begin()
		waiting.end(&reply{Response: store.Response{ConversationID: id}}) // while another is being written
		if waiting.first[id] != "a line" || len(waiting.first) > mostUntitled || len(waiting.ready) != len(waiting.first) {
			t.Fatalf("it is called %q, %d wait, %d can be asked about", waiting.first[id], len(waiting.first), len(waiting.ready))
		}
	}
}

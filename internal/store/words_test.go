package store_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

func TestIndexWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		" ... ":                         "",
		"Hello, hello world":            "hello world",
		"10.5.0.109":                    "0 10 109 5",
		"/dev/sda1":                     "dev sda1",
		"Débian e\u0301 É":              "debian e",
		"机架 rack":                       "rack 机 架",
		"ﬁle ｆｕｌｌ":                      "file full",
		"a\x00b\xffc":                   "a b c",
		"👨‍👩‍👧":                         "",
		strings.Repeat("x", 300) + " y": strings.Repeat("x", 256) + " y",
	} {
		if got := strings.Join(store.IndexWords(text), " "); got != want {
			t.Errorf("the words of %q are %q, want %q", text, got, want)
		}
	}
}

func TestMatcher(t *testing.T) {
	for _, c := range []struct {
		query, text string
		want        bool
	}{
		{"nas", "The NAS.", true}, {"na", "The NAS.", true}, {"as", "The NAS.", false}, {"nas the", "The NAS.", true}, {"nas not", "The NAS.", false},
		{"", "anything", false}, {"...", "...", false}, {"x", "", false}, {"a a a", "a", true}, {"ab a", "ab", true},
	} {
		if got := store.NewMatcher(c.query).Match(c.text); got != c.want {
			t.Errorf("%q in %q: %v", c.query, c.text, got)
		}
	}
	if n := len(store.NewMatcher(strings.Join(strings.Split(strings.Repeat("abcdefghijklmnopqrstuvwxyz", 1), ""), " ") + " 0 1 2 3 4 5 6 7 8 9").Words); n != 32 {
		t.Errorf("%d words of a query count, want 32", n)
	}
}

func TestWordsOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		list := store.IndexWords(text)
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("not sorted or not distinct: %q", list)
		}
		for _, w := range list {
			if w == "" || len(w) > 256 || !utf8.ValidString(w) || strings.ContainsAny(w, " '\\:*&|!()\x00") {
				t.Errorf("the word %q", w)
			}
		}
		if len(list) > 0 && len(list) <= 32 && !store.NewMatcher(text).Match(text) {
			t.Errorf("%q is not found by itself", text)
		}
	})
}

func TestExcerptOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune("ab é日😀\n."))).Draw(t, "text")
		size := rapid.IntRange(1, 40).Draw(t, "size")
		excerpt := store.NewMatcher(rapid.SampledFrom([]string{"a", "é", "日", "zz", ""}).Draw(t, "query")).Excerpt(text, size)
		if !utf8.ValidString(excerpt) || len(excerpt) > size+len("…  …") {
			t.Errorf("%q cut to %d is %q", text, size, excerpt)
		}
		plain := strings.TrimSuffix(strings.TrimPrefix(excerpt, "… "), " …")
		if !strings.Contains(text, plain) {
			t.Errorf("%q is not in %q", plain, text)
		}
	})
	long := strings.Repeat("filler ", 100)
	if got := store.NewMatcher("needle").Excerpt(long+"the needle here "+long, 60); !strings.Contains(got, "the needle here") || !strings.HasPrefix(got, "… ") || !strings.HasSuffix(got, " …") {
		t.Errorf("the excerpt is %q", got)
	}
}

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
		"":                       "",
		" ... ":                  "",
		"Hello, hello world":     "hello world",
		"10.5.0.109":             "0 10 109 5",
		"/dev/sda1":              "dev sda1",
		"Débian e\u0301 É":       "debian e",
		"机架 rack":                "rack 机 架",
		"用nginx的":                "nginx 用 的",
		"ﬁle ｆｕｌｌ":               "file full",
		"a\x00b":                 "a b",
		"👨‍👩‍👧":                  "",
		"ΛΌΓΟΣ λόγος":            "λογοσ",
		strings.Repeat("x", 256): strings.Repeat("x", 256),
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
		{"nas", "The NAS.", true}, {"na", "The NAS.", true}, {"as", "The NAS.", false}, {"has", "TrueNAShas", true}, {"nas the", "The NAS.", true}, {"nas not", "The NAS.", false},
		{"", "anything", false}, {"..", "..", false}, {"...", "wait... what", true}, {"...", "wait.. .", false}, {"x", "", false}, {"a a a", "a", true}, {"ab a", "ab", true},
		{"c+", "C++", true}, {"+c", "c+c", true}, {"/d", "and/dev", true}, {"s/", "disks/", false}, {"度", "温度", true}, {"温度", "在温度中", true}, {"温 度", "度温", true},
		{`"disk full"`, "The disk\n\tfull", true}, {`"disk full"`, "full disk", false}, {`"disk full`, "a disk full of", true}, {`"full" disk`, "disk full", true}, {`a"b`, `x a"b`, true},
		{`""`, `""`, false}, {"”quoted words“", "quoted  words", true}, {"10.5.0.1", "10.5.0.109", true}, {"10.5.0.109", "110.5.0.1090", true}, {"10.5.0.109", "10 5 0 109", false},
		{"Ｅ1234", "code:e12345", true}, {"sda1", "nsda12", true}, {"οσ", "λόγος", false}, {"ογος", "ΛΌΓΟΣ", true}, {"온", "온도", true}, {"\x00", "a", false},
	} {
		if got := store.NewMatcher(c.query).Match(c.text); got != c.want {
			t.Errorf("%q in %q: %v", c.query, c.text, got)
		}
	}
}

func TestIndexPairs(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"one two":                      "",
		"http://10.5.0.109:80/":        "0.109 10.5 109:80 5.0",
		"/Dev/sda1, node-1.lan":        "1.lan dev/sda1 node-1",
		"a.b a.b a..b":                 "a.b",
		"日.本語 a・b":                     "日.本",
		`it's C:\windows`:              "",
		`c:\x\y`:                       `x\y`,
		strings.Repeat("x", 65) + ".y": "",
		"y." + strings.Repeat("é", 65): "y." + strings.Repeat("e", 64),
	} {
		if got := strings.Join(store.IndexPairs(text), " "); got != want {
			t.Errorf("the pairs of %q are %q, want %q", text, got, want)
		}
	}
}

func TestPairsAreAskedForInPlaceOfTheirWords(t *testing.T) {
	for query, want := range map[string]string{
		"10.5.0.109":  "0.109* 5.0",
		"/var/lib/x":  "var/lib lib/x*",
		`"a b.c d.e"`: "b.c d.e*",
		"sda1":        "*sda1*",
		"lan.":        "*lan",
		"x y":         "x* y*",
	} {
		var got []string
		for _, p := range store.NewMatcher(query).Paired() {
			text := p.Text
			if !p.Begins {
				text = "*" + text
			}
			if !p.Ends {
				text += "*"
			}
			got = append(got, text)
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%q asks for %q, want %q", query, got, want)
		}
	}
}

// Of a text that holds the terms, the index has the pieces.
func TestPiecesAreInTheIndex(t *testing.T) {
	letters := rapid.StringOfN(rapid.RuneFrom([]rune("abé日ς.- \n")), 0, 12, -1)
	long := rapid.Map(rapid.IntRange(1, 400), func(n int) string { return strings.Repeat("xyé", n)[:n-n%4] })
	rapid.Check(t, func(t *rapid.T) {
		text := strings.ToValidUTF8(letters.Draw(t, "before")+long.Draw(t, "long")+letters.Draw(t, "after"), "")
		from := rapid.IntRange(0, len(text)).Draw(t, "from")
		to := rapid.IntRange(from, len(text)).Draw(t, "to")
		match := store.NewMatcher(`"` + strings.ToValidUTF8(text[from:to], "") + `"`)
		if !match.Match(text) {
			return
		}
		words, pairs := store.IndexWords(text), store.IndexPairs(text)
		for _, p := range append(match.Pieces(), match.Paired()...) {
			list := words
			if p.Pair {
				list = pairs
			}
			if !slices.ContainsFunc(list, func(w string) bool {
				return strings.Contains(w, p.Text) && (!p.Begins || strings.HasPrefix(w, p.Text)) && (!p.Ends || strings.HasSuffix(w, p.Text))
			}) {
				t.Fatalf("%q in %q asks for %+v", text[from:to], text, p)
			}
		}
	})
}

func TestWordsOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		list := store.IndexWords(text)
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("not sorted or not distinct: %q", list)
		}
		for _, w := range list {
			if w == "" || len(w) > 256 || !utf8.ValidString(w) || strings.ContainsAny(w, " '\\:*&|!()\x00%_") {
				t.Errorf("the word %q", w)
			}
		}
		if match := store.NewMatcher(text); len(strings.Fields(text)) < 30 && !match.Empty() && !match.Match(text) {
			t.Errorf("%q is not found by itself", text)
		}
	})
}

func TestExcerptOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune("ab é日😀\n.ﬁ"))).Draw(t, "text")
		size := rapid.IntRange(1, 40).Draw(t, "size")
		match := store.NewMatcher(rapid.SampledFrom([]string{"a", "é", "日", "zz", "", "f", "\"a b\"", "abé", "..."}).Draw(t, "query"))
		excerpt, marks := match.Excerpt(text, size)
		if !utf8.ValidString(excerpt) || len(excerpt) > size+len("…  …") {
			t.Errorf("%q cut to %d is %q", text, size, excerpt)
		}
		plain := strings.TrimSuffix(strings.TrimPrefix(excerpt, "… "), " …")
		if !strings.Contains(text, plain) {
			t.Errorf("%q is not in %q", plain, text)
		}
		end := -1
		for _, mark := range marks {
			if mark.From <= end || mark.To <= mark.From || mark.To > len(excerpt) || !utf8.ValidString(excerpt[mark.From:mark.To]) {
				t.Fatalf("the marks %v of %q", marks, excerpt)
			}
			end = mark.To
		}
		if size > 30 && match.Match(text) && len(marks) == 0 {
			t.Errorf("%q has no mark", excerpt)
		}
	})
	long := strings.Repeat("filler ", 100)
	got, marks := store.NewMatcher("needle").Excerpt(long+"the Needle here "+long, 60)
	if !strings.Contains(got, "the Needle here") || !strings.HasPrefix(got, "… ") || !strings.HasSuffix(got, " …") || len(marks) != 1 || got[marks[0].From:marks[0].To] != "Needle" {
		t.Errorf("the excerpt is %q, its marks %v", got, marks)
	}
}

func TestMarks(t *testing.T) {
	for _, c := range []struct{ query, text, want string }{
		{"disk", "Disk, disks", "[Disk], [disk]s"}, {"e", "é e\u0301x be", "[é] [e\u0301]x be"}, {"fi", "ﬁle file", "[ﬁ]le [fi]le"}, {"f", "ﬁle", "[ﬁ]le"},
		{`"a b"`, "xa \n\t b", "x[a \n\t b]"}, {`"aa b"`, "xaa \n\t b", "x[aa \n\t b]"}, {"abc bcd", "abcd", "[abcd]"}, {"度", "温度", "温[度]"},
	} {
		got, at := "", 0
		for _, m := range store.NewMatcher(c.query).Marks(c.text) {
			got += c.text[at:m.From] + "[" + c.text[m.From:m.To] + "]"
			at = m.To
		}
		if got += c.text[at:]; got != c.want {
			t.Errorf("%q in %q: %q, want %q", c.query, c.text, got, c.want)
		}
	}
}

func TestATermIsFoundWhereverItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SampledFrom([]rune("aabez1木"))
		draw := func(name string, least, most int) string {
			return string(rapid.SliceOfN(letters, least, most).Draw(t, name))
		}
		text := draw("text", 0, 60) + strings.Repeat(draw("again", 0, 5), rapid.IntRange(0, 2000).Draw(t, "times")) + draw("end", 0, 20)
		part := draw("part", 3, 6)
		m, at := store.NewMatcher(part), strings.Index(text, part)
		if got := m.Match(text); got != (at >= 0) {
			t.Errorf("%q is in %q: %t", part, text, got)
		}
		if marks := m.Marks(text); (len(marks) > 0) != (at >= 0) || at >= 0 && marks[0].From != at {
			t.Errorf("%q is in %q at %v, not at %d", part, text, marks, at)
		}
	})
}

package store

import (
	"iter"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Words are what a search compares: runs of letters and digits without case and accents, each ideograph and kana a word of
// its own. Both engines index and match the words that this file makes, so they find the same.

// maxWord is the longest word that is kept, in bytes; of a longer one the beginning is. PostgreSQL's limit is 2,046.
const maxWord = 256

// span is a run of bytes of a text.
type span struct{ from, to int }

// words yields the words of text with the place each was read from.
func words(text string) iter.Seq2[span, string] {
	return func(yield func(span, string) bool) {
		emit := func(from, to int) bool {
			for word := range strings.FieldsFuncSeq(fold(text[from:to]), func(r rune) bool { return !inWord(r) }) {
				if len(word) > maxWord {
					word = strings.ToValidUTF8(word[:maxWord], "")
				}
				if !yield(span{from, to}, word) {
					return false
				}
			}
			return true
		}
		from := -1
		for i, r := range text {
			alone := r >= 0x2E80 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
			if from >= 0 && (alone || !inWord(r)) {
				if !emit(from, i) {
					return
				}
				from = -1
			}
			if alone {
				if !emit(i, i+len(string(r))) {
					return
				}
			} else if from < 0 && inWord(r) {
				from = i
			}
		}
		if from >= 0 {
			emit(from, len(text))
		}
	}
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

// fold takes case, accents and compatibility forms away. (The letters of a kana keep their voicing marks' loss: が is か.)
func fold(text string) string {
	if isASCII(text) {
		return strings.ToLower(text)
	}
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKD.String(text))
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

// IndexWords returns the distinct words of text, sorted. It is what the index of both engines is made of.
func IndexWords(text string) []string {
	seen := map[string]struct{}{}
	for _, word := range words(text) {
		seen[word] = struct{}{}
	}
	list := make([]string, 0, len(seen))
	for word := range seen {
		list = append(list, word)
	}
	slices.Sort(list)
	return list
}

// Matcher finds the words of a query in texts.
type Matcher struct {
	Words []string // distinct, sorted; a text must hold, for each, a word that begins with it
}

// NewMatcher returns the matcher of a query's text. Only the first 32 distinct words count.
func NewMatcher(query string) Matcher {
	list := IndexWords(query)
	return Matcher{Words: list[:min(len(list), 32)]}
}

// Match reports whether text holds all the words. No words are in no text.
func (m Matcher) Match(text string) bool {
	missing := slices.Clone(m.Words)
	for _, word := range words(text) {
		missing = slices.DeleteFunc(missing, func(w string) bool { return strings.HasPrefix(word, w) })
		if len(missing) == 0 {
			return len(m.Words) > 0
		}
	}
	return false
}

// Excerpt returns about size bytes of text around the first of the words, whole words at both ends, with "…" where it was
// cut; the beginning of text where none of the words is in it.
func (m Matcher) Excerpt(text string, size int) string {
	if len(text) <= size {
		return strings.TrimSpace(text)
	}
	at := 0
	for place, word := range words(text) {
		if slices.ContainsFunc(m.Words, func(w string) bool { return strings.HasPrefix(word, w) }) {
			at = place.from
			break
		}
	}
	from := max(0, min(at-size/3, len(text)-size))
	to := min(len(text), from+size)
	if i := strings.IndexAny(text[from:max(from, at)], " \n\t"); from > 0 && i >= 0 {
		from += i + 1
	}
	if i := strings.LastIndexAny(text[max(from, at):to], " \n\t"); to < len(text) && i > 0 {
		to = max(from, at) + i
	}
	cut := strings.TrimSpace(strings.ToValidUTF8(text[from:to], ""))
	if from > 0 {
		cut = "… " + cut
	}
	if to < len(text) {
		cut += " …"
	}
	return cut
}

package store

import (
	"cmp"
	"iter"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// What a search compares is folded text: without case, accents and compatibility forms, white space being one space. A term
// of a query is found where it stands in that, whatever characters it has. The words of folded text, runs of letters and
// digits, are only there to find texts by: the index says which texts may hold a term, the text itself whether it does. All
// of it happens here, so both engines find the same.

const (
	maxWord  = 256 // bytes; a longer word is several in the index, each beginning wordStep after the one before
	wordStep = maxWord / 2
	maxPart  = wordStep - utf8.UTFMax // bytes of a part of a word that one of these surely holds
	maxTerms = 32                     // of a query; the others do not count
	minPart  = 3                      // characters of a part within a word that can be asked for

	maxJoined = 64 // bytes of a word in a pair; before a longer one nothing is joined, after it what is longer is cut
)

// fold takes case, accents and compatibility forms away and makes one space of white space. (The letters of a kana lose
// their voicing marks: が is か.)
func fold(text string) string { return foldEach(text, nil) }

// isFolded says of each byte of a text whether folding leaves it as it is.
var isFolded = func() (is [256]bool) {
	for c := range utf8.RuneSelf {
		is[c] = c != ' ' && (c < '\t' || c > '\r') && (c < 'A' || c > 'Z')
	}
	return is
}()

// foldEach returns text, folded; each, if it is not nil, is told where in text each part of it comes from.
func foldEach(text string, each func(from, length int)) string {
	var b strings.Builder
	b.Grow(len(text))
	for i := 0; i < len(text); {
		start, length := i, b.Len()
		if each == nil {
			for i < len(text) && isFolded[text[i]] {
				i++
			}
			if i > start {
				b.WriteString(text[start:i])
				continue
			}
		}
		if c := text[i]; c < utf8.RuneSelf {
			i++
			switch {
			case c == ' ' || c >= '\t' && c <= '\r':
				writeSpace(&b)
			case 'A' <= c && c <= 'Z':
				b.WriteByte(c + 'a' - 'A')
			default:
				b.WriteByte(c)
			}
		} else {
			r, size := utf8.DecodeRuneInString(text[i:])
			i += size
			foldRune(&b, r, text[start:i])
		}
		if each != nil && b.Len() > length {
			each(start, b.Len()-length)
		}
	}
	return b.String()
}

func foldRune(b *strings.Builder, r rune, text string) {
	if r >= 0xAC00 && r <= 0xD7A3 || norm.NFKD.PropertiesString(text).Decomposition() != nil {
		for _, r := range norm.NFKD.String(text) {
			foldSimple(b, r)
		}
		return
	}
	foldSimple(b, r)
}

func foldSimple(b *strings.Builder, r rune) {
	switch {
	case unicode.Is(unicode.Mn, r):
	case unicode.IsSpace(r):
		writeSpace(b)
	case r == 'ς':
		b.WriteRune('σ')
	default:
		b.WriteRune(unicode.ToLower(r))
	}
}

func writeSpace(b *strings.Builder) {
	if !strings.HasSuffix(b.String(), " ") {
		b.WriteByte(' ')
	}
}

// inWord reports whether r is part of words; each ideograph and kana is a word of its own.
func inWord(r rune) (part, alone bool) {
	if r < utf8.RuneSelf {
		return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z', false
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r), r >= 0x2E80 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
}

// words yields where in a folded text its words are.
func words(folded string) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		from := -1
		for i, r := range folded {
			part, alone := inWord(r)
			if from >= 0 && (alone || !part) {
				if !yield(from, i) {
					return
				}
				from = -1
			}
			if alone {
				if !yield(i, i+utf8.RuneLen(r)) {
					return
				}
			} else if from < 0 && part {
				from = i
			}
		}
		if from >= 0 {
			yield(from, len(folded))
		}
	}
}

// windows yields what the index has of a word: the word, or pieces of a long one, so that each part of it of at most maxPart
// bytes is in one of them, and its beginning and its end begin and end one.
func windows(word string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for from := 0; ; from += wordStep {
			start := from
			for start < len(word) && !utf8.RuneStart(word[start]) {
				start++
			}
			if len(word)-from <= maxWord {
				yield(word[start:])
				return
			}
			if !yield(word[start:runeStart(word, from+maxWord)]) {
				return
			}
		}
	}
}

// runeStart is at, or the beginning of the character that at is within.
func runeStart(s string, at int) int {
	for at > 0 && at < len(s) && !utf8.RuneStart(s[at]) {
		at--
	}
	return at
}

// pairs yields where in a folded text two words are joined by one character, as in an address, a path or a host's name. An apostrophe
// is left out: it says little, and the program as it was before pairs cannot ask for it when it deletes beside this one.
func pairs(folded string) iter.Seq2[[2]int, [2]int] {
	return func(yield func(left, right [2]int) bool) {
		left := [2]int{-1, -2}
		for from, to := range words(folded) {
			right := [2]int{from, to}
			if end := left[1]; from == end+1 && folded[end] != ' ' && folded[end] != '\'' && left[1]-left[0] <= maxJoined && !yield(left, right) {
				return
			}
			left = right
		}
	}
}

// pair is what the index has of two words that are joined, and whether that is all of them.
func pair(folded string, left, right [2]int) (text string, whole bool) {
	if right[1]-right[0] <= maxJoined {
		return folded[left[0]:right[1]], true
	}
	return folded[left[0]:runeStart(folded, right[0]+maxJoined)], false
}

// IndexPairs returns the distinct pairs of words of text that one character joins, sorted. The index of PostgreSQL has them beside
// the words: an address is made of numbers that each stand in many texts.
func IndexPairs(text string) []string {
	folded := fold(text)
	seen := map[string]struct{}{}
	for left, right := range pairs(folded) {
		text, _ := pair(folded, left, right)
		seen[text] = struct{}{}
	}
	return slices.Sorted(maps.Keys(seen))
}

// IndexWords returns the distinct words of text, sorted. It is what the index of both engines is made of.
func IndexWords(text string) []string {
	folded := fold(text)
	seen := map[string]struct{}{}
	for from, to := range words(folded) {
		for word := range windows(folded[from:to]) {
			seen[word] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Matcher finds the terms of a query in texts.
type Matcher struct {
	terms []term // distinct; none are in no text
}

type term struct {
	text  string // folded
	short bool   // of one or two characters: it must begin a word
	rare  int    // where in text its byte is that most texts have least of
}

// NewMatcher returns the matcher of a query's text.
func NewMatcher(query string) Matcher {
	var m Matcher
	for text := range terms(query) {
		folded := strings.Trim(fold(text), " ")
		t := term{text: folded, short: utf8.RuneCountInString(folded) < 3, rare: rarest(folded)}
		searchable := strings.ContainsFunc(folded, func(r rune) bool { part, _ := inWord(r); return part })
		if folded == "" || t.short && !searchable || slices.Contains(m.terms, t) {
			continue
		}
		if m.terms = append(m.terms, t); len(m.terms) == maxTerms {
			break
		}
	}
	return m
}

// terms yields the terms of a query as they were written. One that begins with a quotation mark goes to the next one.
func terms(query string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for {
			query = strings.TrimLeftFunc(query, unicode.IsSpace)
			if query == "" {
				return
			}
			text, rest := query, ""
			if quote, size := utf8.DecodeRuneInString(query); strings.ContainsRune(`"“”„`, quote) {
				text = query[size:]
				if i := strings.IndexAny(text, `"“”`); i >= 0 {
					_, size := utf8.DecodeRuneInString(text[i:])
					text, rest = text[:i], text[i+size:]
				}
			} else if i := strings.IndexFunc(query, unicode.IsSpace); i >= 0 {
				text, rest = query[:i], query[i:]
			}
			if query = rest; text != "" && !yield(text) {
				return
			}
		}
	}
}

// Empty reports whether there is nothing to look for.
func (m Matcher) Empty() bool { return len(m.terms) == 0 }

// Match reports whether text holds all the terms.
func (m Matcher) Match(text string) bool { return !m.Empty() && m.in(fold(text)) }

func (m Matcher) in(folded string) bool {
	return !slices.ContainsFunc(m.terms, func(t term) bool { return t.in(folded, 0) < 0 })
}

// Runs returns what stands between the spaces of the terms.
func (m Matcher) Runs() []string {
	var list []string
	for _, t := range m.terms {
		list = append(list, strings.Fields(t.text)...)
	}
	return list
}

// in returns where t is found first in a folded text, from on, or -1.
func (t term) in(folded string, from int) int {
	for {
		i := t.index(folded[from:])
		if i < 0 {
			return -1
		}
		at := from + i
		if !t.short || t.beginsWord(folded, at) {
			return at
		}
		from = at + 1
	}
}

// index is strings.Index of t.text. It looks for the byte that is seldom met, which is several times as fast in most texts; in one
// in which it is common it gives up.
func (t term) index(text string) int {
	const patience = 64 // bytes for each time it is met in vain
	at := 0
	for vain := 0; at+len(t.text) <= len(text); vain++ {
		if vain*patience > at+1024 {
			break
		}
		i := strings.IndexByte(text[at+t.rare:], t.text[t.rare])
		if i < 0 {
			return -1
		}
		if at += i; strings.HasPrefix(text[at:], t.text) {
			return at
		}
		at++
	}
	if i := strings.Index(text[min(at, len(text)):], t.text); i >= 0 {
		return at + i
	}
	return -1
}

// rarest returns where the byte of a folded text is that is likely to be the rarest in texts.
func rarest(folded string) int {
	const common = " etaoinsrhldcumfpgwybvk" // the most common first; other letters and digits are rarer, and so is the inside of other characters
	best, at := -1, 0
	for i := range len(folded) {
		rank := strings.IndexByte(common, folded[i])
		switch {
		case folded[i] >= 0xC0: // with which a character begins, mostly one of few
			rank = 0
		case rank < 0:
			rank = len(common)
		}
		if rank > best {
			best, at = rank, i
		}
	}
	return at
}

// beginsWord reports whether the first word of t, which stands at a place of a folded text, begins there.
func (t term) beginsWord(folded string, at int) bool {
	first, _ := utf8.DecodeRuneInString(t.text)
	part, alone := inWord(first)
	if !part || alone || at == 0 {
		return true
	}
	before, _ := utf8.DecodeLastRuneInString(folded[:at])
	part, alone = inWord(before)
	return !part || alone
}

// Score says how well text, which holds all the terms, answers the query: a whole word is better than the beginning of one,
// that is better than a part, several places are better than one, and terms near to each other than far apart.
func (m Matcher) Score(text string) int {
	folded := fold(text)
	score, first, last := 0, len(folded), 0
	for _, t := range m.terms {
		best, places := 0, 0
		for at := t.in(folded, 0); at >= 0 && places < 64; at = t.in(folded, at+len(t.text)) {
			if places++; places == 1 {
				first, last = min(first, at), max(last, at)
			}
			kind := 0
			if t.beginsWord(folded, at) {
				kind = 8
				if after, size := utf8.DecodeRuneInString(folded[at+len(t.text):]); size == 0 {
					kind = 16
				} else if part, alone := inWord(after); !part || alone {
					kind = 16
				}
			}
			best = max(best, kind)
		}
		score += best + bits.Len(uint(places))
	}
	if last-first < 200 {
		score += 4 * (len(m.terms) - 1)
	}
	return score
}

// Piece is something that the index must have of a text that holds the terms: a word, its beginning, its end, or a part of it, or two
// words that are joined.
type Piece struct {
	Text         string
	Begins, Ends bool // the word begins with it, and ends with it
	Pair         bool // see [IndexPairs]; it begins with a word and, if it ends, ends with one
}

// Pieces returns what the index must have, the longest first. None where the terms hold no word that could be asked for: every
// text may then hold them.
func (m Matcher) Pieces() []Piece { return m.pieces(false) }

// Paired returns the same, with pairs in place of the words in them.
func (m Matcher) Paired() []Piece { return m.pieces(true) }

func (m Matcher) pieces(paired bool) []Piece {
	var list []Piece
	add := func(p Piece) {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	for _, t := range m.terms {
		in := map[int]bool{} // which words are in pairs, by their beginnings
		if paired && !t.short {
			for left, right := range pairs(t.text) {
				if left[0] == 0 {
					continue // it may be the end of a longer word
				}
				text, whole := pair(t.text, left, right)
				add(Piece{Text: text, Begins: true, Ends: whole && right[1] < len(t.text), Pair: true})
				in[left[0]] = true
				in[right[0]] = whole
			}
		}
		for from, to := range words(t.text) {
			p := Piece{Text: t.text[from:to], Begins: true, Ends: true}
			first, _ := utf8.DecodeRuneInString(p.Text)
			if _, alone := inWord(first); !alone {
				p.Begins, p.Ends = from > 0 || t.short, to < len(t.text)
			}
			if len(p.Text) > maxWord || len(p.Text) > maxPart && !(p.Begins && p.Ends) {
				p.Text, p.Ends = p.Text[:runeStart(p.Text, maxPart)], false
			}
			if !in[from] && (p.Begins || utf8.RuneCountInString(p.Text) >= minPart) {
				add(p)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Piece) int { return cmp.Compare(len(b.Text), len(a.Text)) })
	return list[:min(len(list), maxTerms)] // a long term is as well found by some of it
}

// Grams returns each three characters in a row of a word. A word that holds another has all of its.
func Grams(word string) []string {
	var list []string
	runes := []rune(word)
	for i := 3; i <= len(runes); i++ {
		list = append(list, string(runes[i-3:i]))
	}
	return list
}

// Marks returns where the terms stand in text, in order and apart from each other.
func (m Matcher) Marks(text string) []Mark {
	var from []int // of each byte of the folded text, where in text it comes from
	folded := foldEach(text, func(at, length int) {
		for range length {
			from = append(from, at)
		}
	})
	var marks []Mark
	for _, t := range m.terms {
		for at := t.in(folded, 0); at >= 0; at = t.in(folded, at+len(t.text)) {
			end := at + len(t.text)
			for end < len(from) && from[end] == from[end-1] {
				end++
			}
			mark := Mark{from[at], len(text)}
			if end < len(from) {
				mark.To = from[end]
			}
			marks = append(marks, mark)
		}
	}
	slices.SortFunc(marks, func(a, b Mark) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	apart := marks[:0]
	for _, mark := range marks {
		if n := len(apart); n > 0 && mark.From <= apart[n-1].To {
			apart[n-1].To = max(apart[n-1].To, mark.To)
		} else {
			apart = append(apart, mark)
		}
	}
	return apart
}

// Excerpt returns about size bytes of text around the first of the terms, whole words at both ends, with "…" where it was
// cut, and where the terms stand in it; the beginning of text where none of the terms is in it.
func (m Matcher) Excerpt(text string, size int) (string, []Mark) {
	if len(text) <= size {
		text = strings.TrimSpace(text)
		return text, m.Marks(text)
	}
	at := m.first(text)
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
	return cut, m.Marks(cut)
}

// first is where the first of the terms stands in text, or 0.
func (m Matcher) first(text string) int {
	folded, place := fold(text), -1
	for _, t := range m.terms {
		if i := t.in(folded, 0); i >= 0 && (place < 0 || i < place) {
			place = i
		}
	}
	at, length := 0, 0
	foldEach(text, func(from, n int) {
		if length <= place {
			at = from
		}
		length += n
	})
	return at
}

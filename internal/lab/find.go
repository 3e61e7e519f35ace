package lab

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// Passage is a part of a note: text below one heading.
type Passage struct {
	Note    string // the note's name
	Heading string // the headings above the text, outermost first, joined by " › "; "" before the first
	Text    string
}

// Find returns the passages that answer a question best, at most limit, and none if no word of it occurs. A passage
// counts for each different word it has, more for a rare word than for one that is everywhere, twice for one in its
// headings; equal ones stay in the order of the notes. Case, accents and English stop words do not matter, nor does a
// plural s; addresses and names with digits match exactly. All notes that could be read are searched, the ones omitted
// from the instructions too.
func (n *Notes) Find(question string, limit int) []Passage {
	n.index.Do(func() {
		for _, note := range n.all {
			n.sections = append(n.sections, sections(note)...)
		}
	})
	weights := make(map[string]float64)
	for word := range questionWords(question) {
		in := 0
		for _, s := range n.sections {
			if s.words[word] || s.above[word] {
				in++
			}
		}
		if in > 0 {
			weights[word] = math.Log(1 + float64(len(n.sections))/float64(in))
		}
	}
	asked := slices.Sorted(maps.Keys(weights)) // sums of floats depend on their order
	type hit struct {
		at    int
		score float64
	}
	var hits []hit
	for i, s := range n.sections {
		score := 0.0
		for _, word := range asked {
			if s.above[word] {
				score += 2 * weights[word]
			} else if s.words[word] {
				score += weights[word]
			}
		}
		if score > 0 {
			hits = append(hits, hit{i, score})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	var passages []Passage
	for _, h := range hits[:min(len(hits), max(limit, 0))] {
		passages = append(passages, n.sections[h.at].Passage)
	}
	return passages
}

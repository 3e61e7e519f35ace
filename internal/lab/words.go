package lab

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// fold makes words comparable: case and accents away ("Größe" and "GROSSE", "réseau" and "reseau").
func fold(s string) string {
	s = norm.NFKD.String(cases.Fold().String(s))
	return norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, s))
}

// textWords returns the words of a text. Of an address or a path also its parts, coarse to fine: "root@10.5.0.9:/srv"
// is also 10.5.0.9, srv, and 10; so whatever is asked for exactly is there to be met exactly.
func textWords(text string) map[string]bool {
	words := make(map[string]bool)
	for _, whole := range split(fold(text), "") {
		add(words, whole)
		for _, place := range split(whole, "/@") {
			add(words, place)
			for _, host := range split(place, "/@:") {
				add(words, host)
				for _, label := range split(host, joints) {
					add(words, label)
				}
			}
		}
	}
	return words
}

// questionWords returns the words to look for, without stop words. Of a name with joints ("proxmox-backup", "/dev/sda1",
// "https://10.5.0.109:8006") also its parts, but never a part of an address or a number: 10.5.0.109 is not answered by
// a text with a 10 in it.
func questionWords(question string) map[string]bool {
	words := make(map[string]bool)
	stop := stopWords()
	for _, whole := range split(fold(question), "") {
		if !stop[whole] {
			add(words, whole)
		}
		exact := strings.ContainsFunc(whole, unicode.IsDigit)
		part := func(word string) {
			if !stop[word] && (!exact || len(word) > 2 && strings.ContainsFunc(word, notDigit)) {
				add(words, word)
			}
		}
		for _, place := range split(whole, "/@:") {
			part(place)
			if strings.ContainsFunc(place, unicode.IsLetter) {
				for _, label := range split(place, joints) {
					part(label)
				}
			}
		}
	}
	return words
}

func notDigit(r rune) bool { return !unicode.IsDigit(r) }

// joints are what may stand inside a word, between letters or digits.
const joints = ".:/@_-"

// split cuts at whatever is neither a letter, a digit nor a joint, and at the joints in also (all of them if it is
// joints); joints at the ends are dropped.
func split(text, also string) []string {
	words := strings.FieldsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune(joints, r) ||
			strings.ContainsRune(also, r)
	})
	kept := words[:0]
	for _, w := range words {
		if w = strings.Trim(w, joints); w != "" {
			kept = append(kept, w)
		}
	}
	return kept
}

// add adds a word without its plural s. Only letters have a plural: sda1 and 10.5.0.109 stay as they are.
func add(words map[string]bool, word string) {
	letters := !strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) })
	if letters && len(word) > 3 && word[len(word)-1] == 's' && word[len(word)-2] != 's' {
		word = word[:len(word)-1]
	}
	words[word] = true
}

// stopWords are the English words that are in any question and say nothing of what it is about.
func stopWords() map[string]bool {
	words := make(map[string]bool)
	// The single letters and pairs at the end are what an apostrophe leaves of "what's", "don't", "I'm".
	for w := range strings.FieldsSeq(`a about after all also am an and any are as at be because been before but by can could
		did do does doing for from get give had has have he help her here his how i if in into is it its just know let like
		me more most my need no not now of off on one only or our out over please she should show so some tell than that
		the their them then there these they this those to too up us use want was we were what when where which while who
		why will with would you your s t m d ll re ve don doesn isn`) {
		words[w] = true
	}
	return words
}

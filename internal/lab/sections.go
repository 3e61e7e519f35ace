package lab

import (
	"strings"
	"unicode"
)

// enough is the size in bytes at which a section is cut at the next blank line: what a person reads as one quotation.
const enough = 1200

// section is a passage with the words in it.
type section struct {
	Passage
	words map[string]bool
	above map[string]bool // the words of its headings and of the note's name
}

// sections cuts a note at its Markdown headings ("# …"), and long texts below one heading at blank lines, but never
// inside a code fence. A heading without text of its own is found through what stands below it.
func sections(n Note) []section {
	var (
		all   []section
		trail [6]string // the heading of each level
		text  strings.Builder
		fence string // what closes the fence we are in; "" outside
	)
	flush := func() {
		body := strings.Trim(text.String(), "\n")
		text.Reset()
		if strings.TrimSpace(body) == "" {
			return
		}
		var headings []string
		for _, h := range trail {
			if h != "" {
				headings = append(headings, h)
			}
		}
		heading := strings.Join(headings, " › ")
		all = append(all, section{
			Passage: Passage{Note: n.Name, Heading: heading, Text: body},
			words:   textWords(body),
			above:   textWords(n.Name + " " + heading),
		})
	}
	for line := range strings.Lines(n.Text) {
		line = strings.TrimRight(line, "\r\n")
		level, heading := headingOf(line)
		switch mark := fenceMark(line); {
		case fence != "":
			if strings.HasPrefix(mark, fence) && strings.TrimSpace(line) == mark {
				fence = ""
			}
		case mark != "":
			fence = mark
		case level > 0:
			flush()
			trail[level-1] = heading
			clear(trail[level:])
			continue
		case strings.TrimSpace(line) == "" && text.Len() >= enough:
			flush()
		}
		text.WriteString(line + "\n")
	}
	flush()
	return all
}

// headingOf returns a heading's level, 1 to 6, and its text; level 0 is no heading.
func headingOf(line string) (level int, text string) {
	line, ok := unindented(line)
	if !ok {
		return 0, ""
	}
	text = strings.TrimLeft(line, "#")
	level = len(line) - len(text)
	if level == 0 || level > 6 || text != "" && text[0] != ' ' && text[0] != '\t' {
		return 0, ""
	}
	text = strings.TrimSpace(text)
	if open := strings.TrimRight(text, "#"); open == "" || open[len(open)-1] == ' ' {
		text = strings.TrimSpace(open) // "## DNS ##"
	}
	return level, text
}

// fenceMark returns the backticks or tildes that a code fence begins with, or "".
func fenceMark(line string) string {
	line, ok := unindented(line)
	for _, mark := range []string{"`", "~"} {
		rest := strings.TrimLeft(line, mark)
		if n := len(line) - len(rest); ok && n >= 3 && (mark == "~" || !strings.Contains(rest, "`")) {
			return line[:n]
		}
	}
	return ""
}

// unindented drops the up to three spaces that Markdown allows; more make a code block.
func unindented(line string) (string, bool) {
	rest := strings.TrimLeftFunc(line, unicode.IsSpace)
	indent := line[:len(line)-len(rest)]
	return rest, len(indent) <= 3 && !strings.Contains(indent, "\t")
}

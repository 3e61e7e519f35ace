package llm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// wireText is the text of one frame, byte for byte. encoding/json would put U+FFFD for each half of a character that a
// server splits between two frames, so it is decoded here. A lone UTF-16 surrogate (half of an emoji from a server
// that counts in UTF-16) is kept as the three bytes that UTF-8 would have for it, until its other half comes.
type wireText []byte

// UnmarshalJSON takes a string, null, or a list of parts of which those with text count.
func (t *wireText) UnmarshalJSON(raw []byte) error {
	switch raw[0] {
	case '"':
		*t = unquote(make([]byte, 0, len(raw)), raw[1:len(raw)-1])
	case '[':
		var parts []struct {
			Text wireText `json:"text"`
		}
		if err := json.Unmarshal(raw, &parts); err != nil {
			return err
		}
		for _, p := range parts {
			*t = append(*t, p.Text...)
		}
	case 'n':
	default:
		return fmt.Errorf("text cannot be %.20s", raw)
	}
	return nil
}

// wireThought is what a model thinks: text, or anything else, which is passed over.
type wireThought wireText

// UnmarshalJSON takes everything.
func (t *wireThought) UnmarshalJSON(raw []byte) error {
	if (*wireText)(t).UnmarshalJSON(raw) != nil {
		*t = nil
	}
	return nil
}

// wireContent is the content of a piece of an answer: text, or parts of text and of thinking.
type wireContent struct{ text, thinking wireText }

// UnmarshalJSON takes what wireText does.
func (c *wireContent) UnmarshalJSON(raw []byte) error {
	if raw[0] != '[' {
		return c.text.UnmarshalJSON(raw)
	}
	var parts []struct {
		Text     wireText `json:"text"`
		Thinking wireText `json:"thinking"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		c.text, c.thinking = append(c.text, p.Text...), append(c.thinking, p.Thinking...)
	}
	return nil
}

// unquote appends the inside of a JSON string whose syntax has been checked, decoded.
func unquote(text, raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return append(text, raw...)
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			text = append(text, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			text = append(text, '\b')
		case 'f':
			text = append(text, '\f')
		case 'n':
			text = append(text, '\n')
		case 'r':
			text = append(text, '\r')
		case 't':
			text = append(text, '\t')
		case 'u':
			unit, _ := strconv.ParseUint(string(raw[i+1:i+5]), 16, 16)
			i += 4
			text = appendUnit(text, rune(unit))
		default: // a quote, a slash, a backslash
			text = append(text, raw[i])
		}
	}
	return text
}

// appendUnit appends one UTF-16 code unit, joining it with its other half if that ends the text.
func appendUnit(text []byte, unit rune) []byte {
	if !utf16.IsSurrogate(unit) {
		return utf8.AppendRune(text, unit)
	}
	if high := lastSurrogate(text); high != 0 {
		if r := utf16.DecodeRune(high, unit); r != utf8.RuneError {
			return utf8.AppendRune(text[:len(text)-3], r)
		}
	}
	return append(text, 0xED, 0x80|byte(unit>>6)&0x3F, 0x80|byte(unit)&0x3F)
}

// lastSurrogate is the surrogate that ends the text, or 0.
func lastSurrogate(text []byte) rune {
	n := len(text)
	if n < 3 || text[n-3] != 0xED || text[n-2] < 0xA0 || text[n-2] > 0xBF || text[n-1]&0xC0 != 0x80 {
		return 0
	}
	return 0xD000 | rune(text[n-2]&0x3F)<<6 | rune(text[n-1]&0x3F)
}

// joiner puts characters together again that were split between frames. The zero joiner is ready.
type joiner struct {
	held []byte // the beginning of a character
}

// add takes the text of the next frame and returns what is complete. Bytes that cannot become UTF-8 are not held.
func (j *joiner) add(next wireText) string {
	if len(next) == 0 {
		return ""
	}
	text := next
	if len(j.held) > 0 {
		text = j.held
		if len(next) >= 3 && lastSurrogate(next[:3]) != 0 {
			text = appendUnit(text, lastSurrogate(next[:3]))
			next = next[3:]
		}
		text = append(text, next...)
	}
	complete := len(text) - unfinished(text)
	whole := string(text[:complete])
	j.held = append(j.held[:0], text[complete:]...)
	return whole
}

// rest returns what was held, as it is.
func (j *joiner) rest() string {
	rest := string(j.held)
	j.held = nil
	return rest
}

// unfinished is how many bytes at the end of text may be the beginning of a character.
func unfinished(text []byte) int {
	if s := lastSurrogate(text); s >= 0xD800 && s < 0xDC00 {
		return 3
	}
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

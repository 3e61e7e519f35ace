package llm

// plain is the piece of an answer that nearly all are: words of the first choice, and nothing else that is of use here.
// encoding/json takes six times as long for it, which is a good part of what a server with many running replies does.
type plain struct {
	text     []byte    // as on the wire, without the quotes
	thoughts [2][]byte // by either name
	seen     uint8     // the fields of which there may be one
}

// read reports whether data is such a piece; if not, nothing is known of it. What it takes it takes as encoding/json does.
func (p *plain) read(data []byte) bool {
	*p = plain{}
	s := scanner{data}
	return s.object(func(name []byte) bool {
		switch string(name) {
		case "choices":
			return p.once(1) && s.next('[') && s.object(func(name []byte) bool { return p.choice(&s, name) }) && s.next(']')
		case "usage", "error":
			return s.null()
		}
		return s.foreign(name)
	}) && p.seen&1 != 0 && s.end()
}

func (p *plain) choice(s *scanner, name []byte) bool {
	switch string(name) {
	case "index":
		return s.next('0')
	case "delta":
		return p.once(2) && s.object(func(name []byte) bool { return p.delta(s, name) })
	case "message":
		return false
	case "finish_reason":
		return s.null()
	}
	return s.foreign(name)
}

func (p *plain) delta(s *scanner, name []byte) bool {
	switch string(name) {
	case "content":
		return p.once(4) && s.textOrNull(&p.text)
	case "reasoning_content":
		return p.once(8) && s.textOrNull(&p.thoughts[0])
	case "reasoning":
		return p.once(16) && s.textOrNull(&p.thoughts[1])
	case "refusal", "tool_calls":
		return s.null()
	}
	return s.foreign(name)
}

// thought is what the model thinks: the same by both names, or one of them has nothing.
func (p *plain) thought() []byte {
	if len(p.thoughts[0]) > 0 {
		return p.thoughts[0]
	}
	return p.thoughts[1]
}

// once reports whether field was not seen before.
func (p *plain) once(field uint8) bool {
	first := p.seen&field == 0
	p.seen |= field
	return first
}

// scanner reads JSON from the beginning of rest. It knows what pieces of answers are made of; at anything else a method
// returns false, and then rest is of no use any more.
type scanner struct{ rest []byte }

// space passes over white space.
func (s *scanner) space() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\t' || s.rest[0] == '\r' || s.rest[0] == '\n') {
		s.rest = s.rest[1:]
	}
}

// next passes over c, if that is what is next.
func (s *scanner) next(c byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) end() bool {
	s.space()
	return len(s.rest) == 0
}

// word passes over a word, if that is what is next.
func (s *scanner) word(word string) bool {
	s.space()
	if len(s.rest) < len(word) || string(s.rest[:len(word)]) != word {
		return false
	}
	s.rest = s.rest[len(word):]
	return true
}

func (s *scanner) null() bool { return s.word("null") }

// object reads an object. field is called after each name and reads its value.
func (s *scanner) object(field func(name []byte) bool) bool {
	if !s.next('{') {
		return false
	}
	if s.next('}') {
		return true
	}
	for {
		name, ok := s.text()
		if !ok || !s.next(':') || !field(name) {
			return false
		}
		if !s.next(',') {
			return s.next('}')
		}
	}
}

// text reads a string whose escapes are right and returns what is between the quotes. When something else is next it stays.
func (s *scanner) text() (inside []byte, ok bool) {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			inside, s.rest = s.rest[1:i], s.rest[i+1:]
			return inside, true
		case c < ' ':
			return nil, false
		case c == '\\':
			i++
			if i < len(s.rest) && s.rest[i] == 'u' {
				for range 4 {
					if i++; i >= len(s.rest) || !isHex(s.rest[i]) {
						return nil, false
					}
				}
			} else if i >= len(s.rest) || !isEscape(s.rest[i]) {
				return nil, false
			}
		}
	}
	return nil, false
}

// textOrNull reads a string as text does, or null.
func (s *scanner) textOrNull(inside *[]byte) (ok bool) {
	*inside, ok = s.text()
	return ok || s.null()
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

func isEscape(c byte) bool {
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	}
	return false
}

// foreign passes over the value of a field that is of no use here: a text, a whole number or a word. encoding/json takes a name in
// capitals for the same, so the name must have none, nor anything that could be one.
func (s *scanner) foreign(name []byte) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	if _, ok := s.text(); ok || s.null() || s.word("true") || s.word("false") {
		return true
	}
	s.space()
	digits := 0
	for digits < len(s.rest) && '0' <= s.rest[digits] && s.rest[digits] <= '9' {
		digits++
	}
	whole := digits == 1 || digits > 1 && s.rest[0] != '0'
	s.rest = s.rest[digits:]
	return whole
}

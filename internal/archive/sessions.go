package archive

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"git.georgsen.dk/hwlab/internal/store"
)

// sessions gives the conversations of what the page of llama.cpp's server downloads: a line a conversation, and after it a line for
// each of its messages.
type sessions struct{ lines *lines }

// session is a line of it.
type session struct {
	Type    string          `json:"type"` // "session" or "message"; others may come
	Message json.RawMessage `json:"message"`
}

// isSessions tells by its first line whether in is such a download.
func isSessions(in *bufio.Reader) bool {
	start, _ := in.Peek(in.Size()) // a shorter file is one, too
	line, _, _ := bytes.Cut(start, []byte("\n"))
	var first session
	return json.Unmarshal(line, &first) == nil && first.Type == "session"
}

func (s *sessions) next(_ *encoder, f func(store.ArchiveRow) error) (string, error) {
	place := fmt.Sprintf("line %d", s.lines.number+1)
	if s.lines.pushed != nil {
		place = fmt.Sprintf("line %d", s.lines.number)
	}
	var conversation struct {
		Conv     json.RawMessage   `json:"conv"`
		Messages []json.RawMessage `json:"messages"`
	}
	var damage error // what comes of a conversation after it is left out
	for {
		text, err := s.lines.read()
		if err != nil && err != io.EOF {
			return place, err
		}
		if err == io.EOF && conversation.Conv == nil && damage == nil {
			return place, io.EOF
		}
		if err == io.EOF {
			break
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		var line session
		if err := json.Unmarshal(text, &line); err != nil {
			if damage == nil {
				damage = bad("line %d is damaged: %v", s.lines.number, err)
			}
			continue
		}
		if line.Type == "session" && (conversation.Conv != nil || damage != nil) {
			s.lines.pushed = text
			break
		}
		switch {
		case line.Type == "session":
			conversation.Conv = text
		case line.Type == "message" && conversation.Conv != nil:
			conversation.Messages = append(conversation.Messages, line.Message)
		case line.Type == "message" && damage == nil:
			damage = bad("line %d is a message before its conversation", s.lines.number)
		}
	}
	if damage != nil {
		return place, damage
	}
	text, err := json.Marshal(conversation)
	if err != nil {
		return place, err
	}
	c, err := readLlamaCpp(text)
	if err != nil {
		return place, bad("%v", err)
	}
	return place, c.give(f)
}

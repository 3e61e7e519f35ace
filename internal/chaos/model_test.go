package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// speech is what the model is asked to say: numbered words at a pace. The question carries it, so that any text can be held
// against what the model says, whoever asked and whatever happened since.
type speech struct {
	Tag   string
	Words int           // 0: for ever
	Pace  time.Duration // before each word
}

const asking = "say "

// question is what to ask the model.
func (s speech) question() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return asking + string(text)
}

// word is one word of it. Its characters are of one to four bytes.
func (s speech) word(i int) string { return fmt.Sprintf("%s·%d→𝄞 ", s.Tag, i) }

// whole is all of it.
func (s speech) whole() string {
	var text strings.Builder
	for i := range s.Words {
		text.WriteString(s.word(i))
	}
	return text.String()
}

// begins reports whether text is a beginning of it.
func (s speech) begins(text string) bool {
	for i := 0; text != ""; i++ {
		if s.Words > 0 && i == s.Words {
			return false
		}
		word := s.word(i)
		if len(text) <= len(word) {
			return strings.HasPrefix(word, text)
		}
		var found bool
		if text, found = strings.CutPrefix(text, word); !found {
			return false
		}
	}
	return true
}

// model starts a Chat Completions server that says what it is asked to, and returns the settings that lead to it.
func model(t *testing.T) []string {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"object":"list","data":[{"id":"talker","object":"model","created":0,"owned_by":"chaos"}]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			Messages []struct{ Role, Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s := speech{Tag: "nothing", Words: 1}
		for _, m := range asked.Messages {
			if text, ok := strings.CutPrefix(m.Content, asking); ok && m.Role == "user" {
				if err := json.Unmarshal([]byte(text), &s); err != nil {
					http.Error(w, err.Error(), http.StatusBadRequest)
					return
				}
			}
		}
		w.Header().Set("Content-Type", "text/event-stream")
		s.say(w, r)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return []string{"OPENAI_BASE_URL=" + server.URL + "/v1", "OPENAI_API_KEY=sk-chaos"}
}

// say writes it as Chat Completions chunks.
func (s speech) say(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w).Flush
	chunk := func(text, finish string) bool {
		content, err := json.Marshal(text)
		if err != nil {
			return false
		}
		_, err = fmt.Fprintf(w, `data: {"id":"c","object":"chat.completion.chunk","created":0,"model":"talker","choices":[{"index":0,"delta":{"content":%s},"finish_reason":%s}]}`+"\n\n",
			content, finish)
		return err == nil && flush() == nil
	}
	pace := time.NewTicker(max(s.Pace, time.Microsecond))
	defer pace.Stop()
	for i := 0; s.Words == 0 || i < s.Words; i++ {
		select {
		case <-pace.C:
		case <-r.Context().Done():
			return
		}
		if !chunk(s.word(i), "null") {
			return
		}
	}
	if chunk("", `"stop"`) {
		fmt.Fprint(w, "data: [DONE]\n\n")
	}
}

package api_test

import (
	"net/url"
	"testing"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
)

// search asks for what is found by q; more are further parameters, name and value in turns.
func (s *server) search(q string, more ...string) object {
	s.t.Helper()
	return s.ok("GET", "/v1/conversations/search?"+searchQuery(q, more...), nil)
}

func searchQuery(q string, more ...string) string {
	v := url.Values{"q": {q}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v.Encode()
}

func TestASearchFindsItems(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		id := s.conversation()
		s.model.Script(llmtest.Say("It is sda1, of course.")...)
		reply := s.ok("POST", "/v1/responses", object{"conversation": id, "input": "Which disk is sda1?"})
		found := s.search("sda1", "role", "assistant")
		if len(found.at("data").([]any)) != 1 || found.at("has_more") != false || found.at("next_cursor") != nil {
			t.Fatalf("found %v", found)
		}
		if found.str("data", 0, "conversation_id") != id || found.str("data", 0, "item_id") != reply.str("output", 0, "id") ||
			found.str("data", 0, "role") != "assistant" || found.str("data", 0, "model") != "test-model" ||
			found.str("data", 0, "title") != "Which disk is sda1?" || found.str("data", 0, "snippet") != "It is sda1, of course." {
			t.Errorf("found %v", found)
		}
		if found := s.search("sda1", "role", "user"); found.at("data", 0, "model") != nil || found.str("data", 0, "snippet") != "Which disk is sda1?" {
			t.Errorf("found %v", found)
		}
		if found := s.search("nvme0n1"); len(found.at("data").([]any)) != 0 {
			t.Errorf("found %v", found)
		}
	})
}

func TestASearchNamesTheParameterThatIsWrong(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		for _, wrong := range [][2]string{{"q", ""}, {"q", "  "}, {"role", "robot"}, {"after", "yesterday"}, {"before", "-1"}, {"before", "2026-13-01"},
			{"archived", "yes"}, {"order", "oldest"}, {"limit", "0"}, {"limit", "101"}, {"limit", "x"}} {
			status, o := s.do("GET", "/v1/conversations/search?"+searchQuery("disk", wrong[0], wrong[1]), nil)
			if status != 400 || o.str("error", "param") != wrong[0] || o.str("error", "message") == "" {
				t.Errorf("%s=%s: %d %v", wrong[0], wrong[1], status, o)
			}
		}
		if status, _ := s.do("POST", "/v1/conversations/search", object{}); status != 404 {
			t.Errorf("POST: %d", status)
		}
	})
}

package api_test

import (
	"fmt"
	"net/url"
	"slices"
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

// said are the snippets of a page of hits, marks in brackets, cut out as a client would that counts characters.
func (o object) said() []string {
	var list []string
	for i := range o.at("data").([]any) {
		characters, at := []rune(o.str("data", i, "snippet")), 0
		text := ""
		for j := range o.at("data", i, "marks").([]any) {
			start, end := int(o.at("data", i, "marks", j, "start_index").(float64)), int(o.at("data", i, "marks", j, "end_index").(float64))
			text += string(characters[at:start]) + "[" + string(characters[start:end]) + "]"
			at = end
		}
		list = append(list, text+string(characters[at:]))
	}
	return list
}

func TestWhatASearchFindsIsMarkedByCharacters(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.ok("POST", "/v1/conversations", object{"title": "\U0001F50C Switches", "items": []object{
			{"role": "user", "content": "\U0001F50C\U0001F50C Which SWITCH is 10.5.0.109? Cafe\u0301 & 交換器"},
			{"role": "developer", "content": "Name the switch's port."}}})
		s.ok("POST", "/v1/conversations/"+c.str("id")+"/items", object{"items": []object{
			{"type": "function_call", "call_id": "c", "name": "look", "arguments": `{"mac": "aa:bb"}`}}})
		for q, want := range map[string][]string{
			"switch":           {"Name the [switch]'s port.", "\U0001F50C\U0001F50C Which [SWITCH] is 10.5.0.109? Cafe\u0301 & 交換器", "\U0001F50C [Switch]es"},
			"5.0.109 café":     {"\U0001F50C\U0001F50C Which SWITCH is 10.[5.0.109]? [Cafe\u0301] & 交換器"},
			"換器":               {"\U0001F50C\U0001F50C Which SWITCH is 10.5.0.109? Cafe\u0301 & 交[換器]"},
			`"the switch's"`:   {"Name [the switch's] port."},
			"a:b":              {`{"mac": "a[a:b]b"}`},
			`") ' % \ OR (* é`: nil,
		} {
			if got := s.search(q).said(); !slices.Equal(got, want) {
				t.Errorf("%s finds\n%q\nnot\n%q", q, got, want)
			}
		}
		found := s.search("switch")
		if found.str("data", 0, "role") != "developer" || found.at("data", 2, "item_id") != nil || found.at("data", 2, "role") != nil ||
			found.str("data", 2, "conversation_id") != c.str("id") || found.str("data", 2, "title") != "\U0001F50C Switches" {
			t.Errorf("found %v", found)
		}
		call := s.search("a:b").str("data", 0, "item_id")
		if item := s.ok("GET", "/v1/conversations/"+c.str("id")+"/items/"+call, nil); item.str("type") != "function_call" {
			t.Errorf("the item of a hit is %v", item)
		}
	})
}

func TestASearchIsFilteredOrderedAndPaged(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		var items []object
		for i := range 20 {
			items = append(items, object{"role": []string{"user", "assistant"}[i%2], "content": fmt.Sprintf("note %d of the ledger", i)})
		}
		id := s.ok("POST", "/v1/conversations", object{"title": "Notes", "items": items}).str("id")
		s.ok("POST", "/v1/conversations/"+id+"/items", object{"items": []object{{"role": "user", "content": "ledgers, ledgers"}}})
		archived := s.ok("POST", "/v1/conversations", object{"items": []object{{"role": "user", "content": "an old ledger"}}}).str("id")
		s.ok("POST", "/v1/conversations/"+archived, object{"archived": true})
		s.model.Script(llmtest.Say("In the ledger.")...)
		s.ok("POST", "/v1/responses", object{"conversation": id, "input": "Where?"})

		for _, c := range []struct {
			filter []string
			want   int
		}{{nil, 23}, {[]string{"role", "user"}, 12}, {[]string{"role", "assistant"}, 11}, {[]string{"role", "system"}, 0}, {[]string{"model", "test-model"}, 1}, {[]string{"model", "gpt"}, 0},
			{[]string{"archived", "true"}, 1}, {[]string{"archived", "false"}, 22}, {[]string{"after", "2020-01-01"}, 23}, {[]string{"after", "2099-01-01T00:00:00+02:00"}, 0},
			{[]string{"before", "4000000000"}, 23}, {[]string{"before", "2020-01-01T00:00:00Z"}, 0}, {[]string{"after", "2020-01-01", "before", "2099-01-01", "role", "user", "archived", "true"}, 1}} {
			if found := s.search("ledger", append(c.filter, "limit", "100")...); len(found.said()) != c.want || found.at("has_more") != false || found.at("searched_since") != nil {
				t.Errorf("%q gives %d, not %d: %v", c.filter, len(found.said()), c.want, found)
			}
		}

		// Pages are the whole in pieces, whatever the order.
		for _, order := range []string{"newest", "best"} {
			all := s.search("ledger", "order", order, "limit", "100").said()
			var paged []string
			cursor := ""
			for {
				page := s.search("ledger", "order", order, "limit", "7", "cursor", cursor)
				paged = append(paged, page.said()...)
				if cursor = page.str("next_cursor"); page.at("has_more") != (cursor != "") {
					t.Fatalf("a page is %v", page)
				}
				if cursor == "" {
					break
				}
			}
			if !slices.Equal(paged, all) {
				t.Errorf("%s: in pages\n%q\nat once\n%q", order, paged, all)
			}
		}
		if all := s.search("ledgers").said(); !slices.Equal(all, []string{"[ledgers], [ledgers]"}) {
			t.Errorf("found %q", all)
		}
		if last := s.search("ledger", "order", "best", "limit", "100").said(); last[22] != "[ledger]s, [ledger]s" {
			t.Errorf("the beginning of a word is not worse than a word: %q", last)
		}
		for _, cursor := range []string{"x", s.search("ledger", "limit", "1").str("next_cursor") + "x"} {
			if status, o := s.do("GET", "/v1/conversations/search?"+searchQuery("ledger", "cursor", cursor), nil); status != 400 || o.str("error", "param") != "cursor" {
				t.Errorf("cursor %s: %d %v", cursor, status, o)
			}
		}
	})
}

func TestASearchNamesTheParameterThatIsWrong(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		for _, wrong := range [][2]string{{"q", ""}, {"q", "  "}, {"role", "robot"}, {"after", "yesterday"}, {"before", "-1"}, {"before", "2026-13-01"}, {"before", "0001-01-01"},
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

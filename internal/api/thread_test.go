package api_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/store/sqlite"
)

// data are the objects of a list.
func data(list object) []object {
	var objects []object
	raw, _ := list.at("data").([]any)
	for _, o := range raw {
		objects = append(objects, o.(map[string]any))
	}
	return objects
}

// items are a conversation's items, oldest first; query is what else is asked for.
func (s *server) items(conversation, query string) []object {
	s.t.Helper()
	return data(s.ok("GET", "/v1/conversations/"+conversation+"/items?limit=100&order=asc"+query, nil))
}

// line is what items say; those with siblings say which of them they are.
func line(items []object) []string {
	var list []string
	for _, o := range items {
		text := o.str("content", 0, "text")
		if n := o.at("branch", "count"); n != 1.0 {
			text += fmt.Sprintf(" %v/%v", o.at("branch", "index").(float64)+1, n)
		}
		list = append(list, text)
	}
	return list
}

func is(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is\n%v\nnot\n%v", what, got, want)
	}
}

// foreign does what a program does that knows only the plain columns.
func (s *server) foreign(conversation, role, content string) {
	s.t.Helper()
	id := strings.TrimPrefix(conversation, "conv_")
	var err error
	switch r := s.record.(type) {
	case *store.Store:
		_, err = r.Pool().Exec(s.t.Context(), `INSERT INTO messages (conversation_id, role, content) VALUES ($1, $2, $3)`, id, role, content)
	case *sqlite.Store:
		var db *sql.DB
		if db, err = sql.Open("sqlite", r.Info().Detail); err == nil {
			defer db.Close()
			_, err = db.Exec(`PRAGMA busy_timeout = 10000; INSERT INTO messages (conversation_id, role, content) VALUES (?, ?, ?)`, id, role, content)
		}
	default:
		s.t.Fatalf("%T is no engine", r)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestItemsAreAddedReadAndErased(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		path := "/v1/conversations/" + c + "/items"
		sent := []object{
			{"type": "message", "role": "user", "content": "one", "id": "msg_mine"},
			{"role": "developer", "content": []object{{"type": "input_text", "text": "two"}}},
			{"type": "function_call", "call_id": "c1", "name": "df", "arguments": "{}", "id": "fc_mine"},
			{"type": "function_call_output", "call_id": "c1", "output": "full"},
			{"role": "assistant", "content": "three"},
		}
		made := s.ok("POST", path+"?include[]=message.output_text.logprobs", object{"items": sent})
		list := data(made)
		if len(list) != 5 || made.at("has_more") != false || made.str("first_id") != list[0].str("id") || made.str("last_id") != list[4].str("id") {
			t.Fatalf("the items are made as %v", made)
		}
		if list[0].str("id") == "msg_mine" || list[1].str("role") != "developer" || list[2].str("name") != "df" || list[3].str("output") != "full" ||
			!strings.HasPrefix(list[2].str("id"), "fc_") || list[4].str("content", 0, "type") != "output_text" {
			t.Errorf("the items are made as %v", list)
		}
		is(t, "the list", s.items(c, ""), list)
		for _, o := range list {
			is(t, "an item alone", s.ok("GET", path+"/"+o.str("id")+"?include[]=reasoning.encrypted_content", nil), o)
		}
		is(t, "message_count", s.ok("GET", "/v1/conversations/"+c, nil).at("message_count"), 5.0)

		// Up to 20 at once, all or none.
		many := make([]object, 21)
		for i := range many {
			many[i] = object{"role": "user", "content": fmt.Sprint("m", i)}
		}
		for _, bad := range []object{{"items": many}, {"items": []object{}}, {}, {"items": append(slices.Clone(many[:3]), object{"role": "boss", "content": "x"})}} {
			if status, o := s.do("POST", path, bad); status != 400 || !strings.HasPrefix(o.str("error", "param"), "items") {
				t.Errorf("%v is answered %d %v", bad, status, o)
			}
		}
		is(t, "message_count after refusals", s.ok("GET", "/v1/conversations/"+c, nil).at("message_count"), 5.0)
		is(t, "items made", len(data(s.ok("POST", path, object{"items": many[:20]}))), 20)

		// With the head that the sender saw.
		head := s.ok("GET", "/v1/conversations/"+c, nil).at("head")
		s.ok("POST", path, object{"items": many[:1], "head": head})
		if status, o := s.do("POST", path, object{"items": many[:1], "head": head}); status != 409 || o.str("error", "code") != "conversation_conflict" ||
			o.at("error", "head") != head.(float64)+1 {
			t.Errorf("with an old head: %d %v", status, o)
		}

		// Erased.
		after := s.ok("DELETE", path+"/"+list[1].str("id"), nil)
		if after.str("object") != "conversation" || after.str("id") != c || after.at("message_count") != 25.0 {
			t.Errorf("after a deletion the conversation is %v", after)
		}
		for _, method := range []string{"GET", "DELETE"} {
			if status, o := s.do(method, path+"/"+list[1].str("id"), nil); status != 404 || !strings.Contains(o.str("error", "message"), "item") {
				t.Errorf("%s of a deleted item: %d %v", method, status, o)
			}
		}
		left := s.items(c, "")
		if len(left) != 25 || left[1].str("id") != list[2].str("id") {
			t.Errorf("what is left is %v", left)
		}
		is(t, "the page after a deleted item", s.items(c, "&after="+list[1].str("id")), left[1:])
		s.ok("POST", "/v1/responses", object{"conversation": c, "input": "go on"})
		for _, m := range s.model.Requests()[0].Messages {
			if m.Text == "two" {
				t.Error("the model was told a deleted item")
			}
		}

		nowhere := "conv_00000000-0000-7000-8000-000000000000"
		for _, test := range []struct{ method, path, says string }{
			{"GET", "/v1/conversations/" + nowhere + "/items/" + list[0].str("id"), "conversation"},
			{"DELETE", "/v1/conversations/" + nowhere + "/items/" + list[0].str("id"), "conversation"},
			{"GET", "/v1/conversations/" + s.conversation() + "/items/" + list[0].str("id"), "item"},
			{"DELETE", "/v1/conversations/" + s.conversation() + "/items/" + list[0].str("id"), "item"},
			{"GET", path + "/nothing", "item"},
			{"GET", "/v1/conversations/" + nowhere + "/items", "conversation"},
		} {
			if status, o := s.do(test.method, test.path, nil); status != 404 || !strings.Contains(o.str("error", "message"), "no "+test.says) {
				t.Errorf("%s %s: %d %v", test.method, test.path, status, o)
			}
		}
		if status, o := s.do("POST", "/v1/conversations/"+nowhere+"/items", object{"items": many[:1]}); status != 404 {
			t.Errorf("items for no conversation: %d %v", status, o)
		}
	})
}

func TestItemsArePagedBothWays(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		var sent []object
		for i := range 11 {
			sent = append(sent, object{"role": "user", "content": fmt.Sprint(i)})
		}
		c := s.ok("POST", "/v1/conversations", object{"items": sent}).str("id")
		for _, order := range []string{"asc", "desc"} {
			get := func(query string) object {
				return s.ok("GET", "/v1/conversations/"+c+"/items?limit=4&order="+order+query, nil)
			}
			all := s.items(c, "")
			if order == "desc" {
				slices.Reverse(all)
			}
			var forward, back []object
			for page := get(""); ; page = get("&after=" + page.str("last_id")) {
				if list := data(page); page.str("first_id") != list[0].str("id") || page.str("last_id") != list[len(list)-1].str("id") {
					t.Errorf("%s: a page says %v of itself", order, page)
				}
				forward = append(forward, data(page)...)
				if page.at("has_more") != true {
					break
				}
			}
			is(t, order+", forward", line(forward), line(all))
			for page := get("&before=" + all[10].str("id")); ; page = get("&before=" + page.str("first_id")) {
				back = append(data(page), back...)
				if page.at("has_more") != true {
					break
				}
			}
			is(t, order+", back", line(back), line(all[:10]))
			end := get("&after=" + all[10].str("id"))
			if len(data(end)) != 0 || end.at("has_more") != false || end.at("first_id") != nil || end.at("last_id") != nil {
				t.Errorf("%s: after the last item comes %v", order, end)
			}
			is(t, "the default limit", len(data(s.ok("GET", "/v1/conversations/"+c+"/items", nil))), 11)
		}
		other := s.ok("POST", "/v1/conversations", object{"items": sent[:1]}).str("id")
		elsewhere := s.items(other, "")[0].str("id")
		for query, param := range map[string]string{
			"limit=0": "limit", "limit=101": "limit", "limit=ten": "limit", "order=newest": "order", "after=msg_x": "after", "before=" + elsewhere: "before",
			"after=" + elsewhere: "after", "after=" + elsewhere + "&before=" + elsewhere: "before", "branch=x": "branch", "branch=" + elsewhere: "branch",
			"branch=resp_00000000-0000-7000-8000-000000000000": "branch",
		} {
			if status, o := s.do("GET", "/v1/conversations/"+c+"/items?"+query, nil); status != 400 || o.str("error", "param") != param {
				t.Errorf("?%s: %d %v", query, status, o)
			}
		}
	})
}

func TestConversationsArePinnedAndArchived(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		a, b, c := s.conversation(), s.conversation(), s.conversation()
		list := func(query string) []string {
			t.Helper()
			var ids []string
			for _, o := range data(s.ok("GET", "/v1/conversations?"+query, nil)) {
				ids = append(ids, o.str("id"))
			}
			return ids
		}
		o := s.ok("POST", "/v1/conversations/"+a, object{"archived": true, "metadata": object{"k": "v"}})
		if o.at("archived") != true || o.at("pinned") != false || o.str("metadata", "k") != "v" {
			t.Errorf("archived it is %v", o)
		}
		o = s.ok("POST", "/v1/conversations/"+b, object{"pinned": true, "title": "Rack 2"})
		if o.at("pinned") != true || o.str("title") != "Rack 2" {
			t.Errorf("pinned it is %v", o)
		}
		is(t, "an update of nothing", s.ok("POST", "/v1/conversations/"+a, object{"metadata": nil}), s.ok("GET", "/v1/conversations/"+a, nil))
		unlisted := s.ok("POST", "/v1/responses", object{"input": "hi"})
		is(t, "the list", list(""), []string{c, b})
		is(t, "the archived", list("archived=true"), []string{a})
		is(t, "the pinned", list("pinned=true"), []string{b})
		is(t, "the pinned and archived", list("pinned=true&archived=true"), []string(nil))
		id := list("listed=false")
		if len(id) != 1 {
			t.Fatalf("the unlisted are %q", id)
		}
		is(t, "an unlisted one's items", line(s.items(id[0], "")), []string{"hi", "ok"})
		is(t, "the response of it", s.items(id[0], "")[1].str("response_id"), unlisted.str("id"))
		s.ok("POST", "/v1/conversations/"+a, object{"archived": false})
		is(t, "the list with one brought back", list(""), []string{c, b, a})
		for query, param := range map[string]string{"archived=yes": "archived", "pinned=1": "pinned", "listed=no": "listed", "before=x": "before", "after=" + c + "&before=" + b: "before"} {
			if status, o := s.do("GET", "/v1/conversations?"+query, nil); status != 400 || o.str("error", "param") != param {
				t.Errorf("?%s: %d %v", query, status, o)
			}
		}

		pairs := object{}
		for i := range 17 {
			pairs[fmt.Sprint("k", i)] = "v"
		}
		for what, bad := range map[string]object{
			"17 pairs": {"metadata": pairs}, "a long key": {"metadata": object{strings.Repeat("é", 65): "v"}}, "a long value": {"metadata": object{"k": strings.Repeat("é", 513)}},
			"no text": {"metadata": object{"k": 7}}, "pinned": {"pinned": "yes"}, "archived": {"archived": 1}, "title": {"title": 7},
		} {
			for _, path := range []string{"/v1/conversations", "/v1/conversations/" + a} {
				if path == "/v1/conversations" && (what == "pinned" || what == "archived") {
					continue
				}
				if status, o := s.do("POST", path, bad); status != 400 || o.str("error", "param") == "" {
					t.Errorf("POST %s with %s: %d %v", path, what, status, o)
				}
			}
		}
		delete(pairs, "k0")
		pairs[strings.Repeat("é", 64)] = strings.Repeat("é", 512)
		delete(pairs, "k1")
		s.ok("POST", "/v1/conversations/"+a, object{"metadata": pairs})
		is(t, "metadata", s.ok("GET", "/v1/conversations/"+a, nil).at("metadata"), map[string]any(pairs))
	})
}

func TestWhileAReplyRuns(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		quiet, c := s.conversation(), s.conversation()
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "first "}, llmtest.Step{Gate: gate, Text: "last"})
		live := s.stream("POST", "/v1/responses", object{"input": "go", "conversation": c, "stream": true})
		events := live.until("response.output_text.delta")
		running := events[0].str("response", "id")
		for _, o := range data(s.ok("GET", "/v1/conversations", nil)) {
			want := map[string]any{c: running, quiet: nil}[o.str("id")]
			is(t, "running_response_id in the list", o.at("running_response_id"), want)
		}
		is(t, "running_response_id", s.ok("GET", "/v1/conversations/"+c, nil).str("running_response_id"), running)

		var item string
		for _, e := range events {
			if e.str("type") == "response.output_item.added" {
				item = e.str("item", "id")
			}
		}
		status, raw, header := s.raw("DELETE", "/v1/conversations/"+c+"/items/"+item, nil)
		if o := decode(t, raw); status != 409 || o.str("error", "code") != "item_in_progress" || header.Get("X-Should-Retry") != "false" {
			t.Errorf("deleting an item of a running reply: %d %v", status, o)
		}
		added := data(s.ok("POST", "/v1/conversations/"+c+"/items", object{"items": []object{{"role": "user", "content": "added"}}}))
		is(t, "what is there while it runs", line(s.items(c, "")), []string{"go", "first ", "added"})
		if status, o := s.do("POST", "/v1/responses", object{"input": "too soon", "conversation": c}); status != 400 || o.str("error", "code") != "conversation_locked" {
			t.Errorf("a second turn: %d %v", status, o)
		}
		gate.Open()
		if rest := live.rest(); shown(events)+shown(rest) != "first last" {
			t.Errorf("shown is %q and %q", shown(events), shown(rest))
		}
		after := s.items(c, "")
		is(t, "what is there afterwards", line(after), []string{"go", "first last", "added"})
		is(t, "the added item", after[2].str("id"), added[0].str("id"))
		is(t, "who wrote them", []any{after[0].at("model"), after[1].at("model"), after[2].at("model")}, []any{nil, "test-model", nil})
		is(t, "running_response_id afterwards", s.ok("GET", "/v1/conversations/"+c, nil).at("running_response_id"), nil)
		s.ok("DELETE", "/v1/conversations/"+c+"/items/"+item, nil)
		is(t, "with the item deleted", line(s.items(c, "")), []string{"go", "added"})
	})
}

func TestBranchesAreWalked(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		ask := func(previous, question, answer string) string {
			t.Helper()
			s.model.Script(llmtest.Say(answer)...)
			body := object{"previous_response_id": previous, "input": question}
			if previous == "" {
				body = object{"conversation": c, "input": question}
			}
			if question == "" {
				delete(body, "input")
			}
			r := s.ok("POST", "/v1/responses", body)
			is(t, "conversation", r.str("conversation", "id"), c)
			return r.str("id")
		}
		one := ask("", "q1", "a1")
		two := ask("", "q2", "a2")
		edited := ask(one, "q2 edited", "b2")
		again := ask(one, "", "c2")
		a3 := ask(two, "q3", "a3")
		is(t, "the active branch", line(s.items(c, "")), []string{"q1", "a1", "q2 1/3", "a2", "q3", "a3"})
		is(t, "the edit", line(s.items(c, "&branch="+edited)), []string{"q1", "a1", "q2 edited 2/3", "b2"})
		is(t, "the other answer", line(s.items(c, "&branch="+again)), []string{"q1", "a1", "c2 3/3"})
		is(t, "from the first reply on", line(s.items(c, "&branch="+one)), line(s.items(c, "")))

		// A page goes from an item to its siblings by their ids.
		at := s.items(c, "")[2]
		ids := at.at("branch", "ids").([]any)
		is(t, "its own place", ids[int(at.at("branch", "index").(float64))], any(at.str("id")))
		for i, want := range []string{"q2 1/3", "q2 edited 2/3", "c2 3/3"} {
			items := s.items(c, "&branch="+ids[i].(string))
			is(t, "a sibling", line(items)[2], want)
			is(t, "its siblings", items[2].at("branch", "ids"), any(ids))
			alone := s.ok("GET", "/v1/conversations/"+c+"/items/"+ids[i].(string), nil)
			is(t, "a sibling alone", alone, items[2])
		}
		page := s.ok("GET", "/v1/conversations/"+c+"/items?limit=3&branch="+edited, nil)
		is(t, "the last of a branch", line(data(page)), []string{"b2", "q2 edited 2/3", "a1"})
		page = s.ok("GET", "/v1/conversations/"+c+"/items?limit=3&branch="+edited+"&after="+page.str("last_id"), nil)
		is(t, "the first of a branch", line(data(page)), []string{"q1"})

		// The model is told its branch alone, and the branch that is written to is the active one.
		ask(edited, "q4", "b4")
		var told []string
		requests := s.model.Requests()
		for _, m := range requests[len(requests)-1].Messages {
			told = append(told, m.Text)
		}
		is(t, "what the model is told", told, []string{"q1", "a1", "q2 edited", "b2", "q4"})
		is(t, "the active branch", line(s.items(c, "")), []string{"q1", "a1", "q2 edited 2/3", "b2", "q4", "b4"})
		is(t, "the one before", line(s.items(c, "&branch="+a3)), []string{"q1", "a1", "q2 1/3", "a2", "q3", "a3"})
		s.ok("POST", "/v1/conversations/"+c+"/items", object{"items": []object{{"role": "user", "content": "added"}}})
		is(t, "with an item added", line(s.items(c, ""))[6:], []string{"added"})

		// A regenerate that runs is at the place it left.
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Gate: gate, Text: "d2"})
		r := s.ok("POST", "/v1/responses", object{"previous_response_id": one, "background": true})
		is(t, "a branch being written", line(s.items(c, "&branch="+r.str("id"))), []string{"q1", "a1"})
		gate.Open()
		s.stream("GET", "/v1/responses/"+r.str("id")+"?stream=true", nil).rest()
		is(t, "once it is", line(s.items(c, "&branch="+r.str("id"))), []string{"q1", "a1", "d2 4/4"})
		if status, o := s.do("POST", "/v1/responses", object{"previous_response_id": one, "conversation": c, "input": "x"}); status != 400 || o.str("error", "param") != "previous_response_id" {
			t.Errorf("both: %d %v", status, o)
		}
	})
}

func TestATurnGoesOnFromAnyItem(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.ok("POST", "/v1/conversations", object{"items": []object{{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}}}).str("id")
		first := s.items(c, "")
		told := func() (list []string) {
			requests := s.model.Requests()
			for _, m := range requests[len(requests)-1].Messages {
				list = append(list, m.Text)
			}
			return list
		}
		ask := func(after any, input any, answer string) {
			t.Helper()
			s.model.Script(llmtest.Say(answer)...)
			body := object{"conversation": object{"id": c, "after": after}, "input": input}
			if input == nil {
				delete(body, "input")
			}
			s.ok("POST", "/v1/responses", body)
		}
		ask(nil, "q1 edited", "b1")
		is(t, "the first question edited", line(s.items(c, "")), []string{"q1 edited 2/2", "b1"})
		is(t, "what the model is told", told(), []string{"q1 edited"})
		ask(first[0].str("id"), nil, "c1")
		is(t, "the first answer written anew", line(s.items(c, "")), []string{"q1 1/2", "c1 2/2"})
		is(t, "what the model is told", told(), []string{"q1"})
		ask(first[1].str("id"), "q2", "a2")
		is(t, "after what no reply wrote", line(s.items(c, "")), []string{"q1 1/2", "a1 1/2", "q2", "a2"})
		is(t, "the edited one", line(s.items(c, "&branch="+s.items(c, "")[0].at("branch", "ids").([]any)[1].(string))), []string{"q1 edited 2/2", "b1"})

		head := s.ok("GET", "/v1/conversations/"+c, nil).at("head")
		for after, want := range map[any][]string{nil: {"aside"}, first[0].str("id"): {"q1", "aside"}, first[1].str("id"): {"q1", "a1", "aside"}} {
			s.ok("POST", "/v1/responses", object{"conversation": object{"id": c, "after": after}, "input": "aside", "store": false})
			is(t, "what the model is told of what is not kept", told(), want)
		}
		other := s.conversation()
		nowhere := "conv_00000000-0000-7000-8000-000000000000"
		for _, test := range []struct {
			conversation object
			status       int
			param        string
		}{
			{object{"id": c, "after": "x"}, 400, "conversation.after"},
			{object{"id": c, "after": 7}, 400, "conversation.after"},
			{object{"id": c, "after": "msg_00000000-0000-7000-8000-000000000000"}, 400, "conversation.after"},
			{object{"id": other, "after": first[0].str("id")}, 400, "conversation.after"},
			{object{"id": nowhere, "after": first[0].str("id")}, 404, "conversation"},
			{object{"id": c, "after": nil, "head": 1}, 409, "conversation"},
		} {
			if status, o := s.do("POST", "/v1/responses", object{"conversation": test.conversation, "input": "q"}); status != test.status || o.str("error", "param") != test.param {
				t.Errorf("%v is answered %d %v", test.conversation, status, o)
			}
		}
		is(t, "head afterwards", s.ok("GET", "/v1/conversations/"+c, nil).at("head"), head)
	})
}

func TestAResponseIsDeleted(t *testing.T) {
	gone := func(t *testing.T, s *server, id string) {
		t.Helper()
		for method, path := range map[string]string{"GET": "", "DELETE": "", "POST": "/cancel"} {
			if status, o := s.do(method, "/v1/responses/"+id+path, nil); status != 404 {
				t.Errorf("%s of a deleted response: %d %v", method, status, o)
			}
		}
		for _, path := range []string{"?stream=true", "/input_items"} {
			if status, o := s.do("GET", "/v1/responses/"+id+path, nil); status != 404 {
				t.Errorf("GET %s of a deleted response: %d %v", path, status, o)
			}
		}
		if status, o := s.do("POST", "/v1/responses", object{"previous_response_id": id, "input": "on"}); status != 404 || o.str("error", "param") != "previous_response_id" {
			t.Errorf("a turn after a deleted response: %d %v", status, o)
		}
	}
	remove := func(t *testing.T, s *server, id string) {
		t.Helper()
		is(t, "the answer to DELETE", s.ok("DELETE", "/v1/responses/"+id, nil), object{"id": id, "object": "response", "deleted": true})
		gone(t, s, id)
	}
	each(t, func(t *testing.T, s *server) {
		// In a named conversation the items stay.
		c := s.conversation()
		one := s.ok("POST", "/v1/responses", object{"conversation": c, "input": "q1"})
		two := s.ok("POST", "/v1/responses", object{"previous_response_id": one.str("id"), "input": "q2"})
		remove(t, s, one.str("id"))
		items := s.items(c, "")
		is(t, "the items", line(items), []string{"q1", "ok", "q2", "ok"})
		is(t, "response_ids", []any{items[1].at("response_id"), items[3].at("response_id")}, []any{nil, two.at("id")})
		is(t, "the one after it", s.ok("GET", "/v1/responses/"+two.str("id"), nil), two)
		s.ok("POST", "/v1/responses", object{"conversation": c, "input": "q3"})
		is(t, "the conversation goes on", line(s.items(c, "")), []string{"q1", "ok", "q2", "ok", "q3", "ok"})

		// Without one they are erased, and nothing is left in the end.
		unlisted := func() []object { return data(s.ok("GET", "/v1/conversations?listed=false", nil)) }
		first := s.ok("POST", "/v1/responses", object{"input": "u1"})
		second := s.ok("POST", "/v1/responses", object{"input": "u2", "previous_response_id": first.str("id")})
		place := unlisted()[0].str("id")
		remove(t, s, first.str("id"))
		is(t, "what is left", line(s.items(place, "")), []string{"u2", "ok"})
		remove(t, s, second.str("id"))
		is(t, "the unlisted", len(unlisted()), 0)
	})
	each(t, func(t *testing.T, s *server) {
		for _, named := range []bool{true, false} {
			gate := llmtest.NewGate()
			s.model.Script(llmtest.Step{Text: "shown "}, llmtest.Step{Gate: gate, Text: "never"})
			body, key := object{"input": "go", "stream": true}, http.Header{"Idempotency-Key": {fmt.Sprint("k", named)}}
			var c string
			if named {
				c = s.conversation()
				body["conversation"] = c
			}
			live := s.stream("POST", "/v1/responses", body)
			events := live.until("response.output_text.delta")
			id := events[0].str("response", "id")
			remove(t, s, id)
			rest := live.rest()
			if last := rest[len(rest)-1]; last.str("type") != "error" || last.str("error", "code") != "not_found" ||
				last.at("sequence_number") != float64(len(events)+len(rest)-1) {
				t.Errorf("its reader is told %v", rest)
			}
			gate.Open()
			if named {
				items := s.items(c, "")
				is(t, "what stays", line(items), []string{"go", "shown "})
				is(t, "its status", items[1].str("status"), "incomplete")
				is(t, "running_response_id", s.ok("GET", "/v1/conversations/"+c, nil).at("running_response_id"), nil)
				s.ok("POST", "/v1/responses", object{"conversation": c, "input": "on"})
				is(t, "and on it goes", line(s.items(c, "")), []string{"go", "shown ", "on", "ok"})
			} else {
				is(t, "the unlisted", data(s.ok("GET", "/v1/conversations?listed=false", nil)), []object(nil))
			}

			// A retry of what made one that is gone makes no other.
			delete(body, "stream")
			_, raw, _ := s.send("POST", "/v1/responses", body, key.Clone())
			made := decode(t, raw)
			remove(t, s, made.str("id"))
			asked := len(s.model.Requests())
			status, raw, _ := s.send("POST", "/v1/responses", body, key.Clone())
			if o := decode(t, raw); status != 404 || o.str("error", "param") != "Idempotency-Key" {
				t.Errorf("a retry is answered %d %v", status, o)
			}
			is(t, "requests of the model", len(s.model.Requests()), asked)
		}
	})
}

func TestInputItems(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		s.ok("POST", "/v1/conversations/"+c+"/items", object{"items": []object{{"role": "user", "content": "before"}}})
		one := s.ok("POST", "/v1/responses", object{"conversation": c, "input": []object{{"role": "developer", "content": "d"}, {"role": "user", "content": "q1"},
			{"role": "user", "content": "q1b"}}})
		two := s.ok("POST", "/v1/responses", object{"previous_response_id": one.str("id"), "input": "q2"})
		none := s.ok("POST", "/v1/responses", object{"previous_response_id": one.str("id")})
		get := func(r object, query string) object {
			t.Helper()
			return s.ok("GET", "/v1/responses/"+r.str("id")+"/input_items"+query, nil)
		}
		is(t, "the input of the first", line(data(get(one, ""))), []string{"q1b", "q1", "d"})
		is(t, "oldest first", line(data(get(one, "?order=asc&include[]=message.output_text.logprobs"))), []string{"d", "q1", "q1b"})
		is(t, "of the second", line(data(get(two, ""))), []string{"q2 1/2"})
		if list := get(none, ""); len(data(list)) != 0 || list.at("has_more") != false || list.at("first_id") != nil {
			t.Errorf("of one without: %v", list)
		}
		all := s.items(c, "&branch="+one.str("id"))
		is(t, "the items are the conversation's", data(get(one, "?order=asc"))[0].str("id"), all[1].str("id"))
		page := get(one, "?limit=2")
		is(t, "has_more", page.at("has_more"), true)
		is(t, "the next page", line(data(get(one, "?limit=2&after="+page.str("last_id")))), []string{"d"})
		back := get(one, "?limit=1&before="+page.str("last_id"))
		is(t, "the page before", line(data(back)), []string{"q1b"})
		is(t, "oldest first, after one", line(data(get(one, "?order=asc&limit=1&after="+all[1].str("id")))), []string{"q1"})
		for query, param := range map[string]string{"limit=0": "limit", "order=x": "order", "after=x": "after", "before=" + all[0].str("id"): "before",
			"after=" + data(get(two, ""))[0].str("id"): "after", "after=" + all[4].str("id"): "after"} {
			if status, o := s.do("GET", "/v1/responses/"+one.str("id")+"/input_items?"+query, nil); status != 400 || o.str("error", "param") != param {
				t.Errorf("?%s: %d %v", query, status, o)
			}
		}
		s.ok("DELETE", "/v1/conversations/"+c+"/items/"+all[2].str("id"), nil)
		is(t, "with one deleted", line(data(get(one, ""))), []string{"q1b", "d"})
		is(t, "of a response without a conversation", line(data(get(s.ok("POST", "/v1/responses", object{"input": "u"}), ""))), []string{"u"})
	})
}

// A row of another program comes while a reply with three items runs: it stands after all of them, on the branch that was
// active, and each branch goes on.
func TestAForeignRowWhileAReplyWithThreeItemsRuns(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		one := s.ok("POST", "/v1/responses", object{"conversation": c, "input": "q1"})
		// The reply of another server, which goes as far as this test lets it.
		f, err := s.record.JoinServer(t.Context(), store.NewID())
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.record.StartResponse(t.Context(), store.NewResponse{Fence: f, ConversationID: strings.TrimPrefix(c, "conv_"),
			Input: []store.NewMessage{{Role: "user", Content: "q2"}}, Model: "theirs"})
		if err != nil {
			t.Fatal(err)
		}
		live := s.stream("GET", "/v1/responses/resp_"+r.ID+"?stream=true", nil)
		n := 0
		write := func(item int, text string) {
			t.Helper()
			var rows []store.Delta
			for _, d := range []store.Delta{{Kind: store.DeltaItem, ItemID: store.NewID(), Text: "message"}, {Kind: store.DeltaPart, Text: "output_text"},
				{Kind: store.DeltaText, Text: text}, {Kind: store.DeltaPartDone}, {Kind: store.DeltaItemDone}} {
				d.ResponseID, d.ConversationID, d.Item, d.N = r.ID, r.ConversationID, item, n
				n++
				rows = append(rows, d)
			}
			if err := s.record.Heartbeat(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			if err := s.record.AppendDeltas(t.Context(), f, rows); err != nil {
				t.Fatal(err)
			}
		}
		write(0, "a2 first")
		s.foreign(c, "user", "theirs one")
		write(1, "a2 second")
		live.until("response.output_item.done")
		edited := s.ok("POST", "/v1/responses", object{"previous_response_id": one.str("id"), "input": "q2 edited"}) // a branch meanwhile
		s.foreign(c, "user", "theirs two")
		write(2, "a2 third")
		if _, _, err := s.record.FinishResponse(t.Context(), store.Finish{Fence: f, ConversationID: r.ConversationID, ResponseID: r.ID, Status: store.ResponseCompleted}); err != nil {
			t.Fatal(err)
		}
		rest := live.rest()
		is(t, "the end", rest[len(rest)-1].str("type"), "response.completed")

		theirs := []string{"q1", "ok", "q2 1/2", "a2 first", "a2 second", "a2 third", "theirs one"}
		ours := []string{"q1", "ok", "q2 edited 2/2", "ok", "theirs two"}
		is(t, "the branch with three items", line(s.items(c, "&branch=resp_"+r.ID)), theirs)
		is(t, "the branch made meanwhile", line(s.items(c, "&branch="+edited.str("id"))), ours)
		is(t, "the active branch", line(s.items(c, "")), ours)
		is(t, "message_count", s.ok("GET", "/v1/conversations/"+c, nil).at("message_count"), 10.0)

		s.ok("POST", "/v1/responses", object{"conversation": c, "input": "q3"})
		is(t, "on the active branch", line(s.items(c, "")), append(ours, "q3", "ok"))
		s.ok("POST", "/v1/responses", object{"previous_response_id": "resp_" + r.ID, "input": "q4"})
		is(t, "on the other", line(s.items(c, "")), []string{"q1", "ok", "q2 1/2", "a2 first", "a2 second", "a2 third", "q4 2/2", "ok"})
		is(t, "and where the row is", line(s.items(c, "&branch="+s.ok("GET", "/v1/responses/resp_"+r.ID, nil).str("id"))),
			[]string{"q1", "ok", "q2 1/2", "a2 first", "a2 second", "a2 third", "q4 2/2", "ok"})
		row := s.items(c, "")[6].at("branch", "ids").([]any)[0].(string)
		is(t, "through the row", line(s.items(c, "&branch="+row)), append(theirs[:6:6], "theirs one 1/2"))
	})
}

// The same inside a call: the reasoning, the text and the call stay together, and the call's output is still told as its own.
func TestAForeignRowInsideACall(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		c := s.conversation()
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Reasoning: "hm"}, llmtest.Step{Text: "looking"}, llmtest.Step{Call: &llm.Call{ID: "c1", Name: "df", Arguments: `{"path":`}},
			llmtest.Step{Gate: gate, Call: &llm.Call{Arguments: `"/"}`}}, llmtest.Step{Finish: llm.FinishToolCalls})
		tools := []object{{"type": "function", "name": "df", "parameters": object{"type": "object"}}}
		live := s.stream("POST", "/v1/responses", object{"conversation": c, "input": "how full?", "stream": true, "tools": tools})
		live.until("response.function_call_arguments.delta")
		s.foreign(c, "user", "theirs")
		gate.Open()
		live.rest()
		kinds := func() (list []string) {
			for _, o := range s.items(c, "") {
				list = append(list, o.str("type"))
			}
			return list
		}
		is(t, "the items", kinds(), []string{"message", "reasoning", "message", "function_call", "message"})
		is(t, "the foreign row", s.items(c, "")[4].str("content", 0, "text"), "theirs")
		r := s.ok("POST", "/v1/responses", object{"conversation": c, "tools": tools, "input": []object{{"type": "function_call_output", "call_id": "c1", "output": "87 %"}}})
		is(t, "status", r.str("status"), "completed")
		is(t, "the items", kinds(), []string{"message", "reasoning", "message", "function_call", "message", "function_call_output", "message"})
		told := s.model.Requests()[1].Messages
		i := slices.IndexFunc(told, func(m llm.Message) bool { return len(m.Calls) > 0 })
		if i < 0 || told[i].Calls[0].Arguments != `{"path":"/"}` || i+1 == len(told) || told[i+1].Role != llm.RoleTool || told[i+1].Text != "87 %" {
			t.Errorf("the model is told %+v", told)
		}
		if !slices.ContainsFunc(told, func(m llm.Message) bool { return m.Text == "theirs" }) {
			t.Errorf("the model is not told the foreign row: %+v", told)
		}
	})
}

func TestAResponseIsDeletedOnAnotherServer(t *testing.T) {
	a, b := two(t)
	for _, named := range []bool{true, false} {
		body := object{"input": "go", "stream": true}
		if named {
			body["conversation"] = a.conversation()
		}
		a.model.Script(llmtest.Step{Text: "shown"}, llmtest.Step{Gate: llmtest.NewGate(), Text: "never"})
		here := a.stream("POST", "/v1/responses", body)
		id := here.until("response.output_text.delta")[0].str("response", "id")
		there := b.stream("GET", "/v1/responses/"+id+"?stream=true", nil)
		there.until("response.output_text.delta")
		b.ok("DELETE", "/v1/responses/"+id, nil)
		for where, live := range map[string]*stream{"here": here, "there": there} {
			if rest := live.rest(); len(rest) != 1 || rest[0].str("type") != "error" {
				t.Errorf("a reader %s sees %v", where, rest)
			}
		}
		if !named {
			continue
		}
		c := body["conversation"].(string)
		is(t, "what stays", line(a.items(c, "")), []string{"go", "shown"})
		b.ok("POST", "/v1/responses", object{"conversation": c, "input": "on"})
		is(t, "and on it goes", line(a.items(c, "")), []string{"go", "shown", "on", "ok"})
	}
}

package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

var conversationTests = []test{
	{"WhatIsAddedIsRead", whatIsAddedIsRead},
	{"WithoutMessagesIsFound", withoutMessagesIsFound},
	{"UnknownDeletedAndMalformedIDsAreNotFound", idsNotFound},
	{"ABadRoleIsTheDatabasesError", badRole},
	{"AnAppendIsKeptWholeOrNotAtAll", appendWholeOrNot},
	{"AnAppendOfNothing", appendNothing},
	{"MadeWithMessages", madeWithMessages},
	{"ListIsNewestFirstAndAtMost100", listNewestFirst},
	{"TheLatestActivityIsFirst", latestActivityFirst},
	{"MetadataRoundTrip", metadataRoundTrip},
	{"Rename", rename},
	{"WhoGaveTheTitle", whoGaveTheTitle},
	{"APersonsRenameWins", personsRenameWins},
	{"PinnedAndArchived", pinnedAndArchived},
	{"TheListNamesTheRunningReply", listNamesRunning},
	{"UnlistedAreNotListed", unlistedNotListed},
	{"InfoNamesTheEngine", infoNamesEngine},
	{"CloseTwice", closeTwice},
}

func whatIsAddedIsRead(t *testing.T, r *record) {
	start := time.Now().Add(-time.Minute)
	conversation, err := r.CreateConversation(r.ctx, "qwen3:8b")
	if err != nil {
		t.Fatal(err)
	}
	r.remove(t, conversation)
	roles := []string{"system", "user", "assistant", "user"}
	var want, made []string
	for i, role := range roles {
		want = append(want, fmt.Sprint("text ", i))
		made = append(made, r.add(t, conversation, role, want[i]))
	}

	c := r.get(t, conversation)
	equal(t, "ID", c.ID, conversation)
	equal(t, "Model", c.Model, "qwen3:8b")
	equal(t, "MessageCount", c.MessageCount, 4)
	equal(t, "Head", c.Head, 4)
	equal(t, "Listed", c.Listed, true)
	if c.StartedAt.Before(start) || c.UpdatedAt.Before(c.StartedAt) || c.UpdatedAt.After(time.Now().Add(time.Minute)) {
		t.Errorf("started at %v, updated at %v", c.StartedAt, c.UpdatedAt)
	}
	if c.Metadata == nil {
		t.Error("Metadata is nil")
	}
	same(t, "texts", texts(c.Messages), want)
	same(t, "ids", ids(c.Messages), made)
	for i, m := range c.Messages {
		equal(t, "Role", m.Role, roles[i])
		equal(t, "ConversationID", m.ConversationID, conversation)
		equal(t, "Position", m.Position, store.Position{Seq: int64(i + 1)})
		equal(t, "Status", m.Status, store.MessageCompleted)
		equal(t, "ParentID", m.ParentID, "")
		equal(t, "ResponseID", m.ResponseID, "")
		if m.Item != nil || m.CreatedAt.Before(start) {
			t.Errorf("message %d: %+v", i, m)
		}
		if one := r.message(t, conversation, m.ID); fmt.Sprint(one) != fmt.Sprint(m) {
			t.Errorf("Message:\n got  %+v\n want %+v", one, m)
		}
	}

	s := r.summary(t, conversation)
	equal(t, "ID of the summary", s.ID, conversation)
	equal(t, "Model of the summary", s.Model, "qwen3:8b")
	equal(t, "MessageCount of the summary", s.MessageCount, 4)
	equal(t, "Head of the summary", s.Head, 4)
	if !s.StartedAt.Equal(c.StartedAt) || !s.UpdatedAt.Equal(c.UpdatedAt) {
		t.Errorf("the summary has other times: %v and %v, %v and %v", s.StartedAt, c.StartedAt, s.UpdatedAt, c.UpdatedAt)
	}
}

func withoutMessagesIsFound(t *testing.T, r *record) {
	conversation := r.create(t)
	c := r.get(t, conversation)
	equal(t, "messages", len(c.Messages), 0)
	equal(t, "MessageCount", c.MessageCount, 0)
	equal(t, "Head", c.Head, 0)
	equal(t, "Head of the summary", r.summary(t, conversation).Head, 0)
	page := r.thread(t, store.ThreadQuery{ConversationID: conversation, Limit: 10})
	if len(page.Messages) != 0 || page.More {
		t.Errorf("Thread: %+v", page)
	}
}

// malformed are strings that are no id, among them other spellings of one.
func malformed(id string) []string {
	return []string{
		"", " ", "x", "0", "not-a-uuid", "conv_" + id, "urn:uuid:" + id, "{" + id + "}", strings.ReplaceAll(id, "-", ""),
		strings.ToUpper(id), id + " ", " " + id, id + "0", id[:35], id[:35] + "g", id + "\x00", "\x00", "\xff\xfe", id[:30] + "\xff",
		"' OR ''='", "'; DROP TABLE conversations; --", `{"a",b}`, "null", "NULL", strings.Repeat("9", 36), strings.Repeat("-", 36),
		strings.Repeat("x", 1<<20), "00000000-0000-0000-0000-00000000000\u0660",
	}
}

// byID are all calls that name a conversation, message or reply, each with the id in one of the places it can have.
func byID(r *record, f store.Fence, conversation, message string) map[string]func(id string) error {
	zero := int64(0)
	return map[string]func(id string) error{
		"AddMessage": func(id string) error {
			_, err := r.AddMessage(r.ctx, id, "user", "lost")
			return err
		},
		"AppendMessages": func(id string) error {
			_, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: id, Messages: user("lost")})
			return err
		},
		"AppendMessages of nothing": func(id string) error {
			_, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: id})
			return err
		},
		"AppendMessages with Expect": func(id string) error {
			_, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: id, Messages: user("lost"), Expect: &zero})
			return err
		},
		"GetConversation": func(id string) error {
			c, err := r.GetConversation(r.ctx, id)
			if c != nil {
				return fmt.Errorf("a conversation beside the error %w", err)
			}
			return err
		},
		"Summary": func(id string) error {
			_, err := r.Summary(r.ctx, id)
			return err
		},
		"Thread": func(id string) error {
			_, err := r.Thread(r.ctx, store.ThreadQuery{ConversationID: id})
			return err
		},
		"Message of a conversation": func(id string) error {
			_, err := r.Message(r.ctx, id, message)
			return err
		},
		"Message": func(id string) error {
			_, err := r.Message(r.ctx, conversation, id)
			return err
		},
		"FindMessage": func(id string) error {
			_, err := r.FindMessage(r.ctx, id)
			return err
		},
		"Thread through": func(id string) error {
			if id == "" {
				return store.ErrNotFound
			}
			_, err := r.Thread(r.ctx, store.ThreadQuery{ConversationID: conversation, Through: id})
			return err
		},
		"Place of a conversation": func(id string) error {
			_, err := r.Place(r.ctx, id, message)
			return err
		},
		"Place": func(id string) error {
			_, err := r.Place(r.ctx, conversation, id)
			return err
		},
		"UpdateConversation": func(id string) error { return r.rename(id, "lost") },
		"DeleteConversation": func(id string) error { return r.DeleteConversation(r.ctx, id) },
		"DeleteResponse": func(id string) error {
			_, err := r.DeleteResponse(r.ctx, id)
			return err
		},
		"DeleteMessage of a conversation": func(id string) error {
			return r.DeleteMessage(r.ctx, id, message)
		},
		"DeleteMessage": func(id string) error { return r.DeleteMessage(r.ctx, conversation, id) },
		"StartResponse in a conversation": func(id string) error {
			if id == "" {
				return store.ErrNotFound // it names none there
			}
			_, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, ConversationID: id, Input: user("lost")})
			return err
		},
		"StartResponse after a response": func(id string) error {
			if id == "" {
				return store.ErrNotFound
			}
			_, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, PreviousID: id, Input: user("lost")})
			return err
		},
		"FinishResponse of a conversation": func(id string) error {
			_, _, err := r.FinishResponse(r.ctx, store.Finish{Fence: f, ConversationID: id, ResponseID: store.NewID(), Status: store.ResponseCompleted})
			return err
		},
		"FinishResponse": func(id string) error {
			_, _, err := r.FinishResponse(r.ctx, store.Finish{Fence: f, ConversationID: conversation, ResponseID: id, Status: store.ResponseCompleted})
			return err
		},
		"ReadLog": func(id string) error {
			_, _, err := r.ReadLog(r.ctx, id, 0)
			return err
		},
	}
}

func idsNotFound(t *testing.T, r *record) {
	conversation, other, f := r.create(t), r.create(t), r.join(t)
	message := r.add(t, conversation, "user", "here")
	deleted := r.create(t)
	r.add(t, deleted, "user", "gone")
	if err := r.DeleteConversation(r.ctx, deleted); err != nil {
		t.Fatal(err)
	}
	bad := append(malformed(conversation), store.NewID(), deleted, "00000000-0000-0000-0000-000000000000", other)
	ofMessage := map[string]bool{"Message": true, "Message of a conversation": true, "DeleteMessage": true, "DeleteMessage of a conversation": true,
		"Place": true, "Place of a conversation": true, "Thread through": true, "DeleteResponse": true}
	for name, call := range byID(r, f, conversation, message) {
		r.sameState(t, conversation, func() {
			for _, id := range bad {
				if id == other && !ofMessage[name] {
					continue // it is a conversation, just not the one of the message
				}
				if err := call(id); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("%s(%s): the error is %v, want ErrNotFound", name, short(fmt.Sprintf("%.60q", id)), err)
				}
			}
		})
	}
	for _, id := range bad {
		if list, err := r.Running(r.ctx, id); len(list) != 0 || err != nil {
			t.Errorf("Running(%.60q) = %v, %v; want nothing", id, list, err)
		}
	}
	for _, id := range malformed(f.ServerID) {
		if _, err := r.JoinServer(r.ctx, id); err == nil {
			t.Errorf("JoinServer(%.60q) succeeds", id)
		}
	}
}

func badRole(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	r.add(t, conversation, "user", "here")
	for _, role := range []string{"", "developer", "tool", "User", "user ", " user", "assistant\n", "função", "'); DROP TABLE messages; --", strings.Repeat("user", 1000)} {
		good := store.NewMessage{Role: "user", Content: "good"}
		bad := store.NewMessage{Role: role, Content: "bad"}
		for name, call := range map[string]func() error{
			"AddMessage": func() error {
				_, err := r.AddMessage(r.ctx, conversation, role, "bad")
				return err
			},
			"AppendMessages": func() error {
				_, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: conversation, Messages: []store.NewMessage{good, bad, good}})
				return err
			},
			"AppendMessages with Expect": func() error {
				head := r.summary(t, conversation).Head
				_, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: conversation, Messages: []store.NewMessage{bad, good}, Expect: &head})
				return err
			},
			"StartResponse": func() error {
				_, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, ConversationID: conversation, Input: []store.NewMessage{good, bad}})
				return err
			},
		} {
			r.sameState(t, conversation, func() {
				err := call()
				var invalid *store.InvalidRoleError
				if !errors.As(err, &invalid) || invalid.Role != role || errors.Unwrap(invalid) == nil {
					t.Errorf("%s of role %.40q: %#v, want an InvalidRoleError with the role and the database's own error", name, role, err)
				}
				if !store.Permanent(err) {
					t.Errorf("%s of role %.40q: the error is not permanent", name, role)
				}
			})
		}
	}
	r.add(t, conversation, "user", "and on it goes")
	r.whole(t, conversation, 0)
}

func appendWholeOrNot(t *testing.T, r *record) {
	conversation := r.create(t)
	item := []byte(`{ "type": "function_call",  "name":"du" }`)
	made, head := r.append(t, store.Append{ConversationID: conversation, Messages: []store.NewMessage{
		{Role: "user", Content: "first"}, {Role: "assistant", Content: "second", Item: item}, {Role: "user", Content: "third"}}})
	equal(t, "head", head, 3)
	c := r.get(t, conversation)
	same(t, "ids", ids(c.Messages), made)
	same(t, "texts", texts(c.Messages), []string{"first", "second", "third"})
	equal(t, "Item", string(c.Messages[1].Item), string(item))

	r.sameState(t, conversation, func() {
		for _, broken := range []string{"{", "", "nil", `{"a":1,}`, `"`} {
			_, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: conversation, Messages: []store.NewMessage{
				{Role: "user", Content: "good"}, {Role: "user", Content: "bad", Item: []byte(broken)}}})
			if err == nil || !store.Permanent(err) {
				t.Errorf("an item that is not JSON, %q: the error is %v, want a permanent one", broken, err)
			}
		}
	})
}

func madeWithMessages(t *testing.T, r *record) {
	mark := word()
	messages := []store.NewMessage{{Role: "system", Content: "first"}, {Role: "user", Content: mark}, {Role: "user", Content: "third", Item: itemOf(t, "x")}}
	conversation := r.createWith(t, store.NewConversation{Title: "made", Messages: messages})
	c := r.get(t, conversation)
	same(t, "the messages", texts(c.Messages), []string{"first", mark, "third"})
	equal(t, "Role", c.Messages[0].Role, "system")
	equal(t, "Item", string(c.Messages[2].Item), string(messages[2].Item))
	equal(t, "Title", c.Title, "made")
	equal(t, "Head", c.Head, 3)
	same(t, "found", hitIDs(r.search(t, mark)), []string{c.Messages[1].ID})
	r.add(t, conversation, "user", "fourth")
	r.whole(t, conversation, 0)

	for name, bad := range map[string]store.NewMessage{"a bad role": {Role: "boss", Content: "x"}, "a NUL": {Role: "user", Content: "\x00"}, "no JSON": {Role: "user", Item: []byte("{")}} {
		marked := word()
		id, err := r.CreateConversationWith(r.ctx, store.NewConversation{Title: marked, Messages: append(user(marked), bad)})
		if err == nil || id != "" || !store.Permanent(err) {
			t.Errorf("with %s: %q, %v", name, id, err)
		}
		var role *store.InvalidRoleError
		if name == "a bad role" && (!errors.As(err, &role) || role.Role != "boss") {
			t.Errorf("with %s: %v", name, err)
		}
		r.gone(t, r.places(t), "after "+name, marked)
	}
}

func appendNothing(t *testing.T, r *record) {
	conversation := r.create(t)
	r.fill(t, conversation, 3)
	r.sameState(t, conversation, func() {
		made, head := r.append(t, store.Append{ConversationID: conversation})
		equal(t, "messages made", len(made), 0)
		equal(t, "head", head, 3)
		expect := int64(2)
		_, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: conversation, Expect: &expect})
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) || conflict.Head != 3 {
			t.Errorf("with another head expected: %v, want a ConflictError with head 3", err)
		}
	})
}

// soon is a time later than that of anybody else's rows, so that ours are first in every list.
func soon(i int) time.Time {
	return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Microsecond)
}

func listNewestFirst(t *testing.T, r *record) {
	var made []string
	for i := range store.ListLimit + 5 {
		made = append(made, r.create(t))
		r.engine.SetTimes(t, r.Store, made[i], soon(i/3)) // three at a time
	}
	r.add(t, made[0], "user", "activity does not move it")
	slices.Reverse(made)

	list, err := r.ListConversations(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != store.ListLimit {
		t.Fatalf("the list has %d conversations, want %d", len(list), store.ListLimit)
	}
	var got []string
	for i, c := range list {
		got = append(got, c.ID)
		if i > 0 && c.StartedAt.After(list[i-1].StartedAt) {
			t.Errorf("number %d started after number %d", i, i-1)
		}
	}
	same(t, "newest first", got, made[:store.ListLimit])

	page, err := r.List(r.ctx, store.ListQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the length of a page", len(page.Conversations), store.ListLimit)
	equal(t, "More", page.More, true)
}

func latestActivityFirst(t *testing.T, r *record) {
	a, b, c := r.create(t), r.create(t), r.create(t)
	for _, id := range []string{b, c, a} {
		r.add(t, id, "user", "hello")
	}
	if err := r.rename(b, "not an activity"); err != nil {
		t.Fatal(err)
	}
	f := r.join(t)
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: c, Input: user("q")})
	r.answer(t, f, reply, "a")
	page, err := r.List(r.ctx, store.ListQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range page.Conversations {
		if slices.Contains([]string{a, b, c}, s.ID) {
			got = append(got, s.ID)
		}
	}
	same(t, "latest activity first", got, []string{c, a, b})
}

func metadataRoundTrip(t *testing.T, r *record) {
	for _, metadata := range []map[string]string{
		nil, {}, {"a": "b"}, {"": ""}, {"key with \"quotes\" and \\": "value\nof ' several \u2028 lines"}, {"<&>": "</script>", "é": "日本語 🏳️‍🌈", "$1": "$2::text"},
	} {
		conversation := r.createWith(t, store.NewConversation{Metadata: metadata})
		check := func() {
			t.Helper()
			for _, got := range []map[string]string{r.summary(t, conversation).Metadata, r.get(t, conversation).Metadata} {
				if got == nil || len(got) != len(metadata) {
					t.Errorf("metadata is %#v, want %#v", got, metadata)
				}
				for key, value := range metadata {
					equal(t, "metadata "+key, got[key], value)
				}
			}
		}
		check()
		if err := r.setMetadata(conversation, map[string]string{"other": "x"}); err != nil {
			t.Fatal(err)
		}
		equal(t, "replaced metadata", fmt.Sprint(r.summary(t, conversation).Metadata), "map[other:x]")
		if err := r.setMetadata(conversation, metadata); err != nil {
			t.Fatal(err)
		}
		check()
	}
}

func pinnedAndArchived(t *testing.T, r *record) {
	var made []string // latest first
	for i := range 6 {
		made = append([]string{r.create(t)}, made...)
		r.engine.SetTimes(t, r.Store, made[0], soon(i))
	}
	set := func(id string, change store.ConversationChange) store.ConversationSummary {
		t.Helper()
		c, err := r.UpdateConversation(r.ctx, id, change)
		if err != nil {
			t.Fatal(err)
		}
		if read := r.summary(t, id); !reflect.DeepEqual(c, read) {
			t.Errorf("UpdateConversation returns\n%+v\nand then it is\n%+v", c, read)
		}
		return c
	}
	list := func(what string, q store.ListQuery, want ...string) {
		t.Helper()
		page, err := r.List(r.ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range page.Conversations {
			if slices.Contains(made, c.ID) {
				got = append(got, c.ID)
			}
		}
		same(t, what, got, want)
	}
	yes, no, title := true, false, "a title"
	if c := set(made[1], store.ConversationChange{Archived: &yes}); !c.Archived || c.Pinned || c.Title != "" {
		t.Errorf("archived it is %+v", c)
	}
	set(made[4], store.ConversationChange{Archived: &yes, Metadata: map[string]string{"a": "b"}})
	set(made[4], store.ConversationChange{Pinned: &yes, Title: &title})
	set(made[2], store.ConversationChange{Pinned: &yes})
	set(made[5], store.ConversationChange{Pinned: &yes})
	if c := set(made[4], store.ConversationChange{}); !c.Archived || !c.Pinned || c.Title != title || c.Metadata["a"] != "b" {
		t.Errorf("a change of nothing left %+v", c)
	}
	list("the list", store.ListQuery{}, made[0], made[2], made[3], made[5])
	list("the archived", store.ListQuery{Archived: true}, made[1], made[4])
	list("the pinned", store.ListQuery{Pinned: true}, made[2], made[5])
	list("the pinned and archived", store.ListQuery{Pinned: true, Archived: true}, made[4])
	after := r.summary(t, made[2]).Cursor()
	list("after one", store.ListQuery{After: &after}, made[3], made[5])
	list("the pinned after one", store.ListQuery{After: &after, Pinned: true}, made[5])
	before := r.summary(t, made[4]).Cursor()
	list("the archived before one", store.ListQuery{Before: &before, Archived: true}, made[1])

	if c := set(made[4], store.ConversationChange{Archived: &no, Pinned: &no, Metadata: map[string]string{}}); c.Archived || c.Pinned || len(c.Metadata) != 0 {
		t.Errorf("afterwards it is %+v", c)
	}
	list("with one brought back", store.ListQuery{}, made[0], made[2], made[3], made[4], made[5])
	r.add(t, made[1], "user", "an archived one goes on")
	equal(t, "Archived after an append", r.summary(t, made[1]).Archived, true)
}

func listNamesRunning(t *testing.T, r *record) {
	f, quiet, busy := r.join(t), r.create(t), r.create(t)
	done := r.turn(t, store.NewResponse{Fence: f, ConversationID: busy, Input: user("q")}, "a")
	check := func(when string, want string) {
		t.Helper()
		page, err := r.List(r.ctx, store.ListQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Conversations {
			switch c.ID {
			case quiet:
				equal(t, "RunningID of the other, "+when, c.RunningID, "")
			case busy:
				equal(t, "RunningID in the list, "+when, c.RunningID, want)
			}
		}
		equal(t, "RunningID of the summary, "+when, r.summary(t, busy).RunningID, want)
	}
	check("with none", "")
	first := r.start(t, store.NewResponse{Fence: f, ConversationID: busy, Input: user("q2")})
	check("with one", first.ID)
	second := r.start(t, store.NewResponse{Fence: f, PreviousID: done.ID, Input: user("q3")})
	check("with two", second.ID)
	r.answer(t, f, second, "a3")
	check("with one of two", first.ID)
	r.answer(t, f, first, "a2")
	check("at the end", "")
}

func rename(t *testing.T, r *record) {
	conversation := r.createWith(t, store.NewConversation{Title: "Where is my 10G link?", Model: "m"})
	equal(t, "Title", r.get(t, conversation).Title, "Where is my 10G link?")
	for _, title := range []string{"Proxmox", "'); --", strings.Repeat("é", 10000), ""} {
		if err := r.rename(conversation, title); err != nil {
			t.Fatal(err)
		}
		equal(t, "Title", r.summary(t, conversation).Title, title)
	}
	f := r.join(t)
	r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q"), Title: "by the first turn"}, "a")
	equal(t, "Title after the first turn", r.summary(t, conversation).Title, "by the first turn")
	r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q"), Title: "by the second"}, "a")
	equal(t, "Title after the second turn", r.summary(t, conversation).Title, "by the first turn")
}

func whoGaveTheTitle(t *testing.T, r *record) {
	f := r.join(t)
	titled := func(what string, n store.NewResponse, want bool) store.Response {
		t.Helper()
		n.Fence, n.Input = f, user("q")
		reply := r.start(t, n)
		equal(t, "Titled "+what, reply.Titled, want)
		r.answer(t, f, reply, "a")
		return reply
	}
	bare, named := r.create(t), r.createWith(t, store.NewConversation{Title: "q"})
	titled("without a title", store.NewResponse{ConversationID: bare}, false)
	titled("with one", store.NewResponse{ConversationID: bare, Title: "q"}, true)
	titled("with the same again", store.NewResponse{ConversationID: bare, Title: "q"}, false)
	titled("with the one that it has", store.NewResponse{ConversationID: named, Title: "q"}, false)
	alone := titled("of its own", store.NewResponse{Title: "q"}, true)
	titled("after it", store.NewResponse{PreviousID: alone.ID, Title: "q"}, false)
}

func personsRenameWins(t *testing.T, r *record) {
	title := func(id, title, was string) error {
		_, err := r.UpdateConversation(r.ctx, id, store.ConversationChange{Title: &title, TitleWas: &was})
		return err
	}
	conversation := r.createWith(t, store.NewConversation{Title: "the question"})
	if err := title(conversation, "the model's", "another"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("with another title than it has: %v", err)
	}
	equal(t, "Title", r.summary(t, conversation).Title, "the question")
	if err := title(conversation, "the model's", "the question"); err != nil {
		t.Error(err)
	}
	equal(t, "Title", r.summary(t, conversation).Title, "the model's")
	for range times(40) {
		conversation := r.createWith(t, store.NewConversation{Title: "the question"})
		together(2, func(n int) {
			if n == 0 {
				if err := r.rename(conversation, "the person's"); err != nil {
					t.Error(err)
				}
			} else if err := title(conversation, "the model's", "the question"); err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
		})
		equal(t, "Title after a race", r.summary(t, conversation).Title, "the person's")
	}
}

func unlistedNotListed(t *testing.T, r *record) {
	listed, unlisted := r.create(t), r.createWith(t, store.NewConversation{Unlisted: true})
	f := r.join(t)
	stray := r.start(t, store.NewResponse{Fence: f, Input: user("a question of its own")})
	equal(t, "Listed of its reply", stray.Listed, false)
	r.answer(t, f, stray, "an answer")
	for i, id := range []string{listed, unlisted, stray.ConversationID} {
		equal(t, "Listed", r.get(t, id).Listed, id == listed)
		equal(t, "Listed of the summary", r.summary(t, id).Listed, id == listed)
		r.engine.SetTimes(t, r.Store, id, soon(i))
	}
	listsOf := func(id string) (lists []string) {
		plain, err := r.ListConversations(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, unlisted := range []bool{false, true} {
			page, err := r.List(r.ctx, store.ListQuery{Unlisted: unlisted})
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(page.Conversations, func(c store.ConversationSummary) bool { return c.ID == id }) {
				lists = append(lists, fmt.Sprint("unlisted ", unlisted))
			}
		}
		if slices.ContainsFunc(plain, func(c store.ConversationSummary) bool { return c.ID == id }) {
			lists = append(lists, "plain")
		}
		return lists
	}
	same(t, "lists of a listed one", listsOf(listed), []string{"unlisted false", "plain"})
	same(t, "lists of an unlisted one", listsOf(unlisted), []string{"unlisted true"})
	same(t, "lists of a response's own", listsOf(stray.ConversationID), []string{"unlisted true"})
}

func infoNamesEngine(t *testing.T, r *record) {
	if info := r.Info(); info.Engine == "" || info.Detail == "" {
		t.Errorf("Info: %+v", info)
	}
}

func closeTwice(t *testing.T, r *record) {
	// Nothing is left to remove afterwards: the test makes no conversation.
	r.Close()
	r.Close()
	if _, err := r.CreateConversation(r.ctx, ""); err == nil {
		t.Error("a closed store makes conversations")
	}
}

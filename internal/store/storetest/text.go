package storetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

var textTests = []test{
	{"WhatCannotBeKeptIsRefusedByName", invalidText},
	{"WhatAModelSaysOfItsErrorIsCleaned", errorTextCleaned},
	{"HostileTextIsKeptByteForByte", hostileText},
	{"AnyTextIsKeptByteForByte", anyText},
	{"JSONIsKeptByteForByte", jsonKept},
	{"SixMegabytesOfWords", megabytesOfWords},
	{"ThreeMegabytesWithoutASpace", megabytesWithoutSpace},
}

// unkeepable are texts that no database holds, each with the offset of what is wrong.
var unkeepable = []struct {
	text   string
	offset int
}{
	{"\x00", 0}, {"é\x00b", 2}, {"\xff", 0}, {"é\xffé", 2}, {"ab\xc3", 2},
	{"\xed\xa0\x80", 0},          // a lone surrogate
	{"x\xed\xb0\x80\xed\xa0", 1}, // and another
	{"\xc0\x80", 0},              // a NUL in two bytes
	{"\xf4\x90\x80\x80", 0},      // past the last code point
	{"\U0010ffff\xf8\x88\x80\x80\x80", 4},
	{strings.Repeat("é", 50000) + "\xe2\x82", 100000},
}

func invalidText(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	r.add(t, conversation, "user", "here")
	done := r.turn(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")}, "a")
	running := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	r.log(t, f, says(running, "so far"))

	message := func(m store.NewMessage) []store.NewMessage {
		return []store.NewMessage{{Role: "user", Content: "good"}, m, {Role: "user", Content: "good"}}
	}
	create := func(c store.NewConversation) error {
		id, err := r.CreateConversationWith(r.ctx, c)
		if err == nil {
			r.remove(t, id)
		}
		return err
	}
	turn := func(n store.NewResponse) error {
		n.Fence, n.PreviousID = f, done.ID
		_, err := r.StartResponse(r.ctx, n)
		return err
	}
	app := func(expect *int64, m store.NewMessage) error {
		_, _, err := r.AppendMessages(r.ctx, store.Append{ConversationID: conversation, Messages: message(m), Expect: expect})
		return err
	}
	head := r.summary(t, conversation).Head
	for _, call := range []struct {
		name, field string
		do          func(text string) error
	}{
		{"CreateConversation", "model", func(s string) error {
			_, err := r.CreateConversation(r.ctx, s)
			return err
		}},
		{"CreateConversationWith Model", "model", func(s string) error { return create(store.NewConversation{Model: s}) }},
		{"CreateConversationWith Title", "title", func(s string) error { return create(store.NewConversation{Title: s}) }},
		{"CreateConversationWith a key", "metadata", func(s string) error {
			return create(store.NewConversation{Metadata: map[string]string{s: "x"}})
		}},
		{"CreateConversationWith a value", "metadata.key", func(s string) error {
			return create(store.NewConversation{Metadata: map[string]string{"a": "b", "key": s}})
		}},
		{"UpdateConversation title", "title", func(s string) error { return r.rename(conversation, s) }},
		{"UpdateConversation metadata key", "metadata", func(s string) error {
			return r.setMetadata(conversation, map[string]string{s: "x"})
		}},
		{"UpdateConversation metadata value", "metadata.key", func(s string) error {
			return r.setMetadata(conversation, map[string]string{"key": s})
		}},
		{"AddMessage role", "role", func(s string) error {
			_, err := r.AddMessage(r.ctx, conversation, s, "x")
			return err
		}},
		{"AddMessage content", "content", func(s string) error {
			_, err := r.AddMessage(r.ctx, conversation, "user", s)
			return err
		}},
		{"AppendMessages role", "role", func(s string) error { return app(nil, store.NewMessage{Role: s}) }},
		{"AppendMessages content", "content", func(s string) error { return app(nil, store.NewMessage{Role: "user", Content: s}) }},
		{"AppendMessages item", "item", func(s string) error { return app(nil, store.NewMessage{Role: "user", Item: []byte(s)}) }},
		{"AppendMessages content with Expect", "content", func(s string) error {
			return app(&head, store.NewMessage{Role: "user", Content: s})
		}},
		{"StartResponse role", "role", func(s string) error { return turn(store.NewResponse{Input: message(store.NewMessage{Role: s})}) }},
		{"StartResponse content", "content", func(s string) error {
			return turn(store.NewResponse{Input: message(store.NewMessage{Role: "user", Content: s})})
		}},
		{"StartResponse item", "item", func(s string) error {
			return turn(store.NewResponse{Input: message(store.NewMessage{Role: "user", Item: []byte(s)})})
		}},
		{"StartResponse model", "model", func(s string) error { return turn(store.NewResponse{Model: s}) }},
		{"StartResponse title", "title", func(s string) error { return turn(store.NewResponse{Title: s}) }},
		{"StartResponse request", "request", func(s string) error { return turn(store.NewResponse{Request: []byte(s)}) }},
		{"AppendDeltas", "text", func(s string) error {
			l := logOf(running)
			l.rows = make([]store.Delta, 5)
			l.item("message", "output_text", "good", s)
			return r.AppendDeltas(r.ctx, f, l.rows[5:])
		}},
		{"FinishResponse", "incomplete_reason", func(s string) error {
			e := end(f, running, store.ResponseIncomplete)
			e.IncompleteReason = s
			_, _, err := r.FinishResponse(r.ctx, e)
			return err
		}},
	} {
		_, logWas := r.readLog(t, running, 0)
		r.sameState(t, conversation, func() {
			for _, bad := range unkeepable {
				err := call.do(bad.text)
				var invalid *store.InvalidTextError
				if !errors.As(err, &invalid) {
					t.Errorf("%s of %.40q: the error is %v, want an InvalidTextError", call.name, bad.text, err)
					continue
				}
				field := call.field
				equal(t, "the field of "+call.name, invalid.Field, field)
				equal(t, fmt.Sprintf("the offset in %.40q of %s", bad.text, call.name), invalid.Offset, bad.offset)
				if invalid.Reason == "" || !utf8.ValidString(err.Error()) || !store.Permanent(err) {
					t.Errorf("%s of %.40q: %q, permanent: %v", call.name, bad.text, err, store.Permanent(err))
				}
			}
		})
		now, logIs := r.readLog(t, running, 0)
		equal(t, "the log after "+call.name, fmt.Sprint(logIs), fmt.Sprint(logWas))
		equal(t, "the status after "+call.name, now.Status, store.ResponseInProgress)
	}
	if _, err := r.Search(r.ctx, store.SearchQuery{Text: "\x00 \xff here"}); err != nil {
		t.Errorf("Search: %v", err)
	}
}

func errorTextCleaned(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	e := end(f, reply, store.ResponseFailed)
	e.Error = &store.ResponseError{Code: "model\x00error", Message: "the model said \xff\xfe"}
	want := store.ResponseError{Code: "model\uFFFDerror", Message: store.CleanText(e.Error.Message)}
	ended, _, err := r.FinishResponse(r.ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	read, _ := r.readLog(t, reply, 0)
	for what, got := range map[string]*store.ResponseError{"returned": ended.Error, "read": read.Error} {
		if got == nil || *got != want {
			t.Errorf("the error %s is %+v, want %+v", what, got, want)
		}
	}
}

// hostile are texts that some layer of some program has mangled.
var hostile = []string{
	"", " ", "\n", " leading and trailing ", "\ttab\t", "trailing newline\n", "\r\n", "line\r\nline\rline\n",
	"O'Reilly", "''", "'; DROP TABLE messages; --", `"quoted"`, `\`, `\\`, `\'`, `\x00`, `\0`, `\u0000`, `E'\x00'`, "$1", "$$", "$tag$", "%s %d %!", "?", ":name", "@p1",
	`{"a",b}`, `{}`, `{NULL}`, `NULL`, `null`, `[1,2]`, `{"a":{"b":[null]}}`, `(1,"2")`, `"`, `,`, `{`, `}`, `\N`, `\.`, "a,b;c\td",
	"<script>alert(1)</script>", "&amp;", "<!-- -->", "\u2028\u2029", "\ufeffBOM", "\ufffe", "\uffff", "\ufffd", "\U0010ffff", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 🏳️‍🌈",
	"e\u0301 é", "Z\u0351\u036b\u0343\u036a\u0302alg\u033ao", "\u202eright to left\u202c", "שלום العربية", "日本語 한국어 ไทย", "ẞßſ İıI", "\u0001\u0002\u001f\u007f\u0080\u009f",
	"\u00a0nbsp\u00a0", "\u200bzero\u200b", strings.Repeat("\n", 100000), strings.Repeat("\\'\"", 10000), strings.Repeat("\U0001f600", 10000),
	strings.Repeat("a", 8191), strings.Repeat("a", 8192), strings.Repeat("é", 4096) + "x",
}

func hostileText(t *testing.T, r *record) { everyWritePath(t, r, hostile) }

func anyText(t *testing.T, r *record) {
	check(t, 20, func(rt *rapid.T) {
		everyWritePath(rt, r, rapid.SliceOfN(keepable, 1, 8).Draw(rt, "texts"))
	})
}

// keepable generates texts that can be kept, the odd ones often.
var keepable = rapid.OneOf(rapid.String(), rapid.SampledFrom(hostile), rapid.StringOf(rapid.RuneFrom([]rune("ab 'é\n\\\"{},日😀\u0301\ufffd"))),
	rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Filter(func(s string) bool { return store.CheckText("", s) == nil })

// everyWritePath writes texts on each way into the record and reads them on each way out.
func everyWritePath(t tb, r *record, list []string) {
	t.Helper()
	f := r.join(t)
	conversation := r.create(t)
	for _, text := range list {
		m := r.message(t, conversation, r.add(t, conversation, "user", text))
		equal(t, "a text added", m.Content, text)
	}
	same(t, "texts added", texts(r.get(t, conversation).Messages), list)

	var messages []store.NewMessage
	for _, text := range list {
		messages = append(messages, store.NewMessage{Role: "assistant", Content: text, Item: itemOf(t, text)})
	}
	appended := r.create(t)
	r.append(t, store.Append{ConversationID: appended, Messages: messages})
	sameItems(t, "appended", r.get(t, appended).Messages, messages)
	same(t, "texts appended", texts(r.thread(t, store.ThreadQuery{ConversationID: appended}).Messages), list)

	asked := r.create(t)
	for i := range messages {
		messages[i].Role = "user"
	}
	request := itemOf(t, strings.Join(list, "|"))
	title := strings.Join(list, "")
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: asked, Input: messages, Request: request, Model: title, Title: title})
	sameItems(t, "asked", r.get(t, asked).Messages, messages)
	l := logOf(reply)
	l.item("message", "output_text", list...)
	l.item("reasoning", "summary_text", list...) // is no text of the message
	l.item("function_call", "arguments", list...)
	for _, text := range list {
		l.item("message", "output_text", text)
	}
	r.log(t, f, l.rows)
	_, running := r.readLog(t, reply, 0)
	r.finish(t, f, reply, store.ResponseCompleted)
	ended, folded := r.readLog(t, reply, 0)
	equal(t, "the request", string(ended.Request), string(request))
	equal(t, "the model", ended.Model, title)
	equal(t, "the title", r.summary(t, asked).Title, title)
	same(t, "the log while it ran", deltaTexts(running), deltaTexts(l.rows))
	same(t, "the log afterwards", deltaTexts(folded), deltaTexts(l.rows))
	outputs := r.get(t, asked).Messages[len(list):]
	same(t, "texts answered", texts(outputs), append([]string{title, "", title}, list...))
}

// itemOf is a JSON object with text in it.
func itemOf(t tb, text string) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(len(text)%2 == 0)
	if err := e.Encode(map[string]string{"type": "message", "text": text}); err != nil {
		t.Fatalf("%v", err)
	}
	return bytes.TrimSpace(b.Bytes())
}

func sameItems(t tb, how string, got []store.Message, want []store.NewMessage) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d messages %s, want %d", len(got), how, len(want))
	}
	for i := range want {
		equal(t, "a text "+how, got[i].Content, want[i].Content)
		equal(t, "an item "+how, string(got[i].Item), string(want[i].Item))
	}
}

// deltaTexts are the rows of a log as one text each.
func deltaTexts(deltas []store.Delta) []string {
	list := make([]string, len(deltas))
	for i, d := range deltas {
		list[i] = fmt.Sprintf("%d %s %d/%d %s %s", d.N, d.Kind, d.Item, d.Part, d.ItemID, d.Text)
	}
	return list
}

func jsonKept(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	items := []string{
		`{"a":1,"a":2}`, "{ \"b\" : 1,\n\t\"a\" : 2 }", `{"n":1.10e5,"big":123456789012345678901234567890}`, `{"s":"\u0000 \ud800 \u00e9 \/"}`,
		`[]`, `""`, `0`, `true`, `null`, ` {} `, strings.Repeat("[", 500) + strings.Repeat("]", 500),
	}
	var messages []store.NewMessage
	for _, item := range items {
		messages = append(messages, store.NewMessage{Role: "user", Content: "x", Item: json.RawMessage(item)})
	}
	r.append(t, store.Append{ConversationID: conversation, Messages: messages})
	sameItems(t, "appended", r.get(t, conversation).Messages, messages)
	for _, item := range items {
		reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Request: json.RawMessage(item)})
		equal(t, "the request returned", string(reply.Request), item)
		r.finish(t, f, reply, store.ResponseFailed)
		read, _ := r.readLog(t, reply, 0)
		equal(t, "the request", string(read.Request), item)
	}
	plain := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation})
	equal(t, "no request", string(plain.Request), "{}")
	r.finish(t, f, plain, store.ResponseFailed)
	r.sameState(t, conversation, func() {
		if _, err := r.StartResponse(r.ctx, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q"), Request: json.RawMessage("{")}); err == nil || !store.Permanent(err) {
			t.Errorf("a request that is not JSON: %v", err)
		}
	})
}

func megabytesOfWords(t *testing.T, r *record) {
	conversation, f := r.create(t), r.join(t)
	mark := word()
	var b strings.Builder
	for i := 0; b.Len() < 6<<20; i++ {
		fmt.Fprintf(&b, "%s%d ", mark, i)
	}
	text := b.String()
	last := strings.Fields(text[len(text)-100:])
	queries := []string{last[len(last)-1], last[len(last)-1] + " " + mark + "123456 " + mark + "0"}

	id := r.add(t, conversation, "user", text)
	if got := r.message(t, conversation, id).Content; got != text {
		t.Fatalf("%d bytes became %d", len(text), len(got))
	}
	find := func(state string) {
		t.Helper()
		for _, q := range queries {
			same(t, "found by "+q+", "+state, hitIDs(r.search(t, q)), []string{id})
		}
		same(t, "found by a word that is not there, "+state, hitIDs(r.search(t, mark+"0 "+mark+"x")), nil)
	}
	find("not indexed yet")
	r.drain(t)
	find("indexed")

	// As a reply, in many pieces.
	reply := r.start(t, store.NewResponse{Fence: f, ConversationID: conversation, Input: user("q")})
	l := logOf(reply)
	var pieces []string
	for rest := text[:1<<20]; rest != ""; {
		n := min(len(rest), 1+rand.IntN(4000))
		pieces, rest = append(pieces, rest[:n]), rest[n:]
	}
	l.item("message", "output_text", pieces...)
	for rows := range chunks(l.rows, 200) {
		r.log(t, f, rows)
	}
	r.finish(t, f, reply, store.ResponseCompleted)
	messages := r.get(t, conversation).Messages
	if got := messages[len(messages)-1].Content; got != text[:1<<20] {
		t.Errorf("a reply of %d bytes became %d", 1<<20, len(got))
	}
	_, folded := r.readLog(t, reply, 0)
	same(t, "its log", deltaTexts(folded), deltaTexts(l.rows))
}

func megabytesWithoutSpace(t *testing.T, r *record) {
	conversation := r.create(t)
	mark := word()
	for _, text := range []string{mark + strings.Repeat("x", 3<<20), mark + strings.Repeat("é", 1<<18), mark + strings.Repeat("日", 1<<17)} {
		id := r.add(t, conversation, "user", text)
		if got := r.message(t, conversation, id).Content; got != text {
			t.Fatalf("%d bytes became %d", len(text), len(got))
		}
	}
	equal(t, "found, not indexed yet", len(r.search(t, mark)), 3)
	r.drain(t)
	equal(t, "found, indexed", len(r.search(t, mark)), 3)
	equal(t, "found by its whole length", len(r.search(t, mark+strings.Repeat("x", 3<<20))), 1)
}

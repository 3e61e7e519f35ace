package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"git.georgsen.dk/hwlab/internal/store"
)

// foreign is a conversation that another program exported: a tree of messages.
type foreign struct {
	source           string // of whom: "chatgpt"
	id               string // theirs
	title, model     string
	started, updated time.Time
	pinned, archived bool
	nodes            []node
	current          string // the node that was looked at last, or ""
}

// node is a message of a foreign conversation.
type node struct {
	id, parent string // theirs; a parent that is no node is none
	role       string // user, assistant or system
	text       string
	parts      []store.Part // images and files besides the text
	reasoning  string       // what was thought before an answer
	model      string
	usage      *store.Usage
	at         time.Time
}

// madeID is the id that something of another program has in any record: the same at every import.
func madeID(parts ...string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("hwlab:"+strings.Join(parts, "\x00"))).String()
}

// rows are the conversation's rows. Branches keep their order; that of the current node comes last, which makes it the active one.
func (c foreign) rows() ([]store.ArchiveRow, error) {
	known := map[string]*node{}
	for i := range c.nodes {
		n := &c.nodes[i]
		if n.id == "" || known[n.id] != nil {
			return nil, bad("two messages have the id %q", n.id)
		}
		known[n.id] = n
	}
	children := map[string][]*node{}
	for i := range c.nodes {
		n := &c.nodes[i]
		if known[n.parent] == nil {
			n.parent = ""
		}
		children[n.parent] = append(children[n.parent], n)
	}
	active := map[string]bool{}
	for id := c.current; known[id] != nil && !active[id]; id = known[id].parent {
		active[id] = true
	}
	for _, list := range children {
		slices.SortStableFunc(list, func(a, b *node) int {
			if active[a.id] != active[b.id] {
				if active[a.id] {
					return 1
				}
				return -1
			}
			return 0
		})
	}

	conversation := store.ArchivedConversation{ID: madeID(c.source, c.id), Model: store.CleanText(c.model), Title: store.CleanText(cut(c.title)), Listed: true,
		Pinned: c.pinned, Archived: c.archived}
	metadata, err := store.MetadataJSON(map[string]string{"source": c.source, "source_id": store.CleanText(c.id)})
	if err != nil {
		return nil, bad("%v", err)
	}
	conversation.Metadata = json.RawMessage(metadata)
	var messages, responses []store.ArchiveRow
	last := map[string]string{} // our id of what a node ended in
	before, at := "", c.started
	seen := 0
	for stack := reversed(children[""]); len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = append(stack[:len(stack)-1], reversed(children[n.id])...)
		seen++
		conversation.Head++
		at = cmp.Or(micro(n.at), at)
		parent := ""
		if from := last[n.parent]; from != before {
			if parent = from; parent == "" {
				parent = conversation.ID
			}
		}
		made, response, err := n.rows(c, conversation.Head, parent, at)
		if err != nil {
			return nil, err
		}
		for _, m := range made {
			messages = append(messages, store.ArchiveRow{Message: &m})
			before = m.ID
		}
		if response != nil {
			responses = append(responses, store.ArchiveRow{Response: response})
		}
		last[n.id] = before
		conversation.MessageCount += len(made)
	}
	if seen != len(c.nodes) {
		return nil, bad("%d messages follow each other in a circle", len(c.nodes)-seen)
	}
	first := time.Unix(0, 0).UTC()
	if len(messages) > 0 {
		first = cmp.Or(messages[0].Message.CreatedAt, first)
	}
	conversation.StartedAt = cmp.Or(micro(c.started), first)
	conversation.UpdatedAt = cmp.Or(micro(c.updated), at, conversation.StartedAt)
	for _, row := range messages {
		row.Message.CreatedAt = cmp.Or(row.Message.CreatedAt, conversation.StartedAt)
	}
	for _, row := range responses {
		row.Response.CreatedAt = cmp.Or(row.Response.CreatedAt, conversation.StartedAt)
		row.Response.EndedAt = row.Response.CreatedAt
	}
	return slices.Concat([]store.ArchiveRow{{Conversation: &conversation}}, messages, responses), nil
}

// give gives the conversation's rows to f.
func (c foreign) give(f func(store.ArchiveRow) error) error {
	rows, err := c.rows()
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := f(row); err != nil {
			return err
		}
	}
	return nil
}

// rows are the messages of a node and, of an answer, the reply it was.
func (n node) rows(c foreign, seq int64, parent string, at time.Time) ([]store.ArchivedMessage, *store.ArchivedResponse, error) {
	m := store.ArchivedMessage{ID: madeID(c.source, c.id, n.id), Seq: seq, ParentID: parent, Role: n.role, Status: store.MessageCompleted, CreatedAt: at,
		Content: store.CleanText(n.text)}
	if n.role != "assistant" {
		if len(n.parts) > 0 {
			parts := n.parts
			if m.Content != "" {
				parts = append([]store.Part{{Type: store.PartInputText, Text: m.Content}}, parts...)
			}
			item, err := json.Marshal(store.Item{Type: store.ItemMessage, Role: n.role, Content: parts})
			if err != nil {
				return nil, nil, err
			}
			m.Item = item
			var texts []string // what is searched in
			for _, p := range parts {
				if p.Type == store.PartInputText {
					texts = append(texts, p.Text)
				}
			}
			m.Content = strings.Join(texts, "\n")
		}
		return []store.ArchivedMessage{m}, nil, nil
	}
	id := madeID(c.source, c.id, n.id, "reply")
	var log []store.Delta
	say := func(item int, itemID, kind, part, text string) {
		for _, d := range []store.Delta{{Kind: store.DeltaItem, ItemID: itemID, Text: kind}, {Kind: store.DeltaPart, Text: part}, {Kind: store.DeltaText, Text: text},
			{Kind: store.DeltaPartDone}, {Kind: store.DeltaItemDone}} {
			d.ResponseID, d.N, d.Item = id, len(log), item
			log = append(log, d)
		}
	}
	if n.reasoning != "" {
		say(0, madeID(c.source, c.id, n.id, "reasoning"), store.ItemReasoning, store.PartSummaryText, store.CleanText(n.reasoning))
	}
	text := m.Content
	for _, p := range n.parts { // an answer holds text only
		text = strings.TrimPrefix(text+"\n\n"+cmp.Or(p.Text, "["+cmp.Or(p.Filename, "image")+"]"), "\n\n")
	}
	switch {
	case n.reasoning == "":
		say(0, m.ID, store.ItemMessage, store.PartOutputText, text)
	case text != "":
		say(1, m.ID, store.ItemMessage, store.PartOutputText, text)
	}
	folded, line, err := store.Fold(log)
	if err != nil {
		return nil, nil, err
	}
	var list []store.ArchivedMessage
	for _, f := range folded {
		list = append(list, store.ArchivedMessage{ID: f.ID, Seq: seq, Idx: f.Idx, Role: f.Role, Status: f.Status, ResponseID: id, CreatedAt: at, Content: f.Content, Item: f.Item})
	}
	list[0].ParentID = parent
	r := &store.ArchivedResponse{ID: id, Seq: seq, ParentID: parent, Status: store.ResponseCompleted, Model: store.CleanText(cmp.Or(n.model, c.model)), Request: json.RawMessage("{}"),
		CreatedAt: at, EndedAt: at, Log: line}
	if n.usage != nil {
		if r.Usage, _, err = (store.Finish{Usage: n.usage}).Encode(); err != nil {
			return nil, nil, err
		}
	}
	return list, r, nil
}

func reversed(list []*node) []*node {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// micro is a time as a record keeps it; the zero time stays.
func micro(t time.Time) time.Time {
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// seconds and millis are times that are numbers; 0 is none.
func seconds(s float64) time.Time {
	if s <= 0 || s > 1e11 {
		return time.Time{}
	}
	return time.UnixMicro(int64(s * 1e6)).UTC()
}

func millis(ms float64) time.Time { return seconds(ms / 1000) }

// cut is a title of a length that can be shown.
func cut(title string) string {
	const most = 200
	if utf8.RuneCountInString(title) > most {
		title = string([]rune(title)[:most])
	}
	return title
}

// document gives the conversations of a JSON document: a list of them, or one after another.
type document struct {
	in     io.Reader
	json   *json.Decoder // of in
	start  int64         // where in the file it began
	list   bool          // inside of [ ]
	number int
	ended  bool
}

func newDocument(in *bufio.Reader) (*document, error) {
	start, err := firstByte(in)
	if err != nil || start != '[' && start != '{' {
		return nil, errUnknown
	}
	d := &document{in: in, json: json.NewDecoder(in), list: start == '['}
	if d.list {
		_, err = d.json.Token()
	}
	return d, err
}

// firstByte is the first byte that is no space, which stays to be read.
func firstByte(in *bufio.Reader) (byte, error) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		if !strings.ContainsRune(" \t\r\n\ufeff", rune(b)) && b != 0xef && b != 0xbb && b != 0xbf {
			return b, in.UnreadByte()
		}
	}
}

func (d *document) next(_ *encoder, f func(store.ArchiveRow) error) (string, error) {
	d.number++
	place := fmt.Sprintf("conversation %d", d.number)
	if d.ended {
		return place, io.EOF
	}
	if d.list && !d.json.More() {
		d.ended = true
		if _, err := d.json.Token(); err != nil {
			return place, bad("the file ends here in the middle: %v", err)
		}
		return place, io.EOF
	}
	var text json.RawMessage
	if err := d.json.Decode(&text); err != nil {
		if err == io.EOF && !d.list {
			d.ended = true
			return place, io.EOF
		}
		at := d.start + d.json.InputOffset()
		if d.ended = !d.resume(); d.ended {
			return place, bad("the file is damaged from here on, after byte %d: %v", at, err)
		}
		return place, bad("the file is damaged after byte %d: %v; what is whole after that is read", at, err)
	}
	if !utf8.Valid(text) {
		return place, bad("it has a byte that is not UTF-8")
	}
	c, err := readForeign(text)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		return place, bad("%s cannot be of the type %s", cmp.Or(wrong.Field, "it"), wrong.Value)
	case err != nil:
		return place, bad("%v", err)
	}
	return place, c.give(f)
}

// resume goes on after a damaged conversation, with the next object that is one and not the value of a field: what is in the damaged
// one is none. It reports whether there is one.
func (d *document) resume() bool {
	open := ""
	if d.list {
		open = "["
	}
	begin := d.start + d.json.InputOffset() // of text in the file
	text, _ := io.ReadAll(d.json.Buffered())
	before := byte(0) // the last that is no space
	for at := 0; ; at++ {
		if at == len(text) {
			more := make([]byte, 1<<16)
			n, _ := io.ReadFull(d.in, more)
			if n == 0 {
				return false
			}
			begin, text, at = begin+int64(at), more[:n], 0
		}
		c := text[at]
		if strings.IndexByte(" \t\r\n", c) >= 0 {
			continue
		}
		if c == '{' && before != ':' {
			var read bytes.Buffer
			var object json.RawMessage
			err := json.NewDecoder(io.MultiReader(bytes.NewReader(text[at:]), io.TeeReader(d.in, &read))).Decode(&object)
			text = append(text, read.Bytes()...)
			if err == nil {
				if _, err := readForeign(object); !errors.Is(err, errUnknown) {
					d.in = io.MultiReader(bytes.NewReader(text[at:]), d.in)
					d.json, d.start = json.NewDecoder(io.MultiReader(strings.NewReader(open), d.in)), begin+int64(at-len(open))
					if d.list {
						_, err = d.json.Token()
					}
					return err == nil
				}
				at += len(object) - 1
				c = '}'
			}
		}
		before = c
	}
}

// readForeign reads a conversation of whoever it is of.
func readForeign(text json.RawMessage) (foreign, error) {
	var is struct {
		Mapping      json.RawMessage `json:"mapping"`
		Chat         json.RawMessage `json:"chat"`
		Conv         json.RawMessage `json:"conv"`
		ChatMessages json.RawMessage `json:"chat_messages"`
		History      json.RawMessage
	}
	if json.Unmarshal(text, &is) != nil { // it is no object
		return foreign{}, errUnknown
	}
	switch {
	case is.Mapping != nil:
		return readChatGPT(text)
	case is.Chat != nil, is.History != nil:
		return readOpenWebUI(text)
	case is.Conv != nil:
		return readLlamaCpp(text)
	case is.ChatMessages != nil:
		return readClaude(text)
	}
	return foreign{}, errUnknown
}

// imagePart is an image: as it is where a model can be shown it, else named in words.
func imagePart(url, name string) store.Part {
	if strings.HasPrefix(url, "data:image/") || strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://") {
		return store.Part{Type: store.PartInputImage, ImageURL: store.CleanText(url)}
	}
	return named("image", cmp.Or(url, name))
}

func named(what, name string) store.Part {
	return store.Part{Type: store.PartInputText, Text: store.CleanText("[" + what + ": " + name + "]")}
}

// filePart is a file whose text came with it.
func filePart(name, text string) store.Part {
	return store.Part{Type: store.PartInputText, Text: store.CleanText(name + ":\n" + fenced("", text))}
}

// called is a call of a tool, in words.
func called(name, arguments string) string {
	text := "[tool: " + name + "]"
	if trimmed := strings.TrimSpace(arguments); trimmed != "" && trimmed != "{}" && trimmed != "null" {
		text += "\n" + fenced("json", arguments)
	}
	return text
}

// joined is text and more, as paragraphs.
func joined(text, more string) string {
	if text == "" || more == "" {
		return text + more
	}
	return text + "\n\n" + more
}

// roleOf is the role a message has here. What tools say becomes part of what the model says.
func roleOf(theirs string) string {
	switch theirs {
	case "user", "human":
		return "user"
	case "system", "developer":
		return "system"
	}
	return "assistant"
}

package archive

import (
	"cmp"
	"encoding/json"
	"errors"
	"html"
	"slices"
	"strings"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// readChatGPT reads a conversation of conversations.json in ChatGPT's data export.
func readChatGPT(text []byte) (foreign, error) {
	type message struct {
		Author     struct{ Role, Name string }
		CreateTime float64 `json:"create_time"`
		Content    struct {
			ContentType string            `json:"content_type"`
			Parts       []json.RawMessage `json:"parts"`
			Text        string            `json:"text"`
			Thoughts    []struct{ Summary, Content string }
		}
		Metadata struct {
			ModelSlug   string `json:"model_slug"`
			Hidden      bool   `json:"is_visually_hidden_from_conversation"`
			Attachments []struct{ ID, Name string }
		}
	}
	var c struct {
		ID             string  `json:"id"`
		ConversationID string  `json:"conversation_id"`
		Title          string  `json:"title"`
		CreateTime     float64 `json:"create_time"`
		UpdateTime     float64 `json:"update_time"`
		CurrentNode    string  `json:"current_node"`
		Model          string  `json:"default_model_slug"`
		Archived       bool    `json:"is_archived"`
		Starred        bool    `json:"is_starred"`
		Mapping        map[string]struct {
			Message  *message
			Parent   string
			Children []string
		}
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return foreign{}, err
	}
	f := foreign{source: "chatgpt", id: cmp.Or(c.ConversationID, c.ID), title: c.Title, model: c.Model, started: seconds(c.CreateTime), updated: seconds(c.UpdateTime),
		archived: c.Archived, pinned: c.Starred}
	if f.id == "" {
		return f, errors.New("it has no id")
	}
	// Nodes that say nothing, such as the root, are left out: what follows them follows what they follow.
	said := map[string]node{}
	for id, n := range c.Mapping {
		m := n.Message
		if m == nil || m.Metadata.Hidden {
			continue
		}
		made := node{id: id, role: roleOf(m.Author.Role), at: seconds(m.CreateTime), model: m.Metadata.ModelSlug}
		var texts []string
		pointers := ""
		for _, part := range m.Content.Parts {
			var words string
			var asset struct {
				ContentType string `json:"content_type"`
				Pointer     string `json:"asset_pointer"`
				Text        string `json:"text"`
			}
			if json.Unmarshal(part, &words) == nil {
				texts = append(texts, words)
			} else if json.Unmarshal(part, &asset) == nil {
				pointers += asset.Pointer + "\n"
				switch {
				case asset.Text != "":
					texts = append(texts, asset.Text)
				case strings.HasPrefix(asset.ContentType, "image"):
					made.parts = append(made.parts, imagePart("", asset.Pointer))
				case asset.Pointer != "":
					made.parts = append(made.parts, named(cmp.Or(asset.ContentType, "file"), asset.Pointer))
				}
			}
		}
		for _, a := range m.Metadata.Attachments { // of images a pointer says it already
			if a.Name != "" && (a.ID == "" || !strings.Contains(pointers, a.ID)) {
				made.parts = append(made.parts, named("file", a.Name))
			}
		}
		switch m.Content.ContentType {
		case "code", "execution_output":
			texts = append(texts, fenced("", m.Content.Text))
		default:
			texts = append(texts, m.Content.Text)
		}
		for _, t := range m.Content.Thoughts {
			made.reasoning = strings.TrimSpace(made.reasoning + "\n\n" + t.Summary + "\n" + t.Content)
		}
		made.text = strings.Join(slices.DeleteFunc(texts, func(t string) bool { return t == "" }), "\n\n")
		if made.text != "" || made.parts != nil || made.reasoning != "" {
			said[id] = made
		}
	}
	above := func(id string) string {
		for steps := 0; id != "" && steps <= len(c.Mapping); steps++ {
			if _, ok := said[id]; ok {
				return id
			}
			id = c.Mapping[id].Parent
		}
		return ""
	}
	// In the order of the tree, as a map has none.
	var roots []string
	for id, n := range c.Mapping {
		if _, ok := c.Mapping[n.Parent]; !ok {
			roots = append(roots, id)
		}
	}
	slices.Sort(roots)
	slices.Reverse(roots)
	walked := map[string]bool{}
	for stack := roots; len(stack) > 0; {
		id := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		n, ok := c.Mapping[id]
		if !ok || walked[id] {
			continue
		}
		walked[id] = true
		if made, ok := said[id]; ok {
			made.parent = above(n.Parent)
			f.nodes = append(f.nodes, made)
		}
		for i := range n.Children {
			stack = append(stack, n.Children[len(n.Children)-1-i])
		}
	}
	if len(walked) != len(c.Mapping) {
		return f, errors.New("its messages do not form a tree")
	}
	f.current = above(c.CurrentNode)
	return f, nil
}

// readOpenWebUI reads a chat of Open WebUI's "Export chats", or what an export of old held of one: that chat itself.
func readOpenWebUI(text []byte) (foreign, error) {
	type message struct {
		ID        string
		ParentID  string `json:"parentId"`
		Role      string
		Content   json.RawMessage
		Model     string
		Timestamp float64
		Files     []struct {
			Type, URL, Name string
			ContentType     string `json:"content_type"`
			File            struct{ Data struct{ Content string } }
		}
		Usage struct {
			Prompt     int64 `json:"prompt_tokens"`
			Completion int64 `json:"completion_tokens"`
			Input      int64 `json:"input_tokens"`
			Output     int64 `json:"output_tokens"`
		}
	}
	type chat struct {
		ID, Title string
		Models    []string
		Timestamp float64
		History   struct {
			Messages  map[string]message
			CurrentID string `json:"currentId"`
		}
		Messages []message
	}
	var c struct {
		ID        string
		Title     string
		CreatedAt float64 `json:"created_at"`
		UpdatedAt float64 `json:"updated_at"`
		Archived  bool
		Pinned    bool
		Chat      *chat
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return foreign{}, err
	}
	if c.Chat == nil {
		c.Chat = &chat{}
		if err := json.Unmarshal(text, c.Chat); err != nil {
			return foreign{}, err
		}
	}
	f := foreign{source: "open-webui", id: cmp.Or(c.ID, c.Chat.ID), title: cmp.Or(c.Title, c.Chat.Title), started: cmp.Or(seconds(c.CreatedAt), millis(c.Chat.Timestamp)),
		updated: seconds(c.UpdatedAt), pinned: c.Pinned, archived: c.Archived, current: c.Chat.History.CurrentID}
	if f.id == "" {
		return f, errors.New("it has no id")
	}
	if len(c.Chat.Models) > 0 {
		f.model = c.Chat.Models[0]
	}
	list := c.Chat.Messages // of old ones, in a row
	if tree := c.Chat.History.Messages; len(tree) > 0 {
		list = nil
		for id, m := range tree {
			m.ID = id
			list = append(list, m)
		}
		slices.SortFunc(list, func(a, b message) int { return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.ID, b.ID)) })
	} else {
		for i := range list {
			if i > 0 && list[i].ParentID == "" {
				list[i].ParentID = list[i-1].ID
			}
		}
	}
	for _, m := range list {
		n := node{id: m.ID, parent: m.ParentID, role: roleOf(m.Role), model: m.Model, at: seconds(m.Timestamp)}
		if json.Unmarshal(m.Content, &n.text) != nil { // or parts, as in a request
			var parts []struct {
				Text     string
				ImageURL struct{ URL string } `json:"image_url"`
			}
			if len(m.Content) > 0 {
				if err := json.Unmarshal(m.Content, &parts); err != nil {
					return f, err
				}
			}
			for _, p := range parts {
				n.text += p.Text
				if p.ImageURL.URL != "" {
					n.parts = append(n.parts, imagePart(p.ImageURL.URL, ""))
				}
			}
		}
		if n.role == "assistant" {
			n.reasoning, n.text = thoughts(n.text)
		}
		for _, file := range m.Files {
			switch {
			case file.Type == "image" || strings.HasPrefix(file.ContentType, "image/"):
				n.parts = append(n.parts, imagePart(file.URL, file.Name))
			case file.File.Data.Content != "":
				n.parts = append(n.parts, filePart(file.Name, file.File.Data.Content))
			default:
				n.parts = append(n.parts, named("file", cmp.Or(file.Name, file.URL)))
			}
		}
		if u := (store.Usage{InputTokens: cmp.Or(m.Usage.Prompt, m.Usage.Input), OutputTokens: cmp.Or(m.Usage.Completion, m.Usage.Output)}); u != (store.Usage{}) {
			n.usage = &u
		}
		f.nodes = append(f.nodes, n)
	}
	return f, nil
}

// thoughts takes what Open WebUI shows folded out of an answer: blocks of HTML that quote what the model thought.
func thoughts(text string) (thought, rest string) {
	const begin, end = `<details type="reasoning"`, "</details>"
	for {
		from := strings.Index(text, begin)
		length := strings.Index(text[max(from, 0):], end)
		if from < 0 || length < 0 || from > 0 && text[from-1] != '\n' {
			return thought, rest + text
		}
		block := text[from : from+length]
		rest, text = rest+text[:from], strings.TrimLeft(text[from+length+len(end):], "\n")
		if _, after, is := strings.Cut(block, "</summary>"); is {
			block = after
		} else if _, after, is = strings.Cut(block, ">"); is {
			block = after
		}
		var lines []string
		for line := range strings.Lines(strings.Trim(html.UnescapeString(block), "\n")) {
			line = strings.TrimPrefix(line, ">")
			lines = append(lines, strings.TrimPrefix(line, " "))
		}
		thought = strings.TrimPrefix(thought+"\n\n"+strings.Join(lines, ""), "\n\n")
	}
}

// loose is an id that is written as text or as a number.
type loose string

// UnmarshalJSON implements [json.Unmarshaler].
func (l *loose) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*l = ""
		return nil
	}
	*l = loose(strings.Trim(string(text), `"`))
	return nil
}

// readLlamaCpp reads a conversation that the page of llama.cpp's server exported.
func readLlamaCpp(text []byte) (foreign, error) {
	var c struct {
		Conv struct {
			ID           string
			Name         string
			LastModified float64
			CurrNode     loose
		}
		Messages []struct {
			ID, Parent                                             loose
			Type, Role, Content, Model, Thinking, ReasoningContent string
			Timestamp                                              float64
			ToolCalls                                              json.RawMessage // a list, or its text
			Extra                                                  []struct{ Type, Name, Content, Base64URL string }
			Timings                                                struct {
				Prompt    int64 `json:"prompt_n"`
				Predicted int64 `json:"predicted_n"`
			}
		}
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return foreign{}, err
	}
	f := foreign{source: "llama.cpp", id: c.Conv.ID, title: c.Conv.Name, updated: millis(c.Conv.LastModified), current: string(c.Conv.CurrNode)}
	if f.id == "" {
		return f, errors.New("it has no id")
	}
	for _, m := range c.Messages {
		if m.Type == "root" {
			continue
		}
		n := node{id: string(m.ID), parent: string(m.Parent), role: roleOf(m.Role), text: m.Content, model: m.Model, at: millis(m.Timestamp),
			reasoning: cmp.Or(m.ReasoningContent, m.Thinking)}
		calls, text := m.ToolCalls, ""
		if json.Unmarshal(calls, &text) == nil {
			calls = []byte(text)
		}
		var list []struct {
			Function struct{ Name, Arguments string }
		}
		if len(calls) > 0 {
			if err := json.Unmarshal(calls, &list); err != nil {
				return f, err
			}
		}
		for _, call := range list {
			n.text = joined(n.text, called(call.Function.Name, call.Function.Arguments))
		}
		if m.Role == "tool" {
			n.text = fenced("", m.Content)
		}
		for _, e := range m.Extra {
			switch {
			case e.Base64URL != "":
				n.parts = append(n.parts, imagePart(e.Base64URL, e.Name))
			case e.Content != "":
				n.parts = append(n.parts, filePart(e.Name, e.Content))
			default:
				n.parts = append(n.parts, named("file", e.Name))
			}
		}
		if m.Timings.Prompt+m.Timings.Predicted > 0 {
			n.usage = &store.Usage{InputTokens: m.Timings.Prompt, OutputTokens: m.Timings.Predicted}
		}
		f.nodes = append(f.nodes, n)
	}
	return f, nil
}

// readClaude reads a conversation of conversations.json in Claude's data export.
func readClaude(text []byte) (foreign, error) {
	var c struct {
		UUID, Name string
		CreatedAt  time.Time `json:"created_at"`
		UpdatedAt  time.Time `json:"updated_at"`
		Current    string    `json:"current_leaf_message_uuid"`
		Messages   []struct {
			UUID, Sender, Text string
			Parent             string    `json:"parent_message_uuid"`
			CreatedAt          time.Time `json:"created_at"`
			Content            []struct {
				Type, Text, Thinking, Name string
				Input, Content             json.RawMessage
			}
			Attachments []struct {
				Name string `json:"file_name"`
				Text string `json:"extracted_content"`
			}
			Files []struct {
				Name string `json:"file_name"`
			}
		} `json:"chat_messages"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return foreign{}, err
	}
	f := foreign{source: "claude", id: c.UUID, title: c.Name, started: c.CreatedAt, updated: c.UpdatedAt, current: c.Current}
	if f.id == "" {
		return f, errors.New("it has no id")
	}
	before := ""
	for _, m := range c.Messages {
		n := node{id: m.UUID, parent: cmp.Or(m.Parent, before), role: roleOf(m.Sender), at: m.CreatedAt}
		before = m.UUID
		var texts []string
		for _, b := range m.Content {
			switch b.Type {
			case "text":
				texts = append(texts, b.Text)
			case "thinking":
				n.reasoning = strings.TrimSpace(n.reasoning + "\n\n" + b.Thinking)
			case "tool_use":
				texts = append(texts, called(b.Name, string(b.Input)))
			case "tool_result":
				var said []struct{ Text string }
				text := ""
				if json.Unmarshal(b.Content, &text) != nil && json.Unmarshal(b.Content, &said) == nil {
					for _, s := range said {
						text = joined(text, s.Text)
					}
				}
				if text != "" {
					texts = append(texts, fenced("", text))
				}
			}
		}
		if n.text = strings.Join(texts, "\n\n"); n.text == "" {
			n.text = m.Text
		}
		for _, a := range m.Attachments {
			n.parts = append(n.parts, filePart(a.Name, a.Text))
		}
		for _, file := range m.Files {
			n.parts = append(n.parts, named("file", file.Name))
		}
		f.nodes = append(f.nodes, n)
	}
	return f, nil
}

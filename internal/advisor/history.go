package advisor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// dialogue is what the model is told of a conversation. It is always one that a model server takes: every call has its output
// directly after it, and arguments are JSON. What cannot be made so is left out; the conversation goes on.
type dialogue struct {
	messages []llm.Message
	turns    []int // the places in messages at which a turn begins; the last turn is what is answered
}

// newDialogue makes a dialogue of kept messages, of which the last input ones are the question. A call without an output, or
// whose arguments were cut off, is left out, and so is an output without a call, and what the model thought.
func newDialogue(kept []store.Message, input int) (*dialogue, error) {
	items := make([]store.Item, len(kept))
	calls := map[string]int{}     // by id, those that wait for their output; a later one takes the id of an earlier
	outputs := map[int]int{}      // by call
	question := len(kept) - input // where it begins
	for i, m := range kept {
		var err error
		if items[i], err = m.Typed(); err != nil {
			return nil, err
		}
		switch it := items[i]; it.Type {
		case store.ItemFunctionCall:
			arguments, whole := asObject(it.Arguments)
			items[i].Arguments = arguments
			if it.CallID != "" && it.Name != "" && (whole || m.Status != store.MessageIncomplete) {
				calls[it.CallID] = i
			}
		case store.ItemCallOutput:
			if call, ok := calls[it.CallID]; ok {
				outputs[call] = i
				delete(calls, it.CallID)
			}
		}
	}
	d := &dialogue{}
	var waiting []llm.Message // the outputs of the calls that the last message makes
	for i, m := range kept {
		it := items[i]
		switch it.Type {
		case store.ItemFunctionCall:
			at, ok := outputs[i]
			if !ok {
				continue
			}
			last := len(d.messages) - 1
			if len(waiting) == 0 && (last < 0 || d.messages[last].Role != llm.RoleAssistant || kept[i-1].ResponseID != m.ResponseID) {
				d.messages = append(d.messages, llm.Message{Role: llm.RoleAssistant})
				last++
			}
			d.messages[last].Calls = append(d.messages[last].Calls, llm.Call{Index: len(d.messages[last].Calls), ID: it.CallID, Name: it.Name, Arguments: it.Arguments})
			output := newMessage(llm.RoleTool, items[at].Output, kept[at].Content)
			output.CallID = it.CallID
			waiting = append(waiting, output)
		case store.ItemCallOutput: // a call after it is made knowing it
			d.messages = append(d.messages, waiting...)
			waiting = nil
		case store.ItemMessage:
			message := newMessage(m.Role, it.Content, "")
			if message.Text == "" && message.Parts == nil {
				continue
			}
			if m.Role == llm.RoleAssistant && len(waiting) > 0 { // said with the calls, before it knew what they give
				last := &d.messages[len(d.messages)-1]
				last.Text = joined(last.Text, message.Text)
				continue
			}
			d.messages = append(d.messages, waiting...)
			waiting = nil
			if m.Role == llm.RoleUser && i <= question {
				d.turns = append(d.turns, len(d.messages))
			}
			d.messages = append(d.messages, message)
		}
	}
	d.messages = append(d.messages, waiting...)
	return d, nil
}

// UnknownCallError says that the output of a call was sent with a question, and that there is no such call before it.
type UnknownCallError struct{ CallID string }

func (e *UnknownCallError) Error() string {
	return fmt.Sprintf("no tool call found for the function_call_output with call_id %q", e.CallID)
}

// checkOutputs refuses the output of a call that is neither in the question nor before it. What StartResponse refuses it leaves to that.
func (a *Advisor) checkOutputs(ctx context.Context, q Question) error {
	if checkOutputs(nil, q.Input) == nil {
		return nil
	}
	if q.ConversationID != "" {
		c, err := a.Record.Summary(ctx, q.ConversationID)
		if err != nil || c.RunningID != "" || q.Expect != nil && *q.Expect != c.Head {
			return err
		}
	}
	before, err := a.continued(ctx, q)
	if err != nil {
		return err
	}
	return checkOutputs(before, q.Input)
}

func checkOutputs(before []store.Message, input []store.NewMessage) error {
	calls := map[string]bool{}
	for _, m := range before {
		it, err := m.Typed()
		if err != nil {
			return err
		}
		calls[it.CallID] = calls[it.CallID] || it.Type == store.ItemFunctionCall
	}
	for _, m := range input {
		it, err := store.Message{Role: m.Role, Content: m.Content, Item: m.Item}.Typed()
		switch {
		case err != nil:
			return err
		case it.Type == store.ItemFunctionCall:
			calls[it.CallID] = true
		case it.Type == store.ItemCallOutput && !calls[it.CallID]:
			return &UnknownCallError{it.CallID}
		}
	}
	return nil
}

// asObject returns the arguments of a call as a server takes them, and whether they were so. What is no JSON object is put into one,
// so that the model sees what it wrote beside what came of it.
func asObject(arguments string) (object string, whole bool) {
	switch {
	case arguments == "": // of a function without parameters
		return "{}", true
	case strings.HasPrefix(strings.TrimSpace(arguments), "{") && json.Valid([]byte(arguments)):
		return arguments, true
	}
	wrapped, _ := json.Marshal(map[string]string{"arguments": arguments})
	return string(wrapped), false
}

// newMessage makes a message of parts, or of text where there are none. Texts alone are one text.
func newMessage(role string, parts []store.Part, text string) llm.Message {
	m := llm.Message{Role: role, Text: text}
	var texts []string
	plain := true
	for _, p := range parts {
		switch p.Type {
		case store.PartInputImage:
			m.Parts = append(m.Parts, llm.Part{ImageURL: p.ImageURL, Detail: p.Detail})
			plain = false
		case store.PartInputFile:
			if text, ok := fileText(p); ok {
				text = joined(p.Filename, text)
				texts, m.Parts = append(texts, text), append(m.Parts, llm.Part{Text: text})
				continue
			}
			m.Parts = append(m.Parts, llm.Part{FileName: p.Filename, FileData: pdfURL(p.FileData)})
			plain = false
		default:
			if p.Text != "" {
				texts, m.Parts = append(texts, p.Text), append(m.Parts, llm.Part{Text: p.Text})
			}
		}
	}
	if plain && len(parts) > 0 {
		m.Text, m.Parts = strings.Join(texts, "\n\n"), nil
	}
	return m
}

// fileText is the text of a file that is text.
func fileText(p store.Part) (string, bool) {
	data := p.FileData
	if i := strings.IndexByte(data, ','); i >= 0 { // a data URL
		data = data[i+1:]
	}
	text, err := base64.StdEncoding.DecodeString(data)
	return string(text), err == nil && utf8.Valid(text) && !strings.HasPrefix(string(text), "%PDF-")
}

// pdfURL is the data URL of a file that is not text.
func pdfURL(data string) string {
	if i := strings.IndexByte(data, ','); i >= 0 {
		data = data[i+1:]
	}
	return "data:application/pdf;base64," + data
}

// drop leaves out the oldest turns, until at most two thirds of the dialogue are left, and returns how many; 0 when there is only
// the last one. What the system says stays.
func (d *dialogue) drop() (n int) {
	all := 0
	for _, m := range d.messages {
		if m.Role != llm.RoleSystem {
			all += weight(m)
		}
	}
	size := all
	for len(d.turns) > 1 && size > all/3*2 {
		var kept []llm.Message
		next := d.turns[1]
		for _, m := range d.messages[:next] {
			if m.Role == llm.RoleSystem {
				kept = append(kept, m)
			} else {
				size -= weight(m)
			}
		}
		gone := next - len(kept)
		d.messages = append(kept, d.messages[next:]...)
		d.turns = d.turns[1:]
		for i := range d.turns {
			d.turns[i] -= gone
		}
		n++
	}
	return n
}

// weight is about how many bytes of the model's context a message takes.
func weight(m llm.Message) int {
	const image, page = 4000, 50_000 // as text would; they are counted in other ways
	n := len(m.Text)
	for _, p := range m.Parts {
		switch {
		case p.ImageURL != "":
			n += image
		case p.FileData != "":
			n += min(len(p.FileData), page)
		}
		n += len(p.Text)
	}
	for _, c := range m.Calls {
		n += len(c.Name) + len(c.Arguments)
	}
	return n
}

package api

import (
	"fmt"
	"strconv"

	"git.georgsen.dk/hwlab/internal/store"
)

// event is one streaming event of the specification. Fields that its type does not have are nil.
type event struct {
	Type         string          `json:"type"`
	Sequence     int             `json:"sequence_number"`
	Response     *responseObject `json:"response,omitempty"`
	OutputIndex  *int            `json:"output_index,omitempty"`
	ItemID       string          `json:"item_id,omitempty"`
	ContentIndex *int            `json:"content_index,omitempty"`
	SummaryIndex *int            `json:"summary_index,omitempty"`
	Item         *itemObject     `json:"item,omitempty"`
	Part         any             `json:"part,omitempty"`
	Delta        *string         `json:"delta,omitempty"`
	Text         *string         `json:"text,omitempty"`
	Refusal      *string         `json:"refusal,omitempty"`
	Name         string          `json:"name,omitempty"`
	Arguments    *string         `json:"arguments,omitempty"`
	Logprobs     []any           `json:"logprobs,omitzero"`
	Error        *Error          `json:"error,omitempty"`
}

// append appends the event as a reader gets it.
func (e event) append(b []byte) []byte {
	if e.Type != "error" { // which is in no later reading, and must not be taken for having seen what is there
		b = append(b, "id: "...)
		b = strconv.AppendInt(b, int64(e.Sequence), 10)
		b = append(b, '\n')
	}
	b = append(b, "event: "...)
	b = append(b, e.Type...)
	b = append(b, "\ndata: "...)
	if e.Delta != nil {
		b = e.appendDelta(b)
	} else {
		b = append(b, marshal(e)...)
	}
	return append(b, "\n\n"...)
}

// appendDelta appends the JSON of an event with a delta, which nearly all are, in a fifth of the time that encoding/json takes.
func (e event) appendDelta(b []byte) []byte {
	number := func(name string, n *int) {
		if n != nil {
			b = append(append(append(b, ',', '"'), name...), '"', ':')
			b = strconv.AppendInt(b, int64(*n), 10)
		}
	}
	b = appendQuoted(append(b, `{"type":`...), e.Type)
	number("sequence_number", &e.Sequence)
	number("output_index", e.OutputIndex)
	b = appendQuoted(append(b, `,"item_id":`...), e.ItemID)
	number("content_index", e.ContentIndex)
	number("summary_index", e.SummaryIndex)
	b = appendQuoted(append(b, `,"delta":`...), *e.Delta)
	if e.Logprobs != nil {
		b = append(b, `,"logprobs":[]`...)
	}
	return append(b, '}')
}

// appendQuoted appends valid text as JSON.
func appendQuoted(b []byte, text string) []byte {
	b = append(b, '"')
	done := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, text[done:i]...)
		done = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return append(append(b, text[done:]...), '"')
}

// transcript turns the log of a reply into its events and its output. The events, numbers and all, follow from the rows, the
// reply's end and what was asked: whoever reads the log at whatever time gets the same ones. Rows go in in order, from 0.
type transcript struct {
	next   int // the next event's sequence_number
	output []itemObject
	hidden bool   // the last item is a call whose name is not known yet
	part   string // the type of the open part; "" for none
	text   []byte // of it
}

// open returns the events before the first row.
func (t *transcript) open(r store.Response) ([]event, error) {
	o, err := newResponse(started(r), nil)
	if err != nil {
		return nil, err
	}
	if !o.Background {
		return t.number(event{Type: "response.created", Response: &o}, event{Type: "response.in_progress", Response: &o}), nil
	}
	queued := o
	queued.Status = "queued"
	return t.number(event{Type: "response.created", Response: &queued}, event{Type: "response.queued", Response: &queued},
		event{Type: "response.in_progress", Response: &o}), nil
}

// row returns the events of a row.
func (t *transcript) row(d store.Delta) ([]event, error) {
	if d.Kind == store.DeltaItem {
		t.settle()
		t.output = append(t.output, newOutput(d.Text, d.ItemID))
	}
	if len(t.output) == 0 || d.Item != len(t.output)-1 {
		return nil, fmt.Errorf("api: row %d of response %s is of an item that is not open", d.N, d.ResponseID)
	}
	item := &t.output[d.Item]
	added := event{Type: "response.output_item.added", OutputIndex: &d.Item}
	e := event{OutputIndex: &d.Item, ItemID: item.ID}
	switch d.Kind {
	case store.DeltaItem:
		if t.hidden = d.Text == store.ItemFunctionCall; t.hidden {
			return nil, nil
		}
		added.Item = item.copy()
		return t.number(added), nil
	case store.DeltaPart:
		t.settle()
		t.part = d.Text
		switch part := newPart(store.Part{Type: d.Text}); d.Text {
		case store.PartCallID, store.PartName:
			return nil, nil
		case store.PartArguments: // what comes before them is known now
			t.hidden = false
			added.Item = item.copy()
			return t.number(added), nil
		case store.PartSummaryText:
			item.Summary = append(item.Summary, part)
			e.Type, e.SummaryIndex, e.Part = "response.reasoning_summary_part.added", &d.Part, part
		default:
			item.Content = append(item.Content, part)
			e.Type, e.ContentIndex, e.Part = "response.content_part.added", &d.Part, part
		}
		return t.number(e), nil
	case store.DeltaText:
		t.text = append(t.text, d.Text...)
		e.Delta = &d.Text
		switch t.part {
		case store.PartCallID, store.PartName:
			return nil, nil
		case store.PartArguments:
			e.Type = "response.function_call_arguments.delta"
		case store.PartSummaryText:
			e.Type, e.SummaryIndex = "response.reasoning_summary_text.delta", &d.Part
		case store.PartRefusal:
			e.Type, e.ContentIndex = "response.refusal.delta", &d.Part
		default:
			e.Type, e.ContentIndex, e.Logprobs = "response.output_text.delta", &d.Part, []any{}
		}
		return t.number(e), nil
	case store.DeltaPartDone:
		text, kind := string(t.text), t.part
		t.settle()
		part := e
		part.Part = newPart(store.Part{Type: kind, Text: text})
		switch kind {
		case store.PartCallID, store.PartName:
			return nil, nil
		case store.PartArguments:
			e.Type, e.Name, e.Arguments = "response.function_call_arguments.done", item.Name, &text
			return t.number(e), nil
		case store.PartSummaryText:
			e.Type, e.SummaryIndex, e.Text = "response.reasoning_summary_text.done", &d.Part, &text
			part.Type, part.SummaryIndex = "response.reasoning_summary_part.done", &d.Part
		case store.PartRefusal:
			e.Type, e.ContentIndex, e.Refusal = "response.refusal.done", &d.Part, &text
			part.Type, part.ContentIndex = "response.content_part.done", &d.Part
		default:
			e.Type, e.ContentIndex, e.Text, e.Logprobs = "response.output_text.done", &d.Part, &text, []any{}
			part.Type, part.ContentIndex = "response.content_part.done", &d.Part
		}
		return t.number(e, part), nil
	case store.DeltaItemDone:
		t.settle()
		item.Status = "completed"
		return t.number(event{Type: "response.output_item.done", OutputIndex: &d.Item, Item: item.copy()}), nil
	}
	return nil, fmt.Errorf("api: row %d of response %s is of unknown kind %q", d.N, d.ResponseID, d.Kind)
}

// newOutput is an output item that has just been opened.
func newOutput(kind, id string) itemObject {
	o := itemObject{Type: kind, ID: newItemID(kind, id), Status: "in_progress"}
	switch kind {
	case store.ItemFunctionCall:
		o.Arguments = new(string)
	case store.ItemReasoning:
		o.Summary = []any{}
	default:
		o.Role, o.Content = "assistant", []any{}
	}
	return o
}

// settle puts the text of the open part into its item and closes it.
func (t *transcript) settle() {
	if t.part == "" {
		return
	}
	t.put()
	t.part, t.text = "", t.text[:0]
}

// put puts the text of the open part into its item.
func (t *transcript) put() {
	item, text := &t.output[len(t.output)-1], string(t.text)
	switch t.part {
	case "":
	case store.PartCallID:
		item.CallID = text
	case store.PartName:
		item.Name = text
	case store.PartArguments:
		item.Arguments = &text
	case store.PartSummaryText:
		item.Summary[len(item.Summary)-1] = newPart(store.Part{Type: t.part, Text: text})
	default:
		item.Content[len(item.Content)-1] = newPart(store.Part{Type: t.part, Text: text})
	}
}

// close returns the events of the end. A cancelled reply ends as incomplete, with its status; the specification has no other.
func (t *transcript) close(r store.Response) (events []event, err error) {
	kind := "response.incomplete"
	if r.Status == store.ResponseCompleted || r.Status == store.ResponseFailed {
		kind = "response." + string(r.Status)
	} else if events, err = t.cut(r); err != nil {
		return nil, err
	}
	o, err := t.response(r)
	if err != nil {
		return nil, err
	}
	return append(events, t.number(event{Type: kind, Response: &o})...), nil
}

// cut returns the events that end the item which the end came in the middle of. A call has none: clients run a call that is done.
func (t *transcript) cut(r store.Response) (events []event, err error) {
	last := len(t.output) - 1
	if last < 0 || t.output[last].Status != "in_progress" || t.output[last].Type == store.ItemFunctionCall {
		return nil, nil
	}
	item := &t.output[last]
	if t.part != "" {
		part := max(len(item.Content), len(item.Summary)) - 1
		if events, err = t.row(store.Delta{ResponseID: r.ID, Kind: store.DeltaPartDone, Item: last, Part: part}); err != nil {
			return nil, err
		}
	}
	item.Status = "incomplete"
	return append(events, t.number(event{Type: "response.output_item.done", OutputIndex: &last, Item: item.copy()})...), nil
}

// response is the reply as an object with the output so far. An item that no event has told of is not in it.
func (t *transcript) response(r store.Response) (responseObject, error) {
	output := t.output
	if len(output) > 0 {
		t.put()
	}
	for i := range output {
		if r.Ended() && output[i].Status == "in_progress" {
			output[i].Status = "incomplete"
		}
	}
	if t.hidden {
		output = output[:len(output)-1]
	}
	return newResponse(r, output)
}

func (t *transcript) number(events ...event) []event {
	for i := range events {
		events[i].Sequence = t.next
		t.next++
	}
	return events
}

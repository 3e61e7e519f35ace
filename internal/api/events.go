package api

import (
	"fmt"

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
	Item         *messageObject  `json:"item,omitempty"`
	Part         any             `json:"part,omitempty"`
	Delta        *string         `json:"delta,omitempty"`
	Text         *string         `json:"text,omitempty"`
	Logprobs     []any           `json:"logprobs,omitzero"`
	Error        *Error          `json:"error,omitempty"`
}

// transcript turns the log of a reply into its events and its output. The events, numbers and all, follow from the rows, the
// reply's end and what was asked: whoever reads the log at whatever time gets the same ones. Rows go in in order, from 0.
type transcript struct {
	next   int // the next event's sequence_number
	output []messageObject
	text   []byte // of the open part
}

// open returns the events before the first row.
func (t *transcript) open(r store.Response) ([]event, error) {
	o, err := newResponse(started(r), nil)
	if err != nil {
		return nil, err
	}
	return t.number(event{Type: "response.created", Response: &o}, event{Type: "response.in_progress", Response: &o}), nil
}

// row returns the events of a row.
func (t *transcript) row(d store.Delta) ([]event, error) {
	if d.Kind == store.DeltaItem {
		t.output = append(t.output, messageObject{Type: d.Text, ID: messageID + d.ItemID, Status: "in_progress", Role: "assistant", Content: []any{}})
	}
	if d.Item >= len(t.output) {
		return nil, fmt.Errorf("api: row %d of response %s is of an item that was not opened", d.N, d.ResponseID)
	}
	item := &t.output[d.Item]
	e := event{OutputIndex: &d.Item, ItemID: item.ID, ContentIndex: &d.Part}
	switch d.Kind {
	case store.DeltaItem:
		return t.number(event{Type: "response.output_item.added", OutputIndex: &d.Item, Item: item.copy()}), nil
	case store.DeltaPart:
		t.text = t.text[:0]
		item.Content = append(item.Content, newPart(d.Text, ""))
		e.Type, e.Part = "response.content_part.added", newPart(d.Text, "")
		return t.number(e), nil
	case store.DeltaText:
		t.text = append(t.text, d.Text...)
		e.Type, e.Delta, e.Logprobs = "response.output_text.delta", &d.Text, []any{}
		return t.number(e), nil
	case store.DeltaPartDone:
		text := string(t.text)
		t.settle(item)
		done, part := e, e
		done.Type, done.Text, done.Logprobs = "response.output_text.done", &text, []any{}
		part.Type, part.Part = "response.content_part.done", newPart("output_text", text)
		return t.number(done, part), nil
	case store.DeltaItemDone:
		item.Status = "completed"
		return t.number(event{Type: "response.output_item.done", OutputIndex: &d.Item, Item: item.copy()}), nil
	}
	return nil, fmt.Errorf("api: row %d of response %s is of unknown kind %q", d.N, d.ResponseID, d.Kind)
}

// settle puts the text of the open part into its item.
func (t *transcript) settle(item *messageObject) {
	if last := len(item.Content) - 1; last >= 0 {
		item.Content[last] = newPart("output_text", string(t.text))
	}
}

// close returns the event of the end. A cancelled reply ends as incomplete, with its status; the specification has no other.
func (t *transcript) close(r store.Response) ([]event, error) {
	o, err := t.response(r)
	if err != nil {
		return nil, err
	}
	kind := "response.incomplete"
	if r.Status == store.ResponseCompleted || r.Status == store.ResponseFailed {
		kind = "response." + string(r.Status)
	}
	return t.number(event{Type: kind, Response: &o}), nil
}

// response is the reply as an object with the output so far.
func (t *transcript) response(r store.Response) (responseObject, error) {
	for i := range t.output {
		if t.output[i].Status != "in_progress" {
			continue
		}
		t.settle(&t.output[i])
		if r.Ended() {
			t.output[i].Status = "incomplete"
		}
	}
	return newResponse(r, t.output)
}

func (t *transcript) number(events ...event) []event {
	for i := range events {
		events[i].Sequence = t.next
		t.next++
	}
	return events
}

func (o messageObject) copy() *messageObject {
	o.Content = append([]any{}, o.Content...)
	return &o
}

package store

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The log of a reply. While a reply runs its log is rows of response_deltas; when it has ended the rows fold into the
// messages that the reply's items become, plus one line of text that says how their text was cut. Unfold gives the rows
// back as they were, so any stream can be resumed at any place for as long as the reply is kept. This file is pure; both
// engines use it.

// DeltaKind says what a row of a reply's log does.
type DeltaKind string

// The kinds of log rows. A reply is items, an item is parts, a part is text.
const (
	DeltaItem     DeltaKind = "item"      // opens output item Item with id ItemID; Text is its type: "message"
	DeltaPart     DeltaKind = "part"      // opens part Part of it; Text is its type: "output_text"
	DeltaText     DeltaKind = "text"      // adds Text to the part
	DeltaPartDone DeltaKind = "part_done" // closes the part
	DeltaItemDone DeltaKind = "item_done" // closes the item
)

// Delta is one row of a reply's log.
type Delta struct {
	ResponseID     string
	ConversationID string
	N              int // from 0, without a gap
	Kind           DeltaKind
	Item           int // output index
	Part           int // content index
	ItemID         string
	Text           string
}

// outputText is the part that a message's content stands for without an Item.
const outputText = "output_text"

// part is one part of an output item as kept in [Message.Item].
type part struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// item is an output item as kept in [Message.Item], where it is more than one part of output text.
type item struct {
	Type  string `json:"type"`
	Parts []part `json:"parts"`
}

// Fold turns the log of a reply that has ended into its messages and a compact form of itself. The messages have ID,
// Position.Idx, Role, Content, Item and Status set: incomplete where no row closed the item. Content is what is said, and the
// arguments of a call; reasoning is not in it. deltas are all rows, in order.
//
// The compact form is words separated by spaces: "i" and "p" open an item and a part, a number is a text of so many code
// points, "P" and "I" close the part and the item.
func Fold(deltas []Delta) (messages []Message, log string, err error) {
	var items []item
	var words []string
	var text strings.Builder // of the part that is open; a long reply has very many pieces
	endPart := func() {
		if i := len(items) - 1; i >= 0 && len(items[i].Parts) > 0 {
			items[i].Parts[len(items[i].Parts)-1].Text = text.String()
		}
		text.Reset()
	}
	for i, d := range deltas {
		if d.N != i {
			return nil, "", fmt.Errorf("store: the log of response %s has row %d where %d should be", d.ResponseID, d.N, i)
		}
		at := len(items) - 1 // the item that is open
		parts := 0
		if at >= 0 {
			parts = len(items[at].Parts)
		}
		inOrder := at >= 0 && d.Item == at
		switch d.Kind {
		case DeltaItem:
			at++
			inOrder = d.Item == at && d.Part == 0
		case DeltaItemDone:
			inOrder = inOrder && d.Part == max(parts-1, 0)
		case DeltaPart:
			inOrder = inOrder && d.Part == parts
		case DeltaText, DeltaPartDone:
			inOrder = inOrder && parts > 0 && d.Part == parts-1
		}
		if !inOrder {
			return nil, "", fmt.Errorf("store: row %d of the log of response %s is out of order", i, d.ResponseID)
		}
		switch d.Kind {
		case DeltaItem:
			endPart()
			items = append(items, item{Type: d.Text})
			messages = append(messages, Message{ID: d.ItemID, ConversationID: d.ConversationID, ResponseID: d.ResponseID,
				Position: Position{Idx: d.Item}, Role: "assistant", Status: MessageIncomplete})
			words = append(words, "i")
		case DeltaPart:
			endPart()
			items[at].Parts = append(items[at].Parts, part{Type: d.Text})
			words = append(words, "p")
		case DeltaText:
			text.WriteString(d.Text)
			words = append(words, strconv.Itoa(utf8.RuneCountInString(d.Text)))
		case DeltaPartDone:
			words = append(words, "P")
		case DeltaItemDone:
			messages[at].Status = MessageCompleted
			words = append(words, "I")
		default:
			return nil, "", fmt.Errorf("store: row %d of the log of response %s is of unknown kind %q", i, d.ResponseID, d.Kind)
		}
	}
	endPart()
	for i, it := range items {
		for _, p := range it.Parts {
			if p.Type != PartCallID && p.Type != PartName && p.Type != PartSummaryText {
				text.WriteString(p.Text)
			}
		}
		messages[i].Content = text.String()
		text.Reset()
		if it.Type == "message" && len(it.Parts) == 1 && it.Parts[0].Type == outputText {
			continue
		}
		if messages[i].Item, err = json.Marshal(it); err != nil {
			return nil, "", err
		}
	}
	return messages, strings.Join(words, " "), nil
}

// Unfold is the inverse of [Fold]: it returns the rows of a reply's log from its messages, in order, and its folded form.
// An item whose message was deleted since has no text: its rows are there, empty.
func Unfold(responseID string, messages []Message, log string) ([]Delta, error) {
	var deltas []Delta
	at, open := -1, -1
	var it item
	rest := ""
	for n, word := range strings.Fields(log) {
		d := Delta{ResponseID: responseID, N: n}
		switch word {
		case "i":
			if at++; at >= len(messages) {
				return nil, fmt.Errorf("store: the log of response %s has more items than messages", responseID)
			}
			m := messages[at]
			open, it = -1, item{Type: "message", Parts: []part{{Type: outputText, Text: m.Content}}}
			if m.Item != nil {
				if err := json.Unmarshal(m.Item, &it); err != nil {
					return nil, fmt.Errorf("store: message %s: %w", m.ID, err)
				}
			}
			d.Kind, d.ItemID, d.Text = DeltaItem, m.ID, it.Type
		case "p":
			d.Kind, d.Text, rest = DeltaPart, outputText, ""
			if open++; open < len(it.Parts) {
				d.Text, rest = it.Parts[open].Type, it.Parts[open].Text
			}
		case "P":
			d.Kind = DeltaPartDone
		case "I":
			d.Kind = DeltaItemDone
		default:
			length, err := strconv.Atoi(word)
			if err != nil {
				return nil, fmt.Errorf("store: the log of response %s has an unknown word %q", responseID, word)
			}
			cut := runePrefix(rest, length)
			d.Kind, d.Text, rest = DeltaText, rest[:cut], rest[cut:]
		}
		d.Item, d.Part = at, max(open, 0)
		if at >= 0 {
			d.ConversationID = messages[at].ConversationID
		}
		deltas = append(deltas, d)
	}
	return deltas, nil
}

// runePrefix is the number of bytes of the first n code points of s.
func runePrefix(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

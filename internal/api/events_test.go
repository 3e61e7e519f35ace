package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

// logOf is the log of a reply that has an item of the kind with this text.
func logOf(kind, text string) []store.Delta {
	list := []store.Delta{{Kind: store.DeltaItem, ItemID: store.NewID(), Text: kind}}
	parts := []string{store.PartRefusal, store.PartOutputText}
	switch kind {
	case store.ItemFunctionCall:
		parts = []string{store.PartCallID, store.PartName, store.PartArguments}
	case store.ItemReasoning:
		parts = []string{store.PartSummaryText}
	}
	for i, part := range parts {
		list = append(list, store.Delta{Kind: store.DeltaPart, Part: i, Text: part}, store.Delta{Kind: store.DeltaText, Part: i, Text: text},
			store.Delta{Kind: store.DeltaPartDone, Part: i})
	}
	return list
}

// An event is sent as encoding/json would have it, whatever the text.
func TestEventsAreSentAsTheyAre(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune("a\"\\/\b\f\n\r\t\x01\x1f\x7f<&\u2028é€😀\uFFFD")))).Draw(rt, "text")
		deltas := 0
		for _, kind := range []string{store.ItemMessage, store.ItemReasoning, store.ItemFunctionCall} {
			var all transcript
			for _, row := range logOf(kind, text) {
				events, err := all.row(row)
				if err != nil {
					rt.Fatal(err)
				}
				for _, e := range events {
					if e.Delta != nil {
						deltas++
					}
					sent := e.append(nil)
					head := fmt.Sprintf("id: %d\nevent: %s\ndata: ", e.Sequence, e.Type)
					if !bytes.HasPrefix(sent, []byte(head)) || !bytes.HasSuffix(sent, []byte("\n\n")) || bytes.Count(sent, []byte("\n")) != 4 {
						rt.Fatalf("the frame is %q", sent)
					}
					var got, want any
					if err := json.Unmarshal(sent[len(head):], &got); err != nil {
						rt.Fatalf("%v: %q", err, sent)
					}
					if err := json.Unmarshal(marshal(e), &want); err != nil {
						rt.Fatal(err)
					}
					if !reflect.DeepEqual(got, want) {
						rt.Fatalf("sent %s, not %s", sent, marshal(e))
					}
				}
			}
		}
		if deltas != 4 {
			rt.Fatalf("%d events have a delta", deltas)
		}
	})
}

// What the event of a row of some words takes.
func BenchmarkWordsEvent(b *testing.B) {
	var t transcript
	for _, row := range logOf(store.ItemMessage, "")[:2] {
		if _, err := t.row(row); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	var out []byte
	for b.Loop() {
		events, err := t.row(store.Delta{Kind: store.DeltaText, Text: " some more words"})
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range events {
			out = e.append(out[:0])
		}
		t.text = t.text[:0]
	}
}

package store_test

import (
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/store"
)

// The inverse property over logs of every shape is in storetest; this is what a folded log looks like.
func TestFold(t *testing.T) {
	rows := []store.Delta{
		{N: 0, Kind: store.DeltaItem, Item: 0, ItemID: "a", Text: "message"},
		{N: 1, Kind: store.DeltaPart, Item: 0, Text: "output_text"},
		{N: 2, Kind: store.DeltaText, Item: 0, Text: "Blåbær "},
		{N: 3, Kind: store.DeltaText, Item: 0, Text: "👨‍👩‍👧"},
		{N: 4, Kind: store.DeltaPartDone, Item: 0},
		{N: 5, Kind: store.DeltaItemDone, Item: 0},
		{N: 6, Kind: store.DeltaItem, Item: 1, ItemID: "b", Text: "function_call"},
		{N: 7, Kind: store.DeltaPart, Item: 1, Text: "name"},
		{N: 8, Kind: store.DeltaText, Item: 1, Text: "look"},
		{N: 9, Kind: store.DeltaPart, Item: 1, Part: 1, Text: "arguments"},
		{N: 10, Kind: store.DeltaText, Item: 1, Part: 1, Text: "{"},
	}
	messages, log, err := store.Fold(rows)
	if err != nil {
		t.Fatal(err)
	}
	if want := "i p 7 5 P I i p 4 p 1"; log != want {
		t.Errorf("the log folds to %q, want %q", log, want)
	}
	if len(messages) != 2 {
		t.Fatalf("%d messages", len(messages))
	}
	first, second := messages[0], messages[1]
	if first.ID != "a" || first.Content != "Blåbær 👨‍👩‍👧" || first.Item != nil || first.Status != store.MessageCompleted || first.Role != "assistant" || first.Idx != 0 {
		t.Errorf("the first message is %+v", first)
	}
	if second.ID != "b" || second.Content != "{" || second.Status != store.MessageIncomplete || second.Idx != 1 ||
		string(second.Item) != `{"type":"function_call","parts":[{"type":"name","text":"look"},{"type":"arguments","text":"{"}]}` {
		t.Errorf("the second message is %+v, its item %s", second, second.Item)
	}
	back, err := store.Unfold("", messages, log)
	if err != nil || !slices.Equal(back, rows) {
		t.Errorf("unfolded: %+v, %v", back, err)
	}
	if it, err := second.Typed(); err != nil || !reflect.DeepEqual(it, store.Item{Type: "function_call", Name: "look", Arguments: "{"}) {
		t.Errorf("the call is %+v, %v", it, err)
	}
	if messages, log, err := store.Fold(nil); len(messages) != 0 || log != "" || err != nil {
		t.Errorf("no rows fold to %v, %q, %v", messages, log, err)
	}
}

// A long reply in small pieces costs its length, not its square: twice the pieces, about twice the allocated bytes.
func TestFoldIsLinear(t *testing.T) {
	bytesOf := func(pieces int) uint64 {
		rows := []store.Delta{{Kind: store.DeltaItem, ItemID: "a", Text: "message"}, {N: 1, Kind: store.DeltaPart, Text: "output_text"}}
		for i := range pieces {
			rows = append(rows, store.Delta{N: i + 2, Kind: store.DeltaText, Text: strings.Repeat("x", 20)})
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, _, err := store.Fold(rows); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if small, large := bytesOf(1000), bytesOf(8000); large > 20*small {
		t.Errorf("1,000 pieces take %d bytes, 8,000 take %d", small, large)
	}
}

func TestUnfoldNeverPanics(t *testing.T) {
	word := rapid.SampledFrom([]string{"i", "p", "P", "I", "0", "1", "99", "-1", "x", "9999999999999999999999"})
	rapid.Check(t, func(t *rapid.T) {
		log := strings.Join(rapid.SliceOf(word).Draw(t, "log"), " ")
		var messages []store.Message
		for range rapid.IntRange(0, 3).Draw(t, "messages") {
			messages = append(messages, store.Message{ID: "m", Content: rapid.String().Draw(t, "content")})
		}
		rows, err := store.Unfold("r", messages, log)
		if err == nil && len(rows) != len(strings.Fields(log)) {
			t.Errorf("%q has %d rows", log, len(rows))
		}
	})
}

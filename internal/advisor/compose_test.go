package advisor

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// Whatever a model says in whatever order, the log of it can be kept, and has all of it.
func TestEverythingThatIsSaidIsInTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []store.Delta
		c := newComposer(func(more ...store.Delta) error {
			for _, d := range more {
				d.N = len(rows)
				rows = append(rows, d)
			}
			return nil
		})
		said := map[string]string{} // by what it is
		begun := 0
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			text := rapid.SampledFrom([]string{"a", "b ", "ø", "{", "}"}).Draw(t, "text")
			var d llm.Delta
			switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); kind {
			case 0:
				d.Reasoning = text
				said[store.PartSummaryText] += text
			case 1:
				d.Text = text
				said[store.PartOutputText] += text
			case 2:
				d.Refusal = text
				said[store.PartRefusal] += text
			case 3:
				d.Call = &llm.Call{Index: rapid.IntRange(0, begun).Draw(t, "call"), Arguments: text}
				id := fmt.Sprint("call_", d.Call.Index)
				if json.Valid([]byte(said[id])) { // it may be over
					continue
				}
				if d.Call.Index == begun {
					d.Call.ID, d.Call.Name = id, "f"
					begun++
				}
				said[id] += text
			}
			if err := c.write(d); err != nil {
				t.Fatal(err)
			}
		}
		whole := rapid.Bool().Draw(t, "whole")
		if err := c.end(whole); err != nil {
			t.Fatal(err)
		}
		messages, _, err := store.Fold(rows)
		if err != nil {
			t.Fatal(err)
		}
		kept := map[string]string{}
		for i, m := range messages {
			it, err := m.Typed()
			if err != nil {
				t.Fatal(err)
			}
			if it.Type == store.ItemFunctionCall {
				if _, twice := kept[it.CallID]; twice || it.Name != "f" {
					t.Errorf("a call is kept as %+v", it)
				}
				kept[it.CallID] = it.Arguments
			}
			for _, p := range append(it.Content, it.Summary...) {
				kept[p.Type] += p.Text
			}
			if last := i == len(messages)-1; (m.Status == store.MessageCompleted) != (whole || !last) {
				t.Errorf("message %d of %d is %s", i, len(messages), m.Status)
			}
		}
		if fmt.Sprint(kept) != fmt.Sprint(said) {
			t.Errorf("kept is\n%q\nnot\n%q", kept, said)
		}
	})
}

// A model is told nothing that its server refuses: each call has its output directly after it, and only a call has one. It stays so
// when turns are dropped, and the last turn stays.
func TestADialogueIsAlwaysValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var kept []store.Message
		for i := range rapid.IntRange(1, 20).Draw(t, "items") {
			m := store.Message{ID: fmt.Sprint(i), Role: "assistant", Status: store.MessageCompleted, ResponseID: rapid.SampledFrom([]string{"", "r", "s"}).Draw(t, "response")}
			it := store.Item{Type: rapid.SampledFrom([]string{"message", "message", "function_call", "function_call", "function_call_output", "reasoning"}).Draw(t, "type")}
			id := rapid.SampledFrom([]string{"1", "2", "3", ""}).Draw(t, "id")
			switch it.Type {
			case "message":
				m.Role = rapid.SampledFrom([]string{"user", "assistant", "system"}).Draw(t, "role")
				m.Content = rapid.SampledFrom([]string{"", "a", strings.Repeat("b", 100)}).Draw(t, "text")
			case "function_call":
				it.CallID, it.Name, it.Arguments = id, "f", rapid.SampledFrom([]string{"", "{}", `{"a":`, "7"}).Draw(t, "arguments")
			case "function_call_output":
				m.Role, m.Content, it.CallID = "user", "out", id
			case "reasoning":
				it.Summary = []store.Part{{Type: "summary_text", Text: "hm"}}
			}
			if it.Type != "message" {
				m.Item, _ = json.Marshal(it)
			}
			kept = append(kept, m)
		}
		kept = append(kept, store.Message{Role: "user", Content: "question"})
		d, err := newDialogue(kept, 1)
		if err != nil {
			t.Fatal(err)
		}
		valid := func() {
			var waiting []string
			for i, m := range d.messages {
				if m.Role == llm.RoleTool {
					if len(waiting) == 0 || waiting[0] != m.CallID {
						t.Fatalf("message %d is the output of %q, waited for is %q: %+v", i, m.CallID, waiting, d.messages)
					}
					waiting = waiting[1:]
					continue
				}
				if len(waiting) > 0 {
					t.Fatalf("calls without output before message %d: %+v", i, d.messages)
				}
				if m.Text == "" && len(m.Parts) == 0 && len(m.Calls) == 0 {
					t.Fatalf("message %d says nothing", i)
				}
				for _, c := range m.Calls {
					if m.Role != llm.RoleAssistant || !json.Valid([]byte(c.Arguments)) {
						t.Fatalf("message %d is %+v", i, m)
					}
					waiting = append(waiting, c.ID)
				}
			}
			for _, at := range d.turns {
				if d.messages[at].Role != llm.RoleUser {
					t.Fatalf("a turn begins with %+v", d.messages[at])
				}
			}
			if last := d.messages[len(d.messages)-1]; last.Text != "question" || len(waiting) > 0 {
				t.Fatalf("the last message is %+v", last)
			}
		}
		valid()
		for d.drop() > 0 {
			valid()
		}
		if len(d.turns) != 1 {
			t.Fatalf("%d turns are left", len(d.turns))
		}
	})
}

// A model that wrote arguments which are no JSON is told what its client says of that; it would do it again.
func TestTheOutputOfACallWithBrokenArgumentsIsTold(t *testing.T) {
	item := func(it store.Item) json.RawMessage { raw, _ := json.Marshal(it); return raw }
	kept := func(status store.MessageStatus) []store.Message {
		return []store.Message{
			{Role: "user", Content: "go", Status: store.MessageCompleted},
			{Role: "assistant", Status: status, ResponseID: "r", Item: item(store.Item{Type: store.ItemFunctionCall, CallID: "1", Name: "look", Arguments: "{at: nas}"})},
			{Role: "user", Content: "that is no JSON", Item: item(store.Item{Type: store.ItemCallOutput, CallID: "1"})},
		}
	}
	d, err := newDialogue(kept(store.MessageCompleted), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []llm.Message{{Role: "user", Text: "go"}, {Role: "assistant", Calls: []llm.Call{{ID: "1", Name: "look", Arguments: `{"arguments":"{at: nas}"}`}}},
		{Role: "tool", CallID: "1", Text: "that is no JSON"}}
	if !reflect.DeepEqual(d.messages, want) {
		t.Errorf("the model is told %+v", d.messages)
	}
	if d, err = newDialogue(kept(store.MessageIncomplete), 1); err != nil || !reflect.DeepEqual(d.messages, want[:1]) {
		t.Errorf("of a call that was cut off the model is told %+v, %v", d.messages, err)
	}
}

// Some servers end a call that has no arguments with none. What is said after it waits for them, but not for ever.
func TestOnlySoMuchWaitsBehindACall(t *testing.T) {
	text := ""
	c := newComposer(func(rows ...store.Delta) error {
		for _, d := range rows {
			if d.Kind == store.DeltaText && d.Item == 1 {
				text += d.Text
			}
		}
		return nil
	})
	c.write(llm.Delta{Call: &llm.Call{ID: "1", Name: "now"}})
	said := ""
	for len(said) < 2*maxUnsent {
		piece := strings.Repeat("degraded ", 500)
		said += piece
		if c.write(llm.Delta{Text: piece}); len(said)-len(text) > maxUnsent {
			t.Fatalf("of %d bytes %d are in the log", len(said), len(text))
		}
	}
	if c.end(true); text != said {
		t.Errorf("of %d bytes %d are in the log", len(said), len(text))
	}
}

package store

import "testing"

func TestWrittenLeavesOutACallWithoutAName(t *testing.T) {
	log := []Delta{
		{Kind: DeltaItem, ItemID: "a", Text: ItemMessage}, {Kind: DeltaPart, Text: PartOutputText}, {Kind: DeltaText, Text: "I look."},
		{Kind: DeltaPartDone}, {Kind: DeltaItemDone},
		{Kind: DeltaItem, Item: 1, ItemID: "b", Text: ItemFunctionCall}, {Kind: DeltaPart, Item: 1, Text: PartCallID},
		{Kind: DeltaText, Item: 1, Text: "c1"}, {Kind: DeltaPartDone, Item: 1}, {Kind: DeltaPart, Item: 1, Part: 1, Text: PartName},
		{Kind: DeltaText, Item: 1, Part: 1, Text: "lo"}, {Kind: DeltaText, Item: 1, Part: 1, Text: "ok"}, {Kind: DeltaPartDone, Item: 1, Part: 1},
		{Kind: DeltaPart, Item: 1, Part: 2, Text: PartArguments},
	}
	for i := range log {
		log[i].N = i
	}
	for rows, want := range map[int][]MessageStatus{0: nil, 1: {MessageInProgress}, 4: {MessageInProgress}, 5: {MessageCompleted}, 6: {MessageCompleted},
		13: {MessageCompleted}, 14: {MessageCompleted, MessageInProgress}} {
		got, err := Written([]Unsettled{{Seq: 7, ParentID: "p", Model: "m", Deltas: log[:rows]}})
		if err != nil || len(got) != len(want) {
			t.Errorf("of %d rows it is %v, %v", rows, got, err)
			continue
		}
		for i, m := range got {
			if m.Status != want[i] || m.Position != (Position{7, i}) || m.Model != "m" || (m.ParentID == "p") != (i == 0) {
				t.Errorf("of %d rows message %d is %+v", rows, i, m)
			}
		}
	}
}

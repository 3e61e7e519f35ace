package store

import (
	"encoding/json"
	"math"
	"slices"
)

// Branches. A message without a parent continues the message before it; one with a parent leaves the line there. So a
// branch is a few stretches of the conversation's order, and reading one is a range scan of each: no recursion, and one
// scan for the conversation that never branched. This file is pure; both engines use it.

// Fork is a message that continues another than the one before it.
type Fork struct {
	At     Position
	Parent Position
}

// Stretch is a run of a conversation's order, both ends included.
type Stretch struct {
	From, To Position
}

var (
	firstPosition = Position{}
	lastPosition  = Position{Seq: math.MaxInt64, Idx: math.MaxInt32}
)

// Line returns the stretches of the branch that ends in tip, in order. A nil tip is the active branch: the one that ends
// in the last message there is. forks are those of the conversation, in order.
func Line(forks []Fork, tip *Position) []Stretch {
	to := lastPosition
	if tip != nil {
		to = *tip
	}
	var line []Stretch
	for i := len(forks) - 1; i >= 0; i-- {
		if to.Before(forks[i].At) {
			continue // on another branch, or after the tip
		}
		line = append(line, Stretch{forks[i].At, to})
		to = forks[i].Parent
	}
	line = append(line, Stretch{firstPosition, to})
	slices.Reverse(line)
	return line
}

// Ranges are the parts of line that q asks for, in the order in which to read them.
func (q ThreadQuery) Ranges(line []Stretch) []Stretch {
	var out []Stretch
	for _, r := range line {
		if q.After != nil && !q.After.Before(r.From) {
			r.From = Position{q.After.Seq, q.After.Idx + 1}
		}
		if q.Before != nil && !r.To.Before(*q.Before) {
			r.To = Position{q.Before.Seq, q.Before.Idx - 1}
		}
		if !r.To.Before(r.From) {
			out = append(out, r)
		}
	}
	if q.Newest {
		slices.Reverse(out)
	}
	return out
}

// Cut makes a page of what was read for q: at most one message more than its limit, newest first if it asked for those.
func (q ThreadQuery) Cut(messages []Message) ThreadPage {
	page := ThreadPage{Messages: messages}
	if q.Limit > 0 && len(messages) > q.Limit {
		page.Messages, page.More = messages[:q.Limit], true
	}
	if q.Newest {
		slices.Reverse(page.Messages)
	}
	return page
}

// noLimit is a LIMIT for all rows.
const noLimit = int64(math.MaxInt64)

// Size is how many conversations a page of q has at most.
func (q ListQuery) Size() int {
	if q.Limit <= 0 || q.Limit > ListLimit {
		return ListLimit
	}
	return q.Limit
}

// Cut makes a page of what was read for q: one conversation more than its limit, or more, where there are.
func (q ListQuery) Cut(list []ConversationSummary) ListPage {
	page := ListPage{Conversations: list}
	if len(list) > q.Size() {
		page.Conversations, page.More = list[:q.Size()], true
	}
	if q.After == nil && q.Before != nil {
		slices.Reverse(page.Conversations)
	}
	return page
}

// MetadataJSON returns metadata as JSON with sorted keys, or an [InvalidTextError].
func MetadataJSON(metadata map[string]string) (string, error) {
	if metadata == nil {
		return "{}", nil
	}
	for key, value := range metadata {
		if err := CheckText("metadata", key); err != nil {
			return "", err
		}
		if err := CheckText("metadata."+key, value); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(metadata)
	return string(text), err
}

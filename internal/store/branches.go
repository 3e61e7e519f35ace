package store

import (
	"encoding/json"
	"math"
	"slices"
	"sort"
)

// Branches. A message without a parent continues the message before it; one with a parent leaves the line there. So a
// branch is a few stretches of the conversation's order, and reading one is a range scan of each: no recursion, and one
// scan for the conversation that never branched. This file is pure; both engines use it.

// Fork is a message that continues another than the one before it.
type Fork struct {
	At     Position
	Parent Position // zero: it continues none

	// With [ThreadQuery.Details], the first messages that are not deleted, on whatever branch; without an ID there is none.
	First Beginning // from At on
	Next  Beginning // after Parent
}

// Beginning is a message that may be the first of a branch.
type Beginning struct {
	Sibling
	Position
}

// Through is a place that a branch goes through.
type Through struct {
	Position
	End bool // the branch ends there
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

// Line returns the stretches of the branch that q asks for. through is the place of q.Through.
func (q ThreadQuery) Line(forks []Fork, through Through) []Stretch {
	if q.Through == "" {
		return Line(forks, q.Tip)
	}
	if !through.End {
		through.Position = lastAfter(forks, through.Position)
	}
	return Line(forks, &through.Position)
}

// lastAfter is where the branches that go through a place were last added to. A fork's messages are those up to the next fork.
func lastAfter(forks []Fork, place Position) Position {
	from := segment(forks, place)
	reached := map[int]bool{from: true}
	last := from
	for i := from + 1; i <= len(forks); i++ {
		parent := forks[i-1].Parent
		if on := segment(forks, parent); reached[on] && (on != from || !parent.Before(place)) {
			reached[i], last = true, i
		}
	}
	if last == len(forks) {
		return lastPosition
	}
	return Position{forks[last].At.Seq, forks[last].At.Idx - 1}
}

// segment is the number of the fork whose messages are at a place, from 1; 0 is before the first.
func segment(forks []Fork, place Position) int {
	return sort.Search(len(forks), func(i int) bool { return place.Before(forks[i].At) })
}

// AddSiblings sets what the page's messages have for siblings. A branch whose beginning was deleted begins with what comes
// after it.
func (p ThreadPage) AddSiblings(forks []Fork) {
	groups := map[Position][]Sibling{}
	for i, f := range forks {
		if _, known := groups[f.Parent]; !known {
			groups[f.Parent] = nil
			if f.Next.ID != "" && segment(forks, f.Next.Position) == segment(forks, f.Parent) {
				groups[f.Parent] = []Sibling{f.Next.Sibling}
			}
		}
		if f.First.ID != "" && segment(forks, f.First.Position) == i+1 {
			groups[f.Parent] = append(groups[f.Parent], f.First.Sibling)
		}
	}
	siblings := map[string][]Sibling{}
	for _, group := range groups {
		for _, m := range group {
			if len(group) > 1 {
				siblings[m.ID] = group
			}
		}
	}
	for i := range p.Messages {
		p.Messages[i].Siblings = siblings[p.Messages[i].ID]
	}
}

// Ranges are the parts of line that q asks for, in the order in which to read them.
func (q ThreadQuery) Ranges(line []Stretch) []Stretch {
	var out []Stretch
	for _, r := range line {
		if q.After != nil && !q.After.Before(r.From) {
			if r.From = (Position{q.After.Seq + 1, 0}); q.After.Idx < lastPosition.Idx {
				r.From = Position{q.After.Seq, q.After.Idx + 1}
			}
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

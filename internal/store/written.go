package store

import (
	"cmp"
	"slices"
)

// What replies that are being written have said so far. Its place in the order is known, so it is read as if it stood there
// already: the reply's end moves nothing. This file is pure; both engines use it.

// Written returns the messages that replies have so far, in order. A call whose name is not known yet is not among them.
func Written(running []Unsettled) ([]Message, error) {
	var list []Message
	for _, r := range running {
		messages, _, err := Fold(r.Deltas)
		if err != nil {
			return nil, err
		}
		if unnamed(r.Deltas) {
			messages = messages[:len(messages)-1]
		}
		for i := range messages {
			m := &messages[i]
			m.Seq, m.CreatedAt, m.Model = r.Seq, r.CreatedAt, r.Model
			if m.Status == MessageIncomplete {
				m.Status = MessageInProgress
			}
			if i == 0 {
				m.ParentID = r.ParentID
			}
		}
		list = append(list, messages...)
	}
	return list, nil
}

// unnamed reports whether the last item of a log is a call whose name is not known yet. The engines ask the same of a first item, for a fork.
func unnamed(deltas []Delta) bool {
	for _, d := range slices.Backward(deltas) {
		switch {
		case d.Kind == DeltaPart && d.Text == PartArguments:
			return false
		case d.Kind == DeltaItem:
			return d.Text == ItemFunctionCall
		}
	}
	return false
}

// Beginnings puts what is being written among the beginnings of branches.
func Beginnings(forks []Fork, written []Message) error {
	for _, m := range written {
		it, err := m.Typed()
		if err != nil {
			return err
		}
		b := Beginning{Sibling{m.ID, it.Type}, m.Position}
		for i := range forks {
			f := &forks[i]
			if !m.Before(f.At) && (f.First.ID == "" || m.Before(f.First.Position)) {
				f.First = b
			}
			if f.Parent.Before(m.Position) && (f.Next.ID == "" || m.Before(f.Next.Position)) {
				f.Next = b
			}
		}
	}
	return nil
}

// ThroughWritten finds q.Through in what is being written.
func (q ThreadQuery) ThroughWritten(written []Message) (through Through, found bool) {
	for _, m := range written {
		if m.ID == q.Through || m.ResponseID == q.Through {
			through, found = Through{Position: m.Position}, true
		}
	}
	return through, found
}

// Join adds what is being written to the messages that were read for q of line.
func (q ThreadQuery) Join(messages, written []Message, line []Stretch) []Message {
	kept := len(messages)
	for _, r := range q.Ranges(line) {
		for _, m := range written {
			if !m.Before(r.From) && !r.To.Before(m.Position) {
				messages = append(messages, m)
			}
		}
	}
	if len(messages) > kept {
		slices.SortFunc(messages, func(a, b Message) int {
			if q.Newest {
				a, b = b, a
			}
			return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Idx, b.Idx))
		})
	}
	return messages
}

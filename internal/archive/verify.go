package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// Verifiable is what [Verify] needs of a record.
type Verifiable interface {
	Source
	Summary(ctx context.Context, id string) (store.ConversationSummary, error)
	Unindexed(ctx context.Context, limit int) ([]store.Message, error)
	Leftovers(ctx context.Context, limit int) ([]string, error)
}

// Verify looks through a record: the order of every conversation and its counts, that branches begin at messages that are there,
// that replies are settled unless alive says that those who write are there, that their logs fit their text, that every message and
// title can be found, and that nothing is left of what was deleted. It tells problem what is wrong, and returns what it looked at.
func Verify(ctx context.Context, r Verifiable, alive func() (bool, error), problem func(string), progress func(Counts)) (Counts, error) {
	var n Counts
	for id, err := range ids(ctx, r) {
		if err != nil {
			return n, err
		}
		c, err := r.Summary(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return n, err
		}
		if c.RunningID != "" {
			there, err := alive()
			if err != nil {
				return n, err
			}
			if !there {
				problem(fmt.Sprintf("conversation %s: reply %s is not settled", id, c.RunningID))
			}
		}
		v := verifier{problem: func(text string) { problem("conversation " + id + ": " + text) }, parents: map[string]bool{id: true}}
		if err := r.ArchiveConversation(ctx, id, v.row); err != nil && !errors.Is(err, store.ErrNotFound) {
			return n, err
		}
		v.end()
		n.Conversations++
		n.Messages += v.rows
		progress(n)
	}
	const most = 1000
	lost, err := r.Unindexed(ctx, most)
	if err != nil {
		return n, err
	}
	for _, m := range lost {
		what := "message " + m.ID
		if m.ID == "" {
			what = "its title"
		}
		problem(fmt.Sprintf("conversation %s: %s cannot be found by its words", m.ConversationID, what))
	}
	if len(lost) == most {
		problem("there may be more messages that cannot be found")
	}
	left, err := r.Leftovers(ctx, most)
	if err != nil || len(left) == 0 {
		return n, err
	}
	select {
	case <-time.After(time.Second): // a server that is at it has done it by then
	case <-ctx.Done():
		return n, ctx.Err()
	}
	still, err := r.Leftovers(ctx, most)
	if err != nil {
		return n, err
	}
	for _, text := range still {
		if slices.Contains(left, text) {
			problem(text)
		}
	}
	if len(still) == most {
		problem("there may be more of them")
	}
	return n, nil
}

// verifier looks at the rows of one conversation.
type verifier struct {
	problem func(string)

	conversation *store.ArchivedConversation
	last         store.Position
	rows, live   int
	empty        []stretch                  // of the order, without a message
	parents      map[string]bool            // ids that a branch may begin at
	outputs      map[string][]store.Message // of replies, the latest ones
}

// stretch is a run of numbers of the order.
type stretch struct{ from, to int64 }

// until notes that no message stands after the last one and before seq.
func (v *verifier) until(seq int64) {
	if from := v.last.Seq + 1; from < seq {
		v.empty = append(v.empty, stretch{from, seq - 1})
	}
}

// reply takes a reply's place out of those that are empty: it may have said nothing.
func (v *verifier) reply(seq int64) {
	for i, e := range v.empty {
		if e.from <= seq && seq <= e.to {
			v.empty = slices.Delete(v.empty, i, i+1)
			for _, rest := range []stretch{{seq + 1, e.to}, {e.from, seq - 1}} {
				if rest.from <= rest.to {
					v.empty = slices.Insert(v.empty, i, rest)
				}
			}
			return
		}
	}
}

func (v *verifier) row(r store.ArchiveRow) error {
	if err := r.Check(); err != nil {
		v.problem(err.Error())
	}
	switch {
	case r.Conversation != nil:
		v.conversation = r.Conversation
	case r.Message != nil:
		m := r.Message
		at := store.Position{Seq: m.Seq, Idx: m.Idx}
		switch {
		case at.Seq > v.conversation.Head:
			v.problem(fmt.Sprintf("message %s stands at %d, after the end at %d", m.ID, at.Seq, v.conversation.Head))
		case at.Seq == v.last.Seq && at.Idx != v.last.Idx+1, at.Seq != v.last.Seq && at.Idx != 0:
			v.problem(fmt.Sprintf("before message %s at %d.%d one is missing", m.ID, at.Seq, at.Idx))
		}
		if m.ParentID != "" && !v.parents[m.ParentID] {
			v.problem(fmt.Sprintf("the branch of message %s begins at %s, which is not before it", m.ID, m.ParentID))
		}
		if m.Status != store.MessageDeleted {
			v.live++
		}
		v.parents[m.ID] = true
		v.until(at.Seq)
		v.last = at
		v.rows++
		if m.ResponseID != "" {
			if v.outputs == nil {
				v.outputs = map[string][]store.Message{}
			}
			v.outputs[m.ResponseID] = append(v.outputs[m.ResponseID], store.Message{ID: m.ID, Position: at, Role: m.Role, Content: m.Content, Status: m.Status,
				ResponseID: m.ResponseID, Item: m.Item})
		}
	case r.Response != nil:
		p := r.Response
		if v.last.Seq < v.conversation.Head { // the first: the messages have ended
			v.until(v.conversation.Head + 1)
			v.last.Seq = v.conversation.Head
		}
		v.reply(p.Seq)
		if p.Seq > v.conversation.Head {
			v.problem(fmt.Sprintf("reply %s stands at %d, after the end at %d", p.ID, p.Seq, v.conversation.Head))
		}
		for _, m := range v.outputs[p.ID] {
			if m.Seq != p.Seq {
				v.problem(fmt.Sprintf("message %s of reply %s is not where the reply is", m.ID, p.ID))
			}
		}
		if err := fits(p, v.outputs[p.ID]); err != nil {
			v.problem(fmt.Sprintf("the log of reply %s does not fit its text: %v", p.ID, err))
		}
		delete(v.outputs, p.ID)
	}
	return nil
}

// fits reports what is wrong with the log of a reply: what it folds to again is what the reply says, but for what was deleted.
func fits(p *store.ArchivedResponse, outputs []store.Message) error {
	log, err := store.Unfold(p.ID, outputs, p.Log)
	if err != nil {
		return err
	}
	folded, _, err := store.Fold(log)
	if err != nil {
		return err
	}
	if len(folded) != len(outputs) {
		return fmt.Errorf("it has %d items of %d", len(folded), len(outputs))
	}
	for i, m := range outputs {
		if m.Status == store.MessageDeleted {
			continue
		}
		f := folded[i]
		is, err := m.Typed()
		if err != nil {
			return err
		}
		says, err := store.Message{ID: f.ID, Role: f.Role, Content: f.Content, Item: f.Item}.Typed()
		if err != nil {
			return err
		}
		if f.Content != m.Content || !reflect.DeepEqual(is, says) {
			return fmt.Errorf("message %s says something else", m.ID)
		}
	}
	return nil
}

func (v *verifier) end() {
	if v.conversation == nil {
		return // deleted meanwhile
	}
	for _, id := range slices.Sorted(maps.Keys(v.outputs)) {
		v.problem(fmt.Sprintf("message %s is of reply %s, which is not there", v.outputs[id][0].ID, id))
	}
	v.until(v.conversation.Head + 1)
	for _, e := range v.empty {
		if e.from == e.to {
			v.problem(fmt.Sprintf("nothing stands at %d", e.from))
		} else {
			v.problem(fmt.Sprintf("nothing stands from %d to %d", e.from, e.to))
		}
	}
	if v.live != v.conversation.MessageCount {
		v.problem(fmt.Sprintf("it has %d messages and says %d", v.live, v.conversation.MessageCount))
	}
}

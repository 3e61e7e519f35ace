package advisor

import (
	"encoding/json"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// composer makes the rows of a log of what a model says. In a log one item ends before the next begins; a model may go on
// with something else and come back, as with the arguments of two calls in turns. So what is said is kept in the order in which
// it began, the first of it goes into the log as it comes, and what is behind waits until the first is over: for a call that
// is when its arguments are whole, or too much waits for that.
type composer struct {
	add func(rows ...store.Delta) error

	said  []*segment
	calls int // the index after that of the last call
	begun int // calls
	most  int // that many calls at most, 0 for any number: the model's further ones are left out

	item, part int    // of the last rows
	itemType   string // of the open item; "" for none
}

// segment is a run of one kind of thing that is said.
type segment struct {
	part      string // the type of part that it becomes
	call      llm.Call
	arguments []byte // of a call, so far
	waiting   string // text that is not in the log
	opened    bool   // in the log
}

func newComposer(add func(rows ...store.Delta) error) *composer { return &composer{add: add, item: -1} }

// resume begins with the rows of what was said before, of which the last is text. None are none.
func (c *composer) resume(rows []store.Delta) error {
	if len(rows) == 0 {
		return nil
	}
	last := rows[len(rows)-1]
	c.item, c.part, c.itemType = last.Item, last.Part, store.ItemMessage
	c.said = []*segment{{part: store.PartOutputText, opened: true}}
	return c.add(rows...)
}

// write takes the next step of a reply.
func (c *composer) write(d llm.Delta) error {
	for _, s := range [...]struct{ part, text string }{{store.PartSummaryText, d.Reasoning}, {store.PartOutputText, d.Text}, {store.PartRefusal, d.Refusal}} {
		if s.text != "" {
			last := len(c.said) - 1
			if last < 0 || c.said[last].part != s.part {
				c.said = append(c.said, &segment{part: s.part})
				last++
			}
			c.said[last].waiting += s.text
		}
	}
	if d.Call != nil {
		c.piece(*d.Call)
	}
	return c.flush(false)
}

// piece takes a piece of a call. One of a call that is over, or too many, is left out.
func (c *composer) piece(p llm.Call) {
	var s *segment
	for _, known := range c.said {
		if known.part == store.PartArguments && known.call.Index == p.Index {
			s = known
		}
	}
	if s == nil {
		if p.Index < c.calls || c.most > 0 && c.begun == c.most {
			return
		}
		c.calls = p.Index + 1
		c.begun++
		s = &segment{part: store.PartArguments, call: p}
		c.said = append(c.said, s)
	}
	s.arguments = append(s.arguments, p.Arguments...)
	s.waiting += p.Arguments
}

// flush writes what can be written; with all, also what is behind a call that is not whole.
func (c *composer) flush(all bool) error {
	for len(c.said) > 0 {
		s := c.said[0]
		if err := c.open(s); err != nil {
			return err
		}
		if s.waiting != "" {
			if err := c.add(store.Delta{Kind: store.DeltaText, Item: c.item, Part: c.part, Text: store.CleanText(s.waiting)}); err != nil {
				return err
			}
			s.waiting = ""
		}
		if len(c.said) == 1 || !all && !s.whole() && c.behind() <= maxUnsent {
			return nil
		}
		c.said = c.said[1:]
	}
	return nil
}

// behind is how many bytes wait for the first to be over.
func (c *composer) behind() (n int) {
	for _, s := range c.said[1:] {
		n += len(s.waiting)
	}
	return n
}

// whole reports whether nothing more can come once something else has begun.
func (s *segment) whole() bool { return s.part != store.PartArguments || json.Valid(s.arguments) }

// open opens the item and the part of s, unless they are.
func (c *composer) open(s *segment) error {
	if s.opened {
		return nil
	}
	s.opened = true
	kind := store.ItemMessage
	switch s.part {
	case store.PartSummaryText:
		kind = store.ItemReasoning
	case store.PartArguments:
		kind = store.ItemFunctionCall
	}
	if c.itemType == kind && kind == store.ItemMessage { // text and refusal are parts of one message
		c.part++
		return c.add(store.Delta{Kind: store.DeltaPartDone, Item: c.item, Part: c.part - 1},
			store.Delta{Kind: store.DeltaPart, Item: c.item, Part: c.part, Text: s.part})
	}
	if err := c.close(); err != nil {
		return err
	}
	c.item, c.part, c.itemType = c.item+1, 0, kind
	rows := []store.Delta{{Kind: store.DeltaItem, Item: c.item, ItemID: store.NewID(), Text: kind}}
	if kind == store.ItemFunctionCall {
		rows = append(rows,
			store.Delta{Kind: store.DeltaPart, Item: c.item, Text: store.PartCallID},
			store.Delta{Kind: store.DeltaText, Item: c.item, Text: store.CleanText(s.call.ID)},
			store.Delta{Kind: store.DeltaPart, Item: c.item, Part: 1, Text: store.PartName},
			store.Delta{Kind: store.DeltaText, Item: c.item, Part: 1, Text: store.CleanText(s.call.Name)})
		c.part = 2
	}
	return c.add(append(rows, store.Delta{Kind: store.DeltaPart, Item: c.item, Part: c.part, Text: s.part})...)
}

// close ends the open item, if there is one.
func (c *composer) close() error {
	if c.itemType == "" {
		return nil
	}
	c.itemType = ""
	return c.add(store.Delta{Kind: store.DeltaPartDone, Item: c.item, Part: c.part}, store.Delta{Kind: store.DeltaItemDone, Item: c.item, Part: c.part})
}

// end writes what waits. The last item stays open if the reply is not whole.
func (c *composer) end(whole bool) error {
	if err := c.flush(true); err != nil || !whole {
		return err
	}
	return c.close()
}

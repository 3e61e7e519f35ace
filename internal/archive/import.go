package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// Result is what came of an import or a copy.
type Result struct {
	Added, Same, Differs, Failed int // conversations
	Messages                     int // of those added
	Seen                         int // messages of all that were whole in what is read
}

// Options are of an import or a copy. Its functions must not be nil.
type Options struct {
	Progress func(Result)                    // now and then
	Problem  func(place string, what string) // of a conversation that was not taken

	differs func(id string) // instead of Problem, for one that is there and differs
}

// ErrNotWhole is returned by an import or a copy that named problems: all else was taken.
var ErrNotWhole = errors.New("not everything was taken over")

// A batch is committed at the end of the conversation that makes it this large, or that comes this late.
const (
	batchRows  = 20000
	batchBytes = 32 << 20
	batchTime  = time.Second
)

// origin gives conversations one after another. next gives the rows of the next to f, which sum counts in, and returns where it
// stands; the last has no id and io.EOF. An error of *badError damages this conversation only.
type origin interface {
	next(sum *encoder, f func(store.ArchiveRow) error) (place string, err error)
}

// badError is what is wrong with one conversation.
type badError struct{ what string }

func (e *badError) Error() string { return e.what }

func bad(format string, args ...any) error { return &badError{fmt.Sprintf(format, args...)} }

// taken is a conversation that was given to a record.
type taken struct {
	place string
	end   ending
}

// step is a row that an origin gave or, with over, what came of the conversation whose rows those before it were.
type step struct {
	row  store.ArchiveRow
	size int

	over bool
	taken
	err error
}

// A chunk is as many steps, or bytes of rows.
const (
	chunkSteps = 1000
	chunkBytes = 1 << 20
)

// readAhead checks what an origin gives while what it gave before is being written, a few chunks ahead. They end with the origin, with an error
// that damages more than a conversation, or with ctx.
func readAhead(ctx context.Context, from origin) <-chan []step {
	chunks := make(chan []step, 2)
	go func() {
		defer close(chunks)
		var chunk []step
		size, e := 0, newEncoder()
		send := func() error {
			select {
			case chunks <- chunk:
				chunk, size = nil, 0
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for {
			s, given := step{over: true}, false
			var check checker
			s.place, s.err = from.next(e, func(r store.ArchiveRow) error {
				if err := check.row(r); err != nil {
					return err
				}
				text, err := e.row(r)
				if err != nil {
					return err
				}
				given = true
				chunk, size = append(chunk, step{row: r, size: len(text)}), size+len(text)
				if len(chunk) < chunkSteps && size < chunkBytes {
					return nil
				}
				return send()
			})
			if s.err == nil && given {
				s.err, s.end = check.done(), e.ending()
			}
			chunk = append(chunk, s)
			var damage *badError
			if last := s.err != nil && !errors.As(s.err, &damage); last || len(chunk) >= chunkSteps {
				if send() != nil || last {
					return
				}
			}
		}
	}()
	return chunks
}

// take restores what an origin gives, in batches.
func take(ctx context.Context, to Record, from origin, o Options) (Result, error) {
	reading, stop := context.WithCancel(ctx)
	chunks := readAhead(reading, from)
	defer func() {
		stop()
		for range chunks { // until the origin is left alone
		}
	}()
	var chunk []step
	next := func() (s step) {
		for len(chunk) == 0 {
			var more bool
			if chunk, more = <-chunks; !more {
				return step{over: true, err: cmp.Or(ctx.Err(), io.EOF)}
			}
		}
		s, chunk = chunk[0], chunk[1:]
		return s
	}
	var result Result
	for last := false; !last; {
		if err := ctx.Err(); err != nil {
			return result, err
		}
		var batch []taken
		var failed error
		began, size, rows := time.Now(), 0, 0
		done, err := to.Restore(ctx, func(yield func(store.ArchiveRow) bool) {
			for rows < batchRows && size < batchBytes && (rows == 0 || time.Since(began) < batchTime) {
				if failed = ctx.Err(); failed != nil {
					return
				}
				s, given := next(), false
				for ; !s.over; s = next() {
					size, rows, given = size+s.size, rows+1, true
					if !yield(s.row) {
						return
					}
				}
				var damage *badError
				switch {
				case errors.As(s.err, &damage):
					result.Failed++
					o.Problem(s.place, damage.what)
					if given && !yield(store.ArchiveRow{Abandon: true}) {
						return
					}
				case s.err == io.EOF:
					last = true
					return
				case s.err != nil:
					failed = s.err
					if given {
						yield(store.ArchiveRow{Abandon: true})
					}
					return
				case given:
					batch = append(batch, s.taken)
				}
			}
		})
		if err != nil {
			return result, err
		}
		added := map[string]int{} // the first of several with one id may have been
		for _, t := range batch {
			added[t.end.ID]++
		}
		for _, id := range done.There {
			added[id]--
		}
		for _, t := range batch {
			result.Seen += t.end.Messages
			if clash, is := done.Clashes[t.end.ID]; is {
				result.Failed++
				what := fmt.Sprintf("its message or reply %s is one of conversation %s already", clash.ID, clash.Of)
				if clash.Of == t.end.ID {
					what = fmt.Sprintf("two of its messages or replies have the id %s", clash.ID)
				}
				o.Problem(t.place, fmt.Sprintf("conversation %s was not taken: %s", t.end.ID, what))
				continue
			}
			if added[t.end.ID] > 0 {
				added[t.end.ID]--
				result.Added++
				result.Messages += t.end.Messages
				continue
			}
			if err := meet(ctx, to, t, o, &result); err != nil {
				return result, err
			}
		}
		o.Progress(result)
		if failed != nil {
			return result, failed
		}
	}
	if result.Failed+result.Differs > 0 {
		return result, ErrNotWhole
	}
	return result, nil
}

// meet compares a conversation with the one that the record has under its id.
func meet(ctx context.Context, to Record, t taken, o Options, result *Result) error {
	has, err := digest(ctx, to, t.end.ID)
	switch {
	case err != nil:
		return err
	case has == t.end:
		result.Same++
	case o.differs != nil:
		o.differs(t.end.ID)
	default:
		result.Differs++
		o.Problem(t.place, fmt.Sprintf("conversation %s is there already and differs; it was left as it is", t.end.ID))
	}
	return nil
}

// checker refuses conversations that are not whole in themselves.
type checker struct {
	conversation *store.ArchivedConversation
	last         store.Position
	messages     int
	responses    bool
}

func (c *checker) row(r store.ArchiveRow) error {
	if err := r.Check(); err != nil {
		return bad("%v", err)
	}
	switch {
	case r.Conversation != nil:
		if c.conversation != nil {
			return bad("two conversations in one")
		}
		if r.Conversation.ID == "" {
			return bad("a conversation without an id")
		}
		c.conversation = r.Conversation
	case c.conversation == nil:
		return bad("a row before its conversation")
	case r.Message != nil:
		at := store.Position{Seq: r.Message.Seq, Idx: r.Message.Idx}
		if c.responses || !c.last.Before(at) || at.Seq > c.conversation.Head {
			return bad("message %s is out of order", r.Message.ID)
		}
		c.last = at
		if r.Message.Status != store.MessageDeleted {
			c.messages++
		}
	case r.Response != nil:
		c.responses = true
		if r.Response.Seq > c.conversation.Head {
			return bad("response %s is out of order", r.Response.ID)
		}
	}
	return nil
}

func (c *checker) done() error {
	if c.messages != c.conversation.MessageCount {
		return bad("%d messages, where the conversation says %d", c.messages, c.conversation.MessageCount)
	}
	return nil
}

// lines reads an archive.
type lines struct {
	in      *bufio.Reader
	number  int
	pushed  []byte // a line to be read again
	counted Counts
	total   bool
}

// maxLine is the longest line that is read: a message with its attachments.
const maxLine = 1 << 30

// read returns the next line, without its newline.
func (l *lines) read() ([]byte, error) {
	if text := l.pushed; text != nil {
		l.pushed = nil
		return text, nil
	}
	var text []byte
	for {
		more, err := l.in.ReadSlice('\n')
		text = append(text, more...)
		if err == nil || err == io.EOF && len(text) > 0 { // or cut off, as will be seen
			l.number++
			return bytes.TrimSuffix(text, []byte("\n")), nil
		}
		if err != bufio.ErrBufferFull {
			return nil, err
		}
		if len(text) > maxLine {
			return nil, fmt.Errorf("line %d is longer than %d bytes", l.number+1, maxLine)
		}
	}
}

func (l *lines) next(sum *encoder, f func(store.ArchiveRow) error) (place string, err error) {
	place = fmt.Sprintf("line %d", l.number+1)
	for began := false; ; {
		text, err := l.read()
		if err == io.EOF {
			if began || !l.total {
				l.total = true // said once
				return place, bad("the file ends here in the middle, after line %d", l.number)
			}
			return place, io.EOF
		}
		if err != nil {
			return place, err
		}
		var row line
		if err := json.Unmarshal(text, &row); err != nil {
			return place, l.skip(bad("line %d is damaged: %v", l.number, err))
		}
		switch {
		case row.Total != nil && !began:
			l.total = true
			if want := (Counts{row.Total.Conversations, row.Total.Messages}); l.counted != want {
				return place, bad("the archive was made of %d conversations with %d messages; %d with %d are whole in it", want.Conversations, want.Messages,
					l.counted.Conversations, l.counted.Messages)
			}
		case row.Conversation != nil && began:
			l.pushed = text
			return place, bad("the conversation has no end before line %d", l.number)
		case row.End != nil && began:
			if end := sum.ending(); end != *row.End {
				return place, bad("the conversation's checksum or counts at line %d are not those of its lines", l.number)
			}
			l.counted.Conversations++
			l.counted.Messages += row.End.Messages
			return place, nil
		case row.Conversation != nil, began && (row.Message != nil || row.Response != nil):
			began = true
			if err := f(row.ArchiveRow); err != nil {
				var damage *badError
				if errors.As(err, &damage) {
					err = l.skip(bad("line %d: %s", l.number, damage.what))
				}
				return place, err
			}
		default:
			return place, l.skip(bad("line %d stands where it makes no sense", l.number))
		}
	}
}

// skip goes on to the next conversation and returns err.
func (l *lines) skip(err error) error {
	for {
		text, readErr := l.read()
		if readErr != nil { // the next call meets it again
			return err
		}
		if bytes.HasPrefix(text, []byte(`{"conversation":`)) || bytes.HasPrefix(text, []byte(`{"total":`)) {
			l.pushed = text
			return err
		}
	}
}

// Import reads what was exported by hwlab or another program from in and adds it to a record. What the record has already is left
// alone, so that an import can be repeated. Of a damaged file what is whole is added; it then returns [ErrNotWhole].
func Import(ctx context.Context, to Record, in io.Reader, o Options) (Result, error) {
	from, err := detect(in)
	if err != nil {
		return Result{}, err
	}
	return take(ctx, to, from, o)
}

// Index indexes what waits for it, and tells how much that was so far.
func Index(ctx context.Context, r Record, progress func(done int)) error {
	for done := 0; ; {
		n, err := r.IndexPending(ctx, 500)
		if err != nil || n == 0 {
			return err
		}
		done += n
		progress(done)
	}
}

package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// Export writes all conversations of a record, listed or not, or those of only, to w. Each is as of one moment. progress is told
// of every conversation.
func Export(ctx context.Context, from Source, w io.Writer, only []string, progress func(Counts)) (Counts, error) {
	var n Counts
	out := bufio.NewWriterSize(w, 1<<16)
	e := newEncoder()
	write := func(text []byte, err error) error {
		if err == nil {
			_, err = out.Write(text)
		}
		return err
	}
	if err := write(e.line(header{"hwlab", Version})); err != nil {
		return n, err
	}
	one := func(id string) error {
		err := from.ArchiveConversation(ctx, id, func(r store.ArchiveRow) error { return write(e.row(r)) })
		if err != nil {
			return err
		}
		end := e.ending()
		n.Conversations, n.Messages = n.Conversations+1, n.Messages+end.Messages
		progress(n)
		return write(e.line(line{End: &end}))
	}
	for _, id := range only {
		if err := one(id); err != nil {
			return n, err
		}
	}
	if only == nil {
		for id, err := range ids(ctx, from) {
			if err == nil {
				err = one(id)
			}
			if err != nil && !errors.Is(err, store.ErrNotFound) { // it was deleted meanwhile
				return n, err
			}
		}
	}
	if err := write(e.line(line{Total: &total{n.Conversations, n.Messages}})); err != nil {
		return n, err
	}
	return n, out.Flush()
}

// Thread is what Markdown needs of a record.
type Thread interface {
	GetConversation(ctx context.Context, id string) (*store.Conversation, error)
}

// Markdown writes the active branch of a conversation to be read by people.
func Markdown(ctx context.Context, from Thread, w io.Writer, id string) error {
	c, err := from.GetConversation(ctx, id)
	if err != nil {
		return err
	}
	title := strings.Join(strings.Fields(c.Title), " ")
	if title == "" {
		title = "Conversation"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s", title, c.StartedAt.UTC().Format(time.DateTime+" UTC"))
	if c.Model != "" {
		fmt.Fprintf(&b, " · %s", c.Model)
	}
	b.WriteString("\n")
	for _, m := range c.Messages {
		item, err := m.Typed()
		if err != nil {
			return err
		}
		name := map[string]string{"user": "Question", "assistant": "Answer", "system": "Instructions"}[m.Role]
		parts := item.Content
		switch item.Type {
		case store.ItemReasoning:
			name, parts = "Reasoning", append(item.Summary, item.Content...)
		case store.ItemFunctionCall:
			name, parts = "Call of "+item.Name, []store.Part{{Text: fenced("json", item.Arguments)}}
		case store.ItemCallOutput:
			name = "Output of the call"
			if parts = item.Output; parts == nil {
				parts = []store.Part{{Text: fenced("", m.Content)}}
			}
		}
		if m.Status == store.MessageIncomplete {
			name += " (incomplete)"
		}
		fmt.Fprintf(&b, "\n## %s\n", name)
		for _, p := range parts {
			switch {
			case p.Text != "":
				fmt.Fprintf(&b, "\n%s\n", strings.TrimRight(p.Text, "\n"))
			case p.ImageURL != "" && !strings.HasPrefix(p.ImageURL, "data:"):
				fmt.Fprintf(&b, "\n![image](<%s>)\n", p.ImageURL)
			case p.ImageURL != "":
				b.WriteString("\n[image]\n")
			case p.Filename != "" || p.FileData != "":
				fmt.Fprintf(&b, "\n[file %s]\n", p.Filename)
			}
		}
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// fenced is text as a block of code, with a fence that is longer than any in it.
func fenced(language, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + language + "\n" + strings.TrimRight(text, "\n") + "\n" + fence
}

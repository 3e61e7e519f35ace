package llm

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"unicode/utf8"
)

// OfflineModel is the id under which the offline advisor is asked for.
const OfflineModel = "offline"

const (
	passagesEach = 4    // from each library: what a person still reads
	quoteBytes   = 1200 // of a passage; its source is named for the rest
)

// The kinds of source a passage can have.
const (
	SourceNote         = "note"
	SourceConversation = "conversation"
)

// Passage is what a look-up found.
type Passage struct {
	Title  string // of a note and its heading, or of a conversation
	Link   string // where it can be read; "" if nowhere
	Text   string
	Source string // SourceNote or SourceConversation
}

// Library is something to look a question up in. Find returns at most limit passages, best first, and none without an
// error when there are none. It is safe for concurrent use.
type Library interface {
	Find(ctx context.Context, question string, limit int) ([]Passage, error)
}

// Offline is the advisor when there is no model: it looks the last question up, quotes what it finds with its source,
// and says that this is all it does. The same libraries give the same answer.
type Offline struct {
	libraries []Library
	log       *slog.Logger
}

// NewOffline makes an offline advisor that answers from the libraries in their order.
func NewOffline(log *slog.Logger, libraries ...Library) *Offline {
	return &Offline{libraries: libraries, log: log}
}

// Models implements [Provider]: there is one, and it is always there.
func (o *Offline) Models(context.Context) ([]Info, error) {
	return []Info{{ID: OfflineModel, OwnedBy: "hwlab"}}, nil
}

// Stream implements [Provider]. A library that fails is passed over and the answer says so; when all fail, that is the
// error.
func (o *Offline) Stream(ctx context.Context, req Request) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		blocks, err := o.answer(ctx, lastQuestion(req.Messages))
		if err != nil {
			yield(Delta{}, err)
			return
		}
		for i, block := range blocks {
			if err := ctx.Err(); err != nil {
				yield(Delta{}, err)
				return
			}
			delta := Delta{Text: block + "\n\n"}
			if i == len(blocks)-1 {
				delta = Delta{Text: block + "\n", Finish: FinishStop}
			}
			if !yield(delta, nil) {
				return
			}
		}
	}
}

// answer returns the blocks of the answer in Markdown.
func (o *Offline) answer(ctx context.Context, question string) ([]string, error) {
	var (
		found  []Passage
		failed []error
	)
	for _, library := range o.libraries {
		// One more than is shown: the question itself may stand in a conversation and is no answer.
		passages, err := library.Find(ctx, question, passagesEach+1)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			o.log.WarnContext(ctx, "offline advisor: a look-up failed", "error", err)
			failed = append(failed, err)
			continue
		}
		shown := 0
		for _, p := range passages {
			if shown < passagesEach && !sameText(p.Text, question) {
				found = append(found, p)
				shown++
			}
		}
	}
	if len(failed) > 0 && len(failed) == len(o.libraries) {
		return nil, fmt.Errorf("no model is connected, and looking the question up failed: %w", errors.Join(failed...))
	}

	blocks := []string{"No model is connected, so this is not advice but a look-up of your words in the lab notes and in " +
		"past conversations."}
	for _, p := range found {
		blocks = append(blocks, cite(p), quote(p.Text))
	}
	if len(found) == 0 {
		blocks = append(blocks, "Nothing was found. Other words may help: names and addresses are matched exactly.")
	}
	if len(failed) > 0 {
		blocks = append(blocks, "A part of them could not be searched; the server's log says why.")
	}
	return append(blocks, "For real answers, start [Ollama](https://ollama.com) on this machine or set `OPENAI_BASE_URL` "+
		"to any server with Chat Completions; it is found within seconds."), nil
}

func lastQuestion(messages []Message) string {
	for i := len(messages) - 1; i >= 0; i-- {
		if m := messages[i]; m.Role == RoleUser {
			texts := []string{m.Text}
			for _, p := range m.Parts {
				texts = append(texts, p.Text)
			}
			return strings.TrimSpace(strings.Join(texts, "\n"))
		}
	}
	return ""
}

func sameText(a, b string) bool {
	return strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
}

// cite names the source of a passage.
func cite(p Passage) string {
	title := "**" + escapeMarkdown(p.Title) + "**"
	if p.Link != "" {
		title = "[" + title + "](" + p.Link + ")"
	}
	if p.Source == SourceConversation {
		return "From the conversation " + title + ":"
	}
	return "From the note " + title + ":"
}

// quote makes a block quote, which also closes a code fence that is cut.
func quote(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > quoteBytes {
		cut := quoteBytes
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		if line := strings.LastIndexByte(text[:cut], '\n'); line > cut/2 {
			cut = line
		}
		text = text[:cut] + "\n…"
	}
	return "> " + strings.ReplaceAll(text, "\n", "\n> ")
}

// escapeMarkdown keeps a title from being anything but text.
func escapeMarkdown(title string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(title), " ") {
		if strings.ContainsRune("\\`*_[]<>#|&~", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

package advisor

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// A conversation is called by the first line of its first question, until somebody or a model names it. The model is asked after
// the reply, with the same messages and one more, so that its server has read all but that one. It is asked only while nothing
// else is being written here: the next question goes first, and a title is tried again when it is answered. Nothing of it is
// kept but the title, and whatever goes wrong leaves the first line where it is.

const (
	titleTimeout = 20 * time.Second
	titleTokens  = 500   // for models that think all the same
	titleBytes   = 8_000 // of what a model says, at most
	longestTitle = 80
	mostUntitled = 1_000 // conversations that wait for a title, such as those whose model has failed so far
)

const titleInstruction = "Give this conversation a title that will help to find it again: three to seven words, in the language of my first message. " +
	"Answer with the title alone, on one line, without quotes, formatting or a full stop."

// errAsked is why a model is not waited for any longer.
var errAsked = errors.New("there is a question to be answered")

// titles is which conversations wait for a title by the model.
type titles struct {
	mu      sync.Mutex
	first   map[string]string // what their question called them, of those that no model was asked about, by conversation
	ready   []*reply          // the last reply of those that can be asked about, oldest first
	asking  *reply            // that is asked about now, or nil
	stop    context.CancelCauseFunc
	writing int           // replies
	wake    chan struct{} // holds one token while there may be one to ask about
}

// begin notes that a reply is going to be written, and end follows.
func (t *titles) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing++
	if t.asking != nil {
		t.stop(errAsked)
		t.ready = append(t.ready, t.asking)
		t.asking = nil
	}
}

// goesOn notes that a conversation has a question that is being answered, after which its title can be asked for.
func (t *titles) goesOn(conversation string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leave(conversation)
}

// leave takes a conversation out of the queue; mu is held.
func (t *titles) leave(conversation string) {
	t.ready = slices.DeleteFunc(t.ready, func(r *reply) bool { return r.ConversationID == conversation })
}

// end notes that a reply has ended. last is it where its conversation can be given a title now, else nil.
func (t *titles) end(last *reply) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing--
	if last != nil {
		if _, waits := t.first[last.ConversationID]; waits {
			t.leave(last.ConversationID) // of several replies at once
			t.ready = append(t.ready, last)
		}
	}
	if t.writing == 0 && len(t.ready) > 0 {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// next takes a reply to ask about, with what its conversation is called; nil when there is none, or something is being written.
// The context ends when a question comes.
func (t *titles) next(ctx context.Context) (asking context.Context, r *reply, was string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writing > 0 || len(t.ready) == 0 {
		return ctx, nil, ""
	}
	t.asking, t.ready = t.ready[0], t.ready[1:]
	asking, t.stop = context.WithCancelCause(ctx)
	return asking, t.asking, t.first[t.asking.ConversationID]
}

// done notes that a reply was asked about, unless a question came in between.
func (t *titles) done(r *reply) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop(nil)
	if t.asking == r {
		t.asking = nil
		delete(t.first, r.ConversationID)
	}
}

// forget stops what is under way for a conversation that is deleted.
func (t *titles) forget(conversation string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.first, conversation)
	t.leave(conversation)
	if t.asking != nil && t.asking.ConversationID == conversation {
		t.stop(errDeleted)
	}
}

// untitled notes that a question gave a conversation its title.
func (t *titles) untitled(conversation, title string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.first) == mostUntitled {
		for one := range t.first { // whichever; it keeps its first line
			delete(t.first, one)
			t.leave(one)
			break
		}
	}
	t.first[conversation] = title
}

// entitle asks for titles whenever nothing is being written.
func (a *Advisor) entitle(ctx context.Context) {
	for {
		select {
		case <-a.titles.wake:
		case <-ctx.Done():
			return
		}
		for {
			asking, r, was := a.titles.next(ctx)
			if r == nil {
				break
			}
			err := a.name(asking, r, was)
			a.titles.done(r)
			if err != nil {
				a.Log.Debug("a conversation keeps its title", "conversation", r.ConversationID, "error", err)
			}
		}
	}
}

// name asks the model that wrote r for a title, and gives it to the conversation unless somebody has named it meanwhile.
func (a *Advisor) name(ctx context.Context, r *reply, was string) error {
	ctx, cancel := context.WithTimeout(ctx, titleTimeout)
	defer cancel()
	defer context.AfterFunc(r.session.ctx, cancel)() // the conversation is another server's
	c, err := a.Record.Summary(ctx, r.ConversationID)
	if err != nil || c.Title != was {
		return err
	}
	said, err := a.say(ctx, r)
	if err != nil {
		return err
	}
	title := cleanTitle(said)
	if title == "" {
		return errors.New("the model gave none")
	}
	_, err = a.Record.UpdateConversation(ctx, r.ConversationID, store.ConversationChange{Title: &title, TitleWas: &was})
	return err
}

// say lets the model that wrote r answer the instruction.
func (a *Advisor) say(ctx context.Context, r *reply) (string, error) {
	place := r.Response
	place.Seq, place.ParentID = place.Seq+1, "" // after its output
	history, err := a.Record.History(ctx, place)
	if err != nil {
		return "", err
	}
	asked := *r
	asked.ctx, asked.question.Input = ctx, make([]store.NewMessage, 1)
	asked.history = func() ([]store.Message, error) {
		return append(history, store.Message{Role: llm.RoleUser, Content: titleInstruction, Status: store.MessageCompleted}), nil
	}
	request, turns, err := a.request(&asked)
	if err != nil {
		return "", err
	}
	// What does not change what the model's server has read is set for a title.
	request.Messages = append(request.Messages, turns.messages...)
	if request.ToolChoice.Mode != llm.ChoiceNone {
		request.ToolChoice = llm.ToolChoice{}
	}
	request.Format, request.MaxOutputTokens, request.NoThinking = nil, new(titleTokens), true
	var said strings.Builder
	for delta, err := range r.provider.Stream(ctx, request) {
		if err != nil {
			return "", err
		}
		if said.WriteString(delta.Text); said.Len() > titleBytes {
			return "", errors.New("the model said too much")
		}
	}
	return said.String(), nil
}

var (
	titleMark  = regexp.MustCompile(`^(?:#{1,6}\s+|[-*+>]\s+|\d+[.)]\s+|(?i:title)\s*:\s*)`)
	titleLink  = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	titleWraps = []string{`""`, `''`, "“”", "„“", "‘’", "«»", "»«", "「」", "『』", "**", "__"}
)

// cleanTitle makes a title of what a model says: one line of plain text, or "".
func cleanTitle(said string) string {
	if _, after, thought := strings.Cut(said, "</think>"); thought {
		said = after
	} else if strings.HasPrefix(strings.TrimSpace(said), "<think>") {
		return ""
	}
	for line := range strings.Lines(store.CleanText(said)) {
		line = strings.Join(strings.FieldsFunc(line, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
		line = strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Bidi_Control, r) || r == '\uFFFD' {
				return -1
			}
			return r
		}, line)
		if title := plain(line); title != "" && !strings.HasSuffix(title, ":") { // "Here is a title:"
			return shortened(title)
		}
	}
	return ""
}

// plain is a line without Markdown, and without the quotes around it.
func plain(line string) string {
	line = titleLink.ReplaceAllString(line, "$1")
	for was := ""; was != line; {
		was = line
		line = strings.NewReplacer("**", "", "`", "").Replace(line)
		line = strings.TrimSpace(titleMark.ReplaceAllString(line, ""))
		for _, wrap := range titleWraps {
			pair := []rune(wrap)
			runes := []rune(line)
			if n := len(runes); n > 2 && runes[0] == pair[0] && runes[n-1] == pair[1] && !slices.Contains(runes[1:n-1], pair[0]) ||
				n > 4 && pair[0] == pair[1] && strings.HasPrefix(line, wrap) && strings.HasSuffix(line, wrap) {
				line = string(runes[1 : n-1])
			}
		}
		if strings.HasSuffix(line, ".") && !strings.HasSuffix(line, "..") {
			line = strings.TrimSuffix(line, ".")
		}
	}
	if !strings.ContainsFunc(line, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || r > unicode.MaxLatin1 }) {
		return "" // a rule, a fence, quotes around nothing
	}
	return line
}

// shortened cuts a title that is too long between words.
func shortened(title string) string {
	runes := []rune(title)
	if len(runes) <= longestTitle {
		return title
	}
	cut := string(runes[:longestTitle-1])
	if space := strings.LastIndexByte(cut, ' '); space > len(cut)/2 {
		cut = cut[:space]
	}
	return strings.TrimRight(cut, " ,;:-") + "…"
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// chatFlags are the flags of hwlab chat.
type chatFlags struct {
	model, system, conversation            string
	attach                                 []string
	last, code, forget, hidden, usage, raw bool
	quiet, asJSON, whole                   bool
}

func newChatCommand() *cobra.Command {
	var f chatFlags
	var cfg config
	cmd := &cobra.Command{
		Use:   "chat [QUESTION...]",
		Short: "Ask a question, or talk at a prompt",
		Long: `Ask a question and print the reply, or without one, on a terminal, talk at a prompt. What is piped in comes before the question.

It works with the hwlab of HWLAB_URL, or with the one that serves the record on this machine, or by itself. Everything is kept, as
in the browser: -c goes on with the last conversation, --cid with another.

Standard output gets the reply and nothing else; thoughts, waiting and errors go to standard error. On a terminal Markdown is
coloured, unless NO_COLOR is set. Ctrl-C stops the reply and keeps what was said; a reader that leaves, such as head, stops nothing.

At the prompt
  !multi      begins a question of several lines, which !end ends
  !edit       writes the question in $VISUAL or $EDITOR
  exit        leaves, as Ctrl-D does; so does Ctrl-C where no reply is being written

Exit code
  0  the reply is whole            4    it was cut off or failed; what there is of it was printed
  1  an error                      5    no server, or no model: what was printed is the offline advisor's
  2  the command is wrong          130  stopped by Ctrl-C
  3  no such conversation          141  nobody read on`,
		Example: `  hwlab chat 'Which disk is failing?'
  journalctl -b -p err | hwlab chat 'What is wrong here?'
  hwlab chat -c 'And how do I replace it?'
  hwlab chat -x 'A systemd unit for node_exporter' > node_exporter.service
  hwlab chat -a rack.jpg -m llava 'Which switch is this?'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cfg.load(cmd.Flags()); err != nil {
				return err
			}
			return runChat(cmd, cfg, f, strings.Join(args, " "))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&f.model, "model", "m", "", "the model to ask")
	flags.StringVarP(&f.system, "system", "s", "", "instructions for the model; they are not kept as a message")
	flags.BoolVarP(&f.last, "continue", "c", false, "go on with the last conversation")
	flags.StringVar(&f.conversation, "cid", "", "go on with the conversation of this id, or unique beginning of one")
	flags.StringArrayVarP(&f.attach, "attach", "a", nil, "an image, PDF or text to send along, - for standard input; can be repeated")
	flags.BoolVarP(&f.code, "extract", "x", false, "print only the first code block of the reply; exit code 1 where there is none")
	flags.BoolVarP(&f.forget, "no-keep", "n", false, "keep nothing of it")
	flags.BoolVarP(&f.hidden, "no-reasoning", "R", false, "do not show what the model thinks before it answers")
	flags.BoolVarP(&f.usage, "usage", "u", false, "say on standard error how many tokens it took")
	flags.BoolVarP(&f.raw, "raw", "r", false, "write the reply as it is to a terminal, too")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "nothing but errors, and what -u says, on standard error")
	flags.BoolVar(&f.asJSON, "json", false, "print the reply as a JSON object on one line, as the API has it")
	flags.BoolVar(&f.whole, "no-stream", false, "print the reply when it is whole")
	flags.StringVar(&cfg.DataDir, "data-dir", dataDir(), "directory of the record, and where a running server is found (HWLAB_DATA_DIR)")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	_ = cmd.RegisterFlagCompletionFunc("model", completeModels) // fails only for a flag that is not there
	_ = cmd.RegisterFlagCompletionFunc("cid", completeIDs(0))
	_ = cmd.RegisterFlagCompletionFunc("system", cobra.NoFileCompletions)
	return cmd
}

// chat is a talk with a model: one question, or as many as come at the prompt.
type chat struct {
	chatFlags
	*client
	screen  *screen
	signals chan os.Signal // interrupts, and to be ended

	id      string // of the conversation; "" until the first question is asked
	told    []any  // with -n: what was said so far
	offline bool   // it was said that no model is connected
	deaf    bool   // nobody reads standard output any more
}

func runChat(cmd *cobra.Command, cfg config, f chatFlags, question string) (err error) {
	switch {
	case f.last && cmd.Flags().Changed("cid"):
		return &usageError{errors.New("-c and --cid cannot be used together")}
	case cmd.Flags().Changed("cid") && f.conversation == "":
		return &usageError{errors.New("--cid is empty: it is the id of a conversation, or the beginning of one")}
	case !utf8.ValidString(f.system):
		return &usageError{errors.New("-s is not text: it has a byte that is not UTF-8")}
	case f.asJSON && f.code:
		return &usageError{errors.New("--json and -x cannot be used together")}
	}
	in := cmd.InOrStdin()
	typed := false // somebody types there
	if file, ok := in.(*os.File); ok {
		typed = term.IsTerminal(int(file.Fd()))
	}
	read := interruptible{cmd.Context(), in}
	parts, readsInput, err := attachments(f.attach, read)
	if err != nil {
		return err
	}
	if !typed && !readsInput {
		piped, err := io.ReadAll(read)
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		question = strings.TrimPrefix(strings.TrimRight(string(piped), "\r\n")+"\n\n"+question, "\n\n")
	}
	question = strings.TrimRight(question, "\r\n")
	if !utf8.ValidString(question) || strings.ContainsRune(question, 0) {
		return &usageError{errors.New("the question is not text: it has a NUL, or a byte that is not UTF-8")}
	}
	prompts := strings.TrimSpace(question) == "" && typed && !readsInput
	if strings.TrimSpace(question) == "" && len(parts) == 0 && !prompts {
		return &usageError{errors.New("no question: give it as an argument, pipe it in, or start hwlab chat on a terminal")}
	}

	// The context of the command ends with the first interrupt; a chat goes on then, to stop the reply.
	ctx, leave := context.WithCancelCause(context.WithoutCancel(cmd.Context()))
	defer leave(nil)
	c := &chat{chatFlags: f, screen: newScreen(cmd.OutOrStdout(), cmd.ErrOrStderr(), f), signals: make(chan os.Signal, 4)}
	signal.Notify(c.signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(c.signals)
	if c.client, err = connect(cmd.Context(), cfg, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError}))); err != nil {
		return err
	}
	defer func() {
		if closeErr := c.close(ctx); closeErr != nil {
			err = errors.Join(err, closeErr)
		}
	}()
	if cmd.Context().Err() != nil {
		return &exit{code: 130}
	}
	if c.own != nil && !f.quiet {
		for _, warning := range c.own.kept.Info().Warnings {
			c.screen.note(warning)
		}
	}
	if err := c.soon(ctx, c.find); err != nil {
		return err
	}
	if prompts {
		return c.talk(ctx, in.(*os.File), parts)
	}
	r, err := c.ask(ctx, question, parts)
	if err != nil {
		c.screen.end() // of what is shown
		return err
	}
	return c.outcome(ctx, r)
}

// interruptible is a reader whose Read an interrupt ends.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (r interruptible) Read(b []byte) (n int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		n, err = r.Reader.Read(b)
	}()
	select {
	case <-done:
		return n, err
	case <-r.ctx.Done():
		return 0, errLeft
	}
}

// soon calls f, which does not take long where all is well, and lets an interrupt end it.
func (c *chat) soon(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	over, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case s := <-c.signals:
			leave(leftBy(s))
		case <-over:
		}
	}()
	err := f(ctx)
	close(over)
	<-watched
	return cmp.Or(context.Cause(ctx), err)
}

// leftBy is how the process ends by a signal.
func leftBy(s os.Signal) error {
	if s == os.Interrupt {
		return errLeft
	}
	return &exit{code: 128 + int(syscall.SIGTERM)}
}

// find finds the conversation to go on with.
func (c *chat) find(ctx context.Context) (err error) {
	switch {
	case c.conversation != "":
		c.id, err = c.client.Find(ctx, c.conversation)
	case c.last:
		var list []conversationWire
		if list, _, err = c.conversations(ctx, url.Values{"limit": {"1"}}); err == nil && len(list) == 0 {
			return &exit{3, "there is no conversation to go on with"}
		}
		if err == nil {
			c.id = uuidOf(list[0].ID)
		}
	}
	return err
}

// reply is a response as the API writes it.
type reply struct {
	ID      string
	Status  store.ResponseStatus
	Model   string
	Output  []itemWire
	Error   *struct{ Message string }
	Details *struct{ Reason string } `json:"incomplete_details"`
	Usage   *struct {
		Input   int64 `json:"input_tokens"`
		Output  int64 `json:"output_tokens"`
		Details struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"input_tokens_details"`
		OutputDetails struct {
			Reasoning int64 `json:"reasoning_tokens"`
		} `json:"output_tokens_details"`
	}

	object  json.RawMessage // all of it
	stopped bool            // by an interrupt here
}

// text is what the model said.
func (r reply) text() string {
	var texts []string
	for _, item := range r.Output {
		for _, p := range item.Content {
			if text := p.Text + p.Refusal; item.Type == store.ItemMessage && text != "" {
				texts = append(texts, text)
			}
		}
	}
	return strings.Join(texts, "\n")
}

// problem says why a reply is not whole; "" where it is.
func (r reply) problem() string {
	switch {
	case r.Status == store.ResponseCompleted:
		return ""
	case r.Error != nil:
		return "the reply failed: " + r.Error.Message
	case r.Status == store.ResponseCancelled:
		return "the reply was stopped"
	case r.Details != nil:
		return "the reply is incomplete: " + map[string]string{"interrupted": "its server was stopped", "max_output_tokens": "it reached its limit of tokens",
			"content_filter": "the model's server withheld the rest"}[r.Details.Reason]
	}
	return "the reply is " + string(r.Status)
}

// ask asks a question and shows the reply as it comes. The error is about asking; how the reply ended is in it.
func (c *chat) ask(ctx context.Context, question string, parts []any) (r reply, err error) {
	body := map[string]any{"stream": true}
	if c.model != "" {
		body["model"] = c.model
	}
	if c.system != "" {
		body["instructions"] = c.system
	}
	var input any = question
	if len(parts) > 0 || c.forget {
		content := parts
		if question != "" {
			content = append([]any{map[string]any{"type": "input_text", "text": question}}, parts...)
		}
		input = append(c.told[:len(c.told):len(c.told)], map[string]any{"type": "message", "role": "user", "content": content})
	}
	body["input"] = input
	made := false
	switch {
	case c.forget:
		body["store"] = false
	case c.id == "":
		var conversation struct{ ID string }
		if err := c.soon(ctx, func(ctx context.Context) error {
			return c.call(ctx, http.MethodPost, "/v1/conversations", map[string]any{}, &conversation)
		}); err != nil {
			return r, err
		}
		c.id, made = uuidOf(conversation.ID), true
	}
	if c.id != "" {
		body["conversation"] = "conv_" + c.id
	}
	t := &turn{chat: c, body: body}
	r, err = t.run(ctx)
	var refused *apiError
	if made && errors.As(err, &refused) && refused.Status < 500 && t.id == "" { // nothing was kept
		if c.call(ctx, http.MethodDelete, "/v1/conversations/conv_"+c.id, nil, nil) == nil {
			c.id = ""
		}
	}
	if err == nil && c.forget {
		c.told = append(input.([]any), map[string]any{"type": "message", "role": "assistant", "content": r.text()})
	}
	return r, err
}

// outcome prints what is printed of a reply that has ended, and returns the error that the command ends with.
func (c *chat) outcome(ctx context.Context, r reply) error {
	var err error
	switch text := r.text(); {
	case c.deaf:
		return errPipe
	case c.asJSON:
		_, err = c.screen.out.Write(append(r.object, '\n'))
	case c.code:
		block, found := firstBlock(text)
		if !found && r.Status == store.ResponseCompleted {
			err = &exit{1, "there is no code block in the reply"}
		} else {
			_, err = io.WriteString(c.screen.out, block)
		}
	case c.whole:
		err = c.screen.text(text)
	}
	err = cmp.Or(err, c.screen.end())
	if errors.Is(err, errPipe) {
		c.leftAlone(r.ID)
	}
	if c.usage {
		said := "the model's server does not say how many tokens it took"
		if u := r.Usage; u != nil {
			said = fmt.Sprintf("tokens: %d in (%d cached), %d out (%d thinking)", u.Input, u.Details.Cached, u.Output, u.OutputDetails.Reasoning)
		}
		c.screen.note(said)
	}
	switch {
	case err != nil:
		return err
	case r.stopped:
		return &exit{code: 130}
	case r.Status != store.ResponseCompleted:
		return &exit{4, r.problem()}
	}
	return c.noModel(ctx, r)
}

// noModel is the error of a reply by the offline advisor that nobody has asked for by name.
func (c *chat) noModel(ctx context.Context, r reply) error {
	if r.Model != llm.OfflineModel || c.model == llm.OfflineModel {
		return nil
	}
	var models []string
	err := c.soon(ctx, func(ctx context.Context) (err error) {
		models, err = c.models(ctx)
		return err
	})
	if err == nil && len(models) > 1 { // it is the default
		return nil
	}
	if errors.Is(err, errLeft) {
		return err
	}
	return &exit{5, "no model is connected: this is what the offline advisor found in the notes and in past conversations; start Ollama, or set OPENAI_BASE_URL"}
}

// models are the ids of what can be asked.
func (c *client) models(ctx context.Context) (ids []string, err error) {
	var list struct{ Data []struct{ ID string } }
	err = c.call(ctx, http.MethodGet, "/v1/models", nil, &list)
	for _, m := range list.Data {
		ids = append(ids, m.ID)
	}
	return ids, err
}

// leftAlone says, once, where a reply is that nobody reads on here.
func (c *chat) leftAlone(id string) {
	if !c.deaf && !c.forget {
		c.screen.note(fmt.Sprintf("hwlab: the reply %s goes on without a reader; to see it: hwlab show %s", id, c.id))
	}
	c.deaf = true
}

// How long a stream may say nothing, not even that it is there, and how long a server may be away, before it is given up.
const (
	streamSilence = 45 * time.Second
	serverAway    = 30 * time.Second
)

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// talk asks what is typed at a prompt until somebody leaves. parts go with the first question.
func (c *chat) talk(ctx context.Context, in *os.File, parts []any) error {
	p := newPrompt(in, c)
	if !c.quiet {
		if err := c.soon(ctx, c.greet); err != nil {
			return err
		}
	}
	for {
		question, err := p.question(ctx)
		if err != nil {
			if !c.quiet && !c.forget && c.id != "" {
				c.screen.note("hwlab chat --cid " + c.id + " goes on from here")
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if strings.TrimSpace(question) == "" {
			continue
		}
		r, err := c.ask(ctx, question, parts)
		if err == nil {
			parts = nil
			err = c.outcome(ctx, r)
		}
		var known *exit
		switch left := errors.As(err, &known); {
		case err == nil:
		case ctx.Err() != nil, errors.Is(err, errPipe), errors.Is(err, errLeft), left && known.code == 143:
			c.screen.end()
			return err
		case left && known.code == 130:
			c.screen.end()
			c.screen.note("stopped")
		case left && known.code == 5 && c.offline:
		default:
			c.offline = c.offline || left && known.code == 5
			c.screen.end()
			c.screen.note("hwlab: " + err.Error())
		}
		if !c.quiet {
			c.screen.note("")
		}
	}
}

// greet says what is talked to, and about what.
func (c *chat) greet(ctx context.Context) error {
	about, model := "a new conversation", c.model
	if c.forget {
		about = "nothing is kept"
	}
	if c.id != "" {
		var conversation conversationWire
		if err := c.call(ctx, "GET", "/v1/conversations/conv_"+c.id, nil, &conversation); err != nil {
			return err
		}
		about = oneLine(cmp.Or(conversation.Title, "conv_"+c.id), 60)
	}
	if model == "" {
		models, err := c.models(ctx)
		if err != nil {
			return err
		}
		if len(models) > 0 {
			model = models[0]
		}
	}
	c.screen.note(fmt.Sprintf("%s · %s\n!multi for several lines, !edit for your editor, Ctrl-D leaves\n", about, oneLine(model, 60)))
	return nil
}

// prompt reads questions from a terminal.
type prompt struct {
	*chat
	in       *os.File
	show     *os.File // where it is typed and edited
	keys     *keys
	terminal *term.Terminal
}

// keys are what is typed. A Ctrl-C empties the line, and on an empty one it is the wish to leave, which ends a line as Ctrl-D does.
type keys struct {
	io.Reader
	io.Writer
	typed       bool // something may stand on the line
	interrupted bool
}

func (k *keys) Read(b []byte) (int, error) {
	n, err := k.Reader.Read(b[:len(b)/2])
	out := 0
	for _, key := range append([]byte(nil), b[:n]...) {
		switch {
		case key == keyInterrupt && k.typed:
			k.typed = false
			b[out] = keyLineEnd
			out++
			key = keyClear
		case key == keyInterrupt:
			k.interrupted = true
		default:
			k.typed = key != '\r' && key != '\n'
		}
		b[out] = key
		out++
	}
	return out, err
}

// What keys are on a terminal: Ctrl-C, Ctrl-E and Ctrl-U.
const (
	keyInterrupt = 3
	keyLineEnd   = 5
	keyClear     = 21
)

func newPrompt(in *os.File, c *chat) *prompt {
	p := &prompt{chat: c, in: in, show: os.Stderr}
	if !term.IsTerminal(int(p.show.Fd())) && isTerminal(c.screen.out) {
		p.show = os.Stdout
	}
	p.keys = &keys{Reader: in, Writer: p.show}
	p.terminal = term.NewTerminal(p.keys, "")
	return p
}

// question reads a question. io.EOF is the wish to leave.
func (p *prompt) question(ctx context.Context) (string, error) {
	line, err := p.line(ctx, "> ")
	if err != nil {
		return "", err
	}
	switch strings.TrimSpace(line) {
	case "exit":
		return "", io.EOF
	case "!edit":
		text, err := p.edit(ctx)
		if err != nil {
			p.screen.note("hwlab: " + err.Error())
		}
		return text, nil
	case "!multi":
		var lines []string
		for {
			line, err := p.line(ctx, ". ")
			if err != nil {
				return "", err
			}
			if strings.TrimSpace(line) == "!end" {
				return strings.Join(lines, "\n"), nil
			}
			lines = append(lines, line)
		}
	}
	return line, nil
}

// line reads a line, or several that are pasted at once.
func (p *prompt) line(ctx context.Context, prompt string) (string, error) {
	type result struct {
		text string
		err  error
	}
	before, err := term.MakeRaw(int(p.in.Fd()))
	if err != nil {
		return "", fmt.Errorf("the terminal: %w", err)
	}
	defer term.Restore(int(p.in.Fd()), before)
	if width, height, err := term.GetSize(int(p.show.Fd())); err == nil && width > 0 {
		p.terminal.SetSize(width, height)
	}
	p.keys.typed, p.keys.interrupted = false, false
	p.terminal.SetPrompt(prompt)
	p.terminal.SetBracketedPasteMode(true)
	defer p.terminal.SetBracketedPasteMode(false)
	read := make(chan result, 1)
	go func() {
		var lines []string
		for {
			line, err := p.terminal.ReadLine()
			lines = append(lines, line)
			if err == nil || !errors.Is(err, term.ErrPasteIndicator) {
				read <- result{strings.Join(lines, "\n"), err}
				return
			}
		}
	}()
	select {
	case r := <-read:
		if r.err != nil {
			fmt.Fprint(p.show, "\r\n")
		}
		if errors.Is(r.err, io.EOF) && p.keys.interrupted {
			r.err = errLeft
		}
		return r.text, r.err
	case s := <-p.signals:
		fmt.Fprint(p.show, "\r\n")
		return "", leftBy(s)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// edit has the question written in the editor.
func (p *prompt) edit(ctx context.Context) (string, error) {
	file, err := os.CreateTemp("", "hwlab-*.md")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	if err := file.Close(); err != nil {
		return "", err
	}
	editor := cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi")
	cmd := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", file.Name()) // it may have arguments
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.in, p.show, p.show
	err = cmd.Run()
	for len(p.signals) > 0 { // they were for the editor
		<-p.signals
	}
	if err != nil {
		return "", fmt.Errorf("the editor %q: %w; VISUAL or EDITOR names another", editor, err)
	}
	text, err := os.ReadFile(file.Name())
	if err == nil && (!utf8.Valid(text) || strings.ContainsRune(string(text), 0)) {
		err = errors.New("what the editor wrote is not text")
	}
	if err != nil {
		return "", err
	}
	question := strings.TrimRight(string(text), "\n")
	if question != "" {
		fmt.Fprintln(p.show, harmless(question))
	}
	return question, nil
}

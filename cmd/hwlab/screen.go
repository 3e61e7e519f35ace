package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// screen is where a chat is shown: standard output gets the reply, standard error the rest.
type screen struct {
	out, err io.Writer
	chatFlags

	drawn  bool // the reply is shown on a terminal
	colour bool // there and in colours
	lively bool // standard error is a terminal where a line can be taken back
	dim    bool // and thoughts are told from the rest by colour

	mu       sync.Mutex
	colours  colours
	begun    bool // something of the reply was written
	open     bool // the line on standard output is not ended
	thinking bool // the line on standard error is not ended
	waits    bool // a status is shown
}

func newScreen(out, err io.Writer, f chatFlags) *screen {
	able := os.Getenv("TERM") != "dumb"
	colour := able && os.Getenv("NO_COLOR") == ""
	s := &screen{out: out, err: err, chatFlags: f, drawn: isTerminal(out) && !f.raw, lively: isTerminal(err) && able}
	s.colour, s.dim = s.drawn && colour, s.lively && colour
	return s
}

// text shows some of the reply.
func (s *screen) text(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "" {
		return nil
	}
	s.settle()
	s.begun, s.open = true, !strings.HasSuffix(text, "\n")
	if s.drawn {
		text = harmless(text)
	}
	if s.colour {
		text = s.colours.write(text)
	}
	_, err := io.WriteString(s.out, text)
	return err
}

// reasoning shows some of what the model thinks.
func (s *screen) reasoning(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hidden || s.quiet || text == "" {
		return
	}
	if !s.thinking {
		s.settle()
	}
	s.thinking = true
	s.aside(text)
}

// aside writes what is not the reply.
func (s *screen) aside(text string) {
	if isTerminal(s.err) {
		text = harmless(text)
	}
	if s.dim {
		text = "\x1b[2m" + text + "\x1b[0m"
	}
	fmt.Fprint(s.err, text)
}

// settle ends what is open on standard error.
func (s *screen) settle() {
	if s.waits {
		fmt.Fprint(s.err, "\r\x1b[K")
	}
	if s.thinking {
		fmt.Fprint(s.err, "\n\n")
	}
	s.waits, s.thinking = false, false
}

// end ends the line of the reply.
func (s *screen) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	text := ""
	if s.colour {
		text = s.colours.end()
	}
	if s.open {
		text += "\n"
	}
	s.begun, s.open = false, false
	_, err := io.WriteString(s.out, text)
	return err
}

// note writes a line to standard error.
func (s *screen) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if s.open && s.drawn && s.lively {
		text = "\n" + text
	}
	s.aside(text + "\n")
}

// status shows what is waited for until something else is shown.
func (s *screen) status(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lively && !s.quiet && !s.open && !s.thinking {
		fmt.Fprint(s.err, "\r\x1b[K")
		s.aside(text)
		s.waits = true
	}
}

// waiting shows that a model is waited for until something of the reply is shown, or the returned function is called.
func (s *screen) waiting(model string) (stop func()) {
	if !s.lively || s.quiet {
		return func() {}
	}
	if model = oneLine(model, 40); model == "" {
		model = "the model"
	}
	over, done := make(chan struct{}), make(chan struct{})
	began := time.Now()
	tick := time.NewTicker(time.Second)
	s.status("waiting for " + model)
	go func() {
		defer close(done)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.mu.Lock()
				silent := !s.begun && s.waits
				s.mu.Unlock()
				if silent {
					s.status(fmt.Sprintf("waiting for %s, %.0f s", model, time.Since(began).Seconds()))
				}
			case <-over:
				return
			}
		}
	}()
	return func() {
		close(over)
		<-done
	}
}

// harmless is text without what a terminal would act on.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, text)
}

// harmlessWriter writes to a terminal what others have written.
type harmlessWriter struct{ io.Writer }

func (w harmlessWriter) Write(b []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, harmless(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// colours colours Markdown as it comes. Every character stays as it is, so that what is on the screen can be copied: headings and
// ** are bold, code is cyan.
type colours struct {
	marks   []rune // a run of one kind of mark whose meaning is not known yet
	inLine  bool   // something other than spaces stands on the line
	fence   string // that began the block of code; "" outside of one
	code    int    // how many backticks began the code in a line; 0 outside of it
	heading bool
	bold    bool
}

const (
	styleBold = "\x1b[1m"
	styleCode = "\x1b[36m"
	styleNone = "\x1b[0m"
)

// style is the sequence that sets the colours of what comes next.
func (c *colours) style() string {
	style := styleNone
	if c.heading || c.bold {
		style += styleBold
	}
	if c.fence != "" || c.code > 0 {
		style += styleCode
	}
	return style
}

func (c *colours) write(text string) string {
	var b strings.Builder
	for _, r := range text {
		if len(c.marks) > 0 {
			if c.marks[0] == r {
				c.marks = append(c.marks, r)
				continue
			}
			c.flush(&b, r)
		}
		switch {
		case r == '`' || r == '*' || !c.inLine && (r == '#' || r == '~'):
			c.marks = append(c.marks, r)
			continue
		case r == '\n':
			plain := !c.heading && !c.bold && c.code == 0
			c.heading, c.bold, c.code, c.inLine = false, false, 0, false
			if !plain {
				b.WriteString(c.style())
			}
		case r != ' ' && r != '\t':
			c.inLine = true
		}
		b.WriteRune(r)
	}
	return b.String()
}

// flush writes the marks, now that next, which comes after them, says what they mean.
func (c *colours) flush(b *strings.Builder, next rune) {
	marks, first, n := string(c.marks), c.marks[0], len(c.marks)
	before, after := false, false // whether the colours change before or after the marks
	switch {
	case !c.inLine && n >= 3 && (first == '`' || first == '~') && c.fence == "":
		c.fence, before = marks, true
	case c.fence != "":
		if !c.inLine && rune(c.fence[0]) == first && n >= len(c.fence) {
			c.fence, after = "", true
		}
	case first == '#':
		if n <= 6 && next == ' ' {
			c.heading, before = true, true
		}
	case first == '`' && c.code == 0:
		c.code, before = n, true
	case first == '`' && c.code == n:
		c.code, after = 0, true
	case first == '*' && n == 2 && c.code == 0:
		c.bold = !c.bold
		before, after = c.bold, !c.bold
	}
	if before {
		b.WriteString(c.style())
	}
	b.WriteString(marks)
	if after {
		b.WriteString(c.style())
	}
	c.marks, c.inLine = c.marks[:0], true
}

// end writes what was held back, and ends all colours.
func (c *colours) end() string {
	var b strings.Builder
	if len(c.marks) > 0 {
		c.flush(&b, '\n')
	}
	if c.style() != styleNone {
		b.WriteString(styleNone)
	}
	*c = colours{}
	return b.String()
}

// firstBlock is what the first fenced block of code in text holds; where it is not ended, what there is.
func firstBlock(text string) (block string, found bool) {
	fence := ""
	var lines []string
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		marks := trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, trimmed[:min(1, len(trimmed))]))]
		is := len(marks) >= 3 && (marks[0] == '`' || marks[0] == '~')
		switch {
		case fence == "" && is && !(marks[0] == '`' && strings.Contains(trimmed[len(marks):], "`")):
			fence = marks
			lines = append(lines, line[:len(line)-len(strings.TrimLeft(line, " "))]) // how far the fence stands in
		case fence != "" && is && marks == trimmed && marks[0] == fence[0] && len(marks) >= len(fence):
			return strings.Join(lines[1:], ""), true
		case fence != "":
			in := 0
			for in < len(lines[0]) && in < len(line) && line[in] == ' ' {
				in++
			}
			lines = append(lines, line[in:])
		}
	}
	if fence == "" {
		return "", false
	}
	return strings.Join(lines[1:], ""), true
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
)

// terminal is a terminal that somebody sits at: a tmux of its own.
type terminal struct {
	t      *testing.T
	socket string
}

// terminal starts hwlab with args on a terminal. When it has ended the terminal says with which code.
func (r *room) terminal(settings []string, args ...string) *terminal {
	r.t.Helper()
	dir, err := os.MkdirTemp("", "hwlab-tmux-") // the name of a socket is short, and t.TempDir's is not
	if err != nil {
		r.t.Fatal(err)
	}
	x := &terminal{t: r.t, socket: filepath.Join(dir, "socket")}
	script := filepath.Join(dir, "run")
	var text strings.Builder
	text.WriteString("#!/bin/sh\ntrap : INT\n")
	for _, s := range append(environment(r.dir, r.settings), settings...) {
		name, value, _ := strings.Cut(s, "=")
		fmt.Fprintf(&text, "export %s='%s'\n", name, value)
	}
	fmt.Fprintf(&text, "export LC_ALL=C.UTF-8\ncd '%s'\n'%s'", r.dir, built(r.t))
	for _, a := range args {
		fmt.Fprintf(&text, " '%s'", a)
	}
	text.WriteString("\necho \"it ended with $?.\"\ncat\n")
	if err := os.WriteFile(script, []byte(text.String()), 0o700); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		x.tmux("kill-server")
		os.RemoveAll(dir)
	})
	if out, err := x.tmux("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "60", script); err != nil {
		r.t.Fatalf("tmux: %v: %s", err, out)
	}
	return x
}

func (x *terminal) tmux(args ...string) (string, error) {
	cmd := exec.Command("tmux", append([]string{"-u", "-S", x.socket}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TERM=xterm-256color", "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// screen is what is on it.
func (x *terminal) screen(args ...string) string {
	x.t.Helper()
	out, err := x.tmux(append([]string{"capture-pane", "-p", "-S", "-"}, args...)...)
	if err != nil {
		x.t.Fatalf("tmux: %v: %s", err, out)
	}
	var lines []string
	for line := range strings.Lines(out) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// shows waits until text is on the screen.
func (x *terminal) shows(text string) {
	x.t.Helper()
	eventually(x.t, func() string {
		if got := x.screen(); !strings.Contains(got, text) {
			return fmt.Sprintf("%q is not on the screen:\n%s", text, got)
		}
		return ""
	})
}

// ends waits until text is the last on the screen: the cursor is after it.
func (x *terminal) ends(text string) {
	x.t.Helper()
	eventually(x.t, func() string {
		if got := x.screen(); !strings.HasSuffix(got, text) {
			return fmt.Sprintf("%q is not the end of the screen:\n%s", text, got)
		}
		return ""
	})
}

// types types lines, each with Enter.
func (x *terminal) types(lines ...string) {
	x.t.Helper()
	for _, line := range lines {
		if out, err := x.tmux("send-keys", "-l", line); err != nil {
			x.t.Fatalf("tmux: %v: %s", err, out)
		}
		x.press("Enter")
	}
}

func (x *terminal) press(keys ...string) {
	x.t.Helper()
	if out, err := x.tmux(append([]string{"send-keys"}, keys...)...); err != nil {
		x.t.Fatalf("tmux: %v: %s", err, out)
	}
}

func TestThePrompt(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		gate, never := llmtest.NewGate(), llmtest.NewGate()
		defer gate.Open()
		defer never.Open()
		r.Script(llmtest.Step{Text: "It is "}, llmtest.Step{Gate: gate, Text: "sdb."})
		r.Script(llmtest.Step{Text: "First this"}, llmtest.Step{Gate: never, Text: "never"})
		x := r.terminal(nil, "chat")
		x.ends("a new conversation · test-model\n!multi for several lines, !edit for your editor, Ctrl-D leaves\n\n>")
		x.types("Which disk?")
		x.ends("\n> Which disk?\nIt is") // as it comes
		gate.Open()
		x.ends("\nIt is sdb.\n\n>")
		x.types("What do I do?")
		x.ends("\nFirst this")
		x.press("C-c")
		x.ends("\nstopped\n\n>")
		if got := r.said(); got != "user(completed): Which disk?\nassistant(completed): It is sdb.\nuser(completed): What do I do?\nassistant(incomplete): First this" {
			t.Errorf("kept is\n%s", got)
		}
		if !strings.Contains(x.screen(), "\n> What do I do?\nFirst this") {
			t.Errorf("what was said is gone:\n%s", x.screen())
		}
		x.press("C-c")
		x.shows("it ended with 130.")
		if !strings.Contains(x.screen(), "hwlab chat --cid ") {
			t.Errorf("it does not say how to go on:\n%s", x.screen())
		}

		r.Script(llmtest.Say("Then that.")...)
		x = r.terminal(nil, "chat", "-c")
		x.ends("Which disk? · test-model\n!multi for several lines, !edit for your editor, Ctrl-D leaves\n\n>")
		x.types("!multi", "one", "  two", "!end")
		x.ends("\nThen that.\n\n>")
		if m := r.asked().Messages; m[len(m)-1].Text != "one\n  two" || m[len(m)-2].Text != "First this" {
			t.Errorf("the model was told %+v", m)
		}
		x.press("Up", "Up", "Up")
		x.ends("> one")
		x.press("Enter")
		x.ends("\nok\n\n>")
		if m := r.asked().Messages; m[len(m)-1].Text != "one" {
			t.Errorf("the model was told %+v", m)
		}
		x.press("t", "y", "p", "o", "Left", "C-c")
		x.ends("\n\n>")
		x.press("C-d")
		x.shows("it ended with 0.")
	})
}

func TestThePromptStopsAndLeavesInTheMiddle(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		never := llmtest.NewGate()
		defer never.Open()
		r.Script(llmtest.Step{Reasoning: "hm"}, llmtest.Step{Gate: never, Text: "never"})
		x := r.terminal(nil, "chat")
		x.ends("\n>")
		x.types("  ", "exit?")
		x.ends("\nhm")
		x.press("C-c")
		x.ends("\nstopped\n\n>")
		x.types("exit")
		x.shows("it ended with 0.")
		if got := r.said(); !strings.HasPrefix(got, "user(completed): exit?") {
			t.Errorf("kept is\n%s", got)
		}

		// With nothing kept it knows what was said before all the same.
		r.Script(llmtest.Say("Six.")...)
		x = r.terminal(nil, "chat", "-n")
		x.ends("\n>")
		x.types("How many disks?")
		x.ends("\nSix.\n\n>")
		x.types("Sure?")
		x.ends("\nok\n\n>")
		var told []string
		for _, m := range r.asked().Messages {
			if m.Role != "system" {
				told = append(told, m.Role+": "+m.Text)
			}
		}
		if got := strings.Join(told, "\n"); !strings.HasSuffix(got, "user: How many disks?\nassistant: Six.\nuser: Sure?") {
			t.Errorf("the model was told\n%s", got)
		}
		x.press("C-d")
		x.shows("it ended with 0.")
		r.run("search", "How many").ended(t, 1, `^$`)
	})
}

func TestThePromptEditsAndPastes(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		editor := filepath.Join(r.dir, "editor")
		if err := os.WriteFile(editor, []byte("#!/bin/sh\nprintf 'written by %s\\nhere\\n' \"$1\" > \"$2\"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		x := r.terminal([]string{"EDITOR=false", "VISUAL=" + editor + " hand"}, "chat", "-a", "editor")
		x.ends("\n>")
		x.types("!edit")
		x.ends("written by hand\nhere\nok\n\n>")
		m := r.asked().Messages
		if told := m[len(m)-1].Text; !strings.HasPrefix(told, "written by hand\nhere\n") || !strings.Contains(told, "printf") {
			t.Errorf("the model was told %s", told)
		}
		if out, err := x.tmux("set-buffer", "a paste\nof lines"); err != nil {
			t.Fatal(out)
		}
		if out, err := x.tmux("paste-buffer", "-p"); err != nil {
			t.Fatal(out)
		}
		x.ends("> of lines")
		x.types(" and more")
		x.ends("\nok\n\n>")
		if m := r.asked().Messages; m[len(m)-1].Text != "a paste\nof lines and more" {
			t.Errorf("the model was told %+v", m)
		}
		x.press("C-d")
		x.shows("it ended with 0.")

		x = r.terminal([]string{"EDITOR=false"}, "chat", "-q")
		x.ends(">")
		x.types("!edit")
		x.shows(`the editor "false": exit status 1`)
		x.press("C-d")
		x.shows("it ended with 0.")
	})
}

func TestAnInterruptEndsTheReadingOfATerminal(t *testing.T) {
	r := &room{t: t, dir: t.TempDir()}
	x := r.terminal(nil, "chat", "-a", "-", "q")
	x.types("some lines")
	x.shows("some lines")
	x.press("C-c")
	x.shows("it ended with 130.")
}

func TestATerminalGetsColoursAndNothingElse(t *testing.T) {
	fake, settings := model(t)
	r := &room{Fake: fake, t: t, dir: t.TempDir(), settings: append(settings, "HWLAB_TITLES=off")}
	const text = "# Disks\nUse **care** with `dd`, 2*3 and #1:\n```sh\n#!/bin/sh\nlsblk **\n```\nDone.\x1b[2J\x1b]0;title\a\r"
	ask := func(settings []string, args ...string) string {
		t.Helper()
		var steps []llmtest.Step
		for i := 0; i < len(text); i += 3 {
			steps = append(steps, llmtest.Step{Text: text[i:min(i+3, len(text))]})
		}
		r.Script(steps...)
		x := r.terminal(settings, append([]string{"chat", "q"}, args...)...)
		x.shows("it ended with 0.")
		return x.screen("-e")
	}
	got := strings.NewReplacer("\x1b[39m", "\x1b[0m", "\x1b[49m", "").Replace(ask(nil)) // tmux tells it in its own words
	got = strings.ReplaceAll(got, "\x1b[0m\x1b[0m", "\x1b[0m")
	for _, want := range []string{"\x1b[1m# Disks\n\x1b[0mUse", " \x1b[1m**care**\x1b[0m with", " \x1b[36m`dd`\x1b[0m, 2*3 and #1:\n", "\x1b[36m```sh\n#!/bin/sh\nlsblk **\n```\n\x1b[0mDone.[2J]0;title"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%q", want, got)
		}
	}
	plain := strings.NewReplacer("\x1b[2J", "[2J", "\x1b]0", "]0", "\a", "", "\r", "").Replace(text)
	if got := ask([]string{"NO_COLOR=1"}); !strings.HasPrefix(got, plain+"\n") || strings.Contains(got, "\x1b") {
		t.Errorf("with NO_COLOR it shows\n%q", got)
	}
	fake.Script(llmtest.Step{Text: "a\x1b[32mb"})
	x := r.terminal(nil, "chat", "-r", "q")
	x.shows("it ended with 0.")
	if got := x.screen("-e"); !strings.Contains(got, "a\x1b[32mb") {
		t.Errorf("-r shows\n%q", got)
	}
}

func TestATerminalSaysWhatItWaitsFor(t *testing.T) {
	eachWay(t, func(t *testing.T, r *room) {
		gate := llmtest.NewGate()
		defer gate.Open()
		r.Script(llmtest.Step{Gate: gate, Text: "Here."})
		began := time.Now()
		x := r.terminal(nil, "chat", "-m", "test-model", "q")
		x.shows("waiting for test-model, ") // with how long
		gate.Open()
		x.shows("it ended with 0.")
		if got := x.screen(); !strings.HasPrefix(got, "Here.\nit ended") {
			t.Errorf("after %s it shows\n%s", time.Since(began), got)
		}
	})
}

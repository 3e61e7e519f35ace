package web_test

import (
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// checkAccess fails where axe finds what keeps people out.
func (b *tab) checkAccess(what string) {
	b.t.Helper()
	axe, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		b.t.Fatal(err)
	}
	b.text("(() => {" + string(axe) + "})()")
	b.text(`(() => {
		delete window.found;
		axe.run({ resultTypes: ['violations'] }).then(r => window.found = r.violations.filter(v => ['serious', 'critical'].includes(v.impact))
			.flatMap(v => v.nodes.map(n => v.id + ' ' + n.target + ' ' + n.failureSummary)).join('\n'), e => window.found = String(e));
	})()`)
	b.wait("'found' in window")
	if found := b.text("window.found"); found != "" {
		b.t.Errorf("%s:\n%s", what, found)
	}
}

// key presses a key, where modifiers are CDP's bits: 1 Alt, 2 Ctrl, 4 Meta, 8 Shift.
func (b *tab) key(key, code string, virtual, modifiers int64) {
	b.t.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
		if _, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: key, Code: code,
			WindowsVirtualKeyCode: virtual, Modifiers: modifiers}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestThePageKeepsNobodyOut(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.wait("document.querySelector('#model')?.options.length")
		for _, theme := range []string{"light", "dark"} {
			b.text("localStorage.setItem('hwlab.theme', '" + theme + "')")
			b.open(s.url("/"))
			b.wait("document.querySelector('#model')?.options.length")
			b.checkAccess("the start page, " + theme)
			s.model.Script(llmtest.Say(strings.ReplaceAll(rich, "long name", "long name "+theme))...)
			b.send("Why is my pool degraded? " + theme)
			b.settled(2)
			b.wait("document.querySelector('.hljs-comment') && document.querySelector('[data-do=edit]')")
			b.checkAccess("a conversation, " + theme)
			// The names that tools hold on to; buttons are found by theirs in every test.
			b.wait(`document.querySelector("nav[aria-label=Conversations]") && document.querySelector("textarea[aria-label=Message]") && document.querySelector("[role=log][aria-live=off]") &&
				document.querySelector("input[type=search][aria-label='Search conversations']") && document.querySelector("[role=log] > article[aria-label=You] + article[aria-label=Advisor]") &&
				["Send", "Stop", "Regenerate", "Edit", "New conversation"].every(name => [...document.querySelectorAll("button")].some(b => (b.ariaLabel ?? b.textContent).trim() === name))`)
		}
	})
}

func TestKeys(t *testing.T) {
	s := newServer(t, testrecord.SQLite(t), "", "")
	b := browser(t)()
	gate := llmtest.NewGate()
	s.model.Script(llmtest.Step{Text: "So far."}, llmtest.Step{Gate: gate})
	b.open(s.url("/"))
	b.send("Tell me")
	b.waitText("So far.")
	b.wait("document.activeElement.id === 'message'")
	b.key("Escape", "Escape", 27, 0)
	b.waitText("The reply was stopped.")
	b.settled(2)
	b.wait("document.querySelector('[data-do=edit]')")
	b.key("ArrowUp", "ArrowUp", 38, 0)
	b.wait("document.activeElement.getAttribute('aria-label') === 'Edit message'")
	b.key("Escape", "Escape", 27, 0)
	b.wait("!document.querySelector('.editing')")
	b.key("Escape", "Escape", 27, 8)
	b.wait("document.activeElement.id === 'message'")
	b.key("S", "KeyS", 83, 10)
	b.wait("!document.querySelector('#sidebar').offsetParent")
	b.key("S", "KeyS", 83, 10)
	b.wait("document.querySelector('#sidebar').offsetParent")
	b.key("/", "Slash", 191, 2)
	b.wait("document.querySelector('#help').open")
	b.click(button("Close"))
	b.key("O", "KeyO", 79, 10)
	b.wait("location.pathname === '/' && document.activeElement.id === 'message'")
}

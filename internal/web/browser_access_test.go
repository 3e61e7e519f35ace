package web_test

import (
	"os"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// checkAccess fails where axe finds what keeps people out, in the light or in the dark.
func (b *tab) checkAccess(what string) {
	b.t.Helper()
	if b.text("typeof axe") == "undefined" {
		axe, err := os.ReadFile("testdata/axe.min.js")
		if err != nil {
			b.t.Fatal(err)
		}
		b.text("(() => {" + string(axe) + "})()")
	}
	chosen := b.text("document.documentElement.dataset.theme ?? ''")
	for _, theme := range []string{"light", "dark"} {
		b.text("document.documentElement.dataset.theme = '" + theme + "'")
		b.wait("getComputedStyle(document.documentElement).colorScheme === '" + theme + "' && document.getAnimations().length === 0") // colours take 120 ms
		b.text(`(() => {
			delete window.found;
			axe.run({ resultTypes: ['violations'] }).then(r => window.found = r.violations.filter(v => ['serious', 'critical'].includes(v.impact))
				.flatMap(v => v.nodes.map(n => v.id + ' ' + n.target + ' ' + n.failureSummary)).join('\n'), e => window.found = String(e));
		})()`)
		b.wait("'found' in window")
		if found := b.text("window.found"); found != "" {
			b.t.Errorf("%s, %s:\n%s", what, theme, found)
		}
	}
	b.text("(d => '" + chosen + "' ? d.theme = '" + chosen + "' : delete d.theme)(document.documentElement.dataset)")
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
		b.ready()
		b.checkAccess("the start page")
		gate := llmtest.NewGate()
		half := len(rich) / 2
		s.model.Script(llmtest.Step{Reasoning: "Let me see."}, llmtest.Step{Text: rich[:half]}, llmtest.Step{Gate: gate, Text: rich[half:]})
		b.send("Why is my pool degraded?")
		b.waitText("zpool offline")
		b.checkAccess("a reply that is written")
		gate.Open()
		b.settled(2)
		b.wait("document.querySelector('.hljs-comment') && document.querySelector('[data-do=edit]')")
		b.text("document.querySelector('.reasoning').open = true")
		b.checkAccess("a conversation")
		// The names that tools hold on to; buttons are found by theirs in every test.
		b.wait(`document.querySelector("nav[aria-label=Conversations]") && document.querySelector("textarea[aria-label=Message]") && document.querySelector("[role=log][aria-live=off]") &&
			document.querySelector("input[type=search][aria-label='Search conversations']") && document.querySelector("[role=log] > article[aria-label=You] + article[aria-label=Advisor]") &&
			["Send", "Stop", "Regenerate", "Edit", "New conversation"].every(name => [...document.querySelectorAll("button")].some(b => (b.ariaLabel ?? b.textContent).trim() === name))`)

		b.click(in(1, "Regenerate"))
		b.wait("document.querySelector('article.assistant .versions')?.innerText.includes('2/2')")
		b.settled(2)
		b.checkAccess("versions")
		b.click(in(0, "Edit"))
		b.checkAccess("an edit")
		b.key("Escape", "Escape", 27, 0)
		b.sidebar()
		b.checkAccess("the list")
		b.click("document.querySelector('nav li button')")
		b.wait("document.querySelector('#row-menu:popover-open')")
		b.checkAccess("the menu of a row")
		b.click("[...document.querySelectorAll('[role=menuitem]')].find(e => e.textContent === 'Rename')")
		b.wait("document.activeElement.matches('nav input')")
		b.checkAccess("a title that is edited")
		b.key("Escape", "Escape", 27, 0)
		b.choose("Why is my pool degraded?", "Delete")
		b.wait(button("Undo"))
		b.checkAccess("a deletion")
		b.click(button("Archived"))
		b.wait("document.querySelector('#list-none').offsetParent")
		b.checkAccess("an empty archive")
		b.key("Escape", "Escape", 27, 8)
		b.key("/", "Slash", 191, 2)
		b.wait("document.querySelector('#help').open")
		b.checkAccess("the keys")
	})
}

// Who signs in, and who does so with a wrong password, is kept out by the password alone.
func TestTheSignInKeepsNobodyElseOut(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "correct horse", "")
		b.open(s.lan("/"))
		b.wait("location.pathname === '/login'")
		b.checkAccess("the sign-in")
		b.do(chromedp.SendKeys(chromedp.CSS("#password"), "wrong\r"))
		b.wait("document.querySelector('#failed')?.offsetParent")
		b.checkAccess("a wrong password")
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
	b.wait("document.querySelector('#sidebar').offsetParent && !" + button("Conversations"))
	b.key("S", "KeyS", 83, 10)
	b.click(button("Conversations")) // for who pressed it unawares
	b.wait("document.querySelector('#sidebar').offsetParent && !" + button("Conversations"))
	b.key("Escape", "Escape", 27, 8)
	b.key("/", "Slash", 191, 2)
	b.wait("document.querySelector('#help').open")
	b.click(button("Close"))
	b.key("O", "KeyO", 79, 10)
	b.wait("location.pathname === '/' && document.activeElement.id === 'message'")
}

package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// Each text runs its own way, and code always to the right.
func TestTextThatRunsToTheLeft(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Script(llmtest.Say("השרת נפל.\n\n- דיסק ראשון\n- דיסק שני\n\nAnd an English line.\n\n> ציטוט\n\n```bash\nzpool status  # בדיקה\n```\n")...)
		b.open(s.url("/"))
		b.ready()
		b.insertInBox("למה השרת איטי?")
		direction := func(of string) string { return b.text("getComputedStyle(" + of + ").direction") }
		if got := direction(box); got != "rtl" {
			t.Errorf("the message box runs %s", got)
		}
		b.click(button("Send"))
		b.settled(2)
		for of, want := range map[string]string{"article.user .plain": "rtl", ".md > p": "rtl", ".md > ul": "rtl", ".md > p ~ p": "ltr", ".md > blockquote": "rtl",
			".md pre": "ltr", ".md .code-bar": "ltr", "#title": "rtl"} {
			b.wait(fmt.Sprintf("getComputedStyle(document.querySelector(%q)).direction === %q", of, want))
		}
		// The bar of a quote and the marks of a list stand where the text begins.
		b.wait("getComputedStyle(document.querySelector('.md blockquote')).borderRightWidth === '3px' && getComputedStyle(document.querySelector('.md ul')).paddingRight === '24px'")
		b.wait("(r => r.right > document.querySelector('.md > p').getBoundingClientRect().right - 2)((e => { const r = document.createRange(); r.selectNodeContents(e); return r.getBoundingClientRect() })(document.querySelector('.md > p')))")
		if b.text("document.documentElement.scrollWidth <= innerWidth") != "true" {
			t.Error("the page scrolls sideways")
		}
		b.checkAccess("Hebrew")
	})
}

// 200 % of a window of 1280 by 800 is a page of 640 by 400; 400 % is one of 320.
func TestZoomedIn(t *testing.T) {
	s := newServer(t, testrecord.SQLite(t), "", "")
	s.model.Script(llmtest.Say(rich)...)
	b := browser(t)()
	b.open(s.url("/"))
	b.send("Why is my pool degraded?")
	b.settled(2)
	for _, size := range [][2]int64{{640, 400}, {320, 400}, {320, 256}} {
		b.do(chromedp.EmulateViewport(size[0], size[1]))
		b.do(chromedp.Reload())
		b.settled(2)
		b.wait("document.querySelector('[data-do=regenerate]')")
		b.insertInBox("x")
		for _, name := range []string{"Send", "Attach", "New conversation", "Conversations"} {
			b.wait(fmt.Sprintf("(r => r.width > 0 && r.left >= 0 && r.top >= 0 && r.right <= innerWidth && r.bottom <= innerHeight)((%s)?.getBoundingClientRect() ?? {})", button(name)))
		}
		if got := b.text("document.documentElement.scrollWidth > innerWidth ? [...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.tagName + '.' + e.className + '#' + e.id) : ''"); got != "" {
			t.Errorf("at %v the page scrolls sideways: %s", size, got)
		}
		// Something of the thread is left to read, and all of it can be reached.
		b.wait("document.querySelector('#scroller').clientHeight >= 48")
		for _, of := range []string{"article.user", ".md h3", ".md table", "[data-do=regenerate]"} {
			b.text("document.querySelector('" + of + "').scrollIntoView({ block: 'nearest' })")
			b.wait("(r => r.bottom > 0 && r.top < innerHeight && r.left >= 0 && r.left < innerWidth)(document.querySelector('" + of + "').getBoundingClientRect())")
		}
		b.key("/", "Slash", 191, 2)
		b.wait("(r => r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight)(document.querySelector('#help[open]')?.getBoundingClientRect() ?? {})")
		b.click(button("Close"))
		b.click(button("Conversations"))
		b.wait("(r => r.left >= 0 && r.right <= innerWidth)(document.querySelector('#sidebar').getBoundingClientRect())")
		b.key("Escape", "Escape", 27, 0)
		b.wait("getComputedStyle(document.querySelector('#sidebar')).visibility === 'hidden'")
		b.text(box + ".value = '', " + box + ".dispatchEvent(new Event('input'))")
		b.checkAccess(fmt.Sprint("zoomed to ", size))
	}
}

func TestWhoWantsLessMotionGetsNone(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: rich}, llmtest.Step{Gate: gate})
		moving := "[...document.querySelectorAll('*')].flatMap(e => [null, '::before', '::after'].map(p => [e, p, getComputedStyle(e, p)]))" +
			".filter(([, , s]) => s.animationName !== 'none' || s.transitionDuration.split(', ').some(d => d !== '0s') || s.scrollBehavior === 'smooth')" +
			".map(([e, p]) => e.tagName + '#' + e.id + '.' + e.className + (p ?? ''))"
		for _, wish := range []string{"no-preference", "reduce"} {
			if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: wish}}}); err != nil {
				t.Fatal(err)
			}
			b.open(s.url("/"))
			if wish == "no-preference" {
				b.wait(moving + ".length > 0") // or nothing is tested here
				continue
			}
			b.send("Why is my pool degraded?")
			b.waitText("order a spare")
			if got := b.text(moving); got != "" {
				t.Errorf("these move: %s", got)
			}
		}
		gate.Open()
		b.settled(2)
	})
}

// tabTo presses Tab until what has the focus is so.
func (b *tab) tabTo(so string, modifiers int64) {
	b.t.Helper()
	var way []string
	for range 40 {
		b.key("Tab", "Tab", 9, modifiers)
		if b.text("Boolean((e => "+so+")(document.activeElement))") == "true" {
			if b.text("(s => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2)(getComputedStyle(document.activeElement.closest('.field') ?? document.activeElement))") != "true" {
				b.t.Errorf("it is not seen that the focus is on %s", so)
			}
			return
		}
		way = append(way, b.text("(e => e.getAttribute('aria-label') || e.id || e.textContent.trim().slice(0, 20) || e.tagName)(document.activeElement)"))
	}
	b.t.Fatalf("Tab does not reach %s, but %s", so, strings.Join(way, ", "))
}

func named(name string) string {
	return fmt.Sprintf("(e.getAttribute('aria-label') || e.textContent).trim() === %q", name)
}

// A person without a mouse asks, has the answer written anew, walks versions, edits and renames.
func TestWithTheKeyboardAlone(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.ready()
		b.text("document.activeElement.blur()")
		b.tabTo(named("Skip to the message box"), 0)
		b.enter(0)
		b.wait("document.activeElement === " + box)
		b.insert("Which disk?")
		b.enter(0)
		b.settled(2)
		b.wait("document.querySelector('[data-do=edit]')")
		b.tabTo(named("Regenerate"), 8)
		b.enter(0)
		b.wait("document.querySelector('article.assistant .versions')?.innerText.includes('2/2')")
		b.settled(2)
		b.text(box + ".focus()")
		b.tabTo(named("Previous version"), 8)
		b.enter(0)
		b.wait("document.querySelector('article.assistant .versions')?.innerText.includes('1/2')")
		b.wait("document.activeElement.getAttribute('aria-label') === 'Next version'")
		b.tabTo(named("Edit"), 8)
		b.enter(0)
		b.wait("document.activeElement.getAttribute('aria-label') === 'Edit message'")
		b.insert(" And fans?")
		b.tabTo(named("Send again"), 0)
		b.enter(0)
		b.says(0, "Which disk? And fans?")
		b.settled(2)

		if b.text("innerWidth < 700") == "true" {
			b.text(box + ".focus()")
			b.tabTo(named("Conversations"), 8)
			b.enter(0)
			b.wait("document.activeElement.id === 'close-drawer'")
		} else {
			b.text(box + ".focus()")
		}
		back := int64(8)
		if b.text("innerWidth < 700") == "true" {
			back = 0
		}
		title := b.text("document.querySelector('nav a .name').innerText")
		b.tabTo("e.matches('nav a')", back)
		b.tabTo(named("More about "+title), 0)
		b.enter(0)
		b.wait("document.activeElement.getAttribute('role') === 'menuitem'")
		b.key("ArrowDown", "ArrowDown", 40, 0)
		b.key("ArrowUp", "ArrowUp", 38, 0)
		for range 6 {
			if b.text("document.activeElement.textContent") == "Rename" {
				break
			}
			b.key("ArrowDown", "ArrowDown", 40, 0)
		}
		b.enter(0)
		b.wait("document.activeElement.closest('nav input')")
		b.text("document.activeElement.select()")
		b.insert("Disks")
		b.enter(0)
		b.wait(row("Disks"))
	})
}

// press tells the page of a key as the browser does; the answer is whether the browser goes on with it.
func (b *tab) press(key, code, modifiers string) string {
	b.t.Helper()
	return b.text(fmt.Sprintf(`document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: %q, code: %q, bubbles: true, cancelable: true,
		ctrlKey: %t, shiftKey: %t, altKey: %t, metaKey: %t }))`, key, code,
		strings.Contains(modifiers, "ctrl"), strings.Contains(modifiers, "shift"), strings.Contains(modifiers, "alt"), strings.Contains(modifiers, "meta")))
}

func TestEveryKeyInTheMessageBox(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Script(llmtest.Say("```sh\nzpool status\n```\n\nand\n\n```sh\nzpool scrub tank\n```\n")...)
		b.open(s.url("/"))
		b.send("Check the pool")
		b.settled(2)
		path := b.text("location.pathname")
		b.insertInBox("half a question")

		for _, k := range [][3]string{{"r", "KeyR", "ctrl"}, {"R", "KeyR", "ctrl shift"}, {"C", "KeyC", "ctrl shift"}, {"I", "KeyI", "ctrl shift"}, {"T", "KeyT", "ctrl shift"},
			{"t", "KeyT", "ctrl"}, {"w", "KeyW", "ctrl"}, {"F5", "F5", ""}, {"F12", "F12", ""}, {"o", "KeyO", "ctrl"}, {"s", "KeyS", "ctrl"}, {"ArrowUp", "ArrowUp", ""},
			{"O", "KeyO", "shift"}, {"Ó", "KeyO", "ctrl shift alt"}, {"Escape", "Escape", ""}, {"Enter", "Enter", "shift"}} {
			if b.press(k[0], k[1], k[2]) != "true" {
				t.Errorf("%s %s is taken from the browser", k[2], k[0])
			}
		}
		b.wait(box + ".value === 'half a question' && location.pathname === '" + path + "' && !document.querySelector('.editing')")

		copied := func(what string, k ...string) {
			b.text("document.querySelector('#status').textContent = ''")
			b.text(box + ".focus()")
			b.key(k[0], k[1], 0, 10)
			b.wait("document.querySelector('#status').textContent === 'Code copied.'")
			b.wait("document.activeElement === " + box)
			b.text(box + ".select()")
			b.command("v", "KeyV", 86, 2, "paste")
			b.wait(fmt.Sprintf("%s.value === %q", box, what))
		}
		copied("zpool scrub tank", ":", "Semicolon")
		copied("zpool scrub tank", ";", "Comma") // where a semicolon is Shift and a comma

		for _, k := range [][3]string{{"/", "Slash", "ctrl"}, {"/", "Digit7", "ctrl shift"}} {
			if b.press(k[0], k[1], k[2]) != "false" {
				t.Errorf("%v is not taken", k)
			}
			b.wait("document.querySelector('#help').open")
			for _, name := range []string{"Enter", "Shift Enter", "Esc", "↑", "Ctrl K", "Ctrl Shift O", "Ctrl Shift S", "Ctrl Shift ;", "Shift Esc", "Ctrl /"} {
				if b.text(fmt.Sprintf("[...document.querySelectorAll('#help dt')].some(e => e.textContent === %q)", name)) != "true" {
					t.Errorf("the help does not name %s", name)
				}
			}
			b.press("/", "Slash", "ctrl")
			b.wait("!document.querySelector('#help').open && document.activeElement === " + box)
		}
		b.key("k", "KeyK", 75, 2)
		b.wait("document.activeElement.getAttribute('aria-label') === 'Search conversations'")
		b.key("Escape", "Escape", 27, 0)
		b.wait("document.activeElement === " + box)

		// The list, and back to the message box from wherever.
		shown := "getComputedStyle(document.querySelector('#sidebar')).visibility === 'visible' && document.querySelector('#sidebar').offsetParent !== null || document.querySelector('.drawer-open') !== null"
		before := b.text(shown)
		b.press("S", "KeyS", "ctrl shift")
		b.wait("String(" + shown + ") !== '" + before + "'")
		b.text("document.querySelector('#title').tabIndex = 0, document.querySelector('#close-drawer').focus()")
		b.key("Escape", "Escape", 27, 8)
		b.wait("document.activeElement === " + box + " && !document.querySelector('.drawer-open')")
		if before == "true" {
			b.press("S", "KeyS", "ctrl shift")
		}
		b.wait("String(" + shown + ") === '" + before + "'")

		// By the letter on a Latin keyboard, by the place on another.
		for _, k := range [][2]string{{"O", "KeyO"}, {"o", "KeyO"}, {"O", "KeyS"}, {"Щ", "KeyO"}} {
			b.open(s.url(path))
			b.settled(2)
			b.text(box + ".focus()")
			if b.press(k[0], k[1], "ctrl shift") != "false" {
				t.Errorf("%v is not taken", k)
			}
			b.wait("location.pathname === '/'")
		}

		// A popup closes first, and then the reply is stopped.
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "So far."}, llmtest.Step{Gate: gate})
		b.open(s.url(path))
		b.settled(2)
		b.text(box + ".value = ''")
		b.insertInBox("And now?")
		b.click(button("Send"))
		b.says(3, "So far.")
		b.click("document.querySelector('#notes')")
		b.wait("document.querySelector('#notes-popover:popover-open')")
		b.text(box + ".focus()")
		b.key("Escape", "Escape", 27, 0)
		b.wait("!document.querySelector('#notes-popover:popover-open')")
		if b.text("document.querySelector('#stop').hidden") != "false" {
			t.Error("the popup's Esc stopped the reply")
		}
		b.key("Escape", "Escape", 27, 0)
		b.waitText("The reply was stopped.")
		b.settled(4)
		b.wait("document.querySelectorAll('[data-do=edit]').length === 2")
		b.key("ArrowUp", "ArrowUp", 38, 0)
		b.wait("document.activeElement.getAttribute('aria-label') === 'Edit message' && document.activeElement.value === 'And now?'")
		b.text("document.activeElement.blur()")
		b.key("Escape", "Escape", 27, 0)
		b.wait("!document.querySelector('.editing')")
	})
}

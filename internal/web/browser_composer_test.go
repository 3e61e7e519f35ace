package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// ready waits until the page has come to life.
func (b *tab) ready() {
	b.t.Helper()
	b.wait("document.querySelector('#model')?.options.length")
}

// insert puts text into what has the focus, as typing or an input method would.
func (b *tab) insert(text string) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
		b.t.Fatal(err)
	}
}

// paste pastes text by the keys for it, as plain text with Shift.
func (b *tab) paste(text string, plain bool) {
	b.t.Helper()
	b.text(fmt.Sprintf(`(() => {
		const area = document.createElement('textarea');
		area.id = 'clipboard';
		area.value = %q;
		document.body.append(area);
		area.select();
	})()`, text))
	b.command("c", "KeyC", 67, 2, "copy")
	b.text("document.querySelector('#clipboard').remove(), " + box + ".focus()")
	if plain {
		b.command("V", "KeyV", 86, 10, "pasteAndMatchStyle")
	} else {
		b.command("v", "KeyV", 86, 2, "paste")
	}
}

// command presses a key that has the browser carry out an editing command.
func (b *tab) command(key, code string, virtual, modifiers int64, command string) {
	b.t.Helper()
	event := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeRawKeyDown, Key: key, Code: code, WindowsVirtualKeyCode: virtual,
		Modifiers: modifiers, Commands: []string{command}}
	for range 2 {
		if _, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, event); err != nil {
			b.t.Fatal(err)
		}
		event.Type, event.Commands = input.DispatchKeyEventTypeKeyUp, nil
	}
}

// enter presses Enter.
func (b *tab) enter(modifiers int64) {
	b.t.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		if _, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: "Enter", Code: "Enter", Text: "\r",
			WindowsVirtualKeyCode: 13, Modifiers: modifiers}); err != nil {
			b.t.Fatal(err)
		}
	}
}

const box = "document.querySelector('#message')"

func TestTheMessageBoxGrowsToTenLines(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Script(llmtest.Say(rich)...)
		b.open(s.url("/"))
		b.send("Why is my pool degraded?")
		b.settled(2)
		b.text("document.querySelector('#scroller').scrollTop = 1e6")
		b.text(box + ".focus()")
		end := "document.querySelector('[role=log]').getBoundingClientRect().bottom <= document.querySelector('#composer').getBoundingClientRect().top"
		b.wait(end)
		last := 0
		for line := range 14 {
			if line > 0 {
				b.enter(8)
			}
			b.insert("a line")
			var height int
			fmt.Sscan(b.text(box+".offsetHeight"), &height)
			switch {
			case line < 10 && height != 24+26*(line+1):
				t.Errorf("with %d lines it is %d high", line+1, height)
			case line >= 10 && height != last:
				t.Errorf("with %d lines it is %d high, not %d", line+1, height, last)
			}
			last = height
			b.wait(end) // the thread makes room
		}
		if got := b.text("getComputedStyle(" + box + ").overflowY"); got != "auto" {
			t.Errorf("beyond ten lines overflow is %s", got)
		}
		if got := b.text("document.querySelectorAll('article').length"); got != "2" {
			t.Errorf("Shift-Enter sent something: %s articles", got)
		}
		// Never more than 40 % of the height, and always in view, as when a keyboard opens.
		b.do(chromedp.EmulateViewport(390, 500))
		b.wait(box + ".offsetHeight === 200 && document.querySelector('#composer').getBoundingClientRect().bottom <= 500")
	})
}

func TestOnAPhone(t *testing.T) {
	s := newServer(t, testrecord.SQLite(t), "", "")
	b := browser(t)()
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
	b.open(s.url("/"))
	b.ready()
	if got := b.text("document.activeElement === document.body"); got != "true" {
		t.Error("the message box has the focus, which opens the keyboard")
	}
	if got := b.text("document.querySelector('meta[name=viewport]').content"); !strings.Contains(got, "interactive-widget=resizes-content") ||
		strings.Contains(got, "maximum-scale") || strings.Contains(got, "user-scalable") {
		t.Errorf("the viewport is %q", got)
	}
	if got := b.text("[...document.querySelectorAll('textarea, input:not([type=file])')].filter(e => parseFloat(getComputedStyle(e).fontSize) < 16).map(e => e.outerHTML)"); got != "" {
		t.Errorf("tapping these zooms: %s", got)
	}
	b.text(box + ".focus()")
	b.insert("one")
	b.enter(0)
	b.insert("two")
	b.wait(box + `.value === "one\ntwo"`)
	b.do(chromedp.EmulateViewport(390, 500, chromedp.EmulateMobile, chromedp.EmulateTouch)) // the keyboard opens
	b.wait("(r => r.top > 0 && r.bottom <= 500)(document.querySelector('#composer').getBoundingClientRect()) && (r => r.height > 30 && r.bottom <= 500)(document.querySelector('#send').getBoundingClientRect())")
	b.click(button("Send"))
	b.settled(2)
	b.says(0, "one\ntwo")
	if b.text("document.activeElement !== "+box) != "true" {
		t.Error("the keyboard stays open over the reply")
	}
	if b.text("document.documentElement.scrollWidth <= innerWidth") != "true" {
		t.Error("the page scrolls sideways")
	}
}

// Enter that ends the composition of a word, as in Japanese, sends nothing.
func TestAWordThatIsBeingComposedIsNotSent(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.ready()
		b.text(box + ".focus()")
		if _, err := chromedp.Call(b.ctx, input.ImeSetComposition, input.ImeSetCompositionParams{Text: "にほん", SelectionStart: 3, SelectionEnd: 3}); err != nil {
			t.Fatal(err)
		}
		b.wait(box + ".value === 'にほん'")
		b.key("Enter", "Enter", 229, 0) // as the browser tells it while an input method has the key
		if b.text(box+".dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true }))") != "true" {
			t.Error("Enter was taken from the input method")
		}
		b.wait(box + ".value === 'にほん' && document.querySelectorAll('article').length === 0")
		b.insert("日本")
		b.wait(box + ".value === '日本'")
		b.enter(0)
		b.settled(2)
		b.says(0, "日本")
	})
}

// told is the last question as the model got it.
func (s *server) told() string {
	requests := s.model.Requests()
	if len(requests) == 0 {
		return ""
	}
	messages := requests[len(requests)-1].Messages
	last := messages[len(messages)-1]
	text := last.Text
	for _, part := range last.Parts {
		text += "|" + part.Text
	}
	return text
}

func TestALongPasteIsAttached(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		long := strings.Repeat("Nov 24 kernel: ata3: fejl på port æøå\n", 250)
		b.open(s.lan("/")) // a LAN address without a password is refused
		b.wait("document.body.innerText.includes('HWLAB_PASSWORD')")
		b.open(s.url("/"))
		b.ready()
		b.text(box + ".focus()")
		b.insert("Why? ")
		b.paste("short", false)
		b.wait(box + ".value === 'Why? short'")
		b.paste(long, false)
		b.wait("document.querySelector('#files li')?.innerText.includes('pasted.txt') && document.querySelector('#files').innerText.includes('9,500 characters')")
		b.paste(long, false)
		b.wait("document.querySelectorAll('#files li').length === 2 && document.querySelector('#files').innerText.includes('pasted-2.txt')")
		b.checkAccess("a pasted text")

		b.kept(2)
		b.do(chromedp.Reload())
		b.wait("document.querySelectorAll('#files li').length === 2 && " + box + ".value === 'Why? short'")
		b.click(button("Put inline: pasted-2.txt"))
		b.wait(fmt.Sprintf("document.querySelectorAll('#files li').length === 1 && %s.value.length === %d", box, len("Why? short")+len([]rune(long))))
		b.text(fmt.Sprintf("(%s.value = 'Why?', %s.dispatchEvent(new Event('input')))", box, box))
		b.ready()
		b.click(button("Send"))
		b.settled(2)
		if got := s.told(); !strings.Contains(got, "Why?") || strings.Count(got, long) != 1 {
			t.Errorf("the model was told %d bytes: %.300q", len(got), got)
		}
		b.wait("document.querySelector('#files').hidden && document.querySelector('article.user .attached').innerText.includes('pasted.txt')")
		b.do(chromedp.Reload())
		b.settled(2)
		b.wait("document.querySelector('article.user .attached').innerText.includes('pasted.txt') && document.querySelector('#files').hidden")

		b.text(box + ".focus()")
		b.paste(long, true)
		b.wait(box + ".value.length > 8000 && document.querySelector('#files').hidden")
	})
}

func TestDraftsStayWithTheirConversations(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "correct horse", "")
		b.open(s.lan("/")) // no secure context
		b.do(chromedp.SendKeys(chromedp.CSS("#password"), "correct horse\r"))
		b.ready()
		b.text(handFiles)
		b.wait("document.querySelectorAll('#files li').length === 2")
		b.kept(2)
		b.insertInBox("a new question")
		one, two := s.conversation("One"), s.conversation("Two")
		b.open(s.lan("/c/conv_" + one))
		b.ready()
		b.insertInBox("about one")
		b.open(s.lan("/c/conv_" + two))
		b.ready()
		b.wait(box + ".value === '' && document.querySelector('#files').hidden")
		b.open(s.lan("/c/conv_" + one))
		b.wait(box + ".value === 'about one' && document.querySelector('#files').hidden")
		b.open(s.lan("/"))
		b.wait(box + ".value === 'a new question' && document.querySelectorAll('#files li').length === 2")
		b.ready()
		b.click(button("Remove sda.log"))
		b.kept(1)
		b.do(chromedp.Reload())
		b.wait("document.querySelectorAll('#files li').length === 1 && document.querySelector('#files').innerText.includes('rack.png')")
		b.ready()
		b.click(button("Send"))
		b.settled(2)
		b.open(s.lan("/"))
		b.ready()
		b.wait(box + ".value === '' && document.querySelector('#files').hidden")
	})
}

// kept waits until the browser has stored n files of the draft of a new conversation.
func (b *tab) kept(n int) {
	b.t.Helper()
	b.wait(fmt.Sprintf("(import('/ui/js/storage.js').then(m => m.loadDraftFiles(null)).then(f => window.keptFiles = f.length), window.keptFiles === %d)", n))
}

// insertInBox types into the message box.
func (b *tab) insertInBox(text string) {
	b.t.Helper()
	b.text(box + ".focus()")
	b.insert(text)
}

func TestAModelThatTakesNoImagesIsToldOf(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		yes, no := true, false
		s.model.SetInfos(llm.Info{ID: "blind", Vision: &no}, llm.Info{ID: "sees", Vision: &yes}, llm.Info{ID: "unknown"})
		b.open(s.url("/"))
		b.wait("document.querySelector('#model')?.options.length > 2")
		b.text(strings.ReplaceAll(handFiles, "input.dispatchEvent(new Event('change'));", ""))
		b.wait("document.querySelectorAll('#files li').length === 2")
		warning := "document.querySelector('#files-warning')"
		choose := func(model string) {
			b.text(fmt.Sprintf("(s => { s.value = %q; s.dispatchEvent(new Event('change')) })(document.querySelector('#model'))", model))
		}
		for _, model := range []string{"blind", "sees", "blind", "unknown", "blind"} {
			choose(model)
			if model == "blind" {
				b.wait(warning + ".innerText === 'blind does not take images.'")
			} else {
				b.wait(warning + ".hidden")
			}
		}
		b.click(button("Remove rack.png"))
		b.wait(warning + ".hidden")
	})
}

func TestTheFocusStays(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.ready()
		places := []string{"#message", "#model", "#theme", "#new"}
		if b.text("innerWidth < 700") == "true" {
			places = []string{"#message", "#model", "#download", "#new-top"}
		}
		for i, place := range places {
			gate := llmtest.NewGate()
			s.model.Script(llmtest.Step{Text: "So far."}, llmtest.Step{Gate: gate, Text: " The end."})
			b.insertInBox("Question")
			b.enter(0)
			b.wait(fmt.Sprintf("document.querySelectorAll('article')[%d]?.innerText.includes('So far.')", 2*i+1))
			if b.text("document.activeElement === "+box) != "true" {
				t.Error("sending moved the focus")
			}
			b.text(fmt.Sprintf("document.querySelector('#model').hidden = false, document.querySelector(%q).focus()", place))
			gate.Open()
			b.settled(2*i + 2)
			b.wait(fmt.Sprintf("document.querySelectorAll('article')[%d].innerText.includes('The end.')", 2*i+1))
			if got := b.text("'#' + document.activeElement.id"); got != place {
				t.Errorf("the end of the reply moved the focus from %s to %s", place, got)
			}
		}
	})
}

func TestEachConversationHasItsModel(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.SetModels("small", "large")
		b.open(s.url("/"))
		var paths []string
		for i, model := range []string{"large", "small"} {
			b.ready()
			b.text(fmt.Sprintf("(s => { s.value = %q; s.dispatchEvent(new Event('change')) })(document.querySelector('#model'))", model))
			b.send("Hello " + model)
			b.settled(2)
			b.wait("location.pathname.startsWith('/c/')")
			if got := s.model.Requests()[i].Model; got != model {
				t.Errorf("%s was asked, not %s", got, model)
			}
			paths = append(paths, b.text("location.pathname"))
			b.open(s.url("/"))
			b.ready()
			b.wait(fmt.Sprintf("document.querySelector('#model').value === %q", model)) // the last choice goes on
		}
		for i, model := range []string{"large", "small"} {
			b.open(s.url(paths[i]))
			b.settled(2)
			b.ready()
			b.wait(fmt.Sprintf("document.querySelector('#model').value === %q", model))
		}
		b.sidebar()
		b.click(row("Hello large"))
		b.says(0, "Hello large")
		b.wait("document.querySelector('#model').value === 'large'")
		// While no model is there the choice is not forgotten.
		s.model.SetModels()
		b.do(chromedp.Reload())
		b.wait("document.querySelector('#model').value === 'offline'")
		s.model.SetModels("small", "large")
		b.wait("document.querySelector('#model').value === 'large'")
	})
}

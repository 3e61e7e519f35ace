package web_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// growing are texts whose beginnings look like something else; the test adds lines put together at random.
var growing = []string{
	rich,
	"A line\n- \n\nmore",
	"A line\n-\nmore",
	"Options\n- one\n- two\n---\nafter\n===\nend",
	"Title\n=====\n\nand\n-----\n\ntext",
	"1. one\n2. two\n   - inner\n   - more\n\n     a paragraph in it\n3. three\n\n10) other\n",
	"- a\n- b\n\n- c, and now it has gaps\n\nEnd.",
	"* * *\n\n***\n\n**bold** and *leaning* and ***both*** and `code` and ``co`de`` and ~~gone~~ ~5 GB, ~6 GB.",
	"- [ ] open\n- [x] done\n- [link](http://example.test/a_b_(c)) and text\n- [not a link] text",
	"> quoted\n> - a list\n> - in it\n>\n> ```sh\n> ls\n> ```\n\nAfter.",
	"```\nplain fence\n\n\n  indented\n```\n\n~~~yaml\na: ``` b\n~~~\n\n````md\n```sh\nls\n```\n````\nEnd",
	"- step\n  ```bash\n  zfs list\n\n  zfs get all\n  ```\n- next\n\n      indented code\n",
	"| a | b |\n|---|:-:|\n| 1 | 2 |\n| `x|y` | **3** |\n| only\n\nA | bar in a sentence.\n\na | b\n--|--\n1 | 2\n",
	"| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |\n| 4 | 5 |\n|6|7|8|9|\n| `a\\|b` | **c** | d |\n\nAfter.\n\n|x|\n|-|\n|1|\n|2|\nnot a row?\n\n# End",
	"# One\n\n## Two ##\n\n#hashtag\n\n###### Six\n",
	"Use <details> or ssh root@<host>, 5 < 6 && 7 > 3, &amp; &nbsp;x, C:\\dir\\*, \\*not\\*.",
	"[ref]: http://example.test/ \"t\"\n\nA [ref] and [ref][] and ![pic](http://example.test/x.png).\n",
	"Maths: $a_1 * b_2 * c$, $$\\sum_{i=1}^n x_i^2$$ and \\(x_{1}\\), \\[ y = \\frac{a}{b} \\]\n\nSo\n$$\na\n- b_1\n+ c_2\n$$\nand\n\\[\n# x_1 \\\\\n\\]\n\nE = mc^2, 2 * 3 * 4 = 24, a_b_c.",
	"Line one  \nline two\\\nline three\nhttp://example.test/path_(x), www.example.test and me@example.test\r\nwindows line\r\n\r\n- item\r\n",
	"1.\n2.\n\n-\n- a\n+ b\n* c\n",
	"مرحبا **عالم**\n\n- واحد\n- اثنان\n\n日本語のテキスト、**太字**です。👩‍👩‍👧‍👦\n",
	"Text\n    continued\n\n    code block\n    more\n\n\ttab code\n",
}

// What stands on the page keeps its element and its type while a text grows, for every beginning of it; and in the end it
// is what the whole text gives at once.
func TestNothingFlickers(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.wait("document.querySelector('#model')?.options.length")
		texts, err := json.Marshal(growing)
		if err != nil {
			t.Fatal(err)
		}
		b.text(`(async () => {
			const { Markdown } = await import('/ui/js/markdown.js');
			const problems = [];
			const host = document.querySelector('#thread');
			// All elements but those inside a line of text, with the place each stands at.
			const blocks = 'p,h2,h3,h4,h5,h6,ul,ol,li,blockquote,hr,.code,.md > .formula,.table,tr,td,th';
			const shape = (el) => el.innerHTML.replace(/ class="(tip)?"/g, '').replace(/ tip"/g, '"').replace(/ data-(grew|closed)="yes"/g, '')
				.replace(/<button type="button" class="unfold".*?<\/button>/g, '').replace(/<span class="hljs[^>]*>/g, '');
			const lines = ['word', 'two words', 'a **bold** b', 'x | y', '- item', '  - inner', '1. one', '   deeper', '', '', '', '# head', '---', '***',
				'- ', '+', '> quote', '> - q', '>', '|a|b|', '|-|-|', '|1|2|', '~~~', '  ~~~', '   ~~~', '> ~~~', '    code', '===', '* star',
				'- [ ] open', '- [x] done', '[l](http://x.test)', '[', '1986. A year', '$$', 'a^2', '-5 degrees', '*lean* text', '<div>'];
			let seed = innerWidth;
			const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648, Math.floor(seed / 2147483648 * n));
			const made = Array.from({ length: 80 }, () => Array.from({ length: 2 + random(7) }, () => lines[random(lines.length)]).join('\n'));
			for (const text of [...` + string(texts) + `, ...made]) for (const size of [1, 3]) {
				const md = new Markdown();
				host.replaceChildren(md.element);
				let before = [];
				for (let end = 0; end < text.length + size; end += size) {
					md.append(text.slice(end, end + size));
					md.render();
					const now = [...md.element.querySelectorAll(blocks)];
					const lost = before.find((el) => !now.includes(el));
					if (lost) problems.push(JSON.stringify(text.slice(0, end + size)) + ' lost <' + lost.tagName + '> ' + JSON.stringify(lost.textContent));
					before = now;
				}
				md.finish();
				const now = [...md.element.querySelectorAll(blocks)];
				const lost = before.find((el) => !now.includes(el));
				if (lost) problems.push(JSON.stringify(text) + ' lost at its end <' + lost.tagName + '> ' + JSON.stringify(lost.textContent));
				const whole = new Markdown();
				whole.finish(text);
				if (shape(md.element) !== shape(whole.element)) problems.push('grown and whole differ:\n' + shape(md.element) + '\n' + shape(whole.element));
			}
			return problems;
		})().then((problems) => window.problems = problems, (problem) => window.problems = [String(problem)])`)
		b.wait("window.problems")
		if problems := b.text("window.problems.slice(0, 12).join('\\n')"); problems != "" {
			t.Errorf("%s problems, among them:\n%s", b.text("window.problems.length"), problems)
		}
	})
}

// While a reply is written one caret stands at its end, whatever is written there, and neither moves nor blinks.
func TestACaretStandsWhereItIsWritten(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		parts := []struct{ text, at string }{{"Some words", "Some words"}, {"\n\n## A head", "A head"}, {"\n\n- one\n- two", "two"}, {"\n  - inner", "inner"}, {"\n\n> a quote", "a quote"},
			{"\n\n```sh\nzpool status", "zpool status"}, {"\nzpool list", "zpool status\nzpool list"}, {"\n```\n\n| a | b |\n|---|---|\n| 1 | 2", "2"}, {" |\n| 3 |", "3"}, {"\n\nThe end", "The end"}}
		var texts []string
		for _, part := range parts {
			texts = append(texts, part.text)
		}
		steps, more := gated(texts...)
		s.model.Script(steps...)
		b.open(s.url("/"))
		b.send("Write")
		for _, part := range parts {
			more()
			b.wait("[...document.querySelectorAll('.writing .tip')].map(e => e.textContent).join('|') === " + quoted(part.at))
			if got := b.text("(s => [s.content, s.width, s.backgroundColor, s.animationName, s.transitionDuration].join(' '))(getComputedStyle(document.querySelector('.writing .tip'), '::after'))"); got !=
				`"" 2px `+rgb(paints["light"]["accent"])+" none 0s" {
				t.Errorf("the caret after %q is %s", part.at, got)
			}
		}
		more()
		b.settled(2)
		if got := b.text("[...document.querySelectorAll('.tip')].map(e => getComputedStyle(e, '::after').content).filter(c => c !== 'none')"); got != "" {
			t.Errorf("after the end there are carets: %s", got)
		}
	})
}

// gated is a reply that comes in parts: open lets the next part through.
func gated(parts ...string) (steps []llmtest.Step, open func()) {
	var gates []*llmtest.Gate
	for _, part := range parts {
		gate := llmtest.NewGate()
		gates = append(gates, gate)
		for i, text := range pieces(part, 40) {
			step := llmtest.Step{Text: text}
			if i == 0 {
				step.Gate = gate
			}
			steps = append(steps, step)
		}
	}
	last := llmtest.NewGate()
	gates = append(gates, last)
	steps = append(steps, llmtest.Step{Gate: last, Finish: "stop"})
	return steps, func() {
		gates[0].Open()
		gates = gates[1:]
	}
}

// paragraphs is n paragraphs, the last of which ends with the word end.
func paragraphs(n int, end string) string {
	return strings.Repeat("The pool is scrubbed on the first Sunday of the month, which takes about nine hours on these disks.\n\n", n) + end + "\n\n"
}

// still waits until an expression has given the same for 20 frames.
func (b *tab) still(expression string) {
	b.t.Helper()
	b.text(`(() => { delete window.isStill; let last, same = 0;
		const look = () => { const now = String(` + expression + `); same = now === last ? same + 1 : 0; last = now; same > 20 ? window.isStill = true : requestAnimationFrame(look); };
		look(); })()`)
	b.wait("window.isStill")
}

// wheel turns the wheel over the thread, and on a phone drags it with a finger.
func (b *tab) wheel(by float64) {
	b.t.Helper()
	if b.text("innerWidth") != "390" {
		if _, err := chromedp.Call(b.ctx, input.SynthesizeScrollGesture, input.SynthesizeScrollGestureParams{X: 700, Y: 400, YDistance: -by, Speed: 4000,
			GestureSourceType: input.GestureSourceTypeMouse}); err != nil {
			b.t.Fatal(err)
		}
		return
	}
	for i, kind := range []input.DispatchTouchEventType{input.DispatchTouchEventTypeTouchStart, input.DispatchTouchEventTypeTouchMove,
		input.DispatchTouchEventTypeTouchMove, input.DispatchTouchEventTypeTouchMove, input.DispatchTouchEventTypeTouchEnd} {
		points := []*input.TouchPoint{{X: 200, Y: 400 - by/2 + by*float64(3-i)/3}}
		if kind == input.DispatchTouchEventTypeTouchEnd {
			points = []*input.TouchPoint{}
		}
		if _, err := chromedp.Call(b.ctx, input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: kind, TouchPoints: points}); err != nil {
			b.t.Fatal(err)
		}
	}
}

const scrollTop = "document.querySelector('#scroller').scrollTop"

// fromTop is how far an element is below the top of the view.
func fromTop(element string) string {
	return "Math.round(" + element + ".getBoundingClientRect().top - document.querySelector('#scroller').getBoundingClientRect().top)"
}

// A sent question stands 24 px below the top; the view follows the reply from where it reaches the end; who scrolls up stays
// there to the pixel, and nothing on the page shifts.
func TestOnlyAPersonMovesTheView(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Script(llmtest.Say(paragraphs(12, "An earlier reply."))...)
		steps, more := gated(paragraphs(1, "one"), paragraphs(20, "two"), paragraphs(20, "three")+rich, paragraphs(6, "four"), paragraphs(9, "five"))
		s.model.Script(steps...)
		b.open(s.url("/"))
		b.send("First")
		b.settled(2)
		b.send("Second")
		question := "document.querySelectorAll('article.user')[1]"
		b.wait("document.querySelectorAll('article').length === 4")
		b.still(fromTop(question))
		if got := b.text(fromTop(question)); got != "24" {
			t.Errorf("the question is %s px below the top", got)
		}
		// The pace stands at the tip of the text and goes with it.
		b.text("window.shifts = [], new PerformanceObserver((list) => list.getEntries().filter((e) => !e.sources.every((s) => s.node?.matches?.('.pace'))).forEach((e) => window.shifts.push(e.value + ' ' + e.sources.map((s) => (s.node?.outerHTML || s.node?.data || '').slice(0, 80))))).observe({ type: 'layout-shift' })")
		more()
		b.waitText("one")
		b.still(fromTop(question))
		if got := b.text(fromTop(question)); got != "24" {
			t.Errorf("when the reply begins, the question is %s px below the top", got)
		}
		more()
		b.waitText("two")
		atEnd := "Math.abs(document.querySelector('#thread').getBoundingClientRect().bottom + 24 - document.querySelector('#scroller').getBoundingClientRect().bottom) < 2"
		b.wait(atEnd)

		b.wheel(-400)
		b.still(scrollTop)
		before := b.text(scrollTop)
		if b.text(atEnd) == "true" {
			t.Error("the wheel did not move the view")
		}
		more()
		b.waitText("order a spare")
		b.wait("document.querySelector('.hljs-comment')")
		b.still(scrollTop)
		if got := b.text(scrollTop); b.text(fmt.Sprintf("Math.abs(%s - %s) <= 1", got, before)) != "true" {
			t.Errorf("the view was moved from %s to %s", before, got)
		}

		b.click(button("To the end"))
		b.wait(atEnd)
		more()
		b.waitText("four")
		b.wait(atEnd)
		more()
		b.waitText("five")
		b.wait(atEnd)
		b.still(scrollTop)
		before, last := b.text(scrollTop), b.text(fromTop("document.querySelector('.md > :last-child')"))
		more()
		b.settled(4)
		b.wait("document.querySelector('article:last-child .facts time')")
		b.still(scrollTop)
		if got := b.text(scrollTop); got != before || b.text(fromTop("document.querySelector('.md > :last-child')")) != last {
			t.Errorf("the end of the reply moved the view from %s to %s", before, got)
		}
		if got := b.text("window.shifts.join('\\n')"); got != "" {
			t.Errorf("shifted:\n%s", got)
		}
	})
}

// Keys and the scroll bar unpin the view as the wheel does.
func TestKeysAndTheBarMoveTheView(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		steps, more := gated(paragraphs(30, "one"), paragraphs(9, "two"), paragraphs(9, "three"), paragraphs(9, "four"))
		s.model.Script(steps...)
		b.open(s.url("/"))
		b.send("Tell me")
		more()
		atEnd := "Math.abs(document.querySelector('#thread').getBoundingClientRect().bottom + 24 - document.querySelector('#scroller').getBoundingClientRect().bottom) < 2"
		b.wait("document.querySelector('[role=log]').innerText.includes('one') && " + atEnd)
		for _, word := range []string{"two", "three", "four"} {
			switch word {
			case "two":
				b.text("(a => (a.tabIndex = -1, a.focus({ preventScroll: true })))(document.querySelector('article'))")
				b.key("PageUp", "PageUp", 33, 0)
			case "three": // as a browser scrolls smoothly: at first by less than a line
				b.text(`(s => { s.dispatchEvent(new WheelEvent('wheel', { bubbles: true, deltaY: -400 })); s.scrollTop -= 2;
					s.addEventListener('scroll', () => s.scrollTop -= 400, { once: true }); })(document.querySelector('#scroller'))`)
			case "four":
				b.text(`(s => (s.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true, clientX: s.getBoundingClientRect().left + s.clientWidth, clientY: 300 })), s.scrollTop -= 400))(document.querySelector('#scroller'))`)
			}
			b.wait("!(" + atEnd + ")")
			b.still(scrollTop)
			before := b.text(scrollTop)
			more()
			b.waitText(word)
			b.still(scrollTop)
			if got := b.text(scrollTop); b.text(fmt.Sprintf("Math.abs(%s - %s) <= 1", got, before)) != "true" {
				t.Errorf("%s: the view was moved from %s to %s", word, before, got)
			}
			b.click(button("To the end"))
			b.wait(atEnd)
		}
		more()
		b.settled(2)
	})
}

// catchCopies keeps what is put on the clipboard as window.copied, in a secure context and in another.
func (b *tab) catchCopies() {
	b.t.Helper()
	b.text("(DataTransfer.prototype.setData = (type, text) => window.copied = text, navigator.clipboard && (navigator.clipboard.writeText = async (text) => window.copied = text), 1)")
}

// copied is what a button puts on the clipboard.
func (b *tab) copied(button string) string {
	b.t.Helper()
	b.catchCopies()
	b.text("delete window.copied")
	b.click(button)
	b.wait("'copied' in window")
	return b.text("window.copied")
}

// login signs in at an origin that is no secure context.
func (b *tab) login(s *server) {
	b.t.Helper()
	b.open(s.lan("/"))
	b.wait("location.pathname === '/login'")
	b.do(chromedp.SendKeys(chromedp.CSS("#password"), s.pass+"\r"))
	b.wait("location.pathname === '/'")
}

func TestCodeIsCopiedAsItWasWritten(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "correct horse", "")
		code := "#!/bin/bash\n\tfor disk in sd{a,b};  do # tab & spaces\n\n    smartctl -a \"/dev/$disk\" | grep -c '<&>'\ndone" + strings.Repeat("\necho line", 80)
		steps, more := gated("```bash\n"+code[:120], code[120:], "\n```\n\nDone.")
		s.model.Script(steps...)
		b.login(s)
		if b.text("isSecureContext") != "false" {
			t.Error("this should not be a secure context")
		}
		b.send("A script")
		more()
		b.waitText(code[100:118])
		b.text("window.node = document.querySelector('pre > code').firstChild")
		b.wait("document.querySelector('pre > code').textContent === " + quoted(code[:120]))
		if got := b.copied(button("Copy code")); got != code[:120] {
			t.Errorf("in mid-stream this was copied:\n%s", got)
		}
		more()
		b.wait("document.querySelector('pre > code').textContent === " + quoted(code))
		if b.text("document.querySelector('pre > code').firstChild === window.node && document.querySelector('pre > code').childNodes.length") != "1" {
			t.Error("the open fence did not only take text")
		}
		// In the middle of the code its header, with the button, stands at the top of the view.
		b.wheel(-300)
		b.still(scrollTop)
		bar := "document.querySelector('.code-bar')"
		if got := b.text(fromTop(bar)); got != "0" {
			t.Errorf("the header is %s px below the top", got)
		}
		more()
		b.waitText("Done.")
		b.wait("document.querySelector('pre .hljs-built_in')")
		if got := b.text(fromTop(bar)); got != "0" {
			t.Errorf("at its end the header is %s px below the top", got)
		}
		if got := b.copied("document.querySelector('.code-bar button')"); got != code {
			t.Errorf("this was copied:\n%s", got)
		}
		more()
		b.settled(2)
		if got, want := b.copied(in(1, "Copy reply")), "```bash\n"+code+"\n```\n\nDone."; got != want {
			t.Errorf("this was copied of the reply:\n%s", got)
		}
	})
}

func quoted(text string) string {
	data, _ := json.Marshal(text)
	return string(data)
}

// What is selected stays selected while the reply goes on, in the block that grows too, and when it ends.
func TestASelectionStays(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		for _, c := range []struct{ name, first, selected, rest string }{
			{"settled", "The first one.\n\nThe second", "first one", " one.\n\nThird."},
			{"open", "Look at **the second disk", "second disk", "** and *then* the `third`.\n\nMore."},
			{"half a link", "See [the manual of it", "manual", "](http://example.test/x) for more.\n\nMore."},
			{"item", "- one\n- two with __emphasis", "emphasis", "__ in *it*\n- three\n"},
			{"cell", "| a | b |\n|---|---|\n| some **bold", "bold", "** text | 2 |\n| 3 | 4 |\n"},
			{"code", "```sh\nzfs list tank", "list", "\n# more\n```\n\nEnd."},
		} {
			s := newServer(t, testrecord.SQLite(t), "", "")
			steps, more := gated(c.first, c.rest)
			s.model.Script(steps...)
			b.open(s.url("/"))
			b.send("Tell me")
			more()
			b.waitText(c.selected)
			b.text(`(() => {
				const walk = document.createTreeWalker(document.querySelector('.body'), NodeFilter.SHOW_TEXT);
				while (walk.nextNode()) {
					const at = walk.currentNode.data.indexOf(` + quoted(c.selected) + `);
					if (at >= 0) getSelection().setBaseAndExtent(walk.currentNode, at, walk.currentNode, at + ` + fmt.Sprint(len(c.selected)) + `);
				}
			})()`)
			more()
			more()
			b.settled(2)
			b.wait("document.querySelector('article:last-child .facts time')")
			if got := b.text("getSelection().toString()"); got != c.selected {
				t.Errorf("%s: %q is selected, not %q", c.name, got, c.selected)
			}
			// Once it is let go, all is shown.
			b.text("getSelection().removeAllRanges()")
			b.wait(`(async () => {
				const { Markdown } = await import('/ui/js/markdown.js');
				const md = new Markdown();
				md.finish(` + quoted(c.first+c.rest) + `);
				window.same = md.element.innerText.replace(/\s+/g, ' ').trim() === document.querySelector('.md').textContent.replace(/\s+/g, ' ').trim();
			})() && window.same`)
		}
	})
}

// A formula is shown as it was written, on its own lines too; money is none.
func TestFormulasStayReadable(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		formulas := []string{`$a_1*b_2*c$`, `\(x_{1} \\ y\)`, `$$\sum_{i=1}^n x_i^2$$`, `\[ y = \frac{a}{b} \]`, "$$\na\n- b_1\n+ c_2\n$$", "\\[\n\\begin{aligned}\n# &= 1\n\\end{aligned}\n\\]"}
		steps, more := gated(strings.Join(formulas, "\n\n") + "\n\nIt costs $5 or *$6*.")
		s.model.Script(steps...)
		b.open(s.url("/"))
		b.send("Formulas")
		more()
		b.waitText("It costs $5 or $6.")
		more()
		b.settled(2)
		for range 2 {
			if got, want := b.text("[...document.querySelectorAll('.formula')].map(f => f.textContent).join('\\n\\n')"), strings.Join(formulas, "\n\n"); got != want {
				t.Errorf("these are shown:\n%s", got)
			}
			if got := b.text("document.querySelector('.md em').textContent"); got != "$6" {
				t.Errorf("%q is emphasised", got)
			}
			b.do(chromedp.Reload())
			b.settled(2)
		}
	})
}

// A link says where it goes, also where its words name another place, and opens apart from the page.
func TestLinksShowWhereTheyGo(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Script(llmtest.Say("[The manual](https://docs.test/a?b=c \"A title\"), [https://bank.test](https://evil.test/bank.test), https://plain.test/x, " +
			"www.plain.test/y, [write](mailto:a@b.test?subject=x), ![pic](http://pics.test/p.png)")...)
		b.open(s.url("/"))
		b.send("Links")
		b.settled(2)
		got := b.text("[...document.querySelectorAll('.md a')].map(a => [a.textContent, a.rel, a.target, a.title.replace('\\n', ' '), getComputedStyle(a, '::after').content].join(' ')).join('\\n')")
		want := `The manual noopener noreferrer _blank A title https://docs.test/a?b=c " (docs.test)"
https://bank.test noopener noreferrer _blank https://evil.test/bank.test " (evil.test)"
https://plain.test/x noopener noreferrer _blank https://plain.test/x none
www.plain.test/y noopener noreferrer _blank http://www.plain.test/y none
write noopener noreferrer _blank mailto:a@b.test?subject=x " (a@b.test)"
Image: pic noopener noreferrer _blank http://pics.test/p.png " (pics.test)"`
		if got != want {
			t.Errorf("the links are\n%s", got)
		}
	})
}

// thread makes a conversation of n messages.
func (s *server) thread(title string, n int) string {
	s.t.Helper()
	id := s.conversation(title)
	for i := range n {
		if _, err := s.record.AddMessage(s.t.Context(), id, []string{"user", "assistant"}[i%2], fmt.Sprintf("Message %d, of some *length*, about the disks in the rack.", i)); err != nil {
			s.t.Fatal(err)
		}
	}
	return id
}

// A long thread opens on its newest 60; older ones come above as they are scrolled to, and the text in view stays.
func TestOlderMessagesComeAbove(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/c/conv_" + s.thread("Long", 150)))
		b.waitText("Message 149,")
		articles := "document.querySelectorAll('[role=log] article').length"
		if got := b.text(articles); got != "60" {
			t.Errorf("%s messages are there at first", got)
		}
		if got := b.text("Math.abs(document.querySelector('#thread').getBoundingClientRect().bottom + 24 - document.querySelector('#scroller').getBoundingClientRect().bottom) < 2"); got != "true" {
			t.Error("the view does not begin at the end")
		}
		for range 40 {
			b.wheel(-400)
			if b.text(articles) != "60" {
				break
			}
		}
		b.wait(articles + " > 60")
		// What is in view when the next ones come stays where it is.
		b.text(`(() => {
			const first = () => [...document.querySelectorAll('[role=log] article')].find((a) => a.getBoundingClientRect().bottom > 60);
			const count = () => document.querySelectorAll('[role=log] article').length;
			window.jumps = [];
			const append = Element.prototype.prepend;
			Element.prototype.prepend = function (...nodes) {
				const el = first(), { top } = el.getBoundingClientRect();
				append.apply(this, nodes);
				queueMicrotask(() => window.jumps.push(Math.abs(el.getBoundingClientRect().top - top)));
			};
		})()`)
		b.wait(articles + " === 120")
		for b.text(articles) != "150" {
			b.wheel(-400)
		}
		b.wait("window.jumps.length > 0")
		if got := b.text("window.jumps.every((jump) => jump <= 1)"); got != "true" {
			t.Errorf("the text jumped by %s px", b.text("window.jumps"))
		}
		if got := b.text("[...document.querySelectorAll('[role=log] article')].map(a => /Message (\\d+)/.exec(a.innerText)[1]).join() === Array.from({ length: 150 }, (_, i) => i).join()"); got != "true" {
			t.Error("the messages are not in their order")
		}
	})
}

// A wait has phases: the server loads the model, the model reads, and then it writes at a pace. Who comes meanwhile sees them, too.
func TestAWaitHasPhases(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		load, read, more, write := llmtest.NewGate(), llmtest.NewGate(), llmtest.NewGate(), llmtest.NewGate()
		s.model.Load(load)
		steps := []llmtest.Step{{Gate: read, Read: [3]int{5200, 200, 1900}}, {Gate: more, Read: [3]int{5200, 200, 5200}}, {Gate: write, Text: "So"}}
		words := make([]*llmtest.Gate, 40)
		for i := range words {
			words[i] = llmtest.NewGate()
			steps = append(steps, llmtest.Step{Gate: words[i], Text: " many words"})
		}
		s.model.Script(steps...)
		b.open(s.url("/"))
		b.send("Tell me")
		b.wait("/^Loading model [1-9]\\d* s$/.test(document.querySelector('.wait')?.innerText)")
		b.checkAccess("a model that is loaded")
		b.do(chromedp.Reload())
		b.wait("/^Loading model [1-9]\\d* s$/.test(document.querySelector('.wait')?.innerText)")
		load.Open()
		b.wait("document.querySelector('.wait').innerText.startsWith('Waiting for the model…')")
		read.Open()
		b.wait("document.querySelector('.wait').innerText === 'Reading 34 %'")
		b.do(chromedp.Reload())
		b.wait("document.querySelector('.wait')?.innerText === 'Reading 34 %'")
		more.Open()
		b.wait("document.querySelector('.wait').innerText === 'Reading 100 %'")
		write.Open()
		b.wait("document.querySelector('.wait').hidden")
		for i := 0; b.text("document.querySelector('.pace').hidden") == "true"; i = min(i+1, len(words)-1) {
			b.still("1")
			words[i].Open()
		}
		b.wait("/^about [\\d.]+ tokens\\/s$/.test(document.querySelector('.pace').innerText)")
		for _, gate := range words {
			gate.Open()
		}
		b.settled(2)
		b.wait("document.querySelector('.wait').hidden && document.querySelector('.pace').hidden")
	})
}

// Whoever stays at the very top, as with the scroll bar in hand, gets what is older again and again.
func TestOlderMessagesComeWhileTheTopIsHeld(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/c/conv_" + s.thread("Long", 330)))
		b.waitText("Message 329,")
		// Each frame it is put at the top; what stands there then may be moved by what comes, but by nothing else.
		b.text(`(() => {
			const scroller = document.querySelector('#scroller'), thread = document.querySelector('#thread');
			window.jumps = [];
			const prepend = Element.prototype.prepend;
			Element.prototype.prepend = function (...nodes) {
				const first = this === thread && thread.firstElementChild, top = first && first.getBoundingClientRect().top;
				prepend.apply(this, nodes);
				if (first) queueMicrotask(() => window.jumps.push(Math.abs(first.getBoundingClientRect().top - top)));
			};
			const hold = () => (scroller.scrollTop = 0, requestAnimationFrame(hold));
			hold();
		})()`)
		b.wait("document.querySelectorAll('[role=log] article').length === 330")
		if got := b.text("window.jumps.length > 3 && window.jumps.every((jump) => jump <= 1)"); got != "true" {
			t.Errorf("the text jumped by %s px", b.text("window.jumps"))
		}
		if got := b.text("[...document.querySelectorAll('[role=log] article')].every((a, i) => a.innerText.includes(`Message ${i},`))"); got != "true" {
			t.Error("the messages are not in their order")
		}
	})
}

// While a reply is waited for the page counts the seconds, then says how fast it comes; a gauge says how full the model's
// context is, where that is known; and the status line says that a reply began, and its text once.
func TestWhatIsKnownOfAReplyIsShown(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.SetInfos(llm.Info{ID: "test-model", ContextLength: 8000})
		think, write, end := llmtest.NewGate(), llmtest.NewGate(), llmtest.NewGate()
		steps := []llmtest.Step{{Gate: think, Reasoning: "Hm."}, {Gate: write, Text: "So"}}
		words := make([]*llmtest.Gate, 40)
		for i := range words {
			words[i] = llmtest.NewGate()
			steps = append(steps, llmtest.Step{Gate: words[i], Text: " many words"})
		}
		s.model.Script(append(steps, llmtest.Step{Gate: end, Usage: &llm.Usage{InputTokens: 3600, OutputTokens: 400}, Finish: llm.FinishStop})...)
		b.open(s.url("/"))
		b.send("Tell me")
		b.wait("/^Waiting for the model… \\d+ s$/.test(document.querySelector('.wait')?.innerText)")
		b.wait("document.querySelector('#status').textContent === 'The advisor is writing.'")
		think.Open()
		b.wait("/^Thinking… \\d+ s$/.test(document.querySelector('.wait').innerText)")
		write.Open()
		b.wait("document.querySelector('.wait').hidden")
		for i := 0; b.text("document.querySelector('.pace').hidden") == "true"; i = min(i+1, len(words)-1) {
			b.still("1")
			words[i].Open()
		}
		b.wait("/^about [\\d.]+ tokens\\/s$/.test(document.querySelector('.pace').innerText)")
		b.text("(window.said = [], new MutationObserver(() => window.said.push(document.querySelector('#status').textContent)).observe(document.querySelector('#status'), { childList: true }))")
		for _, gate := range words {
			gate.Open()
		}
		end.Open()
		b.settled(2)
		b.wait("document.querySelector('.pace').hidden && document.querySelector('.facts').innerText.includes('400 tokens')")
		if got, want := b.text("window.said.join('|')"), "Reply finished: So"+strings.Repeat(" many words", 40); got != want {
			t.Errorf("announced was %q", got)
		}
		gauge := "document.querySelector('#gauge').ariaLabel === '50 % of context' && document.querySelector('#gauge').innerText === (innerWidth < 700 ? '50 %' : '50 % of context')"
		b.wait(gauge)
		b.do(chromedp.Reload())
		b.wait(gauge)
		b.wait("[...document.querySelectorAll('.under > *')].every(e => e.getBoundingClientRect().right <= document.querySelector('.field').getBoundingClientRect().right + 1)")
		if got := b.text("document.documentElement.scrollWidth <= innerWidth"); got != "true" {
			t.Error("the page scrolls sideways")
		}
		b.open(s.url("/"))
		b.wait("document.querySelector('#model')?.options.length && document.querySelector('#gauge').hidden")
	})
}

// A thread is downloaded as Markdown, older messages too, without the server's help.
func TestAThreadIsDownloaded(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/c/conv_" + s.thread("Disks: a / b", 130)))
		b.waitText("Message 129,")
		b.text("(URL.createObjectURL = (blob) => { blob.text().then((text) => window.file = text); return 'about:blank#'; }, HTMLAnchorElement.prototype.click = function () { window.fileName = this.download; })")
		b.click(button("Download as Markdown"))
		b.wait("window.file && window.fileName")
		if got := b.text("window.fileName"); got != "Disks a b.md" {
			t.Errorf("the file is called %q", got)
		}
		got := b.text("window.file")
		if !strings.HasPrefix(got, "# Disks: a / b\n\n20") || !strings.Contains(got, " UTC\n\n## Question\n\nMessage 0, of some *length*, about the disks in the rack.\n\n## Answer\n\nMessage 1, ") ||
			!strings.HasSuffix(got, "Message 129, of some *length*, about the disks in the rack.\n") || strings.Count(got, "\n## ") != 130 {
			t.Errorf("the file is\n%s", got)
		}
	})
}

// Two replies of one conversation are written at once, each on its branch; the page follows the one that it shows.
func TestAReplyOnAnotherBranchIsFollowed(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Script(llmtest.Say("Yes.")...)
		b.open(s.url("/"))
		b.send("Is it on?")
		b.settled(2)
		before := b.text("document.querySelectorAll('article')[1].dataset.response")
		var gates []*llmtest.Gate
		for _, name := range []string{"first", "second"} {
			gate := llmtest.NewGate()
			gates = append(gates, gate)
			s.model.Script(llmtest.Step{Text: "The " + name}, llmtest.Step{Gate: gate, Text: " is whole."})
			b.text(fmt.Sprintf(`fetch('/v1/responses', { method: 'POST', headers: { 'Content-Type': 'application/json' },
				body: JSON.stringify({ model: 'test-model', background: true, input: 'Ask %s', previous_response_id: %q }) }).then((r) => r.json()).then((r) => window.%s = r.id)`, name, before, name))
			b.wait("window." + name)
		}
		b.do(chromedp.Reload())
		b.wait("document.querySelector('.writing') && document.querySelectorAll('article')[3].innerText.includes('The second')")
		b.click(in(2, "Previous version"))
		b.says(2, "Ask first")
		b.wait("document.querySelector('.writing') && document.querySelectorAll('article')[3].innerText.includes('The first')")
		gates[0].Open()
		b.says(3, "The first is whole.")
		b.settled(4)
		b.click(in(2, "Next version"))
		b.wait("document.querySelector('.writing') && document.querySelectorAll('article')[3].innerText.includes('The second')")
		gates[1].Open()
		b.says(3, "The second is whole.")
		b.settled(4)
	})
}

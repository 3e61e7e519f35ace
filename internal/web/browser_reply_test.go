package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// in is the expression for a button in the nth article.
func in(article int, name string) string {
	return fmt.Sprintf("[...document.querySelectorAll('[role=log] article')[%d]?.querySelectorAll('button') ?? []].find(b => (b.getAttribute('aria-label') || b.textContent).trim() === %q)", article, name)
}

// says waits until the nth article says what.
func (b *tab) says(article int, what string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("document.querySelectorAll('[role=log] article')[%d]?.querySelector('.body, .plain').innerText.trim() === %q", article, what))
}

func TestAReplyIsWrittenAnewAndAQuestionEdited(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		for _, text := range []string{"First try.", "Second try.", "About disks.", "And fans."} {
			s.model.Script(llmtest.Say(text)...)
		}
		b.open(s.url("/"))
		b.send("Tell me")
		b.settled(2)
		b.says(1, "First try.")
		if got := b.copied(in(0, "Copy question")); got != "Tell me" {
			t.Errorf("%q was copied", got)
		}
		b.click(in(1, "Regenerate"))
		b.says(1, "Second try.")
		b.settled(2)
		b.wait("document.querySelector('article.assistant .versions').innerText.replace(/\\s/g, '') === '‹2/2›'")
		b.click(in(1, "Previous version"))
		b.says(1, "First try.")
		b.wait("document.querySelector('article.assistant .versions').innerText.replace(/\\s/g, '') === '‹1/2›'")

		b.click(in(0, "Edit"))
		b.do(chromedp.SendKeys(chromedp.CSS("[aria-label='Edit message']"), " about disks"))
		b.click(button("Send again"))
		b.says(1, "About disks.")
		b.settled(2)
		b.says(0, "Tell me about disks")
		b.wait("document.querySelector('article.user .versions')?.innerText.includes('2/2')")
		b.click(in(0, "Previous version"))
		b.says(0, "Tell me")

		// What is sent now goes on from the branch that is shown.
		shown := b.text("document.querySelectorAll('article')[1].querySelector('.body').innerText.trim()")
		b.send("And fans?")
		b.settled(4)
		b.says(3, "And fans.")
		requests := s.model.Requests()
		last := requests[len(requests)-1].Messages
		var texts []string
		for _, m := range last {
			if m.Role != llm.RoleSystem {
				texts = append(texts, m.Text)
			}
		}
		if got, want := strings.Join(texts, "|"), "Tell me|"+shown+"|And fans?"; got != want {
			t.Errorf("the model was told %q, not %q", got, want)
		}
		b.do(chromedp.Reload())
		b.settled(4)
		b.says(3, "And fans.")
	})
}

// A poll that comes while a conversation is being loaded once put its question on the page a second time, as the last one,
// and what was sent next went to the wrong branch.
func TestAPollWhileAConversationOpens(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		for _, text := range []string{"First try.", "Second try."} {
			s.model.Script(llmtest.Say(text)...)
		}
		b.open(s.url("/"))
		b.send("Tell me")
		b.settled(2)
		b.click(in(1, "Regenerate"))
		b.says(1, "Second try.")
		b.settled(2)
		b.wait("document.querySelector('article.assistant .versions').innerText.replace(/\\s/g, '') === '‹2/2›'")

		// The first answer with items is held until two polls have begun, so that the first of them has ended.
		b.text(`(() => {
			const real = window.fetch;
			let polls = 0, held = false, free;
			const two = new Promise((resolve) => { free = resolve; });
			window.loaded = false;
			window.fetch = async (path, options) => {
				const answer = await real(path, options);
				if (String(path).startsWith("/v1/conversations?") && held && ++polls === 2) free();
				if (String(path).includes("/items") && !held) {
					held = true;
					await two;
					setTimeout(() => { window.loaded = true; });
				}
				return answer;
			};
		})()`)
		b.click(in(1, "Previous version"))
		b.wait("window.dispatchEvent(new Event('focus')) && window.loaded")
		b.says(1, "First try.")
		if n := b.text("document.querySelectorAll('[role=log] article').length"); n != "2" {
			t.Errorf("%s messages on the page:\n%s", n, b.articles())
		}
	})
}

func TestOtherTabsFollowToANewVersion(t *testing.T) {
	s := newServer(t, testrecord.SQLite(t), "", "")
	open := browser(t)
	b, other := open(), open()
	other.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	s.model.Script(llmtest.Say("First try.")...)
	s.model.Script(llmtest.Say("Second try.")...)
	b.open(s.url("/"))
	b.send("Tell me")
	b.settled(2)
	other.open(s.url(b.text("location.pathname")))
	other.says(1, "First try.")
	b.click(in(1, "Regenerate"))
	b.says(1, "Second try.")
	other.says(1, "Second try.")
	other.settled(2)
	b.settled(2)
}

func TestReasoningIsFoldedAndTokensAreCounted(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Script(llmtest.Step{Reasoning: "The pool "}, llmtest.Step{Reasoning: "is called tank."}, llmtest.Step{Text: "Scrub it."},
			llmtest.Step{Usage: &llm.Usage{InputTokens: 11, OutputTokens: 7}, Finish: llm.FinishStop})
		b.open(s.url("/"))
		b.send("What now?")
		for range 2 {
			b.settled(2)
			b.says(1, "Scrub it.")
			b.wait("document.querySelector('article.assistant .facts').innerText.includes('7 tokens')")
			if b.text("document.querySelector('.reasoning').open") != "false" {
				t.Error("the reasoning is not folded")
			}
			b.text("document.querySelector('.reasoning').open = true")
			b.waitText("The pool is called tank.")
			b.do(chromedp.Reload())
		}
	})
}

func TestAnInterruptedReplyGoesOn(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Script(llmtest.Step{Text: "Half of"}, llmtest.Step{Break: true})
		s.model.Script(llmtest.Say("the whole.")...)
		b.open(s.url("/"))
		b.send("Tell me")
		b.settled(2)
		b.wait("document.querySelector('.end')?.innerText.includes('What had arrived is kept.')")
		b.do(chromedp.Reload())
		b.click(in(1, "Ask to go on"))
		b.says(3, "the whole.")
		b.settled(4)
	})
}

// A reply that ends before its first word says why, too, and goes on saying it: when the page looks again, after a reload, in another browser,
// and when more was asked since. What is written anew takes its place.
func TestAReplyWithoutAWordSaysWhy(t *testing.T) {
	open := browser(t)
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		other := open()
		b.send("Hello")
		b.settled(2)
		other.open(s.url(b.text("location.pathname")))
		other.settled(2)
		s.model.Script(llmtest.Step{Err: &llm.Error{Status: http.StatusInternalServerError, Message: "it needs 12 GiB of memory"}})
		b.send("And you?")
		why := func(of *tab, article int, what string) {
			t.Helper()
			of.wait(fmt.Sprintf("(e => e?.offsetParent && e.innerText.includes(%q))(document.querySelectorAll('[role=log] article')[%d]?.querySelector('.end'))", what, article))
		}
		// polled waits until a page has looked at the server twice, so that what the first look found is shown.
		polled := func(of *tab) {
			t.Helper()
			looks := "performance.getEntriesByType('resource').filter(e => e.name.includes('/v1/conversations?')).length"
			of.text("window.looks = " + looks)
			of.wait("(window.dispatchEvent(new Event('focus')), " + looks + " > window.looks + 6)")
		}
		for _, of := range []*tab{b, other} {
			of.settled(4)
			why(of, 3, "12 GiB")
			polled(of)
			why(of, 3, "12 GiB")
			of.do(chromedp.Reload())
			of.settled(4)
			why(of, 3, "12 GiB")
			polled(of)
			why(of, 3, "12 GiB")
		}
		b.checkAccess("a reply that failed")

		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Gate: gate, Text: "never"})
		b.send("Stop at once")
		<-gate.Reached()
		b.click(button("Stop"))
		for _, of := range []*tab{b, other} {
			of.settled(6)
			why(of, 5, "The reply was stopped.")
			why(of, 3, "12 GiB")
			of.do(chromedp.Reload())
			of.settled(6)
			why(of, 5, "The reply was stopped.")
			why(of, 3, "12 GiB")
		}

		s.model.Script(llmtest.Say("Fine.")...)
		b.click(in(5, "Regenerate"))
		for _, of := range []*tab{b, other} {
			of.says(5, "Fine.")
			of.settled(6)
			polled(of)
			of.settled(6)
			of.do(chromedp.Reload())
			of.says(5, "Fine.")
			of.settled(6)
			why(of, 3, "12 GiB")
		}
	})
}

// Where the model's server can, an interrupted reply goes on in a version of its own, which begins with what there was. The view stays
// where it is, and the old version is there to go back to.
func TestAnInterruptedReplyIsContinued(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.SetInfos(llm.Info{ID: "test-model", Continues: true}, llm.Info{ID: "other"})
		half := strings.TrimSpace(strings.Repeat("Half of it stands here, line by line.\n\n", 40))
		load, write, end := llmtest.NewGate(), llmtest.NewGate(), llmtest.NewGate()
		s.model.Script(llmtest.Step{Reasoning: "Hm."}, llmtest.Step{Text: half + " And"}, llmtest.Step{Break: true})
		s.model.Script(llmtest.Step{Gate: write, Text: " here is"}, llmtest.Step{Gate: end, Text: " the rest."})
		b.open(s.url("/"))
		b.send("Tell me")
		b.settled(2)
		b.wait("document.querySelector('.end')?.innerText.includes('What had arrived is kept.')")
		seen := func(name string) string { return "Boolean(" + in(1, name) + "?.checkVisibility())" }
		choose := func(model string) {
			b.text(fmt.Sprintf("(s => { s.value = %q; s.dispatchEvent(new Event('change')) })(document.querySelector('#model'))", model))
		}
		b.wait(seen("Continue") + " && !" + seen("Ask to go on"))
		b.do(chromedp.Reload())
		b.settled(2)
		b.wait(seen("Continue"))
		choose("other")
		b.wait("!" + seen("Continue") + " && " + seen("Ask to go on"))
		choose("test-model")
		b.wait(seen("Continue"))
		b.checkAccess("a reply that can be continued")
		s.model.Load(load)
		b.text("document.querySelector('#scroller').scrollTop = 1e6")
		top := b.text("document.querySelector('#scroller').scrollTop")
		b.click(in(1, "Continue"))
		b.wait("document.querySelector('.wait')?.innerText.startsWith('Loading model') && !document.querySelector('.wait').hidden")
		b.wait(lastArticle + ".innerText.includes('line by line. And') && document.querySelectorAll('[role=log] article').length === 2")
		if got := b.text("Math.abs(document.querySelector('#scroller').scrollTop - " + top + ") < 80"); got != "true" {
			t.Errorf("the view moved from %s to %s", top, b.text("document.querySelector('#scroller').scrollTop"))
		}
		load.Open()
		write.Open()
		b.wait(lastArticle + ".innerText.includes('line by line. And here is')")
		b.do(chromedp.Reload()) // in the middle of it
		b.wait(lastArticle + "?.innerText.includes('line by line. And here is')")
		end.Open()
		b.settled(2)
		b.wait(lastArticle + ".innerText.includes('line by line. And here is the rest.')")
		b.wait("!" + seen("Continue") + " && !" + seen("Ask to go on") + " && " + seen("Regenerate"))
		b.wait(lastArticle + ".querySelector('.versions').innerText.includes('2/2') && !" + lastArticle + ".querySelector('.reasoning').hidden")
		b.click(in(1, "Previous version"))
		b.wait(lastArticle + ".innerText.trim() !== '' && !" + lastArticle + ".innerText.includes('here is')")
		if asked := s.model.Requests(); len(asked) != 2 || !asked[1].Continue || asked[1].Messages[len(asked[1].Messages)-1].Text != half+" And" {
			t.Errorf("the model was asked %+v", asked)
		}
	})
}

// A reply is written on while its person reads elsewhere, and is all there for who comes back, during it and after it.
func TestAReplyGoesOnWhileAnotherConversationIsRead(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.said("The NAS", "Is it RAIDZ?", "Yes.")
		gates := []*llmtest.Gate{llmtest.NewGate(), llmtest.NewGate()}
		s.model.Script(llmtest.Step{Text: "One, "}, llmtest.Step{Gate: gates[0], Text: "two, "}, llmtest.Step{Gate: gates[1], Text: "three."})
		b.open(s.url("/"))
		b.send("Count")
		b.waitText("One,")
		for i, want := range []string{"One, two,", "One, two, three."} {
			b.sidebar()
			b.click(row("The NAS"))
			b.says(1, "Yes.")
			b.sidebar()
			b.wait("[...document.querySelectorAll('nav a')].some(a => a.innerText.includes('Count') && a.innerText.includes('writing'))")
			gates[i].Open()
			if i == 1 { // its end shows in the list
				b.wait(row("Count"))
			}
			b.click("[...document.querySelectorAll('nav a')].find(a => a.innerText.includes('Count'))")
			b.says(1, want)
		}
		b.settled(2)
	})
}

// What a homelab's files are written in has colours.
func TestTheLabsLanguagesAreHighlighted(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		code := [][2]string{{"nginx", "server { listen 80; }"}, {"dockerfile", "FROM debian:12\nRUN apt-get update"}, {"pgsql", "SELECT 1 FROM pg_stat_activity;"},
			{"apache", "<VirtualHost *:80>\nServerName a.test\n</VirtualHost>"}, {"yaml", "services:\n  web: 1"}, {"ini", "[unit]\nkey = 1"}, {"bash", "if true; then echo x; fi"},
			{"systemd", "[Service]\nRestart=always"}, {"json", `{"a": 1}`}, {"python", "def f(): return 1"}}
		text := ""
		for _, c := range code {
			text += "```" + c[0] + "\n" + c[1] + "\n```\n\n"
		}
		s.model.Script(llmtest.Say(pieces(text, 50)...)...)
		b.open(s.url("/"))
		b.send("Files")
		b.settled(2)
		b.wait("[...document.querySelectorAll('.code')].every(c => c.querySelector('[class^=hljs-]'))")
		for i, c := range code {
			if got := b.text(fmt.Sprintf("document.querySelectorAll('.code code')[%d].textContent", i)); got != c[1] {
				t.Errorf("%s is shown as %s", c[0], got)
			}
		}
	})
}

// What can be done with a message, and when it was said, shows where the mouse is, where the focus is, and below the last reply.
func TestTimesShowWhereTheMouseIs(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		for i := range 2 {
			b.send("Question")
			b.settled(2*i + 2)
		}
		b.wait("document.querySelectorAll('article [data-do=edit]').length === 2")
		b.wait("[...document.querySelectorAll('.meta time')].every(time => time.title.includes(String(new Date().getFullYear())))")
		shown := func(want string) {
			t.Helper()
			b.wait("[...document.querySelectorAll('article > footer.meta')].map(m => getComputedStyle(m).opacity).join() === '" + want + "'")
		}
		move := func(x, y string) {
			t.Helper()
			var at [2]float64
			fmt.Sscan(b.text(x)+" "+b.text(y), &at[0], &at[1])
			if _, err := chromedp.Call(b.ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: at[0], Y: at[1]}); err != nil {
				t.Fatal(err)
			}
		}
		b.text("document.querySelector('#scroller').scrollTop = 0")
		b.still(scrollTop)
		move("innerWidth / 2", "innerHeight - 5")
		shown("0,0,0,1")
		for i, want := range []string{"1,0,0,1", "0,1,0,1", "0,0,1,1"} {
			place := fmt.Sprintf("document.querySelectorAll('article')[%d].getBoundingClientRect()", i)
			move(place+".left + 40", place+".top + 10")
			shown(want)
		}
		move("innerWidth / 2", "innerHeight - 5")
		b.text("document.querySelector('article [data-do=edit]').focus()")
		shown("1,0,0,1")
	})
}

func TestLongCodeIsFolded(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		code := strings.TrimSpace(strings.Repeat("echo line\n", 60))
		s.model.Script(llmtest.Say("```bash\n" + code + "\n```\n")...)
		b.open(s.url("/"))
		b.send("A script")
		b.settled(2)
		b.do(chromedp.Reload())
		b.wait("document.querySelector('.folded pre')?.clientHeight < 500")
		b.click(button("Show all 60 lines"))
		b.wait("document.querySelector('.code pre').clientHeight > 1000")
		if got := b.text("document.querySelector('.code code').textContent"); got != code {
			t.Errorf("the code is\n%s", got)
		}
	})
}

func TestALinkToAMessageOpensThere(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		id := s.conversation("Long")
		var first string
		for i := range 150 {
			role := []string{"user", "assistant"}[i%2]
			message, err := s.record.AddMessage(t.Context(), id, role, fmt.Sprintf("Message %d", i))
			if err != nil {
				t.Fatal(err)
			}
			if i == 3 {
				first = message
			}
		}
		b.open(s.url("/c/conv_" + id + "#msg_" + first))
		b.wait("document.activeElement.innerText?.includes('Message 3') && Math.abs(document.activeElement.getBoundingClientRect().top - document.querySelector('#scroller').getBoundingClientRect().top) < 60")
	})
}

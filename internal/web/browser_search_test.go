package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// said makes a conversation of questions and answers in turns and returns its id and those of its messages.
func (s *server) said(title string, texts ...string) (string, []string) {
	s.t.Helper()
	id := s.conversation(title)
	var messages []store.NewMessage
	for i, text := range texts {
		messages = append(messages, store.NewMessage{Role: []string{"user", "assistant"}[i%2], Content: text})
	}
	ids, _, err := s.record.AppendMessages(s.t.Context(), store.Append{ConversationID: id, Messages: messages})
	if err != nil {
		s.t.Fatal(err)
	}
	return id, ids
}

// search opens the search, by the key or on a phone by the button, and types.
func (b *tab) search(query string) {
	b.t.Helper()
	b.wait("document.querySelector('#model')?.options.length")
	if b.text("innerWidth < 700") == "true" {
		b.click("document.querySelector('header button[aria-label=Search]')")
	} else {
		b.key("k", "KeyK", 75, 2)
	}
	b.wait("document.activeElement.getAttribute('aria-label') === 'Search conversations' && document.activeElement.type === 'search'")
	b.do(chromedp.KeyEvent(query))
}

// found is the expression for what is found: the title, who said it, and the text, marks in brackets.
const found = `[...document.querySelectorAll('[role=option]')].map(o => {
	const text = (e) => [...e.childNodes].map(n => n.nodeName === 'MARK' ? '[' + n.textContent + ']' : n.nodeName === '#text' ? n.data : '<' + n.nodeName + '>').join('');
	const title = o.querySelector('.hit-title'), hit = o.querySelector('.hit-text');
	return [title ? text(title) : o.closest('[role=group]').ariaLabel, o.querySelector('.hit-meta').innerText.split(' · ')[0], ...(hit ? [text(hit)] : [])].join(' | ');
}).join('\n')`

// finds waits until just that is found, and said.
func (b *tab) finds(hits ...string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("%s === %q && document.querySelector('#search-status').innerText.startsWith('%d hit')", found, strings.Join(hits, "\n"), len(hits)))
}

// active is the text of the hit that Enter opens.
const active = "document.getElementById(document.querySelector('#search-box').getAttribute('aria-activedescendant'))?.innerText"

func TestSearchFindsWordsFragmentsTitlesAndGoesThere(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		long := []string{"Where is the switch?", "The management address of the switch is 10.5.0.109, port 22."}
		for i := range 70 {
			long = append(long, fmt.Sprintf("Question %d\n\nabout the rack", i), fmt.Sprintf("Answer %d\n\nabout the rack", i))
		}
		network, ids := s.said("Network", long...)
		s.said("Disks", "Is /dev/sda1 failing?", "Its Café neighbour <b>sdb</b> is; 交換器 also.")
		here, _ := s.said("Backups of the NAS", "What runs at night?", "restic does.")
		b.open(s.url("/c/conv_" + here))
		b.waitText("restic does.")
		b.search("5.0.10")
		b.finds("Network | Advisor | The management address of the switch is 10.[5.0.10]9, port 22.")
		for query, want := range map[string]string{
			"da1 fail":   "Disks | You | Is /dev/s[da1] [fail]ing?",
			"cafe <B>SD": "Disks | Advisor | Its [Café] neighbour [<b>sd]b</b> is; 交換器 also.",
			"換器":         "Disks | Advisor | Its Café neighbour <b>sdb</b> is; 交[換器] also.",
			"nas backup": "[Backup]s of the [NAS] | Title",
		} {
			b.text("document.querySelector('#search-box').select()")
			b.do(chromedp.KeyEvent(query))
			b.finds(want)
		}
		b.text("document.querySelector('#search-box').select()")
		b.do(chromedp.KeyEvent("10.5.0.109"))
		b.finds("Network | Advisor | The management address of the switch is [10.5.0.109], port 22.")
		b.do(chromedp.KeyEvent("\r"))
		b.wait("location.pathname + location.hash === '/c/conv_" + network + "#msg_" + ids[1] + "' && !document.querySelector('#search').open")
		b.wait("document.activeElement.dataset.id === 'msg_" + ids[1] + "'")
		if got := b.text("document.activeElement.innerText"); !strings.Contains(got, "10.5.0.109") {
			t.Errorf("it went to %s", got)
		}
		b.wait("(r => r.top >= 0 && r.bottom <= innerHeight)(document.activeElement.getBoundingClientRect())")
		b.text("history.back()")
		b.wait("location.pathname === '/c/conv_" + here + "'")
		b.waitText("restic does.")
	})
}

func TestAHitOnAnotherBranchIsShownOnIts(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		s.model.Script(llmtest.Say("Use the heliotrope cable.")...)
		b.send("Which cable?")
		b.settled(2)
		s.model.Script(llmtest.Say("Use the ochre cable.")...)
		b.click(button("Regenerate"))
		b.waitText("Use the ochre cable.")
		b.settled(2)
		b.click("document.querySelector('#new, #new-top')")
		b.wait("location.pathname === '/'")
		b.search("heliotrope")
		b.finds("Which cable? | Advisor | Use the [heliotrope] cable.")
		b.click("document.querySelector('[role=option]')")
		b.waitText("Use the heliotrope cable.")
		b.wait("document.activeElement.innerText.includes('heliotrope')")
		if b.text("document.querySelector('[role=log]').innerText.includes('ochre')") == "true" {
			t.Error("the other branch is shown, too")
		}
	})
}

// Hits of one conversation stand together below its title, the first of them where it belongs; a call of a tool and its result
// are found too, and shown open where they stand.
func TestHitsStandTogetherAndToolsAreFound(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		for i := range 40 {
			s.said(fmt.Sprintf("Other %d", i), "about nothing")
		}
		b.open(s.url("/"))
		// Another client gives the model a tool.
		s.model.Script(append(append([]llmtest.Step{{Text: "I will look."}}, llmtest.Call(0, "call_1", "smart_status", `{"disk":"/dev/`, `sdq7"}`)...), llmtest.Step{Finish: llm.FinishToolCalls})...)
		s.model.Script(llmtest.Say("The disk sdq7 is failing.")...)
		b.text(`(async () => {
			const post = async (path, body) => (await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })).json();
			const conversation = (await post('/v1/conversations', { })).id;
			const tools = [{ type: 'function', name: 'smart_status', parameters: { type: 'object' } }];
			await post('/v1/responses', { model: 'test-model', conversation, tools, input: 'Which disk fails?' });
			await post('/v1/responses', { model: 'test-model', conversation, tools, input: [{ type: 'function_call_output', call_id: 'call_1', output: 'sdq7: Reallocated 1184' }] });
			window.made = conversation;
		})()`)
		b.wait("window.made")
		s.said("Spares", "Is sdq7 the spare?")
		b.search("sdq7")
		b.finds("Spares | You | Is [sdq7] the spare?", "Which disk fails? | Advisor | The disk [sdq7] is failing.", "Which disk fails? | Result | [sdq7]: Reallocated 1184",
			"Which disk fails? | Call | {\"disk\":\"/dev/[sdq7]\"}")
		if got := b.text("[...document.querySelectorAll('#search-hits div.hit-title')].map(e => e.innerText).join(' | ')"); got != "Spares | Which disk fails?" {
			t.Errorf("the titles are %s", got)
		}
		for i, want := range []string{"sdq7: Reallocated 1184", `{"disk":"/dev/sdq7"}`} {
			b.click(fmt.Sprintf("document.querySelectorAll('[role=option]')[%d]", 2+i))
			b.wait("location.pathname === '/c/' + window.made && !document.querySelector('#search').open")
			b.wait(fmt.Sprintf("document.activeElement.matches('details[open]') && document.activeElement.querySelector('pre').innerText === %q", want))
			b.wait("(r => r.top >= 0 && r.bottom <= innerHeight)(document.activeElement.getBoundingClientRect())")
			b.search("")
		}
		b.key("Escape", "Escape", 27, 0)
		if got := b.text("[...document.querySelectorAll('[role=log] article')].map(a => a.ariaLabel + ': ' + (a.querySelector('.body, .plain') ?? a).innerText.replace(/\\s+/g, ' ').trim()).join(' | ')"); got !=
			`You: Which disk fails? | Advisor: I will look. Calls smart_status {"disk":"/dev/sdq7"} | Tool: Result | Advisor: The disk sdq7 is failing.` {
			t.Errorf("the thread is %s", got)
		}
		b.checkAccess("a call")
	})
}

func TestTheSearchIsUsedByKeysAlone(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		var texts []string
		for i := range 45 {
			texts = append(texts, fmt.Sprintf("note %d of the ledger", i))
		}
		id, ids := s.said("Ledger", texts...)
		b.open(s.url("/c/conv_" + id))
		b.waitText("note 44 of")
		b.do(chromedp.SendKeys(messageBox, "a draft"))
		places := b.text("history.length")
		b.search("ledger note")
		b.wait(found + ".startsWith('Ledger | You | [note] 44 of the [ledger]') && document.querySelector('#search-status').innerText === '20 hits, and there are more.'")
		if got := b.text(active); !strings.Contains(got, "note 44 of") {
			t.Errorf("the first hit is %s", got)
		}
		// Up at the first stays there, Down past the last loads more, Esc gives all back.
		b.key("ArrowUp", "ArrowUp", 38, 0)
		for range 20 {
			b.key("ArrowDown", "ArrowDown", 40, 0)
		}
		b.wait(active + ".includes('note 24 of')")
		b.wait("(o => (r => r.top >= 0 && r.bottom <= innerHeight)(o.getBoundingClientRect()))(document.querySelector('[aria-selected=true]'))")
		b.key("Escape", "Escape", 27, 0)
		b.wait("!document.querySelector('#search').open && document.activeElement.id === 'message'")
		if got := b.text("document.activeElement.value + location.pathname + history.length"); got != "a draft/c/conv_"+id+places {
			t.Errorf("after Esc: %s", got)
		}
		// It opens where it was left, what was typed marked.
		b.search("")
		b.wait("document.querySelectorAll('[role=option]').length === 20")
		if got := b.text("getSelection().toString() + document.querySelector('#search-box').value"); !strings.HasSuffix(got, "ledger note") {
			t.Errorf("opened again: %s", got)
		}
		b.do(chromedp.KeyEvent(`"note 7 of`))
		b.finds("Ledger | Advisor | [note 7 of] the ledger")
		b.key("ArrowDown", "ArrowDown", 40, 0)
		b.do(chromedp.KeyEvent("\r"))
		b.wait("document.activeElement.dataset.id === 'msg_" + ids[7] + "'")
		b.text("document.querySelector('#message').focus()")
		b.key("k", "KeyK", 75, 4)
		b.wait("document.querySelector('#search').open")
		b.key("k", "KeyK", 75, 4)
		b.wait("!document.querySelector('#search').open && document.activeElement.id === 'message'")
	})
}

func TestMoreHitsComeByScrolling(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		var texts []string
		for i := range 45 {
			texts = append(texts, fmt.Sprintf("note %d of the ledger", i))
		}
		s.said("Journal", texts...)
		b.open(s.url("/"))
		b.search("ledger")
		b.wait(found + ".startsWith('Journal | You | note 44 of the [ledger]')")
		for _, n := range []int{20, 40, 45} {
			b.wait(fmt.Sprintf("document.querySelectorAll('[role=option]').length === %d", n))
			b.text("document.querySelector('#search-results').scrollTo(0, 1e6)")
		}
		b.wait(found + ".endsWith('Journal | You | note 0 of the [ledger]') && document.querySelector('#search-status').innerText === '45 hits.'")
	})
}

func TestFiltersAndWhatIsSaidWhereNothingIsFound(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.said("Fans", "Is the fan loud?", "The fan is loud.")
		old, _ := s.said("Old", "What about that fan?")
		yes := true
		if _, err := s.record.UpdateConversation(t.Context(), old, store.ConversationChange{Archived: &yes}); err != nil {
			t.Fatal(err)
		}
		b.open(s.url("/"))
		b.search("")
		b.wait("document.querySelector('#search-help').offsetParent")
		b.do(chromedp.KeyEvent("fan"))
		b.finds("Old | You | What about that [fan]?", "[Fan]s | Title", "Fans | Advisor | The [fan] is loud.", "Fans | You | Is the [fan] loud?")
		set := func(name, value string) {
			b.text(fmt.Sprintf("(f => { f.value = %q; f.dispatchEvent(new Event('change')) })(document.querySelector('select[aria-label=%q]'))", value, name))
		}
		set("Who said it", "user")
		b.finds("Old | You | What about that [fan]?", "Fans | You | Is the [fan] loud?")
		set("Which conversations", "true")
		b.finds("Old | You | What about that [fan]?")
		set("Who said it", "assistant")
		b.wait("document.querySelector('#search-note').innerText.startsWith('Nothing was found. The choices')")
		set("Who said it", "")
		set("Which conversations", "false")
		b.finds("[Fan]s | Title", "Fans | Advisor | The [fan] is loud.", "Fans | You | Is the [fan] loud?")
		if got := b.text(active); !strings.Contains(got, "is loud.") {
			t.Errorf("Enter opens %s, not the newest message", got)
		}
		set("Order", "best") // a whole word before the beginning of one
		b.wait("document.querySelectorAll('[role=option]').length === 3 && " + active + ".includes('loud')")
		b.do(chromedp.KeyEvent(" submarine"))
		b.wait("document.querySelector('[role=status]#search-status').textContent.startsWith('Nothing was found.') && document.querySelector('#search-note').offsetParent")
		if got := b.text("[document.querySelectorAll('[role=option]').length, document.querySelector('#search-box').hasAttribute('aria-activedescendant')]"); got != "0,false" {
			t.Errorf("without a hit there is %s", got)
		}
		b.click(button("Close the search"))
		b.wait("!document.querySelector('#search').open")
	})
}

func TestAnOlderAnswerNeverTakesTheNewersPlace(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.said("Rack", "alpha", "alpha beta")
		b.open(s.url("/"))
		// The answer for the first words is held back, and comes although it was given up.
		b.text(`(() => {
			const real = fetch;
			window.held = [];
			window.fetch = (url, options) => String(url).endsWith('q=alpha&order=newest') ? new Promise((resolve) => {
				window.held.push(async () => {
					const answer = await real(url, { ...options, signal: undefined });
					resolve(answer.clone());
					await answer.text();
				});
			}) : real(url, options);
		})()`)
		b.search("alpha")
		b.wait("held.length > 0")
		b.do(chromedp.KeyEvent(" beta"))
		b.finds("Rack | Advisor | [alpha] [beta]")
		b.text("Promise.all(held.map((release) => release())).then(() => window.after = true)")
		b.wait("window.after")
		b.finds("Rack | Advisor | [alpha] [beta]")
	})
}

func TestASearchWaitsForTheServer(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.said("Rack", "alpha")
		b.open(s.url("/"))
		b.search("")
		s.stop()
		b.do(chromedp.KeyEvent("alpha"))
		b.wait("document.querySelector('#search-note').innerText.includes('server cannot be reached') && document.querySelector('#search-status').textContent.includes('server cannot be reached')")
		s.start()
		b.finds("Rack | You | [alpha]")
		b.wait("!document.querySelector('#search-note').offsetParent")
	})
}

func TestTheSearchKeepsNobodyOut(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.said("The pool is degraded", "Why does `zpool status` say that my pool tank is degraded?", rich, "And which disk is sda1?",
			"The first partition of the first disk. `lsblk -o NAME,SERIAL /dev/sda1` names it.")
		s.said("Scrub schedule", "When does the scrub of the pool run?", "On the second Sunday of the month, from `/etc/cron.d/zfsutils-linux`; it takes the pool nine hours.")
		s.said("UPS", "Does a power cut harm the pool?", "No. What ZFS has acknowledged is on disk; the pool comes back as it was, and a scrub shows it.")
		b.open(s.url("/"))
		b.search("")
		b.checkAccess("the search without a word")
		b.do(chromedp.KeyEvent("pool"))
		b.wait("document.querySelectorAll('[role=option]').length === 7 && " + found + ".includes('harm the [pool]?')")
		b.key("ArrowDown", "ArrowDown", 40, 0)
		b.checkAccess("hits")
		b.picture(map[string]string{"true": "search-phone", "false": "search"}[b.text("innerWidth < 700")])
		b.do(chromedp.KeyEvent("side"))
		b.wait("document.querySelector('#search-note').offsetParent")
		b.checkAccess("no hit")
	})
}

func TestASearchThatIsBoundedGoesOn(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		// A large record: seven requests look at it, and only the last finds anything.
		b.text(`(() => {
			const real = fetch;
			window.asked = [];
			window.fetch = async (url, options) => {
				const query = new URL(url, location.href).searchParams;
				if (!String(url).startsWith('/v1/conversations/search') || query.get('q') !== 'lamp') return real(url, options);
				asked.push(query.get('cursor') ?? '');
				const best = query.get('order') === 'best', n = asked.length, hit = { object: 'search_hit', conversation_id: 'conv_1', title: 'Attic', item_id: 'msg_1', role: 'user',
					model: null, created_at: 1e9, snippet: 'the lamp', marks: [{ start_index: 4, end_index: 8 }] };
				return Response.json({ object: 'list', data: n < 7 && !best ? [] : [hit], has_more: n < 7 && !best, next_cursor: n < 7 && !best ? 'c' + n : null,
					searched_since: n < 7 || best ? 1700000000 - n * 86400 * 31 : null });
			};
		})()`)
		b.search("lamp")
		b.wait(`asked.length === 5 && document.querySelector('#search-note').innerText === 'Nothing since ' +
			new Intl.DateTimeFormat(undefined, { dateStyle: 'long' }).format(new Date(1e3 * (1700000000 - 5 * 86400 * 31))) + ' so far.'`)
		b.click(button("Look further back"))
		b.finds("Attic | You | the [lamp]")
		if got := b.text("asked.join()"); got != ",c1,c2,c3,c4,c5,c6" {
			t.Errorf("it asked for %s", got)
		}
		b.wait("!document.querySelector('#search-further').offsetParent")
		b.text("(f => { f.value = 'best'; f.dispatchEvent(new Event('change')) })(document.querySelector('select[aria-label=Order]'))")
		b.wait("document.querySelector('#search-status').innerText.startsWith('1 hit, the best of the newest 2,000, which begin ')")
	})
}

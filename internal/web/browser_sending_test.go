package web_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// asks reports whether a request is a question.
func asks(r *http.Request) bool { return r.Method == "POST" && r.URL.Path == "/v1/responses" }

// statusOf passes a request on and gives the status of its answer.
func statusOf(next http.Handler, w http.ResponseWriter, r *http.Request) int {
	watched := &statusWriter{ResponseWriter: w}
	next.ServeHTTP(watched, r)
	return watched.status
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) Flush() { http.NewResponseController(w.ResponseWriter).Flush() }

// enterNow presses Enter in the message box and gives, from the same moment, what an expression gives.
func (b *tab) enterNow(expression string) string {
	b.t.Helper()
	return b.text("(" + box + ".dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true })), " + expression + ")")
}

const lastArticle = "[...document.querySelectorAll('[role=log] article')].at(-1)"

// The question is on the page before the server has seen it. Where the answer is lost it stands there as not sent, and to try
// again asks nothing twice.
func TestAQuestionIsSentOnce(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Script(llmtest.Say("sdc.")...)
		b.open(s.url("/"))
		b.ready()
		var mu sync.Mutex
		var keys, bodies []string
		var better atomic.Bool
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if !asks(r) {
				if r.Method == "POST" {
					next.ServeHTTP(w, r)
				} else {
					panic(http.ErrAbortHandler)
				}
				return
			}
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			mu.Lock()
			keys, bodies = append(keys, r.Header.Get("Idempotency-Key")), append(bodies, string(body))
			mu.Unlock()
			if !better.Load() { // the browser itself tries again, too
				next.ServeHTTP(httptest.NewRecorder(), r) // it is kept and answered, and then the line breaks
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
		b.insertInBox("Which disk?")
		if got := b.enterNow("document.querySelector('article.user.sending')?.innerText"); !strings.Contains(got, "Which disk?") || !strings.Contains(got, "Sending…") {
			t.Errorf("at once it shows %q", got)
		}
		b.wait(lastArticle + ".innerText.includes('Not sent') && " + box + ".value === ''")
		b.checkAccess("a question that was not sent")
		b.insertInBox("typed meanwhile")
		better.Store(true)
		b.click(button("Retry"))
		b.settled(2)
		b.says(1, "sdc.")
		s.between(nil)
		mu.Lock()
		defer mu.Unlock()
		for i, key := range keys {
			if key == "" || key != keys[0] || bodies[i] != bodies[0] || !strings.Contains(bodies[i], `"head":0`) || len(keys) < 2 {
				t.Errorf("it was sent with the keys %q and the bodies %q", keys, bodies)
				break
			}
		}
		if n := len(s.model.Requests()); n != 1 {
			t.Errorf("the model was asked %d times", n)
		}
		b.do(chromedp.Reload())
		b.settled(2)
		b.wait(box + ".value === 'typed meanwhile'")
	})
}

// Stop counts from the moment its button is there, which is before the server has named the reply.
func TestAReplyIsStoppedBeforeItHasAName(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.ready()
		for i, stop := range []func(){func() { b.click(button("Stop")) }, func() { b.key("Escape", "Escape", 27, 0) }} {
			pass := make(chan struct{})
			s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if asks(r) {
					<-pass
				}
				next.ServeHTTP(w, r)
			})
			gate := llmtest.NewGate()
			s.model.Script(llmtest.Step{Gate: gate, Text: "never"})
			b.insertInBox("Which disk?")
			b.enterNow("0")
			b.wait("document.querySelector('article.user.sending')")
			stop()
			b.still("1")
			close(pass)
			b.settled(2*i + 2)
			b.wait(lastArticle + ".querySelector('.end').innerText.includes('The reply was stopped.')")
		}
	})
}

// The answer that a conversation was made can be lost, too; to try again makes no other.
func TestANewConversationIsMadeOnce(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.ready()
		var better atomic.Bool
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == "POST" && r.URL.Path == "/v1/conversations" && !better.Load() {
				next.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
		b.insertInBox("Which disk?")
		b.enterNow("0")
		b.wait(lastArticle + ".innerText.includes('Not sent')")
		b.do(chromedp.Reload()) // also from a page that was left meanwhile
		b.wait(lastArticle + ".innerText.includes('Not sent')")
		better.Store(true)
		b.click(button("Retry"))
		b.settled(2)
		s.between(nil)
		page, err := s.record.List(t.Context(), store.ListQuery{Limit: 10})
		if err != nil || len(page.Conversations) != 1 || page.Conversations[0].MessageCount != 2 {
			t.Errorf("there are the conversations %+v, %v", page.Conversations, err)
		}

		// One that was deleted meanwhile is not what is asked for again and again.
		better.Store(false)
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == "POST" && r.URL.Path == "/v1/conversations" && !better.Load() {
				next.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
		b.click(button("New conversation"))
		b.wait("location.pathname === '/'")
		b.insertInBox("And this?")
		b.enterNow("0")
		b.wait(lastArticle + ".innerText.includes('Not sent')")
		better.Store(true)
		page, err = s.record.List(t.Context(), store.ListQuery{Limit: 10})
		if err != nil || len(page.Conversations) != 2 {
			t.Fatalf("there are the conversations %+v, %v", page.Conversations, err)
		}
		if err := s.record.DeleteConversation(t.Context(), page.Conversations[0].ID); err != nil {
			t.Fatal(err)
		}
		b.click(button("Retry"))
		b.wait(lastArticle + ".innerText.includes('was deleted')")
		b.click(button("Retry"))
		b.settled(2)
	})
}

func TestAQuestionThatWasNotSentIsKept(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.send("Hello")
		b.settled(2)
		b.wait("location.pathname.startsWith('/c/')")
		refused := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if asks(r) {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		}
		s.between(refused)
		b.text(strings.ReplaceAll(handFiles, "input.dispatchEvent(new Event('change'));", ""))
		b.wait("document.querySelectorAll('#files li').length === 2")
		b.insertInBox("And this?")
		b.enterNow("0")
		b.wait(lastArticle + ".innerText.includes('Not sent') && document.querySelector('#files').hidden")
		b.wait(`(import('/ui/js/storage.js').then(m => m.loadOutgoing(location.pathname.slice(3))).then(o => window.kept = o), window.kept?.files?.length === 2)`)

		// The next one waits for it.
		b.insertInBox("And then?")
		b.enterNow("0")
		b.wait(box + ".value === 'And then?' && document.querySelector('#waiting').hidden && " + lastArticle + ".innerText.includes('Not sent')")

		b.do(chromedp.Reload())
		b.wait(lastArticle + ".innerText.includes('Not sent') && " + lastArticle + ".innerText.includes('sda.log') && " + box + ".value === 'And then?'")
		b.click(button("Edit") + " && [...document.querySelectorAll('.failed button')].find(b => b.textContent === 'Edit')")
		b.wait("document.querySelectorAll('[role=log] article').length === 2 && document.querySelectorAll('#files li').length === 2")
		if got := b.text(box + ".value"); got != "And this?\n\nAnd then?" {
			t.Errorf("the message box has %q", got)
		}
		s.between(nil)
		b.ready()
		b.enterNow("0")
		b.settled(4)
		if got := s.told(); !strings.Contains(got, "And this?\n\nAnd then?") || !strings.Contains(got, "ata3: failed") {
			t.Errorf("the model was told %q", got)
		}
	})
}

// What others wrote meanwhile is shown before the question is kept.
func TestAStaleTab(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.send("Hello")
		b.settled(2)
		b.wait("location.pathname.startsWith('/c/')")
		id := strings.TrimPrefix(b.text("location.pathname"), "/c/conv_")

		var conflicts atomic.Int32
		seen := make(chan struct{})
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			switch {
			case asks(r):
				if statusOf(next, w, r) == http.StatusConflict && conflicts.Add(1) == 1 {
					close(seen)
				}
			case r.Method == "GET" && strings.HasPrefix(r.URL.Path, "/v1/conversations"): // no poll tells it of the news
				select {
				case <-seen:
					next.ServeHTTP(w, r)
				case <-r.Context().Done():
				}
			default:
				next.ServeHTTP(w, r)
			}
		})
		// What it wrote itself it has seen, also before a poll has told so.
		b.send("And you?")
		b.settled(4)
		b.click(in(3, "Regenerate"))
		b.wait("document.querySelectorAll('[role=log] article').length === 4 && !document.querySelector('.writing') && document.querySelector('#stop').hidden && " + in(3, "Regenerate"))
		b.send("Good.")
		b.settled(6)
		if n := conflicts.Load(); n != 0 {
			t.Fatalf("%d conflicts with itself", n)
		}

		if _, err := s.record.AddMessage(t.Context(), id, "user", "From elsewhere"); err != nil {
			t.Fatal(err)
		}
		b.insertInBox("Mine")
		b.enterNow("0")
		b.wait("document.querySelectorAll('[role=log] article').length === 8 && " + lastArticle + ".innerText.includes('what is new stands above')")
		b.says(6, "From elsewhere")
		b.says(7, "Mine")
		s.between(nil)
		b.click(button("Retry"))
		b.settled(9)
		b.says(8, "ok")
		if got := s.told(); got != "Mine" {
			t.Errorf("the model was told %q last", got)
		}

		// A try that did not arrive, and news that came meanwhile and were shown: what is sent again goes through.
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if asks(r) {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
		b.insertInBox("Again")
		b.enterNow("0")
		b.wait(lastArticle + ".innerText.includes('Not sent')")
		if _, err := s.record.AddMessage(t.Context(), id, "user", "More from elsewhere"); err != nil {
			t.Fatal(err)
		}
		b.says(9, "More from elsewhere")
		b.says(10, "Again")
		s.between(nil)
		b.click(button("Retry"))
		b.settled(12)
		b.says(11, "ok")
	})
}

func TestOneMoreMessageWaitsForTheReply(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		one, two := llmtest.NewGate(), llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "So far."}, llmtest.Step{Gate: one, Text: " The end."})
		b.open(s.url("/"))
		b.send("First")
		b.waitText("So far.")
		b.insertInBox("Second")
		b.click(button("Send"))
		note := "document.querySelector('#waiting')"
		b.wait("!" + note + ".hidden && " + box + ".value === 'Second' && " + button("Stop"))
		b.checkAccess("a message that waits")
		b.click("document.querySelector('#edit-waiting')")
		b.wait(note + ".hidden && document.activeElement === " + box)
		b.insert(" one")
		b.enterNow("0")
		b.wait("!" + note + ".hidden")
		b.click("document.querySelector('#remove-waiting')")
		b.wait(note + ".hidden && " + box + ".value === ''")
		b.insert("Another one")
		b.enterNow("0")
		b.wait("!" + note + ".hidden")
		s.model.Script(llmtest.Step{Text: "So good."}, llmtest.Step{Gate: two})
		one.Open()
		b.waitText("So good.")
		b.says(1, "So far. The end.")
		b.says(2, "Another one")
		b.wait(note + ".hidden && " + box + ".value === ''")

		// After a reply that was stopped it is for the person to say.
		b.insert("Third")
		b.enterNow("0")
		b.wait("!" + note + ".hidden")
		b.key("Escape", "Escape", 27, 0)
		b.wait(note + ".hidden && " + button("Stop"))
		b.enterNow("0")
		b.wait("!" + note + ".hidden")
		b.click(button("Stop"))
		b.settled(4)
		b.wait(note + ".hidden && " + box + ".value === 'Third'")
		if n := len(s.model.Requests()); n != 2 {
			t.Errorf("the model was asked %d times", n)
		}
		b.enterNow("0")
		b.settled(6)
		b.says(4, "Third")
	})
}

func TestASessionThatEndsKeepsWhatIsWritten(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "correct horse", "")
		signIn := func() { b.do(chromedp.SendKeys(chromedp.CSS("#password"), s.pass+"\r")) }
		b.open(s.lan("/"))
		signIn()
		b.ready()
		b.send("Hello")
		b.settled(2)
		b.wait("location.pathname.startsWith('/c/')")
		path := b.text("location.pathname")
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if asks(r) {
				r.Header.Del("Cookie")
			}
			next.ServeHTTP(w, r)
		})
		b.insertInBox("Keep me")
		b.enterNow("0")
		b.wait("location.pathname === '/login'")
		s.between(nil)
		signIn()
		b.wait(fmt.Sprintf("location.pathname === %q && %s?.innerText.includes('Keep me') && %s.innerText.includes('Not sent')", path, lastArticle, lastArticle))
		b.ready()
		b.click(button("Retry"))
		b.settled(4)
		b.says(2, "Keep me")

		b.text(handFiles)
		b.wait("document.querySelectorAll('#files li').length === 2")
		b.insertInBox("Half a sen")
		s.stop()
		s.pass = "battery staple"
		s.start()
		b.wait("location.pathname === '/login'")
		signIn()
		b.wait(fmt.Sprintf("location.pathname === %q && %s.value === 'Half a sen' && document.querySelectorAll('#files li').length === 2", path, box))
	})
}

// show has the page believe that it is seen, or not.
func (b *tab) show(seen bool) {
	b.t.Helper()
	b.text(fmt.Sprintf(`(Object.defineProperty(document, 'hidden', { configurable: true, get: () => %t }), document.dispatchEvent(new Event('visibilitychange')))`, !seen))
}

// Six streams are all that a browser opens to one server: a tab that is not seen has none.
func TestEightTabs(t *testing.T) {
	s := newServer(t, testrecord.SQLite(t), "", "")
	var streams atomic.Int32
	s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.Header.Get("Accept"), "event-stream") {
			streams.Add(1)
			defer streams.Add(-1)
		}
		next.ServeHTTP(w, r)
	})
	first := browser(t)()
	var tabs []*tab
	gate := llmtest.NewGate()
	for i := range 8 {
		s.model.Script(llmtest.Step{Text: fmt.Sprintf("Reply %d", i)}, llmtest.Step{Gate: gate, Text: " is whole."})
		b := first
		if i > 0 {
			ctx, cancel := chromedp.NewContext(first.ctx)
			t.Cleanup(cancel)
			b = &tab{t, ctx}
		}
		tabs = append(tabs, b)
		b.open(s.url("/"))
		b.send(fmt.Sprintf("Question %d", i))
		b.waitText(fmt.Sprintf("Reply %d", i))
		if i < 7 {
			b.show(false)
		}
	}
	gate.Open()
	tabs[7].waitText("Reply 7 is whole.")
	for i, b := range tabs[:7] {
		b.wait("document.title.startsWith('● ')")
		b.show(true)
		b.waitText(fmt.Sprintf("Reply %d is whole.", i))
		b.wait("!document.title.startsWith('●')")
	}
	for i, b := range tabs {
		b.send("More")
		b.settled(4)
		b.wait(fmt.Sprintf("document.title.startsWith('Question %d')", i))
	}
	if n := streams.Load(); n != 0 {
		t.Errorf("%d streams are open", n)
	}
}

// While a reply runs its stream is all that a tab asks for; without one it looks every 3 s, and at once when it gets the focus; one that is
// not seen asks nothing.
func TestATabHoldsOneRequest(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		var polls atomic.Int32
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if !strings.Contains(r.Header.Get("Accept"), "event-stream") {
				polls.Add(1)
			}
			next.ServeHTTP(w, r)
		})
		// The page's three seconds pass in 20 ms.
		if _, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: `(real => setTimeout = window.setTimeout = (f, ms, ...more) => real(f, ms === 3000 ? 20 : ms, ...more))(setTimeout)`}); err != nil {
			t.Fatal(err)
		}
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "So far."}, llmtest.Step{Gate: gate, Text: " The end."})
		goesOn := func() {
			t.Helper()
			for now := polls.Load(); polls.Load() < now+8; {
				b.text("0")
			}
		}
		rests := func() {
			t.Helper()
			b.still("1") // what was asked before is answered
			b.still("1")
			now := polls.Load()
			for range 10 {
				b.still("1")
			}
			if n := polls.Load() - now; n != 0 {
				t.Errorf("%d requests beside the stream", n)
			}
		}
		b.open(s.url("/"))
		b.ready()
		goesOn()
		b.send("Tell me")
		b.waitText("So far.")
		b.wait("document.querySelector('nav .running:not([hidden])')")
		rests()
		now := polls.Load()
		b.text("window.dispatchEvent(new Event('focus'))")
		for polls.Load() == now {
			b.text("0")
		}
		rests()
		gate.Open()
		b.settled(2)
		goesOn()
		b.show(false)
		rests()
		b.show(true)
		goesOn()
	})
}

// What waits in a tab that is not seen is sent, and the tab holds no stream for it.
func TestAHiddenTabSendsWhatWaits(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		var streams atomic.Int32
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.Contains(r.Header.Get("Accept"), "event-stream") {
				streams.Add(1)
				defer streams.Add(-1)
			}
			next.ServeHTTP(w, r)
		})
		one, two := llmtest.NewGate(), llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "So far."}, llmtest.Step{Gate: one, Text: " The end."})
		s.model.Script(llmtest.Step{Text: "So good."}, llmtest.Step{Gate: two, Text: " All."})
		b.open(s.url("/"))
		b.send("First")
		b.waitText("So far.")
		b.insertInBox("Second")
		b.enterNow("0")
		b.show(false)
		one.Open()
		<-two.Reached()
		b.waitText("Second")
		b.wait(box + ".value === ''")
		for streams.Load() > 0 { // the browser has let go of it
			b.text("0")
		}
		two.Open()
		b.waitText("So good. All.")
		b.wait("document.title.startsWith('● First')")
		b.show(true)
		b.settled(4)
		b.says(2, "Second")
		b.wait("document.title.startsWith('First')")
	})
}

// A question that is sent while its conversation is still being loaded stands after what was said before, once.
func TestAQuestionBeforeTheConversationIsThere(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		id := s.conversation("The NAS")
		for i, text := range []string{"Is it RAIDZ?", "Yes."} {
			if _, err := s.record.AddMessage(t.Context(), id, []string{"user", "assistant"}[i], text); err != nil {
				t.Fatal(err)
			}
		}
		var asked atomic.Bool
		answered := make(chan struct{})
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			switch {
			case asks(r):
				next.ServeHTTP(w, r)
				if !asked.Swap(true) {
					close(answered)
				}
			case strings.Contains(r.URL.Path, "/items"):
				select {
				case <-answered:
					next.ServeHTTP(w, r)
				case <-r.Context().Done():
				}
			default:
				next.ServeHTTP(w, r)
			}
		})
		b.open(s.url("/c/conv_" + id))
		b.wait(box)
		b.ready()
		b.insertInBox("Of how many disks?")
		b.enterNow("0")
		b.settled(4)
		for i, text := range []string{"Is it RAIDZ?", "Yes.", "Of how many disks?", "ok"} {
			b.says(i, text)
		}
		b.wait("document.querySelectorAll('[data-do=edit]').length === 2")
		b.settled(4)
	})
}

func TestALostServerAndANewerOne(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.ready()
		// What the browser believes of its network is nothing to go by.
		b.text(`(Object.defineProperty(navigator, 'onLine', { get: () => false }), window.dispatchEvent(new Event('offline')),
			window.banners = 0, new MutationObserver(() => window.banners += !document.querySelector('#lost').hidden).observe(document.querySelector('#lost'), { attributes: true }))`)
		// One failure is nothing.
		var polls atomic.Int32
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasPrefix(r.URL.Path, "/v1/conversations") && polls.Add(1) == 1 {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
		b.wait("window.dispatchEvent(new Event('focus'))")
		b.wait(`new Date() && (window.dispatchEvent(new Event('focus')), performance.getEntriesByType('resource').filter(e => e.name.includes('/v1/conversations')).length > 8)`)
		if got := b.text("window.banners"); got != "0" {
			t.Error("one failure made a banner")
		}

		s.between(func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
		b.wait("!document.querySelector('#lost').hidden")
		b.checkAccess("a lost server")
		b.insertInBox("Still writing")
		b.wait(box + ".value === 'Still writing' && !" + box + ".disabled")
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == "HEAD" {
				w = &etagWriter{w}
			}
			next.ServeHTTP(w, r)
		})
		b.wait("document.querySelector('#lost').hidden && !document.querySelector('#newer').hidden")
		b.checkAccess("a newer build")
		b.text("window.marker = 1")
		b.click(button("Reload"))
		b.wait("!window.marker && " + box + "?.value === 'Still writing'")
		b.ready()
		b.wait("document.querySelector('#newer').hidden")
	})
}

// etagWriter answers as another build.
type etagWriter struct{ http.ResponseWriter }

func (w *etagWriter) WriteHeader(status int) {
	w.Header().Set("ETag", `"another"`)
	w.ResponseWriter.WriteHeader(status)
}

package web_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/api"
	"git.georgsen.dk/hwlab/internal/api/apitest"
	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testpg"
	"git.georgsen.dk/hwlab/internal/testrecord"
	"git.georgsen.dk/hwlab/internal/web"
)

var screenshots = flag.Bool("screenshots", false, "write the pictures of docs/screenshots")

func TestMain(m *testing.M) { testpg.Main(m) }

// server is all of hwlab in this process, with a scripted model.
type server struct {
	t      testing.TB
	record testrecord.Record
	id     string
	notes  *lab.Lab
	model  *llmtest.Fake
	titles bool // the model names conversations
	pass   string
	addr   string // host:port that is listened on
	stop   func()
	way    atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)]
}

// between puts f between browsers and the server; nil takes it away. To panic with http.ErrAbortHandler breaks the line.
func (s *server) between(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	if f == nil {
		f = func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }
	}
	s.way.Store(&f)
}

// newServer serves an empty record. With a password it is reached as lab.test too, as from another machine.
func newServer(t testing.TB, record testrecord.Record, password, labDir string) *server {
	s := &server{t: t, record: record, id: store.NewID(), notes: lab.New(labDir, 0), model: llmtest.New("test-model"), pass: password, addr: "127.0.0.1:0"}
	s.between(nil)
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// start serves at s.addr; after stop it serves the same record there again.
func (s *server) start() {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(s.t.Output(), nil))
	_, measured := s.t.(*testing.B)
	if measured {
		log = slog.New(slog.DiscardHandler)
	}
	offline := llm.NewOffline(log, advisor.NotesLibrary{Notes: s.notes}, advisor.ConversationLibrary{Record: s.record})
	models := llm.NewCatalog(llm.CatalogConfig{Sources: []llm.Source{{Name: "Ollama", BaseURL: "http://127.0.0.1:11434/v1", Provider: s.model}}, Offline: offline, Log: log,
		TTL: time.Millisecond})
	replies, err := advisor.Start(context.Background(), advisor.Config{Record: s.record, Models: models, Notes: s.notes, ServerID: s.id, Log: log, Titles: s.titles})
	if err != nil {
		s.t.Fatal(err)
	}
	v1 := api.New(api.Config{Record: s.record, Advisor: replies, Models: models, Notes: s.notes, HasNotes: true, Log: log})
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	all := web.New(web.Config{API: v1, Password: s.pass})
	if !measured {
		all = apitest.Handler(s.t, all)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.way.Load())(w, r, all) }), ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelInfo)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	s.stop = func() {
		if err := replies.Stop(context.Background()); err != nil {
			s.t.Error(err)
		}
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			s.t.Error(err)
		}
		models.Close()
		s.stop = func() {}
	}
}

// url is where a browser on this machine finds path.
func (s *server) url(path string) string { return "http://" + s.addr + path }

// lan is where a browser elsewhere would: a plain HTTP origin that is not a secure context.
func (s *server) lan(path string) string {
	_, port, _ := net.SplitHostPort(s.addr)
	return "http://lab.test:" + port + path
}

// tab is a tab of a browser with a profile of its own.
type tab struct {
	t   testing.TB
	ctx context.Context
}

// browser is started once for each test.
func browser(t testing.TB) func() *tab {
	t.Helper()
	path := ""
	for _, name := range []string{"headless_shell", "headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("no Chromium was found; make test installs it, or: apt-get install chromium")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.WindowSize(1280, 800), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("host-resolver-rules", "MAP lab.test 127.0.0.1"),
		chromedp.Flag("blink-settings", "primaryPointerType=4,availablePointerTypes=4,primaryHoverType=2,availableHoverTypes=2")) // a mouse
	t.Cleanup(cancel)
	first, stop := chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(first); err != nil {
		t.Fatal(err)
	}
	return func() *tab {
		ctx, cancel := chromedp.NewContext(first, chromedp.WithNewBrowserContext())
		t.Cleanup(cancel)
		watch(t, ctx)
		ctx, cancel = context.WithTimeout(ctx, 3*patience(t))
		t.Cleanup(cancel)
		return &tab{t, ctx}
	}
}

// watch fails a test in whose page a script throws what nobody catches, or the policy has to forbid something.
func watch(t testing.TB, ctx context.Context) {
	var mu sync.Mutex
	var wrong []string
	err := chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			what := e.ExceptionDetails.Text
			if e.ExceptionDetails.Exception != nil {
				what += " " + e.ExceptionDetails.Exception.Description
			}
			wrong = append(wrong, what)
		case *cdplog.EventEntryAdded:
			if e.Entry.Source == cdplog.EntrySourceSecurity {
				wrong = append(wrong, e.Entry.Text)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, what := range wrong {
			t.Errorf("in the page: %s", what)
		}
	})
}

// patience is how long a test waits for what must come before it fails, on a machine that does much else, too; what is measured may
// take its time.
func patience(t testing.TB) time.Duration {
	if _, measured := t.(*testing.B); measured {
		return 5 * time.Minute
	}
	return time.Minute
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// text is what a JavaScript expression gives, as text.
func (b *tab) text(expression string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return text
}

// wait waits until a JavaScript expression is true, over navigations too.
func (b *tab) wait(expression string) {
	b.t.Helper()
	deadline := time.NewTimer(patience(b.t))
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		if ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")")); err == nil && ok {
			return
		}
		select {
		case <-look.C:
		case <-deadline.C:
			body, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
			b.t.Fatalf("not so in time: %s\nthe page is:\n%s", expression, body)
		}
	}
}

// waitText waits until the thread shows text.
func (b *tab) waitText(text string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("document.querySelector('[role=log]')?.innerText.includes(%q)", text))
}

// button is the expression for a button by its name.
func button(name string) string {
	return fmt.Sprintf("[...document.querySelectorAll('button')].find(b => (b.getAttribute('aria-label') || b.textContent).trim() === %q && b.offsetParent)", name)
}

// click clicks what a JavaScript expression gives, once it is there.
func (b *tab) click(expression string) {
	b.t.Helper()
	b.wait(expression)
	b.text("(" + expression + ").click()")
}

const messageBox = chromedp.CSS(`textarea[aria-label="Message"], #message`)

// send types a question and sends it, once the page has come to life.
func (b *tab) send(question string) {
	b.t.Helper()
	b.wait("document.querySelector('#model')?.options.length")
	b.do(chromedp.WaitVisible(messageBox), chromedp.SendKeys(messageBox, question))
	b.click(button("Send"))
}

// articles are the messages shown, each as its role and what it says.
func (b *tab) articles() string {
	b.t.Helper()
	return b.text(`[...document.querySelectorAll('[role=log] article')].map(a => a.getAttribute('aria-label') + ': ' +
		(a.querySelector('.body, .plain')).innerText.trim()).join('\n---\n')`)
}

// settled waits until no reply is being written.
func (b *tab) settled(articles int) {
	b.t.Helper()
	b.wait(fmt.Sprintf("document.querySelectorAll('[role=log] article').length === %d && !document.querySelector('.writing') && document.querySelector('#stop').hidden", articles))
}

func (b *tab) picture(name string) {
	b.t.Helper()
	if !*screenshots {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "screenshots", name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// rich is an answer with most of what Markdown has.
const rich = "The pool is **degraded**: one disk has dropped out.\n\n## What to do\n\n1. Find it: `zpool status -v`\n2. Replace it:\n\n" +
	"```bash\nzpool offline tank sdc\nzpool replace tank sdc /dev/disk/by-id/ata-NEW   # the long name\n```\n\n" +
	"| Disk | State | Reallocated |\n|---|---|---|\n| sda | ONLINE | 0 |\n| sdc | **FAULTED** | 1184 |\n\n" +
	"> Do not scrub before the resilver has ended.\n\n- [x] backup of last night is whole\n- [ ] order a spare\n"

func TestAConversationIsThereAfterReloadElsewhereAndAfterARestart(t *testing.T) {
	open := browser(t)
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.model.Script(llmtest.Say(pieces(rich, 7)...)...)
		b.open(s.url("/"))
		b.send("Why is my pool degraded?")
		b.settled(2)
		b.wait("location.pathname.startsWith('/c/conv_')")
		b.waitText("order a spare")
		if got := b.text("[...document.querySelectorAll('article h3, article table, article pre, article blockquote, article ol')].map(e => e.tagName).join()"); got != "H3,OL,PRE,TABLE,BLOCKQUOTE" {
			t.Errorf("the Markdown is shown as %s", got)
		}
		b.wait("document.querySelector('nav')?.textContent.includes('Why is my pool degraded?')")
		shown, path := b.articles(), b.text("location.pathname")
		b.wait("document.querySelector('.hljs-comment') && !document.querySelector('nav .running:not([hidden])')")
		if b.text("innerWidth") == "1280" {
			b.picture("page")
		}

		b.do(chromedp.Reload())
		b.settled(2)
		if got := b.articles(); got != shown {
			t.Errorf("after a reload the page shows\n%s\nnot\n%s", got, shown)
		}
		other := open()
		other.open(s.url(path))
		other.settled(2)
		if got := other.articles(); got != shown {
			t.Errorf("another browser shows\n%s\nnot\n%s", got, shown)
		}

		s.stop()
		s.start()
		third := open()
		third.open(s.url("/"))
		third.click("[...document.querySelectorAll('nav a')].find(a => a.innerText.includes('Why is my pool degraded?'))")
		third.settled(2)
		if got := third.articles(); got != shown {
			t.Errorf("after a restart the page shows\n%s\nnot\n%s", got, shown)
		}
		s.model.Script(llmtest.Say("Yes, the newest one.")...)
		third.send("Is there a backup?")
		third.settled(4)
		third.waitText("Yes, the newest one.")
		b.settled(4) // it is shown in the first browser too
	})
}

func TestAReloadInMidReplyShowsItAllAndGoesOn(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		gate := llmtest.NewGate()
		s.model.Script(append(llmtest.Say("The first half. ")[:1], llmtest.Step{Gate: gate, Text: "The second half."})...)
		b.open(s.url("/"))
		b.send("Tell me")
		b.waitText("The first half.")
		b.do(chromedp.Reload())
		b.waitText("The first half.")
		gate.Open()
		b.settled(2)
		b.waitText("The first half. The second half.")
	})
}

func TestStopKeepsWhatHasArrived(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		gate := llmtest.NewGate()
		s.model.Script(llmtest.Step{Text: "So far, so good."}, llmtest.Step{Gate: gate, Text: "never"})
		b.open(s.url("/"))
		b.send("Tell me")
		b.waitText("So far, so good.")
		b.click(button("Stop"))
		b.settled(2)
		b.waitText("The reply was stopped.")
		b.do(chromedp.Reload())
		b.waitText("The reply was stopped.")
		b.waitText("So far, so good.")
		b.wait(button("Send"))
	})
}

func TestThePageWorksFromAnotherMachineOverPlainHTTP(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "correct horse", "")
		b.open(s.lan("/"))
		b.wait("location.pathname === '/login'")
		password := chromedp.CSS("#password")
		b.do(chromedp.SendKeys(password, "wrong\r"))
		b.wait("location.hash === '#failed' && document.querySelector('#failed').offsetParent")
		b.do(chromedp.SendKeys(password, "correct horse\r"))
		b.wait("location.pathname === '/'")
		if b.text("isSecureContext") != "false" {
			t.Error("this should not be a secure context")
		}
		s.model.Script(llmtest.Say("Hello ", "there.")...)
		b.send("Hi")
		b.settled(2)
		b.waitText("Hello there.")
	})
}

func TestRenameAndDelete(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.send("First title")
		b.settled(2)
		b.sidebar()
		b.wait("document.querySelector('nav')?.innerText.includes('First title')")
		id := strings.TrimPrefix(b.text("location.pathname"), "/c/conv_")
		title := "A better title"
		if _, err := s.record.UpdateConversation(t.Context(), id, store.ConversationChange{Title: &title}); err != nil {
			t.Fatal(err)
		}
		b.wait("document.querySelector('nav').innerText.includes('A better title')") // the list follows
		b.click("document.querySelector('#new')")
		b.wait("location.pathname === '/'")
		b.open(s.url("/c/conv_" + id))
		b.settled(2)
		b.sidebar()
		if err := s.record.DeleteConversation(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		b.wait("!document.querySelector('nav').innerText.includes('A better title')")
	})
}

func TestThePageOnAPhone(t *testing.T) {
	s := newServer(t, testrecord.SQLite(t), "", "")
	b := browser(t)()
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
	s.model.Script(llmtest.Say(pieces(rich, 11)...)...)
	b.open(s.url("/"))
	b.send("Why is my pool degraded?")
	b.settled(2)
	b.waitText("order a spare")
	if got := b.text("document.documentElement.scrollWidth <= innerWidth"); got != "true" {
		t.Error("the page scrolls sideways")
	}
	b.wait("document.querySelector('.hljs-comment')")
	b.picture("phone")

	// What a mouse finds by hovering, a finger finds at once: what can be done with a message, when it was, and the menu of each row.
	b.wait("[...document.querySelectorAll('article > .meta')].every(m => getComputedStyle(m).opacity === '1') && document.querySelector('article.user time').offsetParent")
	s.conversation("The NAS")
	b.sidebar()
	b.wait(row("The NAS"))
	b.wait("[...document.querySelectorAll('nav li button')].length === 2 && [...document.querySelectorAll('nav li button')].every(b => b.offsetParent && b.offsetWidth >= 44 && b.offsetHeight >= 44)")
	b.choose("The NAS", "Rename")
	b.wait("document.activeElement.matches('nav input')")
	b.insert("Old NAS")
	b.enter(0)
	b.wait(row("Old NAS"))
}

// pieces cuts text into parts of n bytes.
func pieces(text string, n int) []string {
	var list []string
	for len(text) > n {
		list = append(list, text[:n])
		text = text[n:]
	}
	return append(list, text)
}

package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/store"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

// widths runs a person's path on a wide screen and on a phone.
func widths(t *testing.T, path func(t *testing.T, b *tab)) {
	t.Helper()
	open := browser(t)
	for _, width := range []int{1280, 390} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			b := open()
			b.t = t
			if width < 700 {
				b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
			} else {
				b.do(chromedp.EmulateViewport(1280, 860))
			}
			path(t, b)
		})
	}
}

// sidebar makes the list visible, which is a drawer on a phone.
func (b *tab) sidebar() {
	b.t.Helper()
	b.wait("document.querySelector('#list-none, #list a')")
	b.text("innerWidth < 700 && !document.body.classList.contains('drawer-open') && document.querySelector('#menu').click()")
	b.wait("getComputedStyle(document.querySelector('#sidebar')).visibility === 'visible'")
}

// row is the expression for a conversation's link in the list.
func row(title string) string {
	return fmt.Sprintf("[...document.querySelectorAll('nav a')].find(a => a.innerText.trim() === %q)", title)
}

// choose opens a conversation's menu and takes an entry.
func (b *tab) choose(title, entry string) {
	b.t.Helper()
	b.click(fmt.Sprintf("document.querySelector('nav button[aria-label=%q]')", "More about "+title))
	b.click(fmt.Sprintf("[...document.querySelectorAll('[role=menuitem]')].find(e => e.textContent === %q && e.offsetParent)", entry))
}

// groups is the list as it is shown.
func (b *tab) groups() string {
	b.t.Helper()
	return b.text(`[...document.querySelectorAll('nav section')].map(s => s.querySelector('h2').innerText + ': ' +
		[...s.querySelectorAll('.name')].map(n => n.innerText).join(', ')).join(' | ')`)
}

func (s *server) conversation(title string) string {
	s.t.Helper()
	id, err := s.record.CreateConversationWith(s.t.Context(), store.NewConversation{Title: title})
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func TestTheListIsGroupedPinnedRenamedArchivedAndDeleted(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.conversation("The NAS")
		s.conversation("VLANs")
		last := s.conversation("Fans")
		b.open(s.url("/"))
		b.sidebar()
		b.wait(row("The NAS"))
		if got, want := b.groups(), "Today: Fans, VLANs, The NAS"; got != want {
			t.Errorf("the list is %s, not %s", got, want)
		}
		b.choose("The NAS", "Pin")
		b.wait("document.querySelector('nav h2').innerText === 'Pinned'")
		if got, want := b.groups(), "Pinned: The NAS | Today: Fans, VLANs"; got != want {
			t.Errorf("the list is %s, not %s", got, want)
		}
		b.choose("VLANs", "Rename")
		b.do(chromedp.SendKeys(chromedp.CSS("nav input"), "Networks\r"))
		b.wait(row("Networks"))
		b.choose("Networks", "Archive")
		b.wait("!" + row("Networks"))
		b.click(button("Archived"))
		b.wait(row("Networks"))
		b.choose("Networks", "Unarchive")
		b.wait("!" + row("Networks"))
		b.click(button("Back to conversations"))
		b.wait(row("Networks"))

		b.choose("Fans", "Delete")
		b.wait("!" + row("Fans"))
		if got := b.text("document.activeElement.innerText.trim()"); got != "Networks" {
			t.Errorf("after a deletion the focus is on %q", got)
		}
		b.wait(fmt.Sprintf("(fetch('/v1/conversations/conv_%s').then(r => window.status_ = r.status), window.status_ === 404)", last))
		b.click(button("Undo"))
		b.wait(row("Fans"))
		if _, err := s.record.Summary(t.Context(), last); err != nil {
			t.Errorf("after Undo: %v", err)
		}
		if got := b.text("document.activeElement.innerText.trim()"); got != "Fans" {
			t.Errorf("after Undo the focus is on %q", got)
		}
		if got, want := b.groups(), "Pinned: The NAS | Today: Fans, Networks"; got != want {
			t.Errorf("after Undo the list is %s, not %s", got, want)
		}
		b.choose("Fans", "Delete")
		b.wait("!" + row("Fans"))
		b.wait(fmt.Sprintf("(fetch('/v1/conversations/conv_%s').then(r => window.gone = r.status), window.gone === 404)", last))
		b.do(chromedp.Reload()) // the server has it
		b.sidebar()
		b.wait(row("Networks"))
		if b.text(row("Fans")) != "undefined" {
			t.Error("what was deleted is there after a reload")
		}
	})
}

// When the time of an Undo is up its button goes, and with the conversation the draft in it; the server is asked to hold it no shorter than
// that.
func TestADeletionIsErasedInTheEnd(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		long := "Fans" + strings.Repeat(" that are loud at night", 6)
		id := s.conversation(long)
		s.conversation("VLANs")
		asked := make(chan string, 1)
		s.between(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == "DELETE" {
				asked <- r.URL.Query().Get("undo")
			}
			next.ServeHTTP(w, r)
		})
		b.open(s.url("/c/conv_" + id))
		b.ready()
		b.insertInBox("a draft")
		drafts := "Object.keys(localStorage).filter(key => key.includes('" + id + "')).length"
		b.wait(drafts + " > 0")
		// Ten seconds pass when the test says so.
		b.text(`(real => setTimeout = window.setTimeout = (f, ms, ...more) => ms === 10000 ? (window.tenSeconds = f, 0) : real(f, ms, ...more))(setTimeout)`)
		b.sidebar()
		b.choose(long, "Delete")
		b.wait("window.tenSeconds && " + button("Undo") + " && location.pathname === '/' && !" + row(long))
		b.wait("(r => r.left >= 0 && r.right <= innerWidth && r.bottom <= innerHeight)(" + button("Undo") + ".getBoundingClientRect())")
		if got := <-asked; got != "12" {
			t.Errorf("the server is asked to hold it for %s s", got)
		}
		b.text("tenSeconds()")
		b.wait("!" + button("Undo") + " && " + drafts + " === 0 && !" + row(long))
	})
}

func TestBackAndForward(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		for _, title := range []string{"One", "Two"} {
			id := s.conversation(title)
			if _, err := s.record.AddMessage(t.Context(), id, "user", "about "+strings.ToLower(title)); err != nil {
				t.Fatal(err)
			}
		}
		b.open(s.url("/"))
		b.sidebar()
		b.click(row("One"))
		b.waitText("about one")
		b.sidebar()
		b.click(row("Two"))
		b.waitText("about two")
		b.text("history.back()")
		b.waitText("about one")
		b.text("history.forward()")
		b.waitText("about two")
	})
}

func TestTheThemeIsTheSystemsOrTheChosenOne(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		system := func(theme string) {
			if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}); err != nil {
				t.Fatal(err)
			}
		}
		ground := "getComputedStyle(document.body).backgroundColor"
		light, dark := ground+" === 'rgb(251, 250, 247)'", ground+" === 'rgb(21, 24, 26)'"
		b.wait(light)
		system("dark")
		b.wait(dark)
		for _, theme := range []string{"light", "dark"} {
			b.text("(() => { const t = document.querySelector('[aria-label=Theme]'); t.value = '" + theme + "'; t.dispatchEvent(new Event('change')) })()")
			want := map[string]string{"light": light, "dark": dark}[theme]
			b.wait(want)
			b.do(chromedp.Reload())
			b.wait("document.readyState === 'complete' && " + want + " && document.querySelector('#theme').value === '" + theme + "'")
			system("light")
			b.wait(want)
		}
	})
}

// A date that is days ago is in the group of its day, and of its month when that is longer ago.
func TestGroups(t *testing.T) {
	s := newServer(t, testrecord.SQLite(t), "", "")
	b := browser(t)()
	b.open(s.url("/"))
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.Local)
	for _, c := range []struct {
		ago  int
		want string
	}{{0, "Today"}, {1, "Yesterday"}, {2, "Last week"}, {7, "Last week"}, {12, "February"}, {90, "December 2025"}} {
		b.wait(fmt.Sprintf("(import('/ui/js/list.js').then(m => window.group = m.groupOf(%d, new Date(%d))), window.group === %q)",
			now.AddDate(0, 0, -c.ago).Unix(), now.UnixMilli(), c.want))
	}
}

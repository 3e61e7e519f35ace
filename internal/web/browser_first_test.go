package web_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

func TestWithoutAModelThePageSaysSoAndLooksThingsUp(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		dir := t.TempDir()
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("network.md", "# VLANs\n\nThe cameras are in VLAN 40, 10.5.40.0/24.\n")
		write("huge.md", "# Inventory\n\n"+strings.Repeat("A line about a cable.\n", 5000))
		s := newServer(t, testrecord.SQLite(t), "correct horse", dir)
		s.model.Fail(errors.New("connection refused; start Ollama or set OLLAMA_HOST"))
		b.open(s.lan("/")) // where there is no clipboard API
		b.do(chromedp.SendKeys(chromedp.CSS("#password"), "correct horse\r"))

		// What was tried, what to do, and the command to copy.
		card := "document.querySelector('#offline-card')"
		b.wait("!" + card + "?.hidden && " + card + ".innerText.includes('http://127.0.0.1:11434/v1') && " + card + ".innerText.includes('connection refused')")
		b.wait("document.querySelector('#list-none').offsetParent || innerWidth < 700")
		if b.text("innerWidth") == "1280" {
			b.picture("no-model")
		}
		b.checkAccess("no model")
		if b.text("document.documentElement.scrollWidth <= innerWidth") != "true" {
			t.Error("the page scrolls sideways")
		}
		for _, command := range []string{"ollama pull llama3.2", "OLLAMA_HOST=192.168.1.20:11434 hwlab serve", "OPENAI_BASE_URL=http://192.168.1.20:8000/v1 hwlab serve"} {
			b.text("document.querySelector('#offline-card [aria-label=\"Copy " + command + "\"]').focus()")
			b.enter(0)
			b.wait("document.activeElement.textContent === 'Copied'")
			b.text(box + ".focus()")
			b.command("v", "KeyV", 86, 2, "paste")
			b.wait(fmt.Sprintf("%s.value === %q", box, command))
			b.text(box + ".select()")
		}

		// The advisor that looks things up works meanwhile.
		b.insert("Where are the cameras?")
		b.click(button("Send"))
		b.settled(2)
		b.waitText("VLAN 40")
		b.waitText("network.md")
		b.wait("document.querySelector('#notes').innerText === (innerWidth < 700 ? 'Notes: 1 of 2' : 'Lab notes in use: 1 · 1 did not fit')")
		b.click("document.querySelector('#notes')")
		b.wait("document.querySelector('#notes-popover').innerText.includes('huge.md')")
		b.wait("document.querySelector('#offline-banner').offsetParent && document.querySelector('#empty').hidden")
		b.checkAccess("no model, in a conversation")

		// And so does what was said before, and the page sees by itself that there is a model.
		id := s.conversation("The old NAS")
		for i, text := range []string{"Is it RAIDZ?", "Yes, of six disks."} {
			if _, err := s.record.AddMessage(t.Context(), id, []string{"user", "assistant"}[i], text); err != nil {
				t.Fatal(err)
			}
		}
		b.key("Escape", "Escape", 27, 0)
		b.sidebar()
		b.click(row("The old NAS"))
		b.waitText("Yes, of six disks.")
		s.model.Fail(nil)
		b.wait("document.querySelector('#model').value === 'test-model' && document.querySelector('#offline-banner').hidden")
		s.model.Script(llmtest.Say("Since 2019.")...)
		b.send("Since when?")
		b.settled(4)
		b.waitText("Since 2019.")
	})
}

// A first question does not have to be thought of; whoever has asked is not shown examples again.
func TestExamplesForTheFirstQuestion(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		b.open(s.url("/"))
		b.ready()
		b.checkAccess("the first visit")
		example := "[...document.querySelectorAll('#examples button')].find(e => e.offsetParent && e.innerText.includes('ZFS'))"
		b.click(example)
		b.wait(box + ".value.includes('A ZFS pool is degraded') && document.activeElement === " + box)
		b.click(button("Send"))
		b.settled(2)
		b.open(s.url("/"))
		b.wait("document.querySelector('nav a') && !document.querySelector('#empty').hidden")
		if b.text(example) != "undefined" {
			t.Error("the examples are still there")
		}
	})
}

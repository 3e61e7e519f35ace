package web_test

import (
	"testing"

	"git.georgsen.dk/hwlab/internal/llm/llmtest"
	"git.georgsen.dk/hwlab/internal/testrecord"
)

func TestATitleByTheModelShowsByItself(t *testing.T) {
	widths(t, func(t *testing.T, b *tab) {
		s := newServer(t, testrecord.SQLite(t), "", "")
		s.stop()
		s.titles = true
		s.start()
		first, gate := llmtest.NewGate(), llmtest.NewGate()
		defer gate.Open()
		s.model.Script(llmtest.Step{Text: "It is"}, llmtest.Step{Gate: first, Text: " sdb."}, llmtest.Step{Finish: "stop"})
		s.model.Script(append([]llmtest.Step{{Gate: gate}}, llmtest.Say("The **failing** disk")...)...)
		b.open(s.url("/"))
		shown := func(title string) {
			t.Helper()
			b.wait(`document.title.includes("` + title + `") && document.querySelector("#title").textContent === "` + title + `"`)
			b.wait(`[...document.querySelectorAll("nav .name")].map(n => n.textContent).join() === "` + title + `"`)
		}
		b.send("Which disk is it?")
		b.waitText("It is")
		shown("Which disk is it?") // while it is answered
		first.Open()
		b.settled(2)
		<-gate.Reached()
		shown("Which disk is it?")
		b.text(`document.querySelector("textarea").focus()`)
		gate.Open()
		shown("The failing disk")
		if got := b.text(`document.activeElement.tagName + document.querySelectorAll("[role=log] article").length`); got != "TEXTAREA2" {
			t.Errorf("after it the page has %s", got)
		}
	})
}

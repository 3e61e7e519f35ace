package llm_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/llm"
)

// library answers every question with the same passages.
type library struct {
	passages []llm.Passage
	err      error
	asked    *string
}

func (l library) Find(_ context.Context, question string, limit int) ([]llm.Passage, error) {
	if l.asked != nil {
		*l.asked = question
	}
	return l.passages[:min(limit, len(l.passages))], l.err
}

func TestOfflineQuotesAndCitesWhatItFinds(t *testing.T) {
	var asked string
	notes := library{asked: &asked, passages: []llm.Passage{
		{Title: "dns_main.md › Upstream", Source: llm.SourceNote, Text: "The resolver is 10.5.0.1.\n\n```\nunbound -d\n```\n"}}}
	past := library{passages: []llm.Passage{
		{Title: "Which  DNS?", Source: llm.SourceConversation, Text: "which DNS  server?"}, // the question itself
		{Title: "A [new] resolver", Link: "/c/1", Source: llm.SourceConversation, Text: "Unbound."}}}
	offline := llm.NewOffline(slog.New(slog.DiscardHandler), notes, past)
	req := llm.Request{Messages: []llm.Message{{Role: llm.RoleUser, Text: "first"}, {Role: llm.RoleUser, Text: "Which DNS server?"},
		{Role: llm.RoleAssistant, Text: "…"}}}
	got := collect(t, offline, req)
	want := `No model is connected, so this is not advice but a look-up of your words in the lab notes and in past conversations.

From the note **dns\_main.md › Upstream**:

> The resolver is 10.5.0.1.
> 
> ` + "```\n> unbound -d\n> ```" + `

From the conversation [**A \[new\] resolver**](/c/1):

> Unbound.

For real answers, start [Ollama](https://ollama.com) on this machine or set ` + "`OPENAI_BASE_URL`" + ` to any server with Chat Completions; it is found within seconds.
`
	if got.err != nil || got.text != want {
		t.Errorf("got\n%s\n%v\nwant\n%s", got.text, got.err, want)
	}
	if asked != "Which DNS server?" || len(got.deltas) != 6 || got.finish != llm.FinishStop {
		t.Errorf("asked %q, %d deltas, finish %q", asked, len(got.deltas), got.finish)
	}
	if again := collect(t, offline, req); again.text != got.text {
		t.Error("the same question got another answer")
	}
}

func TestOfflineSaysWhenNothingIsFound(t *testing.T) {
	got := collect(t, llm.NewOffline(slog.New(slog.DiscardHandler), library{}), ask("hi"))
	if !strings.Contains(got.text, "Nothing was found") || !strings.Contains(got.text, "start [Ollama]") {
		t.Errorf("got %s, %v", got.text, got.err)
	}
}

func TestOfflineSurvivesALibraryThatFails(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	broken := library{err: errors.New("disk gone")}
	got := collect(t, llm.NewOffline(log, broken, library{passages: []llm.Passage{{Title: "a", Text: "found"}}}), ask("hi"))
	if !strings.Contains(got.text, "> found") || !strings.Contains(got.text, "could not be searched") || got.err != nil {
		t.Errorf("got %s, %v", got.text, got.err)
	}
	if got := collect(t, llm.NewOffline(log, broken, broken), ask("hi")); !errors.Is(got.err, broken.err) {
		t.Errorf("all failed: got %v", got.err)
	}
}

func TestOfflineQuotesLongPassagesInPart(t *testing.T) {
	long := strings.Repeat("ééééé\n", 1000)
	got := collect(t, llm.NewOffline(slog.New(slog.DiscardHandler), library{passages: []llm.Passage{{Title: "a", Text: long}}}), ask("hi"))
	if len(got.text) > 2500 || !strings.Contains(got.text, "> ééééé\n> …\n") || strings.ContainsRune(got.text, '\uFFFD') {
		t.Errorf("got %d bytes: %.300s", len(got.text), got.text)
	}
}

func TestOfflineStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range llm.NewOffline(slog.New(slog.DiscardHandler), library{}).Stream(ctx, ask("hi")) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("got %v", last)
	}
}

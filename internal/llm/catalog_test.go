package llm_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/llm/llmtest"
)

var errDown = &llm.Error{Code: llm.CodeUnreachable, Message: "connection refused"}

func down() *llmtest.Fake {
	f := llmtest.New()
	f.Fail(errDown)
	return f
}

func withoutList() *llmtest.Fake {
	f := llmtest.New()
	f.Fail(&llm.Error{Status: 404, Message: "Not Found"})
	return f
}

// catalog makes one of sources named A, B, …, of which the last is looked for without being configured.
func catalog(t *testing.T, def string, providers ...llm.Provider) *llm.Catalog {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg := llm.CatalogConfig{Offline: llm.NewOffline(log), Default: def, Log: log}
	for i, p := range providers {
		cfg.Sources = append(cfg.Sources, llm.Source{Name: string(rune('A' + i)), Provider: p, Optional: i == len(providers)-1})
	}
	c := llm.NewCatalog(cfg)
	t.Cleanup(c.Close)
	return c
}

func ids(models []llm.Info) string {
	var all []string
	for _, m := range models {
		all = append(all, m.ID)
	}
	return strings.Join(all, " ")
}

func TestCatalogRoutes(t *testing.T) {
	two := func() []llm.Provider {
		return []llm.Provider{llmtest.New("nomic-embed-text", "gpt", "shared"), llmtest.New("qwen:latest", "shared", "gpt")}
	}
	tests := []struct {
		name, def string
		sources   []llm.Provider
		ask       string
		want      string // "source/id", or the error
		list      string
	}{
		{"no default: the first that can chat", "", two(), "", "A/gpt", "gpt nomic-embed-text shared qwen:latest offline"},
		{"the configured default comes first", "shared", two(), "", "A/shared", "shared nomic-embed-text gpt qwen:latest offline"},
		{"by name", "", two(), "shared", "A/shared", ""},
		{"Ollama's tag may be left out", "qwen", two(), "", "B/qwen:latest", "qwen:latest nomic-embed-text gpt shared offline"},
		{"offline by name", "", two(), "offline", "offline", ""},
		{"offline as the default", "offline", two(), "", "offline", "nomic-embed-text gpt shared qwen:latest offline"},
		{"unknown", "", two(), "llama", `there is no model "llama"; choose one of: gpt, nomic-embed-text, shared, qwen:latest, offline`, ""},
		{"one is down", "", []llm.Provider{down(), llmtest.New("qwen")}, "", "B/qwen", "qwen offline"},
		{"the default's source is down: no silent other", "gpt", []llm.Provider{down(), llmtest.New("qwen")}, "",
			`there is no model "gpt"; choose one of: qwen, offline (not answering now: A)`, "qwen offline"},
		{"nobody answers", "gpt", []llm.Provider{down(), down()}, "", "offline", "offline"},
		{"nobody answers, asked by name", "", []llm.Provider{down(), down()}, "gpt", "offline", ""},
		{"no sources", "", nil, "", "offline", "offline"},
		{"no models", "", []llm.Provider{llmtest.New()}, "", "offline", "offline"},
		{"only embeddings", "", []llm.Provider{llmtest.New("bge-m3")}, "", "offline", "bge-m3 offline"},
		{"a server without a list is asked for what nobody lists", "gpt", []llm.Provider{withoutList(), llmtest.New("qwen")}, "", "A/gpt", "gpt qwen offline"},
		{"a server without a list and no default", "", []llm.Provider{withoutList()}, "", "offline", "offline"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := catalog(t, test.def, test.sources...)
			provider, id, err := c.Resolve(t.Context(), test.ask)
			got := id
			if i := slices.Index(test.sources, provider); i >= 0 {
				got = string(rune('A'+i)) + "/" + id
			}
			if err != nil {
				got = err.Error()
				if unknown := (*llm.UnknownModelError)(nil); !errors.As(err, &unknown) {
					t.Errorf("an error of type %T", err)
				}
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if models, err := c.Models(t.Context()); err != nil || test.list != "" && ids(models) != test.list {
				t.Errorf("lists %s, %v; want %s", ids(models), err, test.list)
			}
		})
	}
}

func TestCatalogStreamsByTheConcreteModel(t *testing.T) {
	fake := llmtest.New("qwen:latest")
	fake.Script(llmtest.Say("Hello")...)
	c := catalog(t, "qwen", fake)
	if got := collect(t, c, llm.Request{}); got.text != "Hello" {
		t.Errorf("got %+v", got)
	}
	if got := fake.Requests()[0].Model; got != "qwen:latest" {
		t.Errorf("asked for %q", got)
	}
	if got := collect(t, c, llm.Request{Model: "x"}); got.err == nil {
		t.Errorf("unknown model: got %+v", got)
	}
}

func TestCatalogTellsWhatWasTried(t *testing.T) {
	c := catalog(t, "", llmtest.New("a"), llmtest.New(), withoutList(), down())
	states, err := c.States(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range states {
		got = append(got, strings.Join([]string{s.Name, map[bool]string{true: "up", false: "down"}[s.Up], ids(s.Models), s.Problem}, "|"))
	}
	want := []string{"A|up|a|", "B|up||it answers but has no models",
		"C|up||it answers but does not list its models; check that its base URL ends in /v1, or name one with HWLAB_MODEL",
		"D|down||model server: connection refused"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// slow answers Models when let, or not before its context ends.
type slow struct {
	llm.Provider
	stuck atomic.Bool
	asked atomic.Int64
}

func (s *slow) Models(ctx context.Context) ([]llm.Info, error) {
	s.asked.Add(1)
	if s.stuck.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []llm.Info{{ID: "slow"}}, nil
}

func (s *slow) Stream(context.Context, llm.Request) iter.Seq2[llm.Delta, error] {
	return func(yield func(llm.Delta, error) bool) { yield(llm.Delta{Finish: "stop"}, nil) }
}

func TestCatalogAsksOnceForAllAndIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &slow{}
		source.stuck.Store(true)
		c := catalog(t, "", llmtest.New("fast"), source)
		begin := time.Now()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, id, err := c.Resolve(t.Context(), ""); id != "fast" || err != nil {
					t.Errorf("got %q, %v", id, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(begin); took != llm.DefaultProbeTimeout {
			t.Errorf("took %v", took)
		}
		if _, _, err := c.Resolve(t.Context(), ""); err != nil || time.Since(begin) != llm.DefaultProbeTimeout {
			t.Errorf("a recent look was not used: %v, %v", err, time.Since(begin))
		}
		if n := source.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestCatalogSeesSourcesComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := down()
		c := catalog(t, "", source)
		see := func(want string) {
			t.Helper()
			if _, id, err := c.Resolve(t.Context(), ""); id != want || err != nil {
				t.Errorf("got %q, %v; want %q", id, err, want)
			}
		}
		see("offline")
		source.SetModels("qwen")
		source.Fail(nil)
		see("offline") // the last look is recent
		time.Sleep(llm.DefaultTTL)
		see("qwen")
		source.Fail(errDown)
		time.Sleep(llm.DefaultTTL)
		see("offline")
	})
}

func TestCatalogIsPatientWithABusySource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &slow{}
		c := catalog(t, "", source)
		for _, step := range []struct {
			after time.Duration
			stuck bool
			want  string
		}{{0, false, "slow"}, {llm.DefaultTTL, true, "slow"}, {llm.DefaultTTL, true, "slow"}, {time.Minute, true, "offline"}, {llm.DefaultTTL, false, "slow"}} {
			time.Sleep(step.after)
			source.stuck.Store(step.stuck)
			if _, id, err := c.Resolve(t.Context(), ""); id != step.want || err != nil {
				t.Errorf("%+v: got %q, %v", step, id, err)
			}
		}
	})
}

func TestCatalogLetsACallerLeaveAndFinishesForTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &slow{}
		source.stuck.Store(true)
		c := catalog(t, "", source)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := c.Models(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}()
		synctest.Wait() // it started the look
		cancel()
		if models, err := c.Models(t.Context()); err != nil || ids(models) != "offline" || source.asked.Load() != 1 {
			t.Errorf("got %v, %v, asked %d times", models, err, source.asked.Load())
		}
	})
}

func TestClosedCatalogStopsLooking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &slow{}
		source.stuck.Store(true)
		c := catalog(t, "", source)
		go c.Models(t.Context())
		synctest.Wait()
		begin := time.Now()
		c.Close()
		if took := time.Since(begin); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

func TestWhatOnlyEmbedsIsNoDefault(t *testing.T) {
	f := llmtest.New()
	f.SetInfos(llm.Info{ID: "small:latest", Chats: new(false)}, llm.Info{ID: "image-talker", Chats: new(true)}, llm.Info{ID: "qwen"})
	c := catalog(t, "", f)
	if _, id, err := c.Resolve(t.Context(), ""); err != nil || id != "image-talker" {
		t.Errorf("the default is %q, %v", id, err)
	}
	if _, id, err := c.Resolve(t.Context(), "small"); err != nil || id != "small:latest" {
		t.Errorf("by its name it is %q, %v", id, err)
	}
	f.SetInfos(llm.Info{ID: "small:latest", Chats: new(false)})
	if _, id, err := catalog(t, "", f).Resolve(t.Context(), ""); err != nil || id != llm.OfflineModel {
		t.Errorf("with nothing else it is %q, %v", id, err)
	}
}

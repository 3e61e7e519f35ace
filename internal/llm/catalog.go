package llm

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Defaults of a CatalogConfig.
const (
	DefaultTTL          = 8 * time.Second
	DefaultProbeTimeout = 1500 * time.Millisecond
)

// patience is how long a source that has answered may be silent and still count: a small server is busy with a long
// prompt more often than it is gone, and one that is gone refuses.
const patience = time.Minute

// Source is a named provider in a catalog.
type Source struct {
	Name     string // as a person knows it: "Ollama", "OPENAI_BASE_URL"
	BaseURL  string // to be shown; without credentials
	Provider Provider
	Optional bool // looked for without being configured: absent is normal
}

// SourceState is what the last look at a source found.
type SourceState struct {
	Name     string
	BaseURL  string
	Optional bool
	Up       bool   // it answered
	Models   []Info // may be empty even if it is up
	Problem  string // for a person; "" if there is none
}

// CatalogConfig configures a Catalog. Sources are in order of preference.
type CatalogConfig struct {
	Sources      []Source
	Offline      Provider // has the model OfflineModel
	Default      string   // the model for a request that names none; "": the first that can chat
	TTL          time.Duration
	ProbeTimeout time.Duration // of one source; they are asked at the same time
	Now          func() time.Time
	Log          *slog.Logger // hears of sources that come and go
}

// Catalog is a [Provider] made of several. It asks its sources what they have, at most once per TTL and for all
// callers together, so a server that is down costs one caller in a while the probe's timeout and nobody more.
type Catalog struct {
	cfg    CatalogConfig
	ctx    context.Context // ends with Close; a probe is not the caller's who happened to start it
	cancel context.CancelFunc

	mu   sync.Mutex
	last *look
	next *look // under way; nil if none is
}

// look is one look at all sources. Its fields are set before done is closed, and never changed after.
type look struct {
	done   chan struct{}
	at     time.Time
	states []SourceState
	blind  []bool      // per source: it answers, but has no list of models
	heard  []time.Time // per source: of its last answer
}

// NewCatalog fills in the defaults; it asks nobody yet.
func NewCatalog(cfg CatalogConfig) *Catalog {
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	if cfg.ProbeTimeout == 0 {
		cfg.ProbeTimeout = DefaultProbeTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Catalog{cfg: cfg}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close stops looking at the sources and waits until that has ended. Streams under way go on.
func (c *Catalog) Close() {
	c.cancel()
	c.mu.Lock()
	next := c.next
	c.mu.Unlock()
	if next != nil {
		<-next.done
	}
}

// Models implements [Provider]: the default first, then each source's in order, each id once, the offline advisor
// last. A source that does not answer adds none and is no error.
func (c *Catalog) Models(ctx context.Context) ([]Info, error) {
	l, err := c.look(ctx)
	if err != nil {
		return nil, err
	}
	return c.models(ctx, l), nil
}

func (c *Catalog) models(ctx context.Context, l *look) []Info {
	var all []Info
	seen := map[string]bool{OfflineModel: true}
	for _, s := range l.states {
		for _, m := range s.Models {
			if !seen[m.ID] {
				seen[m.ID] = true
				all = append(all, m)
			}
		}
	}
	if _, id, err := c.route(l, ""); err == nil && id != OfflineModel {
		first := Info{ID: id} // from a source without a list
		if i := slices.IndexFunc(all, func(m Info) bool { return m.ID == id }); i >= 0 {
			first = all[i]
			all = slices.Delete(all, i, i+1)
		}
		all = slices.Insert(all, 0, first)
	}
	offline, _ := c.cfg.Offline.Models(ctx)
	return append(all, offline...)
}

// States tells what was tried and what came of it, in the order of the sources.
func (c *Catalog) States(ctx context.Context) ([]SourceState, error) {
	l, err := c.look(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Clone(l.states), nil
}

// Resolve finds who answers a request for a model, and the id to ask for and to record: the default's for "", Ollama's
// "name:latest" for "name". When no source answers at all that is the offline advisor, whatever was asked for. A model
// that nobody has is an *UnknownModelError.
func (c *Catalog) Resolve(ctx context.Context, model string) (Provider, string, error) {
	if model == OfflineModel {
		return c.cfg.Offline, OfflineModel, nil
	}
	l, err := c.look(ctx)
	if err != nil {
		return nil, "", err
	}
	provider, id, err := c.route(l, model)
	var unknown *UnknownModelError
	if errors.As(err, &unknown) {
		for _, m := range c.models(ctx, l) {
			unknown.Available = append(unknown.Available, m.ID)
		}
	}
	return provider, id, err
}

func (c *Catalog) route(l *look, model string) (Provider, string, error) {
	up := slices.ContainsFunc(l.states, func(s SourceState) bool { return s.Up })
	if model == "" {
		model = c.cfg.Default
	}
	if !up || model == OfflineModel {
		return c.cfg.Offline, OfflineModel, nil
	}
	for _, wanted := range []string{model, model + ":latest"} {
		for i, s := range l.states {
			for _, m := range s.Models {
				if m.ID == wanted || model == "" && chats(m) {
					return c.cfg.Sources[i].Provider, m.ID, nil
				}
			}
		}
	}
	if model == "" {
		return c.cfg.Offline, OfflineModel, nil
	}
	if i := slices.Index(l.blind, true); i >= 0 {
		return c.cfg.Sources[i].Provider, model, nil
	}
	unknown := &UnknownModelError{Model: model}
	for _, s := range l.states {
		if !s.Up && !s.Optional {
			unknown.Down = append(unknown.Down, s.Name)
		}
	}
	return nil, "", unknown
}

// Stream implements [Provider] by the one that Resolve names.
func (c *Catalog) Stream(ctx context.Context, req Request) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		provider, id, err := c.Resolve(ctx, req.Model)
		if err != nil {
			yield(Delta{}, err)
			return
		}
		req.Model = id
		provider.Stream(ctx, req)(yield)
	}
}

// look returns the last look if it is recent, and else waits for a new one.
func (c *Catalog) look(ctx context.Context) (*look, error) {
	c.mu.Lock()
	if c.last != nil && c.cfg.Now().Sub(c.last.at) < c.cfg.TTL {
		defer c.mu.Unlock()
		return c.last, nil
	}
	if c.next == nil {
		c.next = &look{done: make(chan struct{})}
		go c.probe(c.next, c.last)
	}
	next := c.next
	c.mu.Unlock()
	select {
	case <-next.done:
		return next, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// probe asks all sources at the same time. last may be nil.
func (c *Catalog) probe(next, last *look) {
	next.states = make([]SourceState, len(c.cfg.Sources))
	next.blind = make([]bool, len(c.cfg.Sources))
	next.heard = make([]time.Time, len(c.cfg.Sources))
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.ProbeTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i, source := range c.cfg.Sources {
		wg.Go(func() {
			state := SourceState{Name: source.Name, BaseURL: source.BaseURL, Optional: source.Optional}
			models, err := source.Provider.Models(ctx)
			var answer *Error
			switch {
			case err == nil:
				state.Up, state.Models, next.heard[i] = true, models, c.cfg.Now()
				if len(models) == 0 {
					state.Problem = "it answers but has no models"
				}
			case errors.As(err, &answer) && hasNoList(answer.Status):
				state.Up, next.blind[i], next.heard[i] = true, true, c.cfg.Now()
				state.Problem = "it answers but does not list its models; check that its base URL ends in /v1, or name one " +
					"with HWLAB_MODEL"
			case errors.Is(err, context.DeadlineExceeded):
				state.Problem = "no answer within " + c.cfg.ProbeTimeout.String()
				if last != nil && c.cfg.Now().Sub(last.heard[i]) < patience {
					state.Up, state.Models = last.states[i].Up, last.states[i].Models
					next.blind[i], next.heard[i] = last.blind[i], last.heard[i]
				}
			default:
				state.Problem = err.Error()
			}
			next.states[i] = state
		})
	}
	wg.Wait()
	for i, now := range next.states {
		if last != nil && last.states[i].Up != now.Up { // the first look is for who started the program to tell
			c.cfg.Log.Info("model source", "name", now.Name, "url", now.BaseURL, "answers", now.Up,
				"models", len(now.Models), "problem", now.Problem)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next.at = c.cfg.Now()
	c.last, c.next = next, nil
	close(next.done)
}

// hasNoList tells the answers of servers that have Chat Completions but no list of models.
func hasNoList(status int) bool {
	return status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented
}

// chats tells whether a model answers questions, for a default that nobody has chosen. Where its server does not say, its name
// does: lists mix in models for embeddings, speech and images without a mark.
func chats(m Info) bool {
	if m.Chats != nil {
		return *m.Chats
	}
	id := strings.ToLower(m.ID)
	for _, word := range []string{"embed", "bge-", "minilm", "rerank", "whisper", "tts", "transcribe", "dall-e", "image",
		"moderation", "realtime", "sora", "davinci", "babbage"} {
		if strings.Contains(id, word) {
			return false
		}
	}
	return true
}

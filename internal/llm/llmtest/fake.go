// Package llmtest has a scripted model for tests: as an llm.Provider ([Fake]), and behind HTTP as a Chat Completions
// server ([NewServer]) that plays the same script, so that a test can go over the wire.
//
// Always true here: a reply is exactly its script, nothing is timed, and a test waits on a [Gate] instead of sleeping.
// It may not be imported by the program.
package llmtest

import (
	"context"
	"iter"
	"slices"
	"sync"

	"git.georgsen.dk/hwlab/internal/llm"
)

// Step is one thing a scripted reply does. Its parts happen in the order of the fields; those that are empty do not.
type Step struct {
	Gate      *Gate  // waits here until the test opens it, or the request is cancelled
	Read      [3]int // tokens of the prompt: all, those in the cache, those read; over HTTP for who asks a llama.cpp for it
	Reasoning string
	Text      string
	Refusal   string
	Call      *llm.Call // a piece of a call
	Usage     *llm.Usage
	Finish    string // ends the reply
	Err       error  // ends the reply
	Raw       string // only over HTTP: written as it is, for the quirks of servers
	Break     bool   // only over HTTP: drops the connection; from a Fake, an llm.Error with CodeTruncated
}

// Say makes a step for each text, and then finishes with "stop".
func Say(texts ...string) []Step {
	var steps []Step
	for _, text := range texts {
		steps = append(steps, Step{Text: text})
	}
	return append(steps, Step{Finish: llm.FinishStop})
}

// Call makes the steps of a call whose arguments come in pieces. index counts the calls of a reply.
func Call(index int, id, name string, pieces ...string) []Step {
	steps := []Step{{Call: &llm.Call{Index: index, ID: id, Name: name}}}
	for _, piece := range pieces {
		steps = append(steps, Step{Call: &llm.Call{Index: index, Arguments: piece}})
	}
	return steps
}

// Gate holds a reply until the test lets it go on.
type Gate struct {
	reached, open chan struct{}
	once, twice   sync.Once
}

// NewGate makes a closed gate, for one or more steps.
func NewGate() *Gate {
	return &Gate{reached: make(chan struct{}), open: make(chan struct{})}
}

// Reached is closed when a reply has come to the gate.
func (g *Gate) Reached() <-chan struct{} { return g.reached }

// Open lets every reply pass, now and later. It may be called again.
func (g *Gate) Open() { g.twice.Do(func() { close(g.open) }) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (g *Gate) reach() { g.once.Do(func() { close(g.reached) }) }

func (g *Gate) wait(ctx context.Context) error {
	g.reach()
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Fake is a scripted llm.Provider. Each request takes the next script; with none left it says "ok". A script that does
// not end is finished with "stop". It is safe for concurrent use.
type Fake struct {
	mu       sync.Mutex
	models   []llm.Info
	err      error
	load     *Gate
	scripts  [][]Step
	requests []llm.Request
}

// New makes a Fake with the models of these ids.
func New(models ...string) *Fake {
	f := &Fake{}
	f.SetModels(models...)
	return f
}

// SetModels replaces the list of models.
func (f *Fake) SetModels(ids ...string) {
	var models []llm.Info
	for _, id := range ids {
		models = append(models, llm.Info{ID: id, OwnedBy: "llmtest"})
	}
	f.SetInfos(models...)
}

// SetInfos replaces the list of models by these; over HTTP what they can do is told as vLLM and OpenRouter tell it.
func (f *Fake) SetInfos(models ...llm.Info) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.models = models
}

// Fail makes Models fail with err until it is called with nil.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// Load has the model loaded when it is asked for, until gate is opened. Over HTTP that is done in the way of the server that owns
// the models: llama.cpp with one or several, Ollama ("library") or llama-swap; others say nothing until then.
func (f *Fake) Load(gate *Gate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.load = gate
}

// loading returns the gate that loading waits at, or nil once that is over.
func (f *Fake) loading() *Gate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.load != nil && isClosed(f.load.open) {
		f.load = nil
	}
	return f.load
}

// Script adds the reply to a coming request.
func (f *Fake) Script(steps ...Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scripts = append(f.scripts, steps)
}

// Requests returns what was asked so far, oldest first.
func (f *Fake) Requests() []llm.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// Models implements llm.Provider.
func (f *Fake) Models(ctx context.Context) ([]llm.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	return slices.Clone(f.models), ctx.Err()
}

// take records a request and returns its script.
func (f *Fake) take(req llm.Request) []Step {
	f.mu.Lock()
	defer f.mu.Unlock()
	req.Messages, req.Waiting = slices.Clone(req.Messages), nil
	f.requests = append(f.requests, req)
	if len(f.scripts) == 0 {
		return Say("ok")
	}
	steps := f.scripts[0]
	f.scripts = f.scripts[1:]
	return steps
}

// Stream implements llm.Provider.
func (f *Fake) Stream(ctx context.Context, req llm.Request) iter.Seq2[llm.Delta, error] {
	return func(yield func(llm.Delta, error) bool) {
		waits := func(w llm.Wait) {
			if req.Waiting != nil {
				req.Waiting(w)
			}
		}
		if gate := f.loading(); gate != nil {
			waits(llm.Wait{Loading: true})
			if err := gate.wait(ctx); err != nil {
				yield(llm.Delta{}, err)
				return
			}
			waits(llm.Wait{})
		}
		for _, s := range f.take(req) {
			err := ctx.Err()
			if err == nil && s.Gate != nil {
				err = s.Gate.wait(ctx)
			}
			if all, known, read := s.Read[0], s.Read[1], s.Read[2]; all > known {
				waits(llm.Wait{Reading: true, Percent: 100 * (read - known) / (all - known)})
			}
			if err != nil {
				yield(llm.Delta{}, err)
				return
			}
			delta := llm.Delta{Reasoning: s.Reasoning, Text: s.Text, Refusal: s.Refusal, Call: s.Call, Usage: s.Usage, Finish: s.Finish}
			if delta != (llm.Delta{}) && !yield(delta, nil) || s.Finish != "" {
				return
			}
			if s.Break {
				s.Err = &llm.Error{Code: llm.CodeTruncated, Message: "the connection broke in the middle of the reply"}
			}
			if s.Err != nil {
				yield(llm.Delta{}, s.Err)
				return
			}
		}
		yield(llm.Delta{Finish: llm.FinishStop}, nil)
	}
}

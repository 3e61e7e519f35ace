// Package llm is the way to a model: one small interface, and what stands behind it.
//
// A [Client] speaks Chat Completions to any server that has them, [Offline] looks questions up when there is no
// model, and a [Catalog] finds out which of several providers answer and sends each request to the one that has the
// model. Package llmtest has a scripted provider for tests.
//
// Always true here: a stream that ends without an error has said why it finished, so a truncated reply is never taken
// for a whole one; text is handed on byte for byte, and a character is never split between two deltas; no error text
// contains a key or a password; every call ends when its context does.
//
// What it may not do: keep anything, read the environment, retry a request whose reply has begun, or import another
// package of hwlab.
package llm

import (
	"context"
	"iter"
	"time"
)

// The roles of a message.
const (
	RoleSystem    = "system"
	RoleUser      = "user"
	RoleAssistant = "assistant"
)

// Why a model stopped, in the words of Chat Completions. A server may have others; they are handed on as they are.
const (
	FinishStop          = "stop"           // the reply is whole
	FinishLength        = "length"         // a token limit cut it
	FinishContentFilter = "content_filter" // the server withheld the rest
)

// Message is one turn of what the model is told.
type Message struct {
	Role string // RoleSystem, RoleUser or RoleAssistant
	Text string
}

// Request asks for one reply. A nil parameter is left to the server.
type Request struct {
	Model           string // empty: the provider's default, where it has one
	Messages        []Message
	Temperature     *float64
	TopP            *float64
	MaxOutputTokens *int
}

// Delta is one step of a reply. Any of its parts may be empty, not all of them.
type Delta struct {
	Text   string // to be appended
	Finish string // "" until the model stops; set exactly once in a stream that ends without an error
	Usage  *Usage // nil until the server tells, which many never do
}

// Usage counts the tokens of one reply. Cached tokens are part of the input, reasoning tokens part of the output.
type Usage struct {
	InputTokens     int64
	CachedTokens    int64
	OutputTokens    int64
	ReasoningTokens int64
}

// Info describes a model. Only ID is always there.
type Info struct {
	ID      string
	OwnedBy string
	Created time.Time // zero: unknown
}

// Provider is something that answers. It is safe for concurrent use.
type Provider interface {
	// Models lists what can be asked for, best first; an empty list is no error. It may ask over the network: the
	// caller's context bounds it.
	Models(ctx context.Context) ([]Info, error)

	// Stream asks for one reply and gives it as it comes. Nothing is sent before the sequence is ranged over, and each
	// range over it is a new request. It ends with the delta that carries Finish, or with the first error; text that
	// came before an error stands. Breaking the loop cancels the request; a cancelled context ends the sequence with an
	// error that wraps the context's.
	Stream(ctx context.Context, req Request) iter.Seq2[Delta, error]
}

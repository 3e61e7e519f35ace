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
	"encoding/json"
	"iter"
	"time"
)

// The roles of a message.
const (
	RoleSystem    = "system"
	RoleUser      = "user"
	RoleAssistant = "assistant"
	RoleTool      = "tool" // the output of a call
)

// Why a model stopped, in the words of Chat Completions. A server may have others; they are handed on as they are.
const (
	FinishStop          = "stop"           // the reply is whole
	FinishLength        = "length"         // a token limit cut it
	FinishContentFilter = "content_filter" // the server withheld the rest
	FinishToolCalls     = "tool_calls"     // the reply ends in calls
)

// Message is one turn of what the model is told.
type Message struct {
	Role   string // one of the roles
	Text   string
	Parts  []Part // in place of Text where there is more than text
	Calls  []Call // of the assistant, after its text
	CallID string // of RoleTool: the call that this is the output of
}

// Part is one part of a message: a text, an image or a file. The others are empty.
type Part struct {
	Text     string
	ImageURL string // http, https or data
	Detail   string // of an image: low, high or auto
	FileName string
	FileData string // a data URL
}

// Call is a call of a tool, whole in a [Message]. In a [Delta] it is a piece of one: ID and Name come with the first piece, and
// Arguments are to be appended. Index counts the calls of a reply.
type Call struct {
	Index     int
	ID        string
	Name      string
	Arguments string // JSON, if the model got it right
}

// Tool is a function that the model may call.
type Tool struct {
	Name        string
	Description string
	Parameters  json.RawMessage // a JSON schema, or nil
	Strict      *bool
}

// The choices there are of tools beside the name of one.
const (
	ChoiceNone     = "none"
	ChoiceAuto     = "auto"
	ChoiceRequired = "required"
)

// ToolChoice says which tools are to be called. The zero value leaves it to the server.
type ToolChoice struct {
	Mode string // one of the choices
	Name string // of the one tool to be called; then Mode is ""
}

// Format is a form that the reply must have.
type Format struct {
	Type        string // json_object or json_schema
	Name        string // of a schema
	Description string
	Schema      json.RawMessage
	Strict      *bool
}

// Options are what a person may ask of a reply. A nil one is left to the server, and so is an empty one.
type Options struct {
	Tools             []Tool
	ToolChoice        ToolChoice
	ParallelToolCalls *bool
	Format            *Format // nil: text
	ReasoningEffort   string
	Verbosity         string
	Temperature       *float64
	TopP              *float64
	PresencePenalty   *float64
	FrequencyPenalty  *float64
	MaxOutputTokens   *int
}

// Request asks for one reply.
type Request struct {
	Model    string // empty: the provider's default, where it has one
	Messages []Message
	Options
	NoThinking bool // where the server has a switch for it

	// Continue says that the last message is the beginning of the reply, which goes on after it without thinking anew. It is for a
	// model that [Info] says Continues of.
	Continue bool

	// Waiting is called with what the reply waits for until its first delta, as far as its server tells. nil is for nobody who
	// minds.
	Waiting func(Wait)

	// Pace is called before more of the answer is read from its server, once all that had come was yielded: while it waits, the
	// network collects. nil is for no wait.
	Pace func()
}

// Wait is what a reply waits for. The zero value is for what is not known.
type Wait struct {
	Loading bool // the server loads the model, or begins to
	Reading bool // the model reads what it is told
	Percent int  // that it has read, of what it did not know from before
}

// Delta is one step of a reply. Any of its parts may be empty, not all of them.
type Delta struct {
	Reasoning string // what the model thinks before it answers, where its server shows that; to be appended
	Text      string // to be appended
	Refusal   string // the model's own words in place of an answer; to be appended
	Call      *Call  // a piece of a call
	Finish    string // "" until the model stops; set exactly once in a stream that ends without an error
	Usage     *Usage // nil until the server tells, which many never do
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
	ID            string
	OwnedBy       string
	Created       time.Time // zero: unknown
	ContextLength int64     // tokens of a conversation, as the server runs the model; 0: unknown
	Vision        *bool     // takes images; nil: unknown
	Tools         *bool     // calls functions; nil: unknown
	Chats         *bool     // answers questions; nil: unknown
	Continues     bool      // goes on with a reply, as far as is known; see [Request]
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

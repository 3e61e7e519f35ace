package llm

import (
	"fmt"
	"net/http"
	"strings"
)

// Codes of what is found wrong on this side. A server's own codes are handed on beside them.
const (
	CodeUnreachable = "unreachable"  // no connection, or no answer on it
	CodeTruncated   = "truncated"    // the stream ended before the reply did
	CodeBadResponse = "bad_response" // the answer was not Chat Completions
)

// codeLoading is llama.cpp's code while it loads its model.
const codeLoading = "unavailable_error"

// CodeContextExceeded is the code of a request that is longer than the model's context, whatever its server's word for that is.
const CodeContextExceeded = "context_length_exceeded"

// exceedsContext tells whether a server refuses a request because it is too long. OpenAI, llama.cpp and others have codes for
// that; some say it only in words.
func exceedsContext(status int, code, message string) bool {
	switch code {
	case CodeContextExceeded, "exceed_context_size_error", "context_window_exceeded", "context_length_exceeded_error":
		return true
	}
	if status != 0 && status != http.StatusBadRequest && status != http.StatusRequestEntityTooLarge &&
		status != http.StatusUnprocessableEntity && status != http.StatusInternalServerError {
		return false
	}
	message = strings.ToLower(message)
	for _, words := range []string{"maximum context length", "maximum model length", "context size", "context window", "context length"} {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}

// Error is what went wrong between hwlab and a model server. Its text is fit to show to a person: it says where and
// what to do, and contains no key.
type Error struct {
	Where   string // the server's base URL without credentials; "" when it is not known
	Status  int    // HTTP status; 0 when there was none, or when the error came inside a stream that began well
	Code    string // the server's own word for it, or one of the codes above; may be ""
	Message string
	param   string // the parameter that the server blames, where it names one
	cause   error  // for errors.Is; its text may hold a full URL and is never shown
}

func (e *Error) Error() string {
	text := "model server"
	if e.Where != "" {
		text += " at " + e.Where
	}
	text += ": " + e.Message
	if e.Status != 0 {
		text += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	return text
}

func (e *Error) Unwrap() error { return e.cause }

// UnknownModelError says that no provider has the model that was asked for.
type UnknownModelError struct {
	Model     string
	Available []string // what can be asked for instead, best first; never empty, the offline advisor is always there
	Down      []string // names of the sources that did not answer and might have it
}

func (e *UnknownModelError) Error() string {
	const enough = 12 // OpenAI alone lists a hundred
	shown := e.Available
	more := ""
	if len(shown) > enough {
		more = fmt.Sprintf(" and %d more", len(shown)-enough)
		shown = shown[:enough]
	}
	text := fmt.Sprintf("there is no model %q; choose one of: %s%s", e.Model, strings.Join(shown, ", "), more)
	if len(e.Down) > 0 {
		text += fmt.Sprintf(" (not answering now: %s)", strings.Join(e.Down, ", "))
	}
	return text
}

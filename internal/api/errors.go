package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf8"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// Error is OpenAI's error object, with the status it is sent with.
type Error struct {
	Status  int
	Code    string
	Message string
	Param   string            // the field of the request that is wrong, or ""
	Headers map[string]string // to send with it
	Head    *int64            // of a conversation that has gone on; hwlab's own
}

func (e *Error) Error() string { return e.Message }

// MarshalJSON writes the object inside OpenAI's envelope.
func (e *Error) MarshalJSON() ([]byte, error) {
	kind := "invalid_request_error"
	switch {
	case e.Status == http.StatusUnauthorized:
		kind = "authentication_error"
	case e.Status == http.StatusTooManyRequests:
		kind = "rate_limit_error"
	case e.Status >= 500:
		kind = "server_error"
	}
	object := map[string]any{"type": kind, "code": orNull(e.Code), "message": e.Message, "param": orNull(e.Param)}
	if e.Head != nil {
		object["head"] = *e.Head
	}
	return json.Marshal(object)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func badRequest(param, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid_value", Param: param, Message: fmt.Sprintf(format, args...)}
}

func notFound(what, id string) *Error {
	return &Error{Status: http.StatusNotFound, Code: "not_found", Message: fmt.Sprintf("there is no %s %q", what, id)}
}

// retryRunning tells a client when to try a conversation again that is being answered in.
const retryRunning = 1000 // milliseconds

// toError is the table from an error to what is sent.
func toError(err error) *Error {
	var own *Error
	var text *store.InvalidTextError
	var role *store.InvalidRoleError
	var conflict *store.ConflictError
	var model *llm.UnknownModelError
	var call *advisor.UnknownCallError
	var end *advisor.ContinueError
	var unsure *advisor.UnsureError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &text):
		param := text.Field
		switch param {
		case "content", "role", "item":
			param = "input"
		case "key":
			param = "Idempotency-Key"
		}
		return &Error{Status: http.StatusBadRequest, Code: "invalid_text", Param: param,
			Message: fmt.Sprintf("%s cannot be kept: it has %s", param, text.Reason)}
	case errors.As(err, &role):
		return badRequest("input", "%q is not a role: it is one of user, assistant, system, developer", role.Role)
	case errors.As(err, &conflict):
		return &Error{Status: http.StatusConflict, Code: "conversation_conflict", Param: "conversation", Head: &conflict.Head,
			Headers: map[string]string{"x-should-retry": "false"},
			Message: "the conversation has gone on since you saw it; read what is new and send again"}
	case errors.Is(err, store.ErrReplyRunning): // as OpenAI answers
		return &Error{Status: http.StatusBadRequest, Code: "conversation_locked", Param: "conversation",
			Headers: map[string]string{"x-should-retry": "true", "retry-after-ms": strconv.Itoa(retryRunning)},
			Message: "a reply is being written in this conversation; wait for its end"}
	case errors.Is(err, store.ErrKeyReused):
		return &Error{Status: http.StatusConflict, Code: "idempotency_key_reused", Param: "Idempotency-Key",
			Headers: map[string]string{"x-should-retry": "false"},
			Message: "this Idempotency-Key came with another request before; a new request wants a new key"}
	case errors.As(err, &model):
		return &Error{Status: http.StatusBadRequest, Code: "model_not_found", Param: "model", Message: model.Error()}
	case errors.As(err, &call): // as OpenAI answers
		return badRequest("input", "%s", call.Error())
	case errors.As(err, &end):
		return badRequest("conversation.continue", "%s", end.Error())
	case errors.Is(err, advisor.ErrDeleted):
		return &Error{Status: http.StatusNotFound, Code: "not_found", Param: "Idempotency-Key",
			Message: "the reply to the request that first came with this Idempotency-Key was deleted"}
	case errors.Is(err, store.ErrNotFound):
		return &Error{Status: http.StatusNotFound, Code: "not_found", Message: "it is not there"}
	case errors.Is(err, advisor.ErrStopping):
		return &Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "the server is stopping; try again"}
	case errors.Is(err, store.ErrFenced):
		return &Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Headers: map[string]string{"Retry-After": "1"},
			Message: "the server stood still and another has ended its replies; it is there again in a moment"}
	case errors.Is(err, store.ErrDiskFull):
		return &Error{Status: http.StatusInsufficientStorage, Code: "disk_full",
			Message: "the disk of the database is full; make room and try again"}
	case errors.As(err, &unsure):
		return &Error{Status: http.StatusServiceUnavailable, Code: "unavailable",
			Message: "the database did not say whether the question is kept, and if it is, it is answered; look before you ask again, or send the same Idempotency-Key again"}
	case store.Unavailable(err):
		return &Error{Status: http.StatusServiceUnavailable, Code: "unavailable",
			Message: "the database cannot be used now; try again. The server's log says why"}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "the database did not answer in time; try again"}
	}
	return &Error{Status: http.StatusInternalServerError, Code: "internal", Message: "something went wrong here; the server's log says what"}
}

// checkText refuses JSON with strings that no database can hold, or that Go would silently change while decoding: a NUL, bytes
// that are not UTF-8, and halves of a surrogate pair alone. field is the field of the request that raw is the value of.
func checkText(field string, raw []byte) error {
	if !utf8.Valid(raw) {
		return &Error{Status: http.StatusBadRequest, Code: "invalid_text", Param: field, Message: field + " cannot be kept: it has a byte that is not UTF-8"}
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++ // at what is escaped
		unit := codeUnit(raw[i:])
		if unit == 0 {
			return &Error{Status: http.StatusBadRequest, Code: "invalid_text", Param: field, Message: field + " cannot be kept: it has a NUL"}
		}
		if unit >= 0xD800 && unit < 0xDC00 && i+5 < len(raw) && raw[i+5] == '\\' {
			if low := codeUnit(raw[i+6:]); low >= 0xDC00 && low < 0xE000 {
				i += 10
				continue
			}
		}
		if unit >= 0xD800 && unit < 0xE000 {
			return &Error{Status: http.StatusBadRequest, Code: "invalid_text", Param: field, Message: field + " cannot be kept: it has half of a surrogate pair"}
		}
	}
	return nil
}

// codeUnit is the UTF-16 unit of an escape such as u00e9, or -1 for another escape.
func codeUnit(escaped []byte) int {
	if len(escaped) < 5 || escaped[0] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(escaped[1:5]), 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

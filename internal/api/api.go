// Package api is /v1: Open Responses and OpenAI's Conversations API over HTTP.
//
// The shapes are those of the Open Responses specification (github.com/openresponses/openresponses) and of OpenAI's
// published reference; what is hwlab's own is marked so where it is made. Every handler returns an error or has answered;
// errors.go has the one table from an error to a status. Package advisor writes the replies; this package reads their log
// and turns its rows into events, so that an event's sequence_number follows from what is stored.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/lab"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// Record is the part of the store that is read and changed directly.
type Record interface {
	CreateConversationWith(ctx context.Context, c store.NewConversation) (string, error)
	AppendMessages(ctx context.Context, a store.Append) ([]string, int64, error)
	Summary(ctx context.Context, id string) (store.ConversationSummary, error)
	List(ctx context.Context, q store.ListQuery) (store.ListPage, error)
	ConversationIDs(ctx context.Context, after string, limit int) ([]string, error)
	Thread(ctx context.Context, q store.ThreadQuery) (store.ThreadPage, error)
	Message(ctx context.Context, conversationID, id string) (store.Message, error)
	FindMessage(ctx context.Context, id string) (store.Message, error)
	Place(ctx context.Context, conversationID, messageID string) (store.Position, error)
	UndoDeletion(ctx context.Context, id string) (store.ConversationSummary, error)
	DeleteMessage(ctx context.Context, conversationID, id string) error
	UpdateConversation(ctx context.Context, id string, change store.ConversationChange) (store.ConversationSummary, error)
	ReadLog(ctx context.Context, responseID string, from int) (store.Response, []store.Delta, error)
	Search(ctx context.Context, q store.SearchQuery) (store.Hits, error)
}

// Advisor writes replies.
type Advisor interface {
	Ask(ctx context.Context, q advisor.Question) (store.Response, error)
	Asked(ctx context.Context, key, fingerprint string) (store.Response, bool, error)
	Answer(ctx context.Context, q advisor.Question) iter.Seq2[advisor.Step, error]
	Follow(ctx context.Context, responseID string, from int) iter.Seq2[advisor.Step, error]
	Ended(ctx context.Context, responseID string) (store.Response, []store.Delta, error)
	Cancel(ctx context.Context, responseID string) error
	DeleteConversation(ctx context.Context, id string) error
	HoldConversation(ctx context.Context, id string, hold time.Duration) (until time.Time, err error)
	DeleteResponse(ctx context.Context, id string) error
}

// Models are what can be asked.
type Models interface {
	Models(ctx context.Context) ([]llm.Info, error)
	Resolve(ctx context.Context, model string) (llm.Provider, string, error)
	States(ctx context.Context) ([]llm.SourceState, error)
}

// Notes reads the lab's notes as they are now.
type Notes interface {
	Read(ctx context.Context) (*lab.Notes, error)
}

// Config is what an API works with. All fields are needed but MaxRequest.
type Config struct {
	Record   Record
	Advisor  Advisor
	Models   Models
	Notes    Notes
	HasNotes bool // a folder of notes is configured
	Log      *slog.Logger

	MaxRequest int64 // the largest request that is read, in bytes; 0 for DefaultMaxRequest
}

// API serves /v1.
type API struct{ Config }

// DefaultMaxRequest is room for the 10 MiB of text that the specification allows, escaped.
const DefaultMaxRequest = 32 << 20

// New returns the handler of /v1.
func New(cfg Config) http.Handler {
	if cfg.MaxRequest == 0 {
		cfg.MaxRequest = DefaultMaxRequest
	}
	a := &API{cfg}
	mux := http.NewServeMux()
	for pattern, handler := range a.routes() {
		mux.Handle(pattern, a.handle(handler))
	}
	mux.Handle("/v1/", a.handle(func(_ http.ResponseWriter, r *http.Request) error {
		// The mux sends here what no pattern takes: a path that is not there, or a method that a path does not have.
		var possible []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
			probe := r.Clone(r.Context())
			probe.Method = method
			if _, pattern := mux.Handler(probe); pattern != "/v1/" {
				possible = append(possible, method)
			}
		}
		if len(possible) > 0 {
			return &Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Headers: map[string]string{"Allow": strings.Join(possible, ", ")},
				Message: r.Method + " is not possible on " + r.URL.Path}
		}
		return &Error{Status: http.StatusNotFound, Code: "unknown_url", Message: "there is no " + r.URL.Path + " here"}
	}))
	return mux
}

// routes are all there is under /v1. openapi.json describes each.
func (a *API) routes() map[string]func(http.ResponseWriter, *http.Request) error {
	return map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /v1/responses":                         a.createResponse,
		"GET /v1/responses/{id}":                     a.getResponse,
		"DELETE /v1/responses/{id}":                  a.deleteResponse,
		"POST /v1/responses/{id}/cancel":             a.cancelResponse,
		"GET /v1/responses/{id}/input_items":         a.listInputItems,
		"POST /v1/conversations":                     a.createConversation,
		"GET /v1/conversations":                      a.listConversations,
		"GET /v1/conversations/search":               a.search,
		"GET /v1/conversations/{id}":                 a.getConversation,
		"POST /v1/conversations/{id}":                a.updateConversation,
		"DELETE /v1/conversations/{id}":              a.deleteConversation,
		"POST /v1/conversations/{id}/restore":        a.restoreConversation,
		"POST /v1/conversations/{id}/items":          a.createItems,
		"GET /v1/conversations/{id}/items":           a.listItems,
		"GET /v1/conversations/{id}/items/{item}":    a.getItem,
		"DELETE /v1/conversations/{id}/items/{item}": a.deleteItem,
		"GET /v1/models":                             a.listModels,
		"GET /v1/models/{id}":                        a.getModel,
		"GET /v1/lab":                                a.getLab,
	}
}

// handle runs a handler and renders the error it returns.
func (a *API) handle(f func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, a.MaxRequest)
		err := checkQuery(r)
		if err == nil {
			err = f(w, r)
		}
		if err == nil {
			return
		}
		e := toError(err)
		if e.Status >= 500 && r.Context().Err() != nil { // whoever asked has gone
			panic(http.ErrAbortHandler)
		}
		if e.Status >= 500 {
			a.Log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		WriteError(w, e)
	})
}

// WriteError answers with e in OpenAI's envelope.
func WriteError(w http.ResponseWriter, e *Error) {
	for name, value := range e.Headers {
		w.Header().Set(name, value)
	}
	writeJSON(w, e.Status, map[string]any{"error": e})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(marshal(v))
}

// marshal is JSON without HTML escapes. It is only given values that have a JSON form.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// readJSON reads a request's body, a JSON object, into v. An empty body leaves v as it is.
func readJSON(r *http.Request, v any) error {
	_, err := readBody(r, v)
	return err
}

// readBody is readJSON, and returns the body as it came.
func readBody(r *http.Request, v any) ([]byte, error) {
	if t := r.Header.Get("Content-Type"); t != "" {
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" {
			return nil, &Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Param: "Content-Type",
				Message: "send the body as application/json"}
		}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, &Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Param: "Content-Encoding",
			Message: "send the body as it is, without Content-Encoding"}
	}
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Code: "request_too_large",
			Message: "the request is larger than " + strconv.FormatInt(tooLarge.Limit>>20, 10) + " MiB"}
	}
	if err != nil {
		return nil, badRequest("", "the request could not be read: %v", err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return body, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, badRequest("", "the body must be a JSON object, not %s", wrong.Value)
		}
		return nil, badRequest("", "the body is not JSON: %v", err)
	}
	if fields == nil {
		return nil, badRequest("", "the body must be a JSON object, not null")
	}
	if name, ok := twice(body); ok { // the checks below see one of them, and decoding joins them
		return nil, badRequest(name, "%s is given twice", name)
	}
	for name, value := range fields {
		if err := checkText(name, value); err != nil {
			return nil, err
		}
		if tooDeep(value) {
			return nil, badRequest(name, "%s is nested deeper than %d levels", name, maxDepth)
		}
	}
	if err := checkKnown("", fields, v); err != nil {
		return nil, err
	}
	return body, decode("", body, v)
}

// twice returns a field that a JSON object has more than once.
func twice(object []byte) (name string, ok bool) {
	seen := map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(object))
	for _, err := d.Token(); err == nil && d.More(); { // the first is where it opens
		token, _ := d.Token()
		name, _ = token.(string)
		if seen[name] {
			return name, true
		}
		seen[name] = true
		var value json.RawMessage
		err = d.Decode(&value)
	}
	return "", false
}

// decodeKnown reads the JSON object of a field into a struct, as decode does, and refuses what the struct does not have.
func decodeKnown(field string, raw json.RawMessage, v any) error {
	var fields map[string]json.RawMessage
	if err := decode(field, raw, &fields); err != nil {
		return err
	}
	if err := checkKnown(field, fields, v); err != nil {
		return err
	}
	return decode(field, raw, v)
}

// checkKnown refuses fields that the struct v does not have.
func checkKnown(field string, fields map[string]json.RawMessage, v any) error {
	known := fieldsOf(reflect.TypeOf(v).Elem())
	for name, value := range fields {
		if !slices.Contains(known, name) && given(value) {
			return unknown(inside(field, name))
		}
	}
	return nil
}

func unknown(param string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "unknown_parameter", Param: param, Message: fmt.Sprintf("there is no parameter %q", param)}
}

// inside is the name of a field of the field that has this name, "" for the body itself.
func inside(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

// maxDepth is how deep a value may be nested. SQLite, as the record of either engine must fit into the other, takes 1,000 levels.
const maxDepth = 500

// tooDeep reports whether valid JSON is nested deeper than maxDepth.
func tooDeep(raw []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return false
}

// checkQuery refuses a query that is malformed, has a parameter that openapi.json does not describe for this operation, as one that is
// dropped can turn a request into another, or wants included what nobody knows.
func checkQuery(r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badRequest("", "the query cannot be read: %v", err)
	}
	known, ok := queries()[r.Pattern]
	for name := range query {
		if ok && !slices.Contains(known, strings.TrimSuffix(name, "[]")) {
			return unknown(name)
		}
	}
	for _, name := range slices.Concat(query["include"], query["include[]"]) {
		if err := oneOf("include", name, includable...); err != nil {
			return err
		}
	}
	return nil
}

// fieldsOf is the names of a struct's fields in JSON.
func fieldsOf(object reflect.Type) (names []string) {
	for _, f := range reflect.VisibleFields(object) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// queryInt reads a number from the query, def where it is absent.
func queryInt(r *http.Request, name string, def, least, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, badRequest(name, "%s must be a number from %d to %d", name, least, most)
	}
	return n, nil
}

// queryBool reads true or false from the query, def where it is absent.
func queryBool(r *http.Request, name string, def bool) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "":
		return def, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, badRequest(name, "%s is true or false", name)
}

// The kinds of ids, by what they begin with. The rest is the UUID in the record.
const (
	conversationID = "conv_"
	responseID     = "resp_"
	messageID      = "msg_"
)

// parseID returns the UUID of an id of the kind, or "", which names nothing.
func parseID(kind, id string) string {
	rest, ok := strings.CutPrefix(id, kind)
	if !ok {
		return ""
	}
	return rest
}

// nullable is id with its kind before it, or null where there is none.
func nullable(kind, id string) *string {
	if id == "" {
		return nil
	}
	id = kind + id
	return &id
}

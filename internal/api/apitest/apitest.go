// Package apitest holds what the server answers against what is written about it: every object, list, error and event
// against the project's own /openapi.json and, where the file is found, against the published Open Responses specification.
// A request that is accepted is held against /openapi.json too.
//
// A test that gets its answers through [Handler], [Transport] or [Check] fails when one of them violates its schema, and the failure
// names the place in the object.
package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Handler is h, and what it answers is held against its description. It must have answered before t ends.
func Handler(t testing.TB, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		watched := &writer{ResponseWriter: w, answer: newAnswer(t, r)}
		if r.Body != nil {
			r.Body = &asked{r.Body, &watched.answer.asked}
		}
		whole := false
		defer func() { watched.answer.end(whole) }() // a handler that panics has cut its answer
		h.ServeHTTP(watched, r)
		if whole = r.Context().Err() == nil; whole { // who left gets no answer
			watched.begin(http.StatusOK)
		}
	})
}

// Check holds one answer against its description.
func Check(t testing.TB, r *http.Request, response *http.Response, body []byte) {
	t.Helper()
	a := newAnswer(t, r)
	a.begin(response.StatusCode, response.Header)
	a.write(body)
	a.end(true)
}

// Transport is a way, by base or by the usual one where that is nil, to a server whose answers are held against its
// description.
func Transport(t testing.TB, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return transport{t, base}
}

type transport struct {
	t    testing.TB
	base http.RoundTripper
}

func (tr transport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := tr.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	a := newAnswer(tr.t, r)
	a.begin(response.StatusCode, response.Header)
	response.Body = &body{ReadCloser: response.Body, answer: a}
	return response, nil
}

// CloseIdleConnections is for http.Client's.
func (tr transport) CloseIdleConnections() {
	if base, ok := tr.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

type body struct {
	io.ReadCloser
	answer *answer
	ended  bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.answer.write(p[:n])
	if err != nil && !b.ended {
		b.ended = true
		b.answer.end(err == io.EOF)
	}
	return n, err
}

// asked is a request's body, which is kept as it is read.
type asked struct {
	io.ReadCloser
	read *[]byte
}

func (b *asked) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	*b.read = append(*b.read, p[:n]...)
	return n, err
}

type writer struct {
	http.ResponseWriter
	answer *answer
	begun  bool
}

func (w *writer) begin(status int) {
	if !w.begun {
		w.begun = true
		w.answer.begin(status, w.Header())
	}
}

func (w *writer) WriteHeader(status int) {
	w.begin(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	w.answer.write(p)
	return w.ResponseWriter.Write(p)
}

func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// answer is an answer as it comes.
type answer struct {
	t      testing.TB
	method string
	path   string
	query  url.Values

	asked   []byte // the request's body, where it is known
	begun   bool
	status  int
	media   string
	pointer string // of the schema of the body; "" for none
	buf     []byte
	next    int // sequence_number, once there was one
	counted bool
}

func newAnswer(t testing.TB, r *http.Request) *answer {
	return &answer{t: t, method: r.Method, path: r.URL.EscapedPath(), query: r.URL.Query()}
}

func (a *answer) fail(format string, args ...any) {
	a.t.Helper()
	a.t.Errorf("%s %s, answered %d: %s", a.method, a.path, a.status, fmt.Sprintf(format, args...))
}

// begin finds what is described for the status and the media type.
func (a *answer) begin(status int, header http.Header) {
	a.begun, a.status = true, status
	doc, err := ours()
	if err != nil {
		a.fail("%v", err)
		return
	}
	a.media, _, _ = mime.ParseMediaType(header.Get("Content-Type"))
	keys := find(doc, a.method, a.path)
	if keys == nil { // no route takes it: the answer says so, or that nobody comes in
		if status < 400 {
			a.fail("it is not described")
			return
		}
		if !strings.HasPrefix(a.path, "/v1/") && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
			return // the mux's own words
		}
		a.pointer = component("ErrorEnvelope")
		a.wantMedia("application/json")
		return
	}
	a.checkAsked(doc, keys)
	described := append(keys, "responses", strconv.Itoa(status))
	if doc.at(described...) == nil {
		described = append(keys, "responses", "default")
	}
	response, _ := doc.at(described...).(map[string]any)
	if response == nil {
		if status >= 400 { // from the door, for every path
			a.pointer = component("ErrorEnvelope")
			a.wantMedia("application/json")
			return
		}
		a.fail("the status is not described")
		return
	}
	content, _ := response["content"].(map[string]any)
	if len(content) == 0 || a.method == http.MethodHead {
		return
	}
	media, _ := content[a.media].(map[string]any)
	if media == nil {
		a.fail("the media type %q is not described, but %q", a.media, slices.Sorted(maps.Keys(content)))
		return
	}
	schema, _ := media["schema"].(map[string]any)
	if schema == nil {
		return
	}
	if ref, ok := schema["$ref"].(string); ok {
		a.pointer = strings.TrimPrefix(ref, "#")
		return
	}
	a.pointer = pointerTo(append(described, "content", a.media, "schema")...)
}

// checkAsked holds a request that was accepted against what is described for the operation at keys.
func (a *answer) checkAsked(doc *document, keys []string) {
	if a.status >= 300 {
		return
	}
	parameters, _ := doc.at(append(keys, "parameters")...).([]any)
	for name := range a.query {
		if !slices.ContainsFunc(parameters, func(p any) bool {
			parameter, _ := doc.resolve(p).(map[string]any)
			return parameter["in"] == "query" && parameter["name"] == name
		}) {
			a.fail("the parameter %q is not described", name)
		}
	}
	schema, _ := doc.at(append(keys, "requestBody", "content", "application/json", "schema")...).(map[string]any)
	if schema == nil || len(bytes.TrimSpace(a.asked)) == 0 {
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.asked))
	if err != nil {
		a.fail("what was asked is not JSON: %v", err)
		return
	}
	a.check(doc, pointerTo(append(keys, "requestBody", "content", "application/json", "schema")...), "what was asked ", value)
}

func (a *answer) wantMedia(media string) {
	if a.media != media && a.method != http.MethodHead {
		a.fail("it is %q, not %s", a.media, media)
	}
}

func pointerTo(keys ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	text := ""
	for _, k := range keys {
		text += "/" + escape.Replace(k)
	}
	return text
}

// find returns where an operation is described; nil for none.
func find(doc *document, method, path string) []string {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	paths, _ := doc.root["paths"].(map[string]any)
	for _, template := range slices.Sorted(maps.Keys(paths)) {
		operations, _ := paths[template].(map[string]any)
		if _, ok := operations[strings.ToLower(method)]; ok && matches(template, path) {
			return []string{"paths", template, strings.ToLower(method)}
		}
	}
	return nil
}

// matches reports whether a path is of a template. {file} is any number of segments, as in the server.
func matches(template, path string) bool {
	parts, segments := strings.Split(template, "/"), strings.Split(path, "/")
	for i, p := range parts {
		switch {
		case p == "{file}":
			return i < len(segments)
		case i >= len(segments):
			return false
		case strings.HasPrefix(p, "{"):
			if segments[i] == "" {
				return false
			}
		case p != segments[i]:
			return false
		}
	}
	return len(parts) == len(segments)
}

func (a *answer) write(p []byte) {
	a.buf = append(a.buf, p...)
	if a.media != "text/event-stream" {
		return
	}
	for {
		frame, rest, ok := bytes.Cut(a.buf, []byte("\n\n"))
		if !ok {
			return
		}
		a.frame(string(frame))
		a.buf = rest
	}
}

// frame holds one event against its schema, and its frame against the event.
func (a *answer) frame(text string) {
	var id, name, data string
	for line := range strings.SplitSeq(text, "\n") {
		switch field, value, _ := strings.Cut(line, ": "); field {
		case "":
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = value
		default:
			a.fail("a frame has the line %q", line)
		}
	}
	if data == "" || data == "[DONE]" {
		return
	}
	value, ok := a.decode([]byte(data))
	if !ok {
		return
	}
	event, _ := value.(map[string]any)
	kind, _ := event["type"].(string)
	number := fmt.Sprint(event["sequence_number"])
	if kind == "error" {
		number = "" // so that nobody resumes after it
	}
	if name != kind || id != number {
		a.fail("the frame of event %s, number %s, says event %q, id %q", kind, number, name, id)
	}
	if number, ok := event["sequence_number"].(json.Number); ok {
		n, _ := strconv.Atoi(number.String())
		if a.counted && n != a.next {
			a.fail("event %s has number %d, not %d", kind, n, a.next)
		}
		a.counted, a.next = true, n+1
	}
	doc, err := ours()
	if err != nil {
		return // said already
	}
	ref, _ := doc.at("components", "schemas", "Event", "discriminator", "mapping", kind).(string)
	if ref == "" {
		a.fail("event %s is not described", kind)
		return
	}
	a.check(doc, strings.TrimPrefix(ref, "#"), "event "+kind+" ", value)
	a.published(publishedEvent(kind), "event "+kind+" ", value)
}

// end is called once the answer is over; whole says that nothing of it is missing.
func (a *answer) end(whole bool) {
	if !a.begun || !whole || a.pointer == "" || a.method == http.MethodHead {
		return
	}
	switch a.media {
	case "text/event-stream":
		if rest := bytes.TrimSpace(a.buf); len(rest) > 0 {
			a.fail("after the last frame comes %q", rest)
		}
		return
	case "application/json":
	default:
		if doc, err := ours(); err == nil {
			a.check(doc, a.pointer, "", string(a.buf))
		}
		return
	}
	value, ok := a.decode(a.buf)
	if !ok {
		return
	}
	doc, err := ours()
	if err != nil {
		return
	}
	a.check(doc, a.pointer, "", value)
	object, _ := value.(map[string]any)
	switch a.pointer {
	case component("Response"):
		a.published(component("ResponseResource"), "", value)
	case component("Item"):
		a.published(component("ItemField"), "", value)
	case component("ItemList"):
		items, _ := object["data"].([]any)
		for i, item := range items {
			a.published(component("ItemField"), fmt.Sprintf("/data/%d ", i), item)
		}
	case component("ErrorEnvelope"):
		a.published(component("ErrorPayload"), "/error ", object["error"])
	}
}

func (a *answer) decode(raw []byte) (any, bool) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		a.fail("%q is not JSON: %v", raw, err)
	}
	return value, err == nil
}

// check holds a value against a schema. where is what the value is in the answer.
func (a *answer) check(doc *document, pointer, where string, value any) {
	list, err := doc.check(pointer, value)
	if err != nil {
		a.fail("%s: %v", doc.name, err)
	}
	if len(list) == 0 {
		return
	}
	text, _ := json.Marshal(value)
	a.fail("by %s%s:\n  %s\n%s", doc.name, pointer, where+strings.Join(list, "\n  "+where), text)
}

func (a *answer) published(pointer, where string, value any) {
	doc, err := published()
	switch {
	case err != nil:
		a.fail("%v", err)
	case doc != nil && pointer == "":
		a.fail("%sis not in the published specification", where)
	case doc != nil:
		a.check(doc, pointer, where, value)
	}
}

// publishedEvent is the pointer to the published schema of the events of a type, "" for none.
func publishedEvent(kind string) string {
	doc, err := published()
	if err != nil || doc == nil {
		return ""
	}
	content, _ := doc.at("paths", "/responses", "post", "responses", "200", "content").(map[string]any)
	media, _ := content["text/event-stream"].(map[string]any)
	schema, _ := media["schema"].(map[string]any)
	events, _ := schema["oneOf"].([]any)
	for _, e := range events {
		ref, _ := e.(map[string]any)["$ref"].(string)
		event, _ := doc.resolve(e).(map[string]any)
		properties, _ := event["properties"].(map[string]any)
		types, _ := properties["type"].(map[string]any)
		if names, _ := types["enum"].([]any); slices.Contains(names, any(kind)) {
			return strings.TrimPrefix(ref, "#")
		}
	}
	return ""
}

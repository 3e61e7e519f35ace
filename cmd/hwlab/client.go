package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"git.georgsen.dk/hwlab/internal/store/sqlite"
)

// client speaks /v1 with a hwlab: one elsewhere, the one that serves the record here, or this process itself.
type client struct {
	base     string
	password string
	http     http.Client
	own      *ownServer // where this process is it
}

// connect finds the hwlab to work with: that of HWLAB_URL, or the one that serves the record, or else this process, which then
// has the record for itself until close.
func connect(ctx context.Context, cfg config, log *slog.Logger) (*client, error) {
	if cfg.URL != "" {
		return remoteClient(cfg)
	}
	cfg.Retention = "" // to erase is a server's
	own, err := startServer(ctx, cfg, log)
	var used *inUseError
	var locked *sqlite.LockedError
	switch {
	case errors.As(err, &used) && used.url != "":
		return &client{base: used.url, password: cfg.Password}, nil
	case errors.As(err, &locked) && locked.URL != "":
		return &client{base: locked.URL, password: cfg.Password}, nil
	case err != nil:
		return nil, err
	}
	return &client{base: "http://hwlab", own: own, http: http.Client{Transport: handlerTransport{own.v1}}}, nil
}

// remoteClient is for the hwlab of HWLAB_URL.
func remoteClient(cfg config) (*client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, &usageError{errors.New("HWLAB_URL is not a URL like http://nas.lan:8080")} // it may hold a password
	}
	if u.User != nil {
		return nil, &usageError{errors.New("HWLAB_URL holds a name or a password; the password belongs into HWLAB_PASSWORD")}
	}
	return &client{base: strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/v1"), password: cfg.Password}, nil
}

// close settles what this process writes.
func (c *client) close(ctx context.Context) error {
	if c.own == nil {
		c.http.CloseIdleConnections()
		return nil
	}
	return c.own.stop(ctx)
}

// apiError is what the server refuses a request with.
type apiError struct {
	base    string // "" where this process is the server
	Status  int    `json:"-"`
	Code    string
	Message string
}

func (e *apiError) Error() string {
	text := cmp.Or(e.Message, "it answers with status "+http.StatusText(e.Status))
	if e.Status == http.StatusUnauthorized {
		text = "it wants the password of its HWLAB_PASSWORD; set HWLAB_PASSWORD here to the same"
	}
	if e.base == "" {
		return text
	}
	return fmt.Sprintf("the server at %s: %s", e.base, text)
}

// noServerError is a server that does not answer: exit code 5.
type noServerError struct {
	base string
	err  error
}

func (e *noServerError) Error() string {
	why := e.err
	var wrapped *url.Error
	if errors.As(why, &wrapped) {
		why = wrapped.Err
	}
	return fmt.Sprintf("the server at %s does not answer: %v; start it, or set HWLAB_URL to another", e.base, why)
}

func (e *noServerError) Unwrap() error { return e.err }

// send sends a request. What the server refuses is an [apiError].
func (c *client) send(ctx context.Context, method, path string, body any, key string) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		var text bytes.Buffer
		if err := writeJSON(&text, body); err != nil {
			return nil, err
		}
		reader = &text
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.password != "" {
		request.Header.Set("Authorization", "Bearer "+c.password)
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if left := (*exit)(nil); errors.As(err, &left) {
			return nil, left
		}
		return nil, &noServerError{c.base, err}
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20)) // the status says enough
	failed := struct{ Error *apiError }{&apiError{}}
	if json.Unmarshal(text, &failed) != nil || failed.Error == nil {
		failed.Error = &apiError{}
	}
	failed.Error.Status = answer.StatusCode
	if c.own == nil {
		failed.Error.base = c.base
	}
	return nil, failed.Error
}

// call sends a request and decodes the answer, unless into is nil.
func (c *client) call(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	answer, err := c.send(ctx, method, path, body, "")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		return fmt.Errorf("the server at %s: its answer to %s %s cannot be read: %w", c.base, method, path, err)
	}
	return nil
}

// handlerTransport answers requests by a handler in this process, as it writes its answer.
type handlerTransport struct{ handler http.Handler }

func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	read, write := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: write, begun: make(chan *http.Response, 1)}
	w.answer = &http.Response{Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Body: read, ContentLength: -1}
	go func() {
		defer r.Body.Close()
		defer func() {
			if cut := recover(); cut != nil && cut != http.ErrAbortHandler { // a handler's way to cut its answer
				panic(cut)
			} else if cut != nil {
				write.CloseWithError(io.ErrUnexpectedEOF)
			}
			w.WriteHeader(http.StatusOK)
			write.Close()
		}()
		t.handler.ServeHTTP(w, r)
	}()
	context.AfterFunc(r.Context(), func() { read.CloseWithError(r.Context().Err()) })
	select {
	case answer := <-w.begun:
		return answer, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

type pipeWriter struct {
	header http.Header
	body   *io.PipeWriter
	answer *http.Response
	begun  chan *http.Response
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if w.answer != nil {
		w.answer.StatusCode, w.answer.Status = status, http.StatusText(status)
		w.begun <- w.answer
		w.answer = nil
	}
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Flush does nothing: what is written is read at once.
func (w *pipeWriter) Flush() {}

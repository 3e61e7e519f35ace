package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"git.georgsen.dk/hwlab/internal/store"
)

// turn is a question and its reply as it comes. What is lost with a connection is asked for again: the question with the same
// Idempotency-Key, the events after the last one that came.
type turn struct {
	*chat
	body    map[string]any
	key     string        // the Idempotency-Key
	id      string        // of the reply, once it is known
	known   chan struct{} // closed then
	last    int           // sequence_number of the last event
	heard   time.Time     // when something came
	sent    bool          // the question may have come to a server
	stopped atomic.Bool   // by an interrupt
}

// errStopped ends the reading of a reply that is not kept, errLeft that of any: it is the second interrupt.
var errStopped, errLeft = &exit{code: 130}, &exit{code: 130}

func (t *turn) run(ctx context.Context) (r reply, err error) {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	t.known, t.last, t.heard = make(chan struct{}), -1, time.Now()
	over, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		t.watch(ctx, leave, over)
	}()
	defer func() {
		close(over)
		<-watched
	}()
	stopWaiting := t.screen.waiting(t.model)
	defer stopWaiting()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		r, err = t.follow(ctx)
		r.stopped = t.stopped.Load() && r.Status == store.ResponseCancelled
		if cause := context.Cause(ctx); cause != nil {
			return r, cause
		}
		if err == nil || !t.again(err) {
			return r, err
		}
		t.screen.status("the connection is lost; trying again")
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return r, context.Cause(ctx)
		}
	}
}

// again tells whether what has failed is to be tried again.
func (t *turn) again(err error) bool {
	var away *noServerError
	var refused *apiError
	var dial *net.OpError
	switch {
	case errors.As(err, &away):
		if t.id == "" && !t.sent && errors.As(err, &dial) && dial.Op == "dial" {
			return false // nobody is there
		}
		t.sent = true
	case errors.As(err, &refused):
		if t.id == "" || refused.Status < http.StatusBadGateway || refused.Status > http.StatusGatewayTimeout {
			return false
		}
	default:
		return false
	}
	if t.forget {
		return false
	}
	if time.Since(t.heard) < serverAway {
		return true
	}
	if t.id != "" {
		t.leftAlone(t.id)
	}
	return false
}

// watch stops the reply at the first interrupt and leaves at the second, or when the process is to end.
func (t *turn) watch(ctx context.Context, leave context.CancelCauseFunc, over <-chan struct{}) {
	known := t.known
	for {
		select {
		case s := <-t.signals:
			switch {
			case s != os.Interrupt || t.stopped.Swap(true):
				leave(leftBy(s))
			case t.forget:
				leave(errStopped) // who is not read is not written either
			default:
				t.screen.status("stopping")
			}
		case <-known:
			known = nil
		case <-over:
			return
		}
		if known == nil && t.stopped.Load() {
			go t.call(ctx, http.MethodPost, "/v1/responses/"+t.id+"/cancel", nil, nil) // the stream tells what came of it
			known = make(chan struct{})
		}
	}
}

// event is an event of a stream, as far as it is looked at.
type event struct {
	Type     string
	Number   int `json:"sequence_number"`
	Response json.RawMessage
	Delta    string
	Error    *apiError
}

// follow reads the reply, from its beginning or from where it was left, to its end.
func (t *turn) follow(ctx context.Context) (r reply, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(streamSilence, func() { cancel(errors.New("it has fallen silent")) })
	defer silence.Stop()
	var answer *http.Response
	if t.id == "" {
		key := ""
		if !t.forget {
			if t.key == "" {
				t.key = store.NewID()
			}
			key = t.key
		}
		answer, err = t.send(ctx, http.MethodPost, "/v1/responses", t.body, key)
	} else {
		answer, err = t.send(ctx, http.MethodGet, fmt.Sprintf("/v1/responses/%s?stream=true&starting_after=%d", t.id, t.last), nil, "")
	}
	if err != nil {
		return r, err
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			} else if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return r, &noServerError{t.base, err}
		}
		t.heard = time.Now()
		silence.Reset(streamSilence)
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok || data[0] != '{' {
			continue
		}
		var e event
		if err := json.Unmarshal(data, &e); err != nil {
			return r, fmt.Errorf("the server at %s: an event cannot be read: %w", t.base, err)
		}
		ended, err := t.take(e, &r)
		if err != nil || ended {
			return r, err
		}
		t.last = e.Number
	}
}

// take shows an event, and tells whether it was the last; r is then the reply.
func (t *turn) take(e event, r *reply) (ended bool, err error) {
	switch e.Type {
	case "response.created":
		if err := json.Unmarshal(e.Response, r); err != nil {
			return false, err
		}
		t.id = r.ID
		close(t.known)
	case "response.output_text.delta", "response.refusal.delta":
		if !t.whole && !t.code && !t.asJSON && !t.deaf {
			err = t.screen.text(e.Delta)
		}
		if errors.Is(err, errPipe) {
			t.leftAlone(t.id)
			if t.own != nil && !t.forget { // it goes on only as long as this process does
				err = nil
			}
		}
		return false, err
	case "response.reasoning_summary_text.delta", "response.reasoning_text.delta":
		t.screen.reasoning(e.Delta)
	case "response.completed", "response.incomplete", "response.failed":
		*r = reply{object: e.Response}
		return true, json.Unmarshal(e.Response, r)
	case "error":
		refused := &apiError{Status: http.StatusInternalServerError}
		if e.Error != nil {
			refused = e.Error
			if e.Error.Code == "not_found" {
				e.Error.Status = http.StatusNotFound
			}
		}
		return false, refused
	}
	return false, nil
}

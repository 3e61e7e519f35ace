package api

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"iter"
	"net/http"
	"strconv"
	"time"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

// createResponse is POST /v1/responses. Once the question is in the record the answer is 200, whatever the model does.
func (a *API) createResponse(w http.ResponseWriter, r *http.Request) error {
	var q responseRequest
	body, err := readBody(r, &q)
	if err != nil {
		return err
	}
	key, fingerprint, err := idempotency(r, body)
	if err != nil {
		return err
	}
	if key != "" {
		if !q.stored() {
			return badRequest("Idempotency-Key", "an Idempotency-Key needs a reply that is kept: it cannot be used with store: false")
		}
		if reply, asked, err := a.Advisor.Asked(r.Context(), key, fingerprint); err != nil || asked {
			if err != nil {
				return err
			}
			return a.answer(w, r, q, reply, false)
		}
	}
	question, err := a.question(r, q)
	if err != nil {
		return err
	}
	question.Key, question.Fingerprint = key, fingerprint
	if !q.stored() {
		steps := a.Advisor.Answer(r.Context(), question)
		if q.Stream {
			return askError(a.stream(w, r, steps, -1), q)
		}
		return askError(writeSteps(w, steps), q)
	}
	var unsure *advisor.UnsureError
	reply, err := a.Advisor.Ask(r.Context(), question)
	kept := err == nil || errors.As(err, &unsure)
	if err != nil {
		err = askError(err, q)
	} else {
		err = a.answer(w, r, q, reply, key == "")
	}
	if err != nil && kept && question.Key == "" {
		w.Header().Set("x-should-retry", "false") // clients repeat a 5xx by themselves, and the question would stand twice
	}
	return err
}

// answer answers a request with its reply, which may have just begun.
func (a *API) answer(w http.ResponseWriter, r *http.Request, q responseRequest, reply store.Response, begun bool) error {
	switch {
	case q.Stream:
		return a.stream(w, r, a.Advisor.Follow(r.Context(), reply.ID, 0), -1)
	case q.Background && begun:
		return writeResponse(w, reply, nil)
	case q.Background:
		return a.sendResponse(w, r, reply.ID)
	}
	return a.waitResponse(w, r, reply.ID)
}

// question is what the advisor is asked. It refuses what is wrong with the request.
func (a *API) question(r *http.Request, q responseRequest) (question advisor.Question, err error) {
	if err := q.check(); err != nil {
		return question, err
	}
	e := q.echo()
	var tools []llm.Tool
	if tools, e.Tools, err = q.tools(); err != nil {
		return question, err
	}
	if question.ToolChoice, question.Tools, e.ToolChoice, err = q.toolChoice(tools); err != nil {
		return question, err
	}
	if question.Format, e.Text, err = q.format(); err != nil {
		return question, err
	}
	if question.ConversationID, question.Expect, question.After, err = q.conversation(); err != nil {
		return question, err
	}
	if after := value(question.After); after != "" {
		_, err := a.Record.Place(r.Context(), question.ConversationID, after)
		if errors.Is(err, store.ErrNotFound) {
			if _, err := a.Record.Summary(r.Context(), question.ConversationID); err != nil {
				return question, askError(err, q)
			}
			return question, unknownAfter(messageID + after)
		}
		if err != nil {
			return question, err
		}
	}
	if q.PreviousResponseID != "" {
		if question.PreviousID = parseID(responseID, q.PreviousResponseID); question.PreviousID == "" {
			return question, askError(store.ErrNotFound, q)
		}
	}
	if question.Input, err = a.parseInput(r.Context(), q.Input); err != nil {
		return question, err
	}
	if err := a.goOn(r.Context(), q, &question); err != nil {
		return question, err
	}
	anew := question.After != nil && *question.After == ""
	if question.PreviousID == "" && (question.ConversationID == "" || anew) {
		switch {
		case len(question.Input) == 0:
			return question, badRequest("input", "input is missing")
		case value(q.Instructions) == "" && !saysSomething(question.Input):
			return question, badRequest("input", "input says nothing to a model")
		}
	}
	question.Model, question.Instructions, question.Request = q.Model, value(q.Instructions), marshal(e)
	question.Truncate, question.ParallelToolCalls, question.Verbosity = q.Truncation == "auto", q.ParallelToolCalls, q.Text.Verbosity
	question.Temperature, question.TopP, question.MaxOutputTokens = q.Temperature, q.TopP, q.MaxOutputTokens
	question.PresencePenalty, question.FrequencyPenalty = q.PresencePenalty, q.FrequencyPenalty
	if q.MaxToolCalls != nil {
		question.MaxToolCalls = *q.MaxToolCalls
	}
	if q.Reasoning != nil {
		question.ReasoningEffort = value(q.Reasoning.Effort)
	}
	return question, nil
}

// askError names the field of the request that an error of asking is about.
func askError(err error, q responseRequest) error {
	var e *Error
	switch {
	case errors.Is(err, store.ErrNotFound) && q.PreviousResponseID != "":
		e = notFound("response", q.PreviousResponseID)
		e.Param = "previous_response_id"
	case errors.Is(err, store.ErrNotFound):
		id, _, _, _ := q.conversation()
		e = notFound("conversation", conversationID+id)
		e.Param = "conversation"
	case errors.Is(err, store.ErrReplyRunning) && q.PreviousResponseID != "":
		e = toError(err)
		e.Code, e.Param, e.Message = "response_in_progress", "previous_response_id", "that reply is being written; wait for its end"
	default:
		return err
	}
	return e
}

// maxKey is the longest Idempotency-Key, in bytes.
const maxKey = 255

// idempotency returns the request's Idempotency-Key, or "", and what tells it from another request with the same one.
func idempotency(r *http.Request, body []byte) (key, fingerprint string, err error) {
	if key = r.Header.Get("Idempotency-Key"); len(key) > maxKey {
		return "", "", badRequest("Idempotency-Key", "Idempotency-Key is longer than %d characters", maxKey)
	}
	sum := sha256.Sum256(body)
	return key, hex.EncodeToString(sum[:]), nil
}

// waitResponse answers with a reply once it has ended.
func (a *API) waitResponse(w http.ResponseWriter, r *http.Request, id string) error {
	reply, log, err := a.Advisor.Ended(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return readerError(err)
	}
	if err != nil {
		return err
	}
	return writeResponse(w, reply, log)
}

// writeSteps answers with what all steps come to.
func writeSteps(w http.ResponseWriter, steps iter.Seq2[advisor.Step, error]) error {
	var reply store.Response
	var log []store.Delta
	for step, err := range steps {
		if err != nil {
			return err
		}
		reply, log = step.Response, append(log, step.Deltas...)
	}
	return writeResponse(w, reply, log)
}

// cancelResponse is POST /v1/responses/{id}/cancel: any reply that is kept can be cancelled, by any server. The answer is the
// reply once it has ended; one that had ended stays as it is.
func (a *API) cancelResponse(w http.ResponseWriter, r *http.Request) error {
	id := parseID(responseID, r.PathValue("id"))
	err := a.Advisor.Cancel(r.Context(), id)
	if err == nil {
		err = a.waitResponse(w, r, id)
	}
	if errors.Is(err, store.ErrNotFound) {
		return notFound("response", r.PathValue("id"))
	}
	return err
}

// deleteResponse is DELETE /v1/responses/{id}. In a conversation that was named the items stay, otherwise they are erased. A reply
// that is being written is stopped.
func (a *API) deleteResponse(w http.ResponseWriter, r *http.Request) error {
	err := a.Advisor.DeleteResponse(r.Context(), parseID(responseID, r.PathValue("id")))
	if errors.Is(err, store.ErrNotFound) {
		return notFound("response", r.PathValue("id"))
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"id": r.PathValue("id"), "object": "response", "deleted": true})
	return nil
}

// getResponse is GET /v1/responses/{id}: the reply as it is now, or with stream=true its events after starting_after.
func (a *API) getResponse(w http.ResponseWriter, r *http.Request) error {
	id := parseID(responseID, r.PathValue("id"))
	stream, err := queryBool(r, "stream", false)
	_, obfuscationErr := queryBool(r, "include_obfuscation", false)
	after, afterErr := queryInt(r, "starting_after", -1, 0, 1<<31-1)
	if err := cmp.Or(err, obfuscationErr, afterErr); err != nil {
		return err
	}
	if !stream {
		return a.sendResponse(w, r, id)
	}
	if seen := r.Header.Get("Last-Event-ID"); seen != "" { // what an EventSource sends when it comes back to the same URL
		last, err := strconv.Atoi(seen)
		if err != nil {
			return badRequest("Last-Event-ID", "Last-Event-ID must be a number")
		}
		after = max(after, last)
	}
	err = a.stream(w, r, a.Advisor.Follow(r.Context(), id, 0), after)
	if errors.Is(err, store.ErrNotFound) {
		return notFound("response", r.PathValue("id"))
	}
	return err
}

// sendResponse answers with a reply as it is now.
func (a *API) sendResponse(w http.ResponseWriter, r *http.Request, id string) error {
	reply, log, err := a.Record.ReadLog(r.Context(), id, 0)
	if errors.Is(err, store.ErrNotFound) {
		return notFound("response", r.PathValue("id"))
	}
	if err != nil {
		return err
	}
	return writeResponse(w, reply, log)
}

// writeResponse answers with a reply that has this log.
func writeResponse(w http.ResponseWriter, reply store.Response, log []store.Delta) error {
	var t transcript
	for _, d := range log {
		if _, err := t.row(d); err != nil {
			return err
		}
	}
	o, err := t.response(reply)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, o)
	return nil
}

// stream sends the events of a reply with a sequence_number above after, as they are committed, to its end. The headers go
// out with the first event, so that what is wrong before it has a status.
func (a *API) stream(w http.ResponseWriter, r *http.Request, steps iter.Seq2[advisor.Step, error], after int) error {
	var t transcript
	begun := false
	var unsent []byte
	var left error // the reader has
	write := func() {
		if left == nil {
			_, left = w.Write(unsent)
		}
		unsent = unsent[:0]
	}
	add := func(events ...event) {
		for _, e := range events {
			if left == nil && e.Sequence > after {
				unsent = e.append(unsent)
			}
			if len(unsent) > 32<<10 {
				write()
			}
		}
	}
	out := http.NewResponseController(w)
	send := func() error { // all at once: a write costs more than what is in it
		if write(); left == nil {
			left = out.Flush()
		}
		return left
	}
	for step, err := range steps {
		if err != nil && !begun {
			return err
		}
		if err != nil {
			if r.Context().Err() == nil {
				unsent = event{Type: "error", Sequence: t.next, Error: readerError(err)}.append(unsent) // whatever the reader has seen
				send()
			}
			return nil
		}
		if !begun {
			begun = true
			h := w.Header()
			h.Set("Content-Type", "text/event-stream")
			h.Set("Cache-Control", "no-store")
			h.Set("X-Accel-Buffering", "no")
			w.WriteHeader(http.StatusOK)
			events, err := t.open(step.Response)
			if err != nil {
				return a.broken(err)
			}
			add(events...)
		} else if step.Wait != nil {
			unsent = append(unsent, waitComment(*step.Wait)...)
		} else if len(step.Deltas) == 0 && !step.Response.Ended() {
			unsent = append(unsent, ": still here\n\n"...) // so that proxies keep the connection
		}
		for _, d := range step.Deltas {
			events, err := t.row(d)
			if err != nil {
				return a.broken(err)
			}
			add(events...)
		}
		if step.Response.Ended() {
			events, err := t.close(step.Response)
			if err != nil {
				return a.broken(err)
			}
			add(events...)
			unsent = append(unsent, "data: [DONE]\n\n"...)
		}
		if send() != nil {
			return nil // the reader left
		}
	}
	return nil
}

// waitComment tells what a reply waits for, in a comment: it is no event, has no number, and is in no reading of the same stream later.
// It is hwlab's own.
func waitComment(w advisor.Wait) string {
	said := struct {
		Phase   string `json:"phase"`
		Seconds *int   `json:"seconds,omitempty"`
		Percent *int   `json:"percent,omitempty"`
	}{Phase: "waiting"}
	switch {
	case w.Loading:
		said.Phase, said.Seconds = "loading", new(int(time.Since(w.Since).Seconds()))
	case w.Reading:
		said.Phase, said.Percent = "reading", &w.Percent
	}
	return ": hwlab " + string(marshal(said)) + "\n\n"
}

// broken ends a stream whose headers are out: the connection is cut, so that no reader takes it for the end.
func (a *API) broken(err error) error {
	a.Log.Error("a stream was cut", "error", err)
	panic(http.ErrAbortHandler)
}

// readerError is what a reader is told whose reply went away.
func readerError(err error) *Error {
	if errors.Is(err, store.ErrNotFound) {
		return &Error{Status: http.StatusNotFound, Code: "not_found", Message: "the reply was deleted"}
	}
	return toError(err)
}

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/llm"
	"git.georgsen.dk/hwlab/internal/store"
)

func TestErrorsHaveTheirStatus(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		code   string
	}{
		{store.ErrNotFound, http.StatusNotFound, "not_found"},
		{&store.InvalidTextError{Field: "title", Reason: "a NUL"}, http.StatusBadRequest, "invalid_text"},
		{&store.InvalidRoleError{Role: "boss"}, http.StatusBadRequest, "invalid_value"},
		{&store.ConflictError{Head: 3}, http.StatusConflict, "conversation_conflict"},
		{store.ErrReplyRunning, http.StatusBadRequest, "conversation_locked"},
		{store.ErrKeyReused, http.StatusConflict, "idempotency_key_reused"},
		{&llm.UnknownModelError{Model: "x", Available: []string{"offline"}}, http.StatusBadRequest, "model_not_found"},
		{&advisor.UnknownCallError{CallID: "call_1"}, http.StatusBadRequest, "invalid_value"},
		{&advisor.ContinueError{}, http.StatusBadRequest, "invalid_value"},
		{advisor.ErrDeleted, http.StatusNotFound, "not_found"},
		{store.ErrFenced, http.StatusServiceUnavailable, "unavailable"},
		{store.ErrDiskFull, http.StatusInsufficientStorage, "disk_full"},
		{&store.ConnectError{Reason: "no answer"}, http.StatusServiceUnavailable, "unavailable"},
		{advisor.ErrStopping, http.StatusServiceUnavailable, "unavailable"},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, "unavailable"},
		{errors.New("a secret detail"), http.StatusInternalServerError, "internal"},
	} {
		e := toError(fmt.Errorf("wrapped: %w", test.err))
		if e.Status != test.status || e.Code != test.code || e.Message == "" || e.Message == test.err.Error() && test.status == 500 {
			t.Errorf("%v becomes %d %s %q, not %d %s", test.err, e.Status, e.Code, e.Message, test.status, test.code)
		}
	}
}

package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"git.georgsen.dk/hwlab/internal/advisor"
	"git.georgsen.dk/hwlab/internal/llm"
)

// goOn reads conversation.continue, hwlab's own, into the question: the reply that is to be gone on with. It refuses what does not go
// with it, and a model whose server does not go on with replies.
func (a *API) goOn(ctx context.Context, q responseRequest, question *advisor.Question) error {
	var f conversationField
	if !given(q.Conversation) || q.Conversation[0] != '{' {
		return nil
	}
	if err := decode("conversation", q.Conversation, &f); err != nil || f.Continue == "" {
		return err
	}
	const param = "conversation.continue"
	switch {
	case len(question.Input) > 0:
		return badRequest(param, "input and %s cannot be used together", param)
	case f.After != nil:
		return badRequest(param, "conversation.after and %s cannot be used together", param)
	case !q.stored():
		return badRequest(param, "a reply that goes on with another has to be kept: %s cannot be used with store: false", param)
	}
	if question.Continue = parseID(responseID, f.Continue); question.Continue == "" {
		return badRequest(param, "there is no reply %q in this conversation", f.Continue)
	}
	_, model, err := a.Models.Resolve(ctx, q.Model)
	if err != nil {
		return err
	}
	models, err := a.Models.Models(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(models, func(m llm.Info) bool { return m.ID == model && m.Continues }) {
		return &Error{Status: http.StatusBadRequest, Code: "unsupported_parameter", Param: param,
			Message: fmt.Sprintf("%s does not go on with a reply, or its server does not say so; ask it to, or choose another model", model)}
	}
	return nil
}

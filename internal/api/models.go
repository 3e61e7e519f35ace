package api

import (
	"context"
	"net/http"
	"slices"

	"git.georgsen.dk/hwlab/internal/lab"
)

// modelObject is OpenAI's model. What is not required is hwlab's own.
type modelObject struct {
	ID            string `json:"id"`
	Object        string `json:"object"` // model
	Created       int64  `json:"created"`
	OwnedBy       string `json:"owned_by"`
	Default       bool   `json:"default,omitempty"`        // it answers when a request names none
	ContextLength int64  `json:"context_length,omitempty"` // what the model's server does not tell is absent
	Vision        *bool  `json:"vision,omitempty"`
	Tools         *bool  `json:"tools,omitempty"`
	Continues     bool   `json:"continues,omitempty"` // see conversationField.Continue
}

// models are what can be asked, best first.
func (a *API) models(ctx context.Context) ([]modelObject, error) {
	models, err := a.Models.Models(ctx)
	if err != nil {
		return nil, err
	}
	_, standard, err := a.Models.Resolve(ctx, "")
	if err != nil {
		return nil, err
	}
	data := []modelObject{}
	for _, m := range models {
		o := modelObject{ID: m.ID, Object: "model", OwnedBy: m.OwnedBy, Default: m.ID == standard,
			ContextLength: m.ContextLength, Vision: m.Vision, Tools: m.Tools, Continues: m.Continues}
		if !m.Created.IsZero() {
			o.Created = m.Created.Unix()
		}
		data = append(data, o)
	}
	return data, nil
}

// listModels is GET /v1/models.
func (a *API) listModels(w http.ResponseWriter, r *http.Request) error {
	data, err := a.models(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": data})
	return nil
}

// getModel is GET /v1/models/{id}.
func (a *API) getModel(w http.ResponseWriter, r *http.Request) error {
	data, err := a.models(r.Context())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(data, func(m modelObject) bool { return m.ID == r.PathValue("id") })
	if i < 0 {
		return notFound("model", r.PathValue("id"))
	}
	writeJSON(w, http.StatusOK, data[i])
	return nil
}

// labObject says what the models are told about the lab, and which model servers were looked for. It is hwlab's own.
type labObject struct {
	Object     string         `json:"object"`     // lab
	Configured bool           `json:"configured"` // there is a folder of notes
	Budget     int            `json:"budget"`     // bytes of notes that a model is told
	Notes      []noteObject   `json:"notes"`
	Problem    string         `json:"problem,omitempty"` // why the notes could not be read
	Sources    []sourceObject `json:"sources"`
}

type noteObject struct {
	Name     string `json:"name"`
	Bytes    int64  `json:"bytes"`
	Included bool   `json:"included"`
	Reason   string `json:"reason,omitempty"` // why it is not
}

type sourceObject struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	Models int    `json:"models"`
	Error  string `json:"error,omitempty"`
}

// getLab is GET /v1/lab.
func (a *API) getLab(w http.ResponseWriter, r *http.Request) error {
	o := labObject{Object: "lab", Configured: a.HasNotes, Budget: lab.DefaultBudget, Notes: []noteObject{}, Sources: []sourceObject{}}
	notes, err := a.Notes.Read(r.Context())
	if err != nil {
		o.Problem, notes = err.Error(), &lab.Notes{}
	}
	for _, n := range notes.Included {
		o.Notes = append(o.Notes, noteObject{Name: n.Name, Bytes: int64(len(n.Text)), Included: true})
	}
	for _, n := range notes.Omitted {
		o.Notes = append(o.Notes, noteObject{Name: n.Name, Bytes: n.Bytes, Reason: n.Reason})
	}
	states, err := a.Models.States(r.Context())
	if err != nil {
		return err
	}
	for _, s := range states {
		o.Sources = append(o.Sources, sourceObject{Name: s.Name, URL: s.BaseURL, Models: len(s.Models), Error: s.Problem})
	}
	writeJSON(w, http.StatusOK, o)
	return nil
}

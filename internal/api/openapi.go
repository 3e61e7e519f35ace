package api

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var description []byte

// Description is the OpenAPI document of the whole server. The caller does not change it.
func Description() []byte { return description }

// SendDescription is GET /openapi.json.
func SendDescription(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.Write(description)
}

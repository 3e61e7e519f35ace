package api

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"path"
	"strings"
	"sync"
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

// queries are the names of the parameters that openapi.json describes in the query of each operation, by its pattern; a list's
// without its brackets.
var queries = sync.OnceValue(func() map[string][]string {
	type parameter struct {
		Ref  string `json:"$ref"`
		Name string `json:"name"`
		In   string `json:"in"`
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []parameter `json:"parameters"`
		} `json:"paths"`
		Components struct {
			Parameters map[string]parameter `json:"parameters"`
		} `json:"components"`
	}
	if err := json.Unmarshal(description, &doc); err != nil {
		panic(err)
	}
	names := map[string][]string{}
	for url, operations := range doc.Paths {
		for method, o := range operations {
			pattern := strings.ToUpper(method) + " " + url
			names[pattern] = nil
			for _, p := range o.Parameters {
				if p.Ref != "" {
					p = doc.Components.Parameters[path.Base(p.Ref)]
				}
				if p.In == "query" {
					names[pattern] = append(names[pattern], strings.TrimSuffix(p.Name, "[]"))
				}
			}
		}
	}
	return names
})

package web

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"git.georgsen.dk/hwlab/internal/api"
)

// What is under /v1 is held against the description in package api.
func TestEveryRouteIsDescribedAndEveryDescribedOperationExists(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := json.Unmarshal(api.Description(), &doc); err != nil {
		t.Fatal(err)
	}
	var described, served []string
	for path, operations := range doc.Paths {
		for method := range operations {
			if !strings.HasPrefix(path, "/v1/") {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	as := strings.NewReplacer("{$}", "", "...}", "}") // in the words of OpenAPI
	for pattern := range routes(Config{Metrics: NewMetrics()}) {
		if pattern != "/v1/" {
			served = append(served, as.Replace(pattern))
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("openapi.json describes\n%s\nthe server has\n%s", strings.Join(described, "\n"), strings.Join(served, "\n"))
	}
}

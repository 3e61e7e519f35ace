package api

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// described are the operations of /openapi.json, as patterns.
func described(t *testing.T) []string {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	if err := json.Unmarshal(Description(), &doc); err != nil {
		t.Fatal(err)
	}
	var list []string
	ids := map[string]bool{}
	for path, operations := range doc.Paths {
		for method, o := range operations {
			list = append(list, strings.ToUpper(method)+" "+path)
			if o.OperationID == "" || ids[o.OperationID] {
				t.Errorf("%s %s has the operationId %q, which is none or another's", method, path, o.OperationID)
			}
			ids[o.OperationID] = true
		}
	}
	slices.Sort(list)
	return list
}

func TestEveryRouteIsDescribedAndEveryDescribedOperationExists(t *testing.T) {
	list := described(t)
	list = slices.DeleteFunc(list, func(pattern string) bool { return !strings.Contains(pattern, " /v1/") })
	if routes := slices.Sorted(maps.Keys((&API{}).routes())); !slices.Equal(list, routes) {
		t.Errorf("openapi.json describes\n%s\nthe server has\n%s", strings.Join(list, "\n"), strings.Join(routes, "\n"))
	}
}

func TestEveryReferenceOfTheDescriptionLeadsSomewhere(t *testing.T) {
	var doc any
	if err := json.Unmarshal(Description(), &doc); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	var walk func(v any)
	follow := func(ref string) {
		used[ref] = true
		v := doc
		for key := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			m, _ := v.(map[string]any)
			v = m[key]
		}
		if v == nil {
			t.Errorf("there is no %s", ref)
		}
	}
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, child := range v {
				if ref, ok := child.(string); ok && (key == "$ref" || strings.HasPrefix(ref, "#/components/")) {
					follow(ref)
				}
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(doc)
	components := doc.(map[string]any)["components"].(map[string]any)
	for _, kind := range []string{"schemas", "parameters", "responses"} {
		for name := range components[kind].(map[string]any) {
			if ref := "#/components/" + kind + "/" + name; !used[ref] {
				t.Errorf("nothing refers to %s", ref)
			}
		}
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
			}
		}
	}
	if err := json.Unmarshal(Description(), &doc); err != nil {
		t.Fatal(err)
	}
	for schema, object := range map[string]any{
		"NewResponse": responseRequest{}, "Response": responseObject{}, "Conversation": conversationObject{}, "ItemList": list{},
		"SearchResult": hitsObject{}, "SearchHit": hitObject{},
		"Model": modelObject{}, "Lab": labObject{}, "Usage": usage{}, "FunctionTool": toolObject{},
	} {
		var fields []string
		kind := reflect.TypeOf(object)
		for _, f := range reflect.VisibleFields(kind) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if _, refused := reflect.TypeFor[refusedFields]().FieldByName(f.Name); name != "" && !refused {
				fields = append(fields, name)
			}
		}
		slices.Sort(fields)
		if described := slices.Sorted(maps.Keys(doc.Components.Schemas[schema].Properties)); !slices.Equal(fields, described) {
			t.Errorf("%s is described with\n%q\nit has\n%q", schema, described, fields)
		}
	}
}

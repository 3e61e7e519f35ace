package api

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http/httptest"
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

// schema is a schema of the description, as far as requests have them.
type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Enum                 []string
	Const                any
	Minimum, Maximum     *float64
	MaxLength, MinItems  *int
	MaxItems             *int
	MaxProperties        *int
	Pattern              string
	Required             []string
	Properties           map[string]*schema
	PropertyNames, Items *schema
	AdditionalProperties *schema
	AnyOf, OneOf         []*schema
}

// example is a value that a schema says to be right, or wrong with the field named param.
type example struct {
	value any
	wrong bool
	param string
}

// examples are values at the limits of a schema and beyond them, for a field of this name.
func (s *schema) examples(schemas map[string]*schema, field string) (list []example) {
	if s.Ref != "" {
		return schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")].examples(schemas, field)
	}
	right := func(v any) { list = append(list, example{value: v}) }
	wrong := func(v any, param string) { list = append(list, example{v, true, param}) }
	if choices := append(s.AnyOf, s.OneOf...); len(choices) > 0 {
		for _, c := range choices {
			for _, e := range c.examples(schemas, field) {
				if !e.wrong || e.param != field { // what one choice has not, another may
					list = append(list, e)
				}
			}
		}
		wrong(7, field)
		return list
	}
	types := []any{s.Type}
	if several, ok := s.Type.([]any); ok {
		types = several
	}
	for _, of := range []struct {
		kind  string
		value any
	}{{"string", "word"}, {"number", 1}, {"boolean", true}, {"array", []any{}}, {"object", map[string]any{}}} {
		if !slices.Contains(types, any(of.kind)) && (of.kind != "number" || !slices.Contains(types, any("integer"))) {
			wrong(of.value, field)
		}
	}
	if slices.Contains(types, any("null")) {
		right(nil)
	}
	for _, word := range s.Enum {
		right(word)
	}
	if s.Enum != nil || s.Const != nil {
		wrong("nonsense", field)
	}
	if slices.Contains(types, any("integer")) {
		wrong(16.5, field)
	}
	if s.Minimum != nil {
		right(*s.Minimum)
		wrong(*s.Minimum-1, field)
	}
	if s.Maximum != nil {
		right(*s.Maximum)
		wrong(*s.Maximum+1, field)
	}
	if s.MaxLength != nil {
		right(strings.Repeat("é", *s.MaxLength))
		wrong(strings.Repeat("é", *s.MaxLength+1), field)
	}
	if s.Pattern != "" {
		right("a_-9")
		wrong("a b", field)
		wrong("", field)
	}
	if s.Items != nil {
		for _, e := range s.Items.examples(schemas, field+"[0]") {
			list = append(list, example{[]any{e.value}, e.wrong, e.param})
		}
	}
	if s.MaxProperties != nil {
		pairs := map[string]any{}
		for i := range *s.MaxProperties {
			pairs[strings.Repeat("k", i+1)] = ""
		}
		right(maps.Clone(pairs))
		pairs["more"] = ""
		wrong(pairs, field)
	}
	if s.PropertyNames != nil {
		for _, e := range s.PropertyNames.examples(schemas, field) {
			if name, ok := e.value.(string); ok && name != "word" {
				list = append(list, example{map[string]any{name: ""}, e.wrong, e.param})
			}
		}
	}
	if s.AdditionalProperties != nil {
		for _, e := range s.AdditionalProperties.examples(schemas, field+".word") {
			list = append(list, example{map[string]any{"word": e.value}, e.wrong, e.param})
		}
	}
	least := map[string]any{} // an object with what is required
	for _, name := range s.Required {
		p := s.Properties[name]
		switch {
		case p.Const != nil:
			least[name] = p.Const
		case len(p.Enum) > 0:
			least[name] = p.Enum[0]
		case p.Type == "object":
			least[name] = map[string]any{}
		default:
			least[name] = "word"
		}
	}
	if s.Properties != nil {
		right(least)
		for name, p := range s.Properties {
			for _, e := range p.examples(schemas, field+"."+name) {
				with := maps.Clone(least)
				with[name] = e.value
				list = append(list, example{with, e.wrong, e.param})
			}
		}
	}
	return list
}

// Each limit that the description has for a field of a request is one that a request is refused for, by the field's name, and no
// request is that stays within it.
func TestTheLimitsOfTheDescriptionAreThoseOfTheServer(t *testing.T) {
	var doc struct {
		Components struct{ Schemas map[string]*schema }
	}
	if err := json.Unmarshal(Description(), &doc); err != nil {
		t.Fatal(err)
	}
	handler := New(Config{Record: nowhere{}, Advisor: &echoing{t: t}, Log: slog.New(slog.DiscardHandler)})
	for request, path := range map[string]string{"NewResponse": "/v1/responses", "NewConversation": "/v1/conversations", "ConversationUpdate": "/v1/conversations/conv_1"} {
		for name, field := range doc.Components.Schemas[request].Properties {
			switch name {
			case "input", "items", "conversation", "previous_response_id", "tool_choice", "model", "head":
				continue // what they may be depends on more than themselves, see TestWhatIsWrongIsNamed
			}
			examples := field.examples(doc.Components.Schemas, name)
			if !slices.ContainsFunc(examples, func(e example) bool { return e.wrong }) {
				t.Errorf("nothing is wrong for %s of %s", name, request)
			}
			for _, e := range examples {
				body := marshal(map[string]any{"input": "a", name: e.value})
				if request != "NewResponse" {
					body = marshal(map[string]any{name: e.value})
				}
				answer := httptest.NewRecorder()
				asked := httptest.NewRequest("POST", path, bytes.NewReader(body))
				asked.Header.Set("Content-Type", "application/json")
				handler.ServeHTTP(answer, asked)
				var o struct {
					Error struct{ Param string }
				}
				json.Unmarshal(answer.Body.Bytes(), &o)
				if !e.wrong && answer.Code != 200 {
					t.Errorf("%s is right by the description, and answered %d %s", body, answer.Code, answer.Body)
				}
				// A word of a list that is of another type is told by the list.
				if e.wrong && (answer.Code != 400 || o.Error.Param != e.param && o.Error.Param+"[0]" != e.param) {
					t.Errorf("%s is wrong in %s by the description, and answered %d %s", body, e.param, answer.Code, answer.Body)
				}
			}
		}
	}
}

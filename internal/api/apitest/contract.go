package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"git.georgsen.dk/hwlab/internal/api"
)

// document is an OpenAPI document whose schemas values are held against.
type document struct {
	name string
	root map[string]any

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by their pointer
}

func newDocument(name string, raw []byte, prepare func(root map[string]any) error) (*document, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a JSON object", name)
	}
	if err := prepare(root); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	d := &document{name: name, root: root, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	return d, d.compiler.AddResource("doc:///"+name, root)
}

// at follows keys into the document; nil where there is nothing. A $ref on the way is followed.
func (d *document) at(keys ...string) any {
	var v any = d.root
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = d.resolve(m[k])
	}
	return v
}

func (d *document) resolve(v any) any {
	m, _ := v.(map[string]any)
	ref, ok := m["$ref"].(string)
	if !ok {
		return v
	}
	return d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
}

// check returns what of a value violates the schema at the pointer.
func (d *document) check(pointer string, value any) ([]string, error) {
	d.mu.Lock()
	schema := d.schemas[pointer]
	if schema == nil {
		var err error
		if schema, err = d.compiler.Compile("doc:///" + d.name + "#" + pointer); err != nil {
			d.mu.Unlock()
			return nil, err
		}
		d.schemas[pointer] = schema
	}
	d.mu.Unlock()
	err := schema.Validate(value)
	if err == nil {
		return nil, nil
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return nil, err
	}
	return violations(invalid, value), nil
}

// component is the pointer to a schema by its name.
func component(name string) string { return "/components/schemas/" + name }

var english = message.NewPrinter(language.English)

// violations are the leaves of an error. Of a choice by type only the branch of the value's type counts.
func violations(e *jsonschema.ValidationError, value any) []string {
	if len(e.Causes) == 0 {
		place := "/" + strings.Join(e.InstanceLocation, "/")
		return []string{fmt.Sprintf("%s: %s", place, e.ErrorKind.LocalizedString(english))}
	}
	causes := e.Causes
	switch e.ErrorKind.(type) {
	case *kind.OneOf, *kind.AnyOf:
		fits := func(c *jsonschema.ValidationError) bool { return !ofOtherType(c, len(e.InstanceLocation)) }
		if slices.ContainsFunc(causes, fits) {
			causes = slices.Clone(causes)
			causes = slices.DeleteFunc(causes, func(c *jsonschema.ValidationError) bool { return !fits(c) })
		}
	}
	var list []string
	for _, c := range causes {
		list = append(list, violations(c, value)...)
	}
	return list
}

// ofOtherType reports whether an error is that the value, depth keys deep, has another JSON type or another "type".
func ofOtherType(e *jsonschema.ValidationError, depth int) bool {
	at := e.InstanceLocation
	switch e.ErrorKind.(type) {
	case *kind.Const, *kind.Enum:
		return len(at) == depth+1 && at[depth] == "type"
	case *kind.Type:
		return len(at) == depth
	}
	return slices.ContainsFunc(e.Causes, func(c *jsonschema.ValidationError) bool { return ofOtherType(c, depth) })
}

// ours is /openapi.json. A client must ignore fields it does not know; here a field of an answer that is not described is a
// violation.
var ours = sync.OnceValues(func() (*document, error) {
	return newDocument("openapi.json", api.Description(), func(root map[string]any) error {
		d := document{root: root}
		paths, _ := root["paths"].(map[string]any)
		seen := map[string]bool{}
		for _, operations := range paths {
			operations, _ := operations.(map[string]any)
			for _, o := range operations {
				o, _ := o.(map[string]any)
				d.closeObjects(o["responses"], seen)
			}
		}
		return nil
	})
})

// closeObjects lets the objects of a schema, and of those it refers to, have no properties but those it describes.
func (d *document) closeObjects(v any, seen map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && !seen[ref] {
			seen[ref] = true
			d.closeObjects(d.resolve(v), seen)
		}
		if _, described := v["properties"].(map[string]any); described && v["type"] == "object" && v["additionalProperties"] == nil {
			v["additionalProperties"] = false
		}
		for _, child := range v {
			d.closeObjects(child, seen)
		}
	case []any:
		for _, child := range v {
			d.closeObjects(child, seen)
		}
	}
}

// published is the Open Responses specification, which is not part of the project: the file that OPENRESPONSES_SPEC names, else
// the one beside the repository. It is nil where there is none.
var published = sync.OnceValues(func() (*document, error) {
	path := os.Getenv("OPENRESPONSES_SPEC")
	if path == "" {
		_, here, _, _ := runtime.Caller(0)
		path = filepath.Join(filepath.Dir(here), "../../../../shared/openresponses/openapi.json")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return newDocument("published.json", raw, amend)
})

// exceptions are the schemas of the published specification that are not what it means. Nothing else of it is changed.
var exceptions = []struct {
	path   []string
	schema string
	reason string
}{
	{path: []string{"components", "schemas", "JsonSchemaResponseFormat", "properties", "schema"},
		schema: `{"anyOf":[{"type":"object"},{"type":"null"}]}`,
		reason: "it allows null alone, while the request's schema, which is echoed there, is an object"},
}

// amend applies exceptions. One that is not there is an error, so that none outlives its reason.
func amend(root map[string]any) error {
	for _, e := range exceptions {
		v := root
		for _, key := range e.path[:len(e.path)-1] {
			v, _ = v[key].(map[string]any)
		}
		last := e.path[len(e.path)-1]
		if v[last] == nil {
			return fmt.Errorf("there is no %s", strings.Join(e.path, "/"))
		}
		var schema any
		if err := json.Unmarshal([]byte(e.schema), &schema); err != nil {
			return err
		}
		v[last] = schema
	}
	return nil
}

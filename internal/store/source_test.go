package store_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// statements are the calls whose argument of that index is an SQL text.
var statements = map[string]int{
	"Exec": 1, "Query": 1, "QueryRow": 1, "Prepare": 1, "Queue": 0,
	"ExecContext": 1, "QueryContext": 1, "QueryRowContext": 1, "PrepareContext": 1,
}

// verbatim are the texts that come from elsewhere, and why that is right.
var verbatim = map[string]string{
	"migrations.go m.SQL": "an embedded file",
}

// Every SQL text is made of literals and constants alone: what a caller gives can only be a parameter. A text may be put
// together from pieces in variables, and be handed to a function of the package, as long as all of its pieces are such.
func TestStatementsAreMadeOfConstants(t *testing.T) {
	checked := 0
	for _, dir := range []string{".", "sqlite"} {
		checked += checkStatements(t, dir)
	}
	if checked < 60 {
		t.Errorf("only %d statements were found; does this test still know how they are sent?", checked)
	}
}

// source is a package's code.
type source struct {
	files     map[string]*ast.File
	prepared  map[string]bool // functions that return a prepared statement
	constants map[string]bool
	calls     map[string][]call // by the name of what is called
	trusted   map[string]bool   // parameters found to be given constants only, or being looked at
}

type call struct {
	in   *ast.FuncDecl
	file string
	*ast.CallExpr
}

func checkStatements(t *testing.T, dir string) (checked int) {
	fset := token.NewFileSet()
	s := &source{files: map[string]*ast.File{}, prepared: map[string]bool{}, constants: map[string]bool{}, calls: map[string][]call{}, trusted: map[string]bool{}}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		s.files[filepath.Base(name)] = file
	}
	for name, file := range s.files {
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if list := d.Type.Results; list != nil && len(list.List) > 0 && describe(list.List[0].Type) == "*sql.Stmt" {
					s.prepared[key(d)] = true
				}
				ast.Inspect(d, func(n ast.Node) bool {
					if c, ok := n.(*ast.CallExpr); ok {
						s.calls[called(c)] = append(s.calls[called(c)], call{d, name, c})
					}
					return true
				})
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.CONST {
						for _, id := range v.Names {
							s.constants[id.Name] = true
						}
					}
				}
			}
		}
	}
	for _, method := range slices.Sorted(maps.Keys(statements)) {
		arg := statements[method]
		for _, c := range s.calls["."+method] {
			if len(c.Args) <= arg || s.isPrepared(c) {
				continue
			}
			checked++
			if bad := s.notConstant(c.in, c.file, c.Args[arg]); bad != nil {
				t.Errorf("%s: %s sends SQL that is not made of constants alone: %s", fset.Position(c.Pos()), c.in.Name.Name, describe(bad))
			}
		}
	}
	return checked
}

// called is the name of the function of a call, with a dot before that of a method.
func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return "." + f.Sel.Name
	}
	return ""
}

// key is the name by which a function is called.
func key(d *ast.FuncDecl) string {
	if d.Recv != nil {
		return "." + d.Name.Name
	}
	return d.Name.Name
}

// isPrepared reports whether a call is of a prepared statement, which was given its text before.
func (s *source) isPrepared(c call) bool {
	of, ok := c.Fun.(*ast.SelectorExpr).X.(*ast.Ident)
	if !ok {
		return false
	}
	values, _ := assigned(c.in, of.Name)
	return len(values) > 0 && !slices.ContainsFunc(values, func(value ast.Expr) bool {
		from, ok := value.(*ast.CallExpr)
		return !ok || !s.prepared[called(from)]
	})
}

// notConstant returns the part of e that may not stand in a statement, or nil.
func (s *source) notConstant(in *ast.FuncDecl, file string, e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.BasicLit:
		return nil
	case *ast.ParenExpr:
		return s.notConstant(in, file, e.X)
	case *ast.BinaryExpr:
		if bad := s.notConstant(in, file, e.X); bad != nil {
			return bad
		}
		return s.notConstant(in, file, e.Y)
	case *ast.SelectorExpr:
		if verbatim[file+" "+describe(e)] != "" {
			return nil
		}
	case *ast.Ident:
		return s.notConstantName(in, file, e)
	}
	return e
}

func (s *source) notConstantName(in *ast.FuncDecl, file string, name *ast.Ident) ast.Expr {
	if values, local := assigned(in, name.Name); local {
		for _, value := range values {
			if bad := s.notConstant(in, file, value); bad != nil {
				return bad
			}
		}
		return nil
	}
	if i, ok := parameter(in, name.Name); ok {
		place := key(in) + " " + name.Name
		if s.trusted[place] {
			return nil
		}
		if ast.IsExported(in.Name.Name) {
			return name // anybody may give it
		}
		s.trusted[place] = true
		for _, c := range s.calls[key(in)] {
			if len(c.Args) <= i {
				return name
			}
			if bad := s.notConstant(c.in, c.file, c.Args[i]); bad != nil {
				return bad
			}
		}
		return nil
	}
	if s.constants[name.Name] {
		return nil
	}
	return name
}

// assigned are the values that a local variable of a function gets; local is false when it has no such variable.
func assigned(in *ast.FuncDecl, name string) (values []ast.Expr, local bool) {
	ast.Inspect(in, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if id, ok := left.(*ast.Ident); ok && id.Name == name {
					local = true
					if len(n.Lhs) == len(n.Rhs) {
						values = append(values, n.Rhs[i])
					} else {
						values = append(values, n.Rhs[0])
					}
				}
			}
		case *ast.ValueSpec:
			for i, id := range n.Names {
				if id.Name == name {
					local = true
					if i < len(n.Values) {
						values = append(values, n.Values[i])
					}
				}
			}
		case *ast.RangeStmt:
			for _, left := range []ast.Expr{n.Key, n.Value} {
				if id, ok := left.(*ast.Ident); ok && id.Name == name {
					local = true
					if list, ok := n.X.(*ast.CompositeLit); ok {
						values = append(values, list.Elts...)
					} else {
						values = append(values, n.X)
					}
				}
			}
		}
		return true
	})
	return values, local
}

// parameter is the index of a parameter of a function.
func parameter(in *ast.FuncDecl, name string) (index int, ok bool) {
	i := 0
	for _, field := range in.Type.Params.List {
		for _, id := range field.Names {
			if id.Name == name {
				return i, true
			}
			i++
		}
	}
	return 0, false
}

func describe(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return describe(e.X) + "." + e.Sel.Name
	case *ast.StarExpr:
		return "*" + describe(e.X)
	case *ast.CallExpr:
		return "a call of " + describe(e.Fun)
	}
	return fmt.Sprintf("%T", e)
}

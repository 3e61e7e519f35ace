package importtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "git.georgsen.dk/hwlab/"

// room is a row of the table: a package of this module and what it may import of ours.
type room struct {
	path     string
	may      []string // in the program
	tests    []string // in its tests, beyond that; every test may import the rooms that are testOnly
	testOnly bool     // for tests: no program imports it
}

const anything = "anything"

// rooms is the table. Every package of the module has a row; a row may wait for its package. A room may import those
// to its right in cmd -> web -> api -> advisor -> store, llm, lab, never those to its left.
var rooms = []room{
	{path: "cmd/hwlab", may: []string{anything}},

	{path: "internal/web", may: []string{"internal/web/ui", "internal/api", "internal/advisor",
		"internal/store", "internal/llm", "internal/lab"}, tests: []string{"internal/store/sqlite"}},
	{path: "internal/web/ui"},
	{path: "internal/api", may: []string{"internal/advisor", "internal/store", "internal/llm", "internal/lab"},
		tests: []string{"internal/store/sqlite"}},
	{path: "internal/advisor", may: []string{"internal/store", "internal/llm", "internal/lab"},
		tests: []string{"internal/store/sqlite"}},

	{path: "internal/store"},
	{path: "internal/store/sqlite", may: []string{"internal/store"}},
	{path: "internal/archive", may: []string{"internal/store", "internal/store/sqlite"}},

	{path: "internal/llm"},
	{path: "internal/lab"},

	{path: "internal/api/apitest", may: []string{"internal/api"}, testOnly: true},
	{path: "internal/store/storetest", may: []string{"internal/store"}, testOnly: true},
	{path: "internal/llm/llmtest", may: []string{"internal/llm"}, testOnly: true},
	{path: "internal/testpg", testOnly: true},
	{path: "internal/testrecord", may: []string{"internal/store", "internal/store/sqlite", "internal/store/storetest", "internal/testpg"},
		testOnly: true},
	{path: "internal/chaos", tests: []string{"internal/advisor", "internal/store", "internal/llm", "internal/lab"}, testOnly: true},
	{path: "internal/sdktest", tests: []string{"internal/web", "internal/api", "internal/advisor", "internal/store", "internal/llm", "internal/lab"},
		testOnly: true},
	{path: "internal/importtest", testOnly: true},
}

// owned are modules of others that are kept to a few rooms.
var owned = []struct {
	module string
	by     []string // these rooms, with their tests
	tests  []string // these rooms' tests
}{
	{module: "github.com/jackc/pgx/v5", by: []string{"internal/store", "internal/testpg"},
		tests: []string{"internal/archive", "internal/chaos", "cmd/hwlab"}},
	{module: "modernc.org/sqlite", by: []string{"internal/store/sqlite"},
		tests: []string{"internal/archive", "internal/chaos", "cmd/hwlab"}},
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	// Twice: the integration tests are behind a build tag.
	for _, tags := range []string{"", "integration"} {
		for _, complaint := range complaints(list(t, tags)) {
			if !seen[complaint] {
				t.Error(complaint)
			}
			seen[complaint] = true
		}
	}
}

// list is every package of the module.
func list(t *testing.T, tags string) []pkg {
	t.Helper()
	// -e: a package that does not build is for the compiler to complain of.
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "-tags="+tags, "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for in := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("go list names no package")
	}
	return all
}

// complaints is what the packages import against the table.
func complaints(all []pkg) []string {
	var list []string
	for _, p := range all {
		path := strings.TrimPrefix(p.ImportPath, module)
		r, known := find(path)
		if !known {
			list = append(list, fmt.Sprintf("%s is not in the table of internal/importtest: add a row that says what it may "+
				"import", path))
			continue
		}
		for _, imported := range p.Imports {
			if why := r.refuses(imported, false); why != "" {
				list = append(list, fmt.Sprintf("%s imports %s: %s", path, imported, why))
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if why := r.refuses(imported, true); why != "" {
				list = append(list, fmt.Sprintf("a test of %s imports %s: %s", path, imported, why))
			}
		}
	}
	return list
}

func find(path string) (room, bool) {
	i := slices.IndexFunc(rooms, func(r room) bool { return r.path == path })
	if i < 0 {
		return room{}, false
	}
	return rooms[i], true
}

// refuses says why the room, or its tests, must not import a package; "" if they may.
func (r room) refuses(imported string, inTest bool) string {
	path, ours := strings.CutPrefix(imported, module)
	if !ours {
		return r.refusesOthers(imported, inTest)
	}
	to, known := find(path)
	switch {
	case !known:
		return "it is not in the table of internal/importtest"
	case inTest && (path == r.path || to.testOnly):
		return ""
	case to.testOnly && !r.testOnly:
		return "it is for tests"
	case slices.Contains(r.may, anything), slices.Contains(r.may, path):
		return ""
	case inTest && slices.Contains(r.tests, path):
		return ""
	}
	return "the table of internal/importtest does not allow it; imports go one way, " +
		"cmd -> web -> api -> advisor -> store, llm, lab"
}

func (r room) refusesOthers(imported string, inTest bool) string {
	for _, o := range owned {
		if imported != o.module && !strings.HasPrefix(imported, o.module+"/") {
			continue
		}
		if slices.Contains(o.by, r.path) || inTest && slices.Contains(o.tests, r.path) {
			return ""
		}
		return "only " + strings.Join(o.by, " and ") + " may"
	}
	return ""
}

// TestComplaints holds the rules against imports that are right and wrong.
func TestComplaints(t *testing.T) {
	const pgx, sqlite = "github.com/jackc/pgx/v5/pgxpool", "modernc.org/sqlite"
	program := func(from, to string) pkg { return pkg{ImportPath: module + from, Imports: []string{to}} }
	inTest := func(from, to string) pkg { return pkg{ImportPath: module + from, TestImports: []string{to}} }
	inXTest := func(from, to string) pkg { return pkg{ImportPath: module + from, XTestImports: []string{to}} }
	tests := []struct {
		pkg  pkg
		want string // part of the complaint; "": none
	}{
		{program("cmd/hwlab", module+"internal/archive"), ""},
		{program("cmd/hwlab", module+"internal/testpg"), "for tests"},
		{program("cmd/hwlab", pgx), "only internal/store"},
		{program("internal/web", module+"internal/api"), ""},
		{program("internal/web", module+"internal/web/ui"), ""},
		{program("internal/web/ui", module+"internal/web"), "one way"},
		{program("internal/api", module+"internal/web"), "one way"},
		{program("internal/api", module+"internal/advisor"), ""},
		{program("internal/advisor", module+"internal/api"), "one way"},
		{program("internal/advisor", module+"internal/store"), ""},
		{program("internal/advisor", module+"internal/store/sqlite"), "one way"},
		{inTest("internal/advisor", module+"internal/store/sqlite"), ""},
		{program("internal/advisor", pgx), "only internal/store"},
		{program("internal/store", pgx), ""},
		{program("internal/store", "github.com/jackc/pgx/v5"), ""},
		{program("internal/store", "github.com/jackc/pgx/v5extra"), ""},
		{program("internal/store", sqlite), "only internal/store/sqlite"},
		{program("internal/store", module+"internal/llm"), "one way"},
		{program("internal/store", module+"internal/store/storetest"), "for tests"},
		{inXTest("internal/store", module+"internal/store/storetest"), ""},
		{inXTest("internal/store", module+"internal/store"), ""},
		{inXTest("internal/store", module+"internal/advisor"), "one way"},
		{inTest("internal/store", module+"internal/testpg"), ""},
		{program("internal/testrecord", module+"internal/testpg"), ""},
		{program("internal/testpg", module+"internal/testrecord"), "one way"},
		{program("internal/store/sqlite", module+"internal/store"), ""},
		{program("internal/store/sqlite", sqlite), ""},
		{program("internal/store/sqlite", pgx), "only internal/store"},
		{program("internal/store/storetest", module+"internal/store"), ""},
		{program("internal/store/storetest", module+"internal/store/sqlite"), "one way"},
		{program("internal/llm", module+"internal/lab"), "one way"},
		{program("internal/llm/llmtest", module+"internal/llm"), ""},
		{program("internal/archive", module+"internal/store/sqlite"), ""},
		{program("internal/archive", module+"internal/advisor"), "one way"},
		{program("internal/web", "net/http"), ""},
		{program("internal/web", module+"internal/cellar"), "not in the table"},
		{program("internal/cellar", "net/http"), "add a row"},
	}
	for _, tt := range tests {
		got := complaints([]pkg{tt.pkg})
		switch {
		case tt.want == "" && len(got) > 0:
			t.Errorf("%+v: %v, want no complaint", tt.pkg, got)
		case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
			t.Errorf("%+v: complaints are %q, want one with %q", tt.pkg, got, tt.want)
		}
	}
}

package store_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"git.georgsen.dk/hwlab/internal/store"
)

func TestReadMigrations(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	list, err := store.ReadMigrations(fstest.MapFS{"m/0002_b.sql": file("two"), "m/0001_a.sql": file("one")}, "m")
	if err != nil || len(list) != 2 || list[0].Version != 1 || list[0].SQL != "one" || list[1].Name != "0002_b.sql" || list[0].Checksum == list[1].Checksum || len(list[0].Checksum) != 64 {
		t.Errorf("%+v, %v", list, err)
	}
	for name, files := range map[string]fstest.MapFS{
		"a gap":      {"m/0001_a.sql": file(""), "m/0003_c.sql": file("")},
		"twice":      {"m/0001_a.sql": file(""), "m/0001_b.sql": file("")},
		"no number":  {"m/readme.sql": file("")},
		"from zero":  {"m/0000_a.sql": file("")},
		"no such":    {},
		"no numbers": {"m/0001_a.sql": file(""), "m/x_b.sql": file("")},
	} {
		if list, err := store.ReadMigrations(files, "m"); err == nil {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

func TestPendingMigrations(t *testing.T) {
	known := []store.Migration{{Version: 1, Name: "0001_a.sql", Checksum: "a"}, {Version: 2, Name: "0002_b.sql", Checksum: "b"}, {Version: 3, Name: "0003_c.sql", Checksum: "c"}}
	for _, c := range []struct {
		name    string
		applied map[int]string
		want    int // the first pending; 0: none
		refused int
	}{
		{"a new database", nil, 1, 0},
		{"one behind", map[int]string{1: "a", 2: "b"}, 3, 0},
		{"up to date", map[int]string{1: "a", 2: "b", 3: "c"}, 0, 0},
		{"newer", map[int]string{1: "a", 2: "b", 3: "c", 4: "d"}, 0, 4},
		{"newer and behind", map[int]string{1: "a", 9: "x"}, 0, 9},
		{"another text", map[int]string{1: "a", 2: "x"}, 0, 2},
	} {
		pending, err := store.PendingMigrations(known, c.applied)
		var schema *store.SchemaError
		switch {
		case c.refused > 0:
			if !errors.As(err, &schema) || schema.Version != c.refused || pending != nil || !strings.Contains(err.Error(), "version") {
				t.Errorf("%s: %v, %v", c.name, pending, err)
			}
		case err != nil || c.want == 0 && len(pending) > 0 || c.want > 0 && (len(pending) != len(known)-c.want+1 || pending[0].Version != c.want):
			t.Errorf("%s: %+v, %v", c.name, pending, err)
		}
	}
}

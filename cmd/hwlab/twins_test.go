package main

import (
	"database/sql"
	"slices"
	"testing"
)

// A deletion with an undo moves whole rows to the twins of three tables, so a twin has the columns of its table in the same order.
func TestTheTwinsOfTablesHaveTheirColumns(t *testing.T) {
	eachEngine(t, func(t *testing.T, settings ...string) {
		dir := t.TempDir()
		run(t, dir, settings, `{"archive":"hwlab","version":1}`+"\n"+`{"total":{"conversations":0,"messages":0}}`+"\n", "import", "-").ended(t, 0, `imported 0`)
		db, _ := recordOf(t, dir, settings)
		for _, table := range []string{"conversations", "messages", "responses"} {
			want, got := columnsOf(t, db, table), columnsOf(t, db, "deleted_"+table)
			if !slices.Equal(got, want) {
				t.Errorf("deleted_%s has the columns\n%q, and %[1]s\n%q: a migration that changes one changes the other", table, got, want)
			}
		}
	})
}

// columnsOf is the name and the type of each column of a table, in order.
func columnsOf(t *testing.T, db *sql.DB, table string) (list []string) {
	rows, err := db.QueryContext(t.Context(), `SELECT * FROM `+table+` WHERE 1 = 0`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range columns {
		list = append(list, c.Name()+" "+c.DatabaseTypeName())
	}
	if err := rows.Err(); err != nil || len(list) == 0 {
		t.Fatalf("%s has no columns: %v", table, err)
	}
	return list
}

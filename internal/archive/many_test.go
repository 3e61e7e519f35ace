//go:build integration && !race

package archive_test

import (
	"bytes"
	"testing"

	"git.georgsen.dk/hwlab/internal/testrecord"
)

// The race detector makes this take eight minutes; make test runs it without.
func TestManyMessagesThereAndBack(t *testing.T) {
	from, to, back := testrecord.SQLite(t), testrecord.Postgres(t), testrecord.SQLite(t)
	fillRecord(t, from, 100, 1000)
	for _, step := range [][2]testrecord.Record{{from, to}, {to, back}} {
		if r, p, err := copied(step[0], step[1], false); err != nil || r.Messages != 100000 {
			t.Fatalf("%+v, %v, %q", r, err, p)
		}
	}
	if equal, unequal := compare(t, from, back); unequal != 0 || equal.Messages != 100000 {
		t.Errorf("%+v are equal, %d conversations not", equal, unequal)
	}
	if !bytes.Equal([]byte(export(t, from)), []byte(export(t, back))) {
		t.Error("the exports differ")
	}
}

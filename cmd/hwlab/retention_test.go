package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRetentionIsAnnouncedAndListed(t *testing.T) {
	base := t.TempDir()
	ids := fill(t, base, 3)
	all := run(t, base, nil, "", "export")
	eachEngine(t, func(t *testing.T, settings ...string) {
		dir := t.TempDir()
		settings = append(settings, "HWLAB_DATA_DIR="+dir+"/data")
		run(t, dir, settings, all.out, "import", "-").ended(t, 0, `imported 3`)
		db, _ := recordOf(t, dir, settings)
		at := fmt.Sprint(time.Now().AddDate(0, 0, -100).UnixMicro())
		if len(settings) > 1 {
			at = `now() - interval '100 days'`
		}
		for _, statement := range []string{`UPDATE conversations SET updated_at = ` + at + ` WHERE id <> '` + ids[0] + `'`, `UPDATE conversations SET pinned = '1' WHERE id = '` + ids[1] + `'`} {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		db.Close()
		if r := run(t, dir, settings, "", "retention", "90d").ended(t, 0, `^1 conversation with 2 messages in which nothing was said since `); !strings.HasPrefix(r.out, ids[2]+"  ") || strings.Count(r.out, "\n") != 1 {
			t.Errorf("it lists:\n%s", r.out)
		}
		if r := run(t, dir, settings, "", "retention", "90d", "--json").ended(t, 0, `^1 conversation`); !strings.HasPrefix(r.out, `{"id":"conv_`+ids[2]+`","title":"about disks",`) || strings.Count(r.out, "\n") != 1 {
			t.Errorf("as JSON it lists:\n%s", r.out)
		}
		run(t, dir, append(settings, "HWLAB_RETENTION=15w"), "", "retention").ended(t, 0, `^0 conversations`)
		p := serveIn(t, dir, append(settings, "HWLAB_RETENTION=90d")...)
		p.waitFor(`retention: conversations in which .* conversations=(1) more=false`)
		var list struct{ Data []any }
		if p.get("GET", "/v1/conversations", "", &list); len(list.Data) != 3 {
			t.Errorf("right after the start %d conversations are left", len(list.Data))
		}
	})
	run(t, base, nil, "", "retention").ended(t, 2, `HWLAB_RETENTION is not set`)
	for _, wrong := range []string{"0d", "d", "5", "5m", "-1d", "99999d", "1.5d", "d5"} {
		run(t, base, nil, "", "retention", "--", wrong).ended(t, 2, `HWLAB_RETENTION: .* is no time`)
	}
	if said := launch(t, t.TempDir(), []string{"HWLAB_RETENTION=soon"}, "serve").fails(); !strings.Contains(said, "HWLAB_RETENTION") {
		t.Errorf("it says %s", said)
	}
}

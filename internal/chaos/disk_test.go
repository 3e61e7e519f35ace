package chaos

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// disk is a small disk, mounted for the test.
func disk(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	must(t, os.Mkdir(dir, 0o700))
	if err := syscall.Mount("hwlab-chaos", dir, "tmpfs", 0, "size=20m"); err != nil {
		t.Fatalf("a full disk needs a small one: mounting a tmpfs is not permitted (%v); run this test as root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill fills a disk to the last byte. Called again it takes what has become free.
func fill(t *testing.T, dir string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(dir, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	defer file.Close()
	for size := 1 << 20; size > 0; {
		if _, err := file.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else {
			must(t, err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	random, dir := dice(t), disk(t)
	settings := append(model(t), "HWLAB_DATA_DIR="+dir)
	room := func() { must(t, os.Remove(filepath.Join(dir, "ballast"))) }
	says := "the disk of " + dir + " is full"
	p := serve(t, t.TempDir(), settings...)
	for round := range times(2, 20) {
		var replies []*reply
		for i := range 4 {
			s := speech{Tag: fmt.Sprintf("%d.%d", round, i), Words: 200 + random.IntN(200), Pace: between(random, time.Millisecond, 6*time.Millisecond)}
			replies = append(replies, ask(p, s))
		}
		for _, r := range replies {
			wait(t, "a reply has begun", r.readers[0].begun, 20*time.Second)
		}
		fill(t, dir)
		status := 200
		for tries := 0; status == 200 && tries < 1000; tries++ { // until also the room inside SQLite's files is used up
			var o object
			var err error
			status, o, err = p.try("POST", "/v1/conversations", object{"items": []object{{"type": "message", "role": "user", "content": strings.Repeat("x", 20<<10)}}}, nil)
			if err != nil {
				t.Fatalf("a full disk is answered with %v", err)
			}
			if status != 200 {
				t.Logf("a full disk is answered %d %v", status, o.at("error", "message"))
			}
			fill(t, dir)
		}
		if status != http.StatusInsufficientStorage {
			t.Errorf("a full disk is answered %d", status)
		}
		for deadline := time.Now().Add(5 * time.Second); !contains(p, says) && time.Now().Before(deadline); {
			<-time.After(5 * time.Millisecond) // what it prints takes a moment to get here
		}
		if !contains(p, says) {
			t.Errorf("it does not say %q:\n%s", says, p.output())
		}
		if round%2 == 1 { // a crash on top of it
			p.kill()
			for _, r := range replies {
				wait(t, "the readers of a killed server have ended", r.readers[0].ended, 20*time.Second)
			}
			full, listening := launch(t, t.TempDir(), settings...)
			select {
			case <-full.ended:
				if !contains(full, says) {
					t.Errorf("it does not start, and does not say %q:\n%s", says, full.output())
				}
			case <-listening: // it needed no room
				full.kill()
			}
			room()
			p = serve(t, t.TempDir(), settings...)
		} else {
			room()
			for _, r := range replies {
				r.completes(t, 30*time.Second)
			}
		}
		for _, r := range replies {
			r.kept(t, p, random)
			r.goesOn(t, p)
		}
	}
	p.stop()

	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "hwlab.db"))
	must(t, err)
	defer db.Close()
	var integrity string
	must(t, db.QueryRow(`PRAGMA integrity_check`).Scan(&integrity))
	if integrity != "ok" {
		t.Errorf("integrity_check: %s", integrity)
	}
}

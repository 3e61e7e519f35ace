package main

import (
	"bufio"
	"fmt"
	"io"
	"testing"
)

// Who does not read the log keeps nobody waiting, and is told where something is missing.
func TestNobodyWaitsForTheLog(t *testing.T) {
	reader, writer := io.Pipe()
	log := newLogWriter(writer)
	const said = 3 * logLines
	for i := range said {
		fmt.Fprintln(log, "line", i)
	}
	log.close() // which does not wait, either

	lines := bufio.NewScanner(reader)
	next, lost := 0, 0
	read := func() {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "%d lines are missing here", &n); err == nil {
			next, lost = next+n, lost+n
			return
		}
		if lines.Text() != fmt.Sprint("line ", next) {
			t.Fatalf("in the place of line %d comes %q", next, lines.Text())
		}
		next++
	}
	for range logLines - 2 {
		read()
	}
	for i := said; next <= said; i++ { // once there is room
		fmt.Fprintln(log, "line", i)
		read()
	}
	if lost == 0 || lost > 2*logLines+2 {
		t.Errorf("%d lines are said to be missing", lost)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		log.close()
		writer.Close()
	}()
	for lines.Scan() {
	}
	<-done
}
